# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What parsers by others see in a Dockerfile: they check the results of dockerfile_mirror.

`dockerfile` is BuildKit's own parser (Go, 0.12.5), `e2b_dockerfile_utils` follows BuildKit 0.16 and newer.
Image names are taken apart by `docker_image`, a port of distribution/reference.

The files that they judge lie beside this one: ordinary ones, and tricky ones with what BuildKit pulls for each. Where the variable
BUILDFLEET_CORPUS names a folder that corpus.py filled, the Dockerfiles and compose files of that corpus are judged too.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import re
import tarfile
import typing as t
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "golden/dockerfile_mirror"
CORPUS = os.environ.get("BUILDFLEET_CORPUS", "")
_UNSET = "unset-variable"  # takes the place of a part of a name that is nothing but a variable without a value
PLATFORM = {
    "BUILDPLATFORM": "linux/amd64",
    "BUILDOS": "linux",
    "BUILDARCH": "amd64",
    "TARGETPLATFORM": "linux/amd64",
    "TARGETOS": "linux",
    "TARGETARCH": "amd64",
}
_RETURN = "\ue000"

Images = t.List[t.Tuple[str, str]]


class Refused(Exception):
    """The parser rejects the file."""


class Command(t.NamedTuple):
    name: str
    flags: t.Tuple[str, ...]
    value: t.Tuple[str, ...]
    original: str
    line: int


def buildkit_parser(data: bytes) -> t.List[Command]:
    import dockerfile

    try:
        found = dockerfile.parse_string(_utf8(data))
    except (dockerfile.GoParseError, ValueError) as error:
        raise Refused(str(error)) from error
    return [Command(each.cmd.upper(), each.flags, each.value, each.original, each.start_line) for each in found]


def e2b_parser(data: bytes) -> t.List[Command]:
    import e2b_dockerfile_utils as e2b

    try:
        found = e2b.parse_dockerfile_ast(_utf8(data)).instructions
    except e2b.DockerfileSyntaxError as error:
        raise Refused(str(error)) from error
    return [Command(each.name, tuple(each.flags), tuple(each.args), each.original, each.start_line) for each in found]


