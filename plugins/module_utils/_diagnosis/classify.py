# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Decide the cause of a failure: what failed, which process requested which host, and who answered."""

from __future__ import annotations

import re
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis import hosts, rules
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.log import PUSH, STEP_FAILED, Log, Step
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.step import (
    KILLED,
    answered,
    fails_by_itself,
    judge_step,
    may_be_the_network,
    of_a_client,
)
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import NO_NETWORK, UNREACHED, Evidence, Verdict
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import WANTS_LOGIN, Mirror, host_of

_NOTHING_FREE = 16 * 1024 * 1024  # bytes; with less free space no image can be unpacked
_PROXY = ("proxy_unreachable", "proxy_auth", "proxy_refused")
_URL = re.compile(r"https?://[^\s\"'<>]+")
_REQUESTED = re.compile(r"(?:(?:Get|Head|Post|Put|Patch|GET) \"?|request to |status code |content at |download )(https?://[^\s\"'<>]+)")
_HELP = re.compile(r"https?://(?:www\.|docs\.|hub\.)docker\.com|/issues/\d|/docs?/")
_ADVICE = re.compile(
    r"\b(?:[Vv]isit(?:ing)?|[Ss]ee|[Rr]efer to|[Ii]nstructions at|[Ii]nformation(?: at)?|[Hh]elp|[Dd]etails|[Mm]ore"
    r"|(?:[Ii]nstructions|[Ss]teps|[Ii]nformation|[Dd]etails|[Dd]ocumentation)\b(?:(?! (?:from|of) )[\w ]){0,40})[:,]? +\(?https?://\S+"
)
_TOKEN = re.compile(r"fetch (?:anonymous|oauth) token|[?&]scope=|/token\b[^ ]*service=")


# An error of the engine's API: the engine itself did what failed.
_BY_THE_ENGINE = re.compile(
    r"/manifests/[^\s\"]+\"?: (?:Get|Post) |Service '[^']+' failed to build ?: (?:Get|Head) |response from daemon|[Ss]erver [Ee]rror (?:- |for http\+docker)"
    r"|check(?:ing)? push (?:permission|check)|docker://|retrieving image "  # kaniko and buildah have no client that fetches tokens
)
_NO_PROXY_HOST = re.compile(r"proxyconnect tcp: dial tcp :\d+: ")


class Answer(t.NamedTuple):
    """A line that matches a rule, and where it belongs."""

    rule: rules.Rule
    line: str
    reason: str
    reference: t.Optional[str]

    @property
    def url(self) -> str:
        line = _ADVICE.sub("", self.line)
        urls = _REQUESTED.findall(line) or [url for url in _URL.findall(line) if not _HELP.search(url)]
        return urls[-1].rstrip(":,.)") if urls else ""

    @property
    def of_token(self) -> bool:
        return _TOKEN.search(self.line) is not None


def decide(log: Log, known: Evidence) -> Verdict:
    if known.cannot:
        return Verdict("legacy_cannot", reason=known.cannot)
    reference = reference_of(log, known)
    if known.timed_out:
        verdict = _timed_out(log, known, reference)
    else:
        verdict = _step(log, known) if log.failed_step else _engine(log, known, reference) or _rest(log, known)
    if verdict.asked_by not in ("daemon", "client"):
        return verdict
    role = verdict.role or _role(verdict.host or "", reference, known)
    return verdict._replace(role=role, instance=log.instance, mirror_named_by=_named_by(verdict.host or "", known) if role == "mirror" else "")


def _named_by(host: str, known: Evidence) -> str:
    """The file that names the mirror; '' if the log does not tell which mirror it was."""
    names = {mirror.named_by for mirror in known.mirrors if not host or host in (mirror.host, mirror.realm_host)}
    return names.pop() if len(names) == 1 else ""


def _role(host: str, reference: t.Optional[str], known: Evidence) -> str:
    if any(host in (mirror.host, mirror.realm_host) for mirror in known.mirrors):
        return "mirror"
    if hosts.is_store(host):
        return "store"
    if not host and reference is None:
        return "other"
    if not host or hosts.is_hub(host):
        return "hub" if hosts.of_hub(reference) or host else "registry"
    return "registry" if host == hosts.registry_of(reference or "") else "other"


