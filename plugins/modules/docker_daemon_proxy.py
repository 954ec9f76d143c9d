#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_daemon_proxy
short_description: Configure proxies and mirrors of the Docker daemon
version_added: 1.0.0
description:
  - Sets the proxies, registry mirrors and insecure registries of a Docker daemon, with one restart at most, and only if a setting that is
    given here is not effective. Settings are compared as C(docker info) shows them, so a different spelling does not count as a difference.
  - A run considers only the settings that are given to it. No other setting of the host causes a restart or a failure. Problems in others are findings of
    M(buildfleet.docker.docker_build_info).
  - From Docker Engine 23.0 the proxies are written to C(daemon.json); before, to an environment file and a systemd drop-in,
    or to C(/etc/default) without systemd.
    All other bytes of these files stay unchanged.
  - The change is checked before it is written, verified with the running daemon afterwards, and rolled back if the daemon does not start with it.
  - This configures the daemon only. With BuildKit the I(client) fetches the registry token, so combine it with M(buildfleet.docker.docker_build_env).
author:
  - The buildfleet authors (@buildfleet)
notes:
  - Run on real engines 20.10, 26.1 and 28.5 of Debian, with systemd, and 26.1 with sysvinit. The paths and units of Docker's own packages
    and of the RHEL family are supported and tested with their files, but were not run.
  - Docker Desktop, rootless Docker, the snap, podman's C(docker) and WSL without systemd read other settings. They are detected and rejected
    with an explanation of what to do there instead.
  - A restart is postponed while work is detected. Work is a running container without live-restore, a client or worker process,
    or an open request to the daemon's API while the daemon communicates with a registry, writes to its C(tmp), or writes or reads a layer.
    What a killed build or an earlier daemon left there does not count as work.
  - A host that was broken before the run (a unit that systemd refuses, a daemon that failed) is rejected before anything is written, unless the run's
    own change is the fix. A daemon that was stopped on purpose gets its files and stays stopped, and a warning says so.
extends_documentation_fragment:
  - buildfleet.docker._attributes
