# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Parse a Dockerfile as BuildKit does: instructions, each character with its position in the file.

Sources: moby/buildkit frontend/dockerfile/parser (parser.go, directives.go, split_command.go).
Files are bytes; text is latin-1, one character per byte, so every position is exact.
"""

from __future__ import annotations

import itertools
import json
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.lines import (
    find_heredoc,
    has_odd_bytes,
    heredoc_line,
    image_line,
    leading_lines,
    quiet_lines,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.shell import SPACES, Lexer, ShellError, written

LONGEST_LINE = 65535
BOM = b"\xef\xbb\xbf"

_KEYWORDS = frozenset(
    [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]
)
_SPELLED = {case(keyword).encode(): keyword for keyword in _KEYWORDS for case in (str.upper, str.lower)}
# The flag scanner reads bytes as characters, so it treats these two bytes as blanks.
_FLAG_SPACES = SPACES + "\x85\xa0"
_SIMPLE_FLAG = re.compile(r"(--[^\s'\"`\\\x85\xa0]+)(?:[ \t]+|\Z)(?![\s\x85\xa0])", re.ASCII)
_SIMPLE_HEREDOC = re.compile(r"(?:^|(?<=[ \t]))[0-9]*<<(-?)(?:([A-Za-z0-9_.]+)|'([A-Za-z0-9_.]+)'|\"([A-Za-z0-9_.]+)\")(?![^ \t])", re.ASCII)
_TOO_EARLY = "an instruction comes before the first FROM"
# Words of ARG, ENV and LABEL, quotes and escapes kept.
WORD = {e: re.compile(r"""(?:~.|'[^']*'?|"(?:[^"~]|~.)*"?|[^\s~]|~\Z)+""".replace("~", re.escape(e)), re.DOTALL | re.ASCII) for e in "\\`"}
_BLANK = rb"[ \t\v\f\r]"
_SKIPPED = rb"(?:" + _BLANK + rb"*#[^\n]*(?:\n|\Z)|" + _BLANK + rb"*\n)*"
_BLANK_AND_EQUALS = re.compile(r"\s=")
_HEALTHCHECK = re.compile(r"NONE|CMD[\t\v\f\r ]", re.IGNORECASE)
_WORD_END = re.compile(r"[\t\v\f\r ]+")
_DIRECTIVE = re.compile(rb"#[\t\n\f\r ]*([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*")
# Some parts of BuildKit's parser treat these as blanks, others do not: at the start of a line or its value, in FROM, in a directive, before a heredoc.
_STRANGE = rb"(?:\xc2[\x85\xa0]|\xe1\x9a\x80|\xe2\x80[\x80-\x8a\xa8\xa9\xaf]|\xe2\x81\x9f|\xe3\x80\x80)"
_ANY_STRANGE = re.compile(_STRANGE)
_STRANGE_BLANK = re.compile(
    rb"^[ \t]*(?:[A-Za-z]+[ \t]+)?" + _STRANGE + rb"|^[ \t]*(?i:FROM)[ \t][^\n]*" + _STRANGE + rb"|^#[ \t]*" + _STRANGE + rb"\s*(?i:syntax|escape|check)"
    rb"|" + _STRANGE + rb"[0-9]*<<",
    re.MULTILINE,
)
_INNER_BLANK = re.compile(_STRANGE + rb"(?=(?:" + _STRANGE + rb"|[ \t])*[^\s#<0-9`\\])")
_FIRST_DIRECTIVE = re.compile(rb"[ \t\v\f\r]*#(?:!|[\t\f\r ]*(?i:syntax|escape|check)[\t\f\r ]*=)")
_HEREDOC = re.compile(r"[0-9]*<<(-?)[\t\n\f\r ]*([^<]*)", re.DOTALL)
_OLD_HEREDOC = re.compile(r"[0-9]*<<(-?)([^<]*)", re.DOTALL)


class Rejected(ValueError):
    """The file stays unchanged, because BuildKit rejects it or because it is ambiguous how BuildKit reads it; the message is the end of a sentence."""

    by = "BuildKit refuses this file"

    def __init__(self, at: int, message: str) -> None:
        super().__init__(message)
        self.at = at


class Ambiguous(Rejected):
    by = "It is ambiguous how BuildKit reads this file"


class FrontendDialect(t.NamedTuple):
    """What versions of the frontend read differently (docs/reference of dockerfile/1.9.0, 1.15.0, 1.16.0)."""

    strict_json: bool = True
    flags_use_escape: bool = True
    blank_after_arrows: bool = True


