# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from pathlib import Path

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.problems import ConfigProblem
from ansible_collections.buildfleet.docker.plugins.module_utils._info import findings as f
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_file import HostsFile
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_file import Mirror as HostsMirror
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.probe import Mirror

URL, LOOP, SOCKS5H = "http://proxy.lab:3128", "http://127.0.0.1:3128", "socks5h://proxy.lab:1080"
OWN, OTHER = "/etc/profile.d/buildfleet-docker.sh, line 2", "/etc/profile.d/zz.sh, line 1"
HEALTHY = f.Facts(
    engine="26.1.5", engine_go="go1.24.4", cli="26.1.5", cli_go="go1.24.4", buildx="0.13.1", clients=(f.Client("login"),), steps=(f.Steps("root"),)
)  # fmt: skip


def daemon(**values):
    return tuple(f.Setting(name, value, f"FILE, line {number}", ((f"FILE, line {number}", value),)) for number, (name, value) in enumerate(values.items(), 1))


def client(who="login", source=OTHER, lost=(), **fields):
    values = {name: value for name, value in fields.items() if name.isupper()}
    settings = tuple(f.Setting(name, value, source, (*lost, (source, value))) for name, value in values.items())
    return (f.Client(who, settings=settings, **{name: value for name, value in fields.items() if name not in values}),)


def trouble(id, stops=True):
    return (ConfigProblem(id, stops, "/etc/docker/daemon.json, line 2: it is wrong."),)


def mirror(url="https://mirror.lab", **answer):
    return (Mirror(url, **answer),)


def in_file(**answer):
    """A mirror of a hosts.toml on an engine that reads it, and what it answered."""
    file = HostsFile("/etc/docker/certs.d/ghcr.io/hosts.toml", "ghcr.io", (HostsMirror("https://m.lab", 3),))
    answers = (("https://m.lab", Mirror("https://m.lab", **answer)), ("https://elsewhere.lab", Mirror("https://elsewhere.lab", reason="dns")))
    return {"hosts_files": (file,), "hosts_mirrors": answers, "engine": "28.5.2", "image_store": "graphdriver"}


PROXIED = daemon(https_proxy=URL)
WITH_MIRROR = {"mirrors": mirror(status=200), "clients": client(BUILDKIT_NO_CLIENT_TOKEN="1")}
ELSEWHERE = mirror(status=401, realm="https://auth.docker.io/token")

