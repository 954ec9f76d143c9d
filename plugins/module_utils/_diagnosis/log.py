# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Split the output of a build: output of steps, and messages of the engine or the client.

Read are the plain and the terminal output of BuildKit, the legacy builder's, compose and docker-compose, JSON streams, and each of them behind the
prefixes of CI systems, cut off at either end.
"""

from __future__ import annotations

import ast
import collections
import itertools
import json
import re
import textwrap
import typing as t

_ANSI = re.compile(r"(?:\x1b|\\u001[bB]|\\x1[bB]|\\033)(?:\[[0-9;?]*[ -/]*[A-Za-z]|\][^\x07]*\x07|\([A-Z0-9]|_[^\x07]*\x07)|\^\[\[[0-9;]*m")
# Timestamps, job names and levels that a CI system or a logger writes before each line.
_PREFIX = re.compile(
    r"^(?:"
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?(?: \d\d[OE]\+|(?: \d\d[OE])?[ \t]+)"
    r"|\[\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z|[+-]\d\d:?\d\d)?\][ \t]*"
    r"|\[\d\d:\d\d:\d\d(?:\.\d+)?\][A-Z]?:?[ \t]*(?:\[Step \d+/\d+\][ \t]*)?"
    r"|\[\d{4}-[A-Z][a-z]{2}-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\][ \t]*"
    r"|[^\t\n]{1,60}\t[^\t\n]{1,60}\t(?=\d{4}-\d\d-\d\dT)"
    r"|\[Container\] \d{4}/\d\d/\d\d [\d:.]+[ \t]"
    r"|\d{4}/\d\d/\d\d \d\d:\d\d:\d\d[ \t]"
    r"|\d\d:\d\d:\d\d(?:[.,]\d+)?[ \t]+"
    r"|(?:build|error)\t\d\d-[A-Z][a-z]{2}-\d{4} [\d:]+\t"
    r"|[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?[ \t]+(?:[\w.-]+ [\w./-]+\[\d+\]: )?"
    r"|[\w./-]+\.(?:log|txt):\d+:"
    r"|(?:TRACE|DEBUG|INFO|WARN|ERROR) +[\w.$-]+:\d+ +- (?:\[STD(?:ERR|OUT)\] ?)?"
    r"|(?:DEBUG|INFO|WARN|ERROR) \[[0-9a-f]{6,8}\][ \t]+"
    r"|\[[\w./-]+:\d+\][ \t]"
    r'|Step #\d+(?: - "[^"]*")?: ?'
    r"|(?:DEBUG|INFO|WARNING|ERROR|CRITICAL):[A-Za-z][\w.]*(?: [\w.]+)*:(?=\S| --->)"
    r"|(?:##\[|::)(?:error|warning|group|command|debug|notice)[^\]:]*(?:\]|::)"
    r"|[ \t]*\[(?:INFO|WARN|WARNING|ERROR)\] DOCKER> |remote:[ \t]|[\w@/.-]+:[\w-]+:[ \t](?=#\d+ )|\d+>(?=#\d+ |=> |Step \d| )"
    r"|(?:--\d+|\d\d [A-Z]{3,4}|[ \t]*)[ \t]*\|[ \t](?=#\d+ |ERROR|error: failed to |time=|failed to solve|> \[|Step \d|-{6}$)"
    r"|(?:INFO|WARN|ERRO|FATA|DEBU)\[\d+\][ \t]"
    r"|`{1,3}(?=Step \d|#\d+ |=> |\[\+\] )|> (?==> )"  # marks of a form
    r"|[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [\w.-]+\.go:\d+\] "
    r"|\d{1,6} \| (?=[^\s>])"  # a Dockerfile that BuildKit quotes has blanks before the number or behind the bar
    r"|\[(?:INFO|WARN|WARNING|ERROR|FATAL|DEBUG)\](?=[ \t]+(?:#\d+ |=> |Step \d| ?---> |The command|failed to solve|ERROR: "
    r"|invalid from flag value |pull access denied ))[ \t]+"
    r")"
)
_LOGGER = re.compile(r'^(?:time="[^"]*" )?level=\w+ msg="((?:[^"\\]|\\.)*)"(?: \w+=.*)?\s*$')
_BOLD = re.compile(r"\*\*(?=[^\s*])([^*\n]{1,200})(?<=\S)\*\*")  # in Markdown
_PADDED = re.compile(r" {8,}(?=#\d+ (?:\d+\.\d+ |ERROR))")  # a copy of a terminal's rows without its line ends
_ROWS_IN_ONE = re.compile(r"^.*(?: #\d+ \d+\.\d+ .*){2}$", re.M)  # a copy without any line end
_TASK_FAILED = re.compile(r"(.{0,80}?)\b(?:fatal|failed): \[[^\]]+\](?:: [A-Z]+!| \(item=.*\)) => (\{.*\})\s*$")
_BUILT_BY_ANSIBLE = re.compile(r"Error building .* message: (.*), logs: (\[.*\])\s*$")
_JSON_ERROR = re.compile(r'"(?:error|err|msg)": ?"((?:[^"\\]|\\.)*)"')

STEP_FAILED = re.compile(
    r'process "(?P<a>.*)" did not complete successfully: (?:exit code: (?P<ca>\d+)|(?P<oa>.*))'
    r"|executor failed running \[(?P<b>.*)\]: (?:exit code: (?P<cb>\d+)|(?P<ob>.*))"
    r"|The command (?:'(?P<c>.*)'|\[(?P<f>.*)\]) returned a non-zero code: (?P<cc>\d+)"
    r'|building at STEP "RUN (?P<d>.*)": .*exit status (?P<cd>\d+)'
    r"|building at step \{.* Message:RUN (?P<g>.*?) Original:.*\}: .*exit status (?P<cg>\d+)"
    r"|failed to execute command: waiting for process to exit: exit status (?P<ce>\d+)"
)
PUSH = re.compile(r"failed to push |error writing layer blob|The push refers to |\bdocker(?:\.exe)? (?:image )?push |^(?:\[[^]]*\] )?pushing \S+/")
_CUT_STEP_FAILED = re.compile(r"executor failed ru|failed to solve: process \"/|process \"/bin/\w+ .*\" did not compl|The command '/bin/\w+ -c ")
_VERTEX = re.compile(r"^#(\d+) ?(.*)$")
_SECONDS = re.compile(r"^(\d+\.\d+)(?: (.*))?$")
_TTY = re.compile(r"^ *=> (?!=>)(ERROR |CACHED |CANCELED )?(.*?)(?:\s+(\d+\.\d)s)?\s*$")
_TTY_OUTPUT = re.compile(r"^ *=> => # ?(.*)$")
_SUMMARY = re.compile(r"^ *> (?!>)(.*?):?$")
_HEADER = re.compile(r"^(?:\[[^\]]*\] ?)|^(?:resolve image config|importing|exporting|FROM |booting|load )")
_STEP = re.compile(r"^(?:S?tep|STEP) (\d+)(?:/\d+)?\s?: (.*)$")
_QUOTED = re.compile(r"^\s*\d+ \|(?:\s.*)?$|^-{16,}$|^[\w./-]*[Dd]ockerfile[\w./-]*:\d+$")
_END_OF_SUMMARY = re.compile(r"^-{6,}$")
_CLIENTS = re.compile(
    r"^(?:ERROR: |Error: |error: )?(?:target [\w.-]+: )?(?:failed to (?:build|solve|receive status|read dockerfile|dial gRPC)"
    r"|executor failed running|Service '|failed to prepare \w+: "
    r"|process \"|(?:buildx|buildx call|docker build) failed|Error response from daemon|The command ')"
)
_TRANSFER = re.compile(r"exporting (?:to|cache)|importing cache|pushing ")  # what a vertex of these says is the engine's
_ENGINES_ERROR = re.compile(r"error: (?:failed to (?:authorize|copy|do request|push)|no active session)")  # in a log that is cut before the vertex
_PROGRESS = re.compile(
    r"^(?:DONE|CACHED|CANCELED|\.\.\.|sha256:|transferring|resolve |extracting|exporting|pushing|writing|naming|unpacking|inferred|preparing|sending)"
)
_LEGACY_MARK = re.compile(
    r"^(?: ?---> |Removing intermediate container|Sending build context|Successfully (?:built|tagged) |DEPRECATED:|\[Warning\]|Executing \d+ build trigger)"
)
# Messages of the engine between the lines of a legacy step.
_ENGINES = re.compile(
    r"^(?:OCI runtime|oci runtime error|shim error|hcsshim::|unexpected EOF$|Error response from daemon|error during connect|[Cc]annot connect to the Docker"
    r"|the --\w+ (?:option|flag) requires BuildKit|(?:ERROR: )?Service '[^']+' failed to build"
    r"|failed to (?:register|export|create|start|copy files)|The command ')"
)
_PULLED = re.compile(r"^(?:[0-9a-f]{12}: |Digest: |Status: |\S+: Pulling from )")
_LEGACY = re.compile(r"^(?:Sending build context to Docker daemon|Step \d+(?:/\d+)?\s?: |.*The command '.*' returned a non-zero code: \d)", re.M)
_BUILDKIT = re.compile(
    r"^#\d+ |^ *=> (?!=>)|failed to solve|failed to dial gRPC|executor failed running|did not complete successfully"
    r"|^\[\+\] Building",
    re.M,
)
_INSTANCE = re.compile(
    r'building with "([^"]+)" instance using (?:docker-container|kubernetes|remote) driver|^\[\+\] Building .*\sdocker-container:([\w.-]+)$', re.M
)


_LONGEST = 2000  # characters
_WIDTH = 70  # of a narrow terminal
_NUMBERED = re.compile(r"^[ \t]+\d+ \|(?: >>>|  |$)", re.M)  # a Dockerfile that BuildKit quotes
_FEWEST = 3  # lines that show what is before or behind each of them
_LAST = 400  # lines of one part that are searched for its failure


class Step(t.NamedTuple):
    """The output of one RUN step."""

    command: str
    output: t.Tuple[str, ...]
    ended: str = ""  # 'exit code 1', or another message of the engine about its end; '' if the log stops before


class Log(t.NamedTuple):
    lines: t.Tuple[str, ...]  # without colours and prefixes
    builder: t.Optional[str]  # legacy or buildkit, from its output
    instance: str  # the docker-container builder in the log, or ''
    engine: t.Tuple[str, ...]  # messages of the engine and the client
    step: t.Optional[Step]
    failed_step: bool  # the engine reports that this step failed
    engine_failed: bool  # the engine reports a failure outside of steps
    git: t.Tuple[str, ...]  # messages of git while the engine fetches a context
    rest: t.Tuple[str, ...]  # all lines except BuildKit's own, in order
    last: str  # the last legacy step's instruction
    failed: t.Tuple[str, ...]  # headers of the failed parts, as in BuildKit's output


def clean(text: str) -> t.Tuple[str, ...]:
    """The lines without colours, JSON and prefixes."""
    text = "\n".join(map(_of_ansible, text.split("\n")))
    text = _ANSI.sub("", _unescaped(text))
    if text.count("\\n") > 2 * text.count("\n"):  # a whole log in one line of JSON
        text = text.replace("\\r", "\n").replace("\\n", "\n")
    text = _PADDED.sub("\n", _BOLD.sub(r"\1", text))
    text = _ROWS_IN_ONE.sub(lambda row: row.group().replace(" #", "\n#"), text)
    lines: t.List[str] = []
    text = re.sub(r"\r\n?", "\n", text)
    for line in _unquoted((text if _NUMBERED.search(text) else textwrap.dedent(text)).split("\n")):
        lines += map(_shortened, _unwrapped(line))
    return tuple(_joined(_with_whole_commands(_unquoted(_without_prefix(_close(lines))))))


# Where a line of a build's output starts, to find what a program wrote before it.
_START = re.compile(
    r"#\d+ (?:\[|\d+\.\d|ERROR|DONE|CACHED|sha256:|transferring)|Step \d+(?:/\d+)?\s?: [A-Z]| ---> |(?:^| )=> (?:ERROR |CACHED )?\[|(?:^| )=> => # |(?:^| )> \["
    r"|ERROR: failed to |failed to solve|Error response from daemon: |The command '/bin/\w+ -c "
)
_MARKED = re.compile(r"(?:[|│]|.{0,40}?\w.{0,40}?[]|│>](?:[ \t]+[|│])?)[ \t]+")  # the name of a job or of a container
_LEVEL = re.compile(r"\W*(?:INFO|WARN(?:ING)?|ERROR|DEBUG|FATAL|\d+)\W*$")


def _without_prefix(lines: t.Sequence[str]) -> t.Sequence[str]:
    """Without what a program wrote before each line, whatever its form."""
    for _times in range(3):
        prefix = _common_prefix([line for line in lines if line.strip()])
        if prefix is None:
            break
        lines = [part for line in lines for part in _unwrapped(prefix.sub("", line, count=1))]
    return lines


def _common_prefix(written: t.Sequence[str]) -> t.Optional[t.Pattern[str]]:
    """The form of a mark before all lines, or of what is before the start of a build's lines, if no line begins with one."""
    before = [line[: found.start()] for line, found in ((line, _START.search(line)) for line in written) if found]
    if len(written) < _FEWEST or not all(text.strip() for text in before):
        return None
    marked = _MARKED.match(written[0])
    if marked and not _LEVEL.match(marked.group(0)):
        form = _form(marked.group(0))
        if all(map(form.match, written)):
            return form
    forms = collections.Counter(map(_form, before)).most_common(1)
    return next((form for form, _count in forms if 2 * sum(1 for line in written if form.match(line)) > len(written)), None)


