# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Not in tests/: with the source policy no build uses Docker Hub, so it would hide what the other tests check."""

from __future__ import annotations

import table

MIRRORS = {"docker.io": "mirror.lab", "ghcr.io": table.GHCR_MIRROR}


def test_a_source_policy_works_from_25_for_every_registry_and_is_refused_below(engine):
    done = engine.module("docker_build_env", source_policy=MIRRORS)
    if engine.major < 25:
        assert done.returncode != 0
        assert f"source_policy needs Docker Engine 25.0; this host has {engine.version}" in done.stdout + done.stderr
        return
    assert done.returncode == 0, done.stdout
    try:
        for builder in ("buildkit", "compose"):
            for image in ("busybox:1", "ghcr.io/lab/tool:1"):
                outcome = engine.build(builder, image, login="builder")
                assert outcome.ok, outcome.log
    finally:
        done = engine.module("docker_build_env", state="absent")
        assert done.returncode == 0, done.stdout
    assert not engine.host.file("/etc/buildfleet").exists
