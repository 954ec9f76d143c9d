# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A demo in four parts on real engines: builds fail behind a firewall, one playbook runs, builds pass, hosts are restored."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
LAB = HERE.parent / "lab"
sys.path.insert(0, str(LAB))

import build as lab_build  # noqa: E402
import machines  # noqa: E402
import table  # noqa: E402

# Its own hosts, so that a running lab is not changed.
HOSTS = {"demo20": "bookworm", "demo26": "trixie", "demo28": "forky"}
IMAGE = "pytorch/torchserve:0.11.0-gpu"
BUILDERS = {"buildkit": "BuildKit", "legacy": "the legacy builder"}
INVENTORY = HERE.parents[2] / ".build" / "demo.yml"
COLOURS = sys.stdout.isatty()


def paint(text: str, colour: int) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if COLOURS else text


def say(text: str = "") -> None:
    print(text, flush=True)


def title(text: str) -> None:
    say(f"\n{paint(text, 1)}\n{paint('=' * len(text), 1)}")


def lab(*arguments: str) -> None:
    subprocess.run([sys.executable, str(LAB / "lab.py"), *arguments], check=True)


def engine_version(host: str) -> str:
    return lab_build.on(host, "docker version --format '{{.Server.Version}}'").log.strip()


def decisive(log: str) -> str:
    """The engine's own message: the last line that says what went wrong."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if re.search(r"error|failed|reset|refused|timeout", line, re.I)), lines[-1] if lines else "")


def build(host: str) -> dict[str, lab_build.Outcome]:
    """Each builder in a login shell, without anything left by an earlier build."""
    return {builder: lab_build.build(host, builder, IMAGE, login="builder") for builder in BUILDERS}


def build_everywhere(wanted: bool) -> bool:
    with ThreadPoolExecutor() as pool:
        outcomes = dict(zip(HOSTS, pool.map(build, HOSTS), strict=True))
    for host, by_builder in outcomes.items():
        say(f"\n{paint(host, 1)}, Docker Engine {engine_version(host)}")
        for builder, outcome in by_builder.items():
            say(f"  {paint('built', 32) if outcome.ok else paint('failed', 31):{6 if not COLOURS else 15}} with {BUILDERS[builder]}")
            if not outcome.ok:
                say(f"         {decisive(outcome.log)}")
    return all(outcome.ok is wanted for by_builder in outcomes.values() for outcome in by_builder.values())


def play(playbook: str, *variables: str, secret: dict[str, str] | None = None) -> bool:
    command = ["ansible-playbook", f"buildfleet.docker.{playbook}", f"--inventory={INVENTORY}", *variables]
    named = [f"{name}=..." for name in secret or ()]
    say("$ " + shlex.join(command).replace(str(INVENTORY), "hosts.yml") + (f"     # with, in the environment: {' '.join(named)}" if named else ""))
    return subprocess.run(command, env={**os.environ, **(secret or {})}, stdin=subprocess.DEVNULL, check=False).returncode == 0


def write_inventory() -> None:
    INVENTORY.parent.mkdir(exist_ok=True)
    hosts = "".join(f"    {host}:\n" for host in HOSTS)
    INVENTORY.write_text(
        f"build_servers:\n  vars:\n    ansible_connection: community.docker.docker\n    ansible_python_interpreter: /usr/bin/python3\n  hosts:\n{hosts}"
    )


def story() -> bool:
    title("1. Three Docker hosts behind a firewall")
    lab("up", "--hosts", ",".join(f"{host}={suite}" for host, suite in HOSTS.items()))
    lab("reset", *HOSTS)
    write_inventory()
    say("The firewall resets every connection to registry-1.docker.io and auth.docker.io. A proxy with a password is available.")
    say(f"(No packet leaves this machine: Docker Hub is a real registry of the lab, and {IMAGE} in it is a busybox image with that name.)")

    title("2. What a user on these hosts sees")
    say("Dockerfile:")
    say("".join(f"    {line}\n" for line in lab_build.dockerfile(IMAGE).splitlines()).rstrip())
    if not build_everywhere(wanted=False):
        say("\nA build passed that should have failed: the firewall does not work.")
        return False

    title("3. The fix: one playbook")
    proxies = [f"--extra-vars=buildfleet_proxy_{scheme}={table.AUTH_PROXY}" for scheme in ("http", "https")]
    secret = {"BUILDFLEET_PROXY_USERNAME": table.USERNAME, "BUILDFLEET_PROXY_PASSWORD": table.PASSWORD}
    if not play("site", *proxies, secret=secret):
        return False
    say("The same Dockerfile in a login shell, without images, cache or token of an earlier build:")
    if not build_everywhere(wanted=True):
        return False

    title("4. Restore the hosts")
    return play("undo")


def main() -> int:
    started = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    lab_was_up = any(machines.running(machines.container(service)) for service in table.SERVICES)
    told = False
    try:
        told = story()
    finally:
        title("Removing the lab" if not lab_was_up else "Removing the hosts of the demo (the lab was up before, and stays)")
        if lab_was_up:
            machines.remove(*HOSTS)
        else:
            lab("down")
        INVENTORY.unlink(missing_ok=True)
    verdict = paint("The fix works on every engine, with both builders.", 32) if told else paint("The demo did not end as expected; see above.", 31)
    say(f"\n{verdict} ({time.monotonic() - started:.0f} s)")
    return 0 if told else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (KeyboardInterrupt, subprocess.CalledProcessError):
        sys.exit("demo: interrupted; everything was removed.")
