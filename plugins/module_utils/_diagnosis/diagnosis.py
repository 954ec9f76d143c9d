# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""From a build's own words to the process that failed, the reason, and the one setting that cures it.

Pure: the log, the exit code and what is known of the host come in, a verdict goes out.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import SplitResult, urlsplit

from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror

HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com")
TOKEN_SERVER = "auth.docker.io"
LAYERS = "production.cloudflare.docker.com"
MOST_LINES = 20


class Evidence(t.NamedTuple):
    """What is known besides the log."""

    code: int = 1
    timed_out: bool = False
    timeout: int = 0
    cannot: str = ""  # what the Dockerfile asks for and the legacy builder does not do
    image: str = ""
    network_step: str = ""
    daemon_token: bool = False  # BUILDKIT_NO_CLIENT_TOKEN in the build's environment
    daemon_proxy: str = ""  # the daemon's proxy for https, as the engine shows it
    client_proxy: str = ""  # the one in the build's environment
    mirrors: t.Tuple[Mirror, ...] = ()
    answers: bool = True  # the engine, asked after the build
    free: t.Optional[int] = None  # bytes on the engine's disk


class Verdict(t.NamedTuple):
    cause: str
    builder_used: t.Optional[str] = None
    asked_by: t.Optional[str] = None
    host: t.Optional[str] = None
    reason: t.Optional[str] = None
    reference: t.Optional[str] = None
    cure: t.Optional[str] = None
    sentence: str = ""
    lines: t.Tuple[str, ...] = ()


class Rule(t.NamedTuple):
    """The first rule whose pattern is found decides. A '{1}' in the reason is the pattern's group."""

    where: str  # the words of: client (the docker command itself), engine (its answers), step (what a RUN step printed)
    pattern: str
    cause: str
    reason: str = ""


# What stands between the last URL and the end of a Go error, as long as it is no status with a number.
_PROXY_WORDS = (
    r'": (Bad Gateway|Bad Request|Blocked|Connection refused|Filtered|Forbidden|Gateway Time-?out|Internal Server Error|Method Not Allowed|Not Found'
    r"|Service Unavailable|Unable to connect|Access [a-z]+)\s*(?:\(did you mean .*\))?$"
)

