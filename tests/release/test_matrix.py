# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of diagnoses says when and on which commit its rows were run, and which were not."""

from __future__ import annotations

import sys

import pytest
from conftest import TOP

sys.path.insert(0, str(TOP / "extensions/molecule/lab"))
import faults
import matrix

PAGE = (TOP / "docs/evidence/diagnosis.md").read_text()
RESET = {"fault": "wall-reset", "verdict": ["reset", "daemon", "registry-1.docker.io", "reset"], "day": "2026-11-27", "commit": "abc1234"}
DENIED = {**RESET, "fault": "mirror-403", "verdict": ["mirror_error", "daemon", "127.0.0.1", "status 403"]}
OLDER = {**DENIED, "fault": "mirror-404", "commit": "0123456"}
ROWS = [
    {**row, "engine": "20.10.24", "builder": builder, "cured": cured} for row in (OLDER, RESET, DENIED) for builder in matrix.BUILDERS for cured in (None, True)
]


@pytest.mark.parametrize("engine", matrix.sections(PAGE))
def test_the_table_of_each_engine_has_faults_that_exist_and_says_when_they_were_run(engine):
    lines = matrix.sections(PAGE)[engine].splitlines()
    rows = [line.split(" | ")[0][2:] for line in lines if line.startswith("| ")]
    assert set(rows) <= {"fault", *(fault.title for fault in faults.FAULTS.values())} and len(rows) > 60
    assert lines[0].startswith("- Run on ")


def test_a_page_says_what_was_run_and_keeps_the_tables_of_other_engines(monkeypatch):
    monkeypatch.setattr(matrix, "NOT_RUN", ["not run: a row"])
    before = "# T\n\n## Docker Engine 20.10.24\n\nRun: old.\n\n| fault |\n\n## Docker Engine 29.7.2\n\nRun: then.\n\n| fault | x |\n\n- not run: a row\n"
    page = matrix.written(ROWS, before, "By hand.")
    new, kept = matrix.sections(page).values()
    assert kept == "Run: then.\n\n| fault | x |" and "Run: old." not in page
    run, older, missing, _empty, _head, _rule, first, second, *_rest = new.splitlines()
    assert run == f"- Run on 2026-11-27, commit abc1234: 2 of {len(faults.FAULTS)} faults."
    assert older == "- Run on 2026-11-27, commit 0123456: the mirror answers 404."
    assert missing.startswith("- **Not run**: the firewall refuses connections; ") and missing.endswith(f"; {faults.FAULTS['step-apk-ca'].title}.")
    cell = "`reset`: daemon, registry-1.docker.io **fixed**"
    assert first.startswith(f"| the firewall resets connections | {cell} | {cell} | docker_daemon_proxy ")
    assert second.startswith("| the firewall refuses connections | *not run* | *not run* | ")
    assert " Do not edit. By hand.\n" in page and "not run: a row" not in page
    assert matrix.written(ROWS, "", "").endswith("|\n\n- not run: a row\n")
