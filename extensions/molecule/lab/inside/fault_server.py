# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry, a mirror or a proxy with a fault, on the host itself: `fault_server.py PORT ANSWER [CERTIFICATE]`.

ANSWER is a status, `html` (a page where a registry should be), `lacks` (a registry without images), `pass` (it serves the images of the lab's mirror),
`cut` (the same, but each layer ends in its middle), `empty` (the same without layers and configurations), `platform` (images of another platform only),
`token-STATUS` and `token-html` (a mirror whose own token server answers so), `tunnel` (a proxy that passes everything on to the lab's proxy),
`closes` (a server that ends each connection instead of an answer), `closes-tunnels` (a proxy that answers CONNECT and ends the connection then),
or `goaway` (a server that ends each HTTP/2 connection). With CERTIFICATE, a file with a certificate and its key, it speaks TLS.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Mapping

PAGE = b"<html><body>Please sign in to the guest network.</body></html>"
UPSTREAM, CA, PROXY = "https://mirror.lab", "/lab/ca.crt", ("proxy.lab", 8888)
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OTHER_PLATFORM = {
    "schemaVersion": 2,
    "mediaType": INDEX,
    "manifests": [{"mediaType": MANIFEST, "digest": f"sha256:{'5' * 64}", "size": 528, "platform": {"architecture": "s390x", "os": "linux"}}],
}
TLS_RECORD = b"\x16"  # the first byte of a handshake
GZIP = b"\x1f\x8b"  # a layer begins with it
HTTP2_SETTINGS, HTTP2_GOAWAY = b"\0\0\0\4" + bytes(5), b"\0\0\x08\7" + bytes(5) + bytes(4) + (11).to_bytes(4, "big")


def error(code: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": code.lower().replace("_", " ")}]}).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wrong = "500"

    def answer(self, status: int, kind: str, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.close_connection = True

    def do_GET(self) -> None:
        hello = self.path.rstrip("/") == "/v2"
        if self.wrong == "html":
            self.answer(200, "text/html", PAGE)
        elif self.wrong == "lacks":
            self.answer(200 if hello else 404, "application/json", b"{}" if hello else error("MANIFEST_UNKNOWN"))
        elif self.wrong == "platform":
            self.answer(200, *("application/json", b"{}") if hello else (INDEX, json.dumps(OTHER_PLATFORM).encode()))
        elif self.wrong.startswith("token-"):
            self.token(self.wrong.partition("-")[2])
        elif self.wrong == "closes-tunnels" and self.command == "CONNECT":
            self.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            self.connection.recv(65536)  # with something unread, the end would be a reset
            self.close_connection = True
        elif self.wrong == "empty" and "/blobs/" in self.path:
            self.answer(404, "application/json", error("BLOB_UNKNOWN"))
        elif self.wrong in ("pass", "cut", "empty"):
            self.pass_on()
        else:
            self.answer(int(self.wrong), "text/plain", b"no\n")

    do_HEAD = do_CONNECT = do_POST = do_GET

    def token(self, wrong: str) -> None:
        if not self.path.startswith("/token"):
            realm = f'Bearer realm="http://{self.headers["Host"]}/token",service="faulty"'
            self.answer(401, "application/json", error("UNAUTHORIZED"), {"WWW-Authenticate": realm})
        elif wrong == "html":
            self.answer(200, "text/html", PAGE)
        else:
            self.answer(int(wrong), "application/json", error("DENIED"))

    def pass_on(self) -> None:
        accepted = {"Accept": ", ".join(self.headers.get_all("Accept") or ["*/*"])}
        asked = urllib.request.Request(UPSTREAM + self.path, method=self.command, headers=accepted)
        try:
            found = urllib.request.urlopen(asked, timeout=30, context=ssl.create_default_context(cafile=CA))
        except urllib.error.HTTPError as refused:
            found = refused
        with found:
            body, kind = found.read(), found.headers.get("Content-Type", "application/json")
            kept = ("Docker-Content-Digest", "Docker-Distribution-Api-Version", *(["Content-Length"] if self.command == "HEAD" else []))
            headers = {name: found.headers[name] for name in kept if found.headers.get(name)}
        if self.wrong == "cut" and body.startswith(GZIP):
            headers["Content-Length"], body = str(len(body)), body[: len(body) // 2]
        self.answer(found.status or 200, kind, body, headers)

    def log_message(self, *_arguments: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    context: ssl.SSLContext | None = None

    def finish_request(self, request, client_address):  # type: ignore[no-untyped-def]
        request.settimeout(60)
        if Handler.wrong == "closes":
            request.recv(65536)
            return
        if not self.context and request.recv(1, socket.MSG_PEEK) == TLS_RECORD:
            request.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")  # what a real registry without TLS answers
            return
        connection = self.context.wrap_socket(request, server_side=True) if self.context else request
        if Handler.wrong == "tunnel":
            tunnel(connection)
        elif Handler.wrong == "goaway":
            connection.sendall(HTTP2_SETTINGS + HTTP2_GOAWAY)
            while connection.recv(65536):
                pass
        else:
            super().finish_request(connection, client_address)

    def handle_error(self, request, client_address):  # type: ignore[no-untyped-def]
        print(client_address[0], "broken off:", sys.exc_info()[1], flush=True)


def tunnel(near: socket.socket) -> None:
    with socket.create_connection(PROXY, 30) as far:
        threading.Thread(target=copy, args=(far, near), daemon=True).start()
        copy(near, far)


def copy(source: socket.socket, target: socket.socket) -> None:
    while part := source.recv(65536):
        target.sendall(part)


def main(port: str, wrong: str, certificate: str = "") -> None:
    Handler.wrong = wrong
    if certificate:
        Server.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        Server.context.load_cert_chain(certificate)
        Server.context.set_alpn_protocols(["h2"] if wrong == "goaway" else ["http/1.1"])
    Server(("", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
