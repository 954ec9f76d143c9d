# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.docker.plugins.filter.relay_configuration import FilterModule

relay_configuration = FilterModule().filters()["relay_configuration"]
PLACE = {"addresses": ["127.0.0.1"], "port": "3129", "networks": []}


@pytest.mark.parametrize("no_proxy", [["a.lab", "b.lab"], "a.lab,b.lab"])
def test_a_survey_gives_the_exceptions_as_one_text(no_proxy):
    found = relay_configuration({"https_proxy": "http://proxy.lab:3128", "no_proxy": no_proxy}, **PLACE)
    assert "http_port 127.0.0.1:3129\n" in found
    assert "acl direct1 dstdom_regex -n -i (^|\\.)a\\.lab$\nacl direct2 dstdom_regex -n -i (^|\\.)b\\.lab$\n" in found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("http://proxy.lab", "relay_configuration: write a map, such as {'https_proxy': 'http://proxy.example.com:3128'}."),
        ({}, "The relay needs a proxy to forward to. Set http_proxy or https_proxy."),
    ],
)
def test_what_cannot_work_is_refused(options, message):
    with pytest.raises(AnsibleFilterError) as refused:
        relay_configuration(options, **PLACE)
    assert str(refused.value) == message
