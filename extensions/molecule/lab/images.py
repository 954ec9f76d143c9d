# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Root file systems of the lab, made with mmdebstrap from Debian's packages, and stored as tar files named by their recipe."""

from __future__ import annotations

import hashlib
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from shell import CACHE, HERE, run, say, text

COMMON = (
    "ca-certificates", "cron", "curl", "dbus", "docker.io", "iproute2", "iptables", "kmod", "libpam-systemd", "login", "mount",
    "nftables", "openssh-server", "passwd", "procps", "python3", "python3-yaml", "sudo",
)  # fmt: skip
SYSTEMD = ("systemd", "systemd-sysv")
SYSVINIT = ("sysvinit-core", "sysv-rc", "initscripts")
APT = ("apt", "python3-apt")


class Recipe(NamedTuple):
    suite: str
    packages: tuple[str, ...]


RECIPES = {
    # bookworm's docker-compose is the Python one, 1.29.2; it has no buildx.
    "bookworm": Recipe("bookworm", COMMON + SYSTEMD + ("docker-compose",)),
    "trixie": Recipe("trixie", COMMON + SYSTEMD + ("docker-cli", "docker-buildx", "docker-compose")),
    "forky": Recipe("forky", COMMON + SYSTEMD + ("docker-cli", "docker-buildx", "docker-compose")),
    # Without systemd: what Devuan and old releases have. /etc/init.d/docker and /etc/default/docker come with docker.io.
    "sysvinit": Recipe("trixie", tuple(name for name in COMMON if name != "libpam-systemd") + SYSVINIT + ("docker-cli",)),
    # Its apt knows one repository: a folder of its own with docker-registry and nginx, which are not installed.
    "cache": Recipe("bookworm", COMMON + SYSTEMD + APT),
    # The same engines as above; apt knows squid and what it needs, which are not installed.
    "bookwormrelay": Recipe("bookworm", COMMON + SYSTEMD + ("docker-compose",) + APT),
    "trixierelay": Recipe("trixie", COMMON + SYSTEMD + ("docker-cli", "docker-buildx", "docker-compose") + APT),
    "forkyrelay": Recipe("forky", COMMON + SYSTEMD + ("docker-cli", "docker-buildx", "docker-compose") + APT),
    "services": Recipe(
        "bookworm",
        ("busybox-static", "ca-certificates", "docker-registry", "iproute2", "iptables", "microsocks", "nginx-light", "openssl",
         "python3", "python3-cryptography", "python3-jwt", "squid-openssl", "tinyproxy"),
    ),
}  # fmt: skip

ARGUMENTS = (
    "--variant=essential",
    "--quiet",
    "--aptopt=Apt::Install-Recommends false",
    "--aptopt=Acquire::Check-Valid-Until false",  # the testing suite's InRelease may be a few days old
    "--dpkgopt=path-exclude=/usr/share/man/*",
    "--dpkgopt=path-exclude=/usr/share/locale/*",
    "--dpkgopt=path-exclude=/usr/share/doc/*",
)
HOST_SETUP = HERE / "inside" / "host-setup"
HOST_INIT = HERE / "inside" / "host-init"
CACHE_SETUP = HERE / "inside" / "cache-setup"
RELAY_SETUP = HERE / "inside" / "relay-setup"
SYSVINIT_SETUP = HERE / "inside" / "sysvinit-setup"


def debian_mirror() -> str:
    chosen = os.environ.get("BUILDFLEET_DEBIAN_MIRROR")
    if chosen:
        return chosen
    sites = text("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages", "Origin: Debian", "Label: Debian").split()
    if not sites:
        raise SystemExit("apt knows no Debian mirror on this machine: set BUILDFLEET_DEBIAN_MIRROR to the URL of one.")
    return sites[0]


def hooks(name: str) -> tuple[str, ...]:
    if name == "services":
        return ()
    return (f"--customize-hook=copy-in {HOST_INIT} /sbin", f'--customize-hook=sh {setup(name)} "$1"')


def setup(name: str) -> Path:
    if name.endswith("relay"):
        return RELAY_SETUP
    return {"sysvinit": SYSVINIT_SETUP, "cache": CACHE_SETUP}.get(name, HOST_SETUP)


def digest(name: str) -> str:
    recipe = RECIPES[name]
    parts = [recipe.suite, *recipe.packages, *ARGUMENTS]
    if hooks(name):
        parts += [setup(name).read_text(), HOST_INIT.read_text()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def tag(name: str) -> str:
    return f"buildfleet-lab/{name}:{digest(name)}"


def tar(name: str) -> Path:
    return CACHE / "images" / f"{name}-{digest(name)}.tar.zst"


def build(name: str) -> None:
    say(f"building the image {name}; this happens once")
    recipe = RECIPES[name]
    finished = tar(name)
    finished.parent.mkdir(parents=True, exist_ok=True)
    for stale in finished.parent.glob(f"{name}-*"):
        stale.unlink()
    unfinished = finished.with_name(f"{name}-unfinished.tar.zst")
    mirror = debian_mirror()
    run(
        "mmdebstrap", *ARGUMENTS, f"--include={','.join(recipe.packages)}", *hooks(name),
        recipe.suite, str(unfinished), f"deb {mirror} {recipe.suite} main",
    )  # fmt: skip
    unfinished.rename(finished)


def load(name: str) -> None:
    known = text("docker", "image", "ls", "--quiet", tag(name))
    if known.strip():
        return
    if not tar(name).exists():
        build(name)
    with subprocess.Popen(["zstd", "-dc", str(tar(name))], stdout=subprocess.PIPE) as unpacked:
        run("docker", "import", "-", tag(name), stdin=unpacked.stdout)


def load_all(names: set[str]) -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(load, sorted(names)))
