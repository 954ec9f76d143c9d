# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs of real engines (logs/FAULT/ENGINE-BUILDER.log), each fault with what it must be called."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.diagnosis import diagnose
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.hosts import familiar
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.legacy import legacy_cannot
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.log import builder_used
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.proof import passed, proved
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.rules import RULES, Rule
from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.values import Evidence
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror

LOGS = Path(__file__).parent / "logs"
HUB, TOKEN, CDN = "registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com"
LOCAL = "http://127.0.0.1:5000"
PROXY = "http://proxy.lab:8888"
HUB_REALM = "https://auth.docker.io/token"
OK = ("ok", None, None, None)


def daemon(cause, host=HUB, reason=None):
    return cause, "daemon", host, reason or cause


def client(cause, host, reason):
    return cause, "client", host, reason


def step(cause, host, reason=None):
    return cause, "step", host, reason or cause


def local(cause):
    return cause, None, None, ...


# fault: (BuildKit's verdict, the legacy builder's, what is known besides the log)
FAULTS = {
    "ok": (OK, OK, {}),
    "wall-reset": (daemon("reset"), daemon("reset"), {}),
    "wall-refuse": (daemon("refused"), daemon("refused"), {}),
    "wall-drop": (daemon("timeout"), daemon("timeout"), {}),
    "wall-token": (client("token_unreachable", TOKEN, "reset"), daemon("token_unreachable", TOKEN, "reset"), {}),
    "wall-cdn": (daemon("reset", CDN), daemon("reset", CDN), {}),
    "poisoned-name": (daemon("tls", HUB, "certificate of relay.lab"), daemon("tls", HUB, "certificate of relay.lab"), {}),
    "untrusted-ca": (daemon("tls", HUB, "unknown authority"), daemon("tls", HUB, "unknown authority"), {}),
    "dns-unknown": (daemon("dns", "nosuch.lab"), daemon("dns", "nosuch.lab"), {}),
    "dns-silent": (daemon("dns", "silent.lab"), daemon("dns", "silent.lab"), {}),
    "dns-down": (daemon("dns"), daemon("dns"), {}),
    "http-on-https": (daemon("tls", "plain.lab", "http answer"), daemon("tls", "plain.lab", "http answer"), {}),
    "add-walled": (*[daemon("reset", "web.lab")] * 2, {}),
    "add-missing": (*[("bad_dockerfile", None, None, "status 404")] * 2, {}),
    "add-no-route": (*[daemon("refused", "web.lab", "no route")] * 2, {}),
    "proxy-closes": (*[daemon("reset")] * 2, {"daemon_proxy": "http://127.0.0.1:3128"}),
    "proxy-closes-tunnels": (*[daemon("reset")] * 2, {"daemon_proxy": "http://127.0.0.1:3128"}),
    "git-add": (*[daemon("reset", "web.lab")] * 2, {}),  # git's output is recorded, and played in the engine
    "no-ipv6-route": (*[daemon("refused", HUB, "no IPv6 route")] * 2, {}),
    "registry-http": (*[daemon("tls", "registry.lab", "http answer")] * 2, {}),
    "registry-platform": (*[daemon("not_found", "127.0.0.1", "platform")] * 2, {}),
    "registry-expired": (*[daemon("tls", "registry.lab", "certificate expired")] * 2, {}),
    "registry-early": (*[daemon("tls", "registry.lab", "clock is behind")] * 2, {}),
    "registry-no-sans": (*[daemon("tls", "registry.lab", "no SANs")] * 2, {}),
    "syntax-image": (daemon("reset"), daemon("reset"), {}),
    "daemon-proxy-only": (client("token_unreachable", TOKEN, "reset"), OK, {"daemon_proxy": PROXY}),
    "daemon-proxy-client-refused": (client("token_unreachable", TOKEN, "refused"), OK, {"daemon_proxy": PROXY}),
    "daemon-proxy-client-drop": (client("token_unreachable", TOKEN, "timeout"), OK, {"daemon_proxy": PROXY}),
    "daemon-proxy-client-dns": (client("token_unreachable", TOKEN, "dns"), OK, {"daemon_proxy": PROXY}),
    "daemon-proxy-daemon-token": (OK, OK, {"daemon_proxy": PROXY, "daemon_token": True}),
    "client-proxy-both": (OK, OK, {"daemon_proxy": PROXY, "client_proxy": "http://client-proxy.lab:8888"}),
    "client-proxy-only": (daemon("reset"), daemon("reset"), {"client_proxy": "http://client-proxy.lab:8888"}),
    "client-proxy-down": (
        client("proxy_unreachable", "client-proxy.lab", "refused"),
        OK,
        {"daemon_proxy": PROXY, "client_proxy": "http://client-proxy.lab:9999"},
    ),
    "client-proxy-unknown": (client("proxy_unreachable", "nosuch.lab", "dns"), OK, {"daemon_proxy": PROXY, "client_proxy": "http://nosuch.lab:8888"}),
    "client-proxy-auth": (client("proxy_auth", "auth-proxy.lab", "status 407"), OK, {"daemon_proxy": PROXY, "client_proxy": "http://auth-proxy.lab:8888"}),
    "proxy-down": (*[daemon("proxy_unreachable", "proxy.lab", "refused")] * 2, {"daemon_proxy": "http://proxy.lab:9999"}),
    "proxy-unknown": (*[daemon("proxy_unreachable", "nosuch.lab", "dns")] * 2, {"daemon_proxy": "http://nosuch.lab:8888"}),
    "proxy-auth-missing": (*[daemon("proxy_auth", "auth-proxy.lab", "status 407")] * 2, {"daemon_proxy": "http://auth-proxy.lab:8888"}),
    "proxy-auth-wrong": (*[daemon("proxy_auth", "auth-proxy.lab", "status 407")] * 2, {"daemon_proxy": "http://xxxxx:xxxxx@auth-proxy.lab:8888"}),
    "proxy-407": (*[daemon("proxy_auth", "127.0.0.1", "status 407")] * 2, {"daemon_proxy": "http://127.0.0.1:3128"}),
    "proxy-403": (*[daemon("proxy_refused", "127.0.0.1", "Forbidden")] * 2, {"daemon_proxy": "http://127.0.0.1:3128"}),
    "proxy-502": (*[daemon("proxy_refused", "127.0.0.1", "Bad Gateway")] * 2, {"daemon_proxy": "http://127.0.0.1:3128"}),
    "proxy-https-scheme": (*[daemon("proxy_unreachable", "proxy.lab", "tls")] * 2, {"daemon_proxy": "https://proxy.lab:8888"}),
    "proxy-malformed": (*[daemon("proxy_unreachable", "proxy.lab", "malformed URL")] * 2, {"daemon_proxy": "http://proxy.lab:88888"}),
    "proxy-untrusted": (*[daemon("proxy_unreachable", "tls-proxy.lab", "unknown authority")] * 2, {"daemon_proxy": "https://tls-proxy.lab:3129"}),
    "helper-missing": (("unknown", "client", None, "docker-credential-nosuch is missing"), OK, {}),
    "socks-down": (*[daemon("proxy_unreachable", "socks.lab", "refused")] * 2, {"daemon_proxy": "socks5://socks.lab:1099"}),
    "socks-auth-wrong": (*[daemon("proxy_auth", "auth-socks.lab", "wrong user or password")] * 2, {"daemon_proxy": "socks5://auth-socks.lab:1080"}),
    "socks-refuses": (*[daemon("proxy_refused", "socks.lab", "general SOCKS server failure")] * 2, {"daemon_proxy": "socks5://socks.lab:1080"}),
    "mirror-ok": (OK, OK, {"mirror": Mirror("https://mirror.lab", 200, manifest=200)}),
    "mirror-relay": (
        client("mirror_sends_token_elsewhere", TOKEN, "reset"),
        daemon("mirror_sends_token_elsewhere", TOKEN, "reset"),
        {"mirror": Mirror("https://relay.lab", 401, HUB_REALM)},
    ),
    "mirror-realm": (
        client("mirror_sends_token_elsewhere", TOKEN, "reset"),
        daemon("mirror_sends_token_elsewhere", TOKEN, "reset"),
        {"mirror": Mirror(LOCAL, 401, HUB_REALM)},
    ),
    "from-relay": (client("mirror_sends_token_elsewhere", TOKEN, "reset"), daemon("mirror_sends_token_elsewhere", TOKEN, "reset"), {}),
    "from-mirror-missing": (*[daemon("not_found", "mirror.lab", "not found")] * 2, {}),
    "mirror-403": (*[daemon("mirror_error", "127.0.0.1", "status 403")] * 2, {"mirror": Mirror(LOCAL, 403)}),
    "mirror-404": (*[daemon("mirror_error", "127.0.0.1", "status 404")] * 2, {"mirror": Mirror(LOCAL, 404)}),
    "mirror-429": (*[daemon("mirror_error", "127.0.0.1", "status 429")] * 2, {"mirror": Mirror(LOCAL, 429)}),
    "mirror-500": (*[daemon("mirror_error", "127.0.0.1", "status 500")] * 2, {"mirror": Mirror(LOCAL, 500)}),
    "mirror-html": (*[daemon("mirror_error", "127.0.0.1", "html page")] * 2, {"mirror": Mirror(LOCAL, 200, reason="html page")}),
    "mirror-html-403": (*[daemon("mirror_error", "127.0.0.1", "status 403")] * 2, {"mirror": Mirror(LOCAL, 403)}),
    "mirror-lacks": (*[daemon("not_found", "127.0.0.1", "status 404")] * 2, {"mirror": Mirror(LOCAL, 200, manifest=404)}),
    "mirror-cut": (*[daemon("mirror_error", "127.0.0.1", "incomplete layers")] * 2, {"mirror": Mirror(LOCAL, 200, manifest=200)}),
    # Without the mirror the legacy builder and pull ask the Hub, and report that alone.
    **{
        f"mirror-token-{answer}": (
            client("mirror_error", "127.0.0.1", "html page" if answer == "html" else f"status {answer}"),
            daemon("reset"),
            {"mirror": Mirror(LOCAL, 401, f"{LOCAL}/token")},
        )
        for answer in ("403", "404", "html")
    },
    "mirror-down": (*[daemon("refused", "127.0.0.1")] * 2, {"mirror": Mirror(LOCAL, reason="refused")}),
    "mirror-unknown": (*[daemon("dns", "nosuch.lab")] * 2, {"mirror": Mirror("https://nosuch.lab", reason="dns")}),
    "mirror-untrusted-ca": (
        *[daemon("tls", "selfsigned.lab", "unknown authority")] * 2,
        {"mirror": Mirror("https://selfsigned.lab:5443", reason="unknown authority")},
    ),
    "hub-403": (daemon("denied", HUB, "status 403"), daemon("denied", HUB, "denied"), {}),
    # An html page under the Hub's own name: BuildKit sees no more than the 404.
    "hub-404-html": (daemon("not_found", HUB, "not found"), daemon("proxy_refused", HUB, "html page"), {}),
    "hub-html": (*[daemon("proxy_refused", HUB, "html page")] * 2, {}),
    "hub-429": (*[daemon("rate_limited", HUB, "status 429")] * 2, {}),
    "hub-500": (*[daemon("unknown", HUB, "status 500")] * 2, {}),
    "hub-scope": (*[daemon("denied", HUB, "denied")] * 2, {}),
    "token-401": (client("token_denied", TOKEN, "status 401"), daemon("token_denied", TOKEN, "unauthorized"), {}),
    "token-403": (client("token_denied", TOKEN, "status 403"), daemon("token_denied", TOKEN, "denied"), {}),
    # The legacy builder's words do not tell the token server's answer from the registry's.
    "token-429": (client("token_denied", TOKEN, "status 429"), daemon("rate_limited", HUB, "status 429"), {}),
    "token-500": (client("token_denied", TOKEN, "status 500"), daemon("unknown", HUB, "status 500"), {}),
    "missing-tag": (*[daemon("not_found", HUB, "not found")] * 2, {}),
    "missing-repository": (*[daemon("not_found", HUB, "not found")] * 2, {}),
    "copy-from-missing": (*[daemon("not_found", HUB, "not found")] * 2, {}),
    "engine-stopped": (*[local("engine_down")] * 2, {}),
    "engine-no-permission": (*[local("engine_down")] * 2, {}),
    "disk-full": (*[local("disk_full")] * 2, {}),
    "bad-instruction": (*[local("bad_dockerfile")] * 2, {}),
    "bad-reference": (*[local("bad_dockerfile")] * 2, {}),
    "bad-copy": (*[local("bad_dockerfile")] * 2, {}),
    "bad-empty": (*[local("bad_dockerfile")] * 2, {}),
    "bad-blank-name": (*[local("bad_dockerfile")] * 2, {}),
    "legacy-mount": (OK, local("legacy_cannot"), {}),
    "legacy-chmod": (OK, local("legacy_cannot"), {}),
    "legacy-platform": (OK, local("legacy_cannot"), {}),
    "step-false": (*[("step_failed", None, None, "exit code 1")] * 2, {}),
    "step-not-found": (*[("step_failed", None, None, "exit code 127")] * 2, {}),
    "step-wget-404": (*[("step_failed", None, None, "exit code 1")] * 2, {}),
    "step-wget-dns": (*[step("dns", "nosuch.lab")] * 2, {}),
    "step-wget-refused": (*[step("refused", "mirror.lab")] * 2, {}),
    "step-wget-no-route": (*[step("refused", "10.57.0.200", "no route")] * 2, {}),
    "step-wget-reset": (*[("reset", "step", ..., "reset")] * 2, {}),  # the host's own address
    "stopped-registry": (*[daemon("timeout", HUB, "no end within 8 s")] * 2, {"timed_out": True, "timeout": 8}),
    "stopped-step": (*[step("timeout", None, "no end within 8 s")] * 2, {"timed_out": True, "timeout": 8}),
}
# What only some engines do.
SPECIAL = {
    ("buildx-missing", "20.10", "buildkit"): (OK, {}),  # built into the client
    ("buildx-missing", "26.1", "buildkit"): (local("buildx_missing"), {}),
    ("buildx-missing", "28.5", "buildkit"): (local("buildx_missing"), {}),
    **{("buildx-missing", engine, "legacy"): (OK, {}) for engine in ("20.10", "26.1", "28.5")},
    ("legacy-heredoc", "20.10", "buildkit"): (local("bad_dockerfile"), {}),  # its frontend is too old for heredocs
    ("legacy-heredoc", "20.10", "legacy"): (local("bad_dockerfile"), {}),
    ("legacy-heredoc", "26.1", "buildkit"): (("step_failed", None, None, "exit code 1"), {}),
    ("legacy-heredoc", "28.5", "buildkit"): (("step_failed", None, None, "exit code 1"), {}),
    # It builds, and the step's `false` never ran: only the Dockerfile tells.
    ("legacy-heredoc", "26.1", "legacy"): (("legacy_cannot", None, None, "heredocs"), {"cannot": "heredocs"}),
    ("legacy-heredoc", "28.5", "legacy"): (("legacy_cannot", None, None, "heredocs"), {"cannot": "heredocs"}),
    # 20.10 waits without an end, so that we stopped it; the others give up by themselves.
    ("proxy-silent", "20.10", "buildkit"): (daemon("timeout", HUB, "no end within 150 s"), {"timed_out": True, "timeout": 150, "daemon_proxy": LOCAL}),
    **{
        ("proxy-silent", engine, builder): (daemon("timeout"), {"daemon_proxy": LOCAL})
        for engine in ("20.10", "26.1", "28.5")
        for builder in ("buildkit", "legacy")
        if (engine, builder) != ("20.10", "buildkit")
    },
    # 20.10's client had to be killed, and said nothing of the token that it waited for.
    ("stopped-token", "20.10", "buildkit"): (daemon("timeout", HUB, "no end within 8 s"), {"timed_out": True, "timeout": 8}),
    ("stopped-token", "26.1", "buildkit"): (client("timeout", TOKEN, "no end within 8 s"), {"timed_out": True, "timeout": 8}),
    ("stopped-token", "28.5", "buildkit"): (client("timeout", TOKEN, "no end within 8 s"), {"timed_out": True, "timeout": 8}),
    **{("stopped-token", engine, "legacy"): (OK, {}) for engine in ("20.10", "26.1", "28.5")},
}


