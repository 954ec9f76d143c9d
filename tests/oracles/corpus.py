# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collect the corpus: other people's Dockerfiles and compose files, which corpus.tsv lists by repository, path and digest.

    python tests/oracles/corpus.py CLONES CORPUS [--clone]

CLONES is a folder of clones, named owner+name, owner/name or name; bare clones and plain copies of work trees will do. A file is taken
from the work tree where it has the listed digest, else from the clone's objects, however old they are. With --clone, repositories that
are not there are cloned from GitHub without their contents, and the listed objects alone are fetched.
CORPUS becomes a folder with dockerfiles.tar.xz and compose.tar.xz, for the variable BUILDFLEET_CORPUS of `make corpus`.

The digest is git's: SHA-1 of "blob", the length and the contents. The files are under their own licences and are not part of this project.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tarfile
import typing as t
from pathlib import Path

LIST = Path(__file__).with_suffix(".tsv")
GITHUB = "https://github.com"


class Listed(t.NamedTuple):
    kind: str
    repository: str  # owner/name
    path: str
    digest: str


def listed(text: str) -> t.List[Listed]:
    """A line without a tab names a repository; the lines that follow are its files: kind, digest, path."""
    found, repository = [], ""
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        kind, *rest = line.split("\t")
        if not rest:
            repository = kind
        else:
            found.append(Listed(kind, repository, rest[1], rest[0]))
    return found


def digest(contents: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(contents) + contents, usedforsecurity=False).hexdigest()


def clone_of(repository: str, clones: Path) -> t.Optional[Path]:
    names = (repository.replace("/", "+"), repository, repository.rpartition("/")[2])
    return next((clones / f"{name}{end}" for name in names for end in ("", ".git") if (clones / f"{name}{end}").is_dir()), None)


def git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    # A folder inside another clone would answer for that one.
    ceiling = {"GIT_CEILING_DIRECTORIES": str(folder.parent), "GIT_NO_LAZY_FETCH": "1", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    done = subprocess.run(["git", "-C", str(folder), *arguments], input=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=ceiling, check=False)
    return done.stdout if done.returncode == 0 else b""


def from_objects(folder: Path, digests: t.Iterable[str]) -> t.Dict[str, bytes]:
    """The contents of those blobs that the clone has."""
    answers, found = io.BytesIO(git(folder, "cat-file", "--batch", given="".join(f"{each}\n" for each in digests).encode())), {}
    for header in iter(answers.readline, b""):
        name, kind, *size = header.split()
        if kind == b"blob":
            found[name.decode()] = answers.read(int(size[0]))
            answers.read(1)
    return found


def clone(repository: str, folder: Path, digests: t.Iterable[str], source: str) -> None:
    subprocess.run(["git", "clone", "--quiet", "--bare", "--filter=blob:none", f"{source}/{repository}", str(folder)], check=False)
    fetch = "-c fetch.negotiationAlgorithm=noop fetch --quiet --no-tags --no-write-fetch-head --filter=blob:none --stdin origin"
    subprocess.run(["git", "-C", str(folder), *fetch.split()], input="".join(f"{each}\n" for each in digests).encode(), check=False)


def contents_of(files: t.Sequence[Listed], clones: Path) -> t.Dict[Listed, bytes]:
    """What is there of the files of one repository."""
    folder = clone_of(files[0].repository, clones)
    if not folder:
        return {}
    found = {}
    for each in files:
        path = folder / each.path
        contents = path.read_bytes() if path.is_file() else b""
        if digest(contents) == each.digest:
            found[each] = contents
    missing = [each for each in files if each not in found]
    objects = from_objects(folder, [each.digest for each in missing]) if missing else {}
    return {**found, **{each: objects[each.digest] for each in missing if each.digest in objects}}


def write(archive: Path, files: t.Mapping[Listed, bytes]) -> None:
    with tarfile.open(archive, "w:xz") as tar:
        for each, contents in sorted(files.items()):
            member = tarfile.TarInfo(f"{each.repository.replace('/', '+')}/{each.path}")
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))


def main(arguments: t.Optional[t.List[str]] = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("clones", type=Path)
    options.add_argument("corpus", type=Path)
    options.add_argument("--clone", action="store_true", help="clone what is not there")
    options.add_argument("--source", default=GITHUB, help="where to clone from")
    options.add_argument("--list", type=Path, default=LIST)
    given = options.parse_args(arguments)
    wanted = listed(given.list.read_text(encoding="utf-8"))
    found: t.Dict[Listed, bytes] = {}
    for repository in sorted({each.repository for each in wanted}):
        files = [each for each in wanted if each.repository == repository]
        if given.clone and not clone_of(repository, given.clones):
            clone(repository, given.clones / repository.replace("/", "+"), {each.digest for each in files}, given.source)
        there = contents_of(files, given.clones)
        found.update(there)
        if len(there) < len(files):
            print(f"{repository}: {len(files) - len(there)} of {len(files)} files are missing")
    given.corpus.mkdir(parents=True, exist_ok=True)
    for kind in sorted({each.kind for each in wanted}):
        write(given.corpus / f"{kind}.tar.xz", {each: contents for each, contents in found.items() if each.kind == kind})
    print(f"{len(found)} of {len(wanted)} files are in {given.corpus}")
    return int(len(found) < len(wanted))


if __name__ == "__main__":
    sys.exit(main())
