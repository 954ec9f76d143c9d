# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole module on hosts in memory: what a dry run says is what the run does, and undo restores every byte."""

from __future__ import annotations

import json
import os
import re

import docker_model as model
import pytest
from ansible.module_utils import basic
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import plan as daemon_proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import observe
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import json_file
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import CANNOT_WRITE, HostError, Run
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record, apply
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import values
from ansible_collections.buildfleet.docker.plugins.modules import docker_daemon_proxy

CONFIG, DEFAULTS = "/etc/docker/daemon.json", "/etc/default/docker"
DROP_INS = "/etc/systemd/system/docker.service.d"
DOCS = f"{DROP_INS}/http-proxy.conf"
# The units of the packages, as `systemctl cat` shows them where they are installed.
DEBIAN = ("/lib/systemd/system/docker.service", "EnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n")
DOCKER_CE = ("/usr/lib/systemd/system/docker.service", "ExecStart=/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock\n")
RHEL = (
    "/usr/lib/systemd/system/docker.service",
    "EnvironmentFile=-/etc/sysconfig/docker\nExecStart=/usr/bin/dockerd \\\n    $OPTIONS \\\n    $ADD_REGISTRY\n",
)
URL, OTHER = "http://proxy.example.com:3128", "http://other.example.com:3128"
DOCKERD = 42


class Machine(MemoryHost):
    """A host in memory with a docker service. It starts as real engines do; the lab holds it against them."""

    def __init__(self, engine="26.1.5", unit=DEBIAN, running=True, **files):
        super().__init__()
        self.time = 1000.0
        self.version, self.unit = engine, unit
        self.changed = {}
        self.link = {}
        self.manager = self.validation_error = ""
        self.loaded = None
        self.known = {}
        self.trial = Run(0, "", "")
        self.plain_http = []
        self.mirror = Answer(200, {})
        self.info = None
        self.extra = {}
        self.unwritable = self.read_only = ""
        self.starts, self.verify, self.socket, self.gone = 0, "", "", []
        self.broken = lambda config: False
        if unit:
            self.write(unit[0], File(f"[Service]\n{unit[1]}".encode()))
        for path, contents in files.items():
            self.write(path, contents if isinstance(contents, File) else File(contents))
        self.known = self.units()
        self.time += 100
        self.state = "inactive"
        if engine and running:
            self.start()
        self.starts = 0
        self.time += 100

    # --- files

    def read(self, path):
        if path == "/proc/uptime":
            return File(f"{self.time} 0".encode())
        if path == f"/proc/{DOCKERD}/stat":
            return File(b"42 (dockerd) S" + b" 1" * 18 + f" {int(self.started * os.sysconf('SC_CLK_TCK'))} 0".encode())
        return super().read(path)

    def write(self, path, file):
        if path.startswith(self.unwritable or "-"):
            raise HostError(f"{path} cannot be written: Read-only file system.")
        self.time += 0.01
        self.changed[path] = self.time
        super().write(path, file)

    def can_write(self, path):
        return not path.startswith(self.read_only or "-")

    def remove_folder(self, path):
        self.gone.append(path)

    def links(self, folder):
        return self.link.get(folder, [])

    def exists(self, path):
        return (path == "/run/systemd/system" and bool(self.unit)) or super().exists(path)

    def changed_at(self, path):
        return self.changed.get(path, 0.0)

    # --- processes

    def now(self):
        self.time += 0.001
        return self.time

    def sleep(self, seconds):
        self.time += seconds

    def http_get(self, url, headers, timeout=5):
        return self.mirror

    def speaks_plain_http(self, server, port, timeout=1.5):
        return (server, port) in self.plain_http

    def engine_api(self, path, method="GET", sock="", timeout=10):
        if self.info is None:
            return self.extra.get(path)
        answers = {"/version": {"Version": self.version, "GoVersion": "go1.24.4"}, "/info": self.info}
        return {**answers, **self.extra}.get(path)

    def run(self, argv, env=None, cwd=None, timeout=60, stdin=""):
        command = " ".join(argv)
        self.ran.append(command)
        if command.startswith("systemctl show ") and argv[-1] == "docker.service" and self.unit:
            pid = DOCKERD if self.info is not None else 0
            reload = "no" if self.known == self.units() else "yes"
            shown = {"LoadState": "loaded", "ActiveState": self.state, "FragmentPath": self.unit[0], "MainPID": pid, "NeedDaemonReload": reload}
            shown.update({} if self.loaded is None else {"DropInPaths": self.loaded})
            lines = [*(f"{name}={value}" for name, value in shown.items()), *model.Unit(self.known).show()]
            return Run(0, "\n".join(lines), "")
        if command == "systemctl daemon-reload":
            self.known = self.units()
        if command == "systemctl show --property=SubState -- docker.socket":
            return Run(0, f"SubState={self.socket}\n", "")
        if argv[0] == "systemd-analyze":
            return Run(1 if self.verify else 0, "", self.verify)
        if command == "systemctl show-environment":
            return Run(0, self.manager, "")
        if command in ("systemctl restart docker.service", "service docker restart"):
            return Run(0 if self.start() else 1, "", "")
        if "--validate" in argv:
            return Run(1, "", self.validation_error) if self.validation_error else Run(0, "", "configuration OK")
        if argv[0] == "unshare":
            return self.trial
        if argv[0] == "getent":
            return Run(0, self.programs.get(command, ""), "")
        if argv[0] == "journalctl":
            return Run(0, "failed to start daemon: no such runtime\n", "")
        if command == "dockerd --version":
            return Run(0, f"Docker version {self.version}, build x\n" if self.version else "", "")
        return Run(0, "", "")

    def units(self):
        """The unit and its drop-ins as they are now; ``known`` are those that systemd has read."""
        return model.unit_texts({path: file.contents for path, file in self.files.items()}, self.unit[0]) if self.unit else {}

    def start(self):
        self.starts += 1
        self.info, self.state = None, "failed"
        self.time += 1
        self.started = self.time
        files = {path: file.contents for path, file in self.files.items()}
        manager = dict(line.split("=", 1) for line in self.manager.splitlines())
        begun = model.Unit(self.known).start(files, manager) if self.unit else model.sysvinit(files.get(DEFAULTS, b""))
        try:
            text = files.get(model.flags(begun.argv).get("config-file", [CONFIG])[-1], b"")
            config = {} if text.strip() in (b"", b"null") else json.loads(text)  # Go reads null as an empty object
            info = model.info(config, begun, self.version)
        except (ValueError, model.Failed):
            return False
        if self.broken(config):
            return False
        self.state = "active"
        self.info = {**info, "ContainersRunning": 0}
        return True


@pytest.fixture()
def run(monkeypatch, capsys):
    """`run(machine, check=False, **options)` is what a task would register."""

    def run(machine, check=False, **options):
        monkeypatch.setattr(warnings, "_global_warnings", {})  # Ansible keeps them for the life of a process
        monkeypatch.setattr(warnings._internal, "is_controller", False)  # another test of this process may have loaded the controller
        monkeypatch.setattr(Module, "host", property(lambda self: machine))
        with patch_module_args({**options, "_ansible_check_mode": check, "_ansible_diff": True}), pytest.raises(SystemExit):
            docker_daemon_proxy.main()
        return json.loads(capsys.readouterr().out)

    return run


def seen(machine):
    return {path: (file.contents, file.mode) for path, file in machine.files.items() if not path.startswith("/var/lib/buildfleet/")}


def say(machine, **info):
    machine.info.update(info)
    return machine


ASKED = {"https_proxy": URL, "http_proxy": URL, "no_proxy": ["localhost", ".corp"]}
FOREIGN = b'[Service]\nEnvironment="HTTP_PROXY=http://u:0ld-pass@old.example.com:1" "OTHER=x y"\nEnvironment=NO_PROXY=a\n'

CASES = {
    "no file": (Machine, ASKED),
    "a file": (lambda: Machine(**{CONFIG: b'{\n\t"debug": true\n}'}), ASKED),
    "below 23": (lambda: Machine("20.10.24"), ASKED),
    "a mirror": (Machine, {"registry_mirrors": ["https://m.example.com/"]}),
    "a password": (Machine, {**ASKED, "proxy_username": "joe", "proxy_password": "s3cret-pass"}),
    "never": (Machine, {**ASKED, "restart": "never"}),
    "busy": (lambda: say(Machine(), ContainersRunning=2), ASKED),
    "busy, but forced": (lambda: say(Machine(), ContainersRunning=2), {**ASKED, "restart": "if_needed"}),
    "live-restore": (lambda: say(Machine(), ContainersRunning=2, LiveRestoreEnabled=True), ASKED),
    "set already": (lambda: Machine(**{CONFIG: json.dumps({"proxies": {"https-proxy": URL}}).encode()}), {"https_proxy": URL}),
    "adopted": (lambda: Machine(**{DOCS: FOREIGN}), {**ASKED, "adopt": True}),
    "foreign, and weaker": (lambda: Machine(**{DOCS: FOREIGN}), ASKED),
    "foreign, and stronger": (lambda: Machine(**{DOCS: FOREIGN}), {"https_proxy": URL}),
    "not JSON": (lambda: Machine(running=False, **{CONFIG: b"{'a': 1}"}), ASKED),
    "a wrong option": (Machine, {"https_proxy": "proxy:3128"}),
    "said no by the engine": (lambda: objecting("unable to configure the Docker daemon with file /dev/stdin: x"), ASKED),
    "no engine": (lambda: Machine(""), {**ASKED, "mechanism": "daemon_json"}),
    "stopped": (lambda: Machine(running=False), ASKED),
    "without systemd": (lambda: Machine(unit=None), ASKED),
    "without systemd, below 23": (lambda: Machine("20.10.24", unit=None, **{DEFAULTS: b"# mine\nexport TMPDIR=/x"}), ASKED),
    "an unknown exception": (Machine, {**ASKED, "no_proxy": ["192.168.*"]}),
    "changed by others since": (lambda: edited(Machine()), ASKED),
    "changed by others since, and nobody can tell": (lambda: edited(Machine(), Run(4, "", "unshare: not permitted")), ASKED),
    "changed by others since, and faulty": (lambda: edited(Machine(), Run(3, "failed to start daemon: x", "")), ASKED),
    "a folder that is read-only": (lambda: read_only(Machine(), "/etc/docker"), ASKED),
    "docker-ce": (lambda: Machine(unit=DOCKER_CE), ASKED),
    "rhel": (lambda: Machine(unit=RHEL, **{"/etc/sysconfig/docker": b"OPTIONS='--log-driver=journald'\n"}), ASKED),
}


