# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Events on twelve hosts, in this order: a failing canary, a rollout, a failure in the middle, a rotated password, an undo, a sliced rollout."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import table

TOP = Path(__file__).resolve().parents[4]
HOSTS = {f"roll{number:02}": suite for number, suite in zip(range(1, 13), itertools.cycle(table.HOSTS.values()))}
NAMES = list(HOSTS)
CANARY, *OTHERS = NAMES
BATCHES = [NAMES[:1], NAMES[1:4], NAMES[4:8], NAMES[8:]]
SLICES = [NAMES[number::3] for number in range(3)]  # as AWX deals hosts out
CUT_OFF = "roll06"  # in the third batch
BUSY = ["roll04", "roll05"]  # of two generations, in two batches
LIVE_RESTORE = "roll12"

FORGET_USER = "sed -i /^rollout:/d /run/passwords"
OLD, NEW = "the-0ld:w/rd%41", "the-n3w:w/rd%42"
GOOD = {
    "buildfleet_proxy_http": table.AUTH_PROXY, "buildfleet_proxy_https": table.AUTH_PROXY, "buildfleet_proxy_username": "rollout",
    "buildfleet_proxy_password": OLD, "buildfleet_no_proxy": ["mirror.lab", ".internal.lab"], "buildfleet_batch": "1,3,4",
}  # fmt: skip
BAD = {**GOOD, "buildfleet_proxy_http": "http://nobody.lab:3128", "buildfleet_proxy_https": "http://nobody.lab:3128", "buildfleet_batch": ""}
NEXT = {**GOOD, "buildfleet_no_proxy": ["mirror.lab", "second.lab"]}
ROTATED = {**NEXT, "buildfleet_proxy_password": NEW}


def the_proxy_wants(password):
    """From the user `rollout`; other tests use another user there."""
    at_the_proxy(f"{FORGET_USER}; echo rollout:$(openssl passwd -apr1 '{password}') >>/run/passwords")


def at_the_proxy(script):
    subprocess.run(["docker", "exec", "buildfleet-auth-proxy", "sh", "-c", script], check=True)


@pytest.fixture(scope="module")
def fleet(own_hosts):
    engines = {engine.name: engine for engine in own_hosts(**HOSTS)}
    engines[LIVE_RESTORE].write("/etc/docker/daemon.json", '{"live-restore":true}')
    assert engines[LIVE_RESTORE].restart()
    the_proxy_wants(OLD)
    yield engines
    at_the_proxy(FORGET_USER)


@pytest.fixture(scope="module")
def states(fleet, state):
    def seen():
        with ThreadPoolExecutor(4) as pool:
            return dict(zip(NAMES, pool.map(state, NAMES)))

    return seen


@pytest.fixture(scope="module")
def first(states):
    return states()


@pytest.fixture(scope="module")
def whole():
    """The files after a rollout without slices."""
    return {}


def written(state):
    """Only files, without their times; the record's key and its digests differ on each host and in each first run."""
    rows = {path: row.split() for path, row in state.items() if path != "daemon"}
    return {path: (rights, owner, "" if path.startswith("/var/lib/buildfleet/") else digest) for path, (rights, owner, _time, digest, _path) in rows.items()}


@pytest.fixture(scope="module")
def inventory(tmp_path_factory):
    def of(names):
        file = tmp_path_factory.mktemp("inventory") / "hosts.json"
        where = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
        file.write_text(json.dumps({"build_servers": {"hosts": dict.fromkeys(names), "vars": where}}))
        return file

    return of


class Rollout:
    """A run of `site`, and its output."""

    def __init__(self, done, recap):
        self.code, self.said = done.returncode, done.stdout
        batches = done.stdout.split("PLAY [Configure and prove]")[1:]
        self.reached = [sorted(set(re.findall(r"^(?:ok|changed|fatal|skipping): \[(roll\d+)\]", batch, re.M))) for batch in batches]
        self.proved = [sorted(re.findall(r"^ok: \[(roll\d+)\]", batch.partition(": Prove with a real build")[2], re.M)) for batch in batches]
        self.failed = sorted(name for name, row in recap.items() if "failed=0" not in row)
        self.unchanged = sorted(name for name, row in recap.items() if name in HOSTS and "changed=0" in row)
        pending = r"\b(roll\d+) is configured but not tested: the daemon still runs with the old password \(1 running container would be stopped"
        self.pending = sorted(set(re.findall(pending, done.stdout)))


@pytest.fixture()
def rollout(site, fleet, inventory):
    return lambda wishes, names=NAMES: Rollout(*site(",".join(names), wishes, f"--inventory={inventory(NAMES)}", "--forks=12"))


def changed(before, after):
    return [name for name in NAMES if before[name] != after[name]]


def without(batches, *names):
    return [[name for name in batch if name not in names] for batch in batches]


def test_a_canary_that_fails_leaves_eleven_untouched(first, states, rollout):
    run = rollout(BAD)
    assert run.code != 0 and run.failed == [CANARY], run.said
    assert re.search(rf"^fatal: \[{CANARY}\].*nobody\.lab", run.said, re.M | re.S), run.said
    assert run.reached == [[CANARY]] and run.proved == [[]], run.said
    assert changed(first, states()) == [CANARY]