def _step(log: Log, known: Evidence) -> Verdict:
    step = t.cast(Step, log.step)
    failure = judge_step(step.output, step.command, step.ended, log.lines)
    if failure and failure.cause in NO_NETWORK:
        return Verdict(failure.cause, reason=failure.reason)
    asked = bool(known.network_step) and known.network_step in step.command
    if failure:
        host = failure.host or (host_of(known.network_step) if asked else "")
        return Verdict(failure.cause, asked_by="step", host=host or None, reason=failure.reason, role=failure.role)
    if re.search(r"no space left on device", step.ended):
        return Verdict("disk_full", reason="no space left")
    reason = step.ended if step.ended.startswith("exit code") else "an error"
    if not asked and step.ended not in KILLED and may_be_the_network(step.output):
        return Verdict("unknown", reason=reason)
    return Verdict("step_failed", asked_by="step" if asked else None, host=host_of(known.network_step) if asked else None, reason=reason)


_ERROR = re.compile(r"\b(?:error|ERROR|Error|ERR!|failed|Failed|Traceback)\b")
_ERROR_OF_A_STEP = re.compile(
    _ERROR.pattern + r"|Exception|FAILED|[Ff]atal|FATAL"
    r"|[Cc]an(?:not|'t| not)\b|[Nn]ot found|[Nn]o such|NOT found|[Dd]enied|[Uu]nable to|[Ii]nvalid|panic"
    r"|[Cc]ould not|[Mm]issing|[Ii]ncompatible|[Cc]onflict|^\s*File \"[^\"]+\", line \d+, in "
    r"|[Uu]nsupported|[Uu]nknown|[Aa]borted|core dumped|[Nn]ot permitted|[Kk]illed|\w(?:Error|NotFound)\b|No solution found|nothing provides|no valid OpenPGP"
    r"|no required module|is not in std|inconsistent vendoring|is required\b|not satisfy|only supports|did NOT match|BAD signature|not unique|already exists"
    r"|^Your Ruby version is"
)


def _rest(log: Log, known: Evidence) -> Verdict:
    """Without a message of the engine: a step that was cut off, or the state of the host."""
    if log.engine_failed:
        return _unexplained(known)
    output = log.step.output if log.step and log.step.command else log.rest
    failure = None if of_a_client(output) else judge_step(output, log.step.command if log.step else "", "", log.lines)
    if failure and failure.cause != "disk_full":
        if failure.cause in NO_NETWORK:
            return Verdict(failure.cause, reason=failure.reason)
        return Verdict(failure.cause, asked_by="step", host=failure.host or None, reason=failure.reason, role=failure.role)
    shown = _unexplained(known)
    if failure or shown.cause != "unknown":
        return Verdict("disk_full", reason="no space left") if failure else shown
    if may_be_the_network(output):
        return shown
    if fails_by_itself(output) or (log.step and log.step.command and answered(output)):
        return Verdict("step_failed", reason="an error")
    if (log.builder is None or log.step) and _of_programs(output) and (not log.last or log.last.startswith("RUN")):
        return Verdict("step_failed", reason="an error")
    if log.step and any((_ERROR_OF_A_STEP if log.step.command else _ERROR).search(line) for line in log.step.output[-30:]):
        return Verdict("step_failed", reason="an error")
    return shown


# What only the engine, a builder or a client says; what can come from a connection.
_DOCKERS = re.compile(
    r"docker|buildx|buildkit|buildah|podman|kaniko|\b(?:containerd?|runc|runtime|compose|image|registry|layer|snapshot|manifest|daemon|context|solve"
    r"|grpc|rpc|x509|tls"
    r"|credential|blob|digest|push|pull|platform|sock|session|builder|EOF|mount|oci|swarm|volume|rootfs|overlayfs|overlay2|cgroup|apparmor|seccomp|stage)s?\b"
    r"|(?:reserve|restore|export\w*|import\w*) cache|failed to copy|parsing reference|\blstat\b|AuthZ|/_ping\b|hcsshim|end of JSON input$|invalid argument \""
    r"|Unable to find '[^']+' locally"
    r"|cache[- ](?:key|from|to|mount)|(?:oauth|anonymous|access|auth\w*|id) token|token server|Successfully (?:built|tagged)|^ ?---> ",
    re.I,
)
_OF_THE_NETWORK = re.compile(r"time[ds]? ?-?out|unreachable|refused|handshake|certificat|\bSSL|socket|connect|\bDNS\b|proxy|network|offline|host\b", re.I)
_DOCKERS_FILE = re.compile(r"docker[._](?:sock|engine)|bin/(?:docker|podman|buildah)|lib/(?:docker|containers?)|containerd|overlay2|moby|layer\.tar")
_OF_CI = re.compile(r"^(?:fatal|failed): \[|Job failed|operation was cancell?ed|Process completed with exit code|system failure|^HTTP [45]\d\d |The process '")
_PATH = re.compile(r"(?:https?://|(?<![\w.:])/)\S+")
_FETCHES = re.compile(r"urllib3?/|requests/|http/client\.py|(?:socket|ssl)\.py")  # a trace without its last line


