# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After `undo`: the hosts are as before; the results of `site` and `verify` on hosts without a fix, or that cannot be fixed."""

from __future__ import annotations

import re

import pytest
import table

FILES = "find /etc/docker /etc/systemd/system /etc/profile.d /etc/environment /etc/default /root -type f -exec sha256sum {} + 2>/dev/null | sort"
PROXY = [f"-ebuildfleet_proxy_{scheme}={table.HTTP_PROXY}" for scheme in ("http", "https")]


def test_nothing_of_ours_is_left(engine):
    assert engine.host.check_output("find / -xdev -iname '*buildfleet*' -not -path '/proc/*' -not -path '/run/*' 2>/dev/null || true") == ""
    assert "roxy" not in engine.host.check_output("docker info")
    assert engine.host.run("test -e /etc/docker/daemon.json").rc == 1


def test_verify_fails_and_says_who_could_not_reach_what(engine, playbook):
    done = playbook("verify", engine.name)
    assert done.returncode != 0
    assert "registry-1.docker.io" in done.stdout
    assert re.search(rf"^{engine.name} +FAILS +- +- +The daemon could not reach registry-1.docker.io", done.stdout, re.M)
    assert "1 host: 1 fails." in done.stdout


@pytest.fixture()
def latent_fault(engine):
    """The daemon runs; with this foreign file it would not start again."""
    engine.write("/etc/docker/daemon.json", '{"hosts": ["unix:///run/docker.sock"], "log-level": "warn"}\n')
    yield
    engine.host.check_output("rm /etc/docker/daemon.json")


def test_a_fault_of_the_hosts_own_is_named_and_nothing_changes(engine, latent_fault, playbook):
    before, started = engine.host.check_output(FILES), engine.host.check_output("pidof dockerd")
    done = playbook("site", engine.name, *PROXY)
    assert done.returncode != 0
    assert "'hosts' is set here and by --host on the command line" in done.stdout
    assert engine.host.check_output(FILES) == before
    assert engine.host.check_output("pidof dockerd") == started
    assert engine.host.run("docker version").rc == 0


def test_hosts_that_nobody_names_are_an_error(playbook):
    done = playbook("site", "all", "-ebuildfleet_hosts=no_such_group", *PROXY)
    assert done.returncode != 0
    assert "No host of the inventory matches no_such_group." in done.stdout


def test_site_without_a_wish_is_an_error(engine, playbook):
    done = playbook("site", engine.name, "-ebuildfleet_proxy_https=", "-ebuildfleet_registry_mirrors=")
    assert done.returncode != 0
    assert "Nothing to configure" in done.stdout


def test_a_password_without_a_user_name_is_an_error(engine, playbook):
    done = playbook("site", engine.name, *PROXY, "-ebuildfleet_proxy_password=pa55")
    assert done.returncode != 0
    assert (
        "The proxy has a password (buildfleet_proxy_password, or BUILDFLEET_PROXY_PASSWORD in the environment of the controller) and no user name. "
        "Set buildfleet_proxy_username, or remove the password."
    ) in re.sub(r"\s+", " ", done.stdout)
