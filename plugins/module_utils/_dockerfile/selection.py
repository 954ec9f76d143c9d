# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files of a source tree are rewritten, and how each of them."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.undo_note import Work

COMPOSE = tuple(f"{name}{rest}.{end}" for name in ("compose", "docker-compose") for rest in ("", ".*", "-*", "_*") for end in ("yaml", "yml"))
PATTERNS = (
    *(f"{name}{rest}" for name in ("Dockerfile", "Containerfile") for rest in ("", ".*", "-*", "_*")),
    "*.Dockerfile",
    "*.Containerfile",
    "dockerfile",
    "*.dockerfile",
    *COMPOSE,
)


def base(path: str) -> str:
    return path.rpartition("/")[2]


def is_compose(name: str) -> bool:
    return name.endswith((".yml", ".yaml")) and not name.lower().startswith(("dockerfile", "containerfile"))


class Selection:
    """What the options of a run, and the project around its files, decide about a file."""

    def __init__(
        self,
        options: t.Mapping[str, t.Any],
        is_source: t.Callable[[str], t.Any],
        bake_files: t.Container[str],
        project: t.Any = None,  # None: no file says anything about another
        named: t.Container[str] = (),
    ) -> None:
        self._kinds = frozenset(options["kinds"])
        self._build_args = {name: str(value) for name, value in (options["build_args"] or {}).items()}
        self._is_source = is_source
        self._bake_files = bake_files
        self._project = project
        self._named = named

    def includes(self, path: str) -> t.Any:
        """Whether the file is processed: compose files that the patterns do not match are only read for what they say about others."""
        name, project = base(path), self._project
        if name in self._bake_files:
            return "bake" in self._kinds
        return not project or self._is_source(name) or path in project.extra or path in self._named

    def rewriter(self, path: str, file: t.Any) -> t.Tuple[Work, str]:
        """What rewrites the file, which ``path`` may be a link to, and the encoding of its texts."""
        name, project = base(path), self._project
        if name in self._bake_files:
            return lambda contents, to: project.bake(path, contents, to, self._kinds), "utf-8"
        kind = project.extra.get(file.path, "") if project else ""
        if kind == "env":
            return lambda contents, to: project.env(file.path, contents, to, self._kinds), "latin-1"
        if kind == "compose" or (not kind and is_compose(name)):
            return lambda contents, to: project.compose(file.path, contents, to, self._kinds), "utf-8"
        supplied, given = (project.supplied(file.path), project.given(file.path)) if project else ({}, frozenset())
        return lambda contents, to: rewrite(contents, to, self._build_args, self._kinds, supplied=supplied, given_elsewhere=given), "latin-1"


def follows(
    is_source: t.Callable[[str], t.Any], is_default: t.Callable[[str], t.Any], bake_files: t.Container[str]
) -> t.Callable[[t.Any, t.Container[str]], bool]:
    """Whether a file that another one names is processed too."""

    def is_followed(read: t.Any, followed: t.Container[str]) -> bool:
        """Not if the patterns exclude it on purpose, or exclude the file that names it."""
        by, name = base(read.by), base(read.path)
        return (by in bake_files or is_source(by) or read.by in followed) and bool(is_source(name) or not is_default(name))

    return is_followed