def cases():
    for path in sorted(LOGS.glob("*/*.log")):
        engine, _dash, builder = path.stem.partition("-")
        fault = path.parent.name
        if (fault, engine, builder) in SPECIAL:
            expected, known = SPECIAL[fault, engine, builder]
        else:
            buildkit, legacy, known = FAULTS[fault]
            expected = buildkit if builder == "buildkit" else legacy
        yield pytest.param(path, expected, known, id=f"{fault}/{path.stem}")


def facts(expected, known):
    known = dict(known)
    mirror = known.pop("mirror", None)
    return Evidence(code=0 if expected == OK or known.get("cannot") else 1, daemon_asked=True, mirrors=(mirror,) if mirror else (), **known)


@pytest.mark.parametrize(("path", "expected", "known"), list(cases()))
def test_a_recorded_log_gets_its_cause(path, expected, known):
    verdict = diagnose(path.read_text(), facts(expected, known))
    found = (verdict.cause, verdict.asked_by, verdict.host, verdict.reason)
    assert found == tuple(seen if wanted is ... else wanted for wanted, seen in zip(expected, found))
    if expected != OK:
        assert verdict.cure and verdict.cure.endswith((".", "is not in the context.")) and "{" not in verdict.cure
        assert verdict.cure in verdict.sentence
        assert verdict.lines


@pytest.mark.parametrize("path", [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in sorted(LOGS.glob("*/*.log"))])
def test_the_builder_is_read_from_its_own_words(path):
    # Where no engine or no buildx is, nothing was built by anybody.
    silent = path.parent.name.startswith(("engine-", "buildx-missing"))
    assert builder_used(path.read_text()) in ({path.stem.split("-")[1], None} if silent else {path.stem.split("-")[1]})


def test_every_fault_was_recorded_on_every_engine_with_both_builders():
    for fault in {*FAULTS, *(key[0] for key in SPECIAL)}:
        found = {path.stem for path in (LOGS / fault).glob("*.log")}
        assert found == {f"{engine}-{builder}" for engine in ("20.10", "26.1", "28.5") for builder in ("buildkit", "legacy")}, fault


