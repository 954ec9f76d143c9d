# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Point every image reference of a Dockerfile at its mirror, and change no other byte.

What BuildKit would pull is found as it finds it (frontend/dockerfile/instructions, dockerfile2llb/convert.go);
each character of a reference knows where it was written, and the edit goes there.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._image_name import ImageName, InvalidImageName
from ansible_collections.buildfleet.docker.plugins.module_utils._instructions import READINGS, File, Instruction, Rejected, read
from ansible_collections.buildfleet.docker.plugins.module_utils._mirror import Mirrors
from ansible_collections.buildfleet.docker.plugins.module_utils._shell import NOWHERE, UNKNOWN, Char, Empty, ShellError, expand, plain, written

KINDS = ("from", "arg", "copy", "mount", "syntax", "compose")

# BuildKit sets these itself; any value does, because no image name starts with one.
_PLATFORM = {
    "BUILDPLATFORM": "linux/amd64",
    "BUILDOS": "linux",
    "BUILDOSVERSION": "",
    "BUILDARCH": "amd64",
    "BUILDVARIANT": "",
    "TARGETPLATFORM": "linux/amd64",
    "TARGETOS": "linux",
    "TARGETOSVERSION": "",
    "TARGETARCH": "amd64",
    "TARGETVARIANT": "",
    "TARGETSTAGE": "default",
}
_BLANK = re.compile(r"[\t\v\f\r ]+")
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_ARGUMENT = re.compile(r"""(?:\\.|`.|'[^']*'?|"(?:[^"\\]|\\.)*"?|\S)+""", re.DOTALL | re.ASCII)
_IS_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_SIMPLE_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(:-)?\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)


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


class Rewrite(t.NamedTuple):
    after: bytes
    changes: t.List[Change]
    skipped: t.List[Skip]
    given: t.Dict[str, str]  # build arguments that feed a reference, as they must be given now


class Reference(t.NamedTuple):
    kind: str
    chars: t.Sequence[Char]
    empty: t.Sequence[Empty]
    word: t.Sequence[Char]
    at: int
    stages: t.FrozenSet[str]  # names that mean a stage here
    problem: str = ""

    @property
    def value(self) -> str:
        return plain(self.chars)

    @property
    def spelling(self) -> str:
        return plain(self.word)


class _Piece(t.NamedTuple):
    """The word that an edit is in, for the report."""

    kind: str
    start: int
    end: int
    at: int


class _Edit(t.NamedTuple):
    start: int
    end: int
    text: str


class _Argument(t.NamedTuple):
    start: int
    end: int
    at: int


class _Scene(t.NamedTuple):
    """All that decides where an edit may go."""

    references: t.List[Reference]
    arguments: t.Dict[str, t.List[_Argument]]
    again: t.Dict[str, int]  # global ARG that a stage declares again, and where


def rewrite(data: bytes, mirrors: Mirrors, build_args: t.Optional[t.Mapping[str, str]] = None, kinds: t.Container[str] = KINDS) -> Rewrite:
    given = dict(build_args or {})
    try:
        file = read(data)
        scene = _scene(data, file, given)
        doubtful = _doubtful(data, given, scene) if file.ambiguous else frozenset()
    except Rejected as error:
        return Rewrite(data, [], [Skip(_line(data, error.at), "from", "", f"BuildKit refuses this file: {error}. Nothing in it was touched.")], given)
    return _Planner(data, mirrors, given, kinds, scene, doubtful).result()


def references(data: bytes, build_args: t.Optional[t.Mapping[str, str]] = None) -> t.List[t.Tuple[str, str]]:
    """Kind and value of every image that BuildKit would ask for; raises Rejected."""
    return [(found.kind, found.value) for found in _scene(data, read(data), dict(build_args or {})).references]


