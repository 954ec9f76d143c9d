#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: dockerfile_mirror
short_description: Rewrite image references in source trees to use mirrors
version_added: 1.0.0
author: The buildfleet authors (@buildfleet)
description:
  - Rewrites every image reference that BuildKit would pull, and changes no other byte. They are in
    C(FROM), C(ARG) defaults that feed a C(FROM), C(COPY --from), C(RUN --mount) with C(from), their C(ONBUILD) forms, C(# syntax),
    and the images of compose files and Bake files.
  - Compose files and Bake files (C(docker-bake.hcl), C(docker-bake.json) and their overrides) are read as one project with the Dockerfiles
    beside them. An image that a named build context replaces stays unchanged and is reported.
  - Files that compose and Bake files name (C(include), C(extends), Dockerfiles of any name) are also read if they are in O(paths).
  - Stage names, heredocs, comments, labels and registries that are not in the map stay unchanged.
  - The reversed map is the undo. It writes familiar names, C(redis) instead of C(docker.io/library/redis).
  - A reference that cannot be rewritten without changing something else stays unchanged and is reported with a reason.
extends_documentation_fragment:
  - buildfleet.docker._attributes
options:
  paths:
    description:
      - Files, and directories to search.
      - A file in this list is always read, whatever O(patterns) contains.
      - Symbolic links that lead out of a directory are not followed.
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
    description:
      - Names of the files to read in directories. Bake files are always read.
    type: list
    elements: str
    default:
      - Dockerfile
      - Dockerfile.*
      - Dockerfile-*
      - Dockerfile_*
      - Containerfile
      - Containerfile.*
      - Containerfile-*
      - Containerfile_*
      - "*.Dockerfile"
      - "*.Containerfile"
      - dockerfile
      - "*.dockerfile"
      - compose.yaml
      - compose.yml
      - compose.*.yaml
      - compose.*.yml
      - compose-*.yaml
      - compose-*.yml
      - compose_*.yaml
      - compose_*.yml
      - docker-compose.yaml
      - docker-compose.yml
      - docker-compose.*.yaml
      - docker-compose.*.yml
      - docker-compose-*.yaml
      - docker-compose-*.yml
      - docker-compose_*.yaml
      - docker-compose_*.yml
  excludes:
    description: Names of files and directories to skip.
    type: list
    elements: str
    default: [.git, node_modules, vendor, "*~", "*.bak", "*.orig", "*.rej", "*.dockerignore", "*.j2", "*.tmpl"]
  build_args:
    description: Values of build arguments to use instead of the defaults in the file when a reference is evaluated.
    type: dict
  kinds:
    description:
      - Which references are rewritten.
      - V(arg) is the default of an C(ARG) that feeds a C(FROM); it has no effect without V(from).
    type: list
    elements: str
    choices: [from, arg, copy, mount, syntax, compose, bake]
    default: [from, arg, copy, mount, syntax, compose, bake]
  backup:
    description: Keep a copy of each file before it is changed.
    type: bool
    default: false
  strict:
    description: Fail, and change nothing, if a reference would be skipped or a file cannot be written.
    type: bool
    default: false
notes:
  - Compose files need PyYAML on the host, other files do not.
  - Source policies match images by name. There is a warning if the policy that E(EXPERIMENTAL_BUILDKIT_SOURCE_POLICY) names in the module's
    environment has a rule that no longer matches. Another warning reports how many references stay unchanged, and the first of them.
  - If the original spelling of a reference cannot be derived from its name at the mirror, the file gets the extended attribute
    C(user.buildfleet.before), so that the undo restores every byte.
  - If a file cannot be written, all others are written, and then the task fails. In check mode, and with O(strict) before anything
    is written, it fails if the directory or the owner of a file shows this in advance.
"""

EXAMPLES = r"""
- name: Rewrite all sources to use the mirror
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
      description: The edits, in check mode those that would be made.
      type: list
      elements: dict
      contains:
        line: {description: The line., type: int}
        kind: {description: One of O(kinds)., type: str}
        before: {description: The reference before., type: str}
        after: {description: The reference after., type: str}
    skipped:
      description: References that the map names and that stay unchanged.
      type: list
      elements: dict
      contains:
        line: {description: The line., type: int}
        kind: {description: One of O(kinds)., type: str}
        reference: {description: The reference; empty for a whole file., type: str}
        reason: {description: Why it stays unchanged and what to do., type: str}
truncated:
  description: Whether RV(files) omits any file, edit or skip. The counts include all.
  returned: always
  type: bool
counts:
  description: The numbers of files read and changed, of edits, of skips, and of files that could not be read.
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
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import (
    BAKE_FILES,
    Refusal,
    Source,
    contents_of,
    exists,
    files,
    matches,
    named_singly,
    source,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree_writer import NotWritten, read_note, replace, sync, write_blocker
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, Refused, run
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName, parse
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import MirrorError, Mirrors, apply_policy

COMPOSE = tuple(f"{name}{rest}.{end}" for name in ("compose", "docker-compose") for rest in ("", ".*", "-*", "_*") for end in ("yaml", "yml"))
PATTERNS = (
    *(f"{name}{rest}" for name in ("Dockerfile", "Containerfile") for rest in ("", ".*", "-*", "_*")),
    "*.Dockerfile",
    "*.Containerfile",
    "dockerfile",
    "*.dockerfile",
    *COMPOSE,
)
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
        self.failures: t.List[str] = []
        self.first_skip = ""
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
        self.refusals += part.refusals[: MOST_NAMES - len(self.refusals)]
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
        module.warn(f"{path} does not exist; an earlier task may create it when this is not check mode.")
    paths = [path for path in given if path not in missing]

    if params["strict"]:
        dry = _rewritten(module, mirrors, paths, write=False)
        if dry.counts["skipped"]:
            found = f"strict: {_references(dry.counts['skipped'])} cannot be rewritten, so nothing was changed. The first: {dry.first_skip}"
            raise Refused(found, **{**dry.result(), "changed": False})
        if dry.failures:
            raise Refused(f"strict: {_shown(dry.failures)} Nothing was changed.", **{**dry.result(), "changed": False})
    report = _rewritten(module, mirrors, paths, write=not module.check_mode)
    for warning in itertools.islice(_lost_rules(report), MOST_NAMES):
        module.warn(warning)
    if report.counts["skipped"]:
        module.warn(f"{_references(report.counts['skipped'])} left as written. The first: {report.first_skip}")
    for refusal in report.refusals:
        module.warn(f"{refusal.path} {refusal.reason}.")
    if report.counts["unreadable"] > len(report.refusals):
        module.warn(f"{report.counts['unreadable'] - len(report.refusals)} more files could not be read.")
    if report.failures:
        rest = "Make it writable first." if module.check_mode else "Make it writable and run this again; all other files are done."
        raise Refused(f"{_shown(report.failures)} {rest}", **report.result())
    return report.result()


def _references(count: int) -> str:
    return "1 reference" if count == 1 else f"{count} references"


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

    is_source, is_bake = matches(params["patterns"]), "bake" in kinds
    found = list(files(paths, [*params["patterns"], *COMPOSE], params["excludes"], tidy=write))
    tree = _tree(params, found, paths, kinds)
    named = named_singly(paths) if tree else frozenset()

    def is_looked_at(found: t.Union[str, Refusal], name: str) -> bool:
        if name in BAKE_FILES:
            return is_bake
        return isinstance(found, Refusal) or is_source(name) or not tree or found in tree.extra or found in named

    def one(found: t.Union[str, Refusal]) -> Outcome:
        name = "" if isinstance(found, Refusal) else found.rpartition("/")[2]
        if not is_looked_at(found, name):
            return Outcome(str(found), is_source=False)
        file = found if isinstance(found, Refusal) else source(found)
        if isinstance(file, Refusal):
            return Outcome(file.path, is_source=False) if name in BAKE_FILES else Outcome(file.path, refusal=file)
        kind = tree.extra.get(file.path, "") if tree else ""
        is_yaml = kind == "compose" or (not kind and _is_yaml(name))
        supplied, given = (tree.supplied(file.path), tree.given(file.path)) if tree else ({}, frozenset())

        def work(contents: bytes, to: Mirrors) -> Rewrite:
            if name in BAKE_FILES:
                return tree.bake(file._replace(path=str(found)), contents, to, kinds)
            return tree.compose(file, contents, to, kinds) if is_yaml else rewrite(contents, to, build_args, kinds, supplied=supplied, given_elsewhere=given)

        return _outcome(module, file, mirrors, work, "utf-8" if is_yaml or name in BAKE_FILES else "latin-1", write)

    listed = 0  # by this process; what it comes to later stands later in the result

    def some(found: t.Sequence[t.Union[str, Refusal]]) -> Report:
        nonlocal listed
        part = Report(module._diff, listed)
        for each_one in found:
            part.add(one(each_one))
        listed += len(part.files)
        return part

    report = Report(module._diff)
    for part in each(some, iter([*found, *(tree.extra if tree else ())])):
        report.put(part)
    if write and report.counts["changed"]:
        sync()
    return report


def _outcome(module: Module, file: Source, mirrors: Mirrors, work: t.Callable[[bytes, Mirrors], Rewrite], encoding: str, write: bool) -> Outcome:
    """Rewrite one file, or say what would become of it."""
    result, note = work(file.contents, mirrors), b""
    if result.after != file.contents:
        result, note = restore_or_rewrite(file.contents, result, read_note(file.path), mirrors, encoding, work)
    if result.after == file.contents:
        return Outcome(file.path, False, result.changes, result.skipped)
    failure = _written(file, result.after, note, module.params["backup"]) if write else write_blocker(file)
    if failure:
        return Outcome(file.path, skipped=result.skipped, failure=failure)
    return Outcome(file.path, True, result.changes, result.skipped, _unified(file, result.after) if module._diff else "")


def _is_yaml(name: str) -> bool:
    return name.endswith((".yml", ".yaml")) and not name.lower().startswith(("dockerfile", "containerfile"))


def _tree(params: t.Mapping[str, t.Any], found: t.Sequence[t.Union[str, Refusal]], paths: t.Sequence[str], kinds: t.Container[str]) -> t.Any:
    """The project around the files; nothing where none of them says anything about another: what reads YAML takes 15 ms to import."""
    names = [(path, path.rpartition("/")[2]) for path in found if isinstance(path, str)]
    bake = [path for path, name in names if name in BAKE_FILES]
    compose = [path for path, name in names if _is_yaml(name)]
    if not bake and not compose:
        return None
    from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.project import survey

    is_source, is_default = matches(params["patterns"]), matches(PATTERNS)

    def follows(read: t.Any, followed: t.Container[str]) -> bool:
        """Not what the patterns leave out on purpose, and nothing that a file names which they leave out."""
        by, name = read.by.rpartition("/")[2], read.path.rpartition("/")[2]
        return (by in BAKE_FILES or is_source(by) or read.by in followed) and bool(is_source(name) or not is_default(name))

    return survey(compose, bake, frozenset(path for path, _name in names), paths, params["excludes"], follows, "compose" in kinds)


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
                "default": list(PATTERNS),
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
