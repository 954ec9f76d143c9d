# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_probe import ask_for_image, manifest_url
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("busybox", "library/busybox/manifests/latest"),
        ("a/b:1", "a/b/manifests/1"),
        ("docker.io/a/b:1", "a/b/manifests/1"),
        ("a/b:1@sha256:" + "0" * 64, "a/b/manifests/1"),
        ("localhost:5000", "library/localhost/manifests/5000"),
        ("quay.io/a/b", ""),
        ("", ""),
    ],
)
def test_a_mirror_is_asked_for_the_image_of_docker_hub(reference, path):
    asked = []
    mirror = ask_for_image(lambda url, headers, timeout: asked.append(url) or Answer(404 if "manifests" in url else 200, {}), "https://m.lab/", reference)
    assert asked == ["https://m.lab/v2/"] + [f"https://m.lab/v2/{path}"] * bool(path)
    assert (mirror.status, mirror.manifest) == (200, 404 if path else 0)


def test_a_digest_alone_is_asked_for():
    assert manifest_url("https://m.lab", "a/b@sha256:0") == "https://m.lab/v2/a/b/manifests/sha256:0"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        pytest.param(Answer(200, {"Content-Type": "text/html"}), Mirror("https://m.lab", 200, reason="html page"), id="a page"),
        pytest.param(Answer(503, {}), Mirror("https://m.lab", 503), id="an error"),
        pytest.param(Answer(0, {}, "dns"), Mirror("https://m.lab", reason="dns"), id="no answer"),
    ],
)
def test_what_is_no_mirror_is_not_asked_for_an_image(answer, found):
    assert ask_for_image(lambda url, headers, timeout: {"https://m.lab/v2/": answer}[url], "https://m.lab", "busybox") == found
