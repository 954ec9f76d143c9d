# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Image references in Dockerfiles, compose files and Bake files, and their rewriting. Imports _core, _formats, _host and _registry."""
