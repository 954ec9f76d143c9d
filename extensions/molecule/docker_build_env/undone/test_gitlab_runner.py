# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of a GitLab runner, which a unit plays. Not in tests/: converge.yml set the environment of logins there, and here nothing else is set."""

from __future__ import annotations

import json
import re
import time

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
    for _moment in range(240):
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
    engine.host.check_output("tar -c -T /dev/null | docker import - buildfleet/empty; systemctl daemon-reload; systemctl start gitlab-runner")
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
        absent = engine.module("docker_build_env", state="absent")
        found = engine.host.file(CONFIG)
        kept = (found.content_string, found.mode, found.user)
        engine.host.check_output(
            "systemctl stop gitlab-runner; rm -r /etc/systemd/system/gitlab-runner.service /usr/local/bin/played /etc/gitlab-runner /var/tmp/job; "
            "systemctl daemon-reload; docker ps -aq --filter ancestor=buildfleet/empty | xargs -r docker rm -f; docker rmi buildfleet/empty"
        )
    assert absent.returncode == 0, absent.stdout
    assert kept == (REGISTERED, 0o600, "root")