RULES = (
    # The docker command has no engine, no builder, or no Dockerfile to work with.
    Rule("client", r"permission denied while trying to connect to the [Dd]ocker", "engine_down", "permission denied"),
    Rule(
        "client",
        r"[Cc]annot connect to the Docker daemon|error during connect|Is the docker daemon running|failed to connect to the docker API",
        "engine_down",
        "no answer",
    ),
    Rule(
        "client",
        r"error reading from server: (?:EOF|.*connection reset)|transport is closing|error reading preface from client|^(?:ERROR: )?unexpected EOF$",
        "engine_down",
        "ended during the build",
    ),
    Rule("client", r"^docker(?:-compose)?: (?:command )?not found", "engine_down", "docker is not installed"),
    Rule("client", r"buildx component is missing or broken|[Bb]uildx plugin .*(?:missing|not found)|buildx: not found", "buildx_missing"),
    Rule("engine", r"no space left on device|disk quota exceeded", "disk_full", "no space left"),
    # What only BuildKit can do.
    Rule("engine", r"the (--\w[\w-]*) (?:option|flag) requires BuildKit", "legacy_cannot", "{1}"),
    Rule("engine", r'failed to parse platform : "" is an invalid|"" is an invalid (?:OS )?component', "legacy_cannot", "platform variables"),
    Rule("engine", r"the classic builder doesn't support ([\w -]+)", "legacy_cannot", "{1}"),
    # The Dockerfile or the context.
    Rule("engine", r"[Dd]ockerfile parse error[^:]*: *(.*)", "bad_dockerfile", "{1}"),
    Rule(
        "engine",
        r"(unknown instruction: \w+|base name .* should not be blank|file with no instructions|the Dockerfile \([^)]*\) cannot be empty)",
        "bad_dockerfile",
        "{1}",
    ),
    Rule(
        "engine",
        r"(invalid reference format(?:: repository name (?:\([^)]*\) )?must be lowercase)?|invalid from "
        r"flag value \S+: index out of bounds|invalid stage index \d+)",
        "bad_dockerfile",
        "{1}",
    ),
    Rule(
        "client",
        r"(unable to prepare context: .*|[Cc]annot locate specified Dockerfile.*|failed to read dockerfile: .*|path \S+ not found)",
        "bad_dockerfile",
        "{1}",
    ),
    Rule("engine", r"(?:COPY|ADD) failed: (.*)", "bad_dockerfile", "{1}"),
    Rule("engine", r'failed to (?:calculate checksum|compute cache key)[^"]*("[^"]+"):? not found', "bad_dockerfile", "{1} is not in the context"),
    # The proxy stands between: its faults come before those of the host behind it.
    Rule("engine", r"proxyconnect tcp: dial tcp: lookup ", "proxy_unreachable", "dns"),
    Rule("engine", r"proxyconnect tcp: .*connection refused", "proxy_unreachable", "refused"),
    Rule("engine", r"proxyconnect tcp: .*(?:connection reset|: EOF)", "proxy_unreachable", "reset"),
    Rule("engine", r"proxyconnect tcp: .*(?:tls:|x509:|TLS handshake|server gave HTTP response)", "proxy_unreachable", "tls"),
    Rule("engine", r"proxyconnect tcp: .*(?:timeout|deadline exceeded)", "proxy_unreachable", "timeout"),
    Rule(
        "engine",
        r"socks connect tcp .*(?:username/password authentication failed|no acceptable authentication methods)",
        "proxy_auth",
        "wrong user or password",
    ),
    Rule("engine", r"socks connect tcp .*: (?:unknown error )?([\w /]+?)\s*(?:\(did you mean .*\))?$", "proxy_refused", "{1}"),
    Rule("engine", r'": Proxy Authentication Required', "proxy_auth", "status 407"),
    Rule("engine", r'": Unauthorized\s*(?:\(did you mean .*\))?$', "proxy_auth", "status 401"),
    Rule("engine", _PROXY_WORDS, "proxy_refused", "{1}"),
    # The token server said no.
    Rule("engine", r"fetch (?:anonymous|oauth) token: unexpected status(?: from \S+ request to \S+)?: (\d{3})", "token_denied", "status {1}"),
    Rule("engine", r'Head "https?://[^"]+/manifests/[^"]+": (unauthorized|denied)\b', "token_denied", "{1}"),
    # The registry's answer.
    Rule("engine", r"toomanyrequests|429 Too Many Requests|pull rate limit", "rate_limited", "status 429"),
    Rule(
        "engine",
        r"unexpected status from \w+ request to \S+: (5\d\d)|received unexpected HTTP status: (5\d\d)|status code \[[^\]]*\]: (5\d\d)",
        "registry_error",
        "status {1}",
    ),
    Rule("engine", r"unexpected status from \w+ request to \S+: (403|401)|status code \[[^\]]*\]: (403|401)", "denied", "status {1}"),
    Rule("engine", r"text/html|invalid character '<' looking for beginning of value|unknown: <", "registry_error", "html page"),
    Rule("engine", r"error parsing HTTP (\d{3}) response body", "registry_error", "status {1}"),
    Rule("engine", r"pull access denied|insufficient_scope|requested access to the resource is denied|(?::|^) ?(?:denied|unauthorized)\b", "denied", "denied"),
    Rule(
        "engine",
        r"manifest unknown|manifest for \S+ not found|name unknown|\S: not found\s*(?:\(did you "
        r"mean .*\))?$|no matching manifest for",
        "not_found",
        "not found",
    ),
    # Nobody was reached.
    Rule("engine", r"dial tcp: lookup [^\n]*|no such host|server misbehaving|Temporary failure in name resolution", "dns", "dns"),
    Rule("engine", r"x509: certificate signed by unknown authority", "tls", "unknown authority"),
    Rule("engine", r"x509: certificate is valid for ([^\n]*?), not \S+", "tls", "certificate of {1}"),
    Rule("engine", r"x509: ([^\n]*)", "tls", "{1}"),
    Rule("engine", r"server gave HTTP response to HTTPS client", "tls", "http answer"),
    Rule("engine", r"TLS handshake timeout", "timeout", "timeout"),
    Rule("engine", r"first record does not look like a TLS handshake", "tls", "http answer"),
    Rule("engine", r"(?:remote error: )?tls: ([^\n]*)", "tls", "{1}"),
    Rule("engine", r"connection reset by peer|unexpected EOF|: EOF\b", "reset", "reset"),
    Rule("engine", r"connection refused", "refused", "refused"),
    Rule("engine", r"network is unreachable|no route to host|host is unreachable", "refused", "no route"),
    Rule("engine", r"i/o timeout|deadline exceeded|Client\.Timeout|connection timed out|request canceled while waiting", "timeout", "timeout"),
    # The third process: busybox wget, curl, apt, pip, npm, git, Go programs.
    Rule("step", r"No space left on device", "disk_full", "no space left"),
    Rule("step", r"[Cc]ould not resolve proxy|Cannot connect to proxy|proxyconnect tcp|Unable to connect to proxy", "proxy_unreachable", "unreachable"),
    Rule("step", r"Proxy Authentication Required|(?:code|response) 407|HTTP/1\.[01] 407", "proxy_auth", "status 407"),
    Rule("step", r"CONNECT tunnel failed, response (\d+)|Received HTTP code (\d+) from proxy|Tunnel connection failed: (\d+)", "proxy_refused", "status {1}"),
    Rule(
        "step",
        r"bad address '|[Cc]ould not resolve|Temporary failure (?:in name resolution|resolving)|Name or service not known|ENOTFOUND|EAI_AGAIN|no such host",
        "dns",
        "dns",
    ),
    Rule("step", r"[Cc]onnection refused|ECONNREFUSED|Failed to connect to \S+ port \d+ .*(?:refused|Couldn't connect)", "refused", "refused"),
    Rule("step", r"[Cc]onnection reset|ECONNRESET", "reset", "reset"),
    Rule("step", r"No route to host|[Nn]etwork is unreachable|[Hh]ost is unreachable|ENETUNREACH|EHOSTUNREACH", "refused", "no route"),
    Rule("step", r"timed out|ETIMEDOUT|[Tt]imeout was reached", "timeout", "timeout"),
    Rule("step", r"certificate verif|SSL certificate problem|CERTIFICATE_VERIFY_FAILED|x509:|SELF_SIGNED_CERT|TLS error|ssl_client: ", "tls", "tls"),
)

