# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of a GitLab runner, which a unit plays. Not in tests/: converge.yml set the environment of logins there, and here nothing else is set."""

from __future__ import annotations

import json
import re
import time

import pytest

CONFIG = "/etc/gitlab-runner/config.toml"
LOG = "/var/tmp/runner.log"
REGISTERED = """concurrent = 1

[[runners]]
  name = "shells"   # on the host
  token = "glrt-lab-one"
  token_expires_at = 0001-01-01T00:00:00Z
  executor = "shell"

[[runners]]
  name = "containers"
  token = "glrt-lab-two"
  executor = "docker"
  environment = [
    "LANG=C.UTF-8", # theirs
  ]
  [runners.docker]
    volumes = ["/var/run/docker.sock:/var/run/docker.sock"]
"""
# As the real one: it reads its file again when that changes, and its jobs have the environment that the file gives, without a login.
PLAYED = """import os, subprocess, sys, time, tomllib
BUILD = "cd /var/tmp/job && DOCKER_BUILDKIT=1 docker build --no-cache ."
MOUNTS = [f"--volume={place}:{place}:ro" for place in ("/usr", "/lib", "/lib64", "/bin", "/var/tmp/job")] + ["--tmpfs=/tmp"]
AS_BUILDER = ["setpriv", "--reuid=builder", "--regid=builder", "--init-groups"]
read = 0
while True:
    changed = os.stat(sys.argv[1]).st_mtime_ns
    if changed != read:
        read = changed
        with open(sys.argv[1], "rb") as file:
            runners = tomllib.load(file)["runners"]
        for runner in runners:
            entries = [*runner.get("environment", []), "HOME=/tmp", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
            if runner["executor"] == "shell":
                job = [*AS_BUILDER, "env", "-i", *entries, "sh", "-c", BUILD]
            else:
                volumes = [f"--volume={volume}" for volume in runner["docker"]["volumes"]]
                job = ["docker", "run", "--rm", *MOUNTS, *volumes, *(f"--env={entry}" for entry in entries), "buildfleet/empty", "/bin/sh", "-c", BUILD]
            done = subprocess.run(job, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            print(done.stdout, runner["name"], "passed" if done.returncode == 0 else "failed", flush=True)
        print("round", flush=True)
    time.sleep(0.5)
"""
UNIT = f"[Service]\nEnvironment=PYTHONUNBUFFERED=1\nExecStart=/usr/bin/python3 /usr/local/bin/played {CONFIG}\nStandardOutput=truncate:{LOG}\n"


def after_round(engine, number):
    """What the jobs of this round printed."""
    for _moment in range(480):
        rounds = engine.host.check_output(f"cat {LOG}").split("\nround")
        if len(rounds) > number:
            return rounds[number - 1]
        time.sleep(0.5)
    raise AssertionError(rounds)


def verdicts(output):
    return re.findall(r"^ (\w+ (?:passed|failed))$", output, re.M)


def test_jobs_on_the_host_and_in_containers_build_and_the_file_is_restored(engine):
    engine.write("/usr/local/bin/played", PLAYED)
    engine.write("/etc/systemd/system/gitlab-runner.service", UNIT)
    engine.write("/var/tmp/job/Dockerfile", "FROM busybox:1\n")
    engine.write(CONFIG, REGISTERED)
    engine.host.check_output(f"chmod 0600 {CONFIG}; tar -c -T /dev/null | docker import - buildfleet/empty")
    engine.forget()
    engine.host.check_output(f"tar -c -T /dev/null | docker import - buildfleet/empty; : > {LOG}; systemctl daemon-reload; systemctl start gitlab-runner")
    try:
        before = after_round(engine, 1)
        assert verdicts(before) == ["shells failed", "containers failed"], before
        assert "auth.docker.io" in before
        started = engine.host.check_output("systemctl show --property=MainPID gitlab-runner")
        done = engine.module("docker_build_env", daemon_token=True, gitlab_runners=[CONFIG])
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout.partition("=> ")[2])["pending"] == []
        passed = after_round(engine, 2)
        assert verdicts(passed) == ["shells passed", "containers passed"], passed
        assert engine.host.check_output("systemctl show --property=MainPID gitlab-runner") == started
    finally:
        # First, because the restored file would start jobs, and a container of theirs would hold the image.
        engine.host.check_output("systemctl stop gitlab-runner")
        absent = engine.module("docker_build_env", state="absent")
        found = engine.host.file(CONFIG)
        kept = (found.content_string, found.mode, found.user)
        engine.host.check_output(
            "rm -r /etc/systemd/system/gitlab-runner.service /usr/local/bin/played /etc/gitlab-runner /var/tmp/job; "
            "systemctl daemon-reload; docker ps -aq --filter ancestor=buildfleet/empty | xargs -r docker rm -f; docker rmi buildfleet/empty"
        )
    assert absent.returncode == 0, absent.stdout
    assert kept == (REGISTERED, 0o600, "root")


