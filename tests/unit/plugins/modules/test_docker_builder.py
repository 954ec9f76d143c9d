# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docker_builder: what it creates, starts, leaves, refuses and takes back."""

from __future__ import annotations

import base64
import contextlib
import csv
import json
import os
import re
import types

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._builder import change
from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Account, File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run
from ansible_collections.buildfleet.docker.plugins.modules import docker_builder

HOME = "/home/jane/.docker/buildx"
RECORD = "/var/lib/buildfleet/docker_builder.json"
PROXY = "http://proxy.example.com:3128"
SECRET = "http://joe:s3cretword@proxy.example.com:3128"
BODY = base64.b64encode(b"\x30\x82\x01\x00" + bytes(256)).decode()
PEM = "\n".join(["-----BEGIN CERTIFICATE-----", *(BODY[at : at + 64] for at in range(0, len(BODY), 64)), "-----END CERTIFICATE-----", ""])
OPTIONS = {"name": "ci", "user": "jane", "use": False, "bootstrap": True, "allow_readable_secret": False, "adopt": False, "state": "present"}
NAMES = ("image", "http_proxy", "https_proxy", "no_proxy", "mirrors", "ca", "driver_opts", "buildkitd_flags")
ADDED = "--allow-insecure-entitlement=network.host"


class BuildxHost(MemoryHost):
    """Buildx and the engine of a host, as far as builders need them."""

    def __init__(self, files=()):
        super().__init__({"/usr/libexec/docker/cli-plugins/docker-buildx": "", **dict(files)})
        self.containers, self.connected, self.fails, self.commands = {}, False, "", []

    @contextlib.contextmanager
    def folder(self, files, user=""):
        self.files.update({f"/tmp/t/{name}": File(text.encode()) for name, text in files.items()})
        yield "/tmp/t"
        self.files = {path: file for path, file in self.files.items() if not path.startswith("/tmp/t/")}

    def run_group(self, argv, env, cwd, timeout, user=""):
        assert (env["HOME"], user) == ("/home/jane", "jane")
        self.commands.append(argv[2:])
        if argv[2] == self.fails:
            return Run(1, "#1 booting\nERROR: it failed\n\n", "")
        return {"create": self._create, "inspect": self._start, "rm": self._rm, "use": self._use}[argv[2]](argv) or Run(0, "", "")

    def _create(self, argv):
        given = list(zip(argv[3::2], argv[4::2]))
        options = dict(next(csv.reader([value]))[0].split("=", 1) for flag, value in given if flag == "--driver-opt")
        rest = {flag: value for flag, value in given if flag != "--driver-opt"}
        node = {"Name": rest["--node"], "Endpoint": "unix:///var/run/docker.sock", "DriverOpts": options, "Files": None}
        node["Flags"] = [*rest.get("--buildkitd-flags", "").split(), ADDED]
        if "--config" in rest:
            node["Files"] = {name: base64.b64encode(contents).decode() for name, contents in self._configuration(rest["--config"]).items()}
        self.write(f"{HOME}/instances/{rest['--name']}", File(json.dumps({"Driver": rest["--driver"], "Nodes": [node]}).encode(), 0o600))

    def _configuration(self, path):
        kept, registry, lines = {}, "", []
        for line in self.files[path].contents.decode().splitlines():
            registry = line.split('"')[1] if line.startswith("[registry.") else registry
            for name in re.findall(r'"/tmp/t/([^"]+)"', line):
                kept[f"certs/{registry}/{name}"] = self.files[f"/tmp/t/{name}"].contents
            lines.append(line.replace("/tmp/t/", f"/etc/buildkit/certs/{registry}/"))
        return {"buildkitd.toml": "\n".join(lines).encode(), **kept}

    def _node(self, name):
        (node,) = json.loads(self.files[f"{HOME}/instances/{name}"].contents)["Nodes"]
        return node

    def _start(self, argv):
        node = self._node(argv[-1])
        options = node["DriverOpts"]
        kept = {name: base64.b64decode(text) for name, text in (node["Files"] or {}).items()}
        self.containers.setdefault(
            f"buildx_buildkit_{node['Name']}",
            {
                "Image": "sha256:1",
                "Config": {
                    "Image": options.get("image", "moby/buildkit"),
                    "Env": [f"{name[4:]}={value}" for name, value in options.items() if name.startswith("env.")],
                },
                "Args": ["--config", "/etc/buildkit/buildkitd.toml", *node["Flags"]] if kept else node["Flags"],
                "files": kept,
            },
        )["State"] = {"Status": "running"}

    def _rm(self, argv):
        self.containers.pop(f"buildx_buildkit_{self._node(argv[-1])['Name']}", None)
        self.remove(f"{HOME}/instances/{argv[-1]}")

    def _use(self, argv):
        self.write(f"{HOME}/current", File(json.dumps({"Name": argv[-1]}).encode(), 0o600))

    def engine_api(self, path, **_more):
        found = re.fullmatch(r"/containers/(.*)/json", path)
        if not found:
            return {"Config": {"Env": ["PATH=/bin"]}}
        inspected = self.containers.get(found[1])
        return inspected and {**inspected, "ExecIDs": ["x"] if self.connected else None}

    def container_files(self, name, folder):
        assert folder == "/etc/buildkit"
        return self.containers[name]["files"]


