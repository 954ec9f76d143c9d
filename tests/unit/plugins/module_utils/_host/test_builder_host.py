# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a container, from an engine's answer as a tar archive."""

from __future__ import annotations

import http.server
import io
import socketserver
import tarfile
import threading

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._host.builder_host import BuilderHost
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import HostError


def archive():
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        folder = tarfile.TarInfo("buildkit/certs")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, contents in (("buildkit/buildkitd.toml", b"debug = true\n"), ("buildkit/certs/docker.io/ca.pem", b"\xff")):
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    return stream.getvalue()


@pytest.fixture()
def engine(tmp_path):
    answers = {
        "/containers/ci0/archive?path=/etc/buildkit": (200, archive()),
        "/containers/bad/archive?path=/etc/buildkit": (200, b"no archive"),
        "/containers/a%2F..%3F/archive?path=/etc/buildkit": (200, archive()),
    }

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = answers.get(self.path, (404, b"{}"))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return "local"

        def log_message(self, *_arguments):
            pass

    path = str(tmp_path / "docker.sock")
    with socketserver.ThreadingUnixStreamServer(path, Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield path
        server.shutdown()
        thread.join()


def test_the_files_of_a_container(engine):
    assert BuilderHost().container_files("ci0", "/etc/buildkit", sock=engine) == {"buildkitd.toml": b"debug = true\n", "certs/docker.io/ca.pem": b"\xff"}
    assert BuilderHost().container_files("none", "/etc/buildkit", sock=engine) == {}
    assert BuilderHost().container_files("a/..?", "/etc/buildkit", sock=engine)  # a name in a file that others wrote


@pytest.mark.parametrize("name", ["bad", "none"])
def test_an_engine_that_gives_no_archive(engine, tmp_path, name):
    sock = engine if name == "bad" else str(tmp_path / "nowhere")
    with pytest.raises(HostError, match=f"^The files of the container {name} cannot be read: "):
        BuilderHost().container_files(name, "/etc/buildkit", sock=sock)
