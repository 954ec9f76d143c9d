# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines and files about proxies that systemd reads differently from what is meant: where, why, and what to write."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, assignments, environment_paths, ignored, unit_files
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.problems import ConfigProblem
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import environment_file

_PROXY = re.compile(r"(?:https?|no|all|ftp)_proxy$", re.IGNORECASE)
_SEVERAL = re.compile(r"[\s,;]\"?(?:https?|no|all|ftp)_proxy=", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{\w+\}|(?:^|(?<=,))\$[A-Za-z_]\w*")
_KEPT = re.compile(  # names by which people keep files that systemd shall not read
    r"~$|/\.|^\.|(?:^|[._-])(?:bak|backup|old|orig|saved?|rpm\w+|dpkg-\w+|ucf-\w+|disabled?|off|sample|example|template|tmp|swp|dist|j2)(?![a-z])|[._-]\d+$",
    re.IGNORECASE,
)
_EXAMPLE = 'Environment="HTTPS_PROXY=value" "NO_PROXY=value"'


def unread_lines(daemon: Daemon) -> t.List[ConfigProblem]:
    """All of them, in the order in which the files are read."""
    if not daemon.systemd:
        return []
    sentences = [*_outside_service(daemon), *_unknown_keys(daemon), *_words(daemon), *_environment_files(daemon), *_unread_defaults(daemon)]
    return [ConfigProblem("line_ignored_by_systemd", False, sentence) for sentence in dict.fromkeys(sentences)]


def _outside_service(daemon: Daemon) -> t.Iterator[str]:
    for path in unit_files(daemon, daemon.files):
        file = daemon.files.get(path)
        for number, why, right in environment_file.outside_service(file.contents if file else b""):
            instead = "above it" if right else f"above it, and {_EXAMPLE} instead of it"
            yield f"{path}, line {number}: systemd ignores this line ({why}): write [Service] on a line of its own {instead}."


def _unknown_keys(daemon: Daemon) -> t.Iterator[str]:
    for path in unit_files(daemon, daemon.files):
        file = daemon.files.get(path)
        for number, why, meant in environment_file.unknown_keys(file.contents if file else b""):
            yield f"{path}, line {number}: systemd ignores this line ({why}): write {_EXAMPLE if meant == 'Environment' else 'EnvironmentFile=path'}."


def unread_files(service: str, files: t.Mapping[str, File]) -> t.List[ConfigProblem]:
    """Files with proxies, beside the unit's drop-ins or in a folder of a similar name, that systemd does not read for this service."""
    folder = f"/etc/systemd/system/{service}.service.d"
    sentences = []
    for path, file in files.items():
        where, _slash, name = path.rpartition("/")
        own = where.endswith(f"/system/{service}.service.d")
        if _KEPT.search(where) or _KEPT.search(name):
            continue
        if own and not name.endswith(".conf"):
            stem = re.sub(r"\.(?:conf\.\w+|config|cnf|cfg|conf\w+|txt|service|ini|env)$", "", name)
            why, instead = "its name does not end in .conf", f"rename it to {stem}.conf"
        elif not own and name.endswith(".conf"):
            why, instead = f"it reads the drop-ins of {service}.service in {folder}", f"move it to {folder}"
        else:
            continue
        if environment_file.is_drop_in_with_a_proxy(file.contents):
            sentences.append(f"{path}: systemd does not read this file ({why}): {instead}.")
    return [ConfigProblem("file_ignored_by_systemd", False, sentence) for sentence in sentences]


def _words(daemon: Daemon) -> t.Iterator[str]:
    for one in assignments(daemon, daemon.files):
        name, place, why = one.setting.name, one.setting.place, ignored(daemon, one)
        if why and _PROXY.search(name):
            yield f"{place}: systemd ignores this line ({name}: {why}): write {one.instead or _EXAMPLE}."
        elif not why and _PROXY.search(name) and _VARIABLE.search(one.setting.value):
            variable = t.cast("re.Match[str]", _VARIABLE.search(one.setting.value))[0]
            yield f"{place}: systemd does not replace {variable} in the value of {name}: write its value."
        elif not why and _SEVERAL.search(one.setting.value):
            yield f"{place}: systemd reads all of this as the value of {name}: put each variable in its own quotes, {_EXAMPLE}."


def _environment_files(daemon: Daemon) -> t.Iterator[str]:
    """A shell's 'export', which systemd's environment files do not have."""
    for path in environment_paths(daemon, daemon.files):
        for number, name in _exports(daemon.files.get(path)):
            yield f"{path}, line {number}: systemd ignores this line ('export' before the name): write {name}=value."


def _exports(file: t.Optional[File]) -> t.Iterator[t.Tuple[int, str]]:
    for one in environment_file.environment_file("", file.contents, shell=True) if file else ():
        line = (file.contents if file else b"").splitlines()[one.line - 1]
        if _PROXY.search(one.name) and line.split()[:1] == [b"export"] and environment_file.MARK.encode() not in line:
            yield one.line, one.name


def _unread_defaults(daemon: Daemon) -> t.Iterator[str]:
    path = daemon.defaults_file
    file = daemon.files.get(path)
    if file is None or path in environment_paths(daemon, daemon.files):
        return
    found = [one for one in environment_file.environment_file(path, file.contents, shell=True) if _PROXY.search(one.name)]
    if found:
        folder = daemon.drop_in.rpartition("/")[0]
        yield (
            f"{found[0].place}: systemd ignores this line (no EnvironmentFile= of {daemon.service}.service names {path}): "
            f'write Environment="{found[0].name}=value" below [Service] in {folder}/http-proxy.conf.'
        )
