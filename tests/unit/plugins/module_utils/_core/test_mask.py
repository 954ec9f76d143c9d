# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets, login, urls, userinfo


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


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://joe:s3/cr@et@m:1/hub", "https://xxxxx:xxxxx@m:1/hub"),
        ("joe:s3/cr@et@m:1", "xxxxx:xxxxx@m:1"),
        ("joe:s3\ncret@m", "xxxxx:xxxxx@m"),
        ("joe:s3://cret@m", "xxxxx:xxxxx@m"),
        ("joe@m", "xxxxx:xxxxx@m"),
        ("https://m:1/hub", "https://m:1/hub"),
        ("m:1", "m:1"),
    ],
)
def test_the_login_of_an_address(text, masked):
    assert login(text) == masked


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


def test_a_user_alone_is_hidden_in_a_url_and_nowhere_else():
    secrets = Secrets()
    secrets.learn_url("http://builder@proxy:1")
    assert secrets.text("builder asked http://builder@proxy:1") == "builder asked http://xxxxx:xxxxx@proxy:1"


@pytest.mark.parametrize(
    ("url", "user", "password"),
    [("http://joe:p%40ss@h:1", "joe", "p%40ss"), ("joe@h:1", "joe", ""), ("http://joe:a@b@h", "joe", "a@b"), ("http://h:1", "", ""), ("", "", "")],
)
def test_user_and_password_as_they_are_written(url, user, password):
    assert userinfo(url) == (user, password)
