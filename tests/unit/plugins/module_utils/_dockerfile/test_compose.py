# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose files: which images are edited, which are left with a reason, and which are none. Whole files are in tests/golden."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.compose import Surroundings, env_uses, read_compose, rewrite_compose
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.env_file import Env, EnvFile
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import KINDS, rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

HUB = Mirrors({"docker.io": "m.x/hub"})
BUILT_TOO = "Service a has its image from here and builds it; give a an image of its own."
EXTENDS = "Its service extends another file, which may build this image; write the image where the build is known."
IN_PLACE = "It is written in a way that cannot be edited in place; write it plainly on one line."
ON_BLOCK = "It cannot be edited in place; write it as a literal block (|)."
VALUE = "Compose puts its value into this line before BuildKit reads it; write $$ for a variable of the build, or the image itself."
SHARED = "Its anchor is also used by a field that is not an image; give the image a separate anchor."
NO_CONTEXT = "It may be an image, but this file does not say which Dockerfile gets it; write the args where the context is, or set them by hand."
AGAIN = "A stage declares this build argument too, where its new value would be visible; use a separate argument for the image."
NO_ARG = "It is the value of a build argument, and kinds does not contain arg."
INLINE = "services:\n  a:\n    build:\n      dockerfile_inline: |\n"
BROKEN = "It cannot be evaluated (} is missing); write the image itself."


EDITED = [
    pytest.param("services: {a: {build: ., image: me}, b: {image: me}}\n", None, id="the result of another service"),
    pytest.param("services: {a: {build: ., image: me}, b: {image: 'docker.io/library/me:latest'}}\n", None, id="the result by its full name"),
    pytest.param("services: {a: {build: ., image: 'me:${T:-1}'}, b: {image: 'me:1'}}\n", None, id="the result by its default"),
    pytest.param("services: {a: {build: ., image: 'me:${T}'}, b: {image: 'me:${T}'}}\n", None, id="the result by the same variable"),
    pytest.param('services: {a: {build: ., image: me}, b: {image: "\\x6de"}}\n', None, id="the result in escapes"),
    pytest.param("x: &i me\nservices: {a: {image: *i, build: .}, b: {image: *i}}\n", None, id="the result by an anchor"),
    pytest.param(
        "services: {a: {build: ., image: 'me:2'}, b: {image: me}}\n",
        "services: {a: {build: ., image: 'me:2'}, b: {image: m.x/hub/library/me}}\n",
        id="another tag",
    ),
    pytest.param("services: {a: {image: me}}\n---\nservices: {a: {build: .}}\n", None, id="built in a later document"),
    pytest.param("services: {a: {image: me, build: .}}\n---\nservices: {a: {build: null}}\n", None, id="a null that takes nothing away"),
    pytest.param(
        "services: {a: {image: me, build: .}}\n---\nservices: {a: {build: !reset null}}\n",
        "services: {a: {image: m.x/hub/library/me, build: .}}\n---\nservices: {a: {build: !reset null}}\n",
        id="a build that a later document takes away",
    ),
    pytest.param(
        "x-s: &s {a: {image: redis}, b: {image: nginx}}\nservices: {<<: *s, b: {build: .}}\n",
        "x-s: &s {a: {image: m.x/hub/library/redis}, b: {image: nginx}}\nservices: {<<: *s, b: {build: .}}\n",
        id="merged services",
    ),
    pytest.param(
        "x-s: &s {B: redis}\nx-t: &t {B: nginx, C: busybox}\nservices: {a: {build: {args: {<<: [*s, *t]}}}}\n",
        "x-s: &s {B: m.x/hub/library/redis}\nx-t: &t {B: nginx, C: busybox}\nservices: {a: {build: {args: {<<: [*s, *t]}}}}\n",
        id="merged args, the first before the second",
    ),
    pytest.param(
        "x-s: &s {B: redis}\nservices: {a: {build: {args: {<<: *s, B: nginx}}}}\n",
        "x-s: &s {B: redis}\nservices: {a: {build: {args: {<<: *s, B: m.x/hub/library/nginx}}}}\n",
        id="an argument of its own before a merged one",
    ),
    pytest.param(
        "x-s: &s {c: docker-image://redis}\nservices: {a: {build: {additional_contexts: {<<: *s}}}}\n",
        "x-s: &s {c: docker-image://m.x/hub/library/redis}\nservices: {a: {build: {additional_contexts: {<<: *s}}}}\n",
        id="merged contexts",
    ),
    pytest.param(
        "services: {a: {image: &i redis}, b: {image: *i, build: {additional_contexts: {c: d}}, x-i: *i}, c: {image: *i}}\n",
        None,
        id="an anchor that names a result",
    ),
    pytest.param(
        "x-i: &i redis\nservices: {a: {image: *i, x-i: *i}, b: {build: {args: {B: *i}}}}\n",
        "x-i: &i m.x/hub/library/redis\nservices: {a: {image: *i, x-i: *i}, b: {build: {args: {B: *i}}}}\n",
        id="an anchor of images alone",
    ),
    pytest.param("services: {a: {build: {args: {B: null, C: ~}}}}\n", None, id="arguments from the environment"),
    pytest.param(
        "services: {a: {build: {context: '${C:-app}', args: {B: redis}}}}\n",
        "services: {a: {build: {context: '${C:-app}', args: {B: m.x/hub/library/redis}}}}\n",
        id="a context with a default",
    ),
    pytest.param("services: {a: {build: {context: '${C}', args: {B: debug, C: 8, D: 'quay.io/a/b', E: '${E}'}}}}\n", None, id="no image in an unknown context"),
    pytest.param(
        "services: {a: {build: {dockerfile_inline: '', args: {B: redis}}}}\n",
        "services: {a: {build: {dockerfile_inline: '', args: {B: m.x/hub/library/redis}}}}\n",
        id="an empty Dockerfile in the file",
    ),
    pytest.param(
        INLINE + "        # 5$ $-\n        FROM redis\n        LABEL a=$A b=${B:-c}\n",
        INLINE + "        # 5$ $-\n        FROM m.x/hub/library/redis\n        LABEL a=$A b=${B:-c}\n",
        id="values that name no image",
    ),
    pytest.param(
        INLINE + "        FROM redis\n        COPY --from=nginx $A b\n",
        INLINE + "        FROM m.x/hub/library/redis\n        COPY --from=m.x/hub/library/nginx $A b\n",
        id="a value behind the flags",
    ),
    pytest.param(INLINE + "        FROM $${X}redis\n", INLINE + "        FROM $${X:-m.x/hub/library/}redis\n", id="a variable of the build"),
]


