# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the output of a RUN step says about the network: its last message counts, its own errors do not."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis import rules
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.hosts import is_loopback


class StepFailure(t.NamedTuple):
    cause: str
    reason: str
    host: str
    line: str
    role: str = ""  # proxy, if the host is the step's proxy


# Services that a build starts itself, and tests of error handling.
_OWN_SERVICE = re.compile(
    r"(?:localhost|127\.0\.0\.1|\[?::1\]?|0\.0\.0\.0|host\.docker\.internal)[:\"' ]*(?:\(|port )?\d*"
    r"|(?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED) [\w-]+(?::\d+)?(?=['\"\s,)]|$)|https?://[\w-]+(?::\d+)?(?=[/\"'\s]|$)"
    r"|:(?:5432|3306|6379|27017|9200|5672|1433|11211|9092|2181)\b|SQLSTATE|psycopg|OperationalError|Mongo\w*(?:Error|Exception)"
    r"|redis\.exceptions|RedisError|Can't connect to MySQL|PG::|amqp://|Communications link failure|Prisma\w*InitializationError"
    r"|could not connect to server: |could not translate host name"
)
_MANAGER = re.compile(r"^\s*(?:npm |yarn |pnpm |\[ERROR\]|E: |W: |error An unexpected|go: )")  # these request repositories, whatever their names
_TESTS = re.compile(
    r"^(?:=+ .*\b\d+ failed\b|FAILED \(|\s*--- FAIL:|FAIL\s|FAILED tests?[/:]|\[?\w*\]?\s*Tests run: \d+, Failures: (?:[1-9]|0, Errors: [1-9])"
    r"|Tests:? .*\d+ failed|\s+\d+ failing\b"
    r"|test result: FAILED|There (?:was|were) \d+ (?:failure|error)|\d+ examples?, [1-9]\d* failure|not ok \d+|E\s{3,}\S|Failed!\s+- Failed:"
    r"|The following tests FAILED|\s*✕ |\s*● .* › )"
    r"|ERR_ASSERTION|AssertionError|AssertionFailed|There were failing tests|[1-9]\d* (?:tests? )?failed, \d+ passed"
)
_DIAGNOSTIC = re.compile(
    r"^\s*(?:\S+\.(?:c|cc|cpp|cxx|h|hpp|go|rs|java|kt|ts|tsx|js|jsx|py|rb|cs|swift|scala|vue|m|mm|php)[:(]\d+|-->|\d+ \||\|)|^\s*(?:note"
    r"|warning): (?!spurious network)"
)
_FETCHED = re.compile(r'(?:Get|Head) "?https?://')  # go names the line of the import that it tried to fetch
_OWN_FAULT = re.compile(
    r"^\S+:\d+(?::\d+)?: (?:fatal )?error[: ]"
    r"|requires go >= [\d.]+ \(running|error TS\d+|error\[E\d+\]|error CS\d+|SyntaxError|ModuleNotFoundError|undefined reference|cannot find symbol"
    r"|COMPILATION ERROR|error: could not compile|code (?:E404|ERESOLVE|ETARGET|EUSAGE)"
    r"|Segmentation fault|Illegal instruction|undefined: |: undeclared|expected ['\u2018`]"
    r"|Protocol \W?https\W? not supported|Unsupported protocol|has no exported member|Type error:|internet routines cannot be loaded"
)
# What follows from an error before it, whatever that was.
_CONSEQUENCE = re.compile(r"code ELIFECYCLE|cannot find package")
# A server was reached: its answer with a status, or content that is not what the index says.
_ANSWERED = re.compile(
    r"(?:\bHTTP\b|status|code|[Rr]esponse|[Ee]rror|ERROR|returned)\W*(?:code|error|status)?\W*(?:HTTP/[\d.]+ )?[45]\d\d\b|\b[45]\d\d +(?:[A-Z][a-z]+ ?)+"
    r"|bad response \w+ [45]\d\d|Hash Sum mismatch|Could not find artifact|Writing more data than expected"
    r"|No URLs in mirrorlist|SERVER ERROR|size mismatch|bad_status_code"
)
# The project's own code ran in the step (pages of a web site are made), so that hosts without a name are its own.
_OWN_CODE = re.compile(r"[Pp]rerender|Generating static pages|Collecting page data|getStatic(?:Props|Paths)|fetch failed")
_PRIVATE = re.compile(r"(?:10\.|172\.(?:1[6-9]|2\d|3[01])\.|192\.168\.)[\d.]+$")
# Words of the network: without a known message, they show neither a fault of the network nor one of the step.
_NETWORK = re.compile(
    r"(?:[Uu]nable|[Cc]ould not|[Cc]ouldn't|[Cc]annot|[Ff]ailed|[Ff]ailure) (?:to )?(?:establish|connect|reach|download|fetch|retrieve"
    r"|resolve(?= (?:host|name|address|proxy|the (?:host|server)|['\"]?[\w-]+(?:\.[\w-]+)+['\"]?\s*$)))"
    r"|[Cc]onnection (?:was |is )?(?:closed|lost|reset|refused|aborted|failed|error|timed out)\b(?!: ?\d)|[Nn]etwork (?:error|is|problem)|are you offline"
    r"|[Ss]ocket error|[Cc]heck your (?:\w+ )?connection|[Ss]erver unavailable|(?:[Rr]equest|[Ff]etch) failed|performing the request"
    r"|could not be (?:downloaded|fetched|retrieved|reached)|[Nn]o internet"
    r"|(?:[Rr]ead|[Rr]equest|[Oo]peration|[Dd]ownload|[Ff]etch|[Cc]onnect)\w* timed? ?out\b|TIMEDOUT|TimeoutError|[Dd]ownload (?:failed|error)"
    r"|\b(?:SSL|TLS)\b.*\b(?:error|failed|failure|returned)\b|certificate.*(?:verif|invalid|trust|fail)|(?:verify|trust).*certificate"
)
# How package managers and build programs end, where nothing says that they ran in a step.
_ENDED_BADLY = re.compile(
    r"^\s*(?:npm (?:ERR!|error) |ERROR: unsatisfiable constraints|ERROR: unable to select packages|E: |error: subprocess-exited-with-error"
    r"|ERROR: (?:Could not find a version|No matching distribution)|FAILURE: Build failed|BUILD FAILED|\[INFO\] BUILD FAILURE|make(?:\[\d+\])?: \*\*\* "
    r"|curl: \(22\)|CondaHTTPError: HTTP [45]\d\d|HTTP error [45]\d\d|\*\* \(Mix\) .*bad_status_code|\[error\] SERVER ERROR|14: PYCURL ERROR 22"
    r"|go: .*https?://\S+: [45]\d\d [A-Z]"
    r"|ninja: build stopped|error Command failed| ?ERR_PNPM_|error: build failed|go: .*: exit status \d+:|\w+Error: .*HTTP Error [45]\d\d"
    r"|[45]\d\d +[A-Z][a-z]+(?: [A-Z][a-z]+)* +\[IP: |\[ERROR\] Failed to execute goal |ERROR:  While executing gem |error: failed retrieving file )"
    # git, where the server answered
    r"|fatal: (?:could not read (?:Username|Password)|(?:remote error: )?[Rr]epository .*not found|Authentication failed|Remote branch .* not found"
    r"|reference is not a tree|not a git repository|destination path .* already exists)"
    # what a resolver of packages says at its end
    r"|^\s*(?:Your requirements could not be resolved|ResolvePackageNotFound|UnsatisfiableError|LibMambaUnsatisfiableError|Could not solve for environment"
    r"|ERROR: ResolutionImpossible|ERROR: Cannot install .* because|Because .* version solving failed|Bundler could not find compatible versions"
    r"|error: failed to select a version|× No solution found|Error: Unable to find a match|Problem: |No packages? .* available)"
    r"|⨯ |\b(?:ENOGIT|ENOENT)\b|is not installed|[Cc]ommand not found"
    # shells, interpreters and compilers
    r"|^\s*(?:/bin/)?(?:[bd]?a|z|k)?sh: (?:line )?\d*:? ?\S|^\s*gyp ERR! |^\s*FATAL ERROR: |heap out of memory|OutOfMemoryError|[Cc]annot allocate memory"
    r"|^\s*at (?:async )?(?:\S+ )?\(?(?:node:|/)\S+:\d+:\d+\)?$|^\s*at [\w$.<>/]+\([\w$]+\.(?:java|scala|kt|groovy):\d+\)|^\*\* \(\w+"
    r"|thread '[^']*' panicked|^\s*CMake Error|^configure: error: |^\s*error: command '|error: (?:failed to (?:compile|parse|load)|no matching package named) "
    r"|^(?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error): "
)
# Messages of success: errors before them were recovered.
_SUCCESS = re.compile(
    r"^\s*(?:Successfully installed|added \d+ packages|Setting up \S+ \(|OK: \d+|\(\d+/\d+\) Installing|Complete!$|success Saved|Fetched [\d.,]+ ?\w?B in"
    r"|Compiling \S+ v\d|Receiving objects: 100%|Resolving deltas: 100%|Bundle complete!|Finished |Done in \d)|saved \[\d+|✨"
)
_NO_TLS = re.compile(r"can't execute 'ssl_helper'")  # busybox wget ends with a reset then
_HARMLESS = re.compile(r"npm (?:WARN|warn)|deprecat|[Rr]etrying|https?://\S+$")  # advice, and the addresses of help pages
_FRAME_OF_A_FETCH = re.compile(r'\s*File "[^"]*(?:urllib3?/|requests/|http/client\.py|(?:socket|ssl)\.py)')  # in a trace of Python
_CUT_TRACE = 4  # lines at the end, if the exception behind the trace is missing
_END = 40  # lines
_NEAR = 3  # lines
# curl with -s or --silent, and without -S or --show-error.
_SILENT_CURL = re.compile(r"\bcurl (?=(?:[^|;&]* )?(?:-[a-zA-Z]*s|--silent\b))(?!(?:[^|;&]* )?(?:-[a-zA-Z]*S|--show-error\b))")
# Its exit codes: which error it did not print (man curl). The others end other programs too.
_CURLS_ALONE = {**dict.fromkeys(("exit code 35", "exit code 52", "exit code 56"), ("reset", "reset")), "exit code 60": ("tls", "unknown authority")}
_CURL_CODES = {
    "exit code 5": ("proxy_unreachable", "dns"),
    "exit code 6": ("dns", "dns"),
    "exit code 7": ("refused", "not connected"),
    "exit code 28": ("timeout", "timeout"),
    **_CURLS_ALONE,
}
KILLED = ("exit code 132", "exit code 134", "exit code 135", "exit code 136", "exit code 137", "exit code 139")
_URL = re.compile(r"(?:https?|git|ssh|hkps?|ftp)://(?:[^@/\s'\"]*@)?(\[[\da-f:]+\]|[\w.-]+)")
_NAMED = re.compile(
    r"ConnectionPool\(host='(?P<a>[\w.-]+)'|[Cc]onnect(?:ion)? to \[?(?P<b>[\w-]+(?:\.[\w-]+)+)|connect to (?P<c>[\w.-]+)\s+port"
    r"|in connection to (?P<d>[\w.-]+)"
    r"|Connecting to (?P<e>[\w.-]+\.\w+)|Resolving (?P<f>[\w.-]+\.\w+)|\((?P<g>[a-z\d][\w.-]*\.\w+):\d+\)"
    r"|Idle timeout reached for host `(?P<h>[\w.-]+)|ssh: connect to host (?P<i>[\w.-]+)"
    r"|connect(?:\(2\))? (?:to|for) \"(?P<j>[\w.-]+)\"|keyserver (?:from )?(?P<k>[\w.-]+\.\w+)|to_address, ?\{['~c\"]*(?P<l>[\w.-]+)"
    r"|unable to connect to (?P<o>[\w.-]+)|attempted address(?:es)?: (?P<p>[\w.-]+)"
    r"|hkp server (?P<r>[\w.-]+)"
    r"|^(?P<n>[\w-]+(?:\.[\w-]+)+)\[\d+: |failed retrieving file '[^']*' from (?P<q>[\w.-]+)"
)
_ADDRESS = re.compile(
    r"(?:(?:ETIMEDOUT|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|dial tcp) \[?|remote host \()"
    r"(\d+\.\d+\.\d+\.\d+|[\da-f:]+:[\da-f:]+)(?:\]?:\d|\))"
)
_PROXY_PORT = re.compile(r"(?::|port )(?:3128|8080|8888|8118|8123|7890|7891|1080|10809|10808|3142)\b")
_SURE_PROXY_PORT = re.compile(r"(?:port |Connect to \S+:)(?:3128|8118|8123|7890|7891|1080|10809|10808|3142)\b")  # only proxies use these ports
_PROXY_SET = re.compile(
    r"(?:https?|all|ftp)_?proxy['\"]?[ =:]+['\"]?(?:\w+://)?(?:[^@/\s'\"]*@)?([\w.-]+)|(?:-x|--proxy)[ =]['\"]?(?:\w+://)?(?:[^@/\s'\"]*@)?([\w.-]+)", re.I
)
_CDN = re.compile(r"fastly|cloudfront|akamai|edgekey|azureedge|cdn", re.I)
_HOW = (
    ("dns", r"lookup |no such host|ENOTFOUND|EAI_AGAIN|not known|[Cc]ould not resolve|Temporary failure|resolv"),
    ("refused", r"refused|REFUSED"),
    ("timeout", r"time[d-]? ?out|ETIMEDOUT|deadline"),
    ("no route", r"unreachable|No route|no route|ENETUNREACH|EHOSTUNREACH"),
    ("reset", r"reset|aborted"),
    ("tls", r"tls|TLS|EOF|SSL|protocol error"),
)


