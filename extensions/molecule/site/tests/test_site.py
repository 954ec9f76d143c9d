# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After `site` through a proxy with a password."""

from __future__ import annotations

import json
import re
import stat

import pytest
import table

IMAGE = "pytorch/torchserve:0.11.0-gpu"


@pytest.mark.parametrize("user", ["root", "builder"])
@pytest.mark.parametrize("builder", ["buildkit", "legacy"])
def test_a_login_shell_builds(engine, builder, user):
    outcome = engine.build(builder, IMAGE, login=user)
    assert outcome.ok, outcome.log


def test_compose_builds(engine):
    outcome = engine.build("compose", IMAGE, login="builder")
    assert outcome.ok, outcome.log


def test_the_daemon_has_the_proxy_and_shows_no_password(engine):
    information = engine.host.check_output("docker info")
    assert "http://xxxxx:xxxxx@auth-proxy.lab:8888" in information
    assert table.LOGIN not in information


def test_only_root_can_read_the_password(engine):
    readable = engine.host.check_output("su - nobody -s /bin/sh -c \"grep -rlF 'ss%3Aw' /etc /var/lib/buildfleet /usr/local 2>/dev/null; true\"")
    assert readable == ""


WISH = {
    "buildfleet_proxy_http": table.AUTH_PROXY,
    "buildfleet_proxy_https": table.AUTH_PROXY,
    "buildfleet_proxy_username": table.USERNAME,
    "buildfleet_proxy_password": table.PASSWORD,
    "buildfleet_no_proxy": ["mirror.lab", ".internal.lab"],
}


def test_verify_agrees(playbook):
    done = playbook("verify", ",".join(table.HOSTS), f"-e{json.dumps(WISH)}", "-vvv")
    assert done.returncode == 0, done.stdout
    assert "Pipelining is enabled." in done.stdout and " PUT " not in done.stdout
    assert not re.search(r"changed=[1-9]", done.stdout)
    assert f"{len(table.HOSTS)} hosts: {len(table.HOSTS)} work." in done.stdout


def test_verify_sees_a_difference_and_names_the_file(playbook):
    done = playbook("verify", ",".join(table.HOSTS), f"-e{json.dumps({**WISH, 'buildfleet_no_proxy': ['mirror.lab']})}")
    assert done.returncode == 2
    assert f"{len(table.HOSTS)} hosts: {len(table.HOSTS)} drifted." in done.stdout
    assert "The daemon's settings differ from the variables: /etc/docker/daemon.json." in done.stdout


def test_report_writes_one_page_for_all_and_no_password(playbook, tmp_path):
    page = tmp_path / "fleet.html"
    done = playbook("report", ",".join(table.HOSTS), f"-e{json.dumps({**WISH, 'buildfleet_report_file': str(page)})}")
    assert done.returncode == 0, done.stdout
    for file in (page, page.with_suffix(".json")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert all(secret not in file.read_text() for secret in (table.PASSWORD, table.LOGIN, "ss%3Aw"))
    hosts = json.loads(page.with_suffix(".json").read_text())["hosts"]
    assert {host["name"]: host["state"] for host in hosts} == dict.fromkeys(table.HOSTS, "ok")
    assert all(host["versions"]["engine"] for host in hosts)
    assert all(any(setting["value"] == "http://xxxxx:xxxxx@auth-proxy.lab:8888" for setting in host["settings"]["daemon"][0]["settings"]) for host in hosts)