def _of_programs(output: t.Sequence[str]) -> bool:
    """Whether errors without any word of Docker's world end an excerpt: a program of a step wrote them."""
    errors = [line for line in output[-30:] if _ERROR_OF_A_STEP.search(line) and not _OF_CI.search(line)]
    if not errors or any(map(_OF_THE_NETWORK.search, errors)) or any(map(_FETCHES.search, output)):
        return False
    return not any(_DOCKERS.search(_PATH.sub("", line)) or _DOCKERS_FILE.search(line) for line in output)


def _unexplained(known: Evidence) -> Verdict:
    """Unknown messages: the state of the host may tell more."""
    if not known.answers:
        return Verdict("engine_down", reason="no answer")
    if known.free is not None and known.free < _NOTHING_FREE:
        return Verdict("disk_full", reason="no space left")
    return Verdict("unknown", reason=f"exit code {known.code}")


def _engine(log: Log, known: Evidence, reference: t.Optional[str]) -> t.Optional[Verdict]:
    answer = _answer(log, reference)
    git = _git(log)
    if git and (answer is None or answer.rule.cause in (*UNREACHED, "bad_dockerfile")):
        return git
    if answer is None:
        return None
    if answer.rule.reason == "ended during the build" and _pulled(log):
        cut = Verdict("reset", asked_by="daemon", host=_layers_of(reference) if reference else None, reason="reset")  # a layer was cut off
        return _of_layers(cut, answer, log, known) or cut
    if answer.rule.cause in NO_NETWORK:
        client = answer.reason.startswith("docker-credential") or answer.reason == "credential helper"
        return Verdict(answer.rule.cause, asked_by="client" if client else None, reason=answer.reason or None)
    placed = _placed(answer, log, known)
    return _of_layers(placed, answer, log, known) or _through_mirrors(placed, answer, known)


def _of_layers(found: Verdict, answer: Answer, log: Log, known: Evidence) -> t.Optional[Verdict]:
    """Layers without an end, of an image that a mirror serves: the daemon's message names no host, or the Hub, which is asked after that."""
    of_hub = answer.reference and hosts.of_hub(answer.reference) and hosts.is_hub(found.host or "") and not log.instance
    serves = next((mirror for mirror in known.mirrors if mirror.status and not mirror.error and mirror.manifest != 404), None)
    if found.cause not in UNREACHED or not of_hub or not serves:
        return None
    if answer.url:
        last = max((index for index, line in enumerate(log.lines) if re.match(r"\s*Step \d", line)), default=0)
        failed = any(re.match(r"\s*[0-9a-f]{12}: Retrying in \d", line) for line in log.lines[last:])
    else:
        failed = re.search(r"unexpected EOF|failed to copy: ", answer.line) is not None
        if failed and serves.manifest != 200:
            return found._replace(host=None)  # its token server may have refused, and then the Hub was asked
    return found._replace(cause="mirror_error", host=serves.host, reason="incomplete layers") if failed else None


def _pulled(log: Log) -> bool:
    """Whether an image was being pulled when the log ends, by the legacy builder or docker pull."""
    if log.builder == "legacy":
        return log.last.upper().startswith("FROM")
    return log.builder is None and any(re.match(r"[0-9a-f]{12}: (?:Downloading|Download complete|Verifying|Pulling fs)", line) for line in log.lines)


