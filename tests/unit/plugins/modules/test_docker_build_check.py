# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._build import build
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.diagnosis import Verdict
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Refused
from ansible_collections.buildfleet.docker.plugins.modules import docker_build_check

DEFAULTS = {
    "image": None, "context": None, "file": None, "compose_file": None, "builder": "default", "environment_of": "task", "env": None,
    "pull": True, "network_step": None, "timeout": 180, "required": True,
}  # fmt: skip
FAILED = Verdict("reset", "buildkit", "daemon", "registry-1.docker.io", "reset", "busybox:latest", "Set it.", "It failed. Set it.", ("ERROR: x",))


class FakeModule:
    host = None

    def __init__(self, check_mode=False, **params):
        self.params, self.check_mode, self.secrets, self.warnings = dict(DEFAULTS, **params), check_mode, Secrets(), []

    def warn(self, sentence):
        self.warnings.append(sentence)


@pytest.fixture()
def built(monkeypatch):
    """Every build fails as FAILED does; the list holds what was asked for."""
    asked = []

    def check(host, wish, builder, env, name):
        asked.append((wish, builder, env, name))
        return build.Outcome(FAILED, 1.5)

    monkeypatch.setattr(build, "check", check)
    return asked


def test_check_mode_builds_nothing_and_says_so(built):
    result = docker_build_check.work(FakeModule(check_mode=True))
    assert (result["ok"], result["changed"], result["msg"]) == (None, False, "Check mode: nothing was built.")
    assert built == []


def test_a_failed_build_fails_the_task_in_a_sentence_with_all_results(built):
    with pytest.raises(Refused) as refusal:
        docker_build_check.work(FakeModule())
    assert str(refusal.value) == "It failed. Set it."
    assert refusal.value.result["cause"] == "reset"
    assert refusal.value.result["log"] == ["ERROR: x"]


def test_a_failed_build_that_is_not_required_is_a_result(built):
    result = docker_build_check.work(FakeModule(required=False))
    assert (result["ok"], result["changed"], result["asked_by"], result["seconds"]) == (False, False, "daemon", 1.5)


def test_every_run_has_a_name_of_its_own(built):
    for _run in range(2):
        docker_build_check.work(FakeModule(required=False))
    assert built[0][3] != built[1][3]


def test_secrets_of_the_environment_are_learnt(built, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:sesame1@proxy:3128")
    module = FakeModule(required=False, env={"NPM_TOKEN": "abcdefgh", "BUILDKIT_NO_CLIENT_TOKEN": "1"})
    docker_build_check.work(module)
    assert module.secrets.text("sesame1 abcdefgh 1") == "xxxxx xxxxx 1"


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"image": "a", "context": "/x"}, "Give one of image, context and compose_file, not image and context."),
        ({"file": "D"}, "file names a Dockerfile in context, so it needs context."),
        ({"timeout": 0}, "timeout must be at least 1 second."),
        ({"image": "a\nRUN x"}, "image: a\nRUN x is not the name of an image."),
        ({"network_step": "http://x/';reboot"}, "network_step must be a URL such as http://example.com/, without blanks and quotes."),
        ({"network_step": "ftp://x/"}, "network_step must be a URL such as http://example.com/, without blanks and quotes."),
    ],
)
def test_bad_options_are_named(built, params, sentence):
    with pytest.raises(Refused) as refusal:
        docker_build_check.work(FakeModule(**params))
    assert str(refusal.value) == sentence
    assert built == []


def test_a_dockerfile_starts_at_its_context(built):
    docker_build_check.work(FakeModule(required=False, context="/src", file="deploy/Dockerfile"))
    assert built[0][0].file == "/src/deploy/Dockerfile"
