# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A change to a daemon: validate, record, write, activate, prove, or roll back."""

from __future__ import annotations

import time
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import plan as planning
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import settings
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, PlanRefused
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.preflight import validation_error
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.problems import flag_place
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.settings import not_effective, unstarted
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.start import (
    Restart,
    last_messages,
    log_name,
    log_position,
    reload_units,
    restart_blocker,
    restart_service,
    wait_for_answer,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import CANNOT_WRITE, Host, HostError
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record, apply


class Failed(Exception):
    """The change did not hold; the message says what the daemon reported and the state of the host."""

    def __init__(self, message: str, rolled_back: bool, restarted: bool) -> None:
        super().__init__(message)
        self.rolled_back = rolled_back
        self.restarted = restarted


class _Failure(t.NamedTuple):
    """Why a change did not hold, and a sentence with the daemon's message or nothing."""

    what: str
    message: str


def restart(host: Host, daemon: Daemon, record: Record, plan: planning.Plan, policy: str) -> Restart:
    """Due if a setting of this run, or one that we wrote since the daemon started, is not effective; postponed if it would interrupt work."""
    waiting = not_effective(daemon, record, plan.expected, plan.asked, bool(plan.changes)) if daemon.up else []
    # A daemon that was stopped on purpose stays stopped.
    due = bool(waiting) if daemon.up else bool(plan.changes) and daemon.state in ("failed", "activating", "active")
    kept_by = restart_blocker(host, daemon, policy) if due else ""
    # Nothing else shows it: `docker info` hides the password.
    return Restart(due, f"the daemon still runs with the old password ({kept_by})" if "credentials" in waiting and kept_by else kept_by)


def can_write(host: Host, daemon: Daemon, record: Record, plan: planning.Plan) -> None:
    """Stop if a write would fail, so that check mode reports it too."""
    for path in [*plan.changes, record.path] if plan.changes else ():
        if not path:
            place = flag_place(daemon, daemon.files, "config-file")
            raise PlanRefused(f"{place}: --config-file has no value, so Docker reads no daemon.json. Nothing was written. Remove the flag there.")
        if not host.can_write(path):
            raise PlanRefused(f"{path} {CANNOT_WRITE}. Nothing was written.")


def validate(host: Host, daemon: Daemon, plan: planning.Plan) -> None:
    """Stop if the engine itself reports that it would not start with the planned files."""
    message = validation_error(host, daemon, {**daemon.files, **plan.changes})
    if message:
        raise PlanRefused(
            f"Docker would not start with {daemon.config_file}; nothing was written. Docker's message: {message} "
            "Correct what the message names, then run this again."
        )


def ours(daemon: Daemon, record: Record) -> t.List[str]:
    """Files that only we changed, and whose contents were all tried."""
    untried = record.note("untried") or []
    return [path for path, file in daemon.files.items() if record.as_we_left_it(path, file) and path not in untried]


def apply_change(host: Host, daemon: Daemon, record: Record, plan: planning.Plan, due: Restart, timeout: int) -> None:
    """Record, write, activate, prove; roll back if the proof fails."""
    before: Changes = {path: daemon.files.get(path) for path in plan.changes}
    new_folders = _new_folders(host, plan.changes)
    _remember(host, daemon, record, plan, due, new_folders)
    _write(host, record, plan, before, new_folders)
    if not due.now:
        if _units(plan.changes, daemon):
            reload_units(host)
        return
    failure = _activate(host, daemon, plan, timeout)
    if not failure:
        return
    _roll_back(host, record, before, new_folders)
    up = not restart_service(host, daemon, bool(_units(plan.changes, daemon)), timeout) and bool(wait_for_answer(host, daemon, timeout))
    state = (
        "docker is up again with its old settings"
        if up
        else f"docker is NOT up: it does not start with the old files either, so the error was there before this run (see {log_name(daemon)})"
    )
    raise Failed(f"{failure.what}; every file was restored and {state}.{failure.message}", True, up)


def _remember(host: Host, daemon: Daemon, record: Record, plan: planning.Plan, due: Restart, new_folders: t.Set[str]) -> None:
    """Save what undo and the next run need, before anything is written."""
    foreign = [path for path, at in daemon.changed.items() if at > daemon.started and path not in ours(daemon, record)]
    for path in plan.changes:
        if planning.replaced(path, daemon, record):
            record.drop(path)  # the file of others is now the original one
    record.remember(plan.changes)
    record.put_note("folders", sorted({*(record.note("folders") or []), *new_folders}))
    record.put_note("written", planning.written(record, daemon, plan))
    record.put_note("asked", sorted({*(record.note("asked") or ()), *plan.asked}))
    record.put_note("unstarted", {"at": host.now(), "settings": sorted({*unstarted(daemon, record), *plan.asked})})
    record.put_note("untried", [] if due.now else foreign)
    record.save()


def _write(host: Host, record: Record, plan: planning.Plan, before: Changes, new_folders: t.Set[str]) -> None:
    """All files or none."""
    try:
        apply(host, plan.changes)
    except HostError as error:
        _roll_back(host, record, before, new_folders)
        raise Failed(f"{error} Every file was restored, and Docker was not restarted.", True, False) from error
    except BaseException:
        _roll_back(host, record, before, new_folders)
        raise


def _activate(host: Host, daemon: Daemon, plan: planning.Plan, timeout: int) -> t.Optional[_Failure]:
    """Restart the daemon and compare its settings with the plan; None if they agree."""
    position = log_position(host, daemon)
    problem = restart_service(host, daemon, bool(_units(plan.changes, daemon)) or daemon.reload_needed, timeout)
    info = {} if problem else wait_for_answer(host, daemon, timeout)
    if not problem and not info:
        problem = f"It did not answer within {timeout} s."
    if problem:
        return _Failure("Docker did not start with the new settings", f" Docker's message: {last_messages(host, daemon, position) or problem}")
    wrong = _unproved(daemon, plan, info)
    return _Failure(f"Docker runs, but without the requested {', '.join(wrong)}", "") if wrong else None


def _unproved(daemon: Daemon, plan: planning.Plan, info: t.Mapping[str, t.Any]) -> t.List[str]:
    """The settings of this run that the daemon did not take over."""
    now = settings.running(info)
    wrong = settings.differences(now, plan.expected, plan.asked)
    if not wrong or plan.mechanism:
        return wrong
    # Undo: settings of others are effective again, as systemd and the engine read them; only a remaining value of ours is wrong.
    before = settings.running(daemon.info)
    return [name for name in wrong if daemon.up and not settings.differences(now, before, [name])]


def back_up(host: Host, daemon: Daemon, plan: planning.Plan) -> t.List[str]:
    """A copy of each changed file beside it; one with a password is readable by its owner only."""
    stamp = time.strftime("%Y-%m-%d@%H:%M:%S~", time.localtime(host.now()))
    copies = []
    for path in plan.changes:
        file = daemon.files.get(path)
        if file is not None:
            copies.append(f"{path}.{stamp}")
            host.write(copies[-1], file._replace(mode=file.mode & 0o700) if planning.holds_secret(path, file) else file)
    return copies


def forget(host: Host, record: Record) -> None:
    """After undo: remove folders that we created if they are empty, and the record."""
    for folder in sorted(record.note("folders") or [], key=len, reverse=True):
        host.remove_folder(folder)
    record.forget()


def _restore(host: Host, before: Changes) -> None:
    """Only files that differ: if one write fails, the next would too."""
    apply(host, {path: file for path, file in before.items() if host.read(path) != file})


def _roll_back(host: Host, record: Record, before: Changes, new_folders: t.Collection[str]) -> None:
    """Restore files, folders and record: nothing must remain of a change that did not hold."""
    _restore(host, before)
    for folder in sorted(new_folders, key=len, reverse=True):
        host.remove_folder(folder)
    record.take_back()


def _new_folders(host: Host, changes: Changes) -> t.Set[str]:
    return {folder for path, file in changes.items() if file is not None for folder in host.missing_folders(path)}


def _units(changes: Changes, daemon: Daemon) -> t.List[str]:
    return [path for path in changes if daemon.systemd and path.endswith((".conf", ".service"))]
