# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests through a SOCKS5 proxy (RFC 1928, RFC 1929), which urllib cannot make. The proxy looks names up, as it does for Docker."""

from __future__ import annotations

import contextlib
import functools
import http.client
import ipaddress
import socket
import ssl
import struct
import typing as t
import urllib.request
from urllib.parse import unquote, urlsplit

SCHEMES = ("socks5", "socks5h")
_NO_LOGIN, _PASSWORD = 0, 2
# In the words of Go's SOCKS client, which are those of the daemon's errors.
_SAYS = {
    1: "general SOCKS server failure",
    2: "connection not allowed by ruleset",
    3: "network unreachable",
    4: "host unreachable",
    5: "connection refused",
    6: "TTL expired",
    7: "command not supported",
    8: "address type not supported",
}


class SocksError(OSError):
    """Why the proxy did not connect; ``reason`` begins with 'proxy '."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def handlers(proxy: str, context: ssl.SSLContext) -> t.Tuple[urllib.request.BaseHandler, ...]:
    """What urllib needs to ask through this proxy."""
    return _Handler(proxy), _SecureHandler(proxy, context)


class _Handler(urllib.request.HTTPHandler):
    def __init__(self, proxy: str) -> None:
        super().__init__()
        self._proxy = proxy

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(t.cast(t.Any, functools.partial(_Connection, self._proxy)), req)


class _SecureHandler(urllib.request.HTTPSHandler):
    def __init__(self, proxy: str, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._proxy, self._tls = proxy, context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(t.cast(t.Any, functools.partial(_SecureConnection, self._proxy, self._tls)), req)


class _Connection(http.client.HTTPConnection):
    def __init__(self, proxy: str, host: str, timeout: float) -> None:
        super().__init__(host, timeout=timeout)
        self._proxy = proxy

    def connect(self) -> None:
        self.sock = connect(self._proxy, self.host, self.port, t.cast(float, self.timeout))


class _SecureConnection(http.client.HTTPSConnection):
    def __init__(self, proxy: str, context: ssl.SSLContext, host: str, timeout: float) -> None:
        super().__init__(host, timeout=timeout, context=context)
        self._proxy, self._tls = proxy, context

    def connect(self) -> None:
        self.sock = self._tls.wrap_socket(connect(self._proxy, self.host, self.port, t.cast(float, self.timeout)), server_hostname=self.host)


def connect(proxy: str, host: str, port: int, timeout: float) -> socket.socket:
    """A connection to the host that the proxy made."""
    parts = urlsplit(proxy)
    try:
        sock = socket.create_connection((parts.hostname or "", parts.port or 1080), timeout)
    except OSError as error:
        kinds = ((socket.gaierror, "dns"), (ConnectionRefusedError, "refused"), (socket.timeout, "timeout"))
        raise SocksError(f"proxy {next((reason for kind, reason in kinds if isinstance(error, kind)), 'no route')}") from error
    try:
        _log_in(sock, unquote(parts.username or ""), unquote(parts.password or ""))
        _ask_for(sock, host, port)
    except BaseException:
        sock.close()
        raise
    return sock


def _log_in(sock: socket.socket, user: str, password: str) -> None:
    methods = [_NO_LOGIN] + [_PASSWORD] * bool(user)
    sock.sendall(bytes([5, len(methods), *methods]))
    version, method = _exactly(sock, 2)
    if version != 5:
        raise SocksError("proxy tls")  # or whatever it speaks
    if method == _PASSWORD and user:
        name, word = user.encode()[:255], password.encode()[:255]
        sock.sendall(bytes([1, len(name)]) + name + bytes([len(word)]) + word)
        method = _NO_LOGIN if _exactly(sock, 2)[1] == 0 else 255
    if method != _NO_LOGIN:
        raise SocksError("proxy status 407")


def _ask_for(sock: socket.socket, host: str, port: int) -> None:
    sock.sendall(b"\x05\x01\x00" + _address(host) + struct.pack(">H", port))
    _version, answer, _reserved, kind = _exactly(sock, 4)
    if answer:
        raise SocksError(f"proxy says {_SAYS.get(answer, f'error {answer}')}")
    _exactly(sock, {1: 4, 4: 16}.get(kind) or _exactly(sock, 1)[0])
    _exactly(sock, 2)


def _address(host: str) -> bytes:
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host.strip("[]"))
        return bytes([1 if address.version == 4 else 4]) + address.packed
    name = host.encode()[:255]
    return bytes([3, len(name)]) + name


def _exactly(sock: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        try:
            chunk = sock.recv(count - len(received))
        except socket.timeout as error:
            raise SocksError("proxy timeout") from error
        if not chunk:
            raise SocksError("proxy reset")
        received += chunk
    return received
