# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import hashlib
import json
import os

import pytest
import storage

LAYER = 1000


class Registry:
    """Writes a storage as the registry does."""

    def __init__(self, folder):
        self.folder = folder
        self.root = folder / "docker/registry/v2"
        self.time = 1_000_000.0
        self.log = []
        self.storage = storage.Storage(str(folder), self.log.append, lambda: self.time)

    def link(self, path, digest):
        file = self.root / "repositories" / path / "link"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"sha256:{digest}")
        return file

    def blob(self, content, used=0.0):
        digest = hashlib.sha256(content).hexdigest()
        file = self.data(digest)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, (self.time + used, self.time))
        return digest

    def data(self, digest):
        return self.root / "blobs/sha256" / digest[:2] / digest / "data"

    def layer(self, repository, name, used=0.0):
        digest = self.blob(name.encode().ljust(LAYER, b"."), used)
        self.link(f"{repository}/_layers/sha256/{digest}", digest)
        return digest

    def manifest(self, repository, tag, named, used):
        digest = self.blob(json.dumps(named).encode(), used)
        self.link(f"{repository}/_manifests/revisions/sha256/{digest}", digest)
        if tag:
            self.link(f"{repository}/_manifests/tags/{tag}/current", digest)
            self.link(f"{repository}/_manifests/tags/{tag}/index/sha256/{digest}", digest)
        return digest

    def image(self, repository, layers, used, tag="1"):
        digests = [self.layer(repository, layer) for layer in layers]
        return self.manifest(repository, tag, {"layers": [{"digest": f"sha256:{digest}"} for digest in digests]}, used)

    def upload(self, repository, size):
        file = self.root / "repositories" / repository / "_uploads/1/data"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"." * size)
        return file

    def left(self):
        return {file.parent.name for file in self.root.glob("blobs/sha256/*/*/data")}

    def links(self):
        return sorted(str(file.parent.relative_to(self.root / "repositories")) for file in self.root.glob("repositories/**/link"))

    def wait(self, seconds, limit):
        self.time += seconds
        self.storage.keep_below(limit)


@pytest.fixture()
def registry(tmp_path):
    return Registry(tmp_path)


def layer_digest(name):
    return hashlib.sha256(name.encode().ljust(LAYER, b".")).hexdigest()


@pytest.mark.parametrize(
    ("manifest", "blobs", "manifests"),
    [
        pytest.param({"config": {"digest": "sha256:" + "a" * 64}, "layers": [{"digest": "sha256:" + "b" * 64}]}, "ab", "", id="image"),
        pytest.param({"manifests": [{"digest": "sha256:" + "c" * 64}, {"digest": "sha256:" + "d" * 64}]}, "", "cd", id="index"),
        pytest.param({"schemaVersion": 1, "fsLayers": [{"blobSum": "sha256:" + "e" * 64}]}, "e", "", id="schema 1"),
        pytest.param({"layers": [{"digest": "sha256:../../x"}, "text", {}], "config": None}, "", "", id="no digest"),
        pytest.param([], "", "", id="a list"),
    ],
)
def test_what_a_manifest_names(manifest, blobs, manifests):
    assert storage.digests_of(json.dumps(manifest).encode()) == ({letter * 64 for letter in blobs}, {letter * 64 for letter in manifests})


def test_a_layer_in_place_of_a_manifest_names_nothing():
    assert storage.digests_of(b"\x1f\x8b") == (frozenset(), frozenset())


def test_the_size_counts_blobs_once_and_running_downloads(registry):
    first = registry.image("library/a", ["base", "one"], 0)
    registry.image("library/b", ["base"], 0)
    registry.upload("library/c", 500)
    manifests = sum(registry.data(digest).stat().st_size for digest in registry.left()) - 2 * LAYER
    assert registry.storage.size() == 2 * LAYER + manifests + 500
    # Folders that did not change for a second are remembered; a removal changes them.
    for shard in (registry.root / "blobs/sha256").iterdir():
        os.utime(shard, (0, 0))
    before = registry.storage.size()
    assert registry.storage.size() == before
    size = registry.data(first).stat().st_size
    registry.data(first).unlink()
    registry.data(first).parent.rmdir()
    assert registry.storage.size() == before - size


def test_a_layer_is_removed_and_counted_once(registry):
    """The folder of a removed layer stays for a minute, and that of 256 of them does not change with it."""
    for number in range(4):
        registry.image("library/a", [f"layer {number}"], used=number, tag=str(number))
    for folder in registry.root.glob("blobs/sha256/*"):
        os.utime(folder, (0, 0))
    registry.storage.keep_below(4000)
    registry.wait(2, 4000)
    left = sum(file.stat().st_size for file in registry.root.glob("blobs/sha256/*/*/data"))
    assert registry.storage.size() == left
    registry.wait(2, 4000)
    assert len(registry.log) == 1, registry.log


