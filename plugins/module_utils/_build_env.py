# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the client and the steps of a build read: from options and found contents to wanted contents."""

from __future__ import annotations

import json
import re
import shlex
import typing as t

MARK = "Managed by buildfleet.docker.docker_build_env"
PROFILE = "/etc/profile.d/buildfleet-docker.sh"
ENVIRONMENT = "/etc/environment"  # PAM reads it: cron, SSH without a login shell, su, sudo
FOLDER = "/etc/buildfleet"
SERVICE_ENVIRONMENT = f"{FOLDER}/docker-build.env"
POLICY = f"{FOLDER}/source-policy.json"
DROP_IN = "zz-buildfleet.conf"
POLICY_VARIABLE = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"  # the only name that buildx knows

Bytes = t.Optional[bytes]  # None: no file
Options = t.Mapping[str, t.Any]
Variables = t.Dict[str, str]


class BuildEnvError(Exception):
    """An option or a file that cannot be worked with; the message is a complete sentence."""


class Account(t.NamedTuple):
    name: str
    home: str
    uid: int
    gid: int


# What the options say


def variables(options: Options) -> Variables:
    """The environment of whoever builds, each proxy under both of its names."""
    found: Variables = {}
    if options.get("buildkit") is not None:
        found["DOCKER_BUILDKIT"] = "1" if options["buildkit"] else "0"
    if options.get("daemon_token") is not None:
        found["BUILDKIT_NO_CLIENT_TOKEN"] = "1" if options["daemon_token"] else "0"
    for name, value in _proxies(options, "").items():
        found[name.upper()] = found[name] = value
    if options.get("source_policy"):
        found[POLICY_VARIABLE] = POLICY
    return found


def _proxies(options: Options, where: str) -> Variables:
    """http_proxy, https_proxy and no_proxy as far as they are given, each safe in every file that we write."""
    found: Variables = {}
    for name in ("http_proxy", "https_proxy"):
        if options.get(name):
            found[name] = _checked_proxy(where + name, options[name])
    names = [name.strip() for name in options.get("no_proxy") or () if name.strip()]
    if names:
        found["no_proxy"] = _checked(where + "no_proxy", ",".join(names))
    return found


def _checked(option: str, value: str) -> str:
    # PAM cuts a value at '#' even inside quotes, joins lines that end in a backslash and drops quotes;
    # what remains arrives as data in sh, in PAM and in systemd's EnvironmentFile.
    if re.search(r"""[^!-~]|["'#\\]""", value):
        raise BuildEnvError(f"{option} holds a blank, a quote, a backslash, a '#' or a character outside ASCII; percent-encode it or leave it out.")
    return value


def _checked_proxy(option: str, url: str) -> str:
    _checked(option, url)
    scheme, colon, rest = url.rpartition("://")
    if colon and scheme not in ("http", "https", "socks5", "socks5h"):
        raise BuildEnvError(f"{option} has a scheme that the Docker client does not know; write http://, https:// or socks5://.")
    host = rest.rpartition("@")[2]
    if not re.match(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:\d{1,5})?/?$", host):
        raise BuildEnvError(f"{option} names no host; write scheme://host:port, for example http://proxy.example.com:3128.")
    return url


def check(options: Options) -> None:
    """Refuse what would do harm or nothing, before anything is read or written."""
    for name in ("http_proxy", "https_proxy"):
        if "@" in (options.get(name) or ""):
            raise BuildEnvError(
                f"{name} holds credentials, and everybody on the host can read the files of the build environment. "
                "Leave it out and set daemon_token: true: the daemon then asks for tokens through its own proxy, which may have a password."
            )
        inner = (options.get("step_proxy") or {}).get(name) or ""
        if "@" in inner and not options.get("allow_readable_secret"):
            raise BuildEnvError(
                f"step_proxy.{name} holds credentials, and Docker hands them to every container that the user starts. "
                "Use a proxy without a password for the steps, or accept it with allow_readable_secret: true."
            )
    for name in ("step_proxy", "builder_mirrors"):
        if options.get(name) and not options.get("users"):
            raise BuildEnvError(f"{name} is kept in a home directory; name the users who build in users.")
    if options.get("services") and not variables(options):
        raise BuildEnvError("services has no variable to get; give buildkit, daemon_token, a proxy or source_policy too.")
    for service in options.get("services") or ():
        if not re.match(r"[A-Za-z0-9:_.@\\-]+$", service) or service.startswith("."):
            raise BuildEnvError(f"services: {service!r} is not the name of a systemd service.")


