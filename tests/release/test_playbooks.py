# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the variables of the playbooks become, on the controller alone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

DERIVED = Path(__file__).resolve().parents[2] / "playbooks/vars/derived.yml"
ANSIBLE = Path(sys.executable).with_name("ansible-playbook")
# The variables of the caller's shell are not those of the tests, nor is the way in which it wants to see results.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("BUILDFLEET_") and name != "ANSIBLE_STDOUT_CALLBACK"}


def values(tmp_path, hosts, expression, *arguments):
    """What the expression is on each host."""
    inventory, play = tmp_path / "inventory.json", tmp_path / "play.json"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    task = {"ansible.builtin.debug": {"msg": f"{{{{ inventory_hostname }}}} has <{{{{ {expression} }}}}>"}}
    play.write_text(json.dumps([{"hosts": "all", "gather_facts": False, "vars_files": [str(DERIVED)], "tasks": [task]}]))
    done = subprocess.run([ANSIBLE, "--inventory", inventory, play, *arguments], env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return dict(re.findall(r'"msg": "(\w+) has <(.*)>"', done.stdout))


def test_pipelining_is_used_unless_the_inventory_or_the_command_line_says_otherwise(tmp_path):
    hosts = {"plain": {}, "requiretty": {"ansible_pipelining": False}, "asked": {"ansible_pipelining": True}}
    assert values(tmp_path, hosts, "ansible_pipelining") == {"plain": "True", "requiretty": "False", "asked": "True"}
    assert set(values(tmp_path, hosts, "ansible_pipelining", "-eansible_pipelining=false").values()) == {"false"}


MIRRORS = {"ghcr.io": "https://ghcr.mirror.example.com"}


def test_the_map_is_planned_only_where_there_is_one(tmp_path):
    hosts = {"none": {}, "empty": {"buildfleet_mirrors": {}}, "survey": {"buildfleet_mirrors": ""}, "one": {"buildfleet_mirrors": MIRRORS}}
    keys = "registry_mirrors", "registries", "source_policy", "image_mirrors"
    shown = " ~ ' ' ~ ".join(f"__buildfleet_map.{key} | length" for key in keys)
    engine = "-e" + json.dumps({"__buildfleet_engine_result": {"stdout": "28.5.2"}})
    planned = values(tmp_path, hosts, f"__buildfleet_has_map ~ ' ' ~ __buildfleet_sets_mirrors ~ ' ' ~ {shown}", engine)
    assert planned == {
        "none": "False False 0 0 0 0",
        "empty": "False True 0 0 0 0",  # removes what an earlier map set
        "survey": "False False 0 0 0 0",
        "one": "True True 0 1 0 0",
    }


PROXY = {"buildfleet_proxy_http": "http://proxy.example.com:3128"}
LOGIN = {"buildfleet_proxy_username": "builder", "buildfleet_proxy_password": "secret"}
PROBLEMS = {
    "fine": (PROXY, ""),
    "survey": (
        {"buildfleet_proxy_http": "", "buildfleet_mirrors": "", "buildfleet_builders": ""},
        "Nothing to configure: set buildfleet_proxy_https (and buildfleet_proxy_http), buildfleet_registry_mirrors, buildfleet_mirror_candidates, "
        "buildfleet_mirrors, buildfleet_cache_hosts, buildfleet_proxy_ca, buildfleet_buildkit, buildfleet_builders, or buildfleet_sources with "
        "buildfleet_image_mirrors.",
    ),
    "both": (
        {"buildfleet_registry_mirrors": ["https://a.example.com"], "buildfleet_mirror_candidates": ["https://b.example.com"]},
        "Set buildfleet_registry_mirrors (used unconditionally) or buildfleet_mirror_candidates (used if they work), not both.",
    ),
    "twice": (
        {"buildfleet_mirrors": {"docker.io": "https://a.example.com", **MIRRORS}, "buildfleet_registry_mirrors": ["https://a.example.com"],
         "buildfleet_image_mirrors": {"ghcr.io/org": "b.example.com"}},
        "docker.io, ghcr.io is in buildfleet_mirrors and also in buildfleet_registry_mirrors, buildfleet_mirror_candidates or buildfleet_image_mirrors. "
        "Keep one of them.",
    ),
    "relay": (
        {"buildfleet_registry_mirrors": ["https://a.example.com"], "buildfleet_proxy_relay": True},
        "buildfleet_proxy_relay and buildfleet_step_proxy need a proxy. Set buildfleet_proxy_https (and buildfleet_proxy_http).",
    ),
    "no_name": (
        {**PROXY, "buildfleet_proxy_password": "secret"},
        "The proxy has a password (buildfleet_proxy_password, or BUILDFLEET_PROXY_PASSWORD in the environment of the controller) and no user name. "
        "Set buildfleet_proxy_username, or remove the password.",
    ),
    "steps": (
        {**PROXY, **LOGIN, "buildfleet_step_proxy": "true"},
        "The proxy has a password, and with buildfleet_step_proxy Docker passes it to every container that these users start. Set buildfleet_proxy_relay: "
        "true, so that the steps need no password, or accept this with docker_build_env_allow_readable_secret: true.",
    ),
    "steps_in_the_url": (
        {"buildfleet_proxy_https": "http://ci:secret@proxy.example.com:3128", "buildfleet_step_proxy": True, "docker_build_env_allow_readable_secret": True},
        "",
    ),
    "steps_by_relay": ({**PROXY, **LOGIN, "buildfleet_step_proxy": True, "buildfleet_proxy_relay": True, "proxy_relay_url": "http://127.0.0.1:3129"}, ""),
    "builders": (
        {**PROXY, **LOGIN, "buildfleet_builders": "ci"},
        "The proxy has a password, which everyone who may use Docker would read in the container of a builder. Set buildfleet_proxy_relay: true, so that the "
        "builders need no password, or accept this with allow_readable_secret: true of the builder.",
    ),
    "builders_accept": ({**PROXY, **LOGIN, "buildfleet_builders": [{"name": "ci", "allow_readable_secret": True}]}, ""),
}  # fmt: skip


def test_what_is_wrong_with_the_variables_is_said_in_one_sentence_each(tmp_path):
    found = values(tmp_path, {name: variables for name, (variables, _sentence) in PROBLEMS.items()}, "__buildfleet_problems | join('; ')")
    assert found == {name: sentence for name, (_variables, sentence) in PROBLEMS.items()}


def test_a_survey_answers_with_the_names_of_builders(tmp_path):
    assert values(tmp_path, {"host": {"buildfleet_builders": "ci, nightly"}}, "__buildfleet_builders") == {"host": "[{'name': 'ci'}, {'name': 'nightly'}]"}


def test_a_cache_that_is_not_set_up_stops_the_others(tmp_path):
    found = values(tmp_path, {"host": PROXY, "cache": PROXY}, "__buildfleet_problems | join('; ')", "-ebuildfleet_cache_hosts=cache")
    assert found["host"] == (
        "Not every host of buildfleet_cache_hosts is set up, and host was not changed. Correct what stopped the setup of the caches, then run this again; "
        "--limit must contain the hosts of the caches."
    )