def how(line: str) -> str:
    return next((name for name, pattern in _HOW if re.search(pattern, line)), "not connected")


def judge_step(output: t.Sequence[str], command: str, ended: str, log: t.Sequence[str] = ()) -> t.Optional[StepFailure]:
    """The network failure that ended a step; None if it failed by itself."""
    if ended in KILLED or any(_TESTS.search(line) or _NO_TLS.search(line) for line in output):
        return None
    start = max((index + 1 for index, line in enumerate(output) if _SUCCESS.search(line)), default=0)
    proxies = {a or b for line in (*log, command) for a, b in _PROXY_SET.findall(line)}
    vague: t.Optional[StepFailure] = None  # a message without a reason, or about one of the host's addresses: one before it can tell more
    for index in range(len(output) - 1, start - 1, -1):
        line = output[index]
        if _OWN_FAULT.search(line) and not re.search(rules.FULL, line):
            return vague
        matched = None if _DIAGNOSTIC.search(line) and not _FETCHED.search(line) else _match(line)
        failure = _place(*matched, output, index, command, proxies) if matched else None
        if failure and failure.reason in ("not connected", "no route"):
            vague = vague or failure
        elif failure and (vague is None or failure.host == vague.host):
            return _towards_a_proxy(_closed_by_the_program(failure, output[max(index - _NEAR, start) : index]), output)
    least = vague or _silent_curl([line for line in output[start:] if line.strip()], command, ended)
    if least:
        return least
    unclear = ((rule, line) for rule in rules.UNCLEAR for line in output[start:] if re.search(rule.pattern, line))
    return next((StepFailure(rule.cause, rule.reason, "", line) for rule, line in unclear), None)


