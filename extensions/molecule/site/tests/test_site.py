# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After `site` through a proxy with a password."""

from __future__ import annotations

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


def test_verify_agrees(engine, playbook):
    done = playbook("verify", engine.name)
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout
