# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""restart: if_idle during each kind of work: the work succeeds, the restart is postponed with its reason, and the next run on an idle host restarts."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

HELD = (Path(__file__).parents[1] / "inside" / "held.py").read_text()
STEP = "FROM busybox:1\\nRUN wget -q -O /dev/null http://127.0.0.1:5000/file\\n"
# What starts the work, and what its reason says.
WORK = {
    "a container": ("docker run --rm --network host busybox:1 wget -q -O /dev/null http://127.0.0.1:5000/file", "1 running container would be stopped"),
    "a BuildKit step": (f"printf '{STEP}' | DOCKER_BUILDKIT=1 docker build --no-cache --network host -", "build"),
    "a legacy build": ("python3 /var/tmp/held.py build", "a program uses the daemon's API, and the daemon"),
    "a pull": ("python3 /var/tmp/held.py pull", "a program uses the daemon's API, and the daemon talks to a registry"),
    "a push": ("python3 /var/tmp/held.py push", "a program uses the daemon's API, and the daemon talks to a registry"),
    "an export": ("python3 /var/tmp/held.py export", "export"),
    "an import": ("python3 /var/tmp/held.py import", "a program uses the daemon's API, and the daemon"),
    "a load": ("python3 /var/tmp/held.py load", "a program uses the daemon's API, and the daemon works in"),
    "a context that comes slowly": ("python3 /var/tmp/held.py upload", "a program uses the daemon's API, and the daemon works in"),
    "a copy": ("python3 /var/tmp/held.py copy", "a program uses the daemon's API, and the daemon reads or unpacks a layer"),
}
# A monitoring agent, which listens to events and statistics all day and connects again when the daemon was restarted.
MONITOR = "for stream in events stats; do (while true; do docker $stream; sleep 1; done) & done; wait"


def result(done):
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.partition("=>")[2])


def until(engine, test, seconds=60):
    script = f"for n in $(seq {seconds * 10}); do ({test}) >/dev/null 2>&1 && exit; sleep 0.1; done; exit 1"
    assert engine.host.run(script).rc == 0, f"{test}\n{engine.host.run('cat /var/tmp/work.log').stdout}"


@pytest.fixture()
def mirrors(engine):
    """`mirrors(again)` runs the module so that a restart is due; afterwards the scenario's settings are restored."""
    mirror = "https://mirror.lab"
    yield lambda *more: result(engine.module("docker_daemon_proxy", registry_mirrors=[mirror, *more]))
    result(engine.module("docker_daemon_proxy", registry_mirrors=[mirror]))


# Dockerd keeps the connection of a pull or push for some seconds more, and nobody can tell it from one that is used; 20.10 unpacks in a process of its own.
OTHERWISE = ("the daemon talks to a registry or a proxy", "the daemon is working")


def when_idle(mirrors, *more):
    """The result of the run that restarts: the first one, or one within a minute, during which connections and killed steps end."""
    for _attempt in range(30):
        done = mirrors(*more)
        if not done["restart_pending"]:
            return done
        time.sleep(2)
    raise AssertionError(done)


def test_work_goes_on_and_the_next_idle_run_finishes(engine, mirrors):
    engine.write("/var/tmp/held.py", HELD)
    engine.host.check_output("docker pull -q busybox:1 && docker tag busybox:1 127.0.0.1:5000/pushed:1 && docker create --name held busybox:1")
    engine.host.check_output("nohup python3 /var/tmp/held.py serve > /var/tmp/registry.log 2>&1 & echo $! > /var/tmp/registry.pid")
    engine.host.check_output(f"nohup setsid sh -c '{MONITOR}' > /dev/null 2>&1 & echo $! > /var/tmp/monitor.pid")
    try:
        for work, (command, reason) in WORK.items():
            engine.host.check_output("rm -f /run/held /run/released /var/tmp/work.*")
            engine.host.check_output(f"nohup sh -c '{command.replace(chr(39), chr(34))}; echo $? > /var/tmp/work.code' > /var/tmp/work.log 2>&1 &")
            until(engine, "test -e /run/held")
            done = mirrors("https://relay.lab")
            assert done["restart_pending"] and not done["restarted"], (work, done)
            assert any(words in done["pending_reason"] for words in (reason, *OTHERWISE)), (work, done)
            engine.host.check_output("touch /run/released")
            until(engine, "test -s /var/tmp/work.code")
            assert engine.host.check_output("cat /var/tmp/work.code") == "0", (work, engine.host.check_output("cat /var/tmp/work.log"))
        done = when_idle(mirrors, "https://relay.lab")
        assert done["restarted"] and done["registry_mirrors"] == ["https://mirror.lab", "https://relay.lab"], done
    finally:
        engine.host.run("kill $(cat /var/tmp/registry.pid); kill -- -$(cat /var/tmp/monitor.pid); docker rm -f held; rm -f /run/held /run/released")