def _closed_by_the_program(failure: StepFailure, before: t.Sequence[str]) -> StepFailure:
    """The certificate that a helper of wget refused just before wget itself reports only that the connection ended."""
    refused = [match[0] for match in map(_match, before) if match and match[0].cause == "tls"] if failure.cause == "reset" else []
    return failure._replace(cause="tls", reason=refused[-1].reason) if refused and "wget: " in failure.line else failure


def _towards_a_proxy(failure: StepFailure, output: t.Sequence[str]) -> StepFailure:
    """An answer without TLS is the proxy's, if another program names it: https:// before a plain proxy."""
    if failure.reason == "http answer" and any("proxyconnect tcp: tls: first record" in line for line in output):
        return failure._replace(cause="proxy_unreachable", reason="tls", host="")
    return failure


def _silent_curl(output: t.Sequence[str], command: str, ended: str) -> t.Optional[StepFailure]:
    if ended not in _CURL_CODES or not _SILENT_CURL.search(command) or _OWN_SERVICE.search(command) or (output and ended not in _CURLS_ALONE):
        return None
    cause, reason = _CURL_CODES[ended]
    return StepFailure(cause, reason, "" if cause == "proxy_unreachable" else _only_host(command), "")


# docker-compose and Docker's own libraries for Python; the git of BuildKit, which fetches a context; programs that ask a registry by themselves.
_CLIENTS_TRACE = re.compile(
    r"(?:site-packages|dist-packages|lib)/(?:compose|docker)/|\"(?:compose|docker)/(?:transport|api|utils|cli)/|bin/docker|docker\.errors|docker_compose"
    r"|git stderr:|/v2/\S+/(?:manifests|blobs)/|TOOMANYREQUESTS"
)


