# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A builder of buildx in a container: what it should be created with, what it was created with, and the change between them.

Imports _core, _formats, _host, _proxy and _registry.
"""
