# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Proxies, mirrors and no_proxy entries as values: what Docker (Go) reads, and what it would misread."""

from __future__ import annotations

import ipaddress
import re
import typing as t
from urllib.parse import quote, unquote

from ansible_collections.buildfleet.docker.plugins.module_utils._core import mask, versions

SCHEMES = ("http", "https", "socks5", "socks5h")
_PORTS = {"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
_Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
_Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?\.?$")


class ValueRefused(ValueError):
    """A value that cannot work; the message names the option and the fix, never a secret."""


class Proxy(t.NamedTuple):
    """The parts of a proxy URL; user and password in plain text."""

    scheme: str
    user: str
    password: str
    address: str  # host:port, with an IPv6 address in brackets

    def url(self) -> str:
        """As Docker reads it: special characters of the userinfo are encoded."""
        if not self.user and not self.password:
            return f"{self.scheme}://{self.address}"
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return f"{self.scheme}://{quote(self.user, safe='')}{password}@{self.address}"

    def server(self) -> t.Tuple[str, int]:
        """Host and port to connect to."""
        name, port = _split_port(self.address) or (self.address.strip("[]"), "")
        return name, int(port or _PORTS[self.scheme])


def proxy(text: str, option: str, username: str = "", password: str = "") -> Proxy:
    """Parse a proxy URL (http, https, socks5 or socks5h), with credentials from the URL or from the options."""

    def refuse(why: str) -> ValueRefused:
        return ValueRefused(f"{option}: {why}")

    if re.search(r"[\s\x00-\x1f\x7f\ud800-\udfff]", text):
        raise refuse("the URL contains a space, a newline or another control character. Write it as scheme://host:port on one line.")
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise refuse("the URL has no scheme. Write http://host:port, https://host:port or socks5://host:port.")
    if scheme.lower() not in SCHEMES:
        raise refuse(f"the scheme '{scheme[:20]}' is not supported by Docker. Use one of {', '.join(SCHEMES)}.")
    userinfo, at, address = rest.rpartition("@")
    if "@" in userinfo:
        raise refuse("there is more than one '@'. Write an '@' in the user or password as %40, or set proxy_username and proxy_password.")
    if re.search(r"[/?#]", userinfo):
        raise refuse("the user or password contains '/', '?' or '#'. Write them as %2F, %3F and %23, or set proxy_username and proxy_password.")
    if re.search(r"%(?![0-9A-Fa-f]{2})", userinfo):
        raise refuse("a '%' in the user or password is not followed by two hex digits. Write it as %25, or set proxy_username and proxy_password.")
    if at and (username or password):
        raise refuse("the URL contains credentials, and proxy_username or proxy_password is set too. Use only one of them.")
    if password and not username:
        raise ValueRefused("proxy_password: proxy_username is not set. Set both.")
    user, _colon, secret = userinfo.partition(":")
    for value in (unquote(user), unquote(secret), username, password):
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value):
            raise refuse("the user or password contains a control character, which no proxy accepts. Remove it; often it is a newline at the end.")
    return Proxy(
        scheme.lower(),
        unquote(user) or username,
        unquote(secret) or password,
        _address(address, refuse),
    )


def _address(text: str, refuse: t.Callable[[str], ValueRefused]) -> str:
    address = text[:-1] if text.endswith("/") else text
    if re.search(r"[/?#]", address):
        raise refuse("the URL has a path, query or fragment. Write it as scheme://host:port.")
    if address.startswith("["):
        host, bracket, port = address[1:].partition("]")
        if not bracket or not _is_ip(host, 6):
            raise refuse(f"'{address}' is not an IPv6 address in brackets. Write it as [2001:db8::1]:3128.")
        colon, port = port[:1], port[1:]
        if port and colon != ":":
            raise refuse(f"'{address}' has text other than a port after the bracket. Write it as [2001:db8::1]:3128.")
    else:
        host, colon, port = address.partition(":")
        if not host:
            raise refuse("the URL has no host. Write it as scheme://host:port.")
        if ":" in port:
            raise refuse(f"'{address}' has more than one ':'. Write an IPv6 address in brackets: [2001:db8::1]:3128.")
        if not _HOST.match(host):
            raise refuse(f"'{host}' is not a host name. Use letters, digits, '-' and '.'.")
    if colon and not _is_port(port):
        raise refuse(f"the port '{port}' is not a number between 1 and 65535. Write it as scheme://host:3128.")
    return address


def _is_port(text: str) -> bool:
    digits = text.lstrip("0")
    return text.isascii() and text.isdigit() and len(digits) < 6 and 0 < int(digits or 0) < 65536


def is_loopback(proxy_: Proxy) -> bool:
    host = proxy_.address.rpartition(":")[0] or proxy_.address
    host = host.strip("[]").lower().rstrip(".")
    return host == "localhost" or host.endswith(".localhost") or (_is_ip(host) and ipaddress.ip_address(host).is_loopback)


# --- no_proxy -------------------------------------------------------------------------------------


