# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A test release to a server that records what it receives."""

from __future__ import annotations

import email
import hashlib
import io
import json
import os
import re
import subprocess
import tarfile
import threading
import typing as t
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

TOKEN = "token-of-the-rehearsal"


class Galaxy:
    """Only the addresses that `ansible-galaxy collection publish` requests."""

    def __init__(self) -> None:
        self.state = "completed"
        self.uploads: list[tuple[str, str, bytes]] = []  # the headers Authorization and Content-Type, and the body
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        galaxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/api/":
                    self._answer(200, {"available_versions": {"v3": "v3/"}})
                elif self.path == "/api/v3/imports/collections/7/":
                    messages = [{"level": "ERROR", "message": "no such namespace"}] if galaxy.state == "failed" else []
                    self._answer(200, {"state": galaxy.state, "finished_at": "2026-01-01T00:00:00Z", "messages": messages, "error": {}})
                else:
                    self._answer(404, {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                galaxy.uploads.append((self.headers["Authorization"], self.headers["Content-Type"], body))
                self._answer(202, {"task": "/api/v3/imports/collections/7/"})

            def _answer(self, status: int, body: t.Any) -> None:
                text = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_arguments: t.Any) -> None:
                pass

        return Handler


@pytest.fixture
def galaxy():
    server = Galaxy()
    yield server
    server.close()


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    subprocess.run(["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True)


@pytest.fixture
def release(project, tmp_path):
    """A checkout of a tagged release."""
    folder = tmp_path / "release"
    subprocess.run(["cp", "-a", str(project), str(folder)], check=True)
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message=release")
    git(folder, "tag", f"v{version(folder)}")
    return folder


def version(folder):
    return yaml.safe_load((folder / "galaxy.yml").read_text())["version"]


def publish(folder, galaxy, token=TOKEN):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GALAXY_", "ANSIBLE_GALAXY_"))}
    environment |= {"GALAXY_SERVER": galaxy.url, **({"GALAXY_TOKEN": token} if token else {})}
    return subprocess.run(["tests/release/publish"], cwd=folder, env=environment, capture_output=True, text=True, check=False)


def sent(kind: str, body: bytes) -> bytes:
    """The file in the form that was posted."""
    form = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + body)
    (part,) = [part for part in form.walk() if part.get_filename()]
    return part.get_payload(decode=True)


def test_the_tag_is_built_and_sent_once(release, galaxy):
    done = publish(release, galaxy)
    assert done.returncode == 0, done.stdout + done.stderr
    ((authorization, kind, body),) = galaxy.uploads
    assert authorization == f"Token {TOKEN}" and TOKEN not in done.stdout + done.stderr
    tarball = sent(kind, body)
    assert done.stdout.splitlines()[-1] == f"{hashlib.sha256(tarball).hexdigest()}  buildfleet-docker-{version(release)}.tar.gz"
    with tarfile.open(fileobj=io.BytesIO(tarball)) as opened:
        manifest = json.loads(opened.extractfile("MANIFEST.json").read())["collection_info"]
        assert opened.extractfile("README.md").read() == (release / "README.md").read_bytes()
    assert (manifest["namespace"], manifest["name"], manifest["version"]) == ("buildfleet", "docker", version(release))


def test_an_import_that_fails_fails_the_release(release, galaxy):
    galaxy.state = "failed"
    done = publish(release, galaxy)
    assert done.returncode != 0 and len(galaxy.uploads) == 1
    assert "no such namespace" in done.stderr


def without_its_tag(folder):
    git(folder, "tag", "--delete", f"v{version(folder)}")


def with_another_version(folder):
    path = folder / "galaxy.yml"
    path.write_text(re.sub(r"(?m)^version: .*$", "version: 77.0.0", path.read_text()))
    git(folder, "commit", "--quiet", "--all", "--message=next")


def without_a_changelog(folder):
    with_another_version(folder)
    git(folder, "tag", "v77.0.0")


def with_an_edit(folder):
    (folder / "README.md").write_text("edited")


def unchanged(folder):
    pass


@pytest.mark.parametrize(
    ("change", "token", "sentence"),
    [
        pytest.param(unchanged, "", "GALAXY_TOKEN is not set. Give it the token of the account that owns the namespace.", id="no token"),
        pytest.param(
            without_its_tag, TOKEN,
            "HEAD does not carry the tag v{version}, and {version} is the version in galaxy.yml. Check out the tag, or correct galaxy.yml.", id="no tag",
        ),
        pytest.param(
            with_another_version, TOKEN,
            "HEAD does not carry the tag v77.0.0, and 77.0.0 is the version in galaxy.yml. Check out the tag, or correct galaxy.yml.", id="another version",
        ),
        pytest.param(without_a_changelog, TOKEN, "changelogs/changelog.yaml has no release 77.0.0. Run: antsibull-changelog release", id="no changelog"),
        pytest.param(with_an_edit, TOKEN, "files differ from the tag v{version}. Commit or remove them:  M README.md", id="an edit"),
    ],
)  # fmt: skip
def test_nothing_is_sent_when_something_does_not_fit(release, galaxy, change, token, sentence):
    change(release)
    done = publish(release, galaxy, token)
    assert (done.returncode, done.stderr.strip()) == (1, f"Not published: {sentence.format(version=version(release))}")
    assert galaxy.uploads == []
