# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only package that touches the machine: files, programs, the API of the engine, accounts, the record. Imports _core."""
