# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Regular expressions that skip lines of a Dockerfile that name no image: most of them.

These expressions accept less than BuildKit, never more: instructions.py handles all other lines.
Their input ends with a newline.
"""

from __future__ import annotations

import functools
import re
import typing as t

# In all of them ~ is the escape token. Nothing may match in two ways, otherwise a line that does not match would take exponential time.
_DROPPED = rb"(?:[ \t]*(?:#[^\n]*\n|\n))*"
_TEXT = rb"[ \t]*(?=[^#\s])"  # neither empty nor a comment
_GAP = rb"[ \t]+(?![ \t])(?:~\n" + _DROPPED + _TEXT + rb")*"
_REST = rb"[^\n]*(?:(?<=[^~]~)\n" + _DROPPED + _TEXT + rb"[^\n]*)*"
_END = rb"(?<!~)(?<![ \t][ \t])(?<!~[ \t])\n"  # blanks behind the escape token do not end a line
_QUOTED = rb"\"[^\"\\`\n]*(?:\\[^\"\\`\n][^\"\\`\n]*)*\""
_PAIR = rb"(?:[^=\"'`\\\s]+|" + _QUOTED + rb")=[^\"'`\\\s]*(?:(?:" + _QUOTED + rb"|'[^'\\`\n]*')[^\"'`\\\s]*)*"
_PAIRS = rb"(?!-)" + _PAIR + rb"(?:" + _GAP + _PAIR + rb")*[ \t]*"
_OLD_PAIR = rb"(?!-)[^=\"'`\\\s]+" + _GAP + rb"[^`\\\s]" + _REST
_VALUE = rb"[!#-&(-;=-\[\]-_a-}]+"  # of a flag: no quote, no escape
_COMMAND = rb"[^-`\\\s\x85\xa0]" + _REST
_NO_FLAG = rb"(?!--|~\n)"  # nor one behind a continuation that the gap has left
_SOME = rb"(?=\S)" + _NO_FLAG + _REST
_STRING = rb"\"[^\"\\`\x00-\x1f]*\""
_STRINGS = rb"\[[ \t]*" + _STRING + rb"(?:[ \t]*,[ \t]*" + _STRING + rb")*[ \t]*\][ \t]*"
_TWO = rb"(?:[^-`\\\s\x85\xa0\[\"'][^\\\s]*" + _GAP + _SOME + rb"|" + _STRINGS.replace(b")*[", b")+[") + rb")"


def _flags(gap: bytes, **flags: str) -> t.Dict[bytes, bytes]:
    """Flags in the order in which most write them, each once, and all mounts first; a file with others has the thorough reader."""
    mounts = rb"(?:--mount=(?![!-}]*(?i:from))" + _VALUE + gap + rb")*"
    return {
        keyword.encode(): (mounts if keyword == "RUN" else b"")
        + b"".join(rb"(?:--" + flag.encode() + (b"" if flag == "link" else b"=" + _VALUE) + gap + rb")?" for flag in names.split())
        for keyword, names in flags.items()
    }


_ORDER = {"RUN": "network security", "COPY": "chown chmod link", "HEALTHCHECK": "interval timeout start-period start-interval retries"}
_FLAGS = _flags(_GAP, **_ORDER)

# What may follow each keyword if the line names no image.
_QUIET = {
    b"RUN": _FLAGS[b"RUN"] + _COMMAND,
    **dict.fromkeys(b"COPY ADD".split(), _FLAGS[b"COPY"] + _TWO),
    **dict.fromkeys(b"ENV LABEL".split(), rb"(?:" + _PAIRS + rb"|" + _OLD_PAIR + rb")"),
    b"ARG": _PAIRS,
    **dict.fromkeys(b"CMD ENTRYPOINT".split(), _NO_FLAG + _REST),
    **dict.fromkeys(b"WORKDIR EXPOSE USER STOPSIGNAL MAINTAINER".split(), _SOME),
    b"VOLUME": rb"(?:" + _STRINGS + rb"|(?!\[)" + _SOME + rb")",
    b"SHELL": _STRINGS,
    b"HEALTHCHECK": _FLAGS[b"HEALTHCHECK"] + rb"(?:NONE[ \t]*|CMD" + _GAP + _SOME + rb")",
}


_Match = t.Callable[..., t.Any]
_EMPTY = rb"[ \t]*(?:\n|#[^\n]*\n"
_IMAGE = rb"([A-Za-z0-9_.:/@][A-Za-z0-9_.:/@-]*)"
_NAME = rb"[A-Za-z0-9_]+"


# Compiled on first use, because compiling takes longer than reading many files.
@functools.lru_cache(maxsize=None)
def _compiled(shape: bytes, escape: bytes) -> _Match:
    return re.compile(shape.replace(b"~", re.escape(escape))).match


def quiet_lines(escape: bytes) -> _Match:
    """As many consecutive lines as possible. Flat, so that the first letter decides; lower-case keywords are rare and not matched here."""
    return _compiled(_QUIET_LINES, escape)


_QUIET_LINES = rb"(?:" + _EMPTY + b"|(?:" + b"|".join([keyword + _GAP + _QUIET[keyword] for keyword in _QUIET]) + b")" + _END + rb"))*"


def leading_lines(escape: bytes) -> _Match:
    """What may come before the first FROM if no variable matters."""
    return _compiled(_LEADING_LINES, escape)


_LEADING_LINES = rb"(?:" + _EMPTY + rb"|ARG[ \t]+" + _NAME + rb"(?:=[A-Za-z0-9_.:/@-]*)?[ \t]*" + _END + rb"))*"


def image_line(escape: bytes) -> _Match:
    """A literal image: in FROM, with the name of the stage, or in COPY --from; none of the three groups for an ARG without a value."""
    return _compiled(_IMAGE_LINE, escape)


_FROM = rb"FROM[ \t]+(?:--platform=" + _VALUE + rb"[ \t]+)?" + _IMAGE + rb"(?:[ \t]+[Aa][Ss][ \t]+([a-z][a-z0-9_.-]*))?[ \t]*"
_BEFORE = rb"(?:(?=--(?!from=))" + _FLAGS[b"COPY"] + rb"(?=--from=\S+[ \t]+[^-\s~]))?"  # no flag stands on both sides
_COPY = rb"COPY[ \t]+" + _BEFORE + rb"--from=" + _IMAGE + _GAP + _FLAGS[b"COPY"] + _TWO
_IMAGE_LINE = rb"[ \t]*(?:" + _FROM + b"|" + _COPY + rb"|ARG[ \t]+" + _NAME + rb"[ \t]*)" + _END


def heredoc_line(data: bytes, at: int) -> t.Any:
    """The line of one heredoc whose name and other words every version reads in the same way; its ``-``, and the name."""
    return _HEREDOC_LINE.match(data, at)


_WORDS = rb"[^-\[<\s'\"`\\$\x80-\xff][^<\n'\"`\\$\x80-\xff]*"
_LINE_FLAGS = _flags(rb"[ \t]+", **_ORDER)
_HEREDOC_LINE = re.compile(
    rb"[ \t]*(?:RUN[ \t]+"
    + _LINE_FLAGS[b"RUN"]
    + rb"|(?:COPY|ADD)(?=[^<\n]*<<\S+[ \t]+[^-\s])[ \t]+"
    + _LINE_FLAGS[b"COPY"]
    + rb")(?:"
    + _WORDS
    + rb"(?<=[ \t]))?"
    rb"[0-9]*<<(-?)([\"']?)([A-Za-z0-9_.]+)\2(?:[ \t]+(?:" + _WORDS + rb")?)?\n"
)


# The << of a heredoc may be split over two lines.
_SPLIT_ARROWS = re.compile(rb"<[\\`][ \t]*\r*\n")


def find_heredoc(data: bytes, at: int) -> int:
    """The position of the next possible heredoc; -1 if there is none."""
    at = data.find(b"<", at)
    while at >= 0 and data[at + 1 : at + 2] != b"<" and not _SPLIT_ARROWS.match(data, at):
        at = data.find(b"<", at + 1)
    return at


def has_odd_bytes(data: bytes, escape: bytes) -> bool:
    """Whether the file contains bytes that no expression here handles."""
    return b"\r" in data or b"\0" in data or b"\v" in data or b"\f" in data or data.startswith(escape)
