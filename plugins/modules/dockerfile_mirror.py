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
    and the images of compose files and Bake files, also where C(.env) beside a compose file or a variable of a Bake file gives their registry.
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

import itertools
import os
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.report import Outcome, Report, unified
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import KINDS
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.selection import COMPOSE, PATTERNS, Selection, base, follows, is_compose
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.undo_note import Work, restore_or_rewrite
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
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import MirrorError, Mirrors

POLICY_VARIABLE = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"


def work(module: Module) -> t.Dict[str, t.Any]:
    mirrors, paths = _mirrors(module.params["mirrors"]), _paths(module)
    if module.params["strict"]:
        trial = _rewritten(module, mirrors, paths, write=False)
        if trial.strict_error():
            raise Refused(trial.strict_error(), **{**trial.result(), "changed": False})
    report = _rewritten(module, mirrors, paths, write=not module.check_mode)
    policy_file = os.environ.get(POLICY_VARIABLE, "")
    for warning in report.warnings(contents_of(policy_file) or b"", policy_file):
        module.warn(warning)
    error = report.write_error(module.check_mode)
    if error:
        raise Refused(error, **report.result())
    return report.result()


def _mirrors(wanted: t.Mapping[str, str]) -> Mirrors:
    try:
        mirrors = Mirrors(wanted)
    except MirrorError as error:
        raise Refused(str(error)) from error
    if not mirrors.targets:
        raise Refused("mirrors: name at least one registry and its mirror.")
    return mirrors


def _paths(module: Module) -> t.List[str]:
    given = [path for path in module.params["paths"] if path]
    if module.params["paths"] and not given:
        raise Refused("paths: name at least one file or directory.")
    missing = [path for path in given if not exists(path)]
    if missing and not module.check_mode:
        raise Refused(f"paths: {missing[0]} does not exist.")
    for path in missing:
        module.warn(f"{path} does not exist; an earlier task may create it when this is not check mode.")
    return [path for path in given if path not in missing]


def _rewritten(module: Module, mirrors: Mirrors, paths: t.Sequence[str], write: bool) -> Report:
    params = module.params
    is_source = matches(params["patterns"])
    found = list(files(paths, [*params["patterns"], *COMPOSE], params["excludes"], tidy=write))
    project = _project(params, found, paths, is_source)
    selection = Selection(params, is_source, BAKE_FILES, project, named_singly(paths) if project else ())
    listed = 0  # by this process; what it comes to later stands later in the result

    def some(found: t.Sequence[t.Union[str, Refusal]]) -> Report:
        nonlocal listed
        part = Report(module._diff, listed)
        for one in found:
            part.add(_outcome(module, selection, one, mirrors, write))
        listed += len(part.files)
        return part

    report = Report(module._diff)
    for part in each(some, itertools.chain(found, project.extra if project else ())):
        report.put(part)
    if write and report.counts["changed"]:
        sync()
    return report


def _project(params: t.Mapping[str, t.Any], found: t.Sequence[t.Union[str, Refusal]], paths: t.Sequence[str], is_source: t.Callable[[str], t.Any]) -> t.Any:
    """The project around the files; nothing where none of them says anything about another: what reads YAML takes 15 ms to import."""
    known = [path for path in found if isinstance(path, str)]
    bake = [path for path in known if base(path) in BAKE_FILES]
    compose = [path for path in known if is_compose(base(path))]
    if not bake and not compose:
        return None
    from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.project import survey

    is_followed = follows(is_source, matches(PATTERNS), BAKE_FILES)
    return survey(compose, bake, frozenset(known), paths, params["excludes"], is_followed, "compose" in params["kinds"])


def _outcome(module: Module, selection: Selection, found: t.Union[str, Refusal], mirrors: Mirrors, write: bool) -> Outcome:
    if isinstance(found, Refusal):
        return Outcome(found.path, unread=found.reason)
    if not selection.includes(found):
        return Outcome(found, is_source=False)
    file = source(found)
    if isinstance(file, Refusal):
        return Outcome(file.path, is_source=False) if base(found) in BAKE_FILES else Outcome(file.path, unread=file.reason)
    return _file(module, file, mirrors, *selection.rewriter(found, file), write)


def _file(module: Module, file: Source, mirrors: Mirrors, work: Work, encoding: str, write: bool) -> Outcome:
    """Rewrite one file, or say what would become of it."""
    result, note = work(file.contents, mirrors), b""
    if result.after != file.contents:
        result, note = restore_or_rewrite(file.contents, result, read_note(file.path), mirrors, encoding, work)
    if result.after == file.contents:
        return Outcome(file.path, False, result.changes, result.skipped)
    failure = _written(file, result.after, note, module.params["backup"]) if write else write_blocker(file)
    if failure:
        return Outcome(file.path, skipped=result.skipped, failure=failure)
    return Outcome(file.path, True, result.changes, result.skipped, unified(file.path, file.contents, result.after) if module._diff else "")


def _written(file: Source, after: bytes, note: bytes, with_backup: bool) -> str:
    """Why not, if not."""
    try:
        replace(file, after, note, with_backup)
    except NotWritten as error:
        return str(error)
    return ""


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
