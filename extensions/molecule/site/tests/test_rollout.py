# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How `site` processes a fleet: a canary first, a stop at the first failed test build, later runs that continue from there."""

from __future__ import annotations

import json

import pytest
import table

GOOD = {
    "buildfleet_proxy_http": table.AUTH_PROXY, "buildfleet_proxy_https": table.AUTH_PROXY, "buildfleet_proxy_username": table.USERNAME,
    "buildfleet_proxy_password": table.PASSWORD, "buildfleet_no_proxy": ["mirror.lab", ".internal.lab"],
}  # fmt: skip
BAD = {**GOOD, "buildfleet_proxy_http": "http://nobody.lab:3128", "buildfleet_proxy_https": "http://nobody.lab:3128"}


def test_the_canary_fails_and_nobody_else_is_touched(site, state):
    canary, *others = list(table.HOSTS)
    before = {name: state(name) for name in table.HOSTS}
    done, recap = site(",".join(table.HOSTS), BAD)
    assert done.returncode != 0 and "nobody.lab" in done.stdout, done.stdout
    assert "failed=1" in recap[canary], recap
    assert [name for name in others if state(name) != before[name]] == []
    assert not set(others) & set(recap), recap
    assert state(canary) != before[canary]

    done, recap = site(",".join(table.HOSTS), GOOD)
    assert done.returncode == 0 and set(table.HOSTS) <= set(recap), done.stdout
    done, recap = site(",".join(table.HOSTS), GOOD)
    assert done.returncode == 0 and all("changed=0" in recap[name] for name in table.HOSTS), recap


one_host = pytest.mark.parametrize("engine", [list(table.HOSTS)[-1]], indirect=True)


@pytest.fixture()
def container(engine, bystander):
    return bystander(engine)


@one_host
def test_who_still_runs_with_the_old_password_is_said_and_green(site, engine, container):
    started = container()
    done, recap = site(engine.name, {**GOOD, "buildfleet_proxy_password": "the-n3w-one"})
    assert done.returncode == 0 and "failed=0" in recap[engine.name], done.stdout
    assert f"{engine.name} is configured but not tested: the daemon still runs with the old password (1 running container would be stopped" in done.stdout
    assert "the-n3w-one" not in done.stdout
    assert container() == started
    done, recap = site(engine.name, GOOD)
    assert done.returncode == 0 and "not proved" not in done.stdout, done.stdout


@one_host
def test_containers_survive_where_live_restore_is_on(site, playbook, engine, container):
    file = engine.host.file("/etc/docker/daemon.json")
    first = file.content_string if file.exists else None
    value = {**json.loads(first or "{}"), "live-restore": True}
    engine.write("/etc/docker/daemon.json", json.dumps(value))
    engine.host.check_output("systemctl reload docker && sleep 1 && docker info -f '{{.LiveRestoreEnabled}}' | grep true")
    started = container()
    try:
        done, recap = site(engine.name, {**GOOD, "buildfleet_no_proxy": ["mirror.lab", "another.lab"]})
        assert done.returncode == 0 and "not proved" not in done.stdout and "changed=0" not in recap[engine.name], done.stdout
        assert "another.lab" in engine.host.check_output("docker info -f '{{.NoProxy}}'")
        assert container() == started
    finally:
        # The host from its first day on again, as the other tests and the undo expect it.
        playbook("undo", engine.name)
        engine.host.run("docker rm -f bystander; rm -f /etc/docker/daemon.json")
        assert engine.restart()
        site(engine.name, GOOD)
