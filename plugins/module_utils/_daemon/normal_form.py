# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Docker's normal form of a setting: what `docker info` shows for what a file, a flag or a variable says.

Two spellings with one normal form are one setting. Pure.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import MASK

# Docker always has these (some engines show the second one only if a file names it), and never treats Docker Hub as insecure.
_ALWAYS_INSECURE = {"127.0.0.0/8", "::1/128"}
_NEVER_INSECURE = {"docker.io"}
_USERINFO = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*$")
_AUTHORITY = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:\[\]<>\"%-]*$")


def registry_mirrors(texts: t.Iterable[str]) -> t.List[str]:
    """A '/' at the end of each, without duplicates (moby registry/config.go, ValidateMirror and loadMirrors)."""
    return list(dict.fromkeys((text[:-1] if text.endswith("/") else text) + "/" for text in texts))


def insecure_registries(texts: t.Iterable[str]) -> t.FrozenSet[str]:
    """Names without a scheme, networks as Go prints them (moby registry/config.go, loadInsecureRegistries)."""
    return frozenset(_insecure_registry(text) for text in texts) - _ALWAYS_INSECURE - _NEVER_INSECURE


def insecure_registries_for_buildkit(texts: t.Iterable[str]) -> t.FrozenSet[str]:
    """The same with schemes: BuildKit reads the entry as written, and uses plain http if it says so (moby daemon, RegistryHosts)."""
    return frozenset(text.partition("://")[0].lower() + "://" + _insecure_registry(text) if "://" in text else _insecure_registry(text) for text in texts)


def _insecure_registry(text: str) -> str:
    name = re.sub(r"^https?://", "", text, flags=re.IGNORECASE)
    if not re.match(r"[0-9A-Fa-f.:]+/\d+$", name):
        return name
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:  # Docker does not start with it
        return name
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    return f"{mapped}/{network.prefixlen - 96}" if mapped and network.prefixlen >= 96 else str(network)


def proxy_url(text: str) -> str:
    """As written; a URL with credentials is rendered again with these masked (moby daemon/config, MaskCredentials; Go net/url, Parse and String)."""
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)@([^/@?#]*)(.*)$", text)
    if not found or not _parses(*found.group(2, 3, 4)):
        return text
    scheme, _credentials, address, rest = found.groups()
    path, question, query = rest.partition("?")
    path, mark, fragment = (path, "", "") if question else path.partition("#")
    query, mark, fragment = query.partition("#") if question else ("", mark, fragment)
    return f"{scheme.lower()}://{MASK}:{MASK}@{address}{_escaped(path)}{question}{query}{mark if fragment else ''}{_escaped(fragment)}"


def _parses(userinfo: str, address: str, rest: str) -> bool:
    """Whether Go reads this as a URL; a URL that it rejects is shown unchanged, password included."""
    port = re.search(r":([^\]:]*)$", address)
    return bool(
        _USERINFO.match(userinfo)
        and _AUTHORITY.match(address)
        and (not port or port[1].isdigit() or not port[1])
        and not re.search(r"%(?![0-9A-Fa-f]{2})", userinfo + address + rest.partition("?")[0])
        and not re.search(r"[\x00-\x1f\x7f]", address + rest)
    )


def _escaped(text: str) -> str:
    return "".join(f"%{byte:02X}" if byte > 126 or chr(byte) in ' "<>\\^`{|}' else chr(byte) for byte in text.encode())
