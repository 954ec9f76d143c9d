# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""hosts.toml, in which the engine reads the mirrors of any registry (containerd core/remotes/docker/config/hosts.go).

Our lines are between two marks, after the keys of others and before their tables: the engine uses hosts in the order of the file.
"""

from __future__ import annotations

import base64
import json
import re
import typing as t
from urllib.parse import unquote, urlsplit

from ansible_collections.buildfleet.docker.plugins.module_utils._core import mask
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import toml
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import DOCKER_HUB, InvalidImageName, parse_name

FOLDER = "/etc/docker/certs.d"
DEFAULT = "_default"
CERTIFICATES = (".crt", ".cert", ".key")  # what the engine reads in a folder without hosts.toml
BEGIN = "# begin: set by buildfleet.docker docker_registry_hosts\n"
END = "# end: buildfleet.docker docker_registry_hosts\n"
_BLOCK = re.compile(rf"{re.escape(BEGIN)}(?:(?!{re.escape(BEGIN)}).)*?{re.escape(END)}", re.S)  # not from a mark whose end somebody removed
_KEYS = ("url", "username", "password", "ca", "skip_verify", "override_path", "capabilities")
_CAPABILITIES = ("pull", "resolve", "push")
_HALF_A_CHARACTER = "[\ud800-\udfff]"
_NOT_IN_A_URL = re.compile(r"[\s\x00-\x1f\x7f\"\\?#\ud800-\udfff]")
_FLAGS = ("skip_verify", "override_path")
_NO_TABLE = '{} sets host in a way that no table can be put before. Write each mirror there as a table, such as [host."https://mirror.example.com"].'
_ALIASES = ("registry-1.docker.io", "index.docker.io")  # the engine looks for neither (seen on 28.5 and 29)


class RegistryHostsError(ValueError):
    """An option or a file that cannot be used; a complete sentence."""


class Mirror(t.NamedTuple):
    url: str  # without credentials and without a final slash
    username: str = ""
    password: str = ""
    ca: str = ""  # a certificate in PEM, or an absolute path
    skip_verify: bool = False
    override_path: bool = False
    capabilities: t.Tuple[str, ...] = ("pull", "resolve")

    @property
    def ca_is_path(self) -> bool:
        return self.ca.startswith("/")


Registries = t.Dict[str, t.List[Mirror]]


def path_of(registry: str) -> str:
    return f"{FOLDER}/{registry}/hosts.toml"


def ca_path_of(registry: str, number: int) -> str:
    """The path of the certificate of a registry's mirror, counted from 1; it must not end in .crt, which the engine would use itself."""
    return f"{FOLDER}/{registry}/buildfleet-{number}.pem"


def wanted(option: t.Mapping[str, t.Any], name_of_option: str = "registries") -> Registries:
    """The option O(registries), checked: registry -> its mirrors in their order."""
    registries: Registries = {}
    for name, mirrors in option.items():
        where = f"{name_of_option}: {name}"
        registry = _registry(str(name), where)
        entries = mirrors if isinstance(mirrors, list) else [mirrors]
        if not entries:
            raise RegistryHostsError(f"{where} has no mirror. Set a URL, or remove the registry.")
        registries[registry] = [_mirror(entry, where) for entry in entries]
        urls = [mirror.url for mirror in registries[registry]]
        for url in urls:
            if urls.count(url) > 1:
                raise RegistryHostsError(f"{where} names {url} twice. Remove one of the two.")
    return registries


def _registry(name: str, where: str) -> str:
    if name == DEFAULT:
        return name
    if name in _ALIASES:
        raise RegistryHostsError(f"{where}: the engine reads mirrors of Docker Hub only under docker.io. Write docker.io.")
    if "://" in name:
        raise RegistryHostsError(f"{where} is a URL. Write the registry as in image names, such as ghcr.io or registry.example.com:5000.")
    try:
        registry, path = parse_name(name)
    except InvalidImageName as error:
        raise RegistryHostsError(f"{where}: {error}") from error
    if path:
        raise RegistryHostsError(f"{where} has a path. Mirrors are set for a whole registry: write {registry}, and add the path to the mirror's URL.")
    return registry


