# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the references of a file were spelled before a rewrite, so that the undo can give every byte back.

``docker.io/library/redis`` and ``redis`` become the same name at a mirror. A note about the difference is kept beside the
file (an extended attribute); it holds the edits that take the rewrite back, and counts only while the file is as it was left.
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import Change, Edit, Rewrite, spliced
from ansible_collections.buildfleet.docker.plugins.module_utils._image_name import InvalidImageName
from ansible_collections.buildfleet.docker.plugins.module_utils._mirror import MirrorError, Mirrors

LONGEST = 3000  # some file systems keep all attributes of a file in one block

Work = t.Callable[[bytes, Mirrors], Rewrite]


def note(before: bytes, result: Rewrite, mirrors: Mirrors, encoding: str) -> bytes:
    """Nothing where the undo comes to the same bytes by itself."""
    if all(_comes_back(change, mirrors) for change in result.changes):
        return b""
    text = before.decode(encoding)
    back: t.List[Edit] = []
    moved = 0
    for start, end, new in result.edits:
        back.append(Edit(start + moved, start + moved + len(new), text[start:end]))
        moved += len(new) - (end - start)
    written = json.dumps({"mirrors": mirrors.targets, "sha256": _digest(result.after), "back": back}).encode()
    return written if len(written) <= LONGEST else b""


def first_bytes(found: bytes, written: bytes, mirrors: Mirrors, encoding: str, work: Work) -> t.Optional[bytes]:
    """The file as it was before the rewrite, if it is as the rewrite left it and ``mirrors`` is that map read backwards."""
    try:
        kept = json.loads(written)
        forward = Mirrors(kept["mirrors"])
        if kept["sha256"] != _digest(found) or mirrors.targets != forward.back.targets:
            return None
        first = spliced(found.decode(encoding), [Edit(*edit) for edit in kept["back"]]).encode(encoding)
    except (ValueError, KeyError, TypeError, AttributeError, MirrorError):
        return None  # not written by us
    return first if work(first, forward).after == found and not work(first, mirrors).changes else None


def _comes_back(change: Change, mirrors: Mirrors) -> bool:
    try:
        name = mirrors.back.replacement(change.after)
    except (InvalidImageName, MirrorError):
        return False
    return name is not None and name.familiar == change.before


def _digest(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()
