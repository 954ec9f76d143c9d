# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The nodes of a YAML file as compose reads it, with the position of each character of a scalar.

PyYAML is imported for the first file, because the host needs it only then.
"""

from __future__ import annotations

import bisect
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused

_BOM = "\ufeff"
NULL, _MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")  # the parser's marks include anchor and tag
_NOT_ALLOWED = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_DEEPEST = 100  # libyaml accepts any depth until the stack of the process is full
_INDENTED = re.compile(rf"^[ ?:-]{{{_DEEPEST}}}", re.MULTILINE)

Node = t.Any  # PyYAML has no types


class Unreadable(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class Scalar(t.NamedTuple):
    """The value of a scalar, and the position of each of its characters in the text."""

    value: str
    origin: t.Sequence[int]

    def behind(self, start: int) -> Scalar:
        return Scalar(self.value[start:], self.origin[start:])


class Item(t.NamedTuple):
    """NAME: VALUE of a mapping, or NAME=VALUE of a list; without a scalar if it has no value, or none that can be edited."""

    name: str
    node: Node
    scalar: t.Optional[Scalar]


class Yaml:
    def __init__(self, text: str) -> None:
        self.text = text
        self._ends = [match.start() for match in re.finditer("\n", text)]
        self._entries: t.Dict[int, t.Dict[str, Node]] = {}
        self._known: t.Set[int] = set()
        self._around: t.Set[int] = set()
        odd = _NOT_ALLOWED.search(text, text.startswith(_BOM))
        if odd:
            raise Unreadable(self.line(odd.start()), f"YAML does not allow the character U+{ord(odd.group()):04X}; remove it")
        self.roots = _parsed(text)
        for root in self.roots:
            self._check(root)

    def line(self, at: int) -> int:
        return bisect.bisect_left(self._ends, at) + 1

    def entries(self, node: Node) -> t.Dict[str, Node]:
        """A mapping with its merge keys (<<) resolved: its own keys come before merged ones, and earlier merges before later ones."""
        if not is_map(node):
            return {}
        if id(node) not in self._entries:
            own = {str(name.value): value for name, value in node.value if name.tag != _MERGE}
            merged = [base for name, value in node.value if name.tag == _MERGE for base in (value.value if value.id == "sequence" else [value])]
            self._entries[id(node)] = {**{key: value for base in reversed(merged) for key, value in self.entries(base).items()}, **own}
        return self._entries[id(node)]

    def entry(self, node: Node, key: str) -> Node:
        return self.entries(node).get(key)

    def word(self, node: Node, key: str) -> str:
        value = self.entry(node, key)
        return str(value.value) if value is not None and value.id == "scalar" and not is_null(value) else ""

    def scalars(self) -> t.Iterator[Node]:
        """Every scalar of the file once, names too."""
        return (node for node in self._nodes() if node.id == "scalar")

    def pairs(self) -> t.Iterator[t.Tuple[str, Node]]:
        """NAME: VALUE wherever it stands."""
        return ((str(name.value), value) for node in self._nodes() if is_map(node) for name, value in node.value)

    def _nodes(self) -> t.Iterator[Node]:
        waiting, seen = list(self.roots), set()
        while waiting:
            node = waiting.pop()
            if id(node) not in seen:
                seen.add(id(node))
                yield node
                waiting += [] if node.id == "scalar" else [part for pair in node.value for part in pair] if is_map(node) else node.value

    def items(self, node: Node) -> t.Iterator[Item]:
        for name, value in self.entries(node).items():
            yield Item(name, value, None if value.id != "scalar" or is_null(value) else self.scalar(value))
        for item in node.value if node is not None and node.id == "sequence" else ():
            scalar = self.scalar(item) if item.id == "scalar" else None
            if scalar:
                name, equals, _rest = scalar.value.partition("=")
                yield Item(name, item, scalar.behind(len(name) + 1) if equals else None)

    def scalar(self, node: Node) -> t.Optional[Scalar]:
        """None if the text is not the value itself (escapes, several lines)."""
        start, end = node.start_mark.index, node.end_mark.index
        properties = _PROPERTIES.match(self.text, start, end)
        start = properties.end() if properties else start
        if node.style in ("'", '"'):
            start, end = start + 1, end - 1
        return Scalar(node.value, range(start, end)) if self.text[start:end] == node.value else None

    def block(self, node: Node) -> t.Optional[Scalar]:
        """A literal block, line by line, without its indentation."""
        start = self.text.find("\n", node.start_mark.index) + 1
        lines = self.text[start : node.end_mark.index].splitlines(keepends=True)
        indent = _first_indent(lines) - _first_indent(str(node.value).splitlines())
        value = ""
        origin: t.List[int] = []
        at = start
        for line in lines:
            kept = line[indent:].rstrip("\r\n") + "\n"
            value += kept
            origin += range(at + min(indent, len(line)), at + min(indent, len(line)) + len(kept) - 1)
            origin.append(at + len(line) - 1)
            at += len(line)
        size = len(node.value)
        return Scalar(node.value, origin[:size]) if value[:size] == node.value else None

    def _check(self, node: Node) -> None:
        """What the parser accepts but compose rejects."""
        if id(node) in self._around:
            raise Unreadable(node.start_mark.line + 1, "an anchor contains itself")
        if node.id == "scalar" or id(node) in self._known:
            return
        self._known.add(id(node))
        self._around.add(id(node))
        names: t.Set[str] = set()
        for name, value in node.value if is_map(node) else [(None, value) for value in node.value]:
            if name is not None and name.id == "scalar":
                if name.value in names:
                    raise Unreadable(name.start_mark.line + 1, f"the key {name.value} is defined twice in one mapping; remove one")
                names.add(name.value)
            self._check(value)
        self._around.discard(id(node))
        self.entries(node)  # merged nodes were visited already, so this does not recurse further


def is_map(node: Node) -> bool:
    return node is not None and node.id == "mapping"


def is_null(node: Node) -> bool:
    return node.id == "scalar" and node.tag in (NULL, "!reset")


def is_text(node: Node) -> bool:
    """A text, or a value that is not one; numbers and null name no image, and compose's tags (!override) come before any value."""
    return node.id != "scalar" or node.tag == "tag:yaml.org,2002:str" or (node.tag.startswith("!") and not is_null(node))


def _first_indent(lines: t.Iterable[str]) -> int:
    return next((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), 0)


def _parsed(text: str) -> t.List[Node]:
    try:
        import yaml
    except ImportError as error:
        raise Refused("Compose files need PyYAML on the host: install python3-yaml there, or remove compose from kinds.") from error
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = " " + text[1:] if text.startswith(_BOM) else text
    try:
        if text.count("[") + text.count("{") > _DEEPEST or _INDENTED.search(text):
            _refuse_depth(yaml.parse(text, Loader=loader))
        return list(yaml.compose_all(text, Loader=loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise Unreadable(mark.line + 1 if mark else 1, str(getattr(error, "problem", None) or "it is not YAML")) from error


def _refuse_depth(events: t.Iterable[t.Any]) -> None:
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith(("MappingStartEvent", "SequenceStartEvent")) - name.endswith(("MappingEndEvent", "SequenceEndEvent"))
        if depth > _DEEPEST:
            raise Unreadable(event.start_mark.line + 1, "it is nested too deeply")
