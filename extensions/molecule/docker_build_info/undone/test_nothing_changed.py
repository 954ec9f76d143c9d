# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


def test_reading_left_nothing(engine):
    assert engine.host.check_output("find /root/.docker /home/builder/.docker /var/lib/buildfleet 2>/dev/null | wc -l") == "0"
