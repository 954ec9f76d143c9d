# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import hashlib
import json
import threading

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError, Run
from ansible_collections.buildfleet.docker.plugins.module_utils._info import info

UNIT, CONFIG, OWN = "/lib/systemd/system/docker.service", "/etc/docker/daemon.json", "/etc/profile.d/buildfleet-docker.sh"
DROP_IN, CI = "/etc/systemd/system/docker.service.d/http-proxy.conf", "/etc/systemd/system/ci.service"
BUILDX = "/usr/libexec/docker/cli-plugins/docker-buildx"
USAGE = "      --debug\n      --registry-mirror list\n      --host list\n"


class FakeHost(MemoryHost):
    """A host of files; its engine, programs and mirrors answer from these dicts."""

    def __init__(self, files=(), info=(), engine="26.1.5", login=(), mirrors=(), user="root", validation_error="", containers=(), reload="no", running=()):
        ordinary = {UNIT: "[Service]\nExecStart=/usr/sbin/dockerd -H fd://\n", "/run/docker.sock": "", BUILDX: ""}
        super().__init__({**ordinary, **dict(files)}, {"/run/systemd/system"})
        self._info = None if info is None else {"Driver": "overlay2", "LiveRestoreEnabled": False, "ContainersRunning": len(containers), **dict(info)}
        self._version, self._login, self._mirrors, self._user, self._objection = engine, dict(login), dict(mirrors), user, validation_error
        self._containers, self._reload, self._running = list(containers), reload, dict(running)

    def user(self):
        return self._user

    run_parallel = Host.run_parallel  # in threads, as a mirror that is late needs them

    def home(self, user):
        return "/root" if user == "root" else f"/home/{user}"

    def engine_api(self, path, method="GET", sock="/run/docker.sock", timeout=10):
        if path == "/version" and self._info is not None:
            return {"Version": self._version, "GoVersion": "go1.24.4"}
        return {"/info": self._info, "/containers/json": self._containers}.get(path)

    def http_get(self, url, headers, timeout=5):
        return self._mirrors.get(url, Answer(0, {}, "dns"))

    def run(self, argv, env=None, cwd=None, timeout=60, stdin=""):
        self.ran.append(argv)
        line = " ".join(argv)
        if line.startswith("docker version"):
            return Run(0, json.dumps({"Version": self._version, "GoVersion": "go1.24.4"}) + "\nnull\n", "")
        if argv[0] == BUILDX:
            return Run(0, "github.com/docker/buildx 0.13.1+ds1 x", "")
        if line == "dockerd --version":
            return Run(0, f"Docker version {self._version}, build x", "")
        if argv[0] == "dockerd" and "--help" in argv:
            return Run(0, USAGE, "")
        if "--validate" in argv:
            return Run(1 if self._objection else 0, "", self._objection)
        if argv[0] == "su":
            return Run(0, "motd\nbuildfleet-environment-of\n" + "\0".join(f"{name}={value}" for name, value in self._login.items()), "")
        if argv[:2] == ["systemctl", "show"]:
            unit = next(word for word in argv if word.startswith(("docker", "ci")))
            path = CI if unit.startswith("ci") else UNIT
            pid = 7 if unit.startswith("ci") and self._running else 0
            folder = f"/etc/systemd/system/{path.rpartition('/')[2]}.d/"
            units = [file.contents.decode() for name, file in self.files.items() if name == path or name.startswith(folder)]
            words = " ".join(line.partition("=")[2] for text in units for line in text.splitlines() if line.startswith("Environment="))
            shown = f"LoadState=loaded\nActiveState=active\nFragmentPath={path}\nMainPID={pid}\nNeedDaemonReload={self._reload}\nUser=\n"
            shown += f"Environment=A=1 {words}\n"
            return Run(0, shown, "")
        return Run(127, "", "not found")


def survey(host, *who, own=(), timeout=1):
    if host._running:
        host.files["/proc/7/environ"] = File("\0".join(f"{name}={value}" for name, value in host._running.items()).encode())
    return info.survey(host, who or ("login",), "docker", None, timeout, dict(own)).result


