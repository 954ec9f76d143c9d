# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the references of a file were spelled before a rewrite, so that the undo can give every byte back.

``docker.io/library/redis`` and ``redis`` become the same name at a mirror, and so does what stood at the mirror before. A note
about the difference is kept beside the file (an extended attribute); it holds the edits that take the rewrite back, and counts
only while the file is as it was left.
"""

from __future__ import annotations

import hashlib
import json
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import Change, Edit, Rewrite, Skip, spliced
from ansible_collections.buildfleet.docker.plugins.module_utils._image_name import DOCKER_HUB, InvalidImageName
from ansible_collections.buildfleet.docker.plugins.module_utils._mirror import MirrorError, Mirrors, is_under
from ansible_collections.buildfleet.docker.plugins.module_utils._references import NUMBER

LONGEST = 3000  # some file systems keep all attributes of a file in one block
_STAYS = "It was at the mirror before the first rewrite, and the undo gives back what was there; edit it by hand if it shall move."

Work = t.Callable[[bytes, Mirrors], Rewrite]


class _Kept(t.NamedTuple):
    """What a note says: the text before the rewrite, the map of that and its undo, and whether it had references at the mirror already."""

    first: bytes
    forward: Mirrors
    back: Mirrors
    is_mixed: bool


def settled(found: bytes, result: Rewrite, written: bytes, mirrors: Mirrors, encoding: str, work: Work) -> t.Tuple[Rewrite, bytes]:
    """What to make of a file that ``mirrors`` changes and that has the note ``written``; and the note to leave with it."""
    kept = _read(found, written, encoding, work) if written else None
    taken = _taken_back(found, kept, mirrors, work) if kept else None
    if taken:
        return taken
    try:
        return result, _new_note(found, result, kept, mirrors, encoding, work)
    except MirrorError:
        return result, b""  # the map cannot be read backwards


def _read(found: bytes, written: bytes, encoding: str, work: Work) -> t.Optional[_Kept]:
    """None for a note that is about another text, or that is not ours."""
    try:
        note = json.loads(written)
        forward = Mirrors(note["mirrors"])
        back = [Edit(*edit) for edit in note["back"]]
        first = spliced(found.decode(encoding), back).encode(encoding)
        is_ours = note["sha256"] == _digest(found) and (not back or work(first, forward).after == found)
        return _Kept(first, forward, forward.back, note.get("mixed") is True) if is_ours else None
    except (ValueError, KeyError, TypeError, AttributeError, MirrorError):
        return None


def _taken_back(found: bytes, kept: _Kept, mirrors: Mirrors, work: Work) -> t.Optional[t.Tuple[Rewrite, bytes]]:
    """The first text, if the map that made this one of it is read backwards in ``mirrors``; what else that names is moved in it."""
    own = kept.back.targets
    others = {key: mirror for key, mirror in mirrors.targets.items() if key not in own}
    if not own.items() <= mirrors.targets.items() or any(is_under(key, mine) for key in others for mine in own):
        return None
    staying = work(kept.first, kept.back)
    if staying.changes and not kept.is_mixed:
        return None
    rest = work(kept.first, Mirrors(others))
    there = work(kept.first, kept.forward) if kept.first != found else Rewrite(found, [], [])
    changes = sorted([*(Change(line, kind, after, before) for line, kind, before, after in there.changes), *rest.changes])
    skipped = [*staying.skipped, *rest.skipped, *(Skip(line, kind, before, _STAYS) for line, kind, before, _rest in staying.changes)]
    return Rewrite(rest.after, changes, skipped), _written(kept.forward, rest.after, [], True) if staying.changes else b""


def _new_note(before: bytes, result: Rewrite, kept: t.Optional[_Kept], mirrors: Mirrors, encoding: str, work: Work) -> bytes:
    """About the first text: that is not the one before where an earlier run of ours had a smaller map."""
    if kept:
        again = work(kept.first, mirrors)
        if again.after == result.after:
            return _note(kept.first, again, mirrors, encoding, kept.is_mixed)
    back = work(before, mirrors.back) if _may_be_at_a_mirror(before, mirrors) else None
    if back is None or not back.changes or _moves_to_what_is_there(before, result, mirrors):
        return _note(before, result, mirrors, encoding, back is not None and bool(back.changes))
    again = work(back.after, mirrors)
    return _note(back.after, again, mirrors, encoding, False) if again.after == result.after else b""


def _note(first: bytes, result: Rewrite, mirrors: Mirrors, encoding: str, is_mixed: bool) -> bytes:
    """Nothing where the undo comes to the same bytes by itself."""
    if not is_mixed and all(_comes_back(change, mirrors) for change in result.changes):
        return b""
    text = first.decode(encoding)
    back: t.List[Edit] = []
    moved = 0
    for start, end, new in result.edits:
        back.append(Edit(start + moved, start + moved + len(new), text[start:end]))
        moved += len(new) - (end - start)
    return _written(mirrors, result.after, back, is_mixed)


def _written(mirrors: Mirrors, after: bytes, back: t.Sequence[Edit], is_mixed: bool) -> bytes:
    note = {"mirrors": mirrors.targets, "sha256": _digest(after), "back": back, "mixed": is_mixed}
    written = json.dumps(note).encode()
    return written if len(written) <= LONGEST else b""


def _comes_back(change: Change, mirrors: Mirrors) -> bool:
    if change.before == "scratch" or NUMBER.fullmatch(change.before):
        return False  # where these mean no image the undo writes the full name
    try:
        name = mirrors.back.replacement(change.after)
    except InvalidImageName:
        return False
    return name is not None and name.familiar == change.before


def _away(mirrors: Mirrors) -> t.List[str]:
    """The mirrors of a rewrite. An undo leads to registries; what is there already is no mirror's, and shall move when the rewrite comes again."""
    return [to for key, to in mirrors.targets.items() if to.partition("/")[0] != DOCKER_HUB and ("/" in to or "/" not in key)]


def _may_be_at_a_mirror(before: bytes, mirrors: Mirrors) -> bool:
    lower = before.lower()
    return any(mirror.partition("/")[0].encode() in lower for mirror in _away(mirrors))


def _moves_to_what_is_there(before: bytes, result: Rewrite, mirrors: Mirrors) -> bool:
    """Else what is at a mirror came there by an earlier run with a part of the map."""
    text = before.decode("latin-1").lower()
    return any(mirror in change.after and mirror not in change.before and mirror in text for mirror in _away(mirrors) for change in result.changes)


def _digest(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()
