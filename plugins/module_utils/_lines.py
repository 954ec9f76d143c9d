# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lines of a Dockerfile, told apart at the speed of C: most of them name no image and are passed over.

These expressions know less than BuildKit, never more: what they are not sure of, they leave to _instructions.py.
"""

from __future__ import annotations

import functools
import re
import typing as t

# In all of them ~ is the escape token. Nothing may match in two ways, or a line that fits in none would take for ever.
_DROPPED = rb"(?:[ \t]*(?:#[^\n]*\n|\n))*"
_TEXT = rb"[ \t]*(?=[^#\s])"  # neither empty nor a comment
_GAP = rb"[ \t]+(?![ \t])(?:~\n" + _DROPPED + _TEXT + rb")*"
_REST = rb"[^\n]*(?:(?<=[^~]~)\n" + _DROPPED + _TEXT + rb"[^\n]*)*"
_END = rb"(?<!~)(?<![ \t][ \t])(?<!~[ \t])(?:\n|\Z)"  # blanks behind the escape token do not end a line
_QUOTED = rb"\"[^\"\\`\n]*(?:\\[^\"\\`\n][^\"\\`\n]*)*\""
_PAIR = rb"(?:[^=\"'`\\\s]+|" + _QUOTED + rb")=[^\"'`\\\s]*(?:(?:" + _QUOTED + rb"|'[^'\\`\n]*')[^\"'`\\\s]*)*"
_PAIRS = rb"(?!-)" + _PAIR + rb"(?:" + _GAP + _PAIR + rb")*[ \t]*"
_OLD_PAIR = rb"(?!-)[^=\"'`\\\s]+" + _GAP + rb"[^`\\\s]" + _REST
_VALUE = rb"[!#-&(-;=-\[\]-_a-}]+"  # of a flag: no quote, no escape
_FLAGS = rb"(?:--(?![!-}]*(?i:from))" + _VALUE + _GAP + rb")*"
_COMMAND = rb"[^-`\\\s\x85\xa0]" + _REST
_SOME = rb"(?=\S)" + _REST
_STRING = rb"\"[^\"\\`\x00-\x1f]*\""
_STRINGS = rb"\[[ \t]*" + _STRING + rb"(?:[ \t]*,[ \t]*" + _STRING + rb")*[ \t]*\][ \t]*"
_TWO = rb"(?:[^-`\\\s\x85\xa0\[\"'][^\\\s]*" + _GAP + _SOME + rb"|" + _STRINGS.replace(b")*[", b")+[") + rb")"

# What may follow each keyword where the line names no image.
_QUIET = {
    b"RUN": _FLAGS + _COMMAND,
    **dict.fromkeys(b"COPY ADD".split(), _FLAGS + _TWO),
    **dict.fromkeys(b"ENV LABEL".split(), rb"(?:" + _PAIRS + rb"|" + _OLD_PAIR + rb")"),
    b"ARG": _PAIRS,
    **dict.fromkeys(b"CMD ENTRYPOINT".split(), _REST),
    **dict.fromkeys(b"WORKDIR EXPOSE USER STOPSIGNAL MAINTAINER".split(), _SOME),
    b"VOLUME": rb"(?:" + _STRINGS + rb"|(?!\[)" + _SOME + rb")",
    b"SHELL": _STRINGS,
    b"HEALTHCHECK": _FLAGS + rb"(?:NONE[ \t]*|CMD" + _GAP + _SOME + rb")",
}


def _lines(behind: t.Mapping[bytes, bytes]) -> bytes:
    """As many as follow each other. Flat, so that the first letter decides; keywords in small letters are rare and left to others."""
    known = b"|".join([keyword + _GAP + behind[keyword] for keyword in behind])
    return rb"(?:[ \t]*(?:\n|#[^\n]*(?:\n|\Z)" + (b"|(?:" + known + b")" + _END if behind else b"") + rb"))*"


# The next line that is neither empty nor a comment, with those that continue it: its first word, the rest of it, the others.
_LINE = rb"[ \t]*(?:([A-Za-z]+)[ \t]+)?([^\n]*)((?:(?<=[^~]~)\n" + _DROPPED + rb"[^\n]*)*)"
# The next image that is written out: in FROM, with the name of the stage, or behind COPY --from; nothing in all three groups for any other line.
_IMAGE = rb"([A-Za-z0-9_.:/@-]+)"
_FROM = rb"FROM[ \t]+(?:--platform=" + _VALUE + rb"[ \t]+)?" + _IMAGE + rb"(?:[ \t]+[Aa][Ss][ \t]+([a-z][a-z0-9_.-]*))?[ \t]*"
_COPY = rb"COPY[ \t]+" + _FLAGS + rb"--from=" + _IMAGE + _GAP + _FLAGS + _TWO
_IMAGE_LINE = rb"(?:[ \t]*(?:" + _FROM + b"|" + _COPY + rb")" + _END + rb")?"

# Compiled when a file asks for them, which takes longer than many a file. Every part of them may be empty, so they match anywhere.
_Match = t.Callable[..., "t.Match[bytes]"]
_once = functools.lru_cache(maxsize=None)


def _compiled(shape: bytes, escape: bytes) -> _Match:
    return t.cast(_Match, re.compile(shape.replace(b"~", re.escape(escape))).match)


@_once
def next_line(escape: bytes) -> _Match:
    return _compiled(_lines({}) + _LINE, escape)


@_once
def next_wanted_line(escape: bytes) -> _Match:
    return _compiled(_lines(_QUIET) + _LINE, escape)


@_once
def quiet_lines_before(escape: bytes) -> _Match:
    """Before a place in the midst of a line, whose beginning is not taken for a whole one."""
    return _compiled(_lines(_QUIET).replace(rb"(?:\n|\Z)", rb"\n"), escape)


@_once
def first_image(escape: bytes) -> _Match:
    return _compiled(_lines({b"ARG": rb"[A-Za-z0-9_]+(?:=[A-Za-z0-9_.:/@-]*)?[ \t]*"}) + _IMAGE_LINE, escape)


@_once
def next_image(escape: bytes) -> _Match:
    return _compiled(_lines({**_QUIET, b"ARG": rb"(?:[A-Za-z0-9_]+[ \t]*(?=\n|\Z)|" + _PAIRS + b")"}) + _IMAGE_LINE, escape)


# The two arrows of a heredoc may stand on two lines.
_SPLIT_ARROWS = re.compile(rb"<[\\`][ \t]*\r*\n")


def arrows(data: bytes, at: int) -> int:
    """Where there may be a heredoc next; -1 where there is none."""
    at = data.find(b"<", at)
    while at >= 0 and data[at + 1 : at + 2] != b"<" and not _SPLIT_ARROWS.match(data, at):
        at = data.find(b"<", at + 1)
    return at


def has_odd_bytes(data: bytes, escape: bytes) -> bool:
    """Bytes that no expression here knows."""
    return b"\r" in data or b"\0" in data or b"\v" in data or b"\f" in data or data.startswith(escape)
