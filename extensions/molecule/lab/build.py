# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds on a lab host, each from a clean state: images, layers and tokens of an earlier build must not help a later one."""

from __future__ import annotations

import shlex
import subprocess
from typing import Mapping, NamedTuple

BUILDERS = ("pull", "buildkit", "legacy", "compose")
BUILDER_VARIABLE = {"buildkit": {"DOCKER_BUILDKIT": "1"}, "legacy": {"DOCKER_BUILDKIT": "0"}}
CONTEXT = "/var/tmp/build"
COMPOSE = "services:\n  built:\n    build: .\n"


class Outcome(NamedTuple):
    ok: bool
    log: str


def on(host: str, script: str) -> Outcome:
    done = subprocess.run(
        ["docker", "exec", "--interactive", host, "sh"], input=script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return Outcome(done.returncode == 0, done.stdout)


def write(host: str, file: str, content: str) -> None:
    path = shlex.quote(file)
    written = on(host, f"mkdir -p $(dirname {path}) && printf %s {shlex.quote(content)} > {path}")
    assert written.ok, written.log


def restart(host: str) -> bool:
    """Whether the engine answers after a restart."""
    return on(
        host,
        "systemctl daemon-reload; systemctl reset-failed docker.service docker.socket; systemctl restart docker.service && "
        "timeout 20 docker version >/dev/null",
    ).ok


def forget(host: str) -> bool:
    """Remove images and build cache and, with a restart, the token that dockerd caches for BuildKit."""
    forgotten = on(
        host,
        'docker ps -aq | xargs -r docker rm -f; docker image prune -af; docker builder prune -af; test -z "$(docker images -aq)"',
    )
    return restart(host) and forgotten.ok


def dockerfile(image: str, step: str = "cat /etc/image") -> str:
    return f"FROM {image} as builder\nRUN {step}\n"


def build(
    host: str,
    builder: str = "buildkit",
    image: str = "busybox:1",
    env: Mapping[str, str] | None = None,
    login: str = "",
    clean: bool = True,
    shell: str = "",
    step: str = "cat /etc/image",
) -> Outcome:
    """`builder` is one of BUILDERS, or `default`, which leaves the choice to the environment.

    `env` is for this one command; `shell` is what the user typed before it; `login`: in the login shell of that user.
    """
    if clean and not forget(host):
        return Outcome(False, f"{host} has no clean slate: its engine does not answer, or images stay")
    write(host, f"{CONTEXT}/Dockerfile", dockerfile(image, step))
    write(host, f"{CONTEXT}/docker-compose.yml", COMPOSE)
    command = {
        "pull": f"docker pull {shlex.quote(image)}",
        "compose": f"cd {CONTEXT} && if docker compose version >/dev/null 2>&1; then docker compose build; else docker-compose build; fi",
    }.get(builder, f"docker build {CONTEXT}")
    variables = {**BUILDER_VARIABLE.get(builder, {}), **(env or {})}
    if variables:
        command = shlex.join(["env", *(f"{name}={value}" for name, value in variables.items()), "sh", "-c", command])
    script = f"{shell}\n{command}"
    return on(host, f"su - {login} -c {shlex.quote(script)}" if login else script)
