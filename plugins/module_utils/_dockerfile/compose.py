# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Point the images of a compose file at their mirrors: places from the YAML parser, edits in the text.

Writing the parsed document again would change most files; editing the text at the parser's marks keeps every other byte.
"""

from __future__ import annotations

import contextlib
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import env_file
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.env_file import Env, EnvUse, is_in_env, mentioned
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.instructions import Rejected, read
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.references import (
    ParsedReferences,
    Reference,
    evaluated,
    is_built_in,
    seen_in_stages,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import (
    KINDS,
    Change,
    Edit,
    Planner,
    Rewrite,
    Skip,
    line_of,
    references,
    rewrite,
    shortest,
    spliced,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.shell import UNKNOWN, Look, ShellError, expand, written
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.yaml_nodes import (
    NULL,
    Item,
    Node,
    Scalar,
    Unreadable,
    Yaml,
    is_map,
    is_null,
    is_text,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import InvalidImageName, parse
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import Mirrors

_IMAGE_CONTEXT = "docker-image://"
_DECISIVE = (b"build", b"include", b"extends")  # words without which a file says nothing about other files
_MOST_BASES = 20
_IN_DOCKERFILES = frozenset(KINDS) - {"compose"}
_NAMES = re.compile(r"(?:docker-)?compose(?:[._-].+)?\.ya?ml", re.ASCII)
_MARK = "unset.invalid/x"
_PARTS = re.compile(r"[^$]+|\$(?:\$|\{[^}]*\}?|[A-Za-z_][A-Za-z0-9_]*)?", re.ASCII)  # a single $ is literal
_LOOKS_LIKE_AN_IMAGE = re.compile(r"[a-z][^:@]*[:@].+|[^/]*[.:][^/]*/.+", re.ASCII)

_IN_PLACE = "it is written in a way that cannot be edited in place; write it plainly on one line"
_ON_BLOCK = "it cannot be edited in place; write it as a literal block (|)"
_SHARED = "its anchor is also used by a field that is not an image; give the image a separate anchor"
_VALUE = "compose puts its value into this line before BuildKit reads it; write $$ for a variable of the build, or the image itself"
_UNREAD = "it may be an image, but the Dockerfile that gets it cannot be read from here; if it feeds a FROM there, write the mirror's name"
_NO_VALUE = "it is in a FROM of its Dockerfile, and compose finds no value for it here; give it a default, or set it in .env to the mirror's name"
_PARTED = "its registry is written in two places; write it in one"
_LOCAL_ID = re.compile(r"(?:sha256:)?[a-f0-9]{64}", re.ASCII)
_NEVER_PULLED = ("never", "build")  # values of pull_policy (docker/compose pkg/compose/pull.go)
_FRONTEND = "BUILDKIT_SYNTAX"  # a build argument that names the frontend
_GENERATOR = re.compile(r"(?:^|,)generator=([^,]+)")
_NO_CONTEXT = "it may be an image, but this file does not say which Dockerfile gets it; write the args where the context is, or set them by hand"
_AGAIN = "a stage declares this build argument too, where its new value would be visible; use a separate argument for the image"
_NO_ARG = "it is the value of a build argument, and kinds does not contain arg"

_NO_ENV = Env()

# Reads the Dockerfile of a context: (context, dockerfile) -> bytes, None if it cannot be read.
DockerfileOf = t.Callable[[str, str], t.Optional[bytes]]


class Surroundings(t.NamedTuple):
    """What the project says about a compose file."""

    results: t.AbstractSet[str] = frozenset()  # images that the files build that it includes, by their full names
    builds: t.Callable[[str, str], t.Optional[bool]] = lambda file, service: None  # whether a service of another file is built there; None: not known
    env: Env = _NO_ENV  # the file .env of its project, and of those that include it
    env_verdicts: t.Mapping[env_file.Edits, str] = {}  # the edits in .env that this run makes or has made, or the reasons against them
    supplied: t.Callable[[str, str], t.Mapping[str, str]] = lambda context, dockerfile: {}  # by named contexts in that Dockerfile
    unlooked: t.Sequence[t.Tuple[int, str, str]] = ()  # line, name and reason of each file that it reads and that this run does not look at


_ALONE = Surroundings()
_Given = t.Mapping[str, t.Tuple[t.Sequence[Edit], str]]  # edits to the build arguments, each with the reason against them


def rewrite_compose(
    data: bytes,
    mirrors: Mirrors,
    dockerfile_of: DockerfileOf = lambda context, dockerfile: None,
    kinds: t.Container[str] = KINDS,
    built_by: t.Callable[[str], str] = lambda name: "",
    around: Surroundings = _ALONE,
) -> Rewrite:
    """``built_by`` names another file of the project that builds the service, or an image of the name, if one does."""
    if "compose" not in kinds:
        return Rewrite(data, [], [])
    try:
        document = _document(data, around.env)
        other = document.other_format()
        if other:
            return Rewrite(data, [], list(_other_skips(document.yaml, other, mirrors)))
        return ComposeRewriter(document, mirrors, dockerfile_of, kinds, built_by, around).result()
    except Unreadable as error:
        reason = f"This compose file cannot be read: {error}. Nothing in it was changed."
        return Rewrite(data, [], [Skip(error.line, "compose", "", reason)])


def _other_skips(yaml: Yaml, other: str, mirrors: Mirrors) -> t.Iterator[Skip]:
    """The first image that the map names."""
    named_images = []
    for key, node in yaml.pairs():
        images = [node] if key in ("image", "container") else node.value if key == "services" and node.id == "sequence" else []
        for image in images:
            named = yaml.entry(image, "name") if is_map(image) else image
            with contextlib.suppress(InvalidImageName):
                if named is not None and named.id == "scalar" and mirrors.replacement(str(named.value)):
                    named_images.append((named.start_mark.index, str(named.value)))
    for at, image in sorted(named_images)[:1]:
        yield Skip(yaml.line(at), "compose", image, f"This is {other} and not a compose file. Nothing in it was changed.")


class ComposeBuild(t.NamedTuple):
    place: t.Optional[t.Tuple[str, str]]  # context and Dockerfile; None where it is not known
    contexts: t.Sequence[str]
    is_inline: bool
    line: int
    args: t.Sequence[str] = ()


class ComposeFacts(t.NamedTuple):
    """What a compose file says about the project around it."""

    files: t.Sequence[t.Tuple[str, int]] = ()  # that it reads, and the lines
    includes: t.Sequence[str] = ()  # those of them that are included as a whole
    services: t.Mapping[str, t.Tuple[str, str]] = {}  # with the file and service that each extends
    built: t.AbstractSet[str] = frozenset()  # services, and the names of images
    results: t.AbstractSet[str] = frozenset()  # images alone
    builds: t.Sequence[ComposeBuild] = ()
    is_readable: bool = True


def read_compose(data: bytes, env: Env = _NO_ENV) -> ComposeFacts:
    """Nothing where it cannot be read."""
    if not any(word in data for word in _DECISIVE):
        return ComposeFacts()
    try:
        document = _document(data, env)
    except Unreadable:
        return ComposeFacts(is_readable=False)
    included = list(document.included())
    extended = [(document.extended(service), document.yaml.line(service.start_mark.index)) for _name, service in document.services]
    builds = [
        ComposeBuild(
            document.dockerfile(build),
            document.named(build),
            document.inline(build) is not None,
            document.yaml.line(build.start_mark.index),
            document.args(build),
        )
        for _name, build in document.builds()
    ]
    builds += [ComposeBuild((context, "Dockerfile"), (), False, line) for context, line in document.short_builds()]
    return ComposeFacts(
        [*included, *((file, line) for (file, _service), line in extended if file)],
        [text for text, _line in included],
        {name: document.extended(service) for name, service in document.services},
        document.built | document.results,
        document.results,
        builds,
    )


def is_part_of_a_project(name: str) -> bool:
    """Compose may be given several files of such names for one project."""
    return _NAMES.fullmatch(name) is not None


def env_uses(data: bytes, mirrors: Mirrors, dockerfile_of: DockerfileOf, kinds: t.Container[str], around: Surroundings) -> t.List[EnvUse]:
    """What a compose file makes of the variables of .env; nothing where it cannot be read."""
    try:
        document = _document(data, around.env)
        return [] if document.other_format() else ComposeRewriter(document, mirrors, dockerfile_of, kinds, lambda name: "", around).env_uses()
    except Unreadable:
        return []


def _document(data: bytes, env: Env) -> _Document:
    try:
        return _Document(Yaml(data.decode("utf-8")), env.look)
    except UnicodeDecodeError as error:
        raise Unreadable(line_of(data, error.start), "it is not UTF-8") from error


class _Document:
    """What a compose file says: its services, what it builds, and the names of the results."""

    def __init__(self, yaml: Yaml, look: Look) -> None:
        self.yaml = yaml
        self._look = look
        self.services = list(self._services())
        self._parts: t.Dict[str, t.List[Node]] = {}  # of one service in several documents, the last first
        for name, service in self.services:
            self._parts.setdefault(name, []).insert(0, service)
        self.built = {name for name in self._parts if self._is_built(name)}
        self.results: t.Set[str] = set()
        self.inherited: t.Dict[int, str] = {}  # images of results in places from which other services may take them
        for name in sorted(self.built):
            image = next((found for found in self._inherited_values("image", name) if found.id == "scalar"), None)
            if image is not None:
                self.results.add(self.full_name(image.value))
                if not any(value is image for part in self._parts[name] for _key, value in part.value):
                    self.inherited[id(image)] = name

    def included(self) -> t.Iterator[t.Tuple[str, int]]:
        """The compose files that it includes, with their lines."""
        for root in self.yaml.roots:
            include = self.yaml.entry(root, "include")
            for item in include.value if include is not None and include.id == "sequence" else ():
                path = self.yaml.entry(item, "path") if is_map(item) else item
                for node in [] if path is None else path.value if path.id == "sequence" else [path]:
                    name = self.evaluated(str(node.value)) if node.id == "scalar" else None
                    if name:
                        yield name, self.yaml.line(node.start_mark.index)

    def extended(self, service: Node) -> t.Tuple[str, str]:
        """The file and the service that it extends; no file where it is the same."""
        base = self.yaml.entry(service, "extends")
        return self.yaml.word(base, "file"), self.yaml.word(base, "service")

    def other_format(self) -> str:
        """The kind of the file if it is certainly not a compose file."""
        for root in self.yaml.roots:
            entries = self.yaml.entries(root)
            if {"apiVersion", "kind"} <= entries.keys():
                return "a Kubernetes manifest"
            if is_map(entries.get("jobs")) and "on" in entries:
                return "a GitHub workflow"
            if not is_map(entries.get("services")) and any("script" in self.yaml.entries(job) for job in entries.values()):
                return "a GitLab CI file"
        return ""

    def is_never_pulled(self, name: str) -> bool:
        policy = next(self._inherited_values("pull_policy", name), None)
        return policy is not None and policy.id == "scalar" and policy.value in _NEVER_PULLED

    def other_images(self, service: Node) -> t.Iterator[Node]:
        """Of volumes of the type image, and of the steps before the start."""
        for item in self._maps(service, "volumes"):
            if self.yaml.word(item, "type") == "image" and self.yaml.word(item, "source"):
                yield self.yaml.entry(item, "source")
        for item in self._maps(service, "pre_start"):
            if self.yaml.word(item, "image"):
                yield self.yaml.entry(item, "image")

    def _maps(self, service: Node, key: str) -> t.List[Node]:
        node = self.yaml.entry(service, key)
        return [item for item in node.value if is_map(item)] if node is not None and node.id == "sequence" else []

    def short_builds(self) -> t.Iterator[t.Tuple[str, int]]:
        """The contexts of services that say nothing else of their builds."""
        for _name, service in self.services:
            build = self.yaml.entry(service, "build")
            context = self.evaluated(self.yaml.word(service, "build")) if build is not None and build.id == "scalar" else None
            if context:
                yield context, self.yaml.line(build.start_mark.index)

    def builds(self) -> t.Iterator[t.Tuple[str, Node]]:
        seen: t.Set[int] = set()
        for name, service in self.services:
            build = self.yaml.entry(service, "build")
            if is_map(build) and id(build) not in seen:
                seen.add(id(build))
                yield name, build

    def dockerfile(self, build: Node) -> t.Optional[t.Tuple[str, str]]:
        """Context and Dockerfile; None where a variable without a default decides."""
        context = self.evaluated(self.yaml.word(build, "context") or ".")
        dockerfile = self.evaluated(self.yaml.word(build, "dockerfile") or "Dockerfile")
        return None if context is None or dockerfile is None else (context, dockerfile)

    def evaluated(self, text: str) -> t.Optional[str]:
        """What compose makes of it; None where a variable has neither a value in .env nor a default."""
        if "$" not in text:
            return text
        try:
            value, _rest, unset = expand(written(text, range(len(text))), "\0", self._look)
        except ShellError:
            return None
        return None if unset or UNKNOWN in value.origin else value.text

    def full_name(self, text: str) -> str:
        """The same for all spellings of an image; one with a variable that has no value is compared as it is written."""
        value = self.evaluated(text) or text
        try:
            image = parse(value)
        except InvalidImageName:
            return text
        return image.full if image.suffix else f"{image.full}:latest"

    def inline(self, build: Node) -> Node:
        """The Dockerfile inside the compose file; compose ignores an empty one."""
        return self.yaml.entry(build, "dockerfile_inline") if self.yaml.word(build, "dockerfile_inline") else None

    def named(self, build: Node) -> t.List[str]:
        return [item.name for item in self.yaml.items(self.yaml.entry(build, "additional_contexts"))]

    def args(self, build: Node) -> t.List[str]:
        """The names of the build arguments that have a value here."""
        items = self.yaml.items(self.yaml.entry(build, "args"))
        return [item.name for item in items if item.scalar or (self.is_passed_on(item) and self._look(item.name))]

    def is_passed_on(self, item: Item) -> bool:
        """A name without a value: compose takes it from the environment or .env."""
        return item.scalar is None and item.node.id == "scalar" and (is_null(item.node) or item.node.value == item.name)

    def passed_on(self) -> t.Iterator[t.Tuple[str, Node]]:
        """The names of variables that are replaced by their values, and their positions."""
        for _name, service in self.services:
            for item in self.yaml.items(self.yaml.entry(service, "environment")):
                if self.is_passed_on(item):
                    yield item.name, item.node
        for _name, build in self.builds():
            for item in self.yaml.items(self.yaml.entry(build, "args")):
                if self.is_passed_on(item):
                    yield item.name, item.node
        for root in self.yaml.roots:
            for key in ("secrets", "configs"):
                for node in self.yaml.entries(self.yaml.entry(root, key)).values():
                    if self.yaml.word(node, "environment"):
                        yield self.yaml.word(node, "environment"), self.yaml.entry(node, "environment")

    def env_files(self) -> t.Iterator[t.Tuple[str, int]]:
        """The files that containers get as their environment, with their lines."""
        for _name, service in self.services:
            node = self.yaml.entry(service, "env_file")
            for item in [] if node is None else node.value if node.id == "sequence" else [node]:
                path = self.yaml.entry(item, "path") if is_map(item) else item
                if path is not None and path.id == "scalar":
                    yield str(path.value), self.yaml.line(path.start_mark.index)

    def used(self) -> t.Set[int]:
        """The nodes that say something else than images and builds; extensions (x-) say nothing by themselves."""
        services = {id(node) for node in [*map(self._services_of, self.yaml.roots), *(service for _name, service in self.services)]}
        nodes = [node for root in self.yaml.roots for node in self._besides(root) if id(node) not in services]
        for _name, service in self.services:
            nodes += self._besides(service, "image", "build", "volumes", "pre_start")
            for key, its_image in (("volumes", "source"), ("pre_start", "image")):
                node = self.yaml.entry(service, key)
                images = {id(image) for image in self.other_images(service)}
                for item in node.value if node is not None and node.id == "sequence" else ():
                    nodes += self._besides(item, its_image) if id(self.yaml.entry(item, its_image)) in images else [item]
                nodes += self.yaml.entries(node).values()
        for _name, build in self.builds():
            nodes += self._besides(build, "args", "additional_contexts", "dockerfile_inline", "sbom")
        ids: t.Set[int] = set()
        while nodes:
            node = nodes.pop()
            if id(node) not in ids:
                ids.add(id(node))
                nodes += self.yaml.entries(node).values() if is_map(node) else node.value if node.id == "sequence" else ()
        return ids

    def _besides(self, node: Node, *keys: str) -> t.List[Node]:
        return [value for key, value in self.yaml.entries(node).items() if key not in keys and not key.startswith("x-")]

    def _services_of(self, root: Node) -> Node:
        services = self.yaml.entry(root, "services")
        return root if services is None and self.yaml.entry(root, "include") is None else services  # the first version of the format had no such key

    def _services(self) -> t.Iterator[t.Tuple[str, Node]]:
        for root in self.yaml.roots:
            services = self._services_of(root)
            for name, service in self.yaml.entries(services).items():
                if is_map(service) and not (services is root and name.startswith("x-")):
                    yield name, service

    def _is_built(self, name: str) -> bool:
        return next((build.tag != "!reset" for build in self._inherited_values("build", name)), False)

    def _inherited_values(self, key: str, name: str) -> t.Iterator[Node]:
        """What a service says under a key, then the services of this file that it extends."""
        names = [name]
        at = 0
        while at < len(names):
            for part in self._parts.get(names[at], ()):
                value = self.yaml.entry(part, key)
                if value is not None and value.tag != NULL:
                    yield value
                base = self._base(part)
                if base not in names and len(names) < _MOST_BASES:
                    names.append(base)
            at += 1

    def _base(self, service: Node) -> str:
        base = self.yaml.entry(service, "extends")
        return self.yaml.word(service, "extends") if not is_map(base) or self.yaml.word(base, "file") else self.yaml.word(base, "service")


class _Plan(t.NamedTuple):
    """The decision about a scalar: edits, a reason against them, or neither."""

    scalar: Scalar
    edits: t.Sequence[Edit] = ()
    reason: str = ""
    changes: t.Sequence[Change] = ()
    env: env_file.Edits = ()  # edits of the file .env instead


class ComposeRewriter:
    """First a plan for each place; then those are made that agree about their scalar, which an anchor may put into several places."""

    def __init__(
        self,
        document: _Document,
        mirrors: Mirrors,
        dockerfile_of: DockerfileOf,
        kinds: t.Container[str],
        built_by: t.Callable[[str], str],
        around: Surroundings,
    ) -> None:
        self._document = document
        self._yaml = document.yaml
        self._mirrors = mirrors
        self._dockerfile_of = dockerfile_of
        self._kinds = kinds
        self._built_by = built_by
        self._around = around
        self._plans: t.Dict[int, t.List[_Plan]] = {}
        self._skipped: t.Set[Skip] = set()

    def result(self) -> Rewrite:
        self._plan_all()
        self._skipped.update(Skip(line, "compose", name, reason) for line, name, reason in self._around.unlooked)
        made = list(self._made())
        edits = sorted({edit for plan in made for edit in plan.edits})
        changes = sorted(((plan.scalar.origin[0], plan.changes) for plan in made), key=lambda found: found[0])
        after = spliced(self._yaml.text, edits).encode("utf-8")
        return Rewrite(after, [change for _at, each in changes for change in each], sorted(self._skipped), edits)

    def env_uses(self) -> t.List[EnvUse]:
        """The texts that use variables of .env, and the value that each variable would need there."""
        self._plan_all()
        wanted = {node: plan.env for node, plan in self._agreed() if plan.env and not plan.reason}
        env = self._around.env
        texts = [(mentioned(str(node.value)), node) for node in self._yaml.scalars()]
        passed_on = [([name], node) for name, node in self._document.passed_on()]
        uses = [EnvUse(self._yaml.line(node.start_mark.index), env.defined(names), wanted.get(id(node), ())) for names, node in [*texts, *passed_on]]
        handed = [EnvUse(line, env.every()) for path, line in self._document.env_files() if path.rpartition("/")[2] == env_file.NAME]
        return [*handed, *(use for use in uses if use.names)]

    def _plan_all(self) -> None:
        for name, service in self._document.services:
            image = self._yaml.entry(service, "image")
            if image is not None and image.id == "scalar" and is_text(image):
                self._plan(image, self._image(name, service, image))
            for other in self._document.other_images(service):
                self._plan(other, self._other_image(other))
        for name, build in self._document.builds():
            self._build(name, build)

    def _plan(self, node: Node, plan: _Plan) -> None:
        self._plans.setdefault(id(node), []).append(plan)

    def _made(self) -> t.Iterator[_Plan]:
        for _node, plan in self._agreed():
            around = self._around
            reason = plan.reason or (plan.env and around.env_verdicts.get(plan.env, around.env.not_edited(plan.env)))
            if reason:
                self._skip(plan.scalar, reason)
            elif plan.edits:
                yield plan

    def _agreed(self) -> t.Iterator[t.Tuple[int, _Plan]]:
        """What the plans for each node come to, by the node's identity."""
        used = self._document.used()
        for node, plans in self._plans.items():
            wanted = next((plan for plan in plans if plan.reason), None) or next((plan for plan in plans if plan.edits or plan.env), None)
            if wanted is not None:
                is_shared = node in used or any((plan.edits, plan.env) != (wanted.edits, wanted.env) for plan in plans)
                yield node, wanted._replace(reason=wanted.reason or (_SHARED if is_shared else ""))

    def _image(self, name: str, service: Node, node: Node) -> _Plan:
        document = self._document
        builder, full_name = document.inherited.get(id(node), ""), document.full_name(node.value)
        place = Scalar(node.value, [node.start_mark.index])
        file, base = document.extended(service)
        is_result = name in document.built or (not builder and self._is_result(full_name)) or bool(file and self._around.builds(file, base))
        if is_result or document.is_never_pulled(name) or _LOCAL_ID.fullmatch(node.value):
            return _Plan(place)
        scalar = self._yaml.scalar(node)
        if scalar is None:
            return _Plan(place, reason=_IN_PLACE)
        plan = self._reference(scalar)
        doubt = self._skip_reason(name, service, builder, full_name) if plan.edits or plan.env or plan.reason else ""
        return plan._replace(reason=doubt or plan.reason)

    def _other_image(self, node: Node) -> _Plan:
        scalar = self._yaml.scalar(node)
        if self._is_result(self._document.full_name(node.value)) or _LOCAL_ID.fullmatch(node.value):
            return _Plan(Scalar(node.value, [node.start_mark.index]))
        return self._reference(scalar) if scalar else _Plan(Scalar(node.value, [node.start_mark.index]), reason=_IN_PLACE)

    def _is_result(self, full_name: str) -> bool:
        return full_name in self._document.results or full_name in self._around.results

    def _skip_reason(self, name: str, service: Node, builder: str, full_name: str) -> str:
        if builder:
            return f"service {builder} has its image from here and builds it; give {builder} an image of its own"
        file, base = self._document.extended(service)
        if file and self._around.builds(file, base) is None:
            return "its service extends another file, which may build this image; write the image where the build is known"
        for what, other in (("its service", self._built_by(name)), ("an image of this name", self._built_by(full_name))):
            if other:
                return f"{what} is built by {other}, so it names the result where both files are used; if it is pulled, write the mirror's name here"
        return ""

    def _build(self, name: str, build: Node) -> None:
        arguments = {item.name: item for item in self._yaml.items(self._yaml.entry(build, "args"))}
        self._frontend(arguments.pop(_FRONTEND, None))
        self._sbom(self._yaml.entry(build, "sbom"))
        scalars = {name: self._value(name, item) for name, item in arguments.items()}
        values = {name: scalar.value for name, scalar in scalars.items() if scalar and scalar.value.isascii()}
        inline = self._document.inline(build)
        given = self._feeding(name, build, values) if inline is None else self._inline(inline, build, values)
        for name, item in arguments.items():
            plan = self._argument(scalars[name], item, None if given is None else given.get(name, ((), "")))
            if item.scalar and not scalars[name] and self._is_unset(item.scalar.value) and self._feeds(name, build, values, inline):
                plan = _Plan(item.scalar, reason=_NO_VALUE)
            elif item.scalar and plan.reason == _PARTED:
                plan = self._reference(item.scalar)
            self._plan(item.node, plan)
        for item in self._yaml.items(self._yaml.entry(build, "additional_contexts")):
            if item.scalar and item.scalar.value.startswith(_IMAGE_CONTEXT):
                self._plan(item.node, self._reference(item.scalar.behind(len(_IMAGE_CONTEXT))))

    def _frontend(self, item: t.Optional[Item]) -> None:
        if item and item.scalar and not is_built_in("syntax", item.scalar.value):
            self._plan(item.node, self._reference(item.scalar))

    def _sbom(self, node: Node) -> None:
        scalar = self._yaml.scalar(node) if node is not None and node.id == "scalar" else None
        match = _GENERATOR.search(scalar.value) if scalar else None
        if scalar and match:
            self._plan(node, self._reference(Scalar(match.group(1), scalar.origin[match.start(1) : match.end(1)])))

    def _feeds(self, name: str, build: Node, values: t.Mapping[str, str], inline: Node) -> bool:
        """Whether a reference of the Dockerfile begins with the value of the argument."""
        place = self._document.dockerfile(build)
        contents = str(inline.value).replace("$$", "$").encode() if inline is not None else self._dockerfile_of(*place) if place else None
        try:
            return any(value.startswith(_MARK) for _kind, value in references(contents or b"", {**values, name: _MARK}))
        except Rejected:
            return False

    def _feeding(self, name: str, build: Node, values: t.Mapping[str, str]) -> t.Optional[_Given]:
        """Edits to the arguments that feed a FROM; None where it is not known of which Dockerfile."""
        place = self._document.dockerfile(build)
        is_said = self._yaml.entry(build, "context") is not None
        if place is None or not (is_said or not values or not self._built_by(name)):
            return None
        if not values:
            return {} if is_said else None
        contents = self._dockerfile_of(*place) if "://" not in place[0] else None
        if contents is None:
            return {name: ((), _UNREAD if self._may_be_an_image(value) else "") for name, value in values.items()} if is_said else None
        # Whether this run has come to the Dockerfile yet makes no difference.
        supplied = self._around.supplied(*place)
        contents = rewrite(contents, self._mirrors, kinds=self._kinds, supplied=supplied).after
        return self._given(contents, values, rewrite(contents, self._mirrors, values, _IN_DOCKERFILES, edit_given=True, supplied=supplied))

    def _may_be_an_image(self, value: str) -> bool:
        return bool(_LOOKS_LIKE_AN_IMAGE.fullmatch(value) and self._reference(Scalar(value, range(len(value)))).edits)

    def _given(self, contents: bytes, values: t.Mapping[str, str], result: Rewrite) -> _Given:
        stages = seen_in_stages(contents, values) if result.given else ()
        no_arg = "" if "arg" in self._kinds else _NO_ARG
        return {name: (edits, _AGAIN if name in stages else no_arg) for name, edits in result.given.items()}

    def _value(self, name: str, item: Item) -> t.Optional[Scalar]:
        """The value of a build argument, which .env gives where nothing else does."""
        if item.scalar:
            return self._interpolated(item.scalar)
        value = self._around.env.look(name) if self._document.is_passed_on(item) else None
        return Scalar(value.text, value.origin) if value and value.text and UNKNOWN not in value.origin else None

    def _interpolated(self, scalar: Scalar) -> t.Optional[Scalar]:
        """The same with its places; None also where the value comes from several of them."""
        if "$" not in scalar.value:
            return scalar
        try:
            value, _rest, unset = expand(written(scalar.value, scalar.origin), "\0", self._around.env.look)
        except ShellError:
            return None
        is_known = value.text and not unset and UNKNOWN not in value.origin and "$$" not in scalar.value
        return Scalar(value.text, value.origin) if is_known else None

    def _is_unset(self, text: str) -> bool:
        """A variable in it has neither a value nor a default."""
        try:
            value, _rest, unset = expand(written(text.replace("$$", ""), range(len(text))), "\0", self._around.env.look)
        except ShellError:
            return False
        return bool(unset) or UNKNOWN in value.origin

    def _argument(self, scalar: t.Optional[Scalar], item: Item, given: t.Optional[t.Tuple[t.Sequence[Edit], str]]) -> _Plan:
        if scalar is None:
            return _Plan(Scalar("", ()))
        shown = item.scalar or Scalar(item.name, [item.node.start_mark.index])
        if not is_in_env(max(scalar.origin, default=0)):
            shown = scalar
        if given is None:
            return _Plan(shown, reason=_NO_CONTEXT if self._may_be_an_image(scalar.value) else "")
        edits, reason = given
        places = [place for edit in edits for place in scalar.origin[edit.start : max(edit.end, edit.start + 1)] or scalar.origin[-1:]]
        in_env = [is_in_env(place) for place in places]
        if (any(in_env) and not all(in_env)) or any(not _is_together(scalar.origin[edit.start : edit.end]) for edit in edits):
            return _Plan(shown, reason=_PARTED)
        if any(in_env):
            return _Plan(shown, reason=reason, env=self._around.env.edits([_moved(edit, scalar.origin) for edit in edits]))
        return self._edited(shown, [_moved(edit, scalar.origin) for edit in edits], reason)

    def _inline(self, node: Node, build: Node, values: t.Mapping[str, str]) -> _Given:
        supplied = _supplied(self._document.named(build))
        kinds = _IN_DOCKERFILES if "arg" in self._kinds else _IN_DOCKERFILES - {"arg"}
        block = self._yaml.block(node) if node.style == "|" else self._yaml.scalar(node)
        if block is None:
            seen = rewrite(str(node.value).replace("$$", "$").encode("utf-8"), self._mirrors, values, kinds, supplied=supplied)
            place = Scalar("dockerfile_inline", [node.start_mark.index])
            self._plan(node, _Plan(place, reason=_ON_BLOCK if seen.changes or seen.skipped else ""))
            return {}
        contents, places, variables = _handed_on(block)
        result = rewrite(contents, self._mirrors, values, kinds, edit_given=True, supplied=supplied)
        decisive = _decisive(contents, variables) if result.edits or result.skipped or result.given else None
        if decisive:
            at, spelling = decisive
            self._plan(node, _Plan(Scalar(spelling, [places[at]]), reason=_VALUE))
            return {}
        above = self._yaml.line(places[0]) - 1
        self._skipped.update(skip._replace(kind="compose", line=skip.line + above) for skip in result.skipped)
        changes = [change._replace(kind="compose", line=change.line + above) for change in result.changes]
        edits = [
            Edit(places[edit.start], places[max(edit.start, edit.end - 1)] + (edit.end > edit.start), edit.text.replace("$", "$$")) for edit in result.edits
        ]
        self._plan(node, _Plan(Scalar("dockerfile_inline", places), edits, "", changes))
        return self._given(contents, values, result)

    def _reference(self, scalar: Scalar) -> _Plan:
        value = scalar.value
        if not value or not value.isascii():
            return _Plan(scalar)
        places = range(len(value))
        env = self._around.env
        if "$" in value:
            reference = evaluated("compose", value, places, 0, frozenset(), "\0", env.look_behind(len(value)))
        else:
            reference = Reference("compose", value, places, value, places, 0, frozenset())
        if reference.problem:
            reference = reference._replace(problem=f"it cannot be evaluated ({reference.problem}); write the image itself")
        if reference.origin[:1] == [UNKNOWN] and not reference.problem:
            reference = reference._replace(problem=env.unevaluated(mentioned(value)))
        scene = ParsedReferences([reference])
        result = Planner(value.encode("ascii"), self._mirrors, scene, env.given, is_dockerfile=False, edit_given=True).result()
        in_env = env.edits_of(result.given)
        if in_env:
            return _Plan(scalar, env=in_env)
        return self._edited(scalar, [_moved(edit, scalar.origin) for edit in result.edits], next((skip.reason for skip in result.skipped), ""))

    def _edited(self, scalar: Scalar, edits: t.Sequence[Edit], reason: str) -> _Plan:
        if not edits:
            return _Plan(scalar, reason=reason)
        start, end = scalar.origin[0], scalar.origin[-1] + 1
        change = Change(self._yaml.line(start), "compose", scalar.value, spliced(self._yaml.text[start:end], edits, start))
        return _Plan(scalar, edits, reason, [change])

    def _skip(self, scalar: Scalar, reason: str) -> None:
        sentence = reason[:1].upper() + reason[1:].rstrip(".") + "."
        self._skipped.add(Skip(self._yaml.line(scalar.origin[0]), "compose", scalar.value, sentence))


