# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes by others since the daemon's start are tested before our restart runs into them, and systemd's start limit does not stop us."""

from __future__ import annotations

import pytest

SAMPLE = 7  # each once; on every engine with BUILDFLEET_SAMPLE=all
FOLDERS = '"data-root": "/var/lib/docker", "exec-root": "/run/docker", "pidfile": "/run/docker.pid"'


def state(engine):
    files = "/etc/docker/daemon.json /etc/systemd/system/docker.service.d /var/lib/buildfleet"
    return engine.host.check_output(f"find {files} -type f -printf '%p %m %u:%g ' -exec md5sum {{}} + 2>/dev/null; true")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param('"hosts": ["unix:///run/other.sock"]', "hosts", id="a key that is a flag too"),
        pytest.param('"bip": "999.1.1.1/8"', "999.1.1.1/8", id="a value that --validate lets pass"),
        pytest.param('"default-runtime": "nosuch"', "nosuch", id="a value that only a trial start refuses"),
        pytest.param(f'{FOLDERS}, "default-runtime": "nosuch"', "nosuch", id="the same, where the daemon's folders are set"),
        pytest.param('"no-such-key": 1', "no-such-key", id="an unknown key"),
    ],
)
def test_a_fault_that_lies_in_wait_is_seen_before_anything_is_written(engine, fault, words):
    file = engine.host.file("/etc/docker/daemon.json")
    good = file.content.decode()
    try:
        engine.write("/etc/docker/daemon.json", good.replace("{", "{" + fault + ",", 1))
        before = state(engine)
        done = engine.module("docker_daemon_proxy", registry_mirrors=["https://relay.lab"])
        assert done.returncode != 0 and words in done.stdout, done.stdout
        assert state(engine) == before
        assert engine.host.check_output("systemctl is-active docker") == "active"
        assert engine.host.run("docker info").rc == 0
    finally:
        engine.write("/etc/docker/daemon.json", good)


def test_a_sound_change_of_others_is_tried_and_goes_along(engine):
    mirrors, file = ["https://mirror.lab"], engine.host.file("/etc/docker/daemon.json")
    good = file.content.decode()
    engine.write("/etc/docker/daemon.json", good.replace("{", "{" + FOLDERS + ",", 1))
    done = engine.module("docker_daemon_proxy", registry_mirrors=[*mirrors, "https://relay.lab"])
    assert done.returncode == 0 and '"restarted": true' in done.stdout and "sends clients to the token server auth.docker.io" in done.stdout + done.stderr
    engine.write("/etc/docker/daemon.json", file.content.decode().replace(FOLDERS + ",", "", 1))
    assert engine.module("docker_daemon_proxy", registry_mirrors=mirrors).returncode == 0
    assert file.content.decode() == good


def test_a_start_limit_that_others_have_reached_is_no_obstacle(engine):
    engine.host.run("for n in 1 2 3 4 5 6; do systemctl restart docker; done")
    assert engine.host.run("systemctl restart docker").rc != 0  # "start of the service was attempted too often"
    again = engine.module("docker_daemon_proxy", registry_mirrors=["https://mirror.lab", "https://relay.lab"])
    assert '"restarted": true' in again.stdout, again.stdout
    assert engine.module("docker_daemon_proxy", registry_mirrors=["https://mirror.lab"]).returncode == 0
    assert engine.host.check_output("systemctl is-active docker") == "active"
