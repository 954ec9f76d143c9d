# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Point every image reference of a Dockerfile at its mirror, and change no other byte.

Each character of a reference has the position where it was written; it is edited there, or not at all.
"""

from __future__ import annotations

import contextlib
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.instructions import LONGEST_LINE, Ambiguous, Rejected, declared_syntax, read
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.references import (
    NUMBER,
    Argument,
    ParsedReferences,
    Reference,
    ambiguous,
    build_arg_positions,
    find_references,
    is_built_in,
    literal,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.shell import NOWHERE, UNKNOWN, Empty
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import ImageName, InvalidImageName, parse, split_registry
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors, moved

KINDS = ("from", "arg", "copy", "mount", "syntax", "compose", "bake")

_SIMPLE_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::-)?\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)
_OWN_FRONTEND = re.compile(r"(?:^|/)docker/dockerfile(?:-upstream)?(?:[:@]|$)")
_LOOKS_LIKE_A_REFERENCE = re.compile(
    r"(?:^[ \t]*FROM[ \t]+(?:--\S+[ \t]+)*|[ ,=-]from=|#[ \t]*syntax[ \t]*=[ \t]*)[\"']?([^\s,\"']+)", re.IGNORECASE | re.MULTILINE
)
_USED_TWICE = "the variable in it is also used for something else, which would change; use a separate variable for the image"
_REST_IS_BLANK = re.compile(rb"[ \t\r]*(?:\n|\Z)")
_ESCAPES = (b"\\", b"`")
_VARIABLES = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)


class Change(t.NamedTuple):
    line: int
    kind: str
    before: str
    after: str


class Skip(t.NamedTuple):
    line: int
    kind: str
    reference: str
    reason: str


class Edit(t.NamedTuple):
    start: int
    end: int
    text: str


class Rewrite(t.NamedTuple):
    after: bytes
    changes: t.List[Change]
    skipped: t.List[Skip]
    edits: t.Sequence[Edit] = ()
    given: t.Mapping[str, t.Sequence[Edit]] = {}  # edits to the build arguments that were given


class _Impossible(Exception):
    """Why an edit would be wrong, and what to do."""


class _Plan(t.NamedTuple):
    """The edits for a reference, and its new text."""

    reference: Reference
    edits: t.Sequence[Edit] = ()
    after: str = ""


def _conflicts(plans: t.Iterable[_Plan]) -> bool:
    """Two edits meet in one place."""
    edits = sorted({edit for plan in plans for edit in plan.edits})
    return any(after.start < before.end or after.start == before.start for before, after in zip(edits, edits[1:]))


def rewrite(
    data: bytes,
    mirrors: Mirrors,
    build_args: t.Optional[t.Mapping[str, str]] = None,
    kinds: t.Container[str] = KINDS,
    edit_given: bool = False,
    supplied: t.Optional[t.Mapping[str, str]] = None,
    given_elsewhere: t.AbstractSet[str] = frozenset(),
) -> Rewrite:
    """``edit_given``: the build arguments can be edited by the caller, who finds the edits in the result.

    ``supplied``: the images that named contexts replace, by their shortest names, and what supplies each.
    ``given_elsewhere``: the build arguments that compose or Bake files give, where their values are moved.
    """
    given = dict(build_args or {})
    try:
        result = None if supplied else _literal(data, mirrors, kinds)
        if result:
            return result
        parsed = find_references(data, given)
        ambiguous_references = ambiguous(data, given, parsed)
    except Rejected as error:
        return _refused(data, mirrors, kinds, error)
    result = Planner(data, mirrors, parsed, given, kinds, ambiguous_references, edit_given, supplied=supplied, given_elsewhere=given_elsewhere).result()
    if result.changes and len(result.after) > LONGEST_LINE:
        try:
            read(result.after)
        except Rejected as error:
            change = next((change for change in result.changes if change.line == line_of(result.after, error.at)), result.changes[0])
            return Rewrite(
                data, [], [Skip(change.line, change.kind, change.before, f"With the mirror's name {error}; shorten it. Nothing in the file was changed.")]
            )
    return result


def _refused(data: bytes, mirrors: Mirrors, kinds: t.Container[str], error: Rejected) -> Rewrite:
    """Unchanged except for the frontend that it names: a frontend other than BuildKit's can read anything."""
    line = line_of(data, error.at)
    syntax = declared_syntax(data)
    frontend = syntax[0] if syntax and not is_built_in("syntax", syntax[0]) and not _OWN_FRONTEND.search(syntax[0]) else ""
    if not frontend or isinstance(error, Ambiguous):
        skips = [Skip(line, "from", "", f"{error.by}: {error}. Nothing in it was changed.")] if _may_be_named(data, mirrors) else []
        return Rewrite(data, [], skips)
    text, at = t.cast("t.Tuple[str, int]", syntax)
    reference = Reference("syntax", text, range(at, at + len(text)), text, range(at, at + len(text)), at, frozenset())
    result = Planner(data, mirrors, ParsedReferences([reference]), kinds=kinds).result()
    if _may_be_named(data[:at] + data[at + len(text) :], mirrors):
        reason = f"The frontend in # syntax reads this file, and BuildKit's own would not ({error}), so its references are not known. Only # syntax was read."
        result.skipped.append(Skip(line, "from", "", reason))
    return result


