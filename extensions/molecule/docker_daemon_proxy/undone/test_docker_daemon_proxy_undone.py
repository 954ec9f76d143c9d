# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After state: absent."""

from __future__ import annotations


def test_the_first_bytes_are_back_and_nothing_of_ours_is_left(engine):
    assert engine.host.check_output("cmp /etc/docker/daemon.json /var/tmp/first.json") == ""
    assert engine.host.file("/etc/docker/daemon.json").mode == 0o644
    for path in ("/etc/systemd/system/docker.service.d", "/var/lib/buildfleet"):
        assert not engine.host.file(path).exists


def test_the_daemon_runs_without_a_proxy(engine):
    assert "Proxy" not in engine.host.check_output("docker info 2>/dev/null")
    assert not engine.build("pull").ok
