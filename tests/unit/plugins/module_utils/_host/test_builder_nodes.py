# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A builder in a container that the check started is afterwards what it was before; other containers and volumes stay."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._host.builder_nodes import Nodes

CONFIG = "/root/.docker/buildx"
OTHERS = {"buildx_buildkit_ci01": ["id-ci01", "exited"], "db": ["id-db", "running"]}
OTHER_VOLUMES = {"buildx_buildkit_ci01_state", "data"}


class Engine(MemoryHost):
    """An engine with containers and volumes; its name filter matches parts of names, as Docker's does."""

    def __init__(self, containers=(), volumes=(), instance=None):
        super().__init__({} if instance is None else {f"{CONFIG}/instances/ci": File(instance)})
        self.containers = {**OTHERS, **{name: list(value) for name, value in dict(containers).items()}}
        self.volumes = {*OTHER_VOLUMES, *volumes}
        self.connected, self.asked = set(), []

    def engine_api(self, path, method="GET", sock="", timeout=0):
        url = urlsplit(path)
        wanted = json.loads(parse_qs(url.query)["filters"][0])["name"][0] if "filters" in url.query else ""
        if method != "GET":
            self.asked.append(f"{method} {unquote(url.path)}")
            self.change(method, unquote(url.path))
            return None
        if url.path == "/containers/json":
            return [{"Id": id_, "State": state, "Names": [f"/{name}"]} for name, (id_, state) in self.containers.items() if wanted in name]
        if url.path == "/volumes":
            return {"Volumes": [{"Name": name} for name in self.volumes if wanted in name] or None}
        return {"ExecIDs": ["x"] if url.path.split("/")[2] in self.connected else None}

    def change(self, method, path):
        name = path.split("/")[2]
        if path.startswith("/volumes/"):
            self.volumes.discard(name)
            return
        (container,) = (key for key, (id_, _state) in self.containers.items() if id_ == name)
        if method == "DELETE":
            del self.containers[container]
        else:
            self.containers[container][1] = "exited"

    def state(self):
        return super().state(), {name: tuple(value) for name, value in self.containers.items()}, set(self.volumes)


NODE, STATE = "buildx_buildkit_ci0", "buildx_buildkit_ci0_state"
NOT_JSON = (b"", b"[]", b'{"Nodes":null}', b'{"Nodes":[{"Name":""}]}', b'{"Nodes":["ci0"]}')


@pytest.mark.parametrize("instance", [None, *NOT_JSON])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param({}, {NODE: ("id-ci0", "running")}, id="never started"),
        pytest.param({NODE: ("id-ci0", "exited")}, {NODE: ("id-ci0", "running")}, id="stopped"),
        pytest.param({NODE: ("id-ci0", "running")}, {NODE: ("id-ci0", "running")}, id="running"),
        pytest.param({NODE: ("id-ci0", "exited")}, {NODE: ("id-ci0", "exited")}, id="stopped, and not started"),
        pytest.param({}, {}, id="not there at all"),
    ],
)
def test_the_state_after_is_the_state_before(before, after, instance):
    host = Engine(before, {STATE} if before else (), instance)
    state = host.state()
    nodes = Nodes(host, "/run/docker.sock", CONFIG, "ci")
    host.containers.update({name: list(value) for name, value in after.items()})
    host.volumes |= {STATE} if after else set()
    nodes.restore()
    assert host.state() == state


def test_the_nodes_are_those_of_the_configuration():
    host = Engine(instance=json.dumps({"Nodes": [{"Name": "east"}, {"Name": "west"}]}).encode())
    nodes = Nodes(host, "/run/docker.sock", CONFIG, "ci")
    host.containers.update({"buildx_buildkit_west": ["id-west", "running"], NODE: ["id-ci0", "running"]})
    host.volumes |= {"buildx_buildkit_west_state", STATE}
    nodes.restore()
    assert host.asked == ["DELETE /containers/id-west", "DELETE /volumes/buildx_buildkit_west_state"]


@pytest.mark.parametrize("before", [{}, {NODE: ("id-ci0", "exited")}])
def test_a_builder_that_somebody_else_uses_by_now_stays(before):
    host = Engine(before)
    nodes = Nodes(host, "/run/docker.sock", CONFIG, "ci")
    host.containers[NODE] = ["id-ci0", "running"]
    host.connected.add("id-ci0")
    nodes.restore()
    assert host.asked == []


@pytest.mark.parametrize(("sock", "builder"), [("", "ci"), ("/run/docker.sock", ""), ("/run/docker.sock", "default")])
def test_the_engines_own_builder_and_other_engines_are_not_asked(sock, builder):
    host = Engine({NODE: ("id-ci0", "running")})
    nodes = Nodes(host, sock, CONFIG, builder)
    nodes.restore()
    assert host.asked == []


def test_an_engine_that_does_not_answer_changes_nothing():
    host, methods = Engine(), []
    host.engine_api = lambda path, method="GET", **_more: methods.append(method)
    Nodes(host, "/run/docker.sock", CONFIG, "ci").restore()
    assert set(methods) == {"GET"}