def no_proxy(entries: t.Sequence[str], option: str = "no_proxy") -> t.Tuple[str, ...]:
    """The entries, trimmed and without duplicates, in the user's order."""
    distinct: t.List[str] = []
    for entry in ",".join(entries).split(","):
        entry = entry.strip()
        if re.search(r"[\s\x00-\x1f\x7f\"'`$\\;\ud800-\udfff]", entry):
            raise ValueRefused(
                f"{option}: the entry {entry[:60]!r} contains a space, a quote or another character that cannot be in a "
                f"host name. Write one host, domain, address or network per entry."
            )
        if "://" in entry or "@" in entry:
            raise ValueRefused(f"{option}: an entry is a URL. Write only the host, without scheme and credentials.")
        if entry and entry not in distinct:
            distinct.append(entry)
    return tuple(distinct)


def no_proxy_set(text: str) -> t.FrozenSet[str]:
    """The meaning of a NO_PROXY, regardless of order, case and spaces."""
    return frozenset(entry.strip().lower() for entry in text.split(",") if entry.strip())


def bypasses(exceptions: str, host: str, port: int) -> bool:
    """Whether Go connects to this host directly in spite of a proxy (golang.org/x/net/http/httpproxy, config.init and useProxy)."""
    host = host.lower()
    address = _ip(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_excepts(entry, host, address, str(port)) for entry in no_proxy_set(exceptions))


def _excepts(entry: str, host: str, address: t.Optional[_Address], port: str) -> bool:
    """Whether one lower-case entry matches this host."""
    if entry == "*":
        return True
    network = go_network(entry)
    if network is not None:
        return address is not None and address.version == network.version and address in network
    name, only = _split_port(entry) or (entry, "")
    if not name or only not in ("", port):
        return False
    if _ip(name) is not None:
        return address == _ip(name)
    name = name[1:] if name.startswith("*.") else name
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def go_network(text: str) -> t.Optional[_Network]:
    """The network that Go's net.ParseCIDR reads (prefix lengths only); None for anything else."""
    address, _slash, length = text.partition("/")
    if not re.fullmatch(r"[0-9]{1,3}", length) or "%" in address:
        return None
    try:
        return ipaddress.ip_network(f"{address}/{int(length)}", strict=False)
    except ValueError:
        return None


def _split_port(text: str) -> t.Optional[t.Tuple[str, str]]:
    """Go's net.SplitHostPort: an IPv6 address needs brackets; None if there is no port."""
    match = re.fullmatch(r"\[([^\[\]]*)\]:([^:\[\]]*)", text) or re.fullmatch(r"([^:\[\]]*):([^:\[\]]*)", text)
    return (match[1], match[2]) if match else None


def no_proxy_warnings(entries: t.Sequence[str]) -> t.List[str]:
    """Entries that Go does not understand as intended (tests/field/no_proxy.json has what real daemons did)."""
    misread = [(entry, _misread(entry)) for entry in entries]
    return [f"no_proxy: Docker does not understand '{entry}': {why}" for entry, why in misread if why]


_WRITE_A_NETWORK = "Write a network, such as 192.168.0.0/16."
_WRITE_A_DOMAIN = "Write a domain with its subdomains as 'example.com', only its subdomains as '.example.com'."
# Shapes of names and addresses that only programs other than Go understand.
_FOREIGN_SHAPES = (
    (re.compile(r".*\$(?:\{\w+\}|[a-z_]\w*$)"), "it is the name of a variable, which nothing replaces. Write its value."),
    (re.compile(r"<.*>$"), "only Windows programs understand it. Write the hosts, or their domain as '.example.com'."),
    (re.compile(r"(?=.*\d)[0-9a-f.:]+-[0-9a-f.:]+$"), f"it is an address range. {_WRITE_A_NETWORK}"),
    (re.compile(r"[0-9][0-9.*-]*$|[0-9a-f:]*:[0-9a-f:]*\*"), f"it is an incomplete address. {_WRITE_A_NETWORK}"),
    (re.compile(r"[\^$()|+?{}~]"), f"it looks like a regular expression. {_WRITE_A_DOMAIN}"),
    (re.compile(r"\*\.?$|(?!\*\.)\*|..*\*"), f"a '*' is allowed only before a whole domain, as in '*.example.com'. {_WRITE_A_DOMAIN}"),
    (re.compile(r"\.\.|.*\.$"), f"it has an extra dot. {_WRITE_A_DOMAIN}"),
    (re.compile(r"$"), "it has no host. Write host:port."),
)


def _misread(entry: str) -> str:
    """Why Go does not understand this entry, and what to write; '' if it does."""
    entry = entry.lower()
    if entry == "*" or go_network(entry) is not None:
        return ""
    if "/" in entry:
        return _misread_network(entry)
    if entry.startswith("[") and entry.endswith("]"):
        return f"brackets are needed only with a port. Write {entry[1:-1]}."
    name, port = _split_port(entry) or (entry, "")
    if port and not port.isdigit():
        return f"the port '{port}' is not a number. Write {name}:443, or {name} for every port."
    if _ip(name) is not None:
        return ""
    return next((why for shape, why in _FOREIGN_SHAPES if shape.match(name)), "")


