# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a tree as one project: which other files are read too, and how each file is rewritten."""

from __future__ import annotations

import fnmatch
import os
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import bake_rewrite, compose, env_file, model
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.compose import Surroundings
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import Rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import rewrite as rewrite_dockerfile
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import BAKE_FILES, Source, contents_of, within
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

_NOT_LOOKED_AT = "Compose reads {} too, which is outside paths or excluded; add it to paths."


class Tree:
    """The sources of a run, and the project around them."""

    def __init__(self, project: model.Project, extra: t.Mapping[str, str], outside: t.Mapping[str, t.Sequence[model.Read]], excludes: t.Sequence[str]) -> None:
        self._project = project
        self._outside = outside
        self._excludes = excludes
        self._verdicts: t.Dict[t.Any, t.Dict[env_file.Edits, str]] = {}
        self.extra = extra  # files that others name, by path: the kind of each

    def supplied(self, path: str) -> t.Mapping[str, str]:
        """To a Dockerfile."""
        return self._project.supplied(path)

    def given(self, path: str) -> t.AbstractSet[str]:
        """The arguments that builds give to a Dockerfile."""
        return self._project.args.get(path, frozenset())

    def compose(self, file: Source, contents: bytes, to: Mirrors, kinds: t.Container[str]) -> Rewrite:
        """The compose file as it would be rewritten if it had these contents."""
        folder = os.path.dirname(file.path)
        verdicts: t.Dict[env_file.Edits, str] = {}
        for path in self._project.env.get(file.path, ()):
            if path in self.extra:
                verdicts.update(self._env_verdicts(env_file.EnvFile(contents_of(path) or b"", path), to, kinds))
        around = self._around(file.path)._replace(
            env_verdicts=verdicts,
            unlooked=[(read.line, read.spelling, self._reason(read)) for read in self._outside.get(file.path, ()) if self._is_concerned(read, to)],
        )

        def built_by(name: str) -> str:
            builder = self._project.builder(file.path, name)
            return _from(folder, builder)

        return compose.rewrite_compose(contents, to, _beside(folder), kinds, built_by, around)

    def env(self, file: Source, contents: bytes, to: Mirrors, kinds: t.Container[str]) -> Rewrite:
        """The file .env as it would be rewritten if it had these contents."""
        found = env_file.EnvFile(contents, file.path)
        return found.rewritten(self._env_verdicts(found, to, kinds))

    def _env_verdicts(self, env: env_file.EnvFile, to: Mirrors, kinds: t.Container[str]) -> t.Dict[env_file.Edits, str]:
        key = env.path, env.text, tuple(to.targets.items())
        if "compose" not in kinds:
            return {}
        if key not in self._verdicts:
            uses = []
            for user in self._project.env_users(env.path):
                name = _from(os.path.dirname(env.path), user)
                found = compose.env_uses(contents_of(user) or b"", to, _beside(os.path.dirname(user)), kinds, self._around(user, env))
                uses += [(name, use) for use in found]
            self._verdicts[key] = env.verdicts(uses)
        return self._verdicts[key]

    def _around(self, path: str, instead: t.Optional[env_file.EnvFile] = None) -> Surroundings:
        """What the project says about a compose file; ``instead`` of a file .env, with other contents."""
        folder = os.path.dirname(path)
        return Surroundings(
            self._project.results(path),
            lambda other, service: self._project.builds(os.path.normpath(os.path.join(folder, other)), service),
            env_file.read_env(self._project.env.get(path, ()), contents_of, instead),
            supplied=lambda context, dockerfile: self._project.supplied(os.path.normpath(os.path.join(folder, context, dockerfile))),
        )

    def bake(self, file: Source, contents: bytes, to: Mirrors, kinds: t.Container[str]) -> Rewrite:
        folder, own = os.path.split(file.path)
        files = {name: contents if name == own else contents_of(os.path.join(folder, name)) for name in bake_files(self._excludes)}
        return bake_rewrite.rewrite_bake(
            {name: data for name, data in files.items() if data is not None},
            own,
            to,
            _beside(folder),
            kinds,
            lambda context, dockerfile: self._project.supplied(os.path.normpath(os.path.join(folder, context, dockerfile))),
        )

    def _reason(self, read: model.Read) -> str:
        return _NOT_LOOKED_AT.format(read.spelling)

    def _is_concerned(self, read: model.Read, to: Mirrors) -> bool:
        """Whether the map names something in a file that is not looked at."""
        contents = contents_of(read.path)
        if contents is None:
            return False
        result = compose.rewrite_compose(contents, to) if read.is_compose else rewrite_dockerfile(contents, to)
        return bool(result.changes or result.skipped)


def bake_files(excludes: t.Sequence[str]) -> t.List[str]:
    return [name for name in BAKE_FILES if not any(fnmatch.fnmatch(name, pattern) for pattern in excludes)]


def survey(
    compose_files: t.Sequence[str],
    bake_paths: t.Sequence[str],
    known: t.Container[str],
    roots: t.Sequence[str],
    excludes: t.Sequence[str],
    follows: t.Callable[[model.Read, t.Container[str]], bool],
    needs_yaml: bool,
) -> Tree:
    """``known``: the files that are looked at already; ``follows``: whether a file that is named is looked at too."""
    folders: t.Dict[str, t.List[str]] = {}
    for path in bake_paths:
        folder, _name = os.path.split(path)
        if folder not in folders:
            folders[folder] = [name for name in bake_files(excludes) if contents_of(os.path.join(folder, name)) is not None]
    bake = {folder: names for folder, names in folders.items() if names}
    try:
        project = model.survey(compose_files, bake, contents_of)
    except Refused:
        if needs_yaml:
            raise
        project = model.survey([], bake, contents_of)
    extra: t.Dict[str, str] = {}
    outside: t.Dict[str, t.List[model.Read]] = {}
    for read in project.reads:
        if read.path in known or read.path in extra or not follows(read, extra):
            continue
        if within(read.path, roots, excludes):
            extra[read.path] = "compose" if read.is_compose else "dockerfile"
        elif within(read.by, roots, excludes):
            outside.setdefault(read.by, []).append(read)
    for path in {path for files in project.env.values() for path in files}:
        if path not in known and within(path, roots, excludes):
            extra[path] = "env"
    return Tree(project, extra, outside, excludes)


def _from(folder: str, path: str) -> str:
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else path


def _beside(folder: str) -> t.Callable[[str, str], t.Optional[bytes]]:
    return lambda context, dockerfile: contents_of(os.path.join(folder, context, dockerfile))
