# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The host for a module that sends requests to web servers."""

from __future__ import annotations

import functools
import http.client
import re
import ssl
import time
import typing as t
import urllib.error
import urllib.request

from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._host import socks
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, transport


@functools.lru_cache(maxsize=None)
def _authorities() -> ssl.SSLContext:
    """The host's trust store, read once: reading it takes longer than a request."""
    return ssl.create_default_context()


def _through(proxies: t.Dict[str, str]) -> t.Tuple[urllib.request.BaseHandler, ...]:
    """The handlers that ask through these proxies, a SOCKS proxy or some that speak HTTP."""
    context = _authorities()
    for proxy in proxies.values():
        if proxy.partition("://")[0] in socks.SCHEMES:
            return (urllib.request.ProxyHandler({}), *socks.handlers(proxy, context))
    return urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: t.Any, **_keywords: t.Any) -> None:
        """Does nothing: the caller decides which headers go to another host."""


def _read(answer: t.Any, most: int, until: float) -> Answer:
    """An answer with the first bytes of its body, as many as arrive in time."""
    body, reason = b"", ""
    try:
        while len(body) < most and not reason:
            chunk = answer.read1(min(65536, most - len(body)))
            if not chunk:
                break
            body += chunk
            reason = "timeout" if time.monotonic() > until else ""
    except (OSError, http.client.HTTPException) as error:
        reason = "cut off" if isinstance(error, http.client.IncompleteRead) else transport(error)
    length = answer.headers.get("Content-Length") or ""
    if not reason and re.fullmatch(r"[0-9]{1,18}", length) and len(body) < min(most, int(length)):
        reason = "cut off"
    return Answer(answer.status, dict(answer.headers.items()), reason, body)


class WebHost(Host):
    def http_request(
        self, url: str, headers: t.Mapping[str, str], timeout: float, method: str = "GET", most: int = 0, proxies: t.Optional[t.Mapping[str, str]] = None
    ) -> Answer:
        """One request, through these proxies only: redirects are not followed, and at most this many bytes of the body are read."""
        opener = urllib.request.build_opener(*_through(dict(proxies or {})), _NoRedirects())
        until = time.monotonic() + timeout
        try:
            with opener.open(urllib.request.Request(url, headers=dict(headers), method=method), timeout=timeout) as answer:
                return _read(answer, most if method == "GET" else 0, until)
        except urllib.error.HTTPError as error:
            with error:
                return _read(error, most if method == "GET" else 0, until)
        except (OSError, http.client.HTTPException, ValueError) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            return Answer(0, {}, cause.reason if isinstance(cause, socks.SocksError) else transport(cause))
