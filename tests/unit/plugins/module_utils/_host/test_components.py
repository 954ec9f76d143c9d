# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of Docker's programs, and the units that systemd knows, as real programs print them."""

from __future__ import annotations

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.booleans import parse_bool
from ansible_collections.buildfleet.docker.plugins.module_utils._host import components, systemd
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run

BUILDX = "github.com/docker/buildx 0.13.1+ds1 0.13.1\n"
PLUGIN = "/usr/libexec/docker/cli-plugins/docker-buildx"


def host(programs=(), files=(), engine=None):
    return MemoryHost(dict.fromkeys(files, ""), programs=programs, api={"/version": engine} if engine else {})


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        pytest.param(host(engine={"Version": "26.1.5+dfsg1"}), "26.1.5+dfsg1", id="it answers"),
        pytest.param(host({"dockerd --version": Run(0, "Docker version 20.10.24+dfsg1, build 5d6db84\n", "")}), "20.10.24+dfsg1", id="it is installed"),
        pytest.param(host(), "", id="there is none"),
    ],
)
def test_the_engine(machine, expected):
    assert components.engine(machine) == expected


@pytest.mark.parametrize(
    ("programs", "files", "expected"),
    [
        pytest.param({f"{PLUGIN} version": Run(0, BUILDX, "")}, [PLUGIN], "0.13.1+ds1", id="for every user"),
        pytest.param({"docker buildx version": Run(0, BUILDX, "")}, [], "0.13.1+ds1", id="of this user"),
        pytest.param({f"{PLUGIN} version": Run(1, BUILDX, "")}, [PLUGIN], "", id="broken"),
        pytest.param({}, [], "", id="missing"),
    ],
)
def test_buildx(programs, files, expected):
    assert components.buildx(host(programs, files)) == expected


def test_compose_is_a_plugin_or_a_program():
    plugin = "/usr/local/lib/docker/cli-plugins/docker-compose"
    program = {"docker-compose version --short": Run(0, "1.29.2\n", "")}
    assert components.compose(host({**program, f"{plugin} version": Run(0, "Docker Compose version v2.26.1\n", "")}, [plugin])) == "2.26.1"
    assert components.compose(host(program)) == "1.29.2"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [({"HOME": "/home/ci"}, True), ({"HOME": "/root"}, False), ({"HOME": "/root", "DOCKER_CONFIG": "/home/ci/.docker"}, True), ({}, False)],
)
def test_a_plugin_of_a_user(environment, expected):
    assert components.has_buildx(host(files=["/home/ci/.docker/cli-plugins/docker-buildx"]), environment) is expected


def test_systemd_repeats_a_property_that_has_several_values():
    shown = "LoadState=loaded\nEnvironment=A=1 B=2\nEnvironmentFiles=/etc/a (ignore_errors=yes)\nEnvironmentFiles=/etc/b (ignore_errors=no)\nnoise\n"
    machine = host({"systemctl show --property=LoadState,Environment -- ci.service": Run(0, shown, "")})
    assert systemd.show(machine, "ci.service", "LoadState", "Environment") == {
        "LoadState": "loaded",
        "Environment": "A=1 B=2",
        "EnvironmentFiles": "/etc/a (ignore_errors=yes)\n/etc/b (ignore_errors=no)",
    }


@pytest.mark.parametrize(
    ("text", "expected"), [("1", True), ("T", True), ("true", True), ("0", False), ("False", False), ("yes", None), ("", None), ("on", None)]
)
def test_booleans_as_go_reads_them(text, expected):
    assert parse_bool(text) is expected
