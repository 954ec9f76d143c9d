# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Challenge, Mirror, ask_mirror, challenge, host_of


def test_a_page_for_people_is_no_mirror():
    found = ask_mirror(lambda url, headers, timeout: Answer(200, {"Content-Type": "text/html; charset=utf-8"}), "https://m.lab")
    assert found == Mirror("https://m.lab", 200, reason="html page")


def test_a_mirror_that_does_not_answer_says_why():
    assert ask_mirror(lambda url, headers, timeout: Answer(0, {}, "dns"), "https://m.lab") == Mirror("https://m.lab", reason="dns")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ('Bearer realm="https://t.lab/token",service="s",scope="repository:a:pull"', Challenge("bearer", "https://t.lab/token", "s", "repository:a:pull")),
        ('Basic realm="Nexus"', Challenge("basic", "Nexus")),
        ("", Challenge("")),
    ],
)
def test_a_challenge_is_read(header, found):
    assert challenge(Answer(401, {"www-authenticate": header} if header else {})) == found


@pytest.mark.parametrize(("url", "host"), [("https://m.lab:5000/v2/", "m.lab"), ("m.lab", ""), ("https://[broken", "")])
def test_the_host_of_a_url(url, host):
    assert host_of(url) == host


@pytest.mark.parametrize(
    ("mirror", "elsewhere", "error"),
    [
        (Mirror("https://m.lab", 200), False, ""),
        (Mirror("https://m.lab", 401, "https://auth.docker.io/token"), True, ""),
        (Mirror("https://m.lab", 401, "https://m.lab/token"), False, ""),
        (Mirror("https://m.lab", 503), False, "status 503"),
        (Mirror("https://m.lab", 200, manifest=403), False, "status 403"),
        (Mirror("https://m.lab", 200, manifest=402), False, "status 402"),
        (Mirror("https://m.lab", 200, manifest=404), False, ""),
        (Mirror("https://m.lab", 200, reason="html page"), False, "html page"),
        (Mirror("m.lab", reason="dns"), False, ""),
    ],
)
def test_what_a_mirrors_answers_mean(mirror, elsewhere, error):
    assert (mirror.sends_elsewhere, mirror.error) == (elsewhere, error)
    assert mirror.host == "m.lab"
