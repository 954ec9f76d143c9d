# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a mirror's answer means for Docker on this host."""

from __future__ import annotations

from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror


def mirror_problem(mirror: Mirror) -> str:
    """A sentence with the fix; '' if it answers as a mirror should, or not at all."""
    if mirror.sends_elsewhere:
        return (
            f"{mirror.url} sends clients to the token server {mirror.realm_host}, so daemon and client must reach that server too. "
            "Use a mirror that serves images without a token (role registry_cache), or give both a proxy (docker_build_env for the client)."
        )
    if mirror.status == 401 and not mirror.realm_host:
        return (
            f"{mirror.url} requires a login (status 401), and Docker sends no credentials to a mirror. "
            "Use a mirror without a login, or rewrite image names with dockerfile_mirror."
        )
    if mirror.status and mirror.reason == "html page":
        return f"{mirror.url} answers with a web page, not as a registry, so Docker does not use it. Write the URL of the registry itself."
    if mirror.error:
        return f"{mirror.url} answers {mirror.error} at /v2/, so Docker does not use it. Write the URL of a registry that answers there."
    return ""
