# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings that wait for a restart: by `docker info`, and by our notes about the daemon's last start."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.first_state import FirstState
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import plan as planning
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon


def not_effective(daemon: Daemon, record: FirstState, plan: planning.Plan) -> t.List[str]:
    """The settings that the daemon does not use yet: by `docker info`, else by our notes about its start."""
    names = {*plan.asked, *unstarted(daemon, record)}
    return planning.differences(planning.running(daemon.info), plan.expected, names) or _hidden_changes(daemon, record, plan, names)


def unstarted(daemon: Daemon, record: FirstState) -> t.List[str]:
    """The settings that earlier runs wrote and that the daemon has not started with."""
    noted = record.note("unstarted") or {"at": 0, "settings": []}
    return noted["settings"] if noted["at"] > daemon.started else []


def note_start(daemon: Daemon, record: FirstState, plan: planning.Plan) -> None:
    """Keep keyed digests of the settings that the daemon started with and that `docker info` hides."""
    hidden = {part: record.fingerprint(text) for part, text in planning.hidden(plan.expected).items()}
    record.put_note("started", {"pid": daemon.pid, "at": round(daemon.started, 1), **hidden})
    record.put_note("unstarted", None)


def _hidden_changes(daemon: Daemon, record: FirstState, plan: planning.Plan, names: t.Collection[str]) -> t.List[str]:
    """Settings that differ from those at the daemon's start although `docker info` shows no difference."""
    noted = record.note("started") or {}
    known = noted.get("pid") == daemon.pid and abs(noted.get("at", 0) - daemon.started) < 2
    carriers = [path for path in (daemon.config_file, daemon.environment_file, daemon.defaults_file) if path in daemon.changed]
    written = bool(plan.changes) or any(daemon.changed[path] > daemon.started for path in carriers)
    return [
        part
        for part, text in planning.hidden(plan.expected, names).items()
        if (noted[part] != record.fingerprint(text) if known and part in noted else bool(text) and written)
    ]
