# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""From options to files of clients, steps and builders, each written with the rights of its owner."""

from __future__ import annotations

import os
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import runner, settings
from ansible_collections.buildfleet.docker.plugins.module_utils._build_env.services import Services
from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Account, Changes, File, Files
from ansible_collections.buildfleet.docker.plugins.module_utils._host import components
from ansible_collections.buildfleet.docker.plugins.module_utils._host.accounts import account, account_of, acting_as, hand_over, members
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record

SKELETON = "/etc/skel"  # what useradd copies into the home of a new user
SETTINGS = ("buildkit", "daemon_token", "http_proxy", "https_proxy", "no_proxy", "step_proxy", "builder_mirrors", "source_policy")


class _Wanted(t.NamedTuple):
    values: t.Dict[str, str]
    pieces: t.Dict[str, settings.Piece]
    owners: t.Dict[str, t.Optional[Account]]  # for files in home directories; None: that user no longer exists
    warnings: t.List[str]


class Change(t.NamedTuple):
    """What a run changes on the host, planned before anything is written."""

    environment: t.Dict[str, str]
    changes: Changes
    found: Files
    wanted: t.Dict[str, settings.Piece]
    owners: t.Dict[str, t.Optional[Account]]
    services: Services
    restarts: t.List[str]
    diff: t.List[t.Dict[str, str]]
    warnings: t.List[str]


def plan(host: Host, record: Record, options: t.Dict[str, t.Any], learn: t.Callable[[str], None]) -> Change:
    """Plan what the options change on this host. ``learn`` is called with each URL in a file, because its password must be masked."""
    values, wanted, owners, warnings = _wanted(host, record, options)
    # The present owner of that home directory may have created a link there.
    lost = [path for path in record.paths if path in owners and owners[path] is None]
    warnings += [f"{path} was not changed, because its user no longer exists." for path in lost]
    known = {*wanted, *record.paths} - {*lost}
    found = {path: _read(host, path, owners.get(path)) for path in {*known, *settings.LEFTOVERS}}
    ours = {*known, *(path for path in settings.LEFTOVERS if settings.is_ours(path, _contents(found[path])))}
    changes: Changes = {}
    for path in sorted(ours):
        first = record.first(path) if record.knows(path) else found[path]
        after = settings.after(path, wanted.get(path), _contents(found[path]), _contents(first))
        file = _file(after, found[path], first, owners.get(path), path in wanted and settings.is_secret(path, options))
        for side in (found[path], file):
            for url in settings.urls(path, _contents(side)):
                learn(url)
        if file != found[path]:
            changes[path] = file
            _stop_if_it_cannot_be_written(host, path, owners.get(path))
            warnings += _older_builders(host, path, owners.get(path))
    services = Services(host, record, values, options, {settings.unit_of(path) for path in ours} - {None})
    restarts = services.due if options["restart_services"] else services.idle() if options["restart_idle_services"] else []
    diff = [_diff(path, found[path], file) for path, file in changes.items()]
    return Change(values, changes, found, wanted, owners, services, restarts, diff, warnings)


def apply(host: Host, record: Record, change: Change, options: t.Mapping[str, t.Any]) -> None:
    """Write, reload, restart, and record what undo needs and who asked for it."""
    record.put_note("origin", options["origin"])
    _write(host, record, change.changes, change.owners, change.wanted)
    if any(settings.unit_of(path) for path in change.changes):
        change.services.systemctl("daemon-reload")
    change.services.restart(change.restarts)
    if options["state"] == "absent":
        record.forget()
    else:
        change.services.note()
        record.save()


def all_warnings(host: Host, change: Change) -> t.List[str]:
    """After the change: what the user should know."""
    return [*change.warnings, *change.services.warnings, *_foreign(host, change.environment, {**change.found, **change.changes}, change.wanted)]


def _wanted(host: Host, record: Record, options: t.Mapping[str, t.Any]) -> _Wanted:
    owners = {path: account(name) for path, name in (record.note("owners") or {}).items()}
    if options["state"] == "absent":
        return _Wanted({}, {}, owners, [])
    accounts, warnings = _accounts(host, options)
    owners.update({path: user for user in accounts for path in (settings.config_file(user), settings.builder_file(user))})
    runners, more = _runners(host, options)
    owners.update({path: user for path, user in runners.items() if user})
    engine, buildx = (components.engine(host), components.buildx(host)) if options["source_policy"] or options["builder_mirrors"] else ("", "")
    wanted = settings.pieces(options, accounts, engine, buildx, runners)
    return _Wanted(settings.variables(options), wanted, owners, warnings + more + settings.cautions(options, buildx))


