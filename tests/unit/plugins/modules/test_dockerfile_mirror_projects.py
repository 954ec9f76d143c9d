# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whole project folders: what a run makes of them, byte for byte, what it leaves and why, and the way back.

A case holds ``input``, the files of ``expected`` that differ from it, and ``case.json`` with the map and what is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from ansible_collections.buildfleet.docker.plugins.modules import dockerfile_mirror

PROJECTS = Path(__file__).resolve().parents[3] / "golden/projects"
CASES = sorted(path.name for path in PROJECTS.iterdir())


class Fake:
    check_mode = False
    _diff = False

    def __init__(self, path, mirrors):
        self.params = {
            "paths": [str(path)],
            "mirrors": mirrors,
            "patterns": list(dockerfile_mirror.PATTERNS),
            "excludes": [".git"],
            "build_args": None,
            "kinds": list(dockerfile_mirror.KINDS),
            "backup": False,
            "strict": False,
        }
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(params=CASES)
def case(request, tmp_path):
    """The folder of the case, a copy of its input, and what it says."""
    folder = PROJECTS / request.param
    copy = tmp_path / "project"
    shutil.copytree(folder / "input", copy)
    return folder, copy, json.loads((folder / "case.json").read_text())


def run(copy, mirrors):
    module = Fake(copy, mirrors)
    result = dockerfile_mirror.work(module)
    skipped = [
        [os.path.relpath(file["path"], copy), skip["line"], skip["kind"], skip["reference"], skip["reason"]]
        for file in result["files"]
        for skip in file["skipped"]
    ]
    return result, skipped


def test_a_project_is_rewritten_as_a_whole(case):
    folder, copy, said = case
    before = contents(folder / "input")
    expected = {**before, **(contents(folder / "expected") if (folder / "expected").exists() else {})}
    result, skipped = run(copy, said["mirrors"])
    assert contents(copy) == expected
    assert skipped == said["skipped"]
    assert result["counts"]["changed"] == sum(before[name] != expected[name] for name in before)


def test_a_second_run_changes_nothing(case):
    _folder, copy, said = case
    run(copy, said["mirrors"])
    after = contents(copy)
    result, skipped = run(copy, said["mirrors"])
    assert (result["changed"], contents(copy), skipped) == (False, after, said["skipped"])


def test_the_map_read_backwards_gives_every_byte_back(case):
    folder, copy, said = case
    run(copy, said["mirrors"])
    run(copy, {mirror: registry for registry, mirror in said["mirrors"].items()})
    assert contents(copy) == contents(folder / "input")
