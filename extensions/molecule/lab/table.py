# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of the lab: addresses, names and passwords of all machines. Tests, demo and docs read it."""

from __future__ import annotations

import os
from typing import NamedTuple
from urllib.parse import quote

NETWORK = "buildfleet-lab"
SUBNET = "10.57.0.0/24"
GATEWAY = "10.57.0.1"
BEHIND_THE_FIREWALL = "10.57.0.128/25"  # the hosts are here; services have lower addresses and are not behind the firewall
NAME_SERVER = "10.57.0.53"
SILENT_NAME = "silent.lab"  # the name server never answers for it; it denies unknown names at once

USERNAME = "builder"
PASSWORD = "p@ss:w/rd%41"  # awkward on purpose: with any encoding mistake the proxy refuses


class Service(NamedTuple):
    address: str
    names: tuple[str, ...] = ()
    tls: bool = False
    wall: bool = False  # behind the firewall


SERVICES = {
    "names": Service(NAME_SERVER),
    "token": Service("10.57.0.11", ("auth.docker.io",), tls=True, wall=True),
    "cdn": Service("10.57.0.12", ("production.cloudflare.docker.com",), tls=True, wall=True),
    "hub": Service("10.57.0.10", ("registry-1.docker.io", "index.docker.io", "docker.io", "hub.docker.com"), tls=True, wall=True),
    "web": Service("10.57.0.13", ("web.lab",), wall=True),
    "ghcr": Service("10.57.0.14", ("ghcr.io",), tls=True, wall=True),
    "quay": Service("10.57.0.15", ("quay.io",), tls=True, wall=True),
    "mirror": Service("10.57.0.20", ("mirror.lab",), tls=True),
    "relay": Service("10.57.0.21", ("relay.lab",), tls=True),
    "ghcr-mirror": Service("10.57.0.22", ("ghcr-mirror.lab",), tls=True),
    "quay-mirror": Service("10.57.0.25", ("quay-mirror.lab",), tls=True),
    "harbor": Service("10.57.0.26", ("harbor.lab",), tls=True),
    "candidates": Service(
        "10.57.0.23",
        ("own-realm.lab", "login.lab", "page.lab", "allowlist.lab", "limited.lab", "slow.lab", "wrong-name.lab"),
        tls=True,
    ),
    "proxy": Service("10.57.0.30", ("proxy.lab",)),
    "client-proxy": Service("10.57.0.31", ("client-proxy.lab",)),
    "auth-proxy": Service("10.57.0.32", ("auth-proxy.lab",)),
    "socks": Service("10.57.0.33", ("socks.lab",)),
    "auth-socks": Service("10.57.0.34", ("auth-socks.lab",)),
    "intercept": Service("10.57.0.35", ("intercept-proxy.lab",)),
}

DROPPED = ("10.57.0.24", "drop.lab")  # another address of the candidates, whose packets are dropped

LOGIN = f"{USERNAME}:{quote(PASSWORD, safe='')}"
HTTP_PROXY = "http://proxy.lab:8888"
CLIENT_PROXY = "http://client-proxy.lab:8888"
AUTH_PROXY = "http://auth-proxy.lab:8888"  # requires the login
SOCKS_PROXY = "socks5://socks.lab:1080"
AUTH_SOCKS_PROXY = "socks5://auth-socks.lab:1080"  # requires it too
INTERCEPT_PROXY = "http://intercept-proxy.lab:8888"  # intercepts TLS, with certificates of an authority that no host trusts
MIRROR = "https://mirror.lab"  # a pull-through cache that serves images without a token
RELAY = "https://relay.lab"  # passes the Hub's responses on, and with them the name of its token server
ALLOWLIST = "https://allowlist.lab"  # 403 for all images except busybox
WEB = "http://web.lab/"
OWN_REALM = "https://own-realm.lab"  # its own realm, like Cloudflare Workers
SLOW = "https://slow.lab"  # 100 kB a second
DROPS = f"https://{DROPPED[1]}"
# Candidates that cannot be used as a mirror, and the problem of each.
UNUSABLE = {
    "https://login.lab": "mirror_error",
    "https://page.lab": "mirror_error",
    "https://limited.lab": "mirror_error",
    "https://wrong-name.lab": "tls",
    "https://nosuch.lab": "dns",
    DROPS: "timeout",
}
GHCR_MIRROR = "ghcr-mirror.lab"  # like the mirror, for a registry that Docker's registry-mirrors do not cover
QUAY_MIRROR = "quay-mirror.lab"
HARBOR = "harbor.lab/company"  # a mirror with a path
COMPANY = "company.lab:5000"  # a registry that nobody reaches

IMAGES = ("library/busybox:1", "library/busybox:latest", "library/alpine:3.19", "pytorch/torchserve:0.11.0-gpu", "lab/tool:1")
# The same name as on the Hub, with other content in each.
GHCR_IMAGES = ("ghcr.io/lab/tool:1",)
QUAY_IMAGES = ("quay.io/lab/tool:1",)
HARBOR_IMAGES = ("harbor.lab/company/lab/tool:1",)

# What Debian does not have, from whoever has it: a folder with dockerd, docker, docker-buildx, containerd and so on, and a saved image of moby/buildkit.
BROUGHT_ENGINE = os.environ.get("BUILDFLEET_ENGINE", "")
BROUGHT_BUILDKIT = os.environ.get("BUILDFLEET_BUILDKIT_IMAGE", "")
_WHAT_IT_NEEDS = {
    "an engine that Debian does not have": "" if BROUGHT_ENGINE else "set BUILDFLEET_ENGINE to a folder with its programs",
    "builds of a docker-container builder": "" if BROUGHT_BUILDKIT else "set BUILDFLEET_BUILDKIT_IMAGE to a saved image of moby/buildkit",
}
NOT_RUN = [f"not run: {row}; {what} (CONTRIBUTING.md)" for row, what in _WHAT_IT_NEEDS.items() if what]

STORES = ("graphdriver", "containerd")  # of images; SUITE+STORE is a host with that one, and SUITE alone has the default of its engine
# To share a lab: BUILDFLEET_HOSTS=my20=bookworm,my26=trixie and BUILDFLEET_RELAY_HOSTS name your own hosts, and BUILDFLEET_INVENTORY the inventory
# that contains them.
HOSTS: dict[str, str] = dict(pair.split("=") for pair in os.environ.get("BUILDFLEET_HOSTS", "engine20=bookworm,engine26=trixie,engine28=forky").split(","))
# Not in a scenario, whose playbook configures the engines of Debian only.
if BROUGHT_ENGINE and not {"BUILDFLEET_HOSTS", "MOLECULE_SCENARIO_NAME"} & set(os.environ):
    HOSTS["brought"] = "brought"
# Not among the engines of most scenarios: `lab.py reset cache` creates one.
RELAY_HOSTS = dict(
    pair.split("=") for pair in os.environ.get("BUILDFLEET_RELAY_HOSTS", "relay20=bookwormrelay,relay26=trixierelay,relay28=forkyrelay").split(",")
)
OTHER_HOSTS = {"cache": "cache", "cache2": "cache", "sysvinit": "sysvinit", "engine28c": "forky+containerd", **RELAY_HOSTS}
