# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide whether a plan is applied, and whether the daemon is restarted for it."""

from __future__ import annotations

import functools
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import plan as daemon_proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import preflight, transaction
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirror_answer import mirror_problem
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import ask_mirror


def decide(host: Host, daemon: Daemon, record: Record, plan: daemon_proxy.Plan, options: t.Mapping[str, t.Any]) -> transaction.Restart:
    """Whether a restart is due and can be done now; refused where the engine would not start with the plan."""
    present = options["state"] == "present"
    transaction.can_write(host, plan)
    due = transaction.restart(host, daemon, record, plan, options["restart"])
    broken = preflight.broken(host, daemon, plan, due.due)
    if broken and present:
        raise daemon_proxy.PlanRefused(broken.refusal)
    if options["validate"] and plan.changes and present:
        transaction.validate(host, daemon, plan)
    if broken:  # the original files are restored all the same
        due = due._replace(pending=broken.text)
    if due.now and not present and all(record.knows(path) and file == record.first(path) for path, file in plan.changes.items()):
        left_alone = preflight.not_restarted_for_undo(host, daemon, plan)
        if left_alone:
            plan.conflicts.append(left_alone)
            return transaction.Restart(False, "")
    if options["validate"] and due.now:
        doubt = transaction.trial_start(host, daemon, plan, options["timeout"], transaction.ours(daemon, record))
        # A build may have begun meanwhile.
        due = due._replace(pending=doubt) if doubt else transaction.restart(host, daemon, record, plan, options["restart"])
    return due


def answers(host: Host, request: daemon_proxy.Wanted) -> t.List[str]:
    """Warnings from the answers of proxies and mirrors to this host, all requested in parallel."""
    mirrors = request.registry_mirrors or []
    tls = {name: proxy for name, proxy in request.servers.items() if proxy.scheme == "https"}
    calls: t.Dict[str, t.Callable[[], t.Any]] = {url: functools.partial(ask_mirror, host.http_get, url) for url in mirrors}
    calls.update({name: functools.partial(host.speaks_plain_http, *proxy.server()) for name, proxy in tls.items()})
    found = host.run_parallel(calls, 6)
    return [
        *(f"{name}: {proxy.address} answers plain http, not TLS. Write http://{proxy.address}." for name, proxy in tls.items() if found.get(name)),
        *(f"registry_mirrors: {problem}" for problem in (mirror_problem(found[url]) for url in mirrors if url in found) if problem),
    ]
