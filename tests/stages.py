# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run make targets one after the other, all of them, and end with one line: how many tests passed and failed."""

from __future__ import annotations

import re
import subprocess
import sys
import time

# pytest's last line, and one line of molecule's report for each scenario that ran without pytest.
SUMMARY = re.compile(r"^=*(?=.*\b(?:passed|failed|errors?)\b).* in [\d.]+s\b.*$")
COUNT = re.compile(r"(\d+) (passed|failed|error)")


def counted(line: str) -> tuple[int, int]:
    if not SUMMARY.match(line):
        return 0, 0
    counts = {word: int(number) for number, word in COUNT.findall(line)}
    return counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0)


def run(target: str) -> tuple[int, int]:
    print(f"--- make {target}", flush=True)
    started, passed, failed = time.monotonic(), 0, 0
    with subprocess.Popen(["make", "--no-print-directory", target], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            print(line, end="", flush=True)
            more = counted(re.sub(r"\x1b\[[\d;]*m", "", line.strip()))
            passed, failed = passed + more[0], failed + more[1]
    ended_well = process.returncode == 0
    # A target is a test too: it fails when nothing counted in it did.
    passed, failed = passed + ended_well, failed + (not ended_well and not failed)
    print(f"--- make {target}: {passed} passed, {failed} failed, {time.monotonic() - started:.0f} s", flush=True)
    return passed, failed


def main(targets: list[str]) -> int:
    results = [run(target) for target in targets]
    failed = sum(result[1] for result in results)
    print(f"{sum(result[0] for result in results)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
