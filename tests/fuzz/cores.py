# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Broken files and values for all code that reads them: no exception except our own with a sentence, no write on error.

    python tests/fuzz/cores.py [--inputs 100000] [--seed 7] [CORE...]

An input that is accepted must also hold what its core promises: foreign settings stay, a second run changes nothing,
undo gives the first bytes back. (readers.py has more cores; dockerfile_mirror has a program of its own.)
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import re
import sys
import time
import traceback
import types
import typing as t
from pathlib import Path

from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import change as build_env_change
from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import settings as build_env
from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import daemon, normal_form
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import plan as daemon_proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import settings as daemon_settings
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import PlanRefused
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import observe
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis import diagnosis, legacy, proof
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.log import builder_used
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Evidence
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.compose import rewrite_compose
from ansible_collections.buildfleet.docker.plugins.module_utils._dockerfile.rewrite import spliced
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import environment_file
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import json_file as daemon_json
from ansible_collections.buildfleet.docker.plugins.module_utils._host import record as record_file
from ansible_collections.buildfleet.docker.plugins.module_utils._host.accounts import Account
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError, Run
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record
from ansible_collections.buildfleet.docker.plugins.module_utils._module import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import values as proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import image_name
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import mirrors as mirror
from ansible_collections.buildfleet.docker.plugins.modules import docker_build_env, docker_daemon_proxy

TOP = Path(__file__).resolve().parents[2]
OURS = (
    Refused, HostError, build_env.BuildEnvError, daemon_json.NotJson, PlanRefused, image_name.InvalidImageName,
    mirror.MirrorError, proxy.ValueRefused,
)  # fmt: skip
SLOW = 2.0  # seconds for one input of a few kilobytes: a regular expression that runs away
TOKENS = [
    b"\n", b"\r\n", b"\r", b"\0", b"\x0b", b"\x0c", b"\x1c", b"\x7f", b"\xc2\x85", b"\xe2\x80\xa8", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80",
    b"\xf0\x9f\x90\xb3", b" ", b"\t", b"\\", b"\\\n", b"'", b'"', b"`", b"$", b"$HOME", b"${X}",
    b"$(id)", b"%", b"%%", b"%n", b"%41", b"%zz", b"#", b" #", b";", b"=",
    b"==", b"[", b"]", b"{", b"}", b"[]", b"{}", b",", b":", b"null", b"true", b"-1e999", b"NaN", b"9" * 400, b"\\ud800", b"//", b"/*", b"@", b"@@",
    b"::1", b"[::1]", b"://", b"http://", b"socks5://u:p@h:1", b"?", b"*", b"~", b"..", b"/", b"-", b"--", b"export ", b"[Service]\n",
    b"[Service]\nEnvironment=", b"EnvironmentFile=", b"EnvironmentFile=-/etc/default/docker\n", b"ExecStart=", b"HTTP_PROXY=", b"https_proxy=",
    b'"proxies":', b'"http-proxy":', b'"default":', b'"files":', b'"notes":', b"[registry]", b"[[registry]]\n", b"# buildfleet.docker", b"a" * 300,
    build_env.Block.BEGIN, build_env.Block.END, b"[" * 150, b"[" * 600, b"9" * 5000,
]  # fmt: skip


class Core(t.NamedTuple):
    seeds: t.Sequence[bytes]
    fault: t.Callable[[bytes, random.Random], str]  # '' where all is well


def mutant(data: bytes, dice: random.Random) -> bytes:
    for _rest in range(dice.choice((0, 1, 1, 2, 2, 3, 5))):
        at = dice.randint(0, len(data))
        kind = dice.random()
        if kind < 0.5:
            data = data[:at] + dice.choice(TOKENS) + data[at:]
        elif kind < 0.75:
            data = data[:at] + data[at + dice.randint(1, 12) :]
        elif kind < 0.85:
            data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
        else:
            lines = data.split(b"\n")
            lines.insert(dice.randint(0, len(lines)), dice.choice(lines))
            data = b"\n".join(lines)
    return data


