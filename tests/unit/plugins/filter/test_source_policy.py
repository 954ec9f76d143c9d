# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.docker.plugins.filter.source_policy import FilterModule

source_policy = FilterModule().filters()["source_policy"]


def test_a_map_becomes_a_policy():
    assert source_policy({"docker.io": "mirror.example.com/hub"}) == {
        "version": 1,
        "rules": [
            {
                "action": "CONVERT",
                "selector": {"identifier": "docker-image://docker.io/*", "match_type": "WILDCARD"},
                "updates": {"identifier": "docker-image://mirror.example.com/hub/${1}"},
            }
        ],
    }


@pytest.mark.parametrize(
    ("mirrors", "message"),
    [
        (["docker.io"], "source_policy: write a map, such as"),
        ({"docker.io": "http://m"}, "source_policy: mirrors: 'http://m' must be written without http://"),
    ],
)
def test_what_is_no_map_is_refused(mirrors, message):
    with pytest.raises(AnsibleFilterError, match=message):
        source_policy(mirrors)
