# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import base64
import types

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import ca, start
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import PlanRefused
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import trust_store
from ansible_collections.buildfleet.docker.plugins.modules import proxy_ca

TRIAL_START = ca._trial_start  # before the fixture takes its place
DEFAULTS = {"certificate": None, "state": "present", "service": "docker", "restart": "if_idle", "timeout": 60}
PEM, OTHER = (
    trust_store.wanted(f"-----BEGIN CERTIFICATE-----\n{base64.b64encode(bytes([0x30, 0x81, 200]) + mark * 200).decode()}\n-----END CERTIFICATE-----")
    for mark in (b"1", b"2")
)


class Machine(MemoryHost):
    """A host in memory whose store is updated as the real programs do it, and whose daemon starts when told."""

    def __init__(self, store, files=()):
        super().__init__({store.bundle: File(OTHER.encode()), **dict(files)}, {store.folder})
        self.store = store
        self.clock = 100.0
        self.own = self.files[store.bundle].contents
        self.bundle_changed = 1.0
        self.started = 50.0
        self.busy = self.inside = ""
        self.obeys = True

    def changed_at(self, path):
        return self.bundle_changed

    def now(self):
        self.clock += 1
        return self.clock

    def run(self, argv, **_more):
        self.ran.append(tuple(argv))
        if tuple(argv) in (self.store.update, self.store.renew) and self.obeys:
            added = self.files.get(self.store.anchor, File(b"")).contents
            self.files[self.store.bundle] = File(self.own + added)
        return Run(0, "", "")


@pytest.fixture(params=trust_store.STORES, ids=["debian", "redhat"])
def machine(request, monkeypatch):
    made = Machine(request.param)
    daemon = types.SimpleNamespace(up=True, info={}, systemd=False)
    monkeypatch.setattr(ca, "observe", lambda host, service, _file: types.SimpleNamespace(**{**vars(daemon), "started": made.started}))
    monkeypatch.setattr(start, "busy", lambda host, _daemon: made.busy)
    monkeypatch.setattr(start, "play_inside", lambda host, _daemon: made.inside)
    monkeypatch.setattr(ca, "_trial_start", lambda *_all: None)

    def restart(host, _daemon, _timeout):
        made.started = made.now()
        return ""

    monkeypatch.setattr(start, "restart_alone", restart)
    return made


def run(machine, check=False, **options):
    module = types.SimpleNamespace(host=machine, check_mode=check, secrets=Secrets(), warnings=[], params={**DEFAULTS, **options})
    module.warn = module.warnings.append
    return {**proxy_ca.work(module), "warnings": module.warnings}


def test_check_predicts_present_is_idempotent_and_absent_gives_everything_back(machine):
    before = dict(machine.files)
    predicted = run(machine, check=True, certificate=PEM)
    assert machine.files == before
    done = run(machine, certificate=PEM)
    assert done == predicted
    assert (done["changed"], done["restarted"], done["restart_pending"]) == (True, True, False)
    assert machine.files[machine.store.anchor].contents == PEM.encode()
    again = run(machine, certificate=PEM)
    assert (again["changed"], again["diff"]) == (False, [])
    undone = run(machine, state="absent")
    assert (undone["changed"], undone["restarted"]) == (True, True)
    assert machine.files == before
    assert not run(machine, state="absent")["changed"]
    assert machine.ran == [machine.store.update, machine.store.renew]


def test_docker_that_does_not_start_again_is_said_with_its_words(machine, monkeypatch):
    monkeypatch.setattr(start, "restart_alone", lambda *_all: "no space left on device")
    with pytest.raises(Refused) as refused:
        run(machine, certificate=PEM)
    assert str(refused.value) == (
        "The store was changed, but Docker did not start again. Correct what its message names, then start it. The message: no space left on device"
    )
    assert (refused.value.result["changed"], refused.value.result["restarted"]) == (True, False)


def test_a_daemon_json_that_cannot_start_is_refused_before_the_restart(machine, monkeypatch):
    def objects(_host, _daemon, changes, timeout):
        assert (changes, timeout) == ({}, 7)
        raise PlanRefused("/etc/docker/daemon.json, line 1: it is not valid.")

    monkeypatch.setattr(start, "trial_start", objects)
    with pytest.raises(Refused) as refused:
        TRIAL_START(machine, types.SimpleNamespace(info={}), 7)
    assert str(refused.value) == "/etc/docker/daemon.json, line 1: it is not valid."
    assert refused.value.result == {"changed": False, "restarted": False}


