# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way to start a build, with every builder; each step downloads through the proxy. converge.yml tests the way of a task."""

from __future__ import annotations

import base64
import json
import shlex
import time
from pathlib import Path

import build
import pytest
import table
import yaml

LAB_BUILD = "/usr/local/bin/lab-build"  # converge.yml made it
ALL = "passed: buildkit legacy compose."
UNIT = "lab-agent.service"
AGENT_LOG = "/var/tmp/agent.log"
KEEP = (
    'Defaults env_keep += "BUILDKIT_NO_CLIENT_TOKEN DOCKER_BUILDKIT EXPERIMENTAL_BUILDKIT_SOURCE_POLICY '
    'HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy"'
)


def built(engine, command):
    """The output of a build by every builder, from a clean state."""
    engine.forget()
    return build.on(engine.name, command).log


def asked_for_the_token_in_vain(log):
    return "auth.docker.io" in log and "connection reset by peer" in log


@pytest.mark.parametrize("command", [f"su - builder -c {LAB_BUILD}", f"su - builder -c 'sudo -i {LAB_BUILD}'"])
def test_builds_pass_in_a_login_shell_and_under_sudo_with_a_login(engine, command):
    log = built(engine, command)
    assert ALL in log, log


def test_without_our_environment_the_client_asks_for_the_token_in_vain(engine):
    log = built(engine, LAB_BUILD)
    assert "passed: legacy." in log
    assert asked_for_the_token_in_vain(log)


def test_builds_pass_over_ssh_without_a_login_shell(engine):
    client = next(iter(table.HOSTS))  # not every host has an SSH client
    private = f"~/.ssh/{engine.name}"
    key = build.on(client, f"test -e {private} || ssh-keygen -q -t ed25519 -N '' -f {private}; cat {private}.pub")
    engine.write("/home/builder/.ssh/authorized_keys", key.log)
    engine.host.run("chown -R builder: /home/builder/.ssh; chmod -R go= /home/builder/.ssh")
    ssh = f"ssh -i {private} -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    engine.forget()
    log = build.on(client, f"{ssh} builder@{engine.name} {LAB_BUILD}").log
    assert ALL in log, log


def test_builds_pass_from_cron(engine):
    engine.forget()
    log = "/home/builder/cron.log"
    engine.host.run(f"rm -f {log} /run/crond.reboot")
    engine.write("/etc/cron.d/lab", f"@reboot builder {LAB_BUILD} > {log} 2>&1\n")
    engine.host.check_output("systemctl restart cron")  # cron takes its own start for the machine's
    try:
        assert ALL in waited(engine, log)
    finally:
        engine.host.run("rm /etc/cron.d/lab")


def waited(engine, log):
    for _rest in range(120):
        text = engine.host.run(f"cat {log}").stdout
        if "passed:" in text:
            return text
        time.sleep(0.5)
    raise AssertionError(f"{log} does not end: {text}")


def test_plain_sudo_strips_the_environment_and_one_line_of_sudoers_keeps_it(engine):
    plain = f"su - builder -c 'sudo {LAB_BUILD}'"
    reads_the_file_again = engine.host.run("grep -q pam_env /etc/pam.d/sudo").rc == 0
    log = built(engine, plain)
    assert (ALL if reads_the_file_again else "passed: legacy.") in log, log
    if reads_the_file_again:
        return
    assert asked_for_the_token_in_vain(log)
    engine.write("/etc/sudoers.d/lab-keep", f"{KEEP}\n")
    try:
        log = built(engine, plain)
        assert ALL in log, log
    finally:
        engine.host.run("rm /etc/sudoers.d/lab-keep")


def test_build_args_reach_the_step_by_their_names_alone(engine):
    """Without config.json, and so without passing the proxy to other containers."""
    engine.write("/var/tmp/none/config.json", "{}")  # there, as the old compose would look elsewhere
    values = {"BUILDKIT_NO_CLIENT_TOKEN": "1", "DOCKER_CONFIG": "/var/tmp/none"}
    values.update({"http_proxy": table.HTTP_PROXY, "HTTPS_PROXY": table.HTTP_PROXY, "no_proxy": "localhost,.corp.lab"})
    environment = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())
    assert "passed:." in built(engine, f"{environment}{LAB_BUILD}"), "a step has the proxy without being given it"
    log = build.on(engine.name, f"{environment}{LAB_BUILD} --build-arg http_proxy --build-arg HTTPS_PROXY --build-arg no_proxy").log
    assert ALL in log, log