# Rules whose words the lab has not said yet: each with a line from the documentation of the program that says it.
NOT_RECORDED = {
    "Could not reach any registry endpoint": "refused",
    "Error response from daemon: Error processing tar file(exit status 1): unexpected EOF": "unknown",
    "unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat /srv/Dockerfile: no such file or directory": "bad_dockerfile",
    "docker-compose: command not found": "engine_down",
    "the classic builder doesn't support secrets, set DOCKER_BUILDKIT=1 to use BuildKit": "legacy_cannot",
    'failed to do request: Head "https://registry-1.docker.io/v2/": proxyconnect tcp: read tcp a->b: read: connection reset by peer': "proxy_unreachable",
    'failed to do request: Head "https://registry-1.docker.io/v2/": proxyconnect tcp: dial tcp 10.0.0.2:3128: i/o timeout': "proxy_unreachable",
    'Head "https://registry-1.docker.io/v2/library/busybox/manifests/1": Unauthorized': "proxy_auth",
    'error parsing HTTP 500 response body: unexpected end of JSON input: ""': "unknown",
    'Get "https://registry-1.docker.io/v2/": x509: cannot validate certificate for 10.0.0.1 because it doesn\'t contain any IP SANs': "tls",
    'Get "https://registry-1.docker.io/v2/": net/http: TLS handshake timeout': "timeout",
    'Get "https://registry-1.docker.io/v2/": remote error: tls: handshake failure': "tls",
    'Get "https://registry-1.docker.io/v2/": dial tcp 10.0.0.1:443: connect: network is unreachable': "refused",
    "Error response from daemon: dockerfile parse error line 12: unknown flag: chmod": "legacy_cannot",
    '"--platform" is only supported on a Docker daemon with experimental features enabled': "legacy_cannot",
    "ADD failed: failed to GET https://files.example.com/x-.tgz with status 404 Not Found: not here": "bad_dockerfile",
    "ADD failed: failed to GET https://files.example.com/x.tgz with status 407 Proxy Authentication Required": "proxy_auth",
    "ADD failed: failed to GET https://files.example.com/x.tgz with status 503 Service Unavailable": "unknown",
    "failed to solve: secret npmrc: not found": "bad_dockerfile",
    'error getting credentials - err: exec: "docker-credential-pass": executable file not found in $PATH, out: ``': "unknown",
    "ERROR: failed to build: failed to solve: failed to load cache key: unknown scheme git: not found": "unknown",
    "error getting credentials - err: exit status 1, out: ``": "unknown",
    "failed to solve: no active sessions": "unknown",
    "compose build requires buildx 0.17.0 or later": "buildx_missing",
    "ERROR: failed to copy to tar: EOF": "unknown",
    "OCI runtime create failed: container_linux.go:377: getting the final child's pid from pipe caused: EOF: unknown": "unknown",
    "failed to fetch oauth token: authorization server did not include a token in the response": "token_denied",
    'error during connect: Get "https://docker:2376/v1.44/version": tls: failed to verify certificate: x509: x': "engine_down",
    "failed to solve: failed to load cache key: content digest : not found": "unknown",
    "ERROR: Multi-platform build is not supported for the docker driver.": "unknown",
    'Get https://registry-1.docker.io/v2/: invalid proxy URL port "port"': "proxy_unreachable",
    'Get "https://registry-1.docker.io/v2/": proxyconnect tcp: dial tcp 10.0.0.2:3128: connect: no route to host': "proxy_unreachable",
    'Get "https://registry-1.docker.io/v2/": proxyconnect tcp: tls: failed to verify certificate: x509: certificate signed by unknown authority': (
        "proxy_unreachable"
    ),
    'Get "https://registry-1.docker.io/v2/": socks connect tcp 10.0.0.2:1080->registry-1.docker.io:443: dial tcp 10.0.0.2:1080: connect: '
    "connection refused": "proxy_unreachable",
    "failed to fetch anonymous token: unable to decode token response: invalid character '<' looking for beginning of value": "proxy_refused",
    "failed to solve: no match for platform in manifest: not found": "not_found",
    "failed to copy: could not fetch content descriptor sha256:aaaa (application/vnd.oci.image.config.v1+json) from remote: not found": "not_found",
    "unexpected status from HEAD request to https://mirror.example.com/v2/library/busybox/manifests/1?ns=docker.io: 402 Payment Required": "mirror_error",
    "unexpected status from GET request to https://registry-1.docker.io/v2/library/busybox/blobs/sha256:aa: 404 Not Found": "not_found",
    'Head "https://registry-1.docker.io/v2/library/busybox/manifests/1": no basic auth credentials': "denied",
    "denied: this country is subject to export control regulations": "denied",
    'failed commit on ref "layer-sha256:aa": "layer-sha256:aa" failed size validation: 7658 != 7335: failed precondition': "unknown",
    'Head "https://registry-1.docker.io/v2/": dial tcp [2001:db8::1]:443: connect: cannot assign requested address': "refused",
    'Get "https://registry-1.docker.io/v2/": x509: certificate has expired or is not yet valid: current time 2024-01-01T00:00:00Z is before x': "tls",
    'Get "https://registry-1.docker.io/v2/": x509: certificate has expired or is not yet valid: current time 2026-01-01T00:00:00Z is after x': "tls",
    "error from registry: this repository is not served here": "unknown",
    "could not load ca: open /etc/docker/certs.d/docker.io/ca.crt: no such file or directory": "tls",
    "error parsing HTTP 413 response body: invalid character '<' looking for beginning of value": "unknown",
    "ERROR: failed to solve: DeadlineExceeded: context deadline exceeded": "unknown",
    "ERROR: failed to build: failed to solve: failed to parse error response 400: <h2>Our services aren't available right now</h2>": "unknown",
}


@pytest.mark.parametrize(("line", "cause"), NOT_RECORDED.items())
def test_a_line_that_was_not_recorded(line, cause):
    assert diagnose(f"Step 1/2 : FROM busybox:1\n{line}\n", Evidence()).cause == cause


STEPS = {
    "curl: (6) Could not resolve host: pypi.example": ("dns", "pypi.example"),
    "curl: (5) Could not resolve proxy: proxy.example": ("proxy_unreachable", "proxy.example"),
    'go: x@v1.0.0: Get "https://proxy.example/x": proxyconnect tcp: dial tcp 127.0.0.1:3128: connect: connection refused': ("proxy_unreachable", "127.0.0.1"),
    "curl: (60) SSL certificate problem: certificate is not yet valid": ("tls", "files.example"),
    "E: Release file for http://deb.example/x/InRelease is not valid yet (invalid for another 6h 7min 22s).": ("step_failed", None),
    "curl: (7) Failed to connect to deb.example port 443 after 3 ms: Couldn't connect to server": ("refused", "deb.example"),
    "curl: (7) Failed to connect to deb.example:443 after 3 ms: Could not connect to server": ("refused", "deb.example"),
    "curl: (28) Failed to connect to deb.example:443 after 135012 ms: Could not connect to server": ("timeout", "deb.example"),
    "curl: (56) CONNECT tunnel failed, response 403": ("proxy_refused", "files.example"),
    "curl: (56) CONNECT tunnel failed, response 407": ("proxy_auth", "files.example"),
    "curl: (60) SSL certificate problem: unable to get local issuer certificate": ("tls", "files.example"),
    "curl: (28) Connection timed out after 10001 milliseconds": ("timeout", "files.example"),
    "W: Failed to fetch http://deb.example/x  Temporary failure resolving 'deb.example'": ("dns", "deb.example"),
    "npm error errno ENOTFOUND registry.example": ("dns", "registry.example"),
    "cp: write error: No space left on device": ("disk_full", None),
    "make: *** [all] Error 2": ("step_failed", None),
}


@pytest.mark.parametrize(("line", "expected"), STEPS.items())
def test_a_step_is_judged_by_what_its_program_said(line, expected):
    log = f'#6 0.412 {line}\n#6 ERROR: process "/bin/sh -c install https://files.example/x" did not complete successfully: exit code: 1\n'
    verdict = diagnose(log, Evidence())
    assert (verdict.cause, verdict.host) == expected
    assert verdict.asked_by == ("step" if expected[1] else None)


def test_every_rule_is_used_by_a_test():
    programs = [line for row in json.loads((LOGS.parent / "steps.json").read_text())["network"] for line in row[1].split("\n")]
    lines = [line for path in LOGS.glob("*/*.log") for line in path.read_text().splitlines()] + [*NOT_RECORDED, *STEPS, *programs]
    assert [rule for rule in RULES if not any(re.search(rule.pattern, line) for line in lines)] == []


def test_what_a_step_prints_is_no_error_of_the_engine():
    log = '#5 0.3 Get "https://registry-1.docker.io/v2/": read: connection reset by peer\n#6 [x] y\n#6 ERROR: something new\nfailed to solve: something new\n'
    verdict = diagnose(log, Evidence())
    assert verdict.cause == "unknown"
    assert "failed to solve: something new" in verdict.lines