def source_policy(mirrors: t.Mapping[str, str]) -> t.Dict[str, t.Any]:
    """A BuildKit source policy that fetches what the map names from its mirrors."""
    rules = []
    for registry in sorted(mirrors, key=lambda name: (-len(name), name)):
        source, mirror = registry.strip("/"), str(mirrors[registry]).strip("/")
        for name in (source, mirror):
            if not re.match(r"[A-Za-z0-9._-]+(:\d+)?(/[a-z0-9._/-]+)?$", name):
                raise BuildEnvError(f"source_policy: {name!r} is not a registry; write host, host:port or host/path, without a scheme.")
        if f"{mirror}/".startswith(f"{source}/"):
            raise BuildEnvError(f"source_policy sends {source} to {mirror}, which the same rule would send on without end.")
        rules.append(
            {
                "action": "CONVERT",
                "selector": {"identifier": f"docker-image://{source}/*", "match_type": "WILDCARD"},
                "updates": {"identifier": f"docker-image://{mirror}/${{1}}"},
            }
        )
    return {"version": 1, "rules": rules}


def builder_lines(mirrors: t.Mapping[str, t.Any]) -> t.List[str]:
    """The tables of buildkitd.default.toml; BuildKit wants host names there and ignores a URL without a word."""
    lines = []
    for registry in sorted(mirrors):
        names = mirrors[registry] if isinstance(mirrors[registry], list) else [mirrors[registry]]
        for name in [registry, *names]:
            if not re.match(r"[A-Za-z0-9._-]+(:\d+)?(/[A-Za-z0-9._/-]+)?$", str(name)):
                raise BuildEnvError(f"builder_mirrors: {name!r} is not a host name; write host, host:port or host/path, without a scheme and credentials.")
        lines += [f"[registry.{json.dumps(registry)}]", f"mirrors = {json.dumps(names)}"]
    return lines


# What of a file is ours


class WholeFile:
    """A file that nobody else writes."""

    def __init__(self, text: str = "", mode: int = 0o644) -> None:
        self._contents = text.encode()

    def into(self, found: Bytes) -> bytes:
        return self._contents

    @staticmethod
    def out_of(found: Bytes, first: Bytes) -> Bytes:
        return first

    @staticmethod
    def shown(contents: Bytes) -> str:
        return (contents or b"").decode(errors="replace")


class Block:
    """Lines of ours between two comments, in a file of others."""

    _BEGIN = f"# {MARK}: begin\n".encode()
    _END = f"# {MARK}: end\n".encode()

    def __init__(self, lines: t.Sequence[str] = ()) -> None:
        self._lines = "".join(f"{line}\n" for line in lines).encode()

    def into(self, found: Bytes) -> bytes:
        before, old, after = self._split(found or b"")
        if not old and before and not before.endswith(b"\n"):
            before += b"\n"
        return before + self._BEGIN + self._lines + self._END + after

    @classmethod
    def out_of(cls, found: Bytes, first: Bytes) -> Bytes:
        before, old, after = cls._split(found or b"")
        if not old:
            return found
        ours = cls()
        ours._lines = old[len(cls._BEGIN) : -len(cls._END)]
        if ours.into(first) == found:  # nobody else wrote since: the first bytes, final newline or none
            return first
        return before + after

    @classmethod
    def foreign(cls, found: Bytes) -> bytes:
        """The contents with our lines blanked, so that line numbers stay."""
        before, old, after = cls._split(found or b"")
        return before + b"\n" * old.count(b"\n") + after

    @classmethod
    def shown(cls, contents: Bytes) -> str:
        return cls._split(contents or b"")[1].decode(errors="replace")

    @classmethod
    def _split(cls, found: bytes) -> t.Tuple[bytes, bytes, bytes]:
        start = found.find(cls._BEGIN)
        stop = found.find(cls._END, start)
        if start < 0 or stop < 0:
            return found, b"", b""
        stop += len(cls._END)
        return found[:start], found[start:stop], found[stop:]


