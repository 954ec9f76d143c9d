# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One map of mirrors on engines of every age: who gets what, and what is said about each registry."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.docker.plugins.filter.mirror_plan import FilterModule

mirror_plan = FilterModule().filters()["mirror_plan"]
NOTHING = {"registry_mirrors": [], "registries": {}, "source_policy": {}, "image_mirrors": {}, "uncovered": {}}
LOGIN = {"url": "https://m.lab", "username": "u", "password": "secret"}
NO_HOSTS_TOML = "engine {} does not read hosts.toml (supported from 28.0)"


@pytest.mark.parametrize(
    ("mirrors", "engine", "sources", "expected"),
    [
        pytest.param({}, "28.5.2", False, {}, id="no map"),
        pytest.param({"docker.io": ["https://a", "https://b/hub"]}, "20.10.24", False, {"registry_mirrors": ["https://a", "https://b/hub"]}, id="Docker Hub"),
        pytest.param({"docker.io": LOGIN}, "28.5.2", False, {"registries": {"docker.io": [LOGIN]}}, id="Docker Hub with a login"),
        pytest.param({"ghcr.io": ["https://m.lab"]}, "28.0.0", False, {"registries": {"ghcr.io": ["https://m.lab"]}}, id="hosts.toml"),
        pytest.param({"_default": "https://m.lab"}, "29.1", False, {"registries": {"_default": ["https://m.lab"]}}, id="every other registry"),
        pytest.param(
            {"ghcr.io": ["https://m.lab/g/h", {**LOGIN, "url": "https://m.lab:5000/g/"}, "https://u:p%40@m.lab/g"]},
            "28.0.0",
            False,
            {
                "registries": {
                    "ghcr.io": [
                        {"url": "https://m.lab/v2/g/h", "override_path": True},
                        {**LOGIN, "url": "https://m.lab:5000/v2/g", "override_path": True},
                        {"url": "https://u:p%40@m.lab/v2/g", "override_path": True},
                    ]
                }
            },
            id="a path, as in image names",
        ),
        pytest.param(
            {"ghcr.io": {"url": "https://m.lab/api/g/v2", "override_path": True}},
            "28.0.0",
            False,
            {"registries": {"ghcr.io": [{"url": "https://m.lab/api/g/v2", "override_path": True}]}},
            id="a path of the mirror's own",
        ),
        pytest.param(
            {"ghcr.io": {"url": "https://m.lab/v2/g", "override_path": True}, "quay.io": {"url": "https://m.lab/v2", "override_path": True}},
            "26.1.5",
            False,
            {"source_policy": {"ghcr.io": "m.lab/g", "quay.io": "m.lab"}},
            id="a path of the mirror's own that is a name",
        ),
        pytest.param(
            {"ghcr.io": {"url": "https://m.lab/api/g/v2", "override_path": True}},
            "26.1.5",
            True,
            {
                "uncovered": {
                    "ghcr.io": f"{NO_HOSTS_TOML.format('26.1.5')}, and no image name has the path of https://m.lab/api/g/v2. "
                    "Use a mirror without override_path."
                }
            },
            id="a path of the mirror's own that is no name",
        ),
        pytest.param({"ghcr.io": ["https://m.lab/ghcr", "https://n"]}, "26.1.5", True, {"source_policy": {"ghcr.io": "m.lab/ghcr"}}, id="a source policy"),
        pytest.param({"ghcr.io": "https://m.lab:5000/"}, "24.0.7", True, {"image_mirrors": {"ghcr.io": "m.lab:5000"}}, id="source trees"),
        pytest.param(
            {"ghcr.io": "https://m.lab"},
            "20.10.24",
            False,
            {"uncovered": {"ghcr.io": f"{NO_HOSTS_TOML.format('20.10.24')} and no source policy (supported from 25.0). Set buildfleet_sources."}},
            id="nothing",
        ),
        pytest.param(
            {"_default": "https://m.lab"},
            "26.1.5",
            True,
            {"uncovered": {"_default": f"{NO_HOSTS_TOML.format('26.1.5')}. Name each registry in buildfleet_mirrors."}},
            id="every other registry without hosts.toml",
        ),
        pytest.param(
            {"docker.io": LOGIN},
            "",
            True,
            {
                "uncovered": {
                    "docker.io": f"{NO_HOSTS_TOML.format('unknown')}, the only way to send a mirror a login. "
                    "Use docker login and the mirror in FROM, or run a cache."
                }
            },
            id="a login without hosts.toml",
        ),
    ],
)
def test_each_engine_gets_what_it_can(mirrors, engine, sources, expected):
    found = mirror_plan(mirrors, engine, sources)
    assert {name: found[name] for name in NOTHING} == {**NOTHING, **expected}


