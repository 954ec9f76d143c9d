# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of a relay on this host, as others read it."""

from __future__ import annotations

FILE = "/etc/buildfleet-relay.conf"


def listens(contents: bytes, address: str) -> bool:
    """Whether the relay with this configuration listens at host:port; containers then reach it at another address."""
    return f"http_port {address}".encode() in contents.splitlines()
