# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which images the targets of Bake files replace by name, as buildx has it (bake/bake.go). Only read, never edited.

Of HCL no more is read than that needs. A value that is no plain text is not guessed: it counts as a template.
"""

from __future__ import annotations

import json
import re
import typing as t

_TEMPLATE = re.compile(r"[$%]\{")
_UNKNOWN = "${}"
_WORKING_DIRECTORY = "cwd://"
_ELSEWHERE = {"context": _UNKNOWN, "dockerfile": _UNKNOWN}  # a target that is declared in no file here

# How to read on in a text and around it, what opens something and how that is closed, and what closes.
_Mode = t.Tuple[t.Pattern[str], t.Mapping[str, str], str]
_TEXT: _Mode = (re.compile(r'[^"\\$%\n]+|(?:\$\$|%%)\{|[$%]\{?|\\(?:[nrt"\\]|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})|"'), {"${": "}", "%{": "}"}, '"')
_GAP, _HEREDOC = r"(?P<gap>[ \t\r]+|(?:#|//).*|/\*(?s:.*?)\*/)", r"<<-?([^\W\d][\w-]*)\r?\n(?:.*\n)*?[ \t]*\2[ \t\r]*$"
_CODE: _Mode = (re.compile(rf"{_GAP}|{_HEREDOC}|\w[\w-]*|(?!/\*|<<)(?s:.)", re.MULTILINE), {"{": "}", "[": "]", "(": ")", '"': '"'}, "}])")

_Tokens = t.Sequence[str]
_Target = t.Dict[str, str]  # by name of the attribute; what is in a map or list has a name of its own: contexts.alpine, inherits.base


def contexts(files: t.Mapping[str, bytes]) -> t.List[t.Tuple[str, str, t.List[str]]]:
    """Context, Dockerfile and the names that contexts replace in it, for the targets of the Bake files of one folder, in the order of their merge."""
    declared: t.Dict[str, _Target] = {}
    resolved: t.Dict[str, _Target] = {}
    found = []
    try:
        for file, data in files.items():
            text = data.decode("utf-8")
            for name, attributes in json.loads(text).get("target", {}).items() if file.endswith(".json") else _hcl(text):
                declared.setdefault(name, {}).update(_flat(attributes))
        for name in declared:
            target = _resolved(name, declared, resolved)
            context, dockerfile = target.get("context", "."), target.get("dockerfile", "Dockerfile")
            replaced = [key[len("contexts.") :] for key in target if key.startswith("contexts.")]
            if replaced and "dockerfile-inline" not in target and not _TEMPLATE.search(f"{context}\n{dockerfile}"):
                if dockerfile.startswith(_WORKING_DIRECTORY):
                    context = "."
                found.append((context.replace(_WORKING_DIRECTORY, ""), dockerfile.replace(_WORKING_DIRECTORY, ""), replaced))
    except (ValueError, AttributeError, RecursionError):  # bake refuses the files, or nobody has written them by hand
        return []
    return found


def _resolved(name: str, declared: t.Mapping[str, _Target], resolved: t.Dict[str, _Target]) -> _Target:
    if name not in resolved:
        resolved[name] = {}  # what a circle gets of itself
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
        entries = {f"{name}.{key}": entry for key, entry in value.items()} if isinstance(value, dict) else {name: value}
        yield from ((key, entry if isinstance(entry, str) else _UNKNOWN) for key, entry in entries.items() if entry is not None)


def _hcl(text: str) -> t.Iterator[t.Tuple[str, t.Any]]:
    for head, body in _statements(_tokens(text)):
        if head[0] == "target" and len(head) == 3:
            yield head[1].lstrip('"'), {name: _value(value) for (name, *_rest), value in _statements(body)}


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
    return None if tokens == ["null"] else tokens[0][1:] if len(tokens) == 1 and tokens[0].startswith('"') else _UNKNOWN


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
    found: t.List[str] = []
    closing: t.List[str] = []
    at = start = build_arg_positions = 0
    while at < len(text):
        pattern, opening, closers = _TEXT if closing[-1:] == ['"'] else _CODE
        match = pattern.match(text, at)
        if not match:
            raise ValueError("not ended")
        token, at = match.group(), match.end()
        closing += opening.get(token, "")
        if token in closers and (not closing or closing.pop() != token):
            raise ValueError("closed before it is open")
        if start and len(closing) == build_arg_positions:
            value = text[start : at - 1]
            found.append('"' + (value if _TEMPLATE.search(value) else value.encode("latin-1", "backslashreplace").decode("unicode_escape")))
            start = 0
        elif not start and token == '"':
            start, build_arg_positions = at, len(closing) - 1
        elif not start and match.lastgroup != "gap":
            found.append(token)
    if closing:
        raise ValueError("not closed")
    return found