def built(data):
    return read_compose(data).built


def contexts(data):
    return [(*build.place, list(build.contexts)) for build in read_compose(data).builds if build.contexts and build.place and not build.is_inline]


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
        pytest.param(
            "services: {a: {build: {args: {B: '${X:-re}${Y:-dis}'}}}}\n",
            "services: {a: {build: {args: {B: '${X:-m.x/hub/library/re}${Y:-dis}'}}}}\n",
            id="an argument from two places",
        ),
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
        *EDITED,
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
        pytest.param("x: &i {image: redis}\nservices: {a: {<<: *i, build: .}, b: *i}\n", 1, "redis", BUILT_TOO, id="built under the same anchor"),
        pytest.param("services: {b: {image: redis}, a: {extends: {service: b}, build: .}}\n", 1, "redis", BUILT_TOO, id="built by a service that extends it"),
        pytest.param("services:\n  a: {image: &i redis, environment: {I: *i}}\n", 2, "redis", SHARED, id="an anchor in the environment"),
        pytest.param("services:\n  a: {environment: &e {B: redis}, build: {args: *e}}\n", 2, "redis", SHARED, id="an environment as arguments"),
        pytest.param("x-e: &e [{I: &i redis}]\nvolumes: *e\nservices: {a: {image: *i}}\n", 1, "redis", SHARED, id="an anchor at the top"),
        pytest.param("services: {a: {image: &i redis, build: {args: {B: *i}}}}\n", 1, "redis", SHARED, id="an anchor of a result and an argument"),
        pytest.param("services: {a: {build: {tags: [&i redis]}}, b: {image: *i}}\n", 1, "redis", SHARED, id="an anchor in a tag"),
        pytest.param(
            "services: {a: {build: &b {args: &a {B: redis}}}, b: {build: {context: stage, args: *a}}}\n", 1, "redis", SHARED, id="arguments of two builds"
        ),
        pytest.param("services: {a: {build: {dockerfile: again, args: {B: redis}}}}\n", 1, "redis", AGAIN, id="an argument of a stage too"),
        pytest.param(
            "services: {a: {build: {dockerfile: default, args: {B: redis}}}}\n", 1, "redis", AGAIN, id="an argument of a stage with a default of its own"
        ),
        pytest.param(
            INLINE + "        ARG X\n        FROM $$X\n        ARG X\n      args: {X: redis}\n", 8, "redis", AGAIN, id="an argument of a stage in the file"
        ),
        pytest.param(
            INLINE + "        ARG X\n        ARG Y=$$X\n        FROM $$X\n        ARG Y\n      args: {X: redis}\n",
            9,
            "redis",
            AGAIN,
            id="a source of one that a stage sees",
        ),
        pytest.param("services: {a: {build: {context: '$C', args: [B=redis:7]}}}\n", 1, "redis:7", NO_CONTEXT, id="an unknown context"),
        pytest.param("services: {a: {build: {context: '${C', args: {B: docker.io/a/b}}}}\n", 1, "docker.io/a/b", NO_CONTEXT, id="a context that is none"),
        pytest.param("services: {a: {build: {dockerfile: none, args: {B: redis:7}}}}\n", 1, "redis:7", NO_CONTEXT, id="no context"),
        pytest.param(INLINE + "        FROM redis:$X\n", 5, "$X", VALUE, id="a value in FROM"),
        pytest.param(INLINE + "\n        FROM redis\n        RUN --mount=from=${X:-a},target=/a b\n", 7, "${X:-a}", VALUE, id="a value in a mount"),
        pytest.param(INLINE + "        # syntax=$X\n        FROM redis\n", 5, "$X", VALUE, id="a value as the frontend"),
        pytest.param(INLINE + "        FROM redis\n        $X\n", 6, "$X", VALUE, id="a value as an instruction"),
        pytest.param(INLINE.replace("|", '"FROM redis\\nRUN x"'), 4, "dockerfile_inline", ON_BLOCK, id="a Dockerfile in quotes"),
        pytest.param("services:\n  b: {extends: {file: c.yml, service: a}, image: redis}\n", 2, "redis", EXTENDS, id="extends another file"),
        pytest.param("services:\n  a: {image: '${X'}\n", 2, "${X", BROKEN, id="a variable without an end"),
        pytest.param(
            "services:\n  a:\n    build:\n      dockerfile_inline: |\n        FROM redis\n        RUN\n        FORM x\n",
            7,
            "",
            "BuildKit refuses this file: FORM is not an instruction. Nothing in it was changed.",
            id="a Dockerfile that BuildKit refuses",
        ),
    ],
)
def test_what_is_left_has_its_line_and_reason(text, line, reference, reason):
    plain = b"ARG B\nFROM $B\n"
    dockerfiles = {"Dockerfile": plain, "again": plain + b"ARG B\n", "default": plain + b"ARG A B=alpine\n", "none": None}
    result = rewrite_compose(text.encode(), HUB, lambda context, name: b"FROM scratch\nARG B\n" if context == "stage" else dockerfiles[name])
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
        ("services: {a: {build: ., image: me/a}, b: {build: ., image: '$I'}}\n", {"a", "b", "docker.io/me/a:latest", "$I"}),
        ("a: {build: .}\nb: {image: redis}\n", {"a"}),
        ("services: [", set()),
        ("\udc80", set()),
    ],
)
def test_services_that_a_file_builds(text, names):
    assert built(text.encode("utf-8", "surrogateescape")) == names