KILL = {
    "its client": "kill -9 $(pgrep -f 'docker.*[b]uild --no-cache')",
    "its daemon": "systemctl reset-failed docker; systemctl restart docker",
}


@pytest.mark.parametrize("killed", KILL)
def test_what_a_killed_build_left_is_no_work(engine, mirrors, killed):
    step = "^sleep 3001$"
    engine.host.check_output("docker pull -q busybox:1; mkdir -p /var/tmp/killed; printf 'FROM busybox:1\\nRUN sleep 3001\\n' > /var/tmp/killed/Dockerfile")
    engine.host.check_output(f"nohup setsid sh -c '{MONITOR}' > /dev/null 2>&1 & echo $! > /var/tmp/monitor.pid")
    try:
        engine.host.check_output("DOCKER_BUILDKIT=1 nohup docker build --no-cache /var/tmp/killed > /var/tmp/work.log 2>&1 &")
        until(engine, f"pgrep -f '{step}'")
        assert mirrors("https://relay.lab")["restart_pending"]
        engine.host.check_output(KILL[killed])
        until(engine, "docker info && ! pgrep -f 'docker.*[b]uild --no-cache'")
        time.sleep(2)  # the monitor is there again
        done = when_idle(mirrors, "https://relay.lab", "https://second.lab")
        assert done["restarted"] and not done["restart_pending"], done
    finally:
        engine.host.run(f"kill -- -$(cat /var/tmp/monitor.pid); pkill -f '{step}'; rm -rf /var/tmp/killed")


def test_with_live_restore_a_container_outlives_the_restart(engine, mirrors):
    before = engine.host.file("/etc/default/docker").content.decode()
    try:
        engine.write("/etc/default/docker", f"{before}\nDOCKER_OPTS=--live-restore\n")
        assert engine.restart()
        container = engine.host.check_output("docker run -d busybox:1 sleep 600")
        pid = engine.host.check_output(f"docker inspect -f '{{{{.State.Pid}}}}' {container}")
        assert mirrors("https://relay.lab")["restarted"]
        assert engine.host.check_output(f"docker inspect -f '{{{{.State.Pid}}}} {{{{.State.Running}}}}' {container}") == f"{pid} true"
    finally:
        engine.host.run("docker rm -f $(docker ps -q)")
        engine.write("/etc/default/docker", before)
        assert engine.restart()


def test_with_live_restore_logs_that_go_to_a_server_are_no_work(engine, mirrors):
    before = engine.host.file("/etc/default/docker").content.decode()
    engine.write("/var/tmp/held.py", HELD)
    engine.host.check_output("docker pull -q busybox:1; rm -f /run/held /run/released /var/tmp/work.*")
    for part in ("serve", "collect"):
        engine.host.check_output(f"nohup python3 /var/tmp/held.py {part} > /var/tmp/{part}.log 2>&1 & echo $! > /var/tmp/{part}.pid")
    try:
        engine.write("/etc/default/docker", f"{before}\nDOCKER_OPTS=--live-restore\n")
        assert engine.restart()
        engine.host.check_output(f"nohup setsid sh -c '{MONITOR}' > /dev/null 2>&1 & echo $! > /var/tmp/monitor.pid")
        logs = "--log-driver fluentd --log-opt fluentd-address=localhost:24224"
        engine.host.check_output(f"docker run -d --name logs {logs} busybox:1 sh -c 'while true; do date; sleep 1; done'")
        container = engine.host.check_output("docker inspect -f '{{.State.Pid}} {{.State.Running}}' logs")
        connected = "ss -tnp dst 127.0.0.1:24224 | grep dockerd"
        until(engine, connected)
        engine.host.check_output("nohup sh -c 'python3 /var/tmp/held.py pull; echo $? > /var/tmp/work.code' > /var/tmp/work.log 2>&1 &")
        until(engine, "test -e /run/held")
        done = mirrors("https://relay.lab")
        assert done["restart_pending"] and "talks to a registry" in done["pending_reason"], done
        engine.host.check_output("touch /run/released")
        until(engine, "test -s /var/tmp/work.code")
        assert engine.host.check_output("cat /var/tmp/work.code") == "0", engine.host.check_output("cat /var/tmp/work.log")
        done = when_idle(mirrors, "https://relay.lab")
        assert done["restarted"], done
        assert engine.host.check_output("docker inspect -f '{{.State.Pid}} {{.State.Running}}' logs") == container
        until(engine, connected)
    finally:
        engine.host.run("docker rm -f logs; kill $(cat /var/tmp/serve.pid /var/tmp/collect.pid); kill -- -$(cat /var/tmp/monitor.pid)")
        engine.host.run("rm -f /run/held /run/released")
        engine.write("/etc/default/docker", before)
        assert engine.restart()
