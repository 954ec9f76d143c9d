# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Since which version each feature exists: the only place with version numbers."""

from __future__ import annotations

import re
import typing as t

Version = t.Tuple[int, ...]


class Since(t.NamedTuple):
    component: str  # engine, go, buildx, compose, frontend
    version: Version
    source: str


TABLE = {
    "daemon_json_proxies": Since("engine", (23, 0), "moby 427c7cc5f8, first released in v23.0.0"),
    "validate": Since("engine", (23, 0), "moby cmd/dockerd --validate; 20.10: unknown flag"),
    "mirror_path": Since("engine", (24, 0, 8), "moby registry/config.go ValidateMirror"),
    "mirror_http_buildkit": Since("engine", (28, 0), "daemon/hosts.go mirrorsToRegistryHosts; seen on 28.5, not on 26.1"),
    "insecure_without_scheme": Since("engine", (26, 0), "BuildKit reads host:port in insecure-registries: seen on 26.1; 20.10 wants http:// or https://"),
    "hosts_toml": Since("engine", (28, 0), "moby 8b4cb6f58c, daemon/hosts.go"),
    "tolerates_bom": Since("engine", (26, 0), "seen on 26.1; 20.10 does not start with a BOM or an empty file"),
    "one_json_value": Since("engine", (26, 0), "seen on 26.1; 20.10 reads the first object of daemon.json and ignores the rest"),
    "buildkit_default": Since("engine", (23, 0), "docker/cli docs/deprecated.md, legacy builder"),
    "source_policy_engine": Since("engine", (25, 0), "BuildKit 0.12 in moby 25.0 (applySourcePolicies)"),
    "source_policy_buildx": Since("buildx", (0, 11), "buildx build/build.go ReadSourcePolicy"),
    "default_buildkitd_toml": Since("buildx", (0, 9), "buildx util/confutil/config.go"),
    "buildx_history": Since("buildx", (0, 20), "docker/buildx #2891"),
    "upper_case_step_proxies": Since("compose", (2, 0), "with its legacy builder steps get HTTP_PROXY, not http_proxy: seen on 2.26, 2.40, 5.5, not on 1.29"),
    "socks5h": Since("go", (1, 23), "net/http/transport.go of Go 1.23"),
}


def parse(version: str) -> Version:
    """The leading numbers of '26.1.5+dfsg1', 'go1.24.4' or 'v0.13.1'; () without any."""
    match = re.match(r"\D{0,3}(\d+(?:\.\d+)*)", version.strip())
    return tuple(int(part[:9]) for part in match.group(1).split(".")) if match else ()  # of any length


def has(feature: str, version: str) -> bool:
    """Whether a component of this version has the feature (an unknown version has none)."""
    return parse(version) >= TABLE[feature].version


def text(feature: str) -> str:
    """The version as error messages show it."""
    return ".".join(str(part) for part in TABLE[feature].version)
