# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ansible_collections.buildfleet.docker.plugins.plugin_utils._report import Observed, artifacts, of_a_loop, report, table

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "browser"))

import fleet

NOW = "2026-11-24T14:55:00Z"
CHANGED = {"changed": True, "diff": [{"before_header": "", "after_header": "/etc/docker/daemon.json (mode 0644)"}]}


DEAD = {
    "in_use": ["https://a.lab"], "usable": ["https://b.lab"],
    "mirrors": [
        {"url": "https://a.lab", "usable": False, "message": "a.lab could not be reached (timeout)."},
        {"url": "https://b.lab", "usable": True, "message": None},
        {"url": "https://c.lab", "usable": False, "message": "c.lab could not be reached (dns)."},
    ],
}  # fmt: skip


def one(**observed):
    return report({"a": Observed(**observed)}, NOW)["hosts"][0]


@pytest.mark.parametrize(
    ("observed", "state", "processes"),
    [
        pytest.param({"check": fleet.PASSED}, "ok", ("ok", "ok", "unknown"), id="a step that was not asked proves nothing"),
        pytest.param({"check": fleet.PASSED_WITH_STEP}, "ok", ("ok", "ok", "ok"), id="all three"),
        pytest.param({"check": fleet.FAILURES[0]}, "failed", ("unknown", "failed", "unknown"), id="client"),
        pytest.param({"check": fleet.FAILURES[1]}, "failed", ("failed", "unknown", "unknown"), id="daemon"),
        pytest.param({"check": fleet.FAILURES[4]}, "failed", ("ok", "ok", "failed"), id="a step that ran had its image"),
        pytest.param({"check": fleet.FAILURES[3]}, "failed", ("failed", "unknown", "unknown"), id="no engine"),
        pytest.param({"check": dict(fleet.FAILURES[3], cause="buildx_missing")}, "failed", ("unknown", "failed", "unknown"), id="no buildx"),
        pytest.param({"check": dict(fleet.FAILURES[0], cause="bad_dockerfile", asked_by=None)}, "failed", ("unknown",) * 3, id="nobody's fault"),
        pytest.param({"check": {"failed": True, "msg": "No python."}}, "failed", ("unknown",) * 3, id="the module itself"),
        pytest.param({"info": fleet.UNREACHABLE}, "unreachable", ("unknown",) * 3, id="unreachable"),
        pytest.param({"check": fleet.UNREACHABLE, "info": fleet.info()}, "unreachable", ("unknown",) * 3, id="unreachable later"),
        pytest.param({"check": fleet.PASSED, "wanted": {"docker_daemon_proxy": CHANGED}}, "drifted", ("ok", "ok", "unknown"), id="drifted"),
        pytest.param({"check": fleet.PASSED, "wanted": {"docker_daemon_proxy": {"changed": False}}}, "ok", ("ok", "ok", "unknown"), id="as wanted"),
        pytest.param({"check": fleet.FAILURES[0], "wanted": {"docker_daemon_proxy": CHANGED}}, "failed", ("unknown", "failed", "unknown"), id="both"),
        pytest.param({"check": {"ok": None, "msg": "Check mode: nothing was built."}}, "unproved", ("unknown",) * 3, id="check mode"),
        pytest.param({}, "unproved", ("unknown",) * 3, id="nothing"),
        pytest.param({"info": {"failed": True, "msg": "sh: sudo: not found"}}, "failed", ("unknown",) * 3, id="no sudo"),
    ],
)
def test_state_and_processes(observed, state, processes):
    host = one(**observed)
    assert host["state"] == state
    assert tuple(host["processes"].values()) == processes


