# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Compose files and Bake files, with what stands beside them: the Dockerfiles that they build, the other files of the project."""

from __future__ import annotations

import fnmatch
import os
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.bake import contexts as contexts_of_bake
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.compose import built, contexts, is_part_of_a_project, rewrite_compose
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import Rewrite
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import BAKE_FILES, Source, contents_of, names_in
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

Replaced = t.List[t.Tuple[str, t.Sequence[str]]]  # Dockerfiles, and the images that a named build context replaces there


def rewrite(file: Source, contents: bytes, to: Mirrors, kinds: t.Container[str]) -> Rewrite:
    """The compose file as it would be rewritten if it had these contents."""
    return rewrite_compose(contents, to, _dockerfiles_beside(file), kinds, _builders_beside(file))


def replaced(file: Source) -> Replaced:
    """By the compose file."""
    return _located(file.path, contexts(file.contents) if b"additional_contexts" in file.contents else [])


def replaced_by_bake(path: str, excludes: t.Sequence[str]) -> Replaced:
    """By the Bake files of a folder together; one that cannot be read says nothing."""
    names = [name for name in BAKE_FILES if not any(fnmatch.fnmatch(name, pattern) for pattern in excludes)]
    read = ((name, contents_of(os.path.join(os.path.dirname(path), name))) for name in names)
    return _located(path, contexts_of_bake({name: contents for name, contents in read if contents is not None}))


def _dockerfiles_beside(file: Source) -> t.Callable[[str, str], t.Optional[bytes]]:
    folder = os.path.dirname(file.path)
    return lambda context, dockerfile: contents_of(os.path.join(folder, context, dockerfile))


def _builders_beside(file: Source) -> t.Callable[[str], str]:
    """Which other compose file of the folder builds a service; they are read once one is asked for."""
    folder, own = os.path.split(file.path)
    builders: t.Dict[str, str] = {}
    others = [name for name in names_in(folder) if name != own and is_part_of_a_project(name)] if is_part_of_a_project(own) else []

    def builder(service: str) -> str:
        while others:
            name = others.pop()
            contents = contents_of(os.path.join(folder, name)) or b""
            builders.update(dict.fromkeys(built(contents) if b"build" in contents else (), name))
        return builders.get(service, "")

    return builder


def _located(path: str, found: t.Iterable[t.Tuple[str, str, t.Sequence[str]]]) -> Replaced:
    folder = os.path.dirname(path)
    return [(os.path.normpath(os.path.join(folder, context, dockerfile)), names) for context, dockerfile, names in found]