def test_the_sentence_of_the_riddle():
    log = (LOGS / "daemon-proxy-only" / "28.5-buildkit.log").read_text()
    assert diagnose(log, Evidence(daemon_proxy=PROXY)).sentence == (
        "The client could not fetch a token from auth.docker.io (reset). The daemon's proxy does not reach it. Set docker_build_env daemon_token: true."
    )


@pytest.mark.parametrize(
    ("fault", "known", "cure"),
    [
        ("wall-reset", {}, "Set docker_daemon_proxy https_proxy (or registry_mirrors), so that the daemon reaches registry-1.docker.io another way."),
        (
            "wall-token",
            {},
            "Set docker_build_env https_proxy to a proxy that reaches auth.docker.io, or docker_daemon_proxy "
            "https_proxy with docker_build_env daemon_token: true.",
        ),
        ("proxy-auth-wrong", {}, "Set docker_daemon_proxy proxy_username and proxy_password to what the proxy accepts."),
        ("mirror-relay", {"daemon_proxy": PROXY, "mirrors": (Mirror("https://relay.lab", 401, HUB_REALM),)}, "Set docker_build_env daemon_token: true."),
        ("step-wget-dns", {}, "Set docker_build_env step_proxy, so that RUN steps reach nosuch.lab."),
        (
            "untrusted-ca",
            {},
            "Install the authority's certificate with the role proxy_ca (or in the host's own store): neither the daemon nor the client trusts it.",
        ),
        ("missing-tag", {}, "Correct the name or tag of busybox:nosuch: registry-1.docker.io does not have it."),
    ],
)
def test_the_cure_names_the_option(fault, known, cure):
    assert diagnose((LOGS / fault / "28.5-buildkit.log").read_text(), Evidence(**known)).cure == cure


def test_a_token_that_the_daemon_fetches_is_asked_by_the_daemon():
    log = (LOGS / "wall-token" / "28.5-buildkit.log").read_text()
    verdict = diagnose(log, Evidence(daemon_token=True))
    assert (verdict.cause, verdict.asked_by) == ("token_unreachable", "daemon")
    assert verdict.cure == "Set docker_daemon_proxy https_proxy to a proxy that reaches auth.docker.io."


@pytest.mark.parametrize("engine", ["20.10", "26.1", "28.5"])
@pytest.mark.parametrize(
    ("builder", "expected"),
    [("legacy", {"manifest": "fresh", "token": "fresh", "layers": "fresh"}), ("buildkit", {"manifest": "fresh", "token": "unknown", "layers": "fresh"})],
)
def test_what_a_green_build_proves(engine, builder, expected):
    assert proved((LOGS / "ok" / f"{engine}-{builder}.log").read_text(), pull=True, stored=False) == expected


def test_a_green_build_from_the_store_proves_nothing():
    legacy = "Step 1/2 : FROM busybox:1\n ---> 86681638b3bf\nSuccessfully built 1\n"
    buildkit = "#2 [internal] load metadata for docker.io/library/busybox:1\n#4 [1/2] FROM docker.io/library/busybox:1\n#4 CACHED\n"
    for log in (legacy, buildkit):
        assert proved(log, pull=False, stored=True) == {"manifest": "cached", "token": "cached", "layers": "cached"}


def test_a_token_in_the_log_is_fresh():
    log = "#2 [auth] library/busybox:pull token for registry-1.docker.io\n#2 DONE 0.1s\n"
    assert proved(log, pull=True, stored=False)["token"] == "fresh"


@pytest.mark.parametrize(
    ("dockerfile", "what"),
    [
        ("FROM a\nRUN --mount=type=cache,target=/x true\n", "RUN --mount"),
        ("FROM a\nRUN \\\n  # why\n  --network=none true\n", "RUN --network"),
        ("FROM a\nCOPY --from=b --chmod=644 x /x\n", "COPY --chmod"),
        ("FROM a\nRUN <<EOT\ntrue\nEOT\n", "heredocs"),
        ("FROM a\ncopy <<-'EOT' /x\ntext\nEOT\n", "heredocs"),
        ("FROM --platform=$BUILDPLATFORM a\n", "$BUILDPLATFORM"),
        ("FROM a:${TARGETARCH}\n", "$TARGETARCH"),
        ("ARG TARGETARCH=amd64\nFROM a:${TARGETARCH}\n", ""),
        ("FROM a\nRUN echo $((1 << 3)) && cat < x\n", ""),
        ("FROM a\nCOPY --from=b --chown=0:0 x /x\n# RUN --mount=type=cache x\n", ""),
        ("", ""),
    ],
)
def test_what_the_legacy_builder_cannot_do(dockerfile, what):
    assert legacy_cannot(dockerfile) == what


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("docker.io/library/busybox:1", "busybox:1"),
        ("docker.io/pytorch/torchserve:0.11.0-gpu", "pytorch/torchserve:0.11.0-gpu"),
        ("mirror.lab/library/busybox:1", "mirror.lab/library/busybox:1"),
        ("busybox:1@sha256:" + "a" * 64, "busybox:1"),
        ("busybox@sha256:" + "a" * 64, "busybox@sha256:" + "a" * 64),
    ],
)
def test_a_reference_reads_as_in_a_dockerfile(reference, name):
    assert familiar(reference) == name


def test_the_table_is_well_formed():
    for rule in RULES:
        assert isinstance(rule, Rule)
        assert rule.where in ("client", "engine", "step")
        assert ("{1}" in rule.reason) <= (re.compile(rule.pattern).groups > 0)


@pytest.mark.parametrize(
    ("known", "cause"),
    [
        ({}, "unknown"),
        ({"answers": False}, "engine_down"),
        ({"free": 0}, "disk_full"),
        ({"free": 10**9}, "unknown"),
    ],
)
def test_words_that_say_nothing_are_explained_by_what_is_seen_on_the_host(known, cause):
    assert diagnose("something odd", Evidence(code=1, **known)).cause == cause


@pytest.mark.parametrize(
    ("proof", "sentence"),
    [
        (("fresh", "fresh", "fresh"), "The build passed. Fetched now: the manifest, the token and the layers."),
        (
            ("fresh", "unknown", "cached"),
            "The build passed. Fetched now: the manifest. Stored already, so not proved: the layers. Unknown from the output: the token.",
        ),
        (
            ("cached", "cached", "cached"),
            "The build passed. Nothing was fetched now, so it proves nothing about the network. "
            "Stored already, so not proved: the manifest, the token and the layers.",
        ),
    ],
)
def test_a_green_build_that_proves_less_says_so(proof, sentence):
    assert passed(dict(zip(("manifest", "token", "layers"), proof))) == sentence


@pytest.mark.parametrize(
    ("dockerfile", "reason"),
    [
        ("RUN x=$((1 <<n))", ""),
        ("RUN cat<<EOF", ""),
        ("RUN cat <<<word", ""),
        ("RUN cat <<-'EOF' >/x", "heredocs"),
        ("RUN 3<<EOF cat", "heredocs"),
        ("ONBUILD COPY <<EOF /x", "heredocs"),
        ("ARG TARGETARCH", "$TARGETARCH"),
        ("ARG TARGETARCH=amd64\nFROM a:$TARGETARCH", ""),
        ("FROM --platform=${BUILDPLATFORM} a", "$BUILDPLATFORM"),
        ("ADD --keep-git-dir=true a b", "COPY --keep-git-dir"),
    ],
)
def test_what_the_legacy_builder_ignores_or_refuses(dockerfile, reason):
    assert legacy_cannot(dockerfile) == reason


@pytest.mark.parametrize(
    "said",
    [  # 26.1, killed in the middle of a RUN step: BuildKit's client and the legacy builder's
        "#5 [2/2] RUN sleep 60\nERROR: failed to receive status: rpc error: code = Unavailable desc = error reading from server: EOF",
        "Step 2/2 : RUN sleep 60\n ---> Running in 887b2b4d28b6\nunexpected EOF",
    ],
)
def test_an_engine_that_ends_during_the_build(said):
    found = diagnose(said, Evidence(code=1))
    assert (found.cause, found.asked_by, found.reason) == ("engine_down", None, "ended during the build")
    assert found.cure == "Find out why the engine stopped (journalctl -u docker), and build again when it runs."


@pytest.mark.parametrize(
    ("mirrors", "cure"),
    [
        ((), "Correct the name or tag of busybox:1: registry-1.docker.io does not have it."),
        (
            (Mirror("https://mirror.lab", 200, manifest=404),),
            "Set docker_daemon_proxy registry_mirrors to a mirror that has busybox:1, or https_proxy so that the daemon can ask Docker Hub itself; "
            "or correct the name.",
        ),
    ],
)
def test_what_a_mirror_lacks_another_one_may_have(mirrors, cure):
    log = "Step 1/1 : FROM busybox:1\nmanifest for busybox:1 not found: manifest unknown: manifest unknown"
    found = diagnose(log, Evidence(code=1, mirrors=mirrors))
    assert (found.cause, found.cure) == ("not_found", cure)


REFUSED = 'Step 1/1 : FROM busybox:1\nGet "{}": dial tcp 10.0.0.1:443: connect: connection refused'


