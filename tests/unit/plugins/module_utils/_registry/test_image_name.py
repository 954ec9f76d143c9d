# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName, parse, parse_name

HASH = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("written", "full", "familiar"),
    [
        pytest.param("redis", "docker.io/library/redis", "redis", id="one word"),
        pytest.param("redis:7", "docker.io/library/redis:7", "redis:7", id="tag"),
        pytest.param("org/app", "docker.io/org/app", "org/app", id="organisation"),
        pytest.param("docker.io/redis", "docker.io/library/redis", "redis", id="hub spelled out"),
        pytest.param("index.docker.io/library/redis", "docker.io/library/redis", "redis", id="old name of the hub"),
        pytest.param("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b", id="library with a path"),
        pytest.param("localhost/x", "localhost/x", "localhost/x", id="localhost"),
        pytest.param("HOST/x", "HOST/x", "HOST/x", id="host in capitals"),
        pytest.param("host:5000/x:1", "host:5000/x:1", "host:5000/x:1", id="port"),
        pytest.param("host:5000", "docker.io/library/host:5000", "host:5000", id="no slash is a tag"),
        pytest.param("[::1]:5000/x", "[::1]:5000/x", "[::1]:5000/x", id="address"),
        pytest.param(f"a:1@sha256:{HASH}", f"docker.io/library/a:1@sha256:{HASH}", f"a:1@sha256:{HASH}", id="tag and digest"),
        pytest.param("docker.io/localhost/x", "docker.io/localhost/x", "docker.io/localhost/x", id="familiar would be another registry"),
        pytest.param(f"docker.io/library/{HASH}", f"docker.io/library/{HASH}", f"docker.io/library/{HASH}", id="familiar would be an ID"),
    ],
)
def test_names(written, full, familiar):
    assert (parse(written).full, parse(written).familiar) == (full, familiar)
    assert parse(familiar) == parse(full) == parse(written)


@pytest.mark.parametrize("text", ["", "Redis", "a//b", "a/B", "-a", "a:", "a@sha256:12", "https://a/b", HASH, "[fe80::1%eth0]/x", "a/" + "b" * 256, "redis\n"])
def test_what_is_no_name(text):
    with pytest.raises(InvalidImageName):
        parse(text)


@pytest.mark.parametrize(
    ("name", "registry", "path"),
    [("docker.io", "docker.io", ""), ("index.docker.io/library", "docker.io", "library"), ("h:5000/a/b", "h:5000", "a/b"), ("[::1]:5000", "[::1]:5000", "")],
)
def test_a_name_may_be_a_registry_alone(name, registry, path):
    assert parse_name(name) == (registry, path)


@pytest.mark.parametrize("name", ["", "a b", "docker.io/", "docker.io/A", "/a"])
def test_what_is_neither_a_registry_nor_one_with_a_path(name):
    with pytest.raises(InvalidImageName, match="is neither a registry"):
        parse_name(name)
