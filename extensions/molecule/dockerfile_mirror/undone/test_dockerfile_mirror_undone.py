# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After the map was read backwards."""

from __future__ import annotations


def test_the_first_bytes_are_back_but_for_a_name_that_was_spelled_out(engine):
    assert engine.host.run("diff -r /srv/first /srv/src | tr -d '\\r'").stdout.splitlines() == [
        "diff -r /srv/first/stages/Dockerfile /srv/src/stages/Dockerfile",
        "5c5",
        '< FROM "docker.io/library/alpine:3.19"',
        "---",
        '> FROM "alpine:3.19"',
    ]