def test_a_wish_that_holds_reaches_all_batch_by_batch(fleet, first, states, rollout, whole):
    run = rollout(GOOD)
    assert run.code == 0 and run.failed == [], run.said
    assert run.reached == run.proved == BATCHES, run.said
    whole.update(states())
    assert changed(first, whole) == NAMES
    for engine in fleet.values():
        assert engine.host.check_output("docker info -f '{{.HTTPSProxy}}'") == "http://xxxxx:xxxxx@auth-proxy.lab:8888"


@pytest.fixture()
def cut_off(fleet):
    """The host's own firewall blocks the proxy until the block ends."""
    rule = f"OUTPUT -p tcp -d {table.SERVICES['auth-proxy'].address} -j REJECT --reject-with tcp-reset"
    host = fleet[CUT_OFF].host
    host.check_output(f"iptables -I {rule}")
    yield lambda: host.check_output(f"iptables -D {rule}")
    host.run(f"iptables -D {rule}")


def test_a_failure_in_the_middle_stops_there_and_the_next_run_takes_up(states, rollout, cut_off):
    before = states()
    run = rollout(NEXT)
    assert run.code != 0 and run.failed == [CUT_OFF], run.said
    assert re.search(rf"^fatal: \[{CUT_OFF}\].*auth-proxy\.lab", run.said, re.M | re.S), run.said
    assert run.reached == BATCHES[:3] and run.proved == without(BATCHES[:3], CUT_OFF), run.said
    stopped = states()
    assert changed(before, stopped) == NAMES[:8]

    cut_off()
    run = rollout(NEXT)
    assert run.code == 0 and run.failed == [], run.said
    assert run.reached == run.proved == BATCHES, run.said
    assert run.unchanged == NAMES[:8]
    assert changed(stopped, states()) == BATCHES[3]


def test_a_rotation_waits_for_containers_and_says_who_runs_with_the_old_password(fleet, states, rollout, bystander):
    containers = {name: bystander(fleet[name]) for name in [*BUSY, LIVE_RESTORE]}
    started = {name: container() for name, container in containers.items()}
    before = states()
    the_proxy_wants(NEW)
    run = rollout(ROTATED)
    assert run.code == 0 and run.failed == [], run.said
    assert OLD not in run.said and NEW not in run.said
    assert run.pending == BUSY and run.proved == without(BATCHES, *BUSY), run.said
    assert run.unchanged == []
    assert {name: container() for name, container in containers.items()} == started
    rotated = states()
    assert [name for name in NAMES if rotated[name]["daemon"] == before[name]["daemon"]] == BUSY

    ended, goes_on = BUSY
    fleet[ended].host.check_output("docker stop --time 0 bystander")
    run = rollout(ROTATED)
    assert run.code == 0 and run.pending == [goes_on] and run.proved == without(BATCHES, goes_on), run.said
    later = states()
    assert changed(rotated, later) == [ended]
    assert run.unchanged == [name for name in NAMES if name != ended], run.said
    assert containers[goes_on]() == started[goes_on]

    run = rollout({**ROTATED, "buildfleet_restart": "if_needed"}, [goes_on])
    assert run.code == 0 and run.pending == [] and run.proved == [[goes_on]], run.said
    assert changed(later, states()) == [goes_on]
    assert containers[LIVE_RESTORE]() == started[LIVE_RESTORE]


def test_undo_gives_all_their_first_bytes_back(fleet, first, states, playbook, inventory):
    done = playbook("undo", ",".join(NAMES), f"--inventory={inventory(NAMES)}", "--forks=12")
    assert done.returncode == 0, done.stdout
    assert {name: written(state) for name, state in states().items()} == {name: written(state) for name, state in first.items()}
    for engine in fleet.values():
        assert engine.host.check_output("find / -xdev -iname '*buildfleet*' -not -path '/run/*' 2>/dev/null; docker info -f '{{.HTTPSProxy}}'") == ""


def test_slices_leave_what_a_whole_run_leaves(fleet, first, whole, states, inventory, plain_environment, tmp_path):
    """With the program that AWX uses to run jobs, each slice as a separate job, in parallel."""
    the_proxy_wants(OLD)

    def job(number):
        folder = tmp_path / str(number)
        for name in ("env", "inventory"):
            (folder / name).mkdir(parents=True)
        (folder / "project").symlink_to(TOP)
        (folder / "inventory/hosts.json").write_text(inventory(SLICES[number]).read_text())
        (folder / "env/extravars").write_text(json.dumps(GOOD))
        command = ["ansible-runner", "run", "--omit-env-files", "-p=playbooks/site.yml", str(folder)]
        return subprocess.run(command, env=plain_environment, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor() as pool:
        jobs = list(pool.map(job, range(len(SLICES))))
    assert [done.returncode for done in jobs] == [0, 0, 0], "\n".join(done.stdout + done.stderr for done in jobs)
    after = states()
    assert changed(first, after) == NAMES
    assert {name: written(state) for name, state in after.items()} == {name: written(state) for name, state in whole.items()}
