# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the client and the steps of a build read: from options and present contents to wanted contents."""

from __future__ import annotations

import json
import re
import shlex
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import runner
from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Account
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import json_file
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import is_loopback, no_proxy, no_proxy_warnings, proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.mirrors import MirrorError, policy

MARK = "buildfleet.docker.docker_build_env"
PROFILE = "/etc/profile.d/buildfleet-docker.sh"
ENVIRONMENT = "/etc/environment"  # PAM reads it: cron, SSH without a login shell, su, sudo
FOLDER = "/etc/buildfleet"
SERVICE_ENVIRONMENT = f"{FOLDER}/docker-build.env"
POLICY = f"{FOLDER}/source-policy.json"
DROP_IN = "zz-buildfleet.conf"
LEFTOVERS = (PROFILE, ENVIRONMENT, SERVICE_ENVIRONMENT, POLICY)
POLICY_VARIABLE = "EXPERIMENTAL_BUILDKIT_SOURCE_POLICY"  # the only name that buildx knows

Bytes = t.Optional[bytes]  # None: no file
Options = t.Mapping[str, t.Any]
Variables = t.Dict[str, str]


class BuildEnvError(Exception):
    """An option or a file that cannot be used; the message is a complete sentence."""


# What the options say


def given(options: Options) -> t.Dict[str, t.Any]:
    """A step_proxy with only empty answers counts as not given, like every other empty answer."""
    step_proxy = {name: value for name, value in (options.get("step_proxy") or {}).items() if value}
    return {**options, "step_proxy": step_proxy or None}


def texts(options: Options) -> t.List[str]:
    """Every text that may contain a password, though none belongs there."""
    values = list(options.get("no_proxy") or ())
    for name in ("builder_mirrors", "source_policy"):
        for registry, mirrors in (options.get(name) or {}).items():
            values += [registry, *(mirrors if isinstance(mirrors, list) else [mirrors])]
    return [str(text) for text in values]


def variables(options: Options) -> Variables:
    """The environment of the process that builds, each proxy with both of its names."""
    values: Variables = {}
    if options.get("buildkit") is not None:
        values["DOCKER_BUILDKIT"] = "1" if options["buildkit"] else "0"
    if options.get("daemon_token") is not None:
        values["BUILDKIT_NO_CLIENT_TOKEN"] = "1" if options["daemon_token"] else "0"
    for name, value in _proxies(options, "").items():
        values[name.upper()] = values[name] = value
    if options.get("source_policy"):
        values[POLICY_VARIABLE] = POLICY
    return values


def job_variables(options: Options) -> t.Tuple[Variables, Variables]:
    """The environment of a GitLab runner's jobs on the host, and of those in containers, whose proxies are those of the steps."""
    here = {name: value for name, value in variables(options).items() if name in runner.NAMES}  # the source policy is a file of the host
    steps = _proxies(options.get("step_proxy") or {}, "step_proxy.") if options.get("step_proxy") else _proxies(options, "")
    there = {name: value for name, value in here.items() if not name.lower().endswith("_proxy")}
    if "http_proxy" in steps or "https_proxy" in steps:
        # The engine of docker-in-docker has this name, and a client would ask the proxy for it.
        steps["no_proxy"] = ",".join(no_proxy([*steps.get("no_proxy", "").split(","), "docker"], "no_proxy"))
    for name, value in steps.items():
        there[name.upper()] = there[name] = value
    return here, there


def _proxies(options: Options, where: str) -> Variables:
    """http_proxy, https_proxy and no_proxy if given, each safe in every file that we write."""
    values: Variables = {}
    for name in ("http_proxy", "https_proxy"):
        if options.get(name):
            values[name] = proxy(options[name], where + name).url()
    entries = no_proxy(options.get("no_proxy") or (), where + "no_proxy")
    for entry in entries:
        if re.search(r"[^!-~]|#", entry):  # PAM cuts a line at a '#', even inside quotes
            raise BuildEnvError(f"{where}no_proxy: the entry {entry[:60]!r} contains '#' or a non-ASCII character. Write names as in DNS.")
    if entries:
        values["no_proxy"] = ",".join(entries)
    return values


