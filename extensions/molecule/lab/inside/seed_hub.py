# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fills a registry's storage with images made of one static busybox, the way the registry itself would lay them out.

An image that begins with a registry's name is stored without it. Its content says the whole name, so two registries have different images of one name.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

BUSYBOX = Path("/bin/busybox")
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def layer(image: str) -> bytes:
    """A root with busybox under all its names, and the image's own name in a file, so that no two images are the same."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as root:

        def add(name: str, content: bytes = b"", mode: int = 0o755, kind: bytes = tarfile.REGTYPE, target: str = "") -> None:
            member = tarfile.TarInfo(name)
            member.mode, member.type, member.linkname, member.size = mode, kind, target, len(content)
            root.addfile(member, io.BytesIO(content))

        for directory, mode in (("bin", 0o755), ("etc", 0o755), ("root", 0o700), ("tmp", 0o1777), ("usr", 0o755), ("var", 0o755)):
            add(directory, mode=mode, kind=tarfile.DIRTYPE)
        add("bin/busybox", BUSYBOX.read_bytes())
        for applet in subprocess.check_output([BUSYBOX, "--list"], text=True).split():
            if applet != "busybox":
                add(f"bin/{applet}", kind=tarfile.SYMTYPE, target="busybox")
        add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", mode=0o644)
        add("etc/group", b"root:x:0:\n", mode=0o644)
        add("etc/image", image.encode() + b"\n", mode=0o644)
    return stream.getvalue()


def write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def blob(storage: Path, content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    write(storage / "blobs" / "sha256" / digest[:2] / digest / "data", content)
    return f"sha256:{digest}"


def link(directory: Path, digest: str) -> None:
    write(directory / "link", digest.encode())


def seed(storage: Path, image: str) -> None:
    name, tag = image.rsplit(":", 1)
    registry, _slash, path = name.partition("/")
    name = path if "." in registry else name
    unpacked = layer(image)
    packed = gzip.compress(unpacked, mtime=0)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(unpacked).hexdigest()}"]},
            "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "the lab"}],
        }
    ).encode()
    config_digest, layer_digest = blob(storage, config), blob(storage, packed)
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "size": len(config), "digest": config_digest},
            "layers": [{"mediaType": LAYER, "size": len(packed), "digest": layer_digest}],
        }
    ).encode()
    digest = blob(storage, manifest)
    repository = storage / "repositories" / name
    for part in (config_digest, layer_digest):
        link(repository / "_layers" / part.replace(":", "/"), part)
    link(repository / "_manifests" / "revisions" / digest.replace(":", "/"), digest)
    link(repository / "_manifests" / "tags" / tag / "current", digest)
    link(repository / "_manifests" / "tags" / tag / "index" / digest.replace(":", "/"), digest)


if __name__ == "__main__":
    for wanted in sys.argv[2:]:
        seed(Path(sys.argv[1]) / "docker" / "registry" / "v2", wanted)
