# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Bake files: what is edited between quotes, what is left and why; every other byte stays."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.bake_rewrite import rewrite_bake
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import KINDS
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

HUB = Mirrors({"docker.io": "m.x"})
DOCKERFILES = {
    (".", "Dockerfile"): b"ARG BASE=alpine:3\nARG TAG\nFROM ${BASE}\nFROM redis:${TAG}\n",
    (".", "again"): b"ARG BASE\nFROM ${BASE}\nARG BASE\n",
    (".", "hub"): b"ARG BASE\nFROM docker.io/${BASE}\n",
    (".", "broken"): b"FROM\n",
}


def rewritten(text, name="docker-bake.hcl", kinds=KINDS, others=None, supplied=None):
    files = {**(others or {}), name: text.encode()}
    return rewrite_bake(files, name, HUB, lambda *place: DOCKERFILES.get(place), kinds, supplied or (lambda context, dockerfile: {}))


def target(body):
    return f'target "a" {{\n{body}\n}}\n'


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param('contexts = { a = "docker-image://redis" }', 'contexts = { a = "docker-image://m.x/library/redis" }', id="a context"),
        pytest.param('contexts = { a = "docker-image://r:${x}" }', 'contexts = { a = "docker-image://m.x/library/r:${x}" }', id="a tag that is an expression"),
        pytest.param('contexts = { a = "docker-image://m.x/r" }', None, id="at the mirror"),
        pytest.param('contexts = { a = "docker-image://" }', None, id="no image"),
        pytest.param('contexts = { a = "docker-image://é" }', None, id="no image name"),
        pytest.param('contexts = { a = "target:redis", b = "./redis" }', None, id="other contexts"),
        pytest.param('args = { BASE = "debian:12" }', 'args = { BASE = "m.x/library/debian:12" }', id="an argument in FROM"),
        pytest.param('args = { BASE = "debian:12", OTHER = "redis:7" }', 'args = { BASE = "m.x/library/debian:12", OTHER = "redis:7" }', id="and another"),
        pytest.param('dockerfile = "hub"\nargs = { BASE = "debian:12" }', None, id="behind a registry"),
        pytest.param('dockerfile = "broken"\nargs = { BASE = "a/b:1", X = X }', None, id="a Dockerfile that is none"),
        pytest.param('dockerfile = "none"\nargs = { BASE = "1.2" }', None, id="no image, for a Dockerfile that is not there"),
        pytest.param("args = { TAG = TAG }", None, id="a tag that is a variable"),
        pytest.param('args = { BUILDKIT_SYNTAX = "a/b:1" }', 'args = { BUILDKIT_SYNTAX = "m.x/a/b:1" }', id="a frontend"),
        pytest.param('args = { BUILDKIT_SYNTAX = "dockerfile.v0" }', None, id="the frontend inside"),
        pytest.param('attest = ["type=sbom,generator=a/b"]', 'attest = ["type=sbom,generator=m.x/a/b"]', id="a generator"),
        pytest.param('attest = ["type=provenance", X]', None, id="another attestation"),
        pytest.param("dockerfile-inline = <<-E\n  FROM redis\n  E", "dockerfile-inline = <<-E\n  FROM m.x/library/redis\n  E", id="a Dockerfile in it"),
        pytest.param("dockerfile-inline = <<E\nE", None, id="an empty one"),
        pytest.param('args = { BASE = "r:${x}" }', 'args = { BASE = "m.x/library/r:${x}" }', id="an argument that is a template"),
        pytest.param('dockerfile-inline = "FROM quay.io/a"', None, id="a Dockerfile that names nothing"),
    ],
)
def test_what_is_edited(before, after):
    result = rewritten(target(before))
    assert (result.after.decode(), result.skipped) == (target(after or before), [])
    assert rewritten(result.after.decode()).changes == []