def ids(result):
    return [one["id"] for one in result["findings"]]


def shown(process, name):
    return next(one for one in process["settings"] if one["name"] == name)


def test_a_host_as_it_is_installed_has_no_findings():
    result = survey(FakeHost())
    assert (result["findings"], result["msg"], result["unreadable"]) == ([], "Nothing found.", [])
    assert result["versions"] == {
        "engine": "26.1.5", "engine_go": "go1.24.4", "cli": "26.1.5", "cli_go": "go1.24.4", "buildx": "0.13.1+ds1", "compose": ""
    }  # fmt: skip
    assert (result["image_store"], result["storage_driver"], result["live_restore"], result["restart_pending"]) == ("graphdriver", "overlay2", False, False)


def test_every_layer_of_the_daemon_and_the_one_that_wins():
    host = FakeHost(
        {
            CONFIG: '{\n  "proxies": {\n    "https-proxy": "http://file:1"\n  },\n  "registry-mirrors": ["https://m.lab"]\n}',
            DROP_IN: '[Service]\nEnvironment="HTTPS_PROXY=http://drop:1"\n',
        },
        info={"HttpsProxy": "http://drop:1"},
        mirrors={"https://m.lab/v2/": Answer(200, {})},
    )
    result = survey(host)
    found = shown(result["daemon"], "https_proxy")
    assert found == {
        "name": "https_proxy", "value": "http://file:1", "source": f"{CONFIG}, line 3", "in_force": "http://drop:1",
        "layers": [
            {"source": f"{DROP_IN}, line 2", "value": "http://drop:1", "wins": False},
            {"source": f"{CONFIG}, line 3", "value": "http://file:1", "wins": True},
        ],
    }  # fmt: skip
    assert (result["restart_pending"], result["pending"]) == (True, ["https_proxy", "registry_mirrors"])
    assert shown(result["daemon"], "registry_mirrors")["source"] == f"{CONFIG}, line 5"
    assert {"restart_pending", "daemon_proxy_without_token_path", "no_proxy_without_mirror"} == set(ids(result))


def test_every_layer_of_a_login_and_what_the_login_itself_says():
    files = {
        OWN: "export HTTPS_PROXY='http://ours:1'\n",
        "/etc/environment": "HTTPS_PROXY=http://pam:1\n",
        "/root/.profile": 'export DOCKER_BUILDKIT="$X"; true\n',
        "/root/.bash_login": "",
    }
    host = FakeHost(files, login={"HTTPS_PROXY": "http://ours:1", "DOCKER_BUILDKIT": "0", "SECRET": "s"})
    result = survey(host)
    (client,) = result["clients"]
    assert (client["who"], client["user"], client["builder"]) == ("login", "root", "legacy")
    assert [(one["source"], one["wins"]) for one in shown(client, "HTTPS_PROXY")["layers"]] == [("/etc/environment, line 1", False), (f"{OWN}, line 1", True)]
    assert shown(client, "DOCKER_BUILDKIT")["source"] == "what runs when root logs in"
    assert "SECRET" not in json.dumps(result)


@pytest.mark.parametrize(("running", "pending"), [("http://file:1", []), ("http://old:1", ["https_proxy"])])
def test_a_record_that_cannot_be_read_is_said_and_docker_info_alone_decides(running, pending):
    files = {CONFIG: '{"proxies": {"https-proxy": "http://file:1"}}', "/var/lib/buildfleet/docker_daemon_proxy.docker.json": "["}
    result = survey(FakeHost(files, info={"HttpsProxy": running}))
    assert result["unreadable"] == [
        "/var/lib/buildfleet/docker_daemon_proxy.docker.json is damaged (JSONDecodeError). Move it away; undo then removes only our settings."
    ]
    assert result["pending"] == pending


