# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run make targets and end with one line: how many tests passed and failed.

    stages.py TARGET... [--beside TARGET...]

The first run one after the other. Those behind --beside need no host of the lab and run meanwhile, one after the other too, with what
processor time the first leave; what they say is printed when each has ended.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import typing as t

# pytest's last line, and one line of molecule's report for each scenario that ran without pytest.
SUMMARY = re.compile(r"^=*(?=.*\b(?:passed|failed|errors?)\b).* in [\d.]+s\b.*$")
COUNT = re.compile(r"(\d+) (passed|failed|error)")


def counted(line: str) -> tuple[int, int]:
    if not SUMMARY.match(line):
        return 0, 0
    counts = {word: int(number) for number, word in COUNT.findall(line)}
    return counts.get("passed", 0), counts.get("failed", 0) + counts.get("error", 0)


def run(target: str, say: t.Callable[[str], None], *prefix: str) -> tuple[int, int]:
    say(f"--- make {target}\n")
    started, passed, failed = time.monotonic(), 0, 0
    with subprocess.Popen([*prefix, "make", "--no-print-directory", target], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            say(line)
            more = counted(re.sub(r"\x1b\[[\d;]*m", "", line.strip()))
            passed, failed = passed + more[0], failed + more[1]
    ended_well = process.returncode == 0
    # A target counts as a test too: it fails if it failed without a failed test.
    passed, failed = passed + ended_well, failed + (not ended_well and not failed)
    say(f"--- make {target}: {passed} passed, {failed} failed, {time.monotonic() - started:.0f} s\n")
    return passed, failed


def say_at_once(text: str) -> None:
    print(text, end="", flush=True)


def beside(targets: list[str], results: list[tuple[int, int]]) -> None:
    for target in targets:
        said: list[str] = []
        results.append(run(target, said.append, "nice", "-n", "19"))
        say_at_once("".join(said))


def main(arguments: list[str]) -> int:
    cut = arguments.index("--beside") if "--beside" in arguments else len(arguments)
    results: list[tuple[int, int]] = []
    other = threading.Thread(target=beside, args=(arguments[cut + 1 :], results))
    other.start()
    for target in arguments[:cut]:
        results.append(run(target, say_at_once))
    other.join()
    failed = sum(result[1] for result in results)
    print(f"{sum(result[0] for result in results)} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
