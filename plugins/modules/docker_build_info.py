#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_build_info
short_description: Show the effective settings of daemon, client and steps, and problems in them
version_added: 1.0.0
description:
  - For each of the three processes that use the network during a build, returns every source of each setting, and which of them wins.
  - Returns problems in these settings as findings, each with its fix.
  - Changes nothing, builds nothing and requests no image. Mirrors are queried for C(/v2/) only, from this host, without a proxy.
  - Only the variables named in RV(clients[].settings) are read from the environment of another process.
author:
  - The buildfleet authors (@buildfleet)
extends_documentation_fragment:
  - buildfleet.docker._attributes
attributes:
  check_mode:
    description: Only reads, also in check mode.
    support: full
  diff_mode:
    description: There is never a difference to show.
    support: none
options:
  environment_of:
    description:
      - The users or services that build. Each environment is read where that process reads it.
      - V(login) is a login of the user that the module runs as, V(user:NAME) a login of another user, V(service:NAME) a systemd service, V(task) this task.
      - A login is executed, which needs C(become). Without it, the files that a login would read are evaluated, and RV(unreadable) reports that.
    type: list
    elements: str
    default: [login]
  service:
    description: The name of the daemon's service.
    type: str
    default: docker
  config_file:
    description: The daemon's configuration file. The default is the file that the unit names, otherwise C(/etc/docker/daemon.json).
    type: path
  timeout:
    description: Seconds within which each mirror must answer. All are queried at the same time.
    type: int
    default: 3
seealso:
  - module: buildfleet.docker.docker_build_check
"""

EXAMPLES = r"""
- name: Collect the settings of a login shell, the CI agent and the daemon
  buildfleet.docker.docker_build_info:
    environment_of: [login, "service:gitlab-runner"]
  become: true
  register: info

- name: Show problems and fixes
  ansible.builtin.debug:
    msg: "{{ item.severity }}: {{ item.message }} {{ item.cure }}"
  loop: "{{ info.findings }}"
  loop_control:
    label: "{{ item.id }}"
"""

RETURN = r"""
msg:
  description: The number of findings and their ids, in one line.
  type: str
  returned: success
  sample: "1 warning: daemon_proxy_without_token_path"
versions:
  description: The versions of C(engine), C(engine_go), C(cli), C(cli_go), C(buildx) and C(compose). Empty if not installed.
  type: dict
  returned: success
image_store:
  description: V(graphdriver) or V(containerd). Empty if the engine does not answer.
  type: str
  returned: success
storage_driver:
  description: The engine's storage driver.
  type: str
  returned: success
live_restore:
  description: Whether containers survive a restart of the engine. Null if it does not answer.
  type: bool
  returned: success
containers_running:
  description: How many containers run.
  type: int
  returned: success
restart_pending:
  description: Whether the running engine uses other settings than its files contain. Null if that cannot be determined.
  type: bool
  returned: success
pending:
  description: The settings for which a restart is pending.
  type: list
  elements: str
  returned: success
daemon:
  description: The first process. It fetches manifests and layers, and with the legacy builder the token.
  type: dict
  returned: success
  contains:
    who:
      description: The service.
      type: str
    user:
      description: The user that it runs as.
      type: str
    running:
      description: Whether the engine answers.
      type: bool
    settings:
      description: Its proxies, mirrors and insecure registries. RV(daemon.settings[].value) applies from the next start.
      type: list
      elements: dict
      contains:
        name:
          description: The option of M(buildfleet.docker.docker_daemon_proxy).
          type: str
        value:
          description: The value from the next start on. Lists are joined with commas.
          type: str
        in_force:
          description: The value that the running engine uses. Null if it does not answer.
          type: str
        source:
          description: The file and line, or the flag, that wins.
          type: str
        layers:
          description: All sources that set it, weakest first.
          type: list
          elements: dict
          contains:
            source:
              description: The file and line, or the flag.
              type: str
            value:
              description: The value in this source.
              type: str
            wins:
              description: Whether this value is used.
              type: bool
