# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the current state: the engine, its unit, its files and the settings that it runs with."""

from __future__ import annotations

import os
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Files
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import unsupported
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import (
    MANAGER,
    Daemon,
    Loaded,
    corrections,
    environment_patterns,
    flags,
    is_pattern,
    matches,
    next_start,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import environment_file
from ansible_collections.buildfleet.docker.plugins.module_utils._host import systemd
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host

CONFIG_FILE = "/etc/docker/daemon.json"
UNIT_FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_PROPERTIES = ("LoadState", "ActiveState", "FragmentPath", "DropInPaths", "MainPID", "NeedDaemonReload", "Environment", "EnvironmentFiles", "ExecStart")


def observe(host: Host, service: str, config_file: t.Optional[str]) -> Daemon:
    runs_systemd = host.exists("/run/systemd/system")
    unit, shown = _show(host, service) if runs_systemd else ({}, None)
    version = {} if _asleep(host, service, unit) else host.engine_api("/version") or {}
    info = host.engine_api("/info", timeout=30) if version else None
    traces = set(filter(host.exists, unsupported.traces(host.names("/run/user"))))
    drop_ins = _drop_ins(host, service) if runs_systemd else ()
    fragment = unit.get("FragmentPath", "")
    files: Files = {path: host.read(path) for path in (fragment, *drop_ins) if path}
    reload_needed = _changed(host, unit) or not _loaded(drop_ins, unit)
    daemon = Daemon(
        service=service,
        engine=version.get("Version", "") or _program_version(host),
        go=version.get("GoVersion", ""),
        info=info or {},
        systemd=runs_systemd and unit.get("LoadState", "not-found") != "not-found",
        state=unit.get("ActiveState", "active" if version else "inactive"),
        pid=int(unit.get("MainPID") or 0) or pid_file(host, service),
        started=0,
        fragment=fragment,
        drop_ins=drop_ins,
        reload_needed=reload_needed,
        config_file="",
        files=files,
        changed={},
        inherited=_inherited(host) if runs_systemd else (),
        unsupported=unsupported.unsupported_reason(version, info or {}, runs_systemd, traces, host.read(unsupported.KERNEL)),
        loaded=None if reload_needed else shown,
    )
    daemon = daemon._replace(corrections=corrections(daemon))
    for path in (daemon.drop_in, daemon.environment_file, daemon.defaults_file):
        files.setdefault(path, host.read(path))
    for path in _environment_files(host, daemon):
        files.setdefault(path, host.read(path))
    config = config_file or flags(next_start(daemon, files).argv).get("config-file", [CONFIG_FILE])[-1]
    files.setdefault(config, host.read(config))
    return daemon._replace(
        config_file=config,
        started=started_at(host, daemon.pid),
        changed={path: host.changed_at(path) for path, file in files.items() if file is not None},
    )


def _environment_files(host: Host, daemon: Daemon) -> t.Iterator[str]:
    """The paths that may be environment files of the unit."""
    for pattern in environment_patterns(daemon, daemon.files):
        folder = pattern.rpartition("/")[0]
        names = (f"{folder}/{name}" for name in host.names(folder)) if is_pattern(pattern) else ()
        yield from (path for path in names if matches(path, pattern))
        if not is_pattern(pattern):
            yield pattern


def _show(host: Host, service: str) -> t.Tuple[t.Dict[str, str], t.Optional[Loaded]]:
    unit = systemd.show(host, f"{service}.service", *_PROPERTIES)
    if "Environment" not in unit or unit.get("LoadState") != "loaded":
        return unit, None
    words = (_plain(word) for word in re.findall(r'"(?:[^"\\]|\\.)*"|[^\s"]+', unit["Environment"]))
    files = tuple(re.sub(r" \(ignore_errors=(?:yes|no)\)$", "", value) for value in unit.get("EnvironmentFiles", "").splitlines() if value)
    commands = unit.get("ExecStart", "").splitlines()
    found = re.search(r"argv\[\]=(.*?) ; ignore_errors=", commands[-1]) if commands else None
    return unit, Loaded(dict(t.cast(t.Tuple[str, str], word.split("=", 1)) for word in words if "=" in word), files, found[1] if found else "")


def _plain(word: str) -> str:
    """A word as systemctl show quotes it."""
    return re.sub(r"\\(.)", r"\1", word[1:-1]) if word.startswith('"') else word


def _asleep(host: Host, service: str, unit: t.Mapping[str, str]) -> bool:
    """Whether systemd listens on the socket of a stopped daemon: a request would start it."""
    if unit.get("ActiveState") not in ("inactive", "failed", "activating"):
        return False
    return systemd.show(host, f"{service}.socket", "SubState").get("SubState") == "listening"


def _changed(host: Host, unit: t.Mapping[str, str]) -> bool:
    """Whether systemd reports that files of the unit changed; because of a folder among them it does so after each reload too."""
    return unit.get("NeedDaemonReload") == "yes" and not any(map(host.is_folder, unit.get("DropInPaths", "").split()))


def _loaded(drop_ins: t.Sequence[str], unit: t.Mapping[str, str]) -> bool:
    """Whether systemd has loaded these; systemd 252 reports that no reload is needed if the folder itself is new."""
    known = {path.rpartition("/")[2] for path in unit.get("DropInPaths", "").split()}
    return "DropInPaths" not in unit or {path.rpartition("/")[2] for path in drop_ins} <= known


def _drop_ins(host: Host, service: str) -> t.Tuple[str, ...]:
    found: t.Dict[str, str] = {}
    for folder in UNIT_FOLDERS:
        for kind in (f"{service}.service.d", "service.d"):
            for name in host.names(f"{folder}/{kind}"):
                if name.endswith(".conf") and not host.is_folder(f"{folder}/{kind}/{name}"):  # systemd ignores a folder
                    found.setdefault(name, f"{folder}/{kind}/{name}")
    return tuple(found[name] for name in sorted(found))


def _program_version(host: Host) -> str:
    found = re.search(r"version ([0-9][^,\s]*)", host.run(["dockerd", "--version"]).out)
    return found[1] if found else ""


def _inherited(host: Host) -> t.Tuple[environment_file.Setting, ...]:
    pairs = (line.partition("=") for line in host.run(["systemctl", "show-environment"]).out.splitlines())
    return tuple(environment_file.Setting(name, value, MANAGER, 0) for name, _equals, value in pairs if name.upper().endswith("_PROXY"))


def pid_file(host: Host, service: str) -> int:
    file = host.read(f"/run/{service}.pid")
    text = file.contents.strip() if file else b""
    return int(text) if text.isdigit() else 0


def started_at(host: Host, pid: int) -> float:
    """When a process started, in seconds since the epoch; 0 if it does not exist."""
    stat, uptime = host.read(f"/proc/{pid}/stat") if pid else None, host.read("/proc/uptime")
    if not stat or not uptime:
        return 0.0
    ticks = int(stat.contents.rpartition(b")")[2].split()[19])
    return host.now() - float(uptime.contents.split()[0]) + ticks / os.sysconf("SC_CLK_TCK")
