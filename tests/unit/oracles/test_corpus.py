# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The script that collects the corpus, on repositories made here."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_spec = importlib.util.spec_from_file_location("corpus", Path(__file__).parents[2] / "oracles/corpus.py")
corpus = sys.modules.setdefault("corpus", importlib.util.module_from_spec(_spec))
_spec.loader.exec_module(corpus)

OLD, NEW, COMPOSE = b"FROM alpine:3.18\n", b"FROM alpine:3.19\n", b"services: {}\n"
LIST = f"""# a comment
org/tool
dockerfiles\t{corpus.digest(OLD)}\tdocker/Dockerfile
compose\t{corpus.digest(COMPOSE)}\tcompose.yaml
"""


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    return subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path):
    """A repository whose Dockerfile has changed since."""
    folder = tmp_path / "origin/org/tool"
    (folder / "docker").mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "compose.yaml").write_bytes(COMPOSE)
    for contents in (OLD, NEW):
        (folder / "docker/Dockerfile").write_bytes(contents)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message=a")
    (tmp_path / "list.tsv").write_text(LIST)
    return folder


def collect(tmp_path, clones, *arguments):
    return corpus.main([str(clones), str(tmp_path / "corpus"), f"--list={tmp_path / 'list.tsv'}", *arguments])


def files(archive):
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def collected(tmp_path):
    return {**files(tmp_path / "corpus/dockerfiles.tar.xz"), **files(tmp_path / "corpus/compose.tar.xz")}


WHOLE = {"org+tool/docker/Dockerfile": OLD, "org+tool/compose.yaml": COMPOSE}


@pytest.mark.parametrize("name", ["org+tool", "org/tool", "tool", "tool.git"])
@pytest.mark.parametrize("bare", [False, True], ids=["with a work tree", "bare"])
def test_an_old_file_comes_from_the_clones_objects(repository, tmp_path, capsys, name, bare):
    subprocess.run(["git", "clone", "--quiet", *["--bare"] * bare, str(repository), str(tmp_path / "clones" / name)], check=True)
    assert collect(tmp_path, tmp_path / "clones") == 0
    assert collected(tmp_path) == WHOLE
    assert capsys.readouterr().out == f"2 of 2 files are in {tmp_path / 'corpus'}\n"


def test_a_copy_of_a_work_tree_will_do_for_what_did_not_change(repository, tmp_path, capsys):
    copy = tmp_path / "clones/org+tool/docker"
    copy.mkdir(parents=True)
    (copy / "Dockerfile").write_bytes(OLD)
    (copy.parent / "compose.yaml").write_bytes(COMPOSE + b"# edited\n")
    assert collect(tmp_path, tmp_path / "clones") == 1
    assert collected(tmp_path) == {"org+tool/docker/Dockerfile": OLD}
    assert capsys.readouterr().out == f"org/tool: 1 of 2 files are missing\n1 of 2 files are in {tmp_path / 'corpus'}\n"


def test_what_is_not_there_is_said_and_nothing_is_cloned_unasked(repository, tmp_path, capsys):
    (tmp_path / "clones").mkdir()
    assert collect(tmp_path, tmp_path / "clones", f"--source={repository.parents[1]}") == 1
    assert collected(tmp_path) == {} and not list((tmp_path / "clones").iterdir())
    assert capsys.readouterr().out.startswith("org/tool: 2 of 2 files are missing\n")


def test_a_clone_is_made_with_the_listed_objects_alone(repository, tmp_path):
    for name in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        git(repository, "config", name, "true")
    (tmp_path / "clones").mkdir()
    assert collect(tmp_path, tmp_path / "clones", "--clone", f"--source=file://{repository.parents[1]}") == 0
    assert collected(tmp_path) == WHOLE
    clone = tmp_path / "clones/org+tool"
    assert not corpus.from_objects(clone, [corpus.digest(NEW)])


def test_the_list_is_whole():
    found = corpus.listed(corpus.LIST.read_text(encoding="utf-8"))
    assert len({each.repository for each in found}) == 136
    assert [sum(each.kind == kind for each in found) for kind in ("dockerfiles", "compose")] == [10018, 1431]
    assert all(len(each.digest) == 40 and each.repository.count("/") == 1 and each.path for each in found)