def _line(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1


def _doubtful(data: bytes, given: t.Mapping[str, str], newest: _Scene) -> t.FrozenSet[t.Tuple[str, str, int]]:
    """The references that a version of the frontend would not find; a version that refuses the file has no say."""
    every = frozenset(_identity(found) for found in newest.references)
    agreed = every
    for reading in READINGS[1:]:
        try:
            scene = _scene(data, read(data, reading), given)
        except Rejected:
            continue
        agreed &= frozenset(_identity(found) for found in scene.references)
    return every - agreed


def _identity(found: Reference) -> t.Tuple[str, str, int]:
    return found.kind, found.value, found.at


def _scene(data: bytes, file: File, given: t.Mapping[str, str]) -> _Scene:
    found: t.List[Reference] = []
    arguments: t.Dict[str, t.List[_Argument]] = {}
    again: t.Dict[str, int] = {}
    values: t.Dict[str, t.List[Char]] = {}
    outside = _outside(len(data), given)
    stages: t.List[str] = []
    every_stage = frozenset(name for name in map(_stage_name, file.instructions) if name)
    if file.syntax:
        text, at = file.syntax
        word = written(text, range(at, at + len(text)))
        found.append(Reference("syntax", word, (), word, at, frozenset()))

    def look(name: str) -> t.Optional[t.Sequence[Char]]:
        if name in values:
            return values[name]
        if name in _PLATFORM:
            return [Char(char, NOWHERE, NOWHERE) for char in _PLATFORM[name]]
        return None

    started = False
    for instruction in file.instructions:
        keyword = instruction.keyword
        if keyword == "FROM" and not instruction.onbuild:
            started = True
            reference = _from(instruction, file.escape, look, frozenset(stages))
            if reference:
                found.append(reference)
            stages.append(_stage_name(instruction))
        elif keyword == "ARG" and not started:
            _declare(instruction, file.escape, look, values, outside, arguments)
        elif keyword == "ARG":
            for word in _ARGUMENT.finditer(instruction.text):
                if "=" not in word.group():
                    again.setdefault(word.group(), instruction.at)
        elif not started:
            raise Rejected(instruction.at, f"{keyword} stands before the first FROM")
        elif keyword == "COPY":
            found += _copied(instruction, every_stage)
        elif keyword == "RUN":
            found += _mounted(instruction, every_stage)
    if not started:
        raise Rejected(0, "it has no FROM")
    return _Scene(found, arguments, again)


def _outside(size: int, given: t.Mapping[str, str]) -> t.Dict[str, t.List[Char]]:
    """Values of build arguments stand behind the end of the file, one after the other."""
    outside: t.Dict[str, t.List[Char]] = {}
    at = size + 1
    for name, value in given.items():
        outside[name] = written(value, range(at, at + len(value)))
        at += len(value) + 1
    return outside


def _declare(
    instruction: Instruction,
    escape: str,
    look: t.Callable[[str], t.Optional[t.Sequence[Char]]],
    values: t.Dict[str, t.List[Char]],
    outside: t.Mapping[str, t.List[Char]],
    arguments: t.Dict[str, t.List[_Argument]],
) -> None:
    for word in _ARGUMENT.finditer(instruction.text):
        name, equals, value = word.group().partition("=")
        if not _IS_NAME.fullmatch(name):
            continue
        if name in outside:
            values[name] = outside[name]
        elif equals:
            start = word.start() + len(name) + 1
            chars = written(value, instruction.origin[start : word.end()])
            try:
                values[name] = expand(chars, escape, look)[0]
            except ShellError as error:
                raise Rejected(instruction.at, f"the value of ARG {name} cannot be read ({error})") from error
            if chars:
                arguments.setdefault(name, []).append(_Argument(chars[0].origin, chars[-1].origin + 1, instruction.at))


def _stage_name(instruction: Instruction) -> str:
    words = _BLANK.split(instruction.text) if instruction.keyword == "FROM" else []
    return words[2].lower() if len(words) == 3 else ""


def _from(instruction: Instruction, escape: str, look: t.Callable[[str], t.Optional[t.Sequence[Char]]], stages: t.FrozenSet[str]) -> t.Optional[Reference]:
    words = _BLANK.split(instruction.text)
    if len(words) not in (1, 3) or not words[0] or (len(words) == 3 and words[1].upper() != "AS"):
        raise Rejected(instruction.at, "FROM takes an image, or an image AS a name")
    if len(words) == 3 and not _STAGE_NAME.fullmatch(words[2].lower()):
        raise Rejected(instruction.at, f"{words[2]} is no name for a stage")
    word = written(words[0], instruction.origin[: len(words[0])])
    if not any(mark in words[0] for mark in ("$", "'", '"', escape)):
        if words[0] == "scratch" or words[0] in stages:
            return None
        return Reference("from", word, (), word, instruction.at, stages)
    try:
        chars, empty, unset = expand(word, escape, look)
        if unset and not _is_name_of_an_image(plain(chars)):
            chars, empty, unset = expand(word, escape, look, unset_is_unknown=True)
    except ShellError as error:
        return Reference("from", word, (), word, instruction.at, stages, f"it cannot be evaluated ({error}); give the value as build_args")
    value = plain(chars)
    if value == "scratch" or value in stages:
        return None
    return Reference("from", chars, empty, word, instruction.at, stages)


def _is_name_of_an_image(value: str) -> bool:
    from ansible_collections.buildfleet.docker.plugins.module_utils._image_name import parse

    try:
        parse(value)
    except InvalidImageName:
        return False
    return True


def _copied(instruction: Instruction, stages: t.FrozenSet[str]) -> t.Iterator[Reference]:
    for flag in instruction.flags:
        text = "".join([char for char, place in flag])
        if not text.startswith("--from="):
            continue
        word = written(text[7:], [place for char, place in flag[7:]])
        value = text[7:]
        if value and value != "scratch" and value.lower() not in stages and not _NUMBER.fullmatch(value):
            yield Reference("copy", word, (), word, instruction.at, stages, _inner_problem(value, instruction))


def _mounted(instruction: Instruction, stages: t.FrozenSet[str]) -> t.Iterator[Reference]:
    for flag in instruction.flags:
        text = "".join([char for char, place in flag])
        if not text.startswith("--mount="):
            continue
        last = None
        for field in _csv(flag[8:]):
            key, equals, value = "".join([char for char, place in field]).partition("=")
            if equals and key.lower() == "from":
                last = written(value, [place for char, place in field[len(key) + 1 :]])
        value = plain(last or ())
        if last and value != "scratch" and value.lower() not in stages:
            yield Reference("mount", last, (), last, instruction.at, stages, _inner_problem(value, instruction))


def _inner_problem(value: str, instruction: Instruction) -> str:
    if "$" in value:
        return "BuildKit expands no variable here; write the image itself, or FROM it as a stage and name the stage"
    if instruction.onbuild and _STAGE_NAME.fullmatch(value.lower()):
        return "behind ONBUILD this may be a stage of the build to come; write the image with its tag if it is none"
    return ""


def _csv(chars: t.Sequence[t.Tuple[str, int]]) -> t.Iterator[t.List[t.Tuple[str, int]]]:
    """Fields of one CSV line; a field in double quotes may hold commas, and a doubled quote is one."""
    field: t.List[t.Tuple[str, int]] = []
    at = 0
    size = len(chars)
    while at < size:
        if chars[at][0] == '"' and not field:
            at += 1
            while at < size:
                if chars[at][0] == '"':
                    if at + 1 < size and chars[at + 1][0] == '"':
                        at += 1
                    else:
                        break
                field.append(chars[at])
                at += 1
            at += 1
        elif chars[at][0] == ",":
            yield field
            field = []
            at += 1
        else:
            field.append(chars[at])
            at += 1
    yield field


class _Planner:
    """From references to edits; what cannot be edited rightly is a skip with its reason."""

    def __init__(
        self,
        data: bytes,
        mirrors: Mirrors,
        given: t.Dict[str, str],
        kinds: t.Container[str],
        scene: _Scene,
        doubtful: t.AbstractSet[t.Tuple[str, str, int]],
    ) -> None:
        self._data = data
        self._mirrors = mirrors
        self._given = given
        self._kinds = kinds
        self._scene = scene
        self._doubtful = doubtful
        self._edits: t.Dict[_Edit, _Piece] = {}
        self._skipped: t.List[Skip] = []

    def result(self) -> Rewrite:
        wanted: t.List[t.Tuple[str, str]] = []
        plans: t.List[t.Tuple[Reference, t.List[_Edit]]] = []
        indirect = False
        for reference in self._scene.references:
            edits, after = self._plan(reference)
            wanted.append((reference.kind, after))
            if edits:
                plans.append((reference, edits))
                indirect = indirect or reference.chars is not reference.word
        edits = self._agreed(plans)
        if not edits:
            return Rewrite(self._data, [], self._skipped, self._given)
        after, given = self._applied(edits)
        if indirect and not self._says(after, given, wanted):
            return self._without_variables(plans)
        return Rewrite(after, self._changes(plans, edits), self._skipped, given)

    def _says(self, after: bytes, given: t.Mapping[str, str], wanted: t.List[t.Tuple[str, str]]) -> bool:
        """The proof: what BuildKit sees in the result is what was wanted, reference by reference."""
        try:
            scene = _scene(after, read(after), given)
        except Rejected:
            return False
        return [(found.kind, found.value) for found in scene.references] == wanted

    def _without_variables(self, plans: t.List[t.Tuple[Reference, t.List[_Edit]]]) -> Rewrite:
        """Editing a variable would have changed another reference: keep to those that hold none."""
        plain_plans = []
        for reference, edits in plans:
            if reference.chars is reference.word:
                plain_plans.append((reference, edits))
            else:
                self._skip(reference, "the variable in it is used for something else too, which would change; write the image itself")
        edits = self._agreed(plain_plans)
        after, given = self._applied(edits)
        return Rewrite(after, self._changes(plain_plans, edits), self._skipped, given)

    def _skip(self, reference: Reference, reason: str) -> None:
        self._skipped.append(Skip(_line(self._data, reference.at), reference.kind, _shown(reference.spelling), reason[:1].upper() + reason[1:] + "."))

    def _plan(self, reference: Reference) -> t.Tuple[t.List[_Edit], str]:
        """The edits, and what the reference shall be."""
        value = reference.value
        nothing: t.List[_Edit] = []
        if reference.kind not in self._kinds:
            return nothing, value
        if reference.problem:
            self._skip(reference, reference.problem)
            return nothing, value
        try:
            image = self._replacement(reference, value)
        except InvalidImageName as error:
            reason = _unknown(reference) or f"{str(error)[:-1]}; correct it, or exclude the file if it is a template"
            self._skip(reference, reason)
            return nothing, value
        if image is None:
            return nothing, value
        if self._doubtful and _identity(reference) in self._doubtful:
            self._skip(reference, "versions of the Dockerfile frontend read this instruction differently; write it so that all agree (no blank behind <<)")
            return nothing, value
        after = _text(image, reference)
        kept = _common_end(value, after)
        first = len(value) - kept
        prefix = after[: len(after) - kept]
        if any(char.origin == UNKNOWN for char in reference.chars[: first + 1]):
            self._skip(reference, _unknown(reference))
            return nothing, value
        try:
            return self._edits_for(reference, first, prefix), after
        except _Impossible as reason:
            self._skip(reference, str(reason))
            return nothing, value

    def _replacement(self, reference: Reference, value: str) -> t.Optional[ImageName]:
        if all(char.origin != UNKNOWN for char in reference.chars):
            return self._mirrors.replacement(value)
        # A tag or a digest that nobody knows yet says nothing about the name.
        slash = value.rfind("/")
        end = min((at for at in (value.find(":", slash), value.find("@")) if at > 0), default=len(value))
        if any(char.origin == UNKNOWN for char in reference.chars[: value.find("/") if "/" in value else end]):
            raise InvalidImageName("The name is not known.")
        image = self._mirrors.replacement(value[:end])
        return image and image._replace(suffix=value[end:])

    def _edits_for(self, reference: Reference, first: int, prefix: str) -> t.List[_Edit]:
        own = reference.chars is reference.word
        chars = reference.chars
        if own:
            return _replaced([char.origin for char in chars[:first]], chars[first].origin if first < len(chars) else 0, prefix)
        gap = next((empty for empty in reference.empty if empty.before == 0), None)
        if gap and first == 0:
            return [_into_gap(gap, prefix)]
        places = [char.origin for char in chars[: first or 1]]
        if NOWHERE in places:
            raise _Impossible("it begins with a value that only BuildKit knows; write the image itself")
        start, end = reference.word[0].origin, reference.word[-1].origin + 1
        inside = [start <= place < end for place in places]
        if all(inside):
            if first == 0 and self._may_be_a_stage(reference):
                raise _Impossible("with another value of the variable this is a stage; write the image itself")
            return _replaced(places[:first], places[0] if first == 0 else 0, prefix)
        if any(inside):
            raise _Impossible("its registry is written in two places; write it in one")
        return self._edits_in_argument(reference, places, first, prefix)

    def _edits_in_argument(self, reference: Reference, places: t.List[int], first: int, prefix: str) -> t.List[_Edit]:
        homes = {self._home(place) for place in places}
        if len(homes) != 1:
            raise _Impossible("its registry is written in two places; write it in one")
        name, argument = homes.pop()
        if argument is None:
            if "compose" not in self._kinds:
                raise _Impossible(f"its registry comes from the build argument {name}; give that one the mirror")
            return _replaced(places[:first], places[0], prefix)
        if name in self._scene.again:
            if first == 0 and self._is_a_bare_name(reference) and not self._may_be_a_stage(reference):
                own = reference.chars[0].own
                return [_Edit(own, own, prefix)]
            line = _line(self._data, self._scene.again[name])
            raise _Impossible(f"ARG {name} is declared again in line {line}, where its new value would show; use a variable of its own for the image")
        if "arg" not in self._kinds:
            raise _Impossible(f"it comes from ARG {name}, and kinds leaves arg out")
        return _replaced(places[:first], places[0] if first == 0 else 0, prefix)

    def _home(self, place: int) -> t.Tuple[str, t.Optional[_Argument]]:
        for name, found in self._scene.arguments.items():
            for argument in found:
                if argument.start <= place < argument.end:
                    return name, argument
        for name, chars in _outside(len(self._data), self._given).items():
            if chars and chars[0].origin <= place <= chars[-1].origin:
                return name, None
        raise _Impossible("the place of its registry was not found; write the image itself")

    @staticmethod
    def _is_a_bare_name(reference: Reference) -> bool:
        """The variable gives a name without registry and tag, so text may stand before it."""
        own = reference.chars[0].own
        part = plain([char for char in reference.chars if char.own == own])
        return own >= 0 and not any(mark in part for mark in "/:@")

    @staticmethod
    def _may_be_a_stage(reference: Reference) -> bool:
        shape = "".join(re.escape(char.text) if char.own == char.origin else ".*" for char in reference.chars)
        return any(re.fullmatch(shape, stage) for stage in reference.stages if stage)

    def _agreed(self, plans: t.List[t.Tuple[Reference, t.List[_Edit]]]) -> t.List[_Edit]:
        """All edits in the order of the file; of two that meet in one place neither is made."""
        edits = sorted({edit for _, found in plans for edit in found})
        for before, after in zip(edits, edits[1:]):
            if after.start < before.end or (after.start == before.start):
                bad = {before, after}
                lost = [plan for plan in plans if bad.intersection(plan[1])]
                for reference, _ in lost:
                    self._skip(reference, "its variable feeds several references that need different mirrors; write the images themselves")
                plans[:] = [plan for plan in plans if plan not in lost]
                return self._agreed(plans)
        return edits

    def _applied(self, edits: t.Sequence[_Edit]) -> t.Tuple[bytes, t.Dict[str, str]]:
        size = len(self._data)
        given = dict(self._given)
        for name, chars in _outside(size, self._given).items():
            base = chars[0].origin if chars else 0
            mine = [_Edit(edit.start - base, edit.end - base, edit.text) for edit in edits if chars and base <= edit.start <= chars[-1].origin + 1]
            given[name] = spliced(self._given[name], mine)
        inside = [edit for edit in edits if edit.start <= size]
        return spliced(self._data.decode("latin-1"), inside).encode("latin-1"), given

    def _changes(self, plans: t.List[t.Tuple[Reference, t.List[_Edit]]], edits: t.Sequence[_Edit]) -> t.List[Change]:
        """One line of the report for each word that was edited."""
        changes: t.Dict[t.Tuple[int, int], Change] = {}
        for reference, mine in plans:
            kind, start, end, at = self._word_of(reference, mine[0])
            if start > len(self._data) or (start, end) in changes:
                continue
            here = [edit._replace(start=edit.start - start, end=edit.end - start) for edit in edits if start <= edit.start <= end]
            before = self._data[start:end].decode("latin-1")
            changes[start, end] = Change(_line(self._data, at), kind, _shown(before), _shown(spliced(before, here)))
        return [changes[key] for key in sorted(changes)]

    def _word_of(self, reference: Reference, edit: _Edit) -> t.Tuple[str, int, int, int]:
        start, end = reference.word[0].origin, reference.word[-1].origin + 1
        if start <= edit.start <= end:
            return reference.kind, start, end, start
        for found in self._scene.arguments.values():
            for argument in found:
                if argument.start <= edit.start <= argument.end:
                    return "arg", argument.start, argument.end, argument.start
        return "arg", edit.start, edit.end, edit.start


class _Impossible(Exception):
    """Why an edit would be wrong, and what to do."""


def spliced(text: str, edits: t.Iterable[t.Any]) -> str:
    """``edits`` are (start, end, text), in order."""
    parts: t.List[str] = []
    done = 0
    for start, end, new in edits:
        parts += (text[done:start], new)
        done = end
    return "".join(parts) + text[done:]


def _replaced(places: t.Sequence[int], before: int, prefix: str) -> t.List[_Edit]:
    """Put the prefix where the old one stood, piece by piece where continuation lines part it; an insertion goes before ``before``."""
    if not places:
        return [_Edit(before, before, prefix)]
    edits: t.List[_Edit] = []
    start = places[0]
    for left, right in zip(places, list(places[1:]) + [-1]):
        if right != left + 1:
            edits.append(_Edit(start, left + 1, "" if edits else prefix))
            start = right
    return edits


def _into_gap(gap: Empty, prefix: str) -> _Edit:
    """A variable that is empty unless somebody gives it: the mirror becomes its default."""
    found = _SIMPLE_VARIABLE.fullmatch(gap.spelling)
    if not found:
        raise _Impossible(f"{gap.spelling} may put a registry before it; give that registry as a build argument, or write the image itself")
    return _Edit(gap.start, gap.end, f"${{{found.group(1) or found.group(3)}:-{prefix}}}")


def _text(image: ImageName, reference: Reference) -> str:
    """Familiar, unless that would be read as something else in this place."""
    short = image.familiar
    if short == "scratch" or short in reference.stages or (reference.kind in ("copy", "mount") and (short.lower() in reference.stages or _NUMBER.fullmatch(short))):
        return image.full
    return short


def _common_end(before: str, after: str) -> int:
    shortest = min(len(before), len(after))
    for length in range(shortest):
        if before[-1 - length] != after[-1 - length]:
            return length
    return shortest


def _unknown(reference: Reference) -> str:
    if not any(char.origin == UNKNOWN for char in reference.chars):
        return ""
    return "a variable in it has no default, so its registry is not known; give the value as build_args, or a default in ARG"


def _shown(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "replace")
