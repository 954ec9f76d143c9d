# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of builds that run on this host."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host

_RUNTIMES = ("runc", "buildkit-runc")


def running_steps(host: Host) -> t.Dict[int, str]:
    """The first process of each BuildKit step on this host, and its command."""
    steps = {}
    for pid in filter(str.isdigit, host.names("/proc")):
        argv = host.process(int(pid))
        parent = host.process(host.parent(int(pid))) if argv else []
        if parent and parent[0].rpartition("/")[2] in _RUNTIMES and "--bundle" in parent:
            steps[int(pid)] = " ".join(argv)
    return steps