@pytest.mark.parametrize(
    "text",
    ["x: &i {image: quay.io/a/b}\nservices: {a: {<<: *i, build: .}, b: *i}\n", "services: {b: {extends: {file: c.yml, service: a}, image: quay.io/a/b}}\n"],
)
def test_a_doubt_about_an_image_that_the_map_does_not_name_is_none(text):
    assert rewrite_compose(text.encode(), HUB).skipped == []


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"a: \xff\n", 1, "it is not UTF-8"),
        (b"services:\n  a: {image: redis\n", 3, "expected ',' or '}'"),
        (b"a: 1\nb: *nowhere\n", 2, "found undefined alias"),
        (b"a: 1\nb: \x01\n", 2, "YAML does not allow the character U+0001; remove it"),
        (b"\xef\xbb\xbfa: 1\nb: \xef\xbb\xbf\n", 2, "YAML does not allow the character U+FEFF; remove it"),
        (b"a: 1\n'a': 2\n", 2, "the key a is defined twice in one mapping; remove one"),
        (b"a: 1\nx: &x\n  <<: *x\n", 2, "an anchor contains itself"),
        (b"a: 1\nx: &x [1, *x]\n", 2, "an anchor contains itself"),
        (b"a: 1\nb: " + b"[" * 150, 2, "it is nested too deeply"),
        (b"a: 1\nb:\n  " + b"- " * 100000, 3, "it is nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read_is_left_and_named(data, line, words):
    result = rewrite_compose(data, HUB)
    (skip,) = result.skipped
    assert (result.after, result.changes, skip.line, skip.reference) == (data, [], line, "")
    assert skip.reason.startswith("This compose file cannot be read: ") and skip.reason.endswith(". Nothing in it was changed.") and words in skip.reason
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
        ("{context: a, dockerfile_inline: FROM redis, additional_contexts: {redis: r}}", []),
        ("{context: '${C:-a}', additional_contexts: {<<: {redis: r}}}", [("a", "Dockerfile", ["redis"])]),
        ("{context: '$C', additional_contexts: {redis: r}}", []),
        ("{context: a}", []),
        ("a", []),
    ],
)
def test_contexts_that_replace_an_image_by_name(build, expected):
    assert contexts(f"services: {{a: {{build: {build}}}}}".encode()) == expected


