# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files as values, and the accounts that own them."""

from __future__ import annotations

import typing as t


class File(t.NamedTuple):
    """A file as it is, or as a run will write it."""

    contents: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


Files = t.Dict[str, t.Optional[File]]  # by absolute path; None: no such file
Changes = Files  # the files that a run writes; None: removed


def diff(path: str, before: t.Optional[File], after: t.Optional[File], masked: t.Callable[[str], str]) -> t.Dict[str, str]:
    """One entry of a module's diff. ``masked`` hides credentials; if only these differ, a line says so."""
    (before_header, before_text), (after_header, after_text) = _side(path, before), _side(path, after)
    if before_text != after_text and masked(before_text) == masked(after_text):
        after_text += "(with other credentials)\n"
    return {"before_header": before_header, "before": before_text, "after_header": after_header, "after": after_text}


def _side(path: str, file: t.Optional[File]) -> t.Tuple[str, str]:
    if file is None:
        return f"{path} (absent)", ""
    return f"{path} (mode {file.mode:04o})", file.contents.decode(errors="replace")


class Account(t.NamedTuple):
    """A user of the host, from its password database."""

    name: str
    home: str
    uid: int
    gid: int