@pytest.mark.parametrize(
    ("body", "reference", "reason"),
    [
        pytest.param(
            'contexts = { a = "docker-image://${R}/r:1" }',
            "docker-image://${R}/r:1",
            "An expression gives its registry, which is not known here; write the mirror's name where the registry is written.",
            id="a registry that is an expression",
        ),
        pytest.param(
            'contexts = { a = "docker-image:\\u002f/redis" }',
            "docker-image://redis",
            "It is written in a way that cannot be edited in place; write it plainly between double quotes.",
            id="escapes",
        ),
        pytest.param(
            "args = { BASE = X }",
            "BASE",
            "A FROM begins with this argument, and an expression gives its value, which is not known here; write the mirror's name where it is written.",
            id="an argument that is an expression",
        ),
        pytest.param(
            'dockerfile = X\nargs = { BASE = "debian:12" }',
            "debian:12",
            "It may be an image, but the Dockerfile that gets it is not known here; if it feeds a FROM there, write the mirror's name.",
            id="a Dockerfile that is not known",
        ),
        pytest.param(
            'dockerfile = "again"\nargs = { BASE = "debian:12" }',
            "debian:12",
            "A stage declares this build argument too, where its new value would be visible; use a separate argument for the image.",
            id="an argument that a stage declares",
        ),
        pytest.param(
            'args = { BASE = "debian:12" }\n}\ntarget "b" {\n  inherits = ["a"]\n  dockerfile = "hub"',
            "debian:12",
            "Targets need different values here; give each a value of its own.",
            id="two targets",
        ),
        pytest.param(
            'dockerfile-inline = "FROM redis\\n"',
            "dockerfile-inline",
            "It is a Dockerfile inside the Bake file, which cannot be edited in place; put it into a file of its own.",
            id="a Dockerfile in it",
        ),
        pytest.param(
            "dockerfile-inline = <<E\nFROM redis:${X}\nE",
            "dockerfile-inline",
            "It is a Dockerfile inside the Bake file, which cannot be edited in place; put it into a file of its own.",
            id="a Dockerfile in it with a template",
        ),
        pytest.param(
            "dockerfile-inline = <<E\nFROM $X\nE",
            "$X",
            "A variable in it has no default, so its registry is not known; give it one, or a value in build_args.",
            id="a Dockerfile in it that leaves something",
        ),
    ],
)
def test_what_is_left_with_its_reason(body, reference, reason):
    result = rewritten(target(body))
    assert (result.after.decode(), [(skip.kind, skip.reference, skip.reason) for skip in result.skipped]) == (target(body), [("bake", reference, reason)])


def test_kinds_may_leave_bake_files_or_arguments_out():
    text = target('args = { BASE = "debian:12" }')
    assert rewritten(text, kinds={"from", "arg"}).skipped == []
    (skip,) = rewritten(text, kinds={"bake", "from"}).skipped
    assert (skip.line, skip.reason) == (2, "It is the value of a build argument, and kinds does not contain arg.")


def test_json_is_edited_as_hcl_is():
    before = (
        '{"target": {"a": {\n "args": {"BASE": "debian:12", "N": null, "X": "\\u0041"},\n "contexts": {"r": "docker-image://redis"}}}, "x": [1, {"y": 2}]}\n'
    )
    result = rewritten(before, "docker-bake.json")
    assert result.after.decode() == before.replace("debian", "m.x/library/debian").replace("redis", "m.x/library/redis")
    assert [(change.line, change.kind, change.before) for change in result.changes] == [(2, "bake", "debian:12"), (3, "bake", "docker-image://redis")]


def test_json_that_bake_reads_and_we_cannot_place_is_reported():
    (skip,) = rewritten('{"target": {"a": {"contexts": {"r": "docker-image://redis", "x": "\\/"}}}}', "docker-bake.json").skipped
    assert skip.reason == "It is written in a way that cannot be edited in place; write it plainly between double quotes."


@pytest.mark.parametrize(
    ("text", "lines"),
    [('x = {\na = "docker-image://redis"', [2]), ('x = {\na = "docker-image://quay.io/a"\n"docker-image://É"', []), ("x = {", [])],
)
def test_a_bake_file_that_cannot_be_read_is_left_and_named_where_the_map_names_something(text, lines):
    result = rewritten(text)
    assert (result.changes, [skip.line for skip in result.skipped]) == ([], lines)
    assert all(skip.reason == "This Bake file, or one beside it, cannot be read. Nothing in it was changed." for skip in result.skipped)


VARIABLES = 'variable "R" { default = "docker.io/library" }\nvariable "I" { default = "${R}/redis" }\nvariable "P" { default = "do" }\n'


