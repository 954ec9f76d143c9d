# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files replaced whole or not at all, and no temporary file left behind."""

from __future__ import annotations

import errno
import os
import re
import struct
import types

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._host import tree
from ansible_collections.buildfleet.docker.plugins.module_utils._host import tree_writer as writer
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import Source
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree_writer import NotWritten


@pytest.fixture
def folder(tmp_path):
    for name in ("b/D", "a/D", "D", "x", ".git/D"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    yield tmp_path
    assert list(tmp_path.rglob(f"{tree.OURS}*")) == []


def names(folder):
    return sorted(os.listdir(folder))


def replace(source, contents, note=b"", with_backup=False):
    writer.replace(source, writer.attributes(source.path), contents, note, with_backup)


def read_note(path):
    return writer.read_note(str(path), writer.attributes(str(path)))


def test_a_file_is_replaced_whole_with_its_owner_and_mode(folder, monkeypatch):
    owners = []
    path = folder / "D"
    path.chmod(0o640)
    found = tree.source(str(path))
    monkeypatch.setattr(os, "fchown", lambda _handle, uid, gid: owners.append((uid, gid, path.read_bytes())))
    replace(found, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, owners) == (b"new", 0o640, [])
    monkeypatch.setattr(writer, "_keep_attributes", lambda _handle, _path, _names: False)
    stat = types.SimpleNamespace(st_uid=4711, st_gid=4712, st_mode=0o100600, st_dev=found.status.st_dev)
    replace(Source(str(path), b"new", stat), b"newer")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, owners) == (b"newer", 0o600, [(4711, 4712, b"new")])


def test_a_name_of_many_bytes_leaves_room_for_ours(folder):
    name = "\u65e5" * 80
    (folder / name).write_bytes(b"old")
    replace(tree.source(str(folder / name)), b"new")
    assert (folder / name).read_bytes() == b"new"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(folder, monkeypatch):
    def full(_handle, _contents):
        raise OSError(28, "No space left on device")

    found = tree.source(str(folder / "D"))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(NotWritten, match=r"/D cannot be written: No space left on device\.$"):
        replace(found, b"new")
    assert names(folder) == [".git", "D", "a", "b", "x"] and (folder / "D").read_bytes() == b"D"


def test_a_write_that_takes_a_part_goes_on(folder, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, contents: write(handle, contents[:2]))
    replace(tree.source(str(folder / "D")), b"12345")
    assert (folder / "D").read_bytes() == b"12345"


