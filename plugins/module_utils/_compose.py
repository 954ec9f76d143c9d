# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Point the images of a compose file at their mirrors: places from the YAML parser, edits in the text.

Writing the parsed document out again would change most files; cutting the text at the marks keeps every other byte.
PyYAML is imported when the first compose file is met, because only then the host must have it.
"""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import KINDS, Change, Edit, Planner, Rewrite, Skip, line_of, rewrite, spliced
from ansible_collections.buildfleet.docker.plugins.module_utils._mirror import Mirrors
from ansible_collections.buildfleet.docker.plugins.module_utils._references import Reference, Scene, evaluated
from ansible_collections.buildfleet.docker.plugins.module_utils._shell import ShellError, expand, written

_BOM = "\ufeff"
_IMAGE_CONTEXT = "docker-image://"
_PROPERTIES = re.compile(r"(?:[&!]\S*\s+)+")  # the parser's marks include anchor and tag
_NAMES = re.compile(r"(?:docker-)?compose(?:[.-].+)?\.ya?ml", re.ASCII)

# What is in the file of a context: (context, dockerfile) -> bytes, None where it cannot be read.
DockerfileOf = t.Callable[[str, str], t.Optional[bytes]]


class Unavailable(Exception):
    """The host lacks PyYAML; the message is a complete sentence."""


class _Scalar(t.NamedTuple):
    """A scalar's value, and where each of its characters stands in the text."""

    value: str
    origin: t.Sequence[int]


def is_compose(name: str) -> bool:
    return is_part_of_a_project(name) or name.endswith((".yml", ".yaml"))


def rewrite_compose(
    data: bytes,
    mirrors: Mirrors,
    dockerfile_of: DockerfileOf = lambda context, dockerfile: None,
    kinds: t.Container[str] = KINDS,
    built_by: t.Callable[[str], str] = lambda service: "",
) -> Rewrite:
    """``built_by`` names another file of the project that builds the service, if one does."""
    if "compose" not in kinds:
        return Rewrite(data, [], [])
    try:
        text = data.decode("utf-8")
        return _Document(text, mirrors, dockerfile_of, kinds).result(data, built_by)
    except UnicodeDecodeError:
        return _refused(data, 1, "it is not UTF-8")
    except _Unreadable as error:
        return _refused(data, error.line, str(error))


def is_part_of_a_project(name: str) -> bool:
    """Compose may be given several files of such names for one project."""
    return _NAMES.fullmatch(name) is not None


def built(data: bytes) -> t.Set[str]:
    """The services that a compose file builds."""
    try:
        return _Document(data.decode("utf-8"), Mirrors({}), lambda context, dockerfile: None, KINDS).built()
    except (UnicodeDecodeError, _Unreadable):
        return set()


def contexts(data: bytes) -> t.List[t.Tuple[str, str, t.List[str]]]:
    """Context, Dockerfile (none for one that stands in the compose file) and the names that additional_contexts replace in it."""
    try:
        document = _Document(data.decode("utf-8"), Mirrors({}), lambda context, dockerfile: None, KINDS)
        found = []
        for build in document.builds():
            names = [name for name, _rest in document.pairs(document.entry(build, "additional_contexts"))]
            is_inline = document.entry(build, "dockerfile_inline") is not None
            if names:
                found.append((document.word(build, "context") or ".", "" if is_inline else document.word(build, "dockerfile") or "Dockerfile", names))
        return found
    except (UnicodeDecodeError, _Unreadable):
        return []


class _Unreadable(Exception):
    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def _refused(data: bytes, line: int, message: str) -> Rewrite:
    return Rewrite(data, [], [Skip(line, "compose", "", f"This compose file cannot be read: {message}. Nothing in it was touched.")])


