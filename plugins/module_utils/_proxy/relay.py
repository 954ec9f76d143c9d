# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of squid as a relay: it holds the password of a proxy, so that its clients need none."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import Proxy, ValueRefused, go_network, no_proxy, proxy

_HEADER = """\
# Written by the role buildfleet.docker.proxy_relay. It contains the password of the proxy: readable by root only.
visible_hostname buildfleet-relay
pid_filename none
access_log none
cache_log /dev/null
cache_store_log none
netdb_filename none
pinger_enable off
cache deny all
memory_pools off
forwarded_for delete
httpd_suppress_version_string on
# After a reload squid 5 and 6 send a relative URL on a connection to the proxy that was open before; the proxy answers 400.
server_persistent_connections off
shutdown_lifetime 1 seconds
"""


class Relay(t.NamedTuple):
    """Where the relay listens, and who may use it."""

    addresses: t.Sequence[str]
    port: int
    networks: t.Sequence[str]


def configuration(relay: Relay, options: t.Mapping[str, t.Any]) -> str:
    """squid.conf. The options are those of the daemon: the proxies, their login, and what is reached without them."""
    upstreams = _upstreams(options)
    lines = [f"http_port {address}:{relay.port}" for address in relay.addresses]
    lines += ["acl clients src " + " ".join(["127.0.0.0/8", *map(_network, relay.networks)]), "http_access deny manager", "http_access deny !clients"]
    exceptions = _exceptions(no_proxy(options.get("no_proxy") or ()))
    lines += [line for acls, _excepted in exceptions for line in acls]
    # Otherwise a container would reach the services on the loopback of its host.
    lines += [f"http_access deny {names} to_localhost" for _acls, names in exceptions]
    lines += ["http_access allow clients", *(f"always_direct allow {names}" for _acls, names in exceptions), "never_direct allow all"]
    return _HEADER + "\n".join(lines + _peers(upstreams)) + "\n"


def _upstreams(options: t.Mapping[str, t.Any]) -> t.Dict[str, Proxy]:
    """The proxies for http and https; if one is not given, the other one serves both."""
    login = (options.get("proxy_username") or "", options.get("proxy_password") or "")
    proxies = {}
    for name in ("http_proxy", "https_proxy"):
        if options.get(name):
            proxies[name] = proxy(options[name], name, *login)
            if proxies[name].scheme != "http":
                raise ValueRefused(
                    f"{name}: the relay (squid) cannot forward to a proxy with the scheme {proxies[name].scheme}. "
                    "Set an http:// proxy, or do not use the relay."
                )
    if not proxies:
        raise ValueRefused("The relay needs a proxy to forward to. Set http_proxy or https_proxy.")
    first = next(iter(proxies.values()))
    return {name: proxies.get(name, first) for name in ("http_proxy", "https_proxy")}


def _peers(upstreams: t.Mapping[str, Proxy]) -> t.List[str]:
    if upstreams["http_proxy"] == upstreams["https_proxy"]:
        return [_peer("proxy", upstreams["http_proxy"])]
    return [
        _peer("http_proxy", upstreams["http_proxy"]),
        _peer("https_proxy", upstreams["https_proxy"]),
        "acl tunnel method CONNECT",
        "cache_peer_access http_proxy deny tunnel",
        "cache_peer_access https_proxy allow tunnel",
        "cache_peer_access https_proxy deny all",
    ]


def _peer(name: str, upstream: Proxy) -> str:
    host, port = upstream.server()
    login = f" login={_encoded(upstream.user)}:{_encoded(upstream.password)}" if upstream.user or upstream.password else ""
    return f"cache_peer {host} parent {port} 0 no-query no-digest no-netdb-exchange default name={name}{login}"


def _encoded(text: str) -> str:
    """squid decodes the login of a peer, and its configuration would end a word at a blank or a quote."""
    return "".join(char if re.match("[A-Za-z0-9]", char) else "".join(f"%{byte:02X}" for byte in char.encode()) for char in text)


def _network(text: str) -> str:
    network = go_network(text if "/" in text else f"{text}/{128 if ':' in text else 32}")
    if network is None:
        raise ValueRefused(f"networks: {text!r} is not a network. Write it as 172.18.0.0/16.")
    return str(network)


def _exceptions(entries: t.Sequence[str]) -> t.List[t.Tuple[t.List[str], str]]:
    """For each entry of no_proxy its access lists and their names, with Go's meaning of the entry."""
    return [(_exception(f"direct{number}", entry.lower()), _names(f"direct{number}", entry)) for number, entry in enumerate(entries, 1)]


def _names(name: str, entry: str) -> str:
    return f"{name} {name}_port" if _port(entry) else name


def _port(entry: str) -> str:
    match = re.fullmatch(r"(?:\[[^\[\]]*\]|[^:\[\]]*):([0-9]+)", entry)
    return match[1] if match else ""


def _exception(name: str, entry: str) -> t.List[str]:
    port = _port(entry)
    host = entry[: -len(port) - 1] if port else entry
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    lines = [f"acl {name}_port port {port}"] if port else []
    if host == "*":
        return [f"acl {name} src all", *lines]
    network = go_network(host) or go_network(f"{host}/{128 if ':' in host else 32}")
    if network is not None:
        return [f"acl {name} dst -n {network}", *lines]
    host = host[1:] if host.startswith("*.") else host
    start = "" if host.startswith(".") else r"(^|\.)"
    return [f"acl {name} dstdom_regex -n -i {start}{re.escape(host)}$", *lines]
