# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images that BuildKit would pull for a Dockerfile, each with the places where it is written.

Sources: moby/buildkit frontend/dockerfile/instructions, dockerfile2llb/convert.go.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.instructions import (
    READINGS,
    WORD,
    Ambiguous,
    Flag,
    FrontendDialect,
    Instruction,
    Rejected,
    arguments_of_stages,
    image_lines,
    read,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.shell import BEYOND_US, NOWHERE, Empty, Look, ShellError, Text, expand, written
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName, parse

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
_SIMPLE_FROM = re.compile(r"(\S+)(?:[\t ]+[Aa][Ss][\t ]+([a-z][a-z0-9_.-]*))?", re.ASCII)
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_.-]*", re.ASCII)
_PLAIN_VALUE = re.compile(r"\w+(?:=[\w.:/@-]*)?", re.ASCII)  # nothing in it that BuildKit could refuse
_LITERAL = re.compile(r"[\w.:/@-]*", re.ASCII)
NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)  # BuildKit does not accept more digits either


class Reference(t.NamedTuple):
    kind: str
    value: str
    origin: t.Sequence[int]  # where each character of the value was written
    spelling: str
    word: t.Sequence[int]  # where the characters of the spelling are
    at: int
    stages: t.AbstractSet[str]  # names that mean a stage here
    own: t.Sequence[int] = ()  # of a value that had to be evaluated: where each character, or the $ that it came through, stands in the word
    empty: t.Sequence[Empty] = ()
    problem: str = ""

    @property
    def identity(self) -> t.Tuple[str, str, int]:
        return self.kind, self.value, self.at


_BUILT_IN = "dockerfile.v0"  # not pulled; moby/buildkit solver/llbsolver/solver.go


class Argument(t.NamedTuple):
    """The default of a global ARG as it is written."""

    start: int
    end: int


class ParsedReferences(t.NamedTuple):
    """Everything that decides where an edit is possible."""

    references: t.List[Reference]
    arguments: t.Mapping[str, t.List[Argument]] = {}
    again: t.Mapping[str, int] = {}  # global ARG that a stage declares again, or one that its value comes from, and where
    ambiguous: bool = False


def literal(data: bytes) -> t.Optional[t.Tuple[t.List[t.Tuple[str, str, int]], t.AbstractSet[str]]]:
    """The common file at a third of the time: kind, value and place of each image, and the stages; None where one is not simply written out."""
    lines = image_lines(data)
    if lines is None:
        return None
    images: t.List[t.Tuple[str, str, int]] = []
    stages: t.Set[str] = set()
    for kind, image, stage, at in lines:
        value = image.decode("latin-1")
        if (kind != "from" or (value != "scratch" and value not in stages)) and not is_built_in(kind, value):
            images.append((kind, value, at))
        if stage:
            stages.add(stage.decode())
    return [each for each in images if each[0] != "copy" or not _is_no_image(each[1], stages)], stages


def find_references(data: bytes, given: t.Mapping[str, str], reading: FrontendDialect = READINGS[0]) -> ParsedReferences:
    file = read(data, reading)
    references: t.List[Reference] = []
    arguments = _Arguments(file.escape, build_arg_positions(len(data), given) if given else {})
    again: t.Dict[str, int] = {}
    stages: t.FrozenSet[str] = frozenset()
    inner: t.List[Instruction] = []
    if file.syntax and not is_built_in("syntax", file.syntax[0]):
        text, at = file.syntax
        references.append(_plain("syntax", text, range(at, at + len(text)), at, set()))
    started = False
    for instruction in file.instructions:
        keyword = instruction.keyword
        if keyword == "FROM":
            started = True
            reference, stage = _from(instruction, file.escape, arguments, stages)
            if reference:
                references.append(reference)
            if stage:
                stages |= {stage}
        elif keyword == "ARG" and not started and not instruction.onbuild:
            arguments.declare_where_needed(instruction, file.instructions)
        elif keyword == "ARG":
            _note_again(again, instruction, file.escape)
        elif instruction.flags and keyword in ("COPY", "RUN", "ADD"):
            inner.append(instruction)
    if not started:
        raise Rejected(0, "it has no FROM")
    for instruction in inner:
        references += _mounted(instruction, stages) if instruction.keyword == "RUN" else _copied(instruction, stages)
    if inner:
        references.sort(key=_place)
    return ParsedReferences(references, arguments.written, arguments.with_sources(again), file.ambiguous)


def _note_again(again: t.Dict[str, int], instruction: Instruction, escape: str) -> None:
    """The arguments that a stage declares without a value of its own."""
    for word in WORD[escape].findall(instruction.text):
        if "=" not in word:
            again.setdefault(word, instruction.at)