def text_of(data: bytes) -> str:
    """As a module receives it: YAML and JSON can contain any character, lone surrogates included."""
    return "\ud800".join(part.decode("utf-8", "replace") for part in data.split(b"\xed\xa0\x80"))


# --- values ---------------------------------------------------------------------------------------

SAFE_URL = re.compile(r"[a-z0-9]+://([A-Za-z0-9_.~%-]*(:[A-Za-z0-9_.~%-]+)?@)?[A-Za-z0-9_.:\[\]-]+\Z")
URLS = [
    b"http://proxy.example.com:3128",
    b"https://user:pass@proxy.example.com",
    b"socks5://u:p%40ss@[2001:db8::1]:1080/",
    b"socks5h://10.0.0.1:1",
    b"proxy:3128",
]


def proxy_fault(data: bytes, dice: random.Random) -> str:
    text = text_of(data)
    user, password = dice.choice([("", ""), ("", ""), ("builder", text[:40]), (text[:20], "s3cret"), ("", "x")])
    found = proxy.proxy(text if dice.random() < 0.7 else "http://proxy.example.com:3128", "http_proxy", user, password)
    url = found.url()
    if not SAFE_URL.match(url):
        return f"not one plain word: {url!r}"
    if proxy.proxy(url, "http_proxy") != found:
        return f"read again as something else: {url!r}"
    if len(found.password) > 4 and found.password in normal_form.proxy_url(url) and found.password not in found.address:
        return "the password is shown"
    proxy.is_loopback(found)
    return ""


def no_proxy_fault(data: bytes, _dice: random.Random) -> str:
    entries = text_of(data).split("|")
    found = proxy.no_proxy(entries)
    proxy.no_proxy_warnings(found)
    if proxy.no_proxy([",".join(found)]) != found:
        return "read again as something else"
    if re.search(r"[\s\x00-\x1f\x7f\"'`$\\;]", ",".join(found)):
        return "a character that means something to a reader"
    return "" if proxy.no_proxy_set(",".join(found)) == frozenset(one.lower() for one in found) else "another set"


def registry_fault(data: bytes, dice: random.Random) -> str:
    text = text_of(data)
    if dice.random() < 0.4:
        proxy.insecure_registry(text)
        return ""
    found = proxy.mirror(text, dice.choice(["20.10.24", "26.1.5", "28.5.2", ""]))
    return "" if re.match(r"https?://[^\s@?#\x00-\x1f\x7f]+\Z", found) else f"no mirror: {found!r}"


def wanted_fault(data: bytes, dice: random.Random) -> str:
    """The options of docker_daemon_proxy together."""
    words = text_of(data).split("|")
    options = {
        "http_proxy": dice.choice(words), "https_proxy": dice.choice([None, "", *words]), "no_proxy": dice.choice([None, words]),
        "proxy_username": dice.choice([None, "", *words]), "proxy_password": dice.choice([None, "", *words]),
        "registry_mirrors": dice.choice([None, words]), "insecure_registries": dice.choice([None, words]),
    }  # fmt: skip
    daemon_proxy.wanted(options, dice.choice(["20.10.24", "28.5.2"]), dice.choice(["go1.22.2", "go1.24.4", ""]))
    return ""


def image_name_fault(data: bytes, _dice: random.Random) -> str:
    found = image_name.parse(text_of(data))
    if image_name.parse(found.full) != found or image_name.parse(found.familiar) != found:
        return "read again as another image"
    return ""


def mirrors_fault(data: bytes, dice: random.Random) -> str:
    words = text_of(data).split("|")
    wanted = {dice.choice(words): dice.choice(words) for _rest in range(dice.randint(1, 3))}
    mirrors = mirror.Mirrors(wanted)
    for word in words:
        with contextlib.suppress(image_name.InvalidImageName):
            after = mirrors.replacement(word)
            again = after and mirrors.replacement(after.full)
            if again:
                return f"{word!r} moves twice: {after}, {again}"
    json.dumps(mirror.policy(wanted))
    return ""


