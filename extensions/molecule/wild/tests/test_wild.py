# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts as others configured them: tests/field/hosts.jsonl on every engine, on hosts of this test's own.

BUILDFLEET_WILD says how many of them; `make wild` takes all, `make test` a few that BUILDFLEET_SEED chooses.
"""

from __future__ import annotations

import os
import sys

import pytest
import wild

COUNT = int(os.environ.get("BUILDFLEET_WILD", 6))
SEED = os.environ.get("BUILDFLEET_SEED", "1")
CASE = {"name": "a", "daemon_json": '{"debug": true}', "files": {}}


def test_every_configuration_has_one_of_two_ends(own_hosts):
    hosts = [engine.name for engine in own_hosts(**wild.OWN_HOSTS)]
    answers = wild.run(hosts, wild.sample(wild.cases(), COUNT, SEED))
    found = [verdict for engine, case, answer in answers for verdict in wild.verdicts(case, engine, answer)]
    for line in wild.summary(answers, found):
        print(line, file=sys.__stdout__, flush=True)
    assert [one for one in found if one.end not in wild.GOOD] == []
    assert any(one.end == "held" for one in found)


def seen(files=None, info=None, starts=0, state="active"):
    return {
        "files": {"/etc/docker/daemon.json": 1} if files is None else files,
        "info": info if info is not None else {"mirrors": []},
        "starts": starts,
        "unit": {"ActiveState": state},
    }


def step(after, **result):
    return {"result": {"changed": False, "restart_pending": False, "restarted": bool(after["starts"]), **result}, "seconds": 1, "after": after}


OURS = {"/etc/docker/daemon.json": 2}
IN_FORCE = {"mirrors": ["https://mirror.lab/"]}
HELD = {
    "before": seen(),
    "check": step(seen(), changed=True),
    "run": step(seen(OURS, IN_FORCE, 1), changed=True),
    "again": step(seen(OURS, IN_FORCE)),
    "info": {"findings": [], "failed": False, "msg": "", "seconds": 1},
    "undo": step(seen(starts=1), changed=True),
}
SENTENCE = "/etc/docker/daemon.json, line 1, column 2: a key stands twice. Remove one."
REFUSED = {"before": seen(), "check": step(seen(), failed=True, msg=SENTENCE), "run": step(seen(), failed=True, msg=SENTENCE)}
DOWN = {"before": seen(info={}, state="failed"), "check": step(seen(info={}), failed=True, msg="x"), "run": step(seen(info={}), failed=True, msg="x")}

NOT_JSON = {"id": "config_not_json", "message": "m"}


@pytest.mark.parametrize(
    ("row", "change", "ends"),
    [
        pytest.param(HELD, {}, ["held"], id="configured, undone"),
        pytest.param(HELD, {"run": step(seen(OURS, {"mirrors": []}, 1))}, ["fault"], id="not in force"),
        pytest.param(HELD, {"run": step(seen(OURS, IN_FORCE, 2))}, ["fault"], id="restarted twice"),
        pytest.param(HELD, {"again": step(seen(OURS, IN_FORCE), changed=True)}, ["fault"], id="the second run changes something"),
        pytest.param(HELD, {"again": step(seen({**OURS, "/etc/x": 1}, IN_FORCE))}, ["fault"], id="the second run writes and does not say it"),
        pytest.param(HELD, {"info": {**HELD["info"], "findings": [{"id": "restart_pending", "message": "m"}]}}, ["fault"], id="a finding that is not true"),
        pytest.param(
            HELD,
            {"info": {**HELD["info"], "findings": [{"id": "config_not_json", "severity": "error", "message": "m"}]}},
            ["fault"],
            id="an error that is none",
        ),
        pytest.param(HELD, {"info": {**HELD["info"], "findings": [{**NOT_JSON, "severity": "warning"}]}}, ["held"], id="a warning"),
        pytest.param(HELD, {"undo": step(seen({}, starts=1))}, ["fault"], id="undo is not exact"),
        pytest.param(HELD, {"undo": step(seen(info=IN_FORCE))}, ["fault"], id="undo is not in force"),
        pytest.param(HELD, {"run": step(seen(), failed=True, rolled_back=True, msg="m")}, ["rolled back"], id="rolled back"),
        pytest.param(HELD, {"before": seen(info={}), "undo": step(seen(info=IN_FORCE))}, ["repaired"], id="repaired, and left running by the undo"),
        pytest.param(REFUSED, {}, ["wrong refusal"], id="refused without a reason"),
        pytest.param(REFUSED, {"run": step(seen(starts=1), failed=True, msg=SENTENCE)}, ["fault"], id="refused after a start"),
        pytest.param(REFUSED, {"run": step(seen(OURS), failed=True, msg=SENTENCE)}, ["fault"], id="refused after a write"),
        pytest.param(REFUSED, {"run": step(seen(), failed=True, msg="No.")}, ["fault"], id="refused without a place"),
        pytest.param(REFUSED, {"check": step(seen())}, ["fault"], id="the dry run says otherwise"),
        pytest.param(DOWN, {"run": step(seen(info={}, starts=1), failed=True, msg="x")}, ["fault"], id="down, and started"),
        pytest.param(
            DOWN,
            {"before": seen(info={}, state="activating"), "run": step(seen(info={}, starts=1), failed=True, msg="x")},
            ["left"],
            id="down, and started again by systemd itself",
        ),
        pytest.param(DOWN, {}, ["left"], id="does not start, left as it is"),
        pytest.param(DOWN, {"run": step(seen({**OURS, wild.RECORD: 1}, {}), failed=True, msg="x")}, ["fault", "fault"], id="does not start, record made"),
    ],
)
def test_what_is_judged(row, change, ends):
    assert [one.end for one in wild.judge(CASE, "28.5", "mirror", {**row, **change})] == ends


STOPPED = {
    **HELD,
    "before": seen(info={}, state="inactive"),
    "run": step(seen(OURS, {}), changed=True),
    "again": step(seen(OURS, {})),
    "undo": step(seen(info={})),
}
POSTPONED = {**HELD, "run": step(seen(OURS), changed=True, restart_pending=True), "again": step(seen(OURS)), "undo": step(seen())}
DOWN_FINDING = {"info": {**HELD["info"], "findings": [{"id": "engine_down", "severity": "error", "message": "m"}]}}


@pytest.mark.parametrize(
    ("row", "more", "ends"),
    [
        pytest.param({**STOPPED, **DOWN_FINDING}, {}, ["written"], id="stopped, and it stays so"),
        pytest.param({**STOPPED, "run": step(seen(OURS, IN_FORCE, 1), changed=True)}, {}, ["fault"], id="stopped, and started"),
        pytest.param(POSTPONED, {"postponed": True}, ["written"], id="a unit that refuses a restart"),
        pytest.param({**POSTPONED, "run": step(seen(OURS), changed=True)}, {"postponed": True}, ["fault"], id="it does not say that the restart waits"),
        pytest.param(POSTPONED, {}, ["fault", "fault"], id="postponed for no reason"),
        pytest.param(HELD, {"findings": ["unit_refused"]}, ["held"], id="a finding that is true, but absent"),
        pytest.param({**HELD, **DOWN_FINDING}, {"findings": ["engine_down"]}, ["held"], id="a finding that is true"),
        pytest.param({**REFUSED, "run": step(seen(), failed=True, msg="/a is a mount.")}, {"refused": "a mount"}, ["refused"], id="refused, no line exists"),
    ],
)
def test_states_of_a_host_are_judged_by_what_their_case_says(row, more, ends):
    assert [one.end for one in wild.judge({**CASE, **more}, "28.5", "mirror", row)] == ends


@pytest.mark.parametrize(
    ("case", "trial", "reasons"),
    [
        pytest.param(CASE, "proxy", [], id="nothing of others"),
        pytest.param({**CASE, "files": {"/a": "[Service]\nEnvironment=HTTP_PROXY=http://p"}}, "proxy", ["a proxy of others"], id="a proxy"),
        pytest.param({**CASE, "files": {"/a": "#Environment=HTTP_PROXY=http://p"}}, "proxy", [], id="a comment"),
        pytest.param({**CASE, "files": {"/a": "Environment=HTTP_PROXY=http://p"}}, "mirror", [], id="a proxy is nothing to a mirror"),
        pytest.param({**CASE, "files": {"/a": "ExecStart=dockerd --registry-mirror=https://m"}}, "mirror", ["a flag of the unit"], id="a flag"),
        pytest.param({**CASE, "daemon_json": '{"a": 1, "a": 2}'}, "mirror", ["no JSON, or a key twice"], id="a key twice"),
        pytest.param({**CASE, "daemon_json": None}, "mirror", [], id="no daemon.json"),
    ],
)
def test_why_a_running_daemon_may_be_refused(case, trial, reasons):
    assert wild.reasons(case, trial) == reasons
