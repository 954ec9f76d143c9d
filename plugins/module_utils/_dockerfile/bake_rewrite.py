# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Point the images of a Bake file at their mirrors: contexts, arguments that feed a FROM, frontends and SBOM generators."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.bake import BakeFiles, Target, Value, mentioned, read_bake, templates
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.instructions import Rejected
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.references import (
    ParsedReferences,
    Reference,
    build_arg_positions,
    is_built_in,
    seen_in_stages,
)
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
MARK = "unset.invalid/x"  # placeholder for an unknown value
_ANY_CONTEXT = re.compile(rb"docker-image://([^\"\s]+)")
_GENERATOR = re.compile(r"(?:^|,)generator=([^,]+)")
_LOOKS_LIKE_AN_IMAGE = re.compile(r"[a-z][^:@]*[:@].+|[^/]*[.:][^/]*/.+", re.ASCII)

_IN_PLACE = "it is written in a way that cannot be edited in place; write it plainly between double quotes"
_EXPRESSION = "an expression gives its registry, which is not known here; write the mirror's name where the registry is written"
_NO_VALUE = "a FROM begins with this argument, and an expression gives its value, which is not known here; write the mirror's name where it is written"
_UNREAD = "it may be an image, but the Dockerfile that gets it is not known here; if it feeds a FROM there, write the mirror's name"
_AGAIN = "a stage declares this build argument too, where its new value would be visible; use a separate argument for the image"
_SUPPLIED = "the build context {} replaces it, so it is not pulled; what is pulled is written there"
_TWO_TARGETS = "targets need different values here; give each a value of its own"
_PARTED = "its registry is written in two places; write it in one"
_IN_ANOTHER_WAY = "variable {} gives its registry and is also used in another way; use a separate variable for the image"
_TWO_KINDS = "variable {0} gives the registry of images that need different texts there; write official images with library/ where {0} is used"
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
    bake = read_bake(files)
    if not bake.declared:
        at = next((match.start() for match in _ANY_CONTEXT.finditer(data) if _is_named(match[1], mirrors)), None)
        skips = [] if at is None else [Skip(line_of(data, at), "bake", "", "This Bake file, or one beside it, cannot be read. Nothing in it was changed.")]
        return Rewrite(data, [], skips)
    return _BakeRewriter(bake, name, data.decode("utf-8"), mirrors, dockerfile_of, kinds, supplied).result()


class _Plan(t.NamedTuple):
    """Edits of the value itself, or of the default of a variable."""

    text: str
    edits: t.Tuple[Edit, ...] = ()
    reason: str = ""
    variable: str = ""


class _Evaluated(t.NamedTuple):
    """A value with the defaults of its variables, and of each character two places: where it was written, and where it, or its template, stands."""

    text: str
    origin: t.Sequence[int]
    own: t.Sequence[int]
    written: str
    bases: t.Mapping[str, int]  # where the defaults of the variables are counted from

    def behind(self, start: int) -> _Evaluated:
        return self._replace(text=self.text[start:], origin=self.origin[start:], own=self.own[start:])

    def home(self, place: int) -> str:
        """The variable in whose default a place is; nothing for the value itself."""
        return max(((base, name) for name, base in self.bases.items() if base <= place), default=(0, ""))[1]


_Place = t.Tuple[str, int, str]  # file, start and text of a value


