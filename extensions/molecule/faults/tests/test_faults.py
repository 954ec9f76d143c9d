# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever happens to a run: files are old or new, the daemon is up as before or as wanted, and the next run finishes."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import zlib

import doomed
import pytest
import table

LOCK = "/run/buildfleet-docker.lock"


def wish(letter, **more):
    url = f"http://proxy-{letter}.lab:3128"
    return {
        "http_proxy": url, "https_proxy": url, "proxy_username": "builder", "proxy_password": f"p@ss:w/{letter}%41", "no_proxy": ["a.lab", letter],
        "registry_mirrors": [f"https://{letter}.lab"], "restart": "if_needed", "timeout": 40, **more,
    }  # fmt: skip


A, B, NOTHING = wish("a"), wish("b"), {"state": "absent", "restart": "if_needed", "timeout": 40}
DAEMON = ("docker_daemon_proxy", [A, B, NOTHING], "/etc/docker /etc/default /etc/systemd/system/docker.service.d")
CLIENT = (
    "docker_build_env",
    [
        {"daemon_token": True, "users": ["builder"], "services": ["ci"], "step_proxy": {"https_proxy": "http://proxy-a.lab:3128"}},
        {"buildkit": False, "users": ["builder"], "https_proxy": "http://proxy-b.lab:3128", "builder_mirrors": {"docker.io": "b.lab"}},
        {"state": "absent"},
    ],
    "/etc/environment /etc/profile.d /etc/buildfleet /home/builder /etc/systemd/system",
)
# From engine 28. The last file of them exists before, with a mirror of others.
MIRRORS = (
    "docker_registry_hosts",
    [
        {"registries": {"docker.io": "https://a.lab", "quay.io": ["https://a.lab", "https://b.lab"], "ghcr.io": "https://a.lab"}},
        {"registries": {"quay.io": {"url": "https://b.lab", "username": "builder", "password": "p@ss:w/b%41"}, "ghcr.io": "https://b.lab"}},
        {"state": "absent"},
    ],
    "/etc/docker/certs.d",
)
FOREIGN = '# of others\nserver = "https://ghcr.io"\n\n[host."https://others.lab"]\n  capabilities = ["pull"]\n'


FEATURES = {feature[0]: feature for feature in (MIRRORS, CLIENT, DAEMON)}


def features(name):
    version = doomed.shell(name, "docker version --format '{{.Server.Version}}'")
    return [feature for feature in FEATURES.values() if feature is not MIRRORS or int(version.partition(".")[0]) >= 28]


def folders(name, places):
    return doomed.shell(name, f"find {places} -type d 2>/dev/null; true").split()


def files(name, places):
    """One line for every file, and the folders; including partly written files of a killed run."""
    found = doomed.shell(name, f"find {places} -type f -exec stat -c '%n %a %U:%G' {{}} \\; -exec md5sum {{}} \\; 2>/dev/null; true").splitlines()
    rows = {row.split()[0]: (row.split()[1:], digest.split()[0]) for row, digest in zip(found[::2], found[1::2])}
    return {path: row for path, row in rows.items() if not path.endswith("/key.json")}


def half_written(name, places):
    return doomed.shell(name, f"find {places} /var/lib/buildfleet /run /tmp -xdev -name '.buildfleet-*' 2>/dev/null; true").split()


def information(name, patience=60.0):
    """The daemon's own settings from its API; empty if it is not up."""
    until = time.monotonic() + patience
    while True:
        said = doomed.shell(name, "curl -s --max-time 30 --unix-socket /run/docker.sock http://docker/info", check=False)
        if said.startswith("{"):
            found = json.loads(said)
            return " ".join(str(found.get(field)) for field in ("HttpProxy", "HttpsProxy", "NoProxy")) + str(found["RegistryConfig"]["Mirrors"])
        if time.monotonic() > until:
            return ""
        time.sleep(0.3)