def _form(prefix: str) -> t.Pattern[str]:
    return re.compile(re.sub(r"(?:\\ )+", " +", re.sub(r"\d+", r"\\d+", re.escape(prefix))))


def _close(lines: t.Sequence[str]) -> t.Sequence[str]:
    """Without the blank line behind each, of a form that doubles line ends."""
    written = [line for line in lines if line.strip()]
    return written if len(written) > _FEWEST and 2 * len(written) <= len(lines) + 1 else lines


def _of_ansible(row: str) -> str:
    """What a module returned, from the row that Ansible prints about a failed task."""
    result = _TASK_FAILED.match(_ANSI.sub("", row))
    text = _returned(result.group(2)) if result else ""
    before = result.group(1) if result and text else ""
    return "\n".join(before + part for line in (text or row).split("\n") for part in _built(line))


def _returned(result: str) -> str:
    try:
        value = json.loads(result)
    except (RecursionError, ValueError):
        return ""
    return "\n".join(value[name] for name in ("stdout", "stderr", "msg") if isinstance(value.get(name), str))


def _built(line: str) -> t.Sequence[str]:
    """The log and the error in the message of community.docker.docker_image, which has the lines of the log as a list of Python."""
    built = _BUILT_BY_ANSIBLE.match(_ANSI.sub("", line))
    if built is None:
        return [line]
    try:
        log = ast.literal_eval(built.group(2))
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return [line]
    parts = [str(part) for part in log]
    end = "" if any(part.endswith("\n") for part in parts) else "\n"  # newer versions remove the line ends
    return [*end.join(parts).split("\n"), built.group(1)]