_NOTHING_FREE = 16 * 1024 * 1024  # bytes with which no image can be unpacked
_UNREACHED = ("dns", "refused", "reset", "timeout", "tls")
_NO_NETWORK = ("engine_down", "disk_full", "buildx_missing", "legacy_cannot", "bad_dockerfile", "step_failed", "unknown", "ok")

_STEP_FAILED = re.compile(
    r'process "(?P<a>.*)" did not complete successfully: exit code: (?P<ca>\d+)'
    r"|executor failed running \[(?P<b>.*)\]: exit code: (?P<cb>\d+)"
    r"|The command '(?P<c>.*)' returned a non-zero code: (?P<cc>\d+)"
)
_STEP_OUTPUT = re.compile(r"^#\d+ \d+\.\d+ (.*)$")
_LEGACY = re.compile(r"^(?:Sending build context to Docker daemon|Step \d+/\d+ :)", re.M)
_BUILDKIT = re.compile(r"^#\d+ |failed to solve|failed to dial gRPC", re.M)
_URL = re.compile(r'"(https?://[^"\s]+)"|(?:request to|from) (https?://[^\s"]+?):? ')
_HINT = re.compile(r"rror|ailed|enied|not found|refused|timeout|Get \"|Head \"|returned a non-zero|unable to|no space|Cannot|toomany", re.I)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def diagnose(log: str, evidence: t.Optional[Evidence] = None) -> Verdict:
    """A verdict on the output of a build, from the text alone or with what is known of the host besides."""
    known = evidence or Evidence()
    log = _ANSI.sub("", log).replace("\r", "\n")
    lines = log.splitlines()
    builder = builder_used(log)
    reference = _reference(lines, known)
    if known.code == 0 and not known.cannot:
        return Verdict("ok", builder, reference=reference, lines=tuple(_proof(lines)), sentence="The build passed.")
    if known.cannot:
        found = Verdict("legacy_cannot", reason=known.cannot)
    else:
        found = _timed_out(lines, known, builder) if known.timed_out else _judge(lines, known, builder)
    found = _through_mirrors(found, reference, known)
    cure = _cure(found, known, reference)
    return found._replace(
        builder_used=builder, reference=reference, cure=cure, lines=tuple(_decisive(lines, found)), sentence=_sentence(found, known, reference, cure)
    )


def builder_used(log: str) -> t.Optional[str]:
    """The builder that really ran, from its own words."""
    if _LEGACY.search(log):
        return "legacy"
    return "buildkit" if _BUILDKIT.search(log) else None


