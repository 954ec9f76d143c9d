# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples in the documentation, as `ansible-doc` shows them, run on an engine behind the firewall."""

from __future__ import annotations

import json
import os
import re
import subprocess
import typing as t
from pathlib import Path

import pytest
import table
import yaml

TOP = Path(__file__).resolve().parents[4]
HOST = "engine26"
# Names of the documentation, and who plays them in the lab.
CAST = (
    ("https://mirror.example.com", table.MIRROR),
    ("mirror.example.com/hub", "mirror.lab"),
    ("mirror.example.com/ghcr", table.GHCR_MIRROR),
    ("mirror.example.com", "mirror.lab"),
    ("http://proxy.example.com:3128", table.AUTH_PROXY),
    ("python:3.12", "alpine:3.19"),
    ("jenkins", "builder"),
    ("gitlab-runner", "ci-agent"),
)
VARIABLES = {"vault_proxy_password": table.PASSWORD}
STAGE = """
set -e
mkdir -p /srv/src /srv/app
echo FROM busybox:1 | tee /srv/src/Dockerfile >/srv/app/Dockerfile
printf '[Service]\\nExecStart=/bin/sleep infinity\\n' >/etc/systemd/system/ci-agent.service
systemctl daemon-reload
systemctl start ci-agent
"""
CLEARED = "systemctl stop ci-agent; rm -rf /srv/src /srv/app /etc/systemd/system/ci-agent.service* /etc/buildkit-policy.json; systemctl daemon-reload"
# What builds in these examples needs a way out that is there already.
WAY_OUT = [{"buildfleet.docker.docker_daemon_proxy": {"registry_mirrors": [table.MIRROR]}, "name": "A way out"}]
CLOSED = [{"buildfleet.docker.docker_daemon_proxy": {"state": "absent", "restart": "if_needed"}, "name": "Closed again"}]
PLUGINS = [(kind, path.stem) for kind, folder in (("module", "modules"), ("filter", "filter")) for path in sorted((TOP / "plugins" / folder).glob("[!_]*.py"))]


def plain() -> dict[str, str]:
    kept = ("ANSIBLE_HOME", "ANSIBLE_COLLECTIONS_PATH")
    return {name: value for name, value in os.environ.items() if name in kept or not name.startswith(("ANSIBLE_", "PY_COLORS"))}


def examples(kind: str, name: str) -> list[dict[str, t.Any]]:
    command = ["ansible-doc", "--json", "--type", kind, f"buildfleet.docker.{name}"]
    shown = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=plain()).stdout)
    text = next(iter(shown.values()))["examples"]
    for documented, here in CAST:
        text = text.replace(documented, here)
    return yaml.safe_load(text)


@pytest.fixture(scope="module", autouse=True)
def stage() -> t.Iterator[None]:
    subprocess.run(["docker", "exec", HOST, "sh", "-c", STAGE], check=True)
    yield
    subprocess.run(["docker", "exec", HOST, "sh", "-c", CLEARED], check=False)


@pytest.mark.parametrize(("kind", "name"), PLUGINS, ids=[name for _kind, name in PLUGINS])
def test_examples_run_as_they_stand(kind, name, tmp_path):
    written = examples(kind, name)
    plays = written if "hosts" in written[0] else [{"hosts": "build_servers", "become": True, "gather_facts": False, "tasks": [*WAY_OUT, *written, *CLOSED]}]
    (tmp_path / "play.yml").write_text(yaml.safe_dump(plays, sort_keys=False))
    where = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
    (tmp_path / "hosts.json").write_text(json.dumps({"build_servers": {"hosts": {HOST: where}}}))
    authority = subprocess.run(["docker", "exec", HOST, "cat", "/lab/intercept-ca.crt"], check=True, capture_output=True).stdout
    (tmp_path / "company-ca.pem").write_bytes(authority)
    command = ["ansible-playbook", "-i", "hosts.json", "play.yml", "-e", json.dumps(VARIABLES)]
    done = subprocess.run(command, cwd=tmp_path, env=plain(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"failed=[1-9]|ignored=[1-9]", done.stdout)
