# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""File formats, bytes in and bytes out: JSON, environment files, TOML, YAML. Imports _core."""
