# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole files, byte for byte: tests/golden/dockerfile_mirror/CASE/{before,after,case.json}; and properties of any file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.compose import rewrite_compose
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.instructions import LONGEST_LINE
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import rewrite, spliced
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

GOLDEN = Path(__file__).parents[4] / "golden/dockerfile_mirror"
CASES = sorted(path.name for path in GOLDEN.iterdir())
HUB = Mirrors({"docker.io": "mirror.example.com/hub"})


def case(name):
    folder = GOLDEN / name
    wanted = json.loads((folder / "case.json").read_text())
    work = rewrite_compose if name.endswith(".yml") else rewrite
    return (folder / "before").read_bytes(), (folder / "after").read_bytes(), wanted, lambda data: work(data, Mirrors(wanted["mirrors"]))


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    before, after, wanted, work = case(name)
    result = work(before)
    assert result.after == after
    assert [list(change) for change in result.changes] == wanted["changes"]
    assert [list(skip) for skip in result.skipped] == wanted["skipped"]


@pytest.mark.parametrize("name", CASES)
def test_twice_is_once(name):
    _rest, after, _rest, work = case(name)
    assert work(after).after == after
    assert work(after).changes == []


@pytest.mark.parametrize("name", CASES)
def test_nothing_in_the_map_leaves_every_byte(name):
    before, _rest, _rest, _rest = case(name)
    work = rewrite_compose if name.endswith(".yml") else rewrite
    assert work(before, Mirrors({"registry.invalid": "mirror.example.com"})).after == before


@pytest.mark.parametrize("name", CASES)
def test_bytes_outside_the_edits_are_the_same(name):
    before, after, _rest, work = case(name)
    text, decoded = (before.decode("utf-8"), "utf-8") if name.endswith(".yml") else (before.decode("latin-1"), "latin-1")
    assert spliced(text, work(before).edits).encode(decoded) == after


@pytest.mark.parametrize(
    ("kinds", "after"),
    [
        pytest.param({"from"}, b"# syntax=docker/dockerfile:1\nARG A=redis\nFROM $A\nFROM M/library/alpine\nCOPY --from=nginx a b\n", id="from"),
        pytest.param({"arg"}, b"# syntax=docker/dockerfile:1\nARG A=redis\nFROM $A\nFROM alpine\nCOPY --from=nginx a b\n", id="arg needs from"),
        pytest.param(
            {"copy", "syntax"}, b"# syntax=M/docker/dockerfile:1\nARG A=redis\nFROM $A\nFROM alpine\nCOPY --from=M/library/nginx a b\n", id="copy and syntax"
        ),
    ],
)
def test_kinds(kinds, after):
    assert rewrite(b"# syntax=docker/dockerfile:1\nARG A=redis\nFROM $A\nFROM alpine\nCOPY --from=nginx a b\n", HUB, kinds=kinds).after == after.replace(
        b"M/", b"mirror.example.com/hub/"
    )


def test_build_args_are_assumed_and_never_edited():
    data = b"ARG REG=quay.io\nFROM $REG/library/alpine\nARG X\n"
    assert rewrite(data, HUB).changes == []
    skipped = rewrite(data, HUB, {"REG": "docker.io"}).skipped
    assert [skip.reason for skip in skipped] == ["Its registry comes from build_args: give REG the mirror."]


@pytest.mark.parametrize(("registry", "skips"), [("docker.io", 1), ("ghcr.io", 0)])
def test_a_name_that_is_none_is_a_skip_where_the_map_is_about_its_registry(registry, skips):
    assert len(rewrite(b"FROM a\nCOPY --from=Foo:1 x y\n", Mirrors({registry: "mirror.example.com/hub"})).skipped) == skips


def test_a_long_line_is_refused_as_buildkit_does():
    line = b"RUN " + b"x" * 65532
    assert rewrite(b"FROM alpine\n" + line[:-1] + b"\n", HUB).changes
    refused = rewrite(b"FROM alpine\n" + line + b"\n", HUB)
    assert (refused.changes, refused.skipped[0].line) == ([], 2)