@pytest.mark.slow
def test_merges_and_services_take_a_time_that_grows_with_them():
    """26 levels would be 2**26 mappings; 20,000 services were 18 seconds when each counted its line from the start."""
    levels = "".join(f"x-{level + 1}: &x{level + 1} {{<<: [*x{level}, *x{level}]}}\n" for level in range(26))
    services = "".join(f"  s{number}: {{<<: *x26, image: redis}}\n" for number in range(2000))
    result = rewrite_compose(f"x-0: &x0 {{a: 1}}\n{levels}services:\n{services}".encode(), HUB)
    assert [change.line for change in result.changes] == list(range(29, 2029))


@pytest.mark.slow
def test_a_chain_of_merges_or_extensions_may_be_long():
    merges = "".join(f"x-{level + 1}: &x{level + 1} {{<<: *x{level}}}\n" for level in range(3000))
    extends = "".join(f"  s{level}: {{extends: s{level + 1}}}\n" for level in range(3000))
    result = rewrite_compose(f"x-0: &x0 {{image: redis}}\n{merges}services:\n  a: *x3000\n{extends}".encode(), HUB)
    assert [change.line for change in result.changes] == [1]


@pytest.mark.parametrize(
    ("text", "after", "skips"),
    [
        ("services: {a: {build: {args: {B: redis}}}}\n", None, [("redis", NO_ARG)]),
        (INLINE + "        FROM redis\n", INLINE + "        FROM m.x/hub/library/redis\n", []),
        (INLINE + "        ARG X=redis\n        FROM $$X\n", None, [("$X", "It comes from ARG X, and kinds does not contain arg.")]),
    ],
)
@pytest.mark.parametrize("kinds", [{"compose"}, {"compose", "from"}])
def test_build_arguments_are_left_without_the_kind_arg(text, after, skips, kinds):
    result = rewrite_compose(text.encode(), HUB, lambda _context, _name: b"ARG B\nFROM $B\n", kinds)
    assert (result.after.decode(), [skip[2:] for skip in result.skipped]) == (after or text, skips)


