# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A seeded twentieth of tests/fuzz/cores.py and readers.py, which `make fuzz` runs in full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FUZZ = Path(__file__).resolve().parents[1] / "fuzz"
CORES = {
    "cores.py": (
        "daemon.json", "environment files", "units", "compose", "build logs", "record", "masks", "proxies", "no_proxy", "registries", "daemon options",
        "build options", "image names", "mirrors", "versions", "docker_daemon_proxy", "docker_build_env",
    ),
    "readers.py": (
        "TOML", "hosts.toml", "registries of hosts.toml", "docker_registry_hosts", "Bake files", "projects", "configurations from the field",
        "docker_build_info", "logs from the field", "builders", "build history", "certificates", "relay", "answers of registries",
    ),
}  # fmt: skip
SLOW = ("projects", "docker_build_info")  # whole projects and hosts: a hundredth


@pytest.mark.parametrize(("program", "core"), [(program, core) for program, names in CORES.items() for core in names])
def test_broken_inputs(program, core):
    inputs = "1000" if core in SLOW else "5000"
    done = subprocess.run([sys.executable, str(FUZZ / program), "--here", "--inputs", inputs, core], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
