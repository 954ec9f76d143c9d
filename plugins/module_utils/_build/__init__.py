# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real build, and the removal of everything that it created. Imports _core, _diagnosis, _formats, _host and _registry."""
