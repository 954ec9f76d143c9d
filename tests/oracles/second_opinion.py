# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""BuildKit 0.27.1's instructions layer (the program container-source-policy) on a sample, before and after the rewrite.

    python tests/oracles/second_opinion.py [--files 300] [--seed 7]

The program asks a registry for the digest of each image that it finds, so it runs in a network namespace of its own in
which a small server on the loopback answers for every registry. Needs the right to make one (unshare) and openssl.
It leaves out references with a variable, with a digest, in mounts and in `# syntax`.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import random
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import judges

PORT = 5443
# It treats a later stage as an image; BuildKit searches names in all stages.
ITS_OWN_MISTAKES = ("39_copy_from_later_stage",)
MANIFEST = (
    b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",'
    b'"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":2},"layers":[]}' % (b"0" * 64)
)


class Registry(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        import hashlib

        self.send_response(200)
        self.send_header("Content-Type", "application/vnd.oci.image.manifest.v1+json")
        self.send_header("Content-Length", str(len(MANIFEST)))
        self.send_header("Docker-Content-Digest", "sha256:" + hashlib.sha256(MANIFEST).hexdigest())
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(MANIFEST)

    do_HEAD = do_GET

    def log_message(self, *_: t.Any) -> None:
        pass


def serve(folder: Path) -> None:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    request = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run([*request.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), Registry)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def opinion(data: bytes, hosts: t.Iterable[str], folder: Path) -> t.Optional[t.List[str]]:
    """The images that BuildKit's instructions layer finds; None if the program fails."""
    lines = "".join(f'[[registry]]\nprefix = "{host}"\nlocation = "localhost:{PORT}/{number}"\n' for number, host in enumerate(sorted(set(hosts))))
    (folder / "registries.conf").write_text(lines)
    (folder / "Dockerfile").write_bytes(data)
    environment = dict(os.environ, SSL_CERT_FILE=str(folder / "cert.pem"), CONTAINERS_REGISTRIES_CONF=str(folder / "registries.conf"))
    program = str(Path(sys.executable).with_name("container-source-policy"))
    done = subprocess.run([program, "pin", "--stdout", str(folder / "Dockerfile")], capture_output=True, env=environment, check=False, timeout=60)
    if done.returncode != 0:
        return None
    rules = json.loads(done.stdout).get("rules", [])
    return [rule["selector"]["identifier"] for rule in rules]


def _work(files: int, seed: int) -> int:
    from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import rewrite
    from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName, parse
    from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

    mirrors = {"docker.io": "mirror.example.com/hub", "gcr.io": "mirror.example.com/gcr", "mcr.microsoft.com": "mirror.example.com/mcr"}
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    ordinary = judges.ordinary("dockerfiles")
    sample = random.Random(seed).sample(ordinary, min(files, len(ordinary)))
    agreed = gave_up = 0
    wrong: t.List[str] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        serve(folder)
        for path, data in [*sample, *((case, contents) for case, contents, _rest in judges.cases() if case not in ITS_OWN_MISTAKES)]:
            result = rewrite(data, Mirrors(mirrors))
            hosts = {"docker.io", "mirror.example.com"}
            for each in [reference for _rest, reference in _images(data)]:
                try:
                    hosts.add(parse(each).registry)
                except InvalidImageName:
                    continue
            before, after = opinion(data, hosts, folder), opinion(result.after, hosts, folder)
            if before is None or after is None:
                gave_up += 1
                if before is not None:
                    wrong.append(f"{path}: refused after the rewrite")
                continue
            wanted = [_moved(each, mirrors) for each in before]
            if sorted(after) == sorted(wanted) or (result.skipped and set(after) <= set(wanted) | set(before)):
                agreed += 1
            else:
                wrong.append(f"{path}: {before} became {after}")
    for each in wrong[:10]:
        print(each)
    print(f"container-source-policy (BuildKit 0.27.1): {agreed} files agree, {len(wrong)} do not, {gave_up} it cannot judge")
    return bool(wrong)


def _images(data: bytes) -> judges.Images:
    try:
        return judges.images(data, judges.e2b_parser)
    except (judges.Refused, IndexError):
        return []


def _moved(identifier: str, mirrors: t.Mapping[str, str]) -> str:
    scheme, _rest, reference = identifier.partition("://")
    return f"{scheme}://{judges.mirrored(reference, mirrors)}"


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--files", type=int, default=300)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    able = (
        shutil.which("openssl") and shutil.which("unshare") and subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode == 0
    )
    if not able:
        print("skipped: openssl and the right to make a network namespace are needed")
        return 0
    if given.inside:
        return _work(given.files, given.seed)
    return subprocess.run(["unshare", "--net", sys.executable, __file__, "--inside", f"--files={given.files}", f"--seed={given.seed}"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
