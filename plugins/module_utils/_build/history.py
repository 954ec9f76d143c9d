# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Past builds, from the records that BuildKit keeps and buildx shows."""

from __future__ import annotations

import json
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused

_NEWEST = ("true", "yes", "on", "1")


class Record(t.NamedTuple):
    """A past build; code 0 if it succeeded."""

    id: str
    name: str
    code: int
    log: str


def read_record(wanted: str, buildx: t.Callable[..., t.Tuple[int, str, str]]) -> Record:
    """The newest record (``wanted`` is true), or the one with this id, and its log. ``buildx`` runs `docker buildx history` with its arguments."""
    code, out, err = buildx("ls", "--format", "json")
    records = _records(out)
    if code or (out.strip() and not records):
        since = versions.text("buildx_history")
        raise Refused(f"history: buildx shows no past builds here; it supports that from {since}. Its message: {_first_line(out + err) or 'nothing'}")
    if wanted.lower() in _NEWEST:
        record = max(records, key=lambda one: str(one.get("created_at")), default=None)
    else:
        record = next((one for one in records if str(one.get("ref")).rpartition("/")[2] == wanted.rpartition("/")[2]), None)
    if record is None:
        ids = ", ".join(str(one.get("ref")).rpartition("/")[2] for one in records[:5])
        what = "no past build" if wanted.lower() in _NEWEST else f"no record {wanted}"
        raise Refused(f"history: there is {what} here. The newest are: {ids or 'none'}.")
    name = str(record.get("ref")).rpartition("/")[2]
    _code, inspected, _err = buildx("inspect", name, "--format", "json")
    _code, out, err = buildx("logs", name, "--progress", "plain")
    message = _error(inspected)
    return Record(
        name,
        str(record.get("name") or ""),
        0 if record.get("status") == "Completed" else 1,
        (out + err).strip() + (f"\nERROR: failed to build: failed to solve: {message}" if message else ""),
    )


def _records(text: str) -> t.List[t.Dict[str, t.Any]]:
    records = []
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and record.get("ref"):
            records.append(record)
    return records


def _error(text: str) -> str:
    """What the client printed at the end, which the log of a record does not contain."""
    try:
        document = json.loads(text)
    except ValueError:
        return ""
    error = document.get("Error") if isinstance(document, dict) else None
    return str(error.get("Message") or "") if isinstance(error, dict) else ""


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