@pytest.fixture(autouse=True)
def _jane(monkeypatch):
    monkeypatch.setattr(change, "account", {"jane": Account("jane", "/home/jane", os.geteuid(), os.getegid())}.get)


def run(host, check_mode=False, **options):
    warned = []
    module = types.SimpleNamespace(
        host=host, check_mode=check_mode, secrets=Secrets(), warn=warned.append, params={**dict.fromkeys(NAMES), **OPTIONS, **options}
    )
    result = docker_builder.work(module)
    return module.secrets.tree({**result, "warnings": warned})


def refused(host, **options):
    before = host.state()
    with pytest.raises(Refused) as stopped:
        run(host, **options)
    assert host.state() == before
    assert stopped.value.result == {"changed": False}
    return str(stopped.value)


FULL = {
    "image": "r.lab/buildkit:1",
    "https_proxy": PROXY,
    "no_proxy": ["m.lab", "localhost"],
    "mirrors": {"docker.io": "https://m.lab", "ghcr.io": "http://n.lab:5000/hub"},
    "ca": PEM,
    "driver_opts": {"network": "host"},
    "buildkitd_flags": ["--debug"],
    "use": True,
}


def test_it_is_created_started_and_used():
    host = BuildxHost({"/etc/ca.pem": PEM})
    result = run(host, **{**FULL, "ca": "/etc/ca.pem"})
    assert [command[0] for command in host.commands] == ["create", "inspect", "use"]
    assert (result["changed"], result["recreated"], result["differences"]) == (True, False, [])
    environment = {"HTTPS_PROXY": PROXY, "NO_PROXY": "m.lab,localhost", "SSL_CERT_DIR": "/etc/buildkit/certs/docker.io"}
    assert result["node"] == {"container": "buildx_buildkit_ci0", "image": "r.lab/buildkit:1", "status": "", "environment": environment}
    assert 'mirrors = ["n.lab:5000/hub"]' in result["config"]
    container = host.containers["buildx_buildkit_ci0"]
    assert set(container["Config"]["Env"]) == {f"{name}={value}" for name, value in environment.items()}
    assert [contents for name, contents in container["files"].items() if name.startswith("certs/docker.io/")] == [PEM.encode()]
    assert not [path for path in host.files if path.startswith("/tmp")]


@pytest.mark.parametrize("options", [{}, FULL, {"https_proxy": SECRET, "allow_readable_secret": True}], ids=["nothing", "everything", "password"])
def test_a_second_run_changes_nothing(options):
    host = BuildxHost()
    assert run(host, **options)["changed"] is True
    before, commands = host.state(), len(host.commands)
    again = run(host, **options)
    assert (again["changed"], again["recreated"], again["diff"], again["node"]["status"]) == (False, False, [], "running")
    assert (host.state(), len(host.commands)) == (before, commands)


def test_check_mode_changes_nothing():
    host = BuildxHost()
    before = host.state()
    result = run(host, check_mode=True, **FULL)
    assert (result["changed"], host.commands, host.state()) == (True, [], before)
    (shown,) = result["diff"]
    assert (shown["before_header"], shown["before"], shown["after_header"]) == ("builder ci of jane", "", "builder ci of jane (create, start, use)")
    assert "image: r.lab/buildkit:1\n" in shown["after"]


def test_a_difference_creates_it_again_and_keeps_its_cache():
    host = BuildxHost()
    run(host)
    result = run(host, https_proxy=PROXY)
    assert (result["recreated"], result["differences"]) == (True, ["env.HTTPS_PROXY"])
    assert ["rm", "--keep-state", "ci"] in host.commands
    assert host.containers["buildx_buildkit_ci0"]["Config"]["Env"] == [f"HTTPS_PROXY={PROXY}"]


