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

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import diff as diff_entry
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import MASK
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import ca
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, run
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.trust_store import NoCertificate


def work(module: Module) -> t.Dict[str, t.Any]:
    with module.host.lock(f"/run/buildfleet-{module.params['service']}.lock"):
        return _change(module)


def _change(module: Module) -> t.Dict[str, t.Any]:
    options, host = module.params, module.host
    try:
        planned = ca.plan(host, options, module.check_mode)
    except NoCertificate as error:
        options["certificate"] = MASK
        raise Refused(str(error), changed=False, restarted=False) from error
    for warning in planned.warnings:
        module.warn(warning)
    diff = [diff_entry(path, planned.before[path], file, module.secrets.text) for path, file in planned.changes.items()]
    problem = "" if module.check_mode else ca.apply(host, planned, options)
    if problem:
        raise Refused(
            f"The store was changed, but Docker did not start again. Correct what its message names, then start it. The message: {problem}",
            changed=True,
            restarted=False,
            diff=diff,
        )
    pending = planned.restart.pending
    result = {
        "changed": bool(planned.changes) or planned.restart.now,
        "file": planned.store.anchor,
        "restarted": planned.restart.now,
        "restart_pending": bool(pending),
        "diff": diff,
    }
    return dict(result, pending_reason=pending) if pending else result


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
