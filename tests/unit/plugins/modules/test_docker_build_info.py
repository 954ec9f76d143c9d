# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets
from ansible_collections.buildfleet.docker.plugins.module_utils._info import info
from ansible_collections.buildfleet.docker.plugins.module_utils._info.findings import Facts
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Refused
from ansible_collections.buildfleet.docker.plugins.modules import docker_build_info


class FakeModule:
    def __init__(self, **params):
        self.params, self.secrets = {"environment_of": ["login"], "service": "docker", "config_file": None, "timeout": 3, **params}, Secrets()


@pytest.fixture()
def surveyed(monkeypatch):
    asked = []

    def survey(host, who, *rest):
        asked.append(who)
        host.closed += ["/etc/docker/daemon.json", "/etc/docker/daemon.json"]
        return info.Survey(Facts(), {"msg": "Nothing found.", "unreadable": ["One."]}, ["http://user:sesame1@proxy:3128"])

    monkeypatch.setattr(info, "survey", survey)
    return asked


def test_what_was_closed_is_said_once_and_passwords_are_learnt(surveyed):
    module = FakeModule()
    result = docker_build_info.work(module)
    assert (result["changed"], result["unreadable"]) == (False, ["One.", "/etc/docker/daemon.json was not read: that needs become: true."])
    assert module.secrets.text("sesame1") == "xxxxx"


def test_nobody_is_asked_twice(surveyed):
    docker_build_info.work(FakeModule(environment_of=["login", "user:jane", "login"]))
    assert surveyed == [["login", "user:jane"]]


@pytest.mark.parametrize("who", ["root", "user:", "user:-c", "service:", "service:../x", "user:a b", "login:x", "user:a\n"])
def test_whom_it_does_not_know_is_said(surveyed, who):
    with pytest.raises(Refused, match="is not one of task, login, user:NAME or service:NAME"):
        docker_build_info.work(FakeModule(environment_of=[who]))
    assert surveyed == []


def test_a_timeout_of_nothing_is_refused(surveyed):
    with pytest.raises(Refused, match="at least 1 second"):
        docker_build_info.work(FakeModule(timeout=0))