# Each finding: what differs from a healthy host, and a twin without it that differs as little as can be.
CASES = [
    ("engine_missing", "error", "daemon", {"engine": "", "cli": "", "up": False}, {}),
    ("configured_elsewhere", "warning", "daemon", {"unsupported": "This is a snap. Write it there."}, {}),
    ("engine_down", "error", "daemon", {"up": False, "state": "failed"}, {"up": False, "closed": True}),
    ("engine_down", "error", "daemon", {"up": False, "state": "failed", "down_problem": ("Docker does not run.", "Repair it.")}, {}),
    ("unit_refused", "error", "daemon", {"unit_problem": ("/etc/systemd/system/docker.service.d/a.conf, line 2: it is wrong.", "Correct it.")}, {}),
    ("config_not_json", "warning", "daemon", {"config_problems": trouble("config_not_json", False)}, {}),
    ("config_not_json", "error", "daemon", {"config_problems": trouble("config_not_json")}, {}),
    ("key_stops_start", "error", "daemon", {"config_problems": trouble("key_stops_start")}, {}),
    ("client_keys_in_daemon_json", "error", "daemon", {"config_problems": trouble("client_keys_in_daemon_json")}, {}),
    ("mirror_without_scheme", "error", "daemon", {"config_problems": trouble("mirror_without_scheme")}, {}),
    ("mirror_refused", "error", "daemon", {"config_problems": trouble("mirror_refused")}, {}),
    ("line_ignored_by_systemd", "warning", "daemon", {"config_problems": trouble("line_ignored_by_systemd", False)}, {}),
    ("file_ignored_by_systemd", "warning", "daemon", {"config_problems": trouble("file_ignored_by_systemd", False)}, {}),
    ("top_level_proxy_ignored", "warning", "daemon", {"config_problems": trouble("top_level_proxy_ignored", False)}, {}),
    ("restart_pending", "warning", "daemon", {"pending": ("https_proxy",)}, {"pending": ()}),
    ("config_newer_than_engine", "info", "daemon", {"config_newer": True}, {"config_newer": True, "pending": ("https_proxy",)}),
    ("daemon_reload_needed", "warning", "daemon", {"reload_needed": True}, {"reload_needed": True, "unit_problem": ("It is wrong.", "Correct it.")}),
    ("https_proxy_missing", "warning", "daemon", {"daemon": daemon(http_proxy=URL)}, {"daemon": daemon(http_proxy=URL, https_proxy=URL)}),
    ("https_proxy_missing", "warning", "client", {"clients": client(HTTP_PROXY=URL)}, {"clients": client(HTTP_PROXY=URL, HTTPS_PROXY=URL)}),
    ("https_proxy_missing", "warning", "step", {"steps": (f.Steps("root", daemon(http_proxy=URL)),)}, {"steps": (f.Steps("root", daemon(https_proxy=URL)),)}),
    ("loopback_proxy", "info", "daemon", {"daemon": daemon(https_proxy=LOOP)}, {"daemon": PROXIED}),
    ("loopback_proxy", "info", "daemon", {"daemon": daemon(https_proxy=LOOP), "relay": ("127.0.0.1:9", "172.17.0.1:9")}, {}),
    (
        "loopback_proxy",
        "info",
        "daemon",
        {"daemon": daemon(https_proxy="http://127.0.0.1:3129"), "relay": ("127.0.0.1:3129",)},
        {"daemon": daemon(https_proxy="http://127.0.0.1:3129/"), "relay": ("127.0.0.1:3129", "172.17.0.1:3129")},
    ),
    ("loopback_proxy", "error", "step", {"steps": (f.Steps("root", daemon(https_proxy="localhost:8")),)}, {"steps": (f.Steps("root", PROXIED),)}),
    ("loopback_proxy", "error", "step", {"steps": (f.Steps("root", daemon(http_proxy="http://a:b/c@[::1]:8", https_proxy=URL)),)}, {}),
    ("socks5h_unknown", "error", "daemon", {"daemon": daemon(https_proxy=SOCKS5H), "engine_go": "go1.19"}, {"daemon": daemon(https_proxy=SOCKS5H)}),
    ("socks5h_unknown", "error", "client", {"clients": client(HTTPS_PROXY=SOCKS5H), "cli_go": "go1.19"}, {"clients": client(HTTPS_PROXY=SOCKS5H)}),
    ("no_proxy_not_understood", "warning", "daemon", {"daemon": daemon(no_proxy="192.168.*")}, {"daemon": daemon(no_proxy="192.168.0.0/16, .lab")}),
    ("daemon_proxy_without_token_path", "warning", "client", {"daemon": PROXIED}, {"daemon": PROXIED, "clients": client(HTTPS_PROXY=URL)}),
    ("daemon_proxy_without_token_path", "warning", "client", {"daemon": PROXIED}, {"daemon": PROXIED, "clients": client(BUILDKIT_NO_CLIENT_TOKEN="true")}),
    ("daemon_proxy_without_token_path", "warning", "client", {"daemon": PROXIED}, {"daemon": PROXIED, "clients": client(builder="legacy")}),
    ("daemon_proxy_without_token_path", "warning", "client", {"daemon": PROXIED}, {"daemon": PROXIED, "clients": client(engine="tcp://far:2376")}),
    (
        "daemon_proxy_without_token_path",
        "warning",
        "client",
        {"daemon": PROXIED, "clients": client(HTTPS_PROXY=URL, NO_PROXY="docker.io")},
        {"daemon": PROXIED, "clients": client(HTTPS_PROXY=URL, NO_PROXY="lab")},
    ),
    ("daemon_proxy_without_token_path", "info", "client", {"daemon": PROXIED, "mirrors": mirror(status=200)}, {"daemon": PROXIED, "mirrors": ELSEWHERE}),
    ("no_proxy_without_mirror", "warning", "daemon", {**WITH_MIRROR, "daemon": PROXIED}, {**WITH_MIRROR, "daemon": daemon(https_proxy=URL, no_proxy="lab")}),
    ("no_proxy_without_mirror", "info", "daemon", {"daemon": PROXIED, "mirrors": mirror(reason="timeout")}, {"daemon": daemon(http_proxy=URL), **WITH_MIRROR}),
    ("mirror_sends_token_elsewhere", "warning", "daemon", {"mirrors": ELSEWHERE}, {"mirrors": mirror(status=401, realm="https://mirror.lab/token")}),
    ("mirror_error", "warning", "daemon", {"mirrors": mirror(status=500)}, {"mirrors": mirror(status=200)}),
    ("mirror_error", "warning", "daemon", {"mirrors": mirror(status=200, reason="html page")}, {"mirrors": mirror(status=200)}),
    ("mirror_untrusted", "warning", "daemon", {"mirrors": mirror(reason="unknown authority")}, {"mirrors": mirror(status=200)}),
    ("mirror_unreachable", "warning", "daemon", {"mirrors": mirror(reason="dns")}, {"daemon": PROXIED, "mirrors": mirror(reason="dns")}),
    (
        "mirror_without_tls",
        "warning",
        "daemon",
        {"mirrors": mirror("http://m.lab:5000", status=200)},
        {"mirrors": mirror("http://m.lab:5000", status=200), "insecure": ("m.lab:5000",)},
    ),
    (
        "mirror_without_tls",
        "warning",
        "daemon",
        {"mirrors": mirror("http://m.lab:5000/", status=200), "insecure": ("m.lab:5000",), "engine": "20.10.24"},
        {"mirrors": mirror("http://m.lab:5000/", status=200), "insecure": ("http://m.lab:5000",), "engine": "20.10.24"},
    ),
    (
        "mirror_without_tls",
        "warning",
        "daemon",
        {"mirrors": mirror("http://m.lab:5000", status=200)},
        {"mirrors": mirror("http://m.lab:5000", status=200), "engine": "28.5.2"},
    ),
    ("features_buildkit_ignored", "warning", "client", {"features_buildkit": False}, {"features_buildkit": False, "cli": "20.10.24"}),
    ("bad_docker_buildkit", "error", "client", {"clients": client(DOCKER_BUILDKIT="no")}, {"clients": client(DOCKER_BUILDKIT="0")}),
    ("buildx_missing", "error", "client", {"clients": client(DOCKER_BUILDKIT="1", buildx=False)}, {"clients": client(DOCKER_BUILDKIT="1")}),
    (
        "buildx_missing",
        "error",
        "client",
        {"clients": client(DOCKER_BUILDKIT="1", buildx=False)},
        {"clients": client(DOCKER_BUILDKIT="1", buildx=False), "cli": "20.10.24"},
    ),
    (
        "legacy_builder",
        "warning",
        "client",
        {"clients": client(builder="legacy", buildx=False)},
        {"clients": client(builder="legacy", buildx=False, DOCKER_BUILDKIT="0")},
    ),
    ("legacy_builder", "info", "client", {"clients": client(builder="legacy"), "cli": "20.10.24"}, {"clients": client(), "cli": "20.10.24"}),
    (
        "legacy_builder",
        "warning",
        "client",
        {"clients": client(builder="legacy", DOCKER_BUILDKIT="0", lost=((OWN, "1"),))},
        {"clients": client(DOCKER_BUILDKIT="1", lost=((OWN, "1"),))},
    ),
    (
        "legacy_builder",
        "warning",
        "client",
        {"clients": client(builder="legacy", DOCKER_BUILDKIT="0"), "features_buildkit": True},
        {"clients": client(builder="legacy", DOCKER_BUILDKIT="0")},
    ),
    ("all_proxy_ignored", "info", "client", {"clients": client(ALL_PROXY=URL)}, {"clients": client(ALL_PROXY=URL, HTTPS_PROXY=URL)}),
    ("service_restart_pending", "warning", "client", {"clients": client("service:ci", stale=("HTTPS_PROXY",))}, {"clients": client("service:ci")}),
    (
        "overruled",
        "warning",
        "client",
        {"clients": client(HTTPS_PROXY="http://x:1", lost=((OWN, URL),))},
        {"clients": client(HTTPS_PROXY=URL, lost=((OWN, URL),))},
    ),
    (
        "overruled",
        "warning",
        "client",
        {"clients": client(HTTPS_PROXY="http://x:1", lost=((OWN, URL),))},
        {"clients": client("service:ci", HTTPS_PROXY="http://x:1", lost=((OWN, URL),))},
    ),
    (
        "source_policy_missing",
        "error",
        "client",
        {"clients": client(EXPERIMENTAL_BUILDKIT_SOURCE_POLICY="/p.json", policy_missing=True)},
        {"clients": client(EXPERIMENTAL_BUILDKIT_SOURCE_POLICY="/p.json")},
    ),
    (
        "source_policy_ignored",
        "warning",
        "client",
        {"clients": client(EXPERIMENTAL_BUILDKIT_SOURCE_POLICY="/p.json"), "engine": "24.0.9"},
        {"clients": client(EXPERIMENTAL_BUILDKIT_SOURCE_POLICY="/p.json")},
    ),
    (
        "remote_daemon_token",
        "warning",
        "client",
        {"clients": client(engine="tcp://far:2376", BUILDKIT_NO_CLIENT_TOKEN="1")},
        {"clients": client(engine="tcp://far:2376", BUILDKIT_NO_CLIENT_TOKEN="0")},
    ),
    ("remote_engine", "info", "client", {"clients": client(engine="ssh://far")}, {"clients": client()}),
    ("container_builder", "info", "client", {"builders": (f.Builder("root", "ci", "docker-container", True),)}, {}),
    ("builds_in_containers", "info", "client", {"runners": (f.Runner("/etc/gitlab-runner/config.toml", "docker", False),)}, {}),
    ("docker_in_docker", "info", "daemon", {"nested": ("dind",)}, {}),
    ("mirror_wants_login", "warning", "daemon", {"mirrors": mirror(status=401)}, {"mirrors": ELSEWHERE}),
    ("rate_limit_shared", "warning", "daemon", {"mirrors": mirror(status=429)}, {"mirrors": mirror(status=500)}),
    (
        "credential_helper_missing",
        "error",
        "client",
        {"clients": client(helpers_missing=(("/root/.docker/config.json, line 2", "credsStore", "docker-credential-desktop"),))},
        {"clients": client()},
    ),
    ("mirror_wants_login", "warning", "daemon", in_file(status=401), in_file(status=200)),
    ("mirror_error", "warning", "daemon", in_file(status=502), in_file(status=200)),
    ("mirror_unreachable", "warning", "daemon", in_file(reason="dns"), dict(in_file(reason="dns"), engine="26.1.5")),
    ("registry_hosts_buildkit_only", "info", "daemon", in_file(status=200), dict(in_file(status=200), image_store="containerd")),
    ("readable_password", "warning", "", {"readable": ("/etc/docker/daemon.json",)}, {}),
]