def test_a_builder_that_is_not_running_is_only_started():
    host = BuildxHost()
    run(host)
    host.containers["buildx_buildkit_ci0"]["State"] = {"Status": "exited"}
    assert run(host, bootstrap=False)["changed"] is False
    result = run(host)
    assert (result["changed"], result["recreated"], result["node"]["status"]) == (True, False, "exited")
    host.containers.clear()
    assert (run(host)["recreated"], list(host.containers)) == (False, ["buildx_buildkit_ci0"])


def test_without_bootstrap_its_next_build_starts_it():
    host = BuildxHost()
    assert run(host, bootstrap=False)["changed"] is True
    assert [command[0] for command in host.commands] == ["create"]
    assert run(host, bootstrap=False)["changed"] is False


def test_a_builder_that_is_building_is_not_created_again():
    host = BuildxHost()
    run(host)
    host.connected = True
    assert run(host)["changed"] is False
    sentence = "The builder ci of jane differs in env.HTTPS_PROXY, but a client is connected to it. Run again when it is idle."
    assert refused(host, https_proxy=PROXY) == sentence


def test_a_password_is_in_no_command_and_no_result():
    host = BuildxHost()
    result = run(host, https_proxy=SECRET, allow_readable_secret=True)
    assert "s3cretword" not in json.dumps([host.commands, result])
    assert host.containers["buildx_buildkit_ci0"]["Config"]["Env"] == [f"HTTPS_PROXY={SECRET}"]
    rotated = run(host, https_proxy=SECRET.replace("s3cretword", "0therword"), allow_readable_secret=True)
    assert "s3cretword" not in json.dumps(rotated) and "0therword" not in json.dumps(rotated)
    assert rotated["diff"][0]["after"].endswith("(with other values)\n")


def test_a_variable_that_may_be_a_secret_is_in_no_command_and_no_result():
    host = BuildxHost()
    variables = {"env.GIT_AUTH_TOKEN": "s3cretword", "env.FOO": "0therword"}
    result = run(host, driver_opts=variables, allow_readable_secret=True)
    assert not [word for word in ("s3cretword", "0therword") if word in json.dumps([host.commands, result])]
    assert result["node"]["environment"] == {"FOO": "xxxxx", "GIT_AUTH_TOKEN": "xxxxx"}
    assert set(host.containers["buildx_buildkit_ci0"]["Config"]["Env"]) == {"GIT_AUTH_TOKEN=s3cretword", "FOO=0therword"}
    assert run(host, driver_opts=variables, allow_readable_secret=True)["changed"] is False
    rotated = run(host, driver_opts=dict(variables, **{"env.FOO": "an0ther"}), allow_readable_secret=True)
    assert (rotated["recreated"], rotated["diff"][0]["after"].endswith("(with other values)\n"), "an0ther" in json.dumps(rotated)) == (True, True, False)


def test_values_without_effect_are_warned_of():
    assert run(BuildxHost(), http_proxy=PROXY)["warnings"] == ["http_proxy is not used for https URLs, such as those of Docker Hub. Set https_proxy too."]


OTHERS = json.dumps(
    {
        "Driver": "docker-container",
        "Nodes": [{"Name": "old0", "Endpoint": "default", "DriverOpts": {"env.HTTPS_PROXY": "http://x:s3cretword@p:1"}, "Flags": [ADDED], "Files": None}],
    }
)


def of_others():
    host = BuildxHost({f"{HOME}/instances/ci": OTHERS, f"{HOME}/current": '{"Name":"ci"}'})
    host._start(["ci"])
    return host


def test_a_builder_of_others_is_left():
    host = of_others()
    assert refused(host, https_proxy=PROXY) == (
        "The builder ci of jane was created by others, and differs in env.HTTPS_PROXY. "
        "Set adopt: true to create it again with these options (its cache is kept, and state: absent restores it), or use another name."
    )
    removed = run(host, state="absent")
    sentence = "The builder ci of jane was created by others, so it stays. Remove it with docker buildx rm ci."
    assert (removed["changed"], removed["removed"], removed["warnings"], host.commands) == (False, [], [sentence], [])


def test_a_builder_of_others_that_does_not_differ_is_used():
    host = of_others()
    assert run(host, https_proxy="http://x:s3cretword@p:1", allow_readable_secret=True, use=True)["changed"] is False
    assert RECORD not in host.files


def test_an_adopted_builder_is_restored():
    host = of_others()
    result = run(host, https_proxy=PROXY, adopt=True, use=True)
    assert (result["recreated"], result["node"]["container"], "s3cretword" in json.dumps(result)) == (True, "buildx_buildkit_old0", False)
    assert run(host, https_proxy="http://other:1")["recreated"] is True
    assert run(host, state="absent")["removed"] == ["jane/ci"]
    assert host.files[f"{HOME}/instances/ci"].contents.decode() == OTHERS
    assert host.commands[-1] == ["rm", "--keep-state", "ci"]
    assert (host.containers, host.files[f"{HOME}/current"].contents, RECORD in host.files) == ({}, b'{"Name":"ci"}', False)


