# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host without systemd: /etc/default/docker, `service docker restart`, and the same contract."""

from __future__ import annotations

import json

import pytest
import table

NAME = "sysvinit"
PROXY = {"http_proxy": table.AUTH_PROXY, "https_proxy": table.AUTH_PROXY, "proxy_username": table.USERNAME, "proxy_password": table.PASSWORD}


@pytest.fixture(scope="module")
def bare(another_host):
    return another_host(NAME)


def run(bare, **options):
    done = bare.module("docker_daemon_proxy", **options)
    assert table.PASSWORD not in done.stdout and "p%40ss" not in done.stdout
    return json.loads(done.stdout.partition("=>")[2])


@pytest.mark.parametrize(("mechanism", "file"), [("auto", "/etc/docker/daemon.json"), ("sysvinit", "/etc/default/docker")])
def test_the_same_contract(bare, mechanism, file):
    files = "md5sum /etc/default/docker; ls /etc/docker /var/lib/buildfleet; stat -c %a /etc/default/docker"
    before = bare.host.run(files).stdout
    assert not bare.host.file("/run/systemd").exists
    assert bare.host.run("docker pull -q alpine:3.19").rc != 0

    done = run(bare, mechanism=mechanism, **PROXY)
    assert done["restarted"] and done["proxies"]["https_proxy"] == "http://xxxxx:xxxxx@auth-proxy.lab:8888", done
    assert bare.host.file(file).mode == 0o600
    assert bare.host.run("docker pull -q alpine:3.19").rc == 0
    assert not run(bare, mechanism=mechanism, **PROXY)["changed"]

    bare.host.check_output("docker run -d --name busy alpine:3.19 sleep 600")
    pending = run(bare, state="absent")
    assert pending["changed"] and pending["restart_pending"] and pending["pending_reason"].startswith("1 running container")
    bare.host.check_output("docker rm -f busy")
    assert run(bare, state="absent")["restarted"]
    assert "Proxy" not in bare.host.check_output("docker info 2>/dev/null")
    bare.host.check_output("docker image rm alpine:3.19")
    assert bare.host.run(files).stdout == before


def test_a_daemon_that_does_not_start_gets_its_files_back(bare):
    bare.write(
        "/usr/local/sbin/dockerd-picky",
        '#!/bin/sh\ngrep -q proxies /etc/docker/daemon.json && { echo level=fatal no proxies >&2; exit 1; }\nexec dockerd "$@"\n',
    )
    before = bare.host.file("/etc/init.d/docker").content.decode()
    try:
        # The init script starts something else than what --validate asks: only the start itself shows it.
        bare.host.check_output("chmod +x /usr/local/sbin/dockerd-picky; sed -i 's,^DOCKERD=.*,DOCKERD=/usr/local/sbin/dockerd-picky,' /etc/init.d/docker")
        done = run(bare, https_proxy=table.HTTP_PROXY, timeout=20)
        assert done["rolled_back"] and "docker is up again with its old settings" in done["msg"] and "no proxies" in done["msg"], done
        assert not bare.host.file("/etc/docker/daemon.json").exists
        assert bare.host.run("docker info").rc == 0
    finally:
        bare.write("/etc/init.d/docker", before)