def _mirror(entry: t.Any, where: str) -> Mirror:
    given = {"url": entry} if isinstance(entry, str) else entry
    if not isinstance(given, dict) or not isinstance(given.get("url"), str):
        raise RegistryHostsError(f"{where}: a mirror must be a URL or a dictionary with url.")
    for key in given:
        if key not in _KEYS:
            raise RegistryHostsError(f"{where}: {key!r} is not a key of a mirror. Use {', '.join(_KEYS)}.")
    for key in ("username", "password", "ca"):
        if re.search(_HALF_A_CHARACTER, str(given.get(key) or "")):
            raise RegistryHostsError(f"{where}: {key} contains half of a surrogate pair, which is not a character. Correct it.")
    parts = _url(given["url"], where)
    username = str(given.get("username") or unquote(parts.username or ""))
    password = str(given.get("password") or unquote(parts.password or ""))
    if bool(username) != bool(password):
        raise RegistryHostsError(f"{where}: {parts.hostname} has only a username or only a password. Set both, or neither.")
    if ":" in username:
        raise RegistryHostsError(f"{where}: the username of {parts.hostname} contains ':', which is not allowed. Correct it.")
    address = parts.netloc.rpartition("@")[2]
    mirror = Mirror(f"{parts.scheme.lower()}://{address}{parts.path.rstrip('/')}", username, password, _ca(given.get("ca"), where))
    return mirror._replace(
        skip_verify=_flag(given.get("skip_verify"), f"{where}: skip_verify"),
        override_path=_flag(given.get("override_path"), f"{where}: override_path"),
        capabilities=_capabilities(given.get("capabilities"), where),
    )


def _url(text: str, where: str) -> t.Any:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        port, parts = -1, urlsplit("")
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname or port == -1 or "@" in parts.path or _NOT_IN_A_URL.search(text):
        raise RegistryHostsError(f"{where}: {mask.login(text)!r} is not the URL of a mirror. Write https://host, https://host:port or https://host/path.")
    return parts


def _ca(value: t.Any, where: str) -> str:
    text = str(value or "").strip()
    if text and not text.startswith(("/", "-----BEGIN CERTIFICATE-----")):
        raise RegistryHostsError(f"{where}: ca must be an absolute path on the host, or a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----.")
    return text


def _flag(value: t.Any, where: str) -> bool:
    if value not in (None, True, False):
        raise RegistryHostsError(f"{where} must be true or false.")
    return bool(value)


def _capabilities(value: t.Any, where: str) -> t.Tuple[str, ...]:
    if value is None:
        return Mirror("").capabilities
    if not isinstance(value, list) or not value or any(capability not in _CAPABILITIES for capability in value):
        raise RegistryHostsError(f"{where}: capabilities must be a list of {', '.join(_CAPABILITIES)}.")
    if not {"pull", "resolve"} <= set(value):
        raise RegistryHostsError(f"{where}: a mirror without the capabilities pull and resolve is never used for an image by its tag. Add the other one.")
    return tuple(value)


def block(registry: str, mirrors: t.Sequence[Mirror], fallback: bool) -> str:
    """Our lines. Without fallback the last mirror replaces the registry itself, which the engine uses last."""
    text = BEGIN
    hosts = list(enumerate(mirrors, 1))
    if not fallback:
        number, last = hosts.pop()
        text += f"server = {_text(last.url)}\n" + _settings(registry, number, last, "")
    for number, mirror in hosts:
        text += f"[host.{_text(mirror.url)}]\n" + _settings(registry, number, mirror, "  ")
    return text + END


def _settings(registry: str, number: int, mirror: Mirror, indent: str) -> str:
    lines = [f"capabilities = [{', '.join(_text(capability) for capability in mirror.capabilities)}]"]
    if mirror.ca:
        lines.append(f"ca = {_text(mirror.ca if mirror.ca_is_path else ca_path_of(registry, number))}")
    lines += [f"{name} = true" for name in _FLAGS if getattr(mirror, name)]
    if mirror.username:
        lines.append(f"header = {{ Authorization = {_text(authorization(mirror))} }}")
    return "".join(f"{indent}{line}\n" for line in lines)


def authorization(mirror: Mirror) -> str:
    """RFC 7617; the engine can send a mirror only this kind of login."""
    return "Basic " + base64.b64encode(f"{mirror.username}:{mirror.password}".encode()).decode()


