# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._info.client_files import builder_mirrors, builder_proxies, helpers


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, {}),
        ({"credsStore": "", "credHelpers": []}, {}),
        ({"credsStore": 1, "credHelpers": {"ghcr.io": ""}}, {}),
        (
            {"credsStore": "pass", "credHelpers": {"ghcr.io": "gh", "quay.io": "pass"}},
            {"docker-credential-pass": ("credsStore", "credHelpers quay.io"), "docker-credential-gh": ("credHelpers ghcr.io",)},
        ),
    ],
)
def test_helpers_are_named_with_their_keys(config, found):
    assert helpers(config) == found


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        (None, {}),
        ([1, {"DriverOpts": None}], {}),
        ([{"DriverOpts": {"env.HTTPS_PROXY": '"http://p:1"', "env.no_proxy": "a", "network": "host"}}], {"https_proxy": "http://p:1", "no_proxy": "a"}),
    ],
)
def test_a_builders_proxies(nodes, found):
    assert builder_proxies({"Nodes": nodes}) == found


def encoded(text):
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (None, {}),
        ({"buildkitd.toml": "no base64"}, {}),
        ({"buildkitd.toml": encoded("x = [")}, {}),
        ({"buildkitd.toml": encoded("registry = 1")}, {}),
        ({"certs/ca.pem": encoded("x")}, {}),
        ({"buildkitd.toml": encoded('[registry."docker.io"]\nmirrors = ["m.lab"]\n[registry."ghcr.io"]\nhttp = true\n')}, {"docker.io": ["m.lab"]}),
    ],
)
def test_a_builders_mirrors(files, found):
    assert builder_mirrors({"Nodes": [{"Files": files}]}) == found
