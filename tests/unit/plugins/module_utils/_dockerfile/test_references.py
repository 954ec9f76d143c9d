# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The images that BuildKit would pull, and what it refuses where it evaluates them."""

from __future__ import annotations

import re

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.instructions import Ambiguous, Rejected
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.references import find_references, literal
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import references


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"FROM scratch\nFROM a AS b\nFROM b\n", [("from", "a")], id="scratch and a stage"),
        pytest.param(b"ARG A=a:1\nARG B=x\nFROM $A\n", [("from", "a:1")], id="an argument"),
        pytest.param(b"ARG A=$\nFROM a\n", [("from", "a")], id="an argument of a lone dollar"),
        pytest.param(b"FROM $TARGETARCH/a\n", [("from", "amd64/a")], id="a value of BuildKit's own"),
        pytest.param(
            b"FROM a\nCOPY --from=b --link x y\nCOPY --from=0 x y\nCOPY --link --from=A x y\nCOPY --from= x y\n",
            [("from", "a"), ("copy", "b"), ("copy", "A")],
            id="COPY",
        ),
        pytest.param(b"FROM a\nCOPY --from=%s x y\n" % (b"9" * 19), [("from", "a"), ("copy", "9" * 19)], id="more digits than a number has"),
        pytest.param(
            b'FROM a\nCOPY ["x", "y"]\nADD x\ty\nSHELL ["sh"]\nVOLUME ["/x"]\nHEALTHCHECK none\n'
            b'HEALTHCHECK --retries=3 CMD x\nLABEL a="b =c"\nONBUILD COPY x\n',
            [("from", "a")],
            id="values that BuildKit takes",
        ),
        pytest.param(b'FROM a\nCOPY ["x", "y"]\x1c\nVOLUME [1]\nVOLUME ["x"] y\n', [("from", "a")], id="words that look like JSON"),
        pytest.param(b'FROM a\r\nLABEL a = "b"\r\nENV c =d\r\n', [("from", "a")], id="a name and the rest of the line"),
        pytest.param(b"FROM a\nONBUILD what is this\n", [("from", "a")], id="what stands behind ONBUILD is read in the build to come"),
        pytest.param(b"FROM a AS B\nFROM b\nCOPY --from=B x y\n", [("from", "a")], id="a stage named in capitals"),
        pytest.param(b"FROM a \\ \n\tAS b\nFROM b\nFROM c \\ ", [("from", "a"), ("from", "c")], id="blanks behind the escape token"),
        pytest.param(b"FROM a\nRUN cat <\\\n<E\nFROM b\nE\nFROM c\n", [("from", "a"), ("from", "c")], id="two arrows on two lines"),
        pytest.param(b"# check=skip=all\nFROM a\n", [("from", "a")], id="a directive that names no image"),
        pytest.param(b"FROM a AS s\nCOPY --from=S x y\nRUN --mount=from=S x\n", [("from", "a")], id="a stage in capitals"),
        pytest.param(b"FROM a\nRUN --network=none --mount=type=bind,from=b,target=/x ls\n", [("from", "a"), ("mount", "b")], id="a mount"),
        pytest.param(b"FROM a\nRUN --mount=from=b,FROM=c ls\n", [("from", "a"), ("mount", "c")], id="the last of two"),
        pytest.param(b'FROM a\nRUN --mount=\'target=/x,"from=b,c",from,"x""y",z\' ls\n', [("from", "a"), ("mount", "b,c")], id="fields in quotes"),
        pytest.param(b'FROM a\nRUN --mount=\'"from=b""c"\' ls\n', [("from", "a"), ("mount", 'b"c')], id="a doubled quote"),
        pytest.param(b"FROM a\nRUN --mount=type=cache,target=/x ls\nRUN --mount=from=scratch ls\n", [("from", "a")], id="mounts of nothing"),
    ],
)
def test_references(data, expected):
    assert references(data) == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it has no FROM"),
        (b"ARG A\n", "it has no FROM"),
        (b"RUN x\n", "an instruction comes before the first FROM"),
        (b"ONBUILD RUN x\r\nFROM a\r\n", "an instruction comes before the first FROM"),
        (b"ONBUILD ARG A\nFROM a\n", "an instruction comes before the first FROM"),
        (b"FROM\n", "FROM takes an image, or an image AS a name"),
        (b"FROM a b\n", "FROM takes an image, or an image AS a name"),
        (b"FROM a ES b\n", "FROM takes an image, or an image AS a name"),
        (b"FROM a AS 1\n", "1 is not a valid stage name"),
        (b"FROM ${A\n", "${A cannot be evaluated (} is missing)"),
        (b"FROM a\nONBUILD\n", "nothing is not allowed after ONBUILD"),
        (b"FROM a\nCOPY --from=b --from=c x y\n", "COPY has more than one --from flag"),
        (b"FROM a\nADD --from=b x y\n", "ADD has no flag --from"),
        (b"FROM a\nCOPY x\n", "COPY needs a source and a destination"),
        (b'FROM a\nADD ["x"]\n', "ADD needs a source and a destination"),
        (b"FROM a\nCOPY\n", "COPY needs a source and a destination"),
        (b"FROM a\nWORKDIR \n", "WORKDIR needs a value"),
        (b"FROM a\nWORKDIR --/x\n", "WORKDIR has no flag --/x"),
        (b"FROM a\nCOPY --from=$B x y\n", "COPY has a variable in from, which BuildKit does not expand; name a stage that is FROM it"),
        (b"FROM a\nRUN --mount=from=${B} x\n", "RUN has a variable in from, which BuildKit does not expand; name a stage that is FROM it"),
        (b"FROM --a/b\n", "FROM takes one flag, --platform"),
        (b"FROM a\r\nUSER\r\n", "USER needs a value"),
        (b"FROM a\nVOLUME []\n", "VOLUME needs a value"),
        (b"FROM a\nSHELL sh -c\n", "SHELL needs its arguments in JSON form"),
        (b'FROM a\nSHELL ["s\th"]\n', "SHELL needs its arguments in JSON form"),
        (b"FROM a\nSHELL []\n", "SHELL needs its arguments in JSON form"),
        (b"FROM a\nHEALTHCHECK TCP\n", "HEALTHCHECK takes NONE, or CMD with a command"),
        (b"FROM a\nHEALTHCHECK CMD\n", "HEALTHCHECK takes NONE, or CMD with a command"),
        (b"FROM a\nARG\n", "ARG needs a name"),
        (b"FROM a\nARG A = b\n", "ARG has a value without a name"),
        (b"FROM a\nLABEL a=b =c\n", "LABEL has a value without a name"),
        (b"ARG A=\nFROM ${A:?}b\n", "${A:?}b cannot be evaluated (A must not be empty)"),
        (b"ARG A=${B\nFROM $A\n", "ARG A cannot be evaluated (} is missing)"),
    ],
)
def test_what_buildkit_refuses(data, message):
    with pytest.raises(Rejected) as caught:
        references(data)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"ONBUILD COPY --from=$B x y", "BuildKit expands no variable here; write the image itself, or FROM it as a stage and name the stage"),
        (b"ONBUILD RUN --mount=from=${B} x", "BuildKit expands no variable here; write the image itself, or FROM it as a stage and name the stage"),
        (b"ONBUILD COPY --from=b x y", "after ONBUILD this may be a stage of the next build; write the image with its tag if it is not"),
        (b"ONBUILD COPY --from=b:1 x y", ""),
        (b"COPY --from=b x y", ""),
    ],
)
def test_what_cannot_be_edited_is_known(line, problem):
    assert find_references(b"FROM a\n" + line + b"\n", {}).references[1].problem == problem


