# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's auth.docker.io: a signed pull token for every request. Its log shows the client's address and program."""

from __future__ import annotations

import base64
import json
import ssl
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

PKI = Path(sys.argv[1])
KEY = (PKI / "token.key").read_text()
CERTIFICATE = x509.load_pem_x509_certificate((PKI / "token.crt").read_bytes())
LIFETIME = 300


def access(scope: str) -> dict[str, object]:
    kind, name, _actions = scope.split(":")
    return {"type": kind, "name": name, "actions": ["pull"]}


def signed(service: str, scopes: list[str]) -> str:
    now = int(time.time())
    claims = {
        "iss": "auth.docker.io", "aud": service, "sub": "", "iat": now, "nbf": now - 60, "exp": now + LIFETIME,
        "access": [access(scope) for scope in scopes],
    }  # fmt: skip
    chain = [base64.b64encode(CERTIFICATE.public_bytes(Encoding.DER)).decode()]
    return jwt.encode(claims, KEY, algorithm="RS256", headers={"x5c": chain})


class TokenServer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        scopes = " ".join(query.get("scope", [])).split()
        token = signed(query.get("service", [""])[0], scopes)
        body = json.dumps({"token": token, "access_token": token, "expires_in": LIFETIME}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:  # clients that try OAuth first fall back to GET
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        print(self.client_address[0], self.command, self.path, code, self.headers.get("User-Agent", ""), flush=True)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):  # type: ignore[no-untyped-def]
        # The handshake happens in the connection's own thread: a client that never finishes it blocks nobody.
        request.settimeout(20)
        super().finish_request(TLS.wrap_socket(request, server_side=True), client_address)

    def handle_error(self, request, client_address):  # type: ignore[no-untyped-def]
        print(client_address[0], "broken off:", sys.exc_info()[1], flush=True)


TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
TLS.load_cert_chain(PKI / "token.crt", PKI / "token.key")

if __name__ == "__main__":
    Server(("0.0.0.0", 443), TokenServer).serve_forever()
