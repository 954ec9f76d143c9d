#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_build_env
short_description: Configure the build environment of clients and RUN steps
version_added: 1.0.0
description:
  - With BuildKit the process that runs C(docker build) fetches the registry token, and it reads its own environment, not the
    daemon's. This module configures that environment for logins, cron, SSH commands, the services that build and the jobs of GitLab runners,
    and the proxy of RUN steps.
  - The options describe everything that this module has written on the host. A setting of this module is removed
    if its option is no longer set. Settings of others stay unchanged.
  - Writes C(/etc/profile.d/buildfleet-docker.sh) and marked lines in C(/etc/environment).
    For O(services) it writes C(/etc/buildfleet/docker-build.env) and a drop-in for each.
  - Plain C(sudo docker build) strips the variables (C(sudo -i) does not), and only in some distributions sudo reads C(/etc/environment) again.
    One line in sudoers keeps them,
    C(Defaults env_keep += "BUILDKIT_NO_CLIENT_TOKEN DOCKER_BUILDKIT EXPERIMENTAL_BUILDKIT_SOURCE_POLICY HTTP_PROXY HTTPS_PROXY NO_PROXY
    http_proxy https_proxy no_proxy").
  - Builds that run elsewhere (in a CI agent's container, docker-in-docker, a docker-container builder) do not read the environment of this host.
    Configure it there; for GitLab runners with O(gitlab_runners).
author:
  - The buildfleet authors (@buildfleet)
extends_documentation_fragment:
  - buildfleet.docker._attributes
options:
  buildkit:
    description: Which builder C(docker build) uses. V(true) is BuildKit, V(false) the legacy builder (C(DOCKER_BUILDKIT)).
      If not set, the variable is not written.
    type: bool
  daemon_token:
    description:
      - Whether the daemon fetches BuildKit's registry tokens, through its own proxy (C(BUILDKIT_NO_CLIENT_TOKEN)). If not set, the variable is not written.
      - This is the fix if only the daemon has a proxy (M(buildfleet.docker.docker_daemon_proxy)).
        The playbook C(buildfleet.docker.site) sets it if a daemon proxy is configured.
      - With it the client passes the credentials of C(docker login) to the daemon. Do not set it if C(DOCKER_HOST) names a daemon that you do not trust.
    type: bool
  http_proxy:
    description:
      - URL of the client's proxy for http URLs, for example V(http://proxy.example.com:3128).
      - A URL with credentials is rejected, because everyone on the host can read the files. O(daemon_token) needs none.
      - Most programs in a login shell read these variables, not only Docker.
    type: str
  https_proxy:
    description:
      - URL of the client's proxy for https URLs, including the token server of Docker Hub. Its scheme is usually V(http).
      - A URL with credentials is rejected.
    type: str
  no_proxy:
    description: Hosts, domains, addresses and networks that the client reaches without the proxy.
    type: list
    elements: str
  step_proxy:
    description:
      - The proxies of RUN steps, written as C(proxies.default) to C(~/.docker/config.json) of O(users). Nothing else in that file is changed or shown.
      - The Docker client passes them to every container that the user starts, also with C(docker run) and compose, not only to builds; everyone who may
        inspect a container sees them. To avoid this, omit this option and pass the variables as build args. With
        C(docker build --build-arg http_proxy --build-arg https_proxy --build-arg no_proxy) their values come from the environment
        (O(http_proxy), O(https_proxy) and O(no_proxy) set it), and no value is on the command line. The Dockerfile needs no C(ARG) for them.
      - A step cannot reach a proxy on V(127.0.0.1); use an address that containers can reach.
    type: dict
    suboptions:
      http_proxy:
        description: URL of the proxy of the steps for http URLs.
        type: str
      https_proxy:
        description: URL of the proxy of the steps for https URLs.
        type: str
      no_proxy:
        description: What the steps reach without the proxy.
        type: list
        elements: str
  allow_readable_secret:
    description:
      - Whether O(step_proxy) may contain credentials. Every container that the user starts gets them, and everyone who may inspect a container sees them.
      - The file is then readable by its owner only.
    type: bool
    default: false
  builder_mirrors:
    description:
      - Mirrors for docker-container builders, by registry. Each value is a host name or a list of them, optionally with a port or path, not a URL.
        For example the key V(docker.io) with the value V(mirror.example.com).
      - Written to C(~/.docker/buildx/buildkitd.default.toml) of O(users), which buildx 0.9 and newer reads when a builder is created.
        Existing builders keep their settings until they are created again; the run that changes the file names them in a warning.
    type: dict
  source_policy:
    description:
      - Registries and the mirrors to use instead, without changing a Dockerfile.
        For example the key V(docker.io) with the value V(mirror.example.com/hub).
      - Needs Docker Engine 25.0 and buildx 0.11, and is rejected otherwise. The legacy builder ignores it.
      - Written to C(/etc/buildfleet/source-policy.json), which C(EXPERIMENTAL_BUILDKIT_SOURCE_POLICY) then names.
    type: dict
  users:
    description:
      - The users whose C(config.json) and buildx files are written. Required with O(step_proxy) and O(builder_mirrors).
      - V(%docker) means the members of the group V(docker) that have a home directory. A run adds new members and restores the files of former ones.
      - V(/etc/skel) means users that are created later, with C(useradd --create-home). Their copy stays when the setting is removed.
      - The names with V(%) and V(/etc/skel) were added in version 1.1.0.
      - Builds under C(sudo -i) run as V(root).
    type: list
    elements: str
  services:
    description: systemd services that run builds (CI agents) and get the environment too.
    type: list
    elements: str
  gitlab_runners:
    description:
      - Configuration files of GitLab runners, such as V(/etc/gitlab-runner/config.toml). Each of their C([[runners]]) gets the variables
        in its C(environment), so its jobs have them, whatever the executor. Every other byte of the file stays.
      - Jobs of the executor V(shell) run on the host and get O(http_proxy), O(https_proxy) and O(no_proxy). Jobs of all other executors get the proxies of
        O(step_proxy) if it is set, since they run in containers, and V(docker) in C(NO_PROXY), the name of a docker-in-docker service.
        Such a service gets them too. The source policy is a file of the host, so they do not get O(source_policy).
      - gitlab-runner reads a changed file within seconds, without a restart; jobs that run keep what they have. A file without a runner
        stays unchanged, and a warning reports it.
    type: list
    elements: str
    version_added: 1.1.0
  restart_services:
    description: Whether to restart O(services) that run without the requested environment. This kills the jobs that they run. Otherwise RV(pending) names them.
    type: bool
    default: false
  restart_idle_services:
    description:
      - Whether to restart those of these O(services) that run no job. Of the others RV(pending) names them, and a warning says what they do.
      - A service is idle if it has started no process, is connected to no socket (such as that of Docker), and no container runs that was created since
        the service was started. The listener of GitHub's runner is no job. Jobs on other machines are not detected.
      - Has no effect with O(restart_services=true).
    type: bool
    default: false
    version_added: 1.1.0
  state:
    description:
      - V(present) applies the options that are set, and needs at least one.
      - V(absent) removes everything, and restores each file byte for byte if nobody else changed it since.
    type: str
    choices: [present, absent]
    default: present
  origin:
    description:
      - A name for whoever asks for these settings. With V(absent) nothing is removed unless the last run with V(present) had the same name.
      - The playbook C(buildfleet.docker.site) sets it, so that it removes a source policy that the map of mirrors no longer needs, but
        none that another play set.
    type: str
    version_added: 1.1.0
"""

EXAMPLES = r"""
- name: Let the daemon fetch the tokens, through its own proxy
  buildfleet.docker.docker_build_env:
    daemon_token: true

- name: Configure a proxy for the client, the CI agent, the jobs of its containers and the steps of two users
  buildfleet.docker.docker_build_env:
    http_proxy: http://proxy.example.com:3128
    https_proxy: http://proxy.example.com:3128
    no_proxy: [localhost, .example.com]
    services: [gitlab-runner]
    gitlab_runners: [/etc/gitlab-runner/config.toml]
    users: [root, jenkins]
    step_proxy:
      http_proxy: http://proxy.example.com:3128
      https_proxy: http://proxy.example.com:3128
  register: build_env

- name: Build in a task of this play, which does not use a login
  ansible.builtin.command: docker build /srv/app
  environment: "{{ build_env.environment }}"
  changed_when: true

- name: Restore the host
  buildfleet.docker.docker_build_env:
    state: absent
"""

RETURN = r"""
environment:
  description: The variables, ready for the C(environment) of a task, each proxy with its upper-case and lower-case name. Empty with O(state=absent).
  type: dict
  returned: success
  sample:
    BUILDKIT_NO_CLIENT_TOKEN: "1"
pending:
  description:
    - Running services that must be restarted before they use the requested environment, or no longer use it.
    - After O(state=absent) only the run that removes the environment names them.
  type: list
  elements: str
  returned: success
restarted:
  description: The services that were restarted, in check mode those that would be.
  type: list
  elements: str
  returned: success
"""

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import change, settings
from ansible_collections.buildfleet.docker.plugins.module_utils._build_env.runner import RunnerError
from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, run
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import ValueRefused


def work(module: Module) -> t.Dict[str, t.Any]:
    with module.host.lock("/run/buildfleet-build-env.lock"):
        try:
            return _change(module, settings.given(module.params))
        except (settings.BuildEnvError, RunnerError, ValueRefused) as error:
            raise Refused(str(error), changed=False) from error


def _change(module: Module, options: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    host = module.host
    for text in settings.texts(options):
        module.secrets.learn_url(text)
    record = Record(host, "docker_build_env")
    if options["state"] == "absent" and options["origin"] not in (None, record.note("origin")):
        return {"changed": False, "environment": {}, "pending": [], "restarted": [], "diff": []}
    if not module.check_mode:
        record.sweep()
    planned = change.plan(host, record, options, module.secrets.learn_url)
    if not module.check_mode:
        change.apply(host, record, planned, options)
    for warning in change.all_warnings(host, planned):
        module.warn(warning)
    return {
        "changed": bool(planned.changes) or bool(planned.restarts),
        "environment": planned.environment,
        "pending": planned.services.still_pending(planned.restarts),
        "restarted": planned.restarts,
        "diff": planned.diff,
    }


def main() -> None:
    proxies = {"http_proxy": {"type": "str"}, "https_proxy": {"type": "str"}, "no_proxy": {"type": "list", "elements": "str"}}
    run(
        work,
        host=Host,
        argument_spec={
            "buildkit": {"type": "bool"},
            "daemon_token": {"type": "bool", "no_log": False},
            **proxies,
            "step_proxy": {"type": "dict", "options": dict(proxies)},
            "allow_readable_secret": {"type": "bool", "default": False, "no_log": False},
            "builder_mirrors": {"type": "dict"},
            "source_policy": {"type": "dict"},
            "users": {"type": "list", "elements": "str"},
            "services": {"type": "list", "elements": "str"},
            "gitlab_runners": {"type": "list", "elements": "str"},
            "restart_services": {"type": "bool", "default": False},
            "restart_idle_services": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "origin": {"type": "str"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
