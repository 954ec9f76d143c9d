# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan the settings of the daemon from the options and the current state."""

from __future__ import annotations

import contextlib
import json
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes, File, Files
from ansible_collections.buildfleet.docker.plugins.module_utils._core.first_state import FirstState
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import engine_rules, normal_form
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import (
    MANAGER,
    Daemon,
    Start,
    assignments,
    environment_paths,
    flags,
    layers,
    next_start,
    unit_files,
    wrapped,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import environment_file
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import json_file as daemon_json
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import values as proxy
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.relay_file import listens

# daemon.json's key under "proxies", the variable, and the field of `docker info`
PROXIES = {
    "http_proxy": ("http-proxy", "HTTP_PROXY", "HttpProxy"),
    "https_proxy": ("https-proxy", "HTTPS_PROXY", "HttpsProxy"),
    "no_proxy": ("no-proxy", "NO_PROXY", "NoProxy"),
}
VARIABLES = [name for _key, upper, _field in PROXIES.values() for name in (upper, upper.lower())]
_LISTS = {"registry_mirrors": "registry-mirrors", "insecure_registries": "insecure-registries"}
SETTINGS = (*PROXIES, *_LISTS)
KEPT = ".before-buildfleet"  # beside a file of others: its contents before our first run
_CLIENT_KEYS = {"httpProxy": "http-proxy", "httpsProxy": "https-proxy", "noProxy": "no-proxy", "default": "http-proxy"}
_DROP_IN = "[Service]\nEnvironmentFile={path}\n"


class PlanRefused(Exception):
    """This cannot work, and nothing was written; a complete sentence that says what to do."""


class Wanted(t.NamedTuple):
    """The options, checked. None: not given, so left alone."""

    proxies: t.Optional[t.Dict[str, str]]  # http_proxy, https_proxy, no_proxy; '' removes
    registry_mirrors: t.Optional[t.List[str]]
    insecure_registries: t.Optional[t.List[str]]
    servers: t.Mapping[str, proxy.Proxy] = {}  # http_proxy and https_proxy, where one is given

    @property
    def asked(self) -> t.List[str]:
        given = dict.fromkeys(PROXIES, self.proxies)
        return [name for name in SETTINGS if (given[name] if name in given else getattr(self, name)) is not None]


class Effective(t.NamedTuple):
    """The effective settings, now or after the next start (credentials in clear text)."""

    proxies: t.Dict[str, str]
    registry_mirrors: t.List[str]
    insecure_registries: t.FrozenSet[str]


class Plan(t.NamedTuple):
    mechanism: str
    changes: Changes
    expected: Effective  # after the next start
    conflicts: t.List[str]
    warnings: t.List[str]
    asked: t.Sequence[str] = SETTINGS  # the settings that this run changes: no others decide anything


def wanted(options: t.Mapping[str, t.Any], engine: str, go: str, relay: bytes = b"") -> t.Tuple[Wanted, t.List[str]]:
    """The options as values that the engine accepts, and warnings; ValueRefused if it accepts none. ``relay``: the configuration of a relay on this host."""
    warnings: t.List[str] = []
    proxies: t.Optional[t.Dict[str, str]] = None
    servers: t.Dict[str, proxy.Proxy] = {}
    user, password = options.get("proxy_username") or "", options.get("proxy_password") or ""
    urls = {name: options[name] for name in ("http_proxy", "https_proxy") if options.get(name)}
    if (user or password) and not urls:
        raise proxy.ValueRefused("proxy_username, proxy_password: these need http_proxy or https_proxy, which is not set. Set the proxy's URL.")
    if urls or options.get("no_proxy") is not None:
        exceptions = proxy.no_proxy(options.get("no_proxy") or [])
        proxies = {"http_proxy": "", "https_proxy": "", "no_proxy": ",".join(exceptions)}
        for name, text in urls.items():
            found = proxy.proxy(text, name, user, password)
            if found.scheme == "socks5h" and go and not versions.has("socks5h", go):
                raise proxy.ValueRefused(
                    f"{name}: this engine is built with {go}, which does not support socks5h (Go {versions.text('socks5h')} "
                    f"and later). Write socks5://, with which the proxy resolves names too."
                )
            if proxy.is_loopback(found) and not listens(relay, found.address):
                warnings.append(
                    f"{name}: {found.address} is this host's loopback. RUN steps and docker-container builders cannot "
                    f"reach it; set an address that containers can reach."
                )
            proxies[name] = found.url()
            servers[name] = found
        if urls and "https_proxy" not in urls:
            warnings.append("https_proxy is not set: the daemon connects to Docker Hub by https, so without a proxy. Set https_proxy, usually to the same URL.")
        warnings += proxy.no_proxy_warnings(exceptions)
    mirrors = options.get("registry_mirrors")
    if mirrors is not None:
        mirrors = _once([proxy.mirror(text, engine) for text in mirrors if text])
    insecure = options.get("insecure_registries")
    if insecure is not None:
        insecure, more = _insecure([text for text in insecure if text], mirrors or [], engine)
        warnings += more
    warnings += _plain_mirrors(mirrors or [], insecure or [], engine)
    return Wanted(proxies, mirrors, insecure, servers), warnings


def _once(mirrors: t.Sequence[str]) -> t.List[str]:
    """Each mirror once, as Docker does it."""
    spelled: t.Dict[str, str] = {}
    for url in mirrors:
        spelled.setdefault(normal_form.registry_mirrors([url])[0], url)
    return list(spelled.values())


def _insecure(texts: t.Sequence[str], mirrors: t.Sequence[str], engine: str) -> t.Tuple[t.List[str], t.List[str]]:
    """The entries as the daemon and BuildKit of this engine read them, and warnings.

    The daemon removes the scheme. BuildKit accepts a registry without a scheme from 26 on; older ones need http:// for a registry
    without TLS and https:// for one with an unknown certificate, and ignore an entry with neither (seen on 20.10, 26.1, 28.5).
    """
    found: t.List[str] = []
    warnings: t.List[str] = []
    schemes = {proxy.registry_address(url): url.partition("://")[0] for url in mirrors}
    for text in texts:
        entry = proxy.insecure_registry(text)
        if proxy.has_host_bits(text):
            warnings.append(f"insecure_registries: {text} has bits set after its prefix length. Docker uses the network {entry}, so {entry} is written.")
        elif engine and "/" not in entry and not versions.has("insecure_without_scheme", engine):
            if entry in schemes:
                entry = f"{schemes[entry]}://{entry}"
            else:
                warnings.append(
                    f"insecure_registries: BuildKit of engine {engine} ignores {entry}, because it has no scheme. "
                    f"Write http://{entry} for a registry without TLS, https://{entry} for one with an unknown certificate."
                )
        found.append(entry)
    return list(dict.fromkeys(found)), warnings


def _plain_mirrors(mirrors: t.Sequence[str], insecure: t.Sequence[str], engine: str) -> t.Iterator[str]:
    """Pulls and the legacy builder always use mirrors without TLS, BuildKit only if configured (lab: 20.10, 26.1, 28.5)."""
    for url in mirrors:
        if url.startswith("http://") and not proxy.plain_mirror_works(url, insecure, engine):
            yield (
                f"registry_mirrors: BuildKit of engine {engine or '(unknown)'} does not use {url}, because it has no TLS. "
                f"Add it to insecure_registries as {url.rstrip('/')}, or install a certificate on the mirror."
            )


def mechanism(asked: str, daemon: Daemon) -> str:
    """Where to write the proxies: the engine's own file from 23.0, an environment file before."""
    modern = versions.has("daemon_json_proxies", daemon.engine)
    if asked == "auto":
        if not daemon.engine:
            raise PlanRefused(
                "There is no Docker Engine on this host: dockerd was not found. Install it first, or set the "
                "mechanism (daemon_json, systemd or sysvinit) to write its files in advance."
            )
        return "daemon_json" if modern else "systemd" if daemon.systemd else "sysvinit"
    if asked == "daemon_json" and daemon.engine and not modern:
        raise PlanRefused(
            f"mechanism: engine {daemon.engine} does not start with 'proxies' in daemon.json (supported from "
            f"{versions.text('daemon_json_proxies')}). Use mechanism: auto."
        )
    if daemon.engine and asked == ("sysvinit" if daemon.systemd else "systemd"):
        raise PlanRefused(f"mechanism: {asked}: the daemon of this host is {'' if daemon.systemd else 'not '}started by systemd. Use mechanism: auto.")
    return asked


def present(request: Wanted, daemon: Daemon, record: FirstState, asked: str, adopt: bool) -> Plan:
    """Change the files so that the options take effect, and nothing else."""
    how = mechanism(asked, daemon)
    _check_config(daemon, proxies=request.proxies is not None)
    conflicts: t.List[str] = []
    after: Files = dict(daemon.files)
    if request.proxies is not None:
        if adopt:
            conflicts += _take_over(after, daemon)
        _write_environment(after, daemon, how, request.proxies)
    _write_keys(after, daemon, how, request)
    _protect(after, daemon, record)
    changes = {path: file for path, file in after.items() if file != daemon.files.get(path)}
    start = next_start(daemon, after)
    expected = effective(daemon, after, start)
    check_start(daemon, after)
    _check_wrapper(request, daemon, how)
    _check_winners(request, daemon, after, expected, start, conflicts)
    return Plan(how, changes, expected, conflicts, [], request.asked)


def absent(daemon: Daemon, record: FirstState) -> Plan:
    """The original files from the record; in a file that others changed since, only our settings are removed."""
    if not record.paths:  # nothing of ours is left, even if others changed the files
        return Plan("", {}, running(daemon.info), [], [])
    after: Files = dict(daemon.files)
    conflicts = []
    kept: Files = {}
    for path in record.paths:
        found = after.get(path)
        if path.endswith(KEPT):  # by an undo whose restart is pending
            continue
        if record.as_we_left_it(path, found):
            after[path] = record.first(path)
        elif path in (daemon.drop_in, daemon.environment_file):
            after[path] = None
        elif found is not None:
            conflicts.append(f"{path} was changed by others since our last write, so only our settings were removed from it.")
            rest, mode = _without_ours(path, found, record), record.mode(path)
            first = record.first(path)
            taken = environment_file.lost(first.contents, rest.contents, set(VARIABLES)) if first and not _is_json(path, found.contents) else []
            if first and taken and not record.knows(path + KEPT):  # restoring it could undo the changes of others, but it must not be lost
                kept[path + KEPT] = first._replace(mode=first.mode & 0o700)
                conflicts.append(f"{path} set {', '.join(taken)} before our first run and does not now; its original contents are kept in {path}{KEPT}.")
            after[path] = rest._replace(mode=mode) if _narrowed_by_us(path, rest, record) else rest
    changes = {path: file for path, file in after.items() if path in record.paths and file != daemon.files.get(path)}
    changes.update(kept)
    start = next_start(daemon, after)
    _config_of(daemon)
    # A record of 1.0 does not contain what was asked for.
    return Plan("", changes, effective(daemon, after, start), conflicts, [], record.note("asked") or (SETTINGS if record.paths else []))


def effective(daemon: Daemon, files: Files, start: t.Optional[Start] = None) -> Effective:
    """The settings after a start with these files: file or flag before environment, capitals first (Go)."""
    start = start or next_start(daemon, files)
    given = flags(start.argv)
    config = _config(files, daemon.config_file).value
    found = config.get("proxies")
    block: t.Dict[str, t.Any] = found if isinstance(found, dict) else {}

    def texts(key: str, flag: str) -> t.List[str]:
        listed = config.get(key)
        return [str(one) for one in [*(listed if isinstance(listed, list) else []), *given.get(flag, [])]]

    proxies = {}
    for name, (key, variable, _field) in PROXIES.items():
        values = [block.get(key) if versions.has("daemon_json_proxies", daemon.engine or "99") else "", *given.get(key, [])]
        values += [start.environment[one].value for one in (variable, variable.lower()) if one in start.environment]
        proxies[name] = next((str(value) for value in values if value), "")
    return Effective(
        proxies,
        [one[:-1] for one in normal_form.registry_mirrors(texts("registry-mirrors", "registry-mirror"))],
        frozenset(texts("insecure-registries", "insecure-registry")),
    )


def running(info: t.Mapping[str, t.Any]) -> Effective:
    """What `docker info` shows, with credentials masked by the engine."""
    registries = info.get("RegistryConfig") or {}
    insecure = [name for name, index in (registries.get("IndexConfigs") or {}).items() if not index.get("Secure", True)]
    insecure += registries.get("InsecureRegistryCIDRs") or []
    return Effective(
        {name: info.get(field) or info.get(field.replace("Http", "HTTP")) or "" for name, (_key, _variable, field) in PROXIES.items()},
        [one[:-1] for one in normal_form.registry_mirrors(registries.get("Mirrors") or [])],
        normal_form.insecure_registries(insecure),
    )


def masked(one: Effective) -> Effective:
    """The same, masked as `docker info` does it."""
    return one._replace(proxies={name: value if name == "no_proxy" else normal_form.proxy_url(value) for name, value in one.proxies.items()})


def differences(found: Effective, expected: Effective, names: t.Collection[str] = SETTINGS) -> t.List[str]:
    """Which of these settings differ, regardless of their spelling."""
    ones, others = _normal(found), _normal(expected)
    return [name for name in SETTINGS if name in names and ones[name] != others[name]]


def _normal(one: Effective) -> t.Dict[str, t.Any]:
    return {
        "http_proxy": normal_form.proxy_url(one.proxies["http_proxy"]),
        "https_proxy": normal_form.proxy_url(one.proxies["https_proxy"]),
        "no_proxy": proxy.no_proxy_set(one.proxies["no_proxy"]),
        "registry_mirrors": normal_form.registry_mirrors(one.registry_mirrors),
        "insecure_registries": normal_form.insecure_registries(one.insecure_registries),
    }


def hidden(one: Effective, names: t.Collection[str] = SETTINGS) -> t.Dict[str, str]:
    """The parts of these settings that `docker info` does not show: credentials, and how BuildKit connects to insecure registries."""
    urls = [one.proxies["http_proxy"], one.proxies["https_proxy"]]
    found = {}
    if "http_proxy" in names or "https_proxy" in names:
        found["credentials"] = "\n".join(urls) if any("@" in url for url in urls) else ""
    if "insecure_registries" in names:
        texts = normal_form.insecure_registries_for_buildkit(one.insecure_registries)
        found["insecure_registries"] = "\n".join(sorted(text for text in texts if "://" in text))
    return found


def keys(files: Files, path: str) -> t.List[str]:
    """The keys at the top of daemon.json."""
    return list(_config(files, path).value)


def without_keys(files: Files, path: str, names: t.Iterable[str]) -> bytes:
    """daemon.json without these keys; every other byte as it is."""
    file = files.get(path)
    contents = file.contents if file else b"{}"
    for name in names:
        contents = daemon_json.drop(contents, path, [name])
    return contents


# --- the parts of a plan --------------------------------------------------------------------------


def _config(files: Files, path: str) -> daemon_json.Document:
    file = files.get(path)
    return daemon_json.parsed(file.contents if file else b"", path)


def _write_environment(after: Files, daemon: Daemon, how: str, proxies: t.Dict[str, str]) -> None:
    values: t.Dict[str, str] = {}
    inherited = next_start(daemon, {**after, daemon.drop_in: None}).environment
    ours = next_start(daemon, after).environment.get("NO_PROXY")
    if ours and proxy.no_proxy_set(ours.value) == proxy.no_proxy_set(proxies["no_proxy"]):
        proxies = {**proxies, "no_proxy": ours.value}  # a different order is not a change
    for name, (_key, upper, _field) in PROXIES.items():
        for variable in (upper, upper.lower()):
            # An empty value clears what another file sets: the last environment file wins.
            if proxies[name] or variable in inherited:
                values[variable] = proxies[name]
    for path in (daemon.drop_in, daemon.environment_file):
        after[path] = None
    if how == "systemd":
        if values:
            after[daemon.environment_file] = _kept(daemon, daemon.environment_file, environment_file.render(values), 0o600)
            after[daemon.drop_in] = _kept(daemon, daemon.drop_in, _DROP_IN.format(path=daemon.environment_file).encode(), 0o644)
        return
    defaults = after.get(daemon.defaults_file)
    if how == "sysvinit" or (defaults is not None and environment_file.MARK.encode() in defaults.contents):
        shown = {name: value for name, value in values.items() if value} if how == "sysvinit" else {}
        before = defaults or File(b"")
        after[daemon.defaults_file] = before._replace(contents=environment_file.with_exports(before.contents, shown))


def _kept(daemon: Daemon, path: str, contents: bytes, mode: int) -> File:
    found = daemon.files.get(path)
    return File(contents, mode) if found is None else found._replace(contents=contents)


def _write_keys(after: Files, daemon: Daemon, how: str, request: Wanted) -> None:
    path = daemon.config_file
    file = after.get(path)
    contents = file.contents if file else b""
    for option, key in _LISTS.items():
        value = getattr(request, option)
        if value is None:
            continue
        found = _config({path: File(contents)}, path).value.get(key)
        if value and not _same_list(option, found, value):
            contents = daemon_json.put(contents, path, [key], value)
        elif not value:
            contents = daemon_json.drop(contents, path, [key])
    if request.proxies is not None:
        for name, (key, _variable, _field) in PROXIES.items():
            block = _config({path: File(contents)}, path).value.get("proxies") or {}
            value = request.proxies[name] if how == "daemon_json" else ""
            if not value:
                contents = daemon_json.drop(contents, path, ["proxies", key])
            elif name != "no_proxy" or proxy.no_proxy_set(str(block.get(key, ""))) != proxy.no_proxy_set(value):
                contents = daemon_json.put(contents, path, ["proxies", key], value)
        if _config({path: File(contents)}, path).value.get("proxies") == {} and _config(daemon.files, path).value.get("proxies") != {}:
            contents = daemon_json.drop(contents, path, ["proxies"])
    if contents != (file.contents if file else b""):
        after[path] = (file or File(b""))._replace(contents=contents)


def _narrowed_by_us(path: str, file: File, record: FirstState) -> bool:
    """Whether the mode is ours and the file no longer contains a password."""
    return file.mode == record.mode(path) & 0o700 and record.left_mode(path) in (None, file.mode) and not holds_secret(path, file)


def _same_list(option: str, found: t.Any, value: t.List[str]) -> bool:
    if not isinstance(found, list):
        return False
    form: t.Callable[[t.Iterable[str]], t.Any] = (
        normal_form.insecure_registries_for_buildkit if option == "insecure_registries" else normal_form.registry_mirrors
    )
    return bool(form(map(str, found)) == form(value))


def _protect(after: Files, daemon: Daemon, record: FirstState) -> None:
    """A file that receives a password becomes unreadable for group and others; without one it gets its mode back."""
    for path in (daemon.config_file, daemon.environment_file, daemon.defaults_file):
        file = after.get(path)
        known = record.knows(path) and not replaced(path, daemon, record)
        if file is None or (file == daemon.files.get(path) and not known):
            continue
        own_mode = 0o600 if path == daemon.environment_file else record.mode(path) if known else 0
        if holds_secret(path, file):
            after[path] = file._replace(mode=file.mode & 0o700)
        elif known and file.mode == own_mode & 0o700 and record.left_mode(path) in (None, file.mode):
            after[path] = file._replace(mode=own_mode)


def holds_secret(path: str, file: File) -> bool:
    """Whether the file contains a proxy URL with a user or password."""
    return b"@" in file.contents and any("@" in url for url in _urls(path, file))


def urls(files: Files) -> t.List[str]:
    """Every proxy URL in these files, also those without effect: each may contain a password."""
    found = []
    for path, file in files.items():
        with contextlib.suppress(daemon_json.NotJson):  # it is restored as it was
            found += _urls(path, file) if file else []
        words = [one for each in environment_file.directives(file.contents if file else b"") for one in environment_file.read_assignments(each, path)]
        found += [one.setting.value for one in words if one.ignored]
    return found


def urls_on_host(daemon: Daemon) -> t.Iterator[str]:
    """Every proxy's URL that is set on this host already: their passwords are as secret as the new ones."""
    for setting in (*layers(daemon, daemon.files), *(one.setting for one in assignments(daemon, daemon.files))):
        if setting.name.upper().endswith("PROXY"):
            yield setting.value
    yield from running(daemon.info).proxies.values()  # Docker shows a login that has no scheme before it
    with contextlib.suppress(daemon_json.NotJson):  # the plan refuses the file with a sentence; masking of URLs needs no parsing
        yield from effective(daemon, daemon.files).proxies.values()


def _is_json(path: str, contents: bytes) -> bool:
    """daemon.json can have any name; environment files and units never begin with a brace."""
    return path.endswith(".json") or contents.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def _urls(path: str, file: File) -> t.List[str]:
    if _is_json(path, file.contents):
        block = daemon_json.parsed(file.contents, path).value.get("proxies")
        return [str(value) for value in block.values()] if isinstance(block, dict) else []
    settings = environment_file.environment_file(path, file.contents, shell=True)
    for directive in environment_file.directives(file.contents):
        settings += environment_file.assignments(directive, path) if directive.name == "Environment" else []
    return [one.value for one in settings if one.name.upper().endswith("PROXY")]


def _take_over(after: Files, daemon: Daemon) -> t.Iterator[str]:
    """Remove the lines of others; the record keeps them, and undo restores them."""
    for path, settings in _foreign(daemon).items():
        file = t.cast(File, after[path])
        after[path] = file._replace(contents=environment_file.without(file.contents, {one.name for one in settings}))
        yield f"{settings[0].place}: {', '.join(sorted({one.name.upper() for one in settings}))} was taken over by this run."


def _foreign(daemon: Daemon) -> t.Dict[str, t.List[environment_file.Setting]]:
    """The lines of others that set proxy variables for the daemon, by file, overridden ones included."""
    found: t.Dict[str, t.List[environment_file.Setting]] = {}
    for one in layers(daemon, {**daemon.files, daemon.drop_in: None}):
        if one.name in VARIABLES and daemon.files.get(one.path) is not None and environment_file.MARK not in _line(daemon.files, one):
            found.setdefault(one.path, []).append(one)
    return found


def _line(files: Files, setting: environment_file.Setting) -> str:
    file = files.get(setting.path)
    lines = file.contents.splitlines() if file else []
    return lines[setting.line - 1].decode(errors="replace") if 0 < setting.line <= len(lines) else ""


def _check_config(daemon: Daemon, proxies: bool) -> None:
    """Refuse a daemon.json that is not JSON, stops the engine, or, where proxies are asked for, names them where nobody reads them."""
    for problem in _json_problems(_config_of(daemon)):
        if problem.stops or proxies:
            raise PlanRefused(problem.sentence)


def _config_of(daemon: Daemon) -> daemon_json.Document:
    try:
        return _config(daemon.files, daemon.config_file)
    except daemon_json.NotJson as error:
        raise PlanRefused(str(error)) from error


def check_start(daemon: Daemon, files: Files) -> None:
    """Refuse files that would make the next start fail, by our own rules."""
    for problem in _start_problems(daemon, files, next_start(daemon, files)):
        raise PlanRefused(problem.sentence)


class ConfigProblem(t.NamedTuple):
    """A setting in daemon.json that does not do what the user expects; ``stops``: Docker does not start with it."""

    id: str
    stops: bool
    sentence: str


def config_problems(daemon: Daemon) -> t.List[ConfigProblem]:
    """All of them, in the current files."""
    try:
        document = _config(daemon.files, daemon.config_file)
    except daemon_json.NotJson as error:
        file = daemon.files.get(daemon.config_file)
        return [ConfigProblem("config_not_json", not engine_rules.reads_json(file.contents if file else b"", daemon.engine or "99"), str(error))]
    return [*_json_problems(document), *_start_problems(daemon, daemon.files, next_start(daemon, daemon.files))]


def _json_problems(document: daemon_json.Document) -> t.Iterator[ConfigProblem]:
    block = document.value.get("proxies", {})
    if not isinstance(block, dict):
        yield ConfigProblem(
            "key_stops_start",
            True,
            f"{document.place('proxies')}: 'proxies' must be an object. "
            'Write it as {"http-proxy": ..., "https-proxy": ..., "no-proxy": ...}, or remove it.',
        )
        block = {}
    for key in block:
        if key not in ("http-proxy", "https-proxy", "no-proxy"):
            client = key in _CLIENT_KEYS
            remedy = (
                f"the daemon's key is '{_CLIENT_KEYS[key]}' ('{key}' belongs in the client's ~/.docker/config.json)"
                if client
                else "the daemon reads http-proxy, https-proxy and no-proxy"
            )
            sentence = f"{document.place('proxies', key)}: Docker does not start with the key '{key}' in 'proxies': {remedy}. Remove it."
            yield ConfigProblem("client_keys_in_daemon_json" if client else "key_stops_start", True, sentence)
    for key, value in document.value.items():
        where = document.place(key)
        if key in _LISTS.values() and not (value is None or (isinstance(value, list) and all(isinstance(one, str) for one in value))):
            yield ConfigProblem("key_stops_start", True, f"{where}: '{key}' must be a list of strings. Write it as [\"...\"], or remove it.")
        if key in ("httpProxy", "httpsProxy", "noProxy", "buildkit"):
            remedy = (
                'write {"features": {"buildkit": false}}, or better set docker_build_env buildkit'
                if key == "buildkit"
                else "that key belongs in the client's ~/.docker/config.json"
            )
            sentence = f"{where}: Docker does not start with the key '{key}' at the top of daemon.json: {remedy}. Remove it."
            yield ConfigProblem("key_stops_start" if key == "buildkit" else "client_keys_in_daemon_json", True, sentence)
        if key in ("http-proxy", "https-proxy", "no-proxy"):
            sentence = f"{where}: the engine ignores '{key}' at the top of daemon.json; it belongs in 'proxies'. Remove it."
            yield ConfigProblem("top_level_proxy_ignored", False, sentence)


def _start_problems(daemon: Daemon, after: Files, start: Start) -> t.Iterator[ConfigProblem]:
    """Valid JSON that stops the next start, and that --validate misses: a key that is also a flag, an invalid mirror, a bad bip."""
    path, engine = daemon.config_file, daemon.engine
    document = _config(after, path)
    given = flags(start.argv)
    block = document.value.get("proxies")
    if engine and not versions.has("tolerates_bom", engine):
        if document.bom:
            yield ConfigProblem(
                "key_stops_start", True, f"{path}, line 1, column 1: engine {engine} does not start with a byte order mark. Save the file without it."
            )
        if document.root is None and after.get(path) is not None:
            yield ConfigProblem(
                "key_stops_start", True, f"{path}, line 1, column 1: the file is empty; engine {engine} does not start with it. Write {{}}, or remove it."
            )
    if block and engine and not versions.has("daemon_json_proxies", engine):
        known = f"(supported from {versions.text('daemon_json_proxies')}). Remove it"
        yield ConfigProblem("key_stops_start", True, f"{document.place('proxies')}: engine {engine} does not start with 'proxies' in daemon.json {known}.")
    bridge = document.value.get("bip")
    if bridge and not proxy.is_interface(str(bridge)):
        sentence = f"{document.place('bip')}: 'bip' is {str(bridge)[:40]!r}, with which Docker does not start. Write a prefix length too: 172.26.0.1/16."
        yield ConfigProblem("key_stops_start", True, sentence)
    keys = {key: (key,) for key in document.value if key != "proxies"}
    keys.update({key: ("proxies", key) for key in (block if isinstance(block, dict) else {})})
    for key, place in keys.items():
        flag = engine_rules.FLAG_OF_KEY.get(key, key)
        if key != "runtimes" and (flag in given or key in given):  # moby's config.go merges runtimes (skipDuplicates)
            sentence = (
                f"{document.place(*place)}: '{key}' is set here and by --{flag} on the command line ({_flag_place(daemon, after, flag)}), "
                f"so Docker would not start ('the following directives are specified both as a flag and in the configuration file: {key}'). Remove one of them."
            )
            yield ConfigProblem("key_stops_start", True, sentence)
    mirrors = document.value.get("registry-mirrors")
    for number, text in enumerate(mirrors if isinstance(mirrors, list) else []):
        reason = engine_rules.mirror_error(str(text), daemon.engine or "99")
        if reason:
            sentence = f"{document.place('registry-mirrors')}, entry {number + 1}: {_mirror_words(str(text), daemon.engine or '99', reason)}"
            yield ConfigProblem("mirror_refused" if "://" in str(text) else "mirror_without_scheme", True, sentence)


def _mirror_words(text: str, engine: str, reason: str) -> str:
    """Our own sentence about a mirror, which says what to do; else the engine's reason."""
    try:
        proxy.mirror(text, engine)
    except proxy.ValueRefused as error:
        return str(error)
    return f"Docker does not start with the mirror {text!r}: {reason}. Write https://host or https://host:port."


def _flag_place(daemon: Daemon, files: Files, flag: str) -> str:
    """The file and line that put this flag on the command line."""
    written = re.compile(rf"(?<![\w-])(?:--?{re.escape(flag)}{'|-H' if flag == 'host' else ''})(?![\w-])")
    for path in [daemon.defaults_file, *environment_paths(daemon, files), *reversed(unit_files(daemon, files))]:
        file = files.get(path)
        for number, line in enumerate(file.contents.decode(errors="replace").splitlines() if file else [], 1):
            if written.search(line) and not line.lstrip().startswith("#"):
                return f"{path}, line {number}"
    return daemon.fragment or daemon.defaults_file


def unknown_start(daemon: Daemon) -> bool:
    """Whether another program starts the daemon and no file changed since: then only the daemon itself knows its settings."""
    return bool(daemon.up and wrapped(daemon, daemon.files)) and not any(at > daemon.started for at in daemon.changed.values())


def _check_wrapper(request: Wanted, daemon: Daemon, how: str) -> None:
    """Refuse what a program that starts the daemon would override: a proxy that it exports, or a flag for a list that is also in daemon.json."""
    if not unknown_start(daemon):
        return
    now, ours = _normal(running(daemon.info)), _normal(masked(effective(daemon, daemon.files)))
    for name in request.asked:
        if now[name] and now[name] != ours[name] and (how == "systemd" or name in _LISTS):
            program = wrapped(daemon, daemon.files)
            raise PlanRefused(
                f"{name}: {_start_place(daemon)} starts {program}, which sets another {name} than the files of this host, and would override this option. "
                f"Remove it from {program}, then restart {daemon.service}."
            )


def _start_place(daemon: Daemon) -> str:
    found = daemon.fragment or daemon.defaults_file
    for path in unit_files(daemon, daemon.files):
        for one in environment_file.directives(t.cast(File, daemon.files[path]).contents):
            found = f"{path}, line {one.line}" if one.name == "ExecStart" and one.value else found
    return found


def _check_winners(request: Wanted, daemon: Daemon, after: Files, expected: Effective, start: Start, conflicts: t.List[str]) -> None:
    if request.proxies is None:
        return
    given = flags(start.argv)
    for name, (key, variable, _field) in PROXIES.items():
        won = expected.proxies[name]
        same = proxy.no_proxy_set(won) == proxy.no_proxy_set(request.proxies[name]) if name == "no_proxy" else won == request.proxies[name]
        winner = start.environment.get(variable) or start.environment.get(variable.lower())
        if not same and key in given:
            raise PlanRefused(f"{name}: {_flag_place(daemon, after, key)} has --{key} on the command line, which would override this option. Remove it there.")
        if not same and winner:
            raise PlanRefused(
                f"{name}: {winner.place} sets {variable}, which would override this option. "
                + (
                    f"Remove it from DefaultEnvironment= in /etc/systemd/system.conf, then: systemctl unset-environment {variable} {variable.lower()}."
                    if winner.path == MANAGER
                    else "Remove it there."
                    if winner not in layers(daemon, after)
                    else "Remove it there, or set adopt: true to take it over (the record keeps it, and state: absent restores it)."
                )
            )
        if winner and winner.path != daemon.environment_file and environment_file.MARK not in _line(after, winner):
            conflicts.append(f"{winner.place} sets {variable} too; {daemon.config_file} overrides it.")


def replaced(path: str, daemon: Daemon, record: FirstState) -> bool:
    """Whether others replaced our file: it contains nothing of ours, so undo has to restore it."""
    found = daemon.files.get(path)
    if not record.knows(path) or record.as_we_left_it(path, found) or path in (daemon.drop_in, daemon.environment_file):
        return False
    return found is None or _without_ours(path, found, record) == found


def _without_ours(path: str, found: File, record: FirstState) -> File:
    if environment_file.MARK.encode() in found.contents:
        return found._replace(contents=environment_file.with_exports(found.contents, {}))
    if not _is_json(path, found.contents):
        return found
    contents = found.contents
    first = record.first(path)
    before = daemon_json.parsed(first.contents if first else b"", path).value
    for keys in [["proxies", key] for key, _variable, _field in PROXIES.values()] + [[key] for key in _LISTS.values()]:
        value = json.loads(json.dumps(record.note("written") or {})).get("/".join(keys))
        now: t.Any = daemon_json.parsed(contents, path).value
        old: t.Any = before
        for key in keys:
            now = now.get(key) if isinstance(now, dict) else None
            old = old.get(key) if isinstance(old, dict) else None
        if now is None or value is None or record.fingerprint(json.dumps(now)) != value:
            continue
        contents = daemon_json.drop(contents, path, keys) if old is None else daemon_json.put(contents, path, keys, old)
    if daemon_json.parsed(contents, path).value.get("proxies") == {} and before.get("proxies") != {}:
        contents = daemon_json.drop(contents, path, ["proxies"])
    return found._replace(contents=contents)


def written(record: FirstState, daemon: Daemon, plan: Plan) -> t.Dict[str, str]:
    """Fingerprints of our values in daemon.json, by which undo recognises them."""
    file = plan.changes.get(daemon.config_file, daemon.files.get(daemon.config_file))
    value = daemon_json.parsed(file.contents if file else b"", daemon.config_file).value
    block = value.get("proxies") or {}
    names = {*plan.asked, *(record.note("asked") or ())}
    ours = {f"proxies/{key}": block[key] for name, (key, _variable, _field) in PROXIES.items() if name in names and key in block}
    ours.update({key: value[key] for name, key in _LISTS.items() if name in names and key in value})
    return {name: record.fingerprint(json.dumps(one)) for name, one in ours.items()}
