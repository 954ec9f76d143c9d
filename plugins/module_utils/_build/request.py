# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The request: what to build, and in which environment."""

from __future__ import annotations

import posixpath
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.booleans import parse_bool
from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_probe import PROBE_IMAGE

KINDS = ("default", "buildkit", "legacy")
_SUBJECTS = ("image", "images", "context", "compose_file", "log", "history")
_SECRET_NAME = re.compile(r"pass|secret|token|key|auth", re.I)


class BuildRequest(t.NamedTuple):
    image: str = PROBE_IMAGE
    context: str = ""
    file: str = ""
    compose_file: str = ""
    builder: str = "default"
    pull: bool = True
    network_step: str = ""
    timeout: int = 180

    @property
    def named(self) -> bool:
        """Whether to use a named buildx builder."""
        return self.builder not in KINDS


class BuildUser(t.NamedTuple):
    """The process that builds: its user, and its environment as that process reads it."""

    user: str
    environment: t.Dict[str, str]


def request(params: t.Mapping[str, t.Any]) -> BuildRequest:
    """The options as a request; Refused if they contradict each other."""
    given = [name for name in _SUBJECTS if params[name]]
    if len(given) > 1:
        raise Refused(f"Set one of {', '.join(_SUBJECTS[:-1])} and {_SUBJECTS[-1]}, not {' and '.join(given)}.")
    if params["file"] and not params["context"]:
        raise Refused("file names a Dockerfile in context, so it needs context.")
    if params["timeout"] < 1:
        raise Refused("timeout must be at least 1 second.")
    for name, image in [("image", params["image"]), *(("images", image) for image in params["images"] or [])]:
        if image and not re.match(r"\w[\w./:@-]*\Z", image):
            raise Refused(f"{name}: {image} is not the name of an image. Write it as in FROM, such as busybox:1.36.")
    if not re.match(r"[A-Za-z0-9][\w.-]*\Z", params["builder"]):
        raise Refused(f"builder: {params['builder']!r} is not default, buildkit, legacy or the name of a buildx builder.")
    if params["network_step"] and not re.match(r"https?://[^\s'\"\\$]+$", params["network_step"]):
        raise Refused("network_step must be a URL such as http://example.com/, without spaces and quotes.")
    context = params["context"] or ""
    file = params["file"] or ""
    return BuildRequest(
        image=params["image"] or PROBE_IMAGE,
        context=context,
        file=posixpath.join(context, file) if file else "",
        compose_file=params["compose_file"] or "",
        builder=params["builder"],
        pull=params["pull"],
        network_step=params["network_step"] or "",
        timeout=params["timeout"],
    )


def build_environment(builder: BuildUser, wanted: BuildRequest, env: t.Mapping[str, str]) -> t.Dict[str, str]:
    """The environment of the process that builds, the user's variables over it, and what makes the log readable."""
    environment = dict(builder.environment, **env)
    environment["BUILDKIT_PROGRESS"] = "plain"  # in the environment, because 20.10's legacy builder has no --progress
    if wanted.named:
        environment["BUILDX_BUILDER"] = wanted.builder
    elif wanted.builder != "default":
        environment["DOCKER_BUILDKIT"] = "1" if wanted.builder == "buildkit" else "0"
    if wanted.compose_file:
        environment.setdefault("COMPOSE_DOCKER_CLI_BUILD", "1")
    return environment


def default_builder(docker_buildkit: str, cli: str, buildx: bool, features_buildkit: t.Optional[bool]) -> str:
    """What `docker build` uses (docker/cli cmd/docker/builder.go); '' if it fails."""
    wanted = parse_bool(docker_buildkit)
    if docker_buildkit and wanted is None:
        return ""
    if not versions.has("buildkit_default", cli):  # the engine's features decide, and buildx is not needed
        return "buildkit" if (features_buildkit if wanted is None else wanted) else "legacy"
    if wanted is False:
        return "legacy"
    return "buildkit" if buildx else "" if wanted else "legacy"


def is_secret(name: str) -> bool:
    """Whether the value of a variable with this name is masked."""
    return bool(_SECRET_NAME.search(name))