def is_built_in(kind: str, value: str) -> bool:
    """The frontend that BuildKit has in itself."""
    return kind == "syntax" and value == _BUILT_IN


def seen_in_stages(data: bytes, given: t.Mapping[str, str]) -> t.Set[str]:
    """The build arguments whose given values a stage sees, itself or in the value of another."""
    return arguments_of_stages(data) | set(find_references(data, given).again)


def ambiguous(data: bytes, given: t.Mapping[str, str], newest: ParsedReferences) -> t.AbstractSet[t.Tuple[str, str, int]]:
    """The references that a version of the frontend would not find; a version that refuses the file has no say."""
    if not newest.ambiguous:
        return frozenset()
    every = frozenset(reference.identity for reference in newest.references)
    agreed = every
    for reading in READINGS[1:]:
        try:
            older = find_references(data, given, reading)
        except Rejected:
            continue
        agreed &= frozenset(reference.identity for reference in older.references)
    return every - agreed


def build_arg_positions(size: int, given: t.Mapping[str, str]) -> t.Dict[str, Text]:
    """Values of build arguments are placed after the end of the file, one after the other."""
    values: t.Dict[str, Text] = {}
    at = size + 1
    for name, value in given.items():
        values[name] = written(value, range(at, at + len(value)))
        at += len(value) + 1
    return values


class _Arguments:
    """Global build arguments, in the order in which they are declared."""

    def __init__(self, escape: str, given: t.Mapping[str, Text]) -> None:
        self.written: t.Dict[str, t.List[Argument]] = {}
        self._escape = escape
        self._evaluates: t.Optional[bool] = None
        self._given = given
        self._values: t.Dict[str, Text] = {}
        self._gapped: t.Dict[str, Text] = {}  # the same with a gap for each part that has no value
        self.sources: t.Dict[str, t.Set[str]] = {}  # of each the others that its value comes from

    def look(self, name: str) -> t.Optional[Text]:
        if name in self._values:
            return self._values[name]
        if name in _PLATFORM:
            if name in self._given:
                return self._given[name]
            value = _PLATFORM[name]
            return written(value, [NOWHERE] * len(value))
        return None

    def look_with_gaps(self, name: str) -> t.Optional[Text]:
        """None also for an empty one: it is there for others to fill."""
        value = self._gapped.get(name) or self.look(name)
        return value if value and value.text else None

    def with_sources(self, again: t.Dict[str, int]) -> t.Dict[str, int]:
        """These arguments, and those that their values come from."""
        places = dict(again)
        for name, at in again.items():
            for source in self.sources.get(name, ()):
                places.setdefault(source, at)
        return places

    def declare_where_needed(self, instruction: Instruction, all_of_file: t.Sequence[Instruction]) -> None:
        """A plain value matters only where a FROM has a variable."""
        if self._evaluates is None:
            self._evaluates = any("$" in each.text for each in all_of_file if each.keyword == "FROM")
        if self._evaluates or not _PLAIN_VALUE.fullmatch(instruction.text):
            self.declare(instruction)

    def declare(self, instruction: Instruction) -> None:
        for word in WORD[self._escape].finditer(instruction.text):
            name, equals, value = word.group().partition("=")
            self._gapped.pop(name, None)
            if name in self._given:
                self._values[name] = self._given[name]
            elif equals:
                origin = instruction.origin[word.start() + len(name) + 1 : word.end()]
                try:
                    self._values[name] = written(value, origin) if _LITERAL.fullmatch(value) else self._expanded(name, written(value, origin))
                except ShellError as error:
                    raise _rejected(instruction, f"ARG {name}", str(error)) from error
                if value:
                    self.written.setdefault(name, []).append(Argument(origin[0], origin[-1] + 1))

    def _expanded(self, name: str, word: Text) -> Text:
        sources: t.Set[str] = set()

        def look(other: str) -> t.Optional[Text]:
            sources.update({other}, self.sources.get(other, ()))
            return self.look(other)

        value, empty, unset = expand(word, self._escape, look)
        self.sources[name] = sources
        if empty or unset or sources & self._gapped.keys():
            self._gapped[name] = expand(word, self._escape, self.look_with_gaps, unset_is_unknown=True)[0]
        return value


def _place(reference: Reference) -> int:
    return reference.at


def _plain(kind: str, text: str, origin: t.Sequence[int], at: int, stages: t.AbstractSet[str], problem: str = "") -> Reference:
    return Reference(kind, text, origin, text, origin, at, stages, problem=problem)


