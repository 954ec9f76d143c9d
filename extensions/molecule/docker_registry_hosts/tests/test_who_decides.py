# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose image each client gets where more than one setting could decide, with the image store of the host."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

import build as lab_build
import pytest
import table

SAMPLE = 4  # all of them with BUILDFLEET_SAMPLE=all
CLIENTS = ("pull", "buildkit", "legacy")
FOLDER = "/etc/docker/certs.d"
HUB, GHCR, QUAY, HARBOR = "lab/tool:1", "ghcr.io/lab/tool:1", "quay.io/lab/tool:1", "harbor.lab/company/lab/tool:1"  # what is in the image of each
GHCR_URL, QUAY_URL, HUB_URL = f"https://{table.GHCR_MIRROR}", f"https://{table.QUAY_MIRROR}", table.MIRROR
LOGIN = {"username": table.USERNAME, "password": table.PASSWORD}
BY_PATH = {"url": "https://" + table.HARBOR.replace("/", "/v2/"), "override_path": True, **LOGIN}
NOBODY = ""  # the build or pull fails: the firewall blocks the registry


class SetUp(NamedTuple):
    registries: dict[str, object]  # docker_registry_hosts
    image: str
    containerd: tuple[str, str, str]  # whose image each of CLIENTS gets
    graphdriver: tuple[str, str, str]
    fallback: bool = True
    registry_mirrors: tuple[str, ...] = ()
    foreign: tuple[str, str] = ("", "")  # a file of others


def all_three(content):
    return (content, content, content)


def buildkit_only(content, others=NOBODY):
    return (others, content, others)


SET_UPS = {
    "_default": SetUp({"_default": QUAY_URL}, GHCR, all_three(QUAY), buildkit_only(QUAY)),
    "_default, and a file of the registry": SetUp({"_default": QUAY_URL, "ghcr.io": GHCR_URL}, GHCR, all_three(GHCR), buildkit_only(GHCR)),
    "_default beside registry-mirrors": SetUp(
        {"_default": GHCR_URL}, f"docker.io/{HUB}", all_three(GHCR), buildkit_only(GHCR, HUB), registry_mirrors=(HUB_URL,)
    ),
    "_default beside registry-mirrors, and a folder docker.io": SetUp(
        {"_default": GHCR_URL},
        f"docker.io/{HUB}",
        all_three(HUB),
        all_three(HUB),
        registry_mirrors=(HUB_URL,),
        foreign=("docker.io/note", "x"),
    ),
    "one mirror without fallback beside registry-mirrors": SetUp(
        {"docker.io": GHCR_URL}, f"docker.io/{HUB}", all_three(HUB), all_three(HUB), fallback=False, registry_mirrors=(HUB_URL,)
    ),
    "one mirror without fallback beside a dead one of registry-mirrors": SetUp(
        {"docker.io": GHCR_URL}, f"docker.io/{HUB}", all_three(GHCR), buildkit_only(GHCR), fallback=False, registry_mirrors=("https://nosuch.lab",)
    ),
    "a file that is not TOML beside registry-mirrors": SetUp(
        {"ghcr.io": GHCR_URL}, f"docker.io/{HUB}", all_three(HUB), all_three(HUB), registry_mirrors=(HUB_URL,), foreign=("docker.io/hosts.toml", "[host\n")
    ),
    "a port, a path and a login": SetUp({table.COMPANY: BY_PATH}, f"{table.COMPANY}/lab/tool:1", all_three(HARBOR), buildkit_only(HARBOR)),
    "upper case": SetUp({"Company.LAB:5000": BY_PATH}, "Company.LAB:5000/lab/tool:1", all_three(HARBOR), buildkit_only(HARBOR)),
    "upper case in the map only": SetUp({"Company.LAB:5000": BY_PATH}, f"{table.COMPANY}/lab/tool:1", all_three(NOBODY), all_three(NOBODY)),
}


def content(engine, client, image):
    if client == "pull":
        outcome = lab_build.build(engine.name, "pull", image, clean=False)
        log = engine.host.run(f"docker run --rm --network none {image} sh -c 'echo content=$(cat /etc/image)'").stdout if outcome.ok else ""
    else:
        log = lab_build.build(engine.name, client, image, clean=False, step="echo content=$(cat /etc/image)").log
    match = re.search(r"content=(\w\S+)", log)
    return match[1] if match else NOBODY