# Newest first: it decides. If an older one finds other references, nothing is changed.
READINGS = (
    FrontendDialect(),
    FrontendDialect(blank_after_arrows=False),
    FrontendDialect(flags_use_escape=False, blank_after_arrows=False),
    FrontendDialect(False, False, False),
)


class Flag(t.NamedTuple):
    text: str
    origin: t.Sequence[int]


class Instruction(t.NamedTuple):
    keyword: str
    text: str  # after the keyword and its flags, continuation lines joined
    origin: t.Sequence[int]
    flags: t.List[Flag]
    at: int
    onbuild: bool = False


_NO_FLAGS: t.List[Flag] = []


class File(t.NamedTuple):
    instructions: t.List[Instruction]
    escape: str
    syntax: t.Optional[t.Tuple[str, int]]  # value and place
    ambiguous: bool  # the readings may differ


def _body(escape: bytes) -> bytes:
    e = re.escape(escape)
    ends = e + rb"[ \t]*\r*(?:\n" + _SKIPPED + rb"|\Z)"
    return rb"(?:[^" + e + rb"\n]+|" + e + e + rb"+|" + ends + rb"|" + e + rb")*"


_INSTRUCTION = {e: re.compile(_SKIPPED + _BLANK + rb"*([A-Za-z]*)(" + _BLANK + rb"*)(" + _body(e) + rb")\n?") for e in (b"\\", b"`")}
_CONTINUATION = {e: re.compile(rb"(?<!" + re.escape(e) + rb")" + re.escape(e) + rb"[ \t]*\r*(?:\n" + _SKIPPED + rb"|\Z)") for e in (b"\\", b"`")}


def read(data: bytes, reading: FrontendDialect = READINGS[0]) -> File:
    start = len(BOM) if data.startswith(BOM) else 0
    if len(data) > LONGEST_LINE:
        _refuse_long_lines(data)
    if not data.isascii():
        _refuse_strange_blanks(data)
    escape, syntax = _directives(data, start)
    instructions, ambiguous = _instructions(data, start, escape, reading)
    return File(instructions, chr(escape[0]), syntax, ambiguous)


def arguments_of_stages(data: bytes) -> t.Set[str]:
    """The names of arguments that stages declare, with or without a default."""
    start = len(BOM) if data.startswith(BOM) else 0
    escape, _frontend = _directives(data, start)
    every, _ambiguous = _instructions(data, start, escape, READINGS[0], with_arguments=True)
    instructions = itertools.dropwhile(lambda instruction: instruction.keyword != "FROM", every)
    return {word.partition("=")[0] for instruction in instructions if instruction.keyword == "ARG" for word in WORD[chr(escape[0])].findall(instruction.text)}


def image_lines(data: bytes) -> t.Optional[t.List[t.Tuple[str, bytes, t.Optional[bytes], int]]]:
    """The kind of each image, its name, the stage that starts there, and its position; None if any image in the file is not written literally."""
    if not data.isascii():
        _refuse_strange_blanks(data)
    if len(data) > LONGEST_LINE or has_odd_bytes(data, b"\\") or data.startswith(BOM):
        return None
    lines: t.List[t.Tuple[str, bytes, t.Optional[bytes], int]] = []
    escape = b"\\"
    if _FIRST_DIRECTIVE.match(data):
        escape, syntax = _directives(data, 0)
        if escape != b"\\":
            return None
        if syntax:
            lines.append(("syntax", syntax[0].encode("latin-1"), None, syntax[1]))
    data = _ended(data)
    past_quiet_lines, next_image = quiet_lines(escape), image_line(escape)
    limit = _next_heredoc(data, 0)
    at = leading_lines(escape)(data, 0, limit).end()
    match = next_image(data, at, limit)
    if not match or not match[1]:
        return None
    while match:
        image, stage, copied = match.groups()
        if image:
            lines.append(("from", image, stage, match.start(1)))
        elif copied:
            lines.append(("copy", copied, None, match.start(3)))
        at = past_quiet_lines(data, match.end(), limit).end()
        while limit < len(data):
            arrowed = heredoc_line(data, at)
            if not arrowed:
                break
            at = _after_heredoc(data, arrowed.end(), arrowed[3], arrowed[1] == b"-", at)
            limit = _next_heredoc(data, at)
            at = past_quiet_lines(data, at, limit).end()
        match = next_image(data, at, limit)
    return lines if at == len(data) else None