def test_a_healthy_host_has_no_findings():
    assert f.findings(HEALTHY) == []


@pytest.mark.parametrize(("id", "severity", "process", "wrong", "right"), CASES, ids=[f"{case[0]}-{number}" for number, case in enumerate(CASES)])
def test_what_is_wrong_is_found_and_its_twin_is_not(id, severity, process, wrong, right):
    found = {(one.id, one.severity, one.process) for one in f.findings(HEALTHY._replace(**wrong))}
    assert (id, severity, process) in found
    assert (id, severity, process) not in {(one.id, one.severity, one.process) for one in f.findings(HEALTHY._replace(**right))}


def test_every_finding_has_a_case():
    source = Path(f.__file__).read_text()
    known = set(re.findall(r'Finding\(\s*"(\w+)"', source)) | set(f._TROUBLE_CURES)
    assert known | {"registry_hosts_buildkit_only"} == {case[0] for case in CASES}  # the rest of hosts.toml's: test_registry_hosts.py


def test_a_builders_own_settings_are_shown():
    own = f.Builder("root", "ci", "docker-container", True, (("https_proxy", URL),), (("docker.io", ("m.lab", "n.lab")),))
    (one,) = f.findings(HEALTHY._replace(builders=(own,)))
    assert one.message.endswith(f" Its own settings: https_proxy {URL}; docker.io from m.lab, n.lab.")