@pytest.mark.parametrize(
    ("observed", "cause", "why", "cure"),
    [
        pytest.param(
            {"check": fleet.FAILURES[0]}, "token_unreachable",
            ["The client could not fetch a token from auth.docker.io (reset). The daemon's proxy does not reach it."],
            ["Set docker_build_env daemon_token: true."], id="the cure is not said twice",
        ),
        pytest.param(
            {"info": dict(fleet.UNREACHABLE, msg="Task failed: No route\nto host")}, "unreachable",
            ["Ansible could not reach the host: No route."], ["Start the host, or correct how Ansible connects to it."], id="unreachable",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"docker_daemon_proxy": CHANGED, "docker_build_env": {"changed": True, "diff": []}}}, "drift",
            ["The daemon's settings differ from the variables: /etc/docker/daemon.json.",
             "The client's and the steps' settings differ from the variables: a restart is due."],
            ["Run the playbook buildfleet.docker.site."], id="drift",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"proxy_relay": {"changed": True, "diff": []}}}, "drift",
            ["The relay's settings differ from the variables: /etc/buildfleet-relay.conf."], ["Run the playbook buildfleet.docker.site."], id="relay",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"docker_registry_hosts": {
                "changed": True, "diff": [{"after_header": "/etc/docker/certs.d/ghcr.io/hosts.toml (mode 0644)"}]}}}, "drift",
            ["The mirrors of other registries differ from the variables: /etc/docker/certs.d/ghcr.io/hosts.toml."],
            ["Run the playbook buildfleet.docker.site."], id="hosts.toml",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"docker_builder": {"changed": True, "diff": [{"after_header": "builder ci of root (create)"}]}}}, "drift",
            ["The builders differ from the variables: builder ci of root."], ["Run the playbook buildfleet.docker.site."], id="builders",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"docker_daemon_proxy": {"failed": True, "msg": "A foreign setting wins."}}}, "drift",
            ["docker_daemon_proxy refuses: A foreign setting wins."], [], id="refused",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"dockerfile_mirror": {"changed": True, "counts": {"edits": 2}}}}, "drift",
            ["The sources differ from the variables: 2 image references."], ["Run the playbook buildfleet.docker.site."], id="sources",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"docker_build_env": dict(fleet.UNREACHABLE, msg="Task failed: No route\nto host")}}, "unreachable",
            ["Ansible could not reach the host: No route."], ["Start the host, or correct how Ansible connects to it."], id="unreachable at the end",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"registry_mirror_info": DEAD, "docker_daemon_proxy": CHANGED}}, "drift",
            ["The daemon's settings differ from the variables: /etc/docker/daemon.json.",
             "The mirror https://a.lab, which the daemon uses, does not work: a.lab could not be reached (timeout). The candidate https://b.lab works."],
            ["Run the playbook buildfleet.docker.site."], id="a mirror has died",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"registry_mirror_info": dict(DEAD, usable=[])}}, "drift",
            ["The mirror https://a.lab, which the daemon uses, does not work: a.lab could not be reached (timeout). No candidate works."], [],
            id="every mirror has died",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"registry_mirror_info": dict(DEAD, in_use=["https://a.lab", "https://b.lab"], mirrors=DEAD["mirrors"][:2])}},
            "drift",
            ["The mirror https://a.lab, which the daemon uses, does not work: a.lab could not be reached (timeout). The mirror https://b.lab works."], [],
            id="one of two caches has died",
        ),
        pytest.param(
            {"check": fleet.PASSED, "wanted": {"registry_mirror_info": dict(DEAD, in_use=None)}}, "ok", [], [], id="a dead mirror that nobody uses",
        ),
        pytest.param({"check": {"failed": True, "msg": "x" * 9000}}, "module_failed", ["x" * 600 + " …"], [], id="a long story"),
        *[
            pytest.param(
                {result: dict(failed=True, **message)}, "module_failed", ["sudo is not installed on this host."],
                ["Set ansible_user: root if Ansible logs in as root there; it then needs no sudo. Otherwise install sudo."], id=f"no sudo, {result}",
            )
            for result, message in (
                ("info", {"msg": "Task failed: Premature end of stream waiting for become success.\n>>> Standard Error\n/bin/sh: 1: sudo: not found"}),
                ("check", {"msg": "Module result deserialization failed", "module_stderr": "sh: line 1: sudo: command not found\n"}),
            )
        ],
        pytest.param({"check": dict(fleet.PASSED, msg="x: sudo: not found")}, "ok", [], [], id="sudo in a build that passed"),
        pytest.param({"check": fleet.PASSED}, "ok", [], [], id="nothing to say"),
    ],
)  # fmt: skip
def test_cause_in_words(observed, cause, why, cure):
    host = one(**observed)
    assert (host["cause"], host["why"], host["cure"]) == (cause, why, cure)


def test_pending_restarts_of_the_daemon_and_of_services():
    wanted = {
        "docker_daemon_proxy": {"restart_pending": True, "pending_reason": "a container runs"},
        "docker_build_env": {"pending": ["gitlab-runner.service"]},
    }
    assert one(check=fleet.PASSED, wanted=wanted)["restart_pending"] == ["docker (a container runs)", "gitlab-runner.service"]
    assert one(check=fleet.PASSED, info=fleet.info(pending=True))["restart_pending"] == ["docker (https_proxy)"]
    assert one(check=fleet.PASSED, wanted={"proxy_ca": {"restart_pending": True}})["restart_pending"] == ["docker"]
    assert one(check=fleet.PASSED, wanted={module: dict(result, changed=True) for module, result in wanted.items()})["restart_pending"] == []
    assert one(check=fleet.PASSED, info=fleet.info())["restart_pending"] == []


def test_a_module_that_could_not_look_says_so():
    assert one(check=fleet.PASSED, info={"msg": "No sudo.\nMore.", "failed": False})["unreadable"] == ["docker_build_info: No sudo."]


def test_settings_name_what_is_set_and_where():
    assert one(info=fleet.info())["settings"]["client"] == [
        {"who": "login", "user": "root", "settings": [{"name": "BUILDKIT_NO_CLIENT_TOKEN", "value": "1", "source": "/etc/profile.d/buildfleet.sh, line 4"}]}
    ]


