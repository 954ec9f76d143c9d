# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After `undo`: no relay, no package of it, and the builds fail again."""

from __future__ import annotations

import pytest
import table
from build import on

each = pytest.mark.parametrize("engine", list(table.RELAY_HOSTS), indirect=True)


@each
def test_nothing_is_left(engine):
    assert engine.host.check_output("find / -xdev -iname '*buildfleet*' -not -path '/proc/*' -not -path '/run/*' 2>/dev/null || true") == ""
    assert engine.host.run("test -e /root/.docker/config.json -o -e /home/builder/.docker/config.json -o -e /etc/skel/.docker").rc == 1
    assert on(engine.name, "dpkg-query -W -f '${Package}\\n' 'squid*' 2>/dev/null | cat").log == ""
    assert "roxy" not in engine.host.check_output("docker info")
    assert "3129" not in engine.host.check_output("ss -Hltn")
    assert engine.host.check_output("systemctl is-system-running") == "running"


@each
def test_every_file_package_and_unit_is_as_before(engine):
    script = "sh /var/tmp/snapshot.sh | sort > /var/tmp/after; comm -3 /var/tmp/before /var/tmp/after"
    assert on(engine.name, script).log.splitlines() == []


@each
@pytest.mark.parametrize("builder", ["buildkit", "legacy", "compose"])
@pytest.mark.parametrize("dockerfile", ["FROM busybox:1\n", "FROM ghcr.io/lab/tool:1\n", "FROM mirror.lab/library/busybox:1\nRUN wget -qO- http://web.lab/\n"])
def test_without_it_each_process_fails(engine, build_as, builder, dockerfile):
    assert not build_as(engine, builder, dockerfile=dockerfile).ok
