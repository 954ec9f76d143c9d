# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
import table

HUB, TOKEN = "registry-1.docker.io", "auth.docker.io"
SAMPLE = 16  # of them each run tries so many, every kind once; BUILDFLEET_SAMPLE=all tries all
BUILDERS = ("buildkit", "legacy")
MIRRORED = "mirror.lab/library/busybox:1"
DROP_IN = "/etc/systemd/system/docker.service.d/lab.conf"
SLOW_STEPS = {
    "sleeps": "RUN sleep 3002",
    "ignores signals": "RUN trap '' HUP INT TERM; while true; do sleep 3002; done",
    "has children": "RUN (sleep 3002 &); sh -c 'sleep 3002; true'",
    "two at a time": f"RUN sleep 3002\nFROM {MIRRORED}\nRUN sleep 3002; true\nCOPY --from=one /etc/image /one",
}


def checked(engine, **options):
    """The module's result, and its whole output in result["output"]."""
    done = engine.module("docker_build_check", **options)
    text = done.stdout.partition("=> ")[2]
    assert text, done.stdout + done.stderr
    return {**json.loads(text), "output": done.stdout + done.stderr}


def verdict(result):
    return result["cause"], result["asked_by"], result["host"], result["reason"]


def store(engine):
    """Everything that a build could leave behind."""
    return [
        engine.host.run(command).stdout
        for command in (
            "docker images --all --no-trunc --format '{{.ID}} {{.Repository}}:{{.Tag}}' | sort",
            "docker ps --all --quiet",
            "docker system df --verbose --format '{{range .BuildCache}}{{println .ID}}{{end}}' | sort",
            "find /root/.docker /home/builder/.docker | sort",
            "ls -d /tmp/buildfleet-* /tmp/*buildfleet*",
        )
    ]


@pytest.fixture()
def daemon(engine):
    """`daemon(proxy=URL)` or `daemon(mirror=URL)` until the test ends; every build starts from a clean state."""
    engine.forget()

    def configure(proxy="", mirror=""):
        if proxy:
            engine.write(DROP_IN, f'[Service]\nEnvironment="HTTPS_PROXY={proxy.replace("%", "%%")}"\n')
        if mirror:
            engine.write("/etc/docker/daemon.json", json.dumps({"registry-mirrors": [mirror]}))
        assert engine.restart()

    yield configure
    engine.host.run(f"rm -f {DROP_IN} /etc/docker/daemon.json")
    engine.forget()


def test_the_riddle_and_its_cure(engine, daemon):
    daemon(proxy=table.HTTP_PROXY)
    result = checked(engine, builder="buildkit")
    assert "FAILED!" in result["output"]
    assert verdict(result) == ("token_unreachable", "client", TOKEN, "reset")
    assert result["msg"] == (
        "The client could not fetch a token from auth.docker.io (reset). The daemon's proxy does not reach it. Set docker_build_env daemon_token: true."
    )
    assert checked(engine, builder="legacy")["ok"]
    assert engine.restart()  # forgets tokens
    assert checked(engine, builder="buildkit", env={"BUILDKIT_NO_CLIENT_TOKEN": "1"})["ok"]


@pytest.mark.parametrize("builder", BUILDERS)
@pytest.mark.parametrize("options", [{"image": MIRRORED}, {"image": MIRRORED, "network_step": "http://nosuch.lab/", "required": False}])
def test_nothing_is_left(engine, daemon, builder, options):
    before = store(engine)
    result = checked(engine, builder=builder, **options)
    assert result["cause"] == ("dns" if "network_step" in options else "ok"), result
    assert store(engine) == before


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_build_of_another_user_leaves_nothing(engine, daemon, builder):
    before = store(engine)
    assert checked(engine, builder=builder, image=MIRRORED, environment_of="user:builder")["ok"]
    assert store(engine) == before


@pytest.mark.parametrize("builder", BUILDERS)
def test_images_and_cache_of_others_stay(engine, daemon, builder):
    engine.host.check_output(f"docker pull -q {MIRRORED}")
    assert engine.build("buildkit", MIRRORED, clean=False).ok
    before = store(engine)
    assert before[2].strip(), "the build of others left no cache"
    assert checked(engine, builder=builder, image=MIRRORED)["ok"]
    assert store(engine) == before


@pytest.mark.parametrize("builder", BUILDERS)
def test_a_build_that_takes_too_long_is_stopped_and_leaves_nothing(engine, daemon, wall, builder):
    wall("drop")
    before = store(engine)
    result = checked(engine, builder=builder, timeout=4, required=False)
    assert verdict(result) == ("timeout", "daemon", HUB, "no end within 4 s")
    assert store(engine) == before


