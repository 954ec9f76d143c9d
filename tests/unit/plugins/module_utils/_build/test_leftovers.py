# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._build import leftovers
from ansible_collections.buildfleet.docker.plugins.module_utils._host.steps import running_steps

RUNC = ["runc", "--log", "/x", "run", "--bundle", "/var/lib/docker/buildkit/executor/q", "--keep", "q"]
SHELL = ["/bin/sh", "-c", "if command -v wget; then wget 'http://x'; fi"]
LOG = "#5 [2/2] RUN sleep 300\n#6 [3/3] RUN if command -v wget; then wget 'http://x'; fi\n#7 [internal] load x\n"


def step(*command, parent=5):
    host = MemoryHost({"/proc/uptime": "1 1"})
    host.processes = {5: RUNC, 6: ["containerd-shim", "--bundle", "x"], 7: list(command), 99: []}
    host.parents = {5: 1, 6: 1, 7: parent}
    return host


@pytest.mark.parametrize(
    ("host", "before", "said"),
    [
        pytest.param(
            step("sleep", "300"), (), "A step of this build still runs on the engine (process 7: sleep 300). End it with: kill 7.", id="a step of this log"
        ),
        pytest.param(
            step(*SHELL), (), f"A step of this build still runs on the engine (process 7: {' '.join(SHELL)}). End it with: kill 7.", id="a step with its shell"
        ),
        pytest.param(step("sleep", "300"), (7,), "", id="it ran before"),
        pytest.param(step("sleep", "9"), (), "", id="another command"),
        pytest.param(step("sleep", "300", parent=6), (), "", id="a container of others"),
        pytest.param(step("sleep", "300", parent=1), (), "", id="no step"),
    ],
)
def test_a_step_that_runs_on_is_said(host, before, said):
    assert leftovers.sentences(running_steps(host), before, LOG, []) == ((said,) if said else ())


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], ()),
        ([{"ID": "a"}], ("A cache record of this build could not be removed; the engine uses it until its next start (a).",)),
        ([{"ID": "a"}, {"ID": "b"}], ("2 cache records of this build could not be removed; the engine uses them until its next start (a, b).",)),
    ],
)
def test_records_that_stay_are_said(records, said):
    assert leftovers.sentences({}, (), LOG, records) == said
