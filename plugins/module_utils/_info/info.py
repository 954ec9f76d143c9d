# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read what daemon, client and steps would use on this host. Nothing is written, and no image is requested."""

from __future__ import annotations

import functools
import hashlib
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._build.build_user import build_user
from ansible_collections.buildfleet.docker.plugins.module_utils._build.request import BuildUser, default_builder
from ansible_collections.buildfleet.docker.plugins.module_utils._build_env.settings import POLICY_VARIABLE, StepProxy
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import preflight, settings
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, flags, layers, next_start, unit_files, unknown_start
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import UNIT_FOLDERS, observe
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.problems import ConfigProblem, config_problems
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.unread_lines import unread_files, unread_lines
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import environment_file
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import json_file as daemon_json
from ansible_collections.buildfleet.docker.plugins.module_utils._host import components
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host, HostError
from ansible_collections.buildfleet.docker.plugins.module_utils._host.record import Record
from ansible_collections.buildfleet.docker.plugins.module_utils._info import client_files
from ansible_collections.buildfleet.docker.plugins.module_utils._info.findings import (
    Builder,
    Client,
    Facts,
    Runner,
    Setting,
    Steps,
    findings,
    unsupported,
    variable,
    winning_layer,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import hosts_file
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror, ask_mirror

# No other variable of a builder's environment is read.
_VARIABLES = (
    ("HTTP_PROXY", "http_proxy"), ("HTTPS_PROXY", "https_proxy"), ("NO_PROXY", "no_proxy"), ("ALL_PROXY", "all_proxy"), ("DOCKER_BUILDKIT",),
    ("BUILDKIT_NO_CLIENT_TOKEN",), (POLICY_VARIABLE,), ("DOCKER_HOST",), ("DOCKER_CONTEXT",), ("DOCKER_CONFIG",), ("BUILDX_BUILDER",), ("BUILDX_CONFIG",),
)  # fmt: skip
_PROGRAM_TIMEOUT = 15
_RUNNER_FILES = ("/etc/gitlab-runner/config.toml", "/home/gitlab-runner/.gitlab-runner/config.toml", "/root/.gitlab-runner/config.toml")


class Reader(Host):
    """A host on which refused access is noted and does not end the run."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: t.List[str] = []

    def read(self, path: str) -> t.Optional[File]:
        try:
            return super().read(path)
        except HostError:
            self.closed.append(path)
            return None

    def names(self, folder: str) -> t.List[str]:
        try:
            return super().names(folder)
        except HostError:
            self.closed.append(folder)
            return []


class Survey(t.NamedTuple):
    """What was read, as facts and as a result to show."""

    facts: Facts
    result: t.Dict[str, t.Any]
    urls: t.List[str]  # every value that may contain a password


def survey(host: Host, environment_of: t.Sequence[str], service: str, config_file: t.Optional[str], timeout: float, own: t.Mapping[str, str]) -> Survey:
    started = host.now()
    daemon = observe(host, service, config_file)
    problems = [*config_problems(daemon), *unread_lines(daemon), *(unread_files(service, unread_drop_ins(host, service)) if daemon.systemd else ())]
    config_valid = not any(problem.id == "config_not_json" for problem in problems)
    effective = settings.effective(daemon, daemon.files) if config_valid else settings.Effective(dict.fromkeys(settings.PROXIES, ""), [], frozenset())
    running = settings.running(daemon.info) if daemon.up else None
    hosts_files = list(hosts_file.all_files(host))
    urls = [url for url in dict.fromkeys([*effective.registry_mirrors, *(running.registry_mirrors if running else [])]) if "://" in url]
    asked = _ask(host, daemon, urls, environment_of, own, timeout, bool(daemon.up), hosts_files)
    client, client_go = asked.get("cli") or ("", "")
    features = _features(daemon) if config_valid else None
    unreadable: t.List[str] = []
    homes = [_client(host, who, asked.get(f"builder {who}"), client, features, unreadable) for who in environment_of]
    if not any(problem.stops for problem in problems) and asked.get("validation_error"):
        problems.append(ConfigProblem("key_stops_start", True, f"Docker does not start with {daemon.config_file}. Its message: {asked['validation_error']}"))
    pending = _pending(host, daemon, effective, unreadable) if config_valid and daemon.up and not unknown_start(daemon) else []
    socket = host.exists("/run/docker.sock")
    facts = Facts(
        engine=daemon.engine,
        engine_go=daemon.go,
        cli=client,
        cli_go=client_go,
        buildx=asked.get("buildx") or "",
        up=daemon.up,
        closed=not daemon.up and socket and host.user() != "root",
        state=daemon.state,
        service=service,
        config_file=daemon.config_file,
        daemon=tuple(_daemon_settings(daemon, effective, config_valid)),
        pending=tuple(pending),
        reload_needed=daemon.reload_needed and not _never_loaded(daemon),
        config_newer=daemon.up and 0 < daemon.started < daemon.changed.get(daemon.config_file, 0),
        config_problems=tuple(problems),
        features_buildkit=features,
        clients=tuple(home.client for home in homes),
        steps=tuple(dict.fromkeys(home.steps for home in homes)),
        builders=tuple(dict.fromkeys(builder for home in homes for builder in home.builders)),
        mirrors=tuple((asked.get("mirrors") or {}).get(url, Mirror(url, reason="timeout")) for url in urls),
        insecure=tuple(effective.insecure_registries),
        runners=tuple(_runners(host)),
        nested=tuple(asked.get("nested") or ()),
        readable=tuple(_readable(daemon)),
        unsupported=daemon.unsupported,
        hosts_files=tuple(hosts_files),
        hosts_mirrors=tuple((asked.get("hosts mirrors") or {}).items()),
        image_store=components.image_store(daemon.info),
        unit_problem=asked.get("unit") or (),
        down_problem=asked.get("down") or (),
        relay=_relay(host),
    )
    if facts.closed:
        unreadable.append(f"The engine could not be queried: {host.user()} may not use its socket. Set become: true, or add the user to the group docker.")
    result = _result(facts, running, daemon, asked.get("compose") or "", None if running is None or not config_valid else bool(pending))
    values = [value for setting in _all_settings(facts) for _source, value in setting.layers]
    values += [value for builder in facts.builders for _name, value in builder.proxies]
    return Survey(facts, dict(result, unreadable=unreadable, seconds=round(host.now() - started, 2)), values)


# --- requests in parallel --------------------------------------------------------------------------


def _never_loaded(daemon: Daemon) -> bool:
    """Whether systemd asks for a daemon-reload also after one: it could not read a file to its end (systemd 262)."""
    files = (daemon.files.get(path) for path in unit_files(daemon, daemon.files))
    return any(file and environment_file.broken_section(file.contents) for file in files)


def _ask(
    host: Host,
    daemon: Daemon,
    urls: t.Sequence[str],
    environment_of: t.Sequence[str],
    own: t.Mapping[str, str],
    timeout: float,
    up: bool,
    hosts_files: t.Sequence[hosts_file.HostsFile],
) -> t.Dict[str, t.Any]:
    """Programs, logins and mirrors answer in parallel, so this takes as long as the slowest one."""
    mirrors = {url: functools.partial(ask_mirror, host.http_get, url, timeout) for url in urls}
    by_file = {
        mirror.url: functools.partial(hosts_file.greet, host.http_get, mirror, timeout)
        for file in hosts_files
        for mirror in file.mirrors
        if "://" in mirror.url
    }
    calls: t.Dict[str, t.Callable[[], t.Any]] = {
        "cli": lambda: components.cli(host),
        "buildx": lambda: components.buildx(host),
        "compose": lambda: components.compose(host),
        "mirrors": lambda: host.run_parallel(mirrors, timeout + 1),
        "hosts mirrors": lambda: host.run_parallel(by_file, timeout + 1),
        "validation_error": lambda: _validation_error(host, daemon),
        "unit": lambda: preflight.unit_problem(host, daemon) if daemon.engine else None,
        "down": lambda: preflight.down_problem(host, daemon),
        "nested": lambda: _nested(host) if up and daemon.info.get("ContainersRunning") else [],
    }
    for who in environment_of:
        calls[f"builder {who}"] = functools.partial(_builder_of, host, who, own)
    return host.run_parallel(calls, max(_PROGRAM_TIMEOUT, timeout + 2))


def _validation_error(host: Host, daemon: Daemon) -> str:
    """Why the engine would not start with its files, by its own check."""
    try:
        return preflight.validation_error(host, daemon, daemon.files)
    except daemon_json.NotJson:
        return ""


def _nested(host: Host) -> t.List[str]:
    names = []
    for container in host.engine_api("/containers/json") or []:
        if re.search(r"\bdind\b", str(container.get("Image"))) or re.search(r"\bdockerd\b", str(container.get("Command"))):
            names.append(str((container.get("Names") or ["?"])[0]).lstrip("/"))
    return names


def _builder_of(host: Host, who: str, own: t.Mapping[str, str]) -> t.Union[BuildUser, str]:
    try:
        return build_user(host, who, own)
    except HostError as error:
        return str(error)


# --- the daemon -----------------------------------------------------------------------------------


def _daemon_settings(daemon: Daemon, effective: settings.Effective, config_valid: bool) -> t.Iterator[Setting]:
    file = daemon.files.get(daemon.config_file)
    document = daemon_json.Document(file.contents if file and config_valid else b"", daemon.config_file)
    start = next_start(daemon, daemon.files)
    given = flags(start.argv)
    read = [(setting.name, setting.value, setting.place) for setting in layers(daemon, daemon.files) if setting.name in start.environment]
    block = document.value.get("proxies")
    line = daemon.fragment or daemon.defaults_file
    for name, (key, upper, _field) in settings.PROXIES.items():
        sources = list(variable((upper, upper.lower()), read, None, "").layers)
        sources += [(f"--{key} in the command line of {line}", value) for value in given.get(key, [])]
        if isinstance(block, dict) and block.get(key):
            sources.append((f"{daemon.config_file}, line {document.line('proxies', key)}", str(block[key])))
        yield winning_layer(name, sources, effective.proxies[name])
    for name, values in (("registry_mirrors", effective.registry_mirrors), ("insecure_registries", sorted(effective.insecure_registries))):
        key = name.replace("_", "-")
        listed = document.value.get(key)
        where = [(f"{daemon.config_file}, line {document.line(key)}", ", ".join(map(str, listed)))] if isinstance(listed, list) and listed else []
        flag = key[:-1] if name == "registry_mirrors" else "insecure-registry"
        where += [(f"--{flag} in the command line of {line}", ", ".join(given[flag]))] if flag in given else []
        yield Setting(name, ", ".join(values), where[-1][0] if where else "", tuple(where))


def _pending(host: Host, daemon: Daemon, effective: settings.Effective, unreadable: t.List[str]) -> t.List[str]:
    """The settings that the daemon does not use yet; without our notes about its start, those that `docker info` shows."""
    try:
        record = Record(host, f"docker_daemon_proxy.{daemon.service}")
    except HostError as error:
        unreadable.append(str(error))
        return settings.differences(settings.running(daemon.info), effective, settings.SETTINGS)
    return settings.not_effective(daemon, record, effective)


def unread_drop_ins(host: Host, service: str) -> t.Dict[str, File]:
    """Files that look like drop-ins of the service and are none: by another name, or in another folder that belongs to no service."""
    return {path: file for path, file in ((path, host.read(path)) for path in _unread_paths(host, service)) if file}


def _unread_paths(host: Host, service: str) -> t.Iterator[str]:
    others = {name for folder in UNIT_FOLDERS for name in host.names(folder) if name.endswith(".service")} - {f"{service}.service"}
    for top in ("/etc/systemd/system", "/run/systemd/system", "/etc/systemd"):
        for name in host.names(top):
            unit = name[: -len(".d")] if name.endswith(".d") else name
            template = re.sub(r"@.*\.service$", "@.service", unit)  # systemd starts an instance from it, without a file of the instance
            if not name.startswith(service) or {unit, template} & others or unit.endswith("-.service") or not host.is_folder(f"{top}/{name}"):
                continue
            read = name == f"{service}.service.d" and top in UNIT_FOLDERS
            paths = (f"{top}/{name}/{file}" for file in host.names(f"{top}/{name}") if not (read and file.endswith(".conf")))
            yield from (path for path in paths if not host.is_folder(path))


def _features(daemon: Daemon) -> t.Optional[bool]:
    file = daemon.files.get(daemon.config_file)
    features = daemon_json.Document(file.contents if file else b"", daemon.config_file).value.get("features")
    value = features.get("buildkit") if isinstance(features, dict) else None
    return value if isinstance(value, bool) else None


def _relay(host: Host) -> t.Tuple[str, ...]:
    """Where a relay of ours listens; only root can read its file, which contains the password."""
    try:
        file = host.read(settings.RELAY_FILE)
    except HostError:
        return ()
    lines = file.contents.decode(errors="replace").splitlines() if file else []
    return tuple(line.split()[1] for line in lines if line.startswith("http_port "))


def _readable(daemon: Daemon) -> t.Iterator[str]:
    for path, file in daemon.files.items():
        if file and file.mode & 0o004 and re.search(rb"(?i)proxy[^\n]{0,20}[=:][^\n]*://[^\s/\"']*:[^\s/\"']*@", file.contents):
            yield path


# --- clients and steps ----------------------------------------------------------------------------


class _Home(t.NamedTuple):
    client: Client
    steps: Steps
    builders: t.Tuple[Builder, ...]


def _client(host: Host, who: str, answer: t.Union[BuildUser, str, None], cli: str, features: t.Optional[bool], unreadable: t.List[str]) -> _Home:
    kind, _colon, name = who.partition(":")
    known = answer if isinstance(answer, BuildUser) else None
    user = (known.user if known else name if kind == "user" else "") or host.user()
    if known is None:
        unreadable.append(f"{who} could not be read itself, so its settings come from files only: {answer or 'it did not answer in time.'}")
    environment = known.environment if known else None
    home = (environment or {}).get("HOME") or _home(host, user)
    unit = observe(host, name[: -len(".service")] if name.endswith(".service") else name, None) if kind == "service" else None
    read = [] if kind == "task" else _service_layers(unit) if unit else list(_login_layers(host, home))
    process = {"task": "the environment of this task", "service": f"the running service {name}"}.get(kind, f"what runs when {user} logs in")
    variables = [variable(names, read, environment, process) for names in _VARIABLES]
    used = tuple(setting for setting in variables if setting.layers)
    values = {setting.name: setting.value for setting in used}
    config = values.get("DOCKER_CONFIG") or f"{home}/.docker"
    document = _json(host, f"{config}/config.json")
    buildx = components.has_buildx(host, {"DOCKER_CONFIG": config})
    policy = values.get(POLICY_VARIABLE, "")
    client = Client(
        who=who,
        user=user,
        builder=default_builder(values.get("DOCKER_BUILDKIT", ""), cli, buildx, features) if cli else "",
        engine=_engine(host, config, values, document),
        buildx=buildx,
        policy_missing=bool(policy) and not host.exists(policy),
        stale=_stale(unit, environment),
        settings=used,
        helpers_missing=tuple(_helpers_missing(host, document, f"{config}/config.json", (environment or {}).get("PATH") or components.PATH)),
    )
    return _Home(client, Steps(user, tuple(_steps(document, f"{config}/config.json", client.engine))), tuple(_builders(host, user, config, values)))


def _home(host: Host, user: str) -> str:
    try:
        return host.home(user)
    except HostError:
        return "/nonexistent"


def _service_layers(unit: Daemon) -> t.List[t.Tuple[str, str, str]]:
    return [(setting.name, setting.value, setting.place) for setting in layers(unit, unit.files)]


def _stale(unit: t.Optional[Daemon], environment: t.Optional[t.Mapping[str, str]]) -> t.Tuple[str, ...]:
    """Variables whose values in the running service differ from its files."""
    if unit is None or environment is None or not unit.pid:
        return ()
    wanted = {setting.name: setting.value for setting in layers(unit, unit.files)}
    names = [name for names in _VARIABLES for name in names]
    return tuple(name for name in names if name in wanted and environment.get(name) != wanted[name])


def _login_layers(host: Host, home: str) -> t.Iterator[t.Tuple[str, str, str]]:
    """What PAM and a login shell read, weakest first."""
    folder = "/etc/profile.d"
    own = next((f"{home}/{name}" for name in (".bash_profile", ".bash_login", ".profile") if host.exists(f"{home}/{name}")), "")
    scripts = [f"{folder}/{name}" for name in host.names(folder) if name.endswith(".sh")]
    for path in ["/etc/environment", "/etc/profile", *scripts, f"{home}/.bashrc", *([own] if own else [])]:
        file = host.read(path)
        for setting in environment_file.environment_file(path, file.contents, shell=True) if file else ():
            yield setting.name, re.split(r"\s*;\s", setting.value)[0].rstrip(";"), setting.place


def _json(host: Host, path: str) -> t.Optional[daemon_json.Document]:
    file = host.read(path)
    try:
        return daemon_json.Document(file.contents, path) if file else None
    except daemon_json.NotJson:
        return None


def _engine(host: Host, config: str, values: t.Mapping[str, str], document: t.Optional[daemon_json.Document]) -> str:
    """Where builds run, as the docker command decides: DOCKER_HOST, DOCKER_CONTEXT, the current context."""
    if values.get("DOCKER_HOST"):
        return unsupported(values["DOCKER_HOST"])
    context = values.get("DOCKER_CONTEXT") or str((document.value if document else {}).get("currentContext") or "default")
    if context == "default":
        return ""
    meta = _json(host, f"{config}/contexts/meta/{hashlib.sha256(context.encode()).hexdigest()}/meta.json")
    endpoint = ((meta.value if meta else {}).get("Endpoints") or {}).get("docker") or {}
    return unsupported(str(endpoint["Host"])) if endpoint.get("Host") else f"of the context {context}"


def _steps(document: t.Optional[daemon_json.Document], path: str, engine: str) -> t.Iterator[Setting]:
    block = document.value.get("proxies") if document else None
    for name, key in StepProxy.KEYS.items():
        sources = []
        for group in ("default", engine or "unix:///var/run/docker.sock"):
            values = block.get(group) if isinstance(block, dict) else None
            if document and isinstance(values, dict) and values.get(key):
                sources.append((f"{path}, line {document.line('proxies', group, key)}", str(values[key])))
        if sources:
            yield winning_layer(name, sources)


def _helpers_missing(host: Host, document: t.Optional[daemon_json.Document], path: str, search: str) -> t.Iterator[t.Tuple[str, str, str]]:
    """Credential helpers that are not in the PATH of the process that builds: the place, the key and the program."""
    for program, keys in client_files.helpers(document.value if document else {}).items():
        if document and not any(host.exists(f"{folder}/{program}") for folder in search.split(":") if folder):
            for key in keys:
                yield f"{path}, line {document.line(*key.split(' '))}", key, program


def _builders(host: Host, user: str, config: str, values: t.Mapping[str, str]) -> t.Iterator[Builder]:
    folder = values.get("BUILDX_CONFIG") or f"{config}/buildx"
    current = _json(host, f"{folder}/current")
    selected = values.get("BUILDX_BUILDER") or str((current.value if current else {}).get("Name") or "")
    for name in host.names(f"{folder}/instances"):
        instance = _json(host, f"{folder}/instances/{name}")
        if instance and instance.value.get("Driver") not in (None, "", "docker"):
            proxies = tuple(sorted(client_files.builder_proxies(instance.value).items()))
            mirrors = tuple((registry, tuple(urls)) for registry, urls in sorted(client_files.builder_mirrors(instance.value).items()))
            yield Builder(user, name, str(instance.value["Driver"]), name == selected, proxies, mirrors)


def _runners(host: Host) -> t.Iterator[Runner]:
    for path in _RUNNER_FILES:
        file = host.read(path)
        text = file.contents.decode(errors="replace") if file else ""
        for part in re.split(r"^\s*\[\[runners\]\]", text, flags=re.M)[1:]:
            match = re.search(r"^\s*executor\s*=\s*[\"'](docker[^\"']*|kubernetes)[\"']", part, re.M)
            is_set = re.search(r"^\s*environment\s*=[^\]]*[\"'](?:BUILDKIT_NO_CLIENT_TOKEN|HTTPS_PROXY|https_proxy)=", part, re.M)
            if match and not is_set:
                yield Runner(path, match.group(1), re.search(r"^\s*volumes\s*=.*docker\.sock", part, re.M) is not None)


# --- the result -----------------------------------------------------------------------------------


def _all_settings(facts: Facts) -> t.Iterator[Setting]:
    yield from facts.daemon
    for client in facts.clients:
        yield from client.settings
    for steps in facts.steps:
        yield from steps.settings


def _result(facts: Facts, running: t.Optional[settings.Effective], daemon: Daemon, compose: str, due: t.Optional[bool]) -> t.Dict[str, t.Any]:
    found = findings(facts)
    info = daemon.info
    used: t.Dict[str, t.Optional[str]] = {}
    if running is not None:
        used.update(running.proxies)
        used["registry_mirrors"] = ", ".join(url.rstrip("/") for url in running.registry_mirrors)
        used["insecure_registries"] = ", ".join(sorted(running.insecure_registries))
    return {
        "msg": summary(found),
        "versions": {
            "engine": facts.engine, "engine_go": facts.engine_go, "cli": facts.cli, "cli_go": facts.cli_go, "buildx": facts.buildx, "compose": compose
        },
        "image_store": components.image_store(info),
        "storage_driver": str(info.get("Driver") or ""),
        "live_restore": bool(info.get("LiveRestoreEnabled")) if info else None,
        "containers_running": int(info.get("ContainersRunning") or 0),
        "restart_pending": due,
        "pending": list(facts.pending),
        "daemon": {
            "who": f"{facts.service}.service" if daemon.systemd else facts.service,
            "user": "root",
            "running": facts.up,
            "settings": [dict(setting.shown(), in_force=used.get(setting.name)) for setting in facts.daemon],
        },
        "clients": [
            {"who": client.who, "user": client.user, "builder": client.builder, "engine": client.engine, "settings": [each.shown() for each in client.settings]}
            for client in facts.clients
        ],
        "steps": [{"who": steps.user, "user": steps.user, "settings": [each.shown() for each in steps.settings]} for steps in facts.steps],
        "mirrors": [
            {"url": mirror.url, "status": mirror.status, "reason": mirror.reason, "realm": mirror.realm, "sends_token_elsewhere": mirror.sends_elsewhere}
            for mirror in facts.mirrors
        ],
        "registry_hosts": [
            {
                "path": file.path,
                "registry": file.registry,
                "mirrors": [mirror.url for mirror in file.mirrors],
                "server": file.server,
                "read_by": hosts_file.readers(file, facts.engine, facts.image_store),
            }
            for file in facts.hosts_files
        ],
        "builders": [
            dict(builder._asdict(), proxies=dict(builder.proxies), mirrors={name: list(urls) for name, urls in builder.mirrors})
            for builder in facts.builders
        ],
        "findings": [finding._asdict() for finding in found],
    }  # fmt: skip


def summary(results: t.Sequence[t.Any]) -> str:
    """One line: how many findings, and which."""
    counts = {name: sum(finding.severity == name for finding in results) for name in ("error", "warning", "info")}
    counted = [f"{number} {name}{'s' if number > 1 and name != 'info' else ''}" for name, number in counts.items() if number]
    return f"{', '.join(counted)}: {', '.join(dict.fromkeys(finding.id for finding in results))}" if results else "Nothing found."
