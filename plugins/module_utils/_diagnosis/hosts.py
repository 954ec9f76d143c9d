# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts that a build requests, and the registry that each belongs to."""

from __future__ import annotations

import re
import typing as t

HUB = "registry-1.docker.io"
TOKEN_SERVER = "auth.docker.io"
LAYERS = "production.cloudflare.docker.com"
LOOPBACK = r"(?:127(?:\.\d{1,3}){3}|localhost|0\.0\.0\.0|\[?::1\]?|ip6-localhost)"

# Docker Hub: registry, token server, and the stores of its layers (they change: R2, CloudFront, S3).
_HUB = re.compile(
    r"(?:(?:[\w-]+\.)*docker\.(?:io|com)"
    r"|docker-images-prod[\w.-]*\.(?:r2\.cloudflarestorage|amazonaws)\.com"
    r"|dseasb33srnrn\.cloudfront\.net)$"
)
# Hosts that no Dockerfile names: registries redirect there for layers.
_STORES = re.compile(
    r"(?:[\w-]+\.)*(?:data\.mcr\.microsoft\.com|cdn\.mscr\.io|blob\.core\.windows\.net|pkg-containers\.githubusercontent\.com|cdn\d*\.quay\.io"
    r"|cloudfront\.net|cloudflarestorage\.com|s3[\w.-]*\.amazonaws\.com(?:\.cn)?|storage\.googleapis\.com|gitlab-static\.net|aliyuncs\.com|myqcloud\.com)$"
)


def is_hub(host: str) -> bool:
    return _HUB.match(host) is not None


def is_store(host: str) -> bool:
    """Whether a registry stores its layers there."""
    return _STORES.match(host) is not None or (is_hub(host) and host not in (HUB, TOKEN_SERVER, "docker.io", "index.docker.io"))


def is_loopback(host: str) -> bool:
    return re.match(LOOPBACK + r"$", host) is not None


def registry_of(reference: str) -> str:
    """The registry in an image name, docker.io if there is none."""
    first, slash, _rest = reference.partition("/")
    return first.partition(":")[0] if slash and ("." in first or ":" in first or first == "localhost") else "docker.io"


def of_hub(reference: t.Optional[str]) -> bool:
    return is_hub(registry_of(reference or ""))


def asked_for(reference: t.Optional[str]) -> str:
    """The host that is requested for an image."""
    registry = registry_of(reference or "")
    return HUB if is_hub(registry) else registry


def familiar(reference: str) -> str:
    """docker.io/library/busybox:1 -> busybox:1"""
    name = reference.split("@sha256:")[0] if re.search(r":[\w.-]+@", reference) else reference
    for prefix in ("docker.io/library/", "docker.io/"):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name
