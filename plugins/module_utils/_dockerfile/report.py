# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run on a source tree reports: a bounded result, warnings and errors."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import json
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import Change, Skip
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName, parse
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import apply_policy

MOST_FILES = 200
MOST_LISTED = 2_000
MOST_DIFF = 1024 * 1024
MOST_NAMES = 10
MOST_REMEMBERED = 10_000


class Outcome(t.NamedTuple):
    """What became of one file."""

    path: str
    changed: bool = False
    changes: t.Sequence[Change] = ()
    skipped: t.Sequence[Skip] = ()
    diff: str = ""
    unread: str = ""  # why it was not read
    failure: str = ""  # why it was not written
    is_source: bool = True


class Report:
    """The result, with a limited size for any tree. Results of parts are built separately and joined in order."""

    def __init__(self, with_diff: bool, listed: int = 0) -> None:
        """``listed``: files that come before these in the result."""
        self.counts = {"files": 0, "changed": 0, "edits": 0, "skipped": 0, "unreadable": 0}
        self.files: t.List[t.Tuple[str, t.Sequence[Change], t.Sequence[Skip]]] = []
        self.unread: t.List[str] = []
        self.failures: t.List[str] = []
        self.first_skip = ""
        self._rewritten: t.List[t.Tuple[str, str, str]] = []
        self._diff = "" if with_diff else None
        self._listed = listed
        self._room = MOST_LISTED
        self._truncated = False

    def add(self, outcome: Outcome) -> None:
        if outcome.unread:
            self.counts["unreadable"] += 1
            self.unread.append(f"{outcome.path} {outcome.unread}.")
            return
        self.counts["files"] += outcome.is_source
        self.counts["changed"] += outcome.changed
        self.counts["edits"] += len(outcome.changes)
        self.counts["skipped"] += len(outcome.skipped)
        for skip in outcome.skipped[: not self.first_skip]:
            self.first_skip = f"{outcome.path}, line {skip.line}{skip.reference and f' ({skip.reference})'}: {skip.reason}"
        if outcome.failure:
            self.failures.append(outcome.failure)
        if outcome.changes or outcome.skipped:
            self._list(outcome.path, outcome.changes, outcome.skipped)
            self._show(outcome.diff)
            self._rewritten += [(outcome.path, change.before, change.after) for change in outcome.changes]

    def put(self, part: Report) -> None:
        for name, count in part.counts.items():
            self.counts[name] += count
        for file in part.files:
            self._list(*file)
        self.unread += part.unread[: MOST_NAMES - len(self.unread)]
        self.failures += part.failures
        self.first_skip = self.first_skip or part.first_skip
        self._rewritten += part._rewritten[: MOST_REMEMBERED - len(self._rewritten)]
        self._show(part._diff or "")
        self._truncated |= part._truncated

    def _list(self, path: str, changes: t.Sequence[Change], skipped: t.Sequence[Skip]) -> None:
        if self._listed == MOST_FILES or not self._room:
            self._truncated = True
            return
        edits, skips = changes[: self._room], skipped[: max(0, self._room - len(changes))]
        self._truncated |= len(edits) + len(skips) < len(changes) + len(skipped)
        self._listed += 1
        self._room -= len(edits) + len(skips)
        self.files.append((path, edits, skips))

    def _show(self, diff: str) -> None:
        if self._diff is not None and len(self._diff) < MOST_DIFF:
            self._diff += diff

    def warnings(self, policy: bytes, policy_file: str) -> t.Iterator[str]:
        """``policy``: the source policy that BuildKit would use, and the file that contains it."""
        yield from itertools.islice(self._lost_rules(policy, policy_file), MOST_NAMES)
        if self.counts["skipped"]:
            yield f"{_references(self.counts['skipped'])} left as written. The first: {self.first_skip}"
        yield from self.unread
        if self.counts["unreadable"] > len(self.unread):
            yield f"{self.counts['unreadable'] - len(self.unread)} more files could not be read."

    def strict_error(self) -> str:
        """Why strict mode changes nothing; '' if it may."""
        if self.counts["skipped"]:
            return f"strict: {_references(self.counts['skipped'])} cannot be rewritten, so nothing was changed. The first: {self.first_skip}"
        return f"strict: {self._not_written()} Nothing was changed." if self.failures else ""

    def write_error(self, check_mode: bool) -> str:
        """Which files cannot be written, and what to do; '' if all can."""
        if not self.failures:
            return ""
        rest = "Make it writable first." if check_mode else "Make it writable and run this again; all other files are done."
        return f"{self._not_written()} {rest}"

    def _not_written(self) -> str:
        return self.failures[0] + (f" {len(self.failures)} files in all cannot be written." if len(self.failures) > 1 else "")

    def _lost_rules(self, contents: bytes, file: str) -> t.Iterator[str]:
        """A rule about an image that no longer matches its new name, unless it has the same effect."""
        with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, re.error):  # no policy that we could read
            policy = json.loads(contents or b"{}")
            for path, before, after in self._rewritten:
                if _is_lost(policy, before, after):
                    yield f"{path}: the source policy {file} has a rule about {before}, which no longer matches; write the mirror's name in the rule."

    def result(self) -> t.Dict[str, t.Any]:
        files = [
            {"path": path, "edits": [change._asdict() for change in changes], "skipped": [skip._asdict() for skip in skipped]}
            for path, changes, skipped in self.files
        ]
        shown = {"changed": self.counts["changed"] > 0, "files": files, "truncated": self._truncated, "counts": self.counts}
        if self._diff is not None:
            cut = "[The diff ends here because of its size.]\n" if len(self._diff) >= MOST_DIFF else ""
            shown["diff"] = {"prepared": self._diff[:MOST_DIFF] + cut}
        return shown


def _references(count: int) -> str:
    return "1 reference" if count == 1 else f"{count} references"


def _is_lost(policy: t.Any, before: str, after: str) -> bool:
    try:
        wanted = apply_policy(policy, before)
        return wanted is not None and apply_policy(policy, after) is None and wanted != _with_tag(after)
    except InvalidImageName:
        return False  # a part of a name, or one with a variable


def _with_tag(reference: str) -> str:
    image = parse(reference)
    return image.full if image.suffix else f"{image.full}:latest"


def unified(path: str, before: bytes, after: bytes) -> str:
    """The difference as a text."""
    before_lines, after_lines = (text.decode("utf-8", "replace").splitlines(keepends=True) for text in (before, after))
    around = 0 if path.endswith("/.env") else 3  # it also contains passwords
    lines = difflib.unified_diff(before_lines, after_lines, f"{path} (before)", f"{path} (after)", n=around)
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)
