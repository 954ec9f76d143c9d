# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After `undo`: no file, no folder, no record."""

from __future__ import annotations


def test_nothing_of_ours_is_left(engine):
    assert engine.host.run("find /etc/docker/certs.d /etc/docker/daemon.json /var/lib/buildfleet 2>/dev/null").stdout == ""
    assert engine.host.check_output("docker info --format '{{.RegistryConfig.Mirrors}}'") == "[]"
