# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A small model of systemd and dockerd for hosts in memory: the result of a start with these files.

Independent of the collection: its answers judge the collection, so it shares no code with it. Recorded answers of real engines judge the model
(test_docker_model.py). Sources: systemd.syntax(7), systemd.exec(5), src/shared/conf-parser.c, src/basic/extract-word.c, src/shared/specifier.c;
moby registry/config.go, daemon/info.go, cmd/dockerd.
"""

from __future__ import annotations

import ipaddress
import re
import subprocess
import typing as t
from urllib.parse import quote, urlsplit

Texts = t.Mapping[str, bytes]  # the files of a host, by path
FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
SPECIFIERS = {**dict.fromkeys("aAbBCdDEfgGhiIjJlLmMnNopPqsStTuUvVwWyY", "?"), "H": "ost", "%": "%"}
ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", '"': '"', "'": "'", "s": " "}
FLAG_OF = {"registry-mirrors": "registry-mirror", "insecure-registries": "insecure-registry", "hosts": "host", "labels": "label"}


class Failed(Exception):
    """The daemon does not start."""


class Start(t.NamedTuple):
    environment: t.Dict[str, str]
    argv: t.List[str]


# --- systemd --------------------------------------------------------------------------------------


def unit_texts(files: Texts, unit: str, service: str = "docker") -> t.Dict[str, bytes]:
    """The unit and its drop-ins, in the order in which they are read."""
    drop_ins: t.Dict[str, str] = {}
    for folder in FOLDERS:
        for path in files:
            inside, _slash, name = path.rpartition("/")
            if inside == f"{folder}/{service}.service.d" and name.endswith(".conf"):
                drop_ins.setdefault(name, path)
    return {path: files[path] for path in [unit, *(drop_ins[name] for name in sorted(drop_ins))] if path in files}


def directives(text: bytes) -> t.Iterator[t.Tuple[str, str]]:
    section, joined = "", ""
    for line in text.decode("utf-8", "replace").lstrip("\ufeff").splitlines():
        if line.strip().startswith(("#", ";")):
            continue
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        line, joined = (joined + line).strip(), ""
        if line.startswith("["):
            if not line.endswith("]"):
                return
            section = line
        elif section == "[Service]" and "=" in line:
            name, _equals, value = line.partition("=")
            yield name.strip(), value.strip()


def words(text: str) -> t.Iterator[str]:
    """The words of a line, up to an invalid escape or quote."""
    at, word, inside = 0, None, ""
    while at < len(text):
        char = text[at]
        if char == "\\":
            found = re.match(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([0-7]{3})|(.))", text[at:])
            if not found or (found[5] and found[5] not in ESCAPES):
                return
            code = found[1] or found[2] or found[3]
            word = (word or "") + (chr(int(code, 16)) if code else chr(int(found[4], 8)) if found[4] else ESCAPES[found[5]])
            at += found.end()
            continue
        if inside:
            inside, word = ("", word) if char == inside else (inside, (word or "") + char)
        elif char in "\"'":
            inside, word = char, word or ""
        elif char.isspace():
            if word is not None:
                yield word
            word = None
        else:
            word = (word or "") + char
        at += 1
    if word is not None and not inside:
        yield word


def specified(word: str) -> t.Optional[str]:
    """With its specifiers resolved; None where one of them is unknown."""
    unknown = []

    def resolve(found: re.Match) -> str:
        if found[1] in SPECIFIERS:
            return SPECIFIERS[found[1]]
        if found[1].isascii() and found[1].isalnum():
            unknown.append(found[1])
        return found[0]

    done = re.sub(r"%(.)", resolve, word)
    return None if unknown else done


def assigned(lines: t.Iterable[str]) -> t.Dict[str, str]:
    found: t.Dict[str, str] = {}
    for line in lines:
        if not line:
            found.clear()
        for word in words(line):
            name, equals, value = (specified(word) or "").partition("=")
            if equals and re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
                found[name] = value
    return found


def environment_file(text: bytes) -> t.Dict[str, str]:
    found = {}
    for line in text.decode("utf-8", "replace").replace("\\\n", "").splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            value = value.strip()
            found[name] = value[1:-1] if len(value) > 1 and value[0] in "\"'" and value[-1] == value[0] else value
    return found


class Unit:
    """A unit as systemd has loaded it."""

    def __init__(self, texts: Texts) -> None:
        pairs = [pair for text in texts.values() for pair in directives(text)]
        self.own = assigned(value for name, value in pairs if name == "Environment")
        self.files: t.List[str] = []
        self.commands: t.List[t.List[str]] = []
        for name, value in pairs:
            if name == "EnvironmentFile":
                self.files = [*self.files, value.strip('"')] if value else []
            if name == "ExecStart":
                self.commands = [*self.commands, list(words(value))] if value else []

    def start(self, files: Texts, manager: t.Optional[t.Mapping[str, str]] = None) -> Start:
        environment = {**(manager or {}), **self.own}
        for path in self.files:
            environment.update(environment_file(files.get(path.lstrip("-"), b"")))
        argv: t.List[str] = []
        for word in self.commands[-1] if self.commands else ["dockerd"]:
            alone = re.fullmatch(r"\$(\w+)", word)
            argv += environment.get(alone[1], "").split() if alone else [re.sub(r"\$\{(\w+)\}", lambda found: environment.get(found[1], ""), word)]
        return Start(environment, argv)

    def show(self) -> t.List[str]:
        """The answer of `systemctl show -p Environment,EnvironmentFiles,ExecStart`."""
        own = (f"{name}={value}" for name, value in self.own.items())
        quoted = ('"' + re.sub(r'(["\\$`])', r"\\\1", one) + '"' if re.search(r"[\s\"\\`$*?\['()<>|&;!]", one) else one for one in own)
        shown = [f"Environment={' '.join(quoted)}"]
        shown += [f"EnvironmentFiles={path.lstrip('-')} (ignore_errors={'yes' if path.startswith('-') else 'no'})" for path in self.files]
        return shown + [f"ExecStart={{ path={argv[0]} ; argv[]={' '.join(argv)} ; ignore_errors=no ; start_time=[n/a] }}" for argv in self.commands]


def sysvinit(text: bytes) -> Start:
    """A shell reads /etc/default/docker; what it exports reaches the daemon."""
    script = '. /dev/stdin; printf "%s\\n" "$DOCKER_OPTS"; env'
    done = subprocess.run(["env", "-i", "sh", "-c", script], input=text, capture_output=True, check=True)
    options, *pairs = done.stdout.decode().splitlines()
    return Start(dict(pair.split("=", 1) for pair in pairs if "=" in pair), ["dockerd", "-p", "/var/run/docker.pid", *options.split()])


# --- dockerd --------------------------------------------------------------------------------------


def flags(argv: t.Sequence[str]) -> t.Dict[str, t.List[str]]:
    found: t.Dict[str, t.List[str]] = {}
    rest = list(argv[1:])
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not equals and rest and not rest[0].startswith("-"):
            value = rest.pop(0)
        found.setdefault({"-H": "host"}.get(name, name.lstrip("-")), []).append(value)
    return found


def masked(url: str) -> str:
    if not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*@", url):
        return url
    scheme, rest = url.split("://", 1)
    authority = re.match(r"[^/?#]*", rest)[0]
    userinfo, _at, host = authority.rpartition("@")
    port = re.search(r":([^\]:]*)$", host)
    if re.search(r"[^\w.~!$&'()*+,;=:%@-]|%(?![0-9A-Fa-f]{2})", userinfo, re.ASCII) or " " in host or (port and port[1] and not port[1].isdigit()):
        return url  # Go does not read it as a URL
    parts = urlsplit(f"{scheme}://{rest}")
    tail = quote(parts.path, safe="/%!$&'()*+,;=:@~[]") + ("?" if "?" in rest.partition("#")[0] else "") + parts.query
    return f"{scheme.lower()}://xxxxx:xxxxx@{host}{tail}{'#' + parts.fragment if parts.fragment else ''}"


def mirrors(texts: t.Iterable[str], engine: str) -> t.List[str]:
    found: t.List[str] = []
    for text in texts:
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or parts.query or parts.fragment or "@" in parts.netloc:
            raise Failed(f"invalid mirror: {text}")
        if engine.startswith("20.") and parts.path not in ("", "/"):
            raise Failed(f"invalid mirror: path in {text}")
        shown = (text[:-1] if text.endswith("/") else text) + "/"
        if shown not in found:
            found.append(shown)
    return found


def insecure(texts: t.Iterable[str]) -> t.Dict[str, t.Any]:
    networks, names = [], {}
    for text in [*texts, "127.0.0.0/8"]:
        name = re.sub("^https?://", "", text, flags=re.IGNORECASE)
        address, slash, bits = name.partition("/")
        try:
            network = ipaddress.ip_interface(f"{address}/{int(bits)}").network if slash else None
        except ValueError:
            network = None
        if network:
            mapped = getattr(network.network_address, "ipv4_mapped", None)
            shown = f"{mapped}/{network.prefixlen - 96}" if mapped else str(network)
            networks += [] if shown in networks else [shown]
        elif re.fullmatch(r"[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?(:\d+)?|\[[0-9A-Fa-f:]+\](:\d+)?|[0-9A-Fa-f:]+", name, re.ASCII):
            names[name] = {"Secure": False}
        else:
            raise Failed(f"insecure registry {name} is not valid: invalid host")
    return {"InsecureRegistryCIDRs": networks, "IndexConfigs": {**names, "docker.io": {"Secure": True}}}


def info(config: t.Mapping[str, t.Any], start: Start, engine: str) -> t.Dict[str, t.Any]:
    """What `docker info` shows of these settings; Failed where the daemon does not start."""
    given = flags(start.argv)
    proxies = config.get("proxies", {})
    if "proxies" in config and engine.startswith("20."):
        raise Failed("the following directives don't match any configuration option: proxies")
    for key in [*(key for key in config if key != "proxies"), *proxies]:
        if FLAG_OF.get(key, key) in given:
            raise Failed(f"the following directives are specified both as a flag and in the configuration file: {key}")

    def proxy(key: str, variable: str) -> str:
        values = [proxies.get(key), *given.get(key, []), start.environment.get(variable), start.environment.get(variable.lower())]
        return next((value for value in values if value), "")

    def listed(key: str) -> t.List[str]:
        return [*(config.get(key) or []), *given.get(FLAG_OF[key], [])]

    return {
        "HttpProxy": masked(proxy("http-proxy", "HTTP_PROXY")),
        "HttpsProxy": masked(proxy("https-proxy", "HTTPS_PROXY")),
        "NoProxy": proxy("no-proxy", "NO_PROXY"),
        "RegistryConfig": {"Mirrors": mirrors(listed("registry-mirrors"), engine), **insecure(listed("insecure-registries"))},
    }