def _next_heredoc(data: bytes, at: int) -> int:
    """The position of the next possible heredoc; the end of the file if there is none."""
    place = find_heredoc(data, at)
    return place if place >= 0 else len(data)


def _ended(data: bytes) -> bytes:
    return data if data.endswith(b"\n") else data + b"\n"


def _complete(data: bytes, begin: int, end: int, after: int, escape: bytes, reading: FrontendDialect) -> t.Tuple[Instruction, int, bool]:
    """The instruction between begin and end, the position after its heredocs, and whether dialects may differ."""
    text, origin = _joined(data, begin, end, escape)
    instruction, differs = _instruction(text, origin, begin, chr(escape[0]), reading)
    if "<<" not in text or instruction.keyword not in ("COPY", "RUN", "ADD"):
        return instruction, after, differs
    names, is_ambiguous = _heredocs(instruction, text, reading)
    for name, chomp in names:
        after = _after_heredoc(data, after, name, chomp, begin)
    return instruction, after, differs or is_ambiguous


def _instructions(data: bytes, start: int, escape: bytes, reading: FrontendDialect, with_arguments: bool = False) -> t.Tuple[t.List[Instruction], bool]:
    """Instructions that may name an image, and few others; ``with_arguments``: also each ARG to which a stage gives a default."""
    match, token = _INSTRUCTION[escape].match, chr(escape[0])
    skip = quiet_lines(escape) if not with_arguments and not has_odd_bytes(data, escape) else None
    data = _ended(data) if skip else data
    instructions: t.List[Instruction] = []
    ambiguous = started = False
    at, size, heredoc = start, len(data), find_heredoc(data, start)
    while True:
        if started and skip:
            at = skip(data, at, size if heredoc < 0 else heredoc).end()
        if at >= size:
            return instructions, ambiguous
        found = t.cast("t.Match[bytes]", match(data, at))  # every part of the pattern may be empty
        word, gap, rest = found.groups()
        at = found.end()
        if gap and skip and b"\n" not in rest and b"<<" not in rest and rest[-1:] != escape:
            first = found.start(3)
            text = rest.rstrip().decode("latin-1")
            instruction, differs = _finished(_SPELLED.get(word) or word.decode().upper(), text, range(first, first + len(text)), found.start(1), token, reading)
        elif _is_quiet(word.upper(), gap, rest, escape):
            if word and not started:
                raise Rejected(found.start(1), _TOO_EARLY)
            continue
        else:
            instruction, at, differs = _complete(data, found.start(1), found.end(3), at, escape, reading)
        if 0 <= heredoc < at:
            heredoc = find_heredoc(data, at)
        ambiguous = ambiguous or differs
        started = started or instruction.keyword == "FROM"
        if not started and (instruction.keyword != "ARG" or instruction.onbuild):
            raise Rejected(instruction.at, _TOO_EARLY)
        instructions.append(instruction)


def _is_quiet(keyword: bytes, gap: bytes, rest: bytes, escape: bytes) -> bool:
    """The line names no image, starts no heredoc, and BuildKit accepts any value. Most lines are like this."""
    if rest and not gap:
        return False  # split by a continuation, or no keyword at all
    if rest[:1] in (b"-", escape):
        return False  # perhaps a flag
    if keyword == b"RUN":
        return find_heredoc(rest, 0) < 0
    return keyword in (b"CMD", b"ENTRYPOINT") or not (keyword or rest)


def _refuse_long_lines(data: bytes) -> None:
    at = 0
    while at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        if end - at > LONGEST_LINE:
            raise Rejected(at, f"a line is longer than {LONGEST_LINE} bytes")
        at = end + 1


def _refuse_strange_blanks(data: bytes) -> None:
    blank = _STRANGE_BLANK.search(data) if _ANY_STRANGE.search(data) else None
    if blank:
        blank = _STRANGE_BLANK.search(_without_inner_blanks(data))
    if blank:
        name = next(char for char in blank.group().decode() if ord(char) > 127)
        raise Ambiguous(blank.end() - 1, f"BuildKit's parsers disagree about the space U+{ord(name):04X}; write an ordinary space")


