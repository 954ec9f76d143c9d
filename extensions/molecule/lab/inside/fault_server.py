# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A mirror or a proxy with wrong answers, on the host itself: `fault_server.py PORT ANSWER`.

ANSWER is a status, `html` (a page where a registry should be) or `lacks` (a registry without images).
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"<html><body>Please sign in to the guest network.</body></html>"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wrong = "500"

    def answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), "Connection": "close"}.items():
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
            code = b"{}" if hello else b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
            self.answer(200 if hello else 404, "application/json", code)
        else:
            self.answer(int(self.wrong), "text/plain", b"no\n")

    do_HEAD = do_CONNECT = do_GET

    def log_message(self, *_arguments: object) -> None:
        pass


def main(port: str, wrong: str) -> None:
    Handler.wrong = wrong
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
