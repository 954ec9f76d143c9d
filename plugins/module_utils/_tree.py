# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of a source tree: found by name, read, replaced whole.

Unlike a host's configuration these are not synced one by one: 10,000 syncs take minutes, and a source tree has a
second copy in version control. A file is written beside the old one and renamed, so a run that is killed leaves
whole files, old or new; one sync of the file system at the end makes them last. What else it leaves, a later run removes.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import itertools
import multiprocessing
import operator
import os
import re
import stat
import threading
import time
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._bake import NAMES
from ansible_collections.buildfleet.docker.plugins.module_utils._host import HostError

LARGEST = 8 * 1024 * 1024
_OURS = ".buildfleet-"  # what a run that was killed may leave behind
_LEFT = re.compile(re.escape(_OURS) + r".+-[0-9a-f]{8}", re.DOTALL)
_OLD = 3600.0  # seconds; what is younger may belong to a run at work
_BACKUP = re.compile(r".+\.\d+\.\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d~")  # as Ansible names a backup
_NOTE = "user.buildfleet.before"
_ACCESS_LIST = "system.posix_acl_access"
_OF_THE_CONTENTS = (_NOTE, "security.ima", "security.evm")  # the kernel makes new ones of the last two
_PART = 64  # files that travel together
FEW = 500  # below this many files other processes cost more than they do


class Refusal(t.NamedTuple):
    """A file or folder that was not looked at, and why."""

    path: str
    reason: str


class Source(t.NamedTuple):
    path: str
    contents: bytes
    found: os.stat_result


def files(paths: t.Iterable[str], patterns: t.Sequence[str], excludes: t.Sequence[str], tidy: bool = False) -> t.Iterator[t.Union[str, Refusal]]:
    """The files named, and those in the folders named whose names match, and the Bake files there; each file once, links by their own names.

    ``tidy``: what runs that were killed left in these folders is removed.
    """
    wanted, unwanted = _any_of([*patterns, *NAMES]), _any_of(excludes)
    seen: t.Set[str] = set()
    for path in paths:
        for found in _files_in(os.path.realpath(path), wanted, unwanted, tidy) if os.path.isdir(path) else iter([_named(path)]):
            if isinstance(found, Refusal):
                yield found
                continue
            name, itself = (found, found) if isinstance(found, str) else found
            if itself not in seen:
                seen.add(itself)
                yield name


_Result = t.TypeVar("_Result")
_Sources = t.Sequence[t.Union[str, Refusal]]
_work: t.Callable[[t.Any], t.Any]


def each(work: t.Callable[[_Sources], _Result], found: t.Iterator[t.Union[str, Refusal]]) -> t.Iterator[_Result]:
    """``work`` on some after the other, in order; a large tree is shared among the processors of the host."""
    global _work
    _work = work
    first = list(itertools.islice(found, FEW))
    parts = _parts(itertools.chain(first, found))
    processes = min(len(os.sched_getaffinity(0)), 4)
    if len(first) < FEW or processes < 2:
        yield from map(work, parts)
        return
    # The processes are copies of this one, so nothing but paths and results has to travel.
    with multiprocessing.get_context("fork").Pool(processes, _watch, (os.getpid(),)) as pool:
        yield from pool.imap(_call, parts)
        # Leaving without this ends them with a signal, for which one that waits under a handler of its own may wait for ever.
        pool.close()
        pool.join()


def _parts(found: t.Iterator[t.Union[str, Refusal]]) -> t.Iterator[_Sources]:
    return iter(lambda: list(itertools.islice(found, _PART)), [])


def _call(found: _Sources) -> t.Any:
    return _work(found)


def _watch(parent: int) -> None:
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A process that waits for more to do would not see that the one that has it was killed."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def replace(source: Source, contents: bytes, note: bytes = b"", with_backup: bool = False) -> None:
    """The whole file or nothing, owner, mode and attributes kept; the caller syncs once for the whole tree.

    The note is kept beside the file, where its file system can; a new file of that name does not have it.
    """
    backup = f"{source.path}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S~')}"  # as Ansible names one
    if with_backup:
        _put(backup, source, source.contents, b"")
    try:
        _put(source.path, source, contents, note)
    except HostError:
        if with_backup:
            os.unlink(backup)
        raise


