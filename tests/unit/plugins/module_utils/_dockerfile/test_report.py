# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.report import MOST_NAMES, Outcome, Report, unified
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import Change, Skip

EDITED = Outcome("/src/Dockerfile", True, [Change(1, "from", "redis", "m.lab/hub/redis")], diff="-redis\n")
SKIPPED = Outcome("/src/Dockerfile", skipped=[Skip(2, "from", "$X", "It has no default.")])
BLOCKED = Outcome("/src/Dockerfile", failure="/src/Dockerfile cannot be written: its folder is not writable.")
UNREAD = Outcome("/src/Dockerfile", unread="is not a regular file")
POLICY = b'{"rules": [{"action": "DENY", "selector": {"identifier": "docker-image://docker.io/library/redis:*"}}]}'


def report(*outcomes):
    whole, part = Report(True), Report(True)
    for outcome in outcomes:
        part.add(outcome)
    whole.put(part)
    return whole


@pytest.mark.parametrize(
    ("outcomes", "policy", "expected"),
    [
        pytest.param([EDITED], b"", [], id="nothing to say"),
        pytest.param([SKIPPED], b"", ["1 reference left as written. The first: /src/Dockerfile, line 2 ($X): It has no default."], id="a skip"),
        pytest.param([UNREAD], b"", ["/src/Dockerfile is not a regular file."], id="a file that is not read"),
        pytest.param(
            [UNREAD] * (MOST_NAMES + 2),
            b"",
            ["/src/Dockerfile is not a regular file."] * MOST_NAMES + ["2 more files could not be read."],
            id="many files that are not read",
        ),
        pytest.param(
            [EDITED],
            POLICY,
            ["/src/Dockerfile: the source policy /p.json has a rule about redis, which no longer matches; write the mirror's name in the rule."],
            id="a rule that no longer matches",
        ),
        pytest.param([EDITED], b"not JSON", [], id="a policy that cannot be read"),
    ],
)
def test_warnings(outcomes, policy, expected):
    assert list(report(*outcomes).warnings(policy, "/p.json")) == expected


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        pytest.param([EDITED], "", id="all can be rewritten"),
        pytest.param(
            [SKIPPED, BLOCKED],
            "strict: 1 reference cannot be rewritten, so nothing was changed. The first: /src/Dockerfile, line 2 ($X): It has no default.",
            id="a skip comes first",
        ),
        pytest.param(
            [BLOCKED, BLOCKED],
            "strict: /src/Dockerfile cannot be written: its folder is not writable. 2 files in all cannot be written. Nothing was changed.",
            id="two files cannot be written",
        ),
    ],
)
def test_what_strict_mode_refuses(outcomes, expected):
    assert report(*outcomes).strict_error() == expected


@pytest.mark.parametrize(
    ("outcomes", "check_mode", "expected"),
    [
        pytest.param([EDITED], False, "", id="all are written"),
        pytest.param([BLOCKED], True, "/src/Dockerfile cannot be written: its folder is not writable. Make it writable first.", id="check mode"),
        pytest.param(
            [BLOCKED],
            False,
            "/src/Dockerfile cannot be written: its folder is not writable. Make it writable and run this again; all other files are done.",
            id="a run",
        ),
    ],
)
def test_what_was_not_written(outcomes, check_mode, expected):
    assert report(*outcomes).write_error(check_mode) == expected


def test_a_difference_without_a_line_break_at_its_end():
    shown = unified("/a", b"FROM a", b"FROM b\n")
    assert shown == "--- /a (before)\n+++ /a (after)\n@@ -1 +1 @@\n-FROM a\n\\ No newline at end of file\n+FROM b\n"
