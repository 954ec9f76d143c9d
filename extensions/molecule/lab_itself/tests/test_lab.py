# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import shlex

import pytest
import table
from build import BUILDERS

SAMPLE = 36  # of them each run tries so many, every kind once; BUILDFLEET_SAMPLE=all tries all
RESET = "connection reset by peer"


@pytest.mark.parametrize("builder", BUILDERS)
def test_nothing_passes_the_wall_without_a_cure(engine, builder):
    outcome = engine.build(builder)
    assert not outcome.ok
    assert RESET in outcome.log
    assert "registry-1.docker.io" in outcome.log


@pytest.mark.parametrize("builder", BUILDERS)
def test_without_the_wall_everything_passes(engine, builder, wall):
    wall("open")
    outcome = engine.build(builder, "pytorch/torchserve:0.11.0-gpu")
    assert outcome.ok, outcome.log


@pytest.mark.parametrize(
    ("mode", "words"),
    [("refuse", "connection refused"), ("token", "auth.docker.io"), ("cdn", "production.cloudflare.docker.com")],
)
def test_walls_of_other_kinds_fail_in_their_own_words(engine, wall, mode, words):
    wall(mode)
    outcome = engine.build("buildkit")
    assert not outcome.ok
    assert words in outcome.log


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_mirror_hands_out_images_without_a_token(engine, builder):
    outcome = engine.build(builder, "mirror.lab/library/busybox:1")
    assert outcome.ok, outcome.log


@pytest.mark.parametrize("builder", BUILDERS)
def test_the_relay_sends_everyone_to_the_token_server(engine, builder):
    outcome = engine.build(builder, "relay.lab/library/busybox:1")
    assert not outcome.ok
    assert "auth.docker.io" in outcome.log


def test_a_host_knows_no_name_of_the_outside(engine):
    assert engine.host.run("getent hosts example.com").rc == 2
    assert engine.host.run("curl -sS --max-time 2 http://192.0.2.1").rc != 0


@pytest.mark.parametrize(
    ("proxy", "status"),
    [
        (table.HTTP_PROXY, 401),
        (table.CLIENT_PROXY, 401),
        (table.AUTH_PROXY, 0),
        (table.AUTH_PROXY.replace("//", f"//{table.LOGIN}@"), 401),
        (table.AUTH_PROXY.replace("//", "//builder:wrong@"), 0),
        (table.SOCKS_PROXY, 401),
        (table.AUTH_SOCKS_PROXY, 0),
        (table.AUTH_SOCKS_PROXY.replace("//", f"//{table.LOGIN}@"), 401),
    ],
)
def test_proxies_reach_the_hub_for_those_who_may(engine, proxy, status):
    asked = engine.host.run(f"curl -s --max-time 5 -o /dev/null -w '%{{http_code}}' -x {shlex.quote(proxy)} https://registry-1.docker.io/v2/")
    assert int(asked.stdout) == status


@pytest.mark.parametrize("url", [table.WEB, "https://ghcr.io/v2/"])
def test_the_web_and_another_registry_stand_behind_the_wall_too(engine, url):
    assert RESET.partition(" by ")[0].lower() in engine.host.run(f"curl -sS {url}").stderr.lower()
    assert engine.host.check_output(f"curl -s -o /dev/null -w '%{{http_code}}' -x {table.HTTP_PROXY} {url}") == "200"


def test_a_legacy_build_asks_the_token_server_from_the_daemon_and_buildkit_from_the_client(engine):
    """The original problem: if only the daemon has a proxy, BuildKit cannot get the token."""
    lines = "".join(f'Environment="{name}={table.HTTP_PROXY}"\n' for name in ("HTTP_PROXY", "HTTPS_PROXY"))
    engine.write("/etc/systemd/system/docker.service.d/proxy.conf", f"[Service]\n{lines}")
    try:
        assert engine.build("pull").ok
        assert engine.build("legacy").ok
        outcome = engine.build("buildkit")
        assert not outcome.ok
        assert "auth.docker.io" in outcome.log
        assert engine.build("buildkit", env={"HTTPS_PROXY": table.CLIENT_PROXY}).ok
        assert not engine.build("buildkit").ok, "an earlier build's token helped"
    finally:
        engine.host.run("rm -r /etc/systemd/system/docker.service.d")
        engine.restart()


def test_the_mirror_works_as_a_registry_mirror(engine):
    engine.write("/etc/docker/daemon.json", json.dumps({"registry-mirrors": [table.MIRROR]}))
    try:
        assert engine.build("pull").ok
        assert engine.build("buildkit").ok
        assert not engine.build("pull", "ghcr.io/lab/tool:1").ok, "Docker mirrors other registries too: the docs say that it does not"
    finally:
        engine.host.run("rm /etc/docker/daemon.json")
        engine.restart()
