# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file .env: its values as compose reads them, and that an edit changes nothing but images."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.env_file import Env, EnvFile, EnvUse, is_in_env, mentioned, read_env
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import Edit
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.shell import UNKNOWN


def value(text, name="A"):
    found = Env([EnvFile(text.encode())]).look(name)
    return None if found is None else "?" if UNKNOWN in found.origin else found.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("A=b", "b", id="plain"),
        pytest.param("A=b\r\n", "b", id="CRLF"),
        pytest.param("\ufeffA=b", "b", id="a byte order mark"),
        pytest.param(" export A = b # c", "b", id="export, blanks, a comment"),
        pytest.param("A=b#c", "b#c", id="no comment"),
        pytest.param("A=", "", id="empty"),
        pytest.param("A= # c", "", id="nothing but a comment"),
        pytest.param("A: b", "b", id="a colon"),
        pytest.param("A='b # $C' # d", "b # $C", id="single quotes"),
        pytest.param('A="b # c" # d', "b # c", id="double quotes"),
        pytest.param('A="b\nB=c"', "b\nB=c", id="several lines"),
        pytest.param('A="b\\"c"', "?", id="escapes"),
        pytest.param("A=b\nA=c", "c", id="twice"),
        pytest.param("#A=b", None, id="a comment"),
        pytest.param("A", None, id="no value"),
        pytest.param("A='b", None, id="not closed"),
        pytest.param("C=d\nA=${C}/e", "d/e", id="a variable"),
        pytest.param('C=d\nA="$C/e"', "d/e", id="a variable in quotes"),
        pytest.param("A=${C}\nC=d", "?", id="a variable that comes later"),
        pytest.param("C=d\nA=${C}\nC=e", "?", id="a variable that is set again later"),
        pytest.param("C=d\nB=${C}\nA=${B}\nC=d", "?", id="a variable in a variable that is set again later"),
        pytest.param("A=d\nA=${A}/e", "?", id="a variable that is set again with itself"),
        pytest.param("C=d\nC=e\nA=${C}", "e", id="a variable that was set twice before"),
        pytest.param("C=d\nA=${C}\nA=f\nC=e", "f", id="set again without the variable"),
        pytest.param("A=${C:-d}", "d", id="a default"),
        pytest.param("A=${C", "?", id="a variable that is not closed"),
        pytest.param("A=$(c)", "?", id="a command"),
    ],
)
def test_values(text, expected):
    assert value(text) == expected


def test_places():
    env = Env([EnvFile(b"C=d\nA=${C}$(x)\n", "one"), EnvFile(b"A=x\nB=yz\nE=\n", "two")])
    assert env.given == {"C": "d", "A": "${C}$(x)", "B": "yz", "E": ""}
    assert [is_in_env(place) for place in (0, 10_000_000, env.look("C").origin[0], UNKNOWN)] == [False, False, True, False]
    assert list(env.look_behind(10)("B").origin) == [20, 21]
    assert (env.look("X"), env.look_behind(10)("X")) == (None, None)
    assert env.look_behind(10)("A").origin == [UNKNOWN]
    assert (env.defined("BXC"), sorted(env.every())) == ([("two", "B"), ("one", "C")], [("one", "A"), ("one", "C"), ("two", "B"), ("two", "E")])
    (start, end) = env.look("B").origin
    assert env.edits([Edit(start, end + 1, "q")]) == env.edits_of({"B": [Edit(0, 2, "q")]}) == (("two", Edit(6, 8, "q")),)


def test_reasons():
    env = Env([EnvFile(b"A=$(x)\nB=c\n")])
    assert env.unevaluated(["X", "B", "A"]) == ".env sets A to $(x), which is not evaluated here; write the mirror's name there"
    assert env.unevaluated(["B"]) == ""
    assert env.not_edited(((".env", Edit(9, 10, "d")),)) == ".env sets B to c; write the mirror's name there"


def test_a_file_is_read_where_no_other_contents_are_given():
    files = {"a/.env": b"A=b\n", "c/.env": None}
    assert read_env(["a/.env", "c/.env"], files.get).given == {"A": "b"}
    assert read_env(["a/.env"], files.get, EnvFile(b"A=x\n", "a/.env")).given == {"A": "x"}


def test_variables_in_a_text():
    assert mentioned("$A${A:-b}$$C${B-$D}") == ["A", "A", "B", "D"]


def edits(start, end, text, path=".env"):
    return ((path, Edit(start, end, text)),)


def use(line, names, wanted=()):
    return "c.yml", EnvUse(line, [(".env", name) for name in names], wanted)


REG = edits(4, 13, "m.x")
TEXT = b"REG=docker.io\nIMG=${REG}/redis\nTWO=docker.io\n"


@pytest.mark.parametrize(
    ("uses", "reason"),
    [
        pytest.param([use(1, ["REG"], REG)], "", id="one image"),
        pytest.param([use(1, ["REG"], REG), use(2, ["IMG"], REG), use(3, ["TWO"])], "", id="several images"),
        pytest.param([use(1, ["REG"], REG), ("c.yml", EnvUse(2, [("x/.env", "REG")]))], "", id="the same name in another file"),
        pytest.param([use(1, ["REG"], REG), use(2, ["REG"])], "line 2 of c.yml uses", id="something else"),
        pytest.param([use(1, ["REG"], REG), use(2, ["IMG"])], "line 2 of c.yml uses", id="something else that has it in it"),
        pytest.param([use(3, ["REG", "REG"], REG)], "line 3 of c.yml uses", id="twice in one"),
    ],
)
def test_an_edit_is_made_where_it_changes_nothing_else(uses, reason):
    file = EnvFile(TEXT)
    verdicts = file.verdicts(uses)
    assert verdicts == {REG: reason and f".env sets REG to docker.io, and {reason} REG in another way; use a separate variable for the image"}
    after = file.rewritten(verdicts)
    assert after.after == (TEXT if reason else TEXT.replace(b"REG=docker.io", b"REG=m.x"))
    assert after.changes == ([] if reason else [(1, "compose", "docker.io", "m.x")])


def test_images_that_need_different_texts():
    verdicts = EnvFile(TEXT).verdicts([use(1, ["REG"], REG), use(2, ["REG"], edits(4, 13, "m.y"))])
    assert verdicts[REG] == (".env sets REG to docker.io, and line 2 of c.yml needs a different value; write official images with library/ where REG is used")


@pytest.mark.parametrize("other", [edits(36, 45, ""), edits(4, 13, "", "x/.env")])
def test_an_edit_in_two_values_is_not_made(other):
    verdicts = EnvFile(TEXT).verdicts([use(1, ["REG", "TWO"], REG + other)])
    assert verdicts == {REG + other: "its registry is written in two places of .env; write it in one"}