class _BakeRewriter:
    def __init__(
        self, files: BakeFiles, name: str, text: str, mirrors: Mirrors, dockerfile_of: DockerfileOf, kinds: t.Container[str], supplied: Supplied
    ) -> None:
        self._files = files
        self._name = name
        self._text = text
        self._mirrors = mirrors
        self._dockerfile_of = dockerfile_of
        self._kinds = kinds
        self._supplied = supplied
        self._defaults = {name: str(default) for name, default in files.variables.items() if default and default.isascii()}
        self._plans: t.Dict[_Place, t.List[_Plan]] = {}
        self._inside: t.Set[Skip] = set()  # of Dockerfiles in the file

    def result(self) -> Rewrite:
        for key, value in self._files.declared:
            evaluated = self._evaluated(value)
            if key.startswith("contexts.") and evaluated.text.startswith(IMAGE_CONTEXT):
                self._plan_reference(value, evaluated, len(IMAGE_CONTEXT), len(evaluated.text))
            elif key == "args.BUILDKIT_SYNTAX" and not is_built_in("syntax", evaluated.text):
                self._plan_reference(value, evaluated, 0, len(evaluated.text))
            elif key.startswith("attest."):
                generator = _GENERATOR.search(evaluated.text)
                if generator:
                    self._plan_reference(value, evaluated, *generator.span(1))
        for target in self._files.targets:
            self._arguments(target)
        return self._made()

    def _made(self) -> Rewrite:
        agreed = {place: plan for place, plans in sorted(self._plans.items()) for plan in [_agreed(plans)] if plan.reason or plan.edits}
        moved, left = self._variables(agreed)
        edits: t.List[Edit] = []
        changes: t.List[Change] = []
        skipped: t.List[Skip] = []
        for (file, start, _value), plan in agreed.items():
            if file != self._name:
                continue
            line = self._text.count("\n", 0, max(start, 0)) + 1
            reason = plan.reason or left.get(plan.variable, "")
            if reason:
                skipped.append(Skip(line, "bake", plan.text, f"{reason[:1].upper()}{reason[1:].rstrip('.')}."))
            elif not plan.variable:
                edits += plan.edits
                changes.append(Change(line, "bake", plan.text, spliced(plan.text, plan.edits, start)))
        for name, own in moved.items():
            default = self._files.variables[name]
            if default.file == self._name:
                edits += own
                line = self._text.count("\n", 0, default.start) + 1
                changes.append(Change(line, "bake", str(default), spliced(default, own, default.start)))
        edits.sort()
        after = spliced(self._text, edits).encode("utf-8")
        return Rewrite(after, sorted(changes), sorted([*skipped, *self._inside]), edits)

    def _variables(self, agreed: t.Mapping[_Place, _Plan]) -> t.Tuple[t.Dict[str, t.Tuple[Edit, ...]], t.Dict[str, str]]:
        """The edits of defaults that change nothing but images, and the reasons against the others."""
        by_variable: t.Dict[str, t.Dict[_Place, _Plan]] = {}
        for place, plan in agreed.items():
            if plan.variable and not plan.reason:
                by_variable.setdefault(plan.variable, {})[place] = plan
        moved: t.Dict[str, t.Tuple[Edit, ...]] = {}
        left: t.Dict[str, str] = {}
        for name, plans in by_variable.items():
            affected = {name}
            for _round in self._defaults:
                affected |= {other for other, text in self._defaults.items() if affected & set(mentioned(text))}
            within = [each for other in affected for each in mentioned(self._defaults[other]) if each in affected]
            others = sum(self._files.mentions.get(each, 0) for each in affected) - len(within)
            texts = {plan.edits for plan in plans.values()}
            if others != len(plans):
                left[name] = _IN_ANOTHER_WAY.format(name)
            elif len(texts) > 1:
                left[name] = _TWO_KINDS.format(name)
            else:
                moved[name] = texts.pop()
        return moved, left

    def _plan(self, value: str, edits: t.Sequence[Edit] = (), reason: str = "", name: str = "", variable: str = "") -> None:
        """Edits of the value's own places, or of those of the variable's default."""
        value = t.cast("Value", value)
        target = self._files.variables[variable] if variable else value
        if target.end < 0 and edits:
            edits, reason = (), reason or _IN_PLACE
        moved = tuple(Edit(edit.start + target.start, edit.end + target.start, edit.text) for edit in edits)
        shown = self._text[value.start : value.end] if value.end > 0 and value.file == self._name else name or value.variable or str(value)
        self._plans.setdefault((value.file, value.start, str(value)), []).append(_Plan(shown, moved, reason, variable))

    def _evaluated(self, value: str) -> _Evaluated:
        written = f"${{{value.variable}}}" if isinstance(value, Value) and value.variable else str(value)
        bases = {name: text.origin[0] for name, text in build_arg_positions(len(written), self._defaults).items()}
        text, origin, own = self._expanded(written, 0, bases, ())
        return _Evaluated(text, origin, own, written, bases)

    def _expanded(self, text: str, base: int, bases: t.Mapping[str, int], around: t.Tuple[str, ...]) -> t.Tuple[str, t.List[int], t.List[int]]:
        value = ""
        origin: t.List[int] = []
        own: t.List[int] = []
        for name, start, end in templates(text):
            if name and (name in around or name not in bases):
                piece, places = "x", [UNKNOWN]
            elif name:
                piece, places, _own = self._expanded(self._defaults[name], bases[name], bases, (*around, name))
            else:
                piece, places = text[start:end], list(range(base + start, base + end))
            value += piece
            origin += places
            own += [base + start] * len(piece) if name else places
        return value, origin, own

    def _plan_reference(self, value: str, evaluated: _Evaluated, start: int, end: int) -> None:
        part = evaluated.behind(start)._replace(text=evaluated.text[start:end])
        result = self._reference(part)
        reason = next((skip.reason for skip in result.skipped), "")
        if reason and "{" in evaluated.written:
            reason = _EXPRESSION
        variable, edits = next(iter(result.given.items()), ("", result.edits))
        self._plan(value, edits, reason, variable=variable)

    def _reference(self, value: _Evaluated) -> Rewrite:
        size = len(value.text)
        if not size or not value.text.isascii() or not value.written.isascii():
            return Rewrite(b"", [], [])
        is_plain = list(value.origin[:size]) == list(value.own[:size])
        word = range(value.own[0], len(value.written))
        reference = Reference("bake", value.text, value.origin[:size], value.written, word, 0, frozenset(), () if is_plain else value.own[:size])
        scene = ParsedReferences([reference])
        return Planner(value.written.encode("ascii"), self._mirrors, scene, self._defaults, is_dockerfile=False, edit_given=True).result()

    def _arguments(self, target: Target) -> None:
        contents = target.inline.encode("utf-8") if target.inline is not None else self._dockerfile_of(*target.place) if target.place else None
        evaluated = {name: self._evaluated(value) for name, value in target.args.items() if name != "BUILDKIT_SYNTAX"}
        known = {name: value.text for name, value in evaluated.items() if UNKNOWN not in value.origin and "{" not in value.text and value.text.isascii()}
        supplied = {**(self._supplied(*target.place) if target.place else {}), **{name: _SUPPLIED.format(name) for name in _names(target.contexts)}}
        if target.inline is not None:
            self._inline(target.inline, known, supplied)
        if contents is None:
            for name, value in known.items():
                plan = self._reference(evaluated[name])
                if _LOOKS_LIKE_AN_IMAGE.fullmatch(value) and (plan.edits or any(plan.given.values())):
                    self._plan(target.args[name], reason=_UNREAD)
            return
        # Whether this run has come to the Dockerfile yet makes no difference.
        contents = rewrite(contents, self._mirrors, kinds=self._kinds, supplied=supplied).after
        given = rewrite(contents, self._mirrors, known, IN_DOCKERFILES, edit_given=True, supplied=supplied).given
        stages = seen_in_stages(contents, known) if given else ()
        no_arg = "" if "arg" in self._kinds else _NO_ARG
        for name in known:
            edits = given.get(name, ())
            self._argument(target.args[name], evaluated[name], edits, (_AGAIN if name in stages else no_arg) if edits else "")
        for name, value in target.args.items():
            if name in known or name == "BUILDKIT_SYNTAX":
                continue
            fed = _fed(contents, known, name)
            is_written = isinstance(value, Value) and value.end > 0
            if MARK in fed and is_written and name not in seen_in_stages(contents, known) and "arg" in self._kinds:
                self._plan_reference(value, evaluated[name], 0, len(evaluated[name].text))
            elif any(image.startswith(MARK) for image in fed):
                self._plan(value, reason=_NO_VALUE, name=name)

    def _argument(self, value: str, evaluated: _Evaluated, edits: t.Sequence[Edit], reason: str) -> None:
        """Edits of the evaluated value go where that was written."""
        placed = [(edit, evaluated.origin[edit.start : edit.end] or evaluated.origin[edit.start : edit.start + 1]) for edit in edits]
        homes = {evaluated.home(place) for _edit, places in placed for place in places}
        if len(homes) > 1 or any(not _is_together(places) for _edit, places in placed):
            self._plan(value, reason=_PARTED)
            return
        home = homes.pop() if homes else ""
        base = evaluated.bases[home] if home else 0
        own = [Edit(places[0] - base, places[0] - base + edit.end - edit.start, edit.text) for edit, places in placed]
        self._plan(value, own, reason, variable=home)

    def _inline(self, text: str, args: t.Mapping[str, str], supplied: t.Mapping[str, str]) -> None:
        result = rewrite(text.encode("utf-8"), self._mirrors, args, IN_DOCKERFILES, supplied=supplied)
        if not (isinstance(text, Value) and text.end > 0 and text.isascii()):
            if result.changes or result.skipped:
                self._plan(text, reason=_INLINE, name="dockerfile-inline")
            return
        if result.changes:
            self._plan(text, result.edits)
        if text.file == self._name:
            above = self._text.count("\n", 0, text.start)
            self._inside.update(skip._replace(kind="bake", line=skip.line + above) for skip in result.skipped)


def _agreed(plans: t.Sequence[_Plan]) -> _Plan:
    """What the plans of all targets for one value come to."""
    plans = [plan for plan in plans if plan.reason != _UNREAD] or plans  # a target that others inherit from is not built itself
    wanted = next((plan for plan in plans if plan.reason), None) or next((plan for plan in plans if plan.edits), plans[0])
    is_one = all((plan.edits, plan.variable) == (wanted.edits, wanted.variable) for plan in plans)
    return wanted._replace(reason=wanted.reason or ("" if is_one else _TWO_TARGETS))


def _is_together(places: t.Sequence[int]) -> bool:
    return all(after == before + 1 for before, after in zip(places, places[1:]))


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