PIECES = [
    "FROM alpine", "FROM --platform=linux/amd64 redis:7 AS a", "FROM a", "ARG B=debian", "ARG B", "FROM $B", "FROM ${B:-nginx}",
    "RUN <<E", "E", "COPY --from=busybox a b",
    "COPY --from=a x y", "RUN --mount=from=golang,target=/x ls", "# escape=`", "# syntax=docker/dockerfile:1", "#", "",
    "\\", "`", " \\", "RUN a \\", "  b", "ENV A=b c=d", "LABEL x",
    "ONBUILD COPY --from=php:8 a b", "\t", "<<", "'", '"', "$", "FROM ${B%x}", "RUN [\"a\"] <<E", "RUN cat << E",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=12), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_file_is_changed_at_the_edits_alone_and_once(lines, end, final):
    data = (end.join(lines) + (end if final else "")).encode()
    once = rewrite(data, HUB)
    assert spliced(data.decode("latin-1"), once.edits).encode("latin-1") == once.after
    assert rewrite(once.after, HUB).after == once.after
    assert all("mirror.example.com/hub" in change.after for change in once.changes)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_are_too_strange(data):
    result = rewrite(data, HUB)
    assert spliced(data.decode("latin-1"), result.edits).encode("latin-1") == result.after


@pytest.mark.parametrize(
    ("given_args", "after"),
    [
        pytest.param(b"{BASE: debian:12}", b"{BASE: mirror.example.com/hub/library/debian:12}", id="map"),
        pytest.param(b"[BASE=debian:12, X=1]", b"[BASE=mirror.example.com/hub/library/debian:12, X=1]", id="list"),
        pytest.param(b"{BASE: quay.io/x/y}", b"{BASE: quay.io/x/y}", id="another registry"),
        pytest.param(b"{OTHER: debian}", b"{OTHER: debian}", id="feeds nothing"),
    ],
)
def test_build_args_of_compose_are_edited_where_they_feed_a_from(given_args, after):
    asked = []

    def dockerfile_of(context, dockerfile):
        asked.append((context, dockerfile))
        return b"ARG BASE\nARG OTHER\nFROM $BASE\n"

    before = b"services: {a: {build: {context: app, args: %s}}}\n"
    assert rewrite_compose(before % given_args, HUB, dockerfile_of).after == before % after
    assert asked == [("app", "Dockerfile")]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("services:\n  a: {image: null}\n  b: {image: 7}\n  c: {image: !reset null}\n", None, id="no image at all"),
        pytest.param("services:\n  a: {image: !override redis}\n", "services:\n  a: {image: !override M/library/redis}\n", id="a tag of compose"),
        pytest.param("services:\n  a:\n    build:\n    image: redis\n", "services:\n  a:\n    build:\n    image: M/library/redis\n", id="a build of nothing"),
        pytest.param(
            "services: {a: {build: {args: {B: '${X:-redis}'}}}}",
            "services: {a: {build: {args: {B: '${X:-M/library/redis}'}}}}",
            id="an argument with a default",
        ),
        pytest.param(
            "services:\n  a:\n    build:\n      dockerfile_inline: |2\n          FROM redis\n",
            "services:\n  a:\n    build:\n      dockerfile_inline: |2\n          FROM M/library/redis\n",
            id="a block with an indicator",
        ),
    ],
)
def test_compose(before, after):
    result = rewrite_compose(before.encode(), HUB, lambda context, dockerfile: b"ARG B=redis\nFROM $B\n")
    assert result.after == (after or before).replace("M/", "mirror.example.com/hub/").encode()
    assert result.skipped == []


@pytest.mark.parametrize(("image", "skips"), [("quay.io/a/b", 0), ("redis", 1)])
def test_a_dockerfile_that_cannot_be_edited_in_place_is_a_skip_where_the_map_names_an_image(image, skips):
    result = rewrite_compose(f'services: {{a: {{build: {{dockerfile_inline: "FROM {image}\\nRUN x"}}}}}}'.encode(), HUB)
    assert (result.changes, len(result.skipped)) == ([], skips)


@pytest.mark.parametrize("flags", ["--platform=a --platform=b", "--foo", "--platform"])
def test_flags_that_from_does_not_know_are_refused_as_buildkit_does(flags):
    assert [skip.reason for skip in rewrite(f"FROM {flags} alpine\n".encode(), HUB).skipped] == [
        "BuildKit refuses this file: FROM takes one flag, --platform. Nothing in it was changed."
    ]


UNKNOWN_REGISTRY = "A variable in it has no default, so its registry is not known; give it one, or a value in build_args."
USED_TWICE = "The variable in it is also used for something else, which would change; use a separate variable for the image."
TEMPLATE = "{} is not a valid image name; correct it, or exclude the file if it is a template."


