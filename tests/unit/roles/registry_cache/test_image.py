# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of tasks/image.yml, with a docker that writes down what it is asked."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from pathlib import Path

import jinja2
import pytest
import yaml

TASKS = Path(__file__).resolve().parents[4] / "roles/registry_cache/tasks/image.yml"
DOCKER = """#!/bin/sh
echo "$1 $2" >>{folder}/asked
case $1 in
create) echo c1 ;;
cp) [ ! -e {folder}/no-program ] && [ "$2" = c1:/bin/registry ] && echo new >"$3" ;;
inspect) echo sha256:12 ;;
rm | rmi) [ ! -e {folder}/no-removal ] ;;
esac
"""


@pytest.fixture()
def take(tmp_path):
    """Run the commands; `there` tells whether the image was on the host."""
    for name, content in (("docker", DOCKER.format(folder=tmp_path)), ("chown", "#!/bin/sh\n")):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    (block,) = (task["block"] for task in yaml.safe_load(TASKS.read_text()) if "block" in task)
    (command,) = (task["ansible.builtin.shell"] for task in block if "ansible.builtin.shell" in task)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters["quote"] = shlex.quote

    def run(there):
        found = {"rc": 0 if there else 1}
        script = environment.from_string(command).render(
            registry_cache_image="registry:3", __registry_cache_program=f"{tmp_path}/registry", __registry_cache_image=found
        )
        return subprocess.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    ("there", "removed"), [pytest.param(True, [], id="the image was there"), pytest.param(False, ["rmi registry:3"], id="the image was pulled for it")]
)
def test_the_program_of_an_image(take, tmp_path, there, removed):
    (tmp_path / "registry").write_text("old\n")
    done = take(there)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "registry").read_text() == "new\n"
    assert stat.S_IMODE((tmp_path / "registry").stat().st_mode) == 0o755
    assert (tmp_path / "registry.image").read_text() == "registry:3\nsha256:12\n"
    assert (tmp_path / "asked").read_text().splitlines() == ["create registry:3", "cp c1:/bin/registry", "inspect --format", "rm c1", *removed]


def test_an_image_without_the_program_changes_nothing(take, tmp_path):
    (tmp_path / "registry").write_text("old\n")
    (tmp_path / "no-program").touch()
    assert take(True).returncode != 0
    assert (tmp_path / "registry").read_text() == "old\n"
    assert not (tmp_path / "registry.image").exists()
    assert (tmp_path / "asked").read_text().splitlines()[-1] == "rm c1"


def test_a_container_or_image_that_docker_does_not_remove_is_no_failure(take, tmp_path):
    (tmp_path / "no-removal").touch()
    done = take(False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "asked").read_text().splitlines()[-2:] == ["rm c1", "rmi registry:3"]
