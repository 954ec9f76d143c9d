# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake AWX controller: stores what is posted, finds it by its fields, and records every requested change."""

from __future__ import annotations

import json
import threading
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

API = "/api/v2/"
TYPES = {
    "organizations": "organization",
    "projects": "project",
    "inventories": "inventory",
    "credentials": "credential",
    "credential_types": "credential_type",
    "execution_environments": "execution_environment",
    "job_templates": "job_template",
    "workflow_job_templates": "workflow_job_template",
    "workflow_job_template_nodes": "workflow_job_template_node",
    "workflow_approval_templates": "workflow_approval",
}
NOT_FIELDS = {"page", "page_size", "or__id", "type"}


class Controller:
    def __init__(self) -> None:
        self.objects: dict[str, list[dict[str, t.Any]]] = {kind: [] for kind in TYPES}
        self.belongs: dict[str, list[int]] = {}  # what is associated with what, by address
        self.kept: dict[str, t.Any] = {}  # surveys, by address
        self.changes: list[tuple[str, str, t.Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def add(self, kind: str, /, **fields: t.Any) -> dict[str, t.Any]:
        number = 1 + sum(len(found) for found in self.objects.values())
        url = f"{API}{kind}/{number}/"
        related = {name: f"{url}{name}/" for name in ("survey_spec", "always_nodes", "success_nodes", "failure_nodes", "credentials")}
        made = {"id": number, "type": TYPES[kind], "url": url, "status": "successful", "scm_revision": "0", "related": related, "summary_fields": {}, **fields}
        self.objects[kind].append(made)
        return made

    def named(self, kind: str, name: str) -> dict[str, t.Any]:
        return next(found for found in self.objects[kind] if found.get("name", found.get("identifier")) == name)

    def survey(self, kind: str, name: str) -> t.Any:
        return self.kept[f"{self.named(kind, name)['url']}survey_spec/"]

    def _found(self, path: str) -> dict[str, t.Any] | None:
        return next((found for kind in self.objects.values() for found in kind if found["url"] == path), None)

    def ask(self, path: str, query: dict[str, str]) -> tuple[int, t.Any]:
        one = self._found(path)
        if one:
            return 200, one
        if path.endswith("/survey_spec/"):
            return 200, self.kept.get(path, {})
        kind = path[len(API) :].strip("/")
        if "/" in kind:
            found = [self._by_id(number) for number in self.belongs.get(path, [])]
        elif kind == "unified_job_templates":
            found = [*self.objects["job_templates"], *self.objects["projects"]]
        elif kind in TYPES:
            found = self.objects[kind]
        else:
            return 404, {"detail": "Not found."}
        wanted = {name.replace("__id", ""): value for name, value in query.items() if name not in NOT_FIELDS}
        found = [one for one in found if all(str(one.get(name)) == value for name, value in wanted.items())]
        return 200, {"count": len(found), "results": found, "next": None}

    def change(self, method: str, path: str, data: t.Any) -> tuple[int, t.Any]:
        self.changes.append((method, path, data))
        one = self._found(path)
        if method == "PATCH" and one:
            one.update(data)
            return 200, one
        if path.endswith("/survey_spec/"):
            self.kept[path] = data
            return 200, {}
        if path.endswith("/create_approval_template/"):
            node = self._found(path[: -len("create_approval_template/")])
            assert node
            made = self.add("workflow_approval_templates", **data)
            node["unified_job_template"], node["related"]["unified_job_template"] = made["id"], made["url"]
            return 201, made
        kind = path[len(API) :].strip("/")
        if kind in TYPES:
            return 201, self.add(kind, **data)
        together = self.belongs.setdefault(path, [])
        if data.get("disassociate"):
            together.remove(data["id"])
        else:
            together.append(data["id"])
        return 204, None

    def _by_id(self, number: int) -> dict[str, t.Any]:
        return next(found for kind in self.objects.values() for found in kind if found["id"] == number)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        controller = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                address = urlsplit(self.path)
                self._answer(*controller.ask(address.path, dict(parse_qsl(address.query))))

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                self._answer(*controller.change(self.command, urlsplit(self.path).path, json.loads(self.rfile.read(length) or b"{}")))

            do_PATCH = do_POST

            def _answer(self, status: int, body: t.Any) -> None:
                text = b"" if body is None else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("X-API-Product-Name", "AWX")
                self.send_header("X-API-Product-Version", "24.6.1")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_arguments: t.Any) -> None:
                pass

        return Handler
