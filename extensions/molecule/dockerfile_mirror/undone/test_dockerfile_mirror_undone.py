# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After a run with the reversed map."""

from __future__ import annotations


def test_every_byte_is_back_a_name_that_was_spelled_out_too(engine):
    assert engine.host.run("diff -r /srv/first /srv/src").stdout == ""
