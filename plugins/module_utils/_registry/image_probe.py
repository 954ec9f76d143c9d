# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a mirror has an image. The caller passes the function that sends the requests."""

from __future__ import annotations

from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import DOCKER_HUB, split_registry
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Get, Mirror, ask_mirror

PROBE_IMAGE = "busybox:latest"
MANIFESTS = (
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, "
    "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
)


def ask_for_image(get: Get, url: str, reference: str, timeout: float = 5) -> Mirror:
    """Whether a mirror answers as a registry, and whether it has the image; not asked for one that is not of Docker Hub."""
    mirror = ask_mirror(get, url, timeout)
    registry, path = split_registry(reference)
    if not reference or mirror.status != 200 or mirror.reason == "html page" or registry != DOCKER_HUB:
        return mirror
    return mirror._replace(manifest=get(manifest_url(url.rstrip("/"), path), {"Accept": MANIFESTS}, timeout).status)


def manifest_url(base: str, path: str) -> str:
    """Where the manifest of a repository's tag or digest is; ``path`` as split_registry returns it."""
    return f"{base}/v2/{manifest_path(path)}"


def manifest_path(path: str) -> str:
    named, _at, digest = path.partition("@")
    repository, _colon, tag = named.partition(":")
    return f"{repository}/manifests/{(digest if not tag else '') or tag or 'latest'}"
