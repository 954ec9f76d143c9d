# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a module says when it refuses: never a login, wherever in the options it stands."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.buildfleet.docker.plugins.modules import docker_build_check, docker_build_env, docker_daemon_proxy, dockerfile_mirror

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
    ],
)
def test_a_refusal_hides_logins(module, options, capsys):
    with patch_module_args(options), pytest.raises(SystemExit):
        module.main()
    said = capsys.readouterr().out
    assert json.loads(said)["failed"]
    assert "s3cret" not in said and "xxxxx" in said
