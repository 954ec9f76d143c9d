# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host was like before us is kept whole, or the run says that it is damaged."""

from __future__ import annotations

import json
import os

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record, apply


@pytest.fixture
def host(tmp_path):
    (tmp_path / "file").write_bytes(b"first")
    return Host()


def saved(host, tmp_path):
    record = Record(host, "test", str(tmp_path / "records"))
    changes = {str(tmp_path / "file"): File(b"ours", 0o600, os.geteuid(), os.getegid()), str(tmp_path / "new"): File(b"x", 0o644, os.geteuid(), os.getegid())}
    record.remember(changes)
    record.save()
    apply(host, changes)
    return changes


def test_every_byte_is_given_back_and_the_record_goes(host, tmp_path):
    first = host.read(str(tmp_path / "file"))
    saved(host, tmp_path)
    record = Record(host, "test", str(tmp_path / "records"))
    assert record.paths == [str(tmp_path / "file"), str(tmp_path / "new")]
    assert all(record.as_we_left_it(path, host.read(path)) for path in record.paths)
    apply(host, {path: record.first(path) for path in record.paths})
    record.forget()
    assert host.read(str(tmp_path / "file")) == first
    assert host.names(str(tmp_path)) == ["file"]


def test_what_is_saved_already_is_not_written_again(host, tmp_path):
    def written():
        """Without the time of the last read, which each run changes."""
        status = (tmp_path / "records/test.json").stat()
        return status.st_ino, status.st_mtime_ns, status.st_ctime_ns

    saved(host, tmp_path)
    before = written()
    Record(host, "test", str(tmp_path / "records")).save()
    assert written() == before


def test_a_run_that_did_not_hold_leaves_the_record_as_it_found_it(host, tmp_path):
    record = Record(host, "test", str(tmp_path / "records"))
    record.save()
    record.take_back()
    assert host.names(str(tmp_path)) == ["file"]
    saved(host, tmp_path)
    before = (tmp_path / "records/test.json").read_bytes()
    record = Record(host, "test", str(tmp_path / "records"))
    record.put_note("a", 1)
    record.save()
    record.take_back()
    assert (tmp_path / "records/test.json").read_bytes() == before


def test_only_its_owner_reads_it(host, tmp_path):
    saved(host, tmp_path)
    assert (tmp_path / "records").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "records/test.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        pytest.param(lambda text: text.replace("Zmlyc3Q=", "Zmlyc3R="), "ValueError", id="another first byte"),
        pytest.param(lambda text: text[:40], "JSONDecodeError", id="cut off"),
        pytest.param(lambda text: "[]", "TypeError", id="a list"),
        pytest.param(lambda text: "7", "AttributeError", id="a number"),
        pytest.param(lambda text: json.dumps({name: value for name, value in json.loads(text).items() if name != "sum"}), "KeyError", id="no sum"),
        pytest.param(lambda text: json.dumps({name: value for name, value in json.loads(text).items() if name != "key"}), "KeyError", id="no key"),
        pytest.param(lambda text: "[" * 99999, "RecursionError", id="without end"),
    ],
)
def test_a_damaged_record_gives_nothing_back(host, tmp_path, damage, kind):
    saved(host, tmp_path)
    path = tmp_path / "records/test.json"
    path.write_text(damage(path.read_text()))
    with pytest.raises(HostError) as caught:
        Record(host, "test", str(tmp_path / "records"))
    assert str(caught.value) == f"{path} is damaged ({kind}). Move it away; undo then removes only our settings."


def test_a_file_in_the_place_of_the_records_is_said_before_anything_is_written(host, tmp_path):
    (tmp_path / "records").write_bytes(b"x")
    with pytest.raises(HostError) as caught:
        Record(host, "test", str(tmp_path / "records"))
    assert str(caught.value) == f"{tmp_path}/records is a file, but the records of this collection belong in a folder of that name. Move the file away."
