# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The daemon's settings: those of its files, those that it runs with, where they differ, and those that wait for a restart."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Files
from ansible_collections.buildfleet.docker.plugins.module_utils._core.first_state import FirstState
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import normal_form
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, Start, config, flags, next_start
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import no_proxy_set

# daemon.json's key under "proxies", the variable, and the field of `docker info`
PROXIES = {
    "http_proxy": ("http-proxy", "HTTP_PROXY", "HttpProxy"),
    "https_proxy": ("https-proxy", "HTTPS_PROXY", "HttpsProxy"),
    "no_proxy": ("no-proxy", "NO_PROXY", "NoProxy"),
}
LISTS = {"registry_mirrors": "registry-mirrors", "insecure_registries": "insecure-registries"}
SETTINGS = (*PROXIES, *LISTS)
RELAY_FILE = "/etc/buildfleet-relay.conf"  # of the role proxy_relay


class Effective(t.NamedTuple):
    """The effective settings, now or after the next start (credentials in clear text)."""

    proxies: t.Dict[str, str]
    registry_mirrors: t.List[str]
    insecure_registries: t.FrozenSet[str]


def effective(daemon: Daemon, files: Files, start: t.Optional[Start] = None) -> Effective:
    """The settings after a start with these files: file or flag before environment, capitals first (Go)."""
    start = start or next_start(daemon, files)
    given = flags(start.argv)
    document = config(files, daemon.config_file).value
    written = document.get("proxies")
    block: t.Dict[str, t.Any] = written if isinstance(written, dict) else {}

    def texts(key: str, flag: str) -> t.List[str]:
        listed = document.get(key)
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


def differences(one: Effective, expected: Effective, names: t.Collection[str] = SETTINGS) -> t.List[str]:
    """Which of these settings differ, regardless of their spelling."""
    ones, others = normal(one), normal(expected)
    return [name for name in SETTINGS if name in names and ones[name] != others[name]]


def normal(one: Effective) -> t.Dict[str, t.Any]:
    return {
        "http_proxy": normal_form.proxy_url(one.proxies["http_proxy"]),
        "https_proxy": normal_form.proxy_url(one.proxies["https_proxy"]),
        "no_proxy": no_proxy_set(one.proxies["no_proxy"]),
        "registry_mirrors": normal_form.registry_mirrors(one.registry_mirrors),
        "insecure_registries": normal_form.insecure_registries(one.insecure_registries),
    }


def hidden(one: Effective, names: t.Collection[str] = SETTINGS) -> t.Dict[str, str]:
    """The parts of these settings that `docker info` does not show: credentials, and how BuildKit connects to insecure registries."""
    urls = [one.proxies["http_proxy"], one.proxies["https_proxy"]]
    parts = {}
    if "http_proxy" in names or "https_proxy" in names:
        parts["credentials"] = "\n".join(urls) if any("@" in url for url in urls) else ""
    if "insecure_registries" in names:
        texts = normal_form.insecure_registries_for_buildkit(one.insecure_registries)
        parts["insecure_registries"] = "\n".join(sorted(text for text in texts if "://" in text))
    return parts


# --- those that wait for a restart ---------------------------------------------------------------


def not_effective(daemon: Daemon, record: FirstState, expected: Effective, asked: t.Collection[str] = SETTINGS, writes: bool = False) -> t.List[str]:
    """The settings that the daemon does not use yet: by `docker info`, else by our notes about its start. ``writes``: this run changes a file."""
    names = {*asked, *unstarted(daemon, record)}
    return differences(running(daemon.info), expected, names) or _hidden_changes(daemon, record, hidden(expected, names), writes)


def unstarted(daemon: Daemon, record: FirstState) -> t.List[str]:
    """The settings that earlier runs wrote and that the daemon has not started with."""
    noted = record.note("unstarted") or {"at": 0, "settings": []}
    return noted["settings"] if noted["at"] > daemon.started else []


def note_start(daemon: Daemon, record: FirstState, expected: Effective) -> None:
    """Keep keyed digests of the settings that the daemon started with and that `docker info` hides."""
    digests = {part: record.fingerprint(text) for part, text in hidden(expected).items()}
    record.put_note("started", {"pid": daemon.pid, "at": round(daemon.started, 1), **digests})
    record.put_note("unstarted", None)


def _hidden_changes(daemon: Daemon, record: FirstState, parts: t.Mapping[str, str], writes: bool) -> t.List[str]:
    """Settings that differ from those at the daemon's start although `docker info` shows no difference."""
    noted = record.note("started") or {}
    known = noted.get("pid") == daemon.pid and abs(noted.get("at", 0) - daemon.started) < 2
    carriers = [path for path in (daemon.config_file, daemon.environment_file, daemon.defaults_file) if path in daemon.changed]
    written = writes or any(daemon.changed[path] > daemon.started for path in carriers)
    return [part for part, text in parts.items() if (noted[part] != record.fingerprint(text) if known and part in noted else bool(text) and written)]
