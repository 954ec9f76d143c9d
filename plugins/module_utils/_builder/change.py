# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""From options to a builder of a user: find what there is, create it again only if something differs, keep its cache."""

from __future__ import annotations

import base64
import json
import typing as t
from urllib.parse import quote

from ansible_collections.buildfleet.docker.plugins.module_utils._builder import definition
from ansible_collections.buildfleet.docker.plugins.module_utils._builder.definition import BuilderError, Definition, Instance
from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Account, File
from ansible_collections.buildfleet.docker.plugins.module_utils._host import components
from ansible_collections.buildfleet.docker.plugins.module_utils._host.accounts import account, acting_as
from ansible_collections.buildfleet.docker.plugins.module_utils._host.builder_host import BuilderHost
from ansible_collections.buildfleet.docker.plugins.module_utils._host.builder_nodes import NODE_PREFIX
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record

_HERE = ("", "default", "unix:///var/run/docker.sock", "unix:///run/docker.sock")  # endpoints of this host's engine
_SECONDS = 300  # the image of a builder is pulled when it starts


class Found(t.NamedTuple):
    """A builder as it is."""

    contents: t.Optional[bytes]  # buildx's file
    instance: t.Optional[Instance]
    container: t.Optional[Definition]
    status: str  # of the container; empty without one
    is_building: bool


class Change(t.NamedTuple):
    user: Account
    name: str
    asked: t.Optional[Definition]  # None: remove it
    found: Found
    differences: t.List[str]  # why it is created again
    steps: t.Tuple[str, ...]  # of create, start, use, remove, in this order
    warnings: t.List[str]

    @property
    def recreated(self) -> bool:
        return "create" in self.steps and self.found.instance is not None

    @property
    def node(self) -> str:
        return self.found.instance.node if self.found.instance else f"{self.name}0"


def plan(host: BuilderHost, record: Record, options: t.Dict[str, t.Any]) -> t.List[Change]:
    """What the options change: one builder, or with state absent and without a name every builder that this module created."""
    if options["state"] == "absent":
        return [_removal(host, record, user, name) for user, name in _named(record, options)]
    if not options["name"]:
        raise BuilderError("state: present needs name. Set the name of the builder, or use state: absent.")
    definition.check_name(options["name"])
    asked = definition.wanted(options, lambda path: _text(host.read(path)))
    user = _user(options["user"])
    if not components.has_buildx(host, {"HOME": user.home}):
        raise BuilderError("docker buildx is not installed on this host, so no builder can be created. Install it (docker-buildx or docker-buildx-plugin).")
    return [_presence(host, record, user, asked, options)]


def apply(host: BuilderHost, record: Record, change: Change) -> None:
    """Record what undo needs, then create, start, use or remove the builder."""
    builders = dict(record.note("builders") or {})
    key = f"{change.user.name}/{change.name}"
    if change.asked:
        # An adopted builder is restored from what it was; a new one has nothing before, also after others removed ours.
        if key not in builders or change.found.contents is None:
            builders[key] = {"first": _packed(change.found.contents)}
        if "use" in change.steps:
            builders[key].setdefault("current", _packed(_read(host, change.user, _current(change.user))))
        record.put_note("builders", builders)
        record.save()
    for step in change.steps:
        {"create": _create, "start": _start, "use": _use, "remove": _remove}[step](host, change, builders.get(key) or {})
    if change.asked is None and key in builders:
        del builders[key]
        record.put_note("builders", builders)
        if builders:
            record.save()
        else:
            record.forget()


def definitions(change: Change) -> t.List[Definition]:
    """Those that may contain a secret, before or after."""
    return [one for one in (change.asked, change.found.instance and change.found.instance.definition, change.found.container) if one]


def shown(change: Change) -> t.Dict[str, t.Any]:
    """The builder in the result of the module."""
    asked = t.cast(Definition, change.asked)
    environment = {name[len("env.") :]: value for name, value in sorted(definition.readable(asked).items()) if name.startswith("env.")}
    node = {"container": f"{NODE_PREFIX}{change.node}", "image": asked.image, "status": change.found.status, "environment": environment}
    return {"node": node, "config": definition.toml_text(asked)}


