# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""One map of mirrors, split by what an engine supports: where each registry's mirror is set, and which builders use it."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_toml import DEFAULT, Mirror, wanted
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import DOCKER_HUB, InvalidImageName, parse
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors


class MirrorPlan(t.NamedTuple):
    """Each field except the last is an option of a module, with its part of the map."""

    registry_mirrors: t.List[str]
    registries: t.Dict[str, t.Any]
    source_policy: t.Dict[str, str]
    image_mirrors: t.Dict[str, str]
    uncovered: t.Dict[str, str]  # registry: why, and what to do


class Proof(t.NamedTuple):
    images: t.List[str]  # one build each
    unproved: t.List[str]  # sentences about what no build proves


def mirror_plan(mirrors: t.Mapping[str, t.Any], engine: str, has_sources: bool) -> MirrorPlan:
    """What docker_daemon_proxy, docker_registry_hosts, docker_build_env and dockerfile_mirror get on this engine; raises RegistryHostsError."""
    plan = MirrorPlan([], {}, {}, {}, {})
    for registry, hosts in wanted(mirrors, "buildfleet_mirrors").items():
        if registry == DOCKER_HUB and all(mirror == Mirror(mirror.url) for mirror in hosts):
            plan.registry_mirrors.extend(mirror.url for mirror in hosts)
        elif versions.has("hosts_toml", engine):
            entries = mirrors[registry] if isinstance(mirrors[registry], list) else [mirrors[registry]]
            plan.registries[registry] = [_as_host(entry, mirror) for entry, mirror in zip(entries, hosts)]
        else:
            _by_name(plan, registry, hosts, engine, has_sources)
    return plan


def _by_name(plan: MirrorPlan, registry: str, mirrors: t.Sequence[Mirror], engine: str, has_sources: bool) -> None:
    """Engines without hosts.toml: image names are replaced, with the first mirror only."""
    needed = f"engine {engine or 'unknown'} does not read hosts.toml (supported from {versions.text('hosts_toml')})"
    if registry == DEFAULT:
        plan.uncovered[registry] = f"{needed}. Name each registry in buildfleet_mirrors."
    elif any(mirror.username for mirror in mirrors):
        plan.uncovered[registry] = f"{needed}, the only way to send a mirror a login. Use docker login and the mirror in FROM, or run a cache."
    elif not as_name(mirrors[0]):
        plan.uncovered[registry] = f"{needed}, and no image name has the path of {mirrors[0].url}. Use a mirror without override_path."
    elif versions.has("source_policy_engine", engine):
        plan.source_policy[registry] = as_name(mirrors[0])
    elif has_sources:
        plan.image_mirrors[registry] = as_name(mirrors[0])
    else:
        plan.uncovered[registry] = f"{needed} and no source policy (supported from {versions.text('source_policy_engine')}). Set buildfleet_sources."


def as_name(mirror: Mirror) -> str:
    """Of the registry, as image names begin at the mirror; empty where none can."""
    host, _slash, path = mirror.url.partition("://")[2].partition("/")
    if mirror.override_path:
        api, _slash, path = path.partition("/")
        if api != "v2":
            return ""
    return f"{host}/{path}" if path else host


def _as_host(entry: t.Any, mirror: Mirror) -> t.Any:
    """A path means what it means in an image name, so each engine asks the same: HOST/v2/PATH, where hosts.toml alone would ask HOST/PATH/v2."""
    scheme, _separator, address = mirror.url.partition("://")
    host, _slash, path = address.partition("/")
    if not path or mirror.override_path:
        return entry
    login = str(entry if isinstance(entry, str) else entry["url"]).partition("://")[2].rpartition("@")[0]
    url = f"{scheme}://{login}@{host}/v2/{path}" if login else f"{scheme}://{host}/v2/{path}"
    return dict({} if isinstance(entry, str) else entry, url=url, override_path=True)


def coverage(plan: MirrorPlan, covers: t.Mapping[str, t.Mapping[str, bool]]) -> t.List[str]:
    """A sentence for each registry of the map. ``covers``: the result of docker_registry_hosts."""
    lines = []
    if plan.registry_mirrors:
        lines.append(f"{DOCKER_HUB}: docker pull, BuildKit and the legacy builder by registry-mirrors.")
    for registry in plan.registries:
        covered = covers.get(registry) or {}
        missing = [] if covered.get("pull") else ["docker pull", "the legacy builder"]
        lines.append(
            f"{registry}: BuildKit by hosts.toml; {' and '.join(missing)} are not covered, because they read it only with the containerd image store."
            if missing
            else f"{registry}: docker pull, BuildKit and the legacy builder by hosts.toml."
        )
    for registry in plan.source_policy:
        lines.append(f"{registry}: BuildKit by the source policy; docker pull and the legacy builder are not covered, because they do not read one.")
    for registry in plan.image_mirrors:
        lines.append(f"{registry}: every builder by the rewritten source trees; docker pull is not covered.")
    return [*lines, *(f"{registry}: not covered. {reason[:1].upper()}{reason[1:]}" for registry, reason in plan.uncovered.items())]


def proof(plan: MirrorPlan, images: t.Sequence[str], hub_image: str) -> Proof:
    """The images whose builds prove the map on this engine. Nothing is built where the map says already that it fails."""
    covered = [*plan.registries, *plan.source_policy, *plan.image_mirrors, *([DOCKER_HUB] if plan.registry_mirrors else [])]
    registries = {image: _registry_of(image) for image in images}
    if DOCKER_HUB in covered and DOCKER_HUB not in registries.values():
        registries = {hub_image: _registry_of(hub_image), **registries}
    test_build = Proof([], [])
    for image, registry in registries.items():
        if registry in plan.uncovered:
            test_build.unproved.append(f"{image}: not built, since {registry} is not covered.")
        else:
            test_build.images.append(_at_its_mirror(plan, image))
    for registry in covered:
        if registry not in registries.values() and (registry != DEFAULT or not set(registries.values()) - set(covered)):
            test_build.unproved.append(f"{registry}: not proved. Add one of its images to buildfleet_check_images.")
    return test_build


def _registry_of(image: str) -> str:
    try:
        return parse(image).registry
    except InvalidImageName:
        return ""  # docker_build_check refuses it


def _at_its_mirror(plan: MirrorPlan, image: str) -> str:
    """As it is written in a rewritten source tree."""
    if _registry_of(image) not in plan.image_mirrors:
        return image
    replacement = Mirrors(plan.image_mirrors).replacement(image)
    return replacement.familiar if replacement else image