class _Document:
    def __init__(self, text: str, mirrors: Mirrors, dockerfile_of: DockerfileOf, kinds: t.Container[str]) -> None:
        self._text = text
        # One byte a character, so that the places of both are the same.
        self._flat = text.encode("latin-1", "replace")
        self._mirrors = mirrors
        self._dockerfile_of = dockerfile_of
        self._kinds = kinds
        self._roots = _parsed(text)
        self._edits: t.Set[Edit] = set()
        self._changes: t.Dict[int, Change] = {}
        self._skipped: t.List[Skip] = []

    def result(self, data: bytes, built_by: t.Callable[[str], str]) -> Rewrite:
        services = list(self._services())
        results = {id(image) for _rest, service in services for image in [self.entry(service, "image")] if image is not None and self._is_built(service)}
        seen: t.Set[int] = set()
        for name, service in services:
            image = self.entry(service, "image")
            if image is not None and _is_text(image) and id(image) not in seen and not self._is_built(service):
                seen.add(id(image))
                self._image(image, id(image) in results, self._extends_another_file(service), built_by(name))
        for build in self.builds():
            if id(build) not in seen:
                seen.add(id(build))
                self._build(build)
        edits = sorted(self._edits)
        after = spliced(self._text, edits).encode("utf-8")
        return Rewrite(after, [self._changes[place] for place in sorted(self._changes)], self._skipped, edits)

    def builds(self) -> t.Iterator[t.Any]:
        for _rest, service in self._services():
            build = self.entry(service, "build")
            if _is_map(build):
                yield build

    def built(self) -> t.Set[str]:
        return {name for name, service in self._services() if self._is_built(service)}

    def entry(self, node: t.Any, key: str) -> t.Any:
        """The value under a key, merge keys (<<) followed."""
        merged: t.List[t.Any] = []
        if not _is_map(node):
            return None
        for name, value in node.value:
            if name.value == key:
                return value
            if name.tag == "tag:yaml.org,2002:merge":
                merged += value.value if value.id == "sequence" else [value]
        return next((found for found in (self.entry(base, key) for base in merged) if found is not None), None)

    def word(self, node: t.Any, key: str) -> str:
        found = self.entry(node, key)
        return str(found.value) if found is not None and found.id == "scalar" else ""

    def pairs(self, node: t.Any) -> t.Iterator[t.Tuple[str, t.Optional[_Scalar]]]:
        """Names and values of a mapping, or of a list of NAME=VALUE."""
        if _is_map(node):
            for name, value in node.value:
                if name.id == value.id == "scalar":
                    yield str(name.value), self._scalar(value)
        elif node is not None and node.id == "sequence":
            for item in node.value:
                scalar = self._scalar(item) if item.id == "scalar" else None
                if scalar:
                    name, equals, value = scalar.value.partition("=")
                    start = len(name) + 1
                    yield name, _Scalar(value, scalar.origin[start:]) if equals else None

    def _services(self) -> t.Iterator[t.Tuple[str, t.Any]]:
        for root in self._roots:
            services = self.entry(root, "services")
            if services is None and self.entry(root, "include") is None:
                services = root  # the first version of the format
            if _is_map(services):
                for name, service in services.value:
                    if _is_map(service) and not (services is root and str(name.value).startswith("x-")):
                        yield str(name.value), service

    def _is_built(self, service: t.Any, depth: int = 0) -> bool:
        build = self.entry(service, "build")
        if build is not None and not _is_null(build):
            return True
        base = self.entry(service, "extends")
        name = self.word(base, "service") if _is_map(base) else str(base.value) if base is not None and base.id == "scalar" else ""
        if not name or self.word(base, "file") or depth > 20:
            return False
        found = (self.entry(self.entry(root, "services"), name) for root in self._roots)
        return any(self._is_built(other, depth + 1) for other in found if other is not None)

    def _extends_another_file(self, service: t.Any) -> bool:
        return bool(self.word(self.entry(service, "extends"), "file"))

    def _image(self, node: t.Any, is_a_result_too: bool, extends: bool, other: str) -> None:
        scalar = self._scalar(node) if node.id == "scalar" else None
        if scalar is None:
            if node.id == "scalar":
                self._skip(node.start_mark.index, str(node.value), "it is written in a way that cannot be edited in place; write it plainly on one line")
        elif is_a_result_too:
            self._doubt(scalar, "another service builds this image under the same anchor; give the two services an image each")
        elif extends:
            self._doubt(scalar, "its service extends another file, which may build this image; write the image where the build is known")
        elif other:
            self._doubt(
                scalar, f"its service is built by {other}, so it names the result where both files are used; if it is pulled, write the mirror's name here"
            )
        else:
            self._reference(scalar)

    def _build(self, build: t.Any) -> None:
        values = {name: value and _interpolated(value) for name, value in self.pairs(self.entry(build, "args"))}
        arguments = {name: value for name, value in values.items() if value is not None}
        inline = self.entry(build, "dockerfile_inline")
        if inline is not None and inline.id == "scalar":
            self._inline(inline, arguments)
        elif arguments:
            context = self.word(build, "context") or "."
            contents = None if "://" in context else self._dockerfile_of(context, self.word(build, "dockerfile") or "Dockerfile")
            if contents is not None:
                self._given(rewrite(contents, self._mirrors, *self._plain(arguments), edit_given=True), arguments)
        for _rest, value in self.pairs(self.entry(build, "additional_contexts")):
            if value is not None and value.value.startswith(_IMAGE_CONTEXT):
                start = len(_IMAGE_CONTEXT)
                self._reference(_Scalar(value.value[start:], value.origin[start:]))

    def _plain(self, arguments: t.Mapping[str, _Scalar]) -> t.Tuple[t.Dict[str, str], t.Container[str]]:
        return {name: value.value for name, value in arguments.items() if value.value.isascii()}, self._kinds

    def _given(self, result: Rewrite, arguments: t.Mapping[str, _Scalar]) -> None:
        for name, edits in result.given.items():
            scalar = arguments[name]
            self._take(scalar, [_moved(edit, scalar.origin) for edit in edits])

    def _inline(self, node: t.Any, arguments: t.Mapping[str, _Scalar]) -> None:
        block = self._block(node) if node.style == "|" else self._scalar(node)
        if block is None:
            seen = rewrite(str(node.value).replace("$$", "$").encode("utf-8"), self._mirrors, *self._plain(arguments))
            if seen.changes or seen.skipped:
                self._skip(node.start_mark.index, "dockerfile_inline", "it cannot be edited in place; write it as a literal block (|)")
            return
        text, origin, variables = _without_doubled_dollars(block)
        contents = text.encode("utf-8")
        places = [place for char, place in zip(text, origin) for _rest in char.encode("utf-8")] + [block.origin[-1] + 1 if block.origin else 0]
        result = rewrite(contents, self._mirrors, *self._plain(arguments), edit_given=True)
        if variables and (result.edits or result.skipped):
            self._skip(node.start_mark.index, "dockerfile_inline", "compose puts values into it before it is read; write $$ for the build's own variables")
            return
        self._given(result, arguments)
        first = line_of(self._flat, places[0]) - 1
        self._edits.update(
            Edit(places[edit.start], places[max(edit.start, edit.end - 1)] + (edit.end > edit.start), edit.text.replace("$", "$$")) for edit in result.edits
        )
        for change in result.changes:
            self._changes[places[0] + change.line] = change._replace(kind="compose", line=change.line + first)
        self._skipped += [skip._replace(kind="compose", line=skip.line + first) for skip in result.skipped]

    def _reference(self, scalar: _Scalar) -> None:
        result = self._planned(scalar)
        self._skipped += result.skipped
        self._take(scalar, result.edits)

    def _doubt(self, scalar: _Scalar, reason: str) -> None:
        result = self._planned(scalar)
        if result.edits or result.skipped:
            self._skip(scalar.origin[0], scalar.value, reason)

    def _planned(self, scalar: _Scalar) -> Rewrite:
        if not scalar.value or not scalar.value.isascii():
            return Rewrite(b"", [], [])
        at = scalar.origin[0]
        if "$" in scalar.value:
            reference = evaluated("compose", scalar.value, scalar.origin, at, frozenset(), "\0", _unset)
        else:
            reference = Reference("compose", scalar.value, scalar.origin, scalar.value, scalar.origin, at, frozenset())
        if reference.problem:
            reference = reference._replace(problem=f"it cannot be evaluated ({reference.problem}); write the image itself")
        return Planner(self._flat, self._mirrors, Scene([reference]), kinds=self._kinds, is_dockerfile=False).result()

    def _take(self, scalar: _Scalar, edits: t.Iterable[Edit]) -> None:
        edits = list(edits)
        if not edits:
            return
        self._edits.update(edits)
        start, end = scalar.origin[0], scalar.origin[-1] + 1
        self._changes[start] = Change(line_of(self._flat, start), "compose", scalar.value, spliced(self._text[start:end], edits, start))

    def _skip(self, at: int, reference: str, reason: str) -> None:
        self._skipped.append(Skip(line_of(self._flat, at), "compose", reference, reason[:1].upper() + reason[1:] + "."))

    def _scalar(self, node: t.Any) -> t.Optional[_Scalar]:
        """None where the text is not the value itself (escapes, several lines)."""
        start, end = node.start_mark.index, node.end_mark.index
        properties = _PROPERTIES.match(self._text, start, end)
        start = properties.end() if properties else start
        if node.style in ("'", '"'):
            start, end = start + 1, end - 1
        return _Scalar(node.value, range(start, end)) if self._text[start:end] == node.value else None

    def _block(self, node: t.Any) -> t.Optional[_Scalar]:
        """A literal block, line by line without its indentation."""
        start = self._text.find("\n", node.start_mark.index) + 1
        lines = self._text[start : node.end_mark.index].splitlines(keepends=True)
        indent = _first_indent(lines) - _first_indent(str(node.value).splitlines())
        value = ""
        origin: t.List[int] = []
        at = start
        for line in lines:
            kept = line[indent:].rstrip("\r\n") + "\n"
            value += kept
            origin += range(at + min(indent, len(line)), at + min(indent, len(line)) + len(kept) - 1)
            origin.append(at + len(line) - 1)
            at += len(line)
        size = len(node.value)
        return _Scalar(node.value, origin[:size]) if value[:size] == node.value else None


