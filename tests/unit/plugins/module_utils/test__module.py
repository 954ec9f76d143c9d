# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module says when it refuses: never a login, wherever in the options it stands."""

from __future__ import annotations

import json
import os

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.buildfleet.docker.plugins.module_utils import _module
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Refused
from ansible_collections.buildfleet.docker.plugins.modules import (
    docker_build_check,
    docker_build_env,
    docker_daemon_proxy,
    docker_registry_hosts,
    dockerfile_mirror,
)

LOGIN = "builder:s3cret%40lab"
URL = f"http://{LOGIN}@proxy.example.com:3128"


@pytest.mark.parametrize(
    ("module", "options"),
    [
        pytest.param(dockerfile_mirror, {"paths": ["/etc/hostname"], "mirrors": {"docker.io": f"{LOGIN}@mirror.example"}}, id="a mirror without a scheme"),
        pytest.param(dockerfile_mirror, {"paths": ["/etc/hostname"], "mirrors": {f"{LOGIN}@hub": "mirror.example"}}, id="a registry without a scheme"),
        pytest.param(docker_build_env, {"step_proxy": {"https_proxy": f"{LOGIN}@h:1", "no_such": 1}}, id="a wrong option in a dict"),
        pytest.param(docker_build_check, {"builder": "magic", "env": {"HTTPS_PROXY": f"{LOGIN}@h:1"}}, id="a wrong value beside an environment"),
        pytest.param(docker_daemon_proxy, {"restart": "sometimes", "https_proxy": f"{LOGIN}@h:1"}, id="a wrong value beside a proxy"),
        pytest.param(docker_daemon_proxy, {"timeout": "soon", "no_proxy": [URL]}, id="a wrong type beside an exception"),
        pytest.param(docker_daemon_proxy, {"no_such": URL}, id="a wrong option"),
        pytest.param(
            docker_registry_hosts,
            {"registries": {"ghcr.io": [{"url": f"https://{LOGIN}@m", "username": "builder", "password": "s3cret@lab"}]}, "no_such": "s3cret@lab"},
            id="a login within a dictionary",
        ),
    ],
)
def test_a_refusal_hides_logins(module, options, capsys):
    with patch_module_args(options), pytest.raises(SystemExit):
        module.main()
    said = capsys.readouterr().out
    assert json.loads(said)["failed"]
    assert "s3cret" not in said and "xxxxx" in said


def ended(capsys, work, **options):
    with patch_module_args(options), pytest.raises(SystemExit) as end:
        _module.run(work, argument_spec={"https_proxy": {"type": "str"}})
    said = json.loads(capsys.readouterr().out)
    assert bool(said.get("failed")) == bool(end.value.code)
    return said


def test_the_work_s_result_is_the_module_s(capsys):
    assert (
        ended(capsys, lambda module: {"changed": True, "seen": module.params["https_proxy"]}, https_proxy=URL)["seen"]
        == "http://xxxxx:xxxxx@proxy.example.com:3128"
    )


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Refused(f"Not with {URL}.", count=7), "Not with http://xxxxx:xxxxx@proxy.example.com:3128."),
        (HostError("/f cannot be read: s3cret@lab."), "/f cannot be read: xxxxx."),
        (KeyError(URL), "Internal error, please report it: KeyError: 'http://xxxxx:xxxxx@proxy.example.com:3128'"),
    ],
)
def test_every_end_is_one_sentence_without_secrets(capsys, error, message):
    def work(module):
        raise error

    said = ended(capsys, work, https_proxy=URL)
    assert said["msg"] == message and said.get("count") == getattr(error, "result", {}).get("count")
    assert "s3cret" not in json.dumps(said) and "exception" not in said
    where = said.get("where", [])
    assert bool(where) == isinstance(error, KeyError) and all(place.split(":")[0] in ("_module.py", "test__module.py") for place in where)


@pytest.mark.parametrize(("enabled", "there", "context"), [(True, True, "of /target"), (True, False, "default of /target"), (False, True, None)])
def test_a_new_file_gets_the_label_of_its_place(monkeypatch, enabled, there, context):
    set_to = []
    monkeypatch.setattr(os.path, "exists", lambda path: there)
    with patch_module_args({}):
        module = _module.Module(Host, argument_spec={})
    monkeypatch.setattr(module, "selinux_enabled", lambda: enabled)
    monkeypatch.setattr(module, "selinux_context", lambda path: f"of {path}")
    monkeypatch.setattr(module, "selinux_default_context", lambda path: f"default of {path}")
    monkeypatch.setattr(module, "set_context_if_different", lambda path, found, changed: set_to.append((path, found)))
    module.host._label("/temporary", "/target")
    assert set_to == ([("/temporary", context)] if context else [])
