# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Source trees: each file once, whole or not at all, and nothing of ours left behind."""

from __future__ import annotations

import errno
import multiprocessing.pool
import os
import queue
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import types

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils import _tree as tree
from ansible_collections.buildfleet.docker.plugins.module_utils._host import HostError
from ansible_collections.buildfleet.docker.plugins.module_utils._tree import Refusal, Source


@pytest.fixture
def folder(tmp_path):
    for name in ("b/D", "a/D", "D", "x", ".git/D"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def names(top, *paths):
    return [os.path.relpath(found, top) for found in tree.files([str(path) for path in paths], ["D"], [".git"])]


def test_files_are_found_in_order_and_each_once(folder):
    assert names(folder, folder) == ["D", "a/D", "b/D"]
    assert names(folder, folder / "b", folder / "b/D", folder, folder / "x") == ["b/D", "D", "a/D", "x"]


def test_bake_files_are_found_and_a_link_keeps_its_name(folder):
    (folder / "a/docker-bake.hcl").write_bytes(b"")
    (folder / "b/docker-bake.override.json").symlink_to("../x")
    (folder / "b/docker-bake.json").symlink_to("../../out")
    (folder.parent / "out").write_bytes(b"")
    (folder / ".git/docker-bake.json").write_bytes(b"")
    (folder / "link").symlink_to(folder / "b")
    assert names(folder, folder) == ["D", "a/D", "a/docker-bake.hcl", "b/D", "b/docker-bake.override.json"]
    assert names(folder, folder / "link/docker-bake.override.json") == ["b/docker-bake.override.json"]


def test_a_file_that_is_found_by_two_names_is_one_file(folder):
    (folder / "link").symlink_to(folder / "a")
    (folder / "b/D").unlink()
    (folder / "b/D").symlink_to("../x")
    assert names(folder, folder / "link", folder / "a", folder / "link/D") == ["a/D"]
    assert names(folder, folder / "x", folder / "b/D", folder) == ["x", "D", "a/D"]
    assert names(folder, folder / "b/D", folder / "x") == ["b/D"]


def test_what_a_killed_run_left_is_removed_where_a_run_writes(folder):
    old = ["a/.buildfleet-D-01234567", "a/.buildfleet-D.x-89abcdef"]
    kept = ["a/.buildfleet-D-0123456", "b/.buildfleet-D-01234567", ".git/.buildfleet-D-01234567"]
    for name in (*old, *kept):
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (0, 0 if "b/" not in name else time.time() - 3000))
    (folder / "a/.buildfleet-folder-01234567").mkdir()
    os.utime(folder / "a/.buildfleet-folder-01234567", (0, 0))
    assert names(folder, folder) == ["D", "a/D", "b/D"]
    assert all((folder / name).exists() for name in (*old, *kept))
    assert len(list(tree.files([str(folder)], ["*"], [".git"], tidy=True))) == 4
    assert [name for name in (*old, *kept) if (folder / name).exists()] == kept


def test_what_a_killed_run_left_may_be_gone_or_not_ours_to_remove(folder, monkeypatch):
    (folder / "a/.buildfleet-D-01234567").write_bytes(b"")
    os.utime(folder / "a/.buildfleet-D-01234567", (0, 0))

    def denied(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", denied)
    assert len(list(tree.files([str(folder)], ["D"], [".git"], tidy=True))) == 3


def test_the_names_in_a_folder(folder):
    assert tree.names_in(str(folder)) == [".git", "D", "a", "b", "x"]
    assert tree.names_in(str(folder / "none")) == []


def test_a_folder_that_cannot_be_read_is_named_and_the_rest_is_found(folder, monkeypatch):
    scandir = os.scandir

    def closed(path):
        if path.endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = list(tree.files([str(folder)], ["D"], [".git"]))
    assert found == [str(folder / "D"), Refusal(str(folder / "a"), "cannot be read: Permission denied"), str(folder / "b/D")]


@pytest.mark.parametrize("processors", [1, 2, 9])
@pytest.mark.parametrize("number", [0, 2, 3, 7])
def test_a_large_tree_is_shared_among_processors_and_comes_back_in_order(monkeypatch, number, processors):
    started = []

    def pool(processes, _watch, _parent):
        started.append(processes)
        return multiprocessing.pool.ThreadPool(processes)

    monkeypatch.setattr(tree, "FEW", 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(processors)))
    # Threads: a fork would not survive the Go runtime that another test of this process may have loaded.
    monkeypatch.setattr(multiprocessing, "get_context", lambda _way: types.SimpleNamespace(Pool=pool))
    monkeypatch.setattr(tree, "_PART", 2)
    letters = "abcdefg"[:number]
    assert list(tree.each("".join, iter(letters))) == [letters[at : at + 2] for at in range(0, number, 2)]
    assert started == ([min(processors, 4)] if number >= 3 and processors > 1 else [])


