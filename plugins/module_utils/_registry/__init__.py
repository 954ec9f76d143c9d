# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Image names, maps of mirrors, hosts.toml files, and tests of mirrors. Imports _core and _formats."""
