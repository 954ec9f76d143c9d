# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is wrong with the hosts.toml files of a host. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core import versions
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_file import UNREAD_NAMES, HostsFile
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_toml import DEFAULT, certificate_readers
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.image_name import DOCKER_HUB

Row = t.Tuple[str, str, str, str, str]  # the fields of a finding


def problems(files: t.Sequence[HostsFile], engine: str, store: str, registry_mirrors: str) -> t.Iterator[Row]:
    """Findings about the files themselves; ``registry_mirrors`` are the daemon's, '' without any."""
    for file in files:
        if file.error:
            instead = registry_mirrors if file.registry == DOCKER_HUB and registry_mirrors else f"{file.registry} itself"
            message = f"The engine does not read {file.path}, and uses {instead}: {file.error}"
            yield "registry_hosts_invalid", "error", "daemon", message, "Correct the file, or set docker_registry_hosts."
        elif file.registry in UNREAD_NAMES:
            message = f"{file.path} is not read: the engine looks for Docker Hub's mirrors in {DOCKER_HUB}."
            yield "registry_hosts_unread", "warning", "daemon", message, f"Move it to the folder {DOCKER_HUB}, or set docker_registry_hosts for {DOCKER_HUB}."
        elif engine and not versions.has("hosts_toml", engine):
            message = f"{file.path} is not read: engine {engine} reads mirrors from daemon.json only, and hosts.toml from {versions.text('hosts_toml')}."
            yield "registry_hosts_unread", "warning", "daemon", message, "Set docker_daemon_proxy registry_mirrors, or upgrade the engine."
        else:
            yield from _of_readable(file, store, registry_mirrors)


def _of_readable(file: HostsFile, store: str, registry_mirrors: str) -> t.Iterator[Row]:
    for name in file.missing:
        message = f"{file.path} names the certificate {name}, which does not exist: every build and pull that reads the file fails."
        yield "registry_hosts_ca_missing", "error", "daemon", message, "Put the certificate there, or set docker_registry_hosts with ca."
    for mirror in file.mirrors:
        if not mirror.serves:
            message = f"{file.path}, line {mirror.line}: {mirror.url} needs the capabilities pull and resolve to be used as a mirror."
            yield "registry_hosts_capabilities", "warning", "daemon", message, 'Write capabilities = ["pull", "resolve"], or leave the key out.'
    if file.certificates:
        who = certificate_readers(file.registry, store == "containerd")
        message = f"{file.certificates[0]} is beside {file.path}, so it is read by {who}: a folder with a hosts.toml needs the key ca."
        yield "registry_hosts_certificates", "warning", "daemon", message, "Write ca into hosts.toml, or set docker_registry_hosts with ca."
    if file.folders:
        message = f"{file.path} is not used for {', '.join(file.folders)}: a registry with a folder of its own has only the mirrors named there."
        yield "registry_hosts_default_unused", "info", "daemon", message, "Name these registries in docker_registry_hosts too, or remove their folders."
    yield from _who_decides(file, store, registry_mirrors)


def _who_decides(file: HostsFile, store: str, registry_mirrors: str) -> t.Iterator[Row]:
    """Without a [host] table the daemon's registry-mirrors come first."""
    urls = ", ".join(mirror.url for mirror in file.mirrors)
    if urls and file.decides_docker_hub and registry_mirrors:
        who = "Nobody uses" if store == "containerd" else "BuildKit does not use"
        message = f"{file.path} sends images of Docker Hub to {urls}. {who} the registry mirrors that docker info shows ({registry_mirrors})."
        yield "registry_hosts_wins", "warning", "daemon", message, _one_of_both(file, store)
    if store != "containerd" and (urls or file.replaces_the_registry):
        instead = "use the registry itself"
        if file.decides_docker_hub and registry_mirrors:
            instead = f"use {registry_mirrors}" if file.registry == DOCKER_HUB else f"use {registry_mirrors} for Docker Hub, and other registries themselves"
        message = f"{file.path} is read by BuildKit only: with the image store of this engine docker pull and the legacy builder {instead}."
        cure = "Build with BuildKit, or enable the containerd image store."
        yield "registry_hosts_buildkit_only", "info", "daemon", message, cure


def _one_of_both(file: HostsFile, store: str) -> str:
    if file.registry == DEFAULT:
        return f"Name {DOCKER_HUB} in docker_registry_hosts too, with the mirrors that it needs."
    if store == "containerd":
        return "Keep one: remove the file (docker_registry_hosts state: absent), or set docker_daemon_proxy registry_mirrors: []."
    return "Name the same mirrors in both, or remove the file (docker_registry_hosts state: absent): every client uses registry mirrors."