def evaluated(
    kind: str, text: str, origin: t.Sequence[int], at: int, stages: t.AbstractSet[str], escape: str, look: Look, with_gaps: t.Optional[Look] = None
) -> Reference:
    """``with_gaps``: where without the missing values no image name comes out, what is known of it."""
    word = written(text, origin)
    try:
        value, empty, unset = expand(word, escape, look)
        if (unset or with_gaps) and not _is_image_name(value.text):
            value, empty, unset = expand(word, escape, with_gaps or look, unset_is_unknown=True)
    except ShellError as error:
        return _plain(kind, text, origin, at, stages, str(error))
    return Reference(kind, value.text, value.origin, text, origin, at, stages, value.own, empty)


def _from(instruction: Instruction, escape: str, arguments: _Arguments, stages: t.AbstractSet[str]) -> t.Tuple[t.Optional[Reference], str]:
    """The image, None for a stage or scratch; and the name of the stage that begins here."""
    if instruction.flags and (len(instruction.flags) > 1 or not instruction.flags[0].text.startswith("--platform=")):
        raise Rejected(instruction.at, "FROM takes one flag, --platform")
    text, stage = _image_and_stage(instruction)
    origin = instruction.origin[: len(text)]
    if "$" in text or "'" in text or '"' in text or escape in text:
        reference = evaluated("from", text, origin, instruction.at, stages, escape, arguments.look, arguments.look_with_gaps)
        if reference.problem:
            raise _rejected(instruction, text, reference.problem)
    else:
        reference = Reference("from", text, origin, text, origin, instruction.at, stages)
    return (None if reference.value == "scratch" or reference.value in stages else reference), stage


def _rejected(instruction: Instruction, what: str, problem: str) -> Rejected:
    return (Ambiguous if problem in BEYOND_US else Rejected)(instruction.at, f"{what[:40]} cannot be evaluated ({problem})")


def _image_and_stage(instruction: Instruction) -> t.Tuple[str, str]:
    match = _SIMPLE_FROM.fullmatch(instruction.text)
    if match:
        return match.group(1), match.group(2) or ""
    words = _BLANK.split(instruction.text)
    if not words[0] or len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
        raise Rejected(instruction.at, "FROM takes an image, or an image AS a name")
    stage = words[2].lower() if len(words) == 3 else ""
    if stage and not _STAGE_NAME.fullmatch(stage):
        raise Rejected(instruction.at, f"{words[2]} is not a valid stage name")
    return words[0], stage


def _is_image_name(value: str) -> bool:
    try:
        parse(value)
    except InvalidImageName:
        return False
    return True


def _copied(instruction: Instruction, stages: t.AbstractSet[str]) -> t.Iterator[Reference]:
    for text, origin in instruction.flags:
        value = text[7:]
        if not text.startswith("--from=") or not value or _is_no_image(value, stages):
            continue
        yield _plain("copy", value, origin[7:], instruction.at, stages, _inner_problem(value, instruction))


def _is_no_image(value: str, stages: t.Container[str]) -> bool:
    """Behind COPY --from."""
    return value.lower() in stages or value == "scratch" or NUMBER.fullmatch(value) is not None


def _mounted(instruction: Instruction, stages: t.AbstractSet[str]) -> t.Iterator[Reference]:
    for flag in instruction.flags:
        if not flag.text.startswith("--mount="):
            continue
        value = ""
        origin: t.Sequence[int] = ()
        for field in _csv(flag, len("--mount=")):
            key, equals, named = field.text.partition("=")
            if equals and key.lower() == "from":
                value, origin = named, field.origin[len(key) + 1 :]
        if value and value != "scratch" and value.lower() not in stages:
            yield _plain("mount", value, origin, instruction.at, stages, _inner_problem(value, instruction))


def _inner_problem(value: str, instruction: Instruction) -> str:
    if "$" in value and not instruction.onbuild:
        raise Rejected(instruction.at, f"{instruction.keyword} has a variable in from, which BuildKit does not expand; name a stage that is FROM it")
    if "$" in value:
        return "BuildKit expands no variable here; write the image itself, or FROM it as a stage and name the stage"
    if instruction.onbuild and _STAGE_NAME.fullmatch(value.lower()):
        return "after ONBUILD this may be a stage of the next build; write the image with its tag if it is not"
    return ""


def _csv(flag: Flag, at: int) -> t.Iterator[Flag]:
    """Fields of one CSV line; a field in double quotes may hold commas, and a doubled quote is one."""
    text, origin = flag
    size = len(text)
    while at <= size:
        places: t.List[int] = []
        quoted = text.startswith('"', at)
        at += quoted
        while at < size and (quoted or text[at] != ","):
            if quoted and text[at] == '"':
                if not text.startswith('""', at):
                    quoted = False
                    at += 1
                    continue
                at += 1
            places.append(at)
            at += 1
        at += 1
        yield Flag("".join([text[place] for place in places]), [origin[place] for place in places])
