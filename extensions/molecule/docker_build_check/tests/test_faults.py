# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fault of lab/faults.py: diagnosed, fixed if this collection can, and built again. A sample in each run, all of them in `make matrix`."""

from __future__ import annotations

import datetime
import json
import os

import build
import faults
import pytest

SAMPLE = 6
BUILDERS = ("buildkit", "legacy")


def asked(engine, module, **options):
    """The module's result; its whole output if there is none."""
    done = engine.module(module, **options)
    text = done.stdout.partition("=> ")[2]
    assert text, done.stdout + done.stderr
    return json.loads(text)


def keep(**row):
    """A row for the table that `make matrix` writes."""
    if os.environ.get("BUILDFLEET_MATRIX"):
        row.update(day=str(datetime.date.today()), commit=os.environ.get("BUILDFLEET_COMMIT", "unknown"))
        with open(os.environ["BUILDFLEET_MATRIX"], "a") as table:
            table.write(json.dumps(row) + "\n")


@pytest.fixture()
def faulty(engine, wall):
    """`faulty(fault)` creates the fault on the host, which is reset afterwards."""

    def give(fault):
        if fault.wall != "reset":
            wall(fault.wall)
        faults.give(engine.name, fault)

    yield give
    engine.reset()


def checked(engine, name, builder):
    faults.choose(engine.name, faults.FAULTS[name], builder)
    return asked(engine, "docker_build_check", **faults.options(name, builder))


@pytest.mark.parametrize("name", faults.FAULTS)
def test_a_fault_is_named_and_cured(engine, faulty, name):
    version, store, fault = engine.version, engine.store, faults.FAULTS[name]
    kind = (int(version.partition(".")[0]), store)
    column = version if store == "graphdriver" else f"{version}, containerd image store"
    faulty(fault)
    wrong, sick = [], {}
    for builder in BUILDERS:
        found = checked(engine, name, builder)
        verdict = tuple(found[key] for key in ("cause", "asked_by", "host", "reason"))
        wanted = tuple(said if want is ... else want for want, said in zip(faults.expected(fault, builder, *kind), verdict, strict=True))
        keep(engine=column, fault=name, builder=builder, verdict=verdict, cured=None)
        if verdict != wanted or found["changed"]:
            wrong.append((builder, wanted, found))
        if not found["ok"] and fault.says not in found["cure"]:
            wrong.append((builder, f"a cure that says {fault.says}", found))
        if faults.is_cured(name, builder, *kind):
            sick[builder] = (verdict, found)
    for module, options in faults.cure(fault) if sick else ():
        result = asked(engine, module, **options)
        assert result["changed"], result
    if sick and fault.repair:
        build.on(engine.name, fault.repair)
    for builder, (verdict, found) in sick.items():
        if fault.cure and not any(module in found["cure"] for module, _options in fault.cure):
            wrong.append((builder, f"a cure that names one of {[module for module, _options in fault.cure]}", found))
        again = checked(engine, name, builder)
        keep(engine=column, fault=name, builder=builder, verdict=verdict, cured=again["ok"])
        if not again["ok"]:
            wrong.append((builder, "a build that passes after the cure", again))
    assert wrong == []