def _is_map(node: t.Any) -> bool:
    return node is not None and node.id == "mapping"


def _first_indent(lines: t.Iterable[str]) -> int:
    return next((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), 0)


def _is_null(node: t.Any) -> bool:
    return node.id == "scalar" and node.tag in ("tag:yaml.org,2002:null", "!reset")


def _is_text(node: t.Any) -> bool:
    """A text, or what cannot be one; numbers and null name no image, and tags of compose (!override) come before any value."""
    return node.id != "scalar" or node.tag == "tag:yaml.org,2002:str" or (node.tag.startswith("!") and not _is_null(node))


def _unset(name: str) -> None:
    return None


def _interpolated(scalar: _Scalar) -> t.Optional[_Scalar]:
    """The value that compose makes of it when no variable is set; None where one has no default."""
    if "$" not in scalar.value:
        return scalar
    try:
        value, _rest, unset = expand(written(scalar.value, scalar.origin), "\0", _unset)
    except ShellError:
        return None
    places = value.origin
    together = all(after == before + 1 for before, after in zip(places, places[1:]))
    return _Scalar(value.text, places) if together and not unset and "$$" not in scalar.value else None


def _moved(edit: Edit, origin: t.Sequence[int]) -> Edit:
    start = origin[edit.start] if edit.start < len(origin) else origin[-1] + 1
    return Edit(start, start + edit.end - edit.start, edit.text)


def _without_doubled_dollars(block: _Scalar) -> t.Tuple[str, t.List[int], bool]:
    text = ""
    origin: t.List[int] = []
    variables = False
    at = 0
    while at < len(block.value):
        char = block.value[at]
        if char == "$" and block.value.startswith("$$", at):
            at += 1
        elif char == "$":
            variables = True
        text += char
        origin.append(block.origin[at])
        at += 1
    return text, origin, variables


def _parsed(text: str) -> t.List[t.Any]:
    try:
        import yaml
    except ImportError as error:
        raise Unavailable("Compose files need PyYAML on the host: install python3-yaml there, or leave compose out of kinds.") from error
    bom = text.startswith(_BOM)
    try:
        return list(yaml.compose_all(" " + text[1:] if bom else text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise _Unreadable(mark.line + 1 if mark else 1, str(getattr(error, "problem", None) or "it is no YAML")) from error
