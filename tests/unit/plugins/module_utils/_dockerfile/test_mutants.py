# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A seeded twentieth of `make fuzz`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FUZZ = Path(__file__).parents[4] / "fuzz/dockerfile_mirror.py"


def test_five_thousand_mutants():
    # In a process of its own: a fork does not survive the Go runtime that another test may have loaded here.
    done = subprocess.run([sys.executable, str(FUZZ), "--mutants", "5000"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