FAIL = {
    "foreign, and stronger", "not JSON", "a wrong option", "said no by the engine", "changed by others since, and faulty", "a folder that is read-only",
}  # fmt: skip


def objecting(words):
    machine = Machine()
    machine.validation_error = words
    return machine


def read_only(machine, folder):
    machine.read_only = folder
    return machine


def edited(machine, trial=None):
    machine.write(CONFIG, File(b'{"debug": true}'))
    machine.time += 5
    machine.trial = trial or machine.trial
    return machine


@pytest.mark.parametrize("case", CASES)
def test_check_mode_predicts_what_the_run_does(run, case):
    make, options = CASES[case]
    machine = make()
    before, starts = seen(machine), machine.starts
    predicted = run(machine, check=True, **options)
    assert seen(machine) == before and machine.starts == starts and not machine.names("/var/lib/buildfleet")
    done = run(machine, **options)
    for result in (predicted, done):
        result.pop("invocation")
    assert done == predicted
    assert bool(done.get("failed")) == (case in FAIL), done
    assert machine.starts - starts == (1 if done["restarted"] else 0)
    if done.get("failed"):
        assert seen(machine) == before
        return
    after = {}
    for one in done["diff"]:
        path = one["after_header"].rpartition(" (")[0]
        after[path] = one["after"]
        assert (path in machine.files) == ("(absent)" not in one["after_header"])
        if path in machine.files and "xxxxx" not in one["after"]:
            assert machine.files[path].contents.decode() == one["after"]
    assert {path for path, file in seen(machine).items() if before.get(path) != file} <= set(after)


@pytest.mark.parametrize("case", [case for case in CASES if case not in FAIL])
def test_the_second_run_does_nothing_and_undo_gives_back_every_byte(run, case):
    make, options = CASES[case]
    machine = make()
    before = seen(machine)
    done = run(machine, **options)
    assert not done.get("failed"), done
    again = run(machine, **options)
    assert not again["changed"] and not again["diff"]
    predicted, done = run(machine, check=True, state="absent", restart="if_needed"), run(machine, state="absent", restart="if_needed")
    assert {**predicted, "invocation": 0} == {**done, "invocation": 0}
    assert seen(machine) == before
    assert not run(machine, state="absent", restart="if_needed")["changed"]


@pytest.mark.parametrize(
    ("options", "texts", "urls"),
    [
        pytest.param(ASKED, 4, 2, id="three keys: the file before, after each key"),
        pytest.param({"registry_mirrors": ["https://m.example.com"]}, 2, 0, id="one key: the file before and after"),
    ],
)
def test_each_text_of_daemon_json_and_each_proxy_is_parsed_once(run, monkeypatch, options, texts, urls):
    machine = Machine(**{CONFIG: b'{\n\t"debug": true\n}'})
    json_file.parsed.cache_clear()
    parsed, read, parse, read_url = [], [], json_file.Document.__init__, values.proxy
    monkeypatch.setattr(json_file.Document, "__init__", lambda document, contents, path: (parsed.append(contents), parse(document, contents, path))[1])
    monkeypatch.setattr(values, "proxy", lambda *given: (read.append(given), read_url(*given))[1])
    assert run(machine, **options)["changed"]
    assert len(parsed) == len(set(parsed)) == texts
    assert len(read) == urls


def test_the_next_idle_run_finishes(run):
    machine = say(Machine(), ContainersRunning=1)
    first = run(machine, **ASKED)
    assert first["changed"] and first["restart_pending"] and first["pending_reason"] == "1 running container would be stopped (live-restore is off)"
    assert first["proxies"] == {"http_proxy": "", "https_proxy": "", "no_proxy": ""}  # in force, not in the file
    machine.info["ContainersRunning"] = 0
    second = run(machine, **ASKED)
    assert second["restarted"] and not second["restart_pending"] and second["proxies"]["https_proxy"] == URL


def test_an_upgrade_from_20_to_26_moves_the_settings_and_undo_gives_back_every_byte(run):
    machine = Machine("20.10.24", **{CONFIG: b'{"debug":true}', DOCS: b'[Service]\nEnvironment="HTTP_PROXY=http://old:1"\n'})
    before = seen(machine)
    run(machine, **ASKED, adopt=True)
    assert f"{DROP_INS}/zz-buildfleet.env" in machine.files
    machine.version = "26.1.5"
    machine.start()
    moved = run(machine, **ASKED, adopt=True)
    assert moved["mechanism"] == "daemon_json" and f"{DROP_INS}/zz-buildfleet.env" not in machine.files and b"proxies" in machine.files[CONFIG].contents
    assert run(machine, state="absent")["restarted"]
    assert seen(machine) == before


# --- from the files of others ---------------------------------------------------------------------

MIGRATIONS = {
    "Docker's documentation": {DOCS: f'[Service]\nEnvironment="HTTP_PROXY={OTHER}"\nEnvironment="HTTPS_PROXY={OTHER}"\nEnvironment="NO_PROXY=localhost"\n'},
    "geerlingguy: a dict as daemon.json": {CONFIG: json.dumps({"proxies": {"http-proxy": OTHER, "no-proxy": "x"}, "log-driver": "journald"}, indent=4)},
    "nickjj: environment.conf": {f"{DROP_INS}/environment.conf": f'[Service]\nEnvironment="HTTP_PROXY={OTHER}"\nEnvironment="TMPDIR=/mnt/docker"\n'},
    "kubespray: one line": {DOCS: f'[Service]\nEnvironment="HTTP_PROXY={OTHER}" "HTTPS_PROXY={OTHER}" "NO_PROXY=10.0.0.1,.svc"\n'},
    "kolla: a drop-in that replaces ExecStart": {
        f"{DROP_INS}/kolla.conf": f"[Service]\nEnvironment=HTTP_PROXY={OTHER}\nExecStart=\nExecStart=/usr/bin/dockerd --log-opt max-file=5\n"
    },
    "haxorof: an environment file": {
        f"{DROP_INS}/default.conf": "[Service]\nEnvironmentFile=-/etc/default/docker-envs\nExecStart=\nExecStart=/usr/bin/dockerd\n",
        "/etc/default/docker-envs": f'HTTPS_PROXY="{OTHER}"\nNO_PROXY=localhost\nKEEP=1\n',
    },
    "ceph-ansible: closed already": {f"{DROP_INS}/proxy.conf": File(f'[Service]\nEnvironment="HTTPS_PROXY={OTHER}"\n'.encode(), 0o600)},
    "sous-chefs: continued lines": {f"{DROP_INS}/service-override.conf": f'[Service]\nEnvironment="HTTP_PROXY={OTHER}" \\\n  "HTTPS_PROXY={OTHER}"\n'},
    "osism: proxies in daemon.json": {CONFIG: f'{{\n  "proxies": {{ "http-proxy": "{OTHER}", "https-proxy": "{OTHER}" }},\n  "live-restore": true\n}}\n'},
    "two at once": {DOCS: f"[Service]\nEnvironment=HTTP_PROXY={OTHER}\n", DEFAULTS: f"http_proxy={OTHER}\n"},
}


def as_files(files):
    return {path: file if isinstance(file, File) else file.encode() for path, file in files.items()}


IN_CONFIG = [source for source, files in MIGRATIONS.items() if CONFIG in files]


@pytest.mark.parametrize("source", IN_CONFIG)
def test_20_10_does_not_start_with_proxies_in_daemon_json(source):
    assert Machine("20.10.24", **as_files(MIGRATIONS[source])).info is None


@pytest.mark.parametrize(
    ("source", "engine"), [(source, engine) for engine in ("20.10.24", "26.1.5") for source in MIGRATIONS if engine == "26.1.5" or source not in IN_CONFIG]
)
def test_settings_of_others_are_taken_over_and_given_back(run, source, engine):
    files = MIGRATIONS[source]
    machine = Machine(engine, **as_files(files))
    before = seen(machine)
    done = run(machine, https_proxy=URL, adopt=True)
    assert not done.get("failed"), done
    assert done["proxies"] == {"http_proxy": "", "https_proxy": URL, "no_proxy": ""}
    assert not any(OTHER in file.contents.decode() for path, file in machine.files.items() if not path.startswith("/var/lib/"))
    assert bool(done["conflicts"]) == (CONFIG not in files)
    assert run(machine, state="absent")["restarted"]
    assert seen(machine) == before


def test_puppets_exports_without_systemd(run):
    machine = Machine("20.10.24", unit=None, **{DEFAULTS: f"export http_proxy='{OTHER}'\nexport TMPDIR=/x\n".encode()})
    before = seen(machine)
    done = run(machine, https_proxy=URL, adopt=True)
    assert done["mechanism"] == "sysvinit" and done["proxies"]["http_proxy"] == ""
    assert machine.files[DEFAULTS].contents.startswith(b"export TMPDIR=/x\nexport HTTPS_PROXY=")
    run(machine, state="absent")
    assert seen(machine) == before


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
OURS = st.fixed_dictionaries(
    {},
    optional={
        "proxies": st.fixed_dictionaries({}, optional={"http-proxy": st.just(OTHER), "https-proxy": st.just(URL), "no-proxy": st.just("b,a")}),
        "registry-mirrors": st.lists(st.sampled_from(["https://m.example.com", "https://n.example.com/"]), max_size=2, unique=True),
        "insecure-registries": st.lists(st.just("r:5000"), max_size=1),
    },
)