def _judge(lines: t.Sequence[str], known: Evidence, builder: t.Optional[str]) -> Verdict:
    step = next((found for found in map(_STEP_FAILED.search, lines) if found), None)
    if step:
        said = _step_output(lines, builder)
        match = _match(("step",), said)
        if match:
            rule, line, reason = match
            network = rule.cause not in _NO_NETWORK
            return Verdict(rule.cause, asked_by="step" if network else None, host=(_step_host(line, step, known) or None) if network else None, reason=reason)
        code = step["ca"] or step["cb"] or step["cc"]
        asked = bool(known.network_step) and known.network_step in step.group(0)
        host = _host(known.network_step) if asked else None
        return Verdict("step_failed", asked_by="step" if asked else None, host=host, reason=f"exit code {code}")
    words = [line for line in lines if not _STEP_OUTPUT.match(line)]
    match = _match(("client", "engine"), words)
    if match:
        return _place(*match, known, builder, _reference(lines, known))
    if not known.answers:
        return Verdict("engine_down", reason="no answer")
    if known.free is not None and known.free < _NOTHING_FREE:
        return Verdict("disk_full", reason="no space left")
    return Verdict("unknown", reason=f"exit code {known.code}")


def _match(where: t.Tuple[str, ...], lines: t.Sequence[str]) -> t.Optional[t.Tuple[Rule, str, str]]:
    """The first rule that is about one of the lines, that line, and the reason in it."""
    for rule in RULES:
        if rule.where in where:
            for line in lines:
                found = re.search(rule.pattern, line)
                if found:
                    group = next((part for part in found.groups() if part), "")
                    return rule, line, rule.reason.replace("{1}", group.strip())
    return None


def _place(rule: Rule, line: str, reason: str, known: Evidence, builder: t.Optional[str], reference: t.Optional[str]) -> Verdict:
    """Who asked whom, from the last URL in the line: the one whose request failed."""
    cause = rule.cause
    if cause in _NO_NETWORK:
        return Verdict(cause, reason=reason or None)
    urls = [a or b for a, b in _URL.findall(line)]
    url = urls[-1] if urls else ""
    token = re.search(r"fetch (?:anonymous|oauth) token", line) is not None or "scope=" in _split(url).query
    asked_by = "client" if token and builder == "buildkit" and not known.daemon_token else "daemon"
    host = _host(url)
    if cause in ("proxy_unreachable", "proxy_auth", "proxy_refused"):
        host = _proxy_host(line, known.client_proxy if asked_by == "client" else known.daemon_proxy) or host
    elif token and cause in _UNREACHED:
        cause = "token_unreachable"
    elif token and cause in ("denied", "rate_limited", "registry_error"):
        cause = "token_denied"
    if cause == "token_denied" and (not host or (not token and host in HUB)):
        host = TOKEN_SERVER
    if not host:
        named = re.search(r"lookup ([\w.-]+)|pulling from host ([\w.-]+)", line)
        host = (named.group(1) or named.group(2)) if named else ""
    if not host:  # the layers' errors name no host; the Hub's stand elsewhere
        host = LAYERS if "download failed after" in line and _registry(reference or "") in HUB else _asked(reference)
    return Verdict(cause, asked_by=asked_by, host=host, reason=reason or None)


def _timed_out(lines: t.Sequence[str], known: Evidence, builder: t.Optional[str]) -> Verdict:
    """Killed by us: by whom it was waited is seen from the last step without an end."""
    reason = f"no end within {known.timeout} s"
    running: t.Dict[str, str] = {}
    for line in lines:
        found = re.match(r"#(\d+) (.*)", line)
        if found and re.match(r"DONE|CACHED|ERROR(?!.*context canceled)", found.group(2)):
            running.pop(found.group(1), None)
        elif found and not found.group(2).startswith("CANCELED"):
            running.setdefault(found.group(1), found.group(2))
    if builder == "legacy":
        steps = [line.partition(" : ")[2] for line in lines if re.match(r"Step \d+/\d+ :", line)]
        running = {"0": steps[-1] if steps else ""}
    waiting = " ".join(running.values())
    if "[auth]" in waiting or any("failed to authorize" in line for line in lines):
        return Verdict("timeout", asked_by="client", host=TOKEN_SERVER, reason=reason)
    if re.search(r"load metadata for|resolve image config|\bFROM\b", waiting):
        return Verdict("timeout", asked_by="daemon", host=_asked(_reference(lines, known)), reason=reason)
    if re.search(r"\bRUN\b", waiting):
        return Verdict("timeout", asked_by="step", host=_host(known.network_step) or None, reason=reason)
    return Verdict("timeout", reason=reason)


