# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._build.history import Record, read_record
from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._host.build_host import BuildHost
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run

OLD = {"created_at": "2026-11-26T18:12:54Z", "name": "b", "ref": "default/default/old", "status": "Completed"}
NEW = {"created_at": "2026-11-26T18:23:00Z", "name": "a", "ref": "default/default/new", "status": "Error"}


class Buildx(MemoryHost, BuildHost):
    """buildx with these records; ``inspected`` is what it shows of each."""

    def __init__(self, listed="", inspected="", code=0):
        super().__init__()
        self.listed, self.inspected, self.code, self.asked = listed, inspected, code, []

    def run_group(self, argv, env, cwd, timeout, user=""):
        self.asked.append((" ".join(argv), env, cwd, timeout, user))
        kind = argv[3]
        return Run(self.code if kind == "ls" else 0, {"ls": self.listed, "inspect": self.inspected, "logs": "#1 DONE\n"}[kind], "")


def lines(*records):
    return 'WARNING: x\n{"x": 1}\n' + "\n".join(map(json.dumps, records))


def read(host, wanted="true", builder=""):
    return read_record(wanted, host.buildx_history(builder, {"A": "b"}, "jane", 9))


FAILED = json.dumps({"Error": {"Message": "busybox: not found"}})


@pytest.mark.parametrize(
    ("wanted", "inspected", "record"),
    [
        ("True", FAILED, Record("new", "a", 1, "#1 DONE\nERROR: failed to build: failed to solve: busybox: not found")),
        ("new", "{}", Record("new", "a", 1, "#1 DONE")),
        ("default/default/old", "no json", Record("old", "b", 0, "#1 DONE")),
        ("old", "[]", Record("old", "b", 0, "#1 DONE")),
    ],
)
def test_a_record_is_found_with_its_log_and_its_error(wanted, inspected, record):
    assert read(Buildx(lines(OLD, NEW), inspected), wanted) == record


def test_the_builder_is_named_and_the_user_asks():
    host = Buildx(lines(OLD), "{}")
    read(host, builder="ci")
    assert host.asked[0] == ("docker buildx history ls --format json --builder ci", {"A": "b"}, "/", 9, "jane")
    assert [asked[0] for asked in host.asked[1:]] == [
        "docker buildx history inspect old --format json --builder ci",
        "docker buildx history logs old --progress plain --builder ci",
    ]


@pytest.mark.parametrize(
    ("host", "wanted", "sentence"),
    [
        (
            Buildx("unknown flag: --format", code=1),
            "true",
            "history: buildx shows no past builds here; it supports that from 0.20. Its message: unknown flag: --format",
        ),
        (
            Buildx("", code=127),
            "true",
            "history: buildx shows no past builds here; it supports that from 0.20. Its message: nothing",
        ),
        (Buildx("Usage: docker buildx"), "true", "history: buildx shows no past builds here; it supports that from 0.20. Its message: Usage: docker buildx"),
        (Buildx(""), "true", "history: there is no past build here. The newest are: none."),
        (Buildx(lines(OLD, NEW)), "nosuch", "history: there is no record nosuch here. The newest are: old, new."),
    ],
)
def test_what_is_not_there_is_said(host, wanted, sentence):
    with pytest.raises(Refused) as refusal:
        read(host, wanted)
    assert str(refusal.value) == sentence
