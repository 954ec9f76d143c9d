# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One map of mirrors, split by what an engine can: which registry goes where, and who then reaches it."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_toml import DEFAULT, Mirror, wanted
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import DOCKER_HUB


class MirrorPlan(t.NamedTuple):
    """Each field but the last is an option of a module, with its part of the map."""

    registry_mirrors: t.List[str]
    registries: t.Dict[str, t.Any]
    source_policy: t.Dict[str, str]
    image_mirrors: t.Dict[str, str]
    uncovered: t.Dict[str, str]  # registry: why, and what to do


def mirror_plan(mirrors: t.Mapping[str, t.Any], engine: str, has_sources: bool) -> MirrorPlan:
    """What docker_daemon_proxy, docker_registry_hosts, docker_build_env and dockerfile_mirror get on this engine; raises RegistryHostsError."""
    plan = MirrorPlan([], {}, {}, {}, {})
    for registry, found in wanted(mirrors, "buildfleet_mirrors").items():
        if registry == DOCKER_HUB and all(mirror == Mirror(mirror.url) for mirror in found):
            plan.registry_mirrors.extend(mirror.url for mirror in found)
        elif versions.has("hosts_toml", engine):
            plan.registries[registry] = mirrors[registry]
        else:
            _by_name(plan, registry, found, engine, has_sources)
    return plan


def _by_name(plan: MirrorPlan, registry: str, mirrors: t.Sequence[Mirror], engine: str, has_sources: bool) -> None:
    """Engines without hosts.toml: other names in place of the registry's, for the first mirror alone."""
    needed = f"engine {engine or 'unknown'} does not read hosts.toml (known from {versions.text('hosts_toml')})"
    if registry == DEFAULT:
        plan.uncovered[registry] = f"{needed}. Name each registry in buildfleet_mirrors."
    elif any(mirror.username for mirror in mirrors):
        plan.uncovered[registry] = f"{needed}, by which alone a mirror gets a login. Use docker login and FROM at the mirror, or a cache of your own."
    elif versions.has("source_policy_engine", engine):
        plan.source_policy[registry] = _as_name(mirrors[0])
    elif has_sources:
        plan.image_mirrors[registry] = _as_name(mirrors[0])
    else:
        plan.uncovered[registry] = f"{needed} and no source policy (known from {versions.text('source_policy_engine')}). Set buildfleet_sources."


def _as_name(mirror: Mirror) -> str:
    return mirror.url.partition("://")[2]


def coverage(plan: MirrorPlan, covers: t.Mapping[str, t.Mapping[str, bool]]) -> t.List[str]:
    """A sentence for each registry of the map. ``covers``: the result of docker_registry_hosts."""
    lines = []
    if plan.registry_mirrors:
        lines.append(f"{DOCKER_HUB}: docker pull, BuildKit and the legacy builder by registry-mirrors.")
    for registry in plan.registries:
        found = covers.get(registry) or {}
        missing = [] if found.get("pull") else ["docker pull", "the legacy builder"]
        lines.append(
            f"{registry}: BuildKit by hosts.toml; {' and '.join(missing)} are not covered, since they read it with the containerd image store only."
            if missing
            else f"{registry}: docker pull, BuildKit and the legacy builder by hosts.toml."
        )
    for registry in plan.source_policy:
        lines.append(f"{registry}: BuildKit by the source policy; docker pull and the legacy builder are not covered, since they read none.")
    for registry in plan.image_mirrors:
        lines.append(f"{registry}: every builder by the rewritten source trees; docker pull is not covered.")
    return [*lines, *(f"{registry}: not covered. {reason[:1].upper()}{reason[1:]}" for registry, reason in plan.uncovered.items())]