class Registries(Block):
    """Our tables in buildkitd.default.toml, which must not define a registry twice."""

    def __init__(self, mirrors: t.Mapping[str, t.Any]) -> None:
        super().__init__(builder_lines(mirrors))
        self._names = list(mirrors)

    def into(self, found: Bytes) -> bytes:
        for number, line in enumerate(self.foreign(found).decode(errors="replace").splitlines(), 1):
            table = re.match(r"""\s*\[\s*registry\s*\.\s*["']?([^"'\]]+)["']?\s*\]""", line)
            if (table and table.group(1).strip() in self._names) or re.match(r"\s*registry\s*[.=]", line):
                raise BuildEnvError(f"buildkitd.default.toml, line {number}, already says how a registry of builder_mirrors is reached; remove it there first.")
        return super().into(found)


class StepProxy:
    """Three keys of proxies.default in config.json; everything else there, logins above all, is not ours."""

    _KEYS = {"http_proxy": "httpProxy", "https_proxy": "httpsProxy", "no_proxy": "noProxy"}

    def __init__(self, proxies: t.Mapping[str, t.Any]) -> None:
        found = _proxies(proxies, "step_proxy.")
        self._wanted = {self._KEYS[name]: found[name] for name in self._KEYS if name in found}

    def into(self, found: Bytes) -> bytes:
        return _with_default_proxies(found, self._wanted)

    @classmethod
    def out_of(cls, found: Bytes, first: Bytes) -> Bytes:
        if found is None:
            return None
        ours = cls({})
        ours._wanted = cls._ours(found)
        if ours.into(first) == found:
            return first
        return _with_default_proxies(found, cls._ours(first))

    @classmethod
    def _ours(cls, contents: Bytes) -> t.Dict[str, t.Any]:
        default = _default_proxies(_parsed(contents))
        return {key: default[key] for key in cls._KEYS.values() if key in default}

    @classmethod
    def shown(cls, contents: Bytes) -> str:
        ours = cls._ours(contents)
        return json.dumps({"proxies": {"default": ours}}, indent=2) + "\n" if ours else ""


Piece = t.Union[WholeFile, Block, StepProxy]


def _parsed(contents: Bytes) -> t.Dict[str, t.Any]:
    if contents is None or not contents.strip():
        return {}
    try:
        value = json.loads(contents.decode("utf-8-sig"))
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise BuildEnvError(f"config.json is not valid JSON{where}; the docker client cannot read it either.") from None
    if not isinstance(value, dict) or not isinstance(value.get("proxies", {}), dict) or not isinstance(value.get("proxies", {}).get("default", {}), dict):
        raise BuildEnvError("config.json, or proxies or proxies.default in it, is not an object; correct it first.")
    return value


def _default_proxies(config: t.Mapping[str, t.Any]) -> t.Dict[str, t.Any]:
    return dict(config.get("proxies", {}).get("default", {}))


def _with_default_proxies(found: Bytes, wanted: t.Mapping[str, t.Any]) -> bytes:
    config = _parsed(found)
    foreign = {key: value for key, value in _default_proxies(config).items() if key not in StepProxy._KEYS.values()}
    proxies = {name: value for name, value in config.get("proxies", {}).items() if name != "default"}
    if foreign or wanted:
        proxies["default"] = {**foreign, **wanted}
    if proxies == config.get("proxies", {}):
        return found or b"{}\n"
    config.pop("proxies", None)
    if proxies:
        config["proxies"] = proxies
    indent = re.search(rb"\n([ \t]+)\"", found or b"")
    return (json.dumps(config, indent=indent.group(1).decode() if indent else "\t", ensure_ascii=False) + "\n").encode()


# Which file gets what


