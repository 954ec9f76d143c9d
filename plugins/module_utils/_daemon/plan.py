# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plan the settings of the daemon from the options and the current state."""

from __future__ import annotations

import contextlib
import json
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes, File, Files
from ansible_collections.buildfleet.docker.plugins.module_utils._core.first_state import FirstState
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import normal_form, problems, settings
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import (
    MANAGER,
    Daemon,
    PlanRefused,
    Start,
    assignments,
    cancelled_by,
    config,
    flags,
    layers,
    next_start,
    unit_files,
    unknown_start,
    wrapped,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import environment_file
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import json_file as daemon_json
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import values as proxy

VARIABLES = [name for _key, upper, _field in settings.PROXIES.values() for name in (upper, upper.lower())]
KEPT = ".before-buildfleet"  # beside a file of others: its contents before our first run
_DROP_IN = "[Service]\nEnvironmentFile={path}\n"


class Wanted(t.NamedTuple):
    """The options, checked. None: not given, so left alone."""

    proxies: t.Optional[t.Dict[str, str]]  # http_proxy, https_proxy, no_proxy; '' removes
    registry_mirrors: t.Optional[t.List[str]]
    insecure_registries: t.Optional[t.List[str]]
    servers: t.Mapping[str, proxy.Proxy] = {}  # http_proxy and https_proxy, where one is given

    @property
    def asked(self) -> t.List[str]:
        given = dict.fromkeys(settings.PROXIES, self.proxies)
        return [name for name in settings.SETTINGS if (given[name] if name in given else getattr(self, name)) is not None]


class Plan(t.NamedTuple):
    mechanism: str
    changes: Changes
    expected: settings.Effective  # after the next start
    conflicts: t.List[str]
    warnings: t.List[str]
    asked: t.Sequence[str] = settings.SETTINGS  # the settings that this run changes: no others decide anything


def wanted(options: t.Mapping[str, t.Any], engine: str, go: str, relay: bytes = b"") -> t.Tuple[Wanted, t.List[str]]:
    """The options as values that the engine accepts, and warnings; ValueRefused if it accepts none. ``relay``: the configuration of a relay on this host."""
    warnings: t.List[str] = []
    proxies: t.Optional[t.Dict[str, str]] = None
    servers: t.Dict[str, proxy.Proxy] = {}
    user, password = options.get("proxy_username") or "", options.get("proxy_password") or ""
    given = {name: options[name] for name in ("http_proxy", "https_proxy") if options.get(name)}
    if (user or password) and not given:
        raise proxy.ValueRefused("proxy_username, proxy_password: these need http_proxy or https_proxy, which is not set. Set the proxy's URL.")
    if given or options.get("no_proxy") is not None:
        exceptions = proxy.no_proxy(options.get("no_proxy") or [])
        proxies = {"http_proxy": "", "https_proxy": "", "no_proxy": ",".join(exceptions)}
        for name, text in given.items():
            server = proxy.proxy(text, name, user, password)
            if server.scheme == "socks5h" and go and not versions.has("socks5h", go):
                raise proxy.ValueRefused(
                    f"{name}: this engine is built with {go}, which does not support socks5h (Go {versions.text('socks5h')} "
                    f"and later). Write socks5://, with which the proxy resolves names too."
                )
            if proxy.is_loopback(server) and not _relay_listens(relay, server.address):
                warnings.append(
                    f"{name}: {server.address} is this host's loopback. RUN steps and docker-container builders cannot "
                    f"reach it; set an address that containers can reach."
                )
            proxies[name] = server.url()
            servers[name] = server
        if given and "https_proxy" not in given:
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


def _relay_listens(contents: bytes, address: str) -> bool:
    """Whether the relay with this configuration listens at host:port; containers then reach it at another address."""
    return f"http_port {address}".encode() in contents.splitlines()


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
    entries: t.List[str] = []
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
        entries.append(entry)
    return list(dict.fromkeys(entries)), warnings


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
    problems.check_config(daemon, proxies=request.proxies is not None)
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
    expected = settings.effective(daemon, after, start)
    problems.check_start(daemon, after)
    _check_wrapper(request, daemon, how)
    _check_winners(request, daemon, after, expected, start, conflicts)
    return Plan(how, changes, expected, conflicts, [], request.asked)


def absent(daemon: Daemon, record: FirstState) -> Plan:
    """The original files from the record; in a file that others changed since, only our settings are removed."""
    if not record.paths:  # nothing of ours is left, even if others changed the files
        return Plan("", {}, settings.running(daemon.info), [], [])
    after: Files = dict(daemon.files)
    conflicts = []
    kept: Files = {}
    for path in record.paths:
        current = after.get(path)
        if path.endswith(KEPT):  # by an undo whose restart is pending
            continue
        if record.as_we_left_it(path, current):
            after[path] = record.first(path)
        elif path in (daemon.drop_in, daemon.environment_file):
            after[path] = None
        elif current is not None:
            conflicts.append(f"{path} was changed by others since our last write, so only our settings were removed from it.")
            rest, mode = _without_ours(path, current, record), record.mode(path)
            first = record.first(path)
            taken = environment_file.lost(first.contents, rest.contents, set(VARIABLES)) if first and not _is_json(path, current.contents) else []
            if first and taken and not record.knows(path + KEPT):  # restoring it could undo the changes of others, but it must not be lost
                kept[path + KEPT] = first._replace(mode=first.mode & 0o700)
                conflicts.append(f"{path} set {', '.join(taken)} before our first run and does not now; its original contents are kept in {path}{KEPT}.")
            after[path] = rest._replace(mode=mode) if _narrowed_by_us(path, rest, record) else rest
    changes = {path: file for path, file in after.items() if path in record.paths and file != daemon.files.get(path)}
    changes.update(kept)
    start = next_start(daemon, after)
    problems.parsed_config(daemon)
    # A record of 1.0 does not contain what was asked for.
    return Plan("", changes, settings.effective(daemon, after, start), conflicts, [], record.note("asked") or (settings.SETTINGS if record.paths else []))


# --- the parts of a plan --------------------------------------------------------------------------


def _write_environment(after: Files, daemon: Daemon, how: str, proxies: t.Dict[str, str]) -> None:
    values: t.Dict[str, str] = {}
    inherited = next_start(daemon, {**after, daemon.drop_in: None}).environment
    ours = next_start(daemon, after).environment.get("NO_PROXY")
    if ours and proxy.no_proxy_set(ours.value) == proxy.no_proxy_set(proxies["no_proxy"]):
        proxies = {**proxies, "no_proxy": ours.value}  # a different order is not a change
    for name, (_key, upper, _field) in settings.PROXIES.items():
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
    current = daemon.files.get(path)
    return File(contents, mode) if current is None else current._replace(contents=contents)


def _write_keys(after: Files, daemon: Daemon, how: str, request: Wanted) -> None:
    path = daemon.config_file
    file = after.get(path)
    contents = file.contents if file else b""
    for option, key in settings.LISTS.items():
        value = getattr(request, option)
        if value is None:
            continue
        present_value = config({path: File(contents)}, path).value.get(key)
        if value and not _same_list(option, present_value, value):
            contents = daemon_json.put(contents, path, [key], value)
        elif not value:
            contents = daemon_json.drop(contents, path, [key])
    if request.proxies is not None:
        for name, (key, _variable, _field) in settings.PROXIES.items():
            block = config({path: File(contents)}, path).value.get("proxies") or {}
            value = request.proxies[name] if how == "daemon_json" else ""
            if not value:
                contents = daemon_json.drop(contents, path, ["proxies", key])
            elif name != "no_proxy" or proxy.no_proxy_set(str(block.get(key, ""))) != proxy.no_proxy_set(value):
                contents = daemon_json.put(contents, path, ["proxies", key], value)
        if config({path: File(contents)}, path).value.get("proxies") == {} and config(daemon.files, path).value.get("proxies") != {}:
            contents = daemon_json.drop(contents, path, ["proxies"])
    if contents != (file.contents if file else b""):
        after[path] = (file or File(b""))._replace(contents=contents)


def _narrowed_by_us(path: str, file: File, record: FirstState) -> bool:
    """Whether the mode is ours and the file no longer contains a password."""
    return file.mode == record.mode(path) & 0o700 and record.left_mode(path) in (None, file.mode) and not holds_secret(path, file)


def _same_list(option: str, current: t.Any, value: t.List[str]) -> bool:
    if not isinstance(current, list):
        return False
    form: t.Callable[[t.Iterable[str]], t.Any] = (
        normal_form.insecure_registries_for_buildkit if option == "insecure_registries" else normal_form.registry_mirrors
    )
    return bool(form(map(str, current)) == form(value))


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
        elif known and file.mode == own_mode & 0o700 and (record.left_mode(path) in (None, file.mode) or _is_of_a_killed_run(path, daemon, record)):
            after[path] = file._replace(mode=own_mode)


def _is_of_a_killed_run(path: str, daemon: Daemon, record: FirstState) -> bool:
    """Whether our last write was killed, so that the file has the mode of the one before."""
    found = daemon.files.get(path)
    return found is not None and record.is_our_mode(path, found)


def holds_secret(path: str, file: File) -> bool:
    """Whether the file contains a proxy URL with a user or password."""
    return b"@" in file.contents and any("@" in url for url in _urls(path, file))


def urls(files: Files) -> t.List[str]:
    """Every proxy URL in these files, also those without effect: each may contain a password."""
    texts = []
    for path, file in files.items():
        with contextlib.suppress(daemon_json.NotJson):  # it is restored as it was
            texts += _urls(path, file) if file else []
        words = [one for each in environment_file.directives(file.contents if file else b"") for one in environment_file.read_assignments(each, path)]
        texts += [one.setting.value for one in words if one.ignored]
    return texts


def urls_on_host(daemon: Daemon) -> t.Iterator[str]:
    """Every proxy's URL that is set on this host already: their passwords are as secret as the new ones."""
    for setting in (*layers(daemon, daemon.files), *(one.setting for one in assignments(daemon, daemon.files))):
        if setting.name.upper().endswith("PROXY"):
            yield setting.value
    yield from settings.running(daemon.info).proxies.values()  # Docker shows a login that has no scheme before it
    with contextlib.suppress(daemon_json.NotJson):  # the plan refuses the file with a sentence; masking of URLs needs no parsing
        yield from settings.effective(daemon, daemon.files).proxies.values()


def _is_json(path: str, contents: bytes) -> bool:
    """daemon.json can have any name; environment files and units never begin with a brace."""
    return path.endswith(".json") or contents.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def _urls(path: str, file: File) -> t.List[str]:
    if _is_json(path, file.contents):
        block = daemon_json.parsed(file.contents, path).value.get("proxies")
        return [str(value) for value in block.values()] if isinstance(block, dict) else []
    variables = environment_file.environment_file(path, file.contents, shell=True)
    for directive in environment_file.directives(file.contents):
        variables += environment_file.assignments(directive, path) if directive.name == "Environment" else []
    return [one.value for one in variables if one.name.upper().endswith("PROXY")]


def _take_over(after: Files, daemon: Daemon) -> t.Iterator[str]:
    """Remove the lines of others; the record keeps them, and undo restores them."""
    for path, lines in _foreign(daemon).items():
        file = t.cast(File, after[path])
        after[path] = file._replace(contents=environment_file.without(file.contents, {one.name for one in lines}))
        yield f"{lines[0].place}: {', '.join(sorted({one.name.upper() for one in lines}))} was taken over by this run."


def _foreign(daemon: Daemon) -> t.Dict[str, t.List[environment_file.Setting]]:
    """The lines of others that set proxy variables for the daemon, by file, overridden ones included."""
    lines: t.Dict[str, t.List[environment_file.Setting]] = {}
    for one in layers(daemon, {**daemon.files, daemon.drop_in: None}):
        if one.name in VARIABLES and daemon.files.get(one.path) is not None and environment_file.MARK not in _line(daemon.files, one):
            lines.setdefault(one.path, []).append(one)
    return lines


def _line(files: Files, setting: environment_file.Setting) -> str:
    file = files.get(setting.path)
    lines = file.contents.splitlines() if file else []
    return lines[setting.line - 1].decode(errors="replace") if 0 < setting.line <= len(lines) else ""


def _check_wrapper(request: Wanted, daemon: Daemon, how: str) -> None:
    """Refuse what a program that starts the daemon would override: a proxy that it exports, or a flag for a list that is also in daemon.json."""
    if not unknown_start(daemon):
        return
    now, ours = settings.normal(settings.running(daemon.info)), settings.normal(settings.masked(settings.effective(daemon, daemon.files)))
    for name in request.asked:
        if now[name] and now[name] != ours[name] and (how == "systemd" or name in settings.LISTS):
            program = wrapped(daemon, daemon.files)
            raise PlanRefused(
                f"{name}: {_start_place(daemon)} starts {program}, which sets another {name} than the files of this host, and would override this option. "
                f"Remove it from {program}, then restart {daemon.service}."
            )


def _start_place(daemon: Daemon) -> str:
    place = daemon.fragment or daemon.defaults_file
    for path in unit_files(daemon, daemon.files):
        for one in environment_file.directives(t.cast(File, daemon.files[path]).contents):
            place = f"{path}, line {one.line}" if one.name == "ExecStart" and one.value else place
    return place


def _check_winners(request: Wanted, daemon: Daemon, after: Files, expected: settings.Effective, start: Start, conflicts: t.List[str]) -> None:
    if request.proxies is None:
        return
    given = flags(start.argv)
    for name, (key, variable, _field) in settings.PROXIES.items():
        won = expected.proxies[name]
        same = proxy.no_proxy_set(won) == proxy.no_proxy_set(request.proxies[name]) if name == "no_proxy" else won == request.proxies[name]
        winner = start.environment.get(variable) or start.environment.get(variable.lower())
        if not same and key in given:
            raise PlanRefused(
                f"{name}: {problems.flag_place(daemon, after, key)} has --{key} on the command line, which would override this option. Remove it there."
            )
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
        cancelled = "" if same or winner else cancelled_by(daemon, after, variable)
        if cancelled:
            raise PlanRefused(f"{name}: {cancelled} takes from Docker what {daemon.environment_file} sets. Remove that line.")
        if winner and winner.path != daemon.environment_file and environment_file.MARK not in _line(after, winner):
            conflicts.append(f"{winner.place} sets {variable} too; {daemon.config_file} overrides it.")


def replaced(path: str, daemon: Daemon, record: FirstState) -> bool:
    """Whether others replaced our file: it contains nothing of ours, so undo has to restore it."""
    current = daemon.files.get(path)
    if not record.knows(path) or record.as_we_left_it(path, current) or path in (daemon.drop_in, daemon.environment_file):
        return False
    return current is None or _without_ours(path, current, record) == current


def _without_ours(path: str, current: File, record: FirstState) -> File:
    if environment_file.MARK.encode() in current.contents:
        return current._replace(contents=environment_file.with_exports(current.contents, {}))
    if not _is_json(path, current.contents):
        return current
    contents = current.contents
    first = record.first(path)
    before = daemon_json.parsed(first.contents if first else b"", path).value
    for keys in [["proxies", key] for key, _variable, _field in settings.PROXIES.values()] + [[key] for key in settings.LISTS.values()]:
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
    return current._replace(contents=contents)


def written(record: FirstState, daemon: Daemon, plan: Plan) -> t.Dict[str, str]:
    """Fingerprints of our values in daemon.json, by which undo recognises them."""
    file = plan.changes.get(daemon.config_file, daemon.files.get(daemon.config_file))
    value = daemon_json.parsed(file.contents if file else b"", daemon.config_file).value
    block = value.get("proxies") or {}
    names = {*plan.asked, *(record.note("asked") or ())}
    ours = {f"proxies/{key}": block[key] for name, (key, _variable, _field) in settings.PROXIES.items() if name in names and key in block}
    ours.update({key: value[key] for name, key in settings.LISTS.items() if name in names and key in value})
    return {name: record.fingerprint(json.dumps(one)) for name, one in ours.items()}
