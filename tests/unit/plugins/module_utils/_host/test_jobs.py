# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An agent is idle only if nothing that may be its job is seen."""

from __future__ import annotations

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run
from ansible_collections.buildfleet.docker.plugins.module_utils._host.jobs import running_job

GROUP = "/system.slice/agent.service"
STARTED = 1_800_000_000.0 - 5000 + 4000  # now, minus the uptime, plus systemd's time since the boot
SHOW = "systemctl show --property=MainPID,ControlGroup,ExecMainStartTimestampMonotonic -- agent.service"
UNIX = """Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000003 00000000 00000000 0001 03 11
0000000000000000: 00000003 00000000 00000000 0001 03 12
0000000000000000: 00000002 00000000 00000000 0002 01 13
0000000000000000: 00000003 00000000 00010000 0001 01 14 /run/own.sock
"""


class Machine(MemoryHost):
    """An agent with the process 10; ``sockets``: the inodes of its other descriptors."""

    def __init__(self, processes=(), sockets=(), containers=None, group=GROUP):
        shown = f"MainPID=10\nControlGroup={group}\nExecMainStartTimestampMonotonic=4000000000\n"
        super().__init__(
            {"/proc/10/net/unix": UNIX, "/proc/uptime": "5000.00 1.00\n"}, programs={SHOW: Run(0, shown, "")}, api={"/containers/json": containers}
        )
        self.opened = {"0": "/dev/null", "1": "socket:[11]", "2": "socket:[11]", **{str(7 + place): link for place, link in enumerate(sockets)}}
        for pid, (argv, where) in {10: (["/usr/bin/agent", "run"], f"0::{GROUP}\n"), **dict(processes)}.items():
            self.processes[pid] = argv
            self.files[f"/proc/{pid}/cgroup"] = self.files["/proc/uptime"]._replace(contents=where.encode())

    def names(self, folder):
        return sorted([*self.opened, "99"]) if folder == "/proc/10/fd" else super().names(folder)

    def link(self, path):
        return self.opened.get(path.rpartition("/")[2], "")


def container(name, created):
    return {"Id": "0123456789abcdef", "Names": [f"/{name}"] if name else [], "Created": created}


@pytest.mark.parametrize(
    "machine",
    [
        Machine(),
        Machine({11: (["sh"], "0::/system.slice/agent.service-other\n"), 12: (["sh"], "0::/user.slice\n")}),
        Machine({11: (["node", "/opt/bin/RunnerService.js"], f"0::{GROUP}\n"), 12: (["/opt/bin/Runner.Listener", "run"], f"0::{GROUP}\n")}),
        Machine({11: ([""], f"0::{GROUP}\n"), 12: ([], f"0::{GROUP}\n")}),
        Machine(sockets=["socket:[13]", "socket:[14]", "socket:[99]", "/var/log/agent.log"]),
        Machine(containers=[container("db", STARTED - 60), container("buildx_buildkit_ci0", STARTED + 60)]),
    ],
    ids=["alone", "processes of others", "the three of GitHub", "ended processes", "other descriptors", "older containers and builders"],
)
def test_idle(machine):
    assert running_job(machine, "agent.service") == ""


@pytest.mark.parametrize(
    ("machine", "job"),
    [
        (Machine({11: (["/bin/bash", "-c", "make"], f"0::{GROUP}\n")}), "it has started bash (process 11)"),
        (Machine({11: (["make"], f"12:pids:/user\n1:name=systemd:{GROUP}/job\n0::/\n")}), "it has started make (process 11)"),
        (Machine({11: (["/opt/bin/Runner.Worker", "spawnclient"], f"0::{GROUP}\n")}), "it has started Runner.Worker (process 11)"),
        (Machine(sockets=["socket:[12]"]), "process 10 is connected to a socket, such as that of the engine"),
        (Machine(containers=[container("job-1", STARTED + 1)]), "the container job-1 runs, which was created since the service was started"),
        (Machine(containers=[container("", STARTED)]), "the container 0123456789ab runs, which was created since the service was started"),
        (Machine(group=""), "systemd does not list its processes"),
    ],
    ids=["a process", "in a group of its own", "a job of GitHub", "a request", "a container", "a container without a name", "unknown"],
)
def test_not_idle(machine, job):
    assert running_job(machine, "agent.service") == job


def test_without_an_uptime_every_container_may_be_a_job():
    machine = Machine(containers=[container("db", STARTED - 60)])
    del machine.files["/proc/uptime"]
    assert running_job(machine, "agent.service") == "the container db runs, which was created since the service was started"


def test_without_network_files_no_connection_is_seen():
    machine = Machine(sockets=["socket:[12]"])
    del machine.files["/proc/10/net/unix"]
    assert running_job(machine, "agent.service") == ""
