# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of clients and RUN steps: environment variables, and proxies of the client's configuration.

Imports _core, _formats, _host, _proxy and _registry.
"""
