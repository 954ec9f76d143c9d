# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Booleans as Docker's programs read them from variables (Go, strconv.ParseBool)."""

from __future__ import annotations

import typing as t

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def parse_bool(value: str) -> t.Optional[bool]:
    """None for values that Go refuses, including the empty string."""
    return True if value in _TRUE else False if value in _FALSE else None
