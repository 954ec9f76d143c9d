# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fleets for tests of the report: results of hosts. The same number produces the same fleet."""

from __future__ import annotations

import random
import typing as t

from ansible_collections.buildfleet.docker.plugins.plugin_utils._report import Observed

MIRROR = "https://mirror.example.com"
PROXY = "http://xxxxx:xxxxx@proxy.example.com:3128"
TOKEN = (
    "#4 ERROR: failed to authorize: failed to fetch anonymous token: Get "
    '"https://auth.docker.io/token?scope=repository%3Alibrary%2Fbusybox%3Apull&service=registry.docker.io": '
    "read tcp 10.0.4.17:47012->98.85.153.80:443: read: connection reset by peer"
)
HUB = (
    'failed to do request: Head "https://registry-1.docker.io/v2/library/busybox/manifests/latest": dial tcp: lookup registry-1.docker.io '
    "on 10.0.0.2:53: no such host"
)


def failure(cause: str, asked_by: str | None, host: str | None, reason: str, what: str, cure: str, log: t.Sequence[str]) -> dict[str, t.Any]:
    return {
        "changed": False, "ok": False, "builder_used": "buildkit", "cause": cause, "asked_by": asked_by, "host": host, "reason": reason,
        "reference": "busybox:latest", "cure": cure, "proved": None, "log": list(log), "seconds": 2.4, "msg": f"{what} {cure}",
    }  # fmt: skip


PASSED = {
    "changed": False, "ok": True, "builder_used": "buildkit", "cause": "ok", "asked_by": None, "host": None, "reason": None,
    "reference": "busybox:latest", "cure": None, "proved": {"manifest": "fresh", "token": "unknown", "layers": "fresh"},
    "log": ["#4 [1/2] FROM docker.io/library/busybox:latest@sha256:" + "ab" * 32], "seconds": 1.7, "msg": "The build passed.",
}  # fmt: skip
PASSED_WITH_STEP = {**PASSED, "proved": {**PASSED["proved"], "step": "fresh"}}
FAILURES = (
    failure("token_unreachable", "client", "auth.docker.io", "reset",
            "The client could not fetch a token from auth.docker.io (reset). The daemon's proxy does not reach it.",
            "Set docker_build_env daemon_token: true.", [TOKEN]),
    failure("dns", "daemon", "registry-1.docker.io", "dns", "The daemon could not reach registry-1.docker.io (dns).",
            "Set docker_daemon_proxy https_proxy (or registry_mirrors), so that the daemon reaches registry-1.docker.io another way.", [HUB]),
    failure("proxy_auth", "daemon", "proxy.example.com", "status 407", "The proxy proxy.example.com rejected the credentials of the daemon (status 407).",
            "Set docker_daemon_proxy proxy_username and proxy_password to what the proxy accepts.", ['": Proxy Authentication Required']),
    failure("engine_down", None, None, "no answer", "The engine cannot be used (no answer).", "Start the engine (systemctl start docker).",
            ["ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"]),
    failure("dns", "step", "packages.example.com", "dns", "A RUN step could not reach packages.example.com (dns).",
            "Set docker_build_env step_proxy, so that RUN steps reach packages.example.com.", ["Temporary failure resolving 'packages.example.com'"] * 20),
)  # fmt: skip
FINDINGS = (
    {"id": "daemon_proxy_without_token_path", "severity": "warning", "process": "client",
     "message": "The daemon has a proxy, and clients have no way to the token server.", "cure": "Set docker_build_env daemon_token: true."},
    {"id": "buildkit_key_stops_next_start", "severity": "error", "process": "daemon",
     "message": 'The key "buildkit" in /etc/docker/daemon.json stops the next start of the daemon.', "cure": "Remove it from /etc/docker/daemon.json."},
    {"id": "builds_elsewhere", "severity": "info", "process": "", "message": "The builder ci runs in a container: settings here do not reach it.", "cure": ""},
)  # fmt: skip
ENGINES = (
    {"engine": "28.5.2", "engine_go": "go1.24.6", "cli": "28.5.2", "buildx": "0.29.1", "compose": "2.40.3"},
    {"engine": "26.1.5+dfsg1", "engine_go": "go1.24.4", "cli": "26.1.5+dfsg1", "buildx": "0.13.1+ds1", "compose": "2.26.1-4"},
    {"engine": "20.10.24+dfsg1", "engine_go": "go1.19.8", "cli": "20.10.24+dfsg1", "buildx": "", "compose": "1.29.2"},
)
UNREACHABLE = {
    "unreachable": True, "changed": False,
    "msg": "Failed to connect to the host via ssh: ssh: connect to host 10.0.4.9 port 22: No route to host",
}  # fmt: skip