@pytest.mark.parametrize(
    ("mirrors", "engine", "sources", "covers", "expected"),
    [
        ({"docker.io": "https://a"}, "20.10.24", False, {}, "docker.io: docker pull, BuildKit and the legacy builder by registry-mirrors."),
        (
            {"ghcr.io": "https://a"},
            "28.5.2",
            False,
            {"ghcr.io": {"pull": False, "buildkit": True, "legacy": False}},
            "ghcr.io: BuildKit by hosts.toml; docker pull and the legacy builder are not covered, because they read it only with the containerd image store.",
        ),
        (
            {"ghcr.io": "https://a"},
            "28.5.2",
            False,
            {"ghcr.io": {"pull": True, "buildkit": True, "legacy": True}},
            "ghcr.io: docker pull, BuildKit and the legacy builder by hosts.toml.",
        ),
        (
            {"ghcr.io": "https://a"},
            "26.1.5",
            False,
            {},
            "ghcr.io: BuildKit by the source policy; docker pull and the legacy builder are not covered, because they do not read one.",
        ),
        ({"ghcr.io": "https://a"}, "20.10.24", True, {}, "ghcr.io: every builder by the rewritten source trees; docker pull is not covered."),
        (
            {"ghcr.io": "https://a"},
            "20.10.24",
            False,
            {},
            "ghcr.io: not covered. Engine 20.10.24 does not read hosts.toml (supported from 28.0) "
            "and no source policy (supported from 25.0). Set buildfleet_sources.",
        ),
    ],
)
def test_a_sentence_for_each_registry(mirrors, engine, sources, covers, expected):
    assert mirror_plan(mirrors, engine, sources, covers)["coverage"] == [expected]


GHCR, QUAY = {"ghcr.io": "https://a"}, {"quay.io": "https://b"}
HUB = {"docker.io": "https://c"}


@pytest.mark.parametrize(
    ("mirrors", "engine", "sources", "images", "built", "unproved"),
    [
        pytest.param({}, "28.5.2", False, [], [], [], id="no map"),
        pytest.param({}, "20.10.24", False, ["ghcr.io/o/a:1"], ["ghcr.io/o/a:1"], [], id="no map, an image"),
        pytest.param(HUB, "20.10.24", False, [], ["busybox:latest"], [], id="Docker Hub"),
        pytest.param({**GHCR, **HUB}, "28.5.2", False, ["ghcr.io/o/a:1"], ["busybox:latest", "ghcr.io/o/a:1"], [], id="the probe for Docker Hub"),
        pytest.param({**GHCR, **HUB}, "28.5.2", False, ["redis", "ghcr.io/o/a:1"], ["redis", "ghcr.io/o/a:1"], [], id="an image of each"),
        pytest.param(
            {**GHCR, **QUAY},
            "26.1.5",
            False,
            ["quay.io/o/a"],
            ["quay.io/o/a"],
            ["ghcr.io: not proved. Add one of its images to buildfleet_check_images."],
            id="a registry without an image",
        ),
        pytest.param(
            GHCR, "20.10.24", False, " ghcr.io/o/a:1,", [], ["ghcr.io/o/a:1: not built, since ghcr.io is not covered."], id="a registry that is not covered"
        ),
        pytest.param({"ghcr.io": "https://a.lab/x"}, "20.10.24", True, ["ghcr.io/o/a:1", "q.io/b"], ["a.lab/x/o/a:1", "q.io/b"], [], id="source trees"),
        pytest.param({"ghcr.io": "https://ghcr.io/x"}, "20.10.24", True, ["ghcr.io/x/a"], ["ghcr.io/x/a"], [], id="an image at its mirror"),
        pytest.param({"_default": "https://a"}, "28.5.2", False, ["q.io/a"], ["q.io/a"], [], id="any other registry"),
        pytest.param(
            {"_default": "https://a", **GHCR},
            "28.5.2",
            False,
            ["ghcr.io/a"],
            ["ghcr.io/a"],
            ["_default: not proved. Add one of its images to buildfleet_check_images."],
            id="no image of any other registry",
        ),
        pytest.param({**HUB}, "28.5.2", False, ["A:"], ["busybox:latest", "A:"], [], id="no name of an image"),
    ],
)
def test_what_proves_the_map(mirrors, engine, sources, images, built, unproved):
    found = mirror_plan(mirrors, engine, sources, images=images)
    assert (found["images"], found["unproved"]) == (built, unproved)


@pytest.mark.parametrize(
    ("mirrors", "message"),
    [
        (["ghcr.io"], "buildfleet_mirrors: write a map, such as {'ghcr.io': 'https://ghcr.mirror.example.com'}."),
        (
            {"ghcr.io": "m.lab"},
            "buildfleet_mirrors: ghcr.io: 'm.lab' is not the URL of a mirror. Write https://host, https://host:port or https://host/path.",
        ),
    ],
)
def test_a_bad_map_is_refused(mirrors, message):
    with pytest.raises(AnsibleFilterError) as refused:
        mirror_plan(mirrors, "28.5.2")
    assert str(refused.value) == message


def test_an_image_of_docker_hub_that_is_of_another_registry_proves_that_one():
    found = mirror_plan({**HUB, **QUAY}, "28.5.2", hub_image="quay.io/o/a")
    assert found["images"] == ["quay.io/o/a"]
    assert found["unproved"] == ["docker.io: not proved. Add one of its images to buildfleet_check_images."]


def test_a_mirror_that_source_trees_cannot_name_is_refused():
    with pytest.raises(AnsibleFilterError) as refused:
        mirror_plan({"ghcr.io": "https://mirror"}, "20.10.24", True, images=["ghcr.io/a"])
    assert str(refused.value) == ("mirrors: Docker reads mirror/... as a repository of Docker Hub; write a registry with a '.' or a port, such as mirror:443.")