def prepared(name):
    doomed.install(name)
    doomed.shell(name, 'mkdir -p /etc/docker && printf \'{\\n\\t"log-level": "info"\\n}\' > /etc/docker/daemon.json && systemctl restart docker')
    doomed.shell(name, f"mkdir -p /etc/docker/certs.d/ghcr.io && printf '%s' '{FOREIGN}' > /etc/docker/certs.d/ghcr.io/hosts.toml")


def given_back(name):
    """As `prepared` found it: tests of other scenarios, run on the same host, would find its file."""
    doomed.run(name, "docker_daemon_proxy", NOTHING)
    doomed.run(name, "docker_build_env", {"state": "absent"})
    doomed.run(name, "docker_registry_hosts", {"state": "absent"})
    doomed.shell(name, "rm -rf /etc/docker/certs.d /etc/docker/daemon.json && systemctl reset-failed docker.socket docker && systemctl restart docker")


@pytest.fixture()
def name(engine, request):
    """Each fault on one of the engines, on all of them in `make faults`."""
    engines = sorted(table.HOSTS)
    if doomed.POINTS < doomed.ALL_POINTS and engines[zlib.crc32(request.node.name.replace(engine.name, "").encode()) % len(engines)] != engine.name:
        pytest.skip("make faults has this fault on every engine")
    prepared(engine.name)
    yield engine.name
    given_back(engine.name)


class Ring:
    """The system calls of a module's runs (two settings, then undo), traced once: the files they leave, and where they can be killed."""

    def __init__(self, name, feature):
        self.name = name
        self.module, self.steps, self.places = feature
        self.states = [(files(name, self.places), information(name))]
        self.folders = [folders(name, self.places)]
        self.calls, self.seconds = [], []
        for options in self.steps:
            ended, calls, seconds = doomed.trace(name, self.module, options)
            assert ended.code == 0 and ended.result["changed"], ended.out
            self.calls.append(calls)
            self.seconds.append(seconds)
            self.states.append((files(name, self.places), information(name)))
            self.folders.append(folders(name, self.places))
        assert self.states[-1] == self.states[0]

    def faults(self, number):
        """What is wrong after step `number` was killed, and after the run that follows."""
        (before, daemon_before), (after, daemon_after) = self.states[number], self.states[number + 1]
        found = files(self.name, self.places)
        for path in sorted({*before, *after, *found}):
            if found.get(path) not in (before.get(path), after.get(path)) and "/.buildfleet-" not in path:
                yield f"{path} is neither old nor new"
        shown = information(self.name)
        if shown not in (daemon_before, daemon_after):
            yield f"the daemon is not as before nor as wanted: {shown!r}"
        ended = doomed.run(self.name, self.module, self.steps[number])
        if ended.code != 0:
            yield f"the next run fails: {ended.out}"
        if (files(self.name, self.places), information(self.name)) != (after, daemon_after):
            yield "the next run does not finish"
        if folders(self.name, self.places) != self.folders[number + 1]:
            yield f"other folders: {folders(self.name, self.places)}"
        left = half_written(self.name, self.places)
        if left:
            yield f"left behind: {left}"


