# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import MirrorError, Mirrors, apply_policy, policy

HUB = {"docker.io": "mirror.example.com/hub"}


@pytest.mark.parametrize(
    ("mirrors", "reference", "after"),
    [
        pytest.param(HUB, "alpine", "mirror.example.com/hub/library/alpine", id="familiar"),
        pytest.param(HUB, "index.docker.io/a/b:1", "mirror.example.com/hub/a/b:1", id="old name"),
        pytest.param(HUB, "quay.io/a", None, id="not in the map"),
        pytest.param(HUB, "mirror.example.com/hub/library/alpine", None, id="at the mirror"),
        pytest.param(HUB, "DOCKER.IO/a/b", None, id="not Docker Hub"),
        pytest.param({"ghcr.io": "m.x/y"}, "GHCR.io/a", "m.x/y/a", id="host in capitals"),
        pytest.param({"GHCR.io": "m.x/y"}, "ghcr.io/a", "m.x/y/a", id="key in capitals"),
        pytest.param({"CACHE": "m.x/y"}, "CACHE/a", "m.x/y/a", id="a host by its capitals alone"),
        pytest.param({"ghcr.io": "CACHE/y"}, "ghcr.io/a", "CACHE/y/a", id="a mirror by its capitals alone"),
        pytest.param({"index.docker.io": "m.x", "docker.io": "m.x/"}, "a/b", "m.x/a/b", id="twice the same"),
        pytest.param({"docker.io": "m.x", "docker.io/a": "m.y"}, "a/b", "m.y/b", id="the longest key"),
        pytest.param({"docker.io": "m.x", "docker.io/a": "m.y"}, "ab/b", "m.x/ab/b", id="whole components"),
        pytest.param({"quay.io/a/b": "m.x/c"}, "quay.io/a/b:1", "m.x/c:1", id="a whole repository"),
        pytest.param({"docker.io": "docker.io/team"}, "alpine", "team/library/alpine", id="below itself"),
        pytest.param({"docker.io": "docker.io/team"}, "team/library/alpine", None, id="below itself, done"),
        pytest.param({"mirror.example.com/hub": "docker.io"}, "mirror.example.com/hub/library/redis:7", "redis:7", id="undo"),
        pytest.param({"quay.io/a/b": "m.x"}, "quay.io/a/b:1", None, id="a whole repository becomes no registry"),
        pytest.param({"quay.io/a/b": "m.x"}, "quay.io/a/b/c:1", "m.x/c:1", id="what is below it does"),
        pytest.param({"quay.io": "docker.io"}, "quay.io/redis", "redis", id="Docker Hub implies library"),
        pytest.param({"https-proxy.example/": "docker.io/"}, "https-proxy.example/a/b", "a/b", id="slashes at the end"),
    ],
)
def test_replacement(mirrors, reference, after):
    found = Mirrors(mirrors).replacement(reference)
    assert (found and found.familiar) == after


@pytest.mark.parametrize(
    ("mirrors", "message"),
    [
        ({"docker.io": "https://m.x"}, "mirrors: 'https://m.x' must be written without https://, as in an image name."),
        (
            {"docker.io": "mirror"},
            "mirrors: Docker reads mirror/... as a repository of Docker Hub; write a registry with a '.' or a port, such as mirror:443.",
        ),
        (
            {"docker.io": "a.x", "index.docker.io": "b.x"},
            "mirrors: docker.io and index.docker.io are the same registry with two mirrors (a.x and b.x); keep one.",
        ),
        ({"Ghcr.io": "a.x", "ghcr.io": "b.x"}, "mirrors: Ghcr.io and ghcr.io are the same registry with two mirrors (a.x and b.x); keep one."),
        ({"DOCKER.IO": "m.x"}, "mirrors: Docker reads DOCKER.IO/... as a separate registry, not as Docker Hub; write docker.io."),
        ({"Index.docker.io": "m.x"}, "mirrors: Docker reads Index.docker.io/... as a separate registry, not as Docker Hub; write docker.io."),
        ({"m.x": "Docker.io"}, "mirrors: Docker reads Docker.io/... as a separate registry, not as Docker Hub; write docker.io."),
        (
            {"docker.io/library/alpine": "x.y"},
            "mirrors: docker.io/library/alpine is one repository, and x.y is a registry without a repository; write x.y/library/alpine.",
        ),
        ({"docker.io": 5}, "mirrors: 5 is not a string; write the name of a registry, such as docker.io."),
        ({"docker.io": "m x"}, "mirrors: 'm x' is neither a registry (docker.io) nor a registry with a path (docker.io/library)."),
        (
            {"docker.io": "ghcr.io/hub", "ghcr.io": "m.x"},
            "mirrors: ghcr.io/hub is the mirror of docker.io, and ghcr.io is itself replaced; a reference would be rewritten twice. Remove one of the two.",
        ),
    ],
)
def test_what_is_no_map(mirrors, message):
    with pytest.raises(MirrorError, match=f"^{re.escape(message)}$"):
        Mirrors(mirrors)