def _through_mirrors(found: Verdict, reference: t.Optional[str], known: Evidence) -> Verdict:
    """The engine's words name only one of the hosts that it tried: the mirror's own answer says the rest."""
    if found.asked_by not in ("daemon", "client") or found.cause in ("proxy_auth", "proxy_refused"):
        return found
    registry = _registry(reference or "")
    if found.cause == "token_unreachable" and registry not in HUB and found.host == TOKEN_SERVER:
        return found._replace(cause="mirror_sends_token_elsewhere")  # FROM at a mirror that passes the Hub's realm on
    if found.reason == "html page" and not known.mirrors and found.cause == "registry_error":
        return found._replace(cause="proxy_refused")  # no registry speaks HTML: something between answered in its name
    if registry not in HUB:
        return found._replace(cause="mirror_error" if found.cause == "registry_error" else found.cause)
    for mirror in known.mirrors:
        named = found.host == mirror.host
        if mirror.sends_elsewhere and (found.cause == "token_unreachable" or (found.cause in _UNREACHED and found.host in HUB)):
            return found._replace(cause="mirror_sends_token_elsewhere", host=mirror.realm_host)
        if mirror.error and (named or found.host in HUB or not found.host):
            return found._replace(cause="mirror_error", host=mirror.host, reason=mirror.error, asked_by="daemon")
        if named and found.cause in ("registry_error", "denied", "rate_limited"):
            return found._replace(cause="mirror_error")
        if mirror.manifest == 404 and found.cause in (*_UNREACHED, "not_found") and found.host in HUB:
            return found._replace(cause="not_found", host=mirror.host, reason="status 404", asked_by="daemon")
        if not mirror.status and mirror.reason and found.cause in _UNREACHED and found.host in HUB:
            return found._replace(cause=_cause_of(mirror.reason), host=mirror.host, reason=mirror.reason, asked_by="daemon")
    if found.cause == "registry_error":
        return found._replace(cause="mirror_error" if found.host not in HUB and found.host else "unknown")
    return found


def _cause_of(reason: str) -> str:
    return reason if reason in _UNREACHED else "tls"


# What to set, one sentence for each cause; 'Set X Y' names the module and its option.
_CURES = {
    "no daemon proxy": "Set docker_daemon_proxy https_proxy (or registry_mirrors), so that the daemon reaches {host} another way.",
    "daemon proxy": "Set docker_daemon_proxy https_proxy to a proxy that reaches {host}, and keep {host} out of its no_proxy.",
    "mirror": "Repair the mirror {host}, or set docker_daemon_proxy registry_mirrors to another one.",
    "registry": "Set docker_daemon_proxy https_proxy to a proxy that reaches {host}, or correct the name in the Dockerfile.",
    "daemon token": "Set docker_build_env daemon_token: true.",
    "client token": "Set docker_build_env https_proxy to a proxy that reaches {host}, or docker_daemon_proxy "
    "https_proxy with docker_build_env daemon_token: true.",
    "token of the daemon": "Set docker_daemon_proxy https_proxy to a proxy that reaches {host}.",
    "token_denied": "Log in with the right credentials (docker login), or log out: the token server {host} does not accept what it was sent.",
    "daemon proxy_unreachable": "Set docker_daemon_proxy https_proxy to a proxy that answers.",
    "client proxy_unreachable": "Set docker_build_env https_proxy to a proxy that answers.",
    "step proxy_unreachable": "Set docker_build_env step_proxy to a proxy that build containers reach.",
    "daemon proxy_auth": "Set docker_daemon_proxy proxy_username and proxy_password to what the proxy accepts.",
    "client proxy_auth": "Set docker_build_env https_proxy to a proxy that accepts this host, or daemon_token: true.",
    "step proxy_auth": "Set docker_build_env step_proxy to a proxy that accepts build containers.",
    "proxy_refused": "Have the proxy's owner allow this host, or set {process} to another proxy.",
    "mirror_error": "Set docker_daemon_proxy registry_mirrors to a mirror that answers; {host} says {reason}, and only its owner can change that.",
    "mirror elsewhere, proxied": "Set docker_build_env daemon_token: true.",
    "mirror elsewhere": "Set docker_daemon_proxy registry_mirrors to a mirror that hands out images without a token "
    "(role registry_cache), or have the mirror's owner rewrite its realm.",
    "mirror elsewhere, client": "Set docker_build_env https_proxy to a proxy that reaches {host}, or use a mirror "
    "that hands out images without a token (role registry_cache).",
    "unknown authority": "Install the authority's certificate with the role proxy_ca (or in the host's own store): neither the daemon nor the client knows it.",
    "rate_limited": "Log in (docker login), or set docker_daemon_proxy registry_mirrors to a mirror of your own (role registry_cache).",
    "denied": "Log in (docker login) with a user that may read {reference}, or correct its name.",
    "not_found": "Correct the name or tag of {reference}: {host} does not have it.",
    "mirror lacks": "Set docker_daemon_proxy registry_mirrors to a mirror that has {reference}, or https_proxy so that the daemon "
    "can ask Docker Hub itself; or correct the name.",
    "no answer": "Start the engine (systemctl start docker).",
    "ended during the build": "See why the engine ended (journalctl -u docker), and build again when it runs.",
    "permission denied": "Run the task with become: true, or add the user to the group docker.",
    "docker is not installed": "Install Docker on this host.",
    "disk_full": "Free space on the engine's disk (docker system df shows what is used).",
    "buildx_missing": "Install the buildx plugin, or set docker_build_env buildkit: false.",
    "legacy_cannot": "Set docker_build_env buildkit: true, or builder: buildkit here: the legacy builder cannot do {reason}.",
    "bad_dockerfile": "Correct the Dockerfile or the context: {reason}.",
    "step": "Set docker_build_env step_proxy, so that RUN steps reach {host}.",
    "timeout": "Set docker_daemon_proxy https_proxy (or registry_mirrors) if {host} is slow or silent, or a longer timeout here.",
    "step_failed": "Correct the RUN step: it ended with {reason}.",
    "registry_error": "Try again later, or set docker_daemon_proxy registry_mirrors to a mirror.",
    "unknown": "Read the lines in log, and please report them.",
}