def diff(change: Change) -> t.Dict[str, str]:
    made = change.found.instance.definition if change.found.instance else None
    before, after = definition.text(made), definition.text(change.asked)
    if before == after and change.asked != made:
        after += "(with other values)\n"
    header = f"builder {change.name} of {change.user.name}"
    return {"before_header": header, "before": before, "after_header": f"{header} ({', '.join(change.steps)})", "after": after}


# --- the plan -------------------------------------------------------------------------------------


def _presence(host: BuilderHost, record: Record, user: Account, asked: Definition, options: t.Mapping[str, t.Any]) -> Change:
    name = options["name"]
    found = _find(host, user, name)
    differences: t.List[str] = []
    if found.instance:
        _stop_if_it_is_elsewhere(name, user, found.instance)
        differences = definition.differences(asked, found.instance.definition, found.container)
        if differences and not options["adopt"] and f"{user.name}/{name}" not in (record.note("builders") or {}):
            raise BuilderError(
                f"The builder {name} of {user.name} was created by others, and differs in {', '.join(differences)}. "
                "Set adopt: true to create it again with these options (its cache is kept, and state: absent restores it), or use another name."
            )
        if differences and found.is_building:
            raise BuilderError(
                f"The builder {name} of {user.name} differs in {', '.join(differences)}, but a client is connected to it. Run again when it is idle."
            )
    steps = []
    if differences or not found.instance:
        steps.append("create")
    if options["bootstrap"] and (steps or found.status != "running"):
        steps.append("start")
    if options["use"] and _current_name(_read(host, user, _current(user))) != name:
        steps.append("use")
    return Change(user, name, asked, found, differences, tuple(steps), definition.warnings(asked, options))


def _removal(host: BuilderHost, record: Record, user: Account, name: str) -> Change:
    found = _find(host, user, name)
    change = Change(user, name, None, found, [], (), [])
    if f"{user.name}/{name}" in (record.note("builders") or {}):
        return change._replace(steps=("remove",))
    if found.instance:
        change.warnings.append(f"The builder {name} of {user.name} was created by others, so it stays. Remove it with docker buildx rm {name}.")
    return change


def _named(record: Record, options: t.Mapping[str, t.Any]) -> t.List[t.Tuple[Account, str]]:
    if options["name"]:
        return [(_user(options["user"]), options["name"])]
    keys = [key.partition("/")[::2] for key in record.note("builders") or {}]
    return [(owner, name) for owner, name in ((account(user), name) for user, name in keys) if owner]


def _user(name: str) -> Account:
    user = account(name)
    if user is None:
        raise BuilderError(f"user: there is no user {name!r} on this host. Create the user first, or correct the name.")
    return user


def _text(file: t.Optional[File]) -> t.Optional[str]:
    return None if file is None else file.contents.decode(errors="replace")


def _find(host: BuilderHost, user: Account, name: str) -> Found:
    path = _instance(user, name)
    contents = _read(host, user, path)
    if contents is None:
        return Found(None, None, None, "", False)
    instance = definition.instance(contents, path)
    container = f"{NODE_PREFIX}{instance.node}"
    inspected = host.engine_api(f"/containers/{quote(container, safe='')}/json") if instance.endpoint in _HERE else None
    if not inspected:
        return Found(contents, instance, None, "", False)
    image = host.engine_api(f"/images/{inspected['Image']}/json") or {}
    kept = host.container_files(container, definition.FOLDER)
    status = str((inspected.get("State") or {}).get("Status", ""))
    return Found(contents, instance, definition.container(inspected, image, kept), status, bool(inspected.get("ExecIDs")))


