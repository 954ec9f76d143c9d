# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The compose files and Bake files of a tree together: which of them builds which Dockerfile, what they build and what they read.

Values in, values out: the caller passes the function that reads a file.
"""

from __future__ import annotations

import posixpath
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import env_file
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.bake import read_bake
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.compose import ComposeFacts, is_part_of_a_project, read_compose
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import shortest
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName

_MOST_FILES = 10_000  # that compose files name and that the tree did not show
_ELSEWHERE = "://"

ContentsOf = t.Callable[[str], t.Optional[bytes]]
Names = t.Dict[str, str]  # an image by its shortest name, and why a build leaves it


class Read(t.NamedTuple):
    """A file that a compose or Bake file names."""

    path: str
    is_compose: bool
    by: str
    line: int
    spelling: str


class Project(t.NamedTuple):
    compose: t.Mapping[str, ComposeFacts] = {}
    reads: t.Sequence[Read] = ()
    named: t.Mapping[str, Names] = {}  # by Dockerfile
    args: t.Mapping[str, t.AbstractSet[str]] = {}  # by Dockerfile: the arguments that builds give, which are moved where they stand
    named_below: t.Mapping[str, Names] = {}  # by folder: of builds that do not say which Dockerfile
    included: t.Mapping[str, t.Sequence[str]] = {}  # by compose file, what it includes, and what that includes
    together: t.Mapping[str, t.Sequence[str]] = {}  # by compose file, the others that may make one project with it
    env: t.Mapping[str, t.Sequence[str]] = {}  # by compose file, the files .env that give its variables their values, the first before the others

    def env_users(self, path: str) -> t.List[str]:
        """The compose files that take values from a file .env."""
        return [file for file, paths in self.env.items() if path in paths]

    def supplied(self, dockerfile: str) -> Names:
        """The images that named contexts replace in a Dockerfile."""
        found = dict(self.named.get(dockerfile, {}))
        for folder, names in self.named_below.items():
            if dockerfile.startswith(f"{folder}/"):
                for name, reason in names.items():
                    found.setdefault(name, reason)
        return found

    def results(self, compose_file: str) -> t.Set[str]:
        """The images that the files build which this one includes."""
        return {name for path in self.included.get(compose_file, ()) for name in self.compose[path].results}

    def builder(self, compose_file: str, name: str) -> str:
        """Another file of the project that builds this service or image."""
        return next((path for path in self.together.get(compose_file, ()) if name in self.compose[path].built), "")

    def builds(self, compose_file: str, service: str) -> t.Optional[bool]:
        """Whether a service of a file is built, there or in a file that it extends; None where that cannot be read."""
        seen: t.Set[t.Tuple[str, str]] = set()
        while (compose_file, service) not in seen:
            seen.add((compose_file, service))
            facts = self.compose.get(compose_file)
            if facts is None or not facts.is_readable:
                return None
            if service not in facts.services:
                return False
            if service in facts.built:
                return True
            file, base = facts.services[service]
            if not file:
                return False
            compose_file, service = located(compose_file, file), base
        return False


def located(file: str, *parts: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(file), *parts))


def survey(compose: t.Iterable[str], bake: t.Mapping[str, t.Sequence[str]], contents_of: ContentsOf) -> Project:
    """``bake``: the Bake files of each folder, in the order of their merge."""
    facts: t.Dict[str, ComposeFacts] = {}
    reads: t.List[Read] = []
    env: t.Dict[str, t.List[str]] = {}
    readers: t.Dict[str, t.List[str]] = {}
    waiting = list(compose)
    known = set(waiting)
    while waiting and len(known) < _MOST_FILES:
        path = waiting.pop()
        contents = contents_of(path)
        env[path] = _env_of(path, readers, env, contents_of)
        file_facts = ComposeFacts(is_readable=False) if contents is None else read_compose(contents, env_file.read_env(env[path], contents_of))
        facts[path] = file_facts
        for text, line in file_facts.files:
            if _ELSEWHERE not in text:
                other = located(path, text)
                reads.append(Read(other, True, path, line, text))
                readers.setdefault(other, []).append(path)
                if other not in known:
                    known.add(other)
                    waiting.append(other)
    named: t.Dict[str, Names] = {}
    args: t.Dict[str, t.Set[str]] = {}
    builds: t.Dict[str, t.List[t.Tuple[str, t.Set[str]]]] = {}
    below: t.Dict[str, Names] = {}
    for path, file_facts in facts.items():
        for build in file_facts.builds:
            if build.place and _ELSEWHERE not in build.place[0] and not build.is_inline:
                args.setdefault(located(path, *build.place), set()).update(build.args)
                reads.append(Read(located(path, *build.place), False, path, build.line, posixpath.join(*build.place)))
            _note(path, build.place, build.contexts, build.is_inline, named, below, builds)
    for folder, names in bake.items():
        own = posixpath.join(folder, names[-1])
        for target in read_bake({name: contents_of(posixpath.join(folder, name)) or b"" for name in names}).targets:
            if target.place and _ELSEWHERE not in target.place[0] and target.inline is None:
                args.setdefault(located(own, *target.place), set()).update(target.args)
                reads.append(Read(located(own, *target.place), False, own, 1, posixpath.join(*target.place)))
            _note(own, target.place, target.contexts, target.inline is not None, named, below, builds if target.contexts else {})
    _note_pulled(named, builds)
    env = {path: _env_of(path, readers, env, contents_of) for path in facts}  # the includes are known now
    return Project(facts, reads, named, args, below, *_related(facts), {path: files for path, files in env.items() if files})


def _env_of(path: str, readers: t.Mapping[str, t.Sequence[str]], env: t.Mapping[str, t.Sequence[str]], contents_of: ContentsOf) -> t.List[str]:
    """Those of the files that read this one, and the one beside it."""
    files = [file for reader in readers.get(path, ()) for file in env.get(reader, ())]
    own = located(path, env_file.NAME)
    return list(dict.fromkeys([*files, *([own] if contents_of(own) is not None else [])]))


def _note(
    file: str,
    place: t.Optional[t.Tuple[str, str]],
    contexts: t.Iterable[str],
    is_inline: bool,
    named: t.Dict[str, Names],
    below: t.Dict[str, Names],
    builds: t.Dict[str, t.List[t.Tuple[str, t.Set[str]]]],
) -> None:
    replaced: t.Set[str] = set()
    if place and _ELSEWHERE not in place[0] and not is_inline:
        builds.setdefault(located(file, *place), []).append((posixpath.basename(file), replaced))
    for context in () if is_inline else contexts:
        name = context.partition("::")[0]  # NAME::PLATFORM
        try:
            image = shortest(name)
        except InvalidImageName:
            continue
        base = posixpath.basename(file)
        if place is None:
            reason = f"the build context {name} of {base} may replace it, which does not say for which Dockerfile; if it does not, write the mirror's name here"
            below.setdefault(posixpath.dirname(file), {}).setdefault(image, reason)
        elif _ELSEWHERE not in place[0]:
            reason = f"the build context {name} of {base} replaces it, so it is not pulled; what is pulled is written there"
            named.setdefault(located(file, *place), {}).setdefault(image, reason)
            replaced.add(image)


def _note_pulled(named: t.Dict[str, Names], builds: t.Mapping[str, t.Sequence[t.Tuple[str, t.AbstractSet[str]]]]) -> None:
    """What one build of a Dockerfile replaces and another pulls."""
    for dockerfile, names in named.items():
        for image in names:
            by = next(file for file, replaced in builds[dockerfile] if image in replaced)
            other = next((file for file, replaced in builds[dockerfile] if image not in replaced), "")
            if other:
                advice = "give that build a context of this name too, or a Dockerfile of its own"
                names[image] = f"a build context of {by} replaces it and a build of {other} pulls it; {advice}"


def _related(facts: t.Mapping[str, ComposeFacts]) -> t.Tuple[t.Dict[str, t.List[str]], t.Dict[str, t.List[str]]]:
    """What each file includes, and which files may make one project with it: those beside it, those that it reads, those that read it."""
    reads = {path: [located(path, text) for text, _line in file.files if _ELSEWHERE not in text] for path, file in facts.items()}
    includes = {path: [located(path, text) for text in file.includes if _ELSEWHERE not in text] for path, file in facts.items()}
    beside: t.Dict[str, t.List[str]] = {}
    near: t.Dict[str, t.Set[str]] = {path: set() for path in facts}
    for path in facts:
        if is_part_of_a_project(posixpath.basename(path)):
            beside.setdefault(posixpath.dirname(path), []).append(path)
        for other in reads[path]:
            if other in near and other != path:
                near[path].add(other)
                near[other].add(path)
    together = {}
    for path in facts:
        others = beside.get(posixpath.dirname(path), []) if is_part_of_a_project(posixpath.basename(path)) else []
        together[path] = sorted({*others, *near[path]} - {path})
    return {path: [other for other in _reached(path, includes) if other in facts] for path in facts}, together


def _reached(start: str, edges: t.Mapping[str, t.Sequence[str]]) -> t.List[str]:
    reached: t.List[str] = []
    waiting = list(edges[start])
    while waiting:
        path = waiting.pop()
        if path != start and path not in reached:
            reached.append(path)
            waiting += edges.get(path, ())
    return reached
