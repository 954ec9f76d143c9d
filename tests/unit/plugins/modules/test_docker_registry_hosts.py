# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docker_registry_hosts: what it writes, refuses, says and takes back."""

from __future__ import annotations

import contextlib
import json

import pytest
from memory_host import MemoryHost

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._core.files import File
from ansible_collections.buildfleet.docker.plugins.module_utils._core.mask import Secrets
from ansible_collections.buildfleet.docker.plugins.modules import docker_registry_hosts

GHCR, HUB = "/etc/docker/certs.d/ghcr.io/hosts.toml", "/etc/docker/certs.d/docker.io/hosts.toml"
PEM = "-----BEGIN CERTIFICATE-----\nMIIAAA==\n-----END CERTIFICATE-----\n"
LOGIN = {"url": "https://m.lab", "username": "builder", "password": "p@ss:w/rd"}
GRAPHDRIVER = {"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]}
CONTAINERD = {"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}


def engine(version="28.5.2+dfsg4", **info):
    return {"/version": {"Version": version}, "/info": {**GRAPHDRIVER, **info}}


class Module:
    def __init__(self, host, check_mode=False, **options):
        self.host, self.check_mode, self.secrets = host, check_mode, Secrets()
        self.params = {"registries": None, "fallback": True, "state": "present", "backup": False, **options}


def run(host, check_mode=False, **options):
    return docker_registry_hosts.work(Module(host, check_mode, **options))


@pytest.fixture
def host():
    return MemoryHost(folders=["/run/systemd/system", "/etc/docker"], api=engine())


def test_check_mode_says_what_a_run_does(host):
    before = host.state()
    predicted = run(host, True, registries={"ghcr.io": "https://m.lab"})
    assert host.state() == before
    assert run(host, registries={"ghcr.io": "https://m.lab"}) == predicted
    assert predicted["changed"]
    assert predicted["files"] == [GHCR]
    assert predicted["diff"][0]["before_header"] == f"{GHCR} (absent)"
    assert "https://m.lab" in host.files[GHCR].contents.decode()
    assert not run(host, registries={"ghcr.io": "https://m.lab"})["changed"]


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({}, id="nothing was there"),
        pytest.param({GHCR: File(b'server = "https://ghcr.io"\n[host."https://old.lab"]\n', 0o640, 3, 4)}, id="a file of others"),
        pytest.param({GHCR: 'server = "https://ghcr.io"'}, id="without an end of its last line"),
    ],
)
def test_undo_is_exact(files):
    host = MemoryHost(files, ["/run/systemd/system", "/etc/docker"], api=engine())
    before = host.state()
    run(host, registries={"ghcr.io": [LOGIN, {"url": "https://n.lab", "ca": PEM}], "docker.io": "https://m.lab"})
    run(host, registries={"ghcr.io": "https://n.lab"})
    assert run(host, state="absent")["changed"]
    assert host.state() == before
    assert not run(host, state="absent")["changed"]


class Killed(BaseException):
    pass


class MortalHost(MemoryHost):
    """A host whose run is killed before the write of this number; folders count as well."""

    last = None

    def _count(self):
        if self.last is not None:
            if self.last == 0:
                raise Killed
            self.last -= 1

    def write(self, path, file):
        self._count()
        super().write(path, file)

    def remove(self, path):
        self._count()
        super().remove(path)

    def remove_folder(self, path):
        self._count()
        super().remove_folder(path)


STEPS = (
    {"registries": {"docker.io": "https://m.lab", "ghcr.io": [LOGIN], "quay.io": {"url": "https://n.lab", "ca": PEM}}},
    {"registries": {"ghcr.io": "https://n.lab"}},
    {"state": "absent"},
)