def test_arguments_see_the_dockerfile_as_it_will_be():
    """Compose files and Dockerfiles of one run are rewritten in any order."""
    dockerfile = b"ARG B=alpine\nFROM $B\nARG B\nLABEL x=$B\n"
    text = b"services: {a: {build: {args: {B: redis}}}}\n"
    for contents in (dockerfile, rewrite(dockerfile, HUB).after):
        assert rewrite_compose(text, HUB, lambda _context, _name, contents=contents: contents).after == text


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        pytest.param("apiVersion: v1\nkind: Pod\nspec:\n  containers:\n    - image: redis\n", 5, "a Kubernetes manifest", id="Kubernetes"),
        pytest.param("on: push\njobs:\n  a:\n    container:\n      image: redis\n", 5, "a GitHub workflow", id="GitHub"),
        pytest.param("a:\n  image: Ö/É\n  script: [make]\nb:\n  image:\n    name: redis\n", 6, "a GitLab CI file", id="GitLab"),
        pytest.param("services: [redis]\na:\n  image: 'redis'\n  script: make\n", 1, "a GitLab CI file", id="GitLab with services"),
        pytest.param(
            "on: push\njobs: {a: {container: redis, services: {d: {image: quay.io/a}}, steps: [{name: redis}]}}\n", 2, "a GitHub workflow", id="on one line"
        ),
    ],
)
def test_what_is_no_compose_file_is_named_and_left(text, line, what):
    result = rewrite_compose(text.encode(), HUB)
    assert result.after == text.encode()
    assert result.skipped == [(line, "compose", "redis", f"This is {what} and not a compose file. Nothing in it was changed.")]
    assert rewrite_compose(text.replace("redis", "quay.io/a/b").encode(), HUB).skipped == []


def test_a_compose_file_with_such_names_is_one():
    text = "kind: x\nservices: {a: {image: redis, script: x}}\njobs: {}\n"
    assert rewrite_compose(text.encode(), HUB).after.decode() == text.replace("redis", "m.x/hub/library/redis")


def env(text, **verdicts):
    return Surroundings(env=Env([EnvFile(text.encode())]), **verdicts)


def test_env_decides_where_the_registry_of_an_image_is_written():
    text = "services:\n  a: {image: '${A:-redis}'}\n  b: {image: '${NONE:-redis}:${TAG}'}\n  c: {image: '${Q}'}\n  d: {image: '${B}'}\n  e: {image: '${BAD}'}\n"
    result = rewrite_compose(text.encode(), HUB, around=env("A=nginx\nTAG=7\nQ=quay.io/a/b\nB=$(x)\nBAD=a:b:c\n"))
    assert result.after.decode() == text.replace("NONE:-", "NONE:-m.x/hub/library/")
    assert [(skip.line, skip.reason) for skip in result.skipped] == [
        (2, ".env sets A to nginx; write the mirror's name there."),
        (5, ".env sets B to $(x), which is not evaluated here; write the mirror's name there."),
        (6, "'a:b:c' is not a valid image name; correct it, or exclude the file if it is a template."),
    ]