def of_a_client(output: t.Sequence[str]) -> bool:
    """Whether lines of unknown origin are of a client of Docker or of a registry."""
    return any(_CLIENTS_TRACE.search(line) for line in output)


def fails_by_itself(output: t.Sequence[str]) -> bool:
    """Whether lines of unknown origin show an error of a step itself."""
    return not of_a_client(output) and any(
        _TESTS.search(line)
        or _OWN_FAULT.search(line)
        or _CONSEQUENCE.search(line)
        or _ENDED_BADLY.search(line)
        or (_OWN_SERVICE.search(line) and "refused" in line)
        for line in output
    )


def answered(output: t.Sequence[str]) -> bool:
    """Whether a server refused the step's request in its last lines, so that the network works."""
    return any(_ANSWERED.search(line) for line in output[-_END:])


def may_be_the_network(output: t.Sequence[str]) -> bool:
    """Whether a step without a known message speaks of the network in its last lines, and shows no fault of its own."""
    if any(_TESTS.search(line) or _OWN_FAULT.search(line) or _OWN_CODE.search(line) or _NO_TLS.search(line) for line in output):
        return False
    if _trace_of_a_fetch([line for line in output if line.strip()][-_CUT_TRACE:]):
        return True
    start = max((index + 1 for index, line in enumerate(output) if _SUCCESS.search(line)), default=0)
    named = any(_NETWORK.search(line) and not (_DIAGNOSTIC.search(line) or _HARMLESS.search(line)) for line in output[start:][-_END:])
    return named and not answered(output) and not any(_OWN_SERVICE.search(line) for line in output[-_END:])


