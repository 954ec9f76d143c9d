# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken TOML, projects, builders, answers of registries, and mutants of configurations and logs from the field: the same promises as in cores.py.

python tests/fuzz/readers.py [--inputs 100000] [--seed 7] [CORE...]
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import posixpath
import random
import re
import sys
import types
import typing as t

import cores
from cores import Core, File, Machine, module_fault, text_of

from ansible_collections.buildfleet.docker.plugins.module_utils._build import history
from ansible_collections.buildfleet.docker.plugins.module_utils._builder import definition
from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Evidence
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile import selection
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.bake_rewrite import rewrite_bake
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.project import survey
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import KINDS, spliced
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import toml
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Run
from ansible_collections.buildfleet.docker.plugins.module_utils._host.tree import BAKE_FILES, matches
from ansible_collections.buildfleet.docker.plugins.module_utils._info import info, registry_hosts
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import relay, trust_store
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import candidate, hosts_file, hosts_toml, probe
from ansible_collections.buildfleet.docker.plugins.modules import docker_daemon_proxy, docker_registry_hosts

try:
    import tomllib
except ImportError:  # before Python 3.11
    tomllib = None  # type: ignore[assignment]

FIELD = cores.TOP / "tests/field"
CONFIG = "/etc/docker/daemon.json"
PEM = "-----BEGIN CERTIFICATE-----\nMAOCAQA=\n-----END CERTIFICATE-----\n"