clients:
  description: The second process, once for each item of O(environment_of). It fetches BuildKit's token.
  type: list
  elements: dict
  returned: success
  contains:
    who:
      description: As in O(environment_of).
      type: str
    user:
      description: The user who builds.
      type: str
    builder:
      description: What C(docker build) uses there, V(buildkit) or V(legacy). Empty if it would fail.
      type: str
    engine:
      description: The engine that runs the builds, if it is not this host's own.
      type: str
    settings:
      description: Its variables, as in RV(daemon.settings).
      type: list
      elements: dict
steps:
  description: The third process, once for each user of RV(clients). RUN steps get the proxies of C(config.json).
  type: list
  elements: dict
  returned: success
  contains:
    who:
      description: As in RV(clients[].who).
      type: str
    user:
      description: The user who builds.
      type: str
    settings:
      description: The proxies, as in RV(daemon.settings).
      type: list
      elements: dict
mirrors:
  description: The mirrors of Docker Hub, and their token servers.
  type: list
  elements: dict
  returned: success
  contains:
    url:
      description: The mirror.
      type: str
    status:
      description: The HTTP status of its response, 0 if there was none.
      type: int
    reason:
      description: Why it did not answer.
      type: str
    realm:
      description: The token server that the mirror names.
      type: str
    sends_token_elsewhere:
      description: Whether the token server is another host than the mirror.
      type: bool
builders:
  description: The builders of buildx other than that of the engine.
  type: list
  elements: dict
  returned: success
  contains:
    user:
      description: The user who owns it.
      type: str
    name:
      description: Its name.
      type: str
    driver:
      description: How it runs, such as V(docker-container).
      type: str
    selected:
      description: Whether C(docker buildx build) uses it by default.
      type: bool
    proxies:
      description: Proxies that it was created with (C(--driver-opt env.NAME=URL)), by name.
      type: dict
    mirrors:
      description: Mirrors of the C(buildkitd.toml) that it was created with, by registry.
      type: dict
registry_hosts:
  description: The C(hosts.toml) files below C(/etc/docker/certs.d), a source in addition to C(registry-mirrors).
  type: list
  elements: dict
  returned: success
  contains:
    path:
      description: The file.
      type: str
    registry:
      description: The registry that it configures.
      type: str
    mirrors:
      description: Its mirrors, in the order in which they are used.
      type: list
      elements: str
    server:
      description: The registry's own address, as the file names it.
      type: str
    read_by:
      description: Who uses the file on this engine and image store, of V(buildkit), V(pull) and V(legacy). For these it overrides C(registry-mirrors).
      type: list
      elements: str
findings:
  description: Problems, the most severe first.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: The kind of finding.
      type: str
    severity:
      description: V(error) (builds or the next start of the engine fail), V(warning) (probably not intended) or V(info) (worth knowing).
      type: str
    process:
      description: V(daemon), V(client), V(step), or empty for the host as a whole.
      type: str
    message:
      description: What is wrong, with file and line.
      type: str
    cure:
      description: What to do, with the option to set.
      type: str
unreadable:
  description: What could not be read, usually because C(become) is missing, in sentences.
  type: list
  elements: str
  returned: success
seconds:
  description: How long it took.
  type: float
  returned: success
"""

import os
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._info import info
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, Refused, run


def work(module: Module) -> t.Dict[str, t.Any]:
    params = module.params
    who = list(dict.fromkeys(params["environment_of"] or ["login"]))
    for one in who:
        if not re.match(r"(?:task|login|user:[^\s:/-][^\s:/]*|service:[A-Za-z0-9_@][A-Za-z0-9:_.@\\-]*)\Z", one):
            raise Refused(f"environment_of: {one} is not one of task, login, user:NAME or service:NAME.")
    if params["timeout"] < 1:
        raise Refused("timeout must be at least 1 second.")
    reader = info.Reader()
    shown = info.survey(reader, who, params["service"], params["config_file"], params["timeout"], os.environ)
    for url in shown.urls:
        module.secrets.learn_url(url)
    closed = [f"{path} was not read: that needs become: true." for path in dict.fromkeys(reader.closed)]
    return dict(shown.result, changed=False, unreadable=shown.result["unreadable"] + closed)


def main() -> None:
    run(
        work,
        host=Host,
        argument_spec={
            "environment_of": {"type": "list", "elements": "str", "default": ["login"]},
            "service": {"type": "str", "default": "docker"},
            "config_file": {"type": "path"},
            "timeout": {"type": "int", "default": 3},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
