# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts.toml files of a host: where each registry's requests go, who reads the files, and what is wrong with them. Pure."""

from __future__ import annotations

import typing as t
from urllib.parse import urlsplit

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import toml
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_toml import DEFAULT, certificate_readers
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import DOCKER_HUB

_CAPABILITIES = ("pull", "resolve", "push")
_UNREAD_NAMES = ("registry-1.docker.io", "index.docker.io")

Row = t.Tuple[str, str, str, str, str]  # the fields of a finding


class Mirror(t.NamedTuple):
    """One [host] table."""

    url: str
    line: int
    capabilities: t.Tuple[str, ...] = _CAPABILITIES
    headers: t.Tuple[t.Tuple[str, str], ...] = ()
    ca: t.Tuple[str, ...] = ()  # files

    @property
    def serves(self) -> bool:
        return "pull" in self.capabilities and "resolve" in self.capabilities


class HostsFile(t.NamedTuple):
    path: str
    registry: str
    mirrors: t.Tuple[Mirror, ...] = ()
    server: str = ""
    error: str = ""  # why the engine does not read it
    missing: t.Tuple[str, ...] = ()  # certificates that it names and that do not exist
    certificates: t.Tuple[str, ...] = ()  # others that are beside it
    folders: t.Tuple[str, ...] = ()  # beside _default: registries that have one of their own

    @property
    def decides_docker_hub(self) -> bool:
        return self.registry == DOCKER_HUB or (self.registry == DEFAULT and DOCKER_HUB not in self.folders)

    @property
    def replaces_the_registry(self) -> bool:
        """The key server names another host."""
        name = (urlsplit(self.server if "://" in self.server else f"//{self.server}").netloc).lower()
        return bool(name) and name not in (self.registry, *(_UNREAD_NAMES if self.registry == DOCKER_HUB else ()))


def read_file(path: str, registry: str, contents: bytes) -> HostsFile:
    """How the engine reads a file; relative certificates are beside it."""
    try:
        document = toml.parse(contents.decode(), path)
    except UnicodeDecodeError:
        return HostsFile(path, registry, error=f"{path}: it is not UTF-8 text.")
    except toml.NotToml as error:
        return HostsFile(path, registry, error=str(error))
    tables = document.value.get("host")
    mirrors = [_mirror(path, str(url), table, document) for url, table in (tables.items() if isinstance(tables, dict) else ()) if isinstance(table, dict)]
    for mirror in mirrors:
        unknown = [name for name in mirror.capabilities if name not in _CAPABILITIES]
        if unknown:
            return HostsFile(path, registry, error=f"{path}, line {mirror.line}: the capability {unknown[0]!r} is unknown.")
    server = document.value.get("server")
    return HostsFile(path, registry, tuple(mirrors), server if isinstance(server, str) else "")


def _mirror(path: str, url: str, table: t.Dict[str, t.Any], document: toml.Document) -> Mirror:
    headers = table.get("header")
    pairs = [(str(name), _first(value)) for name, value in (headers.items() if isinstance(headers, dict) else ())]
    given = table.get("capabilities")
    capabilities = tuple(str(name) for name in given) if isinstance(given, list) else _CAPABILITIES
    folder = path.rpartition("/")[0]
    files = tuple(name if name.startswith("/") else f"{folder}/{name}" for name in _texts(table.get("ca")))
    return Mirror(url, document.lines.get(("host", url), 0), capabilities, tuple(pairs), files)


