# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ansible-builder's output for the collection and awx/execution-environment.yml. No image is built here."""

from __future__ import annotations

import re
import subprocess
import tarfile
from pathlib import Path

import yaml
from conftest import TOP

FILE = TOP / "awx/execution-environment.yml"


def builder(*arguments: str | Path) -> str:
    return subprocess.run(
        [TOP / "tests/environment", "--tools", "release", "ansible-builder", *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def test_the_tarball_says_what_it_needs_on_a_controller(tarball, tmp_path):
    with tarfile.open(tarball) as opened:
        opened.extractall(tmp_path / "ansible_collections/buildfleet/docker")
    needs = yaml.safe_load(builder("introspect", "--sanitize", tmp_path))
    assert needs["python"] == []
    assert [re.sub(" *#.*", "", line) for line in needs["system"]] == ["openssh-client [platform:dpkg]", "openssh-clients [platform:rpm]"]


def test_a_context_is_made_that_installs_the_collection(tmp_path):
    builder("create", "--file", FILE, "--context", tmp_path, "--output-filename", "Containerfile")
    steps = (tmp_path / "Containerfile").read_text()
    requires = yaml.safe_load((TOP / "meta/runtime.yml").read_text())["requires_ansible"]
    assert f'ANSIBLE_INSTALL_REFS="ansible-core{requires.removesuffix(".0")} ansible-runner"' in steps
    galaxy = steps[steps.index("# Galaxy build stage") : steps.index("# Builder build stage")]
    assert 0 < galaxy.find("install -y git-core") < galaxy.find("ansible-galaxy collection install")
    (collection,) = yaml.safe_load((tmp_path / "_build/requirements.yml").read_text())["collections"]
    assert collection["type"] == "git"
    assert collection["name"] == yaml.safe_load((TOP / "galaxy.yml").read_text())["repository"] + ".git"
    packages = (tmp_path / "_build/bindep.txt").read_text().splitlines()
    assert packages == [f"{name} [platform:rpm]" for name in ("openssh-clients", "sshpass", "git-core")]
    assert not (tmp_path / "_build/requirements.txt").exists()