def test_without_root_the_files_are_read_and_that_is_said():
    host = FakeHost({OWN: "export HTTPS_PROXY='http://ours:1'\n"}, user="jane", info=None)
    result = survey(host)
    assert shown(result["clients"][0], "HTTPS_PROXY")["value"] == "http://ours:1"
    assert len(result["unreadable"]) == 2
    assert "become: true" in result["unreadable"][0] and "jane may not use its socket" in result["unreadable"][1]
    assert (result["restart_pending"], result["live_restore"]) == (None, None)
    assert "engine_down" not in ids(result)


def test_a_closed_file_is_noted_and_does_not_end_the_run(monkeypatch):
    def closed(self, path):
        raise HostError(f"{path} cannot be read: Permission denied.")

    monkeypatch.setattr(Host, "read", closed)
    monkeypatch.setattr(Host, "names", closed)
    reader = info.Reader()
    assert (reader.read("/a"), reader.names("/b"), reader.closed) == (None, [], ["/a", "/b"])


@pytest.mark.parametrize(
    ("files", "more", "expected"),
    [
        ({CONFIG: '{"buildkit": false}'}, {}, "key_stops_start"),
        ({CONFIG: '{"registry-mirrors": ["m.lab"]}'}, {}, "mirror_without_scheme"),
        ({CONFIG: '{"registry-mirrors": ["https://u:p@m.lab"]}'}, {}, "mirror_refused"),
        ({CONFIG: '{"http-proxy": "http://p:1"}'}, {}, "top_level_proxy_ignored"),
        ({CONFIG: '{"httpProxy": "http://p:1"}'}, {}, "client_keys_in_daemon_json"),
        ({CONFIG: '{"proxies": {"default": {}}}'}, {}, "client_keys_in_daemon_json"),
        ({CONFIG: '{"proxies": "x"}'}, {}, "key_stops_start"),
        ({CONFIG: '{"debug": tru'}, {}, "config_not_json"),
        ({CONFIG: '{"hosts": []}'}, {}, "key_stops_start"),
        ({CONFIG: '{"proxies": {"https-proxy": "http://p:1"}}'}, {"engine": "20.10.24"}, "key_stops_start"),
        ({CONFIG: '{"nosuch": 1}'}, {"engine": "20.10.24"}, "key_stops_start"),
        ({CONFIG: '{"nosuch": 1}'}, {"validation_error": "configure: nosuch"}, "key_stops_start"),
        ({CONFIG: '{"features": {"buildkit": false}}'}, {}, "features_buildkit_ignored"),
        ({CONFIG: '{"proxies": {"https-proxy": "http://u:secret@p:1"}}'}, {"info": {"HttpsProxy": "http://xxxxx:xxxxx@p:1"}}, "readable_password"),
        ({}, {"reload": "yes"}, "daemon_reload_needed"),
        ({}, {"containers": [{"Image": "docker:27-dind", "Names": ["/builder"]}]}, "docker_in_docker"),
        ({}, {"containers": [{"Image": "x", "Command": "dockerd --tls=false", "Names": ["/builder"]}]}, "docker_in_docker"),
        ({"/root/.docker/buildx/instances/ci": '{"Driver": "docker-container"}'}, {}, "container_builder"),
        ({"/etc/gitlab-runner/config.toml": '[[runners]]\n  executor = "docker"\n'}, {}, "builds_in_containers"),
        ({"/root/.docker/config.json": '{"currentContext": "far"}'}, {}, "remote_engine"),
        ({}, {"login": {"DOCKER_HOST": "tcp://far:2376", "BUILDKIT_NO_CLIENT_TOKEN": "1"}}, "remote_daemon_token"),
        ({"/root/.docker/config.json": '{"proxies": {"default": {"httpsProxy": "http://127.0.0.1:1"}}}'}, {}, "loopback_proxy"),
        ({}, {"login": {"EXPERIMENTAL_BUILDKIT_SOURCE_POLICY": "/nosuch.json"}}, "source_policy_missing"),
        ({}, {"info": None}, "engine_down"),
    ],
)
def test_what_stands_in_files_becomes_a_finding(files, more, expected):
    assert expected in ids(survey(FakeHost(files, **more)))