def _stop_if_it_is_elsewhere(name: str, user: Account, instance: Instance) -> None:
    if instance.driver != definition.DRIVER:
        raise BuilderError(f"The builder {name} of {user.name} has the driver {instance.driver}, not {definition.DRIVER}. Use another name.")
    if instance.nodes != 1:
        raise BuilderError(f"The builder {name} of {user.name} has {instance.nodes} nodes; this module manages builders of one node. Use another name.")
    if instance.endpoint not in _HERE:
        raise BuilderError(f"The builder {name} of {user.name} runs at {instance.endpoint}, not on this host's engine. Manage it there, or use another name.")


def _instance(user: Account, name: str) -> str:
    return f"{user.home}/.docker/buildx/instances/{name}"


def _current(user: Account) -> str:
    return f"{user.home}/.docker/buildx/current"


def _current_name(contents: t.Optional[bytes]) -> str:
    try:
        return str(json.loads(contents or b"{}")["Name"])
    except (ValueError, KeyError, TypeError):
        return ""


def _read(host: BuilderHost, user: Account, path: str) -> t.Optional[bytes]:
    with acting_as(user):
        file = host.read(path)
    return None if file is None else file.contents


def _packed(contents: t.Optional[bytes]) -> t.Optional[str]:
    return None if contents is None else base64.b64encode(contents).decode()


# --- the steps ------------------------------------------------------------------------------------


def _create(host: BuilderHost, change: Change, _before: t.Mapping[str, t.Any]) -> None:
    asked = t.cast(Definition, change.asked)
    if change.found.instance:
        _buildx(host, change, ["docker", "buildx", "rm", "--keep-state", change.name])
    certificates = definition.files(asked)
    with host.folder({**certificates, definition.TOML: ""}, change.user.name) as folder:
        config = f"{folder}/{definition.TOML}" if asked.config else ""
        with acting_as(change.user):
            host.write(f"{folder}/{definition.TOML}", File(definition.toml_text(asked, folder).encode(), 0o600, change.user.uid, change.user.gid))
        _buildx(host, change, definition.creation(change.name, change.node, asked, config))
    if definition.readable(asked) != asked.driver_opts:
        path = _instance(change.user, change.name)
        with acting_as(change.user):
            file = t.cast(File, host.read(path))
            host.write(path, file._replace(contents=definition.with_secrets(file.contents, asked)))


def _start(host: BuilderHost, change: Change, _before: t.Mapping[str, t.Any]) -> None:
    _buildx(host, change, ["docker", "buildx", "inspect", "--bootstrap", change.name])


def _use(host: BuilderHost, change: Change, _before: t.Mapping[str, t.Any]) -> None:
    _buildx(host, change, ["docker", "buildx", "use", change.name])


def _remove(host: BuilderHost, change: Change, before: t.Mapping[str, t.Any]) -> None:
    """An adopted builder is restored, and keeps its cache; buildx starts it at its next build."""
    first = before.get("first")
    if change.found.instance:
        _buildx(host, change, ["docker", "buildx", "rm", *(["--keep-state"] if first else []), change.name])
    if first:
        _write(host, change.user, _instance(change.user, change.name), first)
    current = _current(change.user)
    if "current" in before and _current_name(_read(host, change.user, current)) == change.name:
        if before["current"] is None:
            with acting_as(change.user):
                host.remove(current)
        else:
            _write(host, change.user, current, before["current"])


def _write(host: BuilderHost, user: Account, path: str, packed: str) -> None:
    with acting_as(user):
        host.write(path, File(base64.b64decode(packed), 0o600, user.uid, user.gid))


def _buildx(host: BuilderHost, change: Change, command: t.List[str]) -> None:
    environment = {"PATH": components.PATH, "HOME": change.user.home, "LC_ALL": "C"}
    done = host.run_group(command, environment, "/", _SECONDS, change.user.name)
    if done.code:
        lines = [line for line in done.text.splitlines() if line.strip()]
        raise Refused(
            f"docker buildx {command[2]} failed for the builder {change.name} of {change.user.name}: {' '.join(lines[-1:]) or 'no message'}. "
            "docker_build_check with builder finds the cause.",
            changed=command[2] != "rm",
        )
