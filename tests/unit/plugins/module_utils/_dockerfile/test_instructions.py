# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Dockerfiles as BuildKit's parser reads them: which lines are instructions, with which flags, and what it refuses."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.instructions import READINGS, Rejected, read

OLDEST = READINGS[-1]


def seen(data, reading=READINGS[0]):
    """Keyword, flags and text of the instructions that name images, or could."""
    quiet = ("WORKDIR", "CMD", "ENV", "LABEL")
    found = [(one.keyword, [flag.text for flag in one.flags], one.text) for one in read(data, reading).instructions if one.keyword not in quiet]
    return [one for one in found if one[0] != "RUN" or one[1] or "<<" in one[2]]


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF: the long way"])
@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param("FROM a\nRUN x\nCMD x\n\n# FROM b\nFROM c", [("FROM", [], "a"), ("FROM", [], "c")], id="comments and quiet lines"),
        pytest.param("ARG A=b\nFROM a\nARG A\n", [("ARG", [], "A=b"), ("FROM", [], "a"), ("ARG", [], "A")], id="arguments"),
        pytest.param("FROM a\nCO\\\nPY --from=b c d\n", [("FROM", [], "a"), ("COPY", ["--from=b"], "c d")], id="a keyword in two lines"),
        pytest.param("from a\ncopy --from=b --link c d\n", [("FROM", [], "a"), ("COPY", ["--from=b", "--link"], "c d")], id="small letters"),
        pytest.param(
            "FROM a\nRUN <<E <<-F\nFROM b\nE\n\tFROM c\n\tF\nFROM d\n", [("FROM", [], "a"), ("RUN", [], "<<E <<-F"), ("FROM", [], "d")], id="heredocs"
        ),
        pytest.param("FROM a\nRUN <<E\nEE\nxE\nE\nFROM d\n", [("FROM", [], "a"), ("RUN", [], "<<E"), ("FROM", [], "d")], id="a name within other words"),
        pytest.param("FROM a\nRUN <<'a b'\nFROM b\na b\nFROM d\n", [("FROM", [], "a"), ("RUN", [], "<<'a b'"), ("FROM", [], "d")], id="a name with a blank"),
        pytest.param('FROM a\nRUN <<"" x\nFROM d\n', [("FROM", [], "a"), ("RUN", [], '<<"" x'), ("FROM", [], "d")], id="a name of nothing"),
        pytest.param("FROM a\nRUN <<$X\nFROM b\n$X\nFROM d\n", [("FROM", [], "a"), ("RUN", [], "<<$X"), ("FROM", [], "d")], id="a name that is no variable"),
        pytest.param("FROM a\nRUN <<'E\nFROM d\n", [("FROM", [], "a"), ("RUN", [], "<<'E"), ("FROM", [], "d")], id="a line that cannot be lexed"),
        pytest.param('FROM a\nRUN ["x", "<<E"]\nFROM d\n', [("FROM", [], "a"), ("RUN", [], '["x", "<<E"]'), ("FROM", [], "d")], id="JSON"),
        pytest.param('FROM a\nRUN ["\\u0041", "<<E"]\nFROM d\n', [("FROM", [], "a"), ("RUN", [], '["\\u0041", "<<E"]'), ("FROM", [], "d")], id="JSON, escapes"),
        pytest.param("FROM a\nRUN [ x ] <<E\nFROM b\nE\nFROM d\n", [("FROM", [], "a"), ("RUN", [], "[ x ] <<E"), ("FROM", [], "d")], id="a test is no JSON"),
        pytest.param("FROM a\nRUN cat <<E\nx\nE\nRUN x\nFROM b\n", [("FROM", [], "a"), ("RUN", [], "cat <<E"), ("FROM", [], "b")], id="quiet lines behind one"),
        pytest.param("FROM a\nCOPY -- --from=b c d\n", [("FROM", [], "a"), ("COPY", [], "--from=b c d")], id="the end of the flags"),
        pytest.param(
            "FROM a\nRUN --mount='type=bind,from=b' --network=\"y z\" --security=a\\ b ls\n",
            [("FROM", [], "a"), ("RUN", ["--mount=type=bind,from=b", "--network=y z", "--security=a b"], "ls")],
            id="quotes in flags",
        ),
        pytest.param("FROM a\nONBUILD COPY --from=b c d\n", [("FROM", [], "a"), ("COPY", ["--from=b"], "c d")], id="ONBUILD"),
        pytest.param("FROM a\nENV A=b \\\n  c=d\nENV a b c\nLABEL 'x y'=z\nFROM b\n", [("FROM", [], "a"), ("FROM", [], "b")], id="pairs"),
    ],
)
def test_instructions(lines, end, expected):
    assert seen(lines.replace("\n", end).encode()) == expected


