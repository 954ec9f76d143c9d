# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of a tree as one project: which other files are read too, and how each file is rewritten."""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import bake_rewrite, compose, env_file, model
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.compose import Surroundings
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import Rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import rewrite as rewrite_dockerfile
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

_Read = t.Callable[[str], t.Optional[bytes]]  # the contents of a file; None if it cannot be read

_NOT_LOOKED_AT = "Compose reads {} too, which is outside paths or excluded; add it to paths."


class Tree:
    """The sources of a run, and the project around them."""

    def __init__(
        self, project: model.Project, extra: t.Mapping[str, str], outside: t.Mapping[str, t.Sequence[model.Read]], bake_files: t.Sequence[str], read: _Read
    ) -> None:
        self._project = project
        self._outside = outside
        self._bake_files = bake_files
        self._contents_of = read
        self._verdicts: t.Dict[t.Any, t.Dict[env_file.Edits, str]] = {}
        self.extra = extra  # files that others name, by path: the kind of each

    def supplied(self, path: str) -> t.Mapping[str, str]:
        """To a Dockerfile."""
        return self._project.supplied(path)

    def given(self, path: str) -> t.AbstractSet[str]:
        """The arguments that builds give to a Dockerfile."""
        return self._project.args.get(path, frozenset())

    def compose(self, path: str, contents: bytes, to: Mirrors, kinds: t.Container[str]) -> Rewrite:
        """The compose file as it would be rewritten if it had these contents."""
        folder = posixpath.dirname(path)
        verdicts: t.Dict[env_file.Edits, str] = {}
        for env_path in self._project.env.get(path, ()):
            if env_path in self.extra:
                verdicts.update(self._env_verdicts(env_file.EnvFile(self._contents_of(env_path) or b"", env_path), to, kinds))
        around = self._around(path)._replace(
            env_verdicts=verdicts,
            unlooked=[(read.line, read.spelling, self._reason(read)) for read in self._outside.get(path, ()) if self._is_concerned(read, to)],
        )

        def built_by(name: str) -> str:
            builder = self._project.builder(path, name)
            return _from(folder, builder)

        return compose.rewrite_compose(contents, to, self._beside(folder), kinds, built_by, around)

    def env(self, path: str, contents: bytes, to: Mirrors, kinds: t.Container[str]) -> Rewrite:
        """The file .env as it would be rewritten if it had these contents."""
        file = env_file.EnvFile(contents, path)
        return file.rewritten(self._env_verdicts(file, to, kinds))

    def _env_verdicts(self, env: env_file.EnvFile, to: Mirrors, kinds: t.Container[str]) -> t.Dict[env_file.Edits, str]:
        key = env.path, env.text, tuple(to.targets.items())
        if "compose" not in kinds:
            return {}
        if key not in self._verdicts:
            uses = []
            for user in self._project.env_users(env.path):
                name = _from(posixpath.dirname(env.path), user)
                found = compose.env_uses(self._contents_of(user) or b"", to, self._beside(posixpath.dirname(user)), kinds, self._around(user, env))
                uses += [(name, use) for use in found]
            self._verdicts[key] = env.verdicts(uses)
        return self._verdicts[key]

    def _around(self, path: str, instead: t.Optional[env_file.EnvFile] = None) -> Surroundings:
        """What the project says about a compose file; ``instead`` of a file .env, with other contents."""
        folder = posixpath.dirname(path)
        return Surroundings(
            self._project.results(path),
            lambda other, service: self._project.builds(posixpath.normpath(posixpath.join(folder, other)), service),
            env_file.read_env(self._project.env.get(path, ()), self._contents_of, instead),
            supplied=lambda context, dockerfile: self._project.supplied(posixpath.normpath(posixpath.join(folder, context, dockerfile))),
        )

    def bake(self, path: str, contents: bytes, to: Mirrors, kinds: t.Container[str]) -> Rewrite:
        folder, own = posixpath.split(path)
        files = {name: contents if name == own else self._contents_of(posixpath.join(folder, name)) for name in self._bake_files}
        return bake_rewrite.rewrite_bake(
            {name: data for name, data in files.items() if data is not None},
            own,
            to,
            self._beside(folder),
            kinds,
            lambda context, dockerfile: self._project.supplied(posixpath.normpath(posixpath.join(folder, context, dockerfile))),
        )

    def _reason(self, read: model.Read) -> str:
        return _NOT_LOOKED_AT.format(read.spelling)

    def _is_concerned(self, read: model.Read, to: Mirrors) -> bool:
        """Whether the map names something in a file that is not looked at."""
        contents = self._contents_of(read.path)
        if contents is None:
            return False
        result = compose.rewrite_compose(contents, to) if read.is_compose else rewrite_dockerfile(contents, to)
        return bool(result.changes or result.skipped)

    def _beside(self, folder: str) -> t.Callable[[str, str], t.Optional[bytes]]:
        return lambda context, dockerfile: self._contents_of(posixpath.join(folder, context, dockerfile))


def survey(
    compose_files: t.Sequence[str],
    bake_paths: t.Sequence[str],
    known: t.Container[str],
    is_inside: t.Callable[[str], bool],
    bake_files: t.Sequence[str],
    read: _Read,
    follows: t.Callable[[model.Read, t.Container[str]], bool],
    needs_yaml: bool,
) -> Tree:
    """``known``: the files that are looked at already; ``is_inside``: whether a path is in the tree; ``follows``: whether a named file is looked at too."""
    folders: t.Dict[str, t.List[str]] = {}
    for path in bake_paths:
        folder, _name = posixpath.split(path)
        if folder not in folders:
            folders[folder] = [name for name in bake_files if read(posixpath.join(folder, name)) is not None]
    bake = {folder: names for folder, names in folders.items() if names}
    try:
        project = model.survey(compose_files, bake, read)
    except Refused:
        if needs_yaml:
            raise
        project = model.survey([], bake, read)
    extra: t.Dict[str, str] = {}
    outside: t.Dict[str, t.List[model.Read]] = {}
    for named in project.reads:
        if named.path in known or named.path in extra or not follows(named, extra):
            continue
        if is_inside(named.path):
            extra[named.path] = "compose" if named.is_compose else "dockerfile"
        elif is_inside(named.by):
            outside.setdefault(named.by, []).append(named)
    for path in {path for files in project.env.values() for path in files}:
        if path not in known and is_inside(path):
            extra[path] = "env"
    return Tree(project, extra, outside, bake_files, read)


def _from(folder: str, path: str) -> str:
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else path
