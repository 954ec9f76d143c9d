# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work for the daemon that lasts until it is released: through the API, as an SDK asks for it, without any docker command.

`held.py serve` is a registry on the loopback that keeps whoever asks waiting; `held.py pull|push|build|export` asks the daemon,
and `import|load|upload|copy` hand it a body that comes slowly. `held.py collect` is a server of logs.
HELD appears when somebody waits; all go on when RELEASED does.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import io
import json
import os
import socket
import socketserver
import sys
import tarfile
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Iterator
from urllib.parse import parse_qs, urlsplit

HELD, RELEASED = "/run/held", "/run/released"
REGISTRY = "127.0.0.1:5000"


def hold() -> None:
    open(HELD, "w").close()
    while not os.path.exists(RELEASED):
        time.sleep(0.05)


def tar(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


ROOT = tar("file", os.urandom(100_000))
LAYER = gzip.compress(ROOT)
CONFIG = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(ROOT)]}}).encode()
MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(CONFIG), "digest": digest(CONFIG)},
        "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(LAYER), "digest": digest(LAYER)}],
    }
).encode()


PUSHED = set()


class Registry(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes = b"", held: bool = False, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(body) // 2 if held else 0
        self.wfile.write(body[:half])
        if held:
            self.wfile.flush()
            hold()
        self.wfile.write(body[half:])

    def do_GET(self) -> None:
        known = {digest(CONFIG): CONFIG, digest(LAYER): LAYER}
        name = self.path.rpartition("/")[2]
        if self.path == "/file":
            self.answer(200, LAYER, held=True)
        elif "/manifests/" in self.path:
            self.answer(200, MANIFEST, Content_Type=MANIFEST_TYPE, Docker_Content_Digest=digest(MANIFEST))
        elif name in known and "/slow/" in self.path:
            self.answer(200, known[name], held=name == digest(LAYER), Content_Type="application/octet-stream")
        elif name in PUSHED:
            self.answer(200, b"-", Docker_Content_Digest=name)
        else:
            self.answer(200 if self.path == "/v2/" else 404)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.answer(202, Location=f"http://{REGISTRY}{self.path.partition('?')[0]}1")

    def do_PATCH(self) -> None:
        """A blob as the graphdriver store sends it; an empty PUT ends the upload."""
        size = len(self.receive())
        hold()
        self.answer(202, Location=f"http://{REGISTRY}{self.path}", Range=f"0-{size - 1}")

    def do_PUT(self) -> None:
        """A manifest, the end of an upload, or a blob as the containerd store sends it: all of it, without a PATCH."""
        body = self.receive()
        given = parse_qs(urlsplit(self.path).query).get("digest", [""])[0]
        if given and body:
            hold()
        PUSHED.add(given)
        self.answer(201, Docker_Content_Digest=given or digest(body), Location=self.path)

    def receive(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while True:
            size = int(self.rfile.readline(), 16)
            parts.append(self.rfile.read(size))
            self.rfile.readline()
            if not size:
                return b"".join(parts)


class Collector(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while self.rfile.read(100):
            pass


class Daemon(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/docker.sock")


REQUESTS = {
    "pull": ("POST", f"/images/create?fromImage={REGISTRY}/slow&tag=1", b""),
    "push": ("POST", f"/images/{REGISTRY}/pushed/push?tag=1", b""),
    "build": ("POST", "/build?t=held", tar("Dockerfile", f"FROM busybox:1\nADD http://{REGISTRY}/file /\n".encode())),
    "export": ("GET", "/containers/held/export", b""),
    "import": ("POST", "/images/create?fromSrc=-&repo=held", ROOT),
    "load": ("POST", "/images/load", tar("file", os.urandom(100_000))),
    "upload": ("POST", "/build?t=held", tar("Dockerfile", b"FROM scratch\nLABEL held=1\n" + b"# a long file\n" * 10_000)),
    "copy": ("PUT", "/containers/held/archive?path=/", ROOT),
}
SLOW = ("import", "load", "upload", "copy")


def slowly(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]
    hold()
    yield body[len(body) // 2 :]


def ask(what: str) -> None:
    method, path, body = REQUESTS[what]
    daemon = Daemon("docker")
    body_or_parts = slowly(body) if what in SLOW else body
    daemon.request(method, path, body_or_parts, {"X-Registry-Auth": base64.b64encode(b"{}").decode(), "Content-Type": "application/x-tar"})
    answer = daemon.getresponse()
    if what == "export":
        answer.read(1000)
        hold()
    rest = answer.read()
    if answer.status != 200 or (b'"error' in rest and what != "load") or (what == "export" and len(rest) < 1_000_000):
        sys.exit(f"{answer.status} {rest[-500:]!r}")


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        ThreadingHTTPServer(("127.0.0.1", 5000), Registry).serve_forever()
    if sys.argv[1] == "collect":
        ThreadingHTTPServer(("127.0.0.1", 24224), Collector).serve_forever()
    ask(sys.argv[1])
