# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A docker service as a value, and the settings of its next start according to its files."""

from __future__ import annotations

import fnmatch
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import Files
from ansible_collections.buildfleet.docker.plugins.module_utils._formats import environment_file
from ansible_collections.buildfleet.docker.plugins.module_utils._formats.json_file import Document, parsed

_SHORT_FLAGS = {
    "H": "host", "D": "debug", "l": "log-level", "p": "pidfile", "b": "bridge", "G": "group", "g": "data-root", "s": "storage-driver",
}  # fmt: skip
_DOCKERD = re.compile(r"(?:\S*/)?dockerd[\w.-]*\Z")
_SHELLS = ("sh", "bash", "dash")
MANAGER = "systemd's own environment (systemctl show-environment)"


class PlanRefused(Exception):
    """This cannot work, and nothing was written; a complete sentence that says what to do."""


class Loaded(t.NamedTuple):
    """The unit as systemd has loaded it, which is what its next start uses (systemctl show)."""

    environment: t.Dict[str, str]
    environment_files: t.Tuple[str, ...]
    command: str  # of ExecStart, its words joined by spaces


class Daemon(t.NamedTuple):
    """A docker service as the run found it."""

    service: str
    engine: str  # version, '' without an engine
    go: str
    info: t.Dict[str, t.Any]  # GET /info; {} if the daemon does not answer
    systemd: bool
    state: str  # systemd's ActiveState, or 'active' / 'inactive'
    pid: int
    started: float  # seconds since the epoch, 0 if it does not run
    fragment: str  # the unit file, '' if there is none
    drop_ins: t.Tuple[str, ...]
    reload_needed: bool
    config_file: str
    files: Files  # every file that can set something, by path
    changed: t.Dict[str, float]  # when each file last changed
    inherited: t.Tuple[environment_file.Setting, ...] = ()  # proxy variables that systemd gives every service
    unsupported: str = ""  # why this module cannot configure the engine, and what to do; '' for an ordinary engine
    loaded: t.Optional[Loaded] = None  # None if systemd has not loaded the current files
    # Words of Environment= that systemd reads differently from us, by path, name and text: systemd's value; None: it ignores the word
    corrections: t.Mapping[t.Tuple[str, str, str], t.Optional[str]] = {}

    @property
    def drop_in(self) -> str:
        return f"/etc/systemd/system/{self.service}.service.d/zz-buildfleet.conf"

    @property
    def environment_file(self) -> str:
        return f"/etc/systemd/system/{self.service}.service.d/zz-buildfleet.env"

    @property
    def defaults_file(self) -> str:
        return f"/etc/default/{self.service}"

    @property
    def up(self) -> bool:
        return bool(self.info)


class Start(t.NamedTuple):
    """What the next start of the daemon gets from these files."""

    environment: t.Dict[str, environment_file.Setting]
    argv: t.List[str]


def environment_paths(daemon: Daemon, files: Files) -> t.List[str]:
    """The environment files that the unit reads, in order; of a pattern, those that exist."""
    return [path for pattern in environment_patterns(daemon, files) for path in _matching(pattern, files)]


def environment_patterns(daemon: Daemon, files: Files) -> t.List[str]:
    """The values of EnvironmentFile= as systemd lists them; only ours can appear or disappear."""
    read = _read_patterns(daemon, files)
    if not daemon.loaded:
        return read
    others = [path for path in daemon.loaded.environment_files if path != daemon.environment_file]
    if [path for path in read if path != daemon.environment_file] == others:
        return read  # a drop-in whose name sorts after ours may name a file
    return [*others, *([daemon.environment_file] if files.get(daemon.drop_in) is not None else [])]


def _read_patterns(daemon: Daemon, files: Files) -> t.List[str]:
    patterns: t.List[str] = []
    for _path, directive in _directives(daemon, files):
        if directive.name == "EnvironmentFile":
            patterns = [*patterns, directive.value.lstrip("-").strip('"')] if directive.value else []
    return patterns


def _matching(pattern: str, files: Files) -> t.List[str]:
    return sorted(path for path, file in files.items() if file and matches(path, pattern)) if is_pattern(pattern) else [pattern]


def is_pattern(path: str) -> bool:
    return any(character in path for character in "*?[")


def matches(path: str, pattern: str) -> bool:
    return path.count("/") == pattern.count("/") and fnmatch.fnmatchcase(path, pattern)


def unit_files(daemon: Daemon, files: Files) -> t.List[str]:
    """The unit and its drop-ins in systemd's order: drop-ins by name."""
    drop_ins = {path for path in (*daemon.drop_ins, daemon.drop_in) if files.get(path) is not None}
    return ([daemon.fragment] if daemon.fragment else []) + sorted(drop_ins, key=lambda path: path.rpartition("/")[2])


