# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Source trees: each file once, and nothing of ours left behind."""

from __future__ import annotations

import os
import socket
import time

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._host import tree
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import Refusal


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
    os.mkfifo(folder / "a/.buildfleet-pipe-01234567")
    os.utime(folder / "a/.buildfleet-pipe-01234567", (0, 0))
    assert names(folder, folder) == ["D", "a/D", "b/D"]
    assert all((folder / name).exists() for name in (*old, *kept))
    assert len(list(tree.files([str(folder)], ["*"], [".git"], tidy=True))) == 4
    assert [name for name in (*old, *kept) if (folder / name).exists()] == kept
    # A pipe, a folder, and a young file.
    assert sorted(path.parent.name for path in folder.glob("?/.buildfleet-*-01234567")) == ["a", "a", "b"]


def test_what_a_killed_run_left_may_be_gone_or_not_ours_to_remove(folder, monkeypatch):
    (folder / "a/.buildfleet-D-01234567").write_bytes(b"")
    os.utime(folder / "a/.buildfleet-D-01234567", (0, 0))

    def denied(_path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "unlink", denied)
    assert len(list(tree.files([str(folder)], ["D"], [".git"], tidy=True))) == 3


def test_a_folder_that_cannot_be_read_is_named_and_the_rest_is_found(folder, monkeypatch):
    scandir = os.scandir

    def closed(path):
        if path.endswith("/a"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    found = list(tree.files([str(folder)], ["D"], [".git"]))
    assert found == [str(folder / "D"), Refusal(str(folder / "a"), "cannot be read: Permission denied"), str(folder / "b/D")]


@pytest.mark.parametrize(("pieces", "contents"), [([b"12345"], b"12345"), ([b"12", b"3", b"45"], b"12345"), ([b"12", b""], b"12")])
def test_a_read_that_gives_a_part_goes_on_until_the_file_ends(folder, monkeypatch, pieces, contents):
    (folder / "D").write_bytes(b"12345")
    monkeypatch.setattr(os, "read", lambda _handle, _size: pieces.pop(0))
    assert tree.source(str(folder / "D")).contents == contents


@pytest.mark.parametrize(
    ("name", "reason"), [("a", "is not a regular file"), ("none", "cannot be read: No such file or directory"), ("x/y", "cannot be read: Not a directory")]
)
def test_what_is_no_source_is_refused_with_its_reason(folder, name, reason):
    assert tree.source(str(folder / name)) == Refusal(str(folder / name), reason)
    assert tree.contents_of(str(folder / name)) is None


def test_a_socket_is_no_source(folder, monkeypatch):
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind("s")
        assert tree.source("s") == Refusal("s", "is not a regular file")