def _utf8(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:  # the Go package wants UTF-8; one byte for one keeps every line
        return re.sub(rb"[\x80-\xff]", b"?", data[3:] if data.startswith(b"\xef\xbb\xbf") else data).decode("ascii")


def images(data: bytes, parser: t.Callable[[bytes], t.List[Command]]) -> Images:
    """What BuildKit would pull with the default build arguments, according to this parser."""
    found: Images = [("syntax", value) for value in _syntax(data)]
    commands = parser(data)
    escape = "`" if re.search(rb"(?i)\A(?:\xef\xbb\xbf)?(?:\s*#[^\n]*=[^\n]*\n)*\s*#\s*escape\s*=\s*`", data) else "\\"
    values = dict(PLATFORM)
    stages: t.List[str] = []
    every = {name for command in commands for name in [_stage(command)] if name}
    started = False
    for command in commands:
        if command.name == "ONBUILD":
            head = f"# escape={escape}\n".encode()
            with contextlib.suppress(Refused):  # what is no instruction is refused in the build to come
                for inner in parser(head + command.original.lstrip().split(None, 1)[1].encode("utf-8"))[:1]:
                    found += _inner(inner, every)
        elif command.name == "FROM":
            started = True
            value = _expanded(command.value[0], values, escape)
            if value != "scratch" and value not in stages:
                found.append(("from", value))
            stages.append(_stage(command))
        elif command.name == "ARG" and not started:
            for word in command.value:
                name, equals, default = word.partition("=")
                if equals:
                    values[name] = _expanded(default, values, escape)
        else:
            found += _inner(command, every)
    return found


def _stage(command: Command) -> str:
    return command.value[2].lower() if command.name == "FROM" and len(command.value) == 3 else ""


def _inner(command: Command, stages: t.AbstractSet[str]) -> Images:
    found: Images = []
    for flag in command.flags:
        name, _rest, value = flag.partition("=")
        if command.name == "COPY" and name == "--from" and not re.fullmatch(r"[+-]?[0-9]+", value):
            found.append(("copy", value))
        if command.name == "RUN" and name == "--mount":
            import csv

            # Python's reader ends a line at a carriage return, Go's does not.
            for field in next(csv.reader([value.replace("\r", _RETURN)]), []):
                key, equals, source = field.replace(_RETURN, "\r").partition("=")
                if equals and key.lower() == "from":
                    found = [each for each in found if each[0] != "last"] + [("last", source)]
            found = [("mount" if kind == "last" else kind, each) for kind, each in found]
    return [(kind, value) for kind, value in found if value and value != "scratch" and value.lower() not in stages]


def _expanded(word: str, values: t.Mapping[str, str], escape: str) -> str:
    from e2b_dockerfile_utils import ShellLex

    try:
        return str(ShellLex(escape, env=values, skip_unset_env=False).process_word(word))
    except ValueError as error:
        raise Refused(str(error)) from error


def _syntax(data: bytes) -> t.Iterator[str]:
    """The value of # syntax by the reference's words: among the directives at the top, after a BOM and a #! line."""
    for number, line in enumerate(data.decode("utf-8-sig", "replace").split("\n")):
        if number == 0 and line.startswith("#!"):
            continue
        found = re.fullmatch(r"#[\t ]*(\w+)[\t ]*=[\t ]*(.+?)\s*", line)
        if not found or found.group(1).lower() not in ("syntax", "escape", "check"):
            return
        if found.group(1).lower() == "syntax":
            yield found.group(2).split(" ")[0]
            return


def mirrored(reference: str, mirrors: t.Mapping[str, str]) -> str:
    """The reference at its mirror, worked out by the other parser of names; itself where no mirror is named."""
    from docker_image import reference as names

    try:
        names.Reference.parse_normalized_named(reference)
        name, rest = reference, ""
    except Exception:  # the package has an exception for each rule
        # A tag without its variable (golang:-alpine) is none, but the name before it is one. Of a name with a variable that has no value
        # (org/$NAME, gcr.io/$PROJECT/image) the literal text before the variable names the registry.
        folder, slash, last = reference.rpartition("/")
        short = re.split("[:@]", last)[0]
        first, *parts = (folder + slash + short).split("/")
        name, rest = "/".join([first, *(part or _UNSET for part in parts)]), last[len(short) :]
    try:
        parsed = names.Reference.parse_normalized_named(name)
    except Exception:
        return reference
    host, path = parsed.split_hostname()
    if host not in mirrors:
        return reference
    tag = f":{parsed['tag']}" if parsed["tag"] else ""
    digest = f"@{parsed['digest']}" if parsed["digest"] else ""
    return f"{mirrors[host]}/{path}{tag}{digest}{rest}".replace(_UNSET, "")


def difference(before: Images, after: Images, mirrors: t.Mapping[str, str], skips: int) -> str:
    """What is wrong with the images after a rewrite, which may have left as many as there are skips."""
    if [kind for kind, _rest in before] != [kind for kind, _rest in after]:
        return f"{before} became {after}"
    left = 0
    for (kind, old), (_rest, new) in zip(before, after):
        wanted = mirrored(old, mirrors)
        left += new != wanted
        if new not in (wanted, old) or left > skips:
            return f"{kind} {old} became {new}, not {wanted}"
    return ""


@functools.cache
def cases() -> t.Tuple[t.Tuple[str, bytes, t.Optional[Images]], ...]:
    """Tricky Dockerfiles, each with the images that BuildKit pulls for it; None for one that BuildKit refuses."""
    listed = json.loads((HERE / "tricky.json").read_text(encoding="utf-8"))["cases"]
    return tuple(
        (case["name"], case["dockerfile"].encode("latin-1"), case["pulls"] and [(kind.replace("onbuild-", ""), value) for kind, value in case["pulls"]])
        for case in listed
    )


@functools.cache
def ordinary(kind: str) -> t.Tuple[t.Tuple[str, bytes], ...]:
    """Files as they are in the world, of the kind dockerfiles or compose: those of the corpus where it is named, and ours."""
    ours = tuple((str(path.relative_to(HERE)), path.read_bytes()) for path in sorted((HERE / "ordinary" / kind).glob("*/*")))
    return ours + (_corpus(Path(CORPUS) / f"{kind}.tar.xz") if CORPUS else ())


def _corpus(archive: Path) -> t.Tuple[t.Tuple[str, bytes], ...]:
    with tarfile.open(fileobj=io.BytesIO(archive.read_bytes())) as files:
        return tuple((member.name, t.cast("t.IO[bytes]", files.extractfile(member)).read()) for member in files if member.isfile())


@functools.cache
def golden() -> t.Tuple[t.Tuple[str, bytes], ...]:
    """The Dockerfiles among the golden files: one oddity each."""
    return tuple((path.parent.name, path.read_bytes()) for path in sorted(GOLDEN.glob("*/before")) if path.parent.suffix != ".yml")


def dockerfiles() -> t.Tuple[t.Tuple[str, bytes], ...]:
    return (*ordinary("dockerfiles"), *golden(), *((name, data) for name, data, _rest in cases()))
