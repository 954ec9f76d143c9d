# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's name server: answers names from a hosts file, ignores one name, and denies all others."""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

A_RECORD = 1
NO_SUCH_NAME = 3


def addresses(hosts_file: Path) -> dict[str, str]:
    rows = (line.split() for line in hosts_file.read_text().splitlines())
    return {name: address for address, *names in rows for name in names}


def asked(query: bytes) -> tuple[str, int, int]:
    """The name, the record type, and where the question ends."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
        at += 1 + query[at]
    return ".".join(labels).lower(), struct.unpack("!H", query[at + 1 : at + 3])[0], at + 5


def answer(query: bytes, known: dict[str, str]) -> bytes:
    name, kind, end = asked(query)
    address = known.get(name)
    found = address is not None and kind == A_RECORD
    flags = 0x8580 if address is not None else 0x8580 | NO_SUCH_NAME
    header = query[:2] + struct.pack("!5H", flags, 1, int(found), 0, 0)
    record = b"\xc0\x0c" + struct.pack("!HHIH", A_RECORD, 1, 1, 4) + socket.inet_aton(address or "0.0.0.0") if found else b""
    return header + query[12:end] + record


def serve(hosts_file: Path, silent: str) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", 53))
    while True:
        query, client = server.recvfrom(1500)
        name = asked(query)[0]
        print(client[0], name, flush=True)
        if name != silent:
            server.sendto(answer(query, addresses(hosts_file)), client)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
