# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who reads what, as the findings and docker_registry_hosts say it, against what engines did (hosts_toml_cells.csv).

Measured on 2026-11-26 on hosts that reach no registry, only mirrors.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._info.registry_hosts import problems
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_file import read_file, readers
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_toml import certificate_readers, covers

CELLS = list(csv.DictReader((Path(__file__).parent / "hosts_toml_cells.csv").open()))
CLIENTS = ("pull", "buildkit", "legacy")
HOST = b'[host."https://m.lab"]\n'


class SetUp(NamedTuple):
    registry: str  # the folder
    contents: bytes
    works: str  # which of both is a mirror that works: file, daemon
    registry_mirrors: str = ""
    folders: tuple[str, ...] = ()
    image: str = "docker.io"


SET_UPS = {
    "docker.io: host good": SetUp("docker.io", HOST, "file"),
    "docker.io: server is the mirror": SetUp("docker.io", b'server = "https://m.lab"\n', "file"),
    "registry-1.docker.io: host good": SetUp("registry-1.docker.io", HOST, "file"),
    "docker.io: capability pull only": SetUp("docker.io", HOST + b'capabilities = ["pull"]\n', "file"),
    "docker.io: not TOML": SetUp("docker.io", b"[host\n", "file"),
    "docker.io: host dead, registry-mirrors good": SetUp("docker.io", HOST, "daemon", "https://o.lab"),
    "docker.io: host good, registry-mirrors dead": SetUp("docker.io", HOST, "file", "https://o.lab"),
    "docker.io: server only, registry-mirrors good": SetUp("docker.io", b'server = "https://registry-1.docker.io"\n', "daemon", "https://o.lab"),
    "ghcr.io: host good, registry-mirrors for Docker Hub": SetUp("ghcr.io", HOST, "file", "https://o.lab", image="ghcr.io"),
    "_default: host good, an image of Docker Hub": SetUp("_default", HOST, "file"),
    "_default: host good, an image of ghcr.io": SetUp("_default", HOST, "file", image="ghcr.io"),
    "_default: host good, a folder docker.io": SetUp("_default", HOST, "file", folders=("docker.io",)),
}


def rows(names):
    return [pytest.param(cell, id=f"{cell['set-up']}, {cell['engine']} {cell['store']}") for cell in CELLS if cell["set-up"] in names]


def says(set_up, engine, store):
    """What a user concludes for each client from the findings: works or fails."""
    file = read_file("hosts.toml", set_up.registry, set_up.contents)._replace(folders=set_up.folders)
    found = {id for id, *_rest in problems([file], engine, store, set_up.registry_mirrors)}
    unused = {"registry_hosts_unread", "registry_hosts_invalid", "registry_hosts_capabilities"} & found
    unused |= {"registry_hosts_default_unused"} & found if set_up.image in file.folders else set()
    for client in CLIENTS:
        by_file = client in readers(file, engine, store) and not unused
        if set_up.registry_mirrors and set_up.image == "docker.io":
            by_file = by_file and "registry_hosts_wins" in found
        yield client, "works" if set_up.works == ("file" if by_file else "daemon" if set_up.registry_mirrors else "") else "fails"


@pytest.mark.parametrize("cell", rows(SET_UPS))
def test_the_findings_say_what_the_engine_does(cell):
    assert dict(says(SET_UPS[cell["set-up"]], cell["engine"], cell["store"])) == {client: cell[client] for client in CLIENTS}


@pytest.mark.parametrize("cell", rows([name for name, one in SET_UPS.items() if one.works == "file" and one.registry in (one.image, "_default")]))
def test_only_buildkit_is_said_where_only_buildkit_works(cell):
    set_up = SET_UPS[cell["set-up"]]
    file = read_file("hosts.toml", set_up.registry, set_up.contents)._replace(folders=set_up.folders)
    found = {id for id, *_rest in problems([file], cell["engine"], cell["store"], set_up.registry_mirrors)}
    if cell["buildkit"] == "works":
        assert ("registry_hosts_buildkit_only" in found) == (cell["pull"] == cell["legacy"] == "fails")


WRITTEN = {
    "docker.io: host good": "docker.io",
    "docker.io: server is the mirror": "docker.io",  # fallback: false
    "docker.io: host good, registry-mirrors dead": "docker.io",
    "ghcr.io: host good, registry-mirrors for Docker Hub": "ghcr.io",
    "_default: host good, an image of Docker Hub": "_default",
    "_default: host good, an image of ghcr.io": "_default",
}


@pytest.mark.parametrize("cell", rows(WRITTEN))
def test_covers_says_what_the_engine_does(cell):
    registry = WRITTEN[cell["set-up"]]
    covered = covers([registry], cell["store"] == "containerd", hub_mirrors=False)[registry]
    assert {client: "works" if covered[client] else "fails" for client in CLIENTS} == {client: cell[client] for client in CLIENTS}


CERTIFICATES = {"company: CA beside hosts.toml": "company.lab:5000", "docker.io: the mirror's CA beside hosts.toml": "docker.io"}


@pytest.mark.parametrize("cell", rows(CERTIFICATES))
def test_who_reads_a_certificate_beside_hosts_toml(cell):
    who = certificate_readers(CERTIFICATES[cell["set-up"]], cell["store"] == "containerd")
    expected = {"nobody": (), "docker pull and the legacy builder alone": ("pull", "legacy")}[who]
    assert {client for client in CLIENTS if cell[client] == "works"} == {*expected}


@pytest.mark.parametrize("cell", rows(["docker.io: the mirror's CA without hosts.toml"]))
def test_docker_pull_never_looks_below_docker_io(cell):
    """So nobody is left to read it where hosts.toml exists."""
    assert (cell["buildkit"], cell["pull"] == "works") == ("works", cell["store"] == "containerd")


def test_every_cell_is_compared():
    assert {cell["set-up"] for cell in CELLS} == {*SET_UPS, *CERTIFICATES, "docker.io: the mirror's CA without hosts.toml"}
