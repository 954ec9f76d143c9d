# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wall: rules in front of the Hub's three machines, against the hosts alone. Proxies and mirrors stand outside it."""

from __future__ import annotations

from table import BEHIND_THE_WALL

RESET_AFTER_HELLO = "-p tcp --dport 443 --tcp-flags PSH PSH -j REJECT --reject-with tcp-reset"  # as a filter that reads the TLS name
REFUSE = "-p tcp --dport 443 -j REJECT --reject-with tcp-reset"
DROP = "-p tcp --dport 443 -j DROP"

# mode: the rule in front of each machine
MODES = {
    "open": {},
    "reset": {"hub": RESET_AFTER_HELLO, "token": RESET_AFTER_HELLO, "cdn": RESET_AFTER_HELLO},
    "refuse": {"hub": REFUSE, "token": REFUSE, "cdn": REFUSE},
    "drop": {"hub": DROP, "token": DROP, "cdn": DROP},
    "token": {"token": RESET_AFTER_HELLO},
    "cdn": {"cdn": RESET_AFTER_HELLO},
}


def script(mode: str, machine: str) -> str:
    rule = MODES[mode].get(machine)
    return "iptables -F INPUT" + (f" && iptables -A INPUT -s {BEHIND_THE_WALL} {rule}" if rule else "")
