# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whose home directory it is, and working there with that user's rights alone."""

from __future__ import annotations

import contextlib
import os
import pwd
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Account


def account(name: str) -> t.Optional[Account]:
    try:
        found = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None
    return Account(name, found.pw_dir.rstrip("/"), found.pw_uid, found.pw_gid)


@contextlib.contextmanager
def acting_as(user: t.Optional[Account]) -> t.Iterator[None]:
    """A link that the user laid in the own home leads root nowhere that the user could not go."""
    if user is None or user.uid == os.geteuid():
        yield
        return
    uid, gid, groups = os.geteuid(), os.getegid(), os.getgroups()
    try:
        os.setgroups(os.getgrouplist(user.name, user.gid))
        os.setegid(user.gid)
        os.seteuid(user.uid)
        yield
    finally:
        os.seteuid(uid)
        os.setegid(gid)
        os.setgroups(groups)


def hand_over(path: str, user: Account, uid: int, gid: int) -> None:
    """Give a file that the user owns to the owner or group that it had; a file of others is never given away."""
    with acting_as(user):
        handle = os.open(path, os.O_RDONLY)
    try:
        if os.fstat(handle).st_uid == user.uid:
            os.fchown(handle, uid, gid)
    finally:
        os.close(handle)