@pytest.mark.parametrize(
    ("data", "mirrors", "reasons"),
    [
        pytest.param(b"FROM Alpine\n", {"docker.io": "m.x"}, [TEMPLATE.format("'Alpine'")], id="no image"),
        pytest.param(
            b"FROM $TARGETARCH/a\n", {"docker.io": "m.x"}, ["It begins with a value that only BuildKit knows; write the image itself."], id="BuildKit's"
        ),
        pytest.param(b"FROM $X/a\n", {"docker.io": "m.x"}, [UNKNOWN_REGISTRY], id="an unknown registry"),
        pytest.param(b"FROM docker.io/a@b/$X\n", {"docker.io": "m.x"}, [TEMPLATE.format("'docker.io/a@b/$X'")], id="a path behind a digest"),
        pytest.param(
            b"FROM docker.io/$X\n",
            {"docker.io": "m.x"},
            ["A variable in it has no default, so it is not known whether it means an image of library/; give it one."],
            id="a path that nobody knows",
        ),
        pytest.param(
            b"ARG R=docker.io\nFROM $R/$X/a\n", {"docker.io/x": "m.x/y"}, ["Its registry is written in two places; write it in one."], id="two places"
        ),
        pytest.param(b"ARG I=docker.io/a/b:1\nFROM $I\nFROM quay.io/$I\n", {"docker.io": "m.x"}, [USED_TWICE], id="an argument that another name needs"),
        pytest.param(b"ARG R=docker.io" + b" " * 65500 + b"\nFROM $R/a/b\n", {"docker.io": "m" * 60 + ".x"}, [USED_TWICE], id="a line that would be too long"),
        pytest.param(b"ARG X=aa\nFROM ${X//a/docker.io/}b\n", {"docker.io": "m.x"}, [USED_TWICE], id="a text that stands in the name twice"),
        pytest.param(
            b"ARG R=docker.io/a\nFROM $R/x\nFROM $R/y\n", {"docker.io/a/x": "m.one/x", "docker.io/a/y": "m.two/y"}, [USED_TWICE, USED_TWICE], id="two mirrors"
        ),
        pytest.param(
            b"ARG R=docker.io\nFROM $R/a\nARG R\n",
            {"docker.io": "m.x"},
            ["ARG R is declared again in line 3, where its new value would be visible; use a separate variable for the image."],
            id="an argument that a stage shows",
        ),
    ],
)
def test_what_cannot_be_edited_rightly_is_left_with_its_reason(data, mirrors, reasons):
    result = rewrite(data, Mirrors(mirrors))
    assert (result.after, result.changes) == (data, [])
    assert [skip.reason for skip in result.skipped] == reasons


@pytest.mark.parametrize(
    ("data", "after", "reasons"),
    [
        pytest.param(b"ARG N=debian:12\nARG R=docker.io\nFROM $R/a/b\n", b"ARG N=debian:12\nARG R=m.x\nFROM $R/a/b\n", [], id="the second argument"),
        pytest.param(
            b"ARG I=docker.io/a:1\nFROM $I\nFROM quay.io/$I\nFROM redis\n",
            b"ARG I=docker.io/a:1\nFROM $I\nFROM quay.io/$I\nFROM m.x/library/redis\n",
            [USED_TWICE],
            id="one is left and another edited",
        ),
        pytest.param(
            b"ARG X=aa\nFROM ${X//a/docker.io/}b\nFROM redis\n",
            b"ARG X=aa\nFROM ${X//a/docker.io/}b\nFROM m.x/library/redis\n",
            [USED_TWICE],
            id="and in no ARG",
        ),
        pytest.param(b"FROM a/b:$X\nFROM a/b@$Y\n", b"FROM m.x/a/b:$X\nFROM m.x/a/b@$Y\n", [], id="a tag that nobody knows"),
        pytest.param(b"FROM docker.io/a/$X/b\n", b"FROM m.x/a/$X/b\n", [], id="a part of the path that nobody knows"),
    ],
)
def test_what_stands_elsewhere_is_edited_there(data, after, reasons):
    result = rewrite(data, Mirrors({"docker.io": "m.x"}))
    assert (result.after, [skip.reason for skip in result.skipped]) == (after, reasons)