@pytest.mark.parametrize("module", FEATURES)
def test_killed_anywhere(engine, module):
    name, feature = engine.name, FEATURES[module]
    if feature not in features(name):
        pytest.skip("this engine does not read hosts.toml")
    points = doomed.POINTS if feature is DAEMON else doomed.POINTS // 2
    prepared(name)
    dice = random.Random(doomed.SEED)
    ring = Ring(name, feature)
    rows = [dice.sample(calls, len(calls)) for calls in ring.calls]
    ran, killed, kinds, wrong = 0, 0, set(), []
    chosen = doomed.of_this_part(-(-points // len(ring.steps)))  # whole rounds, so that it ends with nothing
    for point in range(chosen.start * len(ring.steps), chosen.stop * len(ring.steps)):
        number = point % len(ring.steps)
        dice = random.Random(f"{doomed.SEED} {point}")
        if point % 5 == 4:
            run = doomed.Run(name, module, ring.steps[number])
            run.go()
            at = dice.random() * ring.seconds[number]
            time.sleep(at)
            run.send(signal.SIGKILL, everyone=point % 2 == 0)
            ended, where = run.wait(), f"after {at:.2f} s"
        else:
            call = rows[number][point // len(ring.steps) % len(rows[number])]
            ended, where = doomed.killed(name, module, ring.steps[number], call), f"{call.name} {call.number}: {call.line[:120]}"
            kinds.add(call.name)
        ran += 1
        killed += ended.code == 137
        found = [f"{name}, {module}, step {number}, point {point}, killed at {where}: {fault}" for fault in ring.faults(number)]
        wrong += found
        report(*found, *([f"{name}: {module}: {ran} points, {killed} killed, {len(wrong)} faults"] if ran % 10 == 0 else []))
    words = f"{killed} of {ran} runs killed before they ended (seed {doomed.SEED}, at {len(kinds)} kinds of system calls and by the clock)"
    report(f"{name}: {module}: {words}: {len(wrong)} faults")
    given_back(name)
    assert wrong == []


def report(*lines):
    """At once: all points take long."""
    for line in lines:
        print(line, file=sys.__stderr__, flush=True)


def test_power_can_fail_at_any_time(name):
    """fsync of the file, rename, fsync of the directory, for every file; and the record is safe before the first of them."""
    for feature in features(name):
        for calls in Ring(name, feature).calls:
            lines = [call.line for call in calls]
            renames = [number for number, line in enumerate(lines) if line.startswith("rename")]
            for number in renames:
                source, target = lines[number].split('"')[1::2]
                assert any(line.startswith("fsync(") and f"<{source}>" in line for line in lines[:number]), lines[number]
                rest = lines[number:]
                synced = (line for line in rest[: rest.index(next_change(rest))] if line.startswith("fsync("))
                assert any(f"<{os.path.dirname(target)}>" in line for line in synced), lines[number]
            for number, line in enumerate(lines):
                if line.startswith("unlink(") and line.endswith("= 0"):
                    folder = os.path.dirname(line.split('"')[1])
                    assert any(f"<{folder}>" in other for other in lines[number : number + 4] if other.startswith("fsync(")), line
            changes = [line for line in lines if line.startswith(("rename", "unlink("))]
            assert "/var/lib/buildfleet/" in changes[0], changes


def next_change(lines):
    """The next line that changes a name on the disk, or the last one."""
    return next((line for line in lines[1:] if line.startswith(("rename", "unlink(", "vfork"))), lines[-1])


@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_a_lost_connection(name, fraction):
    ring = Ring(name, DAEMON)
    run = doomed.Run(name, ring.module, A)
    run.go()
    time.sleep(fraction * ring.seconds[0])
    run.leave()
    run.send(signal.SIGHUP)
    until = time.monotonic() + 60
    while run.alive():
        assert time.monotonic() < until
        time.sleep(0.2)
    assert list(ring.faults(0)) == []


def refused(name, options, words):
    """The run fails with a sentence and changes nothing, not even the daemon's process."""
    before = files(name, DAEMON[2]), information(name), doomed.shell(name, "pidof dockerd")
    ended = doomed.run(name, "docker_daemon_proxy", options)
    assert ended.code != 0 and words in ended.result["msg"], ended.out
    assert (files(name, DAEMON[2]), information(name), doomed.shell(name, "pidof dockerd")) == before
    assert half_written(name, DAEMON[2]) == []


@pytest.mark.parametrize("folder", ["/var/lib/buildfleet", "/etc/docker", "/etc/systemd/system/docker.service.d"])
def test_a_full_disk(name, folder):
    assert doomed.run(name, "docker_daemon_proxy", A).code == 0
    if "systemd" in folder and not files(name, folder):
        pytest.skip("this engine needs no drop-in")
    doomed.shell(name, f"cp -a {folder} /root/kept && mount -t tmpfs -o size=32k,mode=$(stat -c %a {folder}) tmpfs {folder} && cp -a /root/kept/. {folder}")
    try:
        doomed.shell(name, f"cat /dev/zero > {folder}/full", check=False)
        refused(name, B, "No space left on device")
    finally:
        doomed.shell(name, f"umount {folder} && rm -r /root/kept")
    assert doomed.run(name, "docker_daemon_proxy", B).result["restarted"]
    assert "proxy-b.lab" in information(name)


def test_a_read_only_etc(name):
    assert doomed.run(name, "docker_daemon_proxy", A).code == 0
    doomed.shell(name, "mount --bind /etc /etc && mount -o remount,bind,ro /etc")
    try:
        refused(name, B, "read-only")
        ended = doomed.run(name, "docker_daemon_proxy", A)
        assert ended.code == 0 and not ended.result["changed"], ended.out
    finally:
        doomed.shell(name, "umount /etc")
    assert doomed.run(name, "docker_daemon_proxy", B).result["restarted"]
    assert "proxy-b.lab" in information(name)


READY = "import os, socket, time; socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', os.environ['NOTIFY_SOCKET']); time.sleep(600)"
ILL = {
    "does not come up": "echo 'level=fatal msg=\"failed to start daemon: made up\"' >&2; exit 1",
    "never gets ready": "exec sleep 600",
    "comes up and hangs": f'exec /usr/bin/python3 -c "{READY}"',
}


@pytest.mark.parametrize("ill", ILL)
def test_a_daemon_that(name, ill):
    assert doomed.run(name, "docker_daemon_proxy", A).code == 0
    before = files(name, DAEMON[2]), information(name)
    script = f"""#!/bin/sh
case " $* " in *" --validate "*|*" --version "*) exec /usr/sbin/dockerd.real "$@";; esac
if grep -qs proxy-b.lab /etc/docker/daemon.json || env | grep -q proxy-b.lab; then {ILL[ill]}; fi
exec /usr/sbin/dockerd.real "$@"
"""
    doomed.shell(name, f"cp -p /usr/sbin/dockerd /usr/sbin/dockerd.real && cat > /usr/sbin/dockerd.ill <<'END'\n{script}END\nchmod 755 /usr/sbin/dockerd.ill")
    doomed.shell(name, "mount --bind /usr/sbin/dockerd.ill /usr/sbin/dockerd")  # the program of a brought engine is itself a mount, which has no other name
    try:
        ended = doomed.run(name, "docker_daemon_proxy", {**B, "timeout": 12})
        assert ended.code != 0 and ended.result["rolled_back"], ended.out
        assert "up again with its old settings" in ended.result["msg"], ended.out
        assert (files(name, DAEMON[2]), information(name)) == before
    finally:
        doomed.shell(name, "umount --lazy /usr/sbin/dockerd && rm /usr/sbin/dockerd.ill")
    assert doomed.run(name, "docker_daemon_proxy", B).result["restarted"]
    doomed.shell(name, "rm /usr/sbin/dockerd.real")
    assert "proxy-b.lab" in information(name)


def test_the_start_limit(name):
    doomed.shell(name, "for n in 1 2 3 4 5; do systemctl restart docker; done", check=False)
    assert doomed.run(name, "docker_daemon_proxy", A).code == 0
    assert "proxy-a.lab" in information(name)


def test_two_runs_at_once(name):
    first = doomed.Run(name, "docker_daemon_proxy", A)
    with first.traced("/dev/null", "-e", "inject=fsync:signal=SIGSTOP:when=1"):
        first.go()
        for _rest in range(200):
            if first.stopped():
                break
            time.sleep(0.05)
        second = doomed.run(name, "docker_daemon_proxy", B)
        assert second.code != 0 and second.result["msg"] == (f"This module is already running on this host ({LOCK} is locked). Retry when it finishes."), (
            second.out
        )
        first.send(signal.SIGCONT)
        ended = first.wait()
    assert ended.code == 0 and ended.result["restarted"], ended.out
    assert "proxy-a.lab" in information(name)
    assert json.loads(doomed.shell(name, "cat /var/lib/buildfleet/docker_daemon_proxy.docker.json"))["files"]
