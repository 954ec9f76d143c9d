# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t


class Refused(Exception):
    """Stops the run: a complete sentence, and extra result values."""

    def __init__(self, message: str, **result: t.Any) -> None:
        super().__init__(message)
        self.result = result
