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
_PORTS = {"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}
_Address = t.Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
_Network = t.Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

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

    def server(self) -> t.Tuple[str, int]:
        """Host and port to connect to."""
        name, port = _split_port(self.address) or (self.address.strip("[]"), "")
        return name, int(port or _PORTS[self.scheme])


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
            raise refuse(f"'{host}' is not a host name. Use letters, digits, '-' and '.'.")
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise refuse(f"the port '{port}' is not a number between 1 and 65535.")
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
                f"{option}: the entry {entry[:60]!r} holds a blank, a quote or another character that cannot be in a "
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
    """Whether Go asks this host directly in spite of a proxy (golang.org/x/net/http/httpproxy, config.init and useProxy)."""
    host = host.lower()
    address = _ip(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_excepts(entry, host, address, str(port)) for entry in no_proxy_set(exceptions))


def _excepts(entry: str, host: str, address: t.Optional[_Address], port: str) -> bool:
    """Whether one entry, in small letters, names this host."""
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
    """The network that Go's net.ParseCIDR reads, which knows prefix lengths alone; None for whatever else."""
    address, _slash, length = text.partition("/")
    if not re.fullmatch(r"[0-9]{1,3}", length) or "%" in address:
        return None
    try:
        return ipaddress.ip_network(f"{address}/{int(length)}", strict=False)
    except ValueError:
        return None


def _split_port(text: str) -> t.Optional[t.Tuple[str, str]]:
    """Go's net.SplitHostPort: an IPv6 address stands in brackets; None where there is no port."""
    found = re.fullmatch(r"\[([^\[\]]*)\]:([^:\[\]]*)", text) or re.fullmatch(r"([^:\[\]]*):([^:\[\]]*)", text)
    return (found[1], found[2]) if found else None


def no_proxy_warnings(entries: t.Sequence[str]) -> t.List[str]:
    """Entries that Go's NO_PROXY does not understand as they are meant (tests/field/no_proxy.json holds what real daemons did)."""
    misread = [(entry, _misread(entry)) for entry in entries]
    return [f"no_proxy: Docker does not understand '{entry}': {why}" for entry, why in misread if why]


_WRITE_A_NETWORK = "Write a network, such as 192.168.0.0/16."
_WRITE_A_DOMAIN = "Write a domain with its subdomains as 'example.com', subdomains alone as '.example.com'."
# Shapes of names and addresses that programs other than Go know.
_FOREIGN_SHAPES = (
    (re.compile(r"<.*>$"), "it is a word of Windows. Write the hosts, or their domain as '.example.com'."),
    (re.compile(r"(?=.*\d)[0-9a-f.:]+-[0-9a-f.:]+$"), f"it is a range of addresses. {_WRITE_A_NETWORK}"),
    (re.compile(r"[0-9][0-9.*-]*$|[0-9a-f:]*:[0-9a-f:]*\*"), f"it is a part of an address. {_WRITE_A_NETWORK}"),
    (re.compile(r"[\^$()|+?{}~]"), f"it looks like a regular expression. {_WRITE_A_DOMAIN}"),
    (re.compile(r"\*\.?$|(?!\*\.)\*|..*\*"), f"a '*' stands only in front of a whole domain, as in '*.example.com'. {_WRITE_A_DOMAIN}"),
    (re.compile(r"\.\.|.*\.$"), f"it has a dot too many. {_WRITE_A_DOMAIN}"),
    (re.compile(r"$"), "it has no host. Write host:port."),
)


def _misread(entry: str) -> str:
    """Why Go does not understand this entry, and what to write; '' where it does."""
    entry = entry.lower()
    if entry == "*" or go_network(entry) is not None:
        return ""
    if "/" in entry:
        return _misread_network(entry)
    if entry.startswith("[") and entry.endswith("]"):
        return f"brackets belong to a port. Write {entry[1:-1]}."
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
        return f"a network stands without brackets and port. Write {bare}." if go_network(bare) else _WRITE_A_NETWORK
    if _ip(address) is None:
        return f"it has a path. Write {address}."
    return _mask_mended(entry) or f"it is not a network. {_WRITE_A_NETWORK}"


def _mask_mended(text: str) -> str:
    """What to write for a network with a netmask; '' where it has none."""
    if not re.search(r"/[0-9]+(\.[0-9]+){3}$", text):
        return ""
    try:
        return f"it has a netmask. Write {ipaddress.ip_network(text, strict=False)}."
    except ValueError:
        return ""


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
    """A host, host:port or URL, or a network by its prefix length; in the form that Docker understands."""

    def refuse(why: str) -> ValueRefused:
        return ValueRefused(f"{option}: {re.sub(r'[^/]*@', f'{MASK}:{MASK}@', text)!r}: {why}")

    scheme, found, address = text.rpartition("://")
    if found and scheme.lower() not in ("http", "https"):
        raise refuse("the scheme is unknown to Docker. Write http://host:port, https://host:port or host:port.")
    if "@" in address:
        raise refuse("it has a login, which Docker does not take here. Write the host alone.")
    if found:
        address = address[:-1] if address.endswith("/") else address
        if "/" in address:
            raise refuse(f"it has a path. Write {scheme}://{address.partition('/')[0]}.")
    elif "/" in address:
        network = go_network(address)
        if network is None:
            raise refuse(_mask_mended(address) or "it is not a network. Write it as 10.0.0.0/8.")
        return str(network)
    _address(address, refuse)
    return f"{scheme.lower()}://{address}" if found else address


def registry_address(entry: str) -> str:
    """The registry of an entry of insecure-registries, without its scheme."""
    return re.sub(r"^https?://", "", entry, flags=re.IGNORECASE).rstrip("/")


def plain_mirror_works(url: str, insecure: t.Iterable[str], engine: str) -> bool:
    """Whether BuildKit uses a mirror on plain http, given the engine's insecure-registries (lab: 20.10, 26.1, 28.5)."""
    address = registry_address(url)
    written = {entry for entry in insecure if registry_address(entry) == address}
    told = f"http://{address}" in written or (bool(written) and versions.has("insecure_without_scheme", engine))
    return told or versions.has("mirror_http_buildkit", engine)


def has_host_bits(text: str) -> bool:
    """Whether a network is named by an address in it, such as 10.1.2.3/8."""
    network = go_network(text)
    return network is not None and _ip(text.partition("/")[0]) != network.network_address


def is_interface(text: str) -> bool:
    """An address with the length of its network, such as 172.26.0.1/16."""
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text


def _ip(text: str) -> t.Optional[_Address]:
    """The address that Go's net.ParseIP reads; an IPv4 address may be mapped into IPv6."""
    if "%" in text:
        return None
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _is_ip(text: str, version: int = 0) -> bool:
    try:
        return version in (0, ipaddress.ip_address(text).version)
    except ValueError:
        return False
