# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._build.judge import Built, blame, judge, judge_text, requested_by, several, with_content
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Evidence, Verdict
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.candidate import Candidate
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror

RESET = 'Get "https://registry-1.docker.io/v2/": read tcp 10.0.0.1:1->10.0.0.2:443: read: connection reset by peer'
BOOT = f"""#0 building with "ci" instance using docker-container driver

#1 [internal] booting buildkit
#1 pulling image moby/buildkit:buildx-stable-1 0.0s done
#1 ERROR: Error response from daemon: {RESET}
------
 > [internal] booting buildkit:
------
ERROR: failed to build: Error response from daemon: {RESET}
"""
BOOTED = f"""#0 building with "ci" instance using docker-container driver
#1 [internal] booting buildkit
#1 pulling image moby/buildkit:buildx-stable-1 0.0s done
#1 DONE 2.0s
#2 [internal] load build definition from Dockerfile
#3 [internal] load metadata for docker.io/library/busybox:1
#3 ERROR: failed to do request: {RESET.replace("Get", "Head")}
"""


def test_a_builder_that_is_not_there_is_named():
    found = judge('some\nERROR: no builder "ci" found\n')
    assert (found.cause, found.asked_by, found.reason, found.lines) == ("buildx_missing", None, "no builder ci", ('ERROR: no builder "ci" found',))
    assert found.sentence == (
        "The user who builds has no builder ci. Create the builder (docker buildx create --name ci) as the user who builds, "
        "or name one that docker buildx ls shows."
    )


def test_a_builder_whose_image_cannot_be_pulled_is_named_and_the_daemon_asked_for_it():
    found = judge(BOOT)
    assert (found.cause, found.asked_by, found.host, found.reference) == ("reset", "daemon", "registry-1.docker.io", "moby/buildkit:buildx-stable-1")
    assert found.sentence.startswith(
        "The builder ci does not start, because its image moby/buildkit:buildx-stable-1 cannot be pulled. "
        "The daemon could not reach registry-1.docker.io (reset)."
    )
    assert "docker_daemon_proxy" in found.cure


def test_a_builder_whose_container_ends_at_once_is_not_blamed_on_its_image():
    started = (
        '#0 building with "ci" instance using docker-container driver\n#1 [internal] booting buildkit\n#1 pulling image r.example.com/buildkit:1\n'
        "#1 pulling image r.example.com/buildkit:1 1.2s done\n#1 creating container buildx_buildkit_ci0 0.3s done\n"
        "ERROR: Error response from daemon: Container 0123 is restarting, wait until the container is running\n"
    )
    found = judge(started)
    assert found.cause == "unknown"
    assert found.sentence.startswith("The builder ci does not start, although its image r.example.com/buildkit:1 was pulled. ")


def test_a_builder_that_started_is_not_to_blame_for_what_follows():
    assert judge(BOOTED).reference == "busybox:1"
    assert "does not start" not in judge(BOOTED).sentence


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        ("Step 1/1 : FROM x\nSuccessfully built 0123456789ab\n", "ok"),
        ("#5 exporting to image\n#5 writing image sha256:00 done\n#5 naming to docker.io/library/x done\n", "ok"),
        ("Successfully built 0123456789ab\nERROR: something else\n", "unknown"),
        ("#1 DONE 0.0s\n", "unknown"),
        (BOOT, "reset"),
    ],
)
def test_a_text_without_an_exit_code_passed_if_it_ends_so(log, cause):
    assert judge_text(log).cause == cause


OK = Verdict("ok", sentence="The build passed.")
BAD = Verdict("reset", asked_by="daemon", host="ghcr.io", sentence="Not reached.")


@pytest.mark.parametrize(
    ("builds", "cause", "sentence"),
    [
        ([Built("busybox", OK), Built("ghcr.io/a", OK)], "ok", "All 2 builds passed. The build passed."),
        ([Built("busybox", OK), Built("ghcr.io/a", BAD)], "reset", "1 of 2 builds failed. ghcr.io/a (ghcr.io): Not reached."),
        (
            [Built("busybox", BAD), Built("ghcr.io/a", BAD)],
            "reset",
            "2 of 2 builds failed. busybox (docker.io): Not reached. ghcr.io/a (ghcr.io): Not reached.",
        ),
    ],
)
def test_several_builds_name_every_registry_that_fails(builds, cause, sentence):
    found = several(builds)
    assert (found.cause, found.sentence) == (cause, sentence)