def test_a_restart_that_would_hurt_is_done_by_a_later_run(machine):
    machine.busy = "1 running container would be stopped (live-restore is off)"
    done = run(machine, certificate=PEM)
    assert (done["changed"], done["restarted"], done["pending_reason"]) == (True, False, machine.busy)
    again = run(machine, certificate=PEM)
    assert (again["changed"], again["restart_pending"]) == (False, True)
    machine.busy = ""
    assert run(machine, certificate=PEM)["restarted"]
    machine.busy = "1 running container would be stopped (live-restore is off)"
    assert run(machine, state="absent")["restart_pending"]
    machine.busy = ""
    assert run(machine, state="absent")["restarted"]
    assert not run(machine, state="absent")["changed"]


def test_never_only_changes_the_store(machine):
    done = run(machine, certificate=PEM, restart="never")
    assert (done["changed"], done["restarted"], done["pending_reason"]) == (True, False, "restart: never")
    machine.busy = "a build"
    assert run(machine, certificate=PEM, restart="if_needed")["restarted"]


def test_a_play_in_a_container_of_the_daemon_is_not_ended(machine):
    machine.inside = "runner"
    assert "runs in the container runner" in run(machine, certificate=PEM, restart="if_needed")["pending_reason"]


def test_a_restart_by_others_is_enough(machine):
    run(machine, certificate=PEM, restart="never")
    machine.started = machine.now()
    again = run(machine, certificate=PEM)
    assert (again["changed"], again["restart_pending"]) == (False, False)


@pytest.mark.parametrize(("bundle_changed", "restarted"), [(1.0, False), (60.0, True)])
def test_an_authority_that_others_gave_to_the_store_is_left_alone(machine, bundle_changed, restarted):
    machine.bundle_changed = bundle_changed
    machine.files[machine.store.bundle] = File((OTHER + PEM).encode())
    before = dict(machine.files)
    done = run(machine, certificate=PEM)
    assert (done["restarted"], done["diff"], machine.files) == (restarted, [], before)
    assert not run(machine, state="absent")["changed"]
    assert machine.files == before


def test_another_certificate_replaces_the_first(machine):
    before = dict(machine.files)
    run(machine, certificate=PEM)
    new = PEM + OTHER
    assert run(machine, certificate=new)["changed"]
    assert machine.files[machine.store.anchor].contents == new.encode()
    run(machine, state="absent")
    assert machine.files == before


def test_a_file_that_others_changed_stays(machine):
    run(machine, certificate=PEM)
    machine.files[machine.store.anchor] = File(b"theirs")
    undone = run(machine, state="absent")
    assert undone["warnings"] == [f"{machine.store.anchor} was changed by others after this module wrote it, so it stays."]
    assert machine.files[machine.store.anchor].contents == b"theirs"


def test_a_store_that_does_not_take_it_is_as_it_was(machine):
    before = dict(machine.files)
    machine.obeys = False
    with pytest.raises(Refused) as refusal:
        run(machine, certificate=PEM)
    assert (
        str(refusal.value)
        == f"{machine.store.update[0]} did not add the certificate to {machine.store.bundle}; the store was restored. Repair the store, then run this again."
    )
    assert {path: file for path, file in machine.files.items() if "buildfleet/" not in path} == before


def test_a_host_without_a_store_is_told_what_to_install(machine):
    machine.exists = lambda path: False
    with pytest.raises(Refused, match="Install the package ca-certificates"):
        run(machine, certificate=PEM)


def test_present_needs_a_certificate(machine):
    with pytest.raises(Refused) as refusal:
        run(machine)
    assert str(refusal.value) == "state: present needs certificate. Set it to the CA certificate in PEM, or use state: absent."


def test_a_private_key_is_refused_and_not_shown(machine):
    module = types.SimpleNamespace(host=machine, check_mode=False, params={**DEFAULTS, "certificate": f"{PEM}-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n"})
    with pytest.raises(Refused, match="private key"):
        proxy_ca.work(module)
    assert module.params["certificate"] == "xxxxx"