def _git(log: Log) -> t.Optional[Verdict]:
    """A git context, whose messages look like those of a step: BuildKit fetches it in the engine, the legacy builder in the client."""
    client = any("unable to 'git clone'" in line for line in log.engine)
    if not client and not any(
        re.search(r"failed to fetch remote|load git source|error fetching default branch for repository", line) for line in (*log.engine, *log.failed)
    ):
        return None
    no_url = next((found for found in map(_NO_REPOSITORY.search, (*log.git, *log.engine)) if found), None)
    if no_url:
        return Verdict("bad_dockerfile", reason=f"{no_url.group(1)} is not a git repository")
    failure = judge_step((*log.git, *log.engine), "", "")
    refused = None if failure else next((line for line in (*log.git, *log.engine) if _GIT_LOGIN.search(line)), None)
    if refused:
        named = re.search(r"https?://(?:[^@/\s'\"]*@)?([\w.-]+)|git@([\w.-]+)", " ".join((refused, *log.git, *log.engine)))
        host = (named.group(1) or named.group(2)) if named else None
        return Verdict("denied", asked_by="client" if client else "daemon", host=host, reason="git without a login")
    return Verdict(failure.cause, asked_by="client" if client else "daemon", host=failure.host or None, reason=failure.reason) if failure else None


_NO_REPOSITORY = re.compile(r"fatal: '(?!origin')([^']+)' does not appear to be a git repository")
_GIT_LOGIN = re.compile(
    r"fatal: could not read (?:Username|Password) for|Authentication failed for 'http|Permission denied \(publickey|terminal prompts disabled"
    r"|remote: (?:Repository not found|HTTP Basic: Access denied|Invalid username or password)|Host key verification failed"
)


def _answer(log: Log, reference: t.Optional[str]) -> t.Optional[Answer]:
    """The last message of the engine or the client about a failure: the first rule that matches one of the lines."""
    for rule in (*rules.CLIENT, *rules.ENGINE):
        for index, line in enumerate(log.engine):
            match = None if STEP_FAILED.search(line) or _of_a_program(line) else re.search(rule.pattern, line.strip())
            if match:
                group = next((part for part in match.groups() if part), "")
                page = _goes_on(rule, line, log.engine[index + 1 : index + 5])
                return Answer(rule, " ".join((line, *page)), rule.reason.replace("{1}", group.strip()), reference)
    return None


def _goes_on(rule: rules.Rule, line: str, following: t.Sequence[str]) -> t.Sequence[str]:
    """The lines that belong to a message: a page's title, and a request behind its status."""
    if rule.reason == "html page":
        return following
    request = [row for row in following[:1] if re.search(r"\b(?:GET|HEAD|PUT|POST) https?://", row)]
    return request if re.search(r"[45]\d\d [A-Z][\w ]+$", line) else ()


# Programs of steps, for a log that is cut so that nothing else shows where the lines come from.
_PROGRAMS = re.compile(
    r"^(?!.*(?:Could not (?:build|pull) image: |docker[/\\]transport[/\\]|:jib-maven-plugin:|https?://\S+/v2/\S+/(?:manifests|blobs)/))"
    r"\s*(?:npm (?:ERR!|error|WARN)|yarn |go: |pip|curl: |wget: |fatal: |\[ERROR\]|\[INFO\]|E: |W: |Err:\d|Gem::|ssh: |WARNING: (?:fetching|updating"
    r"|opening|[Ii]gnoring) |An error occurred(?! trying to connect)"
    r"|Could not find|WARNING: Retrying"
    r"|.*(?<!Unix)HTTPS?ConnectionPool\(host='[\w.-]+', port=(?!237[56]\b)\d"
    r"|.*(?:SocketError|Net::\w+Timeout|Errno::E[A-Z]+|OpenSSL::SSL|Unable to download data from)\b"
    r"|.*\[IP: [\d.:a-f]+ \d+\]|.*The \w+ operation timed out"
    r"|Retrying|error: (?:RPC|could not|failed to download)|Caused by|> |Exception|at |Traceback|  File )"
)


# A file that a program written in Go fetches: the engine requests the paths of registries and token servers, and says what it failed to do.
_FILE = re.compile(r"Get \"?(https?://[\w.:-]+)/(?![^\s\"]*(?:\bv2\b|\bv1(?:\.\d|/(?:_ping|repositories|images|search|users))|token|auth))[^\s\"]+")
_ENGINES_OWN = re.compile(
    r"failed to (?:do|fetch|copy|solve|resolve|authorize|download)|(?:ADD|COPY) failed|daemon|pulling|download failed|V[12] registry|context"
    r"|^ERROR: Get "
)