@pytest.mark.slow
@settings(deadline=None)
@given(
    st.dictionaries(st.text(min_size=1, max_size=4).map("x-{}".format), VALUES, max_size=3),
    OURS,
    st.randoms(use_true_random=False),
    st.sampled_from([None, 1, 4, "\t"]),
    st.sampled_from([b"", b"\n", b"\r\n\r\n"]),
    st.booleans(),
)
def test_any_daemon_json_keeps_what_is_not_ours_and_comes_back_whole(others, ours, random, indent, end, windows):
    items = [*others.items(), *ours.items()]
    random.shuffle(items)
    contents = json.dumps(dict(items), indent=indent, ensure_ascii=windows).encode("utf-8", "surrogatepass") + end
    contents = contents.replace(b"\n", b"\r\n") if windows else contents
    assume(b"\xed" not in contents)
    machine = Machine(running=False, **{CONFIG: contents})
    before = seen(machine)
    options = {"https_proxy": URL, "no_proxy": ["a", "b"], "registry_mirrors": ["https://n.example.com"]}
    wish, _warnings = daemon_proxy.wanted(options, "26.1.5", "")
    record = Record(machine, "test")
    plan = daemon_proxy.present(wish, observe(machine, "docker", None), record, "auto", False)
    record.remember(plan.changes)
    record.put_note("written", daemon_proxy.written(record, observe(machine, "docker", None), plan))
    record.save()
    apply(machine, plan.changes)
    after = json.loads(machine.files[CONFIG].contents)
    assert [item for item in after.items() if item[0] in others] == [item for item in items if item[0] in others]
    assert after["proxies"]["https-proxy"] == URL and "http-proxy" not in after["proxies"] and set(after["proxies"]["no-proxy"].split(",")) == {"a", "b"}
    assert daemon_proxy.present(wish, observe(machine, "docker", None), record, "auto", False).changes == {}

    apply(machine, daemon_proxy.absent(observe(machine, "docker", None), Record(machine, "test")).changes)
    assert seen(machine) == before


# --- what others wrote, and a run is not about -------------------------------------------------------

MIRRORS = {"registry_mirrors": ["https://m.example.com"]}
ONLY_HTTPS = {"https_proxy": URL}
SLASH = "http://proxy.example.com:80/"
NOT_OURS = [
    pytest.param(
        {
            CONFIG: b'''{
  "registry-mirrors": ["https://docker.mirrors.example.com", "http://hub-mirror.example.com"],
  "insecure-registries": ["registry.example.com:5000", "http://docker.mirrors.example.com", "https://registry-1.docker.io", "decs.example.com"]
}'''
        },
        ONLY_HTTPS,
        id="insecure registries as URLs",
    ),
    pytest.param({CONFIG: b'{"insecure-registries":["192.168.1.1/16"]}'}, ONLY_HTTPS, id="host bits"),
    pytest.param({CONFIG: b'{"insecure-registries":["127.0.0.0/8"]}'}, ONLY_HTTPS, id="a network that Docker always has"),
    pytest.param({CONFIG: b'{"insecure-registries":["docker.io","registry-1.docker.io"]}'}, ONLY_HTTPS, id="docker.io"),
    pytest.param({}, {"insecure_registries": ["192.168.1.1/16"]}, id="host bits of our own"),
    pytest.param({DOCS: f'[Service]\nEnvironment="HTTP_PROXY={SLASH}" "HTTPS_PROXY={SLASH}" "NO_PROXY=localhost"\n'.encode()}, MIRRORS, id="a final slash"),
    pytest.param({DOCS: f'[Service]\nEnvironment="HTTPS_PROXY={SLASH}"\n'.encode()}, MIRRORS, id="a final slash, https alone"),
    pytest.param({DOCS: f"[Service]\nEnvironment=HTTPS_PROXY={SLASH[:7]}u:p%%40@{SLASH[7:]}a b\n".encode()}, MIRRORS, id="credentials and a path"),
    pytest.param({CONFIG: f'{{"proxies":{{"https-proxy":"{SLASH}"}}}}'.encode()}, MIRRORS, id="a final slash in daemon.json"),
    pytest.param(
        {CONFIG: b'{"registry-mirrors":["https://a.example.com","https://b.example.com","https://a.example.com/"]}'}, ONLY_HTTPS, id="duplicate mirrors"
    ),
    pytest.param({}, {"registry_mirrors": ["https://a.example.com", "https://a.example.com/"]}, id="duplicate mirrors of our own"),
    pytest.param({DOCS: b'[Service]\nEnvironment="HTTPS_PROXY=http://joe:Passw%40rd@p.example.com"\nEnvironment="NO_PROXY=127.0.0.1"\n'}, MIRRORS, id="%40"),
    pytest.param(
        {DOCS: b'[Service]\nEnvironment="HTTP_PROXY=http://domain%5Cuser:complex%23pass@proxy.example.com:8080/"\n'}, ONLY_HTTPS, id="%5C, and it does not win"
    ),
    pytest.param({DOCS: b"[Service]\nEnvironment=HTTPS_PROXY=http://%H.example.com\n"}, MIRRORS, id="a specifier"),
    pytest.param({DOCS: f'[Service] Environment="HTTP_PROXY={OTHER}"\n'.encode()}, ONLY_HTTPS, id="no section"),
    pytest.param({DEFAULTS: f'export https_proxy="{OTHER}"\n'.encode()}, ONLY_HTTPS, id="export"),
]  # fmt: skip


# 20.10 does not start with proxies in daemon.json.
RUNS = [
    pytest.param(*case.values, engine, id=f"{case.id}, {engine}")
    for engine in ("20.10.24", "26.1.5", "28.5.2")
    for case in NOT_OURS
    if (engine, case.id) != ("20.10.24", "a final slash in daemon.json")
]


@pytest.mark.parametrize(("files", "options", "engine"), RUNS)
def test_what_a_run_is_not_about_decides_nothing(run, engine, files, options):
    machine = Machine(engine, **files)
    assert machine.info is not None
    before, ran = seen(machine), dict(machine.info)
    for check in (True, False):
        done = run(machine, check=check, **options)
        assert (done.get("failed"), done.get("restarted"), done.get("rolled_back")) == (None, True, False), done
    assert machine.starts == 1
    again = run(machine, **options)
    assert (again["changed"], again["restart_pending"], machine.starts) == (False, False, 1)
    undone = run(machine, state="absent")
    assert (undone.get("failed"), undone["restarted"], machine.starts) == (None, True, 2), undone
    assert (seen(machine), machine.info) == (before, ran)


def test_a_setting_of_others_that_waits_for_a_start_is_left_to_wait(run):
    machine = Machine()
    run(machine, **MIRRORS)
    contents = machine.files[CONFIG].contents.replace(b"{", b'{"proxies": {"https-proxy": "http://other.example.com:1"}, "insecure-registries": ["r:1"],', 1)
    machine.write(CONFIG, File(contents))
    again = run(machine, **MIRRORS)
    assert (again["changed"], again["restart_pending"]) == (False, False)


def test_what_an_earlier_run_wrote_is_started_by_one_that_is_about_something_else(run):
    machine = Machine()
    assert run(machine, **ONLY_HTTPS, restart="never")["restart_pending"]
    assert run(machine, **MIRRORS, restart="never")["restart_pending"]
    done = run(machine, **MIRRORS)
    assert (done["restarted"], done["proxies"]["https_proxy"], done["registry_mirrors"]) == (True, URL, MIRRORS["registry_mirrors"])
    assert not run(machine, **MIRRORS)["changed"]


def test_undo_of_what_was_never_started_restarts_nothing(run):
    machine = Machine(**{CONFIG: b'{"insecure-registries": ["http://r.example.com"]}'})
    before = seen(machine)
    run(machine, **ONLY_HTTPS, restart="never")
    undone = run(machine, state="absent")
    assert (undone["changed"], undone["restarted"], undone["restart_pending"]) == (True, False, False)
    assert seen(machine) == before and not machine.names("/var/lib/buildfleet")


def test_undo_on_a_host_that_we_never_configured_restarts_nothing(run):
    machine = Machine()
    machine.write(CONFIG, File(b'{"registry-mirrors": ["https://a.example.com"]}'))
    done = run(machine, state="absent")
    assert (done["changed"], done["restart_pending"]) == (False, False)


def test_undo_leaves_a_key_that_others_added_between_two_runs(run):
    machine = Machine()
    run(machine, **ONLY_HTTPS)
    machine.write(CONFIG, File(machine.files[CONFIG].contents.replace(b"{", b'{"registry-mirrors": ["https://a.example.com"],', 1)))
    run(machine, **ONLY_HTTPS, no_proxy=["a"])
    undone = run(machine, state="absent")
    assert not undone.get("failed") and json.loads(machine.files[CONFIG].contents) == {"registry-mirrors": ["https://a.example.com"]}


def test_a_value_of_ours_that_stays_after_undo_is_rolled_back(run):
    machine = Machine()
    run(machine, **ONLY_HTTPS)
    kept, start = seen(machine), machine.start

    def stubborn():
        start()
        machine.info["HttpsProxy"] = URL
        return True

    machine.start = stubborn
    done = run(machine, state="absent")
    assert done["rolled_back"] and seen(machine) == kept
    assert done["msg"] == "Docker runs, but without the requested https_proxy; every file was restored and docker is up again with its old settings."


def test_undo_does_not_judge_what_others_wrote(run):
    machine = Machine()
    run(machine, **MIRRORS)
    start = machine.start

    def another():
        start()
        machine.info["RegistryConfig"]["Mirrors"] = ["https://z.example.com/"]
        return True

    machine.start = another
    assert not run(machine, state="absent").get("failed")


