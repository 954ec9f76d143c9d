# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A seeded twentieth of `make fuzz`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[3]


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("dockerfile", "e2b_dockerfile_utils", "docker_image")), reason="the judges must be installed"
)
def test_five_thousand_mutants():
    sys.path.insert(0, str(TESTS / "oracles"))
    spec = importlib.util.spec_from_file_location("fuzz_dockerfile_mirror", TESTS / "fuzz/dockerfile_mirror.py")
    fuzz = sys.modules.setdefault("fuzz_dockerfile_mirror", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(fuzz)
    assert fuzz.run(5000, 7) == []
