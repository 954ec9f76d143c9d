#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_build_check
short_description: Check docker build with a real build, and report which process fails and why
version_added: 1.0.0
description:
  - Runs a real build in the environment of the user or service that builds. If it fails, reports the process that failed (daemon, client or RUN step), the
    reason, and the one setting that fixes it.
  - Leaves the host as it was. Everything the build created is removed by name and by id, including images and cache records, and nothing else.
    An engine on another host (C(DOCKER_HOST)) keeps it, and a warning reports that.
author:
  - The buildfleet authors (@buildfleet)
extends_documentation_fragment:
  - buildfleet.docker._attributes
attributes:
  check_mode:
    description: In check mode nothing is built, and RV(msg) reports that. A log or a record is read as usual.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
options:
  image:
    description:
      - The image from which a small test image is built.
      - The default is C(busybox:latest) from Docker Hub. Only one of O(image), O(images), O(context), O(compose_file), O(log) and O(history) can be set.
    type: str
  images:
    description: Several images, one build each, for example one of every registry that is used. RV(builds) has each result, and RV(msg) names every registry
      that fails.
    type: list
    elements: str
    version_added: 1.1.0
  context:
    description: A directory with a Dockerfile, built instead of the test image.
    type: path
  file:
    description: The Dockerfile in O(context), if it has another name. A relative path starts at O(context).
    type: str
  compose_file:
    description: A compose file whose services are built instead of the test image, with C(docker compose) or C(docker-compose), whichever is installed.
    type: path
  log:
    description:
      - The output of a build that failed elsewhere, as a CI system keeps it. It is diagnosed from the text alone.
      - Nothing is built, the host needs no Docker, and the task does not fail. Check mode makes no difference.
    type: str
    version_added: 1.1.0
  history:
    description:
      - A past build, from the records that BuildKit keeps. V(true) is the newest one, any other value is the id of a record (C(docker buildx history ls)).
      - Nothing is built, and the task does not fail. It needs a buildx that shows build records.
    type: str
    version_added: 1.1.0
  builder:
    description:
      - The builder to use. V(default) leaves the choice to the environment (including C(BUILDX_BUILDER)) and to Docker.
      - V(buildkit) and V(legacy) are those of the engine. Any other value is the name of a buildx builder, as C(docker buildx ls) shows it to the
        user who builds.
    type: str
    default: default
  environment_of:
    description:
      - Whose environment the build uses, read where that process reads it.
      - V(task) is the module's own. V(login) is a new login of the user that the module runs as. V(user:NAME) is a new login
        of another user, who then runs the build.
      - V(service:NAME) is the environment of a running systemd service (or its configured environment, if it does not run); only
        Docker and proxy variables are read from it.
      - All except V(task) need C(become).
    type: str
    default: task
  env:
    description: Variables that are added to that environment.
    type: dict
  pull:
    description: Whether to query the registry even if the image is already on the host. Without it, a build can pass with the stored image.
    type: bool
    default: true
  network_step:
    description: A URL (http or https) that a RUN step of the test image fetches, to check that steps reach the network. The image needs C(wget) or
      C(curl). With O(context) or O(compose_file) the test image is built after them.
    type: str
  timeout:
    description: Seconds after which the build is stopped.
    type: int
    default: 180
  required:
    description: Whether a failed build fails the task.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Check that builds work in a login shell
  buildfleet.docker.docker_build_check:
    environment_of: login
  become: true

- name: Check the service of the CI agent, with another image
  buildfleet.docker.docker_build_check:
    image: python:3.12
    environment_of: service:gitlab-runner
  become: true

- name: Check one image of each registry
  buildfleet.docker.docker_build_check:
    images: ["busybox:latest", "quay.io/prometheus/busybox:latest"]

- name: Diagnose a build of last night
  buildfleet.docker.docker_build_check:
    log: "{{ lookup('ansible.builtin.file', 'job-4711.log') }}"
  delegate_to: localhost

- name: Find out what fails, without failing the task
  buildfleet.docker.docker_build_check:
    builder: buildkit
    required: false
  register: build

- name: Show the fix
  ansible.builtin.debug:
    msg: "{{ build.msg }}"
  when: not build.ok
"""

RETURN = r"""
ok:
  description: Whether the build passed. Null in check mode.
  type: bool
  returned: always
msg:
  description: What happened, in sentences, with the fix.
  type: str
  returned: always
  sample: "The client could not fetch a token from auth.docker.io (reset). The daemon's proxy does not reach it. Set docker_build_env daemon_token: true."
builds:
  description: The result of each image of O(images), in their order. In addition to its image and registry it has the values that a single build returns.
  type: list
  elements: dict
  returned: when O(images) is given
  contains:
    image:
      description: The image.
      type: str
    registry:
      description: Its registry.
      type: str
mirrors:
  description:
    - What each mirror answered for the image of a failed build, as in M(buildfleet.docker.registry_mirror_info). For Docker Hub these are the
      C(registry-mirrors) of the daemon. From engine 28.0 they are the mirrors of the registry's C(hosts.toml), if the engine reads it for this build;
      those with a login, a path or a certificate of their own, and those of C(_default), are left out here.
  type: list
  elements: dict
  returned: when a build failed and its image has mirrors
  contains:
    url:
      description: The mirror.
      type: str
    usable:
      description: Whether it serves the image.
      type: bool
    problem:
      description: Why not, as a cause. Null if it does.
      type: str
    message:
      description: The same in a sentence.
      type: str
