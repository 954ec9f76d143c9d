# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the files of a source tree by name, and read them."""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import functools
import operator
import os
import re
import stat
import time
import typing as t

LARGEST = 8 * 1024 * 1024
BAKE_FILES = ("docker-bake.json", "docker-bake.hcl", "docker-bake.override.json", "docker-bake.override.hcl")  # in the order in which bake merges them
OURS = ".buildfleet-"  # the prefix of temporary files; a killed run may leave one
_LEFT = re.compile(re.escape(OURS) + r".+-[0-9a-f]{8}", re.DOTALL)
_OLD = 3600.0  # seconds; a younger file may belong to a run that is still active
_BACKUP = re.compile(r".+\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~")  # Ansible's names of backups


class Refusal(t.NamedTuple):
    """A file or directory that was not read, and why."""

    path: str
    reason: str


class Source(t.NamedTuple):
    path: str
    contents: bytes
    status: os.stat_result


def files(paths: t.Iterable[str], patterns: t.Sequence[str], excludes: t.Sequence[str], tidy: bool = False) -> t.Iterator[t.Union[str, Refusal]]:
    """The named files, and the matching files and Bake files in the named directories; each file once, links by their own names.

    ``tidy``: remove temporary files of killed runs in these directories.
    """
    wanted, unwanted = _any_of([*patterns, *BAKE_FILES]), _any_of(excludes)
    seen: t.Set[str] = set()
    for path in paths:
        for entry in _files_in(os.path.realpath(path), wanted, unwanted, tidy) if os.path.isdir(path) else iter([_named(path)]):
            if isinstance(entry, Refusal):
                yield entry
                continue
            name, itself = (entry, entry) if isinstance(entry, str) else entry
            if itself not in seen:
                seen.add(itself)
                yield name


def within(path: str, roots: t.Iterable[str], excludes: t.Sequence[str]) -> bool:
    """Whether it is a file in one of these folders that is not excluded, nor a folder above it."""
    itself, unwanted = os.path.realpath(path), _any_of(excludes)
    folders = [os.path.realpath(root) for root in roots if os.path.isdir(root)]
    return os.path.isfile(itself) and any(_is_inside(itself, folder, unwanted) for folder in folders)


def named_singly(paths: t.Iterable[str]) -> t.FrozenSet[str]:
    """Those of the paths that are files, as ``files`` yields them."""
    return frozenset(_named(path)[0] for path in paths if not os.path.isdir(path))


def matches(patterns: t.Sequence[str]) -> t.Callable[[str], t.Any]:
    """Whether a name is one of these."""
    return _any_of(patterns)


def exists(path: str) -> bool:
    return os.path.lexists(path)


def contents_of(path: str) -> t.Optional[bytes]:
    found = source(path)
    return found.contents if isinstance(found, Source) else None


def _any_of(patterns: t.Sequence[str]) -> t.Callable[[str], t.Any]:
    """Whether a name matches; cached, because names repeat in a tree."""
    return functools.lru_cache(1000)(re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)").match)


_Found = t.Union[str, Refusal, t.Tuple[str, str]]  # a path, and the path of the file itself if it is another one


def _files_in(root: str, wanted: t.Callable[[str], t.Any], unwanted: t.Callable[[str], t.Any], tidy: bool) -> t.Iterator[_Found]:
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = list(listing)
        except OSError as error:
            yield Refusal(folder, f"cannot be read: {error.strerror}")
            continue
        inside: t.List[str] = []
        if len(entries) > 1:
            entries.sort(key=_name)
        for entry in entries:
            name = entry.name
            if name.startswith(OURS):
                if tidy:
                    _remove_old(entry)
            elif entry.is_dir(follow_symlinks=False):
                if not unwanted(name):
                    inside.append(entry.path)
            elif wanted(name) and not unwanted(name) and not (name[-1] == "~" and _BACKUP.fullmatch(name)):
                if not entry.is_symlink():
                    yield entry.path
                elif os.path.isfile(entry.path) and _is_inside(os.path.realpath(entry.path), root, unwanted):
                    yield _named(entry.path)
        folders += reversed(inside)


_name = operator.attrgetter("name")


def _remove_old(entry: t.Any) -> None:
    with contextlib.suppress(OSError):
        is_left = _LEFT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)
        if is_left and time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD:
            os.unlink(entry.path)


def _named(path: str) -> t.Tuple[str, str]:
    """A Bake file is identified by its name in its folder, where bake runs; any other file by what it links to."""
    folder, name = os.path.split(os.path.abspath(path))
    path = os.path.join(os.path.realpath(folder), name)
    return path, path if name in BAKE_FILES else os.path.realpath(path)


def _is_inside(path: str, root: str, unwanted: t.Callable[[str], t.Any]) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep) and not any(unwanted(name) for name in os.path.relpath(path, root).split(os.sep))


def source(path: str) -> t.Union[Source, Refusal]:
    try:
        path, handle = _opened(path)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                return Refusal(path, "is not a regular file")
            if status.st_size > LARGEST:
                return Refusal(path, "is larger than 8 MiB")
            contents = os.read(handle, status.st_size + 1)
            while len(contents) < status.st_size:
                more = os.read(handle, status.st_size - len(contents))
                if not more:
                    break
                contents += more
        finally:
            os.close(handle)
    except OSError as error:
        is_special = error.errno in (errno.ENXIO, errno.ENODEV)  # a socket, or a device that does not exist
        return Refusal(path, "is not a regular file" if is_special else f"cannot be read: {error.strerror}")
    return Source(path, contents, status)


def _opened(path: str) -> t.Tuple[str, int]:
    """The file at the path, open."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return path, os.open(path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        path = os.path.realpath(path)
        return path, os.open(path, flags)
