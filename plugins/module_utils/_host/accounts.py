# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Owners of home directories, and work there with the rights of that user only."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Account


def account(name: str) -> t.Optional[Account]:
    try:
        entry = pwd.getpwnam(name)
    except (KeyError, ValueError):
        return None
    return Account(name, entry.pw_dir.rstrip("/"), entry.pw_uid, entry.pw_gid)


def account_of(uid: int) -> t.Optional[Account]:
    try:
        return account(pwd.getpwuid(uid).pw_name)
    except KeyError:
        return None


def members(group: str) -> t.Optional[t.List[Account]]:
    """The members of a group that are users of this host; None if there is no such group."""
    try:
        names = grp.getgrnam(group).gr_mem
    except (KeyError, ValueError):
        return None
    return [member for member in map(account, names) if member]


@contextlib.contextmanager
def acting_as(user: t.Optional[Account]) -> t.Iterator[None]:
    """A link that a user created in the home directory leads root only where that user could go."""
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
    """Give a file of the user back to its previous owner or group; never give away a file of others."""
    with acting_as(user):
        handle = os.open(path, os.O_RDONLY)
    try:
        if os.fstat(handle).st_uid == user.uid:
            os.fchown(handle, uid, gid)
    finally:
        os.close(handle)
