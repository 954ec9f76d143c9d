# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Environments as text: environment files and units of systemd, and /etc/default files of sysvinit.

Readers keep the path and line of every value, so that messages can name them.
Source: systemd.exec(5), systemd src/basic/env-file.c and extract-word.c.
"""

from __future__ import annotations

import re
import shlex
import typing as t

MARK = "# buildfleet.docker"
_ENDS_A_WORD = " \t;&|<>()"
# A '%' before any other letter or digit makes systemd ignore the word (systemd.unit(5), src/shared/specifier.c).
_SPECIFIERS = "aAbBCdDEfgGhHiIjJlLmMnNopPqsStTuUvVwWyY"
_BAD_SPECIFIER = re.compile(rf"%(?:%|[{_SPECIFIERS}]|[^0-9A-Za-z%]|$)|(%)")
_BAD_ESCAPE = re.compile(r"""\\(?:[abfnrtvs\\"'\n]|x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[0-7]{3})|(\\)""")


class Setting(t.NamedTuple):
    """One variable, as a file sets it."""

    name: str
    value: str
    path: str
    line: int  # 0: not from a file

    @property
    def place(self) -> str:
        return f"{self.path}, line {self.line}" if self.line else self.path


class Assignment(t.NamedTuple):
    """One word of an Environment= directive: ``ignored`` says why systemd ignores it ('' if not), ``instead`` what to write."""

    setting: Setting
    ignored: str = ""
    instead: str = ""


class Directive(t.NamedTuple):
    """One directive of a unit's [Service] section; ``last`` is its last line if it continues over several."""

    name: str
    value: str
    line: int
    last: int


def render(values: t.Mapping[str, str]) -> bytes:
    """An EnvironmentFile; its values are URLs and host lists without quotes, spaces and backslashes."""
    return "".join(f"{name}={value}\n" for name, value in values.items()).encode()


def exports(values: t.Mapping[str, str]) -> str:
    """Our marked lines for a file that a shell reads."""
    return "".join(f"export {name}={shlex.quote(value)}  {MARK}\n" for name, value in values.items())


def with_exports(contents: bytes, values: t.Mapping[str, str]) -> bytes:
    """A shell file with our new lines at its end and without our old ones, otherwise unchanged."""
    kept = b"".join(line for line in contents.splitlines(keepends=True) if MARK.encode() not in line)
    if values and kept and not kept.endswith(b"\n"):
        kept += b"\n"
    return kept + exports(values).encode()


def environment_file(path: str, contents: bytes, shell: bool = False) -> t.List[Setting]:
    """What systemd, or a shell, reads from the file: systemd ignores a line that begins with 'export'."""
    export = r"(?:export\s+)?" if shell else ""
    settings = []
    for number, line in logical_lines(contents):
        assignment = re.match(rf"\s*{export}([A-Za-z_][A-Za-z0-9_]*)=(.*)$", line, re.DOTALL)
        if assignment and not line.lstrip().startswith(("#", ";")):
            settings.append(Setting(assignment[1], _unquoted(assignment[2].replace("\n", ""), shell), path, number))
    return settings


def directives(contents: bytes) -> t.List[Directive]:
    """The directives in the [Service] section of a unit or drop-in; systemd reads nothing after a broken section header."""
    parsed, section = [], ""
    for number, line in logical_lines(contents, unit=True):
        text = line.strip()
        if text.startswith("["):
            section = text
            if not text.endswith("]"):
                break
        elif section == "[Service]" and "=" in text:
            name, _equals, value = text.partition("=")
            parsed.append(Directive(name.strip(), value.strip(), number, number + line.count("\n")))
    return parsed


def broken_section(contents: bytes) -> int:
    """The line with a section header that systemd cannot read; 0 if there is none. It reads nothing after it, and asks for a daemon-reload for ever."""
    headers = ((number, line.strip()) for number, line in logical_lines(contents, unit=True))
    return next((number for number, text in headers if text.startswith("[") and not text.endswith("]")), 0)


def assignments(directive: Directive, path: str) -> t.List[Setting]:
    """The variables that systemd takes from one Environment= directive."""
    return [assignment.setting for assignment in read_assignments(directive, path) if not assignment.ignored]


def read_assignments(directive: Directive, path: str) -> t.List[Assignment]:
    """The words of one Environment= directive, and which of them systemd ignores (src/core/load-fragment.c, config_parse_environ)."""
    assigned = []
    bad_escape = any(match[1] for match in _BAD_ESCAPE.finditer(directive.value))
    for word in words(directive.value):
        name, equals, value = word.partition("=")
        setting = Setting(name, value.replace("%%", "%"), path, directive.line)
        if bad_escape:
            assigned.append(Assignment(setting, "a '\\' that does not start an escape", "each '\\' as '\\\\', or a '\\' in a password as '%%5C'"))
        elif not equals:
            assigned.append(Assignment(setting, "a word without '='", "Environment=\"NAME=value\", without a space beside the '='"))
        elif not re.match(r"[A-Za-z_][A-Za-z0-9_]*$", name):
            assigned.append(Assignment(setting, "a name that is not valid for a variable", "the name alone before the '=', without export"))
        elif any(match[1] for match in _BAD_SPECIFIER.finditer(value)):
            assigned.append(Assignment(setting, "a '%' that does not start a specifier", "each '%' as '%%', such as '%%40'"))
        else:
            assigned.append(Assignment(setting))
    return assigned


def words(text: str) -> t.List[str]:
    """systemd's quoting, which equals the shell's for what units use."""
    try:
        return shlex.split(text.replace("\n", " "), posix=True)
    except ValueError:
        return text.split()


def without(contents: bytes, names: t.Collection[str]) -> bytes:
    """A unit, drop-in or environment file without these variables; every other line, and what systemd ignores, is unchanged."""
    lines = contents.splitlines(keepends=True)
    drop: t.Dict[int, bytes] = {}
    for directive in directives(contents):
        if directive.name != "Environment":
            continue
        assigned = read_assignments(directive, "")
        kept = [word for word, one in zip(words(directive.value), assigned) if one.ignored or one.setting.name not in names]
        if len(kept) != len(assigned):
            drop.update(dict.fromkeys(range(directive.line, directive.last + 1), b""))
            if kept:
                drop[directive.line] = f"Environment={' '.join(_quoted(word) for word in kept)}\n".encode()
    if not directives(contents):
        for setting in environment_file("", contents, shell=True):
            if setting.name in names:
                last = setting.line
                while last < len(lines) and lines[last - 1].rstrip(b"\r\n").endswith(b"\\"):
                    last += 1
                drop.update(dict.fromkeys(range(setting.line, last + 1), b""))
    return b"".join(drop.get(number, line) for number, line in enumerate(lines, 1))


def lost(first: bytes, contents: bytes, names: t.Collection[str]) -> t.List[str]:
    """Those of these variables that a file set originally and does not set now."""
    now = {setting.name for setting in _settings(contents)}
    return sorted({setting.name for setting in _settings(first) if setting.name in names and setting.name not in now})


def _settings(contents: bytes) -> t.List[Setting]:
    of_units = [setting for directive in directives(contents) if directive.name == "Environment" for setting in assignments(directive, "")]
    return of_units if directives(contents) else environment_file("", contents, shell=True)


def _quoted(word: str) -> str:
    return word if re.match(r"[\w=:/.,%@+-]+$", word) else '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def logical_lines(contents: bytes, unit: bool = False) -> t.Iterator[t.Tuple[int, str]]:
    """Lines with the number of their first line; a backslash at the end joins the next one. In a unit, comments may stand between."""
    joined, first = "", 0
    for number, line in enumerate((line.decode(errors="replace") for line in contents.splitlines()), 1):
        if unit and line.lstrip().startswith(("#", ";")):
            joined += "\n" if joined else ""
            continue
        first = first or number
        if line.endswith("\\"):
            joined += line[:-1] + "\n"
            continue
        yield first, joined + line
        joined, first = "", 0
    if joined:
        yield first, joined.rstrip("\n")


def _unquoted(value: str, shell: bool) -> str:
    try:
        if shell:
            return "" if value[:1] in _ENDS_A_WORD else _first_word(value)
        value = value.strip()  # systemd has comments only at the start of a line
        return "".join(shlex.split(value, posix=True)) if value[:1] in "'\"" else value
    except ValueError:
        return value


def _first_word(text: str) -> str:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=_ENDS_A_WORD.strip())
    lexer.whitespace_split = True
    lexer.commenters = ""
    return lexer.get_token() or ""
