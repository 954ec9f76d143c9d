# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Masking of secrets, in one place.

A proxy's user and password are written as Docker itself writes them,
``http://xxxxx:xxxxx@proxy:3128`` (moby, MaskCredentials).
In doubt it hides more, never less.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import quote, quote_plus, unquote

MASK = "xxxxx"

# The userinfo is the text between '://' and the last '@' of the word, so that
# a password with an unencoded '/' or '@' is hidden too.
_USERINFO = re.compile(r"""(?P<scheme>\b[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s"'<>]*@""")
# Too short to be searched outside a URL: '12' would blank half of a log.
_SHORTEST = 4
# Words that appear in every result are not masked either: '/etc/docker/daemon.json' must not reveal that one of them is the password.
_EVERYWHERE = {
    "absent", "auto", "changed", "daemon", "daemon_json", "default", "docker", "dockerd", "false", "host", "http", "https", "json", "localhost", "mirror",
    "mode", "none", "present", "proxies", "proxy", "registry", "root", "service", "socks5", "systemd", "sysvinit", "true",
}  # fmt: skip


def urls(text: str) -> str:
    """The text with the userinfo of every URL hidden."""
    return _USERINFO.sub(lambda match: f"{match['scheme']}{MASK}:{MASK}@", text) if "@" in text else text


def login(text: str) -> str:
    """An address with its login hidden, also without a scheme."""
    return re.sub(r"(?s)^(\w+://)?.*@", rf"\1{MASK}:{MASK}@", text)


def userinfo(url: str) -> t.Tuple[str, str]:
    """User and password of a proxy URL as written there ('' without them)."""
    head, at, _rest = url.rpartition("@")
    if not at:
        return "", ""
    user, _colon, password = head.rpartition("://")[2].partition(":")
    return user, password


class Secrets:
    """The passwords of this run, and how to remove them from texts."""

    def __init__(self) -> None:
        self._passwords: t.Set[str] = set()
        self._heads: t.Set[str] = set()

    def learn_url(self, url: str) -> None:
        head, at, _rest = url.rpartition("@")
        if at:
            # A proxy may be written without a scheme, which hides it from urls().
            self._heads.add(head.rpartition("://")[2] + "@")
            self.learn(userinfo(url)[1])

    def learn(self, password: str) -> None:
        plain = unquote(password)
        self._passwords.update({password, plain, *(quoted(one, safe="", errors="replace") for quoted in (quote, quote_plus) for one in (password, plain))})

    def text(self, text: str) -> str:
        """Mask a text written by others (a log, a file), or one that quotes it."""
        for head in sorted(self._heads, key=len, reverse=True):
            text = text.replace(head, f"{MASK}:{MASK}@")
        text = urls(text)
        for password in sorted(self._passwords, key=len, reverse=True):
            if len(password) >= _SHORTEST and password.lower() not in _EVERYWHERE:
                # Whole words only: the password 'lock' must not change 'docker is blocked'.
                text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(password)}(?![A-Za-z0-9])", MASK, text)
        return text

    def tree(self, value: t.Any) -> t.Any:
        """Mask every string in a result, keys included; leave everything else alone."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.tree(key): self.tree(item) for key, item in value.items()}
        if isinstance(value, (list, tuple, set)):
            return [self.tree(item) for item in value]
        return value
