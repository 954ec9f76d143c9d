# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After `undo`: nothing of the cache remains; and what a host without any network can still build."""

from __future__ import annotations

import pytest
from build import on


@pytest.mark.parametrize("cache", ["cache", "cache2"])
def test_nothing_of_the_cache_is_left(cache):
    left = on(cache, "find / -xdev \\( -iname '*buildfleet*' -o -iname '*docker-registry*' \\) -not -path '/proc/*' -not -path '/var/lib/dpkg/*'")
    assert [line for line in left.log.splitlines() if not line.startswith(("/var/lib/packages/", "/run/", "/var/cache/"))] == []
    assert on(cache, "dpkg-query --show --showformat='${Package}\\n' | grep -E 'nginx|registry'").log == ""
    assert on(cache, "ls -d /etc/nginx /var/lib/nginx /var/log/nginx 2>/dev/null").log == ""
    assert on(cache, "curl -sk https://127.0.0.1:5000/v2/").ok is False
    assert on(cache, "systemctl is-system-running").log == "running\n"


def test_nothing_of_ours_is_left(engine):
    assert engine.host.check_output("find / -xdev -iname '*buildfleet*' -not -path '/proc/*' -not -path '/run/*' 2>/dev/null || true") == ""
    assert engine.host.run("test -e /etc/docker/daemon.json -o -e /etc/docker/certs.d").rc == 1
    trusted = engine.host.check_output("openssl storeutl -noout -text -certs /etc/ssl/certs/ca-certificates.crt")
    assert {line.strip() for line in trusted.splitlines() if "Subject:" in line and "buildfleet" in line} == {"Subject: CN=buildfleet lab"}  # the lab's own


@pytest.mark.parametrize("builder", ["buildkit", "legacy"])
def test_an_image_that_was_carried_over_needs_no_network(engine, wall, builder):
    """The fix for an air gap: `docker save` on a host with a network, `docker load` on one without, no `--pull`."""
    wall("open")
    engine.forget()
    engine.host.check_output("docker pull --quiet busybox:1 && docker save --output=/var/tmp/busybox.tar busybox:1")
    wall("drop")
    engine.forget()
    engine.host.check_output("docker load --input=/var/tmp/busybox.tar")
    outcome = engine.build(builder, clean=False)
    assert outcome.ok, outcome.log
