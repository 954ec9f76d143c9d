# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks of the role registry_cache that need nothing of the host but programs that the tests play."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROLE = Path(__file__).resolve().parents[2] / "roles/registry_cache"
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
DOCKER = """#!/bin/sh
case $1 in
create) echo c1 ;;
cp) echo new >"$3" ;;
image | inspect) echo sha256:12 ;;
esac
"""


@pytest.fixture()
def play(tmp_path):
    """Include the tasks of a file of the role on this machine."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, content in (("docker", DOCKER), ("chown", "#!/bin/sh\n")):
        (programs / name).write_text(content)
        (programs / name).chmod(0o755)

    def run(tasks, variables, *arguments):
        file = tmp_path / "play.json"
        task = {"ansible.builtin.include_tasks": str(ROLE / "tasks" / tasks)}
        play = {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": sys.executable},
            "vars_files": [str(ROLE / "defaults/main.yml"), str(ROLE / "vars/main.yml")],
            "tasks": [task],
        }
        file.write_text(json.dumps([play]))
        environment = {name: value for name, value in os.environ.items() if name != "ANSIBLE_STDOUT_CALLBACK"}
        environment["PATH"] = f"{programs}:{environment['PATH']}"
        command = [ANSIBLE, "--inventory=localhost,", file, f"-e{json.dumps(variables)}", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    ("files", "arguments", "changed", "after"),
    [
        pytest.param({}, (), 1, "new\n", id="nothing yet"),
        pytest.param({"registry": "old\n", "registry.image": "registry:3\nsha256:12\n"}, (), 0, "old\n", id="the same image"),
        pytest.param({"registry": "old\n", "registry.image": "registry:3\nsha256:11\n"}, (), 1, "new\n", id="a newer image"),
        pytest.param({"registry.image": "registry:3\nsha256:12\n"}, (), 1, "new\n", id="the program is gone"),
        pytest.param({}, ("--check",), 1, None, id="check mode, nothing yet"),
        pytest.param({"registry": "old\n", "registry.image": "registry:3\nsha256:12\n"}, ("--check",), 0, "old\n", id="check mode, the same image"),
    ],
)
def test_the_program_is_copied_where_it_is_missing_or_old(play, tmp_path, files, arguments, changed, after):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    done = play("image.yml", {"registry_cache_image": "registry:3", "__registry_cache_program": f"{tmp_path}/registry"}, *arguments)
    assert done.returncode == 0, done.stdout
    assert re.findall(r"changed=(\d+)", done.stdout) == [str(changed)]
    program = tmp_path / "registry"
    assert (program.read_text() if program.exists() else None) == after


@pytest.mark.parametrize(
    ("variables", "arguments", "refused"),
    [
        pytest.param({}, (), True, id="the package did not create it"),
        pytest.param({}, ("--check",), False, id="check mode, the package would create it"),
        pytest.param({"registry_cache_image": "registry:3"}, ("--check",), True, id="check mode, an image"),
        pytest.param({"registry_cache_package": ""}, ("--check",), True, id="check mode, no package"),
        pytest.param({"registry_cache_package": "", "registry_cache_user": "root"}, (), False, id="it exists"),
    ],
)
def test_a_user_that_does_not_exist(play, variables, arguments, refused):
    done = play("user.yml", {"registry_cache_user": "nosuchuser", **variables}, *arguments)
    assert (done.returncode != 0) == refused, done.stdout
    assert ("The user nosuchuser is not on this host. Create it (useradd --system nosuchuser), or set" in done.stdout) == refused


def test_the_user_that_no_package_creates_is_checked_before_anything_is_changed():
    names = re.findall(r"^ *- name: (.*)", (ROLE / "tasks/present.yml").read_text(), re.MULTILINE)
    check = names.index("Check the user that no package creates")
    assert check < names.index("Finish an interrupted run") < names.index("Install the programs that are missing")
