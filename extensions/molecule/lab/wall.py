# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall: rules on the machines of the outside world against all hosts or one. Proxies and mirrors are not behind it."""

from __future__ import annotations

from table import BEHIND_THE_FIREWALL, SERVICES

RESET_AFTER_HELLO = "-p tcp --tcp-flags PSH PSH -j REJECT --reject-with tcp-reset"  # like a filter that reads the name
REFUSE = "-p tcp -j REJECT --reject-with tcp-reset"
DROP = "-p tcp -j DROP"


def everywhere(block: str) -> dict[str, str]:
    return {name: block for name, service in SERVICES.items() if service.wall}


# mode: the rule in front of each machine
MODES = {
    "open": {},
    "reset": everywhere(RESET_AFTER_HELLO),
    "refuse": everywhere(REFUSE),
    "drop": everywhere(DROP),
    "token": {"token": RESET_AFTER_HELLO},
    "cdn": {"cdn": RESET_AFTER_HELLO},
}


def rule(mode: str, machine: str, source: str) -> str:
    return f"-s {source} {MODES[mode].get(machine, '-j ACCEPT')}"


def first(machine: str) -> str:
    """The machine runs this itself, before its service, so it is never reachable without the firewall."""
    return f"iptables -A INPUT {rule('reset', machine, BEHIND_THE_FIREWALL)}"


def for_everyone(mode: str, machine: str) -> str:
    return f"iptables -F INPUT && iptables -A INPUT {rule(mode, machine, BEHIND_THE_FIREWALL)}"


def for_one(mode: str, address: str, machine: str) -> str:
    return f"{forget(address)} && iptables -I INPUT {rule(mode, machine, address)}"


def forget(address: str) -> str:
    return f"{{ iptables -S INPUT | grep -F -- '-s {address}/32 ' | sed 's/^-A/iptables -D/' | sh; }}"
