# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A map of registries to mirrors, applied to image names."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import (
    DOCKER_HUB,
    ImageName,
    InvalidImageName,
    parse,
    parse_name,
    split_registry,
)

_IMAGE = "docker-image://"


class MirrorError(ValueError):
    """The map cannot be used; the message is a complete sentence."""


class Move(t.NamedTuple):
    """From a reference to its familiar name at the mirror: the text that replaces its first characters."""

    first: int
    prefix: str
    after: str


class Mirrors:
    """``replacement`` is the whole map: reference in, reference at the mirror out."""

    def __init__(self, wanted: t.Mapping[str, str]) -> None:
        self.targets: t.Dict[str, str] = {}
        written: t.Dict[str, str] = {}
        for key, to in wanted.items():
            source, mirror = _name(key), _name(to)
            if self.targets.setdefault(source, mirror) != mirror:
                raise MirrorError(
                    f"mirrors: {written[source]} and {key} are the same registry with two mirrors ({self.targets[source]} and {mirror}); keep one."
                )
            if "/" not in mirror and source.count("/") > 1 and is_under(source, DOCKER_HUB):
                path = source.partition("/")[2]
                raise MirrorError(f"mirrors: {key} is one repository, and {mirror} is a registry without a repository; write {mirror}/{path}.")
            written[source] = key
        for source in self.targets:
            for other, mirror in self.targets.items():
                if source != other and is_under(mirror, source) and not is_under(mirror, other):
                    raise MirrorError(
                        f"mirrors: {mirror} is the mirror of {other}, and {source} is itself replaced; a reference would be rewritten twice. "
                        "Remove one of the two."
                    )
        self._sources = sorted(self.targets, key=len, reverse=True)
        self._known: t.Dict[str, t.Optional[ImageName]] = {}
        self._moves: t.Dict[str, t.Optional[Move]] = {}
        self._back: t.Optional[Mirrors] = None

    @property
    def back(self) -> Mirrors:
        """The reversed map."""
        if self._back is None:
            self._back = Mirrors({mirror: source for source, mirror in self.targets.items()})
        return self._back

    def replacement(self, reference: str) -> t.Optional[ImageName]:
        """None if the map does not contain it, or if it names its mirror already."""
        if reference not in self._known:
            self._known[reference] = self._replacement(parse(reference))
        return self._known[reference]

    def names(self, registry: str) -> bool:
        """Whether the map contains this registry or a part of it."""
        return any(is_under(source, registry) for source in self.targets)

    def move(self, reference: str) -> t.Optional[Move]:
        if reference not in self._moves:
            image = self.replacement(reference)
            self._moves[reference] = image and moved(reference, image.familiar)
        return self._moves[reference]

    def _replacement(self, image: ImageName) -> t.Optional[ImageName]:
        name = _same_host(image.registry) + "/" + image.path
        source = next((key for key in self._sources if is_under(name, key)), None)
        if source is None:
            return None
        target = self.targets[source]
        if any(len(mirror) >= len(source) and is_under(name, mirror) for mirror in self.targets.values()):
            return None
        registry, _rest, path = (target + name[len(source) :]).partition("/")
        if not path:
            return None  # a whole repository cannot become a registry
        if registry == DOCKER_HUB and "/" not in path:
            path = f"library/{path}"
        return ImageName(registry, path, image.suffix)


def moved(before: str, after: str) -> Move:
    kept = _common_end(before, after)
    return Move(len(before) - kept, after[: len(after) - kept], after)


def _common_end(before: str, after: str) -> int:
    if after.endswith(before):
        return len(before)
    shortest = min(len(before), len(after))
    for length in range(shortest):
        if before[-1 - length] != after[-1 - length]:
            return length
    return shortest


def policy(wanted: t.Mapping[str, str]) -> t.Dict[str, t.Any]:
    """The BuildKit source policy with the effect of the map, without editing a file.

    BuildKit takes the first CONVERT that matches and then starts again, so the longest key
    comes first and no mirror may match a rule (moby/buildkit sourcepolicy/engine.go).
    """
    targets = Mirrors(wanted).targets
    for source, mirror in targets.items():
        if is_under(mirror, source):
            raise MirrorError(
                f"mirrors: a source policy cannot send {source} to {mirror}: BuildKit would convert the result again and again. "
                f"Use a mirror outside {source}, or dockerfile_mirror."
            )
    rules = []
    for source in sorted(targets, key=lambda name: (-len(name), name)):
        # A key with a path may be a whole repository: then a tag or a digest follows.
        for mark in ("/", ":", "@") if "/" in source and "/" in targets[source] else ("/",):
            rules.append(
                {
                    "action": "CONVERT",
                    "selector": {"identifier": f"{_IMAGE}{source}{mark}*", "match_type": "WILDCARD"},
                    "updates": {"identifier": f"{_IMAGE}{targets[source]}{mark}${{1}}"},
                }
            )
    return {"version": 1, "rules": rules}


def apply_policy(source_policy: t.Any, reference: str) -> t.Optional[str]:
    """What a source policy makes of an image: a name, '' if it is denied, None if no rule matches it."""
    image = parse(reference)
    identifier = _IMAGE + (image.full if image.suffix else image.full + ":latest")
    for rule in source_policy["rules"]:
        selector = rule["selector"]
        shape, kind = selector["identifier"], selector.get("match_type", "WILDCARD")
        if kind == "WILDCARD":
            shape = "(.*)".join(re.escape(part) for part in shape.split("*"))
        match = re.search(shape, identifier) if kind == "REGEX" else re.fullmatch(shape if kind == "WILDCARD" else re.escape(shape), identifier)
        if match and rule["action"] == "CONVERT":
            text = match.expand(re.sub(r"\$\{(\d+)\}", r"\\g<\1>", rule["updates"]["identifier"]))
            return str(text[len(_IMAGE) :])
        if match:
            return "" if rule["action"] == "DENY" else reference
    return None


def _name(text: t.Any) -> str:
    if not isinstance(text, str):
        raise MirrorError(f"mirrors: {text!r} is not a string; write the name of a registry, such as docker.io.")
    if "://" in text:
        raise MirrorError(f"mirrors: {text!r} must be written without {text.partition('://')[0]}://, as in an image name.")
    try:
        registry, path = parse_name(text.strip().rstrip("/"))
    except InvalidImageName as error:
        raise MirrorError(f"mirrors: {error}") from error
    registry = _same_host(registry)
    if registry.lower() in (DOCKER_HUB, f"index.{DOCKER_HUB}") and registry != DOCKER_HUB:
        raise MirrorError(f"mirrors: Docker reads {registry}/... as a separate registry, not as Docker Hub; write {DOCKER_HUB}.")
    if split_registry(f"{registry}/x")[0] != registry:
        raise MirrorError(f"mirrors: Docker reads {registry}/... as a repository of Docker Hub; write a registry with a '.' or a port, such as {registry}:443.")
    return registry + ("/" + path if path else "")


def _same_host(registry: str) -> str:
    """Host names mean the same in any case, unless it is the capitals that make it a host (distribution/reference normalize.go)."""
    lower = registry.lower()
    return lower if split_registry(f"{lower}/x")[0] == lower != DOCKER_HUB else registry


def is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + "/")