def test_config_json_gives_the_proxy_to_every_container(engine):
    """The leak that the documentation describes."""
    said = engine.host.check_output("su - builder -c 'docker run --rm busybox:1 env'")
    assert f"http_proxy={table.HTTP_PROXY}" in said.splitlines()


@pytest.mark.parametrize("builder", ["buildkit", "legacy"])
def test_the_check_proves_the_step_too(engine, builder):
    done = engine.module("docker_build_check", builder=builder, environment_of="user:builder", image="busybox:1", network_step=table.WEB)
    assert done.returncode == 0, done.stdout


def test_the_login_in_config_json_stands_untouched(engine):
    file = engine.host.file("/home/builder/.docker/config.json")
    assert file.content.startswith(b'{"auths": {"r.lab": {"auth": "am9lOnNlY3JldC1sYWI="}},   "psFormat": "x", "proxies": ')
    assert (file.user, file.mode) == ("builder", 0o640)
    proxies = json.loads(file.content)["proxies"]
    assert proxies == {"default": {"httpProxy": table.HTTP_PROXY, "httpsProxy": table.HTTP_PROXY, "noProxy": "localhost,.corp.lab"}}


def test_buildx_reads_the_mirrors_of_a_new_builder_and_an_old_one_is_named(engine):
    if engine.host.run("docker buildx version").rc != 0:
        pytest.skip("this generation has no buildx")
    engine.host.check_output("su - builder -c 'docker buildx create --name lab --driver docker-container'")
    try:
        kept = json.loads(engine.host.file("/home/builder/.docker/buildx/instances/lab").content)["Nodes"][0]["Files"]["buildkitd.toml"]
        shown = engine.host.check_output("su - builder -c 'docker buildx inspect lab'")  # the older one does not show files
        assert 'mirrors = ["mirror.lab"]' in (shown if engine.major >= 28 else base64.b64decode(kept).decode())
        done = engine.module("docker_build_env", "--check", **dict(options(), builder_mirrors={"docker.io": "other.lab"}))
        assert "The builder lab of builder keeps the mirrors that it was created with." in done.stdout + done.stderr
    finally:
        engine.host.run("su - builder -c 'docker buildx rm lab'")


def options():
    """The role's options in converge.yml, as options of the module."""
    tasks = yaml.safe_load((Path(__file__).resolve().parents[1] / "converge.yml").read_text())[0]["tasks"]
    role = next(task for task in tasks if task.get("ansible.builtin.include_role") == {"name": "buildfleet.docker.docker_build_env"})
    return {name.replace("docker_build_env_", "", 1): value for name, value in role["vars"].items()}


def test_files_belong_to_those_whose_they_are(engine):
    for path, user, mode in (
        ("/etc/profile.d/buildfleet-docker.sh", "root", 0o644),
        ("/etc/environment", "root", 0o644),
        ("/home/builder/.docker/buildx/buildkitd.default.toml", "builder", 0o600),
        ("/root/.docker/config.json", "root", 0o600),
        ("/var/lib/buildfleet", "root", 0o700),
    ):
        file = engine.host.file(path)
        assert (path, file.user, file.mode) == (path, user, mode)
    assert engine.host.file("/home/builder/.docker/buildx").user == "builder"


def test_the_agent_builds_after_the_restart_that_was_asked_for(engine):
    """Last, because converge checks the agent that still runs without the environment."""

    def run(*flags):
        done = engine.module("docker_build_env", *flags, **dict(options(), restart_services=True))
        assert done.returncode == 0, done.stdout
        result = json.loads(done.stdout.partition("=> ")[2])
        return result["changed"], result["restarted"], result["pending"], engine.host.check_output(f"systemctl show --property=MainPID {UNIT}")

    before = engine.host.check_output(f"systemctl show --property=MainPID {UNIT}")
    assert run("--check") == (True, [UNIT], [], before)
    engine.forget()
    engine.host.run(f"rm -f {AGENT_LOG}")
    changed, restarted, pending, after = run()
    assert (changed, restarted, pending) == (True, [UNIT], [])
    assert after != before
    assert ALL in waited(engine, AGENT_LOG)
    assert run() == (False, [], [], after)
