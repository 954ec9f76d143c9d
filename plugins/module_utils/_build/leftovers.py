# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a stopped build leaves on the engine: some engines let a step run on and keep its records. Reported, not ended by force."""

from __future__ import annotations

import re
import typing as t


def sentences(running: t.Mapping[int, str], before: t.Collection[int], log: str, records: t.Sequence[t.Mapping[str, t.Any]]) -> t.Tuple[str, ...]:
    """``running``: what each step runs by its process. Steps of this log that still run, and its records that the engine does not release."""
    commands = [_bare(command) for command in re.findall(r"^#\d+ \[[^\]]*\d+/\d+\] RUN (.+)$", log, re.M)]
    ours = {pid: text for pid, text in running.items() if pid not in before and any(_bare(text) in command for command in commands)}
    messages = [f"A step of this build still runs on the engine (process {pid}: {text}). End it with: kill {pid}." for pid, text in ours.items()]
    if records:
        count, them = ("A cache record", "it") if len(records) == 1 else (f"{len(records)} cache records", "them")
        names = ", ".join(str(record["ID"]) for record in records)
        messages.append(f"{count} of this build could not be removed; the engine uses {them} until its next start ({names}).")
    return tuple(messages)


def _bare(command: str) -> str:
    """A command without its shell and its quotes."""
    return " ".join(re.sub(r"^/bin/sh -c ", "", command).replace("'", "").replace('"', "").split())