@pytest.mark.parametrize("step", range(3))
@pytest.mark.parametrize("last", range(16))
def test_the_run_after_a_killed_one_finishes(step, last):
    def after(number):
        host = MortalHost({GHCR: 'server = "https://ghcr.io"\n'}, ["/run/systemd/system", "/etc/docker"], api=engine())
        for options in STEPS[:number]:
            run(host, **options)
        return host

    host = after(step)
    host.last = last
    with contextlib.suppress(Killed):
        run(host, **STEPS[step])
    host.last = None
    run(host, **STEPS[step])
    wanted = after(step + 1)
    assert visible(host) == visible(wanted)
    run(host, state="absent")
    assert host.state() == after(0).state()


def visible(host):
    """All but the key of the record, which is another one in each."""
    files = {path: file for path, file in host.files.items() if not path.startswith("/var/lib/buildfleet/")}
    return files, host.folders, [sorted(json.loads(file.contents)["files"]) for path, file in host.files.items() if path not in files]


def test_what_others_wrote_since_stays(host):
    run(host, registries={"ghcr.io": "https://m.lab", "docker.io": "https://m.lab"})
    host.files[GHCR] = host.files[GHCR]._replace(contents=b'server = "https://ghcr.io"\n' + host.files[GHCR].contents)
    host.files[HUB] = host.files[HUB]._replace(contents=b"\n" + host.files[HUB].contents)
    run(host, state="absent")
    assert {path: file.contents for path, file in host.files.items()} == {GHCR: b'server = "https://ghcr.io"\n'}


def test_a_file_that_others_removed_is_not_made_again(host):
    run(host, registries={"ghcr.io": "https://m.lab", "docker.io": "https://m.lab"})
    del host.files[GHCR]
    run(host, registries={"docker.io": "https://m.lab"})
    assert GHCR not in host.files


def test_a_registry_that_is_not_named_any_more_is_given_back(host):
    run(host, registries={"ghcr.io": {"url": "https://m.lab", "ca": PEM}, "docker.io": "https://m.lab"})
    assert run(host, registries={"docker.io": "https://m.lab"})["files"] == [HUB]
    assert sorted(path for path in host.files if "certs.d" in path) == [HUB]
    assert "/etc/docker/certs.d/ghcr.io" not in host.folders


def test_a_login_is_the_owners_alone_and_in_no_result(host):
    host.write(GHCR, File(b"# others\n", 0o644))
    module = Module(host, registries={"ghcr.io": [LOGIN]})
    done = docker_registry_hosts.work(module)
    assert host.files[GHCR].mode == 0o600
    assert b"Basic YnVpbGRlcjpwQHNzOncvcmQ=" in host.files[GHCR].contents
    shown = module.secrets.tree(done)
    assert "YnVpbGRlcjpwQHNzOncvcmQ" not in json.dumps(shown)
    module = Module(host, registries={"ghcr.io": [{**LOGIN, "password": "rotated"}]})
    rotated = module.secrets.tree(docker_registry_hosts.work(module))
    assert rotated["changed"]
    assert rotated["diff"][0]["after"].endswith("(with other credentials)\n")
    run(host, registries={"ghcr.io": "https://m.lab"})
    assert host.files[GHCR].mode == 0o644


def test_a_new_file_with_a_login_is_the_owners_alone(host):
    run(host, registries={"ghcr.io": [LOGIN]})
    assert host.files[GHCR].mode == 0o600


def test_a_backup_keeps_the_mode(host):
    host.write(GHCR, File(b"# others\n", 0o640))
    (copy,) = run(host, registries={"ghcr.io": "https://m.lab", "docker.io": "https://m.lab"}, backup=True)["backup_files"]
    assert copy.startswith(f"{GHCR}.20")
    assert host.files[copy] == File(b"# others\n", 0o640)