def _cure(found: Verdict, known: Evidence, reference: t.Optional[str]) -> str:
    process = (
        "docker_build_env https_proxy"
        if found.asked_by == "client"
        else "docker_build_env step_proxy"
        if found.asked_by == "step"
        else "docker_daemon_proxy https_proxy"
    )
    text = _CURES[_cure_name(found, known)]
    return text.format(host=found.host or "the registry", reason=found.reason or "an error", reference=reference or "the image", process=process)


def _cure_name(found: Verdict, known: Evidence) -> str:
    cause, asked_by, reason = found.cause, found.asked_by, found.reason or ""
    if cause == "unknown" and found.host:
        return "registry_error"
    if cause == "engine_down":
        return reason
    if reason == "unknown authority":
        return reason
    if cause == "not_found" and found.host in {mirror.host for mirror in known.mirrors}:
        return "mirror lacks"
    if cause == "mirror_sends_token_elsewhere":
        if asked_by == "client":
            return "mirror elsewhere, proxied" if known.daemon_proxy else "mirror elsewhere, client"
        return "mirror elsewhere"
    if cause == "token_unreachable":
        if asked_by == "client":
            return "daemon token" if known.daemon_proxy else "client token"
        return "token of the daemon"
    if cause in ("proxy_unreachable", "proxy_auth"):
        return f"{asked_by} {cause}"
    if cause in _UNREACHED:
        if asked_by == "step":
            return "step"
        if reason.startswith("no end within"):
            return "timeout"
        if found.host in HUB or not found.host:
            return "daemon proxy" if known.daemon_proxy else "no daemon proxy"
        return "mirror" if found.host in {mirror.host for mirror in known.mirrors} else "registry"
    return cause


def _sentence(found: Verdict, known: Evidence, reference: t.Optional[str], cure: str) -> str:
    return " ".join(part for part in (_what(found, known, reference), _why(found, known), cure) if part)


