# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The facts that a diagnosis uses besides the log, and its result."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._diagnosis.hosts import is_hub
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror

UNREACHED = ("dns", "refused", "reset", "timeout", "tls")
NO_NETWORK = ("engine_down", "disk_full", "buildx_missing", "legacy_cannot", "bad_dockerfile", "step_failed", "unknown", "ok")


class Evidence(t.NamedTuple):
    """Facts besides the log; all optional."""

    code: int = 1
    timed_out: bool = False
    timeout: int = 0
    cannot: str = ""  # what the Dockerfile uses and the legacy builder does not support
    image: str = ""
    network_step: str = ""
    daemon_token: bool = False  # BUILDKIT_NO_CLIENT_TOKEN in the build's environment
    daemon_proxy: str = ""  # the daemon's proxy for https, as the engine shows it
    client_proxy: str = ""  # the one in the build's environment
    mirrors: t.Tuple[Mirror, ...] = ()
    daemon_asked: bool = False  # the daemon returned its proxy and mirrors, so that there are no others
    upper_case_proxies: bool = False  # RUN steps get the proxies of config.json as HTTP_PROXY and HTTPS_PROXY alone
    answers: bool = True  # the engine, queried after the build
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
    role: str = ""  # the kind of the host: hub, store (of layers), mirror, registry or other; for a step: proxy
    instance: str = ""  # the docker-container builder that sent the request, for the daemon or for itself
    named_in: str = ""  # where the reference is written: dockerfile, syntax, context (--build-context), probe (the option image) or builder (its own image)
    mirror_named_by: str = ""  # docker_registry_hosts, or the hosts.toml of others that names the mirror; '' if neither is known
    cure_name: str = ""  # its row in the table of fixes

    @property
    def host_is_hubs(self) -> bool:
        return is_hub(self.host or "")