def _trace_of_a_fetch(end: t.Sequence[str]) -> bool:
    """Whether a trace of Python ends in a library of the network, without its exception."""
    return bool(end) and end[-1].startswith(" ") and any(map(_FRAME_OF_A_FETCH.match, end))


def _match(line: str) -> t.Optional[t.Tuple[rules.Rule, t.Match[str]]]:
    for rule in rules.STEP:
        match = re.search(rule.pattern, line)
        if match:
            return rule, match
    return None


def _place(rule: rules.Rule, found: t.Match[str], output: t.Sequence[str], index: int, command: str, proxies: t.AbstractSet[str]) -> t.Optional[StepFailure]:
    line = output[index]
    named = next((value for value in found.groupdict().values() if value), "").strip("[].")
    groups = [value for number, value in enumerate(found.groups(), 1) if value and number not in found.re.groupindex.values()]
    reason = rule.reason.replace("{1}", groups[0].strip() if groups else "").replace("{how}", how(line))
    if rule.cause == "disk_full":
        return StepFailure(rule.cause, reason, "", line)
    wanted = _wanted(output, index, command)
    if rule.cause.startswith("proxy_"):
        proxy = named or _proxy_of(line, proxies)
        return StepFailure(rule.cause, reason, proxy or ("" if rule.cause == "proxy_unreachable" else wanted), line, "proxy" if proxy else "")
    host = named or _host_in(line)
    if _is_proxy(host, line, wanted, proxies):
        return StepFailure("proxy_unreachable", how(line) if rule.cause == "tls" else reason, host, line, "proxy")
    if _OWN_SERVICE.search(line) and not _MANAGER.search(line):
        return None
    if rule.cause == "refused" and _of_own_code(host, line, output):
        return None
    address = _address(line)
    host = _url_host(line) or (wanted if host == address and named != address else "") or host or wanted or address
    if not host and any(_OWN_SERVICE.search(near) for near in output[max(index - 4, 0) : index + 7]):
        return None
    return None if is_loopback(host) else StepFailure(rule.cause, reason, host, line)


