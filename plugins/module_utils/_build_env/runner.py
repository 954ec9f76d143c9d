# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The environment of a GitLab runner's jobs: our variables in `environment` of each [[runners]] in config.toml. Every other byte stays."""

from __future__ import annotations

import json
import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._formats import toml

# gitlab-runner writes its file again, without comments, so these names say what is ours.
NAMES = ("BUILDKIT_NO_CLIENT_TOKEN", "DOCKER_BUILDKIT", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_COMMA_AFTER = re.compile(r"[ \t]*,[ \t]*")
_COMMA_BEFORE = re.compile(r",[ \t\r\n]*\Z")
_LINE_END = re.compile(r"[ \t]*(?:\r?\n|\Z)")

Bytes = t.Optional[bytes]  # None: no file
Variables = t.Mapping[str, str]


class RunnerError(Exception):
    """A config.toml that cannot be edited; the message is a complete sentence."""


class _Runner(t.NamedTuple):
    key: t.Tuple[str, str, int]  # the same runner at another place of the file: name, token, and which of several such
    on_the_host: bool  # its jobs are processes of the host; those of other executors are in containers, or elsewhere
    body: int  # the offset of what follows the line [[runners]]
    pair: t.Optional[toml.Pair]  # its environment
    entries: t.Tuple[str, ...]

    @property
    def ours(self) -> t.Dict[str, str]:
        pairs = (entry.partition("=")[::2] for entry in self.entries)
        return {name: value for name, value in pairs if name in NAMES}


class Runners:
    """Our variables in each runner of a config.toml."""

    def __init__(self, on_the_host: Variables, elsewhere: Variables) -> None:
        self._on_the_host, self._elsewhere = on_the_host, elsewhere

    def into(self, path: str, found: Bytes) -> bytes:
        return _with(path, found, lambda runner: self._on_the_host if runner.on_the_host else self._elsewhere)

    @staticmethod
    def out_of(path: str, found: Bytes, first: Bytes) -> Bytes:
        if found is None:
            return None
        ours = {runner.key: runner.ours for runner in _runners(path, found)}
        if _with(path, first, lambda runner: ours.get(runner.key, {})) == found:  # unchanged by others since
            return first
        before = {runner.key: runner for runner in _runners(path, first)}
        rest = _with(path, found, lambda runner: before[runner.key].ours if runner.key in before else {})
        return _without_empty(path, rest, [key for key, runner in before.items() if runner.pair])

    @staticmethod
    def shown(path: str, contents: Bytes) -> str:
        return "".join(f"[[runners]] {runner.key[0]}\n{_line(runner.ours)}\n" for runner in _runners(path, contents) if runner.ours)


def values(path: str, contents: Bytes) -> t.List[str]:
    """The values of the variables that we set, also where others set them: these may contain a password."""
    return [value for runner in _runners(path, contents) for value in runner.ours.values()]


def has_runners(path: str, contents: Bytes) -> bool:
    return bool(_runners(path, contents))


def _runners(path: str, contents: Bytes) -> t.List[_Runner]:
    text = _text(path, contents)
    try:
        document = toml.parse(text, path)
    except toml.NotToml as error:
        raise RunnerError(str(error)) from None
    tables = document.value.get("runners", [])
    headers = [number for number, header in enumerate(document.headers, 1) if header.keys == ("runners",)]
    if not isinstance(tables, list) or len(tables) != len(headers):
        raise RunnerError(f"{path}: runners is not a list of tables. Write [[runners]] above each, as gitlab-runner register does.")
    runners: t.List[_Runner] = []
    for number, table in zip(headers, tables):
        start = document.headers[number - 1].start
        pair = next((pair for pair in document.pairs if pair.header == number and pair.keys == ("environment",)), None)
        entries = table.get("environment", [])
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            line = text.count("\n", 0, pair.start if pair else start) + 1
            raise RunnerError(f"{path}, line {line}: the environment of the runner is not a list of strings. Correct it first.")
        same = [table.get("name", ""), table.get("token", "")]
        times = sum(1 for runner in runners if list(runner.key[:2]) == same)
        runners.append(_Runner((*same, times), table.get("executor") == "shell", text.find("\n", start) + 1 or len(text), pair, tuple(entries)))
    return runners


def _text(path: str, contents: Bytes) -> str:
    try:
        return (contents or b"").decode()
    except UnicodeDecodeError:
        raise RunnerError(f"{path} is not valid UTF-8. Correct it first.") from None


def _with(path: str, contents: Bytes, wanted: t.Callable[[_Runner], Variables]) -> bytes:
    """The file in which each runner has exactly these of our variables."""
    text = _text(path, contents)
    for runner in reversed(_runners(path, contents)):  # from the end, so that the offsets of the others stay right
        if runner.ours != wanted(runner):
            text = _with_line(text, runner.body, wanted(runner)) if runner.pair is None else _with_entries(text, runner, runner.pair, wanted(runner))
    after = text.encode()
    try:
        done = all(runner.ours == wanted(runner) for runner in _runners(path, after))
    except RunnerError:
        done = False
    if not done:
        raise RunnerError(f"{path}: the environment of a runner cannot be changed safely. Write it on one line, without comments.")
    return after


def _with_line(text: str, body: int, wanted: Variables) -> str:
    head, rest = text[:body], text[body:]
    end = "\r\n" if head.endswith("\r\n") else "\n"
    below = re.match(r"([ \t]*)[A-Za-z0-9_\"'-]", rest)
    if not head.endswith("\n"):
        head += end
    return f"{head}{below.group(1) if below else '  '}{_line(wanted)}{end}{rest}"


def _with_entries(text: str, runner: _Runner, pair: toml.Pair, wanted: Variables) -> str:
    names = [entry.partition("=")[0] for entry in runner.entries]
    missing = [name for name in sorted(wanted) if name not in names]
    # A name that is not wanted, or stands there twice, makes room for one that is missing.
    spare = [place for place, name in enumerate(names) if name in NAMES and (name not in wanted or name in names[:place])]
    put = {place: name for place, name in enumerate(names) if name in wanted and place not in spare}
    put.update(zip(spare, missing))
    more = ", ".join(_entry(name, wanted[name]) for name in missing[len(spare) :])
    if more:
        place = pair.items[-1][1] if pair.items else pair.span[0] + 1
        text = text[:place] + (f", {more}" if pair.items else more) + text[place:]
    for place in reversed(range(len(names))):
        start, end = pair.items[place]
        if place in put and runner.entries[place] != f"{put[place]}={wanted[put[place]]}":
            text = text[:start] + _entry(put[place], wanted[put[place]]) + text[end:]
        elif place in spare[len(missing) :]:
            text = _without_item(text, start, end)
    return text


def _without_item(text: str, start: int, end: int) -> str:
    comma = _COMMA_AFTER.match(text, end)
    if comma:
        line = text.rfind("\n", 0, start) + 1
        rest = _LINE_END.match(text, comma.end())
        return text[:line] + text[rest.end() :] if rest and not text[line:start].strip() else text[:start] + text[comma.end() :]
    before = _COMMA_BEFORE.search(text, 0, start)
    return text[: before.start() if before else start] + text[end:]


def _without_empty(path: str, contents: bytes, kept: t.Collection[t.Tuple[str, str, int]]) -> bytes:
    """Without a line `environment = []` that we wrote."""
    text = _text(path, contents)
    for runner in reversed(_runners(path, contents)):
        if runner.pair and not runner.entries and runner.key not in kept:
            line = text.rfind("\n", 0, runner.pair.start) + 1
            rest = _LINE_END.match(text, runner.pair.span[1])
            text = text[:line] + text[rest.end() :] if rest else text
    return text.encode()


def _line(variables: Variables) -> str:
    return f"environment = [{', '.join(_entry(name, variables[name]) for name in sorted(variables))}]"


def _entry(name: str, value: str) -> str:
    return json.dumps(f"{name}={value}")
