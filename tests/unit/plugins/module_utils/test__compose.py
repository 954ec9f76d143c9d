# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose files: which images are edited, which are left with a reason, and which are none. Whole files stand in tests/golden."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._compose import built, contexts, rewrite_compose
from ansible_collections.buildfleet.docker.plugins.module_utils._mirror import Mirrors

HUB = Mirrors({"docker.io": "m.x/hub"})
BUILT_TOO = "Another service builds this image under the same anchor; give the two services an image each."
EXTENDS = "Its service extends another file, which may build this image; write the image where the build is known."
IN_PLACE = "It is written in a way that cannot be edited in place; write it plainly on one line."
INLINE_VALUES = "Compose puts values into it before it is read; write $$ for the build's own variables."
BROKEN = "It cannot be evaluated (} is missing); write the image itself."


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param("a: {image: redis}\nx-b: {image: redis}\n", "a: {image: m.x/hub/library/redis}\nx-b: {image: redis}\n", id="the first version"),
        pytest.param("include: [b.yml]\na: {image: redis}\n", None, id="an include is no first version"),
        pytest.param("- image: redis\n", None, id="a list"),
        pytest.param("services: [redis]\n", None, id="services that are none"),
        pytest.param("services: {a: redis, b: null}\n", None, id="a service that is none"),
        pytest.param("services: {a: {image: [redis]}}\n", None, id="an image that is a list"),
        pytest.param("services: {a: {image: ''}}\n", None, id="an image of nothing"),
        pytest.param("services: {a: {image: rédis}}\n", None, id="a name that is none"),
        pytest.param("services: {a: {image: redis, build: .}, b: {extends: a, image: redis}}\n", None, id="built, and by extension"),
        pytest.param("services: {a: {image: redis, build: .}, b: {extends: {service: a}, image: redis}}\n", None, id="built by extension of a service"),
        pytest.param(
            "services: {a: {image: redis}, b: {extends: {service: a}, image: nginx}}\n",
            "services: {a: {image: m.x/hub/library/redis}, b: {extends: {service: a}, image: m.x/hub/library/nginx}}\n",
            id="an extension that is not built",
        ),
        pytest.param("services: {a: {extends: a, image: redis}}\n", "services: {a: {extends: a, image: m.x/hub/library/redis}}\n", id="an extension of itself"),
        pytest.param(
            "services: {a: {build: &b {additional_contexts: {c: docker-image://redis}}}, d: {build: *b}}\n",
            "services: {a: {build: &b {additional_contexts: {c: docker-image://m.x/hub/library/redis}}}, d: {build: *b}}\n",
            id="one build of two services",
        ),
        pytest.param(
            "services: {a: {build: {additional_contexts: [c=docker-image://redis, d=../d, e, [f], 'g=docker-image://nginx']}}}\n",
            "services: {a: {build: {additional_contexts: [c=docker-image://m.x/hub/library/redis, d=../d, e, [f],"
            " 'g=docker-image://m.x/hub/library/nginx']}}}\n",
            id="contexts in a list",
        ),
        pytest.param("services: {a: {build: {additional_contexts: {c: [docker-image://redis], d: ../d}}}}\n", None, id="a context that is a list"),
        pytest.param('services: {a: {build: {additional_contexts: ["c=docker-image://\\x72edis"]}}}\n', None, id="a context in escapes"),
        pytest.param("services: {a: {build: {args: {B: '${X'}}}}\n", None, id="an argument that cannot be evaluated"),
        pytest.param("services: {a: {build: {args: {B: '${X:-re}${Y:-dis}'}}}}\n", None, id="an argument from two places"),
        pytest.param("services: {a: {build: {args: {B: 'redis$$'}}}}\n", None, id="an argument with a dollar"),
        pytest.param("services: {a: {build: {args: {B: rédis}}}}\n", None, id="an argument that is no image"),
        pytest.param("services: {a: {build: {args: {B: redis}, context: none}}}\n", None, id="a Dockerfile that cannot be read"),
        pytest.param("services: {a: {build: {args: {B: redis}, context: 'https://x/y.git'}}}\n", None, id="a Dockerfile elsewhere"),
        pytest.param(
            "services:\n  a:\n    build:\n      dockerfile_inline: |\n        # é $$\n        ARG X=redis\n\n        FROM $$X\n",
            "services:\n  a:\n    build:\n      dockerfile_inline: |\n        # é $$\n        ARG X=m.x/hub/library/redis\n\n        FROM $$X\n",
            id="a Dockerfile in the file",
        ),
        pytest.param(
            "services:\n  a:\n    build:\n      dockerfile_inline: |\n        FROM quay.io/a/b\n        RUN $X\n", None, id="values in a Dockerfile of no image"
        ),
        pytest.param(
            "services: {a: {build: {dockerfile_inline: FROM redis}}}\n", "services: {a: {build: {dockerfile_inline: FROM m.x/hub/library/redis}}}\n", id="plain"
        ),
        pytest.param("\ufeffservices: {a: {image: redis}}\n", "\ufeffservices: {a: {image: m.x/hub/library/redis}}\n", id="BOM"),
        pytest.param(
            "a: {image: redis}\n---\nb: {image: nginx}\n", "a: {image: m.x/hub/library/redis}\n---\nb: {image: m.x/hub/library/nginx}\n", id="two documents"
        ),
        pytest.param("", None, id="nothing"),
    ],
)
def test_images_of_a_compose_file(before, after):
    result = rewrite_compose(before.encode(), HUB, lambda context, _dockerfile: None if context == "none" else b"ARG B\nFROM $B\n")
    assert (result.after.decode(), result.skipped) == (after or before, [])
    assert bool(result.changes) == (after is not None)