def rows(*names: str) -> t.List[t.Dict[str, t.Any]]:
    return [json.loads(line) for name in names for line in (FIELD / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


# --- TOML -----------------------------------------------------------------------------------------

HOSTS_TOML = [
    b'server = "https://ghcr.io"\n\n[host."https://m.example"]\n  capabilities = ["pull", "resolve"]\n  ca = "/etc/ca.pem"\n  skip_verify = true\n',
    b'# of others\n[host]\n"https://a.example" = {capabilities = ["pull"], header = {Authorization = "Basic Yjpw"}}\n'
    b'[host."https://b.example".header]\nX = ["1"]\n',
    b'host."https://a.example".capabilities = ["pull"]\nheader.X = "1"\n[host."https://b.example"]\n',
    b"server = 'https://x.example'\r\n[host.\"https://m.example/\"]\r\n  override_path = true\r\n",
    hosts_toml.block("ghcr.io", [hosts_toml.Mirror("https://m.example", "b", "p")], True).encode(),
    b"",
]
TOML = [
    *HOSTS_TOML,
    *(seed for seed in cores.BUILD_FILES if seed[:1] in (b"[", b"d")),
    b"a.b = 1\na.c.d = 2\n[e]\nf.g = 3\n[e.f.h]\n[e.i]\n",
    b'a = [1, 0x1F, 1_000, -2.5e3, true]\n"b.c" = """x\n y \\\n  z"""\nd = \'\'\'x\'\'\'\n[[e.f]]\ng = {h.i = 1, j = []}\nk = 2026-01-02T03:04:05Z\n',
]


def _toml_of_python(text: str) -> t.Tuple[bool, t.Any]:
    """Whether Python reads it, and the value, with ... for dates and infinity. Of integers it reads more than TOML has."""

    def shown(value: t.Any) -> t.Any:
        if isinstance(value, dict):
            return {key: shown(each) for key, each in value.items()}
        if isinstance(value, list):
            return [shown(each) for each in value]
        if isinstance(value, (datetime.date, datetime.time)) or (isinstance(value, float) and not math.isfinite(value)):
            return ...
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise ValueError
        return value

    try:
        return True, shown(tomllib.loads(text))
    except (ValueError, RecursionError):
        return False, None


def _is(value: t.Any, expected: t.Any) -> bool:
    if isinstance(expected, dict):
        return isinstance(value, dict) and value.keys() == expected.keys() and all(_is(value[key], expected[key]) for key in value)
    if isinstance(expected, list):
        return isinstance(value, list) and len(value) == len(expected) and all(_is(*pair) for pair in zip(value, expected))
    return isinstance(value, str) if expected is ... else type(value) is type(expected) and value == expected


def toml_fault(data: bytes, _dice: random.Random) -> str:
    text = data.decode("utf-8", "replace")
    known, expected = _toml_of_python(text) if tomllib else (False, None)
    try:
        document = toml.parse(text, "/f.toml")
    except toml.NotToml as error:
        if not re.match(r"/f\.toml, line \d+, column \d+: .*\.\Z", str(error), re.DOTALL):
            return f"no place in {error}"
        return f"TOML is refused: {error}" if known and "Ellipsis" not in str(expected) and "deep" not in str(error) else ""
    if tomllib and not known:
        return "what is not TOML is read"
    if tomllib and not _is(document.value, expected):
        return "another value than Python reads"
    for pair in document.pairs:
        if toml.parse(f"x = {text[slice(*pair.span)]}", "f").value["x"] != pair.value:
            return f"the value of {pair.keys} is somewhere else"
    return ""


REGISTRY_MIRRORS = [
    [hosts_toml.Mirror("https://m.example")],
    [hosts_toml.Mirror("http://n.example:5000/hub", "b", "p@ss:w/rd", override_path=True), hosts_toml.Mirror("https://a.example", ca="/etc/ca.pem")],
]


def hosts_toml_fault(data: bytes, dice: random.Random) -> str:
    """hosts.toml, read for docker_build_info and written for docker_registry_hosts."""
    path = hosts_toml.path_of("ghcr.io")
    hosts_toml.secrets(data, path)
    registry = dice.choice(["ghcr.io", "docker.io", "_default", "index.docker.io"])
    file = hosts_file.read_file(path, registry, data)
    engine, store = dice.choice([("28.5.2", "containerd"), ("28.5.2", "graphdriver"), ("26.1.5", "graphdriver"), ("", "")])
    for _id, _severity, _process, message, cure in registry_hosts.problems([file], engine, store, dice.choice(["", "https://m.example"])):
        if not (message.endswith(".") and cure.endswith(".")):
            return f"no sentence: {message!r}"
    ours = hosts_toml.block("ghcr.io", dice.choice(REGISTRY_MIRRORS), dice.random() < 0.5)
    try:
        after = hosts_toml.with_block(data, path, ours)
    except hosts_toml.RegistryHostsError as error:
        return cores.fault_of_words(error)
    if hosts_toml.with_block(after, path, ours) != after:
        return "a second run changes something"
    marked = hosts_toml.BEGIN.encode() in data
    if not marked and hosts_toml.without_block(after) not in (data, data + b"\n"):
        return "our lines do not go without a trace"
    try:
        value = toml.parse(after.decode(), path).value
    except toml.NotToml as error:
        return f"it writes what nobody reads: {error}"
    own, others = toml.parse(ours, path).value, toml.parse(hosts_toml.without_block(after).decode(), path).value
    hosts = {**own.get("host", {}), **others.get("host", {})}
    if value != {**others, **own, **({"host": hosts} if hosts or "host" in value else {})}:
        return "another value of others"
    return "" if list(value.get("host", {}))[: len(own.get("host", {}))] == list(own.get("host", {})) else "our mirrors do not come first"


def registries_fault(data: bytes, dice: random.Random) -> str:
    """The option registries, and what the engine reads in the file of each."""
    words = text_of(data).split("|")

    def entry() -> t.Any:
        word = dice.choice(words)
        login = dice.choice([{}, {}, {"username": dice.choice(words), "password": dice.choice(words)}])
        extra = dice.choice([{}, {"ca": dice.choice([*words, PEM, f"/{word}"])}, {"capabilities": dice.choice([None, words, ["pull", "resolve"], "pull"])}])
        return dice.choice([word, {"url": word, **login, **extra}, {"url": "https://m.example", **login, **extra}, {word: word}, None, 1])

    option = {dice.choice([*words, "ghcr.io"]): dice.choice([entry(), [entry(), entry()]])}
    try:
        registries = hosts_toml.wanted(option)
    except hosts_toml.RegistryHostsError as error:
        return cores.fault_of_words(error)
    for registry, asked in registries.items():
        fallback = dice.random() < 0.5
        file = hosts_file.read_file(hosts_toml.path_of(registry), registry, hosts_toml.block(registry, asked, fallback).encode())
        urls = [mirror.url for mirror in file.mirrors] + ([] if fallback else [file.server])
        if file.error or urls != [mirror.url for mirror in asked]:
            return f"the engine reads something else: {file}"
        for mirror, read in zip(asked, file.mirrors):
            if mirror.username and dict(read.headers)["Authorization"] != hosts_toml.authorization(mirror):
                return "the engine reads another login"
            if mirror.ca_is_path and read.ca != (mirror.ca,):
                return f"the engine reads another certificate: {read.ca}"
    return ""


class RegistryMachine(Machine):
    def can_write(self, path: str) -> bool:
        return True


def docker_registry_hosts_fault(data: bytes, dice: random.Random) -> str:
    path = hosts_toml.path_of(dice.choice(["ghcr.io", "docker.io", "_default", "quay.io"]))
    machine = RegistryMachine({path: File(data, dice.choice([0o644, 0o600]))}, "28.5.2")
    machine.info = {"RegistryConfig": {"Mirrors": dice.choice([[], ["https://m.example/"]])}, "HttpsProxy": dice.choice(["", "http://proxy:1"])}
    login = {"url": "https://m.example", "username": "b", "password": "p@ss:w/rd%41"}
    registries = dice.choice([{"ghcr.io": "https://a.example"}, {"ghcr.io": [login, "https://b.example"], "_default": "http://c.example:5000"}])
    options = {"registries": registries, "fallback": dice.random() < 0.7, "state": "present", "backup": False}
    return module_fault(docker_registry_hosts, machine, options)


# --- projects -------------------------------------------------------------------------------------

BAKE = [
    b'variable "TAG" { default = "3.19" }\ngroup "default" { targets = ["app", "db"] }\n'
    b'target "base" {\n  context = "app"\n  contexts = {\n    alpine = "docker-image://alpine:${TAG}"\n  }\n}\n'
    b'target "app" {\n  inherits = ["base"]\n  args = { BASE = "redis:7", BUILDKIT_SYNTAX = "docker/dockerfile:1" }\n'
    b'  attest = ["type=sbom,generator=docker/scout:1"]\n}\n',
    b'target "db" {\n  dockerfile-inline = <<EOT\nFROM alpine\nRUN true\nEOT\n'
    b'  matrix = { v = ["1", "2"] } # x\n  name = "db-${v}"\n  /* y */ platforms = [\n    "linux/amd64", // z\n  ]\n}\n',
    b'{"variable": {"V": {"default": "nginx"}}, "target": {"app": {"context": "app", "args": {"BASE": "${V}:1"}, "contexts": {"a": "docker-image://${V}"}}}}\n',
]
DOCKERFILE = b"ARG BASE=alpine\nFROM ${BASE} AS a\nFROM busybox:1\nCOPY --from=a /x /x\n"


def bake_fault(data: bytes, _dice: random.Random) -> str:
    name = "docker-bake.json" if data.lstrip()[:1] == b"{" else "docker-bake.hcl"

    def rewritten(contents: bytes) -> t.Any:
        return rewrite_bake({name: contents}, name, cores.FORWARD, lambda _context, _dockerfile: DOCKERFILE)

    result = rewritten(data)
    if result.edits and spliced(data.decode(), result.edits).encode() != result.after:
        return "bytes beside the edits changed"
    if not result.changes:
        return "" if result.after == data else "it changed without an edit"
    if name.endswith(".json"):
        json.loads(result.after)
    again = rewritten(result.after).changes
    return f"a second run edits again: {again}" if again else ""


PROJECT = {
    "/p/.env": b"REGISTRY=docker.io\nTAG=7 # x\nIMAGE=redis:${TAG}\nexport OTHER='nginx'\nQUOTED=\"${REGISTRY}/library/alpine\"\n",
    "/p/app/Dockerfile": DOCKERFILE,
    "/p/compose.yaml": b"include: [more/compose.yaml]\nservices:\n  a:\n    image: ${IMAGE}\n"
    b"  b:\n    build: {context: app, args: {BASE: '${QUOTED}'}}\n    image: b:1\n"
    b"  c:\n    extends: {file: more/compose.yaml, service: d}\n    image: $OTHER\n",
    "/p/docker-bake.hcl": BAKE[0],
    "/p/more/compose.yaml": b"services:\n  d:\n    build:\n      context: ../app\n"
    b"      dockerfile: Dockerfile\n      additional_contexts: {busybox: 'docker-image://busybox:1'}\n"
    b"  e:\n    image: ${REGISTRY}/library/redis\n",
    "/p/more/docker-bake.json": BAKE[2],
}
IS_SOURCE = matches(selection.PATTERNS)


def rewritten_project(given: t.Mapping[str, bytes]) -> t.Dict[str, bytes]:
    """As dockerfile_mirror does it for a folder, file after file."""
    files = dict(given)

    def read(path: str) -> t.Optional[bytes]:
        return files.get(posixpath.normpath(path))

    known = [path for path in files if not path.endswith("/.env")]
    compose = [path for path in known if selection.is_compose(selection.base(path))]
    bake = [path for path in known if selection.base(path) in BAKE_FILES]
    follows = selection.follows(IS_SOURCE, IS_SOURCE, BAKE_FILES)
    project = survey(compose, bake, frozenset(known), lambda path: path.startswith("/p/"), BAKE_FILES, read, follows, True)
    chosen = selection.Selection({"kinds": KINDS, "build_args": None}, IS_SOURCE, BAKE_FILES, project)
    for path in [*known, *project.extra]:
        contents = files.get(path)
        if contents is not None and chosen.includes(path):
            work, _encoding = chosen.rewriter(path, types.SimpleNamespace(path=path, contents=contents))
            files[path] = work(contents, cores.FORWARD).after
    return files


def project_fault(data: bytes, dice: random.Random) -> str:
    """A mutant is one file of a project whose files name each other."""
    bake, compose = ["/p/docker-bake.hcl", "/p/more/docker-bake.json"], ["/p/compose.yaml", "/p/more/compose.yaml"]
    marks = {b"target": bake, b"services": compose, b"FROM": ["/p/app/Dockerfile"]}
    place = dice.choice(next((paths for mark, paths in marks.items() if mark in data), ["/p/.env"]))
    after = rewritten_project({**PROJECT, place: data})
    again = rewritten_project(after)
    return f"a second run edits again: {sorted(path for path in after if again[path] != after[path])}" if again != after else ""


# --- configurations from the field ----------------------------------------------------------------

UNIT = "/lib/systemd/system/docker.service"
CASES = rows("hosts", "states")
CASE_TEXTS = [text.encode() for case in CASES for text in (case["daemon_json"] or "", *case["files"].values())]


def files_of_a_case(data: bytes, dice: random.Random) -> t.Dict[str, t.Optional[File]]:
    """The files of a host from the field, of which a mutant of another host's file replaces one."""
    case = dice.choice(CASES)
    files: t.Dict[str, t.Optional[File]] = {UNIT: File(cores.UNITS[0]), **{path: File(text.encode()) for path, text in case["files"].items()}}
    if case["daemon_json"] is not None:
        files[CONFIG] = File(case["daemon_json"].encode())
    is_json = data.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"{", b"")
    files[CONFIG if is_json else dice.choice([path for path in files if path != CONFIG])] = File(data)
    return files


def wild_fault(data: bytes, dice: random.Random) -> str:
    machine = Machine(files_of_a_case(data, dice), dice.choice(["20.10.24", "26.1.5", "28.5.2"]))
    with contextlib.suppress(*cores.OURS):
        machine.restart()
    options = {**cores.DAEMON_OPTIONS, "adopt": dice.random() < 0.7, **dice.choice(cores.DAEMON_WISHES)}
    return module_fault(docker_daemon_proxy, machine, options)


class InfoMachine(Machine):
    """Its programs and its registries give the answers of the test."""

    answer = Answer(0, {}, "dns")
    login = ""

    def user(self) -> str:
        return "root"

    def home(self, user: str) -> str:
        return cores.HOME

    def process(self, pid: int) -> t.List[str]:
        return []

    def http_get(self, *_rest: t.Any, **_more: t.Any) -> Answer:
        return self.answer

    def run_parallel(self, calls: t.Mapping[str, t.Callable[[], t.Any]], timeout: float) -> t.Dict[str, t.Any]:
        return {name: call() for name, call in calls.items()}

    def run(self, argv: t.Sequence[str], *rest: t.Any, **more: t.Any) -> Run:
        if argv[0] == "su":
            return Run(0, f"\nbuildfleet-environment-of\n{self.login}", "")
        if argv[:2] == ["docker", "version"]:
            return Run(0, json.dumps({"Version": self.version, "GoVersion": "go1.22"}), "")
        return super().run(argv, *rest, **more)


CLIENT_FILES = {
    f"{cores.HOME}/.docker/config.json": b'{"auths": {}, "credHelpers": {"ghcr.io": "pass"}, "currentContext": "x",'
    b' "proxies": {"default": {"httpProxy": "http://u:p@h:1"}}}',
    f"{cores.HOME}/.docker/contexts/meta/2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881/meta.json":
    b'{"Name": "x", "Endpoints": {"docker": {"Host": "tcp://h:2375"}}}',
    f"{cores.HOME}/.docker/buildx/instances/b": b'{"Name": "b", "Driver": "docker-container",'
    b' "Nodes": [{"Name": "b0", "DriverOpts": {"env.HTTPS_PROXY": "http://u:p@h:1"},'
    b' "Files": {"buildkitd.toml": "W3JlZ2lzdHJ5LiJkb2NrZXIuaW8iXQptaXJyb3JzID0gWyJtLmV4YW1wbGUiXQo="}, "Flags": ["--debug"]}]}',
    f"{cores.HOME}/.docker/buildx/current": b'{"Key": "unix:///var/run/docker.sock", "Name": "b", "Global": false}',
    "/etc/environment": b'PATH="/usr/bin"\nHTTPS_PROXY=http://u:p@h:1\nDOCKER_BUILDKIT=0\n',
    "/etc/profile.d/proxy.sh": b"export https_proxy='http://h:1'; export DOCKER_HOST=tcp://h:1\n",
    cores.RUNNER: cores.BUILD_FILES[-3],
    hosts_toml.path_of("docker.io"): HOSTS_TOML[0],
    hosts_toml.path_of("ghcr.io"): HOSTS_TOML[1],
}  # fmt: skip
LOGIN = b"HOME=/home/jane\0HTTPS_PROXY=http://u:p@h:1\0DOCKER_BUILDKIT=1\0BUILDX_BUILDER=b\0"


def info_fault(data: bytes, dice: random.Random) -> str:
    """docker_build_info on a host from the field; a mutant is any file or answer that it reads."""
    files = {path: File(contents) for path, contents in CLIENT_FILES.items() if dice.random() < 0.5}
    files.update({path: file for path, file in files_of_a_case(dice.choice(CASE_TEXTS), dice).items() if file})
    machine = InfoMachine(files, dice.choice(["20.10.24", "26.1.5", "28.5.2"]))
    machine.login = LOGIN.decode()
    machine.answer = dice.choice([Answer(0, {}, "dns"), Answer(200, {}), Answer(401, {"WWW-Authenticate": 'Bearer realm="https://auth.docker.io/token"'})])
    with contextlib.suppress(*cores.OURS):
        machine.restart()
    known = next((path for path, contents in CLIENT_FILES.items() if contents[:12] == data[:12]), "")
    if data[:5] == LOGIN[:5]:
        machine.login = text_of(data)
    elif data[:6] == b"Bearer":
        machine.answer = Answer(401, {"WWW-Authenticate": data.decode("latin-1")})
    elif data[:2] == b"{ ":
        machine.info = {**machine.info, **dict(zip(("NoProxy", "Driver"), data.decode("latin-1").split(",")))}
    else:
        machine.files[known or dice.choice([*CLIENT_FILES, CONFIG, UNIT])] = File(data)
    result = info.survey(machine, dice.choice([["login"], ["task"], ["service:docker"], ["user:jane"]]), "docker", None, 1, {}).result
    json.dumps(result)
    for finding in result["findings"]:
        if not (finding["message"].rstrip().endswith((".", "?", "!")) and finding["cure"].endswith(".")):
            return f"no sentence: {finding}"
    return "it wrote" if machine.writes else ""


def field_log_fault(data: bytes, dice: random.Random) -> str:
    log = dice.choice(FIELD_LOGS).decode() + "\n" + text_of(data) if dice.random() < 0.2 else text_of(data)
    verdict = cores.diagnosis.diagnose(log, Evidence())
    cores.proof.proved(log, dice.random() < 0.5, dice.random() < 0.5)
    cores.builder_used(log)
    cores.legacy.legacy_cannot(log)
    return "" if verdict.cause else "no cause"


FIELD_LOGS = [row["log"].encode("utf-8", "replace") for row in rows("logs", "kinds", "later")]


# --- builders, registries, relays -----------------------------------------------------------------


def builder_fault(data: bytes, _dice: random.Random) -> str:
    try:
        found = definition.instance(data, "/root/.docker/buildx/instances/b").definition
    except definition.BuilderError as error:
        return cores.fault_of_words(error)
    for shown in (definition.readable, definition.secrets, definition.files, definition.text):
        shown(found)
    definition.differences(found, found._replace(image="x"), found)
    definition.creation("b", "b0", found, "")
    toml.parse(definition.toml_text(found), "buildkitd.toml")
    return f"not equal to itself: {found}" if definition.differences(found, found, None) else ""


def history_fault(data: bytes, dice: random.Random) -> str:
    text = text_of(data)

    def buildx(*arguments: str) -> t.Tuple[int, str, str]:
        return dice.choice([0, 0, 1]), text if dice.random() < 0.7 else HISTORY[0].decode(), ""

    try:
        found = history.read_record(dice.choice(["true", "abc", text[:20]]), buildx)
    except cores.Refused as error:
        return "" if QUOTED in str(error) else cores.fault_of_words(error)
    return "" if isinstance(found.log, str) and isinstance(found.name, str) else "no record"


QUOTED = "Its message: "  # the end of a sentence is then that of another program
HISTORY = [
    b'{"ref": "b/b0/abc", "name": "app", "status": "Completed", "created_at": "2026-11-27T10:00:00Z"}\n'
    b'{"ref": "b/b0/def", "status": "Error", "created_at": null}\n',
    b'{"Name": "app", "Ref": "abc", "Error": {"Code": 2, "Message": "failed to solve: x"}}\n',
]


def certificate_fault(data: bytes, _dice: random.Random) -> str:
    text = text_of(data)
    try:
        found = trust_store.wanted(text)
    except trust_store.NoCertificate as error:
        return cores.fault_of_words(error)
    if trust_store.wanted(found) != found or not trust_store.trusted(found, text):
        return "read again as another certificate"
    return "" if re.fullmatch(r"[A-Za-z0-9+/= \n-]+", found) else "more than certificates"


def relay_fault(data: bytes, dice: random.Random) -> str:
    """squid.conf: each option arrives as one word, or is refused."""
    words = text_of(data).split("|")
    options = {
        "http_proxy": dice.choice([None, *words]), "https_proxy": dice.choice(["http://proxy.example.com:3128", *words]),
        "proxy_username": dice.choice([None, "b"]), "proxy_password": dice.choice([None, *words]), "no_proxy": dice.choice([None, words]),
    }  # fmt: skip
    if not options["proxy_username"]:
        options["proxy_password"] = None
    text = relay.configuration(relay.Relay(["127.0.0.1", "::1"], 3128, [dice.choice([*words, "172.18.0.0/16"])]), options)
    known = ("http_port", "acl", "http_access", "always_direct", "never_direct", "cache_peer", "cache_peer_access")
    for line in text.partition("shutdown_lifetime 1 seconds\n")[2].splitlines():
        if line.split(" ")[0] not in known or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", line) or " #" in line:
            return f"more than one word: {line!r}"
    return ""


def answers_fault(data: bytes, dice: random.Random) -> str:
    """The answers of a mirror and of its token server."""
    header, _line, body = data.partition(b"\n")

    def ask(method: str, url: str, headers: t.Mapping[str, str], most: int) -> Answer:
        status = dice.choice([0, 200, 200, 200, 301, 307, 401, 401, 403, 404, 429, 502])
        names = {name: header.decode("latin-1") for name in ("WWW-Authenticate", "Location", "Content-Type", "Docker-Content-Digest") if dice.random() < 0.5}
        return Answer(status, names, "" if status else dice.choice(["dns", "refused", "unknown authority", "proxy status 407"]), body)

    clock = iter(range(10_000))
    found = candidate.try_candidate("https://m.example/hub", ["library/busybox:1", "library/alpine:3"], 1000, ask, lambda: float(next(clock)))
    json.dumps(candidate.shown(found))
    candidate.summary([found])
    mirror = probe.ask_mirror(lambda url, headers, timeout: ask("GET", url, headers, 0), "https://m.example", 1)
    json.dumps([mirror.sends_elsewhere, mirror.wants_login, mirror.error, mirror.realm_host])
    if found.problem and not found.message.endswith(".") and QUOTED not in found.message:
        return f"no sentence: {found.message!r}"
    return f"characters of a terminal: {found.message!r}" if re.search(r"[\x00-\x1f\x7f]", found.message) else ""


ANSWERS = [
    b'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:x:pull"\n{"token": "abc", "expires_in": 300}',
    b'Basic realm="Registry"\n{"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}',
    b'https://cdn.example/x\n{"schemaVersion": 2, "config": {"digest": "sha256:' + b"a" * 64 + b'"},'
    b' "layers": [{"digest": "sha256:' + b"b" * 64 + b'", "size": 10}]}',
    b'text/html\n{"manifests": [{"digest": "sha256:' + b"c" * 64 + b'", "platform": {"os": "linux", "architecture": "amd64"}}]}',
]
MIRROR_WORDS = [b"https://m.example|http://n.example:5000/hub/|b|p@ss:w/rd|ghcr.io", b"docker.io|https://b:p%40@m.example|_default|/etc/ca.pem|pull|resolve"]
CORES = {
    "TOML": Core(TOML, toml_fault),
    "hosts.toml": Core(HOSTS_TOML, hosts_toml_fault),
    "registries of hosts.toml": Core(MIRROR_WORDS, registries_fault),
    "docker_registry_hosts": Core(HOSTS_TOML, docker_registry_hosts_fault),
    "Bake files": Core(BAKE, bake_fault),
    "projects": Core(list(PROJECT.values()), project_fault),
    "configurations from the field": Core(CASE_TEXTS, wild_fault),
    "docker_build_info": Core([*CASE_TEXTS[::4], *[*CLIENT_FILES.values(), LOGIN, ANSWERS[0].partition(b"\n")[0], b"{ a,b"] * 6], info_fault),
    "logs from the field": Core(FIELD_LOGS, field_log_fault),
    "builders": Core([CLIENT_FILES[f"{cores.HOME}/.docker/buildx/instances/b"]], builder_fault),
    "build history": Core(HISTORY, history_fault),
    "certificates": Core([PEM.encode(), b"subject=x\n" + PEM.encode() * 2], certificate_fault),
    "relay": Core([b"http://proxy.example.com:3128|http://h:1|p@ss:w/rd%41|.example.com|10.0.0.0/8|*.x:443|[::1]:80", *cores.URLS], relay_fault),
    "answers of registries": Core(ANSWERS, answers_fault),
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(cores.main(CORES))