def uses(text, values, dockerfile=b"ARG BASE\nARG TWO\nFROM ${BASE}\nFROM ${TWO}\n", kinds=KINDS):
    """Of each text with variables: its line, their names, and what the edits of .env put there."""
    found = env_uses(text.encode(), HUB, lambda *place: dockerfile, kinds, env(values))
    return [(use.line, [name for _path, name in use.names], [edit.text for _path, edit in use.edits]) for use in found]


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        pytest.param("services: {a: {image: $I}}", "I=redis", [(1, ["I"], ["m.x/hub/library/"])], id="an image"),
        pytest.param("services: {a: {image: '${N}/b'}}", "N=a", [(1, ["N"], [])], id="a namespace, which the compose file gets"),
        pytest.param("services: {a: {image: '${I}${P}b'}}", "I=docker.io\nP=/", [(1, ["I", "P"], ["m.x/hub/library"])], id="a registry in two"),
        pytest.param("services: {a: {image: 'docker.io/$I'}}", "I=b", [(1, ["I"], [])], id="an image behind its registry"),
        pytest.param("services: {a: {image: $I, build: .}}", "I=redis", [(1, ["I"], [])], id="a result"),
        pytest.param("services: {a: {image: 'a:$$I'}}", "I=redis", [], id="no variable"),
        pytest.param("services: {a: {image: 'a:$$I'}", "I=redis", [], id="no YAML"),
        pytest.param("{apiVersion: $I, kind: $I}", "I=redis", [], id="no compose file"),
        pytest.param("services: {a: {environment: [I, 'J=$I'], command: I}}", "I=b", [(1, ["I"], []), (1, ["I"], [])], id="an environment"),
        pytest.param("services: {a: {environment: {I: null, J: b}}}", "I=b", [(1, ["I"], [])], id="an environment as a map"),
        pytest.param("secrets: {a: {environment: I}, b: {file: I}}\nservices: {}", "I=b", [(1, ["I"], [])], id="a secret"),
        pytest.param("services: {a: {env_file: x/.env}}", "I=b\nJ=c", [(1, ["I", "J"], [])], id="the environment of a container"),
        pytest.param("services: {a: {env_file: [a, {path: .env}, {}, []]}}", "I=b", [(1, ["I"], [])], id="the environment of a container in a list"),
        pytest.param("services: {a: {build: {args: {BASE: $I}}}}", "I=redis", [(1, ["I"], ["m.x/hub/library/"])], id="an argument"),
        pytest.param("services: {a: {build: {args: [BASE=$I]}}}", "I=redis", [(1, ["I"], ["m.x/hub/library/"])], id="an argument in a list"),
        pytest.param("services: {a: {build: {args: [BASE]}}}", "BASE=redis", [(1, ["BASE"], ["m.x/hub/library/"])], id="an argument without a value"),
        pytest.param("services: {a: {build: {args: {BASE: }}}}", "BASE=redis", [(1, ["BASE"], ["m.x/hub/library/"])], id="an argument with null"),
        pytest.param("services: {a: {build: {args: {BASE: 'a/b:$I'}}}}", "I=1", [(1, ["I"], [])], id="a tag"),
        pytest.param("services: {a: {build: {args: {BASE: '${P}cker.io/a/b'}}}}", "P=do", [(1, ["P"], [])], id="an argument in two"),
        pytest.param("services: {a: {build: {args: {OTHER: $I}}}}", "I=redis", [(1, ["I"], [])], id="another argument"),
        pytest.param("services: {a: {build: {args: {BASE: $I}}}}", "I=$(x)", [(1, ["I"], [])], id="not evaluated"),
        pytest.param("services: {a: {build: {args: {BASE: $I}}}}", "I=", [(1, ["I"], [])], id="an empty argument"),
        pytest.param("services: {a: {build: {args: {BASE: &b $I, TWO: *b}}}}", "I=redis", [(1, ["I"], ["m.x/hub/library/"])], id="an anchor"),
        pytest.param("services: {a: {build: {args: {BASE: &b $I, OTHER: *b}}}}", "I=redis", [(1, ["I"], [])], id="an anchor of something else"),
        pytest.param(
            "services: {a: {build: {additional_contexts: [x=docker-image://$I]}}}", "I=redis", [(1, ["I"], ["m.x/hub/library/"])], id="a named context"
        ),
    ],
)
def test_what_would_have_to_become_of_env(text, values, expected):
    assert uses(text, values) == expected


