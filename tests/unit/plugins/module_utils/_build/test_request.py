# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._build.request import default_builder


@pytest.mark.parametrize(
    ("value", "cli", "buildx", "features", "expected"),
    [
        ("", "26.1.5", True, None, "buildkit"),
        ("", "26.1.5", False, None, "legacy"),
        ("", "26.1.5", True, False, "buildkit"),
        ("1", "26.1.5", False, None, ""),
        ("0", "26.1.5", True, None, "legacy"),
        ("no", "26.1.5", True, None, ""),
        ("", "20.10.24", False, None, "legacy"),
        ("", "20.10.24", False, True, "buildkit"),
        ("true", "20.10.24", False, None, "buildkit"),
        ("F", "20.10.24", False, True, "legacy"),
    ],
)
def test_which_builder_docker_build_uses(value, cli, buildx, features, expected):
    assert default_builder(value, cli, buildx, features) == expected