@pytest.mark.parametrize(
    ("files", "api", "options", "message"),
    [
        pytest.param({}, engine(), {}, "state: present needs registries. Set at least one with its mirrors, or use state: absent.", id="no registry"),
        pytest.param(
            {},
            engine(),
            {"registries": {"ghcr.io": "m.lab"}},
            "registries: ghcr.io: 'm.lab' is not the URL of a mirror. Write https://host, https://host:port or https://host/path.",
            id="a bad option",
        ),
        pytest.param(
            {},
            engine("26.1.5"),
            {"registries": {"ghcr.io": "https://m.lab"}},
            "registries: engine 26.1.5 does not read hosts.toml (supported from 28.0). For docker.io set docker_daemon_proxy registry_mirrors; for other "
            "registries set docker_build_env source_policy (engine 25.0 or newer), or rewrite the image names with dockerfile_mirror.",
            id="an old engine",
        ),
        pytest.param({}, {}, {"registries": {"ghcr.io": "https://m.lab"}}, "There is no Docker Engine on this host. Install it first.", id="no engine"),
        pytest.param(
            {},
            engine(SecurityOptions=["name=rootless"]),
            {"registries": {"ghcr.io": "https://m.lab"}},
            "Docker runs rootless here, as a user's own daemon.",
            id="rootless",
        ),
        pytest.param(
            {GHCR: "server = x\n"},
            engine(),
            {"registries": {"ghcr.io": "https://m.lab"}},
            f"{GHCR}, line 1, column 10: this is not a TOML value. Strings need quotes; the only words are true and false. "
            "The engine does not read this file, and uses the registry itself. Correct the file, then run this again.",
            id="a file that is no TOML",
        ),
        pytest.param(
            {},
            engine(),
            {"registries": {"ghcr.io": {"url": "https://m.lab", "ca": "/etc/none.pem"}}},
            "registries: ghcr.io: the file /etc/none.pem is not on this host, so BuildKit would fail. Correct ca.",
            id="a certificate that is not there",
        ),
        pytest.param(
            {},
            engine(),
            {"registries": {"ghcr.io": {"url": "https://m.lab", "ca": "-----BEGIN CERTIFICATE-----\nx"}}},
            "registries: ghcr.io: ca of https://m.lab: certificate must be the authority's certificate in PEM, which begins with -----BEGIN CERTIFICATE-----.",
            id="a certificate that is none",
        ),
    ],
)
def test_what_is_refused_leaves_the_host_alone(files, api, options, message):
    host = MemoryHost(files, ["/run/systemd/system"], api=api)
    before = host.state()
    with pytest.raises(Refused) as refused:
        run(host, **options)
    assert str(refused.value).startswith(message)
    assert host.state() == before


def test_a_folder_that_cannot_be_written_is_named(host):
    host.closed.add("/etc/docker/certs.d/ghcr.io")
    with pytest.raises(Refused) as refused:
        run(host, registries={"ghcr.io": "https://m.lab"})
    why = "it is not a regular file, or it or its folder is read-only, immutable, a mount, or not yours (set become: true). Nothing was written."
    assert str(refused.value) == f"{GHCR} cannot be written: {why}"


GRAPHDRIVER_SAYS = (
    "docker pull and the legacy builder do not read hosts.toml with this engine's image store (graphdriver), so only BuildKit uses the mirrors of {}."
)