def _texts(value: t.Any) -> t.List[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _first(value: t.Any) -> str:
    return next(iter(_texts(value)), "")


def readers(file: HostsFile, engine: str, store: str) -> t.List[str]:
    """Who uses a file with this engine and image store (seen on 28.5 and 29)."""
    if file.error or file.registry in _UNREAD_NAMES or not versions.has("hosts_toml", engine):
        return []
    return ["buildkit", "pull", "legacy"] if store == "containerd" else ["buildkit"]


def problems(files: t.Sequence[HostsFile], engine: str, store: str, registry_mirrors: str) -> t.Iterator[Row]:
    """Findings about the files themselves; ``registry_mirrors`` are the daemon's, '' without any."""
    for file in files:
        if file.error:
            instead = registry_mirrors if file.registry == DOCKER_HUB and registry_mirrors else f"{file.registry} itself"
            message = f"The engine does not read {file.path}, and uses {instead}: {file.error}"
            yield "registry_hosts_invalid", "error", "daemon", message, "Correct the file, or set docker_registry_hosts."
        elif file.registry in _UNREAD_NAMES:
            message = f"{file.path} is not read: the engine looks for Docker Hub's mirrors in {DOCKER_HUB}."
            yield "registry_hosts_unread", "warning", "daemon", message, f"Move it to the folder {DOCKER_HUB}, or set docker_registry_hosts for {DOCKER_HUB}."
        elif engine and not versions.has("hosts_toml", engine):
            message = f"{file.path} is not read: engine {engine} reads mirrors from daemon.json only, and hosts.toml from {versions.text('hosts_toml')}."
            yield "registry_hosts_unread", "warning", "daemon", message, "Set docker_daemon_proxy registry_mirrors, or upgrade the engine."
        else:
            yield from _of_readable(file, store, registry_mirrors)


def _of_readable(file: HostsFile, store: str, registry_mirrors: str) -> t.Iterator[Row]:
    for name in file.missing:
        message = f"{file.path} names the certificate {name}, which does not exist: every build and pull that reads the file fails."
        yield "registry_hosts_ca_missing", "error", "daemon", message, "Put the certificate there, or set docker_registry_hosts with ca."
    for mirror in file.mirrors:
        if not mirror.serves:
            message = f"{file.path}, line {mirror.line}: {mirror.url} needs the capabilities pull and resolve to be used as a mirror."
            yield "registry_hosts_capabilities", "warning", "daemon", message, 'Write capabilities = ["pull", "resolve"], or leave the key out.'
    if file.certificates:
        who = certificate_readers(file.registry, store == "containerd")
        message = f"{file.certificates[0]} is beside {file.path}, so it is read by {who}: a folder with a hosts.toml needs the key ca."
        yield "registry_hosts_certificates", "warning", "daemon", message, "Write ca into hosts.toml, or set docker_registry_hosts with ca."
    if file.folders:
        message = f"{file.path} is not used for {', '.join(file.folders)}: a registry with a folder of its own has only the mirrors named there."
        yield "registry_hosts_default_unused", "info", "daemon", message, "Name these registries in docker_registry_hosts too, or remove their folders."
    yield from _who_decides(file, store, registry_mirrors)


def _who_decides(file: HostsFile, store: str, registry_mirrors: str) -> t.Iterator[Row]:
    """Without a [host] table the daemon's registry-mirrors come first."""
    urls = ", ".join(mirror.url for mirror in file.mirrors)
    if urls and file.decides_docker_hub and registry_mirrors:
        who = "Nobody uses" if store == "containerd" else "BuildKit does not use"
        message = f"{file.path} sends images of Docker Hub to {urls}. {who} the registry mirrors that docker info shows ({registry_mirrors})."
        yield "registry_hosts_wins", "warning", "daemon", message, _one_of_both(file, store)
    if store != "containerd" and (urls or file.replaces_the_registry):
        instead = "use the registry itself"
        if file.decides_docker_hub and registry_mirrors:
            instead = f"use {registry_mirrors}" if file.registry == DOCKER_HUB else f"use {registry_mirrors} for Docker Hub, and other registries themselves"
        message = f"{file.path} is read by BuildKit only: with the image store of this engine docker pull and the legacy builder {instead}."
        cure = "Build with BuildKit, or enable the containerd image store."
        yield "registry_hosts_buildkit_only", "info", "daemon", message, cure


def _one_of_both(file: HostsFile, store: str) -> str:
    if file.registry == DEFAULT:
        return f"Name {DOCKER_HUB} in docker_registry_hosts too, with the mirrors that it needs."
    if store == "containerd":
        return "Keep one: remove the file (docker_registry_hosts state: absent), or set docker_daemon_proxy registry_mirrors: []."
    return "Name the same mirrors in both, or remove the file (docker_registry_hosts state: absent): every client uses registry mirrors."