def _of_a_program(line: str) -> bool:
    """Whether a line without its surroundings is the message of a program, and not the engine's."""
    if _PROGRAMS.match(line):
        return True
    file = _FILE.search(line)
    return file is not None and not hosts.is_store(host_of(file.group(1))) and not _ENGINES_OWN.search(line)


def _placed(answer: Answer, log: Log, known: Evidence) -> Verdict:
    """Which process requested which host, from the last URL in the line: that request failed."""
    cause, line, reference = answer.rule.cause, answer.line, answer.reference
    token = answer.of_token
    by_client = token and log.builder != "legacy" and not known.daemon_token and not _BY_THE_ENGINE.search(line)
    by_client = by_client or "unable to prepare context" in line
    asked_by = "client" if by_client else "daemon"
    host = host_of(answer.url).strip("*")  # a CI system's mask
    role = ""
    if cause in _PROXY:
        own = known.client_proxy if by_client else "" if log.instance else known.daemon_proxy
        proxy = _proxy_host(line, own)
        host, role = (proxy, "proxy") if proxy else ("" if _NO_PROXY_HOST.search(line) else host, "")
    elif token and cause in UNREACHED:
        cause = "token_unreachable"
    elif (token and cause in ("denied", "rate_limited")) or (token and cause == "registry_error" and answer.reason != "html page"):
        cause = "token_denied"
    if cause == "token_denied":
        host = _denied_token_host(host, token, known, reference)
        if not token and not hosts.is_hub(host or ""):
            cause = "denied"
    return Verdict(cause, asked_by=asked_by, host=host or _host_without_url(answer, known) or None, reason=answer.reason or None, role=role)


def _denied_token_host(host: str, token: bool, known: Evidence, reference: t.Optional[str]) -> str:
    if host and (token or not hosts.is_hub(host)):
        return host
    if host and not reference:
        return hosts.TOKEN_SERVER
    return _token_server(() if host else known.mirrors, reference)


def _token_server(mirrors: t.Sequence[Mirror], reference: t.Optional[str]) -> str:
    """The token server that was asked first, if the message names none: that of a mirror with one of its own, or that of the registry."""
    if not reference or not hosts.of_hub(reference):
        return hosts.asked_for(reference) if reference else ""
    own = (mirror.realm_host for mirror in mirrors if mirror.realm_host and not hosts.is_hub(mirror.realm_host))
    return next(own, hosts.TOKEN_SERVER)


def _host_without_url(answer: Answer, known: Evidence) -> str:
    """The host, if the message contains no URL."""
    line, reference = answer.line, answer.reference
    named = re.search(r"lookup ([\w-]+(?:\.[\w-]+)+)|pulling from host ([\w.-]+)|connecting to ([\w.-]+):\d+: |docker://((?:[\w-]+\.)+[\w-]+)(?::\d+)?/", line)
    if named:
        return next(part for part in named.groups() if part)
    if _ASKED_A_MIRROR.search(line):
        return ""  # its name is masked
    if answer.of_token:
        return _token_server(known.mirrors, reference)
    if "download failed after" in line or "error pulling image configuration" in line:
        return _layers_of(reference)
    if not reference and "docker.com/increase-rate-limit" in line:
        return hosts.HUB  # its own words
    if re.search(r"status code \[", line) and hosts.of_hub(reference) and not known.daemon_asked:
        return ""  # old wording, which is also used for a mirror's answer
    return hosts.asked_for(reference) if reference else ""


_ASKED_A_MIRROR = re.compile(r"\bv2/[^\s\"?]+\?ns=")  # on behalf of another registry


def _layers_of(reference: t.Optional[str]) -> str:
    return hosts.LAYERS if hosts.of_hub(reference) else hosts.asked_for(reference)


def _proxy_host(line: str, proxy: str) -> str:
    configured = host_of(proxy if "://" in proxy else f"http://{proxy}") if proxy else ""
    match = re.search(r"proxyconnect tcp: .*?dial tcp:? (?:lookup )?(\[[\da-f:]+\]|[\w.-]+)|socks connect tcp ([\w.-]+)|dial tcp: lookup ([\w.-]+)", line)
    return configured or (next((part for part in match.groups() if part), "").strip("[]") if match else "")


