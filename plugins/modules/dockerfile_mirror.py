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

import os
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import KINDS
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.selection import PATTERNS
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.tree import rewrite_tree
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import contents_of, exists
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, Refused, run
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import MirrorError, Mirrors

POLICY_VARIABLE = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"


def work(module: Module) -> t.Dict[str, t.Any]:
    mirrors, paths = _mirrors(module.params["mirrors"]), _paths(module)
    if module.params["strict"]:
        trial = rewrite_tree(module.params, mirrors, paths, False, module._diff)
        if trial.strict_error():
            raise Refused(trial.strict_error(), **{**trial.result(), "changed": False})
    report = rewrite_tree(module.params, mirrors, paths, not module.check_mode, module._diff)
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
        raise Refused("mirrors: set at least one registry and its mirror.")
    return mirrors


def _paths(module: Module) -> t.List[str]:
    given = [path for path in module.params["paths"] if path]
    if module.params["paths"] and not given:
        raise Refused("paths: set at least one file or directory.")
    missing = [path for path in given if not exists(path)]
    if missing and not module.check_mode:
        raise Refused(f"paths: {missing[0]} does not exist. Correct the path.")
    for path in missing:
        module.warn(f"{path} does not exist; an earlier task may create it outside of check mode.")
    return [path for path in given if path not in missing]


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