def test_each_edit_of_the_build_arguments_names_its_own():
    result = rewrite(b"ARG A\nARG B\nARG C\nFROM $B\nFROM $C/x/y\n", Mirrors({"docker.io": "m.x"}), {"A": "", "B": "redis", "C": "docker.io"}, edit_given=True)
    assert {name: spliced({"B": "redis", "C": "docker.io"}[name], edits) for name, edits in result.given.items()} == {"B": "m.x/library/redis", "C": "m.x"}
    assert (result.changes, result.skipped) == ([], [])


def test_a_line_never_grows_beyond_what_buildkit_reads():
    room = LONGEST_LINE - len("FROM redis AS \n")
    fits, full = (f"FROM busybox\nFROM redis AS {'a' * (room - less)}\n".encode() for less in (len("mirror.example.com/hub/library/"), 0))
    assert rewrite(fits, HUB).skipped == []
    assert len(rewrite(fits, HUB).changes) == 2
    result = rewrite(full, HUB)
    assert (result.after, result.changes) == (full, [])
    (skip,) = result.skipped
    assert tuple(skip) == (
        2, "from", "redis", f"With the mirror's name a line is longer than {LONGEST_LINE} bytes; shorten it. Nothing in the file was changed.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("data", "after"),
    [
        pytest.param(
            b"ARG R=docker.io\nFROM $R/node\nFROM $R/a/b\nFROM $R/library/c\n",
            b"ARG R=m.x\nFROM $R/library/node\nFROM $R/a/b\nFROM $R/library/c\n",
            id="parted",
        ),
        pytest.param(b"ARG R=m.x/\nFROM ${R}library/redis\nFROM ${R}a/b\n", b"ARG R=docker.io/\nFROM ${R}library/redis\nFROM ${R}a/b\n", id="in full"),
        pytest.param(b"ARG N=a\nFROM $N/b\nFROM ${N}/c:$X\n", b"ARG N=a\nFROM m.x/$N/b\nFROM m.x/${N}/c:$X\n", id="a namespace"),
        pytest.param(b"ARG B\nFROM x AS b\nFROM ${B:-a:1}\n", b"ARG B\nFROM m.x/library/x AS b\nFROM ${B:-m.x/library/a:1}\n", id="a default behind a stage"),
        pytest.param(b"ARG T=\nARG I=a/b:${T}-x\nFROM $I\n", b"ARG T=\nARG I=m.x/a/b:${T}-x\nFROM $I\n", id="a gap in an argument"),
        pytest.param(b"ARG I=a/${I}b\nARG I=a/b\nFROM $I\n", b"ARG I=a/${I}b\nARG I=m.x/a/b\nFROM $I\n", id="an argument declared again"),
        pytest.param(b"FROM x AS base-a\nFROM base-$X\n", b"FROM m.x/library/x AS base-a\nFROM base-$X\n", id="a stage that an argument chooses"),
        pytest.param("FROM x\nRUN a \\\n 　b\n".encode(), "FROM m.x/library/x\nRUN a \\\n 　b\n".encode(), id="a blank in a continuation"),
        pytest.param("FROM x\nRUN <<E\n　b\nE\n".encode(), "FROM m.x/library/x\nRUN <<E\n　b\nE\n".encode(), id="a blank in a heredoc"),
        pytest.param(b"# syntax=a/b\nINCLUDE x\n", b"# syntax=m.x/a/b\nINCLUDE x\n", id="another frontend"),
        pytest.param(b"# syntax=dockerfile.v0\nFROM ${x}\n", b"# syntax=dockerfile.v0\nFROM ${x}\n", id="the frontend inside"),
    ],
)
def test_what_is_moved_where_it_can_be(data, after):
    mirrors = Mirrors({"m.x": "docker.io"} if data.startswith(b"ARG R=m.x/") else {"docker.io": "m.x"})
    result = rewrite(data, mirrors)
    assert (result.after, [skip for skip in result.skipped if "${x}" not in skip.reference]) == (after, [])
    assert rewrite(result.after, mirrors).changes == []


@pytest.mark.parametrize("line", ["RUN a 　<<E\nE\n", "RUN a\\\n　\nX\n", "RUN <<E\n　\n", "RUN <<E\nE\n　x\n"])
def test_a_strange_blank_elsewhere_is_still_ambiguous(line):
    (skip,) = rewrite(f"FROM alpine\n{line}".encode(), HUB).skipped
    assert skip.reason.startswith(("It is ambiguous how BuildKit reads this file", "BuildKit refuses this file"))