def _text(value: str) -> str:
    """A JSON string is valid in TOML, unless it has half a pair of an escaped character, or DEL as it is."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def with_block(contents: bytes, path: str, ours: str) -> bytes:
    """The file with our lines; raises RegistryHostsError if lines of others conflict."""
    text = _BLOCK.sub("", _decoded(contents, path))
    others, own = _parsed(text, path), _parsed(ours, path)
    if any(pair.keys[0] == "host" and not pair.header for pair in others.pairs):
        raise RegistryHostsError(_NO_TABLE.format(path))
    urls = {url.rstrip("/") for url in own.value.get("host", {})}
    for keys, line in others.lines.items():
        if keys[0] == "host" and keys[1:] and keys[1].rstrip("/") in urls:
            raise RegistryHostsError(f"{path}, line {line} sets {keys[1]} too. Remove that table, or remove the mirror from registries.")
        if keys[0] != "host" and keys[0] in own.value:
            raise RegistryHostsError(f"{path}, line {line} sets {keys[0]!r}, which fallback: false sets too. Remove that line, or set fallback: true.")
    at = others.headers[0].start if others.headers else len(text)
    before = text[:at]
    gap = "\n" if before and not before.endswith("\n") else ""
    together = f"{before}{gap}{ours}{text[at:]}"
    try:
        toml.parse(together, path)
    except toml.NotToml as error:
        raise RegistryHostsError(_NO_TABLE.format(path)) from error
    return together.encode()


def lines_of_ours(text: str) -> t.Container[int]:
    """The numbers of the lines between our marks."""
    found = _BLOCK.search(text)
    return range(text.count("\n", 0, found.start()) + 1, text.count("\n", 0, found.end()) + 1) if found else ()


def without_block(contents: bytes) -> bytes:
    return _BLOCK.sub("", contents.decode("latin-1")).encode("latin-1")


def secrets(contents: bytes, path: str) -> t.List[str]:
    """The header values of a file: each may be a login."""
    try:
        document = toml.parse(contents.decode(errors="replace"), path)
    except toml.NotToml:  # a broken file: every string on a line that may be a header
        lines = [line for line in contents.decode(errors="replace").splitlines() if re.search(r"(?i)header|authorization|basic|bearer", line)]
        return [value for line in lines for pair in re.findall(r"\"([^\"]*)\"|'([^']*)'", line) for value in pair if value]
    return list(_header_values(document.value))


def _header_values(value: t.Any, inside: bool = False) -> t.Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            yield from _header_values(one, inside or key == "header")
    elif isinstance(value, list):
        for one in value:
            yield from _header_values(one, inside)
    elif inside and isinstance(value, str):
        yield value


def _decoded(contents: bytes, path: str) -> str:
    try:
        return contents.decode()
    except UnicodeDecodeError as error:
        line = contents.count(b"\n", 0, error.start) + 1
        raise RegistryHostsError(f"{path}, line {line}: a byte that is not UTF-8 text. The engine does not read this file. Save it as UTF-8.") from error


def _parsed(text: str, path: str) -> toml.Document:
    try:
        return toml.parse(text, path)
    except toml.NotToml as error:
        raise RegistryHostsError(f"{error} The engine does not read this file, and uses the registry itself. Correct the file, then run this again.") from error


def leaves_registry_mirrors(contents: bytes, path: str) -> bool:
    """Whether a file for Docker Hub has no [host] table: the daemon's registry-mirrors then come first (moby daemon/hosts.go; seen on 28.5 and 29)."""
    return not _parsed(contents.decode(), path).value.get("host")


def certificate_readers(registry: str, containerd_store: bool) -> str:
    """Who reads a certificate beside a hosts.toml (seen on 28.5 and 29).

    With the graphdriver store docker pull looks for it under the name of the host that it connects to, which is never docker.io or _default.
    """
    return "nobody" if containerd_store or registry in (DOCKER_HUB, DEFAULT) else "docker pull and the legacy builder alone"


def covers(registries: t.Iterable[str], containerd_store: bool, hub_mirrors: bool) -> t.Dict[str, t.Dict[str, bool]]:
    """Which clients use a mirror of each registry (seen on 28.5 and 29 with both image stores).

    With the graphdriver store pull and the legacy builder read daemon.json alone, whose registry-mirrors are for Docker Hub.
    """
    return {
        name: {
            "pull": containerd_store or (name == DOCKER_HUB and hub_mirrors),
            "buildkit": True,
            "legacy": containerd_store or (name == DOCKER_HUB and hub_mirrors),
        }
        for name in registries
    }