@pytest.mark.parametrize(
    ("mirror", "reason"),
    [
        (Mirror(LOCAL, 200, manifest=500), "status 500"),
        (Mirror(LOCAL, 200, manifest=403), "status 403"),
        (Mirror(LOCAL, 200, manifest=429), "status 429"),
        (Mirror(LOCAL, 502), "status 502"),
        (Mirror(LOCAL, 400), "status 400"),
        (Mirror(LOCAL, 200, reason="html page"), "html page"),
        (Mirror(LOCAL, 200, manifest=404), ""),
        (Mirror(LOCAL, 401), "wants a login"),
        (Mirror(LOCAL, 0, reason="refused"), ""),
    ],
)
def test_with_what_a_mirror_refuses_to_be_one(mirror, reason):
    assert mirror.error == reason
    found = diagnose(REFUSED.format("https://registry-1.docker.io/v2/"), Evidence(code=1, mirrors=(mirror,)))
    assert (found.cause == "mirror_error") == bool(reason) and (not reason or (found.host, found.reason) == ("127.0.0.1", reason))


@pytest.mark.parametrize(
    "line",
    [
        'Get "https://auth.docker.io/token?scope=repository%3Alibrary%2Fbusybox%3Apull": received unexpected HTTP status: 503 Service Unavailable',
        "failed to fetch anonymous token: unexpected status from GET request to https://auth.docker.io/token?scope=x: 403 Forbidden",
    ],
)
def test_a_token_server_that_says_no(line):
    found = diagnose(f"Step 1/1 : FROM busybox:1\n{line}", Evidence(code=1))
    assert (found.cause, found.host) == ("token_denied", TOKEN)


def test_a_mirror_that_answers_us_and_refuses_the_daemon_is_at_fault():
    log = "Step 1/1 : FROM busybox:1\nunexpected status from HEAD request to https://m.lab/v2/library/busybox/manifests/1?ns=docker.io: 403 Forbidden"
    found = diagnose(log, Evidence(code=1, mirrors=(Mirror("https://m.lab", 401, realm="https://m.lab/token"),)))
    assert (found.cause, found.host, found.asked_by) == ("mirror_error", "m.lab", "daemon")


OWN_WORDS = "Step 1/2 : FROM {}\nerror from registry: {}\n"
ALLOWLIST = "library/alpine is not in the allowlist"
OTHER = "this repository is not served here"
CANDIDATE = Mirror("https://m.lab", 401, realm="https://m.lab/token")


@pytest.mark.parametrize(
    ("image", "words", "known", "expected"),
    [
        ("alpine:3.19", ALLOWLIST, {"mirrors": (Mirror(LOCAL, 200, manifest=403),)}, ("mirror_error", "daemon", "127.0.0.1", "status 403")),
        ("alpine:3.19", ALLOWLIST, {"mirrors": (CANDIDATE,)}, ("mirror_error", "daemon", "m.lab", ALLOWLIST)),
        ("alpine:3.19", ALLOWLIST, {"mirrors": (Mirror(LOCAL, 200, manifest=200),)}, ("mirror_error", "daemon", "127.0.0.1", ALLOWLIST)),
        ("alpine:3.19", ALLOWLIST, {"mirrors": (CANDIDATE, Mirror(LOCAL, 200, manifest=200))}, ("mirror_error", "daemon", None, ALLOWLIST)),
        ("alpine:3.19", ALLOWLIST, None, ("mirror_error", "daemon", None, ALLOWLIST)),
        ("alpine:3.19", OTHER, {"mirrors": (CANDIDATE,)}, ("mirror_error", "daemon", "m.lab", OTHER)),
        ("alpine:3.19", OTHER, {"mirrors": (Mirror(LOCAL, 200, manifest=404), CANDIDATE)}, ("mirror_error", "daemon", "m.lab", OTHER)),
        ("alpine:3.19", OTHER, {"mirrors": (Mirror(LOCAL, 200, manifest=200),)}, ("unknown", "daemon", None, OTHER)),
        ("alpine:3.19", OTHER, {"mirrors": (Mirror(LOCAL, reason="refused"),)}, ("unknown", "daemon", HUB, OTHER)),
        ("alpine:3.19", OTHER, {"mirrors": (Mirror(LOCAL, 200, manifest=404),)}, ("unknown", "daemon", HUB, OTHER)),
        ("alpine:3.19", OTHER, {}, ("unknown", "daemon", HUB, OTHER)),
        ("alpine:3.19", ALLOWLIST, {}, ("unknown", "daemon", HUB, ALLOWLIST)),
        ("alpine:3.19", OTHER, None, ("unknown", "daemon", None, OTHER)),
        ("ghcr.io/team/app:1", OTHER, {"mirrors": (CANDIDATE,)}, ("unknown", "daemon", "ghcr.io", OTHER)),
        ("ghcr.io/team/app:1", ALLOWLIST, None, ("unknown", "daemon", "ghcr.io", ALLOWLIST)),
        ("m.example.com/library/alpine:3.19", ALLOWLIST, None, ("mirror_error", "daemon", "m.example.com", ALLOWLIST)),
        ("alpine:3.19", "too many requests", {}, ("rate_limited", "daemon", HUB, "status 429")),
        ("alpine:3.19", "authentication required", {}, ("denied", "daemon", HUB, "denied")),
        # Only a mirror can report that its own request to another server failed.
        ("alpine:3.19", 'Get "https://registry-1.docker.io/v2/": dial tcp 10.0.0.1:443: i/o timeout', {"mirrors": (CANDIDATE,)},
         ("mirror_error", "daemon", "m.lab", 'Get "https://registry-1.docker.io/v2/": dial tcp 10.0.0.1:443: i/o timeout')),
    ],
)  # fmt: skip
def test_a_message_of_a_registry_without_its_name(image, words, known, expected):
    evidence = None if known is None else Evidence(code=1, daemon_asked=True, **known)
    found = diagnose(OWN_WORDS.format(image, words), evidence)
    assert (found.cause, found.asked_by, found.host, found.reason) == expected


HEAD = "FROM busybox:1\nunexpected status from HEAD request to https://m.lab/v2/library/busybox/manifests/1: "
NO_LOGIN = 'Step 1/2 : FROM busybox:1\nHead "https://registry-1.docker.io/v2/library/busybox/manifests/1": no basic auth credentials'


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (OWN_WORDS.format("busybox:1", "denied"), "denied"),  # 28.5.2 and 29.7.2 with the containerd image store: the mirror's token server answers 403 or 404
        (f"{HEAD}401 Unauthorized", "status 401"),
        (NO_LOGIN, "wants a login"),
    ],
)
def test_a_mirror_that_refuses_in_its_own_words(log, reason):
    found = diagnose(log, Evidence(code=1, daemon_asked=True, mirrors=(CANDIDATE,)))
    assert (found.cause, found.asked_by, found.host, found.reason) == ("mirror_error", "daemon", "m.lab", reason)
    assert found.sentence == (
        f"The mirror m.lab answers with an error ({reason}). Have the owner of the mirror m.lab allow anonymous pulls, or set docker_daemon_proxy "
        "registry_mirrors to another one: Docker sends no credentials to mirrors."
    )


NO_ANSWER = 'failed to do request: Head "https://registry.example.com/v2/library/busybox/manifests/1": net/http: '


@pytest.mark.parametrize(
    ("words", "verdict"),
    [
        (r'HTTP/1.x transport connection broken: malformed HTTP response "\x00\x00\x00\x04\x00\x00\b\a\x00"', "reset"),
        ("timeout awaiting response headers", "timeout"),
    ],
)
@pytest.mark.parametrize("builder", ["BuildKit", "legacy"])
def test_a_registry_that_answers_no_request_with_the_containerd_image_store(words, verdict, builder):
    image = "registry.example.com/library/busybox:1"
    heads = {
        "BuildKit": f"#2 [internal] load metadata for {image}\n#2 ERROR: ",
        "legacy": f'Step 1/2 : FROM {image}\nfailed to resolve reference "{image}": ',
    }
    found = diagnose(heads[builder] + NO_ANSWER + words + "\n")
    assert (found.cause, found.asked_by, found.host, found.reason) == (verdict, "daemon", "registry.example.com", verdict)


def test_a_step_whose_server_does_not_answer():
    found = diagnose(
        '#5 [2/2] RUN fetch\n#5 31.2 Get "https://go.example.com/x": net/http: timeout awaiting response headers\n'
        '#5 ERROR: process "/bin/sh -c fetch" did not complete successfully: exit code: 1\n'
    )
    assert (found.cause, found.asked_by, found.host) == ("timeout", "step", "go.example.com")


NO_GIT = 'error fetching default branch for repository http://web.lab/team/tool.git: git stderr:\n: exec: "git": executable file not found in $PATH\n'


