# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""daemon.json, edited key by key; every other byte is unchanged."""

from __future__ import annotations

import functools
import json
import re
import typing as t

BOM = "\ufeff"
_HALF_A_PAIR = re.compile(r"\\u[dD][89a-fA-F]")
_DEEPEST = 100

_BLANKS = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![0-9A-Za-z.+-])")
_WORD = re.compile(r"(?:true|false|null)(?![0-9A-Za-z_])")
# Characters that input methods and word processors insert in place of JSON's.
_LOOKALIKES = {
    **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u2018\u2019\u201b", ("a typographic quote", '"')),
    **dict.fromkeys("\uff02\uff07", ("a fullwidth quote", '"')),
    **dict.fromkeys("\u300c\u300d\u300e\u300f", ("a corner bracket used as a quote", '"')),
    "\uff0c": ("a fullwidth comma", ","),
    "\u3001": ("an ideographic comma", ","),
    "\uff1a": ("a fullwidth colon", ":"),
    **{wide: ("a fullwidth bracket", plain) for wide, plain in zip("\uff5b\uff5d\uff3b\uff3d\u3010\u3011", "{}[][]")},
    "\u3000": ("an ideographic space", " "),
    "\u00a0": ("a no-break space", " "),
    **dict.fromkeys("\u2002\u2003\u2009\u202f", ("a typographic blank", " ")),
    **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", ("an invisible character", "")),
}
_QUOTES = re.compile(f"[{''.join(char for char, (_name, plain) in _LOOKALIKES.items() if plain == chr(34))}]")


class NotJson(ValueError):
    """The file is not a JSON object that the engine reads; the message names file, line, column and fix."""


class Node(t.NamedTuple):
    """A value and its position, text[start:end]; members of an object in their order."""

    start: int
    end: int
    kind: str
    members: t.Tuple[t.Tuple[str, int, Node], ...] = ()  # key, position of its quote, value

    def member(self, key: str) -> t.Optional[Node]:
        return next((value for name, _start, value in self.members if name == key), None)


