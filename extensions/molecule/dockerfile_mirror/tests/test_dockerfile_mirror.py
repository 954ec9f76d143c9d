# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real builds of the rewritten sources, with every builder, behind the firewall and without any other setting."""

from __future__ import annotations

import json
import re

import build
import pytest
import table

from ansible_collections.buildfleet.docker.plugins.filter.source_policy import FilterModule

COMPOSE = "$(docker compose version >/dev/null 2>&1 && echo 'docker compose' || echo docker-compose)"


def run(engine, builder, command):
    engine.forget()
    setting = build.BUILDER_VARIABLE.get(builder, {})
    return build.on(engine.name, "".join(f"export {name}={value}\n" for name, value in setting.items()) + command)


@pytest.mark.parametrize("builder", ["buildkit", "legacy"])
@pytest.mark.parametrize("source", ["article", "stages", "mounts", "registries"])
def test_the_rewritten_file_is_built(engine, builder, source):
    if source == "mounts" and builder == "legacy":
        pytest.skip("the legacy builder knows no mounts")
    if source == "mounts" and engine.major < 23:
        pytest.skip("the frontend in this engine knows no heredocs")
    outcome = run(engine, builder, f"docker build /srv/src/{source}")
    assert outcome.ok, outcome.log


def test_the_frontend_is_asked_of_the_mirror(engine):
    """The lab's Hub has no docker/dockerfile, so the answer is an error; the test checks which server sent it."""
    outcome = run(engine, "buildkit", "docker build /srv/src/syntax")
    assert not outcome.ok
    assert "mirror.lab/docker/dockerfile:1: not found" in outcome.log
    assert "docker.io/docker" not in outcome.log.replace("registry-1.docker.io", "")


@pytest.mark.parametrize("builder", ["buildkit", "legacy"])
@pytest.mark.parametrize("source", ["stages", "registries"])
def test_the_first_file_is_not(engine, builder, source):
    assert not run(engine, builder, f"docker build /srv/first/{source}").ok


def test_compose_builds_and_starts_the_project(engine):
    outcome = run(engine, "buildkit", f"cd /srv/src/compose && {COMPOSE} build && {COMPOSE} up -d; rc=$?; {COMPOSE} down; exit $rc")
    assert outcome.ok, outcome.log


@pytest.mark.parametrize("command", ["docker compose build --no-cache", "docker buildx bake --no-cache default inline"])
def test_a_project_of_compose_and_bake_files_is_built_as_a_whole(engine, command):
    """Named contexts, arguments, a Dockerfile with another name, an included file, Dockerfiles inside other files."""
    if engine.major < 26:
        pytest.skip("the client has no buildx")
    outcome = run(engine, "buildkit", f"cd /srv/src/project && {command}")
    assert outcome.ok, outcome.log
    assert not run(engine, "buildkit", f"cd /srv/first/project && {command}").ok


@pytest.mark.parametrize("command", ["docker compose config --format json", "docker buildx bake --print default inline"])
def test_compose_and_bake_name_the_same_images_at_the_mirror(engine, command):
    if engine.major < 26:
        pytest.skip("the client has no buildx")
    before, after = (build.on(engine.name, f"cd /srv/{folder}/project && {command} 2>/dev/null") for folder in ("first", "src"))
    assert before.ok and after.ok, before.log + after.log
    named = before.log.replace("/srv/first/", "/srv/src/").replace("docker.io/library/busybox", "busybox")
    assert "busybox:1" in named
    wanted = named.replace("busybox:1", "mirror.lab/library/busybox:1")
    assert sorted(re.findall(r"[^\s\",]+", after.log)) == sorted(re.findall(r"[^\s\",]+", wanted))  # bake's groups have no order


def test_compose_pulls_what_env_names(engine):
    if engine.major < 26:
        pytest.skip("the compose program of this engine knows no include")
    outcome = run(engine, "buildkit", "cd /srv/src/project && docker compose pull pulled && docker compose run --rm pulled")
    assert outcome.ok, outcome.log
    assert not run(engine, "buildkit", "cd /srv/first/project && docker compose pull pulled").ok


def test_no_other_byte_changed(engine):
    text = engine.host.file("/srv/src/stages/Dockerfile").content
    first = engine.host.file("/srv/first/stages/Dockerfile").content
    assert text == first.replace(b"BASE=busybox", b"BASE=mirror.lab/library/busybox").replace(
        b"docker.io/library/alpine", b"mirror.lab/library/alpine"
    ).replace(b"--from=busybox:latest", b"--from=mirror.lab/library/busybox:latest")


def test_a_source_policy_does_the_same_without_an_edit(engine):
    """FROM and COPY --from with docker build and with compose; the filter writes the policy."""
    if engine.major < 25:
        pytest.skip("source policies need Docker Engine 25")
    policy = FilterModule().filters()["source_policy"]({"docker.io": "mirror.lab", "ghcr.io": table.GHCR_MIRROR})
    engine.write("/srv/policy.json", json.dumps(policy))
    asked = run(engine, "buildkit", "export EXPERIMENTAL_BUILDKIT_SOURCE_POLICY=/srv/policy.json\ndocker build /srv/first/syntax")
    assert "mirror.lab/docker/dockerfile:1: not found" in asked.log
    for command in ("docker build /srv/first/stages", "docker build /srv/first/registries", f"cd /srv/first/compose && {COMPOSE} build"):
        outcome = run(engine, "buildkit", f"export EXPERIMENTAL_BUILDKIT_SOURCE_POLICY=/srv/policy.json\n{command}")
        assert outcome.ok, outcome.log


def test_a_source_policy_for_one_repository_replaces_a_base_image(engine):
    """A company's own base image, with its CA in it, without a change of Dockerfiles."""
    if engine.major < 25:
        pytest.skip("source policies need Docker Engine 25")
    engine.write("/srv/policy.json", json.dumps(FilterModule().filters()["source_policy"]({"docker.io/library/busybox": "mirror.lab/lab/tool"})))
    engine.write("/srv/own/Dockerfile", "FROM busybox:1\nRUN grep lab/tool /etc/image\n")
    outcome = run(engine, "buildkit", "export EXPERIMENTAL_BUILDKIT_SOURCE_POLICY=/srv/policy.json\ndocker build /srv/own")
    assert outcome.ok, outcome.log
