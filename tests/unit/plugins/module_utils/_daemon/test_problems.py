# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes in daemon.json are looked for in every key that we manage."""

from __future__ import annotations

from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import problems, settings


def test_every_managed_key_is_checked():
    assert tuple(settings.LISTS.values()) == problems._LISTS
    assert tuple(key for key, _variable, _field in settings.PROXIES.values()) == problems._PROXY_KEYS
