# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registry of docker_daemon_proxy/inside/held.py holds uploads, whichever way an image store sends them."""

from __future__ import annotations

import http.client
import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillHeld
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

BLOB, DIGEST = b"a layer", "sha256:d"
UPLOAD = "/v2/pushed/blobs/uploads/1"


@pytest.fixture()
def held(tmp_path):
    spec = importlib.util.spec_from_file_location("held", Path(__file__).parents[2] / "docker_daemon_proxy/inside/held.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.HELD, module.RELEASED = str(tmp_path / "held"), str(tmp_path / "released")
    server = ThreadingHTTPServer(("127.0.0.1", 0), module.Registry)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    module.port, module.folder = server.server_address[1], tmp_path
    yield module
    (tmp_path / "released").touch()
    server.shutdown()
    server.server_close()


def send(port, requests):
    """The status of each, all in one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    statuses = []
    for method, path, body in requests:
        connection.request(method, path, iter([body]) if method == "PATCH" else body)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    return statuses


@pytest.mark.parametrize(
    "upload",
    [
        pytest.param([("PATCH", UPLOAD, BLOB), ("PUT", f"{UPLOAD}?digest={DIGEST}", b"")], id="graphdriver: PATCH, then an empty PUT"),
        pytest.param([("PUT", f"{UPLOAD}?digest={DIGEST}", BLOB)], id="containerd: one PUT"),
    ],
)
def test_an_upload_is_held_and_the_connection_goes_on(held, upload):
    blob, manifest = f"/v2/pushed/blobs/{DIGEST}", "/v2/pushed/manifests/1"
    with ThreadPoolExecutor() as pool:
        start = [("HEAD", blob, None), ("POST", "/v2/pushed/blobs/uploads/", b"")]
        statuses = pool.submit(send, held.port, [*start, *upload, ("HEAD", blob, None), ("PUT", manifest, b"{}")])
        with pytest.raises(StillHeld):
            statuses.result(timeout=0.5)
        assert (held.folder / "held").exists()
        (held.folder / "released").touch()
        assert statuses.result(timeout=10) == [404, 202, *(202 if method == "PATCH" else 201 for method, _path, _body in upload), 200, 201]


def test_a_manifest_is_not_held(held):
    assert send(held.port, [("PUT", "/v2/pushed/manifests/1", b"{}")]) == [201]
    assert not (held.folder / "held").exists()
