# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The storage of a registry in proxy mode: its size, what was not used longest, and how to remove that while images are pulled.

The registry (2.8) finds a blob through a link of the repository, then opens its data. So a removal first takes the links, which ends new
requests for the stored copy: the registry fetches such a blob again. The data goes some time later, when every request that saw a link
has opened the file, and only if no link has come back. A removal that was interrupted leaves data without links, which goes first next time.
Empty folders stay a while: the registry makes a folder before it writes the file in it, and fails if the folder is gone by then.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import typing as t
from pathlib import Path

DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
LAYERS, REVISIONS = "_layers/sha256", "_manifests/revisions/sha256"
REREAD_SECONDS = 10.0
EMPTY_SECONDS = 60.0
UNLINKED_SECONDS = 60.0  # the registry moves the data of a blob to its place before it writes the link


class Image(t.NamedTuple):
    """What is removed together: a manifest of a repository with the layers that no other manifest needs, or a blob without a manifest."""

    used: float
    order: int  # an index before its manifests if both were used at the same time
    repository: str  # empty: a blob without a manifest
    digest: str
    blobs: t.FrozenSet[str]


class Removal(t.NamedTuple):
    since: float
    size: int
    digests: t.FrozenSet[str]


def digests_of(manifest: bytes) -> t.Tuple[t.FrozenSet[str], t.FrozenSet[str]]:
    """The blobs and the manifests that a manifest names."""
    try:
        parsed = json.loads(manifest)
    except ValueError:
        return frozenset(), frozenset()
    if not isinstance(parsed, dict):
        return frozenset(), frozenset()
    named = [parsed.get("config"), *(parsed.get("layers") or [])]
    named += [{"digest": layer.get("blobSum")} for layer in parsed.get("fsLayers") or []]
    return _hexes(named), _hexes(parsed.get("manifests") or [])


def _hexes(descriptors: t.List[t.Any]) -> t.FrozenSet[str]:
    found = (DIGEST.fullmatch(str(entry.get("digest"))) for entry in descriptors if isinstance(entry, dict))
    return frozenset(match.group(1) for match in found if match)


