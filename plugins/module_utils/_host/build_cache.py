# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The cache records of BuildKit, of the engine's own and of a named builder."""

from __future__ import annotations

import json
import typing as t
from urllib.parse import quote

from ansible_collections.buildfleet.docker.plugins.module_utils._host.build_host import BuildHost

CacheRecord = t.Dict[str, t.Any]  # as the engine's API has it


class EngineCache:
    def __init__(self, host: BuildHost, sock: str) -> None:
        self._host, self._sock = host, sock

    def records(self) -> t.Optional[t.List[CacheRecord]]:
        """All records; None if the engine does not list them."""
        answer = self._host.engine_api("/system/df?type=build-cache", sock=self._sock, timeout=60)
        return None if answer is None else answer.get("BuildCache") or []

    def remove(self, identity: str) -> None:
        filters = quote(json.dumps({"id": [identity]}))
        self._host.engine_api(f"/build/prune?all=1&filters={filters}", "POST", sock=self._sock, timeout=60)


class BuilderCache:
    """The same by buildx, as the user of the builder."""

    def __init__(self, host: BuildHost, builder: str, env: t.Mapping[str, str], user: str) -> None:
        self._host, self._builder, self._env, self._user = host, builder, env, user

    def records(self) -> t.Optional[t.List[CacheRecord]]:
        """All records; None if the builder does not run."""
        done = self._host.run_group(["docker", "buildx", "du", "--builder", self._builder, "--verbose"], self._env, "/", 60, self._user)
        return _records(done.out) if done.code == 0 and "Total:" in done.out else None

    def remove(self, identity: str) -> None:
        command = ["docker", "buildx", "prune", "--builder", self._builder, "--force", "--all", "--filter", f"id={identity}"]
        self._host.run_group(command, self._env, "/", 60, self._user)


Cache = t.Union[EngineCache, BuilderCache]


def _records(text: str) -> t.List[CacheRecord]:
    records: t.List[CacheRecord] = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        value = value.strip()
        if colon and key == "ID":
            records.append({"ID": value, "Parents": []})
        elif not records:
            continue
        elif line.startswith(" - "):
            records[-1]["Parents"].append(line[3:].strip())
        elif colon and key in ("Parent", "Parents") and value:  # buildx 0.13 has them on one line
            records[-1]["Parents"] += [parent.strip() for parent in value.split(",")]
        elif colon and key in ("Description", "Type"):
            records[-1][key] = value
        elif colon and key == "Created at":
            records[-1]["CreatedAt"] = value
    return records
