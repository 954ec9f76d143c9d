# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""hosts.toml files as the engine reads them: where a registry's requests go, and what the mirrors there answer.

The caller passes the functions that read files and send requests.
"""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import toml
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import hosts_toml, probe
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_toml import DEFAULT
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import DOCKER_HUB, split_registry
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_probe import MANIFESTS, manifest_path
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Get

OF_THE_MODULE = "docker_registry_hosts"
UNREAD_NAMES = ("registry-1.docker.io", "index.docker.io")
_CAPABILITIES = ("pull", "resolve", "push")
_NOT_TLS = ("dns", "refused", "reset", "timeout")


class Tree(t.Protocol):
    """The files of a host."""

    def read(self, path: str) -> t.Optional[File]:
        """The file; None if there is none."""

    def names(self, folder: str) -> t.List[str]:
        """The names in a folder; none if there is no such folder."""

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""

    def is_folder(self, path: str) -> bool:
        """Whether there is such a folder."""


class Mirror(t.NamedTuple):
    """One [host] table, or the server that replaces the registry."""

    url: str
    line: int
    capabilities: t.Tuple[str, ...] = _CAPABILITIES
    headers: t.Tuple[t.Tuple[str, str], ...] = ()
    ca: t.Tuple[str, ...] = ()  # files
    override_path: bool = False
    skip_verify: bool = False
    ours: bool = False  # docker_registry_hosts wrote it

    @property
    def serves(self) -> bool:
        return "pull" in self.capabilities and "resolve" in self.capabilities

    @property
    def is_plain(self) -> bool:
        """Whether it is asked below /v2 of its URL, without headers and with the host's own authorities."""
        return not (self.headers or self.ca or self.override_path or self.skip_verify)


class HostsFile(t.NamedTuple):
    path: str
    registry: str
    mirrors: t.Tuple[Mirror, ...] = ()
    server: str = ""
    error: str = ""  # why the engine does not read it
    missing: t.Tuple[str, ...] = ()  # certificates that it names and that do not exist
    certificates: t.Tuple[str, ...] = ()  # others that are beside it
    folders: t.Tuple[str, ...] = ()  # beside _default: registries that have one of their own
    replacement: t.Optional[Mirror] = None  # the server with its settings

    @property
    def decides_docker_hub(self) -> bool:
        return self.registry == DOCKER_HUB or (self.registry == DEFAULT and DOCKER_HUB not in self.folders)

    @property
    def replaces_the_registry(self) -> bool:
        """The key server names another host."""
        return _is_another_host(self.server, self.registry)

    def asked(self, registry: str) -> t.Tuple[Mirror, ...]:
        """The hosts that are asked for an image of a registry by its tag, before the registry or instead of it."""
        instead = [self.replacement] if self.replacement and _is_another_host(self.server, registry) else []
        return (*(mirror for mirror in self.mirrors if mirror.serves), *instead)


def read_file(path: str, registry: str, contents: bytes) -> HostsFile:
    """How the engine reads a file; relative certificates are beside it."""
    try:
        document = toml.parse(contents.decode(), path)
    except UnicodeDecodeError:
        return HostsFile(path, registry, error=f"{path}: it is not UTF-8 text.")
    except toml.NotToml as error:
        return HostsFile(path, registry, error=str(error))
    ours = hosts_toml.lines_of_ours(contents.decode())
    tables = document.value.get("host")
    given = {str(url): table for url, table in (tables.items() if isinstance(tables, dict) else ()) if isinstance(table, dict)}
    mirrors = [_mirror(path, url, document.lines.get(("host", url), 0), table, ours) for url, table in given.items()]
    for mirror in mirrors:
        unknown = [name for name in mirror.capabilities if name not in _CAPABILITIES]
        if unknown:
            return HostsFile(path, registry, error=f"{path}, line {mirror.line}: the capability {unknown[0]!r} is unknown.")
    text = document.value.get("server")
    server = text if isinstance(text, str) else ""
    other = _mirror(path, server, document.lines.get(("server",), 0), document.value, ours) if server else None
    return HostsFile(path, registry, tuple(mirrors), server, replacement=other)


def _is_another_host(server: str, registry: str) -> bool:
    name = probe.split_url(server if "://" in server else f"//{server}").netloc.lower()
    return bool(name) and name not in (registry, *(UNREAD_NAMES if registry == DOCKER_HUB else ()))


def _mirror(path: str, url: str, line: int, table: t.Mapping[str, t.Any], ours: t.Container[int]) -> Mirror:
    headers = table.get("header")
    pairs = [(str(name), _first(value)) for name, value in (headers.items() if isinstance(headers, dict) else ())]
    given = table.get("capabilities")
    capabilities = tuple(str(name) for name in given) if isinstance(given, list) else _CAPABILITIES
    folder = path.rpartition("/")[0]
    files = tuple(name if name.startswith("/") else f"{folder}/{name}" for name in _texts(table.get("ca")))
    override_path, skip_verify = (table.get(name) is True for name in ("override_path", "skip_verify"))
    return Mirror(url, line, capabilities, tuple(pairs), files, override_path, skip_verify, line in ours)