ALONE = """
import os, sys, time
from ansible_collections.buildfleet.docker.plugins.module_utils import _tree as tree

tree.FEW = 2
os.sched_getaffinity = lambda _process: {0, 1}

def work(paths):
    os.write(1, f"{os.getpid()}\\n".encode())
    time.sleep(600 if "long" in paths else 0)

list(tree.each(work, iter(["short"] * 64 + ["long"])))
"""


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_processes_end_when_the_one_that_started_them_is_killed(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    with subprocess.Popen([sys.executable, "-c", ALONE], stdout=subprocess.PIPE, text=True) as process:
        workers = {int(process.stdout.readline()) for _rest in range(2)}
        assert all(map(is_alive, workers))
        process.send_signal(signal.SIGKILL)
        process.wait()
        end = time.monotonic() + 20
        while any(map(is_alive, workers)) and time.monotonic() < end:
            time.sleep(0.1)
        assert not any(map(is_alive, workers))


def test_a_process_looks_for_its_parent_and_ends_without_it(monkeypatch):
    parents, ended = [7, 7, 1], []
    monkeypatch.setattr(os, "getppid", lambda: parents.pop(0))
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(os, "_exit", ended.append)
    tree._end_with(7)
    assert (parents, ended) == ([], [1])
    watched = queue.Queue()
    monkeypatch.setattr(tree, "_end_with", watched.put)
    tree._watch(7)
    assert watched.get(timeout=10) == 7


def test_a_file_is_replaced_whole_with_its_owner_and_mode(folder, monkeypatch):
    owners = []
    path = folder / "D"
    path.chmod(0o640)
    found = tree.source(str(path))
    monkeypatch.setattr(os, "fchown", lambda _handle, uid, gid: owners.append((uid, gid, path.read_bytes())))
    tree.replace(found, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, owners) == (b"new", 0o640, [])
    monkeypatch.setattr(tree, "_keep_attributes", lambda _handle, _source: None)
    stat = types.SimpleNamespace(st_uid=4711, st_gid=4712, st_mode=0o100600)
    tree.replace(Source(str(path), b"new", stat), b"newer")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, owners) == (b"newer", 0o600, [(4711, 4712, b"new")])


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(folder, monkeypatch):
    def full(_handle, _contents):
        raise OSError(28, "No space left on device")

    found = tree.source(str(folder / "D"))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(HostError, match=r"/D cannot be written: No space left on device\.$"):
        tree.replace(found, b"new")
    assert sorted(os.listdir(folder)) == [".git", "D", "a", "b", "x"] and (folder / "D").read_bytes() == b"D"


def test_a_write_that_takes_a_part_goes_on(folder, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, contents: write(handle, contents[:2]))
    tree.replace(tree.source(str(folder / "D")), b"12345")
    assert (folder / "D").read_bytes() == b"12345"


@pytest.mark.parametrize(("pieces", "contents"), [([b"12345"], b"12345"), ([b"12", b"3", b"45"], b"12345"), ([b"12", b""], b"12")])
def test_a_read_that_gives_a_part_goes_on_until_the_file_ends(folder, monkeypatch, pieces, contents):
    (folder / "D").write_bytes(b"12345")
    monkeypatch.setattr(os, "read", lambda _handle, _size: pieces.pop(0))
    assert tree.source(str(folder / "D")).contents == contents


@pytest.mark.parametrize(
    ("name", "reason"), [("a", "is no regular file"), ("none", "cannot be read: No such file or directory"), ("x/y", "cannot be read: Not a directory")]
)
def test_what_is_no_source_is_refused_with_its_reason(folder, name, reason):
    assert tree.source(str(folder / name)) == Refusal(str(folder / name), reason)
    assert tree.contents_of(str(folder / name)) is None


