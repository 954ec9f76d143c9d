#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: dockerfile_mirror
short_description: Point image references in source trees at mirrors
version_added: 1.0.0
author: The buildfleet authors (@buildfleet)
description:
  - Rewrites every image reference that BuildKit would pull, and no other byte. They stand in
    C(FROM), C(ARG) defaults that feed a C(FROM), C(COPY --from), C(RUN --mount) with C(from), their C(ONBUILD) forms, C(# syntax),
    and the images of compose files.
  - Stage names, heredocs, comments, labels and registries that are not in the map are left alone.
  - The map read backwards is the undo. It writes familiar names, C(redis) and not C(docker.io/library/redis).
  - A reference that cannot be rewritten without changing something else is left and reported with a reason.
extends_documentation_fragment:
  - buildfleet.docker._attributes
options:
  paths:
    description:
      - Files, and directories to search.
      - A file is taken as it is named, whatever O(patterns) say.
      - Symbolic links are not followed out of a directory.
    type: list
    elements: path
    required: true
    aliases: [path]
  mirrors:
    description:
      - A registry, or a registry with a path, and the mirror that replaces it. The longest key wins.
      - 'A mirror may have a path: V(docker.io: mirror.example.com/hub).'
    type: dict
    required: true
  patterns:
    description: Names of the files to look at in directories.
    type: list
    elements: str
    default:
      - Dockerfile
      - Dockerfile.*
      - "*.Dockerfile"
      - dockerfile
      - "*.dockerfile"
      - Containerfile
      - Containerfile.*
      - "*.Containerfile"
      - compose.yaml
      - compose.yml
      - compose.*.yaml
      - compose.*.yml
      - docker-compose.yaml
      - docker-compose.yml
      - docker-compose.*.yaml
      - docker-compose.*.yml
  excludes:
    description: Names of files and directories that are passed over.
    type: list
    elements: str
    default: [.git, node_modules, vendor, "*~", "*.bak", "*.orig", "*.rej", "*.dockerignore", "*.j2", "*.tmpl"]
  build_args:
    description: Values of build arguments that are assumed when a reference is evaluated, instead of the defaults in the file.
    type: dict
  kinds:
    description:
      - Which references are rewritten.
      - V(arg) is the default of an C(ARG) that feeds a C(FROM); without V(from) it is not looked at.
    type: list
    elements: str
    choices: [from, arg, copy, mount, syntax, compose]
    default: [from, arg, copy, mount, syntax, compose]
  backup:
    description: Keep a copy of each file before it is changed.
    type: bool
    default: false
  strict:
    description: Fail, and change nothing, when a reference would be skipped or a file cannot be written.
    type: bool
    default: false
notes:
  - Compose files need PyYAML on the host, other files do not.
  - Named build contexts and source policies match images by name. Where a compose file or a Bake file (C(docker-bake.hcl),
    C(docker-bake.json) and their overrides, which are only read) names such a context for a reference that is rewritten, there is
    a warning, and where the source policy that E(EXPERIMENTAL_BUILDKIT_SOURCE_POLICY) names in the module's environment has a rule
    that no longer matches.
  - Where the first spelling of a reference cannot be told from its name at the mirror, the file gets the extended attribute
    C(user.buildfleet.before), so that the undo gives every byte back.
  - When a file cannot be written all others are, and then the task fails. In check mode, and with O(strict) before anything
    is written, it fails where the folder or the owner of a file tells.
"""

EXAMPLES = r"""
- name: Point all sources at the mirror
  buildfleet.docker.dockerfile_mirror:
    paths: [/srv/src]
    mirrors:
      docker.io: mirror.example.com/hub
      ghcr.io: mirror.example.com/ghcr

- name: Undo
  buildfleet.docker.dockerfile_mirror:
    paths: [/srv/src]
    mirrors:
      mirror.example.com/hub: docker.io
      mirror.example.com/ghcr: ghcr.io
"""

RETURN = r"""
files:
  description: The files with edits or skips, at most 200, with at most 2,000 edits and skips in all.
  returned: always
  type: list
  elements: dict
  contains:
    path:
      description: The file.
      type: str
    edits:
      description: What was, or in check mode would be, edited.
      type: list
      elements: dict
      contains:
        line: {description: The line., type: int}
        kind: {description: One of O(kinds)., type: str}
        before: {description: The reference as it was written., type: str}
        after: {description: The reference as it is written now., type: str}
    skipped:
      description: References that the map names and that were left.
      type: list
      elements: dict
      contains:
        line: {description: The line., type: int}
        kind: {description: One of O(kinds)., type: str}
        reference: {description: The reference; empty where a whole file was left., type: str}
        reason: {description: Why it was left and what to do., type: str}
truncated:
  description: Whether RV(files) leaves out any file, edit or skip. The counts are of all.
  returned: always
  type: bool
counts:
  description: How many files were looked at and changed, edits, skips, and files that could not be read.
  returned: always
  type: dict
  sample: {files: 12, changed: 4, edits: 9, skipped: 1, unreadable: 0}
"""

import contextlib
import difflib
import itertools
import json
import os
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import KINDS, Change, Rewrite, Skip, rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.undo_note import restore_or_rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._host.pipeline import each
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import BAKE_FILES, Refusal, Source, contents_of, exists, files, source
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree_writer import NotWritten, read_note, replace, sync, write_blocker
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, Refused, run
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName, parse
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import MirrorError, Mirrors, apply_policy

POLICY_VARIABLE = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"
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
    contexts: t.Sequence[t.Tuple[str, t.Sequence[str]]] = ()  # Dockerfiles, and the images that a named build context replaces there
    refusal: t.Optional[Refusal] = None
    failure: str = ""  # why it was not written
    is_source: bool = True


class Report:
    """The result, bounded whatever the size of the tree. Those of its parts are made apart and put together in order."""

    def __init__(self, with_diff: bool, listed: int = 0) -> None:
        """``listed``: files that are known to come before these in the result."""
        self.counts = {"files": 0, "changed": 0, "edits": 0, "skipped": 0, "unreadable": 0}
        self.files: t.List[t.Tuple[str, t.Sequence[Change], t.Sequence[Skip]]] = []
        self.refusals: t.List[Refusal] = []
        self.contexts: t.Dict[str, t.Set[str]] = {}
        self.failures: t.List[str] = []
        self._rewritten: t.List[t.Tuple[str, str, str]] = []
        self._diff = "" if with_diff else None
        self._listed = listed
        self._room = MOST_LISTED
        self._truncated = False

    def add(self, outcome: Outcome) -> None:
        if outcome.refusal:
            self.counts["unreadable"] += 1
            self.refusals.append(outcome.refusal)
            return
        self.counts["files"] += outcome.is_source
        self.counts["changed"] += outcome.changed
        self.counts["edits"] += len(outcome.changes)
        self.counts["skipped"] += len(outcome.skipped)
        for dockerfile, names in outcome.contexts:
            self.contexts.setdefault(dockerfile, set()).update(name.partition("::")[0] for name in names)  # NAME::PLATFORM
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
        for dockerfile, names in part.contexts.items():
            self.contexts.setdefault(dockerfile, set()).update(names)
        self.refusals += part.refusals[: MOST_NAMES - len(self.refusals)]
        self.failures += part.failures
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

    def lost_contexts(self) -> t.Iterator[str]:
        for path, reference, _rest in self._rewritten if self.contexts else ():
            if _familiar(reference) in self.contexts.get(path, ()):
                yield f"{path}: the build context named {_familiar(reference)} replaced this image by name; rename it to the mirror's name."

    def lost_rules(self, policy: t.Any, file: str) -> t.Iterator[str]:
        """A rule that was about an image does not match its new name, unless it had the same effect."""
        for path, before, after in self._rewritten:
            try:
                wanted = apply_policy(policy, before)
                lost = wanted is not None and apply_policy(policy, after) is None and wanted != _with_tag(after)
            except InvalidImageName:
                continue  # a part of a name, or one with a variable
            if lost:
                yield f"{path}: the source policy {file} has a rule about {before}, which no longer matches; give it the mirror's name."

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


def work(module: Module) -> t.Dict[str, t.Any]:
    params = module.params
    mirrors = _mirrors(params["mirrors"])
    given = [path for path in params["paths"] if path]
    if params["paths"] and not given:
        raise Refused("paths: name at least one file or directory.")
    missing = [path for path in given if not exists(path)]
    if missing and not module.check_mode:
        raise Refused(f"paths: {missing[0]} does not exist.")
    for path in missing:
        module.warn(f"{path} does not exist; an earlier task may make it when this is no dry run.")
    paths = [path for path in given if path not in missing]

    if params["strict"]:
        dry = _rewritten(module, mirrors, paths, write=False)
        if dry.counts["skipped"]:
            raise Refused(f"strict: {dry.counts['skipped']} references cannot be rewritten, so nothing was changed.", **{**dry.result(), "changed": False})
        if dry.failures:
            raise Refused(f"strict: {_shown(dry.failures)} Nothing was changed.", **{**dry.result(), "changed": False})
    report = _rewritten(module, mirrors, paths, write=not module.check_mode)
    for warning in itertools.islice(itertools.chain(report.lost_contexts(), _lost_rules(report)), MOST_NAMES):
        module.warn(warning)
    for refusal in report.refusals:
        module.warn(f"{refusal.path} {refusal.reason}.")
    if report.counts["unreadable"] > len(report.refusals):
        module.warn(f"{report.counts['unreadable'] - len(report.refusals)} more files could not be read.")
    if report.failures:
        rest = "Make it writable first." if module.check_mode else "Make it writable and run this again; all other files are done."
        raise Refused(f"{_shown(report.failures)} {rest}", **report.result())
    return report.result()


def _shown(failures: t.Sequence[str]) -> str:
    return failures[0] + (f" {len(failures)} files in all cannot be." if len(failures) > 1 else "")


def _lost_rules(report: Report) -> t.Iterator[str]:
    file = os.environ.get(POLICY_VARIABLE, "")
    with contextlib.suppress(ValueError, LookupError, TypeError, AttributeError, re.error):  # no policy that we could read
        yield from report.lost_rules(json.loads(contents_of(file) or b"{}"), file)


def _mirrors(wanted: t.Mapping[str, str]) -> Mirrors:
    try:
        mirrors = Mirrors(wanted)
    except MirrorError as error:
        raise Refused(str(error)) from error
    if not mirrors.targets:
        raise Refused("mirrors: name at least one registry and its mirror.")
    return mirrors


def _rewritten(module: Module, mirrors: Mirrors, paths: t.Sequence[str], write: bool) -> Report:
    params = module.params
    kinds = frozenset(params["kinds"])
    build_args = {name: str(value) for name, value in (params["build_args"] or {}).items()}

    def one(found: t.Union[str, Refusal]) -> Outcome:
        name = "" if isinstance(found, Refusal) else found.rpartition("/")[2]
        if name in BAKE_FILES:
            return Outcome(str(found), contexts=_project().replaced_by_bake(str(found), params["excludes"]), is_source=False)
        file = found if isinstance(found, Refusal) else source(found)
        if isinstance(file, Refusal):
            return Outcome(file.path, refusal=file)
        is_yaml = _is_yaml(name)

        def work(contents: bytes, to: Mirrors) -> Rewrite:
            return _project().rewrite(file, contents, to, kinds) if is_yaml else rewrite(contents, to, build_args, kinds)

        result, note = work(file.contents, mirrors), b""
        if result.after != file.contents:
            result, note = restore_or_rewrite(file.contents, result, read_note(file.path), mirrors, "utf-8" if is_yaml else "latin-1", work)
        named = _project().replaced(file) if is_yaml else ()
        if result.after == file.contents:
            return Outcome(file.path, False, result.changes, result.skipped, "", named)
        failure = _written(file, result.after, note, params["backup"]) if write else write_blocker(file)
        if failure:
            return Outcome(file.path, skipped=result.skipped, contexts=named, failure=failure)
        return Outcome(file.path, True, result.changes, result.skipped, _unified(file, result.after) if module._diff else "", named)

    listed = 0  # by this process; what it comes to later stands later in the result

    def some(found: t.Sequence[t.Union[str, Refusal]]) -> Report:
        nonlocal listed
        part = Report(module._diff, listed)
        for each_one in found:
            part.add(one(each_one))
        listed += len(part.files)
        return part

    report = Report(module._diff)
    for part in each(some, files(paths, params["patterns"], params["excludes"], tidy=write)):
        report.put(part)
    if write and report.counts["changed"]:
        sync()
    return report


def _is_yaml(name: str) -> bool:
    return name.endswith((".yml", ".yaml")) and not name.lower().startswith(("dockerfile", "containerfile"))


def _project() -> t.Any:
    """What reads YAML, where there is a file that needs it: its imports take 15 ms."""
    from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import project

    return project


def _written(file: Source, after: bytes, note: bytes, with_backup: bool) -> str:
    """Why not, if not."""
    try:
        replace(file, after, note, with_backup)
    except NotWritten as error:
        return str(error)
    return ""


def _with_tag(reference: str) -> str:
    image = parse(reference)
    return image.full if image.suffix else f"{image.full}:latest"


def _familiar(reference: str) -> str:
    try:
        name = parse(reference).familiar
    except InvalidImageName:
        return reference
    return name[: -len(":latest")] if name.endswith(":latest") else name


def _unified(source: Source, after: bytes) -> str:
    before_lines, after_lines = (text.decode("utf-8", "replace").splitlines(keepends=True) for text in (source.contents, after))
    lines = difflib.unified_diff(before_lines, after_lines, f"{source.path} (before)", f"{source.path} (after)")
    return "".join(line if line.endswith("\n") else line + "\n\\ No newline at end of file\n" for line in lines)


def main() -> None:
    kinds = list(KINDS)
    run(
        work,
        argument_spec={
            "paths": {"type": "list", "elements": "path", "required": True, "aliases": ["path"]},
            "mirrors": {"type": "dict", "required": True},
            "patterns": {
                "type": "list",
                "elements": "str",
                "default": [
                    "Dockerfile",
                    "Dockerfile.*",
                    "*.Dockerfile",
                    "dockerfile",
                    "*.dockerfile",
                    "Containerfile",
                    "Containerfile.*",
                    "*.Containerfile",
                    "compose.yaml",
                    "compose.yml",
                    "compose.*.yaml",
                    "compose.*.yml",
                    "docker-compose.yaml",
                    "docker-compose.yml",
                    "docker-compose.*.yaml",
                    "docker-compose.*.yml",
                ],
            },
            "excludes": {
                "type": "list",
                "elements": "str",
                "default": [".git", "node_modules", "vendor", "*~", "*.bak", "*.orig", "*.rej", "*.dockerignore", "*.j2", "*.tmpl"],
            },
            "build_args": {"type": "dict"},
            "kinds": {"type": "list", "elements": "str", "choices": kinds, "default": kinds},
            "backup": {"type": "bool", "default": False},
            "strict": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
