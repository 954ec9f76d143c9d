# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A restart without a change. Changes, restarts and rolling back are held by tests of docker_daemon_proxy, on whole hosts."""

from __future__ import annotations

import types

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import start
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.preflight import validation_error
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run


class Machine(MemoryHost):
    """A host whose daemon starts, answers and speaks as it is told."""

    def __init__(self, code, info, journal):
        super().__init__()
        self.code, self.info, self.journal, self.clock, self.ran = code, info, journal, 0.0, []

    def now(self):
        self.clock += 1
        return self.clock

    def sleep(self, seconds):
        self.clock += seconds

    def engine_api(self, path, method="GET", sock="", timeout=10):
        return self.info

    def run(self, argv, env=None, cwd=None, timeout=60, stdin=""):
        self.ran.append(" ".join(argv[:2]))
        return {"journalctl": Run(0, self.journal, "")}.get(argv[0], Run(self.code if argv[1] == "restart" else 0, "", "Job failed."))


@pytest.mark.parametrize("reload", [True, False])
@pytest.mark.parametrize(
    ("code", "info", "journal", "trouble"),
    [
        pytest.param(0, {"ID": "x"}, "failed to start daemon: earlier", "", id="up"),
        pytest.param(1, None, "starting\nfailed to start daemon: x\nfailed to start daemon: x\n", "failed to start daemon: x", id="its own words, once"),
        pytest.param(1, None, "starting\n", "Job failed.", id="the service manager's words"),
        pytest.param(0, None, "", "It did not answer within 9 s.", id="no answer"),
    ],
)
def test_a_restart_says_why_the_daemon_did_not_come_up(code, info, journal, trouble, reload):
    machine = Machine(code, info, journal)
    daemon = types.SimpleNamespace(systemd=True, service="docker", reload_needed=reload)
    assert start.restart_alone(machine, daemon, 9) == trouble
    starts = ["systemctl daemon-reload"] * reload + ["systemctl reset-failed", "systemctl restart"]
    assert machine.ran == starts + ["journalctl -u"] * bool(trouble)


WRAPPED = b"[Service]\nExecStart=/bin/sh -c '. /etc/proxy.sh && exec /usr/bin/dockerd -H fd://'\n"


def test_a_program_that_starts_dockerd_is_not_run_to_validate():
    unit, config = "/usr/lib/systemd/system/docker.service", "/etc/docker/daemon.json"
    files = {unit: File(WRAPPED), config: File(b"{}")}
    daemon = Daemon("docker", "28.5.2", "", {}, True, "active", 1, 1.0, unit, (), False, config, files, {})
    machine = Machine(0, None, "")
    assert validation_error(machine, daemon, files) == ""
    assert machine.ran == []


@pytest.mark.parametrize("policy", ["if_idle", "if_needed"])
@pytest.mark.parametrize(
    ("shown", "name"), [("RefuseManualStart=no\nRefuseManualStop=yes\n", "RefuseManualStop"), ("RefuseManualStart=yes\n", "RefuseManualStart")]
)
def test_a_unit_that_systemd_does_not_restart_on_request_is_left_running(shown, name, policy):
    host = MemoryHost()
    host.programs["systemctl show --property=RefuseManualStart,RefuseManualStop -- docker.service"] = Run(0, shown, "")
    assert start.restart_blocker(host, types.SimpleNamespace(systemd=True, service="docker"), policy) == (
        f"systemd does not restart docker.service on request ({name}=yes, see systemctl cat docker). It takes effect with the next boot"
    )


@pytest.mark.parametrize("systemd", [True, False])
def test_other_units_are_restarted(systemd, monkeypatch):
    host = MemoryHost()
    host.programs["systemctl show --property=RefuseManualStart,RefuseManualStop -- docker.service"] = Run(0, "RefuseManualStart=no\nRefuseManualStop=no\n", "")
    monkeypatch.setattr(start, "play_inside", lambda _host, _daemon: "")
    assert start.restart_blocker(host, types.SimpleNamespace(systemd=systemd, service="docker"), "if_needed") == ""