def test_counts_add_up():
    shown = report(fleet.many(300), NOW)
    counts = shown["counts"]
    assert counts["hosts"] == 300 == len(shown["hosts"]) == sum(counts[state] for state in ("ok", "failed", "drifted", "unreachable", "unproved"))
    assert all(sum(tally.values()) == 300 for tally in shown["processes"].values())
    assert sum(len(cause["hosts"]) for cause in shown["causes"]) == 300 - counts["ok"]
    assert counts["restart_pending"] == sum(bool(host["restart_pending"]) for host in shown["hosts"]) > 0
    sizes = [len(cause["hosts"]) for cause in shown["causes"]]
    assert sizes == sorted(sizes, reverse=True)
    assert {finding["id"]: len(finding["hosts"]) for finding in shown["findings"]} == {
        finding["id"]: sum(finding["id"] in {found["id"] for found in host["findings"]} for host in shown["hosts"]) for finding in fleet.FINDINGS[:2]
    }


def test_what_does_not_work_comes_first_and_names_count_as_people_count():
    names = ["web10", "web2", "web1.b", "1a", "café", "web²", "10.0.0.2", "10.0.0.10"]
    shown = report({**{name: Observed(fleet.PASSED) for name in names}, "z": Observed(fleet.FAILURES[0])}, NOW)
    assert [host["name"] for host in shown["hosts"]] == ["z", "1a", "10.0.0.2", "10.0.0.10", "café", "web1.b", "web2", "web10", "web²"]


def test_slices_have_keys_of_their_own():
    hosts = fleet.many(40)
    names = list(hosts)
    slices = [report({name: hosts[name] for name in names[start::4]}, NOW) for start in range(4)]
    keys = [next(iter(artifacts(shown))) for shown in slices]
    assert len(set(keys)) == 4
    assert all(key.isidentifier() for key in keys)
    again = report({name: hosts[name] for name in reversed(names[0::4])}, "2030-01-01T00:00:00Z")
    assert next(iter(artifacts(again))) == keys[0]


def test_artifacts_name_who_is_not_green():
    (found,) = artifacts(report(fleet.three(), NOW)).values()
    assert found["counts"]["hosts"] == 3
    assert found["not_ok"] == {"build-shanghai": "token_unreachable", "build-shenzhen": "unreachable"}


def test_a_small_fleet_is_shown_host_by_host():
    assert table(report(fleet.three(), NOW)) == (
        "HOST            DAEMON  CLIENT  STEP\n"
        "build-shanghai  -       FAILS   -      The client could not fetch a token from auth.docker.io (reset). The daemon's proxy does not reach it.\n"
        "                                       Set docker_build_env daemon_token: true.\n"
        "build-shenzhen  -       -       -      Ansible could not reach the host: Failed to connect to the host via ssh: "
        "ssh: connect to host 10.0.4.9 port 22: No route to host.\n"
        "                                       Start the host, or correct how Ansible connects to it.\n"
        "build-berlin    works   works   works\n"
        "3 hosts: 1 fails, 1 unreachable, 1 works."
    )


def test_a_large_fleet_is_shown_cause_by_cause():
    lines = table(report(fleet.many(1000), NOW)).splitlines()
    assert len(lines) < 40
    assert lines[0].split()[1] == "fail"
    assert lines[2].endswith(" more")
    assert lines[-1].startswith("1000 hosts: ")


def test_no_host_at_all():
    assert table(report({}, NOW)) == "0 hosts: none."


def test_a_loop_is_shown_as_one_result():
    rows = [{"changed": True, "diff": [1]}, {"failed": True, "msg": "ci: no."}, {"failed": True, "msg": "other: no.", "diff": [2]}]
    assert of_a_loop({"changed": True, "failed": True, "msg": "One or more items failed", "results": rows}) == {
        "changed": True, "failed": True, "msg": "ci: no.", "results": rows, "diff": [1, 2],
    }  # fmt: skip
    assert of_a_loop({"changed": True, "results": rows[:1]}) == {"changed": True, "msg": None, "results": rows[:1], "diff": [1]}
    assert of_a_loop({"changed": True}) == {"changed": True}


def test_the_caches_say_what_they_counted():
    caches = {"cache1": {"docker.io": {"text": "online; 1 GB stored."}, "ghcr.io": {"text": "OFFLINE."}}, "cache2": {}}
    shown = report({}, NOW, caches)
    assert [(cache["host"], cache["caches"]) for cache in shown["caches"]] == list(caches.items())
    assert table(shown).splitlines() == [
        "The cache cache1 of docker.io: online; 1 GB stored.",
        "The cache cache1 of ghcr.io: OFFLINE.",
        "The cache cache2 was not asked: it is unreachable, or site has not set it up.",
        "0 hosts: none.",
    ]
