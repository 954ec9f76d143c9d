# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.web import Answer
from ansible_collections.buildfleet.docker.plugins.module_utils._registry import hosts_toml, probe
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_file import (
    HostsFile,
    Mirror,
    all_files,
    ask,
    file_for,
    greet,
    read_file,
    readers,
)

PATH = "/etc/docker/certs.d/docker.io/hosts.toml"
BASIC = """
server = "https://registry-1.docker.io"
[host."https://m.lab"]
  capabilities = ["pull", "resolve"]
  ca = "m.pem"
  [host."https://m.lab".header]
    Authorization = ["Basic eA=="]
    x = 1
[host."https://n.lab"]
  ca = ["/etc/n.pem", 1]
"""
ALL = ("pull", "resolve", "push")
MIRRORED = HostsFile(PATH, "docker.io", (Mirror("https://m.lab", 1),))


@pytest.mark.parametrize(
    ("contents", "found"),
    [
        (
            BASIC.encode(),
            HostsFile(
                PATH,
                "docker.io",
                (
                    Mirror("https://m.lab", 3, ("pull", "resolve"), (("Authorization", "Basic eA=="), ("x", "")), ("/etc/docker/certs.d/docker.io/m.pem",)),
                    Mirror("https://n.lab", 9, ALL, (), ("/etc/n.pem",)),
                ),
                "https://registry-1.docker.io",
                replacement=Mirror("https://registry-1.docker.io", 2),
            ),
        ),
        (b"server = 1\nhost = 1\n", HostsFile(PATH, "docker.io")),
        (b"[host]\nx = 1\n", HostsFile(PATH, "docker.io")),
        (b"\xff", HostsFile(PATH, "docker.io", error=f"{PATH}: it is not UTF-8 text.")),
        (
            b'\n[host."https://m.lab"]\ncapabilities = ["fly"]\n',
            HostsFile(PATH, "docker.io", error=f"{PATH}, line 2: the capability 'fly' is unknown."),
        ),
    ],
)
def test_a_file_is_read_as_the_engine_reads_it(contents, found):
    assert read_file(PATH, "docker.io", contents) == found


def test_a_file_that_is_no_toml_is_named_with_its_line():
    assert read_file(PATH, "docker.io", b"a = 1\nx = [\n").error.startswith(f"{PATH}, line ")


@pytest.mark.parametrize(
    ("file", "engine", "store", "who"),
    [
        (MIRRORED, "28.5.2", "graphdriver", ["buildkit"]),
        (MIRRORED, "28.5.2", "containerd", ["buildkit", "pull", "legacy"]),
        (MIRRORED, "26.1.5", "graphdriver", []),
        (MIRRORED._replace(registry="registry-1.docker.io"), "28.5.2", "containerd", []),
        (MIRRORED._replace(error="x"), "28.5.2", "containerd", []),
    ],
)
def test_who_reads_a_file(file, engine, store, who):
    assert readers(file, engine, store) == who


OURS = hosts_toml.block("docker.io", hosts_toml.wanted({"docker.io": ["https://a.lab", "https://b.lab"]})["docker.io"], fallback=False)
FOREIGN = '[host."https://c.lab/x"]\noverride_path = true\nskip_verify = true\n'


def test_lines_of_the_module_are_told_from_those_of_others():
    found = read_file(PATH, "docker.io", f"# a comment\n{OURS}{FOREIGN}".encode())
    assert [(one.url, one.ours, one.override_path, one.skip_verify) for one in found.asked("docker.io")] == [
        ("https://a.lab", True, False, False), ("https://c.lab/x", False, True, True), ("https://b.lab", True, False, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "registry", "urls"),
    [
        ('[host."https://m.lab"]\n', "docker.io", ["https://m.lab"]),
        ('[host."https://m.lab"]\ncapabilities = ["pull"]\n', "docker.io", []),
        ('server = "https://registry-1.docker.io"\n', "docker.io", []),
        ('server = "https://s.lab"\n', "docker.io", ["https://s.lab"]),
        ('server = "ghcr.io"\n', "ghcr.io", []),
        ('server = "https://ghcr.io"\n', "quay.io", ["https://ghcr.io"]),
        ('server = "https://[bad"\n', "docker.io", []),
        ("", "docker.io", []),
    ],
)
def test_who_is_asked_for_an_image(file, registry, urls):
    assert [one.url for one in read_file(PATH, "_default", file.encode()).asked(registry)] == urls


@pytest.mark.parametrize(("server", "replaced"), [("https://s.lab", True), ("https://registry-1.docker.io", False), ("https://[bad", False)])
def test_whether_a_server_replaces_the_registry(server, replaced):
    assert read_file(PATH, "docker.io", f'server = "{server}"\n'.encode()).replaces_the_registry is replaced


CERTS = "/etc/docker/certs.d"
HOST = '[host."https://m.lab"]\n'


@pytest.mark.parametrize(
    ("files", "registry", "path"),
    [
        ({f"{CERTS}/docker.io/hosts.toml": HOST, f"{CERTS}/_default/hosts.toml": HOST}, "docker.io", f"{CERTS}/docker.io/hosts.toml"),
        ({f"{CERTS}/docker.io/hosts.toml": HOST, f"{CERTS}/_default/hosts.toml": HOST}, "ghcr.io", f"{CERTS}/_default/hosts.toml"),
        ({f"{CERTS}/ghcr.io/ca.crt": "x", f"{CERTS}/_default/hosts.toml": HOST}, "ghcr.io", ""),
        ({f"{CERTS}/docker.io/hosts.toml": HOST}, "ghcr.io", ""),
        ({}, "docker.io", ""),
    ],
)
def test_the_file_that_decides_for_a_registry(files, registry, path):
    found = file_for(MemoryHost(files), registry)
    assert (found.path if found else "") == path