def test_one_mirror_needs_no_comparison():
    assert blame(BAD, [Candidate("https://a", "dns")]) == BAD


@pytest.mark.parametrize(
    ("answer", "content"), [("status 404", "content missing"), ("layer cut off", "incomplete layers"), ("status 403", "status 403"), ("", "")]
)
def test_what_a_mirror_refuses_of_a_layer_is_known_afterwards(answer, content):
    known = Evidence(mirrors=(Mirror("https://a/", 200), Mirror("https://b/", 200)))
    assert [mirror.content for mirror in with_content(known, [Candidate("https://a/", content=answer)]).mirrors] == [content, ""]


BUILDX = "Install the buildx plugin (package docker-buildx, or docker-buildx-plugin): without it docker knows no builders and none of their options."


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("unknown flag: --builder\nSee 'docker --help'.\n\nUsage:  docker [OPTIONS] COMMAND\n", "unknown flag: --builder"),
        ("unknown flag: --builder\n\nUsage:  docker [OPTIONS] COMMAND [ARG...]\n\nRun 'docker --help' for more information\n", "unknown flag: --builder"),
        ("ERROR: unknown flag: --load\nSee 'docker build --help'.\n", "ERROR: unknown flag: --load"),
        ("unknown flag: --load\n\nUsage:  docker build [OPTIONS] PATH | URL | -\n\nRun 'docker build --help' for more information\n", "unknown flag: --load"),
        ("unknown shorthand flag: 't' in -t\nSee 'docker --help'.\n", "unknown shorthand flag: 't' in -t"),
        ("docker: unknown command: docker buildx\n\nRun 'docker --help' for more information\n", "docker: unknown command: docker buildx"),
    ],
)
def test_without_buildx_its_options_are_unknown(text, line):
    found = judge(f"$ docker buildx build --builder ci .\n{text}", Evidence(code=125))
    assert (found.cause, found.asked_by, found.cure, found.lines) == ("buildx_missing", None, BUILDX, (line,))
    assert found.sentence == f"The buildx plugin is missing or broken. {BUILDX}"


@pytest.mark.parametrize(
    "text",
    [
        "$ docker compose --progress plain build\nunknown flag: --progress\nSee 'docker --help'.\n",
        "unknown flag: --chmod\nSee 'docker build --help'.\n",
        '#5 [2/2] RUN tool --push\n#5 0.1 unknown flag: --push\n#5 ERROR: process "tool --push" did not complete successfully: exit code: 1\n',
        "unknown flag: --tag\nSee 'docker buildx build --help'.\n",
        "unknown flag: --secret\n\nUsage:  docker buildx build [OPTIONS] PATH | URL | -\n",
        "DEPRECATED: The legacy builder is deprecated and will be removed in a future release.\nBuildKit is currently disabled; enable it by removing "
        "the DOCKER_BUILDKIT=0\n            environment-variable.\n\nunknown flag: --load\nSee 'docker build --help'.\n",
    ],
    ids=["compose", "another option", "a step", "buildx itself", "an old buildx", "the legacy builder"],
)
def test_an_option_that_something_else_does_not_know(text):
    assert judge(text, Evidence(code=1)).cause != "buildx_missing"


@pytest.mark.parametrize(
    ("text", "who"),
    [
        (BOOT, "pull"),
        (BOOTED, ""),
        ("Step 1/2 : FROM busybox:1\n", "legacy"),
        ("#2 [internal] load metadata for docker.io/library/busybox:1\n", "buildkit"),
        ("", "buildkit"),
    ],
    ids=["the image of a builder", "a builder", "legacy", "BuildKit", "nothing"],
)
def test_who_requests_the_image(text, who):
    assert requested_by(text) == who
