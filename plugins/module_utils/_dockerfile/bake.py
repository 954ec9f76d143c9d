# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Dockerfiles the targets of Bake files build, with which named contexts and arguments, as buildx has it (bake/bake.go).

Of HCL no more is read than that needs. A value that is no plain text is not guessed: it counts as a template, and of templates only
${NAME} is known, where a variable of that name has a text as its default.
Only text between two quotes is edited; every other byte stays.
"""

from __future__ import annotations

import collections
import contextlib
import json
import re
import typing as t

_TEMPLATE = re.compile(r"[$%]\{")
_PART = re.compile(r"(?P<literal>(?:\$\$|%%)\{)|(?P<template>[$%]\{[^}]*\})|(?s:.)")
_SIMPLE = re.compile(r"\$\{[ \t]*([^\W\d][\w-]*)[ \t]*\}")
_NAME = re.compile(r"[^\W\d][\w-]*")
_UNKNOWN = "${}"
_INLINE = "dockerfile-inline"
_WORKING_DIRECTORY = "cwd://"
_ELSEWHERE = {"context": _UNKNOWN, "dockerfile": _UNKNOWN}  # a target that no file here declares

# How to read on in a text and around it, what opens something and how that is closed, and what closes.
_Mode = t.Tuple[t.Pattern[str], t.Mapping[str, str], str]
_TEXT: _Mode = (re.compile(r'[^"\\$%\n]+|(?:\$\$|%%)\{|[$%]\{?|\\(?:[nrt"\\]|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|"'), {"${": "}", "%{": "}"}, '"')
_GAP, _HEREDOC = r"(?P<gap>[ \t\r]+|(?:#|//).*|/\*(?s:.*?)\*/)", r"<<-?([^\W\d][\w-]*)\r?\n(?:.*\n)*?[ \t]*\2[ \t\r]*$"
_CODE: _Mode = (re.compile(rf"{_GAP}|{_HEREDOC}|\w[\w-]*|(?!/\*|<<)(?s:.)", re.MULTILINE), {"{": "}", "[": "]", "(": ")", '"': '"'}, "}])")

_Tokens = t.Sequence[str]
_Target = t.Dict[str, str]  # by name of the attribute; what is in a map or list has a name of its own: contexts.alpine, inherits.base


class Value(str):
    """A value and where it stands: the text between its quotes, where that is the value itself, or a template."""

    file = ""
    start = -1
    end = -1
    variable = ""  # whose value it is, where nothing but its name stands there

    @classmethod
    def at(cls, text: str, start: int, end: int) -> Value:
        value = cls(text)
        value.start, value.end = start, end
        return value


class Target(t.NamedTuple):
    """What bake builds: a Dockerfile (a place, or its text), which is None where it is not known, with its named contexts and arguments."""

    place: t.Optional[t.Tuple[str, str]]
    inline: t.Optional[str]
    contexts: t.Mapping[str, str]
    args: t.Mapping[str, str]


class BakeFiles(t.NamedTuple):
    targets: t.Sequence[Target]
    declared: t.Sequence[t.Tuple[str, str]]  # the name and the value of every attribute
    variables: t.Mapping[str, Value] = {}  # the defaults that are texts
    mentions: t.Mapping[str, int] = {}  # how often each name is in an expression or a template


def read_bake(files: t.Mapping[str, bytes]) -> BakeFiles:
    """The Bake files of one folder together; nothing where bake refuses them, or where nobody has written them by hand."""
    declared: t.Dict[str, _Target] = {}
    resolved: t.Dict[str, _Target] = {}
    every: t.List[t.Tuple[str, str]] = []
    variables: t.Dict[str, Value] = {}
    mentions: t.Counter[str] = collections.Counter()
    try:
        for file, data in files.items():
            parsed = _json(data.decode("utf-8")) if file.endswith(".json") else _hcl(data.decode("utf-8"))
            mentions.update(parsed.mentions)
            for name, default in parsed.variables:
                variables.pop(name, None)
                if isinstance(default, Value) and default.end > 0:
                    default.file = file
                    variables[name] = default
            for name, attributes in parsed.targets:
                for key, value in _flat(attributes):
                    value = value if isinstance(value, Value) else Value(value)
                    value.file = file
                    declared.setdefault(name, {})[key] = value
                    every.append((key, value))
                declared.setdefault(name, {})
        for key, _attribute in every:
            if key.startswith("matrix."):
                variables.pop(key[len("matrix.") :], None)
        return BakeFiles([_target(_resolved(name, declared, resolved)) for name in declared], every, variables, mentions)
    except (ValueError, AttributeError, RecursionError):
        return BakeFiles((), ())


def templates(text: str) -> t.Iterator[t.Tuple[str, int, int]]:
    """The parts of a value: the name in ${NAME}, nothing for plain text, and ? for any other template."""
    for part in _PART.finditer(text):
        name = _SIMPLE.fullmatch(part.group()) if part.lastgroup == "template" else None
        yield name[1] if name else "?" if part.lastgroup == "template" else "", part.start(), part.end()


def mentioned(text: str) -> t.List[str]:
    """The names in the templates of a text."""
    return [name for part in _PART.finditer(text) if part.lastgroup == "template" for name in _NAME.findall(part.group())]


def _target(target: _Target) -> Target:
    context, dockerfile = target.get("context", "."), target.get("dockerfile", "Dockerfile")
    inline = target.get(_INLINE)
    place = None
    if not _TEMPLATE.search(f"{context}\n{dockerfile}"):
        if dockerfile.startswith(_WORKING_DIRECTORY):
            context = "."
        place = context.replace(_WORKING_DIRECTORY, ""), dockerfile.replace(_WORKING_DIRECTORY, "")
    return Target(place, inline, _under("contexts.", target), _under("args.", target))


def _under(prefix: str, target: _Target) -> t.Dict[str, str]:
    return {key[len(prefix) :]: value for key, value in target.items() if key.startswith(prefix)}


class _File(t.NamedTuple):
    targets: t.Iterable[t.Tuple[str, t.Any]]
    variables: t.Iterable[t.Tuple[str, t.Any]]
    mentions: t.Sequence[str]


def _json(text: str) -> _File:
    """As JSON has it; with the places of values where they are to be had."""
    root = json.loads(text)
    places: t.Dict[str, t.Any] = {}
    with contextlib.suppress(ValueError, RecursionError):
        places = _placed([token for token in _tokens(text) if token != "\n"], 3)
    variables = [(name, block.get("default")) for name, block in _blocks(root, places, "variable") if isinstance(block, dict)]
    return _File(_blocks(root, places, "target"), variables, [name for value in _texts(root) for name in mentioned(value)])


def _blocks(root: t.Any, places: t.Any, kind: str) -> t.List[t.Tuple[str, t.Any]]:
    placed = places.get(kind) if isinstance(places, dict) else None
    return [(name, _with_place(block, placed.get(name) if isinstance(placed, dict) else None)) for name, block in root.get(kind, {}).items()]


def _texts(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)


def _placed(tokens: _Tokens, depth: int) -> t.Any:
    if not depth or tokens[:1] != ["{"]:
        return _value(tokens) if tokens else None
    return {part[0][1:]: _placed(part[2:], depth - 1) for part in _parts(tokens[1:-1], ",") if part[1:2] == [":"]}


def _with_place(value: t.Any, placed: t.Any) -> t.Any:
    """The value of JSON where the one with a place is the same."""
    if isinstance(value, str) and isinstance(placed, str):
        return placed if value == placed else value
    if isinstance(value, dict) and isinstance(placed, dict):
        return {key: _with_place(entry, placed.get(key)) for key, entry in value.items()}
    if isinstance(value, list) and isinstance(placed, list) and len(value) == len(placed):
        return [_with_place(*pair) for pair in zip(value, placed)]
    return value


def _resolved(name: str, declared: t.Mapping[str, _Target], resolved: t.Dict[str, _Target]) -> _Target:
    if name not in resolved:
        resolved[name] = {}  # for a cycle
        own = declared.get(name, _ELSEWHERE)
        target: _Target = {}
        for key in own:
            if key.startswith("inherits"):
                target.update(_resolved(key[len("inherits.") :], declared, resolved))
        target.update(own)
        resolved[name] = {key: value for key, value in target.items() if value}  # an empty context takes one away
    return resolved[name]


def _flat(attributes: t.Mapping[str, t.Any]) -> t.Iterator[t.Tuple[str, str]]:
    for name, value in attributes.items():
        if name == "inherits" and isinstance(value, list):
            value = {str(base): base for base in value}
        elif name == "attest" and isinstance(value, list):
            value = {str(at): entry for at, entry in enumerate(value)}
        entries = {f"{name}.{key}": entry for key, entry in value.items()} if isinstance(value, dict) else {name: value}
        yield from ((key, entry if isinstance(entry, str) else _UNKNOWN) for key, entry in entries.items() if entry is not None)


def _hcl(text: str) -> _File:
    tokens = _tokens(text)
    targets, variables = [], []
    for head, body in _statements(tokens):
        if head[0] in ("target", "variable") and len(head) == 3:
            name = head[1].lstrip('"')
            attributes = {name: value for (name, *_rest), value in _statements(body)}
            if head[0] == "target":
                targets.append((name, {name: (_heredoc(value) if name == _INLINE else None) or _value(value) for name, value in attributes.items()}))
            else:
                variables.append((name, _value(attributes["default"]) if "default" in attributes else None))
    return _File(targets, variables, list(_mentions(tokens)))


def _mentions(tokens: _Tokens) -> t.Iterator[str]:
    """Names in expressions and templates, but not those of attributes."""
    for before, token, after in zip(["\n", *tokens], tokens, [*tokens[1:], "\n"]):
        if token[0] in '"<':
            yield from mentioned(token)
        elif _NAME.fullmatch(token) and not (before in "{,\n" and after in "=:"):
            yield token


def _heredoc(tokens: _Tokens) -> t.Optional[Value]:
    """The lines of a heredoc, where no template is in them."""
    token = tokens[0] if len(tokens) == 1 else ""
    if not isinstance(token, Value) or not token.startswith("<<"):
        return None
    first = token.index("\n") + 1
    body = token[first : token.rstrip("\r\n").rindex("\n") + 1]
    return Value.at(body, token.start + first, -1 if _TEMPLATE.search(body) or not body else token.start + first + len(body))


def _statements(tokens: _Tokens) -> t.Iterator[t.Tuple[_Tokens, _Tokens]]:
    """NAME = and its value, or NAME LABEL { and its body."""
    for line in _parts(tokens, "\n"):
        sign = next((place for place, token in enumerate(line) if token in ("=", "{")), 0)
        is_block = line[sign] == "{"
        if sign == 0 or (line[-1] != "}" if is_block else sign > 1):
            raise ValueError("neither attribute nor block")
        yield line[: sign + 1], line[sign + 1 : -1 if is_block else None]


def _value(tokens: _Tokens) -> t.Any:
    around = "".join((*tokens[:1], *tokens[-1:]))
    if around == "{}":
        return {item[0].lstrip('"'): _word(item[2:]) for item in _parts(tokens[1:-1], ",\n") if item[1:2] in (["="], [":"])}
    if around == "[]":
        return [_word(item) for item in _parts([token for token in tokens[1:-1] if token != "\n"], ",")]
    return _word(tokens)


def _word(tokens: _Tokens) -> t.Optional[str]:
    if not tokens:
        raise ValueError("no value")
    if tokens == ["null"]:
        return None
    first = tokens[0]
    if len(tokens) == 1 and first.startswith('"'):
        return Value.at(first[1:], first.start, first.end) if isinstance(first, Value) else first[1:]
    value = Value.at(_UNKNOWN, first.start if isinstance(first, Value) else -1, -1)
    value.variable = first if len(tokens) == 1 and _NAME.fullmatch(first) else ""
    return value


def _parts(tokens: _Tokens, separators: str) -> t.Iterator[t.List[str]]:
    part: t.List[str] = []
    depth = 0
    for token in (*tokens, separators[0]):
        depth += (token in "{[(") - (token in "}])")
        if depth or token not in separators:
            part.append(token)
        elif part:
            yield part
            part = []


def _tokens(text: str) -> _Tokens:
    """Names, signs, ends of lines, heredocs, and texts: a quote and the value."""
    tokens: t.List[str] = []
    closing: t.List[str] = []
    at = start = depth = 0
    while at < len(text):
        pattern, opening, closers = _TEXT if closing[-1:] == ['"'] else _CODE
        match = pattern.match(text, at)
        if not match:
            raise ValueError("not ended")
        token, at = match.group(), match.end()
        closing += opening.get(token, "")
        if token in closers and (not closing or closing.pop() != token):
            raise ValueError("a bracket is closed that was not opened")
        if start and len(closing) == depth:
            value = text[start : at - 1]
            read = value if _TEMPLATE.search(value) else value.encode("latin-1", "backslashreplace").decode("unicode_escape")
            tokens.append(Value.at('"' + read, start, at - 1 if read == value else -1))
            start = 0
        elif not start and token == '"':
            start, depth = at, len(closing) - 1
        elif not start and match.lastgroup != "gap":
            tokens.append(Value.at(token, match.start(), match.end()))
    if closing:
        raise ValueError("not closed")
    return tokens
