# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files as values, and the accounts that own them."""

from __future__ import annotations

import typing as t


class File(t.NamedTuple):
    """A file as it is, or as a run is to leave it."""

    contents: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


Files = t.Dict[str, t.Optional[File]]  # by absolute path; None: there is no file
Changes = Files  # the files that a run writes; None: removed


class Account(t.NamedTuple):
    """A user of the host, from its password database."""

    name: str
    home: str
    uid: int
    gid: int
