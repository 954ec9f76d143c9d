# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The outer engine, in which the machines of the lab are containers. Started if none answers, and stopped again if the lab started it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from shell import CACHE, STATE, run, say, text

PROGRAMS = {
    "dockerd": "docker.io",
    "docker": "docker-cli",
    "iptables": "iptables",
    "mmdebstrap": "mmdebstrap",
    "openssl": "openssl",
    "strace": "strace",
    "zstd": "zstd",
}
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
PID_FILE = STATE / "engine.pid"
FIREWALL_BEFORE = STATE / "forward-policy"
FORWARDING_BEFORE = STATE / "ip_forward"


def install() -> None:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    os.environ["PATH"] = path
    missing = {package for program, package in PROGRAMS.items() if not shutil.which(program)}
    if not missing:
        return
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    run("apt-get", "update", "-qq")
    if "docker-cli" in missing and not text("apt-cache", "madison", "docker-cli"):
        missing = missing - {"docker-cli"} | {"docker.io"}  # one package until bookworm, two since trixie
    say(f"installing with apt-get: {', '.join(sorted(missing))}")
    run("apt-get", "install", "-qq", "-y", "--no-install-recommends", *sorted(missing))


def answers() -> bool:
    return bool(text("docker", "version", "--format", "{{.Server.Version}}").strip())


def start() -> None:
    if answers():
        return
    say("no Docker engine answers here: starting one for the lab (`down` stops it)")
    if not ours():
        launch()
    for _rest in range(150):
        if answers():
            return
        time.sleep(0.2)
    raise SystemExit(f"lab: the Docker engine that was started does not answer; its last words:\n{(STATE / 'dockerd.log').read_text()[-2000:]}")


def launch() -> None:
    if not FORWARDING_BEFORE.exists():
        policy = [line for line in text("iptables", "-S", "FORWARD").splitlines() if line.startswith("-P")]
        FIREWALL_BEFORE.write_text("".join(policy))
        FORWARDING_BEFORE.write_text(FORWARDING.read_text())
    with (STATE / "dockerd.log").open("w") as log:
        engine = subprocess.Popen(
            ["dockerd", f"--data-root={CACHE / 'docker'}", "--bridge=none"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    PID_FILE.write_text(str(engine.pid))


def ours() -> int | None:
    """The process id of the engine that we started, if it still runs."""
    try:
        pid = int(PID_FILE.read_text())
        name, state = Path(f"/proc/{pid}/stat").read_text().split()[1:3]
    except (OSError, ValueError):
        return None
    return pid if name == "(dockerd)" and state != "Z" else None


def stop() -> None:
    if not FORWARDING_BEFORE.exists():
        return
    pid = ours()
    if pid:
        os.kill(pid, signal.SIGTERM)
        for _rest in range(150):
            if not ours():
                break
            time.sleep(0.2)
        else:
            raise SystemExit(f"lab: the lab's dockerd (process {pid}) does not end.")
    give_back_the_firewall()
    FORWARDING.write_text(FORWARDING_BEFORE.read_text())
    for directory in Path("/sys/fs/cgroup").glob("*/docker"):
        with contextlib.suppress(OSError):  # another engine's, still in use
            directory.rmdir()
    FORWARDING_BEFORE.unlink()


def give_back_the_firewall() -> None:
    """dockerd leaves its chains behind: reload every rule except those with their names."""
    kept = [line for line in text("iptables-save").splitlines() if "DOCKER" not in line]
    subprocess.run(["iptables-restore"], input="\n".join(kept) + "\n", text=True, check=True)
    policy = FIREWALL_BEFORE.read_text().split()
    if policy:
        run("iptables", *policy)
