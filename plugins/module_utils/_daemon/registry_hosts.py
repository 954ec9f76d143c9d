# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Mirrors of registries as the files that the engine reads for each of them, without a restart."""

from __future__ import annotations

import time
import typing as t
from urllib.parse import urlsplit

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes, File
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import unsupported
from ansible_collections.buildfleet.docker.plugins.module_utils._host import components
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import CANNOT_WRITE, Host
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record, apply
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import trust_store
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import bypasses
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import hosts_toml
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_toml import DEFAULT, FOLDER, Mirror, Registries
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import DOCKER_HUB

Info = t.Mapping[str, t.Any]


class Plan(t.NamedTuple):
    registries: Registries
    changes: Changes
    found: Changes  # the current files
    covers: t.Dict[str, t.Dict[str, bool]]
    conflicts: t.List[str]


def plan(host: Host, record: Record, registries: Registries, fallback: bool) -> Plan:
    """What these mirrors change on this host; without any, undo."""
    info: Info = host.engine_api("/info", timeout=30) or {}
    if registries:
        _stop_where_nobody_reads_it(host, info)
    files = _files(host, record, registries, fallback)
    for path in record.paths:
        if path not in files:
            files[path] = _restored(path, host.read(path), record)
    found = {path: host.read(path) for path in files}
    changes = {path: file for path, file in files.items() if file != found[path]}
    for path in changes:
        if not host.can_write(path):
            raise Refused(f"{path} {CANNOT_WRITE}. Nothing was written.", changed=False)
    containerd = components.image_store(info) == "containerd"
    covers = hosts_toml.covers(registries, containerd, bool(_registry_mirrors(info)))
    return Plan(
        registries,
        changes,
        found,
        covers,
        [*_hub_conflicts(host, registries, files, info, containerd), *_conflicts(host, registries, info, containerd), *_unread(registries, covers)],
    )


def apply_change(host: Host, record: Record, planned: Plan) -> None:
    folders = set(record.note("folders") or [])
    for path in planned.changes:
        folder = path.rpartition("/")[0]
        while not host.exists(folder):
            folders.add(folder)
            folder = folder.rpartition("/")[0]
    record.remember(planned.changes)
    record.put_note("folders", sorted(folders))
    record.save()
    apply(host, planned.changes)


def finish(host: Host, record: Record, planned: Plan) -> None:
    """Forget what is restored; remove empty folders. Also after a run that was killed."""
    wanted = {hosts_toml.path_of(name) for name in planned.registries}
    for path in record.paths:
        if path not in wanted and not _is_certificate_of(path, planned.registries):
            record.drop(path)
    folders = record.note("folders") or []
    for folder in sorted(folders, key=len, reverse=True):
        if not host.names(folder):
            host.remove_folder(folder)
    left = [folder for folder in folders if host.exists(folder)]
    if left != folders:
        record.put_note("folders", left)
    if record.paths:
        record.save()
    elif host.exists(record.path):
        record.forget()


def secrets(planned: Plan) -> t.List[str]:
    """Every login in these files, before or after."""
    both = [(path, file) for path, file in (*planned.found.items(), *planned.changes.items()) if file]
    return [secret for path, file in both for secret in hosts_toml.secrets(file.contents, path)]


def back_up(host: Host, planned: Plan) -> t.List[str]:
    """A copy of each changed file beside it, with its owner and mode."""
    stamp = time.strftime("%Y-%m-%d@%H:%M:%S~", time.localtime(host.now()))
    copies = {f"{path}.{stamp}": planned.found[path] for path in planned.changes if planned.found[path] is not None}
    apply(host, copies)
    return list(copies)


def _stop_where_nobody_reads_it(host: Host, info: Info) -> None:
    traces = set(filter(host.exists, unsupported.traces(host.names("/run/user"))))
    systemd, kernel = host.exists("/run/systemd/system"), host.read(unsupported.KERNEL)
    reason = unsupported.unsupported_reason(host.engine_api("/version") or {}, info, systemd, traces, kernel)
    if reason:
        raise Refused(reason, changed=False)
    engine = components.engine(host)
    if not engine:
        raise Refused("There is no Docker Engine on this host. Install it first.", changed=False)
    if not versions.has("hosts_toml", engine):
        raise Refused(
            f"registries: engine {engine} does not read hosts.toml (supported from {versions.text('hosts_toml')}). For docker.io set docker_daemon_proxy "
            f"registry_mirrors; for other registries set docker_build_env source_policy (engine {versions.text('source_policy_engine')} or newer), "
            "or rewrite the image names with dockerfile_mirror.",
            changed=False,
        )


def _files(host: Host, record: Record, registries: Registries, fallback: bool) -> Changes:
    files: Changes = {}
    for registry, mirrors in registries.items():
        path = hosts_toml.path_of(registry)
        current = host.read(path)
        try:
            contents = hosts_toml.with_block(current.contents if current else b"", path, hosts_toml.block(registry, mirrors, fallback))
        except hosts_toml.RegistryHostsError as error:
            raise Refused(str(error), changed=False) from error
        files[path] = _with_mode(record, path, contents, current, any(mirror.username for mirror in mirrors))
        for number, mirror in enumerate(mirrors, 1):
            if mirror.ca and not mirror.ca_is_path:
                files[hosts_toml.ca_path_of(registry, number)] = File(_certificate(registry, mirror))
            elif mirror.ca and not host.exists(mirror.ca):
                raise Refused(f"registries: {registry}: the file {mirror.ca} is not on this host, so BuildKit would fail. Correct ca.", changed=False)
    return files


