# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the role: what the daemon reaches, and the contents of its files."""

from __future__ import annotations

import pytest

FIRST = '{\r\n\t"log-level": "info",\r\n\t"max-concurrent-downloads": 4'


@pytest.mark.parametrize("builder", ["pull", "legacy"])
def test_the_daemon_reaches_docker_hub(engine, builder):
    outcome = engine.build(builder)
    assert outcome.ok, outcome.log


def test_every_foreign_byte_is_where_it_was(engine):
    assert engine.host.file("/etc/docker/daemon.json").content.decode().startswith(FIRST + ",\r\n\t")


def test_below_23_the_proxies_stand_in_an_environment_that_only_root_reads(engine):
    drop_in = engine.host.file("/etc/systemd/system/docker.service.d/zz-buildfleet.conf")
    assert drop_in.exists == (engine.major < 23)
    path = "/etc/systemd/system/docker.service.d/zz-buildfleet.env" if drop_in.exists else "/etc/docker/daemon.json"
    assert engine.host.file(path).mode == 0o600
    assert engine.host.file("/var/lib/buildfleet").mode == 0o700


def test_a_rotated_password_restarts_and_the_same_one_does_not(engine):
    options = {"https_proxy": "http://auth-proxy.lab:8888", "proxy_username": "builder", "no_proxy": ["mirror.lab", "localhost"]}
    options["http_proxy"] = options["https_proxy"]
    same = engine.module("docker_daemon_proxy", **options, proxy_password="p@ss:w/rd%41")
    assert same.returncode == 0 and '"changed": false' in same.stdout, same.stdout
    other = engine.module("docker_daemon_proxy", **options, proxy_password="other-p4ss")
    assert other.returncode == 0 and '"restarted": true' in other.stdout and "other-p4ss" not in other.stdout, other.stdout
    back = engine.module("docker_daemon_proxy", **options, proxy_password="p@ss:w/rd%41")
    assert back.returncode == 0 and '"restarted": true' in back.stdout, back.stdout


def test_no_password_stands_in_the_journal_or_where_others_read(engine):
    spellings = "-e 'p@ss:w/rd' -e 'p%40ss%3Aw' -e 's3cret-lab' -e 'other-p4ss'"
    assert engine.host.run(f"journalctl --no-pager | grep -F {spellings}").rc == 1
    readable = engine.host.check_output(f"find /etc /var/lib/buildfleet /var/tmp /tmp -type f -perm /044 -exec grep -lF {spellings} {{}} + 2>/dev/null; true")
    assert readable == ""
