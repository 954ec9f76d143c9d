# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Replace files of a source tree atomically.

Unlike the configuration of a host these files are not synced one by one: 10,000 syncs take minutes, and a source tree has a
second copy in version control. A new file is written with another name and renamed, so a killed run leaves complete files,
old or new. The caller syncs once at the end. A later run removes temporary files of a killed one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import OURS, Source

_NOTE = "user.buildfleet.before"
_ACCESS_LIST = "system.posix_acl_access"
_OF_THE_CONTENTS = (_NOTE, "security.ima", "security.evm")  # the kernel creates the last two again
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NotWritten(Refused):
    """The file is unchanged; the message names it."""


def attributes(path: str) -> t.List[str]:
    """The names of the file's extended attributes; none on a file system without them."""
    try:
        return _names(path)
    except OSError as error:
        raise _not_written(path, error) from error


def replace(source: Source, names: t.Sequence[str], contents: bytes, note: bytes = b"", with_backup: bool = False) -> None:
    """Replace the file atomically; keep owner, mode and the attributes with these names.

    The note is stored as an extended attribute, if the file system supports them.
    """
    if not with_backup:
        _put(source.path, source, names, contents, note)
        return
    backup = f"{source.path}.{os.getpid()}.{time.strftime('%Y-%m-%d@%H:%M:%S~')}"  # Ansible's name for a backup
    _put(backup, source, names, source.contents, b"")
    try:
        _put(source.path, source, names, contents, note)
    except NotWritten:
        os.unlink(backup)
        raise


def write_blocker(source: Source) -> str:
    """Why the file could not be replaced, as far as this can be known in advance; a complete sentence."""
    if not os.access(os.path.dirname(source.path), os.W_OK | os.X_OK, effective_ids=True):
        return f"{source.path} cannot be written: its folder is not writable."
    if os.geteuid() not in (0, source.status.st_uid):
        return f"{source.path} cannot be written: it belongs to another user, and would then belong to you."
    if os.geteuid() == source.status.st_uid and source.status.st_mode & stat.S_IWUSR and not os.access(source.path, os.W_OK, effective_ids=True):
        return f"{source.path} cannot be written: it is immutable (lsattr shows it)."
    return ""


def _put(path: str, source: Source, names: t.Sequence[str], contents: bytes, note: bytes) -> None:
    folder, _rest, name = path.rpartition("/")
    temporary = f"{folder}/{OURS}{name[:50]}-{os.urandom(4).hex()}"
    try:
        handle = os.open(temporary, _NEW, _first_mode(source, names))
        try:
            _write_all(handle, contents)
            _copy_metadata(handle, source, names, note)
            os.rename(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        finally:
            os.close(handle)
    except OSError as error:
        raise _not_written(path, error) from error


def _not_written(path: str, error: OSError) -> NotWritten:
    return NotWritten(f"{path} cannot be written: {error.strerror}.")


def _first_mode(source: Source, names: t.Sequence[str]) -> int:
    """The mode of a new file: at once that of a file that everybody may read and only its owner may write, which saves a change of it."""
    mode = stat.S_IMODE(source.status.st_mode)
    return mode if mode & 0o7266 == 0o244 and _ACCESS_LIST not in names else 0o600


def _copy_metadata(handle: int, source: Source, names: t.Sequence[str], note: bytes) -> None:
    """The mode is set last: attributes cannot be set on a file that its owner may not write."""
    mine, original = os.fstat(handle), source.status
    if (mine.st_uid, mine.st_gid) != (original.st_uid, original.st_gid):
        os.fchown(handle, original.st_uid, original.st_gid)
    touched = _keep_attributes(handle, source.path, names)
    if note:
        with contextlib.suppress(OSError):
            os.setxattr(handle, _NOTE, note)
    if touched or mine.st_mode != original.st_mode:
        os.fchmod(handle, stat.S_IMODE(original.st_mode))


def _keep_attributes(handle: int, path: str, names: t.Sequence[str]) -> bool:
    """Whether the new file's attributes were changed. Without its ACL the file could be open to more users than before, so copying the ACL must not fail."""
    given = _names(handle)
    for name in names:
        if name not in _OF_THE_CONTENTS:
            with contextlib.nullcontext() if name.startswith("system.") else contextlib.suppress(OSError):
                os.setxattr(handle, name, os.getxattr(path, name))
    if _ACCESS_LIST not in names and _ACCESS_LIST in given:
        os.removexattr(handle, _ACCESS_LIST)  # the directory's default ACL
    return bool(names or given)


def _names(file: t.Union[int, str]) -> t.List[str]:
    try:
        return os.listxattr(file)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return []


def read_note(path: str, names: t.Container[str]) -> bytes:
    """The note of the file, whose attributes have these names; empty without one."""
    with contextlib.suppress(OSError):
        return os.getxattr(path, _NOTE) if _NOTE in names else b""
    return b""


def sync() -> None:
    os.sync()


def _write_all(handle: int, contents: bytes) -> None:
    rest = memoryview(contents)
    while rest:
        rest = rest[os.write(handle, rest) :]
