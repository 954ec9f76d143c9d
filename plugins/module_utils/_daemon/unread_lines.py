# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines and files about proxies that systemd reads differently from what is meant: where, why, and what to write."""

from __future__ import annotations

import difflib
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon, assignments, environment_paths, ignored, unit_files
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.problems import ConfigProblem
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import environment_file

_PROXY = re.compile(r"(?:https?|no|all|ftp)_proxy$", re.IGNORECASE)
_SEVERAL = re.compile(r"[\s,;]\"?(?:https?|no|all|ftp)_proxy=", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{\w+\}|(?:^|(?<=,))\$[A-Za-z_]\w*")
_KEPT = re.compile(  # names by which people keep files that systemd must not read
    r"~$|/\.|^\.|(?:^|[._-])(?:bak|backup|old|orig|saved?|rpm\w+|dpkg-\w+|ucf-\w+|disabled?|off|sample|example|template|tmp|swp|dist|j2)(?![a-z])|[._-]\d+$",
    re.IGNORECASE,
)
_ASSIGNS_A_PROXY = re.compile(r"(?<![\w-])(?:https?|no|all|ftp)_proxy\s*[=:]", re.IGNORECASE)
_MAY_ASSIGN = re.compile(  # keys whose values may contain such words
    r"(?:Pass|Unset)?Environment$|Exec[A-Z]\w*$|X-|(?:Condition|Assert)Environment$|Description$|Documentation$"
    r"|(?:Load|Set|Import)Credential\w*$|LogExtraFields$|StandardInput\w+$|Bind\w*Paths$|\w+Directory$"
)
_VARIABLES = ("environment", "environmentfile")
_KEYS_OF_VARIABLES = ("Environment", "EnvironmentFile", "PassEnvironment", "UnsetEnvironment")
_SIMILAR = 0.8
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
        for number, why, right in _lines_outside_service(file.contents if file else b""):
            instead = "above it" if right else f"above it, and {_EXAMPLE} instead of it"
            yield f"{path}, line {number}: systemd ignores this line ({why}): write [Service] on a line of its own {instead}."


def _unknown_keys(daemon: Daemon) -> t.Iterator[str]:
    for path in unit_files(daemon, daemon.files):
        file = daemon.files.get(path)
        for number, why, meant in _lines_with_unknown_keys(file.contents if file else b""):
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
        if _is_drop_in_with_a_proxy(file.contents):
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


# --- one text ---------------------------------------------------------------------------------------


def _lines_outside_service(contents: bytes) -> t.List[t.Tuple[int, str, bool]]:
    """Lines with Environment= or a proxy that systemd ignores because of their section: the number, why, and whether they are right otherwise."""
    outside: t.List[t.Tuple[int, str, bool]] = []
    section = ""
    end = environment_file.broken_section(contents)
    for number, line in environment_file.logical_lines(contents, unit=True):
        text = line.strip()
        broken = end if number >= end else 0
        if text.startswith("["):
            section = text
        right = re.search(r"(?:^|[\s\]])Environment\s*=", text) is not None
        if section.startswith("[X-") or not (right or _assigns_a_proxy(text)):
            continue
        if broken:
            later = f"line {broken} is not a section header, so the file ends there"
            outside.append((number, "it is on the line of its section" if number == broken else later, right))
        elif section != "[Service]":
            outside.append((number, f"it is in {section}" if section else "there is no section before it", right))
    return outside


def _assigns_a_proxy(text: str) -> bool:
    """Whether a line of a unit sets a proxy in a way that cannot be meant as a command, a condition or a description."""
    return _ASSIGNS_A_PROXY.search(text) is not None and not _MAY_ASSIGN.match(text.partition("=")[0].strip())


def _lines_with_unknown_keys(contents: bytes) -> t.List[t.Tuple[int, str, str]]:
    """Lines of [Service] that systemd ignores, and that are about variables or proxies: the number, why, and the key that was meant."""
    unknown: t.List[t.Tuple[int, str, str]] = []
    section = ""
    for number, line in environment_file.logical_lines(contents, unit=True):
        text = line.strip()
        if text.startswith("["):
            section = text
            if not text.endswith("]"):
                break
        elif section == "[Service]":
            key, equals, _value = text.partition("=")
            key = key.strip()
            meant = difflib.get_close_matches(key.lower(), _VARIABLES, 1, _SIMILAR) if key not in _KEYS_OF_VARIABLES else []
            if meant or _assigns_a_proxy(text):
                shown = re.split(r"(?<=:)|\s", key)[0] if ":" in key or "@" in key else key  # the rest may be a password
                why = f"systemd has no key {shown!r}" if equals else "a line without '='"
                unknown.append((number, why, "EnvironmentFile" if meant == ["environmentfile"] else "Environment"))
    return unknown


def _is_drop_in_with_a_proxy(contents: bytes) -> bool:
    """Whether a text is meant as a drop-in that sets a proxy; an environment file has no section."""
    lines = [line for _number, line in environment_file.logical_lines(contents, unit=True)]
    return any(re.match(r"\s*\[Service\]", line, re.IGNORECASE) for line in lines) and any(map(_ASSIGNS_A_PROXY.search, lines))
