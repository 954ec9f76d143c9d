# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the compose and Bake files of a tree say together."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.model import survey

FILES = {
    "/p/compose.yaml": """
include: [sub/db.yml, 'oci://x/y']
services:
  a: {extends: {file: base.yml, service: b}}
  c: {build: {context: 'https://x/y', additional_contexts: {z: .}}}
""",
    "/p/compose.override.yaml": "services: {a: {build: {context: web, additional_contexts: {node: x, 'É': y}}, image: acme/a}}",
    "/p/base.yml": """
services:
  b: {extends: {file: deep.yml, service: c}}
  loop: {extends: {file: base.yml, service: loop}}
  gone: {extends: {file: none.yml, service: x}}
  d: {}
""",
    "/p/deep.yml": "services: {c: {build: .}}",
    "/p/sub/db.yml": """
include: [../compose.yaml, more.yml]
services: {db: {build: {dockerfile: '$X', additional_contexts: {alpine: y}}, image: acme/db}}
""",
    "/p/sub/more.yml": "services: {more: {build: {dockerfile_inline: FROM x}, image: acme/more}}",
    "/p/bake/docker-bake.hcl": """
target "a" { contexts = { redis = "x" } }
target "b" {
  dockerfile = X
  contexts = { php = "x" }
}
target "c" { context = "https://x/y" }
target "d" { dockerfile-inline = "FROM x" }
""",
}


def read(path):
    return FILES[path].encode() if path in FILES else None


PROJECT = survey(["/p/compose.yaml", "/p/compose.override.yaml"], {"/p/bake": ["docker-bake.hcl"]}, read)


def test_the_files_that_others_name_are_read():
    assert sorted(path for path, facts in PROJECT.compose.items() if facts.is_readable) == sorted(path for path in FILES if "bake" not in path)
    assert {(read.path, read.is_compose) for read in PROJECT.reads} == {
        ("/p/sub/db.yml", True), ("/p/base.yml", True), ("/p/deep.yml", True), ("/p/none.yml", True), ("/p/compose.yaml", True), ("/p/sub/more.yml", True),
        ("/p/web/Dockerfile", False), ("/p/Dockerfile", False), ("/p/bake/Dockerfile", False),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dockerfile", "names"),
    [
        ("/p/web/Dockerfile", {"node"}),
        ("/p/bake/Dockerfile", {"redis", "php"}),
        ("/p/bake/deep/Dockerfile", {"php"}),
        ("/p/sub/Dockerfile", {"alpine"}),
        ("/p/Dockerfile", set()),
    ],
)
def test_what_named_contexts_supply(dockerfile, names):
    assert set(PROJECT.supplied(dockerfile)) == names


def test_what_included_files_build():
    assert PROJECT.results("/p/compose.yaml") == {"docker.io/acme/db:latest", "docker.io/acme/more:latest"}
    assert PROJECT.results("/p/deep.yml") == PROJECT.results("/p/unknown.yml") == set()


def test_which_other_file_of_the_project_builds():
    assert PROJECT.builder("/p/compose.yaml", "a") == "/p/compose.override.yaml"
    assert PROJECT.builder("/p/base.yml", "c") == "/p/compose.yaml"
    assert PROJECT.builder("/p/compose.yaml", "b") == PROJECT.builder("/p/unknown.yml", "a") == ""


@pytest.mark.parametrize(
    ("file", "service", "built"),
    [("/p/base.yml", "b", True), ("/p/base.yml", "d", False), ("/p/base.yml", "loop", False), ("/p/base.yml", "x", False), ("/p/base.yml", "gone", None),
     ("/p/unknown.yml", "x", None)],
)  # fmt: skip
def test_whether_a_service_of_another_file_is_built(file, service, built):
    assert PROJECT.builds(file, service) is built