# A job of the executor shell is a process, one of the executor docker a container. It runs while the file is there.
JOB = "/run/played-job"
IN_CONTAINER = "docker run --detach --name=runner-1 --volume=/usr:/usr:ro --volume=/lib:/lib:ro --volume=/lib64:/lib64:ro --volume=/bin:/bin:ro"
EXECUTORS = {
    "shell": (f"while test -e {JOB}; do sleep 0.2; done", "", "it has started sh (process "),
    "docker": (
        f"{IN_CONTAINER} buildfleet/empty /bin/sleep 600",
        "docker rm --force runner-1",
        "the container runner-1 runs, which was created since",
    ),
}
WORKING = f"""import os, subprocess, sys, time
while True:
    if os.path.exists("{JOB}"):
        subprocess.run(["sh", "-c", sys.argv[1]])
        while os.path.exists("{JOB}"):
            time.sleep(0.1)
        subprocess.run(["sh", "-c", sys.argv[2]])
        open("{JOB}.ended", "w").close()
    time.sleep(0.1)
"""


def outcome(done):
    assert done.returncode == 0, done.stdout
    return json.loads(done.stdout.partition("=> ")[2])


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_agent_is_restarted_only_while_it_runs_no_job(engine, executor):
    job, end, seen = EXECUTORS[executor]
    engine.write("/usr/local/bin/working", WORKING)
    engine.write("/etc/systemd/system/played.service", f"[Service]\nExecStart=/usr/bin/python3 /usr/local/bin/working '{job}' '{end}'\n")
    engine.host.check_output(f"tar -c -T /dev/null | docker import - buildfleet/empty; touch {JOB}; systemctl daemon-reload; systemctl start played; sleep 3")
    wanted = {"daemon_token": True, "services": ["played"], "restart_idle_services": True}
    variable = "tr '\\0' '\\n' < /proc/$(systemctl show --property=MainPID --value played)/environ | grep BUILDKIT_NO_CLIENT_TOKEN"
    try:
        started = engine.host.check_output("systemctl show --property=MainPID played")
        done = engine.module("docker_build_env", **wanted)
        working = outcome(done)
        assert (working["restarted"], working["pending"]) == ([], ["played.service"])
        assert f"played.service was not restarted, because it may run a job: {seen}" in " ".join(done.stderr.split())
        assert engine.host.check_output("systemctl show --property=MainPID played") == started
        engine.host.check_output(f"rm {JOB}; until test -e {JOB}.ended; do sleep 0.1; done; sleep 1")
        idle = outcome(engine.module("docker_build_env", **wanted))
        assert (idle["restarted"], idle["pending"]) == (["played.service"], [])
        assert engine.host.check_output(variable) == "BUILDKIT_NO_CLIENT_TOKEN=1"
        assert outcome(engine.module("docker_build_env", **wanted))["changed"] is False
    finally:
        absent = engine.module("docker_build_env", state="absent")
        engine.host.check_output(
            f"systemctl stop played; rm -rf /etc/systemd/system/played.service /usr/local/bin/working {JOB} {JOB}.ended; systemctl daemon-reload; "
            "docker ps -aq --filter ancestor=buildfleet/empty | xargs -r docker rm -f; docker rmi buildfleet/empty"
        )
    assert absent.returncode == 0, absent.stdout
