# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of clients and RUN steps: environment variables, and proxies of the client's configuration.

Imports _core, _formats, _host, _proxy and _registry.
"""