def _through_mirrors(verdict: Verdict, answer: Answer, known: Evidence) -> Verdict:
    """The engine's message names only one of the hosts that it tried: the mirror's own answer tells the rest."""
    reference = answer.reference
    if verdict.cause in _PROXY:
        return verdict
    named = _named_mirror(verdict.host or "", answer, known)
    named = named or "Attempting next endpoint for pull after error" in answer.line  # the daemon's own log: only a mirror has a next one
    named = named or (not verdict.host and _ASKED_A_MIRROR.search(answer.line) is not None)
    if named:
        verdict = verdict._replace(role="mirror")
    if verdict.cause == "token_unreachable" and not hosts.of_hub(reference) and verdict.host == hosts.TOKEN_SERVER:
        return verdict._replace(cause="mirror_sends_token_elsewhere")  # FROM at a mirror that passes the Hub's realm on
    if verdict.reason == "html page" and verdict.cause == "registry_error" and not named and not known.mirrors:
        status = _PAGE.search(answer.line)
        if status and not hosts.is_hub(verdict.host or ""):  # only Docker Hub is known to send no pages
            return verdict._replace(cause="unknown", reason=f"status {status.group(1) or status.group(2)}")
        return verdict._replace(cause="proxy_refused", host=verdict.host or (hosts.TOKEN_SERVER if answer.of_token else None))
    for mirror in known.mirrors:
        if hosts.of_hub(reference) or named or mirror.named_by:
            blamed = _blame(verdict, mirror, answer.line, reference or "")
            if blamed:
                return blamed
    verdict = _without_its_name(verdict, answer, known)
    if (named and verdict.cause in ("registry_error", "denied", "rate_limited", "token_denied")) or (named and verdict.reason == "content missing"):
        return verdict._replace(cause="mirror_error", reason=WANTS_LOGIN if verdict.reason == "no login" else _with_words(verdict.reason, answer.line))
    if verdict.cause == "registry_error":
        return _of_registry_error(verdict, reference)
    push = "unexpected status: " in answer.line  # without the URL: only a push says so, and no mirror takes one
    if verdict.cause == "denied" and not verdict.host and (verdict.reason or "").startswith("status") and not known.daemon_asked and not push:
        return verdict._replace(cause="unknown", asked_by=None)
    return verdict


def _of_registry_error(verdict: Verdict, reference: t.Optional[str]) -> Verdict:
    """An error of a registry itself, or of a host that answers for the registry of the image."""
    host = verdict.host or ""
    if verdict.reason == "too large" or not reference:
        return verdict._replace(cause="unknown")
    elsewhere = bool(host) and not hosts.is_hub(host) and not hosts.is_store(host)
    return verdict._replace(cause="mirror_error" if elsewhere and host != hosts.registry_of(reference) else "unknown")


_PAGE = re.compile(r"error parsing HTTP ([45]\d\d) |<(?:title|h1)>\s*([45]\d\d)\b", re.I)
_OWN_WORDS = "error from registry: "
_ALLOWLIST = re.compile(r"allow-?list|whitelist|白名单", re.I)


def _without_its_name(verdict: Verdict, answer: Answer, known: Evidence) -> Verdict:
    """Docker 29 shows a registry's message alone: for an image of Docker Hub it can be a mirror's, and only mirrors have allowlists."""
    if verdict.cause != "registry_error" or verdict.role or _OWN_WORDS not in answer.line or not answer.reference or not hosts.of_hub(answer.reference):
        return verdict
    spoke = [mirror for mirror in known.mirrors if mirror.status and mirror.manifest != 404]  # after the others Docker asks the next host
    if not spoke and known.daemon_asked:
        return verdict
    allowlist = _ALLOWLIST.search(answer.line)
    one = len(spoke) == 1 and (allowlist or spoke[0].manifest != 200)
    return verdict._replace(cause="mirror_error" if one or allowlist else "unknown", host=spoke[0].host if one else None)


def _named_mirror(host: str, answer: Answer, known: Evidence) -> bool:
    """Whether the host that answers is a mirror: requested on behalf of a registry (?ns=), for an image of the Hub, or configured as a mirror."""
    if not host or hosts.is_hub(host) or hosts.is_store(host):
        return False
    if any(host in (mirror.host, mirror.realm_host) for mirror in known.mirrors):
        return True
    if re.search(r"(?:^|[.-])mirrors?[\d.-]", host):
        return True  # by its name
    asked = re.search(r"[?&]ns=([\w.-]+)", answer.url)
    if asked:
        return asked.group(1) != host
    if re.search(r"/v2/(?:library|docker)/", answer.url) and f"{host}/" not in (answer.reference or ""):
        return True  # these are names of the Hub
    registry = hosts.registry_of(answer.reference or "")
    path = (answer.reference or "").partition("/")[2]
    hub_inside = re.match(r"(?:docker\.io/|library/|registry-1\.docker\.io/)", path) is not None or "docker.io%2F" in answer.url
    if registry == host or host.endswith(f".{registry}"):
        return hub_inside
    asked_for_it = "/v2/" in answer.url or answer.of_token or f"pulling from host {host}" in answer.line
    return answer.reference is not None and hosts.is_hub(registry) and asked_for_it