def test_undo_gives_back_files_with_which_docker_never_started_and_leaves_it_running(run):
    machine = Machine("20.10.24", **{CONFIG: b'{"proxies": {"https-proxy": "http://old.example.com:1"}}'})
    assert machine.info is None
    before = seen(machine)
    assert run(machine, **ONLY_HTTPS)["restarted"] and machine.info["HttpsProxy"] == URL
    starts = machine.starts
    for check in (True, False):
        undone = run(machine, check=check, state="absent")
        assert (undone.get("failed"), undone["changed"], undone["restarted"], undone["restart_pending"]) == (None, True, False, False)
        assert undone["conflicts"] == [
            "Docker was not restarted and keeps our settings until its next start, as it does not start with the original files: "
            f"{CONFIG}, line 1, column 2: engine 20.10.24 does not start with 'proxies' in daemon.json (supported from 23.0). Remove it."
        ]
    assert (seen(machine), machine.starts) == (before, starts) and not machine.names("/var/lib/buildfleet")


def test_a_daemon_that_runs_without_a_wanted_setting_is_not_said_to_be_down(run):
    machine = Machine()
    before, start = seen(machine), machine.start

    def forgetful():
        start()
        machine.info["HttpsProxy"] = ""
        return True

    machine.start = forgetful
    done = run(machine, **ONLY_HTTPS)
    assert done["rolled_back"] and seen(machine) == before
    assert done["msg"] == "Docker runs, but without the requested https_proxy; every file was restored and docker is up again with its old settings."


def test_buildkit_reads_the_scheme_of_an_insecure_registry_that_docker_info_hides(run):
    machine = Machine(**{CONFIG: b'{"insecure-registries": ["m.example.com:5000"]}'})
    options = {"insecure_registries": ["m.example.com:5000"]}
    assert not run(machine, **options)["changed"]
    machine.write(CONFIG, File(b'{"insecure-registries": ["http://m.example.com:5000"]}'))
    assert run(machine, **options)["changed"]
    machine.write(CONFIG, File(b'{"insecure-registries": ["http://m.example.com:5000", "192.168.1.1/16"]}'))
    machine.start()
    assert run(machine, insecure_registries=["m.example.com:5000", "192.168.0.0/16"])["changed"]


def test_another_order_of_mirrors_restarts(run):
    machine = Machine()
    assert run(machine, registry_mirrors=["https://a.example.com", "https://b.example.com"])["restarted"]
    assert run(machine, registry_mirrors=["https://b.example.com/", "https://a.example.com"])["restarted"]
    assert not run(machine, registry_mirrors=["https://b.example.com", "https://a.example.com/"])["changed"]


# --- refused --------------------------------------------------------------------------------------

REFUSED = [
    ({CONFIG: b'{"a": 1,}'}, {}, f"{CONFIG}, line 1, column 8: a ',' is before the closing '}}', which JSON does not allow. Remove the ','."),
    ({CONFIG: b'{"proxies": 1}'}, {}, f"{CONFIG}, line 1, column 2: 'proxies' must be an object. Write it as "),
    ({CONFIG: b'{\n "httpProxy": "x"}'}, {}, f"{CONFIG}, line 2, column 2: Docker does not start with the key 'httpProxy' at the top of daemon.json"),
    ({CONFIG: b'{"http-proxy": "x"}'}, {}, f"{CONFIG}, line 1, column 2: the engine ignores 'http-proxy' at the top of daemon.json"),
    ({CONFIG: b'{"proxies": {"default": {}}}'}, {}, f"{CONFIG}, line 1, column 14: Docker does not start with the key 'default' in 'proxies'"),
    ({CONFIG: b'{"registry-mirrors": "https://m"}'}, {}, f"{CONFIG}, line 1, column 2: 'registry-mirrors' must be a list of strings."),
    ({CONFIG: b'{"registry-mirrors": ["m.example.com"]}'}, {}, f"{CONFIG}, line 1, column 2, entry 1: registry_mirrors: 'm.example.com': a mirror URL needs"),
    (
        {CONFIG: b'{"registry-mirrors": ["https://m.example.com/%zz"]}'},
        {},
        f"{CONFIG}, line 1, column 2, entry 1: Docker does not start with the mirror 'https://m.example.com/%zz': it is not a valid URL. Write https://host",
    ),
    ({CONFIG: b'{"bip": "999.1.1.1/8"}'}, {}, f"{CONFIG}, line 1, column 2: 'bip' is '999.1.1.1/8', with which Docker does not start."),
    ({CONFIG: b'{"hosts": []}'}, {}, f"{CONFIG}, line 1, column 2: 'hosts' is set here and by --host on the command line ({DEBIAN[0]}, line 3)"),
    ({DEFAULTS: b"# x\nDOCKER_OPTS=--http-proxy=http://p:1\n"}, {}, f"http_proxy: {DEFAULTS}, line 2 has --http-proxy on the command line"),
    ({DOCS: b"[Service]\nEnvironment=HTTP_PROXY=http://p:1\n"}, {}, f"http_proxy: {DOCS}, line 2 sets HTTP_PROXY, which would override this option. Remove"),
    ({}, {"https_proxy": "ftp://p:1"}, "https_proxy: the scheme 'ftp' is not supported by Docker. Use one of http, https, socks5, socks5h."),
    ({}, {"registry_mirrors": ["https://m.example.com?a"]}, "registry_mirrors: 'https://m.example.com?a': the URL has a query or fragment"),
    ({}, {"mechanism": "sysvinit"}, "mechanism: sysvinit: the daemon of this host is started by systemd. Use mechanism: auto."),
]


def test_a_key_that_the_engine_ignores_stops_no_run_that_asks_for_something_else(run):
    machine = Machine(**{CONFIG: b'{"http-proxy": "x"}'})
    assert run(machine, registry_mirrors=["https://m.example.com"])["restarted"]
    assert machine.files[CONFIG].contents == b'{"http-proxy": "x", "registry-mirrors": ["https://m.example.com"]}'


@pytest.mark.parametrize(("files", "options", "message"), REFUSED)
def test_what_cannot_work_is_refused_by_its_place_and_nothing_is_written(run, files, options, message):
    machine = Machine(running=False, **files)
    before = seen(machine)
    done = run(machine, **{"https_proxy": URL, **options})
    assert done.get("failed") and done["msg"].startswith(message), done["msg"]
    assert (done["changed"], done["restarted"], done["rolled_back"]) == (False, False, False)
    assert seen(machine) == before and not machine.names("/var/lib/buildfleet")


def test_present_without_a_setting_is_refused(run):
    machine = Machine()
    before = seen(machine)
    done = run(machine)
    assert done["failed"] and done["msg"] == (
        "state: present needs at least one of http_proxy, https_proxy, no_proxy, registry_mirrors, insecure_registries. Set one, or use state: absent."
    )
    assert (done["changed"], done["restarted"], done["rolled_back"]) == (False, False, False) and seen(machine) == before


@pytest.mark.parametrize(
    ("contents", "words"), [(b"", "the file is empty"), (b"\xef\xbb\xbf{}", "a byte order mark"), (b'{"proxies": {"x": 1}}', "'x' in 'proxies'")]
)
def test_what_20_10_does_not_start_with(run, contents, words):
    done = run(Machine("20.10.24", running=False, **{CONFIG: contents}), https_proxy=URL)
    assert words in done["msg"]


@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        ("dockerd -H", "Write {}, or remove it."),
        (f"dockerd --config-file={CONFIG} -H", f"Let --config-file ({DEBIAN[0]}, line 3) name a file that contains {{}}, or remove the flag."),
    ],
    ids=["by default", "named by a flag"],
)
def test_the_remedy_for_an_empty_file_is_one_with_which_20_10_starts(run, command, remedy):
    machine = Machine("20.10.24", running=False, unit=(DEBIAN[0], DEBIAN[1].replace("dockerd -H", command)), **{CONFIG: b""})
    done = run(machine, https_proxy=URL)
    assert done["msg"] == f"{CONFIG}, line 1, column 1: the file is empty; engine 20.10.24 does not start with it. {remedy}"


def test_where_no_record_can_be_kept_nothing_is_written_and_check_mode_says_it_too(run):
    machine = Machine()
    machine.read_only = "/var/lib/buildfleet"
    before = seen(machine)
    for check in (True, False):
        done = run(machine, registry_mirrors=["https://m.example.com"], check=check)
        assert done["msg"] == f"/var/lib/buildfleet/docker_daemon_proxy.docker.json {CANNOT_WRITE}. Nothing was written." and seen(machine) == before


@pytest.mark.parametrize("engine", ["20.10.24", "26.1.5"])
def test_a_file_that_contains_only_null_is_an_empty_object_for_every_engine(run, engine):
    machine = Machine(engine, **{CONFIG: b"null\n"})
    done = run(machine, registry_mirrors=["https://m.example.com"])
    assert (done["changed"], done["restarted"]) == (True, True) and not done.get("failed")
    assert machine.read(CONFIG).contents == b'{\n  "registry-mirrors": [\n    "https://m.example.com"\n  ]\n}\n'
    assert run(machine, state="absent")["changed"] and machine.read(CONFIG).contents == b"null\n"


def test_a_daemon_that_reads_no_file_is_not_given_one(run):
    unit = DEBIAN[1].replace("dockerd -H", 'dockerd --config-file "" -H')
    machine = Machine(unit=(DEBIAN[0], unit))
    before = seen(machine)
    done = run(machine, registry_mirrors=["https://m.example.com"])
    assert done["failed"] and seen(machine) == before
    assert done["msg"] == (f"{DEBIAN[0]}, line 3: --config-file has no value, so Docker reads no daemon.json. Nothing was written. Remove the flag there.")


