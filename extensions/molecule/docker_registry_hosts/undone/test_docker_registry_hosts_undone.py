# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After `undo`: no file, no folder, no record."""

from __future__ import annotations


def test_nothing_of_ours_is_left(engine):
    assert engine.host.run("test -e /etc/docker/certs.d || test -e /etc/docker/daemon.json || test -e /var/lib/buildfleet").rc == 1
    assert engine.host.check_output("docker info --format '{{.RegistryConfig.Mirrors}}'") == "[]"