def obstacle(source: Source) -> str:
    """Why the file could not be replaced, as far as that can be told without trying; a complete sentence."""
    if not os.access(os.path.dirname(source.path), os.W_OK | os.X_OK, effective_ids=True):
        return f"{source.path} cannot be written: its folder is not writable."
    if os.geteuid() not in (0, source.found.st_uid):
        return f"{source.path} cannot be written: it belongs to another user, and would not after that."
    if os.geteuid() == source.found.st_uid and source.found.st_mode & stat.S_IWUSR and not os.access(source.path, os.W_OK, effective_ids=True):
        return f"{source.path} cannot be written: it is immutable (lsattr shows it)."
    return ""


def _put(path: str, source: Source, contents: bytes, note: bytes) -> None:
    folder, _rest, name = path.rpartition("/")
    temporary = f"{folder}/{_OURS}{name[:200]}-{os.urandom(4).hex()}"
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _write_all(handle, contents)
            _dress(handle, source, note)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(handle)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}.") from error


def _dress(handle: int, source: Source, note: bytes) -> None:
    """The mode comes last: a file that its owner may not write takes no attributes."""
    mine, found = os.fstat(handle), source.found
    if (mine.st_uid, mine.st_gid) != (found.st_uid, found.st_gid):
        os.fchown(handle, found.st_uid, found.st_gid)
    _keep_attributes(handle, source)
    if note:
        with contextlib.suppress(OSError):
            os.setxattr(handle, _NOTE, note)
    os.fchmod(handle, stat.S_IMODE(found.st_mode))


def _keep_attributes(handle: int, source: Source) -> None:
    """Without its access list a file would be open to others than before, so that one must not fail."""
    names = _attributes(source.path)
    for name in names:
        if name not in _OF_THE_CONTENTS:
            with contextlib.nullcontext() if name.startswith("system.") else contextlib.suppress(OSError):
                os.setxattr(handle, name, os.getxattr(source.path, name))
    if _ACCESS_LIST not in names and _ACCESS_LIST in _attributes(handle):
        os.removexattr(handle, _ACCESS_LIST)  # the default of the folder


def _attributes(file: t.Union[int, str]) -> t.List[str]:
    try:
        return os.listxattr(file)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return []


def remembered(path: str) -> bytes:
    try:
        return os.getxattr(path, _NOTE)
    except OSError:
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


_Found = t.Union[str, Refusal, t.Tuple[str, str]]  # a path, and that of the file itself where it is another


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
            if name.startswith(_OURS):
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
        if _LEFT.fullmatch(entry.name) and entry.is_file(follow_symlinks=False) and time.time() - entry.stat(follow_symlinks=False).st_mtime > _OLD:
            os.unlink(entry.path)


def _named(path: str) -> t.Tuple[str, str]:
    """A Bake file is what its name says in its folder, where bake runs; any other is the file that it links to."""
    folder, name = os.path.split(os.path.abspath(path))
    path = os.path.join(os.path.realpath(folder), name)
    return path, path if name in NAMES else os.path.realpath(path)


def _is_inside(path: str, root: str, unwanted: t.Callable[[str], t.Any]) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep) and not any(unwanted(name) for name in os.path.relpath(path, root).split(os.sep))


def source(path: str) -> t.Union[Source, Refusal]:
    try:
        path, handle = _opened(path)
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
        is_special = error.errno in (errno.ENXIO, errno.ENODEV)  # a socket, a device that is not there
        return Refusal(path, "is no regular file" if is_special else f"cannot be read: {error.strerror}")
    return Source(path, contents, found)


def _opened(path: str) -> t.Tuple[str, int]:
    """The file behind the path, and open."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return path, os.open(path, flags | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        path = os.path.realpath(path)
        return path, os.open(path, flags)