@pytest.mark.parametrize("environment", ["['A=1', 'BUILDKIT_NO_CLIENT_TOKEN=1']", "[\n'https_proxy=http://p:1',\n]"])
def test_a_runner_whose_jobs_have_the_environment_is_not_a_finding(environment):
    files = {"/etc/gitlab-runner/config.toml": f'[[runners]]\n  environment = {environment}\n  executor = "docker"\n'}
    assert "builds_in_containers" not in ids(survey(FakeHost(files)))


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (None, True),
        ("http_port 127.0.0.1:3129\nhttp_port 172.17.0.1:3129\nacl clients src 127.0.0.0/8\n", False),
        ("http_port 127.0.0.1:3129\n", True),
        (HostError("denied"), True),
    ],
    ids=["no relay", "relay", "relay without a bridge", "not root"],
)
def test_the_relay_is_reached_by_containers(contents, expected):
    class Relayed(FakeHost):
        def read(self, path):
            if path == "/etc/buildfleet-relay.conf" and isinstance(contents, HostError):
                raise contents
            return super().read(path)

    files = {CONFIG: '{"proxies": {"https-proxy": "http://127.0.0.1:3129"}}'}
    if isinstance(contents, str):
        files["/etc/buildfleet-relay.conf"] = contents
    host = Relayed(files, info={"HttpsProxy": "http://127.0.0.1:3129"})
    assert ("loopback_proxy" in ids(survey(host))) is expected


@pytest.mark.parametrize(("changed", "expected"), [(0.0, False), (1.0, True)])
def test_what_a_program_gives_the_daemon_that_it_starts_is_no_restart_pending(changed, expected):
    class Started(FakeHost):
        def changed_at(self, path):
            return changed

    host = Started({UNIT: "[Service]\nExecStart=/opt/start.sh\n"}, info={"HttpsProxy": "http://p:1"})
    assert ("restart_pending" in ids(survey(host))) is expected


@pytest.mark.parametrize(
    ("drop_in", "expected"),
    [
        pytest.param("[Service]\nEnvironment=A=b\n", True, id="a file that systemd reads to its end"),
        pytest.param('[Service] Environment="A=b"\n', False, id="a section header that systemd cannot read: it asks for a daemon-reload for ever"),
        pytest.param(None, True, id="no drop-in"),
    ],
)
def test_a_daemon_reload_is_asked_for_where_it_would_help(drop_in, expected):
    files = {UNIT: "[Service]\nExecStart=/usr/sbin/dockerd\n", **({f"{UNIT}.d/a.conf": drop_in} if drop_in else {})}
    assert ("daemon_reload_needed" in ids(survey(FakeHost(files, reload="yes")))) is expected


@pytest.mark.parametrize("config", ['{"debug": true, "registry-mirrors": [], "features": {}}', "{}"])
def test_keys_that_an_old_engine_knows_are_no_finding(config):
    assert ids(survey(FakeHost({CONFIG: config}, engine="20.10.24"))) == ["legacy_builder"]


def test_a_runner_without_containers_is_no_finding():
    docker = '[[runners]]\n  executor = "docker"\n  [runners.docker]\n    volumes = ["/var/run/docker.sock:/var/run/docker.sock"]\n'
    text = f'[[runners]]\n  executor = "shell"\n{docker}'
    (found,) = survey(FakeHost({"/etc/gitlab-runner/config.toml": text}))["findings"]
    assert "on this host's engine" in found["message"]


def test_a_context_is_followed_to_its_engine():
    meta = f"/root/.docker/contexts/meta/{hashlib.sha256(b'far').hexdigest()}/meta.json"
    files = {"/root/.docker/config.json": '{"currentContext": "far"}', meta: '{"Endpoints": {"docker": {"Host": "ssh://far"}}}'}
    assert survey(FakeHost(files))["clients"][0]["engine"] == "ssh://far"
    files[meta] = '{"Endpoints": {"docker": {"Host": "unix:///var/run/docker.sock"}}}'
    assert survey(FakeHost(files))["clients"][0]["engine"] == ""