@pytest.mark.parametrize(
    "log",
    [
        "#4 [2/2] ADD http://web.lab/team/tool.git /tool\n#4 ERROR: unknown scheme git: not found\n------\n > [2/2] ADD http://web.lab/team/tool.git /tool:\n"
        "------\nERROR: failed to build: failed to solve: failed to load cache key: unknown scheme git: not found\n",
        f"#4 [2/2] ADD http://web.lab/team/tool.git /tool\n#4 ERROR: {NO_GIT}------\nERROR: failed to build: failed to solve: {NO_GIT}",
        f"#1 [internal] load git source http://web.lab/team/tool.git\n#1 ERROR: {NO_GIT}------\nERROR: failed to build: failed to solve: {NO_GIT}",
        "unable to prepare context: unable to find 'git': exec: \"git\": executable file not found in $PATH\n",
    ],
    ids=["28.5.2 and 29.7.2, containerd image store", "29.7.2, graphdriver", "29.7.2, a git URL as context", "the client for the legacy builder"],
)
def test_git_is_missing(log):
    found = diagnose(log)
    assert (found.cause, found.asked_by, found.host, found.reason) == ("unknown", None, None, "git is missing")
    assert found.sentence == (
        "The build failed (git is missing). Install git on the engine's host and restart Docker: with the containerd image store BuildKit looks for git only "
        "when Docker starts."
    )


def test_git_that_is_missing_in_a_step_is_not_the_hosts():
    step = "Step 2/2 : RUN go get example.com/tool\n ---> Running in 012345678901\n"
    output = 'go: example.com/tool: git init: exec: "git": executable file not found in $PATH\n'
    found = diagnose(f"{step}{output}The command '/bin/sh -c go get example.com/tool' returned a non-zero code: 1\n")
    assert found.reason != "git is missing"


def test_a_page_tells_its_status_in_the_lines_behind_the_message():
    message = "Step 1/2 : FROM registry.example.com/app:1\ninvalid character '<' looking for beginning of value\n"
    found = diagnose(f"{message}<html>\n<head><title>502 Bad Gateway</title></head>\n")
    assert (found.cause, found.asked_by, found.host, found.reason) == ("unknown", "daemon", "registry.example.com", "status 502")
    found = diagnose(message)
    assert (found.cause, found.asked_by, found.host, found.reason) == ("proxy_refused", "daemon", "registry.example.com", "html page")


@pytest.mark.parametrize(
    "error", ["HTTPSConnectionPool(host='registry.example.com', port=443): Max retries exceeded: [Errno 111] Connection refused", "AssertionError: no image"]
)
@pytest.mark.parametrize(("package", "of_a_step"), [("docker", False), ("app", True)])
def test_a_trace_of_docker_s_library_for_python_is_no_step_s(error, package, of_a_step):
    trace = f'Traceback (most recent call last):\n  File "/usr/lib/python3/dist-packages/{package}/models/images.py", line 304, in build\n{error}\n'
    found = diagnose(trace)
    assert (found.asked_by == "step" or found.cause == "step_failed") == of_a_step


def test_the_sentence_about_a_mirror_that_nothing_names():
    found = diagnose(OWN_WORDS.format("alpine:3.19", ALLOWLIST))
    assert found.sentence == (
        f"The mirror in use answers with an error ({ALLOWLIST}). Set docker_daemon_proxy registry_mirrors to a mirror that answers; the registry answers "
        f"{ALLOWLIST}, which only its owner can change."
    )


def test_words_of_a_registry_that_a_step_prints_are_not_the_engines():
    log = "Step 2/2 : RUN pull\n ---> Running in 012345678901\nerror from registry: x is not in the allowlist\n"
    assert diagnose(f"{log}The command '/bin/sh -c pull' returned a non-zero code: 1\n").cause == "step_failed"


CUT = "#5 [1/2] FROM docker.io/library/busybox:1\n#5 ERROR: {0}\nERROR: failed to solve: {0}\n"
RETRIED = (
    "Step 1/2 : FROM busybox:1\n1: Pulling from library/busybox\n0123456789ab: Retrying in 1 second\n"
    'Get "https://registry-1.docker.io/v2/": read tcp 10.0.0.9:50000->10.0.0.2:443: read: connection reset by peer\n'
)
EOF, SHORT = "failed to read expected number of bytes: unexpected EOF", "short read: expected 10 bytes but got 5: unexpected EOF"
BROKEN = "failed to copy: read tcp 10.0.0.9:50000->10.0.0.2:443: read: connection reset by peer"
SERVES, INCOMPLETE = Mirror("https://m.lab", 200, manifest=200), ("mirror_error", "daemon", "m.lab", "incomplete layers")


@pytest.mark.parametrize(
    ("log", "mirrors", "expected"),
    [
        (CUT.format(EOF), (SERVES,), INCOMPLETE),
        (CUT.format(SHORT), (Mirror(LOCAL, reason="refused"), SERVES), INCOMPLETE),
        (CUT.format(BROKEN), (SERVES,), INCOMPLETE),
        ("Step 1/2 : FROM busybox:1\nunexpected EOF\n", (SERVES,), INCOMPLETE),
        (RETRIED, (SERVES,), INCOMPLETE),
        (RETRIED, (CANDIDATE,), INCOMPLETE),  # only after a mirror the daemon asks the Hub for an image whose layers were on the way
        (CUT.format(EOF), (CANDIDATE,), ("reset", "daemon", None, "reset")),
        # Not a mirror's layers.
        (CUT.format(EOF), (), daemon("reset")),
        (RETRIED, (), daemon("reset")),
        (RETRIED.replace("0123456789ab: Retrying in 1 second\n", ""), (SERVES,), daemon("reset")),
        (RETRIED.replace("Step 1/2 : FROM busybox:1\n", "") + RETRIED.replace("0123456789ab: Retrying in 1 second\n", ""), (SERVES,), daemon("reset")),
        (CUT.format('failed to copy: failed to do request: Get "https://registry-1.docker.io/v2/library/busybox/blobs/a": EOF'), (SERVES,), daemon("reset")),
        (CUT.format("dial tcp 10.0.0.2:443: i/o timeout"), (SERVES,), daemon("timeout")),
        (CUT.format(EOF).replace("docker.io/library/busybox:1", "ghcr.io/team/app:1"), (SERVES,), daemon("reset", "ghcr.io")),
        ('#0 building with "ci" instance using docker-container driver\n' + CUT.format(EOF), (SERVES,), daemon("reset")),
    ],
)
def test_layers_that_a_mirror_cuts_off(log, mirrors, expected):
    found = diagnose(log, Evidence(code=1, daemon_asked=True, mirrors=mirrors))
    assert (found.cause, found.asked_by, found.host, found.reason) == expected


MISSING = (
    "failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:aa (application/vnd.oci.image.config.v1+json) from remote: "
    "not found"
)
WITHOUT_CONTENT = Mirror(LOCAL, 200, manifest=200, content="content missing")


@pytest.mark.parametrize(
    ("log", "mirror", "expected"),
    [
        (CUT.format(MISSING), WITHOUT_CONTENT, daemon("mirror_error", "127.0.0.1", "content missing")),
        (REFUSED.format("https://registry-1.docker.io/v2/"), WITHOUT_CONTENT, daemon("mirror_error", "127.0.0.1", "content missing")),
        (CUT.format(MISSING), WITHOUT_CONTENT._replace(content=""), daemon("not_found", HUB, "content missing")),
        (REFUSED.format("https://registry.example.com/v2/"), WITHOUT_CONTENT, daemon("refused", "registry.example.com")),
    ],
    ids=["BuildKit", "the Hub is asked next", "not known", "another host"],
)
def test_a_mirror_that_has_the_manifest_and_not_the_layers(log, mirror, expected):
    found = diagnose(log, Evidence(code=1, mirrors=(mirror,)))
    assert (found.cause, found.asked_by, found.host, found.reason) == expected


def test_the_sentence_about_a_mirror_without_the_content():
    found = diagnose(REFUSED.format("https://registry-1.docker.io/v2/"), Evidence(code=1, mirrors=(WITHOUT_CONTENT,)))
    assert found.sentence == (
        "The mirror 127.0.0.1 answers with an error (content missing). Have the owner of the mirror 127.0.0.1 fetch busybox:1 again, "
        "or set docker_daemon_proxy registry_mirrors to another one: it has the tag but not its content."
    )


def test_the_sentence_about_layers_that_a_mirror_cuts_off():
    found = diagnose(CUT.format(EOF), Evidence(code=1, daemon_asked=True, mirrors=(SERVES,)))
    assert found.sentence == (
        "The mirror m.lab answers with an error (incomplete layers). Set docker_daemon_proxy registry_mirrors to a mirror that answers; m.lab answers "
        "incomplete layers, which only its owner can change."
    )


def test_a_url_that_is_broken_is_none():
    assert Mirror("https://[m.lab").host == "https://[m.lab"
    found = diagnose(REFUSED.format("https://[m.lab/v2/"), Evidence(code=1))
    assert (found.cause, found.host) == ("refused", HUB)


def test_a_log_is_judged_without_any_host():
    found = diagnose('Step 1/1 : FROM busybox:1\nGet "https://registry-1.docker.io/v2/": dial tcp 10.0.0.1:443: i/o timeout')
    assert (found.cause, found.asked_by, found.host, found.reference) == ("timeout", "daemon", HUB, "busybox:1")


IN_BUILDER = '#0 building with "ci" instance using docker-container driver\n#2 [internal] load metadata for docker.io/library/busybox:1\n'
STEP = 'ERROR: failed to solve: process "/bin/sh -c make" did not complete successfully: '


