# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proxies, mirrors and exceptions as values: what Docker's Go reads, and what it would misread."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from urllib.parse import quote, unquote

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import MASK

SCHEMES = ("http", "https", "socks5", "socks5h")

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\.?$")


class ValueRefused(ValueError):
    """A value that cannot work; the message names the option and the remedy, never a secret."""


class Proxy(t.NamedTuple):
    """A proxy's URL in parts; user and password as plain text."""

    scheme: str
    user: str
    password: str
    address: str  # host:port, an IPv6 address in brackets

    def url(self) -> str:
        """As Docker reads it: everything in the userinfo encoded that could mean something else."""
        if not self.user and not self.password:
            return f"{self.scheme}://{self.address}"
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return f"{self.scheme}://{quote(self.user, safe='')}{password}@{self.address}"

    def masked(self) -> str:
        """As ``docker info`` shows it."""
        userinfo = f"{MASK}:{MASK}@" if self.user or self.password else ""
        return f"{self.scheme}://{userinfo}{self.address}"


def proxy(text: str, option: str, username: str = "", password: str = "") -> Proxy:
    """Read a proxy's URL (http, https, socks5 or socks5h), with the credentials beside it."""

    def refuse(why: str) -> ValueRefused:
        return ValueRefused(f"{option}: {why}")

    if re.search(r"[\s\x00-\x1f\x7f\ud800-\udfff]", text):
        raise refuse("the URL holds a blank, a newline or another control character. Write it as scheme://host:port on one line.")
    scheme, found, rest = text.partition("://")
    if not found:
        raise refuse("the URL has no scheme. Write http://host:port, https://host:port or socks5://host:port.")
    if scheme.lower() not in SCHEMES:
        raise refuse(f"the scheme '{scheme[:20]}' is unknown to Docker. Use one of {', '.join(SCHEMES)}.")
    userinfo, at, address = rest.rpartition("@")
    if "@" in userinfo:
        raise refuse("there is more than one '@'. Write an '@' inside of the user or password as %40, or give them as proxy_username and proxy_password.")
    if re.search(r"[/?#]", userinfo):
        raise refuse("the user or password holds a '/', '?' or '#'. Write them as %2F, %3F and %23, or give them as proxy_username and proxy_password.")
    if re.search(r"%(?![0-9A-Fa-f]{2})", userinfo):
        raise refuse("a '%' in the user or password is followed by no two hex digits. Write it as %25, or give them as proxy_username and proxy_password.")
    if at and (username or password):
        raise refuse("the URL holds credentials, and proxy_username or proxy_password is given too. Give them in one place.")
    if password and not username:
        raise ValueRefused("proxy_password: there is no proxy_username. Give both.")
    user, _colon, secret = userinfo.partition(":")
    for value in (unquote(user), unquote(secret), username, password):
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value):
            raise refuse("the user or password holds a control character, which no proxy can take.")
    return Proxy(
        scheme.lower(),
        unquote(user) or username,
        unquote(secret) or password,
        _address(address, refuse),
    )


def _address(text: str, refuse: t.Callable[[str], ValueRefused]) -> str:
    address = text[:-1] if text.endswith("/") else text
    if re.search(r"[/?#]", address):
        raise refuse("a path, query or fragment after the host. A proxy is scheme://host:port alone.")
    if address.startswith("["):
        host, bracket, port = address[1:].partition("]")
        if not bracket or not _is_ip(host, 6):
            raise refuse(f"'{address}' is no IPv6 address in brackets. Write it as [2001:db8::1]:3128.")
        colon, port = port[:1], port[1:]
        if port and colon != ":":
            raise refuse(f"'{address}' has something other than a port after the bracket. Write it as [2001:db8::1]:3128.")
    else:
        host, colon, port = address.partition(":")
        if not host:
            raise refuse("the URL has no host. Write it as scheme://host:port.")
        if ":" in port:
            raise refuse(f"'{address}' has more than one ':'. Write an IPv6 address in brackets: [2001:db8::1]:3128.")
        if not _HOST.match(host):
            raise refuse(f"'{host}' is no host name. Use letters, digits, '-' and '.'.")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise refuse(f"the port '{port}' is no number from 1 to 65535.")
    return address


def is_loopback(proxy_: Proxy) -> bool:
    host = proxy_.address.rpartition(":")[0] or proxy_.address
    host = host.strip("[]").lower().rstrip(".")
    return host == "localhost" or host.endswith(".localhost") or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


# --- no_proxy -------------------------------------------------------------------------------------


def no_proxy(entries: t.Sequence[str], option: str = "no_proxy") -> t.Tuple[str, ...]:
    """The exceptions, trimmed and without repetition, in the user's order."""
    found: t.List[str] = []
    for entry in ",".join(entries).split(","):
        entry = entry.strip()
        if re.search(r"[\s\x00-\x1f\x7f\"'`$\\;]", entry):
            raise ValueRefused(
                f"{option}: the entry {entry[:60]!r} holds a blank, a quote or another character that stands in no "
                f"host name. Give one host, domain, address or network an entry."
            )
        if "://" in entry or "@" in entry:
            raise ValueRefused(f"{option}: an entry is a URL. Give the host alone, without scheme and credentials.")
        if entry and entry not in found:
            found.append(entry)
    return tuple(found)