@pytest.mark.parametrize("current", [None, b'{"Key":"unix:///var/run/docker.sock","Name":"","Global":false}', b"no JSON", b'{"Name":"other"}'])
def test_undo_removes_the_builder_and_the_choice(current):
    host = BuildxHost({} if current is None else {f"{HOME}/current": File(current, 0o600)})
    before = dict(host.files)
    run(host, use=True)
    result = run(host, state="absent", name=None)
    assert (result["changed"], result["removed"], host.commands[-1]) == (True, ["jane/ci"], ["rm", "ci"])
    assert dict(host.files) == {path: file._replace(uid=os.geteuid(), gid=os.getegid()) if path.endswith("current") else file for path, file in before.items()}
    assert run(host, state="absent", name=None)["changed"] is False


def test_undo_leaves_a_later_choice_and_other_builders():
    host = BuildxHost()
    run(host, use=True)
    run(host, name="second")
    host._use(["x", "second"])
    assert run(host, state="absent")["removed"] == ["jane/ci"]
    assert json.loads(host.files[f"{HOME}/current"].contents) == {"Name": "second"}
    assert f"{HOME}/instances/second" in host.files
    assert run(host, state="absent", name=None)["removed"] == ["jane/second"]


def test_what_others_removed_is_forgotten():
    host = BuildxHost()
    run(host)
    host._rm(["ci"])
    assert run(host)["changed"] is True
    host._rm(["ci"])
    assert run(host, state="absent")["changed"] is True
    assert RECORD not in host.files


def test_a_user_that_is_gone_is_skipped(monkeypatch):
    host = BuildxHost()
    run(host)
    monkeypatch.setattr(change, "account", {}.get)
    assert run(host, state="absent", name=None)["changed"] is False


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": None}, "state: present needs name. Set the name of the builder, or use state: absent."),
        ({"name": "a/b"}, "name: 'a/b' is not the name of a builder. Use a letter first, then letters, digits, '.', '_' and '-'; not 'default'."),
        ({"user": "joe"}, "user: there is no user 'joe' on this host. Create the user first, or correct the name."),
        ({"ca": "/etc/none.pem"}, "ca: the file /etc/none.pem is not on this host. Correct the path."),
        ({"https_proxy": "proxy:1"}, "https_proxy: the URL has no scheme. Write http://host:port, https://host:port or socks5://host:port."),
    ],
)
def test_options_that_cannot_work_are_refused(options, sentence):
    assert refused(BuildxHost(), **options) == sentence


def test_a_builder_that_does_not_exist_need_not_be_removed():
    result = run(BuildxHost(), state="absent")
    assert (result["changed"], result.get("removed") or []) == (False, [])


def test_without_buildx_nothing_is_created():
    host = BuildxHost()
    host.files.clear()
    sentence = "docker buildx is not installed on this host, so no builder can be created. Install it (docker-buildx or docker-buildx-plugin)."
    assert refused(host) == sentence


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"Driver": "kubernetes"}, "The builder ci of jane has the driver kubernetes, not docker-container. Use another name."),
        (
            {"Nodes": [{"Name": "a"}, {"Name": "b"}]},
            "The builder ci of jane has 2 nodes; this module manages builders of one node. Use another name.",
        ),
        (
            {"Nodes": [{"Name": "a", "Endpoint": "ssh://far"}]},
            "The builder ci of jane runs at ssh://far, not on this host's engine. Manage it there, or use another name.",
        ),
    ],
)
def test_a_builder_of_another_kind_is_refused(document, sentence):
    host = BuildxHost({f"{HOME}/instances/ci": json.dumps({**json.loads(OTHERS), **document})})
    assert refused(host, adopt=True) == sentence


@pytest.mark.parametrize(("fails", "changed"), [("create", True), ("inspect", True), ("use", True)])
def test_a_failure_of_buildx_is_quoted(fails, changed):
    host = BuildxHost()
    host.fails = fails
    with pytest.raises(Refused) as stopped:
        run(host, use=True)
    sentence = f"docker buildx {fails} failed for the builder ci of jane: ERROR: it failed. docker_build_check with builder finds the cause."
    assert (str(stopped.value), stopped.value.result) == (sentence, {"changed": changed})
    host.fails = ""
    assert run(host, use=True)["changed"] is True
    assert run(host, use=True)["changed"] is False