@pytest.mark.parametrize(
    ("log", "verdict", "cure"),
    [
        (f"{STEP}write /x: no space left on device", ("disk_full", None, None, "no space left"), "Free space on the engine's disk"),
        ("#5 1.2 cp: error writing 'b': No space left on device", ("disk_full", None, None, "no space left"), "Free space on the engine's disk"),
        (
            "#5 1.2 E: Release file for http://deb.example/x/InRelease is not valid yet (invalid for another 6h).",
            ("step_failed", None, None, "clock is behind"),
            "Set this host's clock",
        ),
        (
            f"#5 [2/2] RUN make\n#5 1.2 error NU1301: Unable to load the service index for source https://nuget.example/index.json.\n{STEP}exit code: 1",
            ("step_failed", None, None, "a download that failed without saying why"),
            "Run the program again with more output",
        ),
        (
            " Image app Building \ncompose build requires buildx 0.17.0 or later\n",
            ("buildx_missing", None, None, "older than compose needs"),
            "Upgrade the buildx plugin as the message says, or set docker_build_env buildkit: false.",
        ),
        (
            "ERROR: BuildKit is enabled but the buildx component is missing or broken.",
            ("buildx_missing", None, None, None),
            "Install the buildx plugin, or set docker_build_env buildkit: false.",
        ),
        (f"{STEP}exit code: 137", ("step_failed", None, None, "exit code 137"), "Correct the RUN step: it ended with exit code 137."),
        (
            'Step 1/2 : FROM ghcr.io/team/app:1\nHead "https://ghcr.io/v2/team/app/manifests/1": denied',
            ("denied", "daemon", "ghcr.io", "denied"),
            "Log in (docker login) with a user that may read ghcr.io/team/app:1",
        ),
        (
            "#3 [internal] load metadata for docker.io/library/rust:1\n#3 ERROR: unexpected status code [manifests 1]: 403 Forbidden",
            ("unknown", None, None, "status 403"),
            "Read the lines in log",
        ),
        (
            "#3 [internal] load metadata for mcr.example.com/a:1\n#3 ERROR: unexpected status code [manifests 1]: 403 Forbidden",
            ("denied", "daemon", "mcr.example.com", "status 403"),
            "Log in (docker login) with a user that may read mcr.example.com/a:1",
        ),
        (
            'Step 1/2 : FROM r.example.com/a:1\nGet "https://r.example.com/v2/": x509: certificate is valid for other.example.com, not r.example.com',
            ("tls", "daemon", "r.example.com", "certificate of other.example.com"),
            "Have the owner of r.example.com issue a certificate",
        ),
        (
            'unable to prepare context: unable to download remote context https://x.example.com/a.tgz: Get "https://x.example.com/a.tgz": dial tcp: '
            "lookup x.example.com on 10.0.0.1:53: no such host",
            ("dns", "client", "x.example.com", "dns"),
            "Set docker_build_env https_proxy to a proxy that reaches x.example.com.",
        ),
        (
            IN_BUILDER + "#2 ERROR: unexpected status from HEAD request to https://m.example.com/v2/library/busybox/manifests/1?ns=docker.io: 403 Forbidden",
            ("mirror_error", "daemon", "m.example.com", "status 403"),
            "Create the builder ci again with another mirror in its buildkitd.toml",
        ),
        (
            IN_BUILDER + '#2 ERROR: failed to do request: Head "https://m.example.com/v2/library/busybox/manifests/1?ns=docker.io": connection reset by peer',
            ("reset", "daemon", "m.example.com", "reset"),
            "Create the builder ci again with another mirror in its buildkitd.toml",
        ),
        (
            IN_BUILDER + '#2 ERROR: failed to do request: Head "https://registry-1.docker.io/v2/x": tls: failed to verify certificate: x509: certificate '
            "signed by unknown authority",
            ("tls", "daemon", "registry-1.docker.io", "unknown authority"),
            "Create the builder ci again with the authority's certificate",
        ),
        (
            IN_BUILDER + '#2 ERROR: failed to do request: Head "https://r.example.com:5000/v2/x": http: server gave HTTP response to HTTPS client',
            ("tls", "daemon", "r.example.com", "http answer"),
            "Set http = true for r.example.com:5000 in the buildkitd.toml of the builder ci",
        ),
        (
            IN_BUILDER
            + '#2 ERROR: failed to do request: Head "https://registry-1.docker.io/v2/x": proxyconnect tcp: x509: certificate signed by unknown authority',
            ("proxy_unreachable", "daemon", "registry-1.docker.io", "unknown authority"),
            "Create the builder ci again with a proxy that it reaches",
        ),
        (
            'Step 1/2 : FROM busybox:1\nGet "https://registry-1.docker.io/v2/": proxyconnect tcp: x509: certificate signed by unknown authority',
            ("proxy_unreachable", "daemon", "registry-1.docker.io", "unknown authority"),
            "Install the authority's certificate with the role proxy_ca",
        ),
        (
            IN_BUILDER + '#2 ERROR: failed to do request: Head "https://registry-1.docker.io/v2/x": Proxy Authentication Required',
            ("proxy_auth", "daemon", "registry-1.docker.io", "status 407"),
            "Create the builder ci again with a proxy that accepts it",
        ),
        (
            IN_BUILDER + '#2 ERROR: failed to authorize: failed to fetch anonymous token: Get "https://auth.docker.io/token?scope=x": tls: failed to verify '
            "certificate: x509: certificate signed by unknown authority",
            ("token_unreachable", "client", "auth.docker.io", "unknown authority"),
            "Install the authority's certificate with the role proxy_ca",
        ),
        (
            "[+] Building 3.0s (2/2) FINISHED   docker-container:ci\n => => transferring dockerfile: 2B   0.0s\n"
            " => ERROR [internal] load "
            "metadata for gcr.io/a/b:1   3.0s\n------\n"
            ' > [internal] load metadata for gcr.io/a/b:1:\n------\nfailed to solve: gcr.io/a/b:1: failed to do request: Head "https://gcr.io/v2/a/b/x": EOF',
            ("reset", "daemon", "gcr.io", "reset"),
            "Create the builder ci again with a proxy of its own",
        ),
        (
            "Step 1/2 : FROM ghcr.io/a/b:1\nunexpected status from GET request to https://ghcr.io/v2/a/b/manifests/1: 503 Service Unavailable",
            ("unknown", "daemon", "ghcr.io", "status 503"),
            "Try again later: ghcr.io answers with an error.",
        ),
        (
            "Step 1/2 : FROM ghcr.io/a/b:1\ntoomanyrequests: retry-after: 1s",
            ("rate_limited", "daemon", "ghcr.io", "status 429"),
            "Log in at ghcr.io (docker login)",
        ),
        (
            'Step 1/2 : FROM busybox:1\nHead "https://registry-1.docker.io/v2/": dial tcp: lookup mirror.example.com: no such host',
            ("dns", "daemon", "registry-1.docker.io", "dns"),
            "Set docker_daemon_proxy https_proxy (or registry_mirrors)",
        ),
        (
            'Step 1/2 : FROM ghcr.io/a/b:1\nGet "https://pkg-containers.githubusercontent.com/ghcr1/blobs/sha256:aa?se=x": dial tcp 192.0.2.7:443: i/o timeout',
            ("timeout", "daemon", "pkg-containers.githubusercontent.com", "timeout"),
            "Have the firewall or the proxy allow pkg-containers.githubusercontent.com too",
        ),
        (
            "#1 [internal] load git source https://git.example.com/a.git\n#1 0.4 fatal: Remote branch x not found in upstream origin\n"
            "#1 ERROR: failed to fetch remote https://git.example.com/a.git: exit status 128",
            ("unknown", None, None, "exit code 1"),
            "Read the lines in log",
        ),
    ],
)
def test_what_the_log_alone_tells(log, verdict, cure):
    found = diagnose(log)
    assert (found.cause, found.asked_by, found.host, found.reason) == verdict
    assert found.cure and found.cure.startswith(cure)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("compose build requires buildx 0.17.0 or later", "The buildx plugin is too old for this docker compose."),
        ("ERROR: BuildKit is enabled but the buildx component is missing or broken.", "The buildx plugin is missing or broken."),
    ],
)
def test_a_plugin_that_is_too_old_is_not_called_missing(line, sentence):
    found = diagnose(line)
    assert found.sentence == f"{sentence} {found.cure}"


def test_a_build_that_was_stopped_before_it_asked_anybody():
    found = diagnose("", Evidence(timed_out=True, timeout=8))
    assert (found.cause, found.asked_by, found.sentence.split(". ")[0]) == ("timeout", None, "The build was stopped (no end within 8 s)")


TIMEOUT = 'Head "https://registry-1.docker.io/v2/library/busybox/manifests/1": net/http: TLS handshake timeout'