def _accounts(host: Host, options: t.Mapping[str, t.Any]) -> t.Tuple[t.List[Account], t.List[str]]:
    """Whose files are written, each home once, and sentences about groups that are not there."""
    if all(options[name] in (None, [], {}) for name in SETTINGS):
        raise Refused(f"state: present needs at least one of {', '.join(SETTINGS)}. Set one, or use state: absent.", changed=False)
    settings.check(options)
    accounts: t.Dict[str, Account] = {}
    warnings = []
    for name in options["users"] or ():
        if name.startswith("%"):
            group = members(name[1:])
            warnings += [f"users: there is no group {name[1:]!r} on this host. Create the group first, or correct the name."] if group is None else []
            # A member without a home, such as the account of a service, has no Docker configuration.
            accounts.update({user.home: user for user in group or () if host.exists(user.home)})
            continue
        user = Account("root", SKELETON, 0, 0) if name == SKELETON else account(name)
        if user is None:
            raise Refused(f"users: there is no user {name!r} on this host. Create the user first, or correct the name.", changed=False)
        if not host.exists(user.home):
            raise Refused(f"users: {name} has no home directory: {user.home} does not exist. Create it, or remove the user from users.", changed=False)
        accounts[user.home] = user
    return list(accounts.values()), warnings


def _runners(host: Host, options: t.Mapping[str, t.Any]) -> t.Tuple[t.Dict[str, t.Optional[Account]], t.List[str]]:
    """The files of runners with their owners (None: root), and sentences about those without a runner."""
    found: t.Dict[str, t.Optional[Account]] = {}
    warnings = []
    for path in options["gitlab_runners"] or ():
        file = host.read(path)
        if not runner.has_runners(path, _contents(file)) or file is None:
            warnings.append(f"gitlab_runners: {path} has no runner yet. Run this again after gitlab-runner register.")
            continue
        user = account_of(file.uid)
        if user is None:
            raise Refused(f"gitlab_runners: the owner of {path} is not a user of this host (uid {file.uid}). Change its owner first.", changed=False)
        found[path] = user if user.uid else None
    return found, warnings


def _read(host: Host, path: str, owner: t.Optional[Account]) -> t.Optional[File]:
    with acting_as(owner):
        try:
            return host.read(path)
        except HostError as error:
            raise (_not_of(owner, path) if owner else error) from error


def _stop_if_it_cannot_be_written(host: Host, path: str, owner: t.Optional[Account]) -> None:
    """Reported before anything is written; `sudo docker login` leaves a folder of root in a user's home."""
    with acting_as(owner):
        if owner and not host.can_write(path):
            raise _not_of(owner, path)


def _not_of(owner: Account, path: str) -> Refused:
    return Refused(f"users: {owner.name} cannot read and write {path}. Change the owner of the directory to {owner.name} (chown -R) first.", changed=False)


def _older_builders(host: Host, path: str, owner: t.Optional[Account]) -> t.List[str]:
    """Builders of this user that were created with what the file contained before."""
    if owner is None or path != settings.builder_file(owner):
        return []
    folder = f"{os.path.dirname(path)}/instances"
    with acting_as(owner):
        names = [name for name in host.names(folder) if b'"docker-container"' in (_contents(host.read(f"{folder}/{name}")) or b"")]
    return [f"The builder {name} of {owner.name} keeps the mirrors that it was created with. Create it again to change them." for name in names]


def _contents(file: t.Optional[File]) -> t.Optional[bytes]:
    return None if file is None else file.contents


def _file(after: t.Optional[bytes], found: t.Optional[File], first: t.Optional[File], owner: t.Optional[Account], secret: bool) -> t.Optional[File]:
    """The contents with the mode that the file had, or that it needs."""
    if after is None:
        return None
    if first is not None and after == first.contents:
        return first
    if found is None:
        found = first or (File(b"", 0o600, owner.uid, owner.gid) if owner else File(b"", 0o644, os.geteuid(), os.getegid()))
    return found._replace(contents=after, mode=found.mode & 0o700 if secret else found.mode)


def _write(host: Host, record: Record, changes: Changes, owners: t.Mapping[str, t.Optional[Account]], wanted: t.Mapping[str, t.Any]) -> None:
    """Write the record first, then each file with the rights of its owner; then remove what is not needed any more."""
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


def _foreign(host: Host, values: t.Mapping[str, str], files: t.Mapping[str, t.Optional[File]], wanted: t.Mapping[str, t.Any]) -> t.List[str]:
    """Sentences about settings of others that override ours."""
    configs = [path for path in sorted(wanted) if settings.kind(path) is settings.StepProxy]
    keys = [sentence for path in configs for sentence in settings.winning_keys(path, _contents(files[path]))]
    return keys + (_winning_lines(host, values, files) if values else [])


def _winning_lines(host: Host, values: t.Mapping[str, str], files: t.Mapping[str, t.Optional[File]]) -> t.List[str]:
    folder, ours = os.path.split(settings.PROFILE)
    sentences = settings.foreign_winners(values, settings.ENVIRONMENT, _contents(files[settings.ENVIRONMENT]) or b"")
    for name in host.names(folder):
        if name.endswith(".sh") and name > ours:
            sentences += settings.foreign_winners(values, f"{folder}/{name}", _contents(host.read(f"{folder}/{name}")) or b"")
    return sentences


def _diff(path: str, before: t.Optional[File], after: t.Optional[File]) -> t.Dict[str, str]:
    """Only our part of the file, for the diff."""
    diff = {}
    for side, file in (("before", before), ("after", after)):
        diff[f"{side}_header"] = f"{path} (absent)" if file is None else f"{path} (mode {file.mode:04o})"
        diff[side] = settings.kind(path).shown(path, _contents(file))
    return diff
