# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which job a CI agent, which is a service of systemd, runs now."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._host import systemd
from ansible_collections.buildfleet.docker.plugins.module_utils._host.builder_nodes import NODE_PREFIX
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host

_AGENT = ("RunnerService.js", "Runner.Listener")  # GitHub's agent is three processes, all without a job too
_STREAM, _CONNECTED = "0001", "03"


def running_job(host: Host, unit: str) -> str:
    """What may be a job of this service; '' if the service is idle."""
    shown = systemd.show(host, unit, "MainPID", "ControlGroup", "ExecMainStartTimestampMonotonic")
    main, group = int(shown.get("MainPID") or 0), shown.get("ControlGroup") or ""
    if group in ("", "/"):
        return "systemd does not list its processes"
    own = _processes(host, group)
    return _process(host, main, own) or _request(host, own) or _container(host, shown)


def _processes(host: Host, group: str) -> t.List[int]:
    """The processes of a control group and of those in it."""
    found = []
    for pid in host.names("/proc"):
        file = host.read(f"/proc/{pid}/cgroup") if pid.isdigit() else None
        if file and re.search(rf":{re.escape(group)}(/|$)", file.contents.decode(errors="replace"), re.MULTILINE):
            found.append(int(pid))
    return found


def _process(host: Host, main: int, own: t.Iterable[int]) -> str:
    for pid in own:
        argv = host.process(pid)
        names = [argument.rpartition("/")[2] for argument in argv[:2]]
        if any(argv) and pid != main and not any(name in _AGENT for name in names):
            return f"it has started {names[0]} (process {pid})"
    return ""


def _request(host: Host, own: t.Iterable[int]) -> str:
    """A connection to a socket, such as that of an engine. Outputs are connected to the journal."""
    for pid in own:
        links = [host.link(f"/proc/{pid}/fd/{number}") for number in host.names(f"/proc/{pid}/fd") if number not in ("0", "1", "2")]
        inodes = {link[len("socket:[") : -1] for link in links if link.startswith("socket:[")}
        file = host.read(f"/proc/{pid}/net/unix")
        rows = [line.split() for line in file.contents.decode(errors="replace").splitlines()[1:]] if file else []
        # Num RefCount Protocol Flags Type St Inode Path
        if any(row[4] == _STREAM and row[5] == _CONNECTED and row[6] in inodes for row in rows if len(row) > 6):
            return f"process {pid} is connected to a socket, such as that of the engine"
    return ""


def _container(host: Host, shown: t.Mapping[str, str]) -> str:
    """A container that is younger than the agent may be a job of it. A builder is none: its client would be a process of the job."""
    uptime = host.read("/proc/uptime")
    booted = host.now() - float(uptime.contents.split()[0]) if uptime else 0.0
    started = booted + int(shown.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    for container in host.engine_api("/containers/json") or []:
        name = str((container.get("Names") or [container["Id"][:12]])[0]).lstrip("/")
        if float(container.get("Created") or 0) >= started - 1 and not name.startswith(NODE_PREFIX):
            return f"the container {name} runs, which was created since the service was started"
    return ""
