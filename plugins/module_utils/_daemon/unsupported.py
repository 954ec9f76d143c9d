# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Engines that do not read the files that we write, and what to do there instead."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File

DESKTOP = "This is Docker Desktop, which ignores proxies in daemon.json. Set them in its own settings: Resources > Proxies, mirrors under Docker Engine."
PODMAN = (
    "Here the docker command is podman, which has no daemon and does not read daemon.json. Write mirrors to /etc/containers/registries.conf.d/, "
    "and proxies to the environment of the user who runs it (or [engine] env in /etc/containers/containers.conf)."
)
ROOTLESS = (
    "Docker runs rootless here, as a user's own daemon. Write 'proxies' and 'registry-mirrors' to that user's ~/.config/docker/daemon.json, "
    "then: systemctl --user restart docker."
)
SNAP = (
    "Docker is installed as a snap, which reads no files below /etc. Write 'proxies' and 'registry-mirrors' to /var/snap/docker/current/config/daemon.json, "
    "then: snap restart docker. Or install the distribution's or Docker's own package."
)
WSL = (
    "This is WSL without systemd, where no service manager runs the daemon. Write systemd=true below [boot] in /etc/wsl.conf, "
    "run wsl --shutdown on Windows, then run this again."
)

_DOCKERD = ("/usr/sbin/dockerd", "/usr/bin/dockerd", "/usr/local/bin/dockerd")
_SNAP = "/var/snap/docker/current"
_PODMAN = ("/usr/lib/tmpfiles.d/podman-docker.conf", "/etc/containers/nodocker")
_WSL_DESKTOP = "/mnt/wsl/docker-desktop"
_DESKTOP = "/opt/docker-desktop"
KERNEL = "/proc/sys/kernel/osrelease"


def traces(users: t.Iterable[str]) -> t.Iterator[str]:
    """The paths that tell which engine is installed; ``users``: the names in /run/user."""
    yield from (*_DOCKERD, _SNAP, *_PODMAN, _WSL_DESKTOP, _DESKTOP)
    yield from (f"/run/user/{user}/docker.sock" for user in users)


def unsupported_reason(
    version: t.Mapping[str, t.Any], info: t.Mapping[str, t.Any], systemd: bool, existing: t.Collection[str], kernel: t.Optional[File]
) -> str:
    """Why we cannot configure this engine, and how to do it; '' for an ordinary engine. ``existing``: the traces that exist; ``kernel``: the file KERNEL."""
    platform = str((version.get("Platform") or {}).get("Name", ""))
    components = [str(one.get("Name", "")) for one in version.get("Components") or []]
    root = str(info.get("DockerRootDir", ""))
    if "Docker Desktop" in (platform, info.get("OperatingSystem")) or platform.startswith("Docker Desktop"):
        return DESKTOP
    if "Podman Engine" in components:
        return PODMAN
    if "name=rootless" in (info.get("SecurityOptions") or []):
        return ROOTLESS
    if root.startswith("/var/snap/"):
        return SNAP
    if not systemd and kernel and b"microsoft" in kernel.contents.lower():
        return DESKTOP if _WSL_DESKTOP in existing else WSL
    return "" if version else _installed_instead(existing)


def _installed_instead(existing: t.Collection[str]) -> str:
    """If the daemon's socket does not answer: what is installed instead of an ordinary engine?"""
    if any(path.startswith("/run/user/") for path in existing):
        return ROOTLESS
    if any(path in existing for path in _DOCKERD):
        return ""
    if _SNAP in existing:
        return SNAP
    if any(path in existing for path in _PODMAN):
        return PODMAN
    return DESKTOP if _WSL_DESKTOP in existing or _DESKTOP in existing else ""