@pytest.mark.parametrize("case", CASES, ids=[f"{case[0]}-{number}" for number, case in enumerate(CASES)])
def test_a_finding_is_whole_sentences_with_a_cure(case):
    found = f.findings(HEALTHY._replace(**case[3]))
    assert found
    for one in found:
        assert re.match(r"[A-Z/].*[.]$", one.message), one.message
        assert re.match(r"[A-Z].*[.]$", one.cure), one.cure
        assert "{" not in one.message + one.cure


def test_the_worst_comes_first():
    facts = HEALTHY._replace(builders=(f.Builder("root", "ci", "remote", False),), pending=("https_proxy",), config_problems=trouble("key_stops_start"))
    assert [one.severity for one in f.findings(facts)] == ["error", "warning", "info"]


def test_the_original_problem_in_full_sentences():
    (one,) = f.findings(HEALTHY._replace(daemon=PROXIED))
    assert one.message == (
        "The daemon reaches registries through its proxy, but the login of root has none and must fetch BuildKit's token from auth.docker.io itself."
    )
    assert one.cure == "Set docker_build_env daemon_token: true."


@pytest.mark.parametrize(
    ("layers", "truth", "value", "source", "wins"),
    [
        ([], None, "", "", []),
        ([("a", "1")], None, "1", "a", [True]),
        ([("a", "1"), ("b", "2")], None, "2", "b", [False, True]),
        ([("a", "1"), ("b", "2")], "1", "1", "a", [True, False]),
        ([("a", "1"), ("b", "1")], "1", "1", "b", [False, True]),
        ([("a", "$X")], "3", "3", "shell", [False, True]),
        ([("a", "1")], "", "", "", [False]),
    ],
)
def test_the_layer_that_wins(layers, truth, value, source, wins):
    shown = f.winning_layer("X", layers, truth, "shell").shown()
    assert (shown["value"], shown["source"], [one["wins"] for one in shown["layers"]]) == (value, source, wins)