def access_list(*entries):
    """As the kernel has it: version 2, then tag, rights and id of each."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NOBODY = 0xFFFFFFFF
GROUP_READS = access_list((1, 7, NOBODY), (2, 7, 4711), (4, 5, NOBODY), (16, 7, NOBODY), (32, 5, NOBODY))  # u::rwx u:4711:rwx g::r-x m::rwx o::r-x
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


@pytest.fixture
def attributes(folder):
    try:
        os.setxattr(folder / "D", "user.mine", b"x")
        os.setxattr(folder / "D", ACCESS, GROUP_READS)
    except OSError:
        pytest.skip("this file system keeps no attributes or access lists")
    return folder


def test_attributes_and_access_lists_are_kept(attributes):
    path = attributes / "D"
    os.setxattr(path, writer._NOTE, b"of the contents before")
    assert path.stat().st_mode & 0o777 == 0o775
    replace(tree.source(str(path)), b"new")
    assert sorted(name for name in os.listxattr(path) if not name.startswith("trusted.")) == [ACCESS, "user.mine"]  # XFS shows its own name of it
    assert (os.getxattr(path, "user.mine"), os.getxattr(path, ACCESS), path.stat().st_mode & 0o777) == (b"x", GROUP_READS, 0o775)


def test_the_default_of_the_folder_gives_nobody_a_right(attributes):
    os.setxattr(attributes / "a", DEFAULT, GROUP_READS)
    os.removexattr(attributes / "a/D", ACCESS) if ACCESS in os.listxattr(attributes / "a/D") else None
    replace(tree.source(str(attributes / "a/D")), b"new")
    assert os.listxattr(attributes / "a/D") == []


@pytest.mark.parametrize(("name", "contents"), [(ACCESS, b"D"), ("user.mine", b"new")])
def test_without_its_access_list_a_file_is_not_written_without_another_attribute_it_is(attributes, monkeypatch, name, contents):
    setxattr = os.setxattr

    def denied(handle, attribute, value):
        if attribute == name:
            raise PermissionError(1, "Operation not permitted")
        setxattr(handle, attribute, value)

    monkeypatch.setattr(os, "setxattr", denied)
    try:
        replace(tree.source(str(attributes / "D")), b"new")
    except NotWritten as error:
        assert str(error) == f"{attributes}/D cannot be written: Operation not permitted."
    assert (attributes / "D").read_bytes() == contents
    assert names(attributes) == [".git", "D", "a", "b", "x"]


@pytest.mark.parametrize(("number", "contents"), [(errno.ENOTSUP, b"new"), (errno.EIO, b"D")])
def test_a_file_system_without_attributes_has_none_and_a_fault_is_a_fault(folder, monkeypatch, number, contents):
    def fails(_file):
        raise OSError(number, "No")

    monkeypatch.setattr(os, "listxattr", fails)
    try:
        replace(tree.source(str(folder / "D")), b"new")
    except NotWritten as error:
        assert str(error) == f"{folder}/D cannot be written: No."
    assert (folder / "D").read_bytes() == contents


def test_the_note_is_there_before_the_file_and_before_a_mode_that_forbids_it(folder, monkeypatch):
    done = []
    monkeypatch.setattr(os, "setxattr", lambda handle, name, value: done.append((name, value, os.fstat(handle).st_mode & 0o777)))
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda *names: (done.append("renamed"), rename(*names)))
    (folder / "D").chmod(0o444)
    replace(tree.source(str(folder / "D")), b"new", b"note")
    assert done == [("user.buildfleet.before", b"note", 0o600), "renamed"]
    assert (folder / "D").stat().st_mode & 0o777 == 0o444


@pytest.mark.parametrize(
    ("mode", "names", "first", "changes"),
    [
        pytest.param(0o644, [], 0o644, 0, id="everybody reads it"),
        pytest.param(0o755, [], 0o755, 0, id="everybody may run it"),
        pytest.param(0o640, [], 0o600, 1, id="others do not read it"),
        pytest.param(0o604, [], 0o600, 1, id="its group does not read it"),
        pytest.param(0o664, [], 0o600, 1, id="its group writes it"),
        pytest.param(0o444, [], 0o600, 1, id="its owner may not write it"),
        pytest.param(0o4755, [], 0o600, 1, id="it runs as its owner"),
        pytest.param(0o644, [ACCESS], 0o600, 1, id="an access list may forbid it to some"),
    ],
)
def test_nobody_can_open_the_new_file_who_may_not_read_the_old_one(folder, monkeypatch, mode, names, first, changes):
    modes, fchmod, opened, path = [], os.fchmod, os.open, folder / "D"
    path.chmod(mode)
    source = tree.source(str(path))
    monkeypatch.setattr(os, "open", lambda name, flags, mode: (modes.append(mode), opened(name, flags, mode))[1])
    monkeypatch.setattr(os, "fchmod", lambda handle, mode: (modes.append("changed"), fchmod(handle, mode)))
    monkeypatch.setattr(os, "getxattr", lambda _path, _name: b"")
    monkeypatch.setattr(os, "setxattr", lambda *_arguments: None)
    writer.replace(source, names, b"new")
    assert (modes, path.stat().st_mode & 0o7777) == ([first, *["changed"] * changes], mode)


def test_a_mask_that_hides_new_files_changes_no_mode(folder):
    before = os.umask(0o077)
    try:
        (folder / "D").chmod(0o644)
        replace(tree.source(str(folder / "D")), b"new")
    finally:
        os.umask(before)
    assert (folder / "D").stat().st_mode & 0o777 == 0o644


def test_a_note_that_cannot_be_kept_is_no_fault(folder, monkeypatch):
    def unsupported(*_arguments):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", unsupported)
    monkeypatch.setattr(os, "getxattr", unsupported)
    replace(tree.source(str(folder / "D")), b"new", b"note")
    assert (folder / "D").read_bytes() == b"new"
    assert writer.read_note(str(folder / "D"), [writer._NOTE]) == b""
    monkeypatch.setattr(os, "listxattr", unsupported)
    assert read_note(folder / "D") == b""


def test_a_note_is_found_again(folder):
    try:
        os.setxattr(folder / "D", "user.x", b"")
    except OSError:
        pytest.skip("this file system keeps no extended attributes")
    replace(tree.source(str(folder / "D")), b"new", b"note")
    assert read_note(folder / "D") == b"note"


def test_a_backup_has_ansibles_name_and_the_files_mode(folder):
    (folder / "a/D").chmod(0o640)
    replace(tree.source(str(folder / "a/D")), b"new", with_backup=True)
    (name,) = set(names(folder / "a")) - {"D"}
    assert tree._BACKUP.fullmatch(name) and re.match(rf"D\.{os.getpid()}\.", name)
    assert ((folder / "a" / name).read_bytes(), (folder / "a" / name).stat().st_mode & 0o777) == (b"a/D", 0o640)
    assert (folder / "a/D").read_bytes() == b"new"


@pytest.mark.parametrize("with_backup", [False, True])
def test_a_file_that_is_not_replaced_gets_no_backup(folder, monkeypatch, with_backup):
    rename = os.rename

    def denied(old, new):
        if new.endswith("/D"):
            raise PermissionError(1, "Operation not permitted")
        rename(old, new)

    monkeypatch.setattr(os, "rename", denied)
    with pytest.raises(NotWritten, match=r"/a/D cannot be written: Operation not permitted\.$"):
        replace(tree.source(str(folder / "a/D")), b"new", with_backup=with_backup)
    assert names(folder / "a") == ["D"]


@pytest.mark.parametrize(
    ("denied", "user", "owner", "mode", "reason"),
    [
        pytest.param("", 0, 4711, 0o444, "", id="root"),
        pytest.param("", 4711, 4711, 0o444, "", id="its owner"),
        pytest.param("folder", 4711, 4711, 0o644, "its folder is not writable.", id="a folder that may not be written"),
        pytest.param("", 4711, 4712, 0o666, "it belongs to another user, and would then belong to you.", id="a file of another user"),
        pytest.param("file", 4711, 4711, 0o644, "it is immutable (lsattr shows it).", id="immutable"),
        pytest.param("file", 4711, 4711, 0o444, "", id="a mode is no obstacle"),
    ],
)
def test_what_stands_in_the_way_of_a_write(monkeypatch, denied, user, owner, mode, reason):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "access", lambda path, _mode, effective_ids: path != {"folder": "/folder", "file": "/folder/D", "": ""}[denied])
    found = writer.write_blocker(Source("/folder/D", b"", types.SimpleNamespace(st_uid=owner, st_mode=0o100000 | mode)))
    assert found == (reason and f"/folder/D cannot be written: {reason}")
