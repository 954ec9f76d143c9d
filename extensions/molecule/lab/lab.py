# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A firewall in containers: three generations of Docker hosts that cannot reach a fake Docker Hub, with mirrors and proxies that can."""

from __future__ import annotations

import argparse
import fcntl
import re
import sys
import time

import engine
import images
import machines
import pki
import wall
from shell import CACHE, STATE, run, say, text
from table import HOSTS, NETWORK, NOT_RUN, OTHER_HOSTS, SERVICES, STORES


def wanted_hosts(spec: str) -> dict[str, str]:
    """`name=suite,...`; `web*3=trixie` means web01, web02, web03; `web=forky+containerd` has that image store."""
    hosts: dict[str, str] = {}
    for part in spec.split(","):
        matched = re.fullmatch(r"([a-z][a-z0-9-]*)(?:\*(\d+))?=([a-z]+)(\+[a-z]+)?", part)
        if not matched or matched[3] not in (*images.RECIPES, machines.BROUGHT) or matched[3] == "services" or (matched[4] or "+containerd")[1:] not in STORES:
            raise SystemExit(
                f"lab: `{part}` is not NAME=SUITE or NAME*COUNT=SUITE (suites: bookworm, trixie, forky; with +containerd or +graphdriver: that image store)."
            )
        name, count, suite = matched[1], matched[2], matched[3] + (matched[4] or "")
        hosts.update({f"{name}{number:02}": suite for number in range(1, int(count) + 1)} if count else {name: suite})
    return hosts


def wait_until(ready: tuple[str, ...], what: str, seconds: int = 60) -> None:
    for _rest in range(seconds * 4):
        if text(*ready).strip():
            return
        time.sleep(0.25)
    raise SystemExit(f"lab: {what} is not ready after {seconds} s.")


def up(hosts: dict[str, str]) -> None:
    engine.install()
    engine.start()
    images.load_all({"services", *map(machines.image, hosts.values())})
    pki.issue()
    machines.network()
    machines.start_services()
    machines.start_hosts(hosts)
    for host in hosts:
        wait_until(("docker", "exec", host, "docker", "version", "--format", "{{.Server.Version}}"), f"the engine of {host}")
    say(f"up: {', '.join(hosts)}")
    for sentence in NOT_RUN:
        say(sentence)


def down() -> None:
    if engine.answers() and not machines.remove_all():
        # A start that was killed can leave an end of the network behind, which dockerd sweeps up when it starts.
        engine.stop()
        engine.start()
        if not machines.remove_all():
            raise SystemExit(f"lab: the engine keeps the network {NETWORK}; restart that engine, then run this again.")
    engine.stop()
    machines.give_back_the_room()
    say("down: no container, network, rule or process of the lab is left")


def reset(hosts: list[str]) -> None:
    suites = {**HOSTS, **OTHER_HOSTS, **machines.hosts()}
    for host in hosts:
        if host not in suites:
            raise SystemExit(f"lab: there is no host {host}; there are {', '.join(suites)}.")
        machines.remove_host(host)
    up({host: suites[host] for host in hosts})


def status() -> None:
    for host, suite in machines.hosts().items():
        version = text("docker", "exec", host, "docker", "version", "--format", "{{.Server.Version}}").strip()
        print(f"{host:12} {suite:10} {'engine ' + version if version else 'no engine answers'}")
    for service in SERVICES:
        print(f"{service:12} {'runs' if machines.running(machines.container(service)) else 'does not run'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start what is not running yet")
    start.add_argument("--hosts", type=wanted_hosts, default=HOSTS, metavar="SPEC", help="NAME=SUITE,... or NAME*COUNT=SUITE")
    commands.add_parser("down", help="remove everything, and stop the engine if the lab started it")
    commands.add_parser("status", help="list what is running")
    another = commands.add_parser("wall", help="change the firewall, for all hosts or for the given ones")
    another.add_argument("mode", choices=wall.MODES)
    another.add_argument("hosts", nargs="*")
    commands.add_parser("reset", help="restore hosts to their first state").add_argument("hosts", nargs="+")
    log = commands.add_parser("log", help="list the requests to a service, and their clients")
    log.add_argument("service", choices=SERVICES)
    log.add_argument("--since", default="", help="as `docker logs --since` has it: 10s, or a time")
    options = parser.parse_args()

    CACHE.mkdir(parents=True, exist_ok=True)
    STATE.mkdir(exist_ok=True)
    if options.command == "status":
        status()
    elif options.command == "log":
        print(run("sh", "-c", f"docker logs --since '{options.since}' {machines.container(options.service)} 2>&1"), end="")
    else:
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if options.command == "up":
                up(options.hosts)
            elif options.command == "down":
                down()
            elif options.command == "reset":
                reset(options.hosts)
            else:
                machines.raise_wall(options.mode, options.hosts)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("lab: interrupted; `down` removes what is there, `up` goes on.")
