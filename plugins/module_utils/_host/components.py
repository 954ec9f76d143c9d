# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The versions of Docker's programs on this host; '' if a program is missing or broken."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host

# In docker's order (cli-plugins/manager), without the folder of a user.
PLUGIN_FOLDERS = (
    "/usr/local/lib/docker/cli-plugins",
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SECONDS = 15


def installed_engine(host: Host) -> str:
    """The version of the program dockerd, running or not."""
    return _version(host, ["dockerd", "--version"])


def engine(host: Host) -> str:
    """The engine that answers, else the installed one."""
    answer = host.engine_api("/version")
    return str(answer.get("Version", "")) if isinstance(answer, dict) else installed_engine(host)


def cli(host: Host) -> t.Tuple[str, str]:
    """The version of the docker command, and of its Go."""
    # With an engine that does not exist only the client answers, without waiting for a remote one.
    output = host.run(["docker", "version", "--format", "{{json .Client}}"], env={"PATH": PATH, "DOCKER_HOST": "unix:///nowhere.sock"}).out
    try:
        client = json.loads(output.splitlines()[0]) if output else {}
    except ValueError:
        return "", ""
    return str(client.get("Version", "")), str(client.get("GoVersion", ""))


def buildx(host: Host) -> str:
    """The plugin of all users, else that of the current user."""
    return _plugin(host, "docker-buildx") or _version(host, ["docker", "buildx", "version"])


def compose(host: Host) -> str:
    """Compose as a plugin, else the program docker-compose."""
    return _plugin(host, "docker-compose") or _version(host, ["docker-compose", "version", "--short"])


def has_buildx(host: Host, environment: t.Mapping[str, str]) -> bool:
    """Whether a docker command with this environment finds the plugin, its user's folder included."""
    config = environment.get("DOCKER_CONFIG") or f"{environment.get('HOME', '')}/.docker"
    return any(host.exists(f"{folder}/docker-buildx") for folder in (*PLUGIN_FOLDERS, f"{config}/cli-plugins"))


def image_store(info: t.Mapping[str, t.Any]) -> str:
    """'containerd' or 'graphdriver', from GET /info; '' if the engine does not answer."""
    drivers = [str(value) for pair in info.get("DriverStatus") or [] for value in pair]
    return "" if not info else "containerd" if any("io.containerd.snapshotter" in value for value in drivers) else "graphdriver"


def _plugin(host: Host, name: str) -> str:
    path = next((f"{folder}/{name}" for folder in PLUGIN_FOLDERS if host.exists(f"{folder}/{name}")), "")
    return _version(host, [path, "version"]) if path else ""


def _version(host: Host, argv: t.Sequence[str]) -> str:
    done = host.run(argv, timeout=_SECONDS)
    match = re.search(r"\bv?(\d+\.\d+[^\s,]*)", done.out) if done.code == 0 else None
    return match.group(1) if match else ""