@pytest.mark.parametrize(
    ("data", "skips"),
    [
        (b"RUN true\n", 0),
        (b"", 0),
        (b"FROM quay.io/a\nWRONG x\n", 0),
        (b"FROM docker.io/A\nWRONG x\n", 1),
        (b"FROM quay.io/A\nWRONG x\n", 0),
        (b"FROM $X\nWRONG x\n", 1),
        (b"WRONG x\nCOPY --from=redis a b\n", 1),
        (b"# syntax=docker/dockerfile:1\nWRONG x\n", 1),
        (b"# syntax=a/b\nWRONG x\nFROM redis\n", 1),
    ],
)
def test_a_refused_file_is_a_skip_where_a_line_names_something(data, skips):
    assert len(rewrite(data, HUB).skipped) == skips


def test_an_image_that_a_named_context_supplies():
    data = b"# syntax=a/b\nFROM redis:latest\nFROM Redis\nCOPY --from=node a b\n"
    result = rewrite(data, Mirrors({"docker.io": "m.x"}), supplied={"redis": "the context r supplies it", "docker.io/a/b": "x", "a/b": "x"})
    assert result.after == b"# syntax=m.x/a/b\nFROM redis:latest\nFROM Redis\nCOPY --from=m.x/library/node a b\n"
    assert [skip.reason for skip in result.skipped] == ["The context r supplies it.", TEMPLATE.format("'Redis'")]


def test_an_argument_that_a_build_gives_is_moved_there():
    assert rewrite(b"ARG A\nFROM $A\nFROM ${A}/b\n", HUB, given_elsewhere={"A"}).skipped == []
    assert len(rewrite(b"ARG A\nARG B\nFROM $A$B\n", HUB, given_elsewhere={"A"}).skipped) == 1


@pytest.mark.parametrize(
    ("data", "after"),
    [
        pytest.param(b"FROM docke\\r\\\n.io/a/b\n", b"FROM m.x\\\n/a/b\n", id="the last of a line"),
        pytest.param(b"FROM docke\\\n\\r.io/a/b\n", b"FROM m.x\\\n/a/b\n", id="the first of a line"),
        pytest.param(b"# escape=`\nFROM docke`r`\n.io/a/b\n", b"# escape=`\nFROM m.x`\n/a/b\n", id="another escape"),
        pytest.param(b"FROM docke\\r.io/a/b\n", b"FROM m.x/a/b\n", id="within a line"),
        pytest.param(b"ARG R=docke\\r\\\n.io/a\nFROM $R/b\n", b"ARG R=m.x\\\n/a\nFROM $R/b\n", id="in an ARG"),
        pytest.param(b"FROM 'docke'\\\nr.io/a/b\n", b"FROM 'm.x'\\\n/a/b\n", id="quotes stay"),
        pytest.param(b"FROM qua\\y.io/a/b\nFROM b/\\a\n", b"FROM qua\\y.io/a/b\nFROM m.x/b/\\a\n", id="what is not replaced stays"),
    ],
)
def test_a_letter_goes_with_its_escape(data, after):
    result = rewrite(data, Mirrors({"docker.io": "m.x"}))
    assert (result.after, result.skipped) == (after, [])


@pytest.mark.parametrize(
    ("data", "after"),
    [
        pytest.param(b"FROM re\\\ndis\nRUN x\n", b"FROM \\\nm.x/y\nRUN x\n", id="an instruction follows"),
        pytest.param(b"FROM re\\\r\ndis \r\nRUN x\r\n", b"FROM \\\r\nm.x/y \r\nRUN x\r\n", id="with CR LF"),
        pytest.param(b"FROM re\\\ndis", b"FROM \\\nm.x/y", id="the file ends"),
        pytest.param(b"FROM re\\\ndis:7\n", b"FROM m.x/y\\\n:7\n", id="something is left in the line"),
        pytest.param(b"ARG R=re\\\ndis\nFROM $R\n", b"ARG R=\\\nm.x/y\nFROM $R\n", id="in an ARG"),
    ],
)
def test_no_empty_line_is_left_behind_a_continuation(data, after):
    result = rewrite(data, Mirrors({"docker.io/library/redis": "m.x/y"}))
    assert (result.after, result.skipped) == (after, [])


