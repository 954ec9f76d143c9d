# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of registry_cache or proxy_relay is killed in any of its tasks: what it wrote is whole, the daemon is up, the next run finishes, undo is exact."""

from __future__ import annotations

import random
import re
import sys
import time
from pathlib import Path

import doomed
import pytest
import table

SAMPLE = 1  # of the cache and the relay on each engine; BUILDFLEET_SAMPLE=all, as in make faults, kills all
ROUNDS = max(1, doomed.POINTS // 20)
SNAPSHOT = Path(__file__).resolve().parents[2] / "proxy_relay" / "snapshot.sh"
LOGIN = {"username": table.USERNAME, "password": table.PASSWORD}

# What runs, not what is written.
RELAY_RUNS = """
ss -Hltn | awk '{print $4}' | grep -E ':31[0-9]{2}$' | sort
for port in 3129 3130; do curl -s --max-time 20 -x http://127.0.0.1:$port http://web.lab/; done
systemctl show -P NeedDaemonReload buildfleet-relay.service
"""
RELAY = {
    "role": "proxy_relay",
    "first": {
        "proxy_relay_http_proxy": table.AUTH_PROXY, "proxy_relay_https_proxy": table.AUTH_PROXY,
        **{f"proxy_relay_proxy_{name}": value for name, value in LOGIN.items()},
    },
    "second": {"proxy_relay_http_proxy": table.HTTP_PROXY, "proxy_relay_https_proxy": table.HTTP_PROXY, "proxy_relay_port": 3130},
    "absent": {"proxy_relay_state": "absent"},
    "runs": RELAY_RUNS,
    "unlike": r" /var/(log|spool)/squid",
}  # fmt: skip
CACHE_RUNS = """
pgrep -af serve.py | cut -d' ' -f2- | sort
for pid in $(pgrep -f ^/usr/bin/docker-registry); do tr '\\0' '\\n' < /proc/$pid/environ | grep ^HTTP_PROXY; done
for path in 5000/v2/library/busybox 5001/v2/lab/tool; do curl -sk --max-time 20 https://127.0.0.1:$path/tags/list; done
systemctl show -P NeedDaemonReload buildfleet-registry-cache.service
"""
CACHE = {
    "role": "registry_cache",
    "first": {
        "registry_cache_proxy": table.AUTH_PROXY, **{f"registry_cache_proxy_{name}": value for name, value in LOGIN.items()},
        "registry_cache_authority": True,
    },
    "second": {
        "registry_cache_proxy": table.HTTP_PROXY, "registry_cache_authority": True, "registry_cache_max_size": "1G",
        "registry_cache_upstreams": [{"name": "ghcr.io", "port": 5001, "probe": "lab/tool:1"}],
    },
    "absent": {"registry_cache_state": "absent"},
    "runs": CACHE_RUNS,
    # Its images, keys that are made anew, and the user that Debian's package leaves.
    "unlike": r" /var/lib/buildfleet-registry-cache[^ ]*/|[0-9a-f]{32}  /etc/buildfleet-registry-cache/tls/|docker-registry:| /etc/(passwd|g?shadow|group)\b",
}  # fmt: skip
ALL = {"cache": CACHE, **dict.fromkeys(table.RELAY_HOSTS.values(), RELAY)}


class Roles:
    """The runs of a role on a host: two settings, then undo. Done once without a fault, which shows the states and the tasks."""

    STEPS = ("first", "second", "absent")

    def __init__(self, host, feature, folder, environment, fresh):
        self.host, self.feature, self.folder, self.environment, self.fresh = host, feature, folder, environment, fresh
        fresh()
        self.states, self.points = [self.state()], []
        for step in self.STEPS:
            self.points.append(self.done(step).points())
            self.states.append(self.state())
        assert self.states[-1] == self.states[0], difference(self.states[0], self.states[-1])
        self.daemon = doomed.shell(host, "pidof dockerd")

    def started(self, step):
        return doomed.Play(self.host, self.feature["role"], self.feature[step], self.folder, self.environment)

    def done(self, step):
        play = self.started(step)
        assert play.wait() == 0, play.output
        return play

    def state(self):
        """Every file, package, unit and user; and what runs."""
        lines = doomed.shell(self.host, SNAPSHOT.read_text(), check=False).splitlines()
        kept = {line for line in lines if not re.search(self.feature["unlike"], line)}
        return kept | {f"running: {line}" for line in doomed.shell(self.host, self.feature["runs"], check=False).splitlines()}

    def repair(self, number):
        """A fresh host in the state after this step, after a fault."""
        self.fresh()
        for step in self.STEPS[: number + 1]:
            self.done(step)
        self.daemon = doomed.shell(self.host, "pidof dockerd")

    def faults(self, number, point, everyone, undo):
        """What is wrong after this step was killed, and after the run that follows: the same step, or undo."""
        play = self.started(self.STEPS[number])
        play.kill(point, everyone)
        contents = re.compile(r"[0-9a-f]{32}  /etc/(systemd/system/)?buildfleet")
        torn = {line for line in self.state() if contents.match(line)} - self.states[number] - self.states[number + 1]
        if torn:
            yield f"neither old nor new: {sorted(torn)}"
        following = self.started("absent" if undo else self.STEPS[number])
        if following.wait() != 0:
            yield f"the next run fails: {following.output[-3000:]}"
        wanted = self.states[0] if undo else self.states[number + 1]
        found = self.state()
        if found != wanted:
            yield f"the next run does not finish: {difference(wanted, found)}"
        if doomed.shell(self.host, "pidof dockerd", check=False) != self.daemon:
            yield "the daemon was restarted, or is down"


def difference(wanted, found):
    return {"missing": sorted(wanted - found), "too much": sorted(found - wanted)}


@pytest.mark.parametrize("suite", ALL)
def test_a_role_killed_in_any_task(own_hosts, plain_environment, tmp_path, suite):
    host = f"killed-{suite}"
    roles = Roles(host, ALL[suite], tmp_path, plain_environment, lambda: own_hosts(**{host: suite}))
    dice = random.Random(f"{doomed.SEED} {suite} {doomed.PART}")
    wrong, killed = [], 0
    for _turn in doomed.of_this_part(ROUNDS):
        for number, undo in ((0, True), (0, False), (1, False), (2, False)):
            among = [point for point in roles.points[number] if point.changes or dice.random() < 0.1]  # most tasks only read
            point = dice.choice(among)
            point = point._replace(seconds=dice.random() * point.seconds)
            everyone = dice.random() < 0.7
            where = f"{host}, {roles.STEPS[number]}, task {point.task}, {point.name}, after {point.seconds:.2f} s, {'all' if everyone else 'the controller'}"
            begun = time.monotonic()
            found = [f"{where}: {fault}" for fault in roles.faults(number, point, everyone, undo)]
            killed += 1
            wrong += found
            if found:
                roles.repair(-1 if undo else number)
            print(f"{where}: {found or 'no fault'}, {time.monotonic() - begun:.0f} s", file=sys.__stderr__, flush=True)
    part = f"seed {doomed.SEED}, part {doomed.PART}/{doomed.PARTS}"
    print(f"{host}: {roles.feature['role']}: {killed} runs killed ({part}): {len(wrong)} faults", file=sys.__stderr__, flush=True)
    assert wrong == []