def versions_fault(data: bytes, _dice: random.Random) -> str:
    text = text_of(data)
    versions.parse(text)
    for feature in versions.TABLE:
        versions.has(feature, text)
    return ""


# --- files ----------------------------------------------------------------------------------------

DAEMON_JSON = [
    b"{}\n",
    b'{\n  "log-level": "info",\n  "proxies": {"http-proxy": "http://u:p@h:1", "no-proxy": "a,b"}\n}\n',
    b'{"registry-mirrors":["https://m.example"],"insecure-registries":["10.0.0.0/8"],"a":{"b":[1,-2.5e3,true,null,"\\u00e9\\n"]}}',
    b'\xef\xbb\xbf{\r\n\t"debug": true\r\n}',
    b"",
]


def _strictly(contents: bytes) -> t.Any:
    """As Python reads it, without duplicates; half a pair of an escaped character is U+FFFD, as Docker reads it."""

    def whole(value: t.Any) -> t.Any:
        if isinstance(value, list):
            return [whole(item) for item in value]
        return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else value

    def no_duplicates(pairs: t.Sequence[t.Tuple[str, t.Any]]) -> t.Dict[str, t.Any]:
        found = {whole(name): whole(value) for name, value in pairs}
        if len(found) != len(pairs):
            raise ValueError("duplicate")
        return found

    def constant(word: str) -> t.NoReturn:
        raise ValueError(word)

    return json.loads(contents.decode("utf-8").lstrip(daemon_json.BOM), object_pairs_hook=no_duplicates, parse_constant=constant, parse_int=float)


def daemon_json_fault(data: bytes, dice: random.Random) -> str:
    path = "/etc/docker/daemon.json"
    try:
        value = daemon_json.Document(data, path).value
    except daemon_json.NotJson as error:
        if not re.match(r"/etc/docker/daemon\.json, line \d+, column \d+: .*\.\Z", str(error), re.DOTALL):
            return f"no place in {error}"
        with contextlib.suppress(ValueError, RecursionError):
            if isinstance(_strictly(data), dict) and "deep" not in str(error):
                return f"JSON is refused: {error}"
        return ""
    read = _strictly(data) if data.decode().lstrip(daemon_json.BOM).strip(" \t\r\n") else None
    if json.loads(json.dumps(value), parse_int=float) != ({} if read is None else read):  # Docker reads null, as an empty file, as an empty object
        return "another value than Python reads"
    keys = dice.choice([("proxies", "http-proxy"), ("registry-mirrors",), ("a", "b", "c"), ("debug",)])
    wanted = dice.choice(["http://x:1", ["https://é.example"], {}])
    after = daemon_json.put(data, path, keys, wanted)
    if daemon_json.put(after, path, keys, wanted) != after:
        return "a second put changes something"
    expected = json.loads(json.dumps(value))
    node = expected
    for key in keys[:-1]:
        node[key] = node[key] if isinstance(node.get(key), dict) else {}
        node = node[key]
    node[keys[-1]] = wanted
    if daemon_json.Document(after, path).value != expected:
        return "put changed something else"
    del node[keys[-1]]
    without = daemon_json.drop(after, path, keys)
    return "" if daemon_json.Document(without, path).value == expected else "drop changed something else"