def _without_inner_blanks(data: bytes) -> bytes:
    """Nobody looks at strange blanks in a heredoc; in a line that continues another one nobody does where something stands behind them."""
    plain = _ANY_STRANGE.sub(lambda match: b"\x7f" * len(match.group()), data)
    start = len(BOM) if data.startswith(BOM) else 0
    parts: t.List[bytes] = []
    done = 0
    try:
        escape, _directive = _directives(plain, start)
        for begin, end, after in _inner_lines(plain, start, escape):
            parts += (data[done:begin], _INNER_BLANK.sub(lambda match: b"\x7f" * len(match.group()), data[begin:end]), plain[end:after])
            done = after
    except Rejected:
        pass
    return b"".join(parts) + data[done:]


def _inner_lines(data: bytes, start: int, escape: bytes) -> t.Iterator[t.Tuple[int, int, int]]:
    """Of each instruction where the lines begin that continue it, where these end, and where its heredocs end."""
    at = start
    while at < len(data):
        match = t.cast("t.Match[bytes]", _INSTRUCTION[escape].match(data, at))
        end = at = match.end()
        keyword = match.group(1).upper()
        if not _is_quiet(keyword, match.group(2), match.group(3), escape):
            at = _complete(data, match.start(1), match.end(3), end, escape, READINGS[0])[1]
        first = data.find(b"\n", match.start(1), end) + 1
        begin = first if first and keyword not in (b"FROM", b"ARG", b"COPY", b"ADD", b"ONBUILD") else end
        yield begin, end, at


def _directives(data: bytes, start: int) -> t.Tuple[bytes, t.Optional[t.Tuple[str, int]]]:
    """The escape token, and the value of ``# syntax``.

    Two readers that differ: the parser takes blanks before ``#`` and no ``#!`` line, the search for the frontend the reverse.
    """
    escape = b"\\"
    if not _FIRST_DIRECTIVE.match(data, start):
        return escape, None
    seen = set()
    for at, line in _lines(data, start):
        match = _DIRECTIVE.fullmatch(line.lstrip(SPACES.encode()))
        key = match.group(1).lower() if match else b""
        if not match or key not in (b"syntax", b"escape", b"check"):
            break
        if key in seen:
            raise Rejected(at, f"the directive {key.decode()} is duplicated")
        seen.add(key)
        if key == b"escape":
            escape = match.group(2)
            if escape not in (b"\\", b"`"):
                raise Rejected(at, "the escape directive must be \\ or `")
    return escape, _syntax(data, start)


def declared_syntax(data: bytes) -> t.Optional[t.Tuple[str, int]]:
    """The frontend that ``# syntax`` names, and its place, in any text: BuildKit looks for it before anything else."""
    start = len(BOM) if data.startswith(BOM) else 0
    return _syntax(data, start) if _FIRST_DIRECTIVE.match(data, start) else None


def _syntax(data: bytes, start: int) -> t.Optional[t.Tuple[str, int]]:
    seen = set()
    for at, line in _lines(data, start):
        if at == start and line.startswith(b"#!"):
            continue
        match = _DIRECTIVE.fullmatch(line)
        key = match.group(1).lower() if match else b""
        if not match or key not in (b"syntax", b"escape", b"check") or key in seen:
            return None
        seen.add(key)
        if key == b"syntax":
            return match.group(2).partition(b" ")[0].decode("latin-1"), at + match.start(2)
    return None


def _lines(data: bytes, at: int) -> t.Iterator[t.Tuple[int, bytes]]:
    while at < len(data):
        end = data.find(b"\n", at)
        end = len(data) if end < 0 else end
        yield at, data[at:end].rstrip(b"\r")
        at = end + 1


def _joined(data: bytes, start: int, end: int, escape: bytes) -> t.Tuple[str, t.Sequence[int]]:
    if data.find(b"\n", start, end) < 0 and not data[start:end].rstrip(b" \t\r").endswith(escape):
        return data[start:end].decode("latin-1").rstrip("\r"), range(start, end)
    text = ""
    origin: t.List[int] = []
    at = start
    for match in _CONTINUATION[escape].finditer(data, start, end):
        text += data[at : match.start()].decode("latin-1")
        origin += range(at, match.start())
        at = match.end()
    text += data[at:end].decode("latin-1")
    origin += range(at, end)
    return text.rstrip("\r"), origin


def _instruction(text: str, origin: t.Sequence[int], at: int, escape: str, reading: FrontendDialect, onbuild: bool = False) -> t.Tuple[Instruction, bool]:
    text, origin = _stripped(text, origin)
    end = _WORD_END.search(text)
    keyword, rest = (text[: end.start()], end.end()) if end else (text, len(text))
    return _finished(keyword.upper(), text[rest:], origin[rest:], at, escape, reading, onbuild)