def _what(found: Verdict, known: Evidence, reference: t.Optional[str]) -> str:
    asker = {"daemon": "The daemon", "client": "The client", "step": "A RUN step"}.get(found.asked_by or "", "The build")
    cause, host, reason, image = found.cause, found.host or "the registry", found.reason or "no reason given", reference or "the image"
    if cause in ("token_unreachable",):
        return f"{asker} could not fetch a token from {host} ({reason})."
    if cause == "mirror_sends_token_elsewhere":
        mirrors = [mirror.host for mirror in known.mirrors if mirror.sends_elsewhere] or [_registry(image) or "the mirror"]
        return f"The mirror {mirrors[0]} sends {asker.lower()} to {host} for a token, which was not reached ({reason})."
    if cause == "token_denied":
        return f"The token server {host} said no to {asker.lower()} ({reason})."
    if cause == "proxy_unreachable":
        return f"{asker} could not reach its proxy {host} ({reason})."
    if cause == "proxy_auth":
        return f"The proxy {host} wants other credentials from {asker.lower()} ({reason})."
    if cause == "proxy_refused":
        if reason == "html page":
            return f"Something between answers {asker.lower()} in the name of {host} with an {reason}."
        return f"The proxy {host} said no to {asker.lower()} ({reason})."
    if cause in _UNREACHED and reason.startswith("no end within"):
        return f"The build was stopped ({reason}) while {asker.lower()} waited." if found.asked_by else f"The build was stopped ({reason})."
    if cause in _UNREACHED:
        return f"{asker} could not reach {host} ({reason})."
    if cause == "unknown" and found.host:
        return f"{host} answers with an error ({reason})."
    return {
        "mirror_error": f"The mirror {host} answers with an error ({reason}).",
        "rate_limited": f"{host} limits how often it is asked ({reason}).",
        "denied": f"{host} denies {image} ({reason}).",
        "not_found": f"{host} does not have {image} ({reason}).",
        "engine_down": f"The engine cannot be used ({reason}).",
        "disk_full": "The engine's disk is full.",
        "buildx_missing": "The buildx plugin is missing or broken.",
        "legacy_cannot": f"The legacy builder cannot do what the Dockerfile asks for ({reason}).",
        "bad_dockerfile": "The Dockerfile or the context is wrong.",
        "step_failed": f"A RUN step failed ({reason}).",
    }.get(cause, f"The build failed for a reason that is not known here ({reason}).")


def _why(found: Verdict, known: Evidence) -> str:
    if found.asked_by == "client" and found.cause in ("token_unreachable", "mirror_sends_token_elsewhere") and known.daemon_proxy:
        return "The daemon's proxy does not reach it."  # the client does not use it
    return ""


def _reference(lines: t.Sequence[str], known: Evidence) -> t.Optional[str]:
    """The image that was asked for last before the failure, as a Dockerfile would write it."""
    asked: t.Dict[str, str] = {}
    failed, last = "", ""
    for line in lines:
        found = re.match(r"#(\d+) \[.*\] load metadata for (\S+)|#(\d+) resolve image config for (?:docker-image://)?(\S+)", line)
        if found:
            last = found.group(2) or found.group(4)
            asked[found.group(1) or found.group(3)] = last
        error = re.match(r"#(\d+) ERROR", line)
        if error and error.group(1) in asked:
            failed = failed or asked[error.group(1)]
        step = re.match(r"Step \d+/\d+ : FROM (?:--\S+ )*(\S+)", line)
        last = step.group(1) if step else last
        copied = re.search(r"invalid from flag value (\S+):", line)
        failed = copied.group(1) if copied else failed
    name = failed or last or known.image
    return familiar(name) if name and "$" not in name and name != "scratch" else known.image or None


def familiar(reference: str) -> str:
    """docker.io/library/busybox:1 -> busybox:1"""
    name = reference.split("@sha256:")[0] if re.search(r":[\w.-]+@", reference) else reference
    for prefix in ("docker.io/library/", "docker.io/"):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def _registry(reference: str) -> str:
    first, slash, _rest = reference.partition("/")
    return first.partition(":")[0] if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def _asked(reference: t.Optional[str]) -> str:
    registry = _registry(reference or "")
    return "registry-1.docker.io" if registry in HUB else registry


def _host(url: str) -> str:
    return (_split(url).hostname or "") if "://" in url else ""


