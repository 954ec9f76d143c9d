# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the options to a change of the daemon, planned before anything is written, and its result."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import plan as planning
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import preflight, settings, transaction
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, PlanRefused
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import observe
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.start import Restart, trial_start
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.json_file import NotJson
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import ValueRefused
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirror_answer import mirror_problem
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import ask_mirror

_UNTOUCHED = {"changed": False, "restarted": False, "rolled_back": False}
_Options = t.Mapping[str, t.Any]


class Change(t.NamedTuple):
    """What a run changes, planned before anything is written; ``daemon``: as the run found it."""

    daemon: Daemon
    record: Record
    plan: planning.Plan
    restart: Restart
    warnings: t.List[str]

    @property
    def changed(self) -> bool:
        return bool(self.plan.changes) or self.restart.now


def plan(host: Host, options: _Options, check_mode: bool, learn: t.Callable[[str], None]) -> Change:
    """Plan what the options change on this host. ``learn`` is called with each URL in a file, because its password must be masked."""
    present = options["state"] == "present"
    if present and all(options[name] is None for name in settings.SETTINGS):
        raise Refused(f"state: present needs at least one of {', '.join(settings.SETTINGS)}. Set one, or use state: absent.", **_UNTOUCHED)
    record = Record(host, f"docker_daemon_proxy.{options['service']}")
    if not check_mode:
        record.sweep()
    daemon = _observed(host, options)
    for url in planning.urls_on_host(daemon):
        learn(url)
    if daemon.unsupported and present:
        raise Refused(daemon.unsupported, **_UNTOUCHED)
    try:
        planned = _present(host, daemon, record, options, check_mode, learn) if present else planning.absent(daemon, record)
        restart = _restart(host, daemon, record, planned, options)
    except (PlanRefused, ValueRefused, NotJson) as error:
        raise Refused(str(error), **_UNTOUCHED) from error
    for url in planning.urls(planned.changes):  # undo may restore a login that no file has now
        learn(url)
    left_down = preflight.left_down(daemon) if not restart.now else ""
    return Change(daemon, record, planned, restart, [*planned.warnings, *filter(None, [left_down])])


def back_up(host: Host, change: Change) -> t.List[str]:
    return transaction.back_up(host, change.daemon, change.plan) if change.changed else []


def apply(host: Host, change: Change, options: _Options) -> Daemon:
    """Write, restart and verify; returns the daemon's new state."""
    daemon, record, restart = change.daemon, change.record, change.restart
    if change.changed:
        transaction.apply_change(host, daemon, record, change.plan, restart, options["timeout"])
    if restart.now:
        daemon = observe(host, options["service"], options["config_file"])
        settings.note_start(daemon, record, change.plan.expected)
        record.save()
    if options["state"] == "absent" and not restart.pending and record.paths:
        transaction.forget(host, record)
    return daemon


def effective(change: Change, daemon: Daemon, check_mode: bool) -> settings.Effective:
    """The daemon's settings after the run; in check mode, after the planned restart."""
    if daemon.up and (not check_mode or change.restart.pending):
        return settings.running(daemon.info)
    return settings.masked(change.plan.expected)


def _observed(host: Host, options: _Options) -> Daemon:
    daemon = observe(host, options["service"], options["config_file"])
    return daemon if preflight.wait_for_start(host, daemon) else observe(host, options["service"], options["config_file"])


def _present(host: Host, daemon: Daemon, record: Record, options: _Options, check_mode: bool, learn: t.Callable[[str], None]) -> planning.Plan:
    relay = host.read(settings.RELAY_FILE)
    request, warnings = planning.wanted(options, daemon.engine, daemon.go, relay.contents if relay else b"")
    for url in (request.proxies or {}).values():
        learn(url)
    try:
        planned = planning.present(request, daemon, record, options["mechanism"], options["adopt"])
    except PlanRefused:
        if check_mode and not daemon.engine and options["mechanism"] == "auto":
            nothing = settings.Effective(dict.fromkeys(settings.PROXIES, ""), [], frozenset())
            return planning.Plan("", {}, nothing, [], ["There is no Docker Engine on this host yet, so nothing could be predicted.", *warnings])
        raise
    if options["validate"]:
        warnings = warnings + _answers(host, request)
    return planned._replace(warnings=warnings + planned.warnings)


def _restart(host: Host, daemon: Daemon, record: Record, planned: planning.Plan, options: _Options) -> Restart:
    """Whether a restart is due and can be done now; refused where the engine would not start with the plan."""
    restart = _restart_before_trial(host, daemon, record, planned, options)
    if not restart.now:
        return restart
    if options["state"] == "absent" and all(record.knows(path) and file == record.first(path) for path, file in planned.changes.items()):
        left_alone = preflight.not_restarted_for_undo(host, daemon, planned.changes)
        if left_alone:
            planned.conflicts.append(left_alone)
            return Restart(False, "")
    if options["validate"]:
        doubt = trial_start(host, daemon, planned.changes, options["timeout"], transaction.ours(daemon, record))
        # A build may have begun meanwhile.
        restart = restart._replace(pending=doubt) if doubt else transaction.restart(host, daemon, record, planned, options["restart"])
    return restart


def _restart_before_trial(host: Host, daemon: Daemon, record: Record, planned: planning.Plan, options: _Options) -> Restart:
    """The same, as far as the files and the state of the host show it."""
    present = options["state"] == "present"
    transaction.can_write(host, daemon, record, planned)
    restart = transaction.restart(host, daemon, record, planned, options["restart"])
    broken = preflight.broken(host, daemon, planned.changes, restart.due)
    if broken and present:
        raise PlanRefused(broken.refusal)
    if options["validate"] and planned.changes and present:
        transaction.validate(host, daemon, planned)
    if broken:  # the original files are restored all the same
        restart = restart._replace(pending=broken.text)
    return restart


def _answers(host: Host, request: planning.Wanted) -> t.List[str]:
    """Warnings from the answers of proxies and mirrors to this host, all requested in parallel."""
    mirrors = request.registry_mirrors or []
    tls = {name: proxy for name, proxy in request.servers.items() if proxy.scheme == "https"}
    calls: t.Dict[str, t.Callable[[], t.Any]] = {url: functools.partial(ask_mirror, host.http_get, url) for url in mirrors}
    calls.update({name: functools.partial(host.speaks_plain_http, *proxy.server()) for name, proxy in tls.items()})
    received = host.run_parallel(calls, 6)
    return [
        *(f"{name}: {proxy.address} answers plain http, not TLS. Write http://{proxy.address}." for name, proxy in tls.items() if received.get(name)),
        *(f"registry_mirrors: {problem}" for problem in (mirror_problem(received[url]) for url in mirrors if url in received) if problem),
    ]