UNITS = [
    b"[Unit]\nDescription=x\n[Service]\nExecStart=/usr/bin/dockerd -H fd:// $DOCKER_OPTS\nEnvironmentFile=-/etc/default/docker\n",
    b'[Service]\nEnvironment="HTTP_PROXY=http://u:p%%40@h:1" "NO_PROXY=a b" OTHER=1\nEnvironment=\nEnvironment=https_proxy=http://h:2 X=\'y z\'\n',
    b"[Service]\nEnvironment=A=1 \\\n  HTTP_PROXY=http://h:1 \\\n# note\n  B=2\nExecStart=\nExecStart=-/usr/bin/dockerd --host=fd:// --mtu 1400 -Hx\n",
]
ENVIRONMENTS = [
    b"# note\nHTTP_PROXY=http://u:p@h:1\nexport https_proxy='http://h:2'\nDOCKER_OPTS=\"--mtu 1400 --debug\"\n",
    b'A="x\\\ny"\nNO_PROXY=a,b # not a comment\n;c\nhttp_proxy=\n',
    b"PATH=/usr/bin\r\nLANG=C.UTF-8\r\n",
]
NAMES = ("HTTP_PROXY", "https_proxy")


def environment_fault(data: bytes, _dice: random.Random) -> str:
    """Environment files and units, and what is taken out of them."""

    def settings(contents: bytes) -> t.List[t.Tuple[str, str]]:
        if environment_file.directives(data):
            directives = [one for one in environment_file.directives(contents) if one.name == "Environment"]
            return [(one.name, one.value) for directive in directives for one in environment_file.assignments(directive, "f")]
        return [(one.name, one.value) for one in environment_file.environment_file("f", contents, shell=True)]

    before = settings(data)
    after = environment_file.without(data, NAMES)
    expected = [pair for pair in before if pair[0] not in NAMES]
    if settings(after) != expected:
        return f"{before} became {settings(after)}"
    if len(expected) == len(before) and after != data:
        return "bytes changed though nothing was to go"
    marked = environment_file.with_exports(data, {"HTTP_PROXY": "http://h:1"})
    rest = environment_file.with_exports(marked, {})
    if environment_file.MARK.encode() not in data and rest not in (data, data + b"\n"):
        return "our lines do not go without a trace"
    return ""


def unit_fault(data: bytes, dice: random.Random) -> str:
    """The unit as a whole: what the daemon will be started with."""
    other = mutant(dice.choice(ENVIRONMENTS), dice)
    found = a_daemon({"/lib/systemd/system/docker.service": File(data), "/etc/default/docker": File(other), "/etc/x.conf": File(other)}, dice)
    start = daemon.next_start(found, found.files)
    daemon.flags(start.argv)
    daemon.environment_paths(found, found.files)
    return "" if all(isinstance(word, str) for word in start.argv) else "no words"


def a_daemon(files: t.Dict[str, t.Optional[File]], dice: random.Random) -> daemon.Daemon:
    systemd = dice.random() < 0.8
    drop_ins = tuple(path for path in files if path.endswith(".conf"))
    return daemon.Daemon(
        "docker", dice.choice(["20.10.24", "26.1.5"]), "go1.22", {}, systemd, "active", 1, 1.0, "/lib/systemd/system/docker.service" if systemd else "",
        drop_ins, False, "/etc/docker/daemon.json", files, {},
    )  # fmt: skip


def mask_fault(data: bytes, dice: random.Random) -> str:
    text = text_of(data)
    password = dice.choice(["s3cret-lab", "p@ss:w/rd%41", "a b'c\"d", "\\$x;y%"])
    secrets = Secrets()
    spellings = [password, proxy.quote(password, safe="")]
    secrets.learn(dice.choice(spellings))
    at = dice.randint(0, len(text))
    before, after = text[:at], text[at:]
    shown = secrets.text(f"{before} {dice.choice(['', 'http://u:'])}{dice.choice(spellings)}{dice.choice(['', '@h:1'])} {after}")
    hidden = not any(one in shown.replace(before, "").replace(after, "") for one in spellings)
    secrets.learn_url(text)
    secrets.tree({text: [text, {text: 1}]})
    return "" if hidden else f"shown: {shown!r}"