def check(options: Options) -> None:
    """Refuse options that would do harm or have no effect, before anything is read or written."""
    for name in ("http_proxy", "https_proxy"):
        if "@" in (options.get(name) or ""):
            raise BuildEnvError(
                f"{name} contains credentials, but everyone on the host can read the files of the build environment. "
                "Omit it and set daemon_token: true: the daemon then fetches tokens through its own proxy, which may have a password."
            )
        inner = (options.get("step_proxy") or {}).get(name) or ""
        if "@" in inner and not options.get("allow_readable_secret"):
            raise BuildEnvError(
                f"step_proxy.{name} contains credentials, and Docker passes them to every container that the user starts. "
                "Use a proxy without a password for the steps, or accept this with allow_readable_secret: true."
            )
        if "@" in inner and options.get("gitlab_runners"):
            raise BuildEnvError(
                f"step_proxy.{name} contains credentials, and with gitlab_runners every job could read them. "
                "Use a proxy without a password, such as the address of proxy_relay, or omit gitlab_runners."
            )
    for name in ("step_proxy", "builder_mirrors"):
        if options.get(name) and not options.get("users"):
            raise BuildEnvError(f"{name} is stored in a home directory; set users to the users who build.")
    _check_services(options)
    _check_runners(options)


def _check_services(options: Options) -> None:
    if options.get("services") and not variables(options):
        raise BuildEnvError("services needs a variable to set; also set buildkit, daemon_token, a proxy or source_policy.")
    for service in options.get("services") or ():
        if not re.match(r"[A-Za-z0-9:_.@\\-]+\Z", service) or service.startswith("."):
            raise BuildEnvError(f"services: {service!r} is not the name of a systemd service. Write it as systemctl list-units shows it.")
        if unit(service) == "docker.service":
            raise BuildEnvError("services: docker is the daemon itself, whose environment docker_daemon_proxy sets. Name the services that run docker build.")


def _check_runners(options: Options) -> None:
    if options.get("gitlab_runners") and not any(job_variables(options)):
        raise BuildEnvError("gitlab_runners needs a variable to set; also set buildkit, daemon_token, a proxy or step_proxy.")
    for path in options.get("gitlab_runners") or ():
        if not re.match(r"/.*/config\.toml\Z", path):
            raise BuildEnvError(f"gitlab_runners: {path!r} is not the path of a config.toml. Write one such as /etc/gitlab-runner/config.toml.")


def cautions(options: Options, buildx: str) -> t.List[str]:
    """Warnings about allowed values that may not have the intended effect."""
    sentences = no_proxy_warnings(no_proxy(options.get("no_proxy") or ()))
    if options.get("http_proxy") and not options.get("https_proxy"):
        sentences.append("http_proxy is not used for https URLs, such as Docker Hub's token server. Set https_proxy too.")
    for name in ("http_proxy", "https_proxy"):
        step = (options.get("step_proxy") or {}).get(name)
        if step and is_loopback(proxy(step, f"step_proxy.{name}")):
            sentences.append(f"step_proxy.{name} is on this host's loopback, which a RUN step cannot reach. Use an address that containers can reach.")
        own = not options.get("step_proxy") and options.get("gitlab_runners") and options.get(name)
        if own and is_loopback(proxy(own, name)):
            sentences.append(f"{name} is on this host's loopback, which jobs in containers cannot reach. Set step_proxy, which they get instead.")
    if options.get("builder_mirrors") and not versions.has("default_buildkitd_toml", buildx):
        sentences.append(f"builder_mirrors needs buildx {versions.text('default_buildkitd_toml')} or newer; this host has {buildx or 'none'}.")
    if options.get("step_proxy") and options.get("buildkit") is False:
        sentences.append(
            "step_proxy reaches the steps of docker compose 2 and newer with the legacy builder, which buildkit: false selects, only as HTTP_PROXY. "
            "Omit buildkit: false, or pass the proxies as build args."
        )
    if options.get("source_policy") and options.get("buildkit") is False:
        sentences.append("source_policy has no effect on the legacy builder, which buildkit: false selects.")
    return sentences


