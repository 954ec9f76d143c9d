# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of docs/evidence/measured.md: which tools rewrite every reference of 60 tricky Dockerfiles and keep all other bytes.

    python tests/compare/dockerfile_mirror.py [--write docs/evidence/measured.md]

The files are tests/oracles/tricky.json. Peers: dockerfile-parse and `dockerfile` from the Python index, and the npm package
docker-file-parser where node finds it (set NODE_PATH). A peer that only reads is given what it would need to edit:
its references are counted, and its bytes are a dash.
"""

from __future__ import annotations

import argparse
import io
import json
import re
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "tests/oracles"))

import judges  # noqa: E402

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import rewrite  # noqa: E402
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors  # noqa: E402

REGISTRIES = ("docker.io", "mcr.microsoft.com", "localhost:5000", "my.host:8443")
MAP = {registry: f"mirror.example.com/{number}" for number, registry in enumerate(REGISTRIES)}
FORWARD = Mirrors(MAP)
MARK = "mirror.example.com/"

Images = t.Optional[judges.Images]


def ours(data: bytes) -> bytes:
    return rewrite(data, FORWARD).after


def one_regex(data: bytes) -> bytes:
    return re.sub(rb"(?m)^FROM\s+(\S+)", lambda found: b"FROM " + judges.mirrored(found.group(1).decode("latin-1"), MAP).encode("latin-1"), data)


def dockerfile_parse(data: bytes) -> bytes:
    from dockerfile_parse import DockerfileParser

    file = io.BytesIO(data)
    parser = DockerfileParser(fileobj=file)
    parser.parent_images = [judges.mirrored(image, MAP) for image in parser.parent_images]
    return file.getvalue()


def readers() -> t.Dict[str, t.Callable[[bytes], Images]]:
    found: t.Dict[str, t.Callable[[bytes], Images]] = {
        "dockerfile (BuildKit 0.12.5's parser)": lambda data: judges.images(data, judges.buildkit_parser),
        "e2b-dockerfile-utils": lambda data: judges.images(data, judges.e2b_parser),
    }
    if shutil.which("node") and subprocess.run(["node", "-e", "require('docker-file-parser')"], capture_output=True, check=False).returncode == 0:
        found["docker-file-parser"] = _npm
    return found


def _npm(data: bytes) -> Images:
    script = (
        "const p=require('docker-file-parser');let s='';process.stdin.setEncoding('latin1')"
        ".on('data',d=>s+=d).on('end',()=>console.log(JSON.stringify(p.parse(s))))"
    )

    def parser(contents: bytes) -> t.List[judges.Command]:
        done = subprocess.run(["node", "-e", script], input=contents, capture_output=True, check=True)
        return [_command(each) for each in json.loads(done.stdout)]

    return judges.images(data, parser)


def _command(each: t.Mapping[str, t.Any]) -> judges.Command:
    text = each["args"] if isinstance(each["args"], str) else " ".join(str(part) for part in each["args"] or [])
    words = text.split()
    flags = [word for word in words if word.startswith("--")]
    return judges.Command(each["name"].upper(), tuple(flags), tuple(word for word in words if word not in flags), each["raw"], each["lineno"])


def right(before: Images, after: bytes, data: bytes) -> bool:
    """Whether BuildKit's parser finds every image at its mirror afterwards; a file that it refuses must not change."""
    if before is None:
        return after == data
    try:
        found = judges.images(after, judges.e2b_parser)
    except judges.Refused:
        return False
    return found == [(kind, judges.mirrored(value, MAP)) for kind, value in before]


def kept(data: bytes, after: bytes) -> bool:
    """Whether both sides are equal after the mirror's names are removed."""
    return _bare(data) == _bare(after)


def _bare(data: bytes) -> bytes:
    text = re.sub(rb"mirror\.example\.com/[0-9]", b"", data)
    for name in (*REGISTRIES, "library"):
        text = text.replace(name.encode() + b"/", b"")
    return text.replace(b"/", b"").replace(b"docker.io", b"")


def table() -> str:
    lines = ["| | what it does | references right, of 60 | other bytes kept, of 60 |", "|---|---|---|---|"]
    cases = judges.cases()
    for name, work in {"buildfleet.docker.dockerfile_mirror": ours, "dockerfile-parse": dockerfile_parse, r"`s/^FROM\s+(\S+)/…/`": one_regex}.items():
        good = same = 0
        for _rest, data, pulls in cases:
            try:
                after = work(data)
            except (ValueError, IndexError, RuntimeError, TypeError):
                continue  # it gives up, and nothing is written
            good += right(pulls, after, data)
            same += kept(data, after)
        lines.append(f"| {name} | rewrites | {good} | {same} |")
    for name, reader in readers().items():
        good = 0
        for _rest, data, pulls in cases:
            try:
                found = reader(data)
            except (judges.Refused, IndexError, subprocess.CalledProcessError, ValueError, KeyError):
                found = None
            good += found == pulls
        lines.append(f"| {name}, with our test's resolver of variables and stages | reads | {good} | - |")
    return "\n".join(lines) + "\n"


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--write", type=Path, help="replace the table in this page")
    given = options.parse_args()
    found = table()
    print(found)
    if given.write:
        page = given.write.read_text()
        given.write.write_text(re.sub(r"(?s)(<!-- table -->\n).*?(<!-- end -->)", lambda match: match.group(1) + found + match.group(2), page))
    return 0


if __name__ == "__main__":
    sys.exit(main())
