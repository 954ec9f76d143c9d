# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Engines that do not read the files that we write, and what to do there instead."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host

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


def unsupported_reason(host: Host, version: t.Mapping[str, t.Any], info: t.Mapping[str, t.Any], systemd: bool) -> str:
    """Why we cannot configure this engine, and how to do it; '' for an ordinary engine."""
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
    if not systemd and _wsl(host):
        return DESKTOP if host.exists("/mnt/wsl/docker-desktop") else WSL
    return "" if version else _traces(host)


def _traces(host: Host) -> str:
    """If the daemon's socket does not answer: what is installed instead of an ordinary engine?"""
    if any(host.exists(f"/run/user/{user}/docker.sock") for user in host.names("/run/user")):
        return ROOTLESS
    if any(host.exists(path) for path in ("/usr/sbin/dockerd", "/usr/bin/dockerd", "/usr/local/bin/dockerd")):
        return ""
    if host.exists("/var/snap/docker/current"):
        return SNAP
    if host.exists("/usr/lib/tmpfiles.d/podman-docker.conf") or host.exists("/etc/containers/nodocker"):
        return PODMAN
    return DESKTOP if host.exists("/mnt/wsl/docker-desktop") or host.exists("/opt/docker-desktop") else ""


def _wsl(host: Host) -> bool:
    kernel = host.read("/proc/sys/kernel/osrelease")
    return kernel is not None and b"microsoft" in kernel.contents.lower()