class Storage:
    """The folder of one registry. `now` and `log` are replaced in tests."""

    def __init__(self, root: str, log: t.Callable[[str], None] = print, now: t.Callable[[], float] = time.time) -> None:
        self.root = Path(root) / "docker/registry/v2"
        self.schedule = Path(root) / "scheduler-state.json"  # what expires when; the registry does not start if it cannot read it
        self.log = log
        self.now = now
        self.grace, self.shortest_grace = 2.0, 0.5  # seconds until every request that saw a link has opened the file; the second if the disk is full
        self._sizes: t.Dict[str, t.Tuple[int, t.Dict[str, int]]] = {}  # of each folder of blobs, by its time of change
        self._named: t.Dict[str, t.Tuple[t.FrozenSet[str], t.FrozenSet[str]]] = {}
        self._removals: t.List[Removal] = []
        self._seen: t.Optional[t.Tuple[float, int]] = None  # when the size was looked at, and the size
        self._rate = 0.0  # bytes a second that arrive
        self._pause = 1.0  # seconds until this is called again; more on a busy machine
        self._empty: t.List[t.Tuple[float, Path]] = []
        self._reread = 0.0

    # Size

    def size(self) -> int:
        """Bytes of stored blobs and running downloads. Folders that did not change are not read again."""
        return sum(self._blobs().values()) + self._uploads()

    def _blobs(self) -> t.Dict[str, int]:
        blobs: t.Dict[str, int] = {}
        shards = _folders(self.root / "blobs/sha256")
        for gone in self._sizes.keys() - {shard.name for shard in shards}:
            del self._sizes[gone]
        for shard in shards:
            blobs.update(self._shard(shard))
        return blobs

    def _shard(self, shard: Path) -> t.Dict[str, int]:
        try:
            changed = shard.stat().st_mtime_ns
        except OSError:
            return {}
        if shard.name in self._sizes and self._sizes[shard.name][0] == changed:
            return self._sizes[shard.name][1]
        found = {folder.name: size_of(folder / "data") for folder in _folders(shard)}
        sizes = {digest: size for digest, size in found.items() if size is not None}
        # A folder that changed just now can change again within the same tick of the clock.
        if len(sizes) == len(found) and changed < time.time_ns() - 1_000_000_000:
            self._sizes[shard.name] = (changed, sizes)
        return sizes

    def _uploads(self) -> int:
        return sum(size_of(upload / "data") or 0 for repository in self._repositories() for upload in _folders(repository / "_uploads"))

    def _repositories(self) -> t.List[Path]:
        return list(_repositories(self.root / "repositories"))

    # What was used when

    def images(self) -> t.List[Image]:
        """Everything that can be removed, what was not used longest first."""
        used = {digest: self._used(digest) for digest in self._blobs()}
        self._named = {digest: named for digest, named in self._named.items() if digest in used}
        images: t.List[Image] = []
        needed: t.Set[str] = set()
        for folder in self._repositories():
            repository, revisions = str(folder.relative_to(self.root / "repositories")), self._revisions(folder)
            parents = {child: digest for digest in revisions for child in self._references(digest)[1]}
            for digest in revisions:
                blobs = self._references(digest)[0] | {digest}
                needed |= blobs
                last, order = used.get(digest, 0.0), 0
                if digest in parents:
                    last, order = max(last, used.get(parents[digest], 0.0)), 1
                images.append(Image(last, order, repository, digest, blobs))
        linked = self._linked(LAYERS)
        for digest in used.keys() - needed:
            # What nothing can ask for goes first, unless it is so young that its link may still come.
            stale = digest not in linked and used[digest] < self.now() - UNLINKED_SECONDS
            images.append(Image(0.0 if stale else used[digest], 0, "", digest, frozenset([digest])))
        return sorted(images)

    @staticmethod
    def _revisions(repository: Path) -> t.List[str]:
        return [digest for digest in _entries(repository / REVISIONS) if os.path.exists(f"{repository}/{REVISIONS}/{digest}/link")]

    def _linked(self, *kinds: str) -> t.Set[str]:
        folders = (folder / kind for folder in self._repositories() for kind in kinds)
        return {digest for folder in folders for digest in _entries(folder) if os.path.exists(f"{folder}/{digest}/link")}

    def _used(self, digest: str) -> float:
        try:
            return self._data(digest).stat().st_atime
        except OSError:
            return 0.0

    def note_use(self) -> None:
        """Let the next read of each manifest change its access time: Linux (relatime) does so once a day, or if the file changed since."""
        if self.now() < self._reread + REREAD_SECONDS:
            return
        self._reread = self.now()
        for digest in self._linked(REVISIONS):
            try:
                status = self._data(digest).stat()
                if status.st_atime_ns > status.st_ctime_ns:
                    os.utime(self._data(digest), ns=(status.st_atime_ns, status.st_mtime_ns))
            except OSError:
                continue  # removed meanwhile

    def _references(self, digest: str) -> t.Tuple[t.FrozenSet[str], t.FrozenSet[str]]:
        if digest not in self._named:
            content = _read_unseen(self._data(digest))
            if content is None:
                return frozenset(), frozenset()
            self._named[digest] = digests_of(content)
        return self._named[digest]

    def _data(self, digest: str) -> Path:
        return self.root / "blobs/sha256" / digest[:2] / digest / "data"

    # Removal

    def keep_below(self, limit: int) -> None:
        """Start a tenth below the limit, or earlier by what will arrive until the data of removed images is gone; stop 5 % below that."""
        self.note_use()
        now, size = self.now(), self.size()
        if self._seen and now > self._seen[0]:
            self._rate = max((size - self._seen[1]) / (now - self._seen[0]), self._rate * 0.9)
            self._pause = max(1.0, now - self._seen[0], self._pause * 0.9)
        self._finish(self.grace if size < limit * 0.9 else self.shortest_grace)
        size = self.size()
        self._seen = now, size
        most = max(min(limit * 0.9, limit - self._rate * (self.shortest_grace + self._pause)), limit * 0.25)
        size -= sum(removal.size for removal in self._removals)
        if size > most:
            self._begin(size, int(most - limit * 0.05))

    @property
    def removes(self) -> bool:
        """Whether data waits for its end, and `keep_below` should be called soon."""
        return bool(self._removals)

    def _begin(self, size: int, wanted: int) -> None:
        sizes = self._blobs()
        images = self.images()
        holders: t.Dict[str, int] = {}
        for image in images:
            for digest in image.blobs:
                holders[digest] = holders.get(digest, 0) + 1
        leaving = {digest for removal in self._removals for digest in removal.digests}
        freed: t.Dict[str, int] = {}
        victims: t.List[Image] = []
        for image in images:
            if size - sum(freed.values()) <= wanted:
                break
            if image.digest in leaving:
                continue
            victims.append(image)
            for digest in image.blobs:
                holders[digest] -= 1
                if not holders[digest] and digest not in leaving:
                    freed[digest] = sizes.get(digest, 0)
        if victims:
            self._unlink(victims, frozenset(freed))
            self._removals.append(Removal(self.now(), sum(freed.values()), frozenset(freed)))
            count = sum(1 for image in victims if image.repository)
            self.log(f"evicting {count} images, {len(freed)} blobs, {sum(freed.values()) / 1e6:.1f} MB")

    def _unlink(self, victims: t.List[Image], digests: t.FrozenSet[str]) -> None:
        for image in victims:
            if image.repository:
                repository = self.root / "repositories" / image.repository
                for tag in _folders(repository / "_manifests/tags"):
                    if _text(tag / "current/link") == f"sha256:{image.digest}":
                        self._remove(tag / "current/link")
                    self._remove(tag / "index/sha256" / image.digest / "link")
                self._remove(repository / REVISIONS / image.digest / "link")
        for folder in self._repositories():
            for digest in digests.intersection(_entries(folder / LAYERS)):
                self._remove(folder / LAYERS / digest / "link")

    def _finish(self, grace: float) -> None:
        """Remove the data whose links are gone long enough, except what was fetched and linked again."""
        due = [removal for removal in self._removals if removal.since + grace <= self.now()]
        self._removals = [removal for removal in self._removals if removal not in due]
        for removal in due:
            for digest in removal.digests - self._linked(LAYERS, REVISIONS):
                self._remove(self._data(digest))
                self._sizes.pop(digest[:2], None)  # its time of change stays the same
        old = [folder for since, folder in self._empty if since + EMPTY_SECONDS <= self.now()]
        self._empty = self._empty[len(old) :]
        for folder in old:
            _remove_empty(folder)

    def _remove(self, file: Path) -> None:
        if _unlink(file):
            self._empty.append((self.now(), file.parent))

    # After a crash

    def repair(self) -> None:
        """Before the registry starts: remove what a killed registry left half written, which it would not repair itself.

        Layers come by a rename after their digest was checked; 2.8 writes links, manifests and its schedule in place, version 3 beside them (*.tmp).
        """
        removed = 0
        if not _json(self.schedule):
            removed += _unlink(self.schedule)
        for unfinished in [*self.schedule.parent.glob("*.tmp"), *self.root.glob("**/*.tmp")]:
            removed += _unlink(unfinished)
        for folder in self._repositories():
            shutil.rmtree(folder / "_uploads", ignore_errors=True)
            for link in sorted(folder.glob("_*/**/link")):
                if not DIGEST.fullmatch(_text(link)):
                    removed += _unlink(link)
        for digest in self._blobs().keys() - self._linked(LAYERS):
            content = _read_unseen(self._data(digest))
            if content is not None and hashlib.sha256(content).hexdigest() != digest:
                removed += _unlink(self._data(digest))
        for folder in sorted(self.root.glob("*/**/"), reverse=True):
            _remove_empty(folder)
        if removed:
            self.log(f"removed {removed} files that were not completely written")


def _repositories(folder: Path) -> t.Iterator[Path]:
    children = _entries(folder)
    if any(child in ("_layers", "_manifests", "_uploads") for child in children):
        yield folder
    for child in children:
        if not child.startswith("_"):
            yield from _repositories(folder / child)


def _entries(folder: Path) -> t.List[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _folders(folder: Path) -> t.List[Path]:
    return [folder / entry for entry in _entries(folder)]


def _unlink(file: Path) -> bool:
    try:
        file.unlink()
    except OSError:
        return False
    return True


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return  # something was written again


def size_of(file: Path) -> t.Optional[int]:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _json(file: Path) -> bool:
    try:
        json.loads(_text(file))
    except ValueError:
        return False
    return True


def _read_unseen(file: Path) -> t.Optional[bytes]:
    """Read a manifest without changing its access time, which tells when the registry used it."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOATIME)
    except OSError:
        return None
    with open(descriptor, "rb") as opened:
        return opened.read()
