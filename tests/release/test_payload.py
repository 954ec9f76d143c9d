# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much Ansible sends to each host: the module and what it imports, as Ansible packs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = Path(__file__).resolve().parents[2] / "plugins/modules"
# Kilobytes (1,000 bytes); ansible.builtin.ping takes 169 of them with ansible-core 2.19. An import that brings half a package with it shows here.
AT_MOST = {
    "docker_build_check": 350,
    "docker_build_env": 257,
    "docker_build_info": 339,
    "docker_builder": 259,
    "docker_daemon_proxy": 289,
    "docker_registry_hosts": 232,
    "dockerfile_mirror": 295,
    "proxy_ca": 254,
    "registry_mirror_info": 219,
}
# In a separate process, because Ansible's plugin loader cannot be unloaded.
PACK = """
import json, sys
from ansible.executor import module_common
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, module_loader
from ansible.template import Templar
init_plugin_loader()
sizes = {}
for name in sys.argv[1:]:
    built = module_common.modify_module(
        module_name=name, module_path=module_loader.find_plugin_with_context(name).plugin_resolved_path, module_args={}, templar=Templar(DataLoader()),
        task_vars={"ansible_python_interpreter": "/usr/bin/python3"}, module_compression="ZIP_DEFLATED",
    )
    sizes[name] = len(getattr(built, "b_module_data", None) or built[0])
json.dump(sizes, sys.stdout)
"""


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    names = ["ansible.builtin.ping", *(f"buildfleet.docker.{module}" for module in AT_MOST)]
    done = subprocess.run([sys.executable, "-c", PACK, *names], check=True, capture_output=True, text=True)
    return {name.rpartition(".")[2]: size for name, size in json.loads(done.stdout).items()}


def test_a_module_sends_what_it_needs(sizes):
    print("\n".join(f"{module}: {size / 1000:.1f} KB" for module, size in sizes.items()))
    assert {module: size for module, size in sizes.items() if size > 1000 * AT_MOST.get(module, 1000)} == {}


def test_every_module_has_a_limit():
    only_documented = {path.stem for path in (MODULES.parent / "action").glob("*.py")}
    assert set(AT_MOST) == {path.stem for path in MODULES.glob("*.py")} - only_documented
