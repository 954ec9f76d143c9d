# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The answer of a web server as a value."""

from __future__ import annotations

import typing as t


class Answer(t.NamedTuple):
    """Status 0: no answer, and reason says why. With a status, reason says why the body is incomplete."""

    status: int
    headers: t.Mapping[str, str]
    reason: str = ""
    body: bytes = b""

    def header(self, name: str) -> str:
        """A header, in any case; '' if it is missing."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), "")

    @property
    def is_page(self) -> bool:
        """Whether it is an HTML page, which no registry sends."""
        return "text/html" in self.header("Content-Type")