def _with_mode(record: Record, path: str, contents: bytes, current: t.Optional[File], secret: bool) -> File:
    """A file with a login is readable by its owner only; without one it gets its original mode back."""
    first = record.first(path) if record.knows(path) else current
    if current is None:
        mode = 0o600 if secret else first.mode if first else 0o644
    elif secret:
        mode = current.mode & 0o700
    elif record.is_our_mode(path, current) and not hosts_toml.secrets(contents, path):
        mode = first.mode if first else 0o644
    else:
        mode = current.mode
    return File(contents, mode, current.uid if current else 0, current.gid if current else 0)


def _certificate(registry: str, mirror: Mirror) -> bytes:
    try:
        return trust_store.wanted(mirror.ca).encode()
    except trust_store.NoCertificate as error:
        raise Refused(f"registries: {registry}: ca of {mirror.url}: {error}", changed=False) from error


def _restored(path: str, current: t.Optional[File], record: Record) -> t.Optional[File]:
    first = record.first(path)
    if current is None or record.as_we_left_it(path, current):
        return first if current is not None else None
    contents = hosts_toml.without_block(current.contents)
    return current._replace(contents=contents) if contents.strip() or first else None


def _is_certificate_of(path: str, registries: Registries) -> bool:
    return any(
        path == hosts_toml.ca_path_of(registry, number)
        for registry, mirrors in registries.items()
        for number, mirror in enumerate(mirrors, 1)
        if mirror.ca and not mirror.ca_is_path
    )


# --- other settings that decide ---------------------------------------------------------------------


def _registry_mirrors(info: Info) -> t.List[str]:
    return list((info.get("RegistryConfig") or {}).get("Mirrors") or [])


def _hub_conflicts(host: Host, registries: Registries, files: Changes, info: Info, containerd: bool) -> t.List[str]:
    """Whether the daemon's registry-mirrors or these mirrors are used for Docker Hub; _default is used for it if it has no folder."""
    mirrors = ", ".join(_registry_mirrors(info))
    name = DOCKER_HUB if DOCKER_HUB in registries else DEFAULT
    if not mirrors or name not in registries or (name == DEFAULT and host.exists(f"{FOLDER}/{DOCKER_HUB}")):
        return []
    path = hosts_toml.path_of(name)
    asking = "with its containerd image store everything asks" if containerd else "BuildKit asks"
    file = files[path]
    if file and hosts_toml.leaves_registry_mirrors(file.contents, path):
        return [f"The daemon has registry-mirrors ({mirrors}); {asking} them first, and {registries[name][0].url} in place of the registry."]
    hub = "" if name == DOCKER_HUB else " for Docker Hub too"
    return [f"The daemon has registry-mirrors ({mirrors}); {asking} the mirrors of {path} instead{hub}."]


def _conflicts(host: Host, registries: Registries, info: Info, containerd: bool) -> t.List[str]:
    """Sentences about settings beside these mirrors (each seen on 28.5 and 29)."""
    conflicts = []
    for registry in registries:
        certificates = [name for name in host.names(f"{FOLDER}/{registry}") if name.endswith(hosts_toml.CERTIFICATES)]
        if certificates:
            conflicts.append(
                f"While hosts.toml exists, {FOLDER}/{registry}/{certificates[0]} is read by {hosts_toml.certificate_readers(registry, containerd)}. "
                "Set ca of the mirror, or name the file in a [host] table of your own."
            )
    if DEFAULT in registries:
        named = [name for name in host.names(FOLDER) if name != DEFAULT and name not in registries and host.is_folder(f"{FOLDER}/{name}")]
        conflicts += [f"{FOLDER}/{name} exists, so the mirrors of {DEFAULT} are not used for {name}." for name in named]
    no_proxy = info.get("NoProxy") or ""
    for mirror in {mirror.url: mirror for some in registries.values() for mirror in some}.values():
        parts = urlsplit(mirror.url)
        address, name = parts.netloc, str(parts.hostname)
        proxy = info.get("HttpsProxy" if parts.scheme == "https" else "HttpProxy") or ""
        if proxy and not bypasses(no_proxy, name, parts.port or (443 if parts.scheme == "https" else 80)):
            conflicts.append(
                f"BuildKit connects to the mirror {address} through the daemon's proxy, because no_proxy does not contain it. "
                f"Add {name} to docker_daemon_proxy no_proxy, unless the mirror can only be reached through the proxy."
            )
    return conflicts


def _unread(registries: Registries, covers: t.Mapping[str, t.Mapping[str, bool]]) -> t.List[str]:
    names = [name for name in registries if not covers[name]["pull"]]
    if not names:
        return []
    return [
        "docker pull and the legacy builder do not read hosts.toml with this engine's image store (graphdriver), "
        f"so only BuildKit uses the mirrors of {', '.join(names)}."
    ]
