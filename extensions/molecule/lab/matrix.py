# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run every fault on every engine and builder and write the diagnoses of docker_build_check: `matrix.py [FILE]`, with the lab up.

`--faults NAME,...` raises only these faults, and `--rows FILE` keeps the results, so that several runs can fill one table; `--write` runs nothing
and writes the table of the rows that are there. Tables of other engines stay as they are. BUILDFLEET_HOSTS and BUILDFLEET_INVENTORY
(lab/table.py) choose other hosts.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from faults import FAULTS
from shell import HERE, text
from table import HOSTS, NOT_RUN

ROOT = HERE.parents[2]
TESTS = HERE.parent / "docker_build_check" / "tests" / "test_faults.py"
BUILDERS = {"buildkit": "BuildKit", "legacy": "legacy builder"}

Row = dict[str, Any]


def commit() -> str:
    return text("git", "-C", str(ROOT), "describe", "--always", "--dirty").strip()


def tried(host: str, rows: Path, names: list[str]) -> int:
    """These faults on one host, one after the other; hosts are independent."""
    environment = dict(os.environ, BUILDFLEET_MATRIX=str(rows), BUILDFLEET_COMMIT=commit(), BUILDFLEET_SAMPLE="all")
    tests = [f"{TESTS}::test_a_fault_is_named_and_cured[{host}-{name}]" for name in names]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *tests]
    done = subprocess.run(command, cwd=TESTS.parent, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    print(f"--- {host}\n{done.stdout}", flush=True)
    return done.returncode


def cell(row: Row | None) -> str:
    if row is None:
        return "*not run*"
    cause, asked_by, host, reason = row["verdict"]
    where = ", ".join(part for part in (asked_by, host) if part)
    detail = f" ({reason})" if reason and reason != cause else ""
    cured = {True: " **fixed**", False: " NOT FIXED"}.get(row["cured"], "")
    return f"`{cause}`{': ' if where else ''}{where}{detail}{cured}"


def cure(name: str) -> str:
    fault = FAULTS[name]
    steps = "; ".join(f"{module} {', '.join(sorted(options))}" for module, options in fault.cure)
    return steps or f"{'by hand' if fault.repair else 'none here'}: {fault.outside}"


def provenance(found: dict[tuple[str, str], Row]) -> list[str]:
    """When and on which commit an engine's faults were run, and which were not."""
    runs: dict[tuple[str, str], list[str]] = {}
    for (name, builder), row in found.items():
        if builder == "buildkit":
            runs.setdefault((row["day"], row["commit"]), []).append(FAULTS[name].title)
    most, *others = sorted(runs.items(), key=lambda run: -len(run[1]))
    missing = [fault.title for name, fault in FAULTS.items() if not all((name, builder) in found for builder in BUILDERS)]
    lines = [f"- Run on {most[0][0]}, commit {most[0][1]}: {len(most[1])} of {len(FAULTS)} faults."]
    lines += [f"- Run on {day}, commit {version}: {'; '.join(titles)}." for (day, version), titles in others]
    return lines + ([f"- **Not run**: {'; '.join(missing)}."] if missing else [])


def sections(page: str) -> dict[str, str]:
    """The text of each engine's section."""
    return {engine: table.strip() for engine, table in re.findall(r"^## Docker Engine (.*)\n((?:(?!## |- not run).*\n)*)", page, re.MULTILINE)}


def written(rows: list[Row], before: str, note: str) -> str:
    """The page; what it has about engines that these rows are not about is kept."""
    lines = [
        "# Diagnosis of failed builds", "",
        f"Written by `make matrix` on {datetime.date.today()}. Do not edit.{note and ' '}{note}", "",
        "Each fault is created on a clean host of the lab, then `docker_build_check` builds in a login shell. A cell is its result: `cause`, the process, the",
        "host that it requested, and how that failed. **fixed**: the fix was applied, with modules of this collection or as the last column says, and the same",
        "build passed; a cell without it has no fix here, or the fix was not run. *Recorded output*: the images of the lab do not contain this program, so the",
        "step prints what a real one printed in this lab (apk: in a public log), and passes if it has a proxy. curl is the real one of the host's Debian,",
        "copied into the image.",
        "The hosts are behind a firewall that resets connections to Docker Hub and its token server, unless the fault says otherwise.",
    ]  # fmt: skip
    tables = sections(before)
    kept = set(tables) - {row["engine"] for row in rows}
    for engine in {row["engine"] for row in rows}:
        found = {(row["fault"], row["builder"]): row for row in rows if row["engine"] == engine}  # a row with a fix comes after the first one
        table = [f"| fault | {' | '.join(BUILDERS.values())} | fix |", "|---|---|---|---|"]
        table += [
            f"| {fault.title} | {' | '.join(cell(found.get((name, builder))) for builder in BUILDERS)} | {cure(name)} |" for name, fault in FAULTS.items()
        ]
        tables[engine] = "\n".join([*provenance(found), "", *table])
    lines += [f"\n## Docker Engine {engine}\n\n{tables[engine]}" for engine in sorted(tables)]
    lines += ["", *(f"- {sentence}" for sentence in NOT_RUN)] if NOT_RUN and not kept else []
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="?", type=Path, default=ROOT / "docs" / "evidence" / "diagnosis.md", metavar="FILE")
    parser.add_argument("--faults", type=lambda text: text.split(","), default=list(FAULTS), metavar="NAME,...")
    parser.add_argument("--rows", type=Path, metavar="FILE")
    parser.add_argument("--write", action="store_true", help="run nothing, write the table of --rows")
    parser.add_argument("--note", default="", metavar="TEXT", help="a sentence of the page about these runs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor() as pool:
        rows = options.rows or Path(folder) / "rows.jsonl"
        codes = [0] if options.write else list(pool.map(lambda host: tried(host, rows, options.faults), HOSTS))
        before = options.target.read_text() if options.target.exists() else ""
        options.target.write_text(written([json.loads(line) for line in rows.read_text().splitlines()], before, options.note))
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