@pytest.mark.parametrize(
    ("drop_in", "message"),
    [
        pytest.param(
            "EnvironmentFile=-/etc/sysconfig/docker\n",
            "https_proxy: /etc/sysconfig/docker, line 1 sets HTTPS_PROXY, which would override this option. "
            "Remove it there, or set adopt: true to take it over (the record keeps it, and state: absent restores it).",
            id="it names a file of its own",
        ),
        pytest.param(
            "EnvironmentFile=\n",
            f"https_proxy: {DROP_INS}/zzz.conf, line 2 takes from Docker what {DROP_INS}/zz-buildfleet.env sets. Remove that line.",
            id="it ends the list of files",
        ),
        pytest.param(
            "UnsetEnvironment=HTTP_PROXY\nUnsetEnvironment=https_proxy HTTPS_PROXY\n",
            f"https_proxy: {DROP_INS}/zzz.conf, line 3 takes from Docker what {DROP_INS}/zz-buildfleet.env sets. Remove that line.",
            id="it unsets the variable",
        ),
    ],
)
def test_a_drop_in_that_sorts_after_ours_wins(run, drop_in, message):
    files = {f"{DROP_INS}/zzz.conf": f"[Service]\n{drop_in}".encode(), "/etc/sysconfig/docker": b"HTTPS_PROXY=http://p.example.com:82\n"}
    machine = Machine("20.10.24", **files)
    before = seen(machine)
    done = run(machine, https_proxy=URL)
    assert done["failed"] and done["msg"] == message and seen(machine) == before and not done["rolled_back"]


def test_socks5h_where_the_engines_go_does_not_know_it(run):
    machine = Machine()
    assert not run(machine, check=True, https_proxy="socks5h://p.example.com:1080").get("failed")
    machine.extra = {"/version": {"Version": "26.1.5", "GoVersion": "go1.21.13"}}
    assert "go1.21.13, which does not support socks5h" in run(machine, https_proxy="socks5h://p.example.com:1080")["msg"]


def test_the_managers_own_environment_is_named(run):
    machine = Machine()
    machine.manager = "LANG=C\nHTTP_PROXY=http://p:1\n"
    done = run(machine, https_proxy=URL, adopt=True)
    assert "Remove it from DefaultEnvironment= in /etc/systemd/system.conf, then: systemctl unset-environment HTTP_PROXY http_proxy." in done["msg"]
    assert not run(machine, https_proxy=URL, http_proxy=URL).get("failed")


def test_no_engine(run):
    machine = Machine("")
    failed, warned = run(machine, **ASKED), run(machine, check=True, **ASKED)
    assert failed["msg"].startswith("There is no Docker Engine on this host") and not warned.get("failed")
    assert any("nothing could be predicted" in str(one) for one in warned["warnings"])
    assert run(machine, **ASKED, mechanism="daemon_json")["changed"] and b"https-proxy" in machine.files[CONFIG].contents