def test_without_kind_arg_env_is_left_where_arguments_take_it():
    text = "services: {a: {build: {args: {BASE: $I}}}}"
    assert uses(text, "I=redis", kinds=("compose", "from")) == [(1, ["I"], [])]
    result = rewrite_compose(text.encode(), HUB, lambda *place: b"ARG BASE\nFROM ${BASE}\n", ("compose", "from"), around=env("I=redis"))
    assert [(skip.reference, skip.reason) for skip in result.skipped] == [("$I", "It is the value of a build argument, and kinds does not contain arg.")]


def test_a_registry_from_the_file_and_from_env_is_written_in_two_places():
    text = "services: {a: {image: '${P}cker.io/a/b', build: {args: {BASE: '${P}cker.io/a/b'}}}, b: {image: '${P}cker.io/a/b'}}"
    result = rewrite_compose(text.encode(), HUB, lambda *place: b"ARG BASE\nFROM ${BASE}\n", around=env("P=do"))
    assert (result.changes, {skip.reason for skip in result.skipped}) == ([], {"Its registry is written in two places; write it in one."})


@pytest.mark.parametrize("args", ["{BASE: ''}", "['BASE=']", "{BASE: '', TWO: redis}"])
def test_an_argument_that_is_empty(args):
    text = f"services: {{a: {{build: {{context: ., args: {args}}}}}}}"
    result = rewrite_compose(text.encode(), HUB, lambda *place: b"ARG BASE\nARG TWO\nFROM a${BASE}\nFROM ${TWO:-b}\n")
    assert (result.after.decode(), result.skipped) == (text.replace("redis", "m.x/hub/library/redis"), [])


def test_an_edit_of_env_is_said_only_where_it_is_not_made():
    text = "services: {a: {image: $I}}"
    (use,) = env_uses(text.encode(), HUB, lambda *place: None, KINDS, env("I=redis"))
    assert not rewrite_compose(text.encode(), HUB, around=env("I=redis", env_verdicts={use.edits: ""})).skipped
    result = rewrite_compose(text.encode(), HUB, around=env("I=redis", env_verdicts={use.edits: "why not"}))
    assert [(skip.line, skip.reference, skip.reason) for skip in result.skipped] == [(1, "$I", "Why not.")]


def test_a_name_of_env_decides_which_dockerfile_is_built():
    facts = read_compose(b"services: {a: {build: {dockerfile: $D, args: [B, C]}}}", Env([EnvFile(b"D=x\nB=c\n")]))
    assert [(build.place, build.args) for build in facts.builds] == [((".", "x"), ["B"])]


def test_what_named_contexts_replace_in_a_dockerfile_inside_is_said():
    text = "services:\n  a:\n    build:\n      additional_contexts: {node: ./n, '..': x, 'nginx::linux/arm64': ./x}\n"
    text += "      dockerfile_inline: |\n        FROM docker.io/library/node:latest\n        COPY --from=nginx a b\n        FROM redis\n"
    result = rewrite_compose(text.encode(), HUB)
    assert result.after.decode() == text.replace("redis", "m.x/hub/library/redis")
    assert [(skip.line, skip.reference, skip.reason) for skip in result.skipped] == [
        (6, "docker.io/library/node:latest", "The build context node replaces it, so it is not pulled; what is pulled is written there."),
        (7, "nginx", "The build context nginx replaces it, so it is not pulled; what is pulled is written there."),
    ]


@pytest.mark.parametrize(("builds", "after", "skips"), [(True, "acme/a", 0), (False, "m.x/hub/acme/a", 0), (None, "acme/a", 1)])
def test_a_service_that_extends_one_of_another_file(builds, after, skips):
    text = "services: {a: {extends: {file: b.yml, service: b}, image: acme/a}}\n"
    result = rewrite_compose(text.encode(), HUB, around=Surroundings(builds=lambda file, service: builds if (file, service) == ("b.yml", "b") else None))
    assert (result.after.decode(), len(result.skipped)) == (text.replace("acme/a", after), skips)


