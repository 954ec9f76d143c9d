# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A note about first spellings gives every byte back, or is not believed."""

from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._mirror import Mirrors
from ansible_collections.buildfleet.docker.plugins.module_utils._spelling import LONGEST, first_bytes, note

FORWARD, BACK = Mirrors({"docker.io": "m.x/hub"}), Mirrors({"m.x/hub": "docker.io"})
BEFORE = b"FROM docker.io/library/redis AS a\nFROM redis\n"


def noted(before):
    return note(before, rewrite(before, FORWARD), FORWARD, "latin-1")


def given_back(found, written, mirrors=BACK):
    return first_bytes(found, written, mirrors, "latin-1", rewrite)


@pytest.mark.parametrize(
    "before", [BEFORE, b"FROM library/redis\n# \xe4", b"ARG A=docker.io\nFROM $A/a/b\n", b"FROM DOCKER.io/a\nFROM docker.io/b\n", b"FROM ${X}php\n"]
)
def test_every_byte_comes_back(before):
    assert given_back(rewrite(before, FORWARD).after, noted(before)) == before


@pytest.mark.parametrize(
    "before",
    [
        b"FROM redis\n",
        b"FROM a/library/b AS x\nFROM docker.io.example.com/c\n",
        b"FROM quay.io/a/b\n",
        pytest.param(b"FROM docker.io/a" + b"\nFROM docker.io/a" * LONGEST, id="too long"),
    ],
)
def test_no_note_where_none_is_needed_or_it_is_too_long(before):
    assert noted(before) == b""


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
    found = rewrite(BEFORE, FORWARD).after
    assert given_back(found, noted(BEFORE)) == BEFORE
    assert given_back(found, json.dumps({**json.loads(noted(BEFORE)), **damage}).encode()) is None


@pytest.mark.parametrize("written", [b"", b"{}", b"[]", b"\xff", b'{"mirrors": 7}'])
def test_bytes_that_are_no_note(written):
    assert given_back(rewrite(BEFORE, FORWARD).after, written) is None