@pytest.mark.parametrize(
    ("files", "info", "registries", "covers", "conflicts"),
    [
        pytest.param({}, {}, {"ghcr.io": "https://m.lab"}, {"ghcr.io": (False, True, False)}, [GRAPHDRIVER_SAYS.format("ghcr.io")], id="graphdriver"),
        pytest.param({}, CONTAINERD, {"ghcr.io": "https://m.lab"}, {"ghcr.io": (True, True, True)}, [], id="containerd"),
        pytest.param(
            {},
            {"RegistryConfig": {"Mirrors": ["https://hub.lab/"]}},
            {"docker.io": "https://m.lab"},
            {"docker.io": (True, True, True)},
            [f"The daemon has registry-mirrors (https://hub.lab/); BuildKit asks the mirrors of {HUB} instead."],
            id="registry-mirrors beside it",
        ),
        pytest.param(
            {},
            {**CONTAINERD, "RegistryConfig": {"Mirrors": ["https://hub.lab/"]}},
            {"docker.io": "https://m.lab"},
            {"docker.io": (True, True, True)},
            [f"The daemon has registry-mirrors (https://hub.lab/); with its containerd image store everything asks the mirrors of {HUB} instead."],
            id="registry-mirrors that nothing uses any more",
        ),
        pytest.param(
            {"/etc/docker/certs.d/ghcr.io/ca.crt": PEM},
            CONTAINERD,
            {"ghcr.io": "https://m.lab"},
            {"ghcr.io": (True, True, True)},
            [
                "While hosts.toml exists, /etc/docker/certs.d/ghcr.io/ca.crt is read by nobody. "
                "Set ca of the mirror, or name the file in a [host] table of your own."
            ],
            id="a certificate beside it",
        ),
        pytest.param(
            {"/etc/docker/certs.d/ghcr.io/ca.crt": PEM, "/etc/docker/certs.d/docker.io/client.cert": PEM},
            {},
            {"ghcr.io": "https://m.lab", "docker.io": "https://m.lab"},
            {"ghcr.io": (False, True, False), "docker.io": (False, True, False)},
            [
                "While hosts.toml exists, /etc/docker/certs.d/ghcr.io/ca.crt is read by docker pull and the legacy builder alone. "
                "Set ca of the mirror, or name the file in a [host] table of your own.",
                "While hosts.toml exists, /etc/docker/certs.d/docker.io/client.cert is read by nobody. "
                "Set ca of the mirror, or name the file in a [host] table of your own.",
                GRAPHDRIVER_SAYS.format("ghcr.io, docker.io"),
            ],
            id="certificates beside them, graphdriver",
        ),
        pytest.param(
            {},
            {"RegistryConfig": {"Mirrors": ["https://hub.lab/"]}},
            {"_default": "https://m.lab"},
            {"_default": (False, True, False)},
            [
                "The daemon has registry-mirrors (https://hub.lab/); BuildKit asks the mirrors of /etc/docker/certs.d/_default/hosts.toml instead "
                "for Docker Hub too.",
                GRAPHDRIVER_SAYS.format("_default"),
            ],
            id="_default beside registry-mirrors",
        ),
        pytest.param(
            {"/etc/docker/certs.d/docker.io/ca.crt": PEM},
            {**CONTAINERD, "RegistryConfig": {"Mirrors": ["https://hub.lab/"]}},
            {"_default": "https://m.lab"},
            {"_default": (True, True, True)},
            ["/etc/docker/certs.d/docker.io exists, so the mirrors of _default are not used for docker.io."],
            id="_default and a folder of Docker Hub beside registry-mirrors",
        ),
        pytest.param(
            {"/etc/docker/certs.d/quay.io/ca.crt": PEM},
            CONTAINERD,
            {"_default": "https://m.lab"},
            {"_default": (True, True, True)},
            ["/etc/docker/certs.d/quay.io exists, so the mirrors of _default are not used for quay.io."],
            id="a folder beside _default",
        ),
        pytest.param(
            {},
            {**CONTAINERD, "HttpsProxy": "http://p:1", "NoProxy": "n.lab"},
            {"ghcr.io": ["https://m.lab:5000/x", "https://n.lab"]},
            {"ghcr.io": (True, True, True)},
            [
                "BuildKit connects to the mirror m.lab:5000 through the daemon's proxy, because no_proxy does not contain it. "
                "Add m.lab to docker_daemon_proxy no_proxy, unless the mirror can only be reached through the proxy."
            ],
            id="the daemon's proxy",
        ),
    ],
)
def test_who_reads_it_and_what_else_decides(files, info, registries, covers, conflicts):
    host = MemoryHost(files, ["/run/systemd/system"], api=engine(**info))
    done = run(host, registries=registries)
    assert {name: (one["pull"], one["buildkit"], one["legacy"]) for name, one in done["covers"].items()} == covers
    assert done["conflicts"] == conflicts


