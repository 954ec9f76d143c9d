# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host that was broken before is refused with the reason and stays unchanged; one that is only unusual is configured."""

from __future__ import annotations

import json
import time

import pytest

SAMPLE = 12  # each once; on every engine with BUILDFLEET_SAMPLE=all
CONFIG, FOLDER = "/etc/docker/daemon.json", "/etc/systemd/system/docker.service.d"
OPTION = "[Service]\nEnvironmentFile=-/run/flannel/docker\nExecStart=/usr/bin/dockerd -H fd://\n"
OVERRIDE = "[Unit]\nRequires=media.service\nAfter=media.service\n"
STOP = "systemctl stop docker docker.socket"
METRICS = '{\n  "metrics-addr": "192.168.1.40:9323", "experimental": true\n}\n'

# A file, what happens to the daemon, and what the refusal has to say.
BROKEN = {
    "two ExecStart= beside a running daemon": (f"{FOLDER}/option.conf", OPTION, "true", f"{FOLDER}/option.conf, line 3: this is a second ExecStart="),
    "two ExecStart=, and down": (
        f"{FOLDER}/option.conf", OPTION, f"{STOP}; systemctl daemon-reload", f"{FOLDER}/option.conf, line 3: this is a second ExecStart=",
    ),
    "a dependency that is missing": (
        f"{FOLDER}/override.conf", OVERRIDE, f"{STOP}; systemctl daemon-reload; systemctl start docker",
        f"{FOLDER}/override.conf, line 2: docker.service requires media.service, which is not on this host",
    ),
    "the same beside a running daemon": (f"{FOLDER}/override.conf", OVERRIDE, "true", "requires media.service, which is not on this host"),
    "an address that the host has not": (CONFIG, METRICS, "systemctl restart docker; sleep 8", "'metrics-addr' is in /etc/docker/daemon.json, line 2"),
    "a key that no engine knows": (CONFIG, '{"nosuch": 1}', "systemctl restart docker; sleep 8", "'nosuch' is in /etc/docker/daemon.json, line 1"),
    "two objects": (CONFIG, '{"live-restore": false}\n{"debug": true}\n', "true", f"{CONFIG}, line 2, column 1:"),
    "a key twice": (CONFIG, '{"debug": false, "debug": true}', "systemctl restart docker", f"{CONFIG}, line 1, column 18:"),
}  # fmt: skip
ODD = {
    "ulimits": '{"default-ulimits": {"nofile": {"Name": "nofile", "Hard": 64000, "Soft": 64000}}}',
    "generic resources": '{"node-generic-resources": ["NVIDIA-GPU=x"]}',
    "network options": '{"default-network-opts": {"bridge": {"com.docker.network.driver.mtu": "1450"}}}',
    "an international name": '{"registry-mirrors": ["https://你的域名"]}',
}
PROXY = {"https_proxy": "http://proxy.lab:8888"}


def state(engine):
    files = f"{CONFIG} /etc/default/docker /etc/systemd/system /var/lib/buildfleet"
    return engine.host.check_output(
        f"find {files} -printf '%p %m %U:%G %l\\n' 2>/dev/null | sort; find {files} -type f -exec md5sum {{}} + 2>/dev/null; pidof dockerd; "
        "systemctl is-active docker docker.socket; true"
    )


@pytest.fixture()
def bare(engine):
    """The host without our settings; afterwards as the scenario left it."""
    engine.host.check_output("mkdir -p /var/tmp/kept && cp -a /etc/docker/daemon.json /var/lib/buildfleet /var/tmp/kept/ 2>/dev/null; true")
    engine.host.check_output(f"cp -a {FOLDER} /var/tmp/kept/ 2>/dev/null; rm -rf {CONFIG} {FOLDER} /var/lib/buildfleet; mkdir {FOLDER}")
    engine.host.check_output("systemctl daemon-reload; systemctl reset-failed docker docker.socket; systemctl restart docker")
    yield engine
    engine.host.run(f"rm -rf {CONFIG} {FOLDER} /var/lib/buildfleet")
    engine.host.run(f"cd /var/tmp/kept; cp -a daemon.json {CONFIG}; cp -a buildfleet /var/lib/; cp -a docker.service.d {FOLDER}")
    engine.host.run("rm -rf /var/tmp/kept; systemctl daemon-reload; systemctl reset-failed docker docker.socket; systemctl start docker.socket")
    assert engine.restart()


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_host_is_refused_in_words_and_left_as_it_is(bare, kind):
    path, contents, happens, words = BROKEN[kind]
    bare.write(path, contents)
    bare.host.run(happens)
    before = state(bare)
    for options, flags in ((PROXY, ["--check"]), (PROXY, []), ({"registry_mirrors": ["https://mirror.lab"]}, [])):
        begun = time.monotonic()
        done = bare.module("docker_daemon_proxy", *flags, **options)
        assert done.returncode != 0 and words in done.stdout, done.stdout
        assert time.monotonic() - begun < 60
        assert state(bare) == before


@pytest.mark.parametrize("kind", ODD)
def test_a_daemon_json_that_only_looks_odd_is_configured_and_given_back(bare, kind):
    bare.write(CONFIG, ODD[kind])
    if bare.host.run("systemctl restart docker").rc:
        pytest.skip("this engine does not start with it")
    before = bare.host.file(CONFIG).content
    done = bare.module("docker_daemon_proxy", **PROXY)
    assert done.returncode == 0 and json.loads(done.stdout.partition("=>")[2])["restarted"], done.stdout
    assert bare.module("docker_daemon_proxy", state="absent").returncode == 0
    assert bare.host.file(CONFIG).content == before and not bare.host.exists("/var/lib/buildfleet")


@pytest.mark.parametrize("units", ["docker docker.socket", "docker"])
def test_a_daemon_that_was_stopped_on_purpose_stays_so(bare, units):
    bare.host.run(f"systemctl stop {units}")
    done = bare.module("docker_daemon_proxy", **PROXY)
    assert done.returncode == 0 and "was not started: the new settings take effect at its next start" in done.stdout + done.stderr
    assert bare.host.run("systemctl is-active docker").stdout.strip() == "inactive"
    bare.host.run("systemctl start docker.socket docker")
    assert "proxy.lab:8888" in bare.host.check_output("docker info")
