# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A note about first spellings gives every byte back, or is not believed."""

from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import Change, rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.undo_note import LONGEST, restore_or_rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

HUB = {"docker.io": "m.x/hub"}
MORE = {**HUB, "ghcr.io": "m.x/ghcr"}
BACK, MORE_BACK = {"m.x/hub": "docker.io"}, {"m.x/hub": "docker.io", "m.x/ghcr": "ghcr.io"}
BEFORE = b"FROM docker.io/library/redis AS a\nFROM redis\n"


def run(found, written=b"", mirrors=None):
    """What a run makes of a file with a note: the rewrite, and the next note."""
    mirrors = Mirrors(HUB if mirrors is None else mirrors)
    result = rewrite(found, mirrors)
    return restore_or_rewrite(found, result, written, mirrors, "latin-1", rewrite) if result.after != found else (result, written)


def after(found, *maps):
    """One run after the other."""
    written = b""
    for mirrors in maps:
        result, written = run(found, written, mirrors)
        found = result.after
    return found


@pytest.mark.parametrize(
    "before",
    [
        BEFORE,
        b"FROM library/redis\n# \xe4",
        b"ARG A=docker.io\nFROM $A/a/b\n",
        b"FROM DOCKER.io/a\nFROM docker.io/b\n",
        b"FROM ${X}php\n",
        b"FROM x.y/a\nRUN --mount=from=0,target=/x y\n",
        b"FROM x.y/a\nCOPY --from=docker.io/library/0 x y\n",
        b"FROM redis\nFROM m.x/other\n",
    ],
)
def test_every_byte_comes_back(before):
    assert run(before)[0].after != before
    assert after(before, HUB, BACK) == before
    assert after(before, HUB, BACK, HUB, BACK, BACK) == before


@pytest.mark.parametrize(
    ("before", "mirrors"),
    [
        (b"FROM redis\n", HUB),
        (b"FROM a/library/b AS x\nFROM docker.io.example.com/c\n", HUB),
        (b"FROM quay.io/a/b\nFROM redis\n", HUB),
        pytest.param(b"FROM docker.io/a" + b"\nFROM docker.io/a" * LONGEST, HUB, id="too long"),
        pytest.param(b"FROM n.x/a\nFROM q.x/library/b\n", {"a.x/b/c": "z.x", "n.x": "a.x/b"}, id="a map that cannot be read backwards"),
    ],
)
def test_no_note_where_none_is_needed_or_it_is_too_long(before, mirrors):
    assert run(before, mirrors=mirrors)[1] == b""


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param({"sha256": "0"}, id="the file was edited since"),
        pytest.param({"mirrors": {"docker.io": "m.y/hub"}}, id="another map"),
        pytest.param({"mirrors": {"docker.io": "https://m.x"}}, id="no map"),
        pytest.param({"back": [[0, 0]]}, id="no edits"),
        pytest.param({"back": [[0, 0, "RUN x\n"]]}, id="edits of something else"),
        pytest.param({"back": 7}, id="a number"),
        pytest.param({"back": [[0, 0, "\u20ac"]]}, id="what the file cannot hold"),
    ],
)
def test_a_note_of_others_is_not_believed(damage):
    result, written = run(BEFORE)
    assert run(result.after, written, BACK)[0].after == BEFORE
    assert run(result.after, json.dumps({**json.loads(written), **damage}).encode(), BACK)[0].after == b"FROM redis AS a\nFROM redis\n"


@pytest.mark.parametrize("written", [b"", b"{}", b"[]", b"\xff", b'{"mirrors": 7}'])
def test_bytes_that_are_no_note(written):
    assert run(run(BEFORE)[0].after, written, BACK)[0].after == b"FROM redis AS a\nFROM redis\n"


def test_the_undo_reports_what_it_writes():
    result, written = run(BEFORE)
    assert run(result.after, written, BACK)[0].changes == [
        Change(1, "from", "m.x/hub/library/redis", "docker.io/library/redis"),
        Change(2, "from", "m.x/hub/library/redis", "redis"),
    ]


def test_what_stands_at_the_mirror_beside_it_moves_too():
    """Whether it stood there before us or a run of ours put it there, nobody can tell."""
    result, written = run(BEFORE + b"FROM m.x/hub/library/alpine\n")
    assert run(result.after, written, BACK)[0].after == b"FROM redis AS a\nFROM redis\nFROM alpine\n"


@pytest.mark.parametrize("end", [b"", b"FROM ghcr.io/b\n", b"FROM ghcr.io/library/b\n"])
@pytest.mark.parametrize("before", [b"FROM redis\n", b"ARG X=ghcr.io\nFROM $X/y\nFROM redis\n", BEFORE])
def test_a_larger_map_keeps_the_first_spelling(before, end):
    assert after(before + end, HUB, MORE, MORE_BACK) == before + end


@pytest.mark.parametrize("end", [b"", b"FROM m.x/ghcr/b\n"])
def test_a_larger_undo_gives_the_first_spelling_and_moves_the_rest(end):
    result, written = run(BEFORE + end)
    result, _rest = run(result.after, written, MORE_BACK)
    assert result.after == BEFORE + end.replace(b"m.x/ghcr", b"ghcr.io")
    assert [change.line for change in result.changes] == [1, 2] + [3] * bool(end)


def test_an_undo_that_leads_elsewhere_below_the_mirror_is_another_map():
    before = b"FROM docker.io/library/redis\nFROM a/b\n"
    result, written = run(before)
    assert run(result.after, written, {**BACK, "m.x/hub/a": "quay.io"})[0].after == b"FROM redis\nFROM quay.io/b\n"


def test_a_note_of_another_map_is_no_reason_to_keep_a_text_that_this_map_would_not_make():
    result, written = run(BEFORE, mirrors={"docker.io": "ghcr.io/hub"})
    result, written = run(result.after, written, {"ghcr.io": "m.x/ghcr"})
    assert result.after == b"FROM m.x/ghcr/hub/library/redis AS a\nFROM m.x/ghcr/hub/library/redis\n"
    assert run(result.after, written, {"m.x/ghcr": "ghcr.io"})[0].after == b"FROM ghcr.io/hub/library/redis AS a\nFROM ghcr.io/hub/library/redis\n"