def test_arguments_that_a_stage_declares_again():
    data = b"ARG A=a\nARG B=b\nFROM $A\nARG A\nARG B=c D\nONBUILD ARG E\n"
    found = find_references(data, {})
    assert found.again == {"A": data.index(b"ARG A\n"), "D": data.index(b"ARG B=c"), "E": data.index(b"ONBUILD")}
    assert {name: [tuple(one) for one in places] for name, places in found.arguments.items()} == {"A": [(6, 7)], "B": [(14, 15)]}


def test_a_value_that_a_stage_declares_again_came_from_others():
    data = b'ARG A=a\nARG B=$A\nARG C="x$B"\nFROM $A\nARG C\n'
    assert find_references(data, {}).again == dict.fromkeys("ABC", data.rindex(b"ARG C"))


def test_values_of_buildkits_own_can_be_given():
    assert references(b"FROM $TARGETARCH/a:$TARGETVARIANT\n", {"TARGETARCH": "arm64v8", "TARGETVARIANT": "v7"}) == [("from", "arm64v8/a:v7")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"FROM " + b"${A:-" * 400 + b"a" + b"}" * 400 + b"\n", "nested too deeply", id="depth"),
        pytest.param(b"ARG A=" + b"a" * 9 + b"".join(b"\nARG A=$A$A" for _rest in range(20)) + b"\nFROM $A\n", "longer than 65536", id="length"),
        pytest.param(b"ARG A=" + b"a" * 1001 + b"\nFROM ${A/a/b}\n", "more than 1000", id="search"),
        pytest.param(b"FROM a\n\xc2\xa0COPY --from=b x y\n", "U+00A0", id="a blank that begins a line"),
        pytest.param(b"FROM \xe3\x80\x80a\n", "U+3000", id="a blank before an image"),
        pytest.param(b"FROM a \xc2\xa0\n", "U+00A0", id="a blank behind an image"),
        pytest.param(b"#\xe2\x80\x83syntax=b\nFROM a\n", "U+2003", id="a blank in a directive"),
        pytest.param(b"FROM a\nRUN cat\xc2\x85<<E\nFROM b\nE\n", "U+0085", id="a blank before a heredoc"),
    ],
)
def test_what_we_cannot_know_is_no_fault_of_the_file(data, message):
    with pytest.raises(Ambiguous, match=re.escape(message)):
        references(data)


