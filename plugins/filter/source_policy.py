# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: source_policy
short_description: Convert a map of mirrors to a BuildKit source policy
version_added: 1.0.0
author: The buildfleet authors (@buildfleet)
description:
  - Converts the map that M(buildfleet.docker.dockerfile_mirror) uses to a BuildKit source policy with the same effect,
    so that no file needs to be edited.
  - The file is named by the environment variable E(EXPERIMENTAL_BUILDKIT_SOURCE_POLICY) of the process that builds.
    It needs Docker Engine 25 and buildx 0.11.
options:
  _input:
    description: A registry, or a registry with a path, and its mirror.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write the policy
  ansible.builtin.copy:
    dest: /etc/buildkit-policy.json
    mode: "0644"
    content: "{{ {'docker.io': 'mirror.example.com/hub'} | buildfleet.docker.source_policy | ansible.builtin.to_nice_json }}"
"""

RETURN = r"""
_value:
  description: The policy, to write as JSON.
  type: dict
"""

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import MirrorError, policy


def source_policy(mirrors: t.Any) -> t.Dict[str, t.Any]:
    if not isinstance(mirrors, Mapping):
        raise AnsibleFilterError("source_policy: write a map, such as {'docker.io': 'mirror.example.com/hub'}.")
    try:
        return policy(mirrors)
    except MirrorError as error:
        raise AnsibleFilterError(f"source_policy: {error}") from error


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"source_policy": source_policy}
