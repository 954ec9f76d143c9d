# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restore or remove a builder in a container of this engine that our build started."""

from __future__ import annotations

import json
import os
import typing as t
from urllib.parse import quote

from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host

NODE_PREFIX = "buildx_buildkit_"  # buildx driver/docker-container: the container of a node, and with _state its volume


class Nodes:
    """The containers and volumes of a builder's nodes, as they are now; nothing where the builder is the engine's own or elsewhere."""

    def __init__(self, host: Host, sock: str, config: str, builder: str) -> None:
        self._host, self._sock = host, sock
        self._names = tuple(f"{NODE_PREFIX}{node}" for node in _nodes(host, config, builder)) if sock and builder not in ("", "default") else ()
        self._containers = self._find()
        self._volumes = self._find_volumes()

    @property
    def stopped(self) -> bool:
        """Whether containers were there, and none of them was running."""
        return bool(self._containers) and not any(running for _identity, running in self._containers.values())

    def restore(self) -> None:
        """Remove new containers and stop those that were stopped, unless another client is connected by now."""
        for name, (identity, running) in self._find().items():
            before = self._containers.get(name)
            if before and (before[1] or not running):
                continue
            if self._connected(identity):
                continue
            if before:
                self._host.engine_api(f"/containers/{identity}/stop", "POST", sock=self._sock, timeout=60)
            else:
                self._host.engine_api(f"/containers/{identity}?force=1", "DELETE", sock=self._sock, timeout=60)
        for volume in self._find_volumes() - self._volumes:  # the engine refuses while a container uses it
            self._host.engine_api(f"/volumes/{quote(volume, safe='')}", "DELETE", sock=self._sock, timeout=60)

    def _find(self) -> t.Dict[str, t.Tuple[str, bool]]:
        """By container name: its id, and whether it runs."""
        containers: t.Dict[str, t.Tuple[str, bool]] = {}
        for name in self._names:
            answer = self._host.engine_api(f"/containers/json?all=1&filters={_named(name)}", sock=self._sock, timeout=30) or []
            for each in answer:
                if f"/{name}" in (each.get("Names") or []):
                    containers[name] = (str(each["Id"]), each.get("State") == "running")
        return containers

    def _find_volumes(self) -> t.FrozenSet[str]:
        wanted = {f"{name}_state" for name in self._names}
        volumes: t.Set[str] = set()
        for name in wanted:
            answer = self._host.engine_api(f"/volumes?filters={_named(name)}", sock=self._sock, timeout=30) or {}
            volumes.update(str(each["Name"]) for each in answer.get("Volumes") or [])
        return frozenset(volumes & wanted)

    def _connected(self, identity: str) -> bool:
        """A buildx client keeps an exec in the container during its build."""
        answer = self._host.engine_api(f"/containers/{identity}/json", sock=self._sock, timeout=30) or {}
        return bool(answer.get("ExecIDs"))


def _named(name: str) -> str:
    return quote(json.dumps({"name": [name]}))


def _nodes(host: Host, config: str, builder: str) -> t.List[str]:
    """The names of the nodes in the user's configuration of buildx; the first one's, where it cannot be read."""
    file = host.read(os.path.join(config, "instances", builder))
    try:
        nodes = json.loads(file.contents)["Nodes"] if file else []
        names = [str(node["Name"]) for node in nodes if node.get("Name")]
    except (ValueError, KeyError, TypeError, AttributeError):
        names = []
    return names or [f"{builder}0"]
