# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a user's Docker files say about credential helpers, and about a builder's own proxies and mirrors. Pure."""

from __future__ import annotations

import base64
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._formats import toml

_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


def helpers(config: t.Mapping[str, t.Any]) -> t.Dict[str, t.Tuple[str, ...]]:
    """Programs that config.json names, and the keys that name them."""
    programs: t.Dict[str, t.Tuple[str, ...]] = {}
    store = config.get("credsStore")
    of_registries = config.get("credHelpers")
    if isinstance(store, str) and store:
        programs[f"docker-credential-{store}"] = ("credsStore",)
    for registry, name in of_registries.items() if isinstance(of_registries, dict) else ():
        if isinstance(name, str) and name:
            program = f"docker-credential-{name}"
            programs[program] = (*programs.get(program, ()), f"credHelpers {registry}")
    return programs


def builder_proxies(instance: t.Mapping[str, t.Any]) -> t.Dict[str, str]:
    """Proxies that a builder was created with (--driver-opt env.NAME=URL)."""
    proxies = {}
    for node in _nodes(instance):
        options = node.get("DriverOpts")
        for name, value in options.items() if isinstance(options, dict) else ():
            variable = str(name).partition("env.")[2].lower()
            if variable in _PROXIES:
                proxies[variable] = str(value).strip('"')
    return proxies


def builder_mirrors(instance: t.Mapping[str, t.Any]) -> t.Dict[str, t.List[str]]:
    """Mirrors by registry, from the buildkitd.toml that a builder was created with."""
    mirrors: t.Dict[str, t.List[str]] = {}
    for node in _nodes(instance):
        files = node.get("Files")
        for name, contents in files.items() if isinstance(files, dict) else ():
            if str(name).endswith(".toml"):
                mirrors.update(_registry_mirrors(str(name), contents))
    return mirrors


def _registry_mirrors(name: str, contents: t.Any) -> t.Dict[str, t.List[str]]:
    try:
        tables = toml.parse(base64.b64decode(str(contents)).decode(), name).value.get("registry")
    except (ValueError, toml.NotToml):
        return {}
    tables = tables if isinstance(tables, dict) else {}
    return {str(registry): [str(one) for one in table["mirrors"]] for registry, table in tables.items() if isinstance(table, dict) and table.get("mirrors")}


def _nodes(instance: t.Mapping[str, t.Any]) -> t.List[t.Dict[str, t.Any]]:
    nodes = instance.get("Nodes")
    return [node for node in (nodes if isinstance(nodes, list) else []) if isinstance(node, dict)]