def no_proxy_set(text: str) -> t.FrozenSet[str]:
    """What a NO_PROXY means, whatever its order, case and blanks."""
    return frozenset(entry.strip().lower() for entry in text.split(",") if entry.strip())


def bypasses(exceptions: str, host: str, port: int) -> bool:
    """Whether Go asks this host directly in spite of a proxy (golang.org/x/net/http/httpproxy, useProxy)."""
    host = host.lower().rstrip(".")
    if host == "localhost" or (_is_ip(host) and ipaddress.ip_address(host).is_loopback):
        return True
    for entry in no_proxy_set(exceptions):
        if entry == "*":
            return True
        if _is_network(entry):
            if _is_ip(host) and ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
            continue
        name, colon, only = entry.rpartition(":") if re.search(r"[^:]:\d+$|\]:\d+$", entry) else (entry, "", "")
        if colon and only != str(port):
            continue
        name = name.strip("[]")
        name = name[1:] if name.startswith("*.") else name
        if host == name or (not _is_ip(name) and host.endswith(name if name.startswith(".") else f".{name}")):
            return True
    return False


def no_proxy_warnings(entries: t.Sequence[str]) -> t.List[str]:
    """Entries that Go's NO_PROXY does not understand as they are meant (golang.org/x/net/http/httpproxy)."""
    warnings = []
    for entry in entries:
        name = entry.partition(":")[0]
        if re.match(r"\d+(\.\d+)*\.?\*", name) or re.match(r"\d+(\.\d+){0,2}\.?$", name):
            warnings.append(f"no_proxy: Docker does not understand '{entry}'. Write a network, such as 192.168.0.0/16.")
        elif "*" in name.lstrip("*") or (name.startswith("*") and name != "*" and not name.startswith("*.")):
            warnings.append(
                f"no_proxy: Docker does not understand '{entry}'. Write a domain with its subdomains as 'example.com', subdomains alone as '.example.com'."
            )
        elif re.search(r"[\^$()|+?{}]", entry):
            warnings.append(f"no_proxy: '{entry}' looks like a regular expression, which Docker does not understand. Write a domain, an address or a network.")
        elif "/" in entry and not _is_network(entry):
            warnings.append(f"no_proxy: '{entry}' is no network. Write it as 192.168.0.0/16.")
    return warnings


# --- registries -----------------------------------------------------------------------------------


def mirror(text: str, engine: str, option: str = "registry_mirrors", paths: bool = False) -> str:
    """A registry mirror by the engine's rules (moby registry/config.go ValidateMirror), which --validate of 26.1 misses.

    ``paths``: accept one below a path, whatever the engine.
    """

    def refuse(why: str) -> ValueRefused:
        shown = re.sub(r"[^/]*@", f"{MASK}:{MASK}@", text)
        return ValueRefused(f"{option}: {shown!r}: {why}")

    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise refuse("a blank or newline in it. Write https://host or https://host:port.")
    scheme, found, rest = text.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        raise refuse("a mirror needs the scheme https:// (or http://). Write https://host.")
    if "@" in rest:
        raise refuse(
            "Docker sends no credentials to a mirror and does not start with them here. Use a mirror without a login, "
            "or rewrite image names with dockerfile_mirror."
        )
    if re.search(r"[?#]", rest):
        raise refuse("a query or fragment in it, with which Docker does not start. Write https://host.")
    address, _slash, path = rest.partition("/")
    _address(address, lambda why: ValueRefused(f"{option}: {text!r}: {why}"))
    if path.strip("/") and not paths and not versions.has("mirror_path", engine):
        raise refuse(
            f"a path, with which engines below {versions.text('mirror_path')} do not start (this one is "
            f"{engine or 'unknown'}). Use a mirror that has a host of its own."
        )
    return f"{scheme.lower()}://{rest}"


def insecure_registry(text: str, option: str = "insecure_registries") -> str:
    """host, host:port or a network in CIDR notation."""
    if "://" in text:
        raise ValueRefused(f"{option}: {text!r} is a URL. Write the host, host:port or network alone.")
    if "/" in text:
        if not _is_network(text):
            raise ValueRefused(f"{option}: {text!r} is no network. Write it as 10.0.0.0/8.")
        return text
    _address(text, lambda why: ValueRefused(f"{option}: {text!r}: {why}"))
    return text


def is_interface(text: str) -> bool:
    """An address with the length of its network, such as 172.26.0.1/16."""
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text


def _is_ip(text: str, version: int = 0) -> bool:
    try:
        return version in (0, ipaddress.ip_address(text).version)
    except ValueError:
        return False


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