class Document:
    """The text of a JSON object with the position of every value."""

    def __init__(self, contents: bytes, path: str) -> None:
        self._path = path
        self._all = _decoded(contents, path)
        self.text = self._all.lstrip(BOM)
        self.bom = self._all[: len(self._all) - len(self.text)]
        alone = self.text.strip(" \t\r\n")
        self.empty = not alone  # 26 reads an empty file as {}, 20.10 does not start with it
        if alone in ("", "null"):  # every engine reads null as {}
            self.root: t.Optional[Node] = None
            self.value: t.Dict[str, t.Any] = {}
            return
        start = self._blanks(0)
        if self.text[start] != "{":
            raise self._error(start, "the file is not a JSON object. It must begin with '{' and end with '}'")
        self.root = self._value(start, 0)
        rest = self._blanks(self.root.end)
        if rest < len(self.text):
            raise self._error(rest, "there is text after the last '}'. Remove it")
        self.value = _value_of(self.text)

    def line(self, *keys: str) -> int:
        """The line of the key, counted from 1."""
        return self.text.count("\n", 0, self._start(keys)) + 1

    def place(self, *keys: str) -> str:
        """File, line and column of the key."""
        return f"{self._path}, {_place(self.text, self._start(keys))}"

    def _start(self, keys: t.Sequence[str]) -> int:
        node, place = self.root, 0
        for key in keys:
            for name, start, value in node.members if node else ():
                if name == key:
                    node, place = value, start
        return place

    def _error(self, place: int, why: str) -> NotJson:
        char = self.text[place : place + 1]
        if char in _LOOKALIKES:
            name, plain = _LOOKALIKES[char]
            mend = {"": "Remove it", " ": "Write an ordinary space"}.get(plain, f"Write {plain}")
            why = f"{name} (U+{ord(char):04X}), which JSON does not allow. {mend}"
        return NotJson(f"{self._path}, {_place(self.text, place)}: {why}.")

    def _unclosed(self, place: int, otherwise: int) -> int:
        """Where a string that begins here should have ended: at a different quote on its line."""
        quote = _QUOTES.search(self.text[place:].partition("\n")[0])
        return place + quote.start() if quote and self.text[place] == '"' else otherwise

    def _blanks(self, place: int) -> int:
        match = _BLANKS.match(self.text, place)
        return match.end() if match else place

    def _value(self, place: int, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self._error(place, f"values are nested more than {_DEEPEST} deep, and no setting of Docker is. Simplify it")
        first = self.text[place : place + 1]
        if first == "{":
            return self._object(place, depth)
        if first == "[":
            return self._array(place, depth)
        for kind, shape in (("string", _STRING), ("number", _NUMBER), ("word", _WORD)):
            match = shape.match(self.text, place)
            if match:
                return Node(place, match.end(), kind)
        raise self._error(self._unclosed(place, place), self._trouble(place))

    def _object(self, place: int, depth: int) -> Node:
        members: t.List[t.Tuple[str, int, Node]] = []
        here = self._blanks(place + 1)
        if self.text[here : here + 1] == "}":
            return Node(place, here + 1, "object")
        while True:
            match = _STRING.match(self.text, here)
            if not match:
                raise self._error(self._unclosed(here, here), self._trouble(here, key=True))
            key = _value_of(match.group())
            if any(key == name for name, _start, _value in members):
                raise self._error(here, f"the key {key!r} is in one object twice; Docker uses the last one. Remove one of them")
            colon = self._blanks(match.end())
            if self.text[colon : colon + 1] != ":":
                why = f"a ':' is missing after the key {key!r}" if colon < len(self.text) else self._trouble(colon)
                raise self._error(self._unclosed(here, colon), why)
            value = self._value(self._blanks(colon + 1), depth + 1)
            members.append((key, here, value))
            here = self._blanks(value.end)
            if self.text[here : here + 1] == "}":
                return Node(place, here + 1, "object", tuple(members))
            here = self._comma(here, "}")

    def _array(self, place: int, depth: int) -> Node:
        here = self._blanks(place + 1)
        if self.text[here : here + 1] == "]":
            return Node(place, here + 1, "array")
        while True:
            here = self._blanks(self._value(here, depth + 1).end)
            if self.text[here : here + 1] == "]":
                return Node(place, here + 1, "array")
            here = self._comma(here, "]")

    def _comma(self, place: int, closing: str) -> int:
        if self.text[place : place + 1] != ",":
            raise self._error(place, self._trouble(place) if place >= len(self.text) or self.text[place] in "/#" else f"a ',' or '{closing}' is missing")
        after = self._blanks(place + 1)
        if self.text[after : after + 1] == closing:
            raise self._error(place, f"a ',' is before the closing '{closing}', which JSON does not allow. Remove the ','")
        return after

    def _trouble(self, place: int, key: bool = False) -> str:
        rest = self.text[place : place + 20]
        if not rest:
            return "the file ends in the middle of a value: it is cut off. Complete it, or restore a backup"
        if rest[0] in "/#":
            return "a comment, which JSON does not allow. Remove it"
        if rest[0] == "'":
            return "a single quote. JSON needs double quotes"
        if rest[0] == '"':
            return "a string that does not end on its line, or has a wrong '\\' in it. Close it with '\"' and write a '\\' as '\\\\'"
        if key:
            return "a key in double quotes is missing"
        # Only a word that cannot be part of a password is repeated.
        word = re.match(r"-?(?:NaN|Infinity|True|False|None|undefined)\b", rest)
        what = repr(word.group()) if word else "this"
        return f"{what} is not a JSON value; strings need double quotes"


def _value_of(text: str) -> t.Any:
    # Python does not convert integers of thousands of digits; none of ours is one.
    value = json.loads(text, parse_int=lambda digits: int(digits) if len(digits) < 20 else float(digits))
    if _HALF_A_PAIR.search(text):  # Docker reads these as U+FFFD, and they cannot be written to a file
        value = json.loads(json.dumps(value, ensure_ascii=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return value


def _decoded(contents: bytes, path: str) -> str:
    if contents[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\x00" in contents[:4]:
        raise NotJson(f"{path}, line 1, column 1: the file is written in UTF-16 or UTF-32. Save it as UTF-8.")
    try:
        text = contents.decode("utf-8")
        bad = text.find("\x00")
    except UnicodeDecodeError as error:
        text, bad = contents[: error.start].decode("utf-8"), error.start
    if bad >= 0:
        raise NotJson(f"{path}, {_place(text, bad)}: a byte that is not UTF-8 text: the file is binary or in another encoding. Save it as UTF-8.")
    return text


def _place(text: str, at: int) -> str:
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - text.rfind(chr(10), 0, at)}"


@functools.lru_cache(maxsize=8)
def parsed(contents: bytes, path: str) -> Document:
    """Parse each text of a file once; callers do not change a document's value."""
    return Document(contents, path)


# --- edits ----------------------------------------------------------------------------------------


def put(contents: bytes, path: str, keys: t.Sequence[str], value: t.Any) -> bytes:
    """The file with one key set (missing objects on its path are added); unchanged if it already has the value."""
    document = parsed(contents, path)
    newline = "\r\n" if "\r\n" in document.text else "\n"
    if document.root is None:
        return (document.bom + json.dumps(_nested(keys, value), indent=2, ensure_ascii=False) + "\n").replace("\n", newline).encode()
    node, depth = document.root, 0
    child = node.member(keys[0])
    while child is not None and child.kind == "object" and depth < len(keys) - 1:
        node, depth = child, depth + 1
        child = node.member(keys[depth])
    value = _nested(keys[depth + 1 :], value)
    if child is not None and _value_of(document.text[child.start : child.end]) == value:
        return contents
    return _insert(document, node, depth, keys[depth], value, child, newline)


def drop(contents: bytes, path: str, keys: t.Sequence[str]) -> bytes:
    """The file without the key; unchanged if the key is missing."""
    document = parsed(contents, path)
    node = document.root
    for key in keys[:-1]:
        node = node.member(key) if node else None
    names = [name for name, _start, _value in node.members] if node else []
    if node is None or keys[-1] not in names:
        return contents
    at = names.index(keys[-1])
    if at > 0:
        start, end = node.members[at - 1][2].end, node.members[at][2].end
    elif len(names) > 1:
        start, end = node.members[0][1], node.members[1][1]
    else:
        start, end = node.start + 1, node.end - 1
    return (document.bom + document.text[:start] + document.text[end:]).encode()


def _nested(keys: t.Sequence[str], value: t.Any) -> t.Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def _insert(document: Document, node: Node, depth: int, key: str, value: t.Any, old: t.Optional[Node], newline: str) -> bytes:
    """Replace the old value, or add a member after the last one, in the style of the file."""
    text = document.text
    unit = _unit(document)
    one_line = unit is None
    own = "" if unit is None else unit * (depth + 1)
    written = json.dumps(value, ensure_ascii=False, indent=unit)
    if not one_line:
        written = written.replace("\n", newline + own)
    if old is not None:
        return (document.bom + text[: old.start] + written + text[old.end :]).encode()
    member = f"{json.dumps(key, ensure_ascii=False)}: {written}"
    if node.members:
        place = node.members[-1][2].end
        before = text[node.start + 1 : node.members[0][1]]
        gap = before if len(node.members) == 1 or not before.strip(" ") else _gap(text, node)
        if one_line and not gap:
            gap = " " if ", " in text or len(node.members) == 1 else ""
        added = "," + gap + member
    else:
        place = node.start + 1
        closing = text[place : node.end - 1]
        edge = "" if one_line else newline
        added = edge + own + member + (edge + own[: -len(unit)] if unit else "")
        return (document.bom + text[:place] + added + text[place + len(closing) :]).encode()
    return (document.bom + text[:place] + added + text[place:]).encode()


def _gap(text: str, node: Node) -> str:
    """The whitespace between a comma and the next key, as in this object."""
    return text[node.members[-2][2].end : node.members[-1][1]].partition(",")[2]


def _unit(document: Document) -> t.Optional[str]:
    """One level of the file's indentation; None for a file on one line."""
    root = document.root
    if root is None or not root.members:
        return "  " if root is None or "\n" in document.text.strip() or len(document.text.strip()) <= 4 else None
    blanks = document.text[root.start + 1 : root.members[0][1]]
    return blanks.rpartition("\n")[2] or "  " if "\n" in blanks else None