def _with_words(reason: t.Optional[str], line: str) -> t.Optional[str]:
    return f"{reason}: not in the allowlist" if reason and _OWN_WORDS not in line and _ALLOWLIST.search(line) else reason


def _blame(found: Verdict, mirror: Mirror, line: str, reference: str) -> t.Optional[Verdict]:
    """The verdict about a configured mirror; None if the failure does not involve one."""
    named = found.host in (mirror.host, mirror.realm_host)
    hub = not found.host or hosts.is_hub(found.host) or (bool(mirror.named_by) and found.host == hosts.registry_of(reference))
    lost = found.cause in UNREACHED or found.cause == "token_unreachable"
    if mirror.sends_elsewhere and lost and (found.host == mirror.realm_host or (hub and hosts.is_hub(mirror.realm_host))):
        return found._replace(cause="mirror_sends_token_elsewhere", host=mirror.realm_host)
    if mirror.error and (named or hub):
        return found._replace(cause="mirror_error", host=mirror.host, reason=mirror.error, asked_by="daemon")
    if mirror.status == 401 and found.cause == "denied" and (named or hub):
        # The containerd image store shows what the mirror said, or its token server: every mirror with one answers 401 at first.
        reason = WANTS_LOGIN if found.reason == "no login" else found.reason if _OWN_WORDS in line else "status 401"
        return found._replace(cause="mirror_error", host=mirror.host, reason=reason, asked_by="daemon")
    if mirror.content and found.cause in (*UNREACHED, "not_found") and hub:
        return found._replace(cause="mirror_error", host=mirror.host, reason=mirror.content, asked_by="daemon")
    if mirror.manifest == 404 and found.cause in (*UNREACHED, "not_found") and hub:
        return found._replace(cause="not_found", host=mirror.host, reason="status 404", asked_by="daemon")
    if not mirror.status and mirror.reason and found.cause in UNREACHED and hub:
        return found._replace(cause=mirror.reason if mirror.reason in UNREACHED else "tls", host=mirror.host, reason=mirror.reason, asked_by="daemon")
    return None


def _timed_out(log: Log, known: Evidence, reference: t.Optional[str]) -> Verdict:
    """Stopped by us: the last step without an end shows which process waited."""
    reason = f"no end within {known.timeout} s"
    running: t.Dict[str, str] = {}
    for line in log.lines:
        match = re.match(r"#(\d+) (.*)", line)
        if match and re.match(r"DONE|CACHED|ERROR(?!.*context canceled)", match.group(2)):
            running.pop(match.group(1), None)
        elif match and not match.group(2).startswith("CANCELED"):
            running.setdefault(match.group(1), match.group(2))
    if log.builder == "legacy":
        running = {"0": log.last}
    waiting = " ".join(running.values())
    if "[auth]" in waiting or any("failed to authorize" in line for line in log.lines):
        return Verdict("timeout", asked_by="client", host=hosts.TOKEN_SERVER, reason=reason)
    if re.search(r"load metadata for|resolve image config|\bFROM\b", waiting):
        silent = (mirror.host for mirror in known.mirrors if mirror.reason == "timeout" and (mirror.named_by or hosts.of_hub(reference)))
        return Verdict("timeout", asked_by="daemon", host=next(silent, hosts.asked_for(reference)), reason=reason)
    if re.search(r"\bRUN\b", waiting):
        return Verdict("timeout", asked_by="step", host=host_of(known.network_step) or None, reason=reason)
    return Verdict("timeout", reason=reason)