def source_policy(mirrors: t.Mapping[str, str], engine: str, buildx: str) -> t.Dict[str, t.Any]:
    """The policy; refused if engine or buildx would silently ignore it."""
    for name, feature, version in (("Docker Engine", "source_policy_engine", engine), ("buildx", "source_policy_buildx", buildx)):
        if not versions.has(feature, version):
            raise BuildEnvError(
                f"source_policy needs {name} {versions.text(feature)}; this host has {version or 'none'}. "
                "Omit it, and rewrite the image names with dockerfile_mirror or set registry_mirrors of docker_daemon_proxy."
            )
    try:
        return policy(mirrors)
    except MirrorError as error:
        raise BuildEnvError(str(error).replace("mirrors:", "source_policy:", 1)) from None


def _builder_lines(mirrors: t.Mapping[str, t.Any]) -> t.List[str]:
    """The tables of buildkitd.default.toml; BuildKit needs host names there and silently ignores a URL."""
    lines = []
    for registry in sorted(mirrors):
        names = mirrors[registry] if isinstance(mirrors[registry], list) else [mirrors[registry]]
        for name in [registry, *names]:
            if not re.match(r"[A-Za-z0-9._-]+(:\d+)?(/[A-Za-z0-9._/-]+)?\Z", str(name)):
                raise BuildEnvError(f"builder_mirrors: {name!r} is not a host name; write host, host:port or host/path, without a scheme or credentials.")
        lines += [f"[registry.{json.dumps(registry)}]", f"mirrors = {json.dumps(names)}"]
    return lines


# What of a file is ours


class WholeFile:
    """A file that only we write."""

    def __init__(self, text: str) -> None:
        self._contents = text.encode()

    def into(self, path: str, found: Bytes) -> bytes:
        return self._contents

    @staticmethod
    def out_of(path: str, found: Bytes, first: Bytes) -> Bytes:
        return None if path.startswith(f"{FOLDER}/") or MARK.encode() in (first or b"") else first

    @staticmethod
    def shown(path: str, contents: Bytes) -> str:
        return (contents or b"").decode(errors="replace")


class Block:
    """Our lines between two comments, in a file of others."""

    BEGIN = f"# {MARK}: begin\n".encode()
    END = f"# {MARK}: end\n".encode()

    def __init__(self, lines: t.Sequence[str]) -> None:
        self._lines = "".join(f"{line}\n" for line in lines).encode()

    def into(self, path: str, found: Bytes) -> bytes:
        head, old, tail = _split(found)
        if not old and head and not head.endswith(b"\n"):
            head += b"\n"
        return head + self.BEGIN + self._lines + self.END + tail

    @staticmethod
    def out_of(path: str, found: Bytes, first: Bytes) -> Bytes:
        head, old, tail = _split(found)
        if not old:
            return found
        if first is not None:
            first = b"".join(_split(first)[::2])
        gap = b"\n" if first and not first.endswith(b"\n") else b""
        if (first or b"") + gap + old == found:  # unchanged by others since
            return first
        return head + tail

    @staticmethod
    def shown(path: str, contents: Bytes) -> str:
        return _split(contents)[1].decode(errors="replace")


# A first comment without its last one must not remove the lines after it.
_BLOCK = re.compile(rb"^%s(?:(?!%s).*\n)*?%s" % tuple(re.escape(mark) for mark in (Block.BEGIN, Block.BEGIN, Block.END)), re.MULTILINE)


class Registries(Block):
    """Our tables in buildkitd.default.toml, which must not define a registry twice."""

    def __init__(self, mirrors: t.Mapping[str, t.Any]) -> None:
        super().__init__(_builder_lines(mirrors))
        self._names = list(mirrors)

    def into(self, path: str, found: Bytes) -> bytes:
        for number, line in enumerate(_foreign(found).splitlines(), 1):
            table = re.match(r"""\s*\[\s*registry\s*\.\s*["']?([^"'\]]+)["']?\s*\]""", line)
            if (table and table.group(1).strip() in self._names) or re.match(r"\s*registry\s*[.=]", line):
                raise BuildEnvError(f"{path}, line {number}, already configures a registry of builder_mirrors. Remove it there, or omit builder_mirrors.")
        return super().into(path, found)