def assignments(values: t.Mapping[str, str], prefix: str = "") -> t.List[str]:
    """NAME=value, quoted so that sh, PAM and systemd's EnvironmentFile read the same."""
    return [f"{prefix}{name}={shlex.quote(values[name])}" for name in sorted(values)]


def pieces(options: Options, accounts: t.Sequence[Account]) -> t.Dict[str, Piece]:
    """The part of each file that the options ask for."""
    values = variables(options)
    wanted: t.Dict[str, Piece] = {}
    header = f"# {MARK}; changes are overwritten.\n"
    if values:
        wanted[PROFILE] = WholeFile(header + "\n".join(assignments(values, "export ")) + "\n")
        wanted[ENVIRONMENT] = Block(assignments(values))
    if options.get("services"):
        wanted[SERVICE_ENVIRONMENT] = WholeFile(header + "\n".join(assignments(values)) + "\n")
        for service in options["services"]:
            # An EnvironmentFile wins over every Environment= of the unit, and needs no doubled '%'.
            wanted[drop_in(service)] = WholeFile(f"{header}[Service]\nEnvironmentFile=-{SERVICE_ENVIRONMENT}\n")
    if options.get("source_policy"):
        wanted[POLICY] = WholeFile(json.dumps(source_policy(options["source_policy"]), indent=2) + "\n")
    for account in accounts:
        if options.get("step_proxy"):
            wanted[config_file(account)] = StepProxy(options["step_proxy"])
        if options.get("builder_mirrors"):
            wanted[builder_file(account)] = Registries(options["builder_mirrors"])
    return wanted


def config_file(account: Account) -> str:
    return f"{account.home}/.docker/config.json"


def builder_file(account: Account) -> str:
    return f"{account.home}/.docker/buildx/buildkitd.default.toml"


def unit(service: str) -> str:
    return service if service.endswith(".service") else f"{service}.service"


def drop_in(service: str) -> str:
    return f"/etc/systemd/system/{unit(service)}.d/{DROP_IN}"


def unit_of(path: str) -> t.Optional[str]:
    """The unit whose drop-in of ours this is."""
    found = re.match(rf"/etc/systemd/system/([^/]+)\.d/{re.escape(DROP_IN)}$", path)
    return found.group(1) if found else None


def kind(path: str) -> t.Type[Piece]:
    """Which part of a file that an earlier run wrote is ours."""
    if path == ENVIRONMENT or path.endswith("/buildkitd.default.toml"):
        return Block
    return StepProxy if path.endswith("/config.json") else WholeFile


def after(path: str, piece: t.Optional[Piece], found: Bytes, first: Bytes) -> Bytes:
    """A file's contents with the wanted part of ours in it, or, where none is wanted, as it was without us."""
    try:
        return kind(path).out_of(found, first) if piece is None else piece.into(found)
    except BuildEnvError as error:
        raise BuildEnvError(f"{path}: {error}") from None


# What others say


def foreign_winners(values: t.Mapping[str, str], path: str, contents: bytes) -> t.List[str]:
    """Sentences about lines of others that set a variable of ours to something else, after us."""
    text = Block.foreign(contents).decode(errors="replace") if path == ENVIRONMENT else contents.decode(errors="replace")
    ours = contents.find(Block._END) if path == ENVIRONMENT else 0
    first_line = contents[: max(ours, 0)].count(b"\n") + 1
    sentences = []
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r"\s*(?:export\s+|declare\s+-x\s+)?([A-Za-z_]+)=(\"[^\"]*\"|'[^']*'|[^\s#;]*)", line)
        if not found or number < first_line or found.group(1) not in values:
            continue
        if found.group(2).strip("\"'") != values[found.group(1)]:
            sentences.append(f"{path}, line {number}, sets {found.group(1)} again, and it wins over ours; remove it there.")
    return sentences


def needs_restart(wanted: t.Mapping[str, str], written: t.Mapping[str, t.Sequence[str]], running: t.Mapping[str, str]) -> bool:
    """Whether a running process lacks a wanted variable, or still has a value that only we gave it."""
    if any(running.get(name) != value for name, value in wanted.items()):
        return True
    return any(name not in wanted and running.get(name) in values for name, values in written.items())
