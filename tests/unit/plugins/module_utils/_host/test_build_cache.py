# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The records of a builder, as buildx 0.13.1 and 0.29.1 list those of BuildKit 0.32.2."""

from __future__ import annotations

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._host.build_cache import BuilderCache
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run

OLDER = """ID:\t\ttfi0qj77bzvzrqfvmpaee7qbg
Parent:\t\tcedy147wz90p7zuykbhwx3yo4
Created at:\t2026-11-27 08:23:49.632045453 +0000 UTC
Mutable:\ttrue
Reclaimable:\ttrue
Shared:\t\tfalse
Size:\t\t8.192kB
Description:\t[2/2] COPY a /c
Usage count:\t1
Last used:\t4 seconds ago
Type:\t\tregular

Reclaimable:\t36.86kB
Total:\t\t36.86kB
"""
NEWER = """ID:           ql0rh7ns4x053zy4uzj9vc3l0
Parents:
 - niktdje0a08ooid5ajmb69cyn
 - cedy147wz90p7zuykbhwx3yo4
Created at:   2026-11-27 08:20:39.824982 +0000 UTC
Mutable:      true
Description:  mount / from exec /bin/sh -c echo: a
ID of something
Type:         regular

Reclaimable:\t3.088MB
Total:\t\t3.088MB
"""


class Buildx(MemoryHost):
    def __init__(self, code, out):
        super().__init__()
        self.done = Run(code, out, "")

    def run_group(self, argv, env, cwd, timeout, user=""):
        self.ran.append((" ".join(argv), dict(env), user))
        return self.done


@pytest.mark.parametrize(
    ("code", "out", "records"),
    [
        (
            0,
            OLDER,
            [
                {
                    "ID": "tfi0qj77bzvzrqfvmpaee7qbg",
                    "Parents": ["cedy147wz90p7zuykbhwx3yo4"],
                    "CreatedAt": "2026-11-27 08:23:49.632045453 +0000 UTC",
                    "Description": "[2/2] COPY a /c",
                    "Type": "regular",
                }
            ],
        ),
        (
            0,
            NEWER,
            [
                {
                    "ID": "ql0rh7ns4x053zy4uzj9vc3l0",
                    "Parents": ["niktdje0a08ooid5ajmb69cyn", "cedy147wz90p7zuykbhwx3yo4"],
                    "CreatedAt": "2026-11-27 08:20:39.824982 +0000 UTC",
                    "Description": "mount / from exec /bin/sh -c echo: a",
                    "Type": "regular",
                }
            ],
        ),
        (0, "Reclaimable:\t0B\nTotal:\t\t0B\n", []),
        (0, "", None),
        (1, OLDER, None),
    ],
    ids=["0.13", "0.29", "empty", "without an answer", "failed"],
)
def test_records(code, out, records):
    host = Buildx(code, out)
    assert BuilderCache(host, "ci", {"HOME": "/home/jane"}, "jane").records() == records
    assert host.ran == [("docker buildx du --builder ci --verbose", {"HOME": "/home/jane"}, "jane")]
