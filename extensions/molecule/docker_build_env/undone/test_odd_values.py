# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values with special characters for a shell, systemd, PAM, TOML or JSON arrive unchanged at their readers, or are refused."""

from __future__ import annotations

import json

import pytest
import yaml

ODD = ["a&b", "a|b", "(c)", "<d>", "e!f", "%h", "%%", "~g", "*.example.com", "[::1]", "x=y", "{z}", "?", "&&reboot"]
WANTED = ",".join(ODD)
UNIT = "[Service]\nType=oneshot\nExecStart=/usr/bin/env\nStandardOutput=truncate:/var/tmp/odd\n"
SAYS = 'printf %s "$no_proxy"'
EVERY_FILE = "find /etc /var/lib /home /root -xdev -newer /var/tmp/mark -type f -not -path '/var/lib/docker/*' -not -path '/var/lib/containerd/*'"


def test_what_is_taken_arrives_as_it_was_given(engine):
    engine.write("/etc/systemd/system/lab-odd.service", UNIT)
    steps = {"https_proxy": "http://proxy.lab:8888", "no_proxy": ODD}
    done = engine.module("docker_build_env", no_proxy=ODD, services=["lab-odd"], users=["builder"], step_proxy=steps)
    try:
        assert done.returncode == 0, done.stdout
        engine.write("/var/tmp/says", f"#!/bin/sh\n{SAYS}\n")
        engine.host.check_output("chmod +x /var/tmp/says; systemctl start lab-odd")
        found = {
            "sh": engine.host.check_output("env -i sh -c '. /etc/profile.d/buildfleet-docker.sh; /var/tmp/says'"),
            "a login shell": engine.host.check_output("su - builder -c /var/tmp/says"),
            "PAM": engine.host.check_output("env -i su builder -c /var/tmp/says"),
            "systemd": dict(line.partition("=")[::2] for line in engine.host.file("/var/tmp/odd").content_string.splitlines())["no_proxy"],
            "the Docker client": given_to_containers(engine)["no_proxy"],
        }
        assert found == dict.fromkeys(found, WANTED)
    finally:
        absent = engine.module("docker_build_env", state="absent")
        engine.host.check_output("rm -f /etc/systemd/system/lab-odd.service /var/tmp/odd /var/tmp/says; systemctl daemon-reload")
    assert absent.returncode == 0, absent.stdout


def given_to_containers(engine):
    """The environment of a container that was never started, from an empty image."""
    create = "tar -c -T /dev/null | docker import - odd >/dev/null; docker rm -f odd >/dev/null 2>&1; docker create --name odd odd x >/dev/null"
    found = engine.host.check_output(
        f"su - builder -c '{create}; docker inspect --format \"{{{{json .Config.Env}}}}\" odd; docker rm odd >/dev/null; docker rmi odd >/dev/null'"
    )
    return dict(entry.partition("=")[::2] for entry in json.loads(found))


BREAKS_OUT = ["\nreboot", "\0", "$(reboot)", ";reboot", "'\""]  # tests/unit has more
PLACES = {
    "no_proxy": lambda text: {"no_proxy": [f"a{text}b"]},
    "https_proxy": lambda text: {"https_proxy": f"http://a{text}b:3128"},
    "step_proxy": lambda text: {"users": ["builder"], "step_proxy": {"no_proxy": [f"a{text}b"]}},
    "services": lambda text: {"daemon_token": True, "services": [f"a{text}b"]},
    "users": lambda text: {"users": [f"a{text}b"], "step_proxy": {"no_proxy": ["x"]}},
    "builder_mirrors": lambda text: {"users": ["builder"], "builder_mirrors": {"docker.io": f"a{text}b.lab"}},
    "source_policy": lambda text: {"source_policy": {"docker.io": f"a{text}b.lab"}},
}


@pytest.mark.parametrize("engine", ["engine28"], indirect=True)
def test_what_would_break_out_is_refused_by_name_and_nothing_is_written(engine, tmp_path):
    cases = [(place, text, options(text)) for place, options in PLACES.items() for text in BREAKS_OUT]
    task = {
        "buildfleet.docker.docker_build_env": "{{ item }}",
        "loop": [options for _place, _text, options in cases],
        "register": "found",
        "ignore_errors": True,
        "check_mode": False,
    }
    told = {
        "ansible.builtin.copy": {"content": "{{ found.results | map(attribute='msg', default='taken') | to_json }}", "dest": str(tmp_path / "told")},
        "delegate_to": "localhost",
    }
    (tmp_path / "odd.yml").write_text(yaml.safe_dump([{"hosts": engine.name, "gather_facts": False, "tasks": [task, told]}]))
    engine.host.check_output("touch /var/tmp/mark; sleep 0.1")
    done = engine.play(tmp_path / "odd.yml")
    assert (tmp_path / "told").exists(), done.stdout
    answers = json.loads((tmp_path / "told").read_text())
    wrong = [(place, text, answer) for (place, text, _rest), answer in zip(cases, answers) if place not in answer]
    assert wrong == []
    assert len(answers) == len(cases)
    assert engine.host.check_output(EVERY_FILE) == ""
