# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The effective settings of each process on this host, and what is wrong with them.

Imports _build, _build_env, _core, _daemon, _diagnosis, _formats, _host, _proxy and _registry.
"""