def _of_own_code(host: str, line: str, output: t.Sequence[str]) -> bool:
    """Whether the project's own code requested a host that has no name."""
    if _MANAGER.search(line) or (host and not _PRIVATE.match(host)) or _url_host(line):
        return False
    return any(_OWN_CODE.search(near) for near in output)


def _url_host(line: str) -> str:
    names = _URL.findall(line)
    return names[-1].strip("[].") if names else ""


def _address(line: str) -> str:
    match = _ADDRESS.search(line)
    return match.group(1) if match else ""


def _host_in(line: str) -> str:
    match = _NAMED.search(line)
    return next((value for value in match.groupdict().values() if value), "").strip(".") if match else _address(line)


def _proxy_of(line: str, proxies: t.AbstractSet[str]) -> str:
    named = re.search(r"HTTPS?Connection\(host='([\w.-]+)'|proxy '\w+://([\w.-]+)", line)
    if named:
        return named.group(1) or named.group(2)
    return next(iter(proxies)) if len(proxies) == 1 else ""


def _wanted(output: t.Sequence[str], index: int, command: str) -> str:
    """The target of the program: the URL next to its message, else the only URL of the command."""
    line = output[index]
    for near in (line, *(output[at] for at in range(index - 1, max(index - 7, -1), -1)), *output[index + 1 : index + 4]):
        host = _url_host(near) or (_host_in(near) if near is not line else "")
        if host and not re.search(r"/_logs/|help|docs|issues|[Cc]hangelog|npm notice", near):
            return host
    if re.search(r"curl|wget|fatal: |git", line) or re.search(r"(?:^|-c )(?:curl|wget|git) |Invoke-(?:WebRequest|RestMethod) ", command):
        return _only_host(command)
    return ""


def _only_host(command: str) -> str:
    hosts = set(_URL.findall(re.sub(r"\w+_proxy=\S+|(?:-x|--proxy)[ =]\S+", "", command, flags=re.I)))
    return hosts.pop() if len(hosts) == 1 else ""


def _is_proxy(host: str, line: str, wanted: str, proxies: t.AbstractSet[str]) -> bool:
    """Whether a host that could not be reached is the proxy that the program had to use."""
    if not host:
        return False
    if host in proxies:
        return True
    if host == wanted or is_loopback(wanted):
        return False
    if _SURE_PROXY_PORT.search(line) and re.search(r"curl|fatal: |Failed to connect|Connect to ", line):
        return True
    if not wanted:
        return _PROXY_PORT.search(line) is not None and "proxy" in host
    if is_loopback(host):  # a test suite's own server can be there too: the same line must name another host as target
        elsewhere = _url_host(line) not in ("", host) or re.search(r"curl|wget| - connect \(\d+: ", line) is not None
        return elsewhere and re.search(r"(?::|port )(?:80|443)\b", line) is None
    if _PROXY_PORT.search(line) or re.search(r"proxy|squid|cntlm", host):
        return True
    apt = re.search(r"Failed to fetch \S+ +(?:Could not resolve '|Unable to connect to )", line) is not None
    return apt and not _CDN.search(host) and host.split(".")[-2:] != wanted.split(".")[-2:]
