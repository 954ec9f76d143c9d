#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_registry_hosts
short_description: Configure mirrors of any registry for the daemon, without a restart
version_added: 1.1.0
description:
  - C(registry-mirrors) in C(daemon.json) are mirrors of Docker Hub only. From engine 28.0 the daemon also reads C(/etc/docker/certs.d/REGISTRY/hosts.toml),
    which configures the mirrors of any registry. This module writes these files, and removes its lines again.
  - A file takes effect without a restart. BuildKit caches for each repository how it reached it. It drops that every five minutes, or, if it used a
    token, at least ten minutes after the last use. A restart of the daemon ends it too.
  - With the graphdriver image store only BuildKit reads these files; with the containerd image store C(docker pull) and the legacy builder do too.
    RV(covers) shows this.
  - Lines of others are kept byte for byte, and O(state=absent) restores every file to its state before the first run.
author:
  - The buildfleet authors (@buildfleet)
extends_documentation_fragment:
  - buildfleet.docker._attributes
options:
  registries:
    description:
      - Each registry as in image names (V(docker.io), V(ghcr.io), V(registry.example.com:5000)), with its mirrors in the order of use.
        V(_default) is for every registry that has no directory of its own. Names are case-sensitive, as in the engine.
      - A mirror is a URL, or a dictionary with C(url) and any of C(username) and C(password) (sent as HTTP Basic; the file is then readable by
        its owner only), C(ca) (an absolute path on the host, or a certificate in PEM), C(skip_verify), C(override_path) (the URL has its own path
        in place of C(/v2)) and C(capabilities) (default V(pull) and V(resolve)).
      - The engine asks for images below URL/v2/. A mirror that has the images of a registry below a path, as in C(mirror.example.com/ghcr/org/app),
        needs C(url) C(https://mirror.example.com/v2/ghcr) and C(override_path).
      - The dictionary describes the complete state. The file of a registry that an earlier run set and that is no longer named is restored.
    type: dict
  fallback:
    description:
      - Whether the registry itself is used if no mirror has the image.
      - With V(false) the last mirror replaces the registry.
    type: bool
    default: true
  state:
    description: V(absent) restores every file.
    type: str
    choices: [present, absent]
    default: present
  backup:
    description: Whether to keep a copy of each changed file beside it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Reach three registries through one mirror site
  buildfleet.docker.docker_registry_hosts:
    registries:
      docker.io: https://hub.mirror.example.com
      ghcr.io:
        - https://ghcr.mirror.example.com
        - {url: https://mirror.example.com/v2/ghcr, override_path: true}
      registry.example.com:5000:
        - url: https://cache.example.com
          username: builder
          password: "{{ vault_cache_password }}"

- name: Restore the host
  buildfleet.docker.docker_registry_hosts:
    state: absent
"""

RETURN = r"""
files:
  description: The paths of the files that contain the mirrors.
  type: list
  elements: str
  returned: success
covers:
  description:
    - For each registry, which clients reach it through a mirror on this host, C(pull), C(buildkit) and C(legacy), with this engine and image store.
    - C(registry-mirrors) of the daemon count for V(docker.io).
  type: dict
  returned: success
  sample:
    ghcr.io: {pull: false, buildkit: true, legacy: false}
conflicts:
  description: Sentences about settings that conflict with the mirrors, such as C(registry-mirrors) that BuildKit no longer uses.
  type: list
  elements: str
  returned: success
msg:
  description: From when BuildKit uses the mirrors.
  type: str
  returned: changed
backup_files:
  description: The copies that were made.
  type: list
  elements: str
  returned: with O(backup=true)
"""

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import diff
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import registry_hosts
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, run
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import hosts_toml

_CACHED = (
    "The mirrors are in use without a restart. For a repository that it used shortly before, BuildKit uses the previous ones for up to 5 minutes "
    "(15 if a token server was asked), or until the daemon is restarted."
)


def work(module: Module) -> t.Dict[str, t.Any]:
    with module.host.lock("/run/buildfleet-registry-hosts.lock"):
        return _change(module)


def _change(module: Module) -> t.Dict[str, t.Any]:
    options, host = module.params, module.host
    record = Record(host, "docker_registry_hosts")
    if not module.check_mode:
        record.sweep()
    planned = registry_hosts.plan(host, record, _registries(module), options["fallback"])
    for secret in registry_hosts.secrets(planned):
        module.secrets.learn(secret)
    copies: t.List[str] = []
    if not module.check_mode:
        if planned.changes:
            copies = registry_hosts.back_up(host, planned) if options["backup"] else []
            registry_hosts.apply_change(host, record, planned)
        registry_hosts.finish(host, record, planned)
    return dict(
        {
            "changed": bool(planned.changes),
            "files": [hosts_toml.path_of(name) for name in planned.registries],
            "covers": planned.covers,
            "conflicts": planned.conflicts,
            "diff": [diff(path, planned.found[path], file, module.secrets.text) for path, file in planned.changes.items()],
        },
        **({"msg": _CACHED} if planned.changes else {}),
        **({"backup_files": copies} if options["backup"] else {}),
    )


def _registries(module: Module) -> hosts_toml.Registries:
    if module.params["state"] == "absent":
        return {}
    if not module.params["registries"]:
        raise Refused("state: present needs registries. Set at least one with its mirrors, or use state: absent.", changed=False)
    try:
        registries = hosts_toml.wanted(module.params["registries"])
    except hosts_toml.RegistryHostsError as error:
        raise Refused(str(error), changed=False) from error
    return registries


def main() -> None:
    run(
        work,
        host=Host,
        argument_spec={
            "registries": {"type": "dict"},
            "fallback": {"type": "bool", "default": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "backup": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
