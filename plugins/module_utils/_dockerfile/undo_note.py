# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the references of a file were spelled before a rewrite, so that the undo can restore every byte.

``docker.io/library/redis`` and ``redis`` become the same name at a mirror. A note about the difference is kept with the
file (an extended attribute); it contains the edits that revert the rewrite, and is valid only while the file is unchanged.
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.references import NUMBER
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import Change, Edit, Rewrite, spliced
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import MirrorError, Mirrors, is_under

LONGEST = 3000  # some file systems keep all attributes of a file in one block

Work = t.Callable[[bytes, Mirrors], Rewrite]


class _Kept(t.NamedTuple):
    """What a note says: the text before the rewrite, and the map."""

    first: bytes
    forward: Mirrors


def restore_or_rewrite(found: bytes, result: Rewrite, written: bytes, mirrors: Mirrors, encoding: str, work: Work) -> t.Tuple[Rewrite, bytes]:
    """What to make of a file that ``mirrors`` changes and that has the note ``written``; and the note to leave with it."""
    kept = _read(found, written, encoding, work) if written else None
    taken = _taken_back(kept, mirrors, work) if kept else None
    if taken:
        return taken, b""
    again = work(kept.first, mirrors) if kept else result
    if kept and again.after == result.after:  # an earlier run of ours had a smaller map
        return result, _note(kept.first, again, mirrors, encoding)
    return result, _note(found, result, mirrors, encoding)


def _read(found: bytes, written: bytes, encoding: str, work: Work) -> t.Optional[_Kept]:
    """None for a note that is about another text, or that is not ours."""
    try:
        note = json.loads(written)
        kept = _Kept(spliced(found.decode(encoding), [Edit(*edit) for edit in note["back"]]).encode(encoding), Mirrors(note["mirrors"]))
        is_ours = note["sha256"] == _digest(found) and kept.forward.back and work(kept.first, kept.forward).after == found
        return kept if is_ours else None
    except (ValueError, KeyError, TypeError, AttributeError, MirrorError):
        return None


def _taken_back(kept: _Kept, mirrors: Mirrors, work: Work) -> t.Optional[Rewrite]:
    """The first text, if the map that made this one of it is read backwards in ``mirrors``; what else that names is moved in it."""
    own = kept.forward.back.targets
    others = {key: mirror for key, mirror in mirrors.targets.items() if key not in own}
    if not own.items() <= mirrors.targets.items() or any(is_under(key, mine) for key in others for mine in own) or work(kept.first, kept.forward.back).changes:
        return None
    rest = work(kept.first, Mirrors(others))
    there = work(kept.first, kept.forward)
    changes = sorted([*(Change(line, kind, after, before) for line, kind, before, after in there.changes), *rest.changes])
    return Rewrite(rest.after, changes, rest.skipped)


def _note(first: bytes, result: Rewrite, mirrors: Mirrors, encoding: str) -> bytes:
    """Nothing where the undo comes to the same bytes by itself, or where there is none."""
    try:
        if all(_comes_back(change, mirrors) for change in result.changes):
            return b""
    except MirrorError:
        return b""
    text = first.decode(encoding)
    back: t.List[Edit] = []
    moved = 0
    for start, end, new in result.edits:
        back.append(Edit(start + moved, start + moved + len(new), text[start:end]))
        moved += len(new) - (end - start)
    written = json.dumps({"mirrors": mirrors.targets, "sha256": _digest(result.after), "back": back}).encode()
    return written if len(written) <= LONGEST else b""


def _comes_back(change: Change, mirrors: Mirrors) -> bool:
    if change.before == "scratch" or NUMBER.fullmatch(change.before):
        return False  # where these mean no image the undo writes the full name
    try:
        move = mirrors.back.move(change.after)
    except InvalidImageName:
        return False
    return move is not None and move.after == change.before


def _digest(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()