COMPOSE = [
    b"services:\n  web:\n    image: nginx:1\n    build: {context: ., args: {A: b}}\n  db: &x\n    image: 'docker.io/library/redis'\n  c: *x\n",
    b'version: "3"\nservices:\n  a:\n    build:\n      dockerfile_inline: |\n        FROM alpine\n        RUN echo $$X\n    image: "${I:-busybox}"\n',
]
FORWARD = mirror.Mirrors({"docker.io": "mirror.example.com/hub"})


def compose_fault(data: bytes, _dice: random.Random) -> str:
    result = rewrite_compose(data, FORWARD)
    if result.edits and spliced(data.decode(), result.edits).encode() != result.after:
        return "bytes beside the edits changed"
    return "a second run edits again" if rewrite_compose(result.after, FORWARD).changes else ""


LOGS = [path.read_bytes()[:3000] for path in sorted((TOP / "tests/unit/plugins/module_utils/_diagnosis/logs").glob("*/*.log"))]


def diagnosis_fault(data: bytes, _dice: random.Random) -> str:
    log = text_of(data)
    verdict = diagnosis.diagnose(log, KNOWN)
    proof.proved(log, True, False)
    builder_used(log)
    legacy.legacy_cannot(log)
    return "" if isinstance(verdict.cause, str) and verdict.cause else "no cause"


KNOWN = Evidence()


# --- whole modules on a host in memory --------------------------------------------------------------


class Machine(Host):
    """Files in a dict, an engine that takes what the files say whenever it is restarted."""

    def __init__(self, files: t.Mapping[str, t.Optional[File]], engine: str) -> None:
        super().__init__()
        self.files = {path: file for path, file in files.items() if file is not None}
        self.version = engine
        self.info: t.Dict[str, t.Any] = {}
        self.writes = 0
        self.clock = 0.0

    def read(self, path: str) -> t.Optional[File]:
        return self.files.get(path)

    def write(self, path: str, file: File) -> None:
        self.writes += 1
        self.files[path] = file

    def remove(self, path: str) -> None:
        self.writes += path in self.files
        self.files.pop(path, None)

    def names(self, folder: str) -> t.List[str]:
        return sorted(path[len(folder) + 1 :] for path in self.files if path.rpartition("/")[0] == folder)

    def exists(self, path: str) -> bool:
        return path in ("", "/", "/run/systemd/system") or any(name == path or name.startswith(path + "/") for name in self.files)

    def sleep(self, seconds: float) -> None:
        pass

    def sweep(self, paths: t.Iterable[str]) -> None:
        pass

    def remove_folder(self, path: str) -> None:
        pass

    def make_private_folder(self, folder: str) -> None:
        pass

    def changed_at(self, path: str) -> float:
        return 0.0

    def now(self) -> float:
        self.clock += 0.5
        return self.clock

    def lock(self, path: str) -> t.ContextManager[None]:
        return contextlib.nullcontext()

    def engine_api(self, path: str, *_rest: t.Any, **_more: t.Any) -> t.Any:
        return {"Version": self.version, "GoVersion": "go1.22"} if path == "/version" else dict(self.info, ID="x")

    def run(self, argv: t.Sequence[str], *_rest: t.Any, **_more: t.Any) -> Run:
        if argv[:2] == ["systemctl", "show"]:
            unit = "/lib/systemd/system/docker.service"
            return Run(0, f"LoadState=loaded\nActiveState=active\nFragmentPath={unit}\nMainPID=0\n", "")
        if argv[:2] == ["systemctl", "restart"]:
            self.restart()
        return Run(0, "", "")

    def restart(self) -> None:
        found = observe(self, "docker", None)
        shown = daemon_settings.masked(daemon_settings.effective(found, found.files))
        self.info = {field: shown.proxies[name] for name, (_key, _variable, field) in daemon_settings.PROXIES.items()}
        self.info["RegistryConfig"] = {
            "Mirrors": shown.registry_mirrors,
            "IndexConfigs": {name: {"Secure": False} for name in shown.insecure_registries},
        }


