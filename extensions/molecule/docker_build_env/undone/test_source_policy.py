# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import subprocess
from pathlib import Path

SCENARIO = Path(__file__).resolve().parents[1]


def policy(engine, state):
    inventory = (
        f"build_servers:\n  hosts:\n    {engine.name}:\n      ansible_connection: community.docker.docker\n      ansible_python_interpreter: /usr/bin/python3\n"
    )
    hosts = SCENARIO.parents[2] / ".build" / f"{engine.name}.yml"
    hosts.parent.mkdir(exist_ok=True)
    hosts.write_text(inventory)
    command = ["ansible-playbook", f"--inventory={hosts}", f"--extra-vars=policy_state={state}", str(SCENARIO / "policy.yml")]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def test_a_source_policy_works_from_25_and_is_refused_below(engine):
    done = policy(engine, "present")
    if engine.major < 25:
        assert done.returncode != 0
        assert f"source_policy needs Docker Engine 25.0; here is {engine.version}" in done.stdout + done.stderr
        return
    assert done.returncode == 0, done.stdout
    try:
        outcome = engine.build("buildkit", login="builder")
        assert outcome.ok, outcome.log
    finally:
        done = policy(engine, "absent")
        assert done.returncode == 0, done.stdout
    assert not engine.host.file("/etc/buildfleet").exists
