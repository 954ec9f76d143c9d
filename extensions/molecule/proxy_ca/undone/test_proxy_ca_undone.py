# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After `undo`: the authority is not trusted again, and the diagnosis names what fails."""

from __future__ import annotations

import json

import pytest
import table

DROP_IN = "/etc/systemd/system/docker.service.d/lab.conf"


def test_the_store_is_as_it_was(engine):
    assert engine.host.check_output("find / -xdev -iname '*buildfleet*' -not -path '/proc/*' -not -path '/run/*' 2>/dev/null || true") == ""
    line = engine.host.check_output("sed -n 5p /lab/intercept-ca.crt")
    assert engine.host.run(f"grep -rF '{line}' /etc/ssl /usr/local/share/ca-certificates").stdout == ""
    assert engine.host.run('grep -F "$(sed -n 5p /lab/ca.crt)" /etc/ssl/certs/ca-certificates.crt').rc == 0


@pytest.fixture()
def intercepted(engine):
    """The intercepting proxy as the daemon's proxy, without its CA."""
    engine.write(DROP_IN, f'[Service]\nEnvironment="HTTPS_PROXY={table.INTERCEPT_PROXY}"\n')
    engine.forget()
    yield
    engine.host.check_output(f"rm {DROP_IN}")
    engine.forget()


@pytest.mark.parametrize("builder", ["buildkit", "legacy"])
def test_without_the_certificate_the_daemon_fails_and_the_diagnosis_names_the_cure(engine, intercepted, builder):
    done = engine.module("docker_build_check", builder=builder, required=False, env={"BUILDKIT_NO_CLIENT_TOKEN": "1"})
    result = json.loads(done.stdout.partition("=> ")[2])
    assert (result["cause"], result["asked_by"], result["host"], result["reason"]) == ("tls", "daemon", "registry-1.docker.io", "unknown authority")
    assert "proxy_ca" in result["cure"]
