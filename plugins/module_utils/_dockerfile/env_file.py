# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file .env beside compose files: the values that it gives, where each character stands, and which edits are safe.

As compose reads it (compose-spec/compose-go dotenv). Places are those of the bytes, which latin-1 keeps.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.references import build_arg_positions
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import Change, Edit, Rewrite, line_of, spliced
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.shell import UNKNOWN, Look, ShellError, Text, expand, written

NAME = ".env"
_BOM = "\xef\xbb\xbf"
_ENTRY = re.compile(
    r"^[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*[=:][ \t]*(?:'([^']*)'|\"((?:[^\"\\]|\\[\s\S])*)\"|((?![ \t]*['\"])[^\r\n]*))", re.ASCII | re.MULTILINE
)
_COMMENT = re.compile(r"(?:^|[ \t])#.*", re.DOTALL)
_MENTION = re.compile(r"\$\$|\$\{?([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_BEYOND = re.compile(r"['\"\\]|\$\(")  # compose evaluates these by its own rules

Edits = t.Tuple[t.Tuple[str, Edit], ...]  # each with the path of its file
_NOT_EVALUATED = written("x", [UNKNOWN])
_ZONE = 1 << 40  # the places of each file are counted from a multiple of it, beyond those of any compose file


class EnvUse(t.NamedTuple):
    """A text of a compose file that uses variables, and the edits that would rewrite its image."""

    line: int
    names: t.Sequence[t.Tuple[str, str]]  # of variables, each with the path of the file that gives it
    edits: Edits = ()


class _Definition(t.NamedTuple):
    name: str
    start: int
    end: int


def mentioned(text: str) -> t.List[str]:
    """The variables in a text of a compose file, repeated ones included."""
    return [name for name in _MENTION.findall(text) if name]


class Env:
    """The files .env of a compose file; what an earlier one gives comes before what a later one does, as of a project that includes another."""

    def __init__(self, files: t.Sequence[EnvFile] = ()) -> None:
        self._files = files
        self._home = {name: at for at in range(len(files) - 1, -1, -1) for name in files[at].names()}
        self.given = {name: files[at].spelling(name) for name, at in self._home.items()}  # values as they are written

    def look(self, name: str) -> t.Optional[Text]:
        """A value whose places are in the zone of its file."""
        if name not in self._home:
            return None
        at = self._home[name]
        value = self._files[at].value(name)
        return written(value.text, [place + (at + 1) * _ZONE if place >= 0 else place for place in value.origin])

    def look_behind(self, size: int) -> Look:
        """Values whose places are those of ``given`` behind the end of a file of this size (build_arg_positions)."""
        bases = {name: text.origin[0] for name, text in build_arg_positions(size, self.given).items() if text.text}

        def look(name: str) -> t.Optional[Text]:
            value = self.look(name)
            return value and written(value.text, [self._behind(place, bases) for place in value.origin])

        return look

    def _behind(self, place: int, bases: t.Mapping[str, int]) -> int:
        if place < 0:
            return place
        file = self._files[place // _ZONE - 1]
        name, start = file.defined_at(place % _ZONE)
        return place % _ZONE - start + bases[name]

    def defined(self, names: t.Iterable[str]) -> t.List[t.Tuple[str, str]]:
        return [(self._files[self._home[name]].path, name) for name in names if name in self._home]

    def every(self) -> t.List[t.Tuple[str, str]]:
        return self.defined(self._home)

    def edits(self, edits: t.Iterable[Edit]) -> Edits:
        """Edits of places in the zones."""
        return tuple((self._files[edit.start // _ZONE - 1].path, Edit(edit.start % _ZONE, edit.end % _ZONE, edit.text)) for edit in edits)

    def edits_of(self, given: t.Mapping[str, t.Sequence[Edit]]) -> Edits:
        """Edits of values, by the names of the variables."""
        placed = []
        for name, edits in given.items():
            file = self._files[self._home[name]]
            placed += [(file.path, Edit(edit.start + file.start(name), edit.end + file.start(name), edit.text)) for edit in edits]
        return tuple(placed)

    def unevaluated(self, names: t.Iterable[str]) -> str:
        """The reason if one of these variables has an unknown value."""
        name = next((name for name in names if name in self._home and UNKNOWN in self._files[self._home[name]].value(name).origin), "")
        return name and f".env sets {name} to {self.given[name]}, which is not evaluated here; write the mirror's name there"

    def not_edited(self, edits: Edits) -> str:
        """The reason against edits of a file that this run does not write."""
        name = next((name for file in self._files for name in file.defined_by(edits)), "")
        return f".env sets {name} to {self.given[name]}; write the mirror's name there"


def is_in_env(place: int) -> bool:
    """Whether a place belongs to these files, and not to the compose file."""
    return place >= _ZONE


class EnvFile:
    def __init__(self, data: bytes, path: str = NAME) -> None:
        self.path = path
        self.text = data.decode("latin-1")
        self._data = data
        self._values: t.Dict[str, Text] = {}
        self._definitions: t.Dict[str, _Definition] = {}  # the last one counts
        self._within: t.Dict[str, t.Set[str]] = {}  # of each variable those in its value, and in theirs
        text = self.text.replace(_BOM, " " * len(_BOM), 1) if self.text.startswith(_BOM) else self.text
        for entry in _ENTRY.finditer(text):
            self._define(entry)

    def names(self) -> t.List[str]:
        return list(self._values)

    def value(self, name: str) -> Text:
        return self._values[name]

    def spelling(self, name: str) -> str:
        """The value as it is written."""
        return self.text[self._definitions[name].start : self._definitions[name].end]

    def start(self, name: str) -> int:
        return self._definitions[name].start

    def defined_at(self, place: int) -> t.Tuple[str, int]:
        """The variable in whose value a place is, and where that begins."""
        return next((definition.name, definition.start) for definition in self._definitions.values() if definition.start <= place < definition.end)

    def defined_by(self, edits: Edits) -> t.List[str]:
        """The variables whose values these edits change."""
        mine = [edit for path, edit in edits if path == self.path]
        return [definition.name for definition in self._definitions.values() if any(definition.start <= edit.start <= definition.end for edit in mine)]

    def verdicts(self, uses: t.Sequence[t.Tuple[str, EnvUse]]) -> t.Dict[Edits, str]:
        """Whether each edit that the uses ask for changes nothing else: no reason, or the one against it."""
        return {use.edits: self._objection(use.edits, uses) for _file, use in uses if self.defined_by(use.edits)}

    def rewritten(self, verdicts: t.Mapping[Edits, str]) -> Rewrite:
        edits = sorted({edit for each, reason in verdicts.items() if not reason for _path, edit in each})
        changes = []
        for defined in sorted(self._definitions.values(), key=lambda defined: defined.start):
            mine = [edit for edit in edits if defined.start <= edit.start <= defined.end]
            if mine:
                before = self.text[defined.start : defined.end]
                changes.append(Change(line_of(self._data, defined.start), "compose", before, spliced(before, mine, defined.start)))
        return Rewrite(spliced(self.text, edits).encode("latin-1"), changes, [], edits)

    def _define(self, match: t.Match[str]) -> None:
        name = match[1]
        group = next((number for number in (2, 3) if match[number] is not None), 4)
        start, end = match.span(group)
        if group == 4:
            end = start + len(_COMMENT.sub("", match[4]).rstrip())
        value = self.text[start:end]
        names = mentioned(value) if group != 2 else []
        self._within[name] = {each for other in names for each in (other, *self._within.get(other, ()))}
        self._values[name] = self._evaluated(value, start, is_literal=group == 2)
        if name in self._definitions:  # the line before gives nothing but parts of these
            self._values.update({other: _NOT_EVALUATED for other, within in self._within.items() if name in within})
        self._definitions[name] = _Definition(name, start, end)

    def _evaluated(self, value: str, start: int, is_literal: bool) -> Text:
        word = written(value, range(start, start + len(value)))
        if is_literal or not re.search(r"[$\\]", value):
            return word
        if _BEYOND.search(value):
            return _NOT_EVALUATED
        try:
            evaluated, _empty, unset = expand(word, "\0", self._values.get)
        except ShellError:
            return _NOT_EVALUATED
        return _NOT_EVALUATED if unset else evaluated

    def _objection(self, edits: Edits, uses: t.Sequence[t.Tuple[str, EnvUse]]) -> str:
        names = self.defined_by(edits)
        if len(names) != 1 or any(path != self.path for path, _edit in edits):
            return "its registry is written in two places of .env; write it in one"
        name = names[0]
        affected = {(self.path, other) for other, within in self._within.items() if name == other or name in within}
        for file, use in uses:
            times = sum(each in affected for each in use.names)
            if times > 1 or (times and use.edits != edits):
                gives, where = f".env sets {name} to {self.spelling(name)}", f"line {use.line} of {file}"
                if times == 1 and use.edits and use.edits != edits:
                    return f"{gives}, and {where} needs a different value; write official images with library/ where {name} is used"
                return f"{gives}, and {where} uses {name} in another way; use a separate variable for the image"
        return ""


def read_env(paths: t.Iterable[str], contents_of: t.Callable[[str], t.Optional[bytes]], instead: t.Optional[EnvFile] = None) -> Env:
    return Env([instead if instead and instead.path == path else EnvFile(contents_of(path) or b"", path) for path in paths])