def layers(daemon: Daemon, files: Files) -> t.List[environment_file.Setting]:
    """Every variable that these files set, in the order in which they are read: the last one wins."""
    if not _by_unit(daemon):
        return environment_file.environment_file(daemon.defaults_file, _contents(files, daemon.defaults_file), shell=True)
    settings = [setting for one in assignments(daemon, files) for setting in _taken(daemon, one)]
    if daemon.loaded:
        known = {one.setting.name for one in assignments(daemon, daemon.files)}
        place = f"systemd (systemctl show {daemon.service} -p Environment)"
        settings += [environment_file.Setting(name, value, place, 0) for name, value in daemon.loaded.environment.items() if name not in known]
    for path in environment_paths(daemon, files):
        settings += environment_file.environment_file(path, _contents(files, path))
    return [*daemon.inherited, *settings]


def assignments(daemon: Daemon, files: Files) -> t.List[environment_file.Assignment]:
    """The words of Environment= in unit and drop-ins, ignored ones included; an empty directive cancels all before it."""
    words: t.List[environment_file.Assignment] = []
    for path, directive in _directives(daemon, files):
        if directive.name == "Environment":
            words = [*words, *environment_file.read_assignments(directive, path)] if directive.value else []
    return words


def ignored(daemon: Daemon, one: environment_file.Assignment) -> str:
    """Why systemd ignores this word; '' if it does not."""
    place = (one.setting.path, one.setting.name, one.setting.value)
    if place not in daemon.corrections:
        return one.ignored
    return (one.ignored or "systemd does not understand it") if daemon.corrections[place] is None else ""


def _taken(daemon: Daemon, one: environment_file.Assignment) -> t.Iterator[environment_file.Setting]:
    if not ignored(daemon, one):
        value = daemon.corrections.get((one.setting.path, one.setting.name, one.setting.value))
        yield one.setting if value is None else one.setting._replace(value=value)


def corrections(daemon: Daemon) -> t.Dict[t.Tuple[str, str, str], t.Optional[str]]:
    """Words whose value in systemd differs from our reading of the files, with that value, and words that systemd ignores."""
    differing: t.Dict[t.Tuple[str, str, str], t.Optional[str]] = {}
    words: t.Dict[str, t.List[environment_file.Assignment]] = {}
    for one in assignments(daemon, daemon.files) if daemon.loaded else ():
        words.setdefault(one.setting.name, []).append(one)
    for name, ones in words.items():
        value = daemon.loaded.environment.get(name) if daemon.loaded else None
        if next((one.setting.value for one in reversed(ones) if not one.ignored), None) == value:
            continue
        # A specifier such as %H is different text from its value.
        winner = next((number for number in reversed(range(len(ones))) if ones[number].setting.value == value), len(ones) - 1)
        for number, one in enumerate(ones):
            if value is None or number >= winner:
                differing[(one.setting.path, name, one.setting.value)] = value if number == winner else None
    return differing


def next_start(daemon: Daemon, files: Files) -> Start:
    """The environment and command line that these files give the daemon."""
    environment = {one.name: one for one in layers(daemon, files)}
    if _by_unit(daemon):
        lines = [(path, one) for path, one in _directives(daemon, files) if one.name == "ExecStart" and one.value]
        words = _command_words(lines[-1][1].value if lines else "/usr/bin/dockerd")
        if daemon.loaded and daemon.loaded.command and " ".join(words) != daemon.loaded.command:
            words = daemon.loaded.command.split()
        argv = _expanded(words, environment)
        argv = _script(argv) or argv
        if lines:
            path, directive = lines[-1]
            environment = {name: one for name, one in environment.items() if not _unset(daemon, files) & {name, f"{name}={one.value}"}}
            environment.update({one.name: one for one in _before_dockerd(argv, path, directive.line)})
        return Start(environment, argv)
    text = _contents(files, daemon.defaults_file).decode(errors="replace")
    exported = set(re.findall(r"^\s*export\s+(\w+)", text, re.MULTILINE))
    argv = _expanded(["dockerd", "-p", "/var/run/docker.pid", "$DOCKER_OPTS"], environment)
    return Start({name: one for name, one in environment.items() if name in exported}, argv)


def _script(argv: t.Sequence[str]) -> t.List[str]:
    """The words of 'sh -c "... dockerd ..."'; [] if it is something else, or more than one plain command."""
    if len(argv) != 3 or argv[0].rpartition("/")[2] not in _SHELLS or argv[1] != "-c" or re.search(r"[|&;<>()`$\n]", argv[2]):
        return []
    words = environment_file.words(argv[2])
    return words if any(_DOCKERD.match(word) for word in words) else []