def _split(contents: Bytes) -> t.Tuple[bytes, bytes, bytes]:
    """The text before our lines, our lines with their comments, the text after."""
    text = contents or b""
    ours = _BLOCK.search(text)
    return (text[: ours.start()], ours.group(), text[ours.end() :]) if ours else (text, b"", b"")


def _foreign(contents: Bytes) -> str:
    """The text with our lines blanked, so that line numbers stay the same."""
    head, old, tail = _split(contents)
    return (head + b"\n" * old.count(b"\n") + tail).decode(errors="replace")


class StepProxy:
    """Three keys of proxies.default in config.json; everything else there, logins above all, is not ours."""

    KEYS = {"http_proxy": "httpProxy", "https_proxy": "httpsProxy", "no_proxy": "noProxy"}

    def __init__(self, proxies: t.Mapping[str, t.Any]) -> None:
        values = _proxies(proxies, "step_proxy.")
        self._wanted = {key: values[name] for name, key in self.KEYS.items() if name in values}

    def into(self, path: str, found: Bytes) -> bytes:
        _step_keys(path, found)
        return _with_step_keys(path, found, self._wanted)

    @staticmethod
    def out_of(path: str, found: Bytes, first: Bytes) -> Bytes:
        if found is None:
            return None
        if _with_step_keys(path, first, _step_keys(path, found)) == found:  # unchanged by others since
            return first
        rest = _with_step_keys(path, found, _step_keys(path, first))
        for keys in (("proxies", "default"), ("proxies",)):
            if _at(_document(path, rest), keys) == {} and _at(_document(path, first), keys) is None:
                rest = json_file.drop(rest, path, keys)
        return None if first is None and not _document(path, rest) else rest

    @staticmethod
    def shown(path: str, contents: Bytes) -> str:
        ours = _step_keys(path, contents)
        return json.dumps({"proxies": {"default": ours}}, indent=2) + "\n" if ours else ""


def _document(path: str, contents: Bytes) -> t.Dict[str, t.Any]:
    try:
        return json_file.Document(contents or b"", path).value
    except json_file.NotJson as error:
        where = re.match(r".*?, line \d+, column \d+", str(error))  # the rest could quote a login
        raise BuildEnvError(f"{where.group() if where else path}: Docker cannot read it as JSON. Correct it first.") from None


def _at(value: t.Any, keys: t.Sequence[str]) -> t.Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _step_keys(path: str, contents: Bytes) -> t.Dict[str, t.Any]:
    document = _document(path, contents)
    for keys in (("proxies",), ("proxies", "default")):
        if not isinstance(_at(document, keys), (dict, type(None))):
            raise BuildEnvError(f"{path}: {'.'.join(keys)} is not an object. Correct it first.")
    default = _at(document, ("proxies", "default")) or {}
    return {key: default[key] for key in StepProxy.KEYS.values() if key in default}


def _with_step_keys(path: str, contents: Bytes, wanted: t.Mapping[str, t.Any]) -> bytes:
    document = contents or b""
    for key in StepProxy.KEYS.values():
        keys = ("proxies", "default", key)
        document = json_file.put(document, path, keys, wanted[key]) if key in wanted else json_file.drop(document, path, keys)
    return document


Piece = t.Union[WholeFile, Block, StepProxy, runner.Runners]


# Which file gets what


def assignments(values: t.Mapping[str, str], prefix: str = "") -> t.List[str]:
    """NAME=value, quoted so that sh, PAM and systemd's EnvironmentFile read the same value."""
    return [f"{prefix}{name}={shlex.quote(values[name])}" for name in sorted(values)]


