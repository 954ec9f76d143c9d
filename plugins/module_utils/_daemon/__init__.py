# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of the daemon: what they are, what a run would make of them, and the change as a transaction.

Imports _core, _formats, _host, _proxy and _registry.
"""
