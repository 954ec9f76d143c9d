# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a plan is carried out, and whether the daemon is restarted for it."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import plan as daemon_proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import preflight, transaction
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record


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
    if broken:  # the first files are given back even so
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
