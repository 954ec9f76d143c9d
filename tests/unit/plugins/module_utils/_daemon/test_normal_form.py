# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Our reading of files against what real engines and real systemds said of the same files (tests/field/info)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import normal_form
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import settings as daemon_settings
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import observe
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run

RECORDS = Path(__file__).resolve().parents[4] / "field" / "info"
CONFIG, UNIT = "/etc/docker/daemon.json", "/lib/systemd/system/docker.service"
DROP_IN = "/etc/systemd/system/docker.service.d/http-proxy.conf"
ROWS = [
    pytest.param(path.stem, row, id=f"{path.stem} {row['name']}")
    for path in sorted(RECORDS.glob("*.jsonl"))
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
    if row["started"]
]


DEBIAN = "[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\n"


class Recorded(MemoryHost):
    """A host with the files of a record, and its systemd's answer."""

    def __init__(self, engine, row, asked):
        config = {CONFIG: json.dumps(row["daemon_json"])} if row["daemon_json"] else {}
        drop_in = {DROP_IN: row["drop_in"]} if row["drop_in"] else {}
        super().__init__(
            {UNIT: DEBIAN, **config, **drop_in}, ["/run/systemd/system"], api={"/version": {"Version": engine, "GoVersion": "go1.24"}, "/info": row["info"]}
        )
        self.row, self.asked = row, asked

    def run(self, argv, env=None, cwd=None, timeout=60, stdin=""):
        if argv[:2] == ["systemctl", "show"]:
            shown = [f"FragmentPath={UNIT}", "ActiveState=active", "MainPID=0", *(self.row["systemctl_show"] if self.asked else ["LoadState=loaded"])]
            return Run(0, "\n".join(shown), "")
        return Run(0, "", "")


@pytest.mark.parametrize(("engine", "row"), ROWS)
def test_what_the_next_start_has_in_force_is_what_the_engine_showed(engine, row):
    daemon = observe(Recorded(engine, row, asked=True), "docker", None)
    effective, running = daemon_settings.effective(daemon, daemon.files), daemon_settings.running(row["info"])
    assert daemon_settings.differences(running, effective) == []
    shown = {name: daemon_settings.masked(effective).proxies[name] for name in daemon_settings.PROXIES}
    assert shown == {"http_proxy": row["info"]["HttpProxy"], "https_proxy": row["info"]["HttpsProxy"], "no_proxy": row["info"]["NoProxy"]}
    assert [f"{url}/" for url in effective.registry_mirrors] == (row["info"]["RegistryConfig"]["Mirrors"] or [])


# What only systemd itself can tell: the host's name, and the escapes of its quoting.
ASKED_ALONE = {"percent and others on one line", "a backslash", "a backslash x", "unbalanced quote", "a byte order mark"}


@pytest.mark.parametrize(("engine", "row"), [row for row in ROWS if row.values[1]["name"] not in ASKED_ALONE])
def test_where_systemd_has_not_read_the_files_yet_our_reading_of_them_says_the_same(engine, row):
    daemon = observe(Recorded(engine, row, asked=False), "docker", None)
    assert daemon.loaded is None
    assert daemon_settings.differences(daemon_settings.running(row["info"]), daemon_settings.effective(daemon, daemon.files)) == []


@pytest.mark.parametrize("engine", ["20.10.24", "26.1.5", "28.5.2"])
def test_each_engine_of_the_lab_is_recorded(engine):
    assert sum(row.values[0] == engine for row in ROWS) > 30


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        pytest.param(["a.example.com", "http://b.example.com"], {"a.example.com", "http://b.example.com"}, id="the scheme decides for BuildKit"),
        pytest.param(["HTTP://192.168.1.1/16"], {"http://192.168.0.0/16"}, id="host bits"),
        pytest.param(["10.0.0.0/255.0.0.0", "10.0.0.0/99"], {"10.0.0.0/255.0.0.0", "10.0.0.0/99"}, id="what no engine starts with stays"),
    ],
)
def test_insecure_registries_as_buildkit_reads_them(texts, shown):
    assert normal_form.insecure_registries_for_buildkit(texts) == shown
