#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_builder
short_description: Configure a buildx builder with the docker-container driver
version_added: 1.1.0
description:
  - A builder with the docker-container driver runs BuildKit in a container. It reads neither C(daemon.json) nor the environment of the daemon or the
    client, only what it was created with. This module creates one with its own proxy, mirrors and CA.
  - A builder cannot be changed. If something that it was created with differs, it is created again and keeps its cache. The options are
    compared with buildx's file and with the image, environment, flags and files in C(/etc/buildkit) of its container.
  - The client fetches the registry token for a builder too. With O(buildfleet.docker.docker_build_env#module:daemon_token=true) the builder
    fetches it itself, through its own proxy.
    RUN steps get their proxy from O(buildfleet.docker.docker_build_env#module:step_proxy).
  - A builder that others created is used if nothing differs. Otherwise the run stops and names the differences, unless O(adopt=true).
  - M(buildfleet.docker.docker_build_check) with O(buildfleet.docker.docker_build_check#module:builder) tests it with a real build.
author:
  - The buildfleet authors (@buildfleet)
extends_documentation_fragment:
  - buildfleet.docker._attributes
options:
  name:
    description: The name of the builder. Required with O(state=present).
    type: str
  user:
    description: The user who builds with it. Each user has builders of their own, in C(~/.docker/buildx).
    type: str
    default: root
  image:
    description: The image of BuildKit. If not set, buildx chooses it (V(moby/buildkit:buildx-stable-1)). The daemon pulls it with its own settings.
    type: str
  http_proxy:
    description:
      - URL of the builder's proxy for http URLs.
      - A URL with credentials is rejected without O(allow_readable_secret).
    type: str
  https_proxy:
    description:
      - URL of the builder's proxy for https URLs, which are those of almost every registry. Its scheme is usually V(http).
      - A container cannot reach a proxy on V(127.0.0.1) of the host; use an address that containers can reach.
      - A URL with credentials is rejected without O(allow_readable_secret). The role C(proxy_relay) provides an address without them.
    type: str
  no_proxy:
    description: Hosts, domains, addresses and networks that the builder reaches without the proxy. Its mirrors usually belong here.
    type: list
    elements: str
  mirrors:
    description:
      - Each registry as in image names (V(docker.io), V(ghcr.io)), with its mirrors in the order of use.
      - A mirror is a URL, or a dictionary with C(url) and any of C(ca) (of this mirror, an absolute path on the host or a certificate in PEM) and
        C(skip_verify). A path in the URL comes before the repository, as in image names. A login is not possible.
    type: dict
  ca:
    description:
      - The CA of a proxy that intercepts TLS, as a certificate in PEM or as an absolute path on the host. The builder trusts it for every registry,
        beside the authorities of its image. The host's trust store does not reach a builder.
    type: str
  driver_opts:
    description: Other options of the driver by name, for example C(network) or C(env.NAME). The image and the proxies have options of their own.
    type: dict
  buildkitd_flags:
    description: Flags of BuildKit's daemon. buildx adds C(--allow-insecure-entitlement=network.host) itself.
    type: list
    elements: str
  use:
    description: Whether C(docker buildx build) of the user uses this builder by default. V(false) leaves the user's choice alone.
    type: bool
    default: false
  bootstrap:
    description: Whether to start the builder, so that its image is pulled now. Otherwise its next build starts it.
    type: bool
    default: true
  allow_readable_secret:
    description: Whether proxies and O(driver_opts) may contain credentials. Everyone who may use Docker reads them with C(docker inspect).
    type: bool
    default: false
  adopt:
    description: Whether to create a builder again that others created, if it differs. O(state=absent) restores it as it was.
    type: bool
    default: false
  state:
    description:
      - V(present) creates the builder. The options describe all that it is created with; what is not set is removed.
      - V(absent) removes the builder and its cache; one that was adopted is restored and keeps its cache. Without O(name) it does so with all builders
        that this module created on the host. What others created stays.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Create a builder that reaches registries through the relay, and that its first build starts
  buildfleet.docker.docker_builder:
    name: ci
    user: jenkins
    https_proxy: http://172.17.0.1:3129
    no_proxy: [mirror.example.com]
    mirrors:
      docker.io: https://mirror.example.com
    use: true
    bootstrap: false

- name: Remove all builders of this module
  buildfleet.docker.docker_builder:
    state: absent
"""

RETURN = r"""
recreated:
  description: Whether an existing builder was created again, because something differed.
  type: bool
  returned: success
differences:
  description: What differed, by name.
  type: list
  elements: str
  returned: success
  sample: [env.HTTPS_PROXY, buildkitd.toml]
node:
  description: Its container, with C(container), C(image) (empty if buildx chooses it), C(status) before this run (empty if there was no container)
    and C(environment). There a login is C(xxxxx:xxxxx), and a variable of O(driver_opts) is C(xxxxx).
  type: dict
  returned: with O(state=present)
  sample: {container: buildx_buildkit_ci0, image: "", status: running, environment: {HTTPS_PROXY: "http://172.17.0.1:3129"}}
config:
  description: The contents of C(/etc/buildkit/buildkitd.toml); empty if nothing in it is set. buildx writes the keys in its own order.
  type: str
  returned: with O(state=present)
removed:
  description: The builders that were removed or restored, as USER/NAME.
  type: list
  elements: str
  returned: with O(state=absent)
"""

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._builder import change, definition
from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._host.builder_host import BuilderHost
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, run
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import ValueRefused


def work(module: Module) -> t.Dict[str, t.Any]:
    with module.host.lock("/run/buildfleet-builder.lock"):
        try:
            return _change(module)
        except (definition.BuilderError, ValueRefused) as error:
            raise Refused(str(error), changed=False) from error


def _change(module: Module) -> t.Dict[str, t.Any]:
    host, options = module.host, module.params
    record = Record(host, "docker_builder")
    if not module.check_mode:
        record.sweep()
    planned = change.plan(host, record, options)
    for each in [each for one in planned for each in change.definitions(one)]:
        for value in each.driver_opts.values():
            module.secrets.learn_url(value)
        for value in definition.secrets(each):
            module.secrets.learn(value)
    for one in planned:
        if one.steps and not module.check_mode:
            change.apply(host, record, one)
        for warning in one.warnings:
            module.warn(warning)
    steps = [one for one in planned if one.steps]
    result = {
        "changed": bool(steps),
        "recreated": any(one.recreated for one in planned),
        "differences": [name for one in planned for name in one.differences],
        "diff": [change.diff(one) for one in steps],
    }
    if options["state"] == "absent":
        return dict(result, removed=[f"{one.user.name}/{one.name}" for one in steps])
    return dict(result, **change.shown(planned[0]))


def main() -> None:
    run(
        work,
        host=BuilderHost,
        argument_spec={
            "name": {"type": "str"},
            "user": {"type": "str", "default": "root"},
            "image": {"type": "str"},
            "http_proxy": {"type": "str"},
            "https_proxy": {"type": "str"},
            "no_proxy": {"type": "list", "elements": "str"},
            "mirrors": {"type": "dict"},
            "ca": {"type": "str"},
            "driver_opts": {"type": "dict"},
            "buildkitd_flags": {"type": "list", "elements": "str"},
            "use": {"type": "bool", "default": False},
            "bootstrap": {"type": "bool", "default": True},
            "allow_readable_secret": {"type": "bool", "default": False, "no_log": False},
            "adopt": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