@pytest.fixture()
def bare(engine):
    """The host without our settings; afterwards as the scenario left it."""
    if engine.major < 28:
        pytest.skip("this engine does not read hosts.toml")
    kept, places = "/var/tmp/kept.tar", "etc/docker var/lib/buildfleet"
    engine.host.check_output(f"mkdir -p /etc/docker /var/lib/buildfleet && tar -C / -cf {kept} {places} && rm -rf /etc/docker /var/lib/buildfleet")
    yield engine
    engine.host.check_output(f"rm -rf /etc/docker /var/lib/buildfleet && tar -C / -xf {kept} && rm {kept}; rmdir /etc/docker /var/lib/buildfleet || true")
    assert engine.restart()


@pytest.mark.parametrize("kind", SET_UPS)
def test_whose_image_each_client_gets(bare, kind):
    set_up = SET_UPS[kind]
    if set_up.registry_mirrors:
        assert bare.module("docker_daemon_proxy", registry_mirrors=list(set_up.registry_mirrors), restart="if_needed").returncode == 0
    path, text = set_up.foreign
    if path:
        bare.write(f"{FOLDER}/{path}", text)
    bare.forget()
    done = bare.module("docker_registry_hosts", registries=set_up.registries, fallback=set_up.fallback)
    assert done.returncode == 0, done.stdout + done.stderr
    seen = []
    for client in CLIENTS:
        seen.append(content(bare, client, set_up.image))
        bare.host.run("docker image prune -af; docker builder prune -af")
    assert tuple(seen) == getattr(set_up, bare.store)


def test_what_is_taken_away_is_not_used(bare):
    bare.forget()
    assert bare.module("docker_registry_hosts", registries={"ghcr.io": GHCR_URL, "quay.io": QUAY_URL}).returncode == 0
    assert content(bare, "buildkit", GHCR) == GHCR
    assert bare.module("docker_registry_hosts", registries={"ghcr.io": GHCR_URL}).returncode == 0
    assert content(bare, "buildkit", QUAY) == NOBODY
    assert bare.module("docker_registry_hosts", state="absent").returncode == 0
    assert not bare.host.file(FOLDER).exists
    bare.forget()
    assert content(bare, "buildkit", GHCR) == NOBODY


def test_nobody_reads_a_certificate_beside_default(bare, wall):
    """The mirror and the registry have certificates that the host does not trust; with the firewall open only that keeps clients away."""
    ca = "/usr/local/share/ca-certificates/lab-ca.crt"
    wall("open")
    bare.write(f"{FOLDER}/_default/ca.crt", bare.host.check_output("cat /lab/ca.crt"))
    bare.host.check_output(f"mv {ca} /var/tmp/ && update-ca-certificates --fresh")
    try:
        bare.forget()
        done = bare.module("docker_registry_hosts", "--one-line", registries={"_default": GHCR_URL})
        assert f"While hosts.toml exists, {FOLDER}/_default/ca.crt is read by nobody." in done.stdout
        assert [content(bare, client, GHCR) for client in CLIENTS] == [NOBODY] * 3
    finally:
        bare.host.check_output(f"mv /var/tmp/lab-ca.crt {ca} && update-ca-certificates")
    bare.forget()
    assert content(bare, "buildkit", GHCR) == GHCR


# A mirror that hosts.toml alone names -> the cause and the reason, where the builder reads the file
BROKEN = {
    "https://page.lab": ("mirror_error", "html page"),
    "https://allowlist.lab": ("mirror_error", "status 403"),
}


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "of others"])
@pytest.mark.parametrize("url", BROKEN)
def test_a_broken_mirror_is_reported_to_whoever_reads_the_file(bare, url, ours):
    path = f"{FOLDER}/docker.io/hosts.toml"
    if ours:
        assert bare.module("docker_registry_hosts", registries={"docker.io": url}).returncode == 0
    else:
        bare.write(path, f'[host."{url}"]\n')
    bare.forget()
    cause, reason = BROKEN[url]
    for builder in ("buildkit", "legacy"):
        done = bare.module("docker_build_check", "--one-line", builder=builder, required=False, image="alpine:3.19")
        found = json.loads(done.stdout.partition(" => ")[2])
        if builder == "legacy" and bare.store == "graphdriver":
            assert (found["cause"], found["host"]) == ("reset", "registry-1.docker.io")
            continue
        seen = (found["cause"], found["asked_by"], found["host"], found["reason"])
        assert seen == (cause, "daemon", url.partition("://")[2], reason), found["log"]
        assert ("docker_registry_hosts" if ours else path) in found["cure"]
