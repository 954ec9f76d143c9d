# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is already broken on a host before a run: a unit that systemd refuses, a daemon that failed. Checked before anything is written."""

from __future__ import annotations

import contextlib
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Changes, Files
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon import engine_rules
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import (
    Daemon,
    config,
    environment_paths,
    flags,
    next_start,
    unit_files,
    without_flags,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.problems import config_problems
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.json_file import NotJson
from ansible_collections.buildfleet.docker.plugins.module_utils._host import systemd
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host

_OUR_SOCKETS = ("fd://", "unix:///run/docker.sock", "unix:///var/run/docker.sock")
_DEPENDENCIES = ("Requires", "Requisite", "BindsTo")
_START_COMMANDS = ("ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost")
_NOT_EXECUTABLE = re.compile(r"Command (\S+) is not executable")
_IGNORED = re.compile(r"ignoring|is dropped|is deprecated")
_CONDITIONS = ("Condition", "Assert")
_COMMAND = re.compile(r"path=(\S+) ; argv\[\]=(.*?) ; ignore_errors=no ; .*code=(exited|killed|dumped) ; status=(\S+)")
_STARTING = ("start-pre", "start", "start-post")
_PATIENCE = 10.0  # seconds to wait for a daemon that is starting
_OF_DOCKERD = re.compile(r"unable to configure|failed to (?:start|create)|level=fatal|level=error")
_LAST_START = re.compile(r"^Started |Main process exited|Failed with result '(?!start-limit-hit)")
# A line of another form is from another program: an unknown flag of dockerd, or a command before it.
_OF_A_PROGRAM = re.compile(
    r"(?!\s|$|\S+\.\w+: |(?:Start|Stopp|Reload|Finish)(?:ing|ed) |Failed to start |time=|Status: |Usage:|A self-sufficient)(?!.*(?:--help|level=))"
)
_OF_SYSTEMD = re.compile(r"Failed at step|Failed to load environment|Dependency failed|not found|Refusing|start(?:-pre|-post)? operation timed out")
_ENDED = re.compile(r"process exited|Failed with result '(?!start-limit)")
_OF_AN_OLD_DOCKERD = re.compile(r"Status: ")  # 20.10 writes so about its command line
_KINDS_OF_MESSAGES = (_OF_DOCKERD.search, _OF_SYSTEMD.search, _OF_A_PROGRAM.match, _OF_AN_OLD_DOCKERD.match, _ENDED.search)


class Problem(t.NamedTuple):
    """What is wrong, with file and line if known, and how to fix it."""

    sentence: str
    cure: str

    @property
    def text(self) -> str:
        return f"{self.sentence} {self.cure}"

    @property
    def refusal(self) -> str:
        return f"{self.sentence} Nothing was written. {self.cure} Then run this again."


class Command(t.NamedTuple):
    """One Exec...= line of the unit."""

    name: str
    program: str
    place: str


def wait_for_start(host: Host, daemon: Daemon) -> bool:
    """Wait a moment for a daemon that is starting; False if its state must be read again."""
    if daemon.up or not daemon.systemd or daemon.state != "activating":
        return True
    until = host.now() + _PATIENCE
    while host.now() < until and _property(host, f"{daemon.service}.service", "SubState") in _STARTING:
        host.sleep(0.5)
    return False


def broken(host: Host, daemon: Daemon, changes: Changes, due: bool) -> t.Optional[Problem]:
    """Why this run must not write: no start could succeed; None if one can, or if our change or start is the fix."""
    if not daemon.engine or (daemon.up and not due and not changes):
        return None
    problem = unit_problem(host, daemon)
    if problem is None:
        problem = down_problem(host, daemon)
        if problem and (_repairs(host, daemon, changes) or _started_too_often(host, daemon)):
            return None
    return problem


def unit_problem(host: Host, daemon: Daemon) -> t.Optional[Problem]:
    """Why systemd would refuse to start the unit with its current files: systemd-analyze reads them again."""
    of_another = _of_another(host, daemon)
    if of_another or not daemon.systemd:
        return of_another
    unit = f"{daemon.service}.service"
    verified = host.run(["systemd-analyze", "verify", "--man=no", unit], timeout=30)
    lines = [line for line in verified.text.splitlines() if line.startswith(f"{unit}: ")] or verified.text.splitlines()[-1:]
    lines = [line for line in lines if _stops_a_start(daemon, line)]
    if verified.code in (0, 124, 127) or not lines:
        return _refused_when_loaded(host, unit) or _missing_environment_file(daemon) or _old_command(daemon)
    message = lines[0].replace(f"{unit}: ", "", 1)
    missing = re.search(r"Unit (\S+) (not found|is masked)", message)
    if message == f"Unit {unit} is masked.":
        return _masked(unit)
    if "more than one ExecStart=" in message:
        place = [daemon.fragment, *(one.place for one in _commands(daemon) if one.name == "ExecStart")][-1]
        sentence = f"{place}: this is a second ExecStart= of {unit}, so systemd does not start it."
        cure = f"Write a line 'ExecStart=' without a value before it, or remove it; then: systemctl daemon-reload, systemctl start {daemon.service}."
    elif missing:
        place = _place(daemon, rf"(?:{'|'.join(_DEPENDENCIES)})\s*=.*(?<![^\s=]){re.escape(missing[1])}(?!\S)") or f"A dependency of {unit}"
        is_what = "is not on this host" if missing[2] == "not found" else "is masked"
        sentence = f"{place}: {unit} requires {missing[1]}, which {is_what}, so systemd does not start it."
        mend = "install the package that provides it" if missing[2] == "not found" else f"run: systemctl unmask {missing[1]}"
        cure = f"Remove it from that line or {mend}, then: systemctl daemon-reload, systemctl start {daemon.service}."
    elif _NOT_EXECUTABLE.search(message):
        named = ((one.name, one.place) for one in _naming(daemon, message) if one.name in _START_COMMANDS)
        name, place = next(named, ("ExecStart", daemon.fragment))
        sentence = f"{place}: {name}= of {unit} names a program that cannot be executed."
        remedy = "Write the path of the engine's dockerd there" if name == "ExecStart" else "Remove that line or install the program"
        cure = f"{remedy}, then: systemctl daemon-reload, systemctl start {daemon.service}."
    else:
        sentence = f"systemd does not start {unit} ({', '.join(unit_files(daemon, daemon.files))})."
        cure = f"Correct the unit, then: systemctl daemon-reload, systemctl start {daemon.service}."
    return Problem(f"{sentence} systemd's message: {message.rstrip('.')}.", cure)


def down_problem(host: Host, daemon: Daemon) -> t.Optional[Problem]:
    """Why a daemon that should run does not answer; None if it answers, or was stopped on purpose."""
    if daemon.up or not daemon.engine:
        return None
    unit = f"{daemon.service}.service"
    start = f"systemctl start {daemon.service}" if daemon.systemd else f"service {daemon.service} start"
    if daemon.state == "active":
        return _deaf(daemon)
    if daemon.systemd and daemon.state == "inactive":
        failed, unmet = _failed_dependency(host, unit), _unmet_condition(host, daemon)
        if unmet and failed.endswith(".socket"):  # it failed because each connection tried to start the unit
            return unmet
        why = f"Docker does not run: {unit} requires {failed}, which failed."
        repair = f"Repair {failed} (systemctl status {failed} says why it failed), then: {start}."
        return Problem(why, repair) if failed else unmet
    if daemon.state not in ("failed", "activating"):
        return None
    if _started_too_often(host, daemon):
        why = f"Docker does not run: {unit} was restarted too often in a short time (start-limit-hit), and its last start was good."
        return Problem(why, f"Run: systemctl reset-failed {unit}, {start}.")
    faults = config_faults(host, daemon)
    faults = faults or list(_failed_commands(host, daemon))
    message = "" if faults else last_message(host, daemon)
    because = faults[0] if faults else f"Its log says: {message}{_places(daemon, message)}" if message else f"journalctl -u {daemon.service} may say why."
    starting = daemon.state == "activating" and _property(host, unit, "SubState") in _STARTING
    if starting and not faults:
        return Problem(
            f"Docker is starting and does not answer yet ({unit} is activating).",
            f"Wait until 'docker version' answers; journalctl -u {daemon.service} shows what it waits for.",
        )
    return Problem(f"Docker does not run ({unit} is {daemon.state}). {because.rstrip('.')}.", f"Repair that, start Docker ({start}).")


def validation_error(host: Host, daemon: Daemon, files: Files) -> str:
    """The engine's own error about these files, with the unit's real flags; it reads the file from a pipe."""
    file = files.get(daemon.config_file)
    if file is None:
        return ""
    document = config(files, daemon.config_file)
    if not versions.has("validate", daemon.engine):
        keys = engine_rules.unknown_keys(document, host.run(["dockerd", "--help"]).text) if daemon.engine else []
        message = engine_rules.unknown_keys_error(keys)
    else:
        argv = without_flags(next_start(daemon, files).argv, ("config-file",))
        if not argv:
            return ""
        done = host.run([*argv, "--validate", "--config-file", "/dev/stdin"], stdin=file.contents.decode(errors="replace"))
        message = "" if done.code in (0, 127) else done.text.replace("/dev/stdin", daemon.config_file)
    places = engine_rules.places(message, document)
    return f"{message} ({places})" if places else message


def config_faults(host: Host, daemon: Daemon) -> t.List[str]:
    """Why the engine does not start with its daemon.json, by our rules and by the engine's own message."""
    faults = [one.sentence for one in config_problems(daemon) if one.stops]
    if not faults:
        with contextlib.suppress(NotJson):  # which the engine reads although we do not
            message = validation_error(host, daemon, daemon.files)
            faults = [f"{daemon.config_file}: {message}."] if message else []
    return faults or _storage_faults(host, daemon)


def _storage_faults(host: Host, daemon: Daemon) -> t.List[str]:
    """A storage driver on a file system that it cannot use, which neither --validate nor a trial start in a folder of its own can tell."""
    with contextlib.suppress(NotJson):
        document = config(daemon.files, daemon.config_file)
        driver, folder = engine_rules.storage(document.value)
        system = _file_system(host, folder) if driver else ""
        if system and not engine_rules.storage_works(driver, system):
            sentence = f"{document.place('storage-driver')}: Docker does not start with storage-driver '{driver}', since {folder} is "
            if driver in engine_rules.OVERLAYS:
                return [f"{sentence}on a file system that it cannot use ({system}). Remove the key, or set data-root to a folder on another file system."]
            return [f"{sentence}not on a {driver} file system ({system}). Remove the key, or mount {driver} there."]
    return []


def _file_system(host: Host, folder: str) -> str:
    """The file system of a folder, or of the one in which it would be created; '' if unknown."""
    while folder:
        shown = host.run(["stat", "-f", "-c", "%T", folder])
        if shown.code == 0:
            return "" if shown.out.startswith("UNKNOWN") else shown.out.strip()
        folder = folder.rpartition("/")[0]
    return ""


def not_restarted_for_undo(host: Host, daemon: Daemon, changes: Changes) -> str:
    """Why undo does not restart a running daemon: the original files stopped it from starting before our first run, too."""
    faults = config_faults(host, daemon._replace(files={**daemon.files, **changes})) if daemon.up else []
    return f"Docker was not restarted and keeps our settings until its next start, as it does not start with the original files: {faults[0]}" if faults else ""


def _failed_commands(host: Host, daemon: Daemon) -> t.Iterator[str]:
    """Commands before and after the daemon that failed at the last start: the log does not name them."""
    for name in ("ExecStartPre", "ExecStartPost") if daemon.systemd else ():
        for line in _property(host, f"{daemon.service}.service", name).splitlines():
            ended = _COMMAND.search(line)
            if ended and ended[4].partition("/")[0] != "0":
                place = next((one.place for one in _commands(daemon) if (one.name, one.program) == (name, ended[1])), daemon.fragment)
                yield f"{place}: {name}={ended[2]} failed ({ended[3]}, status {ended[4]})"


def left_down(daemon: Daemon) -> str:
    """What to tell the user if the daemon does not answer and no start was tried; '' if it answers."""
    if daemon.up or not daemon.engine:
        return ""
    if daemon.state == "active":
        return "Docker runs, but does not answer on /run/docker.sock, so its current settings are unknown."
    start = f"systemctl start {daemon.service}" if daemon.systemd else f"service {daemon.service} start"
    return f"Docker does not run ({daemon.service} is {daemon.state}) and was not started: the new settings take effect at its next start ({start})."


def last_message(host: Host, daemon: Daemon) -> str:
    """The last message of the daemon, or of systemd about it, on a start that failed."""
    if daemon.systemd:
        last = _property(host, f"{daemon.service}.service", "InvocationID")  # an earlier start may have failed for what was repaired since
        text = _journal(host, daemon, *([f"_SYSTEMD_INVOCATION_ID={last}", "+", f"INVOCATION_ID={last}"] if last else []))
    else:
        file = host.read(f"/var/log/{daemon.service}.log")
        text = file.contents.decode(errors="replace")[-20_000:] if file else ""
    lines = text.splitlines()
    for matches in _KINDS_OF_MESSAGES if daemon.systemd else _KINDS_OF_MESSAGES[:2]:
        messages = [line for line in lines if matches(line)]
        if messages:
            return messages[-1].strip()
    return ""


def _journal(host: Host, daemon: Daemon, *fields: str) -> str:
    return host.run(["journalctl", *(fields or ("-u", f"{daemon.service}.service")), "-o", "cat", "--no-pager", "-n", "100"]).out


def _started_too_often(host: Host, daemon: Daemon) -> bool:
    """Whether systemd does not start the unit for the number of its starts alone: the last one that it did was good."""
    if not daemon.systemd or _property(host, f"{daemon.service}.service", "Result") != "start-limit-hit":
        return False
    starts = [line for line in _journal(host, daemon).splitlines() if _LAST_START.search(line)]
    return bool(starts) and starts[-1].startswith("Started ")


def _places(daemon: Daemon, message: str) -> str:
    """Where the values in the daemon's message are set: in daemon.json, or on its command line."""
    with contextlib.suppress(NotJson):
        document = config(daemon.files, daemon.config_file)
        places = engine_rules.places(message, document) or _command_line_place(daemon, message)
        return f" ({places})" if places else ""
    return ""


def _command_line_place(daemon: Daemon, message: str) -> str:
    for word in next_start(daemon, daemon.files).argv[1:]:
        flag, _equals, value = word.partition("=")
        value = flag if flag.startswith("--") and flag in message.split() else value or word
        place = _line_with(daemon, value) if len(value) > 3 and value in message else ""
        if place:
            return f"'{value}' is in {place}"
    return ""


def _line_with(daemon: Daemon, text: str) -> str:
    """The line of the unit, a drop-in or an environment file that contains this part of the command line."""
    paths = dict.fromkeys((*reversed(unit_files(daemon, daemon.files)), *environment_paths(daemon, daemon.files), daemon.defaults_file))
    files = ((path, file) for path, file in ((path, daemon.files.get(path)) for path in paths) if file)
    lines = ((f"{path}, line {number}", line) for path, file in files for number, line in enumerate(file.contents.decode(errors="replace").splitlines(), 1))
    return next((place for place, line in lines if text in line and not line.lstrip().startswith(("#", ";"))), "")


def _repairs(host: Host, daemon: Daemon, changes: Changes) -> bool:
    """Whether daemon.json stops the engine now but not after the planned change: then our change is the fix."""
    return bool(changes and config_faults(host, daemon) and not config_faults(host, daemon._replace(files={**daemon.files, **changes})))


def _of_another(host: Host, daemon: Daemon) -> t.Optional[Problem]:
    """A daemon that answers although its unit does not run: another unit or a person started it, and a restart of the unit would fail."""
    if not daemon.up or daemon.state not in ("inactive", "failed"):
        return None
    groups = host.read(f"/proc/{daemon.pid}/cgroup") if daemon.pid else None
    found = re.search(r"/([^/\n]+)\.service$", groups.contents.decode(errors="replace"), re.MULTILINE) if groups else None
    why = f"The daemon that answers on /run/docker.sock does not belong to {daemon.service}.service, which is {daemon.state}"
    if found and found[1] != daemon.service:
        return Problem(f"{why}, but to {found[1]}.service.", f"Set service: {found[1]}.")
    return Problem(f"{why}: something other than systemd started it.", f"End that daemon, start Docker as a service (systemctl start {daemon.service}).")


def _deaf(daemon: Daemon) -> t.Optional[Problem]:
    """A daemon that listens on other addresses only; the restart decision handles one that is slow or hangs."""
    argv, command = next_start(daemon, daemon.files).argv, _last_start(daemon)
    if command and not daemon.pid and not without_flags(argv, ()):
        return Problem(
            f"{command.place}: ExecStart= of {daemon.service}.service starts {command.program} and not dockerd, and Docker does not answer.",
            f"Write the path of the engine's dockerd there, then: systemctl daemon-reload, systemctl restart {daemon.service}.",
        )
    given = flags(argv).get("host", [])
    with contextlib.suppress(NotJson):
        listed = config(daemon.files, daemon.config_file).value.get("hosts")
        given = [*given, *map(str, listed if isinstance(listed, list) else [])]
    if not given or any(address in _OUR_SOCKETS for address in given):
        return None
    return Problem(
        f"Docker listens only on {', '.join(given)} and does not answer on /run/docker.sock, so no change could be verified.",
        "Add unix:///run/docker.sock to its addresses (-H on the command line, or 'hosts' in daemon.json) and restart it.",
    )


def _refused_when_loaded(host: Host, unit: str) -> t.Optional[Problem]:
    """What systemd found when it last loaded the unit, if it cannot be verified."""
    state = _property(host, unit, "LoadState")
    if state == "masked":
        return _masked(unit)
    if state in ("bad-setting", "error"):
        return Problem(f"systemd does not start {unit} ({state}).", f"Correct what systemctl status {unit} names, then: systemctl daemon-reload.")
    return None


def _unmet_condition(host: Host, daemon: Daemon) -> t.Optional[Problem]:
    """A condition of the unit that prevented its last start: systemd reports that as a success."""
    shown = systemd.show(host, f"{daemon.service}.service", *(f"{kind}{name}" for kind in _CONDITIONS for name in ("Result", "TimestampMonotonic")))
    unmet = [kind for kind in _CONDITIONS if shown.get(f"{kind}Result") == "no" and shown.get(f"{kind}TimestampMonotonic") not in (None, "", "0")]
    places = [f"{place} ({line})" for place, line in _lines(daemon) if any(re.match(rf"{kind}\w+\s*=\s*\S", line) for kind in unmet)]
    if not places:
        return None
    return Problem(
        f"systemd does not start {daemon.service}.service, because a condition of it is not met: {', '.join(places)}.",
        f"Make the condition true or remove the line, then: systemctl daemon-reload, systemctl start {daemon.service}.",
    )


def _masked(unit: str) -> Problem:
    return Problem(f"{unit} is masked, so systemd does not start it.", f"Run: systemctl unmask {unit}.")


def _missing_environment_file(daemon: Daemon) -> t.Optional[Problem]:
    """A missing file of an EnvironmentFile= without '-': systemd accepts the unit when it verifies it, and does not start it."""
    needed: t.List[t.Tuple[str, str]] = []
    for place, line in _lines(daemon):
        directive = re.match(r"EnvironmentFile\s*=\s*(.*)", line)
        if directive:
            needed = [*needed, (place, directive[1])] if directive[1] else []
    for place, path in needed:
        if path != daemon.environment_file and path in daemon.files and daemon.files[path] is None and not path.startswith("-"):
            return Problem(
                f"{place}: EnvironmentFile= of {daemon.service}.service names {path}, which does not exist, so systemd does not start it.",
                f"Write a '-' before the path, or create the file; then: systemctl daemon-reload, systemctl start {daemon.service}.",
            )
    return None


def _old_command(daemon: Daemon) -> t.Optional[Problem]:
    """The daemon as a command of the client, as it was before dockerd: the client of today waits for the socket, or refuses."""
    command = _last_start(daemon)
    if command is None or command.program.rpartition("/")[2] != "docker":
        return None
    return Problem(
        f"{command.place}: ExecStart= of {daemon.service}.service starts the daemon as a command of {command.program}, "
        f"which engine {daemon.engine} does not have.",
        f"Write /usr/bin/dockerd instead, then: systemctl daemon-reload, systemctl start {daemon.service}.",
    )


def _last_start(daemon: Daemon) -> t.Optional[Command]:
    return next((one for one in reversed(_commands(daemon)) if one.name == "ExecStart"), None)


def _failed_dependency(host: Host, unit: str) -> str:
    names = " ".join(_property(host, unit, name) for name in _DEPENDENCIES).split()
    names.sort(key=lambda name: (name.endswith(".socket"), name))  # the socket fails too when another dependency prevents a start
    return next((name for name in names if _property(host, name, "ActiveState") == "failed"), "")


def _property(host: Host, unit: str, name: str) -> str:
    return systemd.show(host, unit, name).get(name, "")


def _stops_a_start(daemon: Daemon, line: str) -> bool:
    """Whether systemd does not start a unit of which it says this: not for what it ignores, nor for a missing program that only stops or reloads."""
    if _IGNORED.search(line):
        return False
    named = _naming(daemon, line)
    return not named or any(one.name in _START_COMMANDS for one in named)


def _naming(daemon: Daemon, line: str) -> t.List[Command]:
    """The commands of the unit whose program systemd cannot execute."""
    program = _NOT_EXECUTABLE.search(line)
    return [one for one in _commands(daemon) if program and one.program == program[1]]


def _commands(daemon: Daemon) -> t.List[Command]:
    """The unit's Exec...= lines; an empty one cancels those of its name before it."""
    commands: t.List[Command] = []
    for place, line in _lines(daemon):
        directive = re.match(r"(Exec\w+)\s*=\s*[-@:+!|]*(\S*)", line)
        if directive and directive[2]:
            commands.append(Command(directive[1], directive[2].strip("\"'"), place))
        elif directive:
            commands = [one for one in commands if one.name != directive[1]]
    return commands


def _place(daemon: Daemon, pattern: str) -> str:
    return next((place for place, line in _lines(daemon) if re.match(pattern, line)), "")


def _lines(daemon: Daemon) -> t.Iterator[t.Tuple[str, str]]:
    for path in unit_files(daemon, daemon.files):
        file = daemon.files.get(path)
        for number, line in enumerate(file.contents.decode(errors="replace").splitlines() if file else [], 1):
            yield f"{path}, line {number}", line.strip()
