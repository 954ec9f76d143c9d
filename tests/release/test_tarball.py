# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tarball, as Galaxy or a user without Galaxy receives it."""

from __future__ import annotations

import subprocess
import tarfile

MOST = 512 * 1024  # with docs/evidence, to which the pages link
WITHOUT_THE_INTERNET = {
    *(f"docs/{page}.md" for page in ("install", "why", "which-cure", "migration", "awx", "compare", "quick-start", "troubleshooting", "security", "variables")),
    *(f"docs/zh/{page}.md" for page in ("compare", "mirrors", "proxy", "quick-start", "troubleshooting")),
    "README.zh-CN.md", "awx/apply.yml", "awx/surveys.yml", "SECURITY.md",
}  # fmt: skip
FOR_USERS = {
    "CHANGELOG.md", "CONTRIBUTING.md", "FILES.json", "LICENSES", "MANIFEST.json", "README.md", "README.zh-CN.md", "SECURITY.md", "awx", "docs", "meta",
    "playbooks", "plugins", "roles",
}  # fmt: skip


def test_it_is_small_and_holds_nothing_that_a_user_does_not_need(tarball):
    with tarfile.open(tarball) as opened:
        names = [member.name for member in opened if member.isfile()]
    print(f"{tarball.name}: {len(names)} files, {tarball.stat().st_size / 1024:.0f} KiB")
    assert tarball.stat().st_size < MOST
    assert {name.partition("/")[0] for name in names} <= FOR_USERS
    assert WITHOUT_THE_INTERNET - set(names) == set()
    assert [name for name in names if "__pycache__" in name or name.rpartition("/")[2].startswith(".")] == []


def test_it_installs_without_galaxy_and_runs(tarball, tmp_path, elsewhere):
    subprocess.run(["ansible-galaxy", "collection", "install", "--offline", str(tarball)], check=True, env=elsewhere, cwd=tmp_path)
    shown = subprocess.run(["ansible-doc", "buildfleet.docker.docker_build_check"], check=True, env=elsewhere, cwd=tmp_path, capture_output=True, text=True)
    assert "real build" in shown.stdout
    command = ["ansible-playbook", "buildfleet.docker.site", "-i", "localhost,"]
    ran = subprocess.run(command, env=elsewhere, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Add hosts to the group build_servers" in ran.stdout


def test_the_repository_is_a_project_of_awx_as_it_is(project, tmp_path, elsewhere):
    """AWX installs collections/requirements.yml from the project's directory, and runs a playbook there."""
    command = ["ansible-galaxy", "collection", "install", "--offline", "-r", "collections/requirements.yml", "-p", str(tmp_path / "collections")]
    subprocess.run(command, check=True, env=elsewhere, cwd=project)
    environment = {**elsewhere, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections")}
    for playbook in ("site", "verify", "report", "undo"):
        subprocess.run(["ansible-playbook", "--syntax-check", f"playbooks/{playbook}.yml"], check=True, env=environment, cwd=project)
