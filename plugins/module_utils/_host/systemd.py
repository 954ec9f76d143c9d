# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What systemd reports about a unit, read in one place."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host


def show(host: Host, unit: str, *properties: str) -> t.Dict[str, str]:
    """The properties of `systemctl show` (man org.freedesktop.systemd1); repeated properties as one value with several lines."""
    shown: t.Dict[str, str] = {}
    for line in host.run(["systemctl", "show", f"--property={','.join(properties)}", "--", unit]).out.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            shown[name] = f"{shown[name]}\n{value}" if name in shown else value
    return shown
