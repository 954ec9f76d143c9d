# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirrors of every kind on one address, distinguished by their names: `candidates.py PKI UPSTREAM`. UPSTREAM is a mirror that serves images without a token."""

from __future__ import annotations

import json
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

PKI, UPSTREAM = Path(sys.argv[1]), sys.argv[2]
ALLOWED = ("library/busybox",)  # of the mirror with an allowlist
SLOW = 100_000  # bytes a second
PAGE = b"<html><body>Welcome to our mirror</body></html>"
WRONG_NAME = "wrong-name.lab"
TOKEN = "a-token-of-its-own"


def error(code: str, message: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


class Mirror(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        name = self.headers.get("Host", "").partition(":")[0].partition(".")[0].replace("-", "_")
        getattr(self, f"as_{name}", self.pass_on)()

    do_HEAD = do_GET

    # --- one method for each name --------------------------------------------------------------------

    def as_own_realm(self) -> None:
        """The common kind of Cloudflare Worker: its own realm, redirects for short names, and it follows the redirects of layers itself."""
        path = urlsplit(self.path).path
        if path == "/v2/auth":
            self.say(200, json.dumps({"token": TOKEN}).encode())
        elif self.headers.get("Authorization") != f"Bearer {TOKEN}":
            realm = 'Bearer realm="https://own-realm.lab/v2/auth",service="cloudflare-docker-proxy"'
            self.say(401, error("UNAUTHORIZED", "authentication required"), {"WWW-Authenticate": realm})
        elif re.match(r"/v2/[^/]+/(?:manifests|blobs)/", path):
            self.say(301, b"", {"Location": f"https://own-realm.lab/v2/library/{path[4:]}"})
        else:
            self.pass_on()

    def as_login(self) -> None:
        self.say(401, error("UNAUTHORIZED", "access to the requested resource is not authorized"), {"WWW-Authenticate": 'Basic realm="Nexus"'})

    def as_page(self) -> None:
        self.say(200, PAGE, {"Content-Type": "text/html"})

    def as_allowlist(self) -> None:
        repository = re.match(r"/v2/(.+)/(?:manifests|blobs)/", self.path)
        if repository and repository[1] not in ALLOWED:
            self.say(403, error("DENIED", f"{repository[1]} is not in the allowlist"))
        else:
            self.pass_on()

    def as_limited(self) -> None:
        self.say(429, error("TOOMANYREQUESTS", "too many requests"), {"Retry-After": "3600"})

    def as_slow(self) -> None:
        self.pass_on(SLOW)

    # --- answers -------------------------------------------------------------------------------------

    def say(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def pass_on(self, pace: int = 0) -> None:
        asked = urllib.request.Request(UPSTREAM + self.path, method=self.command, headers={"Accept": ", ".join(self.headers.get_all("Accept") or ["*/*"])})
        try:
            answer = urllib.request.urlopen(asked, timeout=30)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            kept = ("Content-Type", "Content-Length", "Docker-Content-Digest", "Docker-Distribution-Api-Version")
            self.send_response(answer.status)
            for name in kept:
                if answer.headers.get(name):
                    self.send_header(name, answer.headers[name])
            self.end_headers()
            while self.command != "HEAD":
                part = answer.read(pace // 10 if pace else 65536)
                if not part:
                    break
                self.wfile.write(part)
                time.sleep(len(part) / pace if pace else 0)

    def log_message(self, shape: str, *values: object) -> None:
        print(self.client_address[0], self.headers.get("Host") if hasattr(self, "headers") else "-", shape % values, flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):  # type: ignore[no-untyped-def]
        request.settimeout(60)
        super().finish_request(TLS.wrap_socket(request, server_side=True), client_address)

    def handle_error(self, request, client_address):  # type: ignore[no-untyped-def]
        print(client_address[0], "broken off:", sys.exc_info()[1], flush=True)


def context(name: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(PKI / f"{name}.crt", PKI / f"{name}.key")
    return made


def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
    if name == WRONG_NAME:
        connection.context = OTHER


TLS, OTHER = context("candidates"), context("relay")
TLS.sni_callback = choose  # type: ignore[assignment]

if __name__ == "__main__":
    Server(("0.0.0.0", 443), Mirror).serve_forever()