EMPTY = MemoryHost({f"{CERTS}/_default/hosts.toml": HOST, f"{CERTS}/README": "x"}, [f"{CERTS}/ghcr.io"])


def test_an_empty_folder_of_a_registry_comes_before_default():
    assert file_for(EMPTY, "ghcr.io") is None
    assert file_for(EMPTY, "quay.io") == HostsFile(f"{CERTS}/_default/hosts.toml", "_default", (Mirror("https://m.lab", 1),))


def test_registries_with_a_folder_of_their_own_are_named_beside_default_and_files_are_not():
    assert [file.folders for file in all_files(EMPTY)] == [("ghcr.io",)]


PLAIN = Mirror("https://m.lab", 1)
PAGE = {"Content-Type": "text/html"}
BEARER = {"WWW-Authenticate": 'Bearer realm="https://t.lab/token"'}


@pytest.mark.parametrize(
    ("mirror", "answer", "url", "found"),
    [
        (PLAIN, Answer(200, {}), "https://m.lab/v2/library/busybox/manifests/1?ns=docker.io", {"status": 200, "manifest": 200}),
        (PLAIN, Answer(404, {}), "https://m.lab/v2/library/busybox/manifests/1?ns=docker.io", {"status": 200, "manifest": 404}),
        (PLAIN, Answer(403, {}), "https://m.lab/v2/library/busybox/manifests/1?ns=docker.io", {"status": 200, "manifest": 403}),
        (PLAIN, Answer(200, PAGE), "https://m.lab/v2/library/busybox/manifests/1?ns=docker.io", {"status": 200, "manifest": 200, "reason": "html page"}),
        (PLAIN, Answer(401, BEARER), "https://m.lab/v2/library/busybox/manifests/1?ns=docker.io", {"status": 401, "realm": "https://t.lab/token"}),
        (PLAIN, Answer(0, {}, "unknown authority"), "https://m.lab/v2/library/busybox/manifests/1?ns=docker.io", {"reason": "unknown authority"}),
        (
            PLAIN._replace(url="https://m.lab/x/", ca=("/ca.pem",)),
            Answer(0, {}, "unknown authority"),
            "https://m.lab/x/v2/library/busybox/manifests/1?ns=docker.io",
            {"is_plain": False},
        ),
        (
            PLAIN._replace(url="https://m.lab/x", skip_verify=True),
            Answer(0, {}, "dns"),
            "https://m.lab/x/v2/library/busybox/manifests/1?ns=docker.io",
            {"reason": "dns", "is_plain": False},
        ),
        (
            PLAIN._replace(url="https://m.lab/x", override_path=True, ours=True),
            Answer(200, {}),
            "https://m.lab/x/library/busybox/manifests/1?ns=docker.io",
            {"status": 200, "manifest": 200, "named_by": "docker_registry_hosts", "is_plain": False},
        ),
        (PLAIN._replace(url="m.lab/v2"), Answer(0, {}, "reset"), "https://m.lab/v2/library/busybox/manifests/1?ns=docker.io", {"reason": "reset"}),
    ],
)
def test_a_mirror_is_asked_for_an_image_as_the_engine_asks_it(mirror, answer, url, found):
    asked = []
    answered = ask(lambda url, headers, timeout: asked.append(url) or answer, HostsFile(PATH, "docker.io"), mirror, "busybox:1")
    assert asked == [url]
    assert answered == probe.Mirror(mirror.url)._replace(**{"named_by": PATH, **found})


@pytest.mark.parametrize(("registry", "is_plain"), [("ghcr.io", True), ("_default", False)])
def test_a_mirror_of_all_registries_is_not_asked_without_their_name(registry, is_plain):
    assert ask(lambda url, headers, timeout: Answer(200, {}), HostsFile(PATH, registry), PLAIN, "ghcr.io/a/b").is_plain is is_plain


def test_an_image_of_another_registry_is_asked_for_with_the_headers_of_the_file():
    asked = []
    mirror = Mirror("https://m.lab", 1, headers=(("Authorization", "Basic eA=="),))
    ask(lambda url, headers, timeout: asked.append((url, headers["Authorization"])) or Answer(200, {}), HostsFile(PATH, "x"), mirror, "ghcr.io/a/b")
    assert asked == [("https://m.lab/v2/a/b/manifests/latest?ns=ghcr.io", "Basic eA==")]


@pytest.mark.parametrize(
    ("mirror", "answer", "found"),
    [
        (PLAIN, Answer(403, {}), {"status": 403}),
        (PLAIN, Answer(0, {}, "unknown authority"), {"reason": "unknown authority"}),
        (PLAIN._replace(ca=("/ca.pem",)), Answer(0, {}, "unknown authority"), {"status": 200}),
        (PLAIN._replace(ca=("/ca.pem",)), Answer(0, {}, "dns"), {"reason": "dns"}),
        (PLAIN._replace(override_path=True), Answer(404, {}), {"status": 200}),
        (PLAIN._replace(override_path=True), Answer(401, {}), {"status": 401}),
        (PLAIN._replace(override_path=True), Answer(0, {}, "reset"), {"reason": "reset"}),
    ],
)
def test_a_greeting_tells_no_more_than_it_can(mirror, answer, found):
    assert greet(lambda url, headers, timeout: answer, mirror) == probe.Mirror(mirror.url)._replace(**found)
