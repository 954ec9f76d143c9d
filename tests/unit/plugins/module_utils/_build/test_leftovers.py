# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._build import leftovers
from ansible_collections.buildfleet.docker.plugins.module_utils._host.steps import running_steps

RUNC = ["runc", "--log", "/x", "run", "--bundle", "/var/lib/docker/buildkit/executor/q", "--keep", "q"]
SHELL = ["/bin/sh", "-c", "if command -v wget; then wget 'http://x'; fi"]
LOG = "#5 [2/2] RUN sleep 300\n#6 [3/3] RUN if command -v wget; then wget 'http://x'; fi\n#7 [internal] load x\n"


class Host:
    """Processes by number: parent and command line."""

    def __init__(self, **processes):
        self.processes = {int(name[1:]): value for name, value in processes.items()}

    def names(self, folder):
        return [*map(str, self.processes), "uptime", "99"]

    def process(self, pid):
        return self.processes.get(pid, (0, []))[1]

    def parent(self, pid):
        return self.processes.get(pid, (0, []))[0]


def step(*command, parent=5):
    return Host(p5=(1, RUNC), p6=(1, ["containerd-shim", "--bundle", "x"]), p7=(parent, list(command)))


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
        ([{"ID": "a"}], ("A cache record of this build could not be removed; the engine keeps it until its next start (a).",)),
        ([{"ID": "a"}, {"ID": "b"}], ("2 cache records of this build could not be removed; the engine keeps them until its next start (a, b).",)),
    ],
)
def test_records_that_stay_are_said(records, said):
    assert leftovers.sentences({}, (), LOG, records) == said
