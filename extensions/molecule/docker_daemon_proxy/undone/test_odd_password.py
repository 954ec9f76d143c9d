# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A password with every special character of a shell, systemd, a URL or JSON: the proxy receives it unchanged."""

from __future__ import annotations

import base64
import json

import pytest
import table

PASSWORD = "p\"'%$;#\\`&|<>%41%%é $(reboot) ${HOME} :/@?[]{}!*~"
LISTENER = """
import socket
server = socket.create_server(("127.0.0.1", 3129))
while True:
    client = server.accept()[0]
    asked = client.recv(65536)
    client.sendall(b"HTTP/1.1 502 not here\\r\\nContent-Length: 0\\r\\n\\r\\n")
    client.close()
    open("/var/tmp/asked", "ab").write(asked)
"""
PROXY = {"https_proxy": "http://127.0.0.1:3129", "proxy_username": "o'd;d", "proxy_password": PASSWORD}


@pytest.mark.parametrize("engine", [*table.HOSTS, "sysvinit"], indirect=True)
def test_the_proxy_gets_the_password_that_was_given(engine, another_host):
    host = another_host(engine.name) if engine.name == "sysvinit" else engine
    host.write("/var/tmp/listener.py", LISTENER)
    host.host.check_output("nohup python3 /var/tmp/listener.py >/dev/null 2>&1 & echo $! > /var/tmp/listener.pid")
    mechanism = {"mechanism": "sysvinit"} if host.name == "sysvinit" else {}
    try:
        done = host.module("docker_daemon_proxy", **mechanism, **PROXY)
        assert done.returncode == 0, done.stdout
        assert PASSWORD not in done.stdout
        assert host.host.run("docker pull busybox:1").rc != 0
        asked = host.host.file("/var/tmp/asked").content.decode()
        basic = asked.partition("Proxy-Authorization: Basic ")[2].partition("\r\n")[0]
        assert base64.b64decode(basic).decode() == f"o'd;d:{PASSWORD}"
        assert not json.loads(host.module("docker_daemon_proxy", **mechanism, **PROXY).stdout.partition("=>")[2])["changed"]
    finally:
        absent = host.module("docker_daemon_proxy", state="absent")
        host.host.check_output("kill $(cat /var/tmp/listener.pid); rm -f /var/tmp/listener.* /var/tmp/asked")
    assert absent.returncode == 0, absent.stdout