def _finished(
    keyword: str, text: str, origin: t.Sequence[int], at: int, escape: str, reading: FrontendDialect, onbuild: bool = False
) -> t.Tuple[Instruction, bool]:
    """The instruction from its keyword and the rest, and whether versions of the frontend may read its flags differently."""
    if (keyword in ("", "FROM", "ONBUILD", "MAINTAINER")) if onbuild else (keyword not in _KEYWORDS):
        raise Rejected(at, f"{keyword[:40] or 'nothing'} is not {'allowed after ONBUILD' if onbuild else 'an instruction'}")
    if keyword == "ONBUILD":
        return _instruction(text, origin, at, escape, reading, onbuild=True)
    flags = _NO_FLAGS
    differs = False
    if text[:2] == "--":
        flags, after = _flags(text, origin, escape if reading.flags_use_escape else "\\")
        differs = escape == "`" and any(mark in text[:after] for mark in "\\`")
        text, origin = _stripped(text[after:], origin[after:])
    check = _CHECKS.get(keyword)
    problem = "" if onbuild else _flags_problem(keyword, text, flags) or (check(text, escape) if check else "")
    if problem:
        raise Rejected(at, f"{keyword} {problem}")
    return Instruction(keyword, text, origin, flags, at, onbuild), differs


_FLAGS = {  # of every version, those of labs too (moby/buildkit frontend/dockerfile/instructions/parse.go)
    "RUN": {"mount": "values", "network": "value", "security": "value", "device": "values"},
    "COPY": {"from": "value", "chown": "value", "chmod": "value", "link": "bool", "parents": "bool", "exclude": "values"},
    "ADD": {
        **dict.fromkeys(("chown", "chmod", "checksum"), "value"),
        **dict.fromkeys(("link", "keep-git-dir", "unpack"), "bool"),
        "exclude": "values",
    },
    "HEALTHCHECK": dict.fromkeys(("interval", "timeout", "start-period", "start-interval", "retries"), "value"),
}


_ANY_FLAG = ("FROM", "ARG", "STOPSIGNAL")  # see to FROM elsewhere; the others look at none


def _flags_problem(keyword: str, text: str, flags: t.Sequence[Flag]) -> str:
    if not flags or keyword in _ANY_FLAG or (keyword == "HEALTHCHECK" and text.upper() == "NONE"):
        return ""
    known = _FLAGS.get(keyword, {})
    seen: t.Set[str] = set()
    for text, _origin in flags:
        name, equals, value = text[2:].partition("=")
        kind = known.get(name)
        if kind is None:
            return f"has no flag --{name[:40]}"
        if name in seen and kind != "values":
            return f"has more than one --{name} flag"
        if kind == "bool" and value not in ("", "true", "false"):
            return f"takes true or false after --{name}="
        if kind != "bool" and not equals:
            return f"needs a value after --{name}"
        seen.add(name)
    return ""


def _pairs_problem(text: str, escape: str) -> str:
    words = WORD[escape].findall(text)
    if not words or ("=" not in words[0] and len(words) == 1):
        return "needs a name and a value"
    if "=" not in words[0]:
        return ""  # a name, and all the rest is its value
    return _names_problem(text, escape) if all("=" in word for word in words) else "takes NAME=VALUE only"


def _names_problem(text: str, escape: str) -> str:
    if not text:
        return "needs a name"
    return "has a value without a name" if _BLANK_AND_EQUALS.search(" " + text) and any(word[0] == "=" for word in WORD[escape].findall(text)) else ""


def _copy_problem(text: str, escape: str) -> str:
    return "" if (" " in text and text[0] != "[") or len(_values(text)) > 1 else "needs a source and a destination"


def _shell_problem(text: str, escape: str) -> str:
    return "" if text[:1] == "[" and _json_words(text, True) else "needs its arguments in JSON form"


def _health_problem(text: str, escape: str) -> str:
    return "" if _HEALTHCHECK.match(text) else "takes NONE, or CMD with a command"


def _value_problem(text: str, escape: str) -> str:
    return "" if text and _values(text) else "needs a value"


def _values(text: str) -> t.Sequence[str]:
    words = _json_words(text, True) if text[:1] == "[" else None
    return _WORD_END.split(text) if words is None else words