def test_an_empty_storage(registry):
    registry.storage.repair()
    registry.storage.keep_below(1)
    assert (registry.storage.size(), registry.storage.images(), registry.log) == (0, [], [])


def test_the_image_that_was_not_used_longest_goes_first(registry):
    old = registry.image("library/old", ["base", "old"], used=10)
    new = registry.image("library/new", ["base", "new"], used=20)
    registry.storage.keep_below(3200)
    assert registry.links() == sorted(
        [
            f"library/new/_layers/sha256/{layer_digest('base')}",
            f"library/new/_layers/sha256/{layer_digest('new')}",
            f"library/new/_manifests/revisions/sha256/{new}",
            "library/new/_manifests/tags/1/current",
            f"library/new/_manifests/tags/1/index/sha256/{new}",
            f"library/old/_layers/sha256/{layer_digest('base')}",
        ]
    )
    assert registry.left() == {old, new, *map(layer_digest, ("base", "old", "new"))}, "requests that saw a link still open the file"
    registry.wait(1, 10_000)
    assert old in registry.left()
    registry.wait(1, 10_000)
    assert registry.left() == {new, *map(layer_digest, ("base", "new"))}
    assert registry.log == ["evicting 1 images, 2 blobs, 0.0 MB"]


def test_on_a_full_disk_data_goes_sooner(registry):
    old = registry.image("library/old", ["base", "old"], used=10)
    new = registry.image("library/new", ["base", "new"], used=20)
    registry.storage.keep_below(3200)
    registry.wait(0.4, 3200)
    assert old in registry.left()
    registry.wait(0.1, 3200)
    assert registry.left() == {new, *map(layer_digest, ("base", "new"))}


def test_what_will_arrive_meanwhile_has_room(registry):
    registry.image("library/old", ["one", "two"], used=10)
    registry.storage.keep_below(9000)
    registry.image("library/new", ["three", "four"], used=20)  # 2,000 bytes and a manifest in a second, so more than 3,000 in a second and a half
    registry.wait(1, 9000)
    assert registry.log == []
    registry.image("library/newer", ["five", "six"], used=30)
    registry.wait(1, 9000)
    assert registry.log == ["evicting 1 images, 3 blobs, 0.0 MB"]


def test_on_a_busy_machine_the_next_look_is_expected_as_late_as_this_one(registry):
    registry.image("library/old", ["one", "two"], used=10)
    registry.storage.keep_below(9000)
    registry.image("library/new", ["three", "four"], used=20)  # more than 2,000 bytes in four seconds, so 2,600 in four and a half
    registry.wait(4, 9000)
    assert registry.log == []
    registry.image("library/newer", ["five", "six"], used=30)
    registry.wait(4, 9000)
    assert registry.log == ["evicting 1 images, 3 blobs, 0.0 MB"]


def test_below_the_limit_nothing_goes(registry):
    registry.image("library/a", ["base", "one"], used=0)
    before = registry.links(), registry.left()
    registry.storage.keep_below(10_000)
    registry.wait(3, 10_000)
    assert (registry.links(), registry.left(), registry.log) == (*before, [])


def test_what_is_fetched_again_meanwhile_stays(registry):
    registry.image("library/old", ["old"], used=10)
    registry.storage.keep_below(100)
    registry.link(f"library/other/_layers/sha256/{layer_digest('old')}", layer_digest("old"))
    registry.wait(2, 10_000)
    assert registry.left() == {layer_digest("old")}


def test_nothing_is_removed_twice_while_it_waits(registry):
    registry.image("library/old", ["old"], used=10)
    registry.image("library/new", ["new"], used=20)
    registry.storage.keep_below(1500)
    registry.storage.keep_below(1500)
    assert len(registry.log) == 1
    registry.storage.keep_below(10)
    registry.storage.keep_below(10)
    assert len(registry.log) == 2


def test_an_index_goes_before_its_manifests_and_they_are_used_when_it_is(registry):
    child = registry.image("library/a", ["one"], used=1, tag="")
    index = registry.manifest("library/a", "1", {"manifests": [{"digest": f"sha256:{child}"}]}, used=30)
    other = registry.image("library/b", ["two"], used=20)
    assert [image.digest for image in registry.storage.images()] == [other, index, child]


def test_data_without_a_link_goes_first_unless_it_is_young(registry):
    stale = registry.blob(b"stale", used=-100)
    young = registry.blob(b"young", used=-1)
    linked = registry.layer("library/a", "linked", used=-200)
    assert [(image.digest, image.used) for image in registry.storage.images()] == [(stale, 0.0), (linked, registry.time - 200), (young, registry.time - 1)]


def test_a_shared_manifest_stays_in_the_other_repository(registry):
    digest = registry.image("library/a", ["one"], used=10)
    registry.image("library/b", ["one"], used=10)
    image = registry.storage.images()[0]
    assert (image.repository, image.digest) == ("library/a", digest)
    registry.storage._unlink([image], frozenset())
    assert f"library/b/_manifests/revisions/sha256/{digest}" in registry.links()
    assert f"library/a/_manifests/revisions/sha256/{digest}" not in registry.links()


