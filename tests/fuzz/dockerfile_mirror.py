# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mutants of Dockerfiles: no exception, no byte changed beside the edits, the judges see the same instructions, and the quick readings see
what the thorough one sees.

    python tests/fuzz/dockerfile_mirror.py [--mutants 100000] [--seed 7]

Ordinary, tricky and golden files are mutated, and those of the corpus where BUILDFLEET_CORPUS names it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import re
import sys
import typing as t
import unittest.mock
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/oracles"))

import judges  # noqa: E402

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import instructions  # noqa: E402
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import references, rewrite, spliced  # noqa: E402
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors  # noqa: E402

MAP = {"docker.io": "mirror.example.com/hub", "mcr.microsoft.com": "mirror.example.com/mcr", "gcr.io": "mirror.example.com/gcr"}
FORWARD = Mirrors(MAP)
TOKENS = [
    b"\\", b"`", b"\n", b"\r\n", b"\\\n", b"`\n", b"\\ \n", b"\\\\\n", b" ", b"\t", b"#", b"# escape=`\n", b"# syntax=a/b:1\n",
    b"<<EOF", b"<<-E", b"<< X", b"EOF\n", b"E\n", b"FROM ",
    b"FROM alpine\n", b" AS a", b"ARG X=redis\n", b"$X", b"${X:-nginx}", b"${X", b"'", b'"', b"--from=busybox ",
    b"--mount=from=php,target=/x ", b"COPY --from=redis a b\n",
    b"<", b"\\\n<", b" \\  \n", b"\n# c\n", b" = ", b'["a", "b"] ',
    b"ONBUILD ", b"RUN ", b'["a"] ', b"\xef\xbb\xbf", b"\xff", b"docker.io/", b"library/", b"@", b":", b"--", b",",
]  # fmt: skip


def mutant(data: bytes, dice: random.Random) -> bytes:
    for _rest in range(dice.randint(1, 4)):
        at = dice.randint(0, len(data))
        kind = dice.random()
        if kind < 0.45:
            data = data[:at] + dice.choice(TOKENS) + data[at:]
        elif kind < 0.7:
            data = data[:at] + data[at + dice.randint(1, 12) :]
        elif kind < 0.85:
            data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        else:
            lines = data.split(b"\n")
            lines.insert(dice.randint(0, len(lines)), dice.choice(lines))
            data = b"\n".join(lines)
    return data


def fault(data: bytes) -> str:
    """What is wrong with the rewrite of this file; '' if nothing."""
    result = rewrite(data, FORWARD)
    quick = _references(data)
    with unittest.mock.patch.object(instructions, "has_odd_bytes", return_value=True):
        if _references(data) != quick:
            return "the quick reading and the thorough one differ"
    if spliced(data.decode("latin-1"), result.edits).encode("latin-1") != result.after:
        return "bytes beside the edits changed"
    if not result.changes:
        return "" if result.after == data else "it changed without an edit"
    again = rewrite(result.after, FORWARD)
    if again.changes:
        return f"a second run edits again: {again.changes}"
    if b"\0" in data:
        return ""  # the Go package stops at NUL
    if re.search(rb"[\x85\xa0]", data) and not _is_utf8(data):
        return ""  # BuildKit reads flags byte by byte and takes these two for blanks; the judges cannot be shown a file that is not UTF-8
    if quick is None and [change.kind for change in result.changes] == ["syntax"]:
        return ""  # BuildKit refuses it, but another frontend reads it, which no judge is
    if re.search(rb"\$\{[^}]*\?", data):
        return ""  # ${X?} is an error with the default build arguments that the judges take, and none with others
    return _judged(data, result.after, len(result.skipped))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _references(data: bytes) -> t.Optional[judges.Images]:
    try:
        return references(data)
    except instructions.Rejected:
        return None


def _judged(before: bytes, after: bytes, skips: int) -> str:
    """Both judges must see the same instructions and the images at their mirrors.

    One alone may be wrong: the older parser knows no heredoc behind a blank, the newer takes strange blanks for spaces.
    """
    faults = [_fault(before, after, skips, parser) for parser in (judges.e2b_parser, judges.buildkit_parser)]
    return "; ".join(faults) if all(faults) else ""


def _fault(before: bytes, after: bytes, skips: int, parser: t.Callable[[bytes], t.List[judges.Command]]) -> str:
    try:
        old, old_images = parser(before), judges.images(before, parser)
    except (judges.Refused, IndexError):
        return f"{parser.__name__} refuses the file"
    try:
        new, new_images = parser(after), judges.images(after, parser)
    except (judges.Refused, IndexError):
        return f"{parser.__name__} refuses the file after the rewrite"
    # A variable that becomes ${X:-mirror/} is written again, without a continuation inside it.
    as_many_lines = before.count(b"\n") == after.count(b"\n")
    if [(each.name, as_many_lines and each.line) for each in old] != [(each.name, as_many_lines and each.line) for each in new]:
        return f"{parser.__name__} sees other instructions"
    found = judges.difference(old_images, new_images, MAP, skips)
    return found and f"{parser.__name__}: {found}"


def _share(job: t.Tuple[t.Sequence[bytes], int, int]) -> t.List[t.Tuple[bytes, str]]:
    files, seed, mutants = job
    dice = random.Random(seed)
    faults = []
    for _rest in range(mutants):
        data = mutant(dice.choice(files), dice)
        try:
            found = fault(data)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
        if found:
            faults.append((data, found))
    return faults


def small_files() -> t.List[bytes]:
    # Beside the corpus the tricky ones would hardly be drawn.
    often = 20 if judges.CORPUS else 1
    tricky = [data for _rest, data in judges.golden()] + [data for name, data, _rest in judges.cases()]
    return [data for data in [data for _rest, data in judges.ordinary("dockerfiles")] + tricky * often if len(data) < 4000]


def run(mutants: int, seed: int) -> t.List[t.Tuple[bytes, str]]:
    files = small_files()
    jobs = [(files, seed * 1000 + part, mutants // 20) for part in range(20)]
    with multiprocessing.Pool() as pool:
        return [found for share in pool.imap(_share, jobs) for found in share]


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--mutants", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=7)
    given = options.parse_args()
    faults = run(given.mutants, given.seed)
    for data, found in faults[:10]:
        print(found, repr(data[:2000]), sep="\n")
    print(f"{given.mutants} mutants, seed {given.seed}: {len(faults)} faults")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