def _texts(value: t.Any) -> t.List[str]:
    return [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str)]


def _first(value: t.Any) -> str:
    return next(iter(_texts(value)), "")


def readers(file: HostsFile, engine: str, store: str) -> t.List[str]:
    """Who uses a file with this engine and image store (seen on 28.5 and 29)."""
    if file.error or file.registry in UNREAD_NAMES or not versions.has("hosts_toml", engine):
        return []
    return ["buildkit", "pull", "legacy"] if store == "containerd" else ["buildkit"]


# --- the files of a host ----------------------------------------------------------------------------


def all_files(tree: Tree) -> t.Iterator[HostsFile]:
    beside = {registry: tree.names(f"{hosts_toml.FOLDER}/{registry}") for registry in tree.names(hosts_toml.FOLDER)}
    for registry in beside:
        file = _with_neighbours(tree, registry, beside)
        if file:
            yield file


def file_for(tree: Tree, registry: str) -> t.Optional[HostsFile]:
    """The file that decides where images of a registry are requested: its own folder, even an empty one, comes before _default."""
    beside = {name: tree.names(f"{hosts_toml.FOLDER}/{name}") for name in (registry, DEFAULT)}
    return _with_neighbours(tree, registry if tree.exists(f"{hosts_toml.FOLDER}/{registry}") else DEFAULT, beside)


def _with_neighbours(tree: Tree, registry: str, beside: t.Mapping[str, t.Sequence[str]]) -> t.Optional[HostsFile]:
    path = hosts_toml.path_of(registry)
    file = tree.read(path)
    if not file:
        return None
    found = read_file(path, registry, file.contents)
    missing = [name for mirror in found.mirrors for name in mirror.ca if not tree.exists(name)]
    certificates = [f"{hosts_toml.FOLDER}/{registry}/{name}" for name in beside[registry] if name.endswith(hosts_toml.CERTIFICATES)]
    own = [name for name in beside if name != DEFAULT and tree.is_folder(f"{hosts_toml.FOLDER}/{name}")]
    folders = own if registry == DEFAULT else []
    return found._replace(missing=tuple(missing), certificates=tuple(certificates), folders=tuple(folders))


# --- what their mirrors answer ----------------------------------------------------------------------


def greet(get: Get, mirror: Mirror, timeout: float = 5) -> probe.Mirror:
    """Whether a mirror answers as a registry, asked with the headers of the file, a login included.

    With a path of its own only images can be requested, and with an authority of its own the host's store tells nothing about its certificate.
    """
    answer = probe.ask_mirror(lambda url, headers, seconds: get(url, {**headers, **dict(mirror.headers)}, seconds), mirror.url, timeout)
    unclear = mirror.override_path and answer.status != 401 if answer.status else _may_be_trusted(mirror, answer.reason)
    return probe.Mirror(mirror.url, 200) if unclear else answer


def _may_be_trusted(mirror: Mirror, reason: str) -> bool:
    """Whether the file may make the engine accept the certificate that this host's store does not."""
    return not mirror.is_plain and reason not in _NOT_TLS


def ask(get: Get, file: HostsFile, mirror: Mirror, reference: str, timeout: float = 5) -> probe.Mirror:
    """The answer for an image, requested as the engine does it: without a greeting, with the headers of the file, a login included."""
    registry, path = split_registry(reference)
    answer = get(f"{_base(mirror)}/{manifest_path(path)}?ns={registry}", {"Accept": MANIFESTS, **dict(mirror.headers)}, timeout)
    is_plain = mirror.is_plain and file.registry != DEFAULT  # a mirror of all registries needs to know which one is meant
    asked = probe.Mirror(mirror.url, named_by=OF_THE_MODULE if mirror.ours else file.path, is_plain=is_plain)
    if not answer.status:
        return asked._replace(reason="" if _may_be_trusted(mirror, answer.reason) else answer.reason)
    if answer.status == 401:
        return asked._replace(status=401, realm=probe.challenge(answer).realm)
    return asked._replace(status=200, manifest=answer.status, reason="html page" if answer.status == 200 and answer.is_page else "")


def _base(mirror: Mirror) -> str:
    """Where its repositories are (containerd core/remotes/docker/config/hosts.go)."""
    url = (mirror.url if "://" in mirror.url else f"https://{mirror.url}").rstrip("/")
    return url if mirror.override_path or url.endswith("/v2") else f"{url}/v2"