def _unset(daemon: Daemon, files: Files) -> t.Set[str]:
    """What UnsetEnvironment= removes at last, environment files included: names, or NAME=VALUE."""
    unset: t.Set[str] = set()
    for _path, directive in _directives(daemon, files):
        if directive.name == "UnsetEnvironment":
            unset = unset | set(environment_file.words(directive.value)) if directive.value else set()
    return unset


def cancelled_by(daemon: Daemon, files: Files, variable: str) -> str:
    """The last line of the unit that takes this variable from the daemon, whatever sets it before; '' if none does."""
    place = ""
    for path, directive in _directives(daemon, files):
        unset = [word.partition("=")[0].upper() for word in environment_file.words(directive.value)] if directive.name == "UnsetEnvironment" else []
        if variable in unset or (directive.name == "EnvironmentFile" and not directive.value):
            place = f"{path}, line {directive.line}"
    return place


def _before_dockerd(argv: t.Sequence[str], path: str, line: int) -> t.Iterator[environment_file.Setting]:
    """Variables that the command line itself sets, by env or a shell."""
    for word in argv:
        if _DOCKERD.match(word):
            return
        assignment = re.match(r"([A-Za-z_]\w*)=(.*)", word)
        if assignment:
            yield environment_file.Setting(assignment[1], assignment[2], path, line)


def _by_unit(daemon: Daemon) -> bool:
    return daemon.systemd or bool(daemon.fragment)


def _directives(daemon: Daemon, files: Files) -> t.Iterator[t.Tuple[str, environment_file.Directive]]:
    for path in unit_files(daemon, files) if _by_unit(daemon) else ():
        for directive in environment_file.directives(_contents(files, path)):
            yield path, directive


def flags(argv: t.Sequence[str]) -> t.Dict[str, t.List[str]]:
    """dockerd's flags by their long names; a flag without a value has ''."""
    values: t.Dict[str, t.List[str]] = {}
    for name, value, _words in _flags(argv):
        values.setdefault(name, []).append(value)
    return values


def wrapped(daemon: Daemon, files: Files) -> str:
    """The program that starts the daemon in its own way, so that the files do not say with which settings; '' if dockerd itself is started."""
    argv = next_start(daemon, files).argv
    return "" if not argv or without_flags(argv, ()) else argv[0]


def unknown_start(daemon: Daemon) -> bool:
    """Whether another program starts the daemon and no file changed since: then only the daemon itself knows its settings."""
    return bool(daemon.up and wrapped(daemon, daemon.files)) and not any(at > daemon.started for at in daemon.changed.values())


def without_flags(argv: t.Sequence[str], names: t.Collection[str]) -> t.List[str]:
    """The command line without these flags, starting at dockerd (env may precede it); [] if another program starts it."""
    start = next((number for number, word in enumerate(argv) if _DOCKERD.match(word)), None)
    if start is None:
        return []
    argv = argv[start:]
    return [argv[0], *(word for name, _value, written in _flags(argv) if name not in names for word in written)]


def _flags(argv: t.Sequence[str]) -> t.Iterator[t.Tuple[str, str, t.List[str]]]:
    """Long name, value, and the words that they are written in."""
    rest = list(argv[1:])
    while rest:
        written = [rest.pop(0)]
        name, equals, value = written[0].lstrip("-").partition("=")
        if not written[0].startswith("--") and name[:1] in _SHORT_FLAGS and len(name) > 1 and not equals:
            name, value, equals = name[0], name[1:], "="
        if not equals and rest and not rest[0].startswith("-"):
            value = rest.pop(0)
            written.append(value)
        if written[0].startswith("-"):
            yield _SHORT_FLAGS.get(name, name), value, written


def _command_words(line: str) -> t.List[str]:
    return [word.replace("%%", "%") for word in environment_file.words(line.lstrip("-@:+!"))]


def _expanded(words: t.Iterable[str], environment: t.Dict[str, environment_file.Setting]) -> t.List[str]:
    argv: t.List[str] = []
    for word in words:
        whole = re.match(r"\$(\w+)$", word)
        if whole:  # systemd splits $NAME if it is a word of its own, and drops an empty one
            value = environment.get(whole[1])
            argv += value.value.split() if value else []
        else:
            argv.append(re.sub(r"\$\{(\w+)\}", lambda found: environment[found[1]].value if found[1] in environment else "", word))
    return argv


def _contents(files: Files, path: str) -> bytes:
    file = files.get(path)
    return file.contents if file else b""


def config(files: Files, path: str) -> Document:
    """daemon.json, of which each text is parsed once; NotJson if it is none."""
    return parsed(_contents(files, path), path)
