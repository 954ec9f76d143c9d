# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


def test_no_home_has_a_docker_folder(engine):
    assert engine.host.run("ls -d /root/.docker /home/builder/.docker").stdout == ""


def test_no_temporary_folder_is_left(engine):
    assert engine.host.run("ls -d /tmp/buildfleet-*").stdout == ""