def test_a_running_service_is_asked_itself():
    host = FakeHost({CI: "[Service]\nEnvironment=HTTPS_PROXY=http://new:1\nExecStart=/bin/ci\n"}, running={"HTTPS_PROXY": "http://old:1", "TOKEN": "s"})
    result = survey(host, "service:ci")
    found = shown(result["clients"][0], "HTTPS_PROXY")
    assert (found["value"], found["source"], found["layers"][0]["wins"]) == ("http://old:1", "the running service ci", False)
    assert ids(result) == ["service_restart_pending"]
    assert "TOKEN" not in json.dumps(result)


def test_a_mirror_tells_its_realm():
    answer = Answer(401, {"WWW-Authenticate": 'Bearer realm="https://auth.docker.io/token"'})
    host = FakeHost(
        {CONFIG: '{"registry-mirrors": ["https://m.lab"]}'}, info={"RegistryConfig": {"Mirrors": ["https://m.lab/"]}}, mirrors={"https://m.lab/v2/": answer}
    )
    result = survey(host)
    assert result["mirrors"][0] == {
        "url": "https://m.lab", "status": 401, "reason": "", "realm": "https://auth.docker.io/token", "sends_token_elsewhere": True
    }  # fmt: skip
    assert "mirror_sends_token_elsewhere" in ids(result)


def test_a_mirror_that_never_answers_does_not_hold_up_the_rest():
    host = FakeHost({CONFIG: '{"registry-mirrors": ["https://m.lab"]}'})
    late = threading.Event()
    host.http_get = lambda url, headers, timeout=5: late.wait(20) and Answer(0, {}, "refused")
    result = survey(host, timeout=0.1)
    late.set()
    assert result["mirrors"][0]["reason"] == "timeout"
    assert result["seconds"] < 3


def test_nothing_is_written_and_no_program_changes_anything():
    host = FakeHost({CONFIG: "{}"})
    host.write = host.remove = host.make_private_folder = None
    survey(host)
    assert {argv[0].rpartition("/")[2] for argv in host.ran} <= {
        "systemctl", "systemd-analyze", "docker", "docker-buildx", "docker-compose", "dockerd", "su"
    }  # fmt: skip
    assert all(argv[1].startswith("show") for argv in host.ran if argv[0] == "systemctl")


def test_a_broken_file_of_an_engine_that_cannot_check_itself_is_told_once():
    assert ids(survey(FakeHost({CONFIG: '{"debug": tru'}, engine="20.10.24"))).count("config_not_json") == 1


@pytest.mark.parametrize("engine", ["20.10.24", "26.1.5"])
def test_a_file_that_contains_only_null_is_no_finding(engine):
    assert ids(survey(FakeHost({CONFIG: "null\n"}, engine=engine))) == ids(survey(FakeHost({CONFIG: "{}\n"}, engine=engine)))


def test_containers_that_are_no_engine_are_no_finding():
    containers = [{"Image": "redis:7", "Command": "redis-server", "Names": ["/a"]}, {"Image": "docker:27-dind", "Names": ["/b"]}]
    (found,) = survey(FakeHost(containers=containers))["findings"]
    assert found["id"] == "docker_in_docker" and " b" in found["message"] and " a," not in found["message"]


def test_a_login_that_does_not_exist_is_said_and_no_home_is_read():
    host = FakeHost({"/nonexistent/.docker/config.json": "{}"})

    def home(user):
        raise HostError(f"There is no user {user} on this host. Create the user first, or correct the name.")

    host.home = home
    result = survey(host, "user:jane")
    sentence = "There is no user jane on this host. Create the user first, or correct the name."
    assert result["unreadable"] == [f"user:jane could not be read itself, so its settings come from files only: {sentence}"]
    assert result["clients"][0]["engine"] == "" and result["steps"] == [{"who": "jane", "user": "jane", "settings": []}]


