# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What in the daemon's files stops its next start, or does not do what the user expects."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Files
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import engine_rules
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import (
    Daemon,
    PlanRefused,
    Start,
    config,
    environment_paths,
    flags,
    next_start,
    unit_files,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.json_file import Document, NotJson
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy import values as proxy

_CLIENT_KEYS = {"httpProxy": "http-proxy", "httpsProxy": "https-proxy", "noProxy": "no-proxy", "default": "http-proxy"}
# The keys of settings.PROXIES and settings.LISTS; an import would send that file with proxy_ca too.
_PROXY_KEYS = ("http-proxy", "https-proxy", "no-proxy")
_LISTS = ("registry-mirrors", "insecure-registries")


class ConfigProblem(t.NamedTuple):
    """A setting in daemon.json that does not do what the user expects; ``stops``: Docker does not start with it."""

    id: str
    stops: bool
    sentence: str


def config_problems(daemon: Daemon) -> t.List[ConfigProblem]:
    """All of them, in the current files."""
    try:
        document = config(daemon.files, daemon.config_file)
    except NotJson as error:
        file = daemon.files.get(daemon.config_file)
        return [ConfigProblem("config_not_json", not engine_rules.reads_json(file.contents if file else b"", daemon.engine or "99"), str(error))]
    return [*_json_problems(document), *_start_problems(daemon, daemon.files, next_start(daemon, daemon.files))]


def check_start(daemon: Daemon, files: Files) -> None:
    """Refuse files that would make the next start fail, by our own rules."""
    for problem in _start_problems(daemon, files, next_start(daemon, files)):
        raise PlanRefused(problem.sentence)


def check_config(daemon: Daemon, proxies: bool) -> None:
    """Refuse a daemon.json that is not JSON, stops the engine, or, where proxies are asked for, names them where nobody reads them."""
    for problem in _json_problems(parsed_config(daemon)):
        if problem.stops or proxies:
            raise PlanRefused(problem.sentence)


def parsed_config(daemon: Daemon) -> Document:
    try:
        return config(daemon.files, daemon.config_file)
    except NotJson as error:
        raise PlanRefused(str(error)) from error


def _json_problems(document: Document) -> t.Iterator[ConfigProblem]:
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
        if key not in _PROXY_KEYS:
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
        if key in _LISTS and not (value is None or (isinstance(value, list) and all(isinstance(one, str) for one in value))):
            yield ConfigProblem("key_stops_start", True, f"{where}: '{key}' must be a list of strings. Write it as [\"...\"], or remove it.")
        if key in ("httpProxy", "httpsProxy", "noProxy", "buildkit"):
            remedy = (
                'write {"features": {"buildkit": false}}, or better set docker_build_env buildkit'
                if key == "buildkit"
                else "that key belongs in the client's ~/.docker/config.json"
            )
            sentence = f"{where}: Docker does not start with the key '{key}' at the top of daemon.json: {remedy}. Remove it."
            yield ConfigProblem("key_stops_start" if key == "buildkit" else "client_keys_in_daemon_json", True, sentence)
        if key in _PROXY_KEYS:
            sentence = f"{where}: the engine ignores '{key}' at the top of daemon.json; it belongs in 'proxies'. Remove it."
            yield ConfigProblem("top_level_proxy_ignored", False, sentence)


def _start_problems(daemon: Daemon, after: Files, start: Start) -> t.Iterator[ConfigProblem]:
    """Valid JSON that stops the next start, and that --validate misses: a key that is also a flag, an invalid mirror, a bad bip."""
    path, engine = daemon.config_file, daemon.engine
    document = config(after, path)
    given = flags(start.argv)
    block = document.value.get("proxies")
    if engine and not versions.has("tolerates_bom", engine):
        if document.bom:
            yield ConfigProblem(
                "key_stops_start", True, f"{path}, line 1, column 1: engine {engine} does not start with a byte order mark. Save the file without it."
            )
        if document.empty and after.get(path) is not None:
            remedy = "Write {}, or remove it."
            if "config-file" in given:  # the engine does not start without a file that this flag names, and it may name a device
                remedy = f"Let --config-file ({flag_place(daemon, after, 'config-file')}) name a file that contains {{}}, or remove the flag."
            yield ConfigProblem("key_stops_start", True, f"{path}, line 1, column 1: the file is empty; engine {engine} does not start with it. {remedy}")
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
                f"{document.place(*place)}: '{key}' is set here and by --{flag} on the command line ({flag_place(daemon, after, flag)}), "
                f"so Docker would not start ('the following directives are specified both as a flag and in the configuration file: {key}'). Remove one of them."
            )
            if not _contains(config(daemon.files, path).value, place):
                sentence = (
                    f"{flag_place(daemon, after, flag)}: --{flag} on the command line sets '{key}', and Docker would not start if {path} set it too "
                    f"('the following directives are specified both as a flag and in the configuration file: {key}'). Remove the flag there."
                )
            yield ConfigProblem("key_stops_start", True, sentence)
    mirrors = document.value.get("registry-mirrors")
    for number, text in enumerate(mirrors if isinstance(mirrors, list) else []):
        reason = engine_rules.mirror_error(str(text), daemon.engine or "99")
        if reason:
            sentence = f"{document.place('registry-mirrors')}, entry {number + 1}: {_mirror_words(str(text), daemon.engine or '99', reason)}"
            yield ConfigProblem("mirror_refused" if "://" in str(text) else "mirror_without_scheme", True, sentence)


def _contains(value: t.Any, keys: t.Sequence[str]) -> bool:
    for key in keys:
        if not isinstance(value, dict) or key not in value:
            return False
        value = value[key]
    return True


def _mirror_words(text: str, engine: str, reason: str) -> str:
    """Our own sentence about a mirror, which says what to do; else the engine's reason."""
    try:
        proxy.mirror(text, engine)
    except proxy.ValueRefused as error:
        return str(error)
    return f"Docker does not start with the mirror {text!r}: {reason}. Write https://host or https://host:port."


def flag_place(daemon: Daemon, files: Files, flag: str) -> str:
    """The file and line that put this flag on the command line."""
    written = re.compile(rf"(?<![\w-])(?:--?{re.escape(flag)}{'|-H' if flag == 'host' else ''})(?![\w-])")
    for path in [daemon.defaults_file, *environment_paths(daemon, files), *reversed(unit_files(daemon, files))]:
        file = files.get(path)
        for number, line in enumerate(file.contents.decode(errors="replace").splitlines() if file else [], 1):
            if written.search(line) and not line.lstrip().startswith("#"):
                return f"{path}, line {number}"
    return daemon.fragment or daemon.defaults_file