def _supplied(names: t.Iterable[str]) -> t.Dict[str, str]:
    """The images that the named contexts of a build replace (moby/buildkit frontend/dockerui/namedcontext.go)."""
    reasons = {}
    for name in (name.partition("::")[0] for name in names):  # NAME::PLATFORM
        with contextlib.suppress(InvalidImageName):
            reasons[shortest(name)] = f"the build context {name} replaces it, so it is not pulled; what is pulled is written there"
    return reasons


def _is_together(places: t.Sequence[int]) -> bool:
    return all(after == before + 1 for before, after in zip(places, places[1:]))


def _moved(edit: Edit, origin: t.Sequence[int]) -> Edit:
    start = origin[edit.start] if edit.start < len(origin) else origin[-1] + 1
    return Edit(start, start + edit.end - edit.start, edit.text)


def _handed_on(block: Scalar) -> t.Tuple[bytes, t.List[int], t.List[t.Tuple[int, str]]]:
    """What compose gives to BuildKit, where each byte of it stands, and the variables that compose replaces, as they are written."""
    contents = b""
    places: t.List[int] = []
    variables: t.List[t.Tuple[int, str]] = []
    for part in _PARTS.finditer(block.value):
        text = part.group()
        if text == "$$":
            text = "$"
        elif text[0] == "$" and len(text) > 1:
            variables.append((len(places), text))
        places += [place for char, place in zip(text, block.origin[part.start() :]) for _rest in char.encode("utf-8")]
        contents += text.encode("utf-8")
    return contents, [*places, block.origin[-1] + 1], variables


def _decisive(contents: bytes, variables: t.Iterable[t.Tuple[int, str]]) -> t.Optional[t.Tuple[int, str]]:
    """The first variable in a line that says which images there are, or in one that BuildKit refuses as it is."""
    try:
        file = read(contents)
    except Rejected as error:
        line = line_of(contents, error.at)
        return next((each for each in variables if line_of(contents, each[0]) == line), None)
    spans = [(file.syntax[1], file.syntax[1] + len(file.syntax[0]))] if file.syntax else []
    for instruction in file.instructions:
        flags = [place for flag in instruction.flags for place in flag.origin]
        places = [*flags, *instruction.origin] if instruction.keyword in ("FROM", "ARG") else flags
        spans.append((instruction.at, max(places, default=-1) + 1))
    return next((each for each in variables if any(start <= each[0] < end for start, end in spans)), None)
