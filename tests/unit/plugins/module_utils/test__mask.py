# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._mask import Secrets, urls


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://joe:s3cret@p:1 x", "http://xxxxx:xxxxx@p:1 x"),
        ("http://joe:s3/cr@et@p:1", "http://xxxxx:xxxxx@p:1"),
        ("http://p:1/a", "http://p:1/a"),
        ('{"a": "socks5://j@p"}', '{"a": "socks5://xxxxx:xxxxx@p"}'),
    ],
)
def test_urls(text, masked):
    assert urls(text) == masked


@pytest.mark.parametrize("spelling", ["p@ss:w/rd%41", "p%40ss%3Aw%2Frd%2541", "builder:p%40ss%3Aw%2Frd%2541@proxy"])
def test_every_spelling_of_a_password_is_hidden(spelling):
    secrets = Secrets()
    secrets.learn_url("http://builder:p%40ss%3Aw%2Frd%2541@proxy:1")
    assert "ss" not in secrets.text(f"it said {spelling}").replace("xxxxx", "")


def test_nothing_else_is():
    secrets = Secrets()
    secrets.learn_url("http://systemd:12@proxy:1")
    result = {"mechanism": "systemd", "engine": "20.10.12", "proxies": {"http_proxy": "http://proxy:1"}, "n": 12, "changed": True}
    assert secrets.tree(result) == result


def test_a_proxy_without_a_scheme():
    secrets = Secrets()
    secrets.learn_url("joe:12@proxy:1")
    assert secrets.text("HTTP_PROXY=joe:12@proxy:1") == "HTTP_PROXY=xxxxx:xxxxx@proxy:1"
