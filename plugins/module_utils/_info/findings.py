# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""From the settings of a host to findings about its builds, each with a fix.

Pure: facts in, findings out. Nothing is built or requested here.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import urlsplit

from ansible_collections.buildfleet.docker.plugins.module_utils._build_env.settings import ENVIRONMENT, POLICY_VARIABLE, PROFILE
from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.booleans import parse_bool
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.problems import ConfigProblem
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.hosts import TOKEN_SERVER
from ansible_collections.buildfleet.docker.plugins.module_utils._info import registry_hosts
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import (
    ValueRefused,
    bypasses,
    is_loopback,
    no_proxy_warnings,
    plain_mirror_works,
    proxy,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_file import HostsFile, readers
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror

SEVERITIES = ("error", "warning", "info")
_SOCKETS = ("", "unix:///var/run/docker.sock", "unix:///run/docker.sock")


class Setting(t.NamedTuple):
    """One setting of one process; ``layers`` are (source, value), weakest first, and ``source`` is the effective one."""

    name: str
    value: str = ""
    source: str = ""
    layers: t.Tuple[t.Tuple[str, str], ...] = ()

    def shown(self) -> t.Dict[str, t.Any]:
        wins = max((number for number, layer in enumerate(self.layers) if layer == (self.source, self.value)), default=-1)
        layers = [{"source": source, "value": value, "wins": number == wins} for number, (source, value) in enumerate(self.layers)]
        return {"name": self.name, "value": self.value, "source": self.source, "layers": layers}


class Client(t.NamedTuple):
    """A user, login or service that builds: what `docker build` reads there."""

    who: str  # login, task, user:NAME, service:NAME
    user: str = "root"
    builder: str = "buildkit"  # or legacy; '' if docker build would fail
    engine: str = ""  # where builds run, if not on this host's engine
    buildx: bool = True
    policy_missing: bool = False  # the file named by the source policy variable
    helpers_missing: t.Tuple[t.Tuple[str, str, str], ...] = ()  # credential helpers without a program: place, key, program
    stale: t.Tuple[str, ...] = ()  # variables whose values in a running service differ from its files
    settings: t.Tuple[Setting, ...] = ()

    def setting(self, name: str) -> Setting:
        return next((setting for setting in self.settings if setting.name == name), Setting(name))

    def value(self, name: str) -> str:
        return self.setting(name).value

    @property
    def daemon_token(self) -> bool:
        return parse_bool(self.value("BUILDKIT_NO_CLIENT_TOKEN")) is True

    @property
    def title(self) -> str:
        kind, _colon, name = self.who.partition(":")
        return f"the service {name}" if kind == "service" else f"the login of {self.user}" if kind in ("login", "user") else "this task"


class Steps(t.NamedTuple):
    """What a user's RUN steps get from config.json."""

    user: str
    settings: t.Tuple[Setting, ...] = ()


class Builder(t.NamedTuple):
    """A buildx builder other than the engine's own."""

    user: str
    name: str
    driver: str
    selected: bool
    proxies: t.Tuple[t.Tuple[str, str], ...] = ()  # its own, by name
    mirrors: t.Tuple[t.Tuple[str, t.Tuple[str, ...]], ...] = ()  # its own, by registry


class Runner(t.NamedTuple):
    """A CI runner whose jobs build in containers without our variables."""

    path: str
    executor: str
    socket: bool  # the jobs get the host's engine


class Facts(t.NamedTuple):
    """What was read on the host."""

    engine: str = ""
    engine_go: str = ""
    cli: str = ""
    cli_go: str = ""
    buildx: str = ""
    up: bool = True
    closed: bool = False  # we may not use the engine's socket
    state: str = "active"
    service: str = "docker"
    config_file: str = "/etc/docker/daemon.json"
    daemon: t.Tuple[Setting, ...] = ()
    pending: t.Tuple[str, ...] = ()
    reload_needed: bool = False
    config_newer: bool = False  # daemon.json changed since the engine started
    config_problems: t.Tuple[ConfigProblem, ...] = ()
    features_buildkit: t.Optional[bool] = None
    clients: t.Tuple[Client, ...] = ()
    steps: t.Tuple[Steps, ...] = ()
    builders: t.Tuple[Builder, ...] = ()
    mirrors: t.Tuple[Mirror, ...] = ()
    insecure: t.Tuple[str, ...] = ()
    runners: t.Tuple[Runner, ...] = ()
    nested: t.Tuple[str, ...] = ()  # containers that run an engine of their own
    readable: t.Tuple[str, ...] = ()  # files with a password that every user can read
    hosts_files: t.Tuple[HostsFile, ...] = ()
    hosts_mirrors: t.Tuple[t.Tuple[str, Mirror], ...] = ()  # what the mirrors of these files answered, by URL
    image_store: str = ""
    unsupported: str = ""  # why this collection cannot configure the engine, and what to do
    unit_problem: t.Tuple[str, ...] = ()  # why systemd does not start the unit, and the fix
    relay: t.Tuple[str, ...] = ()  # where the relay of proxy_relay listens
    down_problem: t.Tuple[str, ...] = ()  # why the engine does not answer, unless it was stopped on purpose, and the fix

    def setting(self, name: str) -> Setting:
        return next((setting for setting in self.daemon if setting.name == name), Setting(name))

    def value(self, name: str) -> str:
        return self.setting(name).value

    def asks_directly(self, url: str) -> bool:
        """Whether the daemon requests this URL without its proxy."""
        parts = urlsplit(url)
        name = "https_proxy" if parts.scheme == "https" else "http_proxy"
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return not self.value(name) or bypasses(self.value("no_proxy"), parts.hostname or "", port)


class Finding(t.NamedTuple):
    id: str
    severity: str
    process: str  # daemon, client, step, or '' for the host as a whole
    message: str
    cure: str


# --- effective settings -----------------------------------------------------------------------------


def winning_layer(name: str, layers: t.Sequence[t.Tuple[str, str]], truth: t.Optional[str] = None, said_by: str = "") -> Setting:
    """The effective layer: the last one, or, if the process itself was read, the last one with the same value."""
    if truth is None:
        source, value = layers[-1] if layers else ("", "")
        return Setting(name, value, source, tuple(layers))
    if not truth:
        return Setting(name, "", "", tuple(layers))
    source = next((source for source, value in reversed(layers) if value == truth), "")
    if source:
        return Setting(name, truth, source, tuple(layers))
    return Setting(name, truth, said_by, (*layers, (said_by, truth)))  # its value contains a variable, or a program sets it


def variable(names: t.Sequence[str], layers: t.Sequence[t.Tuple[str, str, str]], environment: t.Optional[t.Mapping[str, str]], said_by: str) -> Setting:
    """An environment variable with one or two names, of which the first wins (Go reads HTTPS_PROXY before https_proxy)."""
    known = environment if environment is not None else {name: value for name, value, _source in layers}
    chosen = next((name for name in names if known.get(name)), names[0])
    own = [(source, value) for name, value, source in layers if name == chosen]
    setting = winning_layer(names[0], own, None if environment is None else known.get(chosen, ""), said_by)
    others = [(source, value) for name, value, source in layers if name in names and name != chosen]
    return setting._replace(layers=(*others, *setting.layers))


def unsupported(address: str) -> str:
    """What `docker build` uses (docker/cli cmd/docker/builder.go); '' if it fails."""
    return "" if address in _SOCKETS else address


# the engine's features decide, and buildx is not needed


def findings(facts: Facts) -> t.List[Finding]:
    """All of them, the most serious first."""
    results = dict.fromkeys(one for rule in RULES for one in rule(facts))
    return sorted(results, key=lambda one: SEVERITIES.index(one.severity))


def _engine(facts: Facts) -> t.Iterator[Finding]:
    if facts.unsupported:
        message, _blank, cure = facts.unsupported.partition(". ")
        yield Finding("configured_elsewhere", "warning", "daemon", f"{message}.", cure)
    elif not facts.engine and not facts.up:
        yield Finding("engine_missing", "error", "daemon", "There is no Docker Engine on this host: dockerd was not found.", "Install Docker on this host.")
    elif not facts.up and not facts.closed:
        message = f"The engine does not answer (the service {facts.service} is {facts.state})."
        cure = f"Start it (systemctl start {facts.service}); journalctl -u {facts.service} says why it ended."
        cure = facts.unit_problem[1] if facts.unit_problem else cure  # no start could hold
        message, cure = facts.down_problem or (message, cure)
        yield Finding("engine_down", "error", "daemon", message, cure)


def _unit(facts: Facts) -> t.Iterator[Finding]:
    if facts.unit_problem:
        sentence, cure = facts.unit_problem
        yield Finding("unit_refused", "error", "daemon", sentence, cure)


_TROUBLE_CURES = {
    "config_not_json": "Correct {file}, or restore a backup.",
    "key_stops_start": "Remove the key from {file} before the next start.",
    "client_keys_in_daemon_json": "Remove it from {file}; set docker_daemon_proxy https_proxy for the daemon, docker_build_env step_proxy for RUN steps.",
    "top_level_proxy_ignored": "Remove it from {file}, and set docker_daemon_proxy http_proxy and https_proxy.",
    "line_ignored_by_systemd": "Correct the line, then systemctl daemon-reload and restart docker; or remove it, and set docker_daemon_proxy https_proxy.",
    "file_ignored_by_systemd": (
        "Rename or move the file as the message says, then systemctl daemon-reload and restart docker; or remove it, and set docker_daemon_proxy https_proxy."
    ),
    "mirror_without_scheme": "Set docker_daemon_proxy registry_mirrors to a URL such as https://mirror.example.com.",
    "mirror_refused": "Set docker_daemon_proxy registry_mirrors to a URL that the engine accepts.",
}


def _config(facts: Facts) -> t.Iterator[Finding]:
    for problem in facts.config_problems:
        cure = _TROUBLE_CURES[problem.id].format(file=facts.config_file)
        yield Finding(problem.id, "error" if problem.stops else "warning", "daemon", problem.sentence, cure)


def _restart(facts: Facts) -> t.Iterator[Finding]:
    if facts.pending:
        names = ", ".join(facts.pending)
        message = f"The engine runs with a different {names} than its files set: it was not restarted since they changed."
        yield Finding("restart_pending", "warning", "daemon", message, "Run docker_daemon_proxy again (restart: if_needed does it now), or restart docker.")
    elif facts.config_newer:
        message = f"{facts.config_file} changed since the engine started, so part of it may not be effective."
        yield Finding("config_newer_than_engine", "info", "daemon", message, f"Restart docker (systemctl restart {facts.service}) when nobody builds.")
    if facts.reload_needed and not facts.unit_problem:  # whose fix includes the reload
        message = f"A unit file or drop-in of {facts.service} changed, and systemd has not loaded it yet: a restart alone would use the old one."
        cure = f"Run systemctl daemon-reload, then restart docker; docker_daemon_proxy does both (systemctl show {facts.service} -p NeedDaemonReload)."
        yield Finding("daemon_reload_needed", "warning", "daemon", message, cure)


def _daemon_proxies(facts: Facts) -> t.Iterator[Finding]:
    if facts.value("http_proxy") and not facts.value("https_proxy"):
        message = f"The daemon has an http_proxy ({facts.setting('http_proxy').source}) and no https_proxy, but registries are reached by https."
        yield Finding("https_proxy_missing", "warning", "daemon", message, "Set docker_daemon_proxy https_proxy, usually to the same URL.")
    for name in ("http_proxy", "https_proxy"):
        setting = facts.setting(name)
        if _loopback(setting.value) and not _relayed(setting.value, facts.relay):
            message = f"The daemon's {name} ({setting.source}) is this host's loopback, which RUN steps and docker-container builders cannot reach."
            yield Finding(
                "loopback_proxy", "info", "daemon", message, f"Set docker_daemon_proxy {name} to an address that containers can reach, if they need it too."
            )
        if setting.value.lower().startswith("socks5h:") and facts.engine_go and not versions.has("socks5h", facts.engine_go):
            message = f"The daemon's {name} ({setting.source}) is a socks5h proxy, which an engine built with {facts.engine_go} does not support."
            yield Finding(
                "socks5h_unknown", "error", "daemon", message, f"Set docker_daemon_proxy {name} to socks5://, with which the proxy resolves names too."
            )
    for warning in no_proxy_warnings([entry.strip() for entry in facts.value("no_proxy").split(",") if entry.strip()]):
        yield Finding(
            "no_proxy_not_understood", "warning", "daemon", f"{facts.setting('no_proxy').source}: {warning}", "Set docker_daemon_proxy no_proxy accordingly."
        )


def _token_path(facts: Facts) -> t.Iterator[Finding]:
    """The daemon can reach registries, and the client, which fetches BuildKit's token, cannot."""
    if not facts.value("https_proxy"):
        return
    for client in facts.clients:
        proxied = client.value("HTTPS_PROXY") and not bypasses(client.value("NO_PROXY"), TOKEN_SERVER, 443)
        if client.builder != "buildkit" or client.engine or client.daemon_token or proxied:
            continue
        message = f"The daemon reaches registries through its proxy, but {client.title} has none and must fetch BuildKit's token from {TOKEN_SERVER} itself."
        spared = any(mirror.status and not mirror.sends_elsewhere and not mirror.error for mirror in facts.mirrors)
        message += " Images from the mirror do not need that token." if spared else ""
        yield Finding("daemon_proxy_without_token_path", "info" if spared else "warning", "client", message, "Set docker_build_env daemon_token: true.")


def _mirrors(facts: Facts) -> t.Iterator[Finding]:
    for mirror in facts.mirrors:
        direct = facts.asks_directly(mirror.url)
        port = urlsplit(mirror.url).netloc.rpartition("@")[2]
        if not direct:
            reached = mirror.status > 0
            message = f"The daemon uses its proxy for the mirror {port}, because no_proxy does not contain it" + (
                ", though it answers directly." if reached else "."
            )
            cure = f"Add {mirror.host} to docker_daemon_proxy no_proxy, unless the mirror can only be reached through the proxy."
            yield Finding("no_proxy_without_mirror", "warning" if reached else "info", "daemon", message, cure)
        if mirror.sends_elsewhere:
            message = f"The mirror {port} sends clients to {mirror.realm_host} for a token."
            cure = (
                "Use a mirror that serves images without a token (role registry_cache), have its owner rewrite the realm, "
                "or give daemon and client a proxy (docker_daemon_proxy https_proxy, docker_build_env daemon_token: true)."
            )
            yield Finding("mirror_sends_token_elsewhere", "warning", "daemon", message, cure)
        elif mirror.status == 401 and not mirror.realm_host:
            message = f"The mirror {port} requires a login, and Docker sends no credentials to mirrors in daemon.json."
            cure = "Have its owner allow anonymous pulls, or set docker_registry_hosts with username and password (engine 28 and newer)."
            cure = cure.replace("28", versions.text("hosts_toml"))
            yield Finding("mirror_wants_login", "warning", "daemon", message, cure)
        elif mirror.error == "status 429":
            message = f"The mirror {port} reports too many requests (status 429): all hosts that use it share its limit at Docker Hub."
            yield Finding("rate_limit_shared", "warning", "daemon", message, "Configure a Docker Hub login on that cache (it has its own limit), or wait.")
        elif mirror.error:
            cure = "Set docker_daemon_proxy registry_mirrors to a mirror that works; only the owner of this one can change its answer."
            yield Finding("mirror_error", "warning", "daemon", f"The mirror {port} answers with an error ({mirror.error}).", cure)
        elif not mirror.status and mirror.reason == "unknown authority":
            message = f"The mirror {port} has a certificate from an authority that this host does not trust."
            yield Finding("mirror_untrusted", "warning", "daemon", message, "Install the authority's certificate with the role proxy_ca.")
        elif not mirror.status and direct:
            cure = "Repair it, or set docker_daemon_proxy registry_mirrors to another one."
            yield Finding("mirror_unreachable", "warning", "daemon", f"The mirror {port} could not be reached ({mirror.reason}).", cure)
        if mirror.url.startswith("http://") and facts.engine and not plain_mirror_works(mirror.url, facts.insecure, facts.engine):
            message = f"BuildKit of engine {facts.engine} does not use the mirror {port}, because it has no TLS; docker pull does."
            cure = f"Add it to docker_daemon_proxy insecure_registries as {mirror.url.rstrip('/')}, or install a certificate and use https://."
            yield Finding("mirror_without_tls", "warning", "daemon", message, cure)


def _builders(facts: Facts) -> t.Iterator[Finding]:
    modern = versions.has("buildkit_default", facts.cli)
    if facts.features_buildkit is False and modern:
        message = f"{facts.config_file} sets features.buildkit to false, which a docker command of version {facts.cli} ignores."
        yield Finding("features_buildkit_ignored", "warning", "client", message, "Set docker_build_env buildkit: false, and remove the key.")
    for client in facts.clients if facts.cli else ():
        toggle = client.setting("DOCKER_BUILDKIT")
        wanted = parse_bool(toggle.value)
        upgrade = "Install the buildx plugin (package docker-buildx, or docker-buildx-plugin)."
        if toggle.value and wanted is None:
            message = f"DOCKER_BUILDKIT is {toggle.value!r} in {client.title} ({toggle.source}), and docker fails: it is not a boolean."
            yield Finding("bad_docker_buildkit", "error", "client", message, "Set docker_build_env buildkit to true or false.")
        elif modern and wanted and not client.buildx:
            message = f"DOCKER_BUILDKIT is set in {client.title} ({toggle.source}), and the buildx plugin is missing or broken: docker build fails."
            yield Finding("buildx_missing", "error", "client", message, f"{upgrade[:-1]}, or set docker_build_env buildkit: false.")
        elif modern and wanted is None and not client.buildx:
            message = f"Docker {facts.cli} builds with the legacy builder in {client.title}, because the buildx plugin is missing or broken."
            yield Finding("legacy_builder", "warning", "client", message, upgrade)
        elif not modern and wanted is None and client.builder == "legacy":
            message = f"Docker {facts.cli} builds with the legacy builder in {client.title}: before {versions.text('buildkit_default')} BuildKit is off."
            yield Finding("legacy_builder", "info", "client", message, "Set docker_build_env buildkit: true to use BuildKit.")
        elif wanted is False and (facts.features_buildkit or any(parse_bool(value) for _source, value in toggle.layers)):
            message = (
                f"BuildKit is enabled elsewhere, but {toggle.source} sets DOCKER_BUILDKIT to {toggle.value} in {client.title}, so the legacy builder is used."
            )
            yield Finding("legacy_builder", "warning", "client", message, "Set docker_build_env buildkit: true, and remove the other line.")


def _clients(facts: Facts) -> t.Iterator[Finding]:
    for client in facts.clients:
        if client.value("HTTP_PROXY") and not client.value("HTTPS_PROXY") and not client.daemon_token:
            message = f"{client.title.capitalize()} has HTTP_PROXY ({client.setting('HTTP_PROXY').source}) and no HTTPS_PROXY, but tokens are fetched by https."
            yield Finding("https_proxy_missing", "warning", "client", message, "Set docker_build_env https_proxy, usually to the same URL.")
        if client.value("ALL_PROXY") and not client.value("HTTPS_PROXY"):
            message = f"ALL_PROXY is set in {client.title} ({client.setting('ALL_PROXY').source}), which no program of Docker reads."
            yield Finding("all_proxy_ignored", "info", "client", message, "Set docker_build_env https_proxy to the same URL.")
        if client.value("HTTPS_PROXY").lower().startswith("socks5h:") and facts.cli_go and not versions.has("socks5h", facts.cli_go):
            message = f"HTTPS_PROXY in {client.title} is a socks5h proxy, which a docker command built with {facts.cli_go} does not support."
            yield Finding("socks5h_unknown", "error", "client", message, "Set docker_build_env https_proxy to socks5://.")
        if client.stale:
            message = f"The service {client.who.partition(':')[2]} runs with an old {', '.join(client.stale)}: it was not restarted since its files changed."
            yield Finding("service_restart_pending", "warning", "client", message, "Restart the service, or set docker_build_env restart_services: true.")
        for setting in client.settings:
            ours = [value for source, value in setting.layers if source.rpartition(", line ")[0] in (PROFILE, ENVIRONMENT)]
            if ours and setting.value != ours[-1] and client.who.partition(":")[0] != "service":
                message = f"{setting.source or client.title} sets {setting.name} to {setting.value or 'nothing'}, which overrides what docker_build_env wrote."
                yield Finding("overruled", "warning", "client", message, f"Remove {setting.name} there.")
        policy = client.setting(POLICY_VARIABLE)
        if policy.value and client.policy_missing:
            message = f"{policy.source} names the source policy {policy.value}, which does not exist: BuildKit builds of {client.title} fail."
            yield Finding("source_policy_missing", "error", "client", message, "Set docker_build_env source_policy, or remove the variable.")
        elif policy.value and facts.engine and not (versions.has("source_policy_engine", facts.engine) and versions.has("source_policy_buildx", facts.buildx)):
            message = f"{policy.source} names a source policy, which engine {facts.engine} with buildx {facts.buildx or 'missing'} ignores."
            yield Finding(
                "source_policy_ignored",
                "warning",
                "client",
                message,
                "Rewrite the image names with dockerfile_mirror, or set docker_daemon_proxy registry_mirrors.",
            )


def _elsewhere(facts: Facts) -> t.Iterator[Finding]:
    """Builds that these settings do not affect."""
    for client in facts.clients:
        if client.engine and client.daemon_token:
            message = (
                f"BUILDKIT_NO_CLIENT_TOKEN is set in {client.title}, whose builds go to the engine {client.engine}: "
                "that engine receives the credentials of docker login."
            )
            cure = "Set docker_build_env daemon_token: false for it, unless that engine may have them; set https_proxy instead."
            yield Finding("remote_daemon_token", "warning", "client", message, cure)
        if client.engine:
            message = f"Builds of {client.title} go to the engine {client.engine}: the settings of this host's daemon have no effect on them."
            yield Finding("remote_engine", "info", "client", message, "Set docker_daemon_proxy on the host of that engine.")
    for builder in facts.builders:
        used = "docker buildx build and compose use it" if builder.selected else "it is not selected"
        message = f"The user {builder.user} has a builder {builder.name} with the driver {builder.driver} ({used}): "
        message += "it reads neither daemon.json nor the daemon's proxy."
        if builder.proxies or builder.mirrors:
            own = [*(f"{name} {value}" for name, value in builder.proxies), *(f"{name} from {', '.join(urls)}" for name, urls in builder.mirrors)]
            message += f" Its own settings: {'; '.join(own)}."
        cure = "Set docker_build_env builder_mirrors and create it again, or create it with a proxy (--driver-opt env.https_proxy=URL)."
        yield Finding("container_builder", "info", "client", message, cure)
    for runner in facts.runners:
        where = "on this host's engine, but without this host's environment" if runner.socket else "in containers, with engines of their own"
        message = f"{runner.path} has the executor {runner.executor}: its jobs build {where}."
        cure = "Set docker_build_env gitlab_runners to this file, and registry mirrors in the commands of its services."
        yield Finding("builds_in_containers", "info", "client", message, cure)
    for name in facts.nested:
        message = f"The container {name} runs an engine of its own (docker in docker): the settings of this host have no effect on builds there."
        yield Finding(
            "docker_in_docker", "info", "daemon", message, "Set HTTPS_PROXY in the environment of that container, and --registry-mirror in its command."
        )


def _steps(facts: Facts) -> t.Iterator[Finding]:
    for steps in facts.steps:
        values = {setting.name: setting for setting in steps.settings}
        for name in ("http_proxy", "https_proxy"):
            if name in values and _loopback(values[name].value):
                message = f"The {name} for RUN steps of {steps.user} ({values[name].source}) is the build container's own loopback, where no proxy runs."
                yield Finding("loopback_proxy", "error", "step", message, f"Set docker_build_env step_proxy {name} to an address that containers reach.")
        if values.get("http_proxy", Setting("")).value and not values.get("https_proxy", Setting("")).value:
            message = f"RUN steps of {steps.user} get an http_proxy ({values['http_proxy'].source}) and no https_proxy, so https bypasses the proxy."
            yield Finding("https_proxy_missing", "warning", "step", message, "Set docker_build_env step_proxy https_proxy, usually to the same URL.")


def _secrets(facts: Facts) -> t.Iterator[Finding]:
    for path in facts.readable:
        message = f"{path} contains a proxy's password, and every user of this host can read it."
        yield Finding("readable_password", "warning", "", message, "Set it with docker_daemon_proxy proxy_username and proxy_password: it restricts the file.")


def _hosts_files(facts: Facts) -> t.Iterator[Finding]:
    """The files themselves, and the answers of their mirrors."""
    for problem in registry_hosts.problems(facts.hosts_files, facts.engine, facts.image_store, facts.value("registry_mirrors")):
        yield Finding(*problem)
    used = [file for file in facts.hosts_files if readers(file, facts.engine, facts.image_store)]
    places = {mirror.url: f"{file.path}, line {mirror.line}" for file in used for mirror in file.mirrors}
    cure = "Set docker_registry_hosts to a mirror that works, or remove it there."
    for url, mirror in facts.hosts_mirrors:
        if url not in places:
            continue
        if mirror.status == 401 and not mirror.realm_host:
            message = f"The mirror {url} ({places[url]}) requires a login, or a different one."
            yield Finding("mirror_wants_login", "warning", "daemon", message, "Set docker_registry_hosts with its username and password.")
        elif mirror.error:
            yield Finding("mirror_error", "warning", "daemon", f"The mirror {url} ({places[url]}) answers with an error ({mirror.error}).", cure)
        elif not mirror.status:
            yield Finding("mirror_unreachable", "warning", "daemon", f"The mirror {url} ({places[url]}) could not be reached ({mirror.reason}).", cure)


def _helpers(facts: Facts) -> t.Iterator[Finding]:
    for client in facts.clients:
        for place, key, program in client.helpers_missing:
            message = f"{place} names the credential helper {program} ({key}), which is not in the PATH of {client.title}: builds there fail."
            yield Finding("credential_helper_missing", "error", "client", message, f"Install {program}, or remove the key from the file.")


RULES: t.Tuple[t.Callable[[Facts], t.Iterator[Finding]], ...] = (
    _engine, _unit, _config, _restart, _daemon_proxies, _token_path, _mirrors, _builders, _clients, _elsewhere, _steps, _secrets,
    _hosts_files, _helpers,
)  # fmt: skip


def _relayed(url: str, relay: t.Sequence[str]) -> bool:
    """Whether this is the relay, which containers reach at an address of a bridge."""
    return url.partition("://")[2].rstrip("/") in relay and not all(map(_loopback, relay))


def _loopback(url: str) -> bool:
    try:
        return bool(url) and is_loopback(proxy(url if "://" in url else f"http://{url}", "proxy"))
    except ValueRefused:
        return re.search(r"(?:@|//)(?:localhost|127\.|\[::1\])", url) is not None