record:
  description: The id of the build record.
  type: str
  returned: when O(history) is given
builder_used:
  description: V(buildkit) or V(legacy), as the output shows. Null if the build failed before that is known.
  type: str
  returned: always
cause:
  description:
    - V(ok) if the build passed. V(dns), V(refused), V(reset), V(timeout) or V(tls) if RV(host) could not be reached.
    - V(token_unreachable), V(token_denied), V(proxy_unreachable), V(proxy_auth), V(proxy_refused), V(mirror_error), V(mirror_sends_token_elsewhere),
      V(rate_limited), V(denied) or V(not_found) if another error occurred while the image was fetched.
    - V(engine_down), V(disk_full), V(buildx_missing), V(legacy_cannot), V(bad_dockerfile) or V(step_failed) if it was not the network. Otherwise V(unknown).
    - V(buildx_missing) is also returned for a builder that does not exist.
  type: str
  returned: always
asked_by:
  description: The process whose request failed, V(daemon), V(client) or V(step). Null if none did.
  type: str
  returned: always
host:
  description: The host to which the failed request went.
  type: str
  returned: always
reason:
  description: How the request failed, such as V(reset) or V(status 403).
  type: str
  returned: always
reference:
  description: The requested image.
  type: str
  returned: always
cure:
  description: One sentence that names the option to set. Null if the build passed.
  type: str
  returned: always
proved:
  description: What a successful build proves. V(fresh) was fetched over the network now, V(cached) was not, V(unknown) cannot be determined from the output.
  type: dict
  returned: always
  contains:
    manifest:
      description: The image's manifest.
      type: str
    token:
      description: The registry's token. BuildKit caches tokens in the daemon without reporting it.
      type: str
    layers:
      description: The image's layers.
      type: str
    step:
      description: V(fresh) if a RUN step downloaded O(network_step). Absent without O(network_step).
      type: str
log:
  description: The relevant lines of the build output, masked.
  type: list
  elements: str
  returned: always
seconds:
  description: How long the build took.
  type: float
  returned: always
"""

import os
import typing as t
import uuid

from ansible_collections.buildfleet.docker.plugins.module_utils._build import build, result
from ansible_collections.buildfleet.docker.plugins.module_utils._build.build_user import build_user
from ansible_collections.buildfleet.docker.plugins.module_utils._build.history import read_record
from ansible_collections.buildfleet.docker.plugins.module_utils._build.judge import judge, judge_text
from ansible_collections.buildfleet.docker.plugins.module_utils._build.request import build_environment, is_secret, request
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Evidence
from ansible_collections.buildfleet.docker.plugins.module_utils._host.build_host import BuildHost
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, Refused, run


def work(module: Module) -> t.Dict[str, t.Any]:
    params = module.params
    wanted = request(params)
    env = {str(name): str(value) for name, value in (params["env"] or {}).items()}
    _learn(module, env)
    if params["log"]:
        return result.shown(result.Outcome(judge_text(params["log"])))
    if module.check_mode and not params["history"]:
        return result.not_built()
    builder = build_user(module.host, params["environment_of"], os.environ)
    _learn(module, builder.environment)
    if params["history"]:
        environment = build_environment(builder, wanted, env)
        buildx = module.host.buildx_history(wanted.builder if wanted.named else "", environment, builder.user, params["timeout"])
        record = read_record(params["history"], buildx)
        return dict(result.shown(result.Outcome(judge(record.log, Evidence(code=record.code)))), record=record.id)
    images = params["images"] or [wanted.image]
    outcomes = [build.check(module.host, wanted._replace(image=image), builder, env, f"buildfleet-check-{uuid.uuid4().hex[:12]}") for image in images]
    for sentence in dict.fromkeys(sentence for outcome in outcomes for sentence in outcome.left):
        module.warn(sentence)
    shown = result.shown_together(images, outcomes) if params["images"] else result.shown(outcomes[0])
    if params["required"] and not shown["ok"]:
        raise Refused(shown.pop("msg"), **shown)
    return shown


def _learn(module: Module, environment: t.Mapping[str, str]) -> None:
    for name, value in environment.items():
        module.secrets.learn_url(value)
        if is_secret(name):
            module.secrets.learn(value)


def main() -> None:
    run(
        work,
        host=BuildHost,
        argument_spec={
            "image": {"type": "str"},
            "context": {"type": "path"},
            "file": {"type": "str"},
            "compose_file": {"type": "path"},
            "images": {"type": "list", "elements": "str"},
            "log": {"type": "str"},
            "history": {"type": "str"},
            "builder": {"type": "str", "default": "default"},
            "environment_of": {"type": "str", "default": "task"},
            "env": {"type": "dict"},
            "pull": {"type": "bool", "default": True},
            "network_step": {"type": "str"},
            "timeout": {"type": "int", "default": 180},
            "required": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