def _misread_network(entry: str) -> str:
    address, _slash, rest = entry.partition("/")
    length, _colon, port = rest.partition(":")
    bare = f"{address.strip('[]')}/{length}"
    if port or bare != entry:
        return f"a network has no brackets and no port. Write {bare}." if go_network(bare) else _WRITE_A_NETWORK
    if _ip(address) is None:
        return f"it has a path. Write {address}."
    return _mask_mended(entry) or f"it is not a network. {_WRITE_A_NETWORK}"


def _mask_mended(text: str) -> str:
    """What to write for a network with a netmask; '' if it has none."""
    if not re.search(r"/[0-9]+(\.[0-9]+){3}$", text):
        return ""
    try:
        return f"it has a netmask. Write {ipaddress.ip_network(text, strict=False)}."
    except ValueError:
        return ""


# --- registries -----------------------------------------------------------------------------------


def mirror(text: str, engine: str, option: str = "registry_mirrors", paths: bool = False) -> str:
    """A registry mirror by the engine's rules (moby registry/config.go ValidateMirror), which --validate of 26.1 misses.

    ``paths``: accept a mirror with a path, for any engine.
    """

    def refuse(why: str) -> ValueRefused:
        return ValueRefused(f"{option}: {mask.login(text)!r}: {why}")

    if re.search(r"[\s\x00-\x1f\x7f]", text):
        raise refuse("the URL contains a space or newline. Write https://host or https://host:port.")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in ("http", "https"):
        raise refuse("a mirror URL needs the scheme https:// (or http://). Write https://host.")
    if "@" in rest:
        raise refuse(
            "Docker sends no credentials to a mirror and does not start with credentials in its URL. Use a mirror without a login, "
            "or rewrite image names with dockerfile_mirror."
        )
    if re.search(r"[?#]", rest):
        raise refuse("the URL has a query or fragment, with which Docker does not start. Write https://host.")
    address, _slash, path = rest.partition("/")
    _address(address, lambda why: ValueRefused(f"{option}: {text!r}: {why}"))
    if path.strip("/") and not paths and not versions.has("mirror_path", engine):
        raise refuse(
            f"the URL has a path, with which engines older than {versions.text('mirror_path')} do not start (this one is "
            f"{engine or 'unknown'}). Use a mirror whose URL has no path."
        )
    return f"{scheme.lower()}://{rest}"


def insecure_registry(text: str, option: str = "insecure_registries") -> str:
    """A host, host:port, URL, or network with a prefix length, in the form that Docker understands."""

    def refuse(why: str) -> ValueRefused:
        return ValueRefused(f"{option}: {mask.login(text)!r}: {why}")

    scheme, separator, address = text.rpartition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise refuse("Docker does not support the scheme. Write http://host:port, https://host:port or host:port.")
    if "@" in address:
        raise refuse("it contains a login, which Docker does not accept here. Write only the host.")
    if separator:
        address = address[:-1] if address.endswith("/") else address
        if "/" in address:
            raise refuse(f"it has a path. Write {scheme}://{address.partition('/')[0]}.")
    elif "/" in address:
        network = go_network(address)
        if network is None:
            raise refuse(_mask_mended(address) or "it is not a network. Write it as 10.0.0.0/8.")
        return str(network)
    _address(address, refuse)
    return f"{scheme.lower()}://{address}" if separator else address


def registry_address(entry: str) -> str:
    """The registry of an insecure-registries entry, without its scheme."""
    return re.sub(r"^https?://", "", entry, flags=re.IGNORECASE).rstrip("/")


def plain_mirror_works(url: str, insecure: t.Iterable[str], engine: str) -> bool:
    """Whether BuildKit uses a mirror on plain http, given the engine's insecure-registries (lab: 20.10, 26.1, 28.5)."""
    address = registry_address(url)
    written = {entry for entry in insecure if registry_address(entry) == address}
    told = f"http://{address}" in written or (bool(written) and versions.has("insecure_without_scheme", engine))
    return told or versions.has("mirror_http_buildkit", engine)


def has_host_bits(text: str) -> bool:
    """Whether a network is written as an address in it, such as 10.1.2.3/8."""
    network = go_network(text)
    return network is not None and _ip(text.partition("/")[0]) != network.network_address


def is_interface(text: str) -> bool:
    """An address with its prefix length, such as 172.26.0.1/16."""
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text


def _ip(text: str) -> t.Optional[_Address]:
    """The address that Go's net.ParseIP reads; an IPv4 address may be mapped to IPv6."""
    if "%" in text:
        return None
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _is_ip(text: str, version: int = 0) -> bool:
    try:
        return version in (0, ipaddress.ip_address(text).version)
    except ValueError:
        return False
