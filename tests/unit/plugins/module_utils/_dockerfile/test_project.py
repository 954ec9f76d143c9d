# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A project in a folder: what its files name is read too, and what lies outside is reported.

The module imports the project late; this file imports it when tests are collected, so that its lines are counted in every order of tests.
"""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import model
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.project import survey
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.tree import bake_files
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import Source, contents_of, source, within
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

KINDS = ("from", "compose")
TO = Mirrors({"docker.io": "m.lab"})


def surveyed(folder, compose=("compose.yml",), excludes=(), **more):
    paths = [str(folder / name) for name in compose]

    def is_inside(path):
        return within(path, [str(folder)], excludes)

    def follows(_read, _followed):
        return True

    return survey(paths, [], frozenset(paths), is_inside, bake_files(excludes), contents_of, follows, more.get("needs_yaml", True))


def test_a_dockerfile_of_another_name_is_read_too(tmp_path):
    (tmp_path / "compose.yml").write_text("services:\n  a:\n    build: {context: ., dockerfile: app.df}\n")
    (tmp_path / "app.df").write_text("FROM redis\n")
    assert surveyed(tmp_path).extra == {str(tmp_path / "app.df"): "dockerfile"}


def test_what_lies_outside_is_reported_where_the_map_is_about_it(tmp_path):
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "compose.yml").write_text("include: [../more.yml]\nservices:\n  a: {image: redis}\n")
    (tmp_path / "more.yml").write_text("services:\n  b: {image: redis}\n")
    tree = surveyed(inside)
    file = source(str(inside / "compose.yml"))
    assert isinstance(file, Source)
    result = tree.compose(file.path, file.contents, TO, KINDS)
    assert tree.extra == {}
    assert [skip.reason for skip in result.skipped] == ["Compose reads ../more.yml too, which is outside paths or excluded; add it to paths."]
    elsewhere = tree.compose(file.path, file.contents, Mirrors({"ghcr.io": "m.lab"}), KINDS)
    assert elsewhere.skipped == []


def test_excluded_bake_files_are_not_read():
    assert "docker-bake.hcl" in bake_files([])
    assert not [name for name in bake_files(["docker-bake*"]) if name.startswith("docker-bake")]


@pytest.mark.parametrize("needs_yaml", [True, False])
def test_without_a_yaml_parser_bake_files_alone_are_read(tmp_path, monkeypatch, needs_yaml):
    real = model.survey

    def without_yaml(compose, bake, read):
        if compose:
            raise Refused("This host has no PyYAML.")
        return real(compose, bake, read)

    monkeypatch.setattr(model, "survey", without_yaml)
    (tmp_path / "compose.yml").write_text("services: {}\n")
    if needs_yaml:
        with pytest.raises(Refused, match=r"^This host has no PyYAML\.$"):
            surveyed(tmp_path)
    else:
        assert surveyed(tmp_path, needs_yaml=False).extra == {}


ENV_PROJECT = "services:\n  a: {image: $I}\n"


@pytest.mark.parametrize(
    ("excludes", "kinds", "after", "reason"),
    [
        pytest.param((), KINDS, b"I=m.lab/library/redis\n", "", id="edited"),
        pytest.param((".env",), KINDS, None, ".env sets I to redis; write the mirror's name there.", id="excluded"),
        pytest.param((), ("from",), b"I=redis\n", "", id="not of its kind"),
    ],
)
def test_env_is_edited_where_the_run_may(tmp_path, excludes, kinds, after, reason):
    (tmp_path / "compose.yml").write_text(ENV_PROJECT)
    (tmp_path / ".env").write_bytes(b"I=redis\n")
    tree = surveyed(tmp_path, excludes=excludes)
    env, file = source(str(tmp_path / ".env")), source(str(tmp_path / "compose.yml"))
    assert tree.extra == ({} if after is None else {str(tmp_path / ".env"): "env"})
    assert after is None or tree.env(env.path, env.contents, TO, kinds).after == after
    assert [skip.reason for skip in tree.compose(file.path, file.contents, TO, kinds).skipped] == [reason] * bool(reason)


def test_a_use_below_the_folder_of_env_is_named_from_there(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "compose.yml").write_text(f"include: [sub/more.yml]\n{ENV_PROJECT}")
    (tmp_path / "sub/more.yml").write_text("services:\n  a: {command: $I}\n")
    (tmp_path / ".env").write_bytes(b"I=redis\n")
    tree = surveyed(tmp_path)
    file = source(str(tmp_path / "compose.yml"))
    (skip,) = tree.compose(file.path, file.contents, TO, KINDS).skipped
    assert skip.reason == ".env sets I to redis, and line 2 of sub/more.yml uses I in another way; use a separate variable for the image."
