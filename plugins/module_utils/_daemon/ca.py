# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CA in the host's trust store, and the restart of the daemon that reads it: planned, then applied."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes, File, Files
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import start
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, PlanRefused
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import observe
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.json_file import NotJson
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import apply as write_files
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import trust_store

_NO_STORE = (
    "This host has neither /usr/local/share/ca-certificates (Debian's family) nor /etc/pki/ca-trust/source/anchors (Red Hat's family). "
    "Install the package ca-certificates, or add the certificate to the host's trust store by hand and restart Docker."
)


class Change(t.NamedTuple):
    """What a run changes, planned before anything is written; ``before``: the changed files as the run found them."""

    store: trust_store.Store
    record: Record
    daemon: Daemon
    before: Files
    changes: Changes
    restart: start.Restart
    warnings: t.List[str]


def plan(host: Host, options: t.Mapping[str, t.Any], check_mode: bool) -> Change:
    """Plan what the options change on this host; NoCertificate for a text that is none."""
    record = Record(host, "proxy_ca")
    if not check_mode:
        record.sweep()
    store = next((store for store in trust_store.STORES if host.exists(store.folder)), None)
    if store is None:
        raise Refused(_NO_STORE, changed=False, restarted=False)
    absent = options["state"] == "absent"
    before = {store.anchor: host.read(store.anchor)}
    changes, warnings = _absent(store, record, before[store.anchor]) if absent else (_present(host, store, before[store.anchor], options["certificate"]), [])
    daemon = observe(host, options["service"], None)
    changed_at = record.note("changed") or (0 if absent else host.changed_at(store.bundle))  # by us, or by others
    due = daemon.up and (bool(changes) or changed_at > daemon.started)
    restart = start.Restart(due, start.restart_blocker(host, daemon, options["restart"]) if due else "")
    return Change(store, record, daemon, before, changes, restart, warnings)


def apply(host: Host, change: Change, options: t.Mapping[str, t.Any]) -> str:
    """Change the store and restart the daemon; '' or the daemon's message if it does not start again."""
    undo = options["state"] == "absent"
    if change.restart.now:
        _trial_start(host, change.daemon, options["timeout"])
    if change.changes:
        _write(host, change)
    elif undo and change.record.paths:  # a run that was killed between file and update
        host.run(change.store.renew, timeout=120)
    problem = start.restart_alone(host, change.daemon, options["timeout"]) if change.restart.now else ""
    if undo and not problem and not change.restart.pending:
        change.record.forget()
    return problem


def _present(host: Host, store: trust_store.Store, before: t.Optional[File], certificate: t.Optional[str]) -> Changes:
    if not certificate:
        raise Refused("state: present needs certificate. Set it to the CA certificate in PEM, or use state: absent.", changed=False, restarted=False)
    pem = trust_store.wanted(certificate)
    if _trusts(host, store, pem) and (before is None or before.contents == pem.encode()):
        return {}
    return {store.anchor: File(pem.encode())}


def _absent(store: trust_store.Store, record: Record, before: t.Optional[File]) -> t.Tuple[Changes, t.List[str]]:
    if before is None or not record.knows(store.anchor):
        return {}, []
    if not record.as_we_left_it(store.anchor, before):
        return {}, [f"{store.anchor} was changed by others after this module wrote it, so it stays."]
    return {store.anchor: record.first(store.anchor)}, []


def _write(host: Host, change: Change) -> None:
    """Add it to the store and check that programs see it; otherwise restore everything."""
    store, changes = change.store, change.changes
    change.record.remember(changes)
    change.record.put_note("changed", host.now())
    change.record.save()
    write_files(host, changes)
    done = host.run(store.update if all(changes.values()) else store.renew, timeout=120)
    missing = [path for path, file in changes.items() if file and not _trusts(host, store, file.contents.decode())]
    if done.code == 0 and not missing:
        return
    write_files(host, change.before)
    host.run(store.renew, timeout=120)
    output = f" Output of {store.update[0]}: {done.text}" if done.text else ""
    raise Refused(
        f"{store.update[0]} did not add the certificate to {store.bundle}; the store was restored. Repair the store, then run this again.{output}",
        changed=False,
        restarted=False,
        rolled_back=True,
    )


def _trusts(host: Host, store: trust_store.Store, pem: str) -> bool:
    bundle = host.read(store.bundle)
    return bundle is not None and trust_store.trusted(pem, bundle.contents.decode(errors="replace"))


def _trial_start(host: Host, daemon: Daemon, timeout: int) -> None:
    """An error of others in daemon.json must not stop Docker at our restart."""
    try:
        start.trial_start(host, daemon, {}, timeout)
    except (PlanRefused, NotJson) as error:
        raise Refused(str(error), changed=False, restarted=False) from error
