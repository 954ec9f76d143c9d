# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Point the images of a Bake file at their mirrors: contexts, arguments that feed a FROM, frontends and SBOM generators."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.bake import BakeFiles, Target, Value, read_bake
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.instructions import Rejected
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.references import ParsedReferences, Reference, is_built_in, seen_in_stages
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import (
    KINDS,
    Change,
    Edit,
    Planner,
    Rewrite,
    Skip,
    line_of,
    references,
    rewrite,
    spliced,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.shell import UNKNOWN
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

IMAGE_CONTEXT = "docker-image://"
IN_DOCKERFILES = frozenset(KINDS) - {"compose", "bake"}
MARK = "unset.invalid/x"  # stands for a value that is not known
_PART = re.compile(r"(?P<literal>(?:\$\$|%%)\{)|(?P<template>[$%]\{[^}]*\})|(?s:.)")
_ANY_CONTEXT = re.compile(rb"docker-image://([^\"\s]+)")
_GENERATOR = re.compile(r"(?:^|,)generator=([^,]+)")
_LOOKS_LIKE_AN_IMAGE = re.compile(r"[a-z][^:@]*[:@].+|[^/]*[.:][^/]*/.+", re.ASCII)

_IN_PLACE = "it is written in a way that cannot be edited in place; write it plainly between double quotes"
_EXPRESSION = "an expression gives its registry, which is not known here; write the mirror's name where the registry is written"
_NO_VALUE = "a FROM begins with this argument, and an expression gives its value, which is not known here; write the mirror's name where it is written"
_UNREAD = "it may be an image, but the Dockerfile that gets it is not known here; if it feeds a FROM there, write the mirror's name"
_AGAIN = "a stage declares this build argument too, where its new value would be visible; use a separate argument for the image"
_SUPPLIED = "a build context replaces it"
_TWO_TARGETS = "targets need different texts in this place; give each a value of its own"
_NO_ARG = "it is the value of a build argument, and kinds does not contain arg"
_INLINE = "it is a Dockerfile inside the Bake file, which cannot be edited in place; put it into a file of its own"

DockerfileOf = t.Callable[[str, str], t.Optional[bytes]]
Supplied = t.Callable[[str, str], t.Mapping[str, str]]


def rewrite_bake(
    files: t.Mapping[str, bytes],
    name: str,
    mirrors: Mirrors,
    dockerfile_of: DockerfileOf = lambda context, dockerfile: None,
    kinds: t.Container[str] = KINDS,
    supplied: Supplied = lambda context, dockerfile: {},
) -> Rewrite:
    """The file of this name; the others are those that bake reads with it, in the order of their merge."""
    data = files[name]
    if "bake" not in kinds:
        return Rewrite(data, [], [])
    found = read_bake(files)
    if not found.declared:
        at = next((found.start() for found in _ANY_CONTEXT.finditer(data) if _is_named(found[1], mirrors)), None)
        skips = [] if at is None else [Skip(line_of(data, at), "bake", "", "This Bake file, or one beside it, cannot be read. Nothing in it was changed.")]
        return Rewrite(data, [], skips)
    return _BakeRewriter(found, name, data.decode("utf-8"), mirrors, dockerfile_of, kinds, supplied).result()


class _Plan(t.NamedTuple):
    text: str
    edits: t.Tuple[Edit, ...] = ()
    reason: str = ""


class _BakeRewriter:
    def __init__(
        self, found: BakeFiles, name: str, text: str, mirrors: Mirrors, dockerfile_of: DockerfileOf, kinds: t.Container[str], supplied: Supplied
    ) -> None:
        self._found = found
        self._name = name
        self._text = text
        self._mirrors = mirrors
        self._dockerfile_of = dockerfile_of
        self._kinds = kinds
        self._supplied = supplied
        self._plans: t.Dict[t.Tuple[int, str], t.List[_Plan]] = {}

    def result(self) -> Rewrite:
        for key, value in self._found.declared:
            if key.startswith("contexts.") and value.startswith(IMAGE_CONTEXT):
                self._plan_reference(value, len(IMAGE_CONTEXT), len(value))
            elif key == "args.BUILDKIT_SYNTAX" and not is_built_in("syntax", value):
                self._plan_reference(value, 0, len(value))
            elif key.startswith("attest."):
                generator = _GENERATOR.search(value)
                if generator:
                    self._plan_reference(value, *generator.span(1))
        for target in self._found.targets:
            self._arguments(target)
        return self._made()

    def _made(self) -> Rewrite:
        edits: t.List[Edit] = []
        changes: t.List[Change] = []
        skipped: t.List[Skip] = []
        for (start, _value), plans in sorted(self._plans.items()):
            plans = [plan for plan in plans if plan.reason != _UNREAD] or plans  # a target that others inherit from is not built itself
            wanted = next((plan for plan in plans if plan.reason), None) or next((plan for plan in plans if plan.edits), None)
            if wanted is None:
                continue
            line = self._text.count("\n", 0, max(start, 0)) + 1
            reason = wanted.reason or (_TWO_TARGETS if any(plan.edits != wanted.edits for plan in plans) else "")
            if reason:
                skipped.append(Skip(line, "bake", wanted.text, f"{reason[:1].upper()}{reason[1:].rstrip('.')}."))
            else:
                edits += wanted.edits
                changes.append(Change(line, "bake", wanted.text, spliced(wanted.text, wanted.edits, start)))
        after = spliced(self._text, edits).encode("utf-8")
        return Rewrite(after, changes, skipped, edits)

    def _plan(self, value: str, edits: t.Sequence[Edit] = (), reason: str = "", name: str = "") -> None:
        """Edits of the value's own places."""
        if not isinstance(value, Value) or value.file != self._name:
            return
        if value.end < 0 and edits:
            edits, reason = (), reason or _IN_PLACE
        moved = tuple(Edit(edit.start + value.start, edit.end + value.start, edit.text) for edit in edits)
        shown = self._text[value.start : value.end] if value.end > 0 else name or str(value)
        self._plans.setdefault((value.start, str(value)), []).append(_Plan(shown, moved, reason))

    def _plan_reference(self, value: str, start: int, end: int) -> None:
        result = self._reference(value[start:end])
        reason = next((skip.reason for skip in result.skipped), "")
        if reason and "{" in value:
            reason = _EXPRESSION
        self._plan(value, [Edit(edit.start + start, edit.end + start, edit.text) for edit in result.edits], reason)

    def _reference(self, text: str) -> Rewrite:
        if not text or not text.isascii():
            return Rewrite(b"", [], [])
        value = ""
        origin: t.List[int] = []
        for part in _PART.finditer(text):
            if part.lastgroup == "template":
                value += "x"
                origin.append(UNKNOWN)
            else:
                value += part.group()
                origin += range(*part.span())
        reference = Reference("bake", value, origin, text, range(len(text)), 0, frozenset(), origin if UNKNOWN in origin else ())
        return Planner(text.encode("ascii"), self._mirrors, ParsedReferences([reference]), is_dockerfile=False).result()

    def _arguments(self, target: Target) -> None:
        contents = target.inline.encode("utf-8") if target.inline is not None else self._dockerfile_of(*target.place) if target.place else None
        known = {name: value for name, value in target.args.items() if "{" not in value and value.isascii() and name != "BUILDKIT_SYNTAX"}
        supplied = {**(self._supplied(*target.place) if target.place else {}), **dict.fromkeys(_names(target.contexts), _SUPPLIED)}
        if target.inline is not None:
            self._inline(target.inline, known, supplied)
        if contents is None:
            for value in known.values():
                if _LOOKS_LIKE_AN_IMAGE.fullmatch(value) and self._reference(value).edits:
                    self._plan(value, reason=_UNREAD)
            return
        # Whether this run has come to the Dockerfile yet makes no difference.
        contents = rewrite(contents, self._mirrors, kinds=self._kinds, supplied=supplied).after
        given = rewrite(contents, self._mirrors, known, IN_DOCKERFILES, edit_given=True, supplied=supplied).given
        stages = seen_in_stages(contents, known) if given else ()
        for name, value in known.items():
            no_arg = "" if "arg" in self._kinds else _NO_ARG
            edits = given.get(name, ())
            self._plan(value, edits, (_AGAIN if name in stages else no_arg) if edits else "")
        for name, value in target.args.items():
            if name in known or name == "BUILDKIT_SYNTAX":
                continue
            fed = _fed(contents, known, name)
            is_written = isinstance(value, Value) and value.end > 0
            if MARK in fed and is_written and name not in seen_in_stages(contents, known) and "arg" in self._kinds:
                self._plan_reference(value, 0, len(value))
            elif any(image.startswith(MARK) for image in fed):
                self._plan(value, reason=_NO_VALUE, name=name)

    def _inline(self, text: str, args: t.Mapping[str, str], supplied: t.Mapping[str, str]) -> None:
        result = rewrite(text.encode("utf-8"), self._mirrors, args, IN_DOCKERFILES, supplied=supplied)
        if result.skipped or (result.changes and not (isinstance(text, Value) and text.end > 0 and text.isascii())):
            self._plan(text, reason=next((skip.reason for skip in result.skipped if text.isascii()), _INLINE), name="dockerfile-inline")
        elif result.changes:
            self._plan(text, result.edits)


def _is_named(reference: bytes, mirrors: Mirrors) -> bool:
    try:
        return mirrors.replacement(reference.decode("latin-1")) is not None
    except InvalidImageName:
        return False


def _names(contexts: t.Iterable[str]) -> t.Set[str]:
    return {name.partition("::")[0] for name in contexts}  # NAME::PLATFORM


def _fed(contents: bytes, args: t.Mapping[str, str], name: str) -> t.List[str]:
    """The references of the Dockerfile with a mark for the value of the argument."""
    try:
        return [value for _kind, value in references(contents, {**args, name: MARK})]
    except Rejected:
        return []
