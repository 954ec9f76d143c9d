# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd and shells read from files, and how our lines come and go in them."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._formats.environment_file import (
    Directive,
    Setting,
    assignments,
    directives,
    environment_file,
    exports,
    with_exports,
    without,
    words,
)


@pytest.mark.parametrize(
    ("contents", "shell", "expected"),
    [
        pytest.param(b"# A=0\n; A=1\nA=2\n B = 3\n", False, [("A", "2", 3)], id="comments, and what is no assignment"),
        pytest.param(b"export A=1\nB=2\n", False, [("B", "2", 2)], id="systemd knows no export"),
        pytest.param(b"export A=1\nB=2\n", True, [("A", "1", 1), ("B", "2", 2)], id="a shell does"),
        pytest.param(b"A='x y'\"z\"\nB=x y\nC=x # y\n", False, [("A", "x yz", 1), ("B", "x y", 2), ("C", "x # y", 3)], id="systemd's words"),
        pytest.param(b"A='x y'\"z\" B=2\nB=x;y\nC= x\n", True, [("A", "x yz", 1), ("B", "x", 2), ("C", "", 3)], id="a shell's words"),
        pytest.param(b"A='x\n", False, [("A", "'x", 1)], id="a quote that is not closed"),
        pytest.param(b"A='x\n", True, [("A", "'x", 1)], id="a quote that is not closed, in a shell"),
        pytest.param(b"A=x\\\ny\nB=1\n", False, [("A", "xy", 1), ("B", "1", 3)], id="a line that goes on: no line end is in the value"),
        pytest.param(b"A=a,b \\\n c\n", False, [("A", "a,b  c", 1)], id="a line that goes on, with blanks"),
        pytest.param(b"A=1\nB=2\\", False, [("A", "1", 1), ("B", "2", 2)], id="a file that ends where a line goes on"),
    ],
)
def test_settings_of_a_file(contents, shell, expected):
    assert environment_file("/f", contents, shell) == [Setting(name, value, "/f", line) for name, value, line in expected]


def test_directives_of_the_service_alone():
    unit = b"[Unit]\nA=1\n[Service]\n# B=2\n;B=2\nB = 3 \\\n 4\n[Install]\nC=5\n"
    assert directives(unit) == [Directive("B", "3 \n 4", 6, 7)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("A=1 \"B=x y\" 'C=%%d'", [("A", "1"), ("B", "x y"), ("C", "%d")]),
        ("A=1 lone B=", [("A", "1"), ("B", "")]),
        ("A=it's B=2", [("A", "it's"), ("B", "2")]),
    ],
)
def test_variables_of_a_directive(value, expected):
    assert assignments(Directive("Environment", value, 7, 7), "/u") == [Setting(name, value, "/u", 7) for name, value in expected]


def test_words_of_a_line_with_an_open_quote_are_told_by_blanks():
    assert words("a 'b c' d") == ["a", "b c", "d"]
    assert words("a 'b c d") == ["a", "'b", "c", "d"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b'[Service]\nEnvironment="A=1" "B=x y" C=3\n', b'[Service]\nEnvironment="B=x y" C=3\n', id="beside others"),
        pytest.param(b"[Service]\nEnvironment=A=1 \\\n  A=2\nUser=x\n", b"[Service]\nUser=x\n", id="alone, in two lines"),
        pytest.param(b'[Service]\nEnvironment=A=1 "B=a\\"b\\\\"\n', b'[Service]\nEnvironment="B=a\\"b\\\\"\n', id="quotes in what stays"),
        pytest.param(b"[Service]\nEnvironment=AA=1 lone\nExecStart=x A=1\n", None, id="another name"),
        pytest.param(b"[Service]\nEnvironment=A=%Q B=1\n", None, id="a word that systemd ignores"),
        pytest.param(b"[Service]\nEnvironment=A=1 C=\\ B=2\n", None, id="a line that systemd ignores"),
        pytest.param(b"# A=0\nexport A=1\nB=2\nA=3", b"# A=0\nB=2\n", id="a shell's file"),
        pytest.param(b"A=1\\\n 2\\\n 3\nB=2\n", b"B=2\n", id="a value in three lines"),
        pytest.param(b"B=2\nA=1\\", b"B=2\n", id="a value that is cut off"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_variables_are_taken_out_and_every_other_byte_stays(before, after):
    assert without(before, {"A"}) == (before if after is None else after)


@pytest.mark.parametrize("before", [b"", b"A=1\n", b"A=1"])
def test_our_lines_come_once_and_go(before):
    once = with_exports(before, {"P": "it's"})
    assert once == before + (b"\n" if before == b"A=1" else b"") + exports({"P": "it's"}).encode()
    assert environment_file("/f", once, shell=True)[-1].value == "it's"
    assert with_exports(once, {"P": "it's"}) == once
    assert with_exports(once, {}) == before + (b"\n" if before == b"A=1" else b"")


def test_a_place_is_a_file_and_a_line_where_there_is_one():
    assert (Setting("A", "1", "/f", 3).place, Setting("A", "1", "the manager", 0).place) == ("/f, line 3", "the manager")
