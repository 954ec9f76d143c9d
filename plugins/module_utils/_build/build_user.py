# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The user or service that builds, and the environment of its builds."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._build.request import BuildUser
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import environment_file
from ansible_collections.buildfleet.docker.plugins.module_utils._host import components, systemd
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError

_MARK = "buildfleet-environment-of"
# No other variable ever leaves the environment of another process.
_NAMED = re.compile(r"(?:(?:DOCKER|BUILDKIT|BUILDX|EXPERIMENTAL|COMPOSE)_\w+|HOME|PATH|\w+_proxy)$", re.I)


def build_user(host: Host, environment_of: str, own: t.Mapping[str, str]) -> BuildUser:
    """The environment that O(environment_of) names."""
    kind, _colon, name = environment_of.partition(":")
    if kind == "login" and not name:
        return _login(host, host.user())
    if kind == "user" and name:
        return _login(host, name)
    if kind == "service" and name:
        return _service(host, name)
    if environment_of == "task":
        return BuildUser("", dict(own))
    raise HostError(f"environment_of: {environment_of} is not one of task, login, user:NAME and service:NAME.")


def _login(host: Host, user: str) -> BuildUser:
    host.home(user)
    if host.user() != "root":
        raise HostError("environment_of: the environment of a login is read with su, which needs become: true.")
    answer = host.run(["su", "-", user, "-c", f"printf '\\n%s\\n' {_MARK}; exec env -0"], timeout=30)
    _noise, mark, text = answer.out.partition(f"\n{_MARK}\n")
    if not mark:
        raise HostError(f"environment_of: {user} cannot log in: {answer.text or 'su ended with ' + str(answer.code)}. Name a user for whom su - works.")
    return BuildUser(user, _variables(text))


def _service(host: Host, name: str) -> BuildUser:
    shown = systemd.show(host, name, "LoadState", "MainPID", "User", "Environment", "EnvironmentFiles")
    if shown.get("LoadState") != "loaded":
        raise HostError(f"environment_of: there is no service {name} on this host. Correct the name (systemctl list-units --type=service).")
    user = shown.get("User") or "root"
    pid = shown.get("MainPID", "")
    running = host.read(f"/proc/{pid}/environ") if pid not in ("", "0") else None
    if running:
        environment = _variables(running.contents.decode(errors="replace"))
    else:
        pairs = (word.partition("=") for word in environment_file.words(shown.get("Environment", "").replace("\n", " ")))
        environment = {key: value for key, _equals, value in pairs}
        for entry in shown.get("EnvironmentFiles", "").splitlines():
            path = entry.rpartition(" (")[0] or entry
            file = host.read(path)
            if file:
                environment.update({setting.name: setting.value for setting in environment_file.environment_file(path, file.contents)})
    named = {key: value for key, value in environment.items() if _NAMED.match(key)}
    return BuildUser(user, dict({"HOME": host.home(user), "PATH": components.PATH}, **named))


def _variables(text: str) -> t.Dict[str, str]:
    pairs = (entry.partition("=") for entry in text.split("\0") if "=" in entry)
    return {key: value for key, _equals, value in pairs}