def info(engine: int = 0, findings: t.Sequence[int] = (), pending: bool = False) -> dict[str, t.Any]:
    proxy = {"name": "https_proxy", "value": PROXY, "in_force": None if not pending else "", "source": "/etc/docker/daemon.json, line 3", "layers": []}
    return {
        "versions": ENGINES[engine], "restart_pending": pending, "pending": ["https_proxy"] if pending else [],
        "daemon": {"who": "docker.service", "user": "root", "running": True,
                   "settings": [dict(proxy, in_force=PROXY if not pending else ""), {"name": "no_proxy", "value": "", "in_force": "", "source": ""}]},
        "clients": [{"who": "login", "user": "root", "builder": "buildkit", "engine": "",
                     "settings": [{"name": "BUILDKIT_NO_CLIENT_TOKEN", "value": "1", "source": "/etc/profile.d/buildfleet.sh, line 4", "layers": []}]}],
        "steps": [{"who": "root", "user": "root", "settings": []}],
        "mirrors": [{"url": MIRROR, "status": 200, "reason": "", "realm": "", "sends_token_elsewhere": False}],
        "findings": [FINDINGS[number] for number in findings], "unreadable": [], "msg": "",
    }  # fmt: skip


def three() -> dict[str, Observed]:
    return {
        "build-berlin": Observed(PASSED_WITH_STEP, info(0), {}),
        "build-shanghai": Observed(FAILURES[0], info(1, [0]), {}),
        "build-shenzhen": Observed({}, UNREACHABLE, {}),
    }


def many(count: int, seed: int = 5) -> dict[str, Observed]:
    dice = random.Random(seed)
    fleet: dict[str, Observed] = {}
    for number in range(count):
        lot, engine = dice.random(), dice.choice((0, 0, 1, 1, 1, 2))
        name = f"{dice.choice(('ci', 'build', 'web'))}{number}.{dice.choice(('beijing', 'shanghai', 'frankfurt'))}.example.com"
        found = [number for number in range(len(FINDINGS)) if dice.random() < 0.06]
        pending = dice.random() < 0.03
        if lot < 0.02:
            fleet[name] = Observed({}, dict(UNREACHABLE, msg=UNREACHABLE["msg"].replace("10.0.4.9", f"10.0.4.{number % 250}")), {})
        elif lot < 0.22:
            fleet[name] = Observed(dice.choice(FAILURES), info(engine, found, pending), {})
        elif lot < 0.25:
            changed = {"changed": True, "diff": [{"before_header": "", "after_header": "/etc/docker/daemon.json (mode 0644)"}]}
            fleet[name] = Observed(PASSED, info(engine, found, pending), {"docker_daemon_proxy": changed})
        else:
            fleet[name] = Observed(PASSED_WITH_STEP if dice.random() < 0.3 else PASSED, info(engine, found, pending), {})
    return fleet


def worst(count: int) -> dict[str, Observed]:
    """Hosts with long lines that are not text, and with nothing in common."""
    lines = [f"<script>\"&'{number}" * 20 for number in range(20)]
    return {
        f"host-{number}": Observed(dict(FAILURES[0], log=lines, msg=f"No {number}. {FAILURES[0]['msg']}"), info(1, [0, 1, 2], True), {})
        for number in range(count)
    }
