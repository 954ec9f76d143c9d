# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

MAJOR = {"engine20": 20, "engine26": 26}


def test_the_engines_are_of_three_generations(engine):
    assert engine.major == MAJOR[engine.name] if engine.name in MAJOR else engine.major >= 28


def test_the_hosts_are_whole_machines(engine):
    assert engine.host.check_output("systemctl is-system-running") == "running"
    assert engine.host.check_output("su - builder -c 'sudo -n -i id -un'") == "root"