def test_an_empty_folder_of_a_registry_comes_before_default():
    info = {**CONTAINERD, "RegistryConfig": {"Mirrors": ["https://hub.lab/"]}}
    files = {"/etc/docker/certs.d/README": "x"}
    host = MemoryHost(files, ["/run/systemd/system", "/etc/docker/certs.d/docker.io", "/etc/docker/certs.d/quay.io"], api=engine(**info))
    assert run(host, registries={"_default": "https://m.lab"})["conflicts"] == [
        "/etc/docker/certs.d/docker.io exists, so the mirrors of _default are not used for docker.io.",
        "/etc/docker/certs.d/quay.io exists, so the mirrors of _default are not used for quay.io.",
    ]


@pytest.mark.parametrize(
    ("mirrors", "info", "conflict"),
    [
        ("https://m.lab", {}, "BuildKit asks them first, and https://m.lab in place of the registry."),
        ("https://m.lab", CONTAINERD, "with its containerd image store everything asks them first, and https://m.lab in place of the registry."),
        (["https://m.lab", "https://n.lab"], {}, f"BuildKit asks the mirrors of {HUB} instead."),
    ],
)
def test_one_mirror_without_fallback_leaves_registry_mirrors_first(mirrors, info, conflict):
    host = MemoryHost(folders=["/run/systemd/system"], api=engine(**info, RegistryConfig={"Mirrors": ["https://hub.lab/"]}))
    done = run(host, registries={"docker.io": mirrors}, fallback=False)
    assert done["conflicts"] == [f"The daemon has registry-mirrors (https://hub.lab/); {conflict}"]


def test_a_file_that_others_closed_stays_closed(host):
    run(host, registries={"ghcr.io": "https://m.lab"})
    foreign = b'[host."https://b.lab"]\nheader = { Authorization = "Basic eDp5" }\n'
    host.files[GHCR] = File(host.files[GHCR].contents + foreign, 0o600)
    assert not run(host, registries={"ghcr.io": "https://m.lab"})["changed"]
    assert host.files[GHCR].mode == 0o600


def test_a_login_in_a_file_that_is_no_toml_any_more_is_masked(host):
    run(host, registries={"ghcr.io": [LOGIN]})
    host.files[GHCR] = host.files[GHCR]._replace(contents=host.files[GHCR].contents + b"since = 2026-01-01\n")
    module = Module(host, state="absent")
    shown = json.dumps(module.secrets.tree(docker_registry_hosts.work(module)))
    assert "YnVpbGRlcjpwQHNzOncvcmQ" not in shown


def test_an_ipv6_mirror_beside_a_proxy():
    host = MemoryHost(folders=["/run/systemd/system"], api=engine(**CONTAINERD, HttpsProxy="http://p:1", HttpProxy="", NoProxy="2001:db8::/32"))
    assert run(host, registries={"ghcr.io": ["https://[2001:db8::1]:5000", "http://n.lab"]})["conflicts"] == []


def test_a_file_that_others_closed_for_no_login_stays_closed_too(host):
    run(host, registries={"ghcr.io": "https://m.lab"})
    host.files[GHCR] = host.files[GHCR]._replace(mode=0o600)
    assert not run(host, registries={"ghcr.io": "https://m.lab"})["changed"]
    assert host.files[GHCR].mode == 0o600


def test_a_change_says_from_when_buildkit_uses_it(host):
    assert run(host, registries={"ghcr.io": "https://m.lab"})["msg"] == (
        "The mirrors are in use without a restart. For a repository that it used shortly before, BuildKit uses the previous ones for up to 5 minutes "
        "(15 if a token server was asked), or until the daemon is restarted."
    )
    assert "msg" not in run(host, registries={"ghcr.io": "https://m.lab"})
