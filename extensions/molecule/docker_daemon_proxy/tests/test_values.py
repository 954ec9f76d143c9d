# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How real daemons read no_proxy and insecure-registries: the facts behind unit tests, warnings and docs."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

FIELD = Path(__file__).resolve().parents[4] / "tests" / "field"
ROWS = json.loads((FIELD / "no_proxy.json").read_text())
DROP_IN, ENVIRONMENT = "/etc/systemd/system/docker.service.d/zzz-values.conf", "/run/values.env"


@pytest.fixture()
def daemon_with(engine):
    """`daemon_with(NO_PROXY)`: a daemon with a proxy that does not answer."""

    def start(exceptions):
        engine.write(DROP_IN, f"[Service]\nEnvironmentFile={ENVIRONMENT}\nUnsetEnvironment=http_proxy https_proxy no_proxy\n")
        engine.write(ENVIRONMENT, f"HTTP_PROXY=http://127.0.0.1:9\nHTTPS_PROXY=http://127.0.0.1:9\nNO_PROXY={exceptions}\n")
        engine.host.check_output("mkdir -p /etc/docker && { cp --preserve /etc/docker/daemon.json /run/values.json || :; } && rm -f /etc/docker/daemon.json")
        # Addresses of the rows are nobody's: the kernel says so at once.
        engine.host.check_output("ip route add unreachable 10.0.0.0/8")
        assert engine.restart()

    yield start
    engine.host.check_output(f"ip route delete unreachable 10.0.0.0/8; rm -f {DROP_IN} {ENVIRONMENT}")
    engine.host.check_output(f"rmdir --ignore-fail-on-non-empty {DROP_IN.rpartition('/')[0]}")
    engine.host.check_output("if [ -e /run/values.json ]; then mv /run/values.json /etc/docker/daemon.json; fi")
    assert engine.restart()


def asked_directly(engine, url):
    """Whether the daemon connects to this registry without its proxy when it logs in there."""
    login = json.dumps({"username": "a", "password": "b", "serveraddress": url})
    answer = engine.host.run(
        f"curl -s --max-time 40 --unix-socket /run/docker.sock -H 'Content-Type: application/json' --data '{login}' http://docker/auth"
    ).stdout
    assert "message" in answer, (url, answer)
    return "proxyconnect" not in answer


def test_no_proxy_means_what_we_say(engine, daemon_with):
    daemon_with(",".join(dict.fromkeys(row["entry"] for row in ROWS)))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: asked_directly(engine, row["url"]), ROWS))
    assert [(row, direct) for row, direct in zip(ROWS, found, strict=True) if direct != row["direct"]] == []
