#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: proxy_ca
short_description: Trust the CA of a proxy that intercepts TLS
version_added: 1.0.0
description:
  - A proxy that intercepts TLS presents certificates of its own CA, and every pull and build fails with an C(x509) error.
    This module adds the CA to the trust store of the operating system, which the daemon, the docker command, buildx and compose read.
  - On Debian and its relatives that is C(/usr/local/share/ca-certificates) with C(update-ca-certificates), on Red Hat
    Enterprise Linux and its relatives C(/etc/pki/ca-trust/source/anchors) with C(update-ca-trust).
  - A daemon reads the store when it starts, so it is restarted by the same rules as in M(buildfleet.docker.docker_daemon_proxy).
  - C(RUN) steps use the store of their image, not that of the host. The guide C(docs/which-cure.md) shows how to add the CA there.
author:
  - The buildfleet authors (@buildfleet)
extends_documentation_fragment:
  - buildfleet.docker._attributes
options:
  certificate:
    description:
      - The CA certificate in PEM, or several, as text. Required with O(state=present).
      - If the host already trusts the CA, nothing is written; the daemon is restarted if it started before the store last changed.
    type: str
  state:
    description:
      - V(absent) removes the certificate from the store if this module added it, and nothing else.
    type: str
    choices: [present, absent]
    default: present
  service:
    description: The name of the daemon's service.
    type: str
    default: docker
  restart:
    description:
      - V(if_idle) restarts only if no container would be stopped and no build, pull or push is detected. Otherwise RV(restart_pending)
        is V(true) and a later run restarts.
      - V(if_needed) restarts if the store was changed since the daemon started, whatever is running, unless this play runs in a container of this daemon.
      - V(never) only changes the store.
    type: str
    choices: [if_idle, if_needed, never]
    default: if_idle
  timeout:
    description: Seconds within which the daemon must start.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Trust the company's proxy
  buildfleet.docker.proxy_ca:
    certificate: "{{ lookup('ansible.builtin.file', 'company-ca.pem') }}"

- name: Restore the host
  buildfleet.docker.proxy_ca:
    state: absent
"""

RETURN = r"""
file:
  description: The file in the trust store that contains the certificate.
  type: str
  returned: success
restarted:
  description: Whether the daemon was restarted.
  type: bool
  returned: always
restart_pending:
  description: Whether a restart is still due.
  type: bool
  returned: success
pending_reason:
  description: Why the restart was postponed.
  type: str
  returned: when RV(restart_pending) is V(true)
"""

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes, File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import diff as diff_entry
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import MASK
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import plan as daemon_proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import transaction
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import observe
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.json_file import NotJson
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record, apply
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, Refused, run
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import trust_store

_NO_STORE = (
    "This host has neither /usr/local/share/ca-certificates (Debian's family) nor /etc/pki/ca-trust/source/anchors (Red Hat's family). "
    "Install the package ca-certificates, or add the certificate to the host's trust store by hand and restart Docker."
)


def work(module: Module) -> t.Dict[str, t.Any]:
    with module.host.lock(f"/run/buildfleet-{module.params['service']}.lock"):
        return _change(module)


def _change(module: Module) -> t.Dict[str, t.Any]:
    options, host = module.params, module.host
    record = Record(host, "proxy_ca")
    if not module.check_mode:
        record.sweep()
    stores = [store for store in trust_store.STORES if host.exists(store.folder)]
    if not stores:
        raise Refused(_NO_STORE, changed=False, restarted=False)
    store, absent = stores[0], options["state"] == "absent"
    changes = _absent(module, store, record) if absent else _present(module, store)
    daemon = observe(host, options["service"], None)
    changed_at = record.note("changed") or (0 if absent else host.changed_at(store.bundle))  # by us, or by others
    due = daemon.up and (bool(changes) or changed_at > daemon.started)
    pending = transaction.restart_blocker(host, daemon, options["restart"]) if due else ""
    restarts = due and not pending
    diff = [diff_entry(path, host.read(path), file, module.secrets.text) for path, file in changes.items()]
    if not module.check_mode:
        if restarts:
            _trial_start(host, daemon, options["timeout"])
        if changes:
            _write(host, store, record, changes)
        elif absent and record.paths:  # a run that was killed between file and update
            host.run(store.renew, timeout=120)
        if restarts:
            problem = transaction.restart_alone(host, daemon, options["timeout"])
            if problem:
                raise Refused(f"The store was changed, but Docker did not start again. Its message: {problem}", changed=True, restarted=False, diff=diff)
        if absent and not pending:
            record.forget()
    result = {"changed": bool(changes) or restarts, "file": store.anchor, "restarted": restarts, "restart_pending": bool(pending), "diff": diff}
    return dict(result, pending_reason=pending) if pending else result


def _present(module: Module, store: trust_store.Store) -> Changes:
    if not module.params["certificate"]:
        raise Refused("state: present needs certificate. Set it to the CA certificate in PEM, or use state: absent.", changed=False, restarted=False)
    try:
        pem = trust_store.wanted(module.params["certificate"])
    except trust_store.NoCertificate as error:
        module.params["certificate"] = MASK
        raise Refused(str(error), changed=False, restarted=False) from error
    found = module.host.read(store.anchor)
    if _trusts(module.host, store, pem) and (found is None or found.contents == pem.encode()):
        return {}
    return {store.anchor: File(pem.encode())}


def _absent(module: Module, store: trust_store.Store, record: Record) -> Changes:
    found = module.host.read(store.anchor)
    if found is None or not record.knows(store.anchor):
        return {}
    if not record.as_we_left_it(store.anchor, found):
        module.warn(f"{store.anchor} was changed by others after this module wrote it, so it stays.")
        return {}
    return {store.anchor: record.first(store.anchor)}


def _write(host: Host, store: trust_store.Store, record: Record, changes: Changes) -> None:
    """Add it to the store and check that programs see it; otherwise restore everything."""
    before = {path: host.read(path) for path in changes}
    record.remember(changes)
    record.put_note("changed", host.now())
    record.save()
    apply(host, changes)
    done = host.run(store.update if all(changes.values()) else store.renew, timeout=120)
    missing = [path for path, file in changes.items() if file and not _trusts(host, store, file.contents.decode())]
    if done.code == 0 and not missing:
        return
    apply(host, before)
    host.run(store.renew, timeout=120)
    output = f" Output of {store.update[0]}: {done.text}" if done.text else ""
    raise Refused(
        f"{store.update[0]} did not add the certificate to {store.bundle}; the store was restored.{output}", changed=False, restarted=False, rolled_back=True
    )


def _trusts(host: Host, store: trust_store.Store, pem: str) -> bool:
    bundle = host.read(store.bundle)
    return bundle is not None and trust_store.trusted(pem, bundle.contents.decode(errors="replace"))


def _trial_start(host: Host, daemon: Daemon, timeout: int) -> None:
    """An error of others in daemon.json must not stop Docker at our restart."""
    try:
        effective = daemon_proxy.running(daemon.info)
        transaction.trial_start(host, daemon, daemon_proxy.Plan("", {}, effective, [], []), timeout)
    except (daemon_proxy.PlanRefused, NotJson) as error:
        raise Refused(str(error), changed=False, restarted=False) from error


def main() -> None:
    run(
        work,
        host=Host,
        argument_spec={
            "certificate": {"type": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "service": {"type": "str", "default": "docker"},
            "restart": {"type": "str", "choices": ["if_idle", "if_needed", "never"], "default": "if_idle"},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
