# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rewrite a source tree: find its files, read and write them."""

from __future__ import annotations

import fnmatch
import itertools
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.report import Outcome, Report, unified
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.selection import COMPOSE, PATTERNS, Selection, base, follows, is_compose
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.undo_note import Work, restore_or_rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._host.pipeline import each
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import (
    BAKE_FILES,
    Refusal,
    Source,
    contents_of,
    files,
    matches,
    named_singly,
    source,
    within,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree_writer import NotWritten, attributes, read_note, replace, sync, write_blocker
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

Options = t.Mapping[str, t.Any]


def rewrite_tree(options: Options, mirrors: Mirrors, paths: t.Sequence[str], write: bool, with_diff: bool) -> Report:
    """Rewrite the files below these paths, or report what would change."""
    is_source = matches(options["patterns"])
    found = list(files(paths, [*options["patterns"], *COMPOSE], options["excludes"], tidy=write))
    project = _project(options, found, paths, is_source)
    selection = Selection(options, is_source, BAKE_FILES, project, named_singly(paths) if project else ())
    listed = 0  # by this process; files that it processes later come later in the result

    def some(found: t.Sequence[t.Union[str, Refusal]]) -> Report:
        nonlocal listed
        part = Report(with_diff, listed)
        for one in found:
            part.add(_outcome(options, selection, one, mirrors, write, with_diff))
        listed += len(part.files)
        return part

    report = Report(with_diff)
    for part in each(some, itertools.chain(found, project.extra if project else ())):
        report.put(part)
    if write and report.counts["changed"]:
        sync()
    return report


def bake_files(excludes: t.Sequence[str]) -> t.List[str]:
    return [name for name in BAKE_FILES if not any(fnmatch.fnmatch(name, pattern) for pattern in excludes)]


def _project(options: Options, found: t.Sequence[t.Union[str, Refusal]], paths: t.Sequence[str], is_source: t.Callable[[str], t.Any]) -> t.Any:
    """The project around the files; None if no file names another one: importing the YAML reader takes 15 ms."""
    known = [path for path in found if isinstance(path, str)]
    bake = [path for path in known if base(path) in BAKE_FILES]
    compose = [path for path in known if is_compose(base(path))]
    if not bake and not compose:
        return None
    from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.project import survey

    is_followed = follows(is_source, matches(PATTERNS), BAKE_FILES)

    def is_inside(path: str) -> bool:
        return within(path, paths, options["excludes"])

    return survey(compose, bake, frozenset(known), is_inside, bake_files(options["excludes"]), contents_of, is_followed, "compose" in options["kinds"])


def _outcome(options: Options, selection: Selection, found: t.Union[str, Refusal], mirrors: Mirrors, write: bool, with_diff: bool) -> Outcome:
    if isinstance(found, Refusal):
        return Outcome(found.path, unread=found.reason)
    if not selection.includes(found):
        return Outcome(found, is_source=False)
    file = source(found)
    if isinstance(file, Refusal):
        return Outcome(file.path, is_source=False) if base(found) in BAKE_FILES else Outcome(file.path, unread=file.reason)
    work, encoding = selection.rewriter(found, file)
    return _file(options, file, mirrors, work, encoding, write, with_diff)


def _file(options: Options, file: Source, mirrors: Mirrors, work: Work, encoding: str, write: bool, with_diff: bool) -> Outcome:
    """Rewrite one file, or report what would change."""
    result, names, note = work(file.contents, mirrors), t.cast("t.List[str]", []), b""
    try:
        if result.after != file.contents:
            names = attributes(file.path)
            result, note = restore_or_rewrite(file.contents, result, read_note(file.path, names), mirrors, encoding, work)
        if result.after == file.contents:
            return Outcome(file.path, False, result.changes, result.skipped)
        if write:
            replace(file, names, result.after, note, options["backup"])
        failure = "" if write else write_blocker(file)
    except NotWritten as error:
        failure = str(error)
    if failure:
        return Outcome(file.path, skipped=result.skipped, failure=failure)
    return Outcome(file.path, True, result.changes, result.skipped, unified(file.path, file.contents, result.after) if with_diff else "")