@pytest.mark.parametrize(
    ("lines", "is_quick"),
    [
        pytest.param("RUN <<E\nFROM b\nE\n", True, id="nothing else"),
        pytest.param("RUN --network=none cat 3<<-'E' > /x\nFROM b\n\t\tE\n", True, id="flag, words, number, chomp, quotes"),
        pytest.param('COPY --chmod=1 <<"E" /x\nFROM b\n E\nE\n', True, id="a file"),
        pytest.param("RUN <<E\nE\nADD <<F /x\nE\nF\nRUN y\n", True, id="one after the other"),
        pytest.param("RUN <<E\n<<F\nE\nRUN <<E\nE", True, id="arrows inside"),
        pytest.param("RUN <<E <<F\nFROM b\nE\nFROM c\nF\n", False, id="two in one line"),
        pytest.param("COPY <<E\n/x\nE\n", False, id="a file without a place"),
        pytest.param("RUN << E\nFROM b\nE\n", False, id="a blank before the name"),
        pytest.param("RUN cat \\\n<<E\nE\n", False, id="a continued line"),
        pytest.param("RUN '<<E'\nE\n", False, id="quotes around it"),
        pytest.param("RUN <<'E\"\nE\n", False, id="quotes that differ"),
        pytest.param("RUN x<<E\nE\n", False, id="a word before it"),
        pytest.param("RUN --mount=from=b <<E\nE\n", False, id="a mount"),
        pytest.param("RUN [<<E\nE\n", False, id="what may be JSON"),
    ],
)
def test_a_plain_heredoc_is_passed_over_the_quick_way_and_no_other(lines, is_quick):
    data = f"FROM a\n{lines}\nCOPY --from=z /a /b\n".encode()
    found = literal(data)
    assert (found is not None) == is_quick
    if found:
        assert (
            found[0]
            == [(one.kind, one.value, one.origin[0]) for one in find_references(data, {}).references]
            == [("from", "a", 5), ("copy", "z", data.index(b"z "))]
        )


def test_a_heredoc_without_an_end_is_refused_the_quick_way_too():
    with pytest.raises(Rejected, match=r"^the heredoc E is not terminated$") as refused:
        literal(b"FROM a\n\tRUN <<E\n\tE\n")
    assert refused.value.at == 7