KINDS = {
    "Docker Desktop": ({"/version": {"Platform": {"Name": "Docker Desktop 4.40"}}}, {}, "Resources > Proxies"),
    "rootless by its socket": ({}, {"/run/user/1000/docker.sock": b""}, "systemctl --user restart docker"),
    "rootless": ({"/version": {"Version": "26.1"}, "/info": {"SecurityOptions": ["name=rootless"]}}, {}, "~/.config/docker/daemon.json"),
    "snap": ({"/version": {"Version": "26.1"}, "/info": {"DockerRootDir": "/var/snap/docker/common/var-lib-docker"}}, {}, "snap restart docker"),
    "snap, stopped": ({}, {"/var/snap/docker/current/config/daemon.json": b"{}"}, "snap restart docker"),
    "Docker Desktop's package": ({}, {"/opt/docker-desktop/bin/x": b""}, "Resources > Proxies"),
    "podman": ({"/version": {"Components": [{"Name": "Podman Engine"}]}}, {}, "registries.conf.d"),
    "podman without a service": ({}, {"/usr/lib/tmpfiles.d/podman-docker.conf": b""}, "registries.conf.d"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_not_here_do_this_instead(run, kind):
    answers, files, remedy = KINDS[kind]
    machine = Machine("", **files)
    machine.extra = answers
    before = seen(machine)
    for check in (True, False):
        done = run(machine, check=check, **ASKED, mechanism="daemon_json")
        assert done.get("failed") and remedy in done["msg"]
    assert seen(machine) == before


def test_an_ordinary_engine_that_is_down_is_configured_here(run):
    machine = Machine("", **{"/usr/bin/dockerd": b"", "/var/snap/docker/current/x": b"", "/usr/lib/tmpfiles.d/podman-docker.conf": b""})
    assert run(machine, **ASKED, mechanism="daemon_json")["changed"]


def test_wsl_without_systemd(run):
    machine = Machine("", unit=None, **{"/proc/sys/kernel/osrelease": b"6.6.87.2-microsoft-standard-WSL2\n"})
    assert "[boot] in /etc/wsl.conf" in run(machine, **ASKED)["msg"]


# --- restarts -------------------------------------------------------------------------------------


def test_a_daemon_that_does_not_start_gets_everything_back(run):
    machine = Machine(**{CONFIG: b'{"debug": true}'})
    before = seen(machine)
    machine.broken = lambda config: "proxies" in config
    done = run(machine, **ASKED)
    assert done["failed"] and done["rolled_back"] and done["restarted"] and "docker is up again with its old settings" in done["msg"]
    assert seen(machine) == before and machine.info is not None
    assert not machine.names("/var/lib/buildfleet") and machine.gone == ["/var/lib/buildfleet"]
    machine.broken = lambda config: False
    run(machine, **ASKED)
    assert not run(machine, state="absent")["conflicts"]
    assert seen(machine) == before


def test_a_rollback_leaves_the_record_of_the_run_before(run):
    machine = Machine()
    run(machine, registry_mirrors=["https://m.example.com"])
    before, record = seen(machine), dict(machine.files)["/var/lib/buildfleet/docker_daemon_proxy.docker.json"]
    machine.broken = lambda config: "proxies" in config
    assert run(machine, **ASKED)["rolled_back"]
    assert seen(machine) == before and machine.files["/var/lib/buildfleet/docker_daemon_proxy.docker.json"] == record


def test_a_file_that_cannot_be_written_leaves_the_others_alone(run):
    machine = Machine("20.10.24")
    before = seen(machine)
    machine.unwritable = f"{DROP_INS}/zz-buildfleet.conf"
    done = run(machine, **ASKED)
    assert "Read-only file system. Every file was restored, and Docker was not restarted." in done["msg"] and done["rolled_back"]
    assert seen(machine) == before
    assert not machine.names("/var/lib/buildfleet") and machine.gone == [DROP_INS, "/var/lib/buildfleet"]


# --- broken before --------------------------------------------------------------------------------


def failed(machine, config=None, state="failed"):
    machine.info, machine.state = None, state
    if config:
        machine.write(CONFIG, File(config))
    machine.starts = 0
    return machine


def two_exec_starts(machine):
    machine.write(f"{DROP_INS}/option.conf", File(b"[Service]\nExecStart=/usr/bin/dockerd -H fd://\n"))
    machine.verify = "docker.service: Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services. Refusing.\n"
    return machine


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("options", [ASKED, {"registry_mirrors": ["https://m.example.com"]}, {**ASKED, "restart": "never"}])
@pytest.mark.parametrize(
    ("machine", "message"),
    [
        pytest.param(
            lambda: failed(Machine()), "Docker does not run (docker.service is failed). Its log says: failed to start daemon: no such runtime. "
            "Nothing was written. Repair that, start Docker (systemctl start docker). Then run this again.", id="failed",
        ),
        pytest.param(
            lambda: two_exec_starts(Machine("20.10.24")), f"{DROP_INS}/option.conf, line 2: this is a second ExecStart= of docker.service, so systemd does not "
            "start it. systemd's message: Service has more than one ExecStart= setting, which is only allowed for Type=oneshot services. Refusing. Nothing was "
            "written. Write a line 'ExecStart=' without a value before it, or remove it; then: systemctl daemon-reload, systemctl start docker. "
            "Then run this again.", id="two ExecStart beside a running engine",
        ),
    ],
)  # fmt: skip
def test_a_host_that_was_broken_before_is_left_as_it_is(run, machine, message, options, check):
    machine = machine()
    before = dict(machine.files)
    done = run(machine, check, **options)
    assert done["failed"] and done["msg"] == message
    assert (done["changed"], done["restarted"], done["rolled_back"]) == (False, False, False)
    assert machine.files == before and machine.starts == 0


def test_a_bad_mirror_of_others_that_ours_replace_is_repaired(run):
    machine = failed(Machine(), b'{"registry-mirrors": ["m.example.com"]}')
    done = run(machine, registry_mirrors=["https://m.example.com"])
    assert done["changed"] and done["restarted"] and machine.info is not None


def test_a_host_that_was_broken_meanwhile_still_gets_its_first_files_back(run):
    machine = Machine("20.10.24")
    before = seen(machine)
    run(machine, **ASKED)
    two_exec_starts(machine)
    machine.starts = 0
    done = run(machine, state="absent")
    assert (
        done["changed"] and done["restart_pending"] and "a second ExecStart=" in done["pending_reason"] and "Nothing was written" not in done["pending_reason"]
    )
    assert machine.starts == 0 and {path for path in seen(machine) if path not in before} == {f"{DROP_INS}/option.conf"}


# --- the record -----------------------------------------------------------------------------------

SECRET = {**ASKED, "proxy_username": "joe", "proxy_password": "s3cret-pass"}
THEIRS = b'{"debug": true, "data-root": "/srv"}'


@pytest.mark.parametrize("first", [None, b'{"debug": false}'])
@pytest.mark.parametrize("theirs", [File(THEIRS, 0o644), File(THEIRS, 0o600), None])
@pytest.mark.parametrize("options", [SECRET, {"registry_mirrors": ["https://m.example.com"]}])
def test_a_file_that_others_put_in_the_place_of_ours_is_what_undo_gives_back(run, first, theirs, options):
    machine = Machine(**({CONFIG: first} if first else {}))
    run(machine, **options)
    machine.files.pop(CONFIG)
    if theirs:
        machine.write(CONFIG, theirs)
    machine.start()
    assert run(machine, **options)["changed"]
    assert not run(machine, state="absent")["conflicts"]
    assert machine.files.get(CONFIG) == theirs


@pytest.mark.parametrize("first", [None, File(b'{"debug": false}', 0o644), File(b'{"debug": false}', 0o640)])
def test_a_file_that_others_edited_beside_ours_gets_the_mode_back_that_they_gave_it(run, first):
    machine = Machine(**({CONFIG: first} if first else {}))
    run(machine, registry_mirrors=["https://m.example.com"])
    machine.write(CONFIG, File(machine.files[CONFIG].contents.replace(b"{", b'{"data-root": "/srv", ', 1), 0o444))
    machine.start()
    run(machine, **SECRET, registry_mirrors=["https://m.example.com"])
    assert machine.files[CONFIG].mode == 0o400
    assert run(machine, state="absent")["conflicts"]
    assert machine.files[CONFIG].mode == 0o444 and b'"data-root": "/srv"' in machine.files[CONFIG].contents


def test_a_file_that_others_closed_stays_closed(run):
    machine = Machine()
    run(machine, registry_mirrors=["https://m.example.com"])
    machine.write(CONFIG, machine.files[CONFIG]._replace(mode=0o600))
    assert not run(machine, registry_mirrors=["https://m.example.com"])["changed"]
    assert machine.files[CONFIG].mode == 0o600


def test_a_file_that_we_made_and_others_edited_is_readable_again(run):
    machine = Machine()
    run(machine, **SECRET)
    assert machine.files[CONFIG].mode == 0o600
    machine.write(CONFIG, machine.files[CONFIG]._replace(contents=machine.files[CONFIG].contents.replace(b"{", b'{"data-root": "/srv", ', 1)))
    machine.start()
    run(machine, state="absent")
    assert machine.files[CONFIG].mode == 0o644 and b"s3cret" not in machine.files[CONFIG].contents


def test_a_secret_that_others_put_beside_ours_stays_closed(run):
    machine = Machine("20.10.24", unit=None)
    run(machine, **SECRET)
    ours = machine.files[DEFAULTS]
    machine.write(DEFAULTS, ours._replace(contents=ours.contents + b"export FTP_PROXY=http://a:b@c:1\n"))
    machine.start()
    run(machine, state="absent")
    assert machine.files[DEFAULTS] == File(b"export FTP_PROXY=http://a:b@c:1\n", 0o600)


def test_a_daemon_that_was_stopped_on_purpose_is_left_so_and_that_is_said(run):
    machine = Machine(running=False)
    done = run(machine, **ASKED)
    assert done["changed"] and not done["restarted"] and machine.info is None and machine.starts == 0
    assert [one["event"]["msg"] for one in done["warnings"]] == [
        "Docker does not run (docker is inactive) and was not started: the new settings take effect at its next start (systemctl start docker)."
    ]


def test_a_socket_that_systemd_keeps_is_not_asked_since_that_would_start_the_daemon(run):
    machine = Machine(running=False)
    machine.socket, machine.extra = "listening", {"/version": {"Version": "26.1.5"}}
    asked = []
    machine.engine_api = lambda path, *more, **options: asked.append(path)
    assert run(machine, **ASKED)["changed"] and not asked


def test_nothing_is_undone_where_nothing_was_done(run):
    machine = Machine(**{CONFIG: b'{"debug": true} {"debug": true}'})
    before = dict(machine.files)
    done = run(machine, state="absent")
    assert not done.get("failed") and not done["changed"] and machine.files == before


def test_a_daemon_that_is_starting_is_looked_at_again(run):
    machine = Machine()
    info, machine.info, machine.state = machine.info, None, "activating"
    ran = machine.run

    def answered(argv, **options):
        if argv == ["systemctl", "show", "--property=SubState", "--", "docker.service"]:
            machine.info, machine.state = info, "active"
            return Run(0, "SubState=running\n", "")
        return ran(argv, **options)

    machine.run = answered
    assert run(machine, **ASKED)["restarted"]


def test_a_run_that_is_interrupted_gives_every_file_back(run):
    machine = Machine("20.10.24")
    before, write = seen(machine), machine.write

    def interrupted(path, file):
        if path == f"{DROP_INS}/zz-buildfleet.conf":
            raise KeyboardInterrupt
        write(path, file)

    machine.write = interrupted
    with pytest.raises(KeyboardInterrupt):
        run(machine, **ASKED)
    assert seen(machine) == before


@pytest.mark.parametrize(
    ("log", "words"),
    [(b"failed to start daemon: of yesterday\n", "failed to start daemon: no such runtime"), (None, "It did not answer within 60 s.")],
)
def test_without_systemd_the_words_come_from_the_daemons_own_log(run, log, words):
    path = "/var/log/docker.log"
    machine = Machine(unit=None, **({path: log} if log else {}))

    def start():
        machine.info = None
        if log:
            machine.files[path] = File(machine.files[path].contents + b"starting\nfailed to start daemon: no such runtime\n")

    machine.start = start
    assert run(machine, **ASKED)["msg"].endswith(f"(see {path}). Docker's message: {words}")


def test_a_rotated_password_restarts_though_docker_info_hides_it(run):
    machine = Machine()
    options = {**ASKED, "proxy_username": "joe"}
    assert run(machine, **options, proxy_password="first-pass")["restarted"]
    assert not run(machine, **options, proxy_password="first-pass")["changed"]
    assert run(machine, **options, proxy_password="second-pass")["restarted"]


def test_files_in_another_order_restart_nothing(run):
    machine = Machine(**{CONFIG: json.dumps({"proxies": {"no-proxy": "b,a"}, "insecure-registries": ["r:1", "q:1"]}).encode()})
    assert not run(machine, no_proxy=["a", "b"], insecure_registries=["q:1", "r:1"])["changed"]


def test_the_next_idle_run_finishes_where_no_trial_is_possible(run):
    machine = say(Machine(), ContainersRunning=1)
    machine.trial = Run(4, "", "unshare: not permitted")
    assert run(machine, **ASKED)["restart_pending"]
    machine.info["ContainersRunning"] = 0
    assert run(machine, **ASKED)["restarted"]


def test_a_fault_of_others_below_ours_is_not_forgotten_where_no_trial_is_possible(run):
    machine = edited(say(Machine(), ContainersRunning=1), Run(4, "", "unshare: not permitted"))
    assert run(machine, **ASKED)["restart_pending"]
    machine.info["ContainersRunning"] = 0
    done = run(machine, **ASKED)
    assert done["restart_pending"] and f"{CONFIG} was changed by others since Docker started" in done["pending_reason"]
    assert run(machine, **ASKED, validate=False)["restarted"]


def test_undo_does_not_meet_a_fault_of_others_either(run):
    machine = Machine()
    run(machine, **ASKED)
    machine.write(CONFIG, File(machine.files[CONFIG].contents.replace(b"{", b'{"hosts": [],', 1)))
    before = seen(machine)
    done = run(machine, state="absent")
    assert done["failed"] and "'hosts' is set here and by --host" in done["msg"] and seen(machine) == before


def test_a_daemon_that_hangs_is_not_idle(run):
    machine = Machine()
    machine.info, machine.state = None, "active"
    assert "does not answer" in run(machine, **ASKED)["pending_reason"]


def test_a_play_in_a_container_of_the_daemon_is_not_killed(run):
    machine = say(Machine(), ContainersRunning=1)
    container = {"Id": "e" * 64, "Names": ["/runner"], "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.2"}}}}
    machine.extra = {"/containers/json": [container]}
    ssh = machine.parents[os.getpid()] = 77
    for name, text in {
        "environ": b"A=1\0SSH_CONNECTION=172.17.0.2 4711 172.17.0.1 22\0",
        "mountinfo": f"1 2 0:1 /var/lib/docker/containers/{'e' * 64}/hostname /etc/hostname rw - ext4 x rw\n".encode(),
        "cgroup": f"0::/system.slice/docker-{'e' * 64}.scope\n".encode(),
    }.items():
        machine.files = {path: file for path, file in machine.files.items() if not path.startswith("/proc/")}
        machine.files[f"/proc/{ssh}/{name}"] = File(text)
        done = run(machine, **ASKED, restart="if_needed")
        assert done["restart_pending"] and done["pending_reason"].startswith("this play itself runs in the container runner of this daemon"), name
    machine.files.pop(f"/proc/{ssh}/cgroup")
    assert run(machine, **ASKED, restart="if_needed")["restarted"]


UNIX = (
    "Num RefCount Protocol Flags Type St Inode Path\n0: 00000002 00000000 00010000 0001 01 1 /run/docker.sock\n"
    "0: 00000003 00000000 00000000 0001 03 2 /run/docker.sock\n"
)
OUTGOING = "sl local rem st q t r uid timeout inode\n0: 0100007F:9000 0200007F:01BB 01 0:0 0:0 0 0 0 3 1\n"


LAYER, TMP = "/var/lib/docker/overlay2/a/merged", "/var/lib/docker/tmp/docker-builder1"
INGEST = "/io.containerd.content.v1.content/ingest/1"
NOW, LONG_AGO = 10**9, 10  # Machine starts its daemon at 1101, and this test looks on at 5000