def pieces(options: Options, accounts: t.Sequence[Account], engine: str = "", buildx: str = "", runners: t.Iterable[str] = ()) -> t.Dict[str, Piece]:
    """The part of each file that the options ask for. ``runners`` are those files of gitlab_runners that exist."""
    values = variables(options)
    wanted: t.Dict[str, Piece] = {}
    header = f"# Written by {MARK}; changes are overwritten.\n"
    if values:
        wanted[PROFILE] = WholeFile(header + "\n".join(assignments(values, "export ")) + "\n")
        wanted[ENVIRONMENT] = Block(assignments(values))
    if options.get("services"):
        wanted[SERVICE_ENVIRONMENT] = WholeFile(header + "\n".join(assignments(values)) + "\n")
        for service in options["services"]:
            # An EnvironmentFile overrides every Environment= of the unit, and needs no '%%'.
            wanted[drop_in(service)] = WholeFile(f"{header}[Service]\nEnvironmentFile=-{SERVICE_ENVIRONMENT}\n")
    if options.get("source_policy"):
        wanted[POLICY] = WholeFile(json.dumps(source_policy(options["source_policy"], engine, buildx), indent=2) + "\n")
    wanted.update({path: runner.Runners(*job_variables(options)) for path in runners})
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
    """The unit that our drop-in belongs to."""
    match = re.match(rf"/etc/systemd/system/([^/]+)\.d/{re.escape(DROP_IN)}\Z", path)
    return match.group(1) if match else None


def kind(path: str) -> t.Type[Piece]:
    """Which part of a file is ours, after an earlier run wrote it."""
    if path == ENVIRONMENT or path.endswith("/buildkitd.default.toml"):
        return Block
    if path.endswith("/config.toml"):
        return runner.Runners
    return StepProxy if path.endswith("/config.json") else WholeFile


def is_ours(path: str, found: Bytes) -> bool:
    """Whether an earlier run wrote here, even without a record."""
    return MARK.encode() in (found or b"") or (found is not None and path.startswith(f"{FOLDER}/"))


def is_secret(path: str, options: Options) -> bool:
    return kind(path) is StepProxy and any("@" in str((options.get("step_proxy") or {}).get(name)) for name in ("http_proxy", "https_proxy"))


def urls(path: str, contents: Bytes) -> t.List[str]:
    """The proxies in a config.json or config.toml, which may contain a password."""
    if kind(path) is runner.Runners:
        return runner.values(path, contents)
    return [str(value) for value in _step_keys(path, contents).values()] if kind(path) is StepProxy else []


def after(path: str, piece: t.Optional[Piece], found: Bytes, first: Bytes) -> Bytes:
    """A file's contents with our wanted part in it, or, if none is wanted, as it was without us."""
    if piece is None:
        return kind(path).out_of(path, found, first)
    if piece.into(path, found) == found:
        return found
    # From the original contents, so that undo recognises them.
    return piece.into(path, kind(path).out_of(path, found, first))


# What others say


def winning_keys(path: str, contents: Bytes) -> t.List[str]:
    """Sentences about proxies in config.json that Docker uses for the local daemon instead of proxies.default."""
    proxies = _document(path, contents).get("proxies")
    return [
        f"{path}: proxies.{key} overrides proxies.default, which step_proxy sets. Remove it there."
        for key in (proxies if isinstance(proxies, dict) else {})
        if key.startswith("unix://")
    ]


def foreign_winners(values: t.Mapping[str, str], path: str, contents: bytes) -> t.List[str]:
    """Sentences about later lines of others that set a variable to another value."""
    before = _split(contents)[0].count(b"\n") if _split(contents)[1] else 0
    sentences = []
    for number, line in enumerate(_foreign(contents).splitlines(), 1):
        match = re.match(r"\s*(?:export\s+|declare\s+-x\s+)?([A-Za-z_]+)=(\"[^\"]*\"|'[^']*'|[^\s#;]*)", line)
        if match and number > before and match.group(2).strip("\"'") != values.get(match.group(1), match.group(2).strip("\"'")):
            sentences.append(f"{path}, line {number}, sets {match.group(1)} too, and overrides ours. Remove it there.")
    return sentences


def needs_restart(wanted: t.Mapping[str, str], written: t.Mapping[str, t.Sequence[str]], running: t.Mapping[str, str]) -> bool:
    """Whether a running process lacks a wanted variable, or still has a value that only we set."""
    if any(running.get(name) != value for name, value in wanted.items()):
        return True
    return any(name not in wanted and running.get(name) in values for name, values in written.items())
