# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which clients reach which registry through its mirror, on each engine and image store, compared with the result of module and playbook."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import build as lab_build
import pytest
import table
import yaml

# One name in four registries. What is in the image says which one it is.
CONTENT = {
    "docker.io": "lab/tool:1",
    "ghcr.io": "ghcr.io/lab/tool:1",
    "quay.io": "quay.io/lab/tool:1",
    table.COMPANY: "harbor.lab/company/lab/tool:1",
}
IMAGES = {name: f"{name}/lab/tool:1" for name in CONTENT}
LOGIN = {"url": "https://" + table.HARBOR.replace("/", "/v2/"), "override_path": True, "username": table.USERNAME, "password": table.PASSWORD}
MIRRORS = {"ghcr.io": f"https://{table.GHCR_MIRROR}", "quay.io": f"https://{table.QUAY_MIRROR}", table.COMPANY: LOGIN}
GHCR = IMAGES["ghcr.io"]
FOLDER = "/etc/docker/certs.d"
WISH = yaml.safe_load((Path(__file__).parents[1] / "converge.yml").read_text())[0]["vars"]
STARTED = "systemctl show --property=ExecMainStartTimestampMonotonic docker"
CLEAN = 'docker image prune -af; docker builder prune -af; test -z "$(docker images -aq)"'
COMPOSE = "if docker compose version; then docker compose -p built$3 build; else docker-compose -p built$3 build; fi"
COMMANDS = {
    "pull": "docker pull $2 && docker run --rm --network none $2 sh -c 'echo content=$(cat /etc/image)'",
    "buildkit": "DOCKER_BUILDKIT=1 docker build $1",
    "legacy": "DOCKER_BUILDKIT=0 docker build $1",
    "compose": f"cd $1 && {COMPOSE}",
}


def contents(engine, builder):
    """What is in the image of each registry that a person who logs in gets; all four are fetched at the same time."""
    folder = "/var/tmp/registries"
    for number, image in enumerate(IMAGES.values()):
        engine.write(f"{folder}/{number}/Dockerfile", f"FROM {image}\nRUN echo content=$(cat /etc/image)\n")
        engine.write(f"{folder}/{number}/docker-compose.yml", lab_build.COMPOSE)
    engine.write(f"{folder}/fetch", COMMANDS[builder])
    engine.host.check_output(f"{{ {CLEAN}; }} >/dev/null 2>&1")
    calls = "".join(f"sh {folder}/fetch {folder}/{number} {image} {number} >{folder}/{number}.log 2>&1 & " for number, image in enumerate(IMAGES.values()))
    engine.host.check_output("su - root -c %s", f"{calls} wait")
    logs = [engine.host.check_output(f"cat {folder}/{number}.log") for number in range(len(IMAGES))]
    seen = [re.search(r"content=(\w\S+)", log) for log in logs]
    return {registry: match[1] for registry, match in zip(IMAGES, seen) if match}


def those(*registries):
    return {name: CONTENT[name] for name in registries}


def test_each_image_comes_from_its_own_mirror_as_the_playbook_says(engine):
    """A source policy from 25, hosts.toml from 28, both for BuildKit; 20.10 has neither, and only hosts.toml has a login.

    The daemon itself reads hosts.toml with the containerd image store, the default of 29.
    """
    others = ["ghcr.io", "quay.io", *([table.COMPANY] if engine.major >= 28 else [])] if engine.major >= 25 else []
    by_buildkit = those("docker.io", *others)
    by_daemon = by_buildkit if engine.store == "containerd" else those("docker.io")
    assert {builder: contents(engine, builder) for builder in COMMANDS} == {
        "pull": by_daemon, "buildkit": by_buildkit, "legacy": by_daemon, "compose": by_buildkit,
    }  # fmt: skip


