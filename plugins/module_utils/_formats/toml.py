# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reader for TOML 1.0 (toml.io): the Python of many hosts has none.

A date is read as its text. Infinity and NaN are not supported: no file of Docker or a CI runner contains them.
"""

from __future__ import annotations

import re
import typing as t

_BLANKS = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t]|\r?\n|#[^\x00-\x08\x0a-\x1f\x7f]*(?=\r?\n|\Z))*")  # values of an array may be on lines of their own
_LINE_END = re.compile(r"[ \t]*(?:#[^\x00-\x08\x0a-\x1f\x7f]*?)?(?:\r?\n|\Z)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LITERAL = re.compile(r"'([^'\x00-\x08\x0a-\x1f\x7f]*)'")
_BASIC = re.compile(r'"((?:[^"\\\x00-\x08\x0a-\x1f\x7f]|\\.)*)"')
_TEXT = r"[^\\\x00-\x08\x0b-\x1f\x7f]|\r\n"  # of a string over several lines
_LONG = re.compile(rf"'''(?:\r?\n)?((?:{_TEXT}|\\)*?'{{0,2}})'''|\"\"\"(?:\r?\n)?((?:{_TEXT}|\\\r\n|\\[^\r])*?\"{{0,2}})\"\"\"", re.S)
_ESCAPE = re.compile(r"\\(?:([btnfr\"\\])|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([ \t]*\r?\n(?:[ \t]|\r?\n)*)|(.?))", re.S)
_NAMED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_WORD = re.compile(r"[^\s,\]}#]+")
_INTEGER = re.compile(r"(?:[+-]?(?:0|[1-9](?:_?[0-9])*)|0x[0-9a-fA-F](?:_?[0-9a-fA-F])*|0o[0-7](?:_?[0-7])*|0b[01](?:_?[01])*)\Z")
_FLOAT = re.compile(r"[+-]?(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?\Z")
_TIME = r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?"
_DATE = re.compile(rf"\d{{4}}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:[Tt ]{_TIME}(?:[Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)?)?|{_TIME}")

_DEEPEST = 100
_LONGEST_INTEGER = 100  # characters; Python limits those that it reads, and TOML has 64 bits

Table = t.Dict[str, t.Any]
Span = t.Tuple[int, int]


class NotToml(ValueError):
    """The file is not valid TOML; the message names file, line, column and fix."""


class Header(t.NamedTuple):
    """A line such as [host."https://mirror.example.com"]."""

    keys: t.Tuple[str, ...]
    line: int  # from 1
    start: int  # the offset of its line


class Pair(t.NamedTuple):
    """A line such as capabilities = ["pull"], and where its value is."""

    header: int  # the number of headers above it
    keys: t.Tuple[str, ...]
    start: int
    value: t.Any
    span: Span
    items: t.Tuple[Span, ...]  # of an array


class Document(t.NamedTuple):
    value: Table
    headers: t.Tuple[Header, ...]
    lines: t.Mapping[t.Tuple[str, ...], int]  # the line of each key, by its path
    pairs: t.Tuple[Pair, ...]


def parse(text: str, path: str) -> Document:
    """The whole file; raises NotToml."""
    return _Reader(text, path).document()


class _Reader:
    def __init__(self, text: str, path: str) -> None:
        self._text, self._path, self._at = text, path, 0
        self._value: Table = {}
        self._headers: t.List[Header] = []
        self._lines: t.Dict[t.Tuple[str, ...], int] = {}
        self._defined: t.Set[t.Tuple[str, ...]] = set()  # tables in brackets, and those of dotted keys above the last brackets
        self._dotted: t.Set[t.Tuple[str, ...]] = set()  # those of dotted keys below them
        self._closed: t.Set[int] = set()  # ids of inline tables and of arrays written as values
        self._pairs: t.List[Pair] = []
        self._items: t.Dict[int, t.List[Span]] = {}  # by the id of their array
        self._depth = 0

    def document(self) -> Document:
        table, keys = self._value, ()  # type: t.Tuple[Table, t.Tuple[str, ...]]
        while self._at < len(self._text):
            start = self._at
            self._skip(_BLANKS)
            if self._here() == "[":
                table, keys = self._header(start)
            elif not _LINE_END.match(self._text, self._at):
                self._pairs.append(self._pair(table, keys))
            self._end_of_line()
        return Document(self._value, tuple(self._headers), self._lines, tuple(self._pairs))

    def _header(self, start: int) -> t.Tuple[Table, t.Tuple[str, ...]]:
        several = self._text.startswith("[[", self._at)
        self._at += 2 if several else 1
        keys = self._keys()
        self._expect("]]" if several else "]", "closes the name of the table")
        self._headers.append(Header(keys, self._line(start), start))
        self._lines.setdefault(keys, self._line(start))
        self._defined |= self._dotted
        self._dotted.clear()
        table = self._inside(self._value, keys[:-1], start)
        if several:
            rows = table.setdefault(keys[-1], [])
            if not isinstance(rows, list) or id(rows) in self._closed:
                raise self._error(start, f"{keys[-1]!r} has a value already. Remove one of the two")
            rows.append({})
            self._defined = {known for known in self._defined if known[: len(keys)] != keys}
            return t.cast(Table, rows[-1]), keys
        inner = table.setdefault(keys[-1], {})
        if not isinstance(inner, dict) or keys in self._defined or id(inner) in self._closed:
            raise self._error(start, f"the table {'.'.join(keys)!r} is defined twice. Merge the two")
        self._defined.add(keys)
        return inner, keys

    def _inside(self, table: Table, keys: t.Sequence[str], place: int) -> Table:
        for key in keys:
            inner = table.setdefault(key, {})
            if isinstance(inner, list) and id(inner) not in self._closed:
                inner = inner[-1]
            if not isinstance(inner, dict) or id(inner) in self._closed:
                raise self._error(place, f"{key!r} is a value, not a table. Rename one of the two")
            table = inner
        return table

    def _pair(self, table: Table, outer: t.Optional[t.Tuple[str, ...]]) -> Pair:
        """A key with its value; ``outer`` is None in an inline table."""
        place = self._at
        keys = self._keys()
        self._expect("=", f"is missing after the key {'.'.join(keys)!r}")
        self._skip(_BLANKS)
        target = self._inside(table, keys[:-1], place)
        dotted = {(*outer, *keys[:size]) for size in range(1, len(keys))} if outer is not None else set()
        if keys[-1] in target or dotted & self._defined:
            raise self._error(place, f"the key {keys[-1]!r} is defined twice. Remove one of the two")
        self._dotted |= dotted
        start = self._at
        value = target[keys[-1]] = self._read_value(len(keys))
        if outer is not None:
            self._lines[(*outer, *keys)] = self._line(place)
        return Pair(len(self._headers), keys, place, value, (start, self._at), tuple(self._items.get(id(value), ())))

    def _keys(self) -> t.Tuple[str, ...]:
        keys = []
        while True:
            self._skip(_BLANKS)
            keys.append(self._key())
            self._skip(_BLANKS)
            if self._here() != ".":
                break
            self._at += 1
        self._stop_below_the_deepest(len(keys))
        return tuple(keys)

    def _key(self) -> str:
        bare = _BARE.match(self._text, self._at)
        if bare:
            self._at = bare.end()
            return bare.group()
        if self._here() in ("'", '"'):
            return self._string()
        raise self._error(self._at, "a key is missing. Put a key with characters other than letters, digits, '_' and '-' in double quotes")

    def _stop_below_the_deepest(self, depth: int) -> None:
        if depth > _DEEPEST:
            raise self._error(self._at, f"values are nested more than {_DEEPEST} deep, and no setting of Docker is. Simplify it")

    def _read_value(self, deeper: int) -> t.Any:
        """A value that is this much deeper than what it is in."""
        self._depth += deeper
        self._stop_below_the_deepest(self._depth)
        value = self._value_here()
        self._depth -= deeper
        return value

    def _value_here(self) -> t.Any:
        first = self._here()
        if first in ("'", '"'):
            long = _LONG.match(self._text, self._at)
            if long:
                place, self._at = self._at, long.end()
                return (long[1] if long[2] is None else self._unescaped(long[2], place)).replace("\r\n", "\n")
            return self._string()
        if first == "[":
            return self._array()
        if first == "{":
            return self._inline_table()
        return self._bare_value()

    def _string(self) -> str:
        place = self._at
        literal, basic = _LITERAL.match(self._text, place), _BASIC.match(self._text, place)
        match = literal or basic
        if not match:
            raise self._error(place, f"a string does not end on its line. Close it with {self._here()}")
        self._at = match.end()
        return match[1] if literal else self._unescaped(match[1], place)

    def _unescaped(self, text: str, place: int) -> str:
        def character(match: t.Match[str]) -> str:
            if match[5] is not None:
                raise self._error(place, f"'\\\\{match[5]}' is not an escape. Write a '\\\\' as '\\\\\\\\', or put the string in single quotes")
            number = int(match[2] or match[3] or "0", 16)
            if number > 0x10FFFF or 0xD800 <= number < 0xE000:
                raise self._error(place, "an escape that is not a character. Write the character itself")
            return _NAMED[match[1]] if match[1] else "" if match[4] else chr(number)

        return _ESCAPE.sub(character, text)

    def _array(self) -> t.List[t.Any]:
        values: t.List[t.Any] = []
        self._at += 1
        while True:
            self._skip(_BETWEEN)
            if self._here() == "]":
                break
            start = self._at
            values.append(self._read_value(1))
            self._items.setdefault(id(values), []).append((start, self._at))
            self._skip(_BETWEEN)
            if self._here() != ",":
                break
            self._at += 1
        self._expect("]", "is missing after the last value of the array")
        self._closed.add(id(values))
        return values

    def _inline_table(self) -> Table:
        table: Table = {}
        self._at += 1
        self._skip(_BLANKS)
        while self._here() != "}":
            self._pair(table, None)
            self._skip(_BLANKS)
            if self._here() != ",":
                break
            self._at += 1
            self._skip(_BLANKS)
            if self._here() == "}":
                raise self._error(self._at, "there is a ',' before the closing '}', which TOML does not allow. Remove the ','")
        self._expect("}", "is missing after the last value of the inline table")
        self._close(table)
        return table

    def _close(self, value: t.Any) -> None:
        if isinstance(value, dict):
            self._closed.add(id(value))
            for inner in value.values():
                self._close(inner)

    def _bare_value(self) -> t.Any:
        date = _DATE.match(self._text, self._at)
        if date:
            self._at = date.end()
            return date.group()
        match = _WORD.match(self._text, self._at)
        word = match.group() if match else ""
        values = {"true": True, "false": False}
        if word in values:
            value: t.Any = values[word]
        elif _INTEGER.match(word):
            value = self._integer(word)
        elif _FLOAT.match(word):
            value = float(word.replace("_", ""))
        else:
            raise self._error(self._at, "this is not a TOML value. Strings need quotes; the only words are true and false")
        self._at += len(word)
        return value

    def _integer(self, word: str) -> int:
        value = int(word.replace("_", ""), 0) if len(word) < _LONGEST_INTEGER else 1 << 63
        if not -(1 << 63) <= value < 1 << 63:
            raise self._error(self._at, "an integer of TOML has 64 bits, and this one needs more. Write a smaller one")
        return value

    def _end_of_line(self) -> None:
        match = _LINE_END.match(self._text, self._at)
        if not match:
            raise self._error(self._at, "there is text after the value. Start a new line")
        self._at = match.end()

    def _expect(self, text: str, why: str) -> None:
        self._skip(_BLANKS)
        if not self._text.startswith(text, self._at):
            raise self._error(self._at, f"a '{text}' {why}" if why.startswith("is missing") else f"a '{text}' is missing, which {why}")
        self._at += len(text)

    def _skip(self, what: t.Pattern[str]) -> None:
        match = what.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _here(self) -> str:
        return self._text[self._at : self._at + 1]

    def _line(self, place: int) -> int:
        return self._text.count("\n", 0, place) + 1

    def _error(self, place: int, why: str) -> NotToml:
        column = place - self._text.rfind("\n", 0, place)
        return NotToml(f"{self._path}, line {self._line(place)}, column {column}: {why}.")
