# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._info.registry_hosts import problems
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_file import HostsFile, Mirror

PATH = "/etc/docker/certs.d/docker.io/hosts.toml"
MIRRORED = HostsFile(PATH, "docker.io", (Mirror("https://m.lab", 1),))


@pytest.mark.parametrize(
    ("file", "engine", "store", "mirrors", "found"),
    [
        (
            MIRRORED._replace(error="line 1: x."),
            "28.5.2",
            "containerd",
            "",
            [("registry_hosts_invalid", f"The engine does not read {PATH}, and uses docker.io itself: line 1: x.")],
        ),
        (
            MIRRORED._replace(registry="index.docker.io"),
            "28.5.2",
            "containerd",
            "",
            [("registry_hosts_unread", f"{PATH} is not read: the engine looks for Docker Hub's mirrors in docker.io.")],
        ),
        (
            MIRRORED,
            "26.1.5",
            "graphdriver",
            "",
            [("registry_hosts_unread", f"{PATH} is not read: engine 26.1.5 reads mirrors from daemon.json only, and hosts.toml from 28.0.")],
        ),
        (MIRRORED, "28.5.2", "containerd", "", []),
        (HostsFile(PATH, "docker.io"), "28.5.2", "graphdriver", "https://o.lab", []),
        (
            MIRRORED._replace(missing=("/m.pem",)),
            "28.5.2",
            "containerd",
            "",
            [("registry_hosts_ca_missing", f"{PATH} names the certificate /m.pem, which does not exist: every build and pull that reads the file fails.")],
        ),
        (
            MIRRORED._replace(certificates=("/d/ca.crt", "/d/client.key")),
            "28.5.2",
            "containerd",
            "",
            [("registry_hosts_certificates", f"/d/ca.crt is beside {PATH}, so it is read by nobody: a folder with a hosts.toml needs the key ca.")],
        ),
        (
            HostsFile(PATH, "ghcr.io", certificates=("/d/ca.crt",)),
            "28.5.2",
            "graphdriver",
            "",
            [
                (
                    "registry_hosts_certificates",
                    f"/d/ca.crt is beside {PATH}, so it is read by docker pull and the legacy builder alone: a folder with a hosts.toml needs the key ca.",
                )
            ],
        ),
        (
            MIRRORED._replace(registry="_default", folders=("ghcr.io", "quay.io")),
            "28.5.2",
            "containerd",
            "",
            [
                (
                    "registry_hosts_default_unused",
                    f"{PATH} is not used for ghcr.io, quay.io: a registry with a folder of its own has only the mirrors named there.",
                )
            ],
        ),
        (
            MIRRORED._replace(mirrors=(Mirror("https://m.lab", 4, ("pull",)),)),
            "28.5.2",
            "containerd",
            "",
            [("registry_hosts_capabilities", f"{PATH}, line 4: https://m.lab needs the capabilities pull and resolve to be used as a mirror.")],
        ),
        (
            MIRRORED,
            "28.5.2",
            "containerd",
            "https://o.lab",
            [
                (
                    "registry_hosts_wins",
                    f"{PATH} sends images of Docker Hub to https://m.lab. Nobody uses the registry mirrors that docker info shows (https://o.lab).",
                )
            ],
        ),
        (
            MIRRORED,
            "28.5.2",
            "graphdriver",
            "https://o.lab",
            [
                (
                    "registry_hosts_wins",
                    f"{PATH} sends images of Docker Hub to https://m.lab. BuildKit does not use the registry mirrors that docker info shows (https://o.lab).",
                ),
                (
                    "registry_hosts_buildkit_only",
                    f"{PATH} is read by BuildKit only: with the image store of this engine docker pull and the legacy builder use https://o.lab.",
                ),
            ],
        ),
        (
            MIRRORED._replace(error="line 1: x."),
            "28.5.2",
            "containerd",
            "https://o.lab",
            [("registry_hosts_invalid", f"The engine does not read {PATH}, and uses https://o.lab: line 1: x.")],
        ),
        (
            MIRRORED._replace(certificates=("/d/ca.crt",), mirrors=()),
            "28.5.2",
            "graphdriver",
            "",
            [("registry_hosts_certificates", f"/d/ca.crt is beside {PATH}, so it is read by nobody: a folder with a hosts.toml needs the key ca.")],
        ),
        (
            MIRRORED._replace(registry="_default"),
            "28.5.2",
            "graphdriver",
            "https://o.lab",
            [
                (
                    "registry_hosts_wins",
                    f"{PATH} sends images of Docker Hub to https://m.lab. BuildKit does not use the registry mirrors that docker info shows (https://o.lab).",
                ),
                (
                    "registry_hosts_buildkit_only",
                    f"{PATH} is read by BuildKit only: with the image store of this engine docker pull and the legacy builder use https://o.lab for "
                    "Docker Hub, and other registries themselves.",
                ),
            ],
        ),
        (
            HostsFile(PATH, "docker.io", server="https://m.lab"),
            "28.5.2",
            "graphdriver",
            "",
            [
                (
                    "registry_hosts_buildkit_only",
                    f"{PATH} is read by BuildKit only: with the image store of this engine docker pull and the legacy builder use the registry itself.",
                )
            ],
        ),
        (HostsFile(PATH, "docker.io", server="registry-1.docker.io"), "28.5.2", "graphdriver", "https://o.lab", []),
        (HostsFile(PATH, "ghcr.io", server="https://ghcr.io/v2"), "28.5.2", "graphdriver", "", []),
        (
            MIRRORED._replace(registry="ghcr.io"),
            "28.5.2",
            "graphdriver",
            "https://o.lab",
            [
                (
                    "registry_hosts_buildkit_only",
                    f"{PATH} is read by BuildKit only: with the image store of this engine docker pull and the legacy builder use the registry itself.",
                )
            ],
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_cure(file, engine, store, mirrors, found):
    rows = list(problems([file], engine, store, mirrors))
    assert [(id, message) for id, _severity, _process, message, _cure in rows] == found
    assert all(process == "daemon" and cure.endswith((".", ".]")) for _id, _severity, process, _message, cure in rows)