@pytest.mark.parametrize("line", ["COPY --from=$X a b", "RUN --mount=from=$X,target=/a b", "RUN --mount=type=cache,from=redis:${X} b"])
def test_a_file_with_a_variable_where_buildkit_expands_none_is_left(line):
    data = f"ARG X=redis\nFROM alpine\n{line}\n".encode()
    result = rewrite(data, Mirrors({"docker.io": "m.x"}))
    sentence = f"{line.split()[0]} has a variable in from, which BuildKit does not expand; name a stage that is FROM it"
    assert (result.after, result.skipped) == (data, [(3, "from", "", f"BuildKit refuses this file: {sentence}. Nothing in it was changed.")])


# Engines 20.10, 26.1 and 28.5 refuse each of these, in a stage that is not built too.
REFUSED_FLAGS = [
    ("COPY --foo=1 a b", "COPY has no flag --foo"),
    ("ADD --from=c a b", "ADD has no flag --from"),
    ("RUN --foo=1 b", "RUN has no flag --foo"),
    ("RUN --foo b", "RUN has no flag --foo"),
    ("CMD --foo b", "CMD has no flag --foo"),
    ("CMD \\\n --foo b", "CMD has no flag --foo"),
    ("ENTRYPOINT --mount=from=c b", "ENTRYPOINT has no flag --mount"),
    ("USER \\\n --foo b", "USER has no flag --foo"),
    ("ENV --foo=1 a=b", "ENV has no flag --foo"),
    ("WORKDIR --foo=1 /a", "WORKDIR has no flag --foo"),
    ("COPY --link=maybe a b", "COPY takes true or false after --link="),
    ("COPY --chown a b", "COPY needs a value after --chown"),
    ("COPY --chown=a --chown=b a b", "COPY has more than one --chown flag"),
    ("COPY --chown=a --from=x --chown=b a b", "COPY has more than one --chown flag"),
    ("COPY --chown=a --foo a <<E\nE", "COPY has no flag --foo"),
    ("RUN --network=a --network=b <<E\nE", "RUN has more than one --network flag"),
    ("HEALTHCHECK --timeout=1s --timeout=2s CMD x", "HEALTHCHECK has more than one --timeout flag"),
    ("HEALTHCHECK --pause=1s CMD x", "HEALTHCHECK has no flag --pause"),
    ("VOLUME --foo /a", "VOLUME has no flag --foo"),
    ("CMD --foo", "CMD has no flag --foo"),
    ("EXPOSE --foo=1 80", "EXPOSE has no flag --foo"),
]


@pytest.mark.parametrize("tail", ["", "FROM $X\n"], ids=["the quick way", "the long way"])
@pytest.mark.parametrize(("line", "sentence"), REFUSED_FLAGS)
def test_a_file_with_a_flag_that_buildkit_refuses_is_left(line, sentence, tail):
    data = f"ARG X=redis\nFROM alpine\n{line}\n{tail}".encode()
    result = rewrite(data, Mirrors({"docker.io": "m.x"}))
    assert (result.after, result.skipped) == (data, [(3, "from", "", f"BuildKit refuses this file: {sentence}. Nothing in it was changed.")])


@pytest.mark.parametrize("tail", ["", "FROM $X\n"], ids=["the quick way", "the long way"])
@pytest.mark.parametrize(
    "line",
    [
        "COPY --link --chmod=1 --chown=a a b",
        "COPY --chown=a --from=x --link=false a b",
        "COPY --from=x --chown=$A --parents --exclude=a --exclude=b a b",
        "ADD --checksum=sha256:a --keep-git-dir=true --unpack a b",
        "RUN --mount=type=cache,target=/a --mount=type=tmpfs,target=/b --network=none --security=insecure --device=a x",
        "RUN --network=none --mount=type=cache,target=/a x",
        "HEALTHCHECK --retries=1 --interval=1s --start-interval=1s --timeout=1s --start-period=1s CMD x",
        "ONBUILD RUN --foo x",
        "ARG --foo=1 A=b",
        "STOPSIGNAL --foo 9",
        "HEALTHCHECK --pause=1s --pause=1s none",
        "ONBUILD COPY --foo=1 a b",
        'ENTRYPOINT ["--foo"]',
        "COPY -- --foo b",
    ],
)
def test_a_file_with_flags_that_buildkit_takes_is_moved(line, tail):
    data = f"ARG X=redis\nFROM alpine AS x\n{line}\n{tail}"
    result = rewrite(data.encode(), Mirrors({"docker.io": "m.x"}))
    assert result.after.decode() == data.replace("alpine", "m.x/library/alpine").replace("=redis", "=m.x/library/redis" if tail else "=redis")
    assert result.skipped == []
