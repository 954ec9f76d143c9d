# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proxy URLs, no_proxy, and the host's store of trusted authorities. Imports _core."""