@pytest.mark.parametrize(
    ("body", "before", "after", "reasons"),
    [
        pytest.param('contexts = { a = "docker-image://${R}/x" }', "docker.io/library", "m.x/library", [], id="a registry"),
        pytest.param('contexts = { a = "docker-image://${I}" }', "docker.io/library", "m.x/library", [], id="a variable in a variable"),
        pytest.param('contexts = { a = "docker-image://${I}:1" }\nlabels = { a = R }', "", "", ["is also used"], id="another use"),
        pytest.param('args = { BASE = "${I}:${TAG}" }', "docker.io/library", "m.x/library", [], id="an argument with a tag that is not known"),
        pytest.param('args = { BASE = "${P}cker.io/a/b" }', "", "", ["is written in two places"], id="an argument in two places"),
        pytest.param('args = { BASE = "nginx:${P}" }', "nginx", "m.x/library/nginx", [], id="a tag"),
        pytest.param('args = { BASE = "${R}/${P}" }', "docker.io/library", "m.x/library", [], id="a registry and a name"),
        pytest.param('contexts = { a = "docker-image://${R}/x", b = "docker-image://${R}/y" }', "docker.io/library", "m.x/library", [], id="twice"),
        pytest.param(
            'contexts = { a = "docker-image://${R}/x" }\nlabels = { R = "b" }\ntags = R == "a" ? [] : null', "", "", ["is also used"], id="a condition"
        ),
        pytest.param('contexts = { a = "docker-image://${R}/x" }\nlabels = { R = "b", l = <<E\n${R}\nE\n}', "", "", ["is also used"], id="a heredoc"),
        pytest.param('dockerfile = "none"\nargs = { BASE = "${R}/x:1" }', "", "", ["is not known here"], id="a Dockerfile that is not there"),
        pytest.param('dockerfile = "again"\nargs = { BASE = "${R}/x:1" }', "", "", ["A stage declares"], id="an argument that a stage declares"),
        pytest.param('contexts = { a = "docker-image://${P}/x" }', "${P}", "m.x/${P}", [], id="a namespace"),
    ],
)
def test_defaults_of_variables(body, before, after, reasons):
    text = VARIABLES + target(body)
    result = rewritten(text)
    assert result.after.decode() == (text.replace(before, after, 1) if before else text)
    assert len(result.skipped) == len(reasons) and all(reason in skip.reason for reason, skip in zip(reasons, result.skipped))
    assert rewritten(result.after.decode()).changes == []


def test_images_that_need_different_texts_in_a_default():
    text = 'variable "R" { default = "docker.io" }\n' + target('contexts = { a = "docker-image://${R}/x", b = "docker-image://${R}/x/y" }')
    result = rewritten(text)
    reason = "Variable R gives the registry of images that need different texts there; write official images with library/ where R is used."
    assert (result.changes, [(skip.line, skip.reason) for skip in result.skipped]) == ([], [(3, reason)] * 2)


def test_a_variable_of_another_file():
    others = {"docker-bake.hcl": b'variable "R" { default = "docker.io/library" }\ntarget "x" {\n  dockerfile-inline = <<E\nFROM $Y\nE\n}\n'}
    text = target('contexts = { a = "docker-image://${R}/x" }')
    result = rewritten(text, "docker-bake.override.hcl", others=others)
    assert (result.changes, result.skipped) == ([], [])
    there = rewritten(others["docker-bake.hcl"].decode(), others={"docker-bake.override.hcl": text.encode()})
    assert [(change.line, change.before, change.after) for change in there.changes] == [(1, "docker.io/library", "m.x/library")]
    assert [(skip.line, skip.reference) for skip in there.skipped] == [(4, "$Y")]


@pytest.mark.parametrize(
    "variable",
    [
        pytest.param('variable "R" {}', id="no default"),
        pytest.param('variable "R" { default = null }', id="null"),
        pytest.param('variable "R" { default = f("docker.io") }', id="a function"),
        pytest.param('variable "R" { default = "docker.io/l\\u0069brary" }', id="escapes"),
        pytest.param('variable "R" { default = "" }', id="an empty one"),
        pytest.param('variable "R" { default = "${R}" }', id="itself"),
        pytest.param('variable "R" { default = "docker.io/library" }\ntarget "m" { matrix = { R = ["a"] } }', id="a matrix"),
    ],
)
def test_a_variable_whose_value_is_not_known(variable):
    text = f"{variable}\n" + target('contexts = { a = "docker-image://${R}/x" }')
    result = rewritten(text)
    reason = "An expression gives its registry, which is not known here; write the mirror's name where the registry is written."
    assert (result.changes, [skip.reason for skip in result.skipped]) == ([], [reason])


def test_variables_of_json():
    text = '{"variable": {"R": {"default": "docker.io/library"}, "X": 1}, "target": {"a": {"contexts": {"a": "docker-image://${R}/x"}, "tags": ["x"]}}}'
    assert rewritten(text, "docker-bake.json").after.decode() == text.replace("docker.io", "m.x")
    used = text.replace('"x"]', '"${R}"]')
    assert "is also used in another way" in rewritten(used, "docker-bake.json").skipped[0].reason


def test_each_file_gets_its_own_edits():
    others = {"docker-bake.json": b'{"target": {"a": {"args": {"BASE": "debian:12"}}}}'}
    text = 'target "a" { contexts = { r = "docker-image://redis" } }\n'
    assert [change.before for change in rewritten(text, others=others).changes] == ["docker-image://redis"]


def test_what_a_context_supplies_needs_no_argument():
    text = target('args = { BASE = "debian:12" }')
    assert rewritten(text, supplied=lambda context, dockerfile: {"debian:12": "x"}).changes == []
    assert rewritten(target('args = { BASE = "debian:12" }\ncontexts = { "debian:12" = "./x" }')).changes == []