def _may_be_named(data: bytes, mirrors: Mirrors) -> bool:
    """Whether a line of a file that nobody can read looks like a reference that the map names."""
    for match in _LOOKS_LIKE_A_REFERENCE.finditer(data.decode("latin-1")):
        word = match.group(1)
        try:
            if "$" in word or mirrors.replacement(word):
                return True
        except InvalidImageName:
            if mirrors.names(split_registry(word)[0]):
                return True
    return False


def _literal(data: bytes, mirrors: Mirrors, kinds: t.Container[str]) -> t.Optional[Rewrite]:
    """For a file in which every image is written literally; None if one is not."""
    parsed = literal(data)
    if parsed is None:
        return None
    images, stages = parsed
    edits: t.List[Edit] = []
    changes: t.List[Change] = []
    lines = Lines(data)
    try:
        for kind, value, at in images:
            move = mirrors.move(value)
            if move and kind in kinds:
                if "/" not in move.after and _is_read_otherwise(kind, move.after, stages):
                    return None
                edits.append(Edit(at, at + move.first, move.prefix))
                changes.append(Change(lines.of(at), kind, value, move.after))
    except InvalidImageName:
        return None
    after = _spliced(data, edits)
    return Rewrite(after, changes, [], edits) if len(after) <= LONGEST_LINE else None


def references(data: bytes, build_args: t.Optional[t.Mapping[str, str]] = None) -> t.List[t.Tuple[str, str]]:
    """Kind and value of every image that BuildKit would ask for; raises Rejected."""
    plain = literal(data)
    if plain:
        return [(kind, value) for kind, value, _rest in plain[0]]
    return [(reference.kind, reference.value) for reference in find_references(data, build_args or {}).references]


def spliced(text: str, edits: t.Iterable[Edit], begin: int = 0) -> str:
    """What the edits make of a text; the places in them are counted from ``begin`` before it."""
    parts: t.List[str] = []
    done = begin
    for start, end, new in edits:
        parts += (text[done - begin : start - begin], new)
        done = end
    return "".join(parts) + text[done - begin :]


def _spliced(data: bytes, edits: t.Sequence[Edit]) -> bytes:
    return spliced(data.decode("latin-1"), edits).encode("latin-1") if edits else data


