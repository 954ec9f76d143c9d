# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stored log, a past build, several images, and named builders, on real engines."""

from __future__ import annotations

import json

import pytest

LOG = (
    "#2 [internal] load metadata for docker.io/library/busybox:1\n"
    '#2 ERROR: failed to do request: Head "https://registry-1.docker.io/v2/library/busybox/manifests/1": dial tcp 10.0.0.1:443: connect: connection refused\n'
)
FILES = "find /root/.docker -type f | sort"


def checked(engine, **options):
    done = engine.module("docker_build_check", **options)
    return json.loads(done.stdout[done.stdout.index("{\n") :]), done.returncode


@pytest.fixture(autouse=True)
def home(engine):
    """Remove what the commands of these tests leave in root's home; the tests themselves check what the module leaves."""
    yield
    engine.host.check_output("rm -rf /root/.docker")


def has_buildx(engine):
    return engine.host.run("docker buildx version").rc == 0


def test_a_log_is_diagnosed_where_no_engine_runs(engine):
    engine.host.check_output("systemctl stop docker.socket docker.service")
    try:
        result, code = checked(engine, log=LOG)
    finally:
        engine.restart()
    assert (code, result["cause"], result["asked_by"], result["host"]) == (0, "refused", "daemon", "registry-1.docker.io")


def test_the_newest_build_of_the_past_is_diagnosed(engine):
    engine.build("buildkit", clean=False)
    result, code = checked(engine, history=True)
    if engine.major >= 28:
        assert (code, result["cause"], result["asked_by"], result["host"]) == (0, "reset", "daemon", "registry-1.docker.io")
        assert checked(engine, history=result["record"])[0]["record"] == result["record"]
        assert "there is no record nosuch here. The newest are: " in checked(engine, history="nosuch")[0]["msg"]
    else:
        assert code == 2 and result["msg"].startswith("history: buildx shows no past builds here; it supports that from ")


def test_every_registry_that_fails_is_named(engine):
    result, code = checked(engine, images=["busybox:1", "ghcr.io/lab/tool:1", "mirror.lab/library/busybox:1"])
    assert code == 2 and result["msg"].startswith("2 of 3 builds failed. busybox:1 (docker.io): ")
    assert [(one["registry"], one["ok"]) for one in result["builds"]] == [("docker.io", False), ("ghcr.io", False), ("mirror.lab", True)]


@pytest.mark.parametrize("way", [{"builder": "nosuch"}, {"env": {"BUILDX_BUILDER": "nosuch"}}], ids=["option", "environment"])
def test_a_builder_that_is_not_there_is_named(engine, way):
    if not has_buildx(engine):
        pytest.skip("it has no buildx")
    result, _code = checked(engine, required=False, **way)
    assert (result["cause"], result["reason"]) == ("buildx_missing", "no builder nosuch")


@pytest.mark.parametrize("way", [{"builder": "lab"}, {"env": {"BUILDX_BUILDER": "lab"}}], ids=["option", "environment"])
def test_a_builder_whose_image_cannot_be_pulled_is_named_and_leaves_no_record(engine, way):
    if not has_buildx(engine):
        pytest.skip("it has no buildx")
    engine.host.check_output("docker buildx create --name lab --driver docker-container")
    try:
        before = engine.host.check_output(FILES)
        result, _code = checked(engine, required=False, **way)
        assert engine.host.check_output(FILES) == before
    finally:
        engine.host.run("docker buildx rm lab")
    assert (result["cause"], result["asked_by"], result["host"]) == ("reset", "daemon", "registry-1.docker.io")
    assert result["reference"] == "moby/buildkit:buildx-stable-1" and "The builder lab does not start" in result["msg"]