@pytest.mark.parametrize(
    ("files", "opened", "changed", "words"),
    [
        pytest.param({}, (), {}, "", id="a monitor that listens"),
        pytest.param({f"/proc/{DOCKERD}/net/tcp": OUTGOING}, (), {}, "talks to a registry or a proxy", id="a pull"),
        pytest.param({f"/proc/{DOCKERD}/net/tcp": OUTGOING.replace(":01BB", ":0949")}, (), {}, "", id="a swarm"),
        pytest.param({f"{TMP}/x": ""}, (), {TMP: NOW}, "works in /var/lib/docker/tmp", id="a legacy build"),
        pytest.param({f"{TMP}/x": ""}, (f"{TMP}/x",), {}, "works in /var/lib/docker/tmp", id="a load whose body comes slowly"),
        pytest.param({f"{TMP}/x": ""}, (), {TMP: LONG_AGO}, "", id="a folder that a killed build left"),
        pytest.param({}, ("/var/lib/docker/image/overlay2/layerdb/tmp/write-set-1/tar-split.json.gz",), {}, "writes a layer", id="an import"),
        pytest.param({f"/var/lib/containerd{INGEST}/data": ""}, (), {f"/var/lib/containerd{INGEST}/data": NOW}, "writes a layer", id="into containerd"),
        pytest.param(
            {f"/var/lib/docker/containerd/daemon{INGEST}/data": ""}, (), {f"/var/lib/docker/containerd/daemon{INGEST}/data": NOW}, "writes a layer",
            id="into the containerd of the daemon",
        ),
        pytest.param({f"/var/lib/containerd{INGEST}/data": ""}, (), {f"/var/lib/containerd{INGEST}/data": LONG_AGO}, "", id="a transfer that broke off"),
        pytest.param({f"/proc/{DOCKERD}/mountinfo": f"9 1 0:1 / {LAYER} rw - overlay overlay rw\n"}, (), {LAYER: NOW}, "", id="a mount that was left"),
    ],
)  # fmt: skip
def test_work_asked_for_through_the_api(run, files, opened, changed, words):
    machine = Machine()
    machine.time = 5000.0
    machine.link = {f"/proc/{DOCKERD}/fd": ["socket:[1]", "socket:[2]", "socket:[3]", "/dev/null", *opened]}
    machine.changed.update(changed)
    for path, text in {f"/proc/{DOCKERD}/net/unix": UNIX, **files}.items():
        machine.files[path] = File(text.encode())
    reason = run(machine, check=True, **ASKED).get("pending_reason", "")
    assert (words in reason) if words else not reason
    machine.sleep = lambda seconds: machine.files.update({f"/proc/{DOCKERD}/net/unix": File(b"")})
    assert not run(machine, check=True, **ASKED).get("pending_reason"), "a request that ends while we look"
    machine.files[f"/proc/{DOCKERD}/net/unix"] = File(UNIX.splitlines()[0].encode())
    assert not run(machine, check=True, **ASKED).get("pending_reason")


def tcp(*servers):
    """The daemon's connections to these addresses, as Linux lists them, which is one of 8 or of 32 digits."""
    return "sl local remote st\n" + "".join(f"0: {'0' * (len(server) - 5)}:9000 {server} 01 0:0 0:0 0 0 0 3 1\n" for server in servers)


LOOPBACK, COLLECTOR, REGISTRY, IPV6 = "0100007F", "0A00390A", "0200007F", "B80D0120000000000000000001000000"  # 10.57.0.10, 127.0.0.2, 2001:db8::1
FLUENTD, SYSLOG, HTTPS = ":5EA0", ":0202", ":01BB"


def logging(driver="fluentd", **options):
    return {"HostConfig": {"LogConfig": {"Type": driver, "Config": {name.replace("_", "-"): value for name, value in options.items()}}}}


@pytest.mark.parametrize(
    ("containers", "connections", "postponed"),
    [
        pytest.param([logging()], [LOOPBACK + FLUENTD], False, id="fluentd at its usual place"),
        pytest.param([logging(fluentd_address="10.57.0.10:4711")], [COLLECTOR + ":1267"], False, id="fluentd elsewhere"),
        pytest.param([logging(fluentd_address="tls://logs.corp")], [COLLECTOR + FLUENTD], False, id="fluentd by name"),
        pytest.param([logging("gelf", gelf_address="tcp://logs.corp:12201")], [COLLECTOR + ":2FA9"], False, id="gelf"),
        pytest.param([logging("syslog", syslog_address="tcp+tls://logs.corp")], [COLLECTOR + SYSLOG], False, id="syslog"),
        pytest.param([logging("splunk", splunk_url="https://logs.corp:8088")], [COLLECTOR + ":1F98"], False, id="splunk"),
        pytest.param([logging("splunk", splunk_url="https://logs.corp")], [COLLECTOR + HTTPS], False, id="splunk at the port of https"),
        pytest.param([logging(fluentd_address="[2001:db8::1]:24224")], [IPV6 + FLUENTD], False, id="by IPv6"),
        pytest.param([logging(), logging()], [LOOPBACK + FLUENTD] * 2, False, id="two containers"),
        pytest.param([logging(), logging("json-file")], [LOOPBACK + FLUENTD], False, id="beside a container that logs into a file"),
        pytest.param([logging(), None], [LOOPBACK + FLUENTD], False, id="beside a container that ends while we look"),
        pytest.param([logging()], [LOOPBACK + FLUENTD, REGISTRY + HTTPS], True, id="a pull beside it"),
        pytest.param([logging()], [LOOPBACK + HTTPS], True, id="a pull from the same host"),
        pytest.param([logging("splunk", splunk_url="https://logs.corp")], [COLLECTOR + HTTPS] * 2, True, id="a pull through the same gateway"),
        pytest.param([logging("syslog", syslog_address="udp://logs.corp")], [COLLECTOR + SYSLOG], True, id="a driver that does not connect"),
        pytest.param([logging(fluentd_address="unix:///run/fluentd")], [LOOPBACK + FLUENTD], True, id="a driver that connects to a socket"),
        pytest.param([logging(fluentd_address="unknown.corp")], [COLLECTOR + FLUENTD], True, id="a name that nobody knows"),
        pytest.param([logging("json-file")], [COLLECTOR + FLUENTD], True, id="a container that logs into a file"),
        pytest.param([], [REGISTRY + HTTPS], True, id="no container"),
    ],
)
def test_a_connection_that_carries_logs_is_no_work(run, containers, connections, postponed):
    machine = say(Machine(), ContainersRunning=len(containers), LiveRestoreEnabled=True)
    machine.programs["getent ahosts logs.corp"] = "10.57.0.10 STREAM logs.corp\n10.57.0.10 DGRAM\n10.57.0.11 STREAM\n"
    machine.extra = {"/containers/json": [{"Id": str(number)} for number in range(len(containers))]}
    machine.extra.update({f"/containers/{number}/json": container for number, container in enumerate(containers)})
    machine.link = {f"/proc/{DOCKERD}/fd": ["socket:[1]", "socket:[2]", "socket:[3]"]}
    machine.files[f"/proc/{DOCKERD}/net/unix"] = File(UNIX.encode())
    machine.files[f"/proc/{DOCKERD}/net/tcp{'6' if IPV6 in connections[0] else ''}"] = File(tcp(*connections).encode())
    done = run(machine, **ASKED)
    assert done["restart_pending"] == postponed and done["restarted"] != postponed
    assert ("the daemon talks to a registry or a proxy" in done.get("pending_reason", "")) == postponed


@pytest.mark.parametrize(
    ("threads", "words"),
    [
        pytest.param({"7": "mnt:[1]", "8": "mnt:[1]"}, "", id="threads like the daemon itself"),
        pytest.param({"7": "mnt:[1]", "8": "mnt:[2]"}, "reads or unpacks a layer", id="one with mounts of its own"),
        pytest.param({"7": "mnt:[1]", "8": ""}, "", id="one that ended while we look"),
    ],
)
def test_a_thread_with_mounts_of_its_own_is_at_work(run, threads, words):
    machine = Machine()
    machine.link = {f"/proc/{DOCKERD}/fd": ["socket:[1]", "socket:[2]"], f"/proc/{DOCKERD}/ns": ["net:[9]", "mnt:[1]"]}
    for thread, link in threads.items():
        machine.files[f"/proc/{DOCKERD}/task/{thread}/stat"] = File(b"")
        machine.link[f"/proc/{DOCKERD}/task/{thread}/ns"] = ["net:[9]", link] if link else []
    machine.files[f"/proc/{DOCKERD}/net/unix"] = File(UNIX.encode())
    reason = run(machine, check=True, **ASKED).get("pending_reason", "")
    assert (words in reason) if words else not reason


@pytest.mark.parametrize(
    ("argv", "parent", "words"),
    [
        (["/usr/bin/docker", "build", "."], 1, "'docker build' is running (process 77)"),
        (["/usr/bin/python3", "/usr/bin/docker-compose", "up"], 1, "'docker-compose up' is running (process 77)"),
        (["runc", "--root", "/x", "run"], DOCKERD, "the daemon is working (runc: a build step, a pull or an export)"),
        (["runc", "--root", "/x", "run"], 1, ""),
        (["/usr/bin/docker", "events"], 1, ""),
        ([], 1, ""),
    ],
)
def test_work_asked_for_by_a_client(run, argv, parent, words):
    machine = Machine()
    machine.processes[77], machine.parents[77] = argv, parent
    machine.processes[os.getpid()], machine.files["/proc/uptime"] = ["docker", "build", "."], File(b"")  # ourselves, and what is no process
    assert run(machine, check=True, **ASKED).get("pending_reason", "") == words


@pytest.mark.parametrize(("age", "words"), [(61, ""), (59, "'docker build' is running (process 77)")])
def test_a_client_whose_daemon_has_ended_is_no_work(run, age, words):
    machine = Machine()
    machine.processes[77] = ["/usr/bin/docker", "build", "."]
    machine.files["/proc/77/stat"] = File(b"77 (docker) S" + b" 1" * 18 + f" {int((machine.started - age) * os.sysconf('SC_CLK_TCK'))} 0".encode())
    assert run(machine, check=True, **ASKED).get("pending_reason", "") == words


