# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs of others (tests/field): 54 outputs of 23 kinds with all that is said of them, 95 logs scored by group, and kinds that later logs showed."""

from __future__ import annotations

import collections
import json
from pathlib import Path

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.cures import cure_name
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.diagnosis import cure_text, diagnose
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import NO_NETWORK, Evidence, Verdict
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror

FIELD = Path(__file__).parents[4] / "field"
KINDS, LOGS, LATER = ([json.loads(line) for line in (FIELD / name).read_text().splitlines()] for name in ("kinds.jsonl", "logs.jsonl", "later.jsonl"))
CAUSES = {
    *("dns", "refused", "reset", "timeout", "tls", "token_unreachable", "token_denied", "proxy_unreachable", "proxy_auth", "proxy_refused"),
    *("mirror_error", "mirror_sends_token_elsewhere", "rate_limited", "denied", "not_found", *NO_NETWORK),
}
GROUPS = ("daemon", "client", "step", "not network")


def evidence(fields):
    mirrors = tuple(Mirror(**mirror) for mirror in fields.get("mirrors", ()))
    return Evidence(**dict(fields, mirrors=mirrors))


@pytest.mark.parametrize("case", [pytest.param(case, id=f"{case['kind']}: {case['title']}") for case in KINDS])
def test_a_kind_of_failure_is_named_whole(case):
    found = diagnose(case["log"], evidence(case["evidence"]))
    expected = {name: case[name] for name in ("cause", "asked_by", "host", "reason", "cure")}
    assert {name: getattr(found, name) for name in expected} == expected
    assert found.sentence.endswith(case["cure"])


def test_the_kinds_are_all_there():
    assert len({case["kind"] for case in KINDS}) == 23
    assert all(case["cause"] in CAUSES for case in KINDS)


def judged(entry, found):
    """right, unknown (it blames nobody) or misleading, and why."""
    said = " ".join(part for part in (found.host, found.sentence) if part)
    forbidden = [word for word in entry["must_not"] if (found.cause == word if word in CAUSES else word in said)]
    if forbidden:
        return "misleading", f"says {forbidden[0]}"
    if found.cause == entry["cause"]:
        return "right", ""
    if found.cause == "unknown":
        return "unknown", ""
    return ("right", "") if found.cause in entry["also_ok"] else ("misleading", f"{found.cause} instead of {entry['cause']}")


def group_of(entry):
    return entry["asked_by"] or ("not network" if entry["cause"] in NO_NETWORK else "daemon")


def scored():
    table = {group: collections.Counter() for group in GROUPS}
    misses = []
    for entry in LOGS:
        found = diagnose(entry["log"], evidence(entry["evidence"]))
        verdict, why = judged(entry, found)
        group = group_of(entry)
        table[group][verdict] += 1
        table[group]["asked_by"] += found.asked_by == entry["asked_by"]
        table[group]["host"] += found.host in (entry["host"], *entry["host_also"])
        if verdict != "right":
            misses.append(f"{entry['id']}: {verdict} {why}")
    return table, misses


def test_the_logs_of_the_field_by_group():
    table, misses = scored()
    total = sum(table.values(), collections.Counter())
    for group, row in [*table.items(), ("all", total)]:
        logs = row["right"] + row["unknown"] + row["misleading"]
        counts = ", ".join(f"{name} {row[name]}" for name in ("right", "unknown", "misleading", "asked_by", "host"))
        print(f"{group}: {logs} logs, {counts}")
    assert len(LOGS) == 95
    assert total["misleading"] == 0, misses
    assert total["right"] >= 0.95 * len(LOGS), misses
    assert total["asked_by"] >= 0.95 * len(LOGS)
    assert total["host"] >= 0.95 * len(LOGS)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry["id"]) for entry in LATER])
def test_a_kind_that_a_later_log_showed(entry):
    found = diagnose(entry["log"], evidence(entry["evidence"]))
    assert judged(entry, found) == ("right", "")
    assert found.asked_by == entry["asked_by"]
    assert found.host in (entry["host"], *entry["host_also"])


def test_no_cure_speaks_of_the_registry_for_a_step():
    for entry in LOGS + LATER:
        found = diagnose(entry["log"], evidence(entry["evidence"]))
        assert found.asked_by != "step" or ("the registry" not in found.sentence and "docker_daemon_proxy" not in found.sentence), entry["id"]


BUILDERS = [
    ("rate_limited", "daemon", "registry-1.docker.io", "hub", "status 429"),
    ("rate_limited", "client", "auth.docker.io", "hub", "status 429"),
    ("proxy_refused", "daemon", "registry-1.docker.io", "hub", "Forbidden"),
    ("token_unreachable", "daemon", "auth.docker.io", "hub", "timeout"),
    ("tls", "daemon", "registry.example.net", "registry", "no SANs"),
    ("timeout", "daemon", "registry.example.net", "registry", "no end within 5 s"),
    ("not_found", "daemon", "mirror.example.org", "mirror", "status 404"),
    ("mirror_sends_token_elsewhere", "daemon", "auth.docker.io", "hub", "timeout"),
    ("unknown", "daemon", "registry-1.docker.io", "hub", "status 503"),
    ("dns", "daemon", "registry-1.docker.io", "hub", "dns"),
]


@pytest.mark.parametrize(("cause", "asked_by", "host", "role", "reason"), BUILDERS, ids=[f"{row[0]}-{row[1]}" for row in BUILDERS])
def test_a_builder_in_a_container_is_not_told_to_change_the_daemon(cause, asked_by, host, role, reason):
    found = Verdict(cause, asked_by=asked_by, host=host, reason=reason, role=role, instance="ci", reference="nginx:1.27")
    name = cure_name(found, Evidence(daemon_proxy="http://proxy.example.org:3128"), anonymous=False)
    for chinese in (False, True):
        text = cure_text(name, found, chinese)
        assert "docker_daemon_proxy" not in text
        assert "registry_mirrors" not in text


PUSHES = [
    (
        'failed to push registry.example.net/shop/web:1: failed to do request: Head "https://registry.example.net/v2/": dial tcp 192.0.2.8:443: i/o timeout',
        "Set docker_daemon_proxy https_proxy to a proxy that reaches registry.example.net.",
    ),
    (
        "failed to push registry.example.net/shop/web:1: unexpected status from POST request to https://registry.example.net/v2/shop/web/blobs/uploads/: "
        "403 Forbidden",
        "Log in (docker login) with a user that may push registry.example.net/shop/web:1, or push to another name.",
    ),
]


@pytest.mark.parametrize(("line", "cure"), PUSHES, ids=["unreachable", "denied"])
def test_the_name_of_a_push_is_not_in_the_dockerfile(line, cure):
    assert diagnose(f"#9 ERROR: {line}\nERROR: failed to solve: {line}\n").cure == cure


def test_a_fetch_without_output_is_not_a_fault_of_the_step():
    url = "http://web.example.org/"
    log = f"Step 3/3 : RUN wget -O /dev/null '{url}'\n ---> Running in 0123456789ab\n"
    found = diagnose(f"{log}The command '/bin/sh -c wget -O /dev/null '{url}'' returned a non-zero code: 1\n", Evidence(network_step=url))
    assert (found.cause, found.asked_by, found.host, found.reason) == ("step_failed", "step", "web.example.org", "exit code 1")
    assert found.cure == (
        "Run the program again with more output, to see why the download failed; set docker_build_env step_proxy if build containers need a proxy."
    )
