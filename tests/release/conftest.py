# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).parent))


def files_of_the_project() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=TOP, check=True, capture_output=True, text=True)
    return [name for name in listed.stdout.splitlines() if (TOP / name).is_file()]


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """The project as git and AWX check it out: tracked files and new ones, without files that tests left."""
    folder = tmp_path_factory.mktemp("project")
    subprocess.run(["tar", "--create", "--file=-", "--verbatim-files-from", "--files-from=-"], cwd=TOP, check=True, stdout=(folder / "all.tar").open("wb"),
                   input="\n".join(files_of_the_project()).encode())  # fmt: skip
    subprocess.run(["tar", "--extract", "--file=all.tar"], cwd=folder, check=True)
    (folder / "all.tar").unlink()
    return folder


@pytest.fixture(scope="session")
def tarball(project, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    subprocess.run(["ansible-galaxy", "collection", "build", "--output-path", str(folder), str(project)], check=True, capture_output=True)
    (made,) = folder.glob("*.tar.gz")
    return made


@pytest.fixture
def elsewhere(tmp_path) -> dict[str, str]:
    """The environment of a user who has Ansible, without our collection."""
    ours = ("ANSIBLE_COLLECTIONS_PATH", "ANSIBLE_HOME", "PYTHONPATH", "MYPYPATH")
    return {**{name: value for name, value in os.environ.items() if name not in ours}, "HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "true"}
