# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
import table

SAMPLE = 6  # each kind once; BUILDFLEET_SAMPLE=all tries every engine
DAEMON_JSON, DROP_IN = "/etc/docker/daemon.json", "/etc/systemd/system/docker.service.d/lab.conf"


def read(engine, *flags, **options):
    """The module's result, and its whole output in result["output"]."""
    done = engine.module("docker_build_info", *flags, **options)
    text = done.stdout.partition("=> ")[2]
    assert done.returncode == 0, done.stdout + done.stderr
    return {**json.loads(text), "output": done.stdout + done.stderr}


def ids(result):
    return {one["id"] for one in result["findings"]}


def setting(process, name):
    return next(one for one in process["settings"] if one["name"] == name)


@pytest.fixture()
def changed(engine):
    """The host is reset after the test."""
    yield
    engine.reset()


def test_it_reads_within_a_second(engine):
    seconds = min(read(engine)["seconds"] for _run in range(3))
    assert seconds < 1


def test_the_riddle_is_found_before_anybody_builds(engine, changed):
    engine.write(DROP_IN, f'[Service]\nEnvironment="HTTPS_PROXY=http://{table.LOGIN.replace("%", "%%")}@auth-proxy.lab:8888"\n')
    assert "daemon_reload_needed" in ids(read(engine))
    assert engine.restart()
    engine.write("/etc/profile.d/lab.sh", "export DOCKER_BUILDKIT=1\n")
    result = read(engine)
    assert ids(result) >= {"daemon_proxy_without_token_path", "readable_password"}
    found = setting(result["daemon"], "https_proxy")
    assert found["value"] == found["in_force"] == "http://xxxxx:xxxxx@auth-proxy.lab:8888"
    assert found["source"] == f"{DROP_IN}, line 2"
    assert setting(result["clients"][0], "DOCKER_BUILDKIT")["source"] == "/etc/profile.d/lab.sh, line 1"
    assert table.PASSWORD not in result["output"] and table.LOGIN not in result["output"]
    assert "docker_build_env" in result["output"]
    assert engine.module("docker_build_env", daemon_token=True).returncode == 0
    assert "daemon_proxy_without_token_path" not in ids(read(engine))


def test_what_waits_for_a_restart_is_said(engine, changed):
    engine.write(DAEMON_JSON, json.dumps({"registry-mirrors": [table.RELAY]}))
    result = read(engine)
    assert (result["restart_pending"], result["pending"]) == (True, ["registry_mirrors"])
    assert {"restart_pending", "mirror_sends_token_elsewhere"} <= ids(result)
    assert result["mirrors"] == [{"url": table.RELAY, "status": 401, "reason": "", "realm": "https://auth.docker.io/token", "sends_token_elsewhere": True}]
    assert engine.restart()
    assert read(engine)["restart_pending"] is False


@pytest.mark.parametrize("config", ['{"nosuch": 1}', '{"registry-mirrors": ["mirror.lab"]}', '{"buildkit": false}', '{"debug": }'])
def test_what_would_stop_the_next_start_is_found(engine, changed, config):
    engine.write(DAEMON_JSON, config)
    result = read(engine)
    assert ids(result) & {"key_stops_start", "mirror_without_scheme", "config_not_json"}
    assert not engine.restart(), f"{config}: the engine starts with it"
    assert "engine_down" in ids(read(engine))


@pytest.mark.parametrize("config", ['{"debug": true, "log-opts": {"max-size": "10m"}, "features": {"buildkit": true}, "dns": ["10.57.0.53"]}'])
def test_what_the_engine_starts_with_is_no_error(engine, changed, config):
    engine.write(DAEMON_JSON, config)
    assert engine.restart()
    assert not [one for one in read(engine)["findings"] if one["severity"] == "error"]


def test_without_root_it_says_what_it_could_not_read(engine):
    result = read(engine, "--user=builder")
    assert any("become" in sentence for sentence in result["unreadable"])
    assert result["versions"]["engine"], "builder is in the group docker"
    nobody = read(engine, "--user=nobody", "--extra-vars=ansible_remote_tmp=/var/tmp/.ansible-nobody")
    assert any("the engine could not be queried" in sentence.lower() for sentence in nobody["unreadable"])
    assert "engine_down" not in ids(nobody)