@pytest.mark.parametrize(
    "log",
    [
        f"2026-01-02T03:04:05.6789012Z #2 ERROR: failed to do request: {TIMEOUT}",
        f"[2026-01-02T03:04:05.678Z] [03:04:05] 03:04:05 [job:12] 2026/01/02 03:04:05 failed to solve: {TIMEOUT}",
        f"[Container] 2026/01/02 03:04:05 ERROR: failed to solve: {TIMEOUT}",
        f"03:04:05  Step 1/2 : FROM busybox:1\n03:04:05  {TIMEOUT}",
        f"build\t02-Jan-2026 03:04:05\tERROR: failed to solve: {TIMEOUT}",
        f"  | #2 ERROR: failed to do request: {TIMEOUT}",
        f"web:buildx: #2 ERROR: failed to do request: {TIMEOUT}",
        f"1>#2 ERROR: failed to do request: {TIMEOUT}",
        f"::error::buildx failed with: ERROR: failed to solve: busybox:1: {TIMEOUT}",
        f"##[error]failed to solve: {TIMEOUT}",
        f"remote: ERROR: failed to solve: {TIMEOUT}",
        f"\x1b[31mERROR: failed to solve: {TIMEOUT}\x1b[0m\r\n",
        f"\\u001b[91mERROR: failed to solve: {TIMEOUT}\\u001b[0m",
        'time="2026-01-02T03:04:05Z" level=fatal msg="failed to solve: ' + TIMEOUT.replace('"', '\\"') + '"',
        '{"stream":"Step 1/2 : FROM busybox:1\\n"}\n{"errorDetail":{"message":"x"},"error":"' + TIMEOUT.replace('"', '\\"') + '"}',
        '{"broken\nERROR: failed to solve: ' + TIMEOUT,
        '["a list"]\n{"":1}\n' + f"ERROR: failed to solve: {TIMEOUT}",
        "Jan  2 03:04:05.678\tERROR\tbuild failed\t" + '{"error": "failed to solve: ' + TIMEOUT.replace('"', '\\"') + '"}',
        f"time {{not json}}\nERROR: failed to solve: {TIMEOUT}",
        TIMEOUT.replace('"', ""),
    ],
)
def test_a_log_is_read_behind_whatever_stands_before_its_lines(log):
    found = diagnose(log)
    assert (found.cause, found.asked_by, found.host) == ("timeout", "daemon", HUB)


@pytest.mark.parametrize(
    ("status", "cure"),
    [
        ("401 Unauthorized", "Set username and password of the mirror harbor.lab in docker_registry_hosts registries, or correct them there."),
        (
            "500 Internal Server Error",
            "Set docker_registry_hosts registries to a mirror that answers; harbor.lab answers status 500, which only its owner can change.",
        ),
    ],
)
def test_a_mirror_of_another_registry_is_set_in_docker_registry_hosts(status, cure):
    """Seen on 28.5 and 29.7; registry-mirrors of the daemon are for Docker Hub."""
    image = "company.lab:5000/lab/tool:1"
    asked = "https://harbor.lab/v2/company/lab/tool/manifests/1?ns=company.lab%3A5000"
    log = f"failed to solve: {image}: failed to resolve source metadata for {image}: unexpected status from HEAD request to {asked}: {status}\n"
    found = diagnose(f"ERROR: failed to build: {log}")
    assert (found.cause, found.host, found.reference, found.cure) == ("mirror_error", "harbor.lab", image, cure)


BUILDING = "Error building app - code: None, message: "
DENIED = "pull access denied for team/app, repository does not exist or may require 'docker login'"
STEP = "The command '/bin/sh -c apk add curl' returned a non-zero code: 1"
APK = "['Step 2/2 : RUN apk add curl', '\\n', ' ---> Running in 00aa11bb22cc\\n', 'ERROR: https://apk.example.org/main: DNS lookup error\\n']"


def failed_task(result, before="", host="ci-7"):
    return f"{before}fatal: [{host}]: FAILED! => {json.dumps(result)}\n"


@pytest.mark.parametrize(
    ("log", "verdict"),
    [
        pytest.param(failed_task({"changed": False, "msg": f"{BUILDING}{DENIED}, logs: ['Step 1/1 : FROM team/app']"}), ("denied", "daemon", HUB), id="pull"),
        pytest.param(failed_task({"msg": f"{BUILDING}{STEP}, logs: {APK}"}), ("dns", "step", "apk.example.org"), id="a step and its list of lines"),
        pytest.param(f"{BUILDING}{STEP}, logs: {APK}\n", ("dns", "step", "apk.example.org"), id="the message alone"),
        pytest.param(f"{BUILDING}{STEP}, logs: {APK}\n".replace("\\n'", "'"), ("dns", "step", "apk.example.org"), id="lines without their ends"),
        pytest.param(f"\x1b[0;31m{BUILDING}{STEP}, logs: {APK}\x1b[0m\n", ("dns", "step", "apk.example.org"), id="the message alone, in colour"),
        pytest.param(
            "\x1b[0;31m" + failed_task({"msg": f"{BUILDING}{STEP}, logs: {APK}"}).rstrip() + "\x1b[0m\n", ("dns", "step", "apk.example.org"), id="in colour"
        ),
        pytest.param(f"{BUILDING}{DENIED}, logs: [{{[]: 1}}]\n", ("denied", "daemon", HUB), id="a dictionary that Python does not take"),
        pytest.param(f'fatal: [ci-7]: FAILED! => {{"a": {"[" * 100_000}{"]" * 100_000}}}\n{DENIED}\n', ("denied", "daemon", HUB), id="a deep result"),
        pytest.param(f'{{"a": {"[" * 100_000}{"]" * 100_000}}}\n{DENIED}\n', ("denied", "daemon", HUB), id="a deep row of JSON"),
        pytest.param(f"{BUILDING}{DENIED}, logs: ['Step 1/1 : FROM team/app', ...\n", ("denied", "daemon", HUB), id="a list that is cut off"),
        pytest.param(f"{BUILDING}{DENIED}, logs: [Step 1/1]\n", ("denied", "daemon", HUB), id="no list of Python"),
        pytest.param(
            failed_task({"rc": 1, "stdout": "Sending build context to Docker daemon 2kB\nStep 1/1 : FROM app:1", "stderr": f'Get "https://{HUB}/v2/": EOF'}),
            ("reset", "daemon", HUB),
            id="a command",
        ),
        pytest.param(
            failed_task({"msg": f"{BUILDING}{DENIED}, logs: []"}, before="2026-03-04 05:06:07,123 p=99 u=ci n=ansible | "),
            ("denied", "daemon", HUB),
            id="ansible.log",
        ),
        pytest.param(f"failed: [ci-7] (item=app) => {json.dumps({'msg': DENIED})}\n", ("denied", "daemon", HUB), id="an item"),
        pytest.param(failed_task({"rc": 2}), ("unknown", None, None), id="a result without text"),
        pytest.param('fatal: [ci-7]: FAILED! => {"msg": "cut}\n', ("unknown", None, None), id="a result that is cut off"),
        pytest.param(
            "#7 [2/2] RUN ansible-playbook site.yml\n"
            + failed_task({"msg": "Failed to connect to the host via ssh: Connection refused"}, before="#7 3.210 ", host="localhost")
            + '#7 ERROR: process "/bin/sh -c ansible-playbook site.yml" did not complete successfully: exit code: 2\n',
            ("refused", "step", None),
            id="a playbook that a step runs",
        ),
    ],
)
def test_a_task_of_ansible_that_failed(log, verdict):
    found = diagnose(log)
    assert (found.cause, found.asked_by, found.host) == verdict


def test_a_path_outside_the_context_is_named_as_in_the_dockerfile():
    log = (
        "ERROR: failed to solve: failed to compute cache key: failed to walk /tmp/buildkit-mount81/out/libs: lstat /tmp/buildkit-mount81/out/libs: no such file"
    )
    verdict = diagnose(log, Evidence())
    assert (verdict.cause, verdict.reason) == ("bad_dockerfile", "/out/libs is not in the context")


@pytest.mark.parametrize(
    ("log", "found"),
    [
        pytest.param(
            "failed to get image information from https://reg.lab/v2/app/manifests/1: dial tcp 192.0.2.1:443: connect: connection refused",
            ("refused", "reg.lab", None),
            id="information from an address is no advice",
        ),
        pytest.param(
            "error creating container: initializing source docker://reg.lab:5000/team/app:1: reading manifest 1 in reg.lab:5000/team/app: manifest unknown",
            ("not_found", "reg.lab", "reg.lab:5000/team/app:1"),
            id="a registry with a port",
        ),
        pytest.param("fatal: 'origin' does not appear to be a git repository", ("step_failed", None, None), id="the name of a remote is nobody's address"),
    ],
)
def test_what_a_message_names(log, found):
    verdict = diagnose(f"{log}\n")
    assert (verdict.cause, verdict.host, verdict.reference) == found


def test_a_file_is_named_only_if_the_log_tells_which_mirror_failed():
    mirrors = (
        Mirror("https://a.lab", 200, named_by="/etc/docker/certs.d/docker.io/hosts.toml"),
        Mirror("https://b.lab", 200, named_by="docker_registry_hosts"),
    )
    log = "failed to resolve source metadata for app:1: unexpected status from HEAD request to https://***/v2/library/app/manifests/1?ns=docker.io: 403"
    assert diagnose(f"ERROR: failed to solve: app:1: {log} Forbidden\n", Evidence(mirrors=mirrors)).mirror_named_by == ""
    assert diagnose(f"ERROR: failed to solve: app:1: {log} Forbidden\n", Evidence(mirrors=mirrors[1:])).mirror_named_by == "docker_registry_hosts"
