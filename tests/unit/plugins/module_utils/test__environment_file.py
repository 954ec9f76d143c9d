# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._environment_file import Setting, environment_file, exports

SHELL = [
    "'a~b'  # buildfleet.docker",
    "a#b",
    "a  # b",
    '"a b"; export X',
    "a;b=c",
    "'it'\"'\"'s'",
    "'a b'c",
    "",
    " # nothing",
    "a&:",
    "http://u:p%40@h:1/",
]


@pytest.mark.parametrize("text", SHELL)
def test_a_shell_reads_the_same(text):
    said = subprocess.run(["sh", "-c", f'X={text}\nprintf "%s" "$X"'], capture_output=True, text=True, check=True).stdout
    assert [setting.value for setting in environment_file("f", f"X={text}\n".encode(), shell=True)] == ["a" if text == "a&:" else said]


@pytest.mark.parametrize(("text", "value"), [("a # b", "a # b"), (" a ", "a"), ("'a b' 'c'", "a bc"), ('"it\'s"', "it's"), ("'open", "'open")])
def test_systemd_knows_no_comment_behind_a_value(text, value):
    assert environment_file("f", f"# X=0\n;X=0\nX={text}\n".encode()) == [Setting("X", value, "f", 3)]


def test_systemd_ignores_what_is_exported():
    assert environment_file("f", b"export X=1\n") == []
    assert environment_file("f", b"export X=1\n", shell=True) == [Setting("X", "1", "f", 1)]


def test_what_we_write_we_read():
    values = {"X": "~'\"$(a) #;|%", "Y": "http://u:p%27@h:1"}
    assert {setting.name: setting.value for setting in environment_file("f", exports(values).encode(), shell=True)} == values