options:
  http_proxy:
    description:
      - URL of the proxy for registries without TLS, such as V(http://proxy.example.com:3128).
      - Schemes are V(http), V(https), V(socks5), and V(socks5h) if the engine was built with a Go version that supports it.
      - The proxy options describe the whole proxy configuration. If one of them is set, those that are not set are removed.
    type: str
  https_proxy:
    description: URL of the proxy for registries with TLS, Docker Hub among them. Its scheme is usually V(http).
    type: str
  proxy_username:
    description: The user name for the proxies O(http_proxy) and O(https_proxy), as plain text. The module encodes it into the URLs.
    type: str
  proxy_password:
    description: The password for O(proxy_username), as plain text. The module encodes it into the URLs.
    type: str
  no_proxy:
    description: Hosts, domains, addresses and networks that are reached without the proxy.
    type: list
    elements: str
  registry_mirrors:
    description:
      - URLs of the mirrors of Docker Hub, in the order of use.
      - If not set, mirrors stay unchanged. An empty list removes them.
    type: list
    elements: str
  insecure_registries:
    description:
      - Registries without TLS or with an unknown certificate, as host, host:port, URL or network, such as V(10.0.0.0/8).
      - Write V(http://host:port) for a registry without TLS and V(https://host:port) for one with an unknown certificate. Before engine 26
        BuildKit reads no other form, and this module adds the scheme for mirrors of O(registry_mirrors). From 26 on every form works.
      - If not set, they stay unchanged. An empty list removes them.
    type: list
    elements: str
  state:
    description:
      - V(present) applies the options that are set, and needs at least one.
      - V(absent) restores the original state of the host from the record in C(/var/lib/buildfleet), byte for byte if the files are as this module left them.
        Otherwise it removes only the settings of this module, and reports that in RV(conflicts).
    type: str
    choices: [present, absent]
    default: present
  mechanism:
    description: Where the proxies are written. V(auto) selects by engine and init system.
    type: str
    choices: [auto, daemon_json, systemd, sysvinit]
    default: auto
  config_file:
    description: The daemon's configuration file. The default is the file that the unit names, otherwise C(/etc/docker/daemon.json).
    type: path
  service:
    description: The name of the daemon's service.
    type: str
    default: docker
  restart:
    description:
      - V(if_idle) restarts only if no container would be stopped and no build, pull, push, load or export is detected, whoever started it;
        otherwise RV(restart_pending) is V(true) and a later run restarts. A connection that carries a container's logs to a server is not work,
        except that of awslogs, of gcplogs, or through a proxy, which looks like a pull. Use V(if_needed) there.
      - V(if_needed) restarts if a setting that is given here is not effective, whatever is running, unless this play runs in a container of this daemon.
      - V(never) only writes.
    type: str
    choices: [if_idle, if_needed, never]
    default: if_idle
  validate:
    description:
      - Whether to run C(dockerd --validate) before anything is written, if the engine supports it (23.0).
      - Also, if a file of the daemon was changed since it started, a trial start in separate namespaces shows whether the next start would fail.
        If no trial start is possible and others changed the file, the restart is postponed and RV(pending_reason) explains it.
      - Also, O(registry_mirrors) are queried from the host, and a warning names each one that sends clients to another token server, requires a login,
        or answers with an error or a web page. A warning also names a proxy with the scheme V(https) whose port uses plain HTTP.
    type: bool
    default: true
  timeout:
    description: Seconds within which the daemon must start.
    type: int
    default: 60
  adopt:
    description: Whether to take over proxy settings that others wrote to drop-ins and environment files. They are stored in
      the record and restored by O(state=absent).
    type: bool
    default: false
  backup:
    description: Whether to keep a copy of each changed file beside it. The record keeps the original state in any case.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Reach registries through the company's proxy
  buildfleet.docker.docker_daemon_proxy:
    http_proxy: http://proxy.example.com:3128
    https_proxy: http://proxy.example.com:3128
    proxy_username: builder
    proxy_password: "{{ vault_proxy_password }}"
    no_proxy: [localhost, .example.com, 10.0.0.0/8]

- name: Use a mirror first
  buildfleet.docker.docker_daemon_proxy:
    registry_mirrors: [https://mirror.example.com]

- name: Restore the host
  buildfleet.docker.docker_daemon_proxy:
    state: absent
"""

RETURN = r"""
mechanism:
  description: Where the proxies are written. Empty with O(state=absent).
  type: str
  returned: success
engine:
  description: The version of the engine, empty if no engine is installed.
  type: str
  returned: success
proxies:
  description: The effective proxies after the run (in check mode those that would be), credentials as V(xxxxx:xxxxx@).
  type: dict
  returned: success
registry_mirrors:
  description: The effective mirrors after the run.
  type: list
  elements: str
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
rolled_back:
  description: Whether the files were restored because the daemon did not start.
  type: bool
  returned: always
conflicts:
  description: Sentences about settings of others that conflict with these.
  type: list
  elements: str
  returned: success
backup_files:
  description: The copies made with O(backup=true).
  type: list
  elements: str
  returned: when O(backup=true)
"""

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import diff as diff_entry
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import change, transaction
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, run


def work(module: Module) -> t.Dict[str, t.Any]:
    with module.host.lock(f"/run/buildfleet-{module.params['service']}.lock"):
        return _change(module)


def _change(module: Module) -> t.Dict[str, t.Any]:
    options, host = module.params, module.host
    planned = change.plan(host, options, module.check_mode, module.secrets.learn_url)
    for warning in planned.warnings:
        module.warn(warning)
    diff = [diff_entry(path, planned.daemon.files.get(path), file, module.secrets.text) for path, file in planned.plan.changes.items()]
    daemon, copies = planned.daemon, []
    if not module.check_mode:
        copies = change.back_up(host, planned) if options["backup"] else []
        try:
            daemon = change.apply(host, planned, options)
        except transaction.Failed as error:
            raise Refused(str(error), rolled_back=error.rolled_back, restarted=error.restarted, diff=diff) from error
    effective = change.effective(planned, daemon, module.check_mode)
    pending = planned.restart.pending if planned.restart.due else ""
    return dict(
        {
            "changed": planned.changed,
            "mechanism": planned.plan.mechanism,
            "engine": daemon.engine,
            "proxies": effective.proxies,
            "registry_mirrors": effective.registry_mirrors,
            "restarted": planned.restart.now,
            "restart_pending": bool(pending),
            "rolled_back": False,
            "conflicts": planned.plan.conflicts,
            "diff": diff,
        },
        **({"pending_reason": pending} if pending else {}),
        **({"backup_files": copies} if options["backup"] else {}),
    )


def main() -> None:
    run(
        work,
        host=Host,
        argument_spec={
            "http_proxy": {"type": "str"},
            "https_proxy": {"type": "str"},
            "proxy_username": {"type": "str"},
            "proxy_password": {"type": "str", "no_log": False},  # _module masks every result
            "no_proxy": {"type": "list", "elements": "str"},
            "registry_mirrors": {"type": "list", "elements": "str"},
            "insecure_registries": {"type": "list", "elements": "str"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "mechanism": {"type": "str", "choices": ["auto", "daemon_json", "systemd", "sysvinit"], "default": "auto"},
            "config_file": {"type": "path"},
            "service": {"type": "str", "default": "docker"},
            "restart": {"type": "str", "choices": ["if_idle", "if_needed", "never"], "default": "if_idle"},
            "validate": {"type": "bool", "default": True},
            "timeout": {"type": "int", "default": 60},
            "adopt": {"type": "bool", "default": False},
            "backup": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