def _unescaped(text: str) -> str:
    """The rows of a terminal, where they are in one line of JSON."""
    return "\n".join(row.replace("\\r", "\n").replace("\\n", "\n") if "\\r" in row and "\\u001b" in row else row for row in text.split("\n"))


def _unquoted(lines: t.Sequence[str]) -> t.Sequence[str]:
    """Without the mark of a quotation, where all lines or three in a row have it."""
    written = [line for line in lines if line.strip()]
    least = 1 if all(line.startswith(">") for line in written) else _FEWEST
    unquoted: t.List[str] = []
    for quoted, group in itertools.groupby(lines, key=lambda line: line.startswith(">")):
        rows = list(group)
        unquoted += [row[1:].lstrip(" ") for row in rows] if quoted and len(rows) >= least else rows
    return unquoted


def _shortened(line: str) -> str:
    """A line without its middle part if it is longer than any message."""
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} … {line[-_LONGEST // 2 :]}"


def _unwrapped(line: str) -> t.List[str]:
    if line.startswith("{") and '"' in line:
        try:
            value = json.loads(line)
        except (RecursionError, ValueError):
            value = None
        if isinstance(value, dict):
            output = value.get("stream") or value.get("error") or value.get("message") or value.get("msg") or value.get("status")
            return [part for row in _ANSI.sub("", str(output or "")).splitlines() for part in _unwrapped(row)]
    for _times in range(4):
        shorter = _PREFIX.sub("", line, count=1)
        if shorter == line:
            break
        line = shorter
    logged = _LOGGER.match(line)
    if logged:
        line = logged.group(1).replace("\\n", " ")
    elif line.endswith("}"):
        error = _JSON_ERROR.search(line)
        line = error.group(1) if error else line
    line = re.sub(r"^(?:ERROR|Error|FATAL): (?=Service '|process |failed to solve|executor failed)", "", line) if "Service '" in line else line
    return [line.replace('\\"', '"').rstrip() if '\\"' in line and not line.startswith("{") else line.rstrip()]


# An error of Go that was broken inside its URL, or behind a colon.
_OPEN_URL = re.compile(r"(?:Get|Head|Post) \"https?://[^\"\s]*$")
_OPEN_BARE_URL = re.compile(r"(?:Get|Head|Post) https?://\S{60,}$")
_OPEN_NAME = re.compile(r"failed to .*[\w.-]+/[\w./-]+$")  # of an image
_ENDS_OF_NAME = re.compile(r"[\w./-]*(?:[:@][\w.:-]+)?: (?:not found|failed to|pull access denied|unexpected status|no match)")
_ENDS_OPEN = re.compile(r"(?:token|request|\"|Get|Head|Post|error|tcp|x509|tls|checksum of ref \S+):?\s*$")
_ENDS_REQUEST = re.compile(r": (?:Get|Head|Post)$")
_URL_STARTS = re.compile(r"\"https?://")
_GOES_ON = re.compile(
    r"\s*(?:(?:Get|Head|Post) \"?https?://|certificate |(?:dial|read|write) tcp|net/http: |proxyconnect tcp|tls: |x509: |unexpected status|lookup \S+ on "
    r"|\"/[^\"]+\": not found)"
)


# The engine's message about a step, which a terminal broke inside the command.
_OPEN_COMMAND = re.compile(r"(?:failed to solve: |ERROR: )process \"/bin/(?!.*\" did not complete)|executor failed running \[(?!.*\]: )")
_ENDS_COMMAND = re.compile(r"\" did not complete successfully: |\]: exit code: \d")
_ROWS = 12  # of a terminal, at most, that a command fills


def _with_whole_commands(lines: t.Sequence[str]) -> t.List[str]:
    """The engine's message about a failed step in one line."""
    whole: t.List[str] = []
    index = 0
    while index < len(lines):
        line, rows = lines[index], 1
        if _OPEN_COMMAND.search(line):
            rows = next((number for number in range(2, 2 + _ROWS) if _ENDS_COMMAND.search("".join(lines[index + number - 1 : index + number]))), 1)
        whole.append("".join(lines[index : index + rows]))
        index += rows
    return whole


def _joined(lines: t.Sequence[str]) -> t.List[str]:
    """Lines that a terminal or a form broke are one."""
    joined: t.List[str] = []
    for line in lines:
        before = joined[-1] if joined else ""
        if not line.strip() and _is_open(before):
            continue
        if before.endswith("\\") and len(before) > _WIDTH and not line.startswith((" ", "#", ">")):
            joined[-1] = before[:-1] + line
        elif _broken_inside(before, line):
            joined[-1] = before + line
        elif _ENDS_REQUEST.search(before) and _URL_STARTS.match(line):
            joined[-1] = f"{before} {line}"
        elif before.endswith(":") and _ENDS_OPEN.search(before) and _GOES_ON.match(line):
            joined[-1] = f"{before} {line.lstrip()}"
        else:
            joined.append(line)
    return joined


def _broken_inside(before: str, line: str) -> bool:
    """Whether a URL or an image's name goes on in the next line."""
    if _OPEN_URL.search(before):
        return re.match(r"[^\"\s]*\":", line) is not None
    if _OPEN_BARE_URL.search(before) and not before.endswith(":") and re.match(r"\S*[?&=%/]\S*(?:: .*)?$", line):
        return True
    return len(before) > _WIDTH and _OPEN_NAME.search(before) is not None and _ENDS_OF_NAME.match(line) is not None


def _is_open(line: str) -> bool:
    name = len(line) > _WIDTH and _OPEN_NAME.search(line)
    return bool(name or _OPEN_URL.search(line) or (line.endswith(":") and _ENDS_OPEN.search(line)))


def builder_used(text: str) -> t.Optional[str]:
    """The builder that ran, from its output."""
    return _builder("\n".join(clean(text)))


def _builder(text: str) -> t.Optional[str]:
    if _LEGACY.search(text):
        return "legacy"
    return "buildkit" if _BUILDKIT.search(text) else None


class _Part:
    """A vertex, a summary or a legacy step while it is parsed."""

    def __init__(self, header: str) -> None:
        self.header = header
        self.output: t.List[str] = []
        self.done = self.failed = False

    @property
    def is_run(self) -> bool:
        return re.search(r"(?:^|\] )(?:RUN|/bin/(?:ba)?sh)\b", self.header) is not None


class _Reader:
    def __init__(self, builder: t.Optional[str]) -> None:
        self.legacy = builder == "legacy"
        self.engine: t.List[str] = []
        self.loose: t.List[str] = []  # of a step whose header is not in the log
        self.rest: t.List[str] = []
        self.failed = self.pulled = False
        self.vertices: t.Dict[str, _Part] = {}
        self.parts: t.List[_Part] = []
        self.summary: t.Optional[_Part] = None
        self.running: t.Optional[_Part] = None  # of a legacy step or a terminal's

    def add(self, header: str) -> _Part:
        self.parts.append(_Part(header))
        return self.parts[-1]

    def read(self, line: str) -> None:
        stripped = line.strip()
        if _END_OF_SUMMARY.match(stripped) or _QUOTED.match(line) or _QUOTED.match(stripped):
            self.summary = None
        elif self.summary is not None and not _CLIENTS.match(stripped) and not _SUMMARY.match(line):
            self._in_summary(self.summary, line)
        else:
            self.summary = None
            self._line(line, stripped)

    def _in_summary(self, summary: _Part, line: str) -> None:
        content = re.sub(r"^#\d+ ", "", line)
        seconds = _SECONDS.match(content)
        summary.output.append((seconds.group(2) or "") if seconds else content)
        self.rest.append(summary.output[-1])

    def _line(self, line: str, stripped: str) -> None:
        vertex = _VERTEX.match(stripped)
        shown = _TTY_OUTPUT.match(line)
        terminal = _TTY.match(line)
        summary = _SUMMARY.match(line)
        step = _STEP.match(stripped)
        if vertex:
            self._vertex(vertex.group(1), vertex.group(2))
        elif shown:
            (self.running.output if self.running else self.loose).append(shown.group(1))
            self.rest.append(shown.group(1))
        elif line.lstrip().startswith("=> =>"):
            pass
        elif terminal:
            self.running = self.add(terminal.group(2))
            self.running.failed = terminal.group(1) == "ERROR "
        elif summary and _HEADER.match(summary.group(1)):
            self.summary = self.add(summary.group(1))
            self.summary.failed = True
        elif step:
            self.running = self.add(step.group(2))
        else:
            self._other(line, stripped)

    def _vertex(self, number: str, rest: str) -> None:
        part = self.vertices.get("" if number == "0" and number not in self.vertices else number)  # some releases write 0 for the step that runs
        seconds = _SECONDS.match(rest)
        if rest.startswith("ERROR"):
            if part:
                part.failed = True
            self.failed = self.failed or not (part and part.is_run)
            self.engine.append(rest)
        elif part is None and _TRANSFER.match(rest):
            self.vertices[number] = self.add(rest)
        elif seconds and (_TRANSFER.match(part.header) if part else _ENGINES_ERROR.match(seconds.group(2) or "")):
            self.engine.append(seconds.group(2) or "")
        elif seconds:
            (part.output if part else self.loose).append(seconds.group(2) or "")
            self.rest.append(seconds.group(2) or "")
        elif _PROGRESS.match(rest) or not rest:
            if part and rest.startswith(("DONE", "CACHED")):
                part.done = True
        elif part is None:
            self.vertices[number] = self.vertices[""] = self.add(rest)
        elif not part.is_run and not _HEADER.match(rest):
            part.output.append(rest)

    def _other(self, line: str, stripped: str) -> None:
        seconds = _SECONDS.match(stripped)
        self.rest.append((seconds.group(2) or "") if seconds else line)
        run = self.running is not None and self.running.is_run
        if _LEGACY_MARK.match(line) or _LEGACY_MARK.match(stripped):
            if self.running and re.match(r"---> [0-9a-f]{12}", stripped):  # with --force-rm a failed step's container is removed too
                self.running.done = True
        elif seconds and not self.legacy:
            self.loose.append(seconds.group(2) or "")
        elif self.legacy and run and self.running and not self.running.done and not (_ENGINES.match(stripped) or STEP_FAILED.search(stripped)):
            self.running.output.append(line)
        elif stripped == "EOF" and self.pulled:
            self.engine.append(f"transfer: {stripped}")  # alone it can be the end of a shell's here-document
        elif not _PULLED.match(stripped):
            self.engine.append(line)
        self.pulled = _PULLED.match(stripped) is not None


def read(text: str) -> Log:
    lines = clean(text)
    builder = _builder("\n".join(lines))
    reader = _Reader(builder)
    for line in lines:
        reader.read(line)
    failure = next((match for match in map(STEP_FAILED.search, lines) if match), None)
    cut = failure is None and any(map(_CUT_STEP_FAILED.search, lines))
    instance = _INSTANCE.search("\n".join(lines))
    legacy = [match.group(2) for match in map(_STEP.match, (line.strip() for line in lines)) if match]
    return Log(
        lines,
        builder,
        (instance.group(1) or instance.group(2)) if instance else "",
        tuple(line for line in reader.engine if line.strip())[-_LAST:],
        _with_its_end(_step(reader, failure, cut, lines)),
        failure is not None or cut,
        failure is None and not cut and (reader.failed or any("failed to solve" in line for line in reader.engine)),
        tuple(line for part in reader.parts if re.search(r"load git source|ADD \S+\.git\b", part.header) for line in part.output),
        tuple(reader.rest[-_LAST:]),
        legacy[-1] if legacy else "",
        tuple(part.header for part in reader.parts if part.failed),
    )


def _step(reader: _Reader, failure: t.Optional[t.Match[str]], cut: bool, lines: t.Sequence[str]) -> t.Optional[Step]:
    command, ended = "", ""
    if failure:
        command = failure["a"] or failure["b"] or failure["c"] or failure["d"] or failure["f"] or failure["g"] or ""
        code = failure["ca"] or failure["cb"] or failure["cc"] or failure["cd"] or failure["ce"] or failure["cg"]
        ended = f"exit code {code}" if code else failure["oa"] or failure["ob"] or ""
    runs = [part for part in reader.parts if part.is_run]
    failed = [part for part in runs if part.failed]
    if failed:
        output = max((part.output for part in failed if _same(part.header, command)), key=len, default=[]) or max((part.output for part in failed), key=len)
        return Step(command or failed[-1].header, tuple(output or reader.loose), ended)
    open_ = [part for part in runs if not part.done and part.output]
    if open_:
        return Step(command or open_[-1].header, tuple(line for part in open_ for line in part.output), ended)
    if reader.loose:
        return Step(command, tuple(reader.loose + (reader.engine if failure and reader.legacy else [])), ended)
    if failure or cut:
        end = next((index for index, line in enumerate(lines) if STEP_FAILED.search(line) or _CUT_STEP_FAILED.search(line)), len(lines))
        before = set(lines[:end])
        return Step(command, tuple(line for line in reader.engine if line in before), ended)
    return None


def _with_its_end(step: t.Optional[Step]) -> t.Optional[Step]:
    return step and step._replace(output=step.output[-_LAST:])


def _same(header: str, command: str) -> bool:
    """Whether a header belongs to the command: compares their starts, because a header is cut and a command begins with its shell."""
    words = re.sub(r"^.*?\bRUN\s+(?:--\S+\s+)*", "", header).split()
    return not command or (bool(words) and words[0] in command)