def test_a_tag_that_moved_keeps_its_new_manifest(registry):
    old = registry.image("library/a", ["one"], used=10)
    new = registry.image("library/a", ["two"], used=20)
    registry.storage._unlink([image for image in registry.storage.images() if image.digest == old], frozenset())
    assert (registry.root / "repositories/library/a/_manifests/tags/1/current/link").read_text() == f"sha256:{new}"


def test_folders_that_stay_empty_are_removed_later(registry):
    registry.image("library/old", ["old"], used=10)
    registry.storage.keep_below(100)
    registry.wait(2, 10_000)
    folder = registry.data(layer_digest("old")).parent
    assert folder.exists()
    registry.layer("library/old", "old")
    registry.wait(60, 10_000)
    assert folder.exists()
    assert not (registry.root / "repositories/library/old/_manifests/tags/1/current").exists()


def test_each_use_of_a_manifest_is_seen(registry):
    """With relatime the access time changes only if the file changed after the last access."""
    digest = registry.image("library/a", ["one"], used=10_000_000_000)
    before = registry.data(digest).stat()
    registry.storage.note_use()
    after = registry.data(digest).stat()
    assert after.st_ctime_ns > before.st_ctime_ns
    assert (after.st_atime_ns, after.st_mtime_ns) == (before.st_atime_ns, before.st_mtime_ns)
    registry.storage.note_use()
    registry.time += 5
    registry.storage.note_use()
    assert registry.data(digest).stat().st_ctime_ns == after.st_ctime_ns


def test_our_own_reading_of_a_manifest_is_no_use(registry):
    digest = registry.image("library/a", ["one"], used=-100)
    registry.storage.images()
    assert registry.data(digest).stat().st_atime == registry.time - 100


def test_a_manifest_that_is_gone_holds_nothing(registry):
    digest = registry.image("library/a", ["one"], used=0)
    registry.data(digest).unlink()
    assert [(image.digest, image.used) for image in registry.storage.images() if image.repository] == [(digest, 0.0)]
    registry.storage.note_use()


@pytest.mark.parametrize("written", [b"", b'{"layers"'])
def test_what_a_killed_registry_left_half_written_is_removed(registry, written):
    digest = registry.image("library/a", ["one", "two"], used=0)
    unlinked = registry.blob(b'{"manifests": []}')
    registry.data(digest).write_bytes(written)
    registry.data(unlinked).write_bytes(written)
    torn = registry.link(f"library/a/_layers/sha256/{layer_digest('two')}", "")
    upload = registry.upload("library/a", 10)
    registry.storage.repair()
    assert not upload.exists()
    assert not torn.parent.exists()
    assert registry.left() == {layer_digest("one"), layer_digest("two")}
    assert registry.log == ["removed 3 files that were not completely written"]


@pytest.mark.parametrize("content", ['{"library/a@sha256:0": {"Key": "library/a', ""], ids=["torn", "empty"])
def test_a_schedule_that_the_registry_cannot_read_is_removed(registry, content):
    """docker-registry 2.8.2 writes it in place, and ends with `unexpected end of JSON input` at its next start."""
    schedule = registry.folder / "scheduler-state.json"
    schedule.write_text(content)
    registry.storage.repair()
    assert not schedule.exists()
    assert registry.log == ["removed 1 files that were not completely written"]


def test_what_version_3_wrote_beside_its_files_before_it_was_killed(registry):
    digest = registry.image("library/a", ["one"], used=0)
    unfinished = [
        registry.folder / "scheduler-state.json.2f1e.tmp",
        registry.data(digest).with_name("data.2f1e.tmp"),
        registry.data("b" * 64).with_name("data.2f1e.tmp"),
        registry.root / "repositories/library/a/_manifests/tags/1/current/link.2f1e.tmp",
    ]
    for file in unfinished:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    left = registry.links(), registry.left()
    registry.storage.repair()
    assert [file for file in unfinished if file.exists()] == []
    assert not registry.data("b" * 64).parent.exists()
    assert (registry.links(), registry.left()) == left
    assert registry.log == ["removed 4 files that were not completely written"]


def test_a_whole_storage_is_left_alone(registry):
    registry.image("library/a", ["one"], used=0)
    registry.image("library/not.tmp", ["one"], used=0)
    schedule = registry.folder / "scheduler-state.json"
    schedule.write_text("{}")
    before = registry.links(), registry.left()
    registry.storage.repair()
    assert (registry.links(), registry.left(), registry.log) == (*before, [])
    assert schedule.read_text() == "{}"


def test_what_disappears_while_it_is_read(registry, monkeypatch):
    registry.image("library/a", ["one"], used=0)
    monkeypatch.setattr(storage, "_folders", lambda folder: [folder / "gone"])
    assert registry.storage.size() == 0