def reference_of(log: Log, known: Evidence) -> t.Optional[str]:
    """The image that was requested last before the failure, as written in a Dockerfile."""
    asked: t.Dict[str, str] = {}
    failed, last = "", ""
    for line in log.lines:
        loaded = re.match(r"#(\d+) \[.*\] load metadata for (\S+)|#(\d+) resolve image config for (?:docker-image://)?(\S+)", line)
        if loaded:
            last = loaded.group(2) or loaded.group(4)
            asked[loaded.group(1) or loaded.group(3)] = last
        error = re.match(r"#(\d+) ERROR", line)
        if error and error.group(1) in asked:
            failed = failed or asked[error.group(1)]
        step = re.match(r"Step \d+(?:/\d+)?\s?: FROM (?:--\S+ )*(\S+)", line)
        pulled = None if log.builder else re.search(r"\bdocker(?:\.exe)? (?:image )?pu(?:ll|sh) (?:-\S+ )*([\w.:/@-]+)\**$", line.rstrip())
        last = step.group(1) if step else pulled.group(1) if pulled else last
        image = next((match for match in (pattern.search(line) for pattern in _SAID_REFERENCE) if match), None)
        failed = image.group(1) if image else failed
    for header in log.failed:
        shown = re.search(r"(?:load metadata for|resolve image config for|(?:^|\] )FROM) (?:docker-image://)?([^\s$]+)", header)
        failed = failed or (shown.group(1) if shown else "")
    name = failed or last or known.image
    return hosts.familiar(name) if name and "$" not in name and "**/" not in name and name != "scratch" else known.image or None


def named_in(log: Log, known: Evidence, reference: t.Optional[str]) -> str:
    """Where the reference is written; '' for a pull, a push or a log that does not show it."""
    if not reference:
        return ""
    if any("booting buildkit" in line for line in log.lines) and any(re.search(r"pulling image \S+$", line) for line in log.lines):
        return "builder"
    if known.image and hosts.familiar(known.image) == reference:
        return "probe"
    if any(hosts.familiar(found.group(1)) == reference for found in map(_NAMED_CONTEXT.search, log.lines) if found):
        return "context"
    asked = [hosts.familiar(found.group(1)) for found in map(_SYNTAX.search, log.lines) if found]
    if reference in asked:
        return "syntax"
    pushed = any(PUSH.search(line) for line in (*log.engine, *log.failed))
    return "dockerfile" if log.builder and not pushed else ""


_NAMED_CONTEXT = re.compile(r"\[context [^\]]+\] load metadata for (\S+)")
_SYNTAX = re.compile(r"resolve image config for (?:docker-image://)?(\S+)")
# The first pattern that matches gives the image; the resolved name is complete, the Dockerfile's is not.
_SAID_REFERENCE = tuple(
    re.compile(pattern)
    for pattern in (
        r"failed to resolve source metadata for (\S+?):\s",
        r"invalid from flag value ([^\s:]+(?::[\w.-]+)?(?:@sha256:\w+)?):",
        r"pull access denied for ([^\s,]+)",
        r"manifest for (\S+) (?:is )?not found",
        r"failed to push (\S+?):? (?:unexpected status|failed to|server message|denied|unauthorized)",
        r"The push refers to (?:a )?repository \[([^\]\s]+)\]",
        r"^[Pp]ush(?:ing)? (?:for )?(?:image )?([\w.-]+(?::\d+)?/[\w./-]+(?::[\w.-]+)?) (?:image|failed)",
        r"^Error pulling ([\w.-]+(?::\d+)?/[\w./-]+(?::[\w.-]*\w)?)\. ",
        r"no child with platform \{[^}]*\} in index (\S+?),?$",
        r"push permission for \"([^\s\"]+)\"",
        r"failed to put manifest (\S+?):? errors?:",
        r"docker://((?:[\w.-]+:\d+/)?[\w./-]+(?::[\w.-]+)?(?:@sha256:\w+)?):? ",
        r"^(?:#\d+ |[ ]> )?(?:\[[^\]]*\] )?pushing ([\w.-]+/\S+) with docker",
        r"ERROR.{0,9} load metadata for (\S+)",
        r"pulling image (\S+)$",
        r"Unable to find image '(\S+)' locally",
        r"failed to solve: (?:[A-Z]\w+: )*([a-z\d][\w./-]*(?::[\w./-]+)?(?:@sha256:\w+)?): (?:failed|error|pull|no match|unexpected)",
        r"(?<![\w./-])((?:[\w-]+\.)+[\w-]+(?::\d+)?/[\w./-]+(?::[\w.-]+)?(?:@sha256:\w+)?):? not found",
    )
)
