# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine's own rules: which daemon.json stops it from starting. Files of other tools are judged by these.

Values that we write follow stricter rules (_proxy/values.py). Pure; each rule was seen on 20.10, 26.1 and 28.5.
"""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.json_file import BOM, Document

# daemon.json's key where its flag has another name (moby cmd/dockerd/config.go)
FLAG_OF_KEY = {
    "hosts": "host",
    "registry-mirrors": "registry-mirror",
    "insecure-registries": "insecure-registry",
    "labels": "label",
    "storage-opts": "storage-opt",
    "exec-opts": "exec-opt",
    "authorization-plugins": "authorization-plugin",
    "dns-opts": "dns-opt",
    "runtimes": "add-runtime",
    "default-address-pools": "default-address-pool",
    "default-ulimits": "default-ulimit",
    "node-generic-resources": "node-generic-resource",
    "log-opts": "log-opt",
    "graph": "data-root",
}
# Objects that the engine treats as one value; of any other object it reads the keys inside (moby daemon/config flatOptions).
_FLAT = {"cluster-store-opts", "log-opts", "runtimes", "default-ulimits", "features", "builder"}
# Known to 20.10 and older, but not in their --help.
_HIDDEN = {
    "features", "builder", "deprecated-key-path", "cluster-store", "cluster-advertise", "cluster-store-opt", "cluster-store-opts", "network-diagnostic-port",
    "restart",
}  # fmt: skip
OVERLAYS = ("overlay2", "overlay")
_UNKNOWN = re.compile(r"don't match any configuration option: ([\w.-]+(?:, [\w.-]+)*)")
_FIELD = re.compile(r"(?<=\s)(?:Config|Proxies)\.[\w.-]+(?= of type)")
_WORDS_OF = {
    "insecure registry ": "insecure-registries", "pools size": "default-address-pools", "allocate gateway": "bip", "initializing graphdriver": "storage-driver",
}  # fmt: skip
_ENCODINGS = {BOM.encode(): "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
# Go's unicode.IsSpace; str.strip() would take U+001C to U+001F too.
_GO_BLANKS = "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
_NOT_IN_A_HOST = re.compile(r"[\s\x00-\x1f\x7f\\^`{|}]")


def unknown_keys(document: Document, usage: str) -> t.List[str]:
    """The keys that stop an engine without --validate from starting, according to its --help."""
    flags = set(re.findall(r"--([a-z][a-z0-9-]+)", usage))
    if not flags:
        return []
    known = flags | _HIDDEN | {key for key, flag in FLAG_OF_KEY.items() if flag in flags}
    return [key for key in _flattened(document.value) if key not in known]


def _flattened(value: t.Mapping[str, t.Any]) -> t.Iterator[str]:
    for key, inside in value.items():
        if key == "proxies":
            continue  # has a rule of its own
        if isinstance(inside, dict) and key not in _FLAT:
            yield from inside
        else:
            yield key


def storage(value: t.Mapping[str, t.Any]) -> t.Tuple[str, str]:
    """The storage driver that needs a file system of its own name, and the folder that must be on it; '' for any other (moby daemon/graphdriver)."""
    driver = value.get("storage-driver")
    named = driver == "btrfs" or driver in OVERLAYS or (driver == "zfs" and not value.get("storage-opts"))  # zfs.fsname may name another place
    return str(driver) if named else "", str(value.get("data-root") or value.get("graph") or "/var/lib/docker")


def storage_works(driver: str, system: str) -> bool:
    """btrfs and zfs need their own file system; an overlay cannot use another overlay as its upper layer (Linux Documentation/filesystems/overlayfs)."""
    return system != "overlayfs" if driver in OVERLAYS else system.startswith(driver)


def unknown_keys_error(keys: t.Sequence[str]) -> str:
    """The engine's message about such keys when it starts."""
    return f"the following directives don't match any configuration option: {', '.join(keys)}" if keys else ""


def places(message: str, document: Document) -> str:
    """Where the keys in the engine's message are: keys that it does not know, or whose value it repeats; '' if there are none."""
    found, field = _UNKNOWN.search(message), _FIELD.search(message)
    named = [key for key in document.value if field and key in field[0].split(".")]
    named += [key for words, key in _WORDS_OF.items() if words in message and key in document.value]
    values = {key: next((text for text in _texts(value) if text in message), "") for key, value in document.value.items()}
    repeated = [key for key, text in values.items() if text and not any(text in other and text != other for other in values.values())]
    return "; ".join(f"'{key}' is in {document.place(*_path(document.value, key))}" for key in (found[1].split(", ") if found else repeated or named))


def _texts(value: t.Any) -> t.Iterator[str]:
    """The value of a key, or of its list, as a message may repeat it; an option also by its name alone."""
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str):
            yield from (one for one in (text, text.partition("=")[0]) if len(one) > 3)


def _path(value: t.Mapping[str, t.Any], key: str) -> t.List[str]:
    if key in value:
        return [key]
    return next(([name, key] for name, inside in value.items() if isinstance(inside, dict) and key in inside), [])


def mirror_error(text: str, engine: str) -> str:
    """Why the engine does not start with this registry mirror (moby registry/config.go ValidateMirror, Go's url.Parse)."""
    scheme, colon, rest = text.partition("://")
    if not colon or not re.match(r"[A-Za-z][A-Za-z0-9+.-]*$", scheme) or scheme.lower() not in ("http", "https"):
        return "it has no scheme http:// or https://"
    rest, _hash, fragment = rest.partition("#")
    rest, _mark, query = rest.partition("?")
    host, slash, path = rest.partition("/")
    if "@" in host:
        return "it contains a user or password"
    if _NOT_IN_A_HOST.search(host) or re.search(r"%(?![0-9A-Fa-f]{2})", rest) or not re.match(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?$", host):
        return "it is not a valid URL"
    if query or fragment:
        return "it contains a query or fragment"
    if slash and path and not versions.has("mirror_path", engine):
        return f"it contains a path, which engines accept from {versions.text('mirror_path')}"
    return ""


def reads_json(contents: bytes, engine: str) -> bool:
    """Whether the engine reads a file that we reject: a duplicate key, UTF-16, unusual blanks around it, or, on old engines, text after the object."""
    try:
        text = _decoded(contents) if versions.has("tolerates_bom", engine) else contents.decode(errors="replace").strip(" \t\r\n")
        value, end = json.JSONDecoder(parse_constant=_no_number).raw_decode(text or "{}")
    except (ValueError, RecursionError):
        return False
    after = text[end:].strip(" \t\r\n")
    return (value is None or isinstance(value, dict)) and (not after or not versions.has("one_json_value", engine))


def _decoded(contents: bytes) -> str:
    """As newer engines read daemon.json: by its byte order mark, else strictly as UTF-8, without the blanks around it (golang.org/x/text/encoding/unicode)."""
    encoding, mark = next(((name, mark) for mark, name in _ENCODINGS.items() if contents.startswith(mark)), ("utf-8", b""))
    return contents[len(mark) :].decode(encoding, "strict" if encoding == "utf-8" else "replace").strip(_GO_BLANKS)


def _no_number(text: str) -> t.NoReturn:
    raise ValueError(text)  # NaN or Infinity
