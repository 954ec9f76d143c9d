# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words as BuildKit's shell lexer reads them: value, places, and what it refuses."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.shell import Lexer, ShellError, expand, written

VALUES = {"A": "abcabc", "E": "", "R": "docker.io", "P": "a/b", "S": "*", "B": "a\\b"}


def look(name):
    return written(VALUES[name], range(1000, 1000 + len(VALUES[name]))) if name in VALUES else None


def value(word, escape="\\"):
    return expand(written(word, range(len(word))), escape, look)[0].text


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("x$A-${A}y", "xabcabc-abcabcy"),
        ("'$A'", "$A"),
        ("\"$A'x'\"", "abcabc'x'"),
        (r"\$A\x", "$Ax"),
        (r'"\$A\"\x"', '$A"\\x'),
        ("a\\", "a"),
        ("$.x$", "$.x$"),
        ("$1x", "x"),
        ("${A:-x}${E:-x}${N:-x}${E-x}${N-x}", "abcabcxxx"),
        ("${A:+x}${E:+x}${N:+x}${E+y}", "xy"),
        ("${A:?x}${E?x}", "abcabc"),
        ("${N:-${R}/'q $A'}", "docker.io/q $A"),
        ("${A#a*b}", "cabc"),
        ("${A##a*b}", "c"),
        ("${A%b*}", "abca"),
        ("${A%%b*}", "a"),
        ("${A#x}${A%x}", "abcabcabcabc"),
        ("${A#?b}", "cabc"),
        ("${N#x}", ""),
        ("${S#\\*}", ""),
        ("${A#\\*}", "abcabc"),
        ("${B#a\\\\}", "b"),
        ("${A/b/x}", "axcabc"),
        ("${A//b/x}", "axcaxc"),
        ("${A//b/}", "acac"),
        ("${A/?/${R}}", "docker.iobcabc"),
        ("${A/x/y}", "abcabc"),
        ("${P/\\//:}", "a:b"),
        ("${P/b\\}/x}", "a/b"),
        ("${N/a/b}", ""),
        ("${A/./x}", "abcabc"),
        ("${A//*/x}${E//*/x}", "xx"),
        ("${A//c*/x}", "abx"),
        ("${A//z*/x}", "abcabc"),
        ("${A/*c/x}", "x"),
        ("${A//?/x}", "xxxxxx"),
        ("${S/\\*/x}${A/\\*/x}", "xabcabc"),
        ("${A##*}${A%%*c*}", ""),
    ],
)
def test_a_word_has_one_value(word, expected):
    assert value(word) == expected


def test_the_other_escape_token():
    assert value("`$A\\$A", "`") == "$A\\abcabc"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("'a", "a single quote is not closed"),
        ('"a', "a double quote is not closed"),
        ('"a\\', "a double quote is not closed"),
        ("${A", "} is missing"),
        ("${A:-x", "} is missing"),
        ("${A/b", "/ is missing"),
        ("${A/b/c", "} is missing"),
        ("${}", "a substitution has no name"),
        ("${:-x}", "a substitution has no name"),
        ("${", "a substitution has no name"),
        ("${A!}", "the modifier ! is not known"),
        ("${A:#x}", "the modifier :# is not known"),
        ("${A:x}", "the modifier :x is not known"),
        ("${A#\\x}", "\\x is not known in a pattern"),
        ("${E:?x}", "E must not be empty"),
    ],
)
def test_a_word_that_buildkit_refuses(word, message):
    with pytest.raises(ShellError) as caught:
        value(word)
    assert str(caught.value) == message


def test_every_character_knows_where_it_was_written_and_through_which_dollar_it_came():
    found, empty, unset = expand(written('a"${N:-bc}"$R$E${N}', range(19)), "\\", look)
    assert list(zip(*found))[:5] == [("a", 0, 0), ("b", 7, 2), ("c", 8, 2), ("d", 1000, 11), ("o", 1001, 11)]
    assert [tuple(each) for each in empty] == [(12, 13, 15, "$E"), (12, 15, 19, "${N}")]
    assert unset == ["N"]


@pytest.mark.parametrize("word", ["x$A${E}${N}-$N", "${A}", "$", "a", ""])
def test_the_quick_way_and_the_thorough_one_agree(word):
    thorough = Lexer(written(word, range(len(word))), "\\", look)
    seen = thorough.value()
    assert expand(written(word, range(len(word))), "\\", look) == (seen, thorough.empty, thorough.unset)


def test_a_variable_that_must_be_set_is_named():
    assert expand(written("a${N:?set it}", range(13)), "\\", look)[2] == ["N"]


@pytest.mark.parametrize(("word", "expected"), [("${N}/b", "x/b"), ("a:${N:?set it}", "a:x"), ("$R:$N", "docker.io:x")])
def test_what_nobody_set_may_be_anything(word, expected):
    found, _empty, _unset = expand(written(word, range(len(word))), "\\", look, unset_is_unknown=True)
    assert found.text == expected and [origin for char, origin in zip(found.text, found.origin) if char == "x"] == [-2]


@pytest.mark.parametrize(
    ("line", "more", "expected"),
    [
        pytest.param("cat  <<E 'a b'", {}, ["cat", "<<E", "a b"], id="blanks part, quotes hold together"),
        pytest.param("cat <<E 'a b' \\x", {"raw": True}, ["cat", "<<E", "'a b'", "\\x"], id="raw"),
        pytest.param('"a $R" \'\' "\\""', {"raw": True}, ['"a docker.io"', "''", '"\\""'], id="raw in quotes"),
        pytest.param("a $N ${N} ${N:-y z} ${N/a/b}", {"keep_unset": True}, ["a", "$N", "${N}", "${N:-y", "z}", "${N/a/b}"], id="unset stays"),
        pytest.param("${N//a/b}", {"keep_unset": True}, ["${N/a/b}"], id="unset stays, but for a second slash that BuildKit loses"),
        pytest.param("cat << E <x", {"blank_after_arrows": True}, ["cat", "<< E", "<x"], id="a blank behind arrows"),
        pytest.param("cat << E", {"blank_after_arrows": False}, ["cat", "<<", "E"], id="a blank behind arrows, before 1.16"),
        pytest.param("", {}, [], id="nothing"),
    ],
)
def test_words_of_a_line(line, more, expected):
    assert Lexer(written(line, range(len(line))), "\\", look, **more).words() == expected


def test_a_pattern_takes_time_that_grows_with_both_lengths_alone():
    values = {"L": written("ab" * 2000, range(4000))}
    assert expand(written("${L#" + "*a" * 30 + "c}", range(66)), "\\", values.get)[0].text == "ab" * 2000
