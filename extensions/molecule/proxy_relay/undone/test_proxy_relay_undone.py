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
@pytest.mark.parametrize("builder", ["buildkit", "legacy", "compose"])
def test_without_it_the_build_fails(engine, builder):
    assert not engine.build(builder, login="builder").ok