@pytest.mark.parametrize("end", ["\n", "\r\n"], ids=["LF", "CRLF: the long way"])
@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("RUN x\nFROM a\n", "an instruction comes before the first FROM"),
        ("FROM a\nFORM b\n", "FORM is not an instruction"),
        ("FROM a\nONBUILD FROM b\n", "FROM is not allowed after ONBUILD"),
        ("FROM a\nENV A\n", "ENV needs a name and a value"),
        ("FROM a\nLABEL a=b c\n", "LABEL takes NAME=VALUE only"),
        ("FROM a\nRUN <<E\nx\n", "the heredoc E is not terminated"),
        ('FROM a\nRUN <<${X:-\\"}\nx\n', "the name of a heredoc cannot be read"),
        ("# escape=x\nFROM a\n", "the escape directive must be \\ or `"),
        ("# escape=`\n# escape=`\nFROM a\n", "the directive escape is duplicated"),
        (f"FROM a\nRUN {'x' * 65536}\n", "a line is longer than 65535 bytes"),
    ],
)
def test_what_buildkit_refuses(lines, end, message):
    with pytest.raises(Rejected) as caught:
        read(lines.replace("\n", end).encode())
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("head", "escape", "syntax"),
    [
        ("", "\\", None),
        ("# syntax=docker/dockerfile:1 x\n", "\\", ("docker/dockerfile:1", 9)),
        ("# escape=`\n# syntax=a\n", "`", ("a", 20)),
        ("# check=skip=all\n# escape=`\n", "`", None),
        ("# escape=`", "`", None),
        ("# syntax=a\n#\n# escape=`\n", "\\", ("a", 9)),
        ("#!/bin/x\n# syntax=a\n", "\\", ("a", 18)),
        ("# other=a\n# syntax=b\n", "\\", None),
        (" # escape=`\n", "`", None),
    ],
)
def test_directives(head, escape, syntax):
    found = read(head.encode())
    assert (found.escape, found.syntax) == (escape, syntax)


@pytest.mark.parametrize(
    ("lines", "now", "before"),
    [
        pytest.param(
            b'RUN ["x"] <<CMD\nFROM b\nCMD\n', [("RUN", [], '["x"] <<CMD')], [("RUN", [], '["x"] <<CMD'), ("FROM", [], "b")], id="JSON and something behind it"
        ),
        pytest.param(b"RUN << CMD\nFROM b\nCMD\n", [("RUN", [], "<< CMD")], [("RUN", [], "<< CMD"), ("FROM", [], "b")], id="a blank behind arrows"),
        pytest.param(b"RUN --network=`b c\n", [("RUN", ["--network=b"], "c")], [("RUN", ["--network=`b"], "c")], id="the escape token in flags"),
        pytest.param(b"RUN --network=\\", [("RUN", ["--network=\\"], "")], [("RUN", ["--network="], "")], id="a flag that ends with a backslash"),
    ],
)
def test_versions_of_the_frontend_differ_and_that_is_known(lines, now, before):
    data = b"# escape=`\nFROM a\n" + lines
    assert read(data).ambiguous
    assert (seen(data)[1:], seen(data, OLDEST)[1:]) == (now, before)


@pytest.mark.parametrize("tail", ["", "   ", "\r\n \t"])
def test_blanks_at_the_end_are_nothing(tail):
    assert seen(f"FROM a\r\nFROM b\r\n{tail}".encode()) == [("FROM", [], "a"), ("FROM", [], "b")]


def test_a_long_file_of_short_lines_is_read_and_what_names_no_image_passed_over():
    found = read(b"FROM a\n" + b"ARG A=b\nRUN x\n" * 9999 + b"ARG C\nFROM d\n").instructions
    assert [one.text for one in found] == ["a", "C", "d"]


def test_every_character_has_its_place():
    data = "FROM a\nRUN --mount=from=ä \\\n # no\n  x\n".encode()
    (_from, run) = read(data).instructions
    assert [data[place] for place in run.flags[0].origin] == list("--mount=from=ä".encode())
    assert bytes(data[place] for place in run.origin).split() == [b"x"]
