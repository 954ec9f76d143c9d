# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: mirror_plan
short_description: Split one map of mirrors by what an engine supports
version_added: 1.1.0
author: The buildfleet authors (@buildfleet)
description:
  - Splits the map in the playbooks' variable C(buildfleet_mirrors) into options of modules, depending on what an engine of this version supports.
  - Docker Hub goes to C(registry-mirrors), any other registry to C(hosts.toml) from engine 28, otherwise to a source policy from 25,
    otherwise to the image names in source trees.
options:
  _input:
    description: Registries, each with a mirror or a list of mirrors, as in the option C(registries) of M(buildfleet.docker.docker_registry_hosts).
    type: dict
    required: true
  engine:
    description: The version of the engine.
    type: str
    required: true
  sources:
    description: Whether source trees may be rewritten.
    type: bool
    default: false
  covers:
    description: The result C(covers) of M(buildfleet.docker.docker_registry_hosts), for the sentences in C(coverage).
    type: dict
    default: {}
  images:
    description: The images of the test build (C(buildfleet_check_images)), as a list or as a string with commas between them.
    type: list
    elements: str
    default: []
  hub_image:
    description: The image of Docker Hub that is built if O(images) has none and the map names C(docker.io).
    type: str
    default: busybox:latest
"""

EXAMPLES = r"""
- name: Show what an engine does with a map
  ansible.builtin.debug:
    msg: "{{ ({'ghcr.io': 'https://ghcr.mirror.example.com'} | buildfleet.docker.mirror_plan('26.1.5')).coverage }}"
"""

RETURN = r"""
_value:
  description:
    - C(registry_mirrors) for M(buildfleet.docker.docker_daemon_proxy), C(registries) for M(buildfleet.docker.docker_registry_hosts),
      C(source_policy) for M(buildfleet.docker.docker_build_env), C(image_mirrors) for M(buildfleet.docker.dockerfile_mirror),
      C(uncovered) (registries that no module can configure, and why), and C(coverage), a sentence for each registry.
    - C(images) for M(buildfleet.docker.docker_build_check), those that an engine of this version can reach, and C(unproved), a sentence for each image that
      is left out and each registry without an image.
  type: dict
"""

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.docker.plugins.module_utils._registry import mirror_plan as cores
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_toml import RegistryHostsError
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import MirrorError


def mirror_plan(
    mirrors: t.Any, engine: str, sources: bool = False, covers: t.Any = None, images: t.Any = (), hub_image: str = "busybox:latest"
) -> t.Dict[str, t.Any]:
    if not isinstance(mirrors, Mapping):
        raise AnsibleFilterError("buildfleet_mirrors: write a map, such as {'ghcr.io': 'https://ghcr.mirror.example.com'}.")
    listed = images.split(",") if isinstance(images, str) else images
    try:
        plan = cores.mirror_plan(mirrors, engine, sources)
        proof = cores.proof(plan, [str(image).strip() for image in listed if str(image).strip()], hub_image)
    except (RegistryHostsError, MirrorError) as error:
        raise AnsibleFilterError(str(error)) from error
    return dict(plan._asdict(), **proof._asdict(), coverage=cores.coverage(plan, covers or {}))


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"mirror_plan": mirror_plan}