# What every version of BuildKit rejects; source: frontend/dockerfile/instructions/parse.go.
_CHECKS: t.Mapping[str, t.Callable[[str, str], str]] = {
    "ARG": _names_problem,
    **dict.fromkeys(["ENV", "LABEL"], _pairs_problem),
    **dict.fromkeys(["COPY", "ADD"], _copy_problem),
    **dict.fromkeys(["EXPOSE", "MAINTAINER", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"], _value_problem),
    "SHELL": _shell_problem,
    "HEALTHCHECK": _health_problem,
}


def _stripped(text: str, origin: t.Sequence[int]) -> t.Tuple[str, t.Sequence[int]]:
    whole = text.rstrip(SPACES)
    cut = len(whole) - len(whole.lstrip(SPACES))
    return whole[cut:], origin[cut : len(whole)]


def _flags(text: str, origin: t.Sequence[int], escape: str) -> t.Tuple[t.List[Flag], int]:
    """The leading words that start with ``--``, without quotes and escapes, and where the rest starts."""
    flags: t.List[Flag] = []
    size = len(text)
    at = 0
    while True:
        simple = _SIMPLE_FLAG.match(text, at)
        if simple:
            flags.append(Flag(simple.group(1), origin[at : simple.end(1)]))
            at = simple.end()
            continue
        while at < size and text[at] in _FLAG_SPACES:
            at += 1
        if not text.startswith("--", at):
            return flags, at
        word: t.List[int] = []
        quote = ""
        while at < size and (quote or text[at] not in _FLAG_SPACES):
            char = text[at]
            if char == escape:
                at += 1
                if at < size:
                    word.append(at)
            elif quote:
                if char == quote:
                    quote = ""
                else:
                    word.append(at)
            elif char in "'\"":
                quote = char
            else:
                word.append(at)
            at += 1
        flag = Flag("".join([text[place] for place in word]), [origin[place] for place in word])
        if flag.text == "--":
            return flags, min(at, size)
        flags.append(flag)


def _heredocs(instruction: Instruction, line: str, reading: FrontendDialect) -> t.Tuple[t.List[t.Tuple[bytes, bool]], bool]:
    differs = bool(re.search(r"<<[\t\r ]", line))
    if instruction.text.startswith("["):
        json_now, json_before = (_json_words(instruction.text, strict) is not None for strict in (True, False))
        differs = differs or json_now != json_before
        if json_now if reading.strict_json else json_before:
            return [], differs
    found_simple = _SIMPLE_HEREDOC.findall(line)
    if len(found_simple) == line.count("<<") and not any(mark in _SIMPLE_HEREDOC.sub("", line) for mark in "'\"$\\"):
        return [((plain or single or double).encode(), chomp == "-") for chomp, plain, single, double in found_simple], differs
    names: t.List[t.Tuple[bytes, bool]] = []
    shape = _HEREDOC if reading.blank_after_arrows else _OLD_HEREDOC
    for word in _raw_words(line, reading):
        match = shape.fullmatch(word)
        if match and match.group(2):
            try:
                inner = Lexer(written(match.group(2), range(len(word))), "\\", _unset, keep_unset=True).words()
            except ShellError as error:
                raise Rejected(instruction.at, "the name of a heredoc cannot be read") from error
            if len(inner) == 1:
                names.append((inner[0].encode("latin-1"), match.group(1) == "-"))
    return names, differs


def _raw_words(line: str, reading: FrontendDialect) -> t.List[str]:
    try:
        return Lexer(written(line, range(len(line))), "\\", _unset, keep_unset=True, raw=True, blank_after_arrows=reading.blank_after_arrows).words()
    except ShellError:
        return []  # BuildKit does not search for a heredoc in a line that it cannot lex


def _unset(name: str) -> None:
    return None


def _json_words(text: str, strict: bool) -> t.Optional[t.List[str]]:
    """None if the text is not in JSON form; before strict parsing, other text could follow."""
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    is_form = isinstance(value, list) and all(isinstance(item, str) for item in value) and (not strict or not text[end:].strip(" \t\r\n"))
    return value if is_form else None


def _after_heredoc(data: bytes, at: int, name: bytes, chomp: bool, instruction: int) -> int:
    place = data.find(name, at)
    while place >= 0:
        begin = max(data.rfind(b"\n", at, place) + 1, at)
        end = data.find(b"\n", place) + 1 or len(data)
        line = data[begin:end].rstrip(b"\r\n")
        if (line.lstrip(b"\t") if chomp else line) == name:
            return end
        place = data.find(name, end)
    raise Rejected(instruction, f"the heredoc {name.decode('latin-1')} is not terminated")