def line_of(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


class Lines:
    """The lines of places in a file, each counted from the one asked for before."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._line = 1

    def of(self, at: int) -> int:
        if at < self._at:
            self._at, self._line = 0, 1
        self._line += self._data.count(b"\n", self._at, at)
        self._at = at
        return self._line


class Planner:
    """From references to edits; what cannot be edited rightly is a skip with its reason."""

    def __init__(
        self,
        data: bytes,
        mirrors: Mirrors,
        parsed: ParsedReferences,
        given: t.Optional[t.Mapping[str, str]] = None,
        kinds: t.Container[str] = KINDS,
        ambiguous_references: t.AbstractSet[t.Tuple[str, str, int]] = frozenset(),
        edit_given: bool = False,
        is_dockerfile: bool = True,
        supplied: t.Optional[t.Mapping[str, str]] = None,
        given_elsewhere: t.AbstractSet[str] = frozenset(),
    ) -> None:
        self._data = data
        self._mirrors = mirrors
        self._parsed = parsed
        self._given = given or {}
        self._kinds = kinds
        self._ambiguous = ambiguous_references
        self._edit_given = edit_given
        self._is_dockerfile = is_dockerfile
        self._supplied = supplied or {}
        self._given_elsewhere = given_elsewhere
        self._lines = Lines(data)
        self._skipped: t.List[Skip] = []

    def result(self) -> Rewrite:
        """Every edit where it belongs; where one changes more than it should, that one in the word itself, or not at all."""
        plans = [self.plan(reference) for reference in self._parsed.references]
        if not any(plan.edits for plan in plans):
            return Rewrite(self._data, [], self._skipped)
        if not all(self._is_plain(plan) for plan in plans) and not self._is_harmless(plans):
            plans = self._harmless(plans)
        result = self._applied(plans)
        return result._replace(skipped=sorted(result.skipped, key=lambda skip: skip.line)) if len(result.skipped) > 1 else result

    def _harmless(self, plans: t.Sequence[_Plan]) -> t.List[_Plan]:
        """What shares its edits is tried together, beside what has been found good."""
        groups: t.Dict[t.Tuple[Edit, ...], t.List[_Plan]] = {}
        for plan in plans:
            groups.setdefault(tuple(plan.edits), []).append(plan)
        good = groups.pop((), [])
        for name, group in self._by_argument(groups.values()).items():
            together = next((tried for tried in (group, *self._other_ways(group)) if self._is_harmless(good + tried)), None) if name else None
            if together is not None:
                good += together
                for plan in group:
                    groups.pop(tuple(plan.edits), None)
        for group in groups.values():
            if not self._is_harmless(good + group):
                group = [self.plan(plan.reference, arguments_too=False) for plan in group]
                if not self._is_harmless(good + group):
                    for plan in group:
                        self._skip(plan.reference, _USED_TWICE)
                    continue
            good += group
        return good

    def _by_argument(self, groups: t.Iterable[t.Sequence[_Plan]]) -> t.Dict[str, t.List[_Plan]]:
        """The plans that edit one ARG, where they do not agree about it."""
        by_name: t.Dict[str, t.List[t.Sequence[_Plan]]] = {}
        for group in groups:
            by_name.setdefault(self._home(group[0].edits[0].start)[0], []).append(group)
        return {name: [plan for group in groups for plan in group] for name, groups in by_name.items() if len(groups) > 1}

    def _other_ways(self, group: t.Sequence[_Plan]) -> t.Iterator[t.List[_Plan]]:
        """The registry in the ARG for all of them: with full names, then with what else the mirror's name has put into the word."""
        for way in (self._in_full, self._parted):
            with contextlib.suppress(_Impossible):
                yield [way(plan.reference) for plan in group]

    def _in_full(self, reference: Reference) -> _Plan:
        after = t.cast("ImageName", self._replacement(reference)).full
        return _Plan(reference, self._edits_to(reference, after, arguments_too=True), after)

    def _parted(self, reference: Reference) -> _Plan:
        """``library/`` goes where the path begins, and only the registry into the ARG."""
        after = t.cast("ImageName", self._replacement(reference)).full
        first, prefix, _rest = moved(reference.value, after)
        slash = first + (reference.value[first : first + 1] == "/")
        head, library, rest = f"{prefix}{after[len(prefix) : len(prefix) + slash - first]}".rpartition("library/")
        place = reference.origin[slash] if slash < len(reference.value) else NOWHERE
        if rest or not library or not first or not reference.word[0] <= place <= reference.word[-1]:
            return self._in_full(reference)
        edits = self._replaced(reference.origin[:first], 0, head[:-1] if slash > first else head)
        return _Plan(reference, [*edits, Edit(place, place, library)], after)

    def _is_harmless(self, plans: t.Sequence[_Plan]) -> bool:
        """The check: BuildKit sees the intended references in the result, one by one."""
        wanted = {id(plan.reference): plan.after for plan in plans if plan.edits}
        if _conflicts(plans):
            return False
        result = self._applied(plans)
        given = {name: spliced(value, result.given.get(name, ())) for name, value in self._given.items()}
        try:
            return references(result.after, given) == [(each.kind, wanted.get(id(each), each.value)) for each in self._parsed.references]
        except Rejected:
            return False

    def _is_plain(self, plan: _Plan) -> bool:
        """Text is put before every variable of the word itself, so nothing else can change."""
        reference = plan.reference
        if not plan.edits or not reference.own or not self._is_dockerfile:
            return True
        variable = reference.spelling.find("$")
        return variable < 0 or all(reference.word[0] <= edit.start and edit.end <= reference.word[variable] for edit in plan.edits)

    def _skip(self, reference: Reference, reason: str) -> None:
        self._skipped.append(Skip(self._lines.of(reference.at), reference.kind, _shown(reference.spelling), _shown(reason[:1].upper() + reason[1:] + ".")))

    def plan(self, reference: Reference, arguments_too: bool = True) -> _Plan:
        try:
            if reference.kind not in self._kinds:
                return _Plan(reference)
            if reference.problem:
                raise _Impossible(reference.problem)
            image = self._replacement(reference)
            if image is None:
                return _Plan(reference)
            if self._supplied and reference.kind != "syntax":
                self._refuse_supplied(reference)
            if self._ambiguous and reference.identity in self._ambiguous:
                raise _Impossible("versions of the Dockerfile frontend read this file differently; write it so that all agree (no space after <<)")
            after = _text(image, reference)
            if not reference.own:
                return _Plan(reference, self._literal_edits(reference, after), after)
            try:
                return _Plan(reference, self._edits_to(reference, after, arguments_too), after)
            except _Impossible:
                if after == image.full:
                    raise
            return _Plan(reference, self._edits_to(reference, image.full, arguments_too), image.full)
        except _Impossible as reason:
            self._skip(reference, str(reason))
        return _Plan(reference)

    def _refuse_supplied(self, reference: Reference) -> None:
        """What a named context supplies is never pulled (moby/buildkit frontend/dockerui/namedcontext.go)."""
        with contextlib.suppress(InvalidImageName):
            supplier = self._supplied.get(shortest(reference.value))
            if supplier:
                raise _Impossible(supplier)

    def _replacement(self, reference: Reference) -> t.Optional[ImageName]:
        value = reference.value
        try:
            if not reference.own or UNKNOWN not in reference.origin:
                return self._mirrors.replacement(value)
            # The unknown part may be a tag, a digest or a part of the path, but not the registry.
            slash = value.find("/") if "/" in value else len(value)
            end = min(at for at in (value.find(":", max(0, value.rfind("/"))), value.find("@"), len(value)) if at >= 0)
            if UNKNOWN in reference.origin[: min(slash, end)]:
                if _chooses_a_stage(reference) or set(_VARIABLES.findall(reference.spelling) or [""]) <= self._given_elsewhere:
                    return None
                advice = "give it one, or a value in build_args" if self._is_dockerfile else "give it one"
                raise _Impossible(f"a variable in it has no default, so its registry is not known; {advice}")
            if "/" in value[end:]:
                raise InvalidImageName(f"{reference.spelling!r} is not a valid image name.")
            if UNKNOWN in reference.origin[:end] and parse(value[:end]).path.startswith("library/") and "library/" not in value:
                raise _Impossible("a variable in it has no default, so it is not known whether it means an image of library/; give it one")
            image = self._mirrors.replacement(value[:end])
        except InvalidImageName as error:
            if not self._mirrors.names(split_registry(value)[0]):
                return None
            raise _Impossible(f"{str(error)[:-1]}; correct it, or exclude the file if it is a template") from error
        return image and image._replace(suffix=value[end:])

    def _edits_to(self, reference: Reference, after: str, arguments_too: bool) -> t.List[Edit]:
        """The mirror's name where the first characters of the value were written, wherever that is."""
        first, prefix, _rest = moved(reference.value, after)
        origin = reference.origin
        places = origin[:first]
        before = origin[first] if first < len(origin) else 0
        gap = next((empty for empty in reference.empty if empty.before == 0), None)
        if gap and not first:
            return [self._into_gap(gap, prefix)]
        decisive = origin[: first or 1]
        if NOWHERE in decisive:
            raise _Impossible("it begins with a value that only BuildKit knows; write the image itself")
        start, end = reference.word[0], reference.word[-1] + 1
        own = [start <= place < end for place in decisive]
        if all(own):
            if not first and _may_be_a_stage(reference, in_the_word=origin[0] != reference.own[0]):
                raise _Impossible("with another value of its variable this is a stage; write the image itself")
            return self._replaced(places, before, prefix)
        if not first and _begins_with_a_namespace(reference):
            return self._replaced((), reference.own[0], prefix)
        homes = {self._home(place) for place in decisive}
        if any(own) or len(homes) != 1:
            raise _Impossible("its registry is written in two places; write it in one")
        name, argument = homes.pop()
        if argument is None and not self._edit_given:
            raise _Impossible(f"its registry comes from build_args: give {name} the mirror")
        if argument is not None and "arg" not in self._kinds:
            raise _Impossible(f"it comes from ARG {name}, and kinds does not contain arg")
        is_declared_again = argument is not None and name in self._parsed.again  # the caller edits the given values itself
        if arguments_too and not is_declared_again:
            return self._replaced(places, before, prefix)
        if not first and _begins_with_a_bare_name(reference) and not _may_be_a_stage(reference):
            return self._replaced((), reference.own[0], prefix)
        if not is_declared_again:
            raise _Impossible(_USED_TWICE)
        line = self._lines.of(self._parsed.again[name])
        raise _Impossible(f"ARG {name} is declared again in line {line}, where its new value would be visible; use a separate variable for the image")

    def _literal_edits(self, reference: Reference, after: str) -> t.List[Edit]:
        first, prefix, _rest = moved(reference.value, after)
        return self._replaced(reference.origin[:first], reference.origin[0], prefix)

    def _replaced(self, places: t.Sequence[int], before: int, prefix: str) -> t.List[Edit]:
        """Put the prefix in these places, piece by piece where continuation lines or escapes part them; without any, insert it."""
        if not places:
            return [Edit(before, before, prefix)]
        edits: t.List[Edit] = []
        start = places[0]
        for left, right in zip(places, [*places[1:], -1]):
            if right != left + 1:
                edits.append(Edit(start, left + 1, "" if edits else prefix))
                is_escaped = right > 0 and self._data[right - 1 : right] in _ESCAPES  # alone, its escape would continue the line
                start = right - is_escaped
        if len(edits) > 1 and self._is_whole_line(edits[-1]):
            edits[0], edits[-1] = edits[0]._replace(text=""), edits[-1]._replace(text=prefix)
        return edits

    def _is_whole_line(self, edit: Edit) -> bool:
        """Without text it would leave an empty line, behind which BuildKit continues the one before."""
        return self._data[edit.start - 1 : edit.start] == b"\n" and _REST_IS_BLANK.match(self._data, edit.end) is not None

    def _into_gap(self, gap: Empty, prefix: str) -> Edit:
        """A variable that is empty unless somebody gives it: the mirror becomes its default."""
        match = _SIMPLE_VARIABLE.fullmatch(gap.spelling)
        if not match:
            advice = "give that registry as a build argument" if self._is_dockerfile else "set that variable in .env to the mirror"
            raise _Impossible(f"{gap.spelling} may put a registry before it; {advice}, or write the image itself")
        return Edit(gap.start, gap.end, f"${{{match.group(1) or match.group(2)}:-{prefix}}}")

    def _home(self, place: int) -> t.Tuple[str, t.Optional[Argument]]:
        for name, arguments in self._parsed.arguments.items():
            for argument in arguments:
                if argument.start <= place < argument.end:
                    return name, argument
        given = build_arg_positions(len(self._data), self._given)
        return next((name for name, (text, origin, _rest) in given.items() if text and origin[0] <= place <= origin[-1]), ""), None

    def _applied(self, plans: t.Sequence[_Plan]) -> Rewrite:
        edits = sorted({edit for plan in plans for edit in plan.edits})
        given: t.Dict[str, t.Sequence[Edit]] = {}
        if self._given:
            size = len(self._data)
            for name, (text, origin, _rest) in build_arg_positions(size, self._given).items():
                base = origin[0] if text else 0
                mine = [Edit(edit.start - base, edit.end - base, edit.text) for edit in edits if base and base <= edit.start <= base + len(text)]
                if mine:
                    given[name] = mine
            edits = [edit for edit in edits if edit.start <= size]
        return Rewrite(_spliced(self._data, edits), self._changes(plans, edits), self._skipped, edits, given)

    def _changes(self, plans: t.Sequence[_Plan], edits: t.Sequence[Edit]) -> t.List[Change]:
        """One line of the report for each word that was edited."""
        changes: t.Dict[int, Change] = {}
        for plan in plans:
            kind, start, end = self._word_of(plan.reference, plan.edits[0]) if plan.edits else ("", -1, -1)
            if 0 <= start <= len(self._data) and start not in changes:
                mine = plan.edits if len(edits) == len(plan.edits) else [edit for edit in edits if start <= edit.start <= end]
                changes[start] = self._changed_word(kind, start, end, mine)
        return [changes[start] for start in sorted(changes)]

    def _changed_word(self, kind: str, start: int, end: int, edits: t.Sequence[Edit]) -> Change:
        before = self._data[start:end].decode("latin-1")
        return Change(self._lines.of(start), kind, _shown(before), _shown(spliced(before, edits, start)))

    def _word_of(self, reference: Reference, edit: Edit) -> t.Tuple[str, int, int]:
        start, end = reference.word[0], reference.word[-1] + 1
        if start <= edit.start <= end:
            return reference.kind, start, end
        for arguments in self._parsed.arguments.values():
            for argument in arguments:
                if argument.start <= edit.start <= argument.end:
                    return "arg", argument.start, argument.end
        return "arg", edit.start, edit.end


def _begins_with_a_bare_name(reference: Reference) -> bool:
    """A variable gives a name without registry and tag, and text of the word follows: another value of it is such a name too."""
    first = reference.own[0]
    given = [char for char, own in zip(reference.value, reference.own) if own == first]
    return reference.word[0] <= first and len(given) < len(reference.value) and not any(mark in given for mark in "/:@")


def _begins_with_a_namespace(reference: Reference) -> bool:
    """Builds give such a variable the namespace of another architecture or owner, and the mirror in its default would be lost."""
    end = next((at for at, own in enumerate(reference.own) if own != reference.own[0]), 0)
    return _begins_with_a_bare_name(reference) and reference.value[end] == "/" and reference.origin[end] == reference.own[end]


def _may_be_a_stage(reference: Reference, in_the_word: bool = False) -> bool:
    """``in_the_word``: the value is taken only where a default that is written there is."""
    known = [origin == own or (in_the_word and reference.word[0] <= origin <= reference.word[-1]) for origin, own in zip(reference.origin, reference.own)]
    shape = "".join([re.escape(char) if is_known else ".*" for char, is_known in zip(reference.value, known)])
    return any(re.fullmatch(shape, stage) for stage in reference.stages)


def _chooses_a_stage(reference: Reference) -> bool:
    """Some of a stage's name is written out, and an argument gives the rest."""
    return any(origin == own != UNKNOWN for origin, own in zip(reference.origin, reference.own)) and _may_be_a_stage(reference)


def shortest(reference: str) -> str:
    """The name by which a build context replaces an image."""
    name = parse(reference).familiar
    return name[: -len(":latest")] if name.endswith(":latest") else name


def _text(image: ImageName, reference: Reference) -> str:
    """Familiar, unless that would be read as something else in this place."""
    short = image.familiar
    return image.full if _is_read_otherwise(reference.kind, short, reference.stages) else short


def _is_read_otherwise(kind: str, name: str, stages: t.AbstractSet[str]) -> bool:
    """In this place the name means a stage, or nothing."""
    if name == "scratch" or name in stages:
        return True
    return kind in ("copy", "mount") and (name.lower() in stages or NUMBER.fullmatch(name) is not None)


def _shown(text: str) -> str:
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "replace")