@pytest.mark.parametrize(
    ("environment", "value"),
    [({"HTTPS_PROXY": "A", "https_proxy": "b"}, "A"), ({"https_proxy": "b"}, "b"), ({"HTTPS_PROXY": "", "https_proxy": "b"}, "b"), ({}, ""), (None, "A")],
)
def test_capitals_win_as_go_reads_them(environment, value):
    layers = [("HTTPS_PROXY", "A", "x"), ("https_proxy", "b", "y")]
    found = f.variable(("HTTPS_PROXY", "https_proxy"), layers, environment, "shell")
    assert (found.name, found.value) == ("HTTPS_PROXY", value)
    assert set(found.layers) == {("x", "A"), ("y", "b")}


@pytest.mark.parametrize(
    ("address", "expected"), [("", ""), ("unix:///var/run/docker.sock", ""), ("unix:///run/user/1000/docker.sock", "unix:///run/user/1000/docker.sock")]
)
def test_where_builds_go(address, expected):
    assert f.unsupported(address) == expected


def test_a_daemon_whose_unit_systemd_refuses_is_not_told_to_be_started():
    found = f.findings(HEALTHY._replace(up=False, state="inactive", unit_problem=("docker.service is masked.", "Run: systemctl unmask docker.service.")))
    assert [(one.id, one.cure) for one in found if one.id in ("engine_down", "unit_refused")] == [
        ("engine_down", "Run: systemctl unmask docker.service."),
        ("unit_refused", "Run: systemctl unmask docker.service."),
    ]
