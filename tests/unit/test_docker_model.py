# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The model of the hosts in memory, compared with real engines and systemd on the same files."""

from __future__ import annotations

import json
from pathlib import Path

import docker_model as model
import pytest

UNIT = "/lib/systemd/system/docker.service"
ROWS = [
    pytest.param(path.stem, row, id=f"{path.stem} {row['name']}")
    for path in sorted((Path(__file__).resolve().parents[1] / "field" / "info").glob("*.jsonl"))
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines())
]


@pytest.mark.parametrize(("engine", "row"), ROWS)
def test_the_model_says_what_the_engine_said(engine, row):
    command = "/usr/sbin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock $DOCKER_OPTS"
    text = f"[Service]\nEnvironmentFile=-/etc/default/docker\nExecStart={command}\n"
    files = {UNIT: text.encode(), "/etc/systemd/system/docker.service.d/http-proxy.conf": row["drop_in"].encode()}
    unit = model.Unit(model.unit_texts(files, UNIT))
    told = [line.rpartition(" ; ignore_errors")[0] for line in row["systemctl_show"] if line.startswith("ExecStart=")]
    assert [line.rpartition(" ; ignore_errors")[0] for line in unit.show() if line.startswith("ExecStart=")] == told
    assert [line for line in unit.show() if line.startswith("Env")] == [line for line in row["systemctl_show"] if line.startswith("Env")]
    if not row["started"]:
        with pytest.raises(model.Failed):
            model.info(row["daemon_json"], unit.start(files), engine)
        return
    shown = model.info(row["daemon_json"], unit.start(files), engine)
    found = json.loads(json.dumps(row["info"]))
    found["RegistryConfig"]["Mirrors"] = found["RegistryConfig"]["Mirrors"] or []
    for one in (found, shown):
        one["RegistryConfig"]["InsecureRegistryCIDRs"] = set(one["RegistryConfig"]["InsecureRegistryCIDRs"]) - {"::1/128"}
    assert shown == found
