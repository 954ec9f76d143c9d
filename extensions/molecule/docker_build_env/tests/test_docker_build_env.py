# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import json
import shlex
import time

import build
import pytest
import table

BUILD = f"docker build {build.CONTEXT}"
AS_BUILDKIT = f"DOCKER_BUILDKIT=1 {BUILD}"


def prepared(engine, step="cat /etc/image"):
    engine.forget()
    engine.write(f"{build.CONTEXT}/Dockerfile", build.dockerfile("busybox:1", step))


def asked_for_the_token_in_vain(log):
    return "auth.docker.io" in log and "connection reset by peer" in log


@pytest.mark.parametrize(("user", "builder"), [("root", "buildkit"), ("builder", "buildkit"), ("builder", "legacy"), ("builder", "compose")])
def test_builds_pass_from_a_login_shell(engine, user, builder):
    outcome = engine.build(builder, login=user)
    assert outcome.ok, outcome.log


def test_without_our_environment_the_client_asks_for_the_token_in_vain(engine):
    outcome = engine.build("buildkit")
    assert not outcome.ok
    assert asked_for_the_token_in_vain(outcome.log)


@pytest.mark.parametrize("builder", ["buildkit", "compose"])
def test_builds_pass_with_the_returned_environment(engine, builder):
    outcome = engine.build(builder, env={"BUILDKIT_NO_CLIENT_TOKEN": "1"})
    assert outcome.ok, outcome.log


def test_a_build_passes_over_ssh_without_a_login_shell(engine):
    prepared(engine)
    client = next(iter(table.HOSTS))
    key = build.on(client, "test -e ~/.ssh/lab || ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/lab; cat ~/.ssh/lab.pub")
    engine.write("/home/builder/.ssh/authorized_keys", key.log)
    engine.host.run("chown -R builder: /home/builder/.ssh; chmod -R go= /home/builder/.ssh")
    ssh = "ssh -i ~/.ssh/lab -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    outcome = build.on(client, f"{ssh} builder@{engine.name} {shlex.quote(AS_BUILDKIT)}")
    assert outcome.ok, outcome.log


def test_a_build_passes_from_cron(engine):
    prepared(engine)
    log = "/home/builder/cron.log"
    engine.host.run(f"rm -f {log} /run/crond.reboot")
    engine.write("/etc/cron.d/lab", f"@reboot builder {{ {AS_BUILDKIT}; echo rc=$?; }} > {log} 2>&1\n")
    engine.host.check_output("systemctl restart cron")  # cron takes its own start for the machine's
    try:
        assert "rc=0" in waited(engine, log)
    finally:
        engine.host.run("rm /etc/cron.d/lab")


def waited(engine, log):
    for _rest in range(60):
        text = engine.host.run(f"cat {log}").stdout
        if "rc=" in text:
            return text
        time.sleep(0.5)
    raise AssertionError(f"{log} does not end: {text}")


def test_a_build_passes_under_sudo_with_a_login(engine):
    prepared(engine)
    outcome = build.on(engine.name, f"su - builder -c 'sudo -i env {AS_BUILDKIT}'")
    assert outcome.ok, outcome.log


def test_plain_sudo_strips_the_environment_and_one_line_of_sudoers_keeps_it(engine):
    plain = f"su - builder -c 'sudo env {AS_BUILDKIT}'"
    reads_the_file_again = engine.host.run("grep -q pam_env /etc/pam.d/sudo").rc == 0
    prepared(engine)
    outcome = build.on(engine.name, plain)
    assert outcome.ok == reads_the_file_again, outcome.log
    assert outcome.ok or asked_for_the_token_in_vain(outcome.log)
    keep = 'Defaults env_keep += "BUILDKIT_NO_CLIENT_TOKEN DOCKER_BUILDKIT HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy"'
    engine.write("/etc/sudoers.d/lab-keep", f"{keep}\n")
    try:
        prepared(engine)
        outcome = build.on(engine.name, plain)
        assert outcome.ok, outcome.log
    finally:
        engine.host.run("rm /etc/sudoers.d/lab-keep")


@pytest.mark.parametrize("variable", ["DOCKER_BUILDKIT=1", "DOCKER_BUILDKIT=0"])
def test_a_step_gets_the_proxy_of_config_json(engine, variable):
    step = f'test "$https_proxy,$HTTP_PROXY,$no_proxy" = "{table.HTTP_PROXY},{table.HTTP_PROXY},localhost,.corp.lab"'
    prepared(engine, step)
    outcome = build.on(engine.name, f"su - builder -c '{variable} {BUILD}'")
    assert outcome.ok, outcome.log


def test_the_login_in_config_json_stands_untouched(engine):
    file = engine.host.file("/home/builder/.docker/config.json")
    assert file.content.startswith(b'{"auths": {"r.lab": {"auth": "am9lOnNlY3JldC1sYWI="}},   "psFormat": "x", "proxies": ')
    assert (file.user, file.mode) == ("builder", 0o640)
    proxies = json.loads(file.content)["proxies"]
    assert proxies == {"default": {"httpProxy": table.HTTP_PROXY, "httpsProxy": table.HTTP_PROXY, "noProxy": "localhost,.corp.lab"}}


def test_buildx_reads_the_mirrors_of_a_new_builder(engine):
    if engine.host.run("docker buildx version").rc != 0:
        pytest.skip("this generation has no buildx")
    engine.host.check_output("su - builder -c 'docker buildx create --name lab --driver docker-container'")
    try:
        kept = json.loads(engine.host.file("/home/builder/.docker/buildx/instances/lab").content)["Nodes"][0]["Files"]["buildkitd.toml"]
        assert 'mirrors = ["mirror.lab"]' in base64.b64decode(kept).decode()
    finally:
        engine.host.run("su - builder -c 'docker buildx rm lab'")


def test_files_belong_to_those_whose_they_are(engine):
    for path, user, mode in (
        ("/etc/profile.d/buildfleet-docker.sh", "root", 0o644),
        ("/etc/environment", "root", 0o644),
        ("/home/builder/.docker/buildx", "builder", 0o755),
        ("/home/builder/.docker/buildx/buildkitd.default.toml", "builder", 0o600),
        ("/root/.docker/config.json", "root", 0o600),
        ("/var/lib/buildfleet", "root", 0o700),
    ):
        file = engine.host.file(path)
        assert (path, file.user, file.mode) == (path, user, mode)


def test_a_service_builds_after_its_restart(engine):
    """Last, since converge and undo look at the agent that still runs without the environment."""
    unit = "lab-agent"
    before = engine.host.check_output(f"systemctl show --property=MainPID {unit}")
    prepared(engine)
    engine.host.run("rm -f /run/lab-agent.log")
    engine.host.check_output(f"systemctl restart {unit}")
    assert "rc=0" in waited(engine, "/run/lab-agent.log")
    assert engine.host.check_output(f"systemctl show --property=MainPID {unit}") != before