def test_a_socket_is_no_source(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("s")
        assert tree.source("s") == Refusal("s", "is no regular file")


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
    os.setxattr(path, tree._NOTE, b"of the contents before")
    assert path.stat().st_mode & 0o777 == 0o775
    tree.replace(tree.source(str(path)), b"new")
    assert sorted(os.listxattr(path)) == [ACCESS, "user.mine"]
    assert (os.getxattr(path, "user.mine"), os.getxattr(path, ACCESS), path.stat().st_mode & 0o777) == (b"x", GROUP_READS, 0o775)


def test_the_default_of_the_folder_gives_nobody_a_right(attributes):
    os.setxattr(attributes / "a", DEFAULT, GROUP_READS)
    os.removexattr(attributes / "a/D", ACCESS) if ACCESS in os.listxattr(attributes / "a/D") else None
    tree.replace(tree.source(str(attributes / "a/D")), b"new")
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
        tree.replace(tree.source(str(attributes / "D")), b"new")
    except HostError as error:
        assert str(error) == f"{attributes}/D cannot be written: Operation not permitted."
    assert (attributes / "D").read_bytes() == contents
    assert sorted(os.listdir(attributes)) == [".git", "D", "a", "b", "x"]


@pytest.mark.parametrize(("number", "contents"), [(errno.ENOTSUP, b"new"), (errno.EIO, b"D")])
def test_a_file_system_without_attributes_has_none_and_a_fault_is_a_fault(folder, monkeypatch, number, contents):
    def fails(_file):
        raise OSError(number, "No")

    monkeypatch.setattr(os, "listxattr", fails)
    try:
        tree.replace(tree.source(str(folder / "D")), b"new")
    except HostError as error:
        assert str(error) == f"{folder}/D cannot be written: No."
    assert (folder / "D").read_bytes() == contents


def test_the_note_is_there_before_the_file_and_before_a_mode_that_forbids_it(folder, monkeypatch):
    done = []
    monkeypatch.setattr(os, "setxattr", lambda handle, name, value: done.append((name, value, os.fstat(handle).st_mode & 0o777)))
    rename = os.rename
    monkeypatch.setattr(os, "rename", lambda *names: (done.append("renamed"), rename(*names)))
    (folder / "D").chmod(0o444)
    tree.replace(tree.source(str(folder / "D")), b"new", b"note")
    assert done == [("user.buildfleet.before", b"note", 0o600), "renamed"]
    assert (folder / "D").stat().st_mode & 0o777 == 0o444


def test_a_note_that_cannot_be_kept_is_no_fault(folder, monkeypatch):
    def unsupported(*_arguments):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", unsupported)
    monkeypatch.setattr(os, "getxattr", unsupported)
    tree.replace(tree.source(str(folder / "D")), b"new", b"note")
    assert (folder / "D").read_bytes() == b"new"
    assert tree.remembered(str(folder / "D")) == b""


def test_a_note_is_found_again(folder):
    try:
        os.setxattr(folder / "D", "user.x", b"")
    except OSError:
        pytest.skip("this file system keeps no extended attributes")
    tree.replace(tree.source(str(folder / "D")), b"new", b"note")
    assert tree.remembered(str(folder / "D")) == b"note"


def test_a_backup_has_ansibles_name_and_the_files_mode(folder):
    (folder / "a/D").chmod(0o640)
    tree.replace(tree.source(str(folder / "a/D")), b"new", with_backup=True)
    (name,) = {found.name for found in (folder / "a").iterdir()} - {"D"}
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
    with pytest.raises(HostError, match=r"/a/D cannot be written: Operation not permitted\.$"):
        tree.replace(tree.source(str(folder / "a/D")), b"new", with_backup=with_backup)
    assert os.listdir(folder / "a") == ["D"]


@pytest.mark.parametrize(
    ("denied", "user", "owner", "mode", "reason"),
    [
        pytest.param("", 0, 4711, 0o444, "", id="root"),
        pytest.param("", 4711, 4711, 0o444, "", id="its owner"),
        pytest.param("folder", 4711, 4711, 0o644, "its folder is not writable.", id="a folder that may not be written"),
        pytest.param("", 4711, 4712, 0o666, "it belongs to another user, and would not after that.", id="a file of another user"),
        pytest.param("file", 4711, 4711, 0o644, "it is immutable (lsattr shows it).", id="immutable"),
        pytest.param("file", 4711, 4711, 0o444, "", id="a mode is no obstacle"),
    ],
)
def test_what_stands_in_the_way_of_a_write(monkeypatch, denied, user, owner, mode, reason):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "access", lambda path, _mode, effective_ids: path != {"folder": "/folder", "file": "/folder/D", "": ""}[denied])
    found = tree.obstacle(Source("/folder/D", b"", types.SimpleNamespace(st_uid=owner, st_mode=0o100000 | mode)))
    assert found == (reason and f"/folder/D cannot be written: {reason}")