@pytest.mark.parametrize("contents", ["{", "[]", "\xff"])
def test_a_clients_file_that_is_no_json_is_as_none(contents):
    assert survey(FakeHost({"/root/.docker/config.json": contents}))["clients"] == survey(FakeHost())["clients"]


@pytest.mark.parametrize(("contents", "found"), [('{"Driver": "docker-container"}', ["ci"]), ('{"Driver": "docker"}', []), ("{}", []), ("{", [])])
def test_builders_of_their_own_are_those_that_are_not_the_engine(contents, found):
    assert [one["name"] for one in survey(FakeHost({"/root/.docker/buildx/instances/ci": contents}))["builders"]] == found


HOSTS = "/etc/docker/certs.d/docker.io/hosts.toml"


def test_hosts_files_are_a_layer_of_their_own_and_their_mirrors_are_asked_with_their_headers():
    asked = []
    text = '[host."https://m.lab"]\n  header = {Authorization = "Basic eA=="}\n  ca = ["there.pem", "gone.pem"]\n[host."m.lab"]\n'
    host = FakeHost({HOSTS: text, HOSTS.replace("hosts.toml", "there.pem"): "x", "/etc/docker/certs.d/quay.io/ca.crt": "x"}, engine="28.5.2")
    host.http_get = lambda url, headers, timeout=5: asked.append((url, headers)) or Answer(401, {})
    result = survey(host)
    assert result["registry_hosts"] == [{"path": HOSTS, "registry": "docker.io", "mirrors": ["https://m.lab", "m.lab"], "server": "", "read_by": ["buildkit"]}]
    assert asked == [("https://m.lab/v2/", {"Authorization": "Basic eA=="})]
    assert {"registry_hosts_ca_missing", "mirror_wants_login", "registry_hosts_buildkit_only"} <= set(ids(result))


def test_what_is_beside_hosts_files_is_told():
    default = "/etc/docker/certs.d/_default/hosts.toml"
    text = '[host."https://m.lab"]\n'
    host = FakeHost({HOSTS: text, default: text, HOSTS.replace("hosts.toml", "ca.crt"): "x", "/etc/docker/certs.d/quay.io/ca.crt": "x"}, engine="28.5.2")
    host.http_get = lambda url, headers, timeout=5: Answer(200, {})
    told = {one["id"]: one["message"] for one in survey(host)["findings"]}
    assert told["registry_hosts_certificates"] == (
        f"/etc/docker/certs.d/docker.io/ca.crt is beside {HOSTS}, so it is read by nobody: a folder with a hosts.toml needs the key ca."
    )
    assert told["registry_hosts_default_unused"] == (
        f"{default} is not used for docker.io, quay.io: a registry with a folder of its own has only the mirrors named there."
    )


@pytest.mark.parametrize(("programs", "missing"), [((), True), (("/opt/bin/docker-credential-pass",), False)])
def test_a_credential_helper_is_looked_for_in_the_builders_path(programs, missing):
    files = {"/root/.docker/config.json": '{\n"credsStore": "pass"}', **dict.fromkeys(programs, "x")}
    found = survey(FakeHost(files, login={"PATH": ":/opt/bin"}))
    assert ("credential_helper_missing" in ids(found)) == missing
    if missing:
        (message,) = [one["message"] for one in found["findings"] if one["id"] == "credential_helper_missing"]
        assert message.startswith("/root/.docker/config.json, line 2 names the credential helper docker-credential-pass (credsStore)")


def test_a_builders_own_proxies_and_mirrors_are_read():
    text = base64.b64encode(b'[registry."docker.io"]\nmirrors = ["m.lab"]\n').decode()
    node = {"DriverOpts": {"env.HTTPS_PROXY": "http://u:sesame1@p:1"}, "Files": {"buildkitd.toml": text}}
    (one,) = survey(FakeHost({"/root/.docker/buildx/instances/ci": json.dumps({"Driver": "docker-container", "Nodes": [node]})}))["builders"]
    assert (one["proxies"], one["mirrors"]) == ({"https_proxy": "http://u:sesame1@p:1"}, {"docker.io": ["m.lab"]})