@pytest.mark.parametrize("step", SLOW_STEPS)
@pytest.mark.parametrize("builder", BUILDERS)
def test_a_step_that_takes_too_long_is_stopped_and_leaves_nothing(engine, daemon, builder, step):
    """No image, no cache record and no process, or a warning that names it: BuildKit of 29.7.2 does not release the records of a stopped build."""
    before = store(engine)
    engine.write("/var/tmp/slow/Dockerfile", f"FROM {MIRRORED} AS one\n{SLOW_STEPS[step]}\n")
    result = checked(engine, builder=builder, context="/var/tmp/slow", timeout=20, required=False)
    assert (result["cause"], result["asked_by"]) == ("timeout", "step")
    running = engine.host.run("pgrep -f '[s]leep 3002'").stdout.split()
    assert [pid for pid in running if f"(process {pid}: " not in result["output"]] == [], result["output"]
    images, containers, cache, *files = store(engine)
    unsaid = "".join(f"{record}\n" for record in cache.split() if record in before[2] or record.rstrip("*") not in result["output"])
    assert [images, containers, unsaid, *files] == before, result["output"]


def test_a_login_has_its_own_environment(engine, daemon):
    engine.write("/etc/profile.d/lab.sh", "export DOCKER_BUILDKIT=0\n")
    try:
        assert checked(engine, image=MIRRORED, environment_of="login")["builder_used"] == "legacy"
        assert checked(engine, image=MIRRORED, environment_of="user:builder")["builder_used"] == "legacy"
        assert checked(engine, image=MIRRORED, env={"DOCKER_BUILDKIT": "1"})["builder_used"] == "buildkit"
    finally:
        engine.host.run("rm /etc/profile.d/lab.sh")


def test_a_service_has_its_own_environment(engine, daemon):
    engine.write("/etc/systemd/system/ci.service", "[Service]\nUser=builder\nEnvironment=DOCKER_BUILDKIT=0\nExecStart=/bin/sleep infinity\n")
    engine.host.check_output("systemctl daemon-reload")
    try:
        assert checked(engine, image=MIRRORED, environment_of="service:ci")["builder_used"] == "legacy"
        engine.host.check_output("systemctl start ci")
        assert checked(engine, image=MIRRORED, environment_of="service:ci")["builder_used"] == "legacy"
    finally:
        engine.host.run("systemctl stop ci; rm /etc/systemd/system/ci.service; systemctl daemon-reload")


def test_a_context_and_a_compose_file_are_built_and_leave_nothing(engine, daemon):
    engine.write("/var/tmp/app/Dockerfile", f"FROM {MIRRORED}\nRUN true\n")
    engine.write("/var/tmp/app/compose.yml", "services:\n  app:\n    build: .\n")
    before = store(engine)
    assert checked(engine, context="/var/tmp/app", builder="buildkit")["ok"]
    assert store(engine) == before
    result = checked(engine, compose_file="/var/tmp/app/compose.yml", builder="legacy")
    assert result["ok"], result
    assert store(engine) == before


def test_what_the_legacy_builder_ignores_is_said_before_it_builds(engine):
    engine.write("/var/tmp/heredoc/Dockerfile", f"FROM {MIRRORED}\nRUN <<EOT\nfalse\nEOT\n")
    result = checked(engine, context="/var/tmp/heredoc", builder="legacy", required=False)
    assert (result["cause"], result["reason"], result["seconds"]) == ("legacy_cannot", "heredocs", 0)
    engine.write("/var/tmp/heredoc/compose.yml", "services:\n  app:\n    build: .\n")
    result = checked(engine, compose_file="/var/tmp/heredoc/compose.yml", builder="legacy", required=False)
    assert (result["cause"], result["seconds"]) == ("legacy_cannot", 0)


def test_what_a_green_build_does_not_prove_is_said(engine, daemon):
    daemon(proxy=table.HTTP_PROXY)
    options = {"builder": "buildkit", "env": {"HTTPS_PROXY": table.CLIENT_PROXY}}
    first = checked(engine, **options)
    assert first["proved"]["manifest"] == "fresh", first
    assert first["proved"]["token"] != "cached", first  # BuildKit's [auth] line is not in every log
    second = checked(engine, builder="buildkit")  # without a proxy: the daemon still has the token
    assert second["ok"]
    assert second["proved"]["token"] == "unknown"
    assert "Unknown from the output: the token" in second["msg"]


def test_check_mode_builds_nothing(engine):
    done = engine.module("docker_build_check", "--check")
    assert done.returncode == 0, done.stdout
    assert "Check mode: nothing was built." in done.stdout
