# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Source trees: each file once, whole or not at all, and nothing of ours left behind."""

from __future__ import annotations

import multiprocessing.pool
import os
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

    def pool(processes):
        started.append(processes)
        return multiprocessing.pool.ThreadPool(processes)

    monkeypatch.setattr(tree, "FEW", 3)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(processors)))
    # Threads: a fork would not survive the Go runtime that another test of this process may have loaded.
    monkeypatch.setattr(multiprocessing, "get_context", lambda _way: types.SimpleNamespace(Pool=pool))
    assert list(tree.each(str.upper, iter("abcdefg"[:number]))) == list("ABCDEFG"[:number])
    assert started == ([min(processors, 4)] if number >= 3 and processors > 1 else [])


def test_a_file_is_replaced_whole_with_its_owner_and_mode(folder, monkeypatch):
    owners = []
    path = folder / "D"
    path.chmod(0o640)
    found = tree.source(str(path))
    monkeypatch.setattr(os, "fchown", lambda _handle, uid, gid: owners.append((uid, gid, path.read_bytes())))
    tree.replace(found, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, owners) == (b"new", 0o640, [])
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


def test_a_note_is_kept_beside_the_file_where_that_can_be(folder, monkeypatch):
    kept = {}
    monkeypatch.setattr(os, "setxattr", lambda path, name, value: kept.update({(path, name): value}))
    monkeypatch.setattr(os, "getxattr", lambda path, name: kept[path, name])
    tree.remember("/f", b"note")
    assert tree.remembered("/f") == b"note"

    def unsupported(*_arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", unsupported)
    monkeypatch.setattr(os, "getxattr", unsupported)
    tree.remember("/f", b"other")
    assert tree.remembered("/f") == b""