def test_what_an_included_file_builds_is_a_result():
    text = "services: {a: {image: acme/a, volumes: [{type: image, source: acme/a}], pre_start: [{image: redis}, x]}}\n"
    result = rewrite_compose(text.encode(), HUB, around=Surroundings(results={"docker.io/acme/a:latest"}))
    assert result.after.decode() == text.replace("redis", "m.x/hub/library/redis")


@pytest.mark.parametrize(
    ("service", "after"),
    [
        pytest.param("volumes: [{type: image, source: redis}, {type: bind, source: redis}, 'redis:/x']", 1, id="volumes"),
        pytest.param("volumes: {type: image, source: redis}", 0, id="no list of volumes"),
        pytest.param('volumes: [{type: image, source: "\\x72edis"}]', 0, id="escapes"),
        pytest.param("pre_start: [{command: redis}]", 0, id="a step without an image"),
        pytest.param("build: {sbom: 'generator=redis,x=y'}", 1, id="a generator"),
        pytest.param("build: {sbom: true}", 0, id="no generator"),
        pytest.param("build: {args: {BUILDKIT_SYNTAX: redis}}", 1, id="a frontend"),
        pytest.param("build: {args: {BUILDKIT_SYNTAX: dockerfile.v0}}", 0, id="the frontend inside"),
        pytest.param("build: {args: [BUILDKIT_SYNTAX]}", 0, id="a frontend from outside"),
        pytest.param(f"image: 'sha256:{'a' * 64}'", 0, id="a local image"),
    ],
)
def test_other_places_of_images(service, after):
    text = f"services: {{a: {{{service}}}}}\n"
    assert rewrite_compose(text.encode(), HUB).after.decode() == text.replace("redis", "m.x/hub/library/redis", after)


def test_what_a_compose_file_says_about_others():
    text = (
        "include:\n  - a.yml\n  - path: b.yml\n  - path: [c.yml, '$NONE', {}]\n  - {}\n  - '${X:-d.yml}'\n"
        "services:\n  a: {extends: {file: e.yml, service: b}, build: ctx}\n  b: {build: {context: c, args: {A: b, N: null}, additional_contexts: {x: y}}}\n"
        "  c: {build: '$NONE'}\n"
    )
    facts = read_compose(text.encode())
    assert facts.files == [("a.yml", 2), ("b.yml", 3), ("c.yml", 4), ("d.yml", 6), ("e.yml", 8)]
    assert facts.includes == ["a.yml", "b.yml", "c.yml", "d.yml"]
    assert [(build.place, build.contexts, build.args, build.line) for build in facts.builds] == [
        (("c", "Dockerfile"), ["x"], ["A"], 9),
        (("ctx", "Dockerfile"), (), (), 8),
    ]
    assert not read_compose(b"include: [").is_readable


def test_an_argument_without_a_value_that_feeds_a_from_is_reported():
    text = "services:\n  a:\n    build:\n      args:\n        BASE: $X\n        OTHER: $X\n"
    result = rewrite_compose(text.encode(), HUB, lambda context, dockerfile: b"ARG BASE\nARG OTHER\nFROM ${BASE}\n")
    assert (result.after.decode(), result.changes) == (text, [])
    assert [(skip.line, skip.reference, skip.reason) for skip in result.skipped] == [
        (5, "$X", "It is in a FROM of its Dockerfile, and compose finds no value for it here; give it a default, or set it in .env to the mirror's name.")
    ]


@pytest.mark.parametrize(
    ("value", "after"),
    [
        ("${R:-docker.io}/${N:-redis}", "${R:-m.x/hub/library}/${N:-redis}"),
        ("${R:-docker.io}/a/b", "${R:-m.x/hub}/a/b"),
        ("${R:-docker}${S:-.io}/a/b", "${R:-m.x/hub}${S:-}/a/b"),
    ],
)
def test_an_argument_made_of_several_values(value, after):
    text = "services: {{a: {{build: {{args: {{BASE: '{}'}}}}}}}}\n"
    result = rewrite_compose(text.format(value).encode(), HUB, lambda context, dockerfile: b"ARG BASE\nFROM ${BASE}\n")
    assert (result.after.decode(), result.skipped) == (text.format(after), [])
