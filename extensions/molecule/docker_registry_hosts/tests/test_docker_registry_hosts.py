# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reaches which registry through its mirror, on each engine and image store, as the module and the playbook say it."""

from __future__ import annotations

import json

import pytest
import table

HUB, GHCR = "busybox:1", "ghcr.io/lab/tool:1"
MIRRORS = {"ghcr.io": f"https://{table.GHCR_MIRROR}"}
FOLDER = "/etc/docker/certs.d"
STARTED = "systemctl show --property=ExecMainStartTimestampMonotonic docker"


def by_builder(engine, image):
    """As a person who logs in there."""
    return {builder: engine.build(builder, image, login="root").ok for builder in ("pull", "buildkit", "legacy")}


def test_docker_hub_is_reached_by_everybody(engine):
    assert by_builder(engine, HUB) == {"pull": True, "buildkit": True, "legacy": True}


def test_another_registry_is_reached_as_the_playbook_says(engine):
    # A source policy from 25, hosts.toml from 28, both for BuildKit; 20.10 has neither, and site says so.
    assert by_builder(engine, GHCR) == {"pull": False, "buildkit": engine.major >= 25, "legacy": False}


def test_an_older_engine_is_refused_with_what_can(engine):
    if engine.major >= 28:
        pytest.skip("this engine reads hosts.toml")
    done = engine.module("docker_registry_hosts", registries=MIRRORS)
    assert f"registries: engine {engine.version} does not read hosts.toml (known from 28.0)." in done.stdout + done.stderr
    assert engine.host.run(f"test -e {FOLDER}").rc == 1


@pytest.fixture(params=["graphdriver", "containerd"])
def store(engine, request):
    """The image store, set by a user's daemon.json."""
    if engine.major < 28:
        pytest.skip("this engine does not read hosts.toml")
    before = engine.host.file("/etc/docker/daemon.json").content_string
    engine.write("/etc/docker/daemon.json", json.dumps({**json.loads(before), "features": {"containerd-snapshotter": request.param == "containerd"}}))
    assert engine.restart()
    yield request.param
    engine.write("/etc/docker/daemon.json", before)
    assert engine.restart()


def test_covers_is_true(engine, store):
    done = engine.module("docker_registry_hosts", "--one-line", registries={**MIRRORS, "docker.io": table.MIRROR})
    covers = json.loads(done.stdout[done.stdout.index("{") :])["covers"]["ghcr.io"]
    assert by_builder(engine, GHCR) == covers
    assert covers == {"pull": store == "containerd", "buildkit": True, "legacy": store == "containerd"}


def test_a_change_restarts_nothing(engine):
    if engine.major < 28:
        pytest.skip("this engine does not read hosts.toml")
    engine.forget()
    started = engine.host.check_output(STARTED)
    assert engine.module("docker_registry_hosts", state="absent").returncode == 0
    assert engine.module("docker_registry_hosts", registries=MIRRORS).returncode == 0
    assert engine.build("buildkit", GHCR, clean=False).ok
    assert engine.module("docker_registry_hosts", registries=MIRRORS, fallback=False).returncode == 0
    assert engine.host.check_output(STARTED) == started
    assert engine.build("buildkit", GHCR).ok


def test_a_file_that_is_no_toml_is_refused_as_the_engine_refuses_it(engine):
    if engine.major < 28:
        pytest.skip("this engine does not read hosts.toml")
    path = f"{FOLDER}/ghcr.io/hosts.toml"
    before = engine.host.file(path).content_string
    engine.write(path, "server = https://ghcr.io\n")
    done = engine.module("docker_registry_hosts", registries=MIRRORS)
    assert f"{path}, line 1, column 10: this is not a value of TOML." in done.stdout + done.stderr
    assert engine.host.file(path).content_string == "server = https://ghcr.io\n"
    outcome = engine.build("buildkit", GHCR)
    assert not outcome.ok
    assert "https://ghcr.io/v2/" in outcome.log, "the engine asks the registry itself"
    engine.write(path, before)