def _split(url: str) -> SplitResult:
    """A log's URL in parts, none of them where it is cut or broken."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _proxy_host(line: str, proxy: str) -> str:
    configured = _host(proxy if "://" in proxy else f"http://{proxy}") if proxy else ""
    found = re.search(r"dial tcp: lookup ([\w.-]+)|dial tcp ([\d.]+|\[[\da-f:]+\]):\d+", line)
    return configured or ((found.group(1) or found.group(2)) if found else "")


def _step_output(lines: t.Sequence[str], builder: t.Optional[str]) -> t.List[str]:
    if builder == "buildkit":
        return [found.group(1) for found in map(_STEP_OUTPUT.match, lines) if found]
    last = max((number for number, line in enumerate(lines) if re.match(r"Step \d+/\d+ :", line)), default=-1)
    return list(lines[last + 1 :])


def _step_host(line: str, step: t.Match[str], known: Evidence) -> str:
    found = re.search(
        r"bad address '([^']+)'|[Cc]ould not resolve (?:host|proxy): ([\w.-]+)|resolving '([\w.-]+)|ENOTFOUND ([\w.-]+)|connect to ([\w.-]+)\s+port", line
    )
    if found:
        return next(part for part in found.groups() if part).partition(":")[0]
    url = re.search(r"https?://[^\s'\"]+", line) or re.search(r"https?://[^\s'\"\\]+", re.sub(r"\w+_proxy=\S+", "", step.group(0), flags=re.I))
    return _host(url.group(0)) if url else _host(known.network_step)


def _decisive(lines: t.Sequence[str], found: Verdict) -> t.List[str]:
    chosen: t.List[str] = []
    for line in lines:
        line = line.rstrip()
        if _HINT.search(line) and line not in chosen and not line.startswith(("DEPRECATED", "------")):
            chosen.append(line)
    if found.cause in ("unknown", "step_failed") or not chosen or found.asked_by == "step":
        chosen = [line.rstrip() for line in lines if line.strip()]
    return chosen[-MOST_LINES:]


def _proof(lines: t.Sequence[str]) -> t.List[str]:
    return [line for line in lines if re.search(r"load metadata for|\[auth\]|^#\d+ resolve |^Step |^Status: |^Successfully |naming to", line)][:MOST_LINES]


def proved(log: str, pull: bool, stored: bool) -> t.Dict[str, str]:
    """What a green build proves: fresh (asked of the network now), cached, or unknown.

    ``stored``: the image was in the engine's store before. BuildKit keeps tokens in the daemon
    and says nothing when it uses one, so only its own '[auth]' line proves a fresh one.
    """
    if builder_used(log) == "legacy":
        fetched = re.search(r"^Status: Downloaded newer image", log, re.M) is not None
        asked = fetched or re.search(r"^Status: Image is up to date", log, re.M) is not None
        return {"manifest": _fresh(asked), "token": _fresh(asked), "layers": _fresh(fetched)}
    asked = pull or not stored
    fetched = re.search(r"^#\d+ extracting sha256:", log, re.M) is not None
    token = "fresh" if "[auth]" in log else "unknown" if asked else "cached"
    return {"manifest": _fresh(asked), "token": token, "layers": _fresh(fetched)}


def passed(proof: t.Mapping[str, str]) -> str:
    """A green build in words, which says so where it proves less."""
    kinds: t.Dict[str, t.List[str]] = {kind: [f"the {name}" for name in proof if proof[name] == kind] for kind in ("fresh", "cached", "unknown")}
    words = {kind: " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:]) for kind, names in kinds.items()}
    parts = [f"Fetched now: {words['fresh']}." if words["fresh"] else "Nothing was fetched now, so it proves nothing about the network."]
    if words["cached"]:
        parts.append(f"Here already, so not proved: {words['cached']}.")
    if words["unknown"]:
        parts.append(f"The output does not tell: {words['unknown']}.")
    return " ".join(["The build passed.", *parts])


def _fresh(value: bool) -> str:
    return "fresh" if value else "cached"


_PLATFORM = "(?:BUILD|TARGET)(?:PLATFORM|OS|ARCH|VARIANT)"
_BUILDKIT_ONLY = (
    (r"^\s*(?:ONBUILD\s+)?RUN\s+(?:--\S+\s+)*(--(?:mount|network|security))\b", "RUN {1}"),
    (r"^\s*(?:ONBUILD\s+)?(?:COPY|ADD)\s+(?:--\S+\s+)*(--(?:chmod|link|checksum|exclude|parents|keep-git-dir|unpack))\b", "COPY {1}"),
    (r"""^\s*(?:ONBUILD\s+)?(?:RUN|COPY|ADD)\b.*\s\d*(<<)-?["']?[A-Za-z_]\w*["']?(?=\s|$)""", "heredocs"),
    (rf"^\s*FROM\s.*\$\{{?({_PLATFORM})\b", "${1}"),
    (rf"^\s*ARG\s+({_PLATFORM})\s*$", "${1}"),  # it is empty there, without a word
)


def legacy_cannot(dockerfile: str) -> str:
    """What in a Dockerfile the legacy builder cannot do ('' if nothing): it would silently ignore a heredoc's body."""
    text = re.sub(r"\\[ \t]*\r?\n(?:[ \t]*#[^\n]*\n)*", " ", dockerfile)
    for pattern, name in _BUILDKIT_ONLY:
        found = re.search(pattern, text, re.M | re.I)
        if found and not (name == "${1}" and re.search(rf"^\s*ARG\s+{found.group(1)}=", text, re.M | re.I)):
            return name.replace("{1}", found.group(1))
    return ""