def converted(rules, identifier):
    """BuildKit's engine in five lines: the first rule that matches, then all of them again."""
    for _rest in range(20):
        for rule in rules:
            shape = re.escape(rule["selector"]["identifier"]).replace(r"\*", "(.*)")
            found = re.fullmatch(shape, identifier)
            if found:
                identifier = rule["updates"]["identifier"].replace("${1}", found.group(1))
                break
        else:
            return identifier
    raise AssertionError("too many mutations on a single source")


@pytest.mark.parametrize(
    ("mirrors", "reference"),
    [
        (HUB, "docker.io/library/alpine:3.19"),
        (HUB, "quay.io/a/b:1"),
        ({"docker.io": "m.x", "docker.io/a": "m.y/z"}, "docker.io/a/b:1"),
        ({"docker.io": "m.x", "docker.io/a": "m.y/z"}, "docker.io/c/b:1"),
        ({"quay.io/a/b": "m.x/c"}, "quay.io/a/b:1"),
        ({"docker.io": "m.x/docker.io", "gcr.io": "m.x/gcr.io"}, "gcr.io/a/b:1"),
    ],
)
def test_the_policy_has_the_effect_of_the_map(mirrors, reference):
    wanted = Mirrors(mirrors).replacement(reference)
    found = policy(mirrors)
    assert converted(found["rules"], f"docker-image://{reference}") == f"docker-image://{wanted.full if wanted else reference}"
    assert found["version"] == 1
    assert all(rule["action"] == "CONVERT" and rule["selector"]["match_type"] == "WILDCARD" for rule in found["rules"])


def test_a_policy_without_end_is_refused():
    with pytest.raises(MirrorError, match="again and again\\. Use a mirror outside"):
        policy({"docker.io": "docker.io/team"})


IMAGE = "docker-image://docker.io/library/alpine:3"


@pytest.mark.parametrize(
    ("identifier", "kind", "action", "said"),
    [
        pytest.param(IMAGE, "EXACT", "CONVERT", "m.x/alpine", id="exactly"),
        pytest.param("docker-image://docker.io/library/*", None, "CONVERT", "m.x/alpine:3", id="a star, which is the default"),
        pytest.param("docker-image://docker.io/*/*", "WILDCARD", "CONVERT", "m.x/library", id="two stars"),
        pytest.param("docker-image://docker.io/(?:library/)?(.*)", "REGEX", "CONVERT", "m.x/alpine:3", id="an expression"),
        pytest.param("docker-image://quay.io/*", "WILDCARD", "CONVERT", None, id="another registry"),
        pytest.param("docker-image://docker.io/library/*", "EXACT", "CONVERT", None, id="a star that is one"),
        pytest.param(IMAGE, "EXACT", "DENY", "", id="denied"),
        pytest.param(IMAGE, "EXACT", "ALLOW", "alpine:3", id="allowed"),
    ],
)
def test_what_a_policy_makes_of_an_image(identifier, kind, action, said):
    to = "docker-image://m.x/alpine" if kind == "EXACT" else "docker-image://m.x/${1}"
    rule = {"action": action, "selector": {"identifier": identifier, **({"match_type": kind} if kind else {})}, "updates": {"identifier": to}}
    assert apply_policy({"rules": [rule]}, "alpine:3") == said


@pytest.mark.parametrize("reference", ["alpine", "alpine:3", "a/b@sha256:" + "0" * 64, "quay.io/a/b"])
def test_a_policy_of_ours_answers_as_the_map(reference):
    wanted = Mirrors(HUB).replacement(reference)
    tagged = wanted and (wanted.full if wanted.suffix else f"{wanted.full}:latest")
    assert apply_policy(policy(HUB), reference) == tagged