@pytest.mark.parametrize("policy", ["if_idle", "never"])
def test_units_are_read_again_after_a_change_and_before_a_restart(run, policy):
    machine = Machine("20.10.24")
    machine.ran.clear()
    run(machine, **ASKED, restart=policy)
    restarts = ["systemctl restart docker.service"] if policy == "if_idle" else []
    assert [command for command in machine.ran if command in ("systemctl daemon-reload", "systemctl restart docker.service")] == [
        "systemctl daemon-reload", *restarts
    ]  # fmt: skip


@pytest.mark.parametrize(("loaded", "reloads"), [("", True), (DOCS, False), (None, False)])
def test_units_that_others_wrote_and_systemd_does_not_know_are_read_before_a_restart(run, loaded, reloads):
    machine = Machine(**{DOCS: b"[Service]\nLimitNOFILE=9999\n"})
    machine.loaded = loaded
    assert run(machine, **ASKED)["restarted"]
    assert ("systemctl daemon-reload" in machine.ran) == reloads


def test_undo_forgets(run):
    machine = Machine()
    run(machine, **ASKED)
    assert [path for path in machine.files if path.startswith("/var/lib/buildfleet/")]
    run(machine, state="absent")
    assert not [path for path in machine.files if path.startswith("/var/lib/buildfleet/")]


def test_the_password_that_the_daemon_runs_with_needs_no_restart_though_the_file_was_written_since(run):
    machine = Machine()
    options = {**ASKED, "proxy_username": "joe"}
    run(machine, **options, proxy_password="first-pass")
    assert run(machine, **options, proxy_password="second-pass", restart="never")["restart_pending"]
    back = run(machine, **options, proxy_password="first-pass")
    assert back["changed"] and not back["restarted"] and not back["restart_pending"]


def test_a_backup_is_a_copy_and_one_with_a_password_is_the_owners_alone(run):
    for contents, mode in ((b'{"debug": true}', 0o644), (b'{"proxies": {"http-proxy": "http://u:0ld-pass@h:1"}}', 0o600)):
        machine = Machine(**{CONFIG: File(contents, 0o644)})
        (copy,) = run(machine, **ASKED, backup=True)["backup_files"]
        assert copy.startswith(f"{CONFIG}.") and machine.files[copy] == File(contents, mode)
    assert "backup_files" not in run(Machine(**{CONFIG: b"{}"}), **ASKED)
    assert run(Machine(), **ASKED, backup=True).get("backup_files", []) == []


def test_what_a_killed_run_left_half_written_is_swept(run):
    machine, swept = Machine(), []
    machine.sweep = swept.extend
    run(machine, **ASKED)
    swept.clear()
    run(machine, **ASKED)
    assert CONFIG in swept
    swept.clear()
    run(machine, check=True, **ASKED)
    assert swept == []


# --- warnings and secrets -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"http_proxy": URL}, "https_proxy is not set"),
        ({"https_proxy": "http://127.0.0.1:3128"}, "this host's loopback"),
        ({"no_proxy": ["192.168.*"]}, "Write a network, such as 192.168.0.0/16"),
        (
            {"registry_mirrors": ["http://m.example.com"]},
            "because it has no TLS. Add it to insecure_registries as http://m.example.com, or install a certificate on the mirror.",
        ),
        ({"registry_mirrors": ["https://m.example.com"]}, "sends clients to the token server auth.docker.io"),
    ],
)
def test_warnings(run, options, words):
    machine = Machine()
    machine.mirror = Answer(401, {"Www-Authenticate": 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'})
    assert words in str(run(machine, **options)["warnings"])


@pytest.mark.parametrize(("port", "warned"), [(3129, False), (3128, True)])
def test_a_relay_of_this_host_needs_no_warning_about_the_loopback(run, port, warned):
    machine = Machine(**{"/etc/buildfleet-relay.conf": b"http_port 127.0.0.1:3129\nhttp_port 172.17.0.1:3129\n"})
    warnings = str(run(machine, https_proxy=f"http://127.0.0.1:{port}").get("warnings"))
    assert ("this host's loopback" in warnings) is warned


@pytest.mark.parametrize(
    ("url", "warned"), [("https://joe:s3cret@p.lab:3128", True), ("https://p.lab:3129", False), ("http://p.lab:3128", False), ("socks5://p.lab:3128", False)]
)
def test_a_proxy_that_is_asked_by_tls_and_answers_to_plain_http_is_warned_of(run, url, warned):
    machine = Machine()
    machine.plain_http = [("p.lab", 3128)]
    result = run(machine, https_proxy=url)
    sentence = "https_proxy: p.lab:3128 answers plain http, not TLS. Write http://p.lab:3128."
    assert result["changed"] and [one["event"]["msg"] for one in result.get("warnings", [])] == [sentence] * warned
    assert "warnings" not in run(Machine(), https_proxy=url, validate=False)


def test_a_mirror_is_not_asked_where_that_is_switched_off(run):
    machine = Machine()
    machine.mirror = Answer(401, {"Www-Authenticate": 'Bearer realm="https://auth.docker.io/token"'})
    assert "warnings" not in run(machine, registry_mirrors=["https://m.example.com"], validate=False)


PASSWORDS = ("p@ss:w/rd%41", "p%40ss%3Aw%2Frd%2541", "0ld-pass")


@pytest.mark.parametrize(
    "options", [{}, {"no_such_option": 1}, {"timeout": "soon"}, {"restart": "sometimes"}, {"registry_mirrors": ["m"]}, {"state": "absent"}]
)
def test_no_password_leaves_the_module(run, options):
    machine = Machine(**{DOCS: FOREIGN, CONFIG: b'{"proxies": {"http-proxy": "http://u:0ld-pass@h:1"}}'})
    asked = {**ASKED, "adopt": True, "backup": True, "proxy_username": "j-oe", "proxy_password": PASSWORDS[0], **options}
    for check in (True, False):
        said = json.dumps(run(machine, check=check, **asked))
        assert not any(secret in said for secret in (*PASSWORDS, "j-oe")), said
    for path, file in machine.files.items():
        if any(secret.encode() in file.contents for secret in PASSWORDS) and path not in (DOCS, CONFIG):
            assert file.mode & 0o077 == 0, path


def test_a_password_that_stood_there_before_is_hidden_in_the_engines_words_too(run):
    machine = Machine(**{CONFIG: b'{"proxies": {"http-proxy": "http://u:0ld-pass@h:1"}}'})
    machine.validation_error = "the proxy's password 0ld-pass is wrong"
    done = run(machine, **ASKED)
    assert done["failed"] and "0ld-pass" not in json.dumps(done) and "password xxxxx is wrong" in done["msg"]


def test_no_option_stands_in_the_hosts_journal(run, monkeypatch):
    written = []
    monkeypatch.setattr(basic, "has_journal", False)
    monkeypatch.setattr(basic.syslog, "syslog", lambda *words: written.append(words))
    run(Machine(), **ASKED, proxy_username="joe", proxy_password=PASSWORDS[0])
    assert not written


@pytest.mark.parametrize("credentials", [{"proxy_username": "systemd", "proxy_password": "12"}, {"proxy_username": "docker", "proxy_password": "daemon_json"}])
def test_nothing_else_is_hidden(run, credentials):
    done = run(Machine(), **ASKED, **credentials)
    assert done["mechanism"] == "daemon_json" and done["engine"] == "26.1.5"
    assert done["proxies"]["https_proxy"] == "http://xxxxx:xxxxx@proxy.example.com:3128"
    assert re.fullmatch(rf"{CONFIG} \(mode 0600\)", done["diff"][0]["after_header"])
    assert run(Machine(), **ASKED)["proxies"]["https_proxy"] == URL


@pytest.mark.parametrize("edited", [False, True], ids=["as we left it", "changed by others since"])
def test_a_login_without_a_scheme_that_undo_gives_back_is_masked(run, edited):
    old = b'[Service]\nEnvironment="HTTPS_PROXY=olduser:0ldsecret@old.example.com:3128" "OTHER=x"\n'
    machine = Machine(**{DOCS: old})
    run(machine, **ASKED, adopt=True)
    if edited:
        machine.write(DOCS, machine.files[DOCS]._replace(contents=machine.files[DOCS].contents + b"LimitNOFILE=9\n"))
    done = run(machine, state="absent")
    assert done["changed"]
    assert "0ldsecret" not in json.dumps(done)
    kept = machine.files[f"{DOCS}.before-buildfleet"] if edited else machine.files[DOCS]
    assert kept.contents == old


def test_first_bytes_are_kept_once_where_the_restart_has_to_wait(run):
    machine = Machine(**{DOCS: FOREIGN})
    run(machine, **ASKED, adopt=True)
    machine.write(DOCS, machine.files[DOCS]._replace(contents=machine.files[DOCS].contents + b"LimitNOFILE=9\n"))
    kept = f"{DOCS}.before-buildfleet"
    assert run(machine, state="absent", restart="never")["restart_pending"]
    first = machine.files[kept]
    again = run(machine, state="absent", restart="never")
    assert (again["diff"], machine.files[kept]) == ([], first)
    assert run(machine, state="absent")["restarted"]
    assert machine.files[kept] == first


@pytest.mark.parametrize("options", [{**ASKED, "proxy_username": "", "proxy_password": ""}, {"state": "absent"}], ids=["without a password", "undo"])
def test_a_run_that_is_killed_before_its_write_costs_no_mode(run, options):
    machine = Machine(**{CONFIG: File(b'{"debug": true}\n', 0o644)})
    run(machine, **SECRET)
    assert machine.files[CONFIG].mode == 0o600
    at_the_kill, write = [], machine.write

    def write_and_look(path, file):
        write(path, file)
        if path.startswith("/var/lib/buildfleet/"):
            at_the_kill.append(dict(machine.files))

    machine.write = write_and_look
    run(machine, **options)
    wanted = machine.files[CONFIG]
    assert wanted.mode == 0o644
    machine.files = at_the_kill[0]
    machine.start()
    run(machine, **options)
    assert machine.files[CONFIG] == wanted
