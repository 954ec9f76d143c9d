# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module hands to Ansible: its own work, and the options that its documentation names."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import yaml

# The action of that name does the work of fleet_report on the controller.
MODULES = sorted({path.stem for path in (Path(__file__).parents[4] / "plugins/modules").glob("[!_]*.py")} - {"fleet_report"})


@pytest.mark.parametrize("name", MODULES)
def test_a_module_offers_what_it_documents(monkeypatch, name):
    module = importlib.import_module(f"ansible_collections.buildfleet.docker.plugins.modules.{name}")
    handed = []
    monkeypatch.setattr(module, "run", lambda work, **given: handed.append((work, given)))
    module.main()
    ((work, given),) = handed
    assert work is module.work
    documented = yaml.safe_load(module.DOCUMENTATION)["options"]
    assert given["supports_check_mode"] is True and set(given["argument_spec"]) == set(documented)
    for option, spec in given["argument_spec"].items():
        said = documented[option]
        assert (spec.get("type", "str"), spec.get("default"), spec.get("elements")) == (said["type"], said.get("default"), said.get("elements")), option
        assert (spec.get("choices"), bool(spec.get("required"))) == (said.get("choices"), bool(said.get("required"))), option
