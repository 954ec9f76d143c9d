# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The effective settings of each process on this host, and what is wrong with them.

Imports _build, _build_env, _core, _daemon, _diagnosis, _formats, _host, _proxy and _registry.
"""
