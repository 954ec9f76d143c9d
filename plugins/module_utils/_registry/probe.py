# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a mirror's answers mean. The caller passes the function that sends the requests."""

from __future__ import annotations

import re
import typing as t
from urllib.parse import SplitResult, urlsplit

from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer

WANTS_LOGIN = "wants a login"

Get = t.Callable[[str, t.Mapping[str, str], float], Answer]  # a URL, headers and seconds; follows redirects


class Mirror(t.NamedTuple):
    """A mirror's answer to a direct request (status 0: none, and reason says why)."""

    url: str
    status: int = 0
    realm: str = ""
    manifest: int = 0
    reason: str = ""
    content: str = ""  # why it serves no layers
    named_by: str = ""  # docker_registry_hosts, or the hosts.toml of others; '' for a mirror of daemon.json
    is_plain: bool = True  # requested as one of daemon.json is: without `ns`

    @property
    def host(self) -> str:
        return host_of(self.url) or self.url

    @property
    def realm_host(self) -> str:
        return host_of(self.realm)

    @property
    def sends_elsewhere(self) -> bool:
        return self.status == 401 and bool(self.realm_host) and self.realm_host != self.host

    @property
    def wants_login(self) -> bool:
        """It requires a login and has no token server: Docker sends no credentials to mirrors."""
        return self.status == 401 and not self.realm_host

    @property
    def error(self) -> str:
        """The error that makes it unusable as a registry for this image; '' if there is none."""
        if self.wants_login:
            return WANTS_LOGIN
        if self.status >= 402 or self.status in (400,):
            return f"status {self.status}"
        if self.status == 200 and self.manifest >= 400 and self.manifest != 404:
            return f"status {self.manifest}"
        return self.reason if self.status else ""


class Challenge(t.NamedTuple):
    """What a 401 requires (RFC 7235)."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""


def ask_mirror(get: Get, url: str, timeout: float = 5) -> Mirror:
    """Whether a mirror answers as a registry."""
    hello = get(f"{url.rstrip('/')}/v2/", {}, timeout)
    page = hello.status == 200 and hello.is_page
    return Mirror(url, hello.status, challenge(hello).realm, reason="html page" if page else hello.reason)


def challenge(answer: Answer) -> Challenge:
    text = answer.header("WWW-Authenticate")
    fields = dict(re.findall(r'(\w+)="([^"]*)"', text))
    return Challenge(text.partition(" ")[0].lower(), fields.get("realm", ""), fields.get("service", ""), fields.get("scope", ""))


def host_of(url: str) -> str:
    """The host of a URL; '' if it is cut or invalid."""
    return (split_url(url).hostname or "") if "://" in url else ""


def split_url(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")