@pytest.mark.parametrize(
    ("text", "line", "reference", "reason"),
    [
        pytest.param('services:\n  a: {image: "\\x72edis"}\n', 2, "redis", IN_PLACE, id="escapes"),
        pytest.param("x: &i redis\nservices: {a: {image: *i, build: .}, b: {image: *i}}\n", 1, "redis", BUILT_TOO, id="built under the same anchor"),
        pytest.param("services:\n  b: {extends: {file: c.yml, service: a}, image: redis}\n", 2, "redis", EXTENDS, id="extends another file"),
        pytest.param("services:\n  a: {image: '${X'}\n", 2, "${X", BROKEN, id="a variable without an end"),
        pytest.param(
            "services:\n  a:\n    build:\n      dockerfile_inline: |\n        FROM redis\n        RUN $X\n", 4, "dockerfile_inline", INLINE_VALUES, id="values"
        ),
        pytest.param(
            "services:\n  a:\n    build:\n      dockerfile_inline: |\n        FROM redis\n        RUN\n        FORM x\n",
            7,
            "",
            "BuildKit refuses this file: FORM is no instruction. Nothing in it was touched.",
            id="a Dockerfile that BuildKit refuses",
        ),
    ],
)
def test_what_is_left_has_its_line_and_reason(text, line, reference, reason):
    result = rewrite_compose(text.encode(), HUB)
    assert result.after == text.encode() and result.changes == []
    assert [tuple(skip) for skip in result.skipped] == [(line, "compose", reference, reason)]


def test_an_image_that_another_file_builds():
    text = "services:\n  a: {image: redis}\n  b: {image: redis}\n  c: {image: quay.io/a/b}\n"
    result = rewrite_compose(text.encode(), HUB, built_by={"a": "compose.override.yaml", "c": "compose.override.yaml"}.get)
    assert result.after.decode() == text.replace("b: {image: ", "b: {image: m.x/hub/library/")
    (skip,) = result.skipped
    assert (skip.line, skip.reference) == (2, "redis")
    assert skip.reason == (
        "Its service is built by compose.override.yaml, so it names the result where both files are used; if it is pulled, write the mirror's name here."
    )


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("services: {a: {build: .}, b: {image: redis}, c: {extends: a}, d: {build: null}}\n", {"a", "c"}),
        ("a: {build: .}\nb: {image: redis}\n", {"a"}),
        ("services: [", set()),
        ("\udc80", set()),
    ],
)
def test_services_that_a_file_builds(text, names):
    assert built(text.encode("utf-8", "surrogateescape")) == names


@pytest.mark.parametrize(
    "text",
    ["x: &i quay.io/a/b\nservices: {a: {image: *i, build: .}, b: {image: *i}}\n", "services: {b: {extends: {file: c.yml, service: a}, image: quay.io/a/b}}\n"],
)
def test_a_doubt_about_an_image_that_the_map_does_not_name_is_none(text):
    assert rewrite_compose(text.encode(), HUB).skipped == []


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"a: \xff\n", 1, "it is not UTF-8"),
        (b"services:\n  a: {image: redis\n", 3, "expected ',' or '}'"),
        (b"a: 1\nb: *nowhere\n", 2, "found undefined alias"),
        (b"a: \x01\n", 1, "it is no YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_and_named(data, line, words):
    result = rewrite_compose(data, HUB)
    (skip,) = result.skipped
    assert (result.after, result.changes, skip.line, skip.reference) == (data, [], line, "")
    assert skip.reason.startswith("This compose file cannot be read: ") and skip.reason.endswith(". Nothing in it was touched.") and words in skip.reason
    assert contexts(data) == []


def test_kinds_may_leave_compose_files_out():
    data = b"services: {a: {image: redis}}\n"
    assert rewrite_compose(data, HUB, kinds={"from"}).after == data
    assert rewrite_compose(data, HUB, kinds={"compose"}).changes


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        ("{additional_contexts: {redis: ../r}}", [(".", "Dockerfile", ["redis"])]),
        ("{context: a, dockerfile: D, additional_contexts: [redis=../r, b]}", [("a", "D", ["redis", "b"])]),
        ("{context: a, dockerfile_inline: FROM redis, additional_contexts: {redis: r}}", [("a", "", ["redis"])]),
        ("{context: a}", []),
        ("a", []),
    ],
)
def test_contexts_that_replace_an_image_by_name(build, expected):
    assert contexts(f"services: {{a: {{build: {build}}}}}".encode()) == expected
