# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import build
import pytest
import table


def test_every_file_has_its_first_bytes_and_rights(engine):
    for name, path in (("environment", "/etc/environment"), ("config.json", "/home/builder/.docker/config.json")):
        first, found = engine.host.file(f"/var/tmp/first/{name}"), engine.host.file(path)
        assert (found.content, found.mode, found.user, found.group) == (first.content, first.mode, first.user, first.group)


@pytest.mark.parametrize(
    "path",
    [
        "/etc/profile.d/buildfleet-docker.sh",
        "/etc/buildfleet",
        "/etc/systemd/system/lab-agent.service.d",
        "/home/builder/.docker/buildx/buildkitd.default.toml",
        "/root/.docker/config.json",
        "/root/.docker/buildx/buildkitd.default.toml",
        "/var/lib/buildfleet/docker_build_env.json",
    ],
)
def test_nothing_of_ours_is_left(engine, path):
    assert not engine.host.file(path).exists


def test_the_client_asks_for_the_token_in_vain_again(engine):
    engine.forget()
    log = build.on(engine.name, "su - builder -c lab-build").log
    assert "passed:." in log
    assert "auth.docker.io" in log


def test_the_check_names_the_step_that_reaches_nothing(engine):
    options = {"image": "mirror.lab/library/busybox:1", "network_step": table.WEB, "builder": "buildkit", "required": False}
    done = engine.module("docker_build_check", **options)
    result = json.loads(done.stdout.partition("=> ")[2])
    assert (result["cause"], result["asked_by"], result["host"]) == ("reset", "step", "web.lab")
    assert result["cure"] == "Set docker_build_env step_proxy, so that RUN steps reach web.lab."