def run_module(module: t.Any, machine: Machine, options: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    shell = types.SimpleNamespace(host=machine, check_mode=False, secrets=Secrets(), params=options, warn=lambda _text: None)
    return t.cast("t.Dict[str, t.Any]", module.work(shell))


def module_fault(module: t.Any, machine: Machine, options: t.Dict[str, t.Any]) -> str:
    before = dict(machine.files)
    try:
        run_module(module, machine, options)
    except OURS:
        return "" if not machine.writes and machine.files == before else "it wrote, and then refused"
    if run_module(module, machine, options)["changed"]:
        return "a second run changes something"
    run_module(module, machine, {**options, "state": "absent"})
    differing = {path for path in {*machine.files, *before} if machine.files.get(path) != before.get(path)}
    return f"undo does not give back {sorted(differing)}" if differing else ""


DAEMON_OPTIONS = {
    **dict.fromkeys((*daemon_settings.SETTINGS, "proxy_username", "proxy_password", "config_file")),
    "state": "present", "mechanism": "auto", "service": "docker", "restart": "if_needed", "validate": False, "timeout": 1, "backup": False,
}  # fmt: skip


def docker_daemon_proxy_fault(data: bytes, dice: random.Random) -> str:
    """A mutant is daemon.json, the unit, a drop-in or an environment file, in turn."""
    unit, extra, defaults = UNITS[0], dice.choice([None, UNITS[1], UNITS[2]]), dice.choice([None, *ENVIRONMENTS])
    config = dice.choice([None, *DAEMON_JSON])
    if data.lstrip(b"\xef\xbb\xbf \n")[:1] in (b"{", b""):
        config = data
    elif b"[Service]" not in data:
        defaults = data
    elif b"ExecStart" in data:
        unit = data
    else:
        extra = data
    places = {
        "/lib/systemd/system/docker.service": unit, "/etc/systemd/system/docker.service.d/http-proxy.conf": extra, "/etc/default/docker": defaults,
        "/etc/docker/daemon.json": config,
    }  # fmt: skip
    machine = Machine({path: None if one is None else File(one) for path, one in places.items()}, dice.choice(["20.10.24", "26.1.5"]))
    with contextlib.suppress(*OURS):
        machine.restart()
    options: t.Dict[str, t.Any] = {**DAEMON_OPTIONS, "adopt": dice.random() < 0.7}
    options.update(dice.choice(DAEMON_WISHES))
    return module_fault(docker_daemon_proxy, machine, options)


DAEMON_WISHES: t.List[t.Dict[str, t.Any]] = [
    {"http_proxy": "http://proxy:3128", "https_proxy": "http://proxy:3128", "proxy_username": "b", "proxy_password": "p@ss:w/rd%41", "no_proxy": ["a", "b"]},
    {"registry_mirrors": ["https://mirror.example"]},
    {"https_proxy": "socks5://proxy:1", "registry_mirrors": ["https://mirror.example"], "insecure_registries": ["mirror.example"]},
    {"no_proxy": ["localhost", ".internal"], "registry_mirrors": []},
]
BUILD_FILES = [
    b'PATH="/usr/bin:/bin"\nHTTPS_PROXY=http://other:1\n',
    b"export DOCKER_BUILDKIT=0\n# note\n",
    b'[registry."docker.io"]\n  mirrors = ["a.example"]\n[worker.oci]\n  enabled = true\n',
    b'debug = true\nregistry.mirrors = ["x"]\n',
    b'{\n\t"auths": {"r.example": {"auth": "c2VjcmV0"}},\n\t"proxies": {"default": {"httpProxy": "http://u:p@h:1"}}\n}\n',
    b'{"proxies": {"tcp://h:1": {}}}',
    b'[[runners]]\n  name = "a"\n  environment = [\n "A=1", # x\n "http_proxy=http://u:p@h:1",\n]\n  [runners.docker]\n[[runners]]\n  name = "a"\n',
    b'[[runners]]\r\n  environment = ["DOCKER_BUILDKIT=0", "DOCKER_BUILDKIT=1"]\r\n  executor = "shell"\r\n  token_expires_at = 0001-01-01T00:00:00Z\r\n',
    b"",
]
BUILD_OPTIONS = {
    **dict.fromkeys((*build_env_change.SETTINGS, "users", "services", "gitlab_runners", "origin")),
    "allow_readable_secret": False,
    "restart_services": False,
    "restart_idle_services": False,
    "state": "present",
}
HOME = "/home/jane"
RUNNER = "/etc/gitlab-runner/config.toml"


def docker_build_env_fault(data: bytes, dice: random.Random) -> str:
    """A mutant is /etc/environment, a profile file, a TOML or config.json."""
    home = (f"{HOME}/.docker/buildx/buildkitd.default.toml", f"{HOME}/.docker/config.json")
    path = RUNNER if b"runners" in data and dice.random() < 0.8 else dice.choice([build_env.ENVIRONMENT, "/etc/profile.d/zzz.sh", *home])
    machine = Machine({path: File(data)}, "26.1.5")
    options: t.Dict[str, t.Any] = {**BUILD_OPTIONS, "daemon_token": True, "https_proxy": "http://proxy:1", "users": ["jane"], "no_proxy": ["a", ".b"]}
    options.update(step_proxy={"https_proxy": "http://proxy:1"}, builder_mirrors={"docker.io": "mirror.example"}, gitlab_runners=[RUNNER])
    return module_fault(docker_build_env, machine, options)


def build_values_fault(data: bytes, dice: random.Random) -> str:
    """The options of docker_build_env: refused, or data for whoever reads the files."""
    words = text_of(data).split("|")
    options: t.Dict[str, t.Any] = {**BUILD_OPTIONS, "users": ["jane"], "daemon_token": True}
    for name in dice.sample(["https_proxy", "no_proxy", "step_proxy", "builder_mirrors", "services"], 2):
        value: t.Any = dice.choice(words)
        if name in ("no_proxy", "services"):
            value = [value]
        elif name == "step_proxy":
            value = {"http_proxy": value, "no_proxy": [dice.choice(words)]}
        elif name == "builder_mirrors":
            value = {value: dice.choice([words, dice.choice(words)])}
        options[name] = value
    machine = Machine({}, "26.1.5")
    return module_fault(docker_build_env, machine, options)


def record_fault(data: bytes, _dice: random.Random) -> str:
    """A damaged record."""
    path = "/var/lib/buildfleet/docker_daemon_proxy.docker.json"
    machine = Machine({path: File(data), "/etc/docker/daemon.json": File(DAEMON_JSON[1])}, "26.1.5")
    machine.restart()
    try:
        record = Record(machine, "docker_daemon_proxy.docker")
        for known in record.paths:
            record.first(known)
            record.as_we_left_it(known, machine.read(known))
        for options in (DAEMON_WISHES[0], DAEMON_WISHES[1], {"state": "absent"}):
            machine.writes = 0
            run_module(docker_daemon_proxy, machine, {**DAEMON_OPTIONS, "adopt": False, **options})
    except OURS as error:
        return f"it wrote {machine.writes} times, then: {error}" if machine.writes else fault_of_words(error)
    return ""


def records() -> t.List[bytes]:
    found = []
    record_file.secrets = types.SimpleNamespace(token_hex=lambda size: "5e" * size)  # type: ignore[assignment]  # the same inputs each time
    for wish in DAEMON_WISHES:
        machine = Machine({"/etc/docker/daemon.json": File(DAEMON_JSON[0])}, "26.1.5")
        run_module(docker_daemon_proxy, machine, {**DAEMON_OPTIONS, "adopt": False, **wish})
        found.append(machine.files["/var/lib/buildfleet/docker_daemon_proxy.docker.json"].contents)
    return found


VALUES = [*URLS, b"a|.b|10.0.0.0/8|*.c|[::1]:5000", b"docker.io|mirror.example/hub|https://m|ghcr.io/x", b"ci.service|agent@1|http://u:p@h:1|localhost"]
CORES = {
    "daemon.json": Core(DAEMON_JSON, daemon_json_fault),
    "environment files": Core(UNITS + ENVIRONMENTS, environment_fault),
    "units": Core(UNITS, unit_fault),
    "compose": Core(COMPOSE, compose_fault),
    "build logs": Core(LOGS, diagnosis_fault),
    "record": Core(records(), record_fault),
    "masks": Core([*URLS, *LOGS[:20]], mask_fault),
    "proxies": Core(URLS, proxy_fault),
    "no_proxy": Core([b"localhost|.example.com|10.0.0.0/8", b"a,b , c|*.x|192.168.*|[::1]"], no_proxy_fault),
    "registries": Core([b"https://mirror.example", b"http://m:5000/path/", b"10.0.0.0/8", b"[::1]:5000", b"m.example"], registry_fault),
    "daemon options": Core(VALUES, wanted_fault),
    "build options": Core(VALUES, build_values_fault),
    "image names": Core([b"alpine:3@sha256:" + b"a" * 64, b"docker.io/library/redis", b"localhost:5000/a/b:c", b"index.docker.io/x"], image_name_fault),
    "mirrors": Core([VALUES[-2], b"docker.io|mirror.example.com/hub|redis|alpine:3"], mirrors_fault),
    "versions": Core([b"26.1.5+dfsg1", b"go1.24.4 X:x", b"v0.13.1"], versions_fault),
    "docker_daemon_proxy": Core(DAEMON_JSON + UNITS + ENVIRONMENTS, docker_daemon_proxy_fault),
    "docker_build_env": Core(BUILD_FILES, docker_build_env_fault),
}  # fmt: skip


def fault_of_words(error: Exception) -> str:
    words = str(error)
    return "" if len(words) > 15 and words.endswith(".") else f"no sentence: {words!r}"


def fault(core: Core, data: bytes, dice: random.Random) -> str:
    started = time.process_time()
    try:
        found = core.fault(data, dice)
    except OURS as error:
        found = fault_of_words(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__}: {error} ({where.filename.rpartition('/')[2]}:{where.lineno})"
    seconds = time.process_time() - started
    return found or (f"{seconds:.1f} s" if seconds > SLOW else "")


def _share(job: t.Tuple[str, Core, int, int]) -> t.List[t.Tuple[bytes, str]]:
    name, core, seed, inputs = job
    build_env_change.account = {"jane": Account("jane", HOME, os.geteuid(), os.getegid())}.get  # type: ignore[assignment]
    dice = random.Random(f"{name} {seed}")
    found = []
    for _rest in range(inputs):
        data = mutant(dice.choice(core.seeds), dice)
        wrong = fault(core, data, dice)
        if wrong:
            found.append((data, wrong))
    return found


def main(cores: t.Mapping[str, Core]) -> int:
    options = argparse.ArgumentParser()
    options.add_argument("cores", nargs="*", default=list(cores), metavar="CORE", help=", ".join(cores))
    options.add_argument("--inputs", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--here", action="store_true", help="in this process alone")
    given = options.parse_args()
    failed = 0
    with contextlib.ExitStack() as stack:
        each = map if given.here else stack.enter_context(multiprocessing.Pool()).imap
        for name in given.cores:
            started = time.monotonic()
            jobs = [(name, cores[name], given.seed * 1000 + part, given.inputs // 20) for part in range(20)]
            faults = [found for share in each(_share, jobs) for found in share]
            for data, found in faults[:5]:
                print(ascii(found), ascii(data[:600]), sep="\n    ")
            print(f"{name}: {given.inputs} inputs, seed {given.seed}: {len(faults)} faults, {time.monotonic() - started:.0f} s", flush=True)
            failed += len(faults)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(CORES))
