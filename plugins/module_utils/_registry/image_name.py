# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Image names by the rules of distribution/reference (normalize.go, reference.go)."""

from __future__ import annotations

import re
import typing as t

DOCKER_HUB = "docker.io"
_OLD_DOCKER_HUB = "index.docker.io"
_LONGEST_PATH = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_SUFFIX = (
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@(?:sha256:[a-f0-9]{64}|sha384:[a-f0-9]{96}|sha512:[a-f0-9]{128}))?"
)
_IS_HOST = re.compile(_HOST, re.ASCII)
_IS_PATH = re.compile(_PATH, re.ASCII)
_AFTER_HOST = re.compile(rf"({_PATH})({_SUFFIX})", re.ASCII)
_IS_IDENTIFIER = re.compile(r"[a-f0-9]{64}", re.ASCII)


class InvalidImageName(ValueError):
    """The text is not an image name; the message is a complete sentence."""


class ImageName(t.NamedTuple):
    registry: str
    path: str
    suffix: str  # tag and digest as written, with their ":" and "@"

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.path}"

    @property
    def full(self) -> str:
        return self.name + self.suffix

    @property
    def familiar(self) -> str:
        """The shortest name of this image."""
        if self.registry != DOCKER_HUB:
            return self.full
        first, _rest, rest = self.path.partition("/")
        short = rest if first == "library" and "/" not in rest else self.path
        return short + self.suffix if _is_read_as(short, self) else self.full


def parse(reference: str) -> ImageName:
    if _IS_IDENTIFIER.fullmatch(reference):
        raise InvalidImageName(f"{reference!r} is an image ID, not an image name. Write a name, such as busybox:1.36.")
    registry, rest = split_registry(reference)
    match = _AFTER_HOST.fullmatch(rest)
    if not match or not _IS_HOST.fullmatch(registry) or len(match.group(1)) > _LONGEST_PATH:
        raise InvalidImageName(f"{reference!r} is not a valid image name.")
    return ImageName(registry, match.group(1), match.group(2))


def parse_name(name: str) -> t.Tuple[str, str]:
    """Registry and path of a name that may be only a registry: the key of a map of mirrors."""
    registry, slash, path = name.partition("/")
    if registry == _OLD_DOCKER_HUB:
        registry = DOCKER_HUB
    if not _IS_HOST.fullmatch(registry) or (slash and not _IS_PATH.fullmatch(path)):
        raise InvalidImageName(f"{name!r} is neither a registry (docker.io) nor a registry with a path (docker.io/library).")
    return registry, path


def split_registry(reference: str) -> t.Tuple[str, str]:
    """The registry that a reference means, and the rest with "library/" where Docker Hub implies it."""
    first, slash, rest = reference.partition("/")
    if not slash or not _looks_like_a_host(first):
        first, rest = DOCKER_HUB, reference
    if first == _OLD_DOCKER_HUB:
        first = DOCKER_HUB
    if first == DOCKER_HUB and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _looks_like_a_host(component: str) -> bool:
    return component == "localhost" or "." in component or ":" in component or component.lower() != component


def _is_read_as(short: str, image: ImageName) -> bool:
    return not _IS_IDENTIFIER.fullmatch(short) and split_registry(short) == (image.registry, image.path)
