#!/usr/bin/python
# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: docker_build_env
short_description: Set what the client and the steps of a docker build read
version_added: 1.0.0
description:
  - With BuildKit the process that runs C(docker build) fetches the registry's token, and it reads its own environment, not the daemon's.
    This module sets that environment for logins, cron, SSH commands and the services that build, and the proxy of RUN steps.
  - The options describe all that this module has written on the host. A setting of ours whose option is no longer given is taken out again;
    settings of others are left alone.
  - Writes C(/etc/profile.d/buildfleet-docker.sh) and marked lines in C(/etc/environment).
    For O(services) it writes C(/etc/buildfleet/docker-build.env) and a drop-in for each.
  - Plain C(sudo docker build) strips the variables (C(sudo -i) does not), and only some distributions let sudo read C(/etc/environment) again.
    One line in sudoers keeps them,
    C(Defaults env_keep += "BUILDKIT_NO_CLIENT_TOKEN DOCKER_BUILDKIT EXPERIMENTAL_BUILDKIT_SOURCE_POLICY HTTP_PROXY HTTPS_PROXY NO_PROXY
    http_proxy https_proxy no_proxy").
  - Builds that run elsewhere (in a CI agent's container, docker-in-docker, a docker-container builder) do not read this host's environment. Set it there.
author:
  - The buildfleet authors (@buildfleet)
extends_documentation_fragment:
  - buildfleet.docker._attributes
options:
  buildkit:
    description: Which builder C(docker build) uses. V(true) is BuildKit, V(false) the legacy builder (C(DOCKER_BUILDKIT)). Not given, nothing is set.
    type: bool
  daemon_token:
    description:
      - Whether the daemon fetches BuildKit's registry tokens, through its own proxy (C(BUILDKIT_NO_CLIENT_TOKEN)). Not given, nothing is set.
      - The cure where the daemon has a proxy (M(buildfleet.docker.docker_daemon_proxy)) and nobody else has one.
        The playbook C(buildfleet.docker.site) sets it where a daemon proxy is configured.
      - With it the client hands the credentials of C(docker login) to the daemon. Do not set it where C(DOCKER_HOST) names somebody else's daemon.
    type: bool
  http_proxy:
    description:
      - URL of the client's proxy for addresses without TLS, for example V(http://proxy.example.com:3128).
      - A URL with credentials is refused, since everybody on the host can read the files. O(daemon_token) needs none.
      - Most programs of a login shell read these variables, not Docker's alone.
    type: str
  https_proxy:
    description:
      - URL of the client's proxy for addresses with TLS, the token server of Docker Hub among them. Its scheme is usually V(http).
      - A URL with credentials is refused.
    type: str
  no_proxy:
    description: Hosts, domains, addresses and networks that the client asks directly.
    type: list
    elements: str
  step_proxy:
    description:
      - The proxies of RUN steps, written as C(proxies.default) into C(~/.docker/config.json) of O(users). Nothing else in that file is touched or shown.
      - The Docker client hands them to every container that the user starts, with C(docker run) and compose too, not to builds alone; whoever may
        inspect a container sees them. Where that is too much, leave this option out and name the variables as build args. With
        C(docker build --build-arg http_proxy --build-arg https_proxy --build-arg no_proxy) their values come from the environment
        (O(http_proxy), O(https_proxy) and O(no_proxy) set it), and none stands on the command line. The Dockerfile needs no C(ARG) for them.
      - A proxy on V(127.0.0.1) is not reached from a step; name an address that containers can route to.
    type: dict
    suboptions:
      http_proxy:
        description: URL of the steps' proxy for addresses without TLS.
        type: str
      https_proxy:
        description: URL of the steps' proxy for addresses with TLS.
        type: str
      no_proxy:
        description: What the steps ask directly.
        type: list
        elements: str
  allow_readable_secret:
    description:
      - Whether O(step_proxy) may hold credentials. Every container that the user starts gets them, and whoever may inspect a container sees them.
      - The file is then readable by its owner alone.
    type: bool
    default: false
  builder_mirrors:
    description:
      - Mirrors for docker-container builders, by registry. Each value is a host name or a list of them, with a port or path if need be, not a URL.
        For example the key V(docker.io) with the value V(mirror.example.com).
      - Written into C(~/.docker/buildx/buildkitd.default.toml) of O(users), which buildx reads from 0.9 on when a builder is created.
        Builders that exist keep their old settings until they are created anew; the run that changes the file names them in a warning.
    type: dict
  source_policy:
    description:
      - Registries and the mirrors to fetch from instead, without changing a Dockerfile.
        For example the key V(docker.io) with the value V(mirror.example.com/hub).
      - Needs Docker Engine 25.0 and buildx 0.11, and is refused elsewhere. The legacy builder ignores it.
      - Written into C(/etc/buildfleet/source-policy.json) and named by C(EXPERIMENTAL_BUILDKIT_SOURCE_POLICY).
    type: dict
  users:
    description:
      - Whose C(config.json) and buildx files are written. Needed with O(step_proxy) and O(builder_mirrors).
      - Builds under C(sudo -i) are those of V(root).
    type: list
    elements: str
  services:
    description: systemd services that build (CI agents) and get the environment too.
    type: list
    elements: str
  restart_services:
    description: Whether O(services) that run without the wanted environment are restarted. This kills the jobs that they run. Otherwise RV(pending) names them.
    type: bool
    default: false
  state:
    description:
      - V(present) sets what is given, and needs at least one setting.
      - V(absent) takes everything out again, to the byte where nobody else changed the file since.
    type: str
    choices: [present, absent]
    default: present
"""

EXAMPLES = r"""
- name: Let the daemon fetch the tokens, through its own proxy
  buildfleet.docker.docker_build_env:
    daemon_token: true

- name: Give the client a proxy, the CI agent too, and the steps of two users
  buildfleet.docker.docker_build_env:
    http_proxy: http://proxy.example.com:3128
    https_proxy: http://proxy.example.com:3128
    no_proxy: [localhost, .example.com]
    services: [gitlab-runner]
    users: [root, jenkins]
    step_proxy:
      http_proxy: http://proxy.example.com:3128
      https_proxy: http://proxy.example.com:3128
  register: build_env

- name: Build in a task of this play, which logs in nowhere
  ansible.builtin.command: docker build /srv/app
  environment: "{{ build_env.environment }}"
  changed_when: true

- name: Give the host back as it was
  buildfleet.docker.docker_build_env:
    state: absent
"""

RETURN = r"""
environment:
  description: The variables, ready for the C(environment) of a task, each proxy under its upper-case and lower-case name. Empty with O(state=absent).
  type: dict
  returned: success
  sample:
    BUILDKIT_NO_CLIENT_TOKEN: "1"
pending:
  description:
    - Running services that must be restarted before they build with the wanted environment, or without ours.
    - After O(state=absent) only the run that takes the environment away names them.
  type: list
  elements: str
  returned: success
restarted:
  description: The services that were restarted, in check mode those that would be.
  type: list
  elements: str
  returned: success
"""

import os
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import settings as build_env
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes, File
from ansible_collections.buildfleet.docker.plugins.module_utils._host.accounts import Account, account, acting_as, hand_over
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Module, Refused, run
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import ValueRefused

SETTINGS = ("buildkit", "daemon_token", "http_proxy", "https_proxy", "no_proxy", "step_proxy", "builder_mirrors", "source_policy")


class _Wish(t.NamedTuple):
    values: t.Dict[str, str]
    pieces: t.Dict[str, build_env.Piece]
    owners: t.Dict[str, t.Optional[Account]]  # of files in home directories; None: that user is gone
    warnings: t.List[str]


def work(module: Module) -> t.Dict[str, t.Any]:
    with module.host.lock("/run/buildfleet-build-env.lock"):
        try:
            return _change(module, build_env.given(module.params))
        except (build_env.BuildEnvError, ValueRefused) as error:
            raise Refused(str(error), changed=False) from error


def _change(module: Module, options: t.Dict[str, t.Any]) -> t.Dict[str, t.Any]:
    host = module.host
    for text in build_env.texts(options):
        module.secrets.learn_url(text)
    record = Record(host, "docker_build_env")
    if not module.check_mode:
        record.sweep()
    values, wanted, owners, warnings = _wish(host, record, options)
    # Whoever has that home directory now may have laid a link there.
    lost = [path for path in record.paths if path in owners and owners[path] is None]
    warnings += [f"{path} is left as it is, since its user is gone." for path in lost]
    known = {*wanted, *record.paths} - {*lost}
    found = {path: _read(host, path, owners.get(path)) for path in {*known, *build_env.LEFTOVERS}}
    ours = {*known, *(path for path in build_env.LEFTOVERS if build_env.is_ours(path, _contents(found[path])))}
    changes: Changes = {}
    diff = []
    for path in sorted(ours):
        first = record.first(path) if record.knows(path) else found[path]
        after = build_env.after(path, wanted.get(path), _contents(found[path]), _contents(first))
        file = _file(after, found[path], first, owners.get(path), path in wanted and build_env.is_secret(path, options))
        for side in (found[path], file):
            for url in build_env.urls(path, _contents(side)):
                module.secrets.learn_url(url)
        if file != found[path]:
            changes[path] = file
            diff.append(_diff(path, found[path], file))
            _stop_if_it_cannot_be_written(host, path, owners.get(path))
            warnings += _older_builders(host, path, owners.get(path))
    services = _Services(host, record, values, options, {build_env.unit_of(path) for path in ours} - {None})
    restarts = services.due if options["restart_services"] else []
    if not module.check_mode:
        _write(host, record, changes, owners, wanted)
        if any(build_env.unit_of(path) for path in changes):
            services.systemctl("daemon-reload")
        services.restart(restarts)
        if options["state"] == "absent":
            record.forget()
        else:
            services.note()
            record.save()
    for warning in [*warnings, *services.warnings, *_foreign(host, values, {**found, **changes}, wanted)]:
        module.warn(warning)
    return {
        "changed": bool(changes) or bool(restarts),
        "environment": values,
        "pending": [name for name in services.pending if name not in restarts or name in services.restart_ineffective],
        "restarted": restarts,
        "diff": diff,
    }


def _wish(host: Host, record: Record, options: t.Mapping[str, t.Any]) -> _Wish:
    owners = {path: account(name) for path, name in (record.note("owners") or {}).items()}
    if options["state"] == "absent":
        return _Wish({}, {}, owners, [])
    accounts = _accounts(host, options)
    owners.update({path: user for user in accounts for path in (build_env.config_file(user), build_env.builder_file(user))})
    engine, buildx = _versions(host) if options["source_policy"] or options["builder_mirrors"] else ("", "")
    return _Wish(build_env.variables(options), build_env.pieces(options, accounts, engine, buildx), owners, build_env.cautions(options, buildx))


def _accounts(host: Host, options: t.Mapping[str, t.Any]) -> t.List[Account]:
    if all(options[name] in (None, [], {}) for name in SETTINGS):
        raise Refused(f"state: present needs at least one of {', '.join(SETTINGS)}. Give one, or state: absent.", changed=False)
    build_env.check(options)
    accounts = []
    for name in options["users"] or ():
        user = account(name)
        if user is None:
            raise Refused(f"users: there is no user {name!r} on this host.", changed=False)
        if not host.exists(user.home):
            raise Refused(f"users: {name} has no home directory: {user.home} does not exist.", changed=False)
        accounts.append(user)
    return accounts


def _versions(host: Host) -> t.Tuple[str, str]:
    """Engine and buildx, empty where there is none."""
    answer = host.engine_api("/version")
    engine = answer.get("Version", "") if isinstance(answer, dict) else _first_version(host.run(["dockerd", "--version"]).out)
    return engine, _first_version(host.run(["docker", "buildx", "version"]).out)


def _first_version(text: str) -> str:
    found = re.search(r"\bv?(\d+\.\d+[^\s,]*)", text)
    return found.group(1) if found else ""


def _read(host: Host, path: str, owner: t.Optional[Account]) -> t.Optional[File]:
    with acting_as(owner):
        try:
            return host.read(path)
        except HostError as error:
            raise (_not_of(owner, path) if owner else error) from error


def _stop_if_it_cannot_be_written(host: Host, path: str, owner: t.Optional[Account]) -> None:
    """Said before anything is written; `sudo docker login` leaves a folder of root's in a user's home."""
    with acting_as(owner):
        if owner and not host.can_write(path):
            raise _not_of(owner, path)


def _not_of(owner: Account, path: str) -> Refused:
    return Refused(f"users: {owner.name} cannot read and write {path}. Give the folder to {owner.name} (chown -R) first.", changed=False)


def _older_builders(host: Host, path: str, owner: t.Optional[Account]) -> t.List[str]:
    """Builders of this user that were made with what the file said before."""
    if owner is None or path != build_env.builder_file(owner):
        return []
    folder = f"{os.path.dirname(path)}/instances"
    with acting_as(owner):
        names = [name for name in host.names(folder) if b'"docker-container"' in (_contents(host.read(f"{folder}/{name}")) or b"")]
    return [f"The builder {name} of {owner.name} keeps the mirrors with which it was created. Create it anew to change them." for name in names]


def _contents(file: t.Optional[File]) -> t.Optional[bytes]:
    return None if file is None else file.contents


def _file(after: t.Optional[bytes], found: t.Optional[File], first: t.Optional[File], owner: t.Optional[Account], secret: bool) -> t.Optional[File]:
    """The contents with the rights that they had, or that they need."""
    if after is None:
        return None
    if first is not None and after == first.contents:
        return first
    if found is None:
        found = first or (File(b"", 0o600, owner.uid, owner.gid) if owner else File(b"", 0o644, os.geteuid(), os.getegid()))
    return found._replace(contents=after, mode=found.mode & 0o700 if secret else found.mode)


def _write(host: Host, record: Record, changes: Changes, owners: t.Mapping[str, t.Optional[Account]], wanted: t.Mapping[str, t.Any]) -> None:
    """The record first, then each file with the rights of its owner, then what nobody needs any more."""
    folders = set(record.note("folders") or ())
    for path, file in changes.items():
        folder = os.path.dirname(path)
        while file is not None and not host.exists(folder):
            folders.add(folder)
            folder = os.path.dirname(folder)
    record.remember(changes)
    record.put_note("folders", sorted(folders))
    record.put_note("owners", {path: owner.name for path, owner in owners.items() if owner})
    if changes:
        record.save()
    for path, file in changes.items():
        owner = owners.get(path)
        with acting_as(owner):
            if file is None:
                host.remove(path)
            else:
                host.write(path, file._replace(uid=owner.uid, gid=owner.gid) if owner else file)
        if file and owner and (file.uid, file.gid) != (owner.uid, owner.gid):
            hand_over(path, owner, file.uid, file.gid)
    for path in record.paths:
        if path not in wanted:
            record.drop(path)
            if path in owners and owners[path] is None:
                continue
            with acting_as(owners.get(path)):
                for folder in sorted(folders, key=len, reverse=True):
                    if path.startswith(f"{folder}/"):
                        host.remove_folder(folder)
    record.put_note("folders", sorted(folder for folder in folders if host.exists(folder)))


class _Services:
    """The services that build: what they run with, and which of them must be restarted."""

    def __init__(self, host: Host, record: Record, values: t.Dict[str, str], options: t.Mapping[str, t.Any], ours: t.Iterable[t.Any]) -> None:
        self._host, self._record, self._values = host, record, values
        self._wanted = {build_env.unit(name) for name in options["services"] or ()} if options["state"] == "present" else set()
        self._written: t.Dict[str, t.List[str]] = record.note("written") or {}
        self._restarted: t.Dict[str, t.Dict[str, str]] = record.note("restarted") or {}
        self.warnings: t.List[str] = []
        if self._wanted and not host.exists("/run/systemd/system"):
            raise Refused("services needs systemd, which does not run here. Give the agent the variables in the way of its init system.", changed=False)
        earlier = record.note("services") or []  # they may still run with what was taken away since
        self.pending = [name for name in sorted({*self._wanted, *ours, *earlier}) if self._needs_restart(name)]
        self.due = [name for name in self.pending if self._restarted.get(name) != self._variables(name)]
        self.restart_ineffective: t.List[str] = []

    def _variables(self, name: str) -> t.Dict[str, str]:
        return self._values if name in self._wanted else {}

    def _needs_restart(self, name: str) -> bool:
        if "@." in name:
            return False  # a template runs under other names
        shown = dict(line.partition("=")[::2] for line in self.systemctl("show", "--property=LoadState,MainPID", "--", name).splitlines())
        if shown.get("LoadState") == "not-found" and name in self._wanted:
            self.warnings.append(f"services: there is no service {name} on this host yet; it gets the environment when it comes.")
        process = self._host.read(f"/proc/{shown['MainPID']}/environ") if shown.get("MainPID", "0") != "0" else None
        if process is None:
            return False
        pairs = (pair.partition("=")[::2] for pair in process.contents.decode(errors="replace").split("\0"))
        known = {variable: value for variable, value in pairs if variable in self._values or variable in self._written}
        return build_env.needs_restart(self._variables(name), self._written, known)

    def restart(self, names: t.Iterable[str]) -> None:
        for name in names:
            self.systemctl("restart", "--", name)
            self._restarted[name] = self._variables(name)
            if not self._obeys(name):
                self.restart_ineffective.append(name)
                self.warnings.append(f"{name} was restarted and still runs with another environment; its unit or program sets these variables itself.")

    def _obeys(self, name: str) -> bool:
        # systemd says "started" before the program runs; until then the process has systemd's own environment.
        for _attempt in range(25):
            if not self._needs_restart(name):
                return True
            self._host.sleep(0.2)
        return False

    def note(self) -> None:
        for name, value in self._values.items() if self._wanted else ():
            if value not in self._written.setdefault(name, []):
                self._written[name].append(value)
        self._record.put_note("services", sorted({*self._wanted, *self.pending}))
        self._record.put_note("written", self._written)
        self._record.put_note("restarted", self._restarted)

    def systemctl(self, *arguments: str) -> str:
        done = self._host.run(["systemctl", *arguments], timeout=120)
        if done.code != 0 and arguments[0] != "show":
            raise Refused(f"systemctl {' '.join(arguments)}: {done.text}", changed=True)
        return done.out


def _foreign(host: Host, values: t.Mapping[str, str], files: t.Mapping[str, t.Optional[File]], wanted: t.Mapping[str, t.Any]) -> t.List[str]:
    """Sentences about settings of others that win over ours."""
    configs = [path for path in sorted(wanted) if build_env.kind(path) is build_env.StepProxy]
    keys = [sentence for path in configs for sentence in build_env.winning_keys(path, _contents(files[path]))]
    return keys + (_winning_lines(host, values, files) if values else [])


def _winning_lines(host: Host, values: t.Mapping[str, str], files: t.Mapping[str, t.Optional[File]]) -> t.List[str]:
    folder, ours = os.path.split(build_env.PROFILE)
    sentences = build_env.foreign_winners(values, build_env.ENVIRONMENT, _contents(files[build_env.ENVIRONMENT]) or b"")
    for name in host.names(folder):
        if name.endswith(".sh") and name > ours:
            sentences += build_env.foreign_winners(values, f"{folder}/{name}", _contents(host.read(f"{folder}/{name}")) or b"")
    return sentences


def _diff(path: str, before: t.Optional[File], after: t.Optional[File]) -> t.Dict[str, str]:
    """What is ours of the file; the rest is nobody's business here."""
    found = {}
    for side, file in (("before", before), ("after", after)):
        found[f"{side}_header"] = f"{path} (absent)" if file is None else f"{path} (mode {file.mode:04o})"
        found[side] = build_env.kind(path).shown(path, _contents(file))
    return found


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
            "restart_services": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )


if __name__ == "__main__":
    main()
