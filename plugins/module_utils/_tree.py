# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a source tree: found by name, read, replaced whole.

Unlike a host's configuration these are not synced one by one: 10,000 syncs take minutes, and a source tree has a
second copy in version control. A file is written beside the old one and renamed, so a run that is killed leaves
whole files, old or new; one sync of the file system at the end makes them last.
"""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import multiprocessing
import os
import re
import stat
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._bake import NAMES
from ansible_collections.buildfleet.docker.plugins.module_utils._host import HostError

LARGEST = 8 * 1024 * 1024
_OURS = ".buildfleet-"  # what a run that was killed may leave behind
_BACKUP = re.compile(r".+\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~")  # as Ansible names a backup
_NOTE = "user.buildfleet.before"
FEW = 500  # below this many files other processes cost more than they do


class Refusal(t.NamedTuple):
    """A file or folder that was not looked at, and why."""

    path: str
    reason: str


class Source(t.NamedTuple):
    path: str
    contents: bytes
    found: os.stat_result


def files(paths: t.Iterable[str], patterns: t.Sequence[str], excludes: t.Sequence[str]) -> t.Iterator[t.Union[str, Refusal]]:
    """The files named, and those in the folders named whose names match, and the Bake files there; each file once."""
    wanted, unwanted = _any_of([*patterns, *NAMES]), _any_of(excludes)
    seen: t.Set[str] = set()
    for path in paths:
        path = os.path.abspath(path)
        for found in _files_in(path, wanted, unwanted) if os.path.isdir(path) else iter([_real(path)]):
            if isinstance(found, Refusal):
                yield found
            elif found not in seen:
                seen.add(found)
                yield found


_Result = t.TypeVar("_Result")
_work: t.Callable[[t.Any], t.Any]


def each(work: t.Callable[[t.Union[str, Refusal]], _Result], found: t.Iterator[t.Union[str, Refusal]]) -> t.Iterator[_Result]:
    """``work`` on each, in order; a large tree is shared among the processors of the host."""
    global _work
    _work = work
    first = list(itertools.islice(found, FEW))
    processes = min(len(os.sched_getaffinity(0)), 4)
    if len(first) < FEW or processes < 2:
        yield from map(work, itertools.chain(first, found))
        return
    # The processes are copies of this one, so nothing but paths and results has to travel.
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap(_call, itertools.chain(first, found), chunksize=64)
        # Leaving without this ends them with a signal, for which one that waits under a handler of its own may wait for ever.
        pool.close()
        pool.join()


def _call(found: t.Union[str, Refusal]) -> t.Any:
    return _work(found)


def replace(source: Source, contents: bytes) -> None:
    """The whole file or nothing, owner and mode kept; the caller syncs once for the whole tree."""
    folder, name = os.path.split(source.path)
    temporary = os.path.join(folder, f"{_OURS}{name[:200]}-{os.urandom(4).hex()}")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _write_all(handle, contents)
            mine = os.fstat(handle)
            if (mine.st_uid, mine.st_gid) != (source.found.st_uid, source.found.st_gid):
                os.fchown(handle, source.found.st_uid, source.found.st_gid)
            os.fchmod(handle, stat.S_IMODE(source.found.st_mode))
            os.rename(temporary, source.path)
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(handle)
    except OSError as error:
        raise HostError(f"{source.path} cannot be written: {error.strerror}.") from error


def remember(path: str, written: bytes) -> None:
    """Beside the file, where its file system can; a new file of that name does not have it."""
    with contextlib.suppress(OSError, AttributeError):
        os.setxattr(path, _NOTE, written)


def remembered(path: str) -> bytes:
    with contextlib.suppress(OSError, AttributeError):
        return os.getxattr(path, _NOTE)
    return b""


def sync() -> None:
    os.sync()


def exists(path: str) -> bool:
    return os.path.lexists(path)


def names_in(folder: str) -> t.List[str]:
    """The sorted names in a folder; none where it cannot be read."""
    with contextlib.suppress(OSError):
        return sorted(os.listdir(folder))
    return []


def contents_of(path: str) -> t.Optional[bytes]:
    found = source(path)
    return found.contents if isinstance(found, Source) else None


def _write_all(handle: int, contents: bytes) -> None:
    rest = memoryview(contents)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _any_of(patterns: t.Sequence[str]) -> t.Callable[[str], t.Any]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)").match


def _files_in(root: str, wanted: t.Callable[[str], t.Any], unwanted: t.Callable[[str], t.Any]) -> t.Iterator[t.Union[str, Refusal]]:
    real_root = os.path.realpath(root)
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            yield Refusal(folder, f"cannot be read: {error.strerror}")
            continue
        inside: t.List[str] = []
        for entry in entries:
            if unwanted(entry.name) or entry.name.startswith(_OURS) or _BACKUP.fullmatch(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                inside.append(entry.path)
            elif wanted(entry.name):
                if not entry.is_symlink():
                    yield entry.path
                elif os.path.isfile(entry.path) and _is_inside(os.path.realpath(entry.path), real_root, unwanted):
                    yield entry.path if entry.name in NAMES else os.path.realpath(entry.path)
        folders += reversed(inside)


def _real(path: str) -> str:
    """A Bake file keeps its name, which says what it is, and its folder, where bake runs."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name) if name in NAMES else os.path.realpath(path)


def _is_inside(path: str, root: str, unwanted: t.Callable[[str], t.Any]) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep) and not any(unwanted(name) for name in os.path.relpath(path, root).split(os.sep))


def source(path: str) -> t.Union[Source, Refusal]:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                return Refusal(path, "is no regular file")
            if found.st_size > LARGEST:
                return Refusal(path, "is larger than 8 MiB")
            contents = os.read(handle, found.st_size + 1)
            while len(contents) < found.st_size:
                more = os.read(handle, found.st_size - len(contents))
                if not more:
                    break
                contents += more
        finally:
            os.close(handle)
    except OSError as error:
        return Refusal(path, f"cannot be read: {error.strerror}")
    return Source(os.path.realpath(path) if os.path.islink(path) else path, contents, found)