def test_verify_agrees_and_changes_nothing(engine, playbook, state):
    before = state(engine.name)
    done = playbook("verify", engine.name, f"-e{json.dumps(WISH)}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 host: 1 works." in done.stdout
    assert state(engine.name) == before


def test_a_registry_that_two_variables_name_is_refused(engine, site, state):
    before = state(engine.name)
    done, _recap = site(engine.name, {**WISH, "buildfleet_registry_mirrors": [table.RELAY], "buildfleet_image_mirrors": {"ghcr.io/lab": table.GHCR_MIRROR}})
    said = "docker.io, ghcr.io is in buildfleet_mirrors and also in buildfleet_registry_mirrors, buildfleet_mirror_candidates or buildfleet_image_mirrors. "
    assert said + "Keep one of them." in done.stdout, done.stdout
    assert done.returncode != 0
    assert state(engine.name) == before


def test_site_removes_only_the_build_environment_that_its_map_needed(engine, site):
    if engine.major < 25:
        pytest.skip("the map of this engine sets no build environment")
    profile = engine.host.file("/etc/profile.d/buildfleet-docker.sh")

    def run(**registries):
        done, _recap = site(engine.name, {"buildfleet_mirrors": {"docker.io": table.MIRROR, **registries}})
        assert done.returncode == 0, done.stdout + done.stderr

    assert profile.exists == (engine.major < 28), "a source policy"
    run()
    assert not profile.exists
    assert engine.module("docker_build_env", buildkit=True).returncode == 0
    before = profile.content_string
    run()
    assert profile.content_string == before, "another play set it"
    assert engine.module("docker_build_env", state="absent").returncode == 0
    run(**{**MIRRORS, table.COMPANY: {**LOGIN, "url": f"https://{table.HARBOR}", "override_path": False}})
    assert profile.exists == (engine.major < 28)


def test_an_older_engine_is_refused_with_what_can(engine):
    if engine.major >= 28:
        pytest.skip("this engine reads hosts.toml")
    done = engine.module("docker_registry_hosts", registries=MIRRORS)
    assert f"registries: engine {engine.version} does not read hosts.toml (supported from 28.0)." in done.stdout + done.stderr
    assert engine.host.run(f"test -e {FOLDER}").rc == 1


@pytest.fixture(params=["graphdriver", "containerd"])
def store(engine, request):
    """The image store, set in the user's daemon.json, or by the flag of a host `SUITE+STORE`: dockerd refuses to have it in both."""
    if engine.major < 28:
        pytest.skip("this engine does not read hosts.toml")
    if engine.host.run("grep -qs -e --feature /etc/default/docker").rc == 0:
        if engine.store != request.param:
            pytest.skip("a flag of this host sets the other image store")
        yield request.param
        return
    before = engine.host.file("/etc/docker/daemon.json").content_string
    engine.write("/etc/docker/daemon.json", json.dumps({**json.loads(before), "features": {"containerd-snapshotter": request.param == "containerd"}}))
    assert engine.restart()
    yield request.param
    engine.write("/etc/docker/daemon.json", before)
    assert engine.restart()


def test_covers_is_true(engine, store):
    done = engine.module("docker_registry_hosts", "--one-line", registries={**MIRRORS, "docker.io": table.MIRROR})
    covers = json.loads(done.stdout[done.stdout.index("{") :])["covers"]
    for builder in COMMANDS:
        said = [name for name in covers if covers[name]["buildkit" if builder == "compose" else builder]]
        assert contents(engine, builder) == those(*said), builder
    alone = {"pull": store == "containerd", "buildkit": True, "legacy": store == "containerd"}
    assert covers == {**dict.fromkeys(MIRRORS, alone), "docker.io": {"pull": True, "buildkit": True, "legacy": True}}


def test_a_change_restarts_nothing(engine):
    if engine.major < 28:
        pytest.skip("this engine does not read hosts.toml")
    engine.forget()
    started = engine.host.check_output(STARTED)
    assert engine.module("docker_registry_hosts", state="absent").returncode == 0
    assert engine.module("docker_registry_hosts", registries=MIRRORS).returncode == 0
    assert engine.build("buildkit", GHCR, clean=False).ok
    assert engine.module("docker_registry_hosts", registries=MIRRORS, fallback=False).returncode == 0
    assert engine.host.check_output(STARTED) == started
    assert engine.build("buildkit", GHCR).ok


def test_a_login_is_rotated_without_a_restart_and_shown_nowhere(engine):
    if engine.major < 28:
        pytest.skip("only hosts.toml has a login")
    image, path = IMAGES[table.COMPANY], f"{FOLDER}/{table.COMPANY}/hosts.toml"
    outdated = {**MIRRORS, table.COMPANY: {**LOGIN, "password": "an-old-one"}}
    assert engine.module("docker_registry_hosts", registries=outdated).returncode == 0
    refused = engine.build("buildkit", image)
    assert "401" in refused.log
    engine.forget()  # what BuildKit tried a moment ago, it would try again
    started = engine.host.check_output(STARTED)
    done = engine.module("docker_registry_hosts", "--diff", "-vvv", registries=MIRRORS)
    assert "(with other credentials)" in done.stdout
    assert engine.build("buildkit", image, clean=False).ok
    assert engine.host.check_output(STARTED) == started
    assert '"changed": false' in engine.module("docker_registry_hosts", registries=MIRRORS).stdout
    assert engine.host.file(path).mode == 0o600
    assert engine.host.run(f"su - builder -c {shlex.quote(f'cat {path}')}").rc != 0
    header = re.search(r'"Basic (.+)"', engine.host.file(path).content_string)
    shown = done.stdout + done.stderr + refused.log
    assert header
    assert not [secret for secret in (header[1], table.PASSWORD, "an-old-one") if secret in shown]


def test_a_file_that_is_no_toml_is_refused_as_the_engine_refuses_it(engine):
    if engine.major < 28:
        pytest.skip("this engine does not read hosts.toml")
    path = f"{FOLDER}/ghcr.io/hosts.toml"
    before = engine.host.file(path).content_string
    engine.write(path, "server = https://ghcr.io\n")
    done = engine.module("docker_registry_hosts", registries=MIRRORS)
    assert f"{path}, line 1, column 10: this is not a TOML value." in done.stdout + done.stderr
    assert engine.host.file(path).content_string == "server = https://ghcr.io\n"
    outcome = engine.build("buildkit", GHCR)
    assert not outcome.ok
    assert "https://ghcr.io/v2/" in outcome.log, "the engine asks the registry itself"
    engine.write(path, before)
