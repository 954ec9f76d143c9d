# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._build import build
from ansible_collections.buildfleet.docker.plugins.module_utils._build.result import Outcome
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Verdict
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.candidate import Candidate
from ansible_collections.buildfleet.docker.plugins.modules import docker_build_check

DEFAULTS = {
    "image": None, "images": None, "log": None, "history": None,
    "context": None, "file": None, "compose_file": None, "builder": "default", "environment_of": "task", "env": None,
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
        return Outcome(FAILED, 1.5)

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
        ({"image": "a", "context": "/x"}, "Set one of image, images, context, compose_file, log and history, not image and context."),
        ({"images": ["a", "b c"]}, "images: b c is not the name of an image. Write it as in FROM, such as busybox:1.36."),
        ({"builder": "-x"}, "builder: '-x' is not default, buildkit, legacy or the name of a buildx builder."),
        ({"file": "D"}, "file names a Dockerfile in context, so it needs context."),
        ({"timeout": 0}, "timeout must be at least 1 second."),
        ({"image": "a\nRUN x"}, "image: a\nRUN x is not the name of an image. Write it as in FROM, such as busybox:1.36."),
        ({"network_step": "http://x/';reboot"}, "network_step must be a URL such as http://example.com/, without spaces and quotes."),
        ({"network_step": "ftp://x/"}, "network_step must be a URL such as http://example.com/, without spaces and quotes."),
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


LOG = "#2 [internal] load metadata for docker.io/library/busybox:1\n#2 ERROR: failed to do request: dial tcp: lookup registry-1.docker.io: no such host\n"


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_log_is_diagnosed_without_a_build_and_fails_nothing(built, check_mode):
    result = docker_build_check.work(FakeModule(check_mode, log=LOG))
    assert (result["ok"], result["cause"], result["asked_by"], result["host"]) == (False, "dns", "daemon", "registry-1.docker.io")
    assert result["msg"].startswith("The daemon could not reach registry-1.docker.io (dns).") and built == []


def test_each_of_several_images_is_built_and_every_registry_that_fails_is_named(built):
    with pytest.raises(Refused) as refusal:
        docker_build_check.work(FakeModule(images=["busybox", "ghcr.io/a"]))
    assert str(refusal.value) == "2 of 2 builds failed. busybox (docker.io): It failed. Set it. ghcr.io/a (ghcr.io): It failed. Set it."
    result = refusal.value.result
    assert [(one["image"], one["registry"], one["ok"]) for one in result["builds"]] == [("busybox", "docker.io", False), ("ghcr.io/a", "ghcr.io", False)]
    assert [wish.image for wish, *_rest in built] == ["busybox", "ghcr.io/a"] and result["seconds"] == 3.0


def test_the_mirrors_of_a_failed_build_are_shown(monkeypatch):
    mirrors = (Candidate("https://a"), Candidate("https://b", "dns", message="b could not be reached (dns)."))
    monkeypatch.setattr(build, "check", lambda *_arguments: Outcome(FAILED, 1.5, mirrors=mirrors, left=("One.",)))
    module = FakeModule(required=False)
    assert docker_build_check.work(module)["mirrors"] == [
        {"url": "https://a", "usable": True, "problem": None, "message": None},
        {"url": "https://b", "usable": False, "problem": "dns", "message": "b could not be reached (dns)."},
    ]
    assert module.warnings == ["One."]


@pytest.mark.parametrize(("builder", "named"), [("default", ""), ("ci", "ci")])
def test_a_build_of_the_past_is_diagnosed_and_fails_nothing(built, builder, named):
    asked = []

    class History(MemoryHost):
        def buildx_history(self, name, environment, user, timeout):
            asked.append((name, environment["BUILDKIT_PROGRESS"], timeout))
            records = json.dumps({"ref": "default/default/r1", "name": "b", "status": "Error"})
            return lambda kind, *_more: (0, {"ls": records, "inspect": "{}", "logs": LOG}[kind], "")

    module = FakeModule(True, history="true", builder=builder)
    module.host = History()
    result = docker_build_check.work(module)
    assert (result["record"], result["cause"], built) == ("r1", "dns", [])
    assert asked == [(named, "plain", 180)]
