# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hosts.toml: our lines among those of others, judged by Python's own reader of TOML."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._registry import hosts_toml
from ansible_collections.buildfleet.docker.plugins.module_utils._registry.hosts_toml import (
    Mirror,
    RegistryHostsError,
    block,
    covers,
    wanted,
    with_block,
    without_block,
)

PATH = "/etc/docker/certs.d/ghcr.io/hosts.toml"
PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        pytest.param({"ghcr.io": "https://m.lab"}, {"ghcr.io": [Mirror("https://m.lab")]}, id="a URL"),
        pytest.param({"docker.io": ["HTTPS://m.lab:5000/hub/"]}, {"docker.io": [Mirror("https://m.lab:5000/hub")]}, id="scheme and final slash"),
        pytest.param({"_default": "http://m.lab"}, {"_default": [Mirror("http://m.lab")]}, id="every other registry"),
        pytest.param({"r.lab:5000": ["https://u:p%40@m.lab"]}, {"r.lab:5000": [Mirror("https://m.lab", "u", "p@")]}, id="a login in the URL"),
        pytest.param({"Registry.Example.com": "https://m.lab"}, {"Registry.Example.com": [Mirror("https://m.lab")]}, id="a name as image names have it"),
        pytest.param(
            {"ghcr.io": [{"url": "https://m.lab", "username": "u", "password": "p", "ca": "/etc/m.pem", "skip_verify": True, "override_path": True}]},
            {"ghcr.io": [Mirror("https://m.lab", "u", "p", "/etc/m.pem", True, True)]},
            id="a dictionary",
        ),
        pytest.param(
            {"ghcr.io": {"url": "https://m.lab", "ca": PEM, "capabilities": ["resolve", "pull", "push"]}},
            {"ghcr.io": [Mirror("https://m.lab", ca=PEM, capabilities=("resolve", "pull", "push"))]},
            id="one dictionary without a list",
        ),
    ],
)
def test_the_option(option, expected):
    assert wanted(option) == expected


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"ghcr.io": []}, "registries: ghcr.io has no mirror. Set a URL, or remove the registry."),
        ({"index.docker.io": "https://m"}, "registries: index.docker.io: the engine reads mirrors of Docker Hub only under docker.io. Write docker.io."),
        (
            {"https://ghcr.io": "https://m"},
            "registries: https://ghcr.io is a URL. Write the registry as in image names, such as ghcr.io or registry.example.com:5000.",
        ),
        (
            {"ghcr.io/lab": "https://m"},
            "registries: ghcr.io/lab has a path. Mirrors are set for a whole registry: write ghcr.io, and add the path to the mirror's URL.",
        ),
        ({"": "https://m"}, "registries: : '' is neither a registry (docker.io) nor a registry with a path (docker.io/library)."),
        ({"ghcr.io": ["https://m", "https://m/"]}, "registries: ghcr.io names https://m twice. Remove one of the two."),
        ({"ghcr.io": [1]}, "registries: ghcr.io: a mirror must be a URL or a dictionary with url."),
        ({"ghcr.io": [{"ca": "/x"}]}, "registries: ghcr.io: a mirror must be a URL or a dictionary with url."),
        (
            {"ghcr.io": [{"url": "https://m", "user": "x"}]},
            "registries: ghcr.io: 'user' is not a key of a mirror. Use url, username, password, ca, skip_verify, override_path, capabilities.",
        ),
        (
            {"ghcr.io": ["joe:s3/cret@m.lab"]},
            "registries: ghcr.io: 'xxxxx:xxxxx@m.lab' is not the URL of a mirror. Write https://host, https://host:port or https://host/path.",
        ),
        ({"ghcr.io": ["m.lab"]}, "registries: ghcr.io: 'm.lab' is not the URL of a mirror. Write https://host, https://host:port or https://host/path."),
        (
            {"ghcr.io": ["https://u:secret@m.lab/?x"]},
            "registries: ghcr.io: 'https://xxxxx:xxxxx@m.lab/?x' is not the URL of a mirror. Write https://host, https://host:port or https://host/path.",
        ),
        (
            {"ghcr.io": ["https://m:x"]},
            "registries: ghcr.io: 'https://m:x' is not the URL of a mirror. Write https://host, https://host:port or https://host/path.",
        ),
        (
            {"ghcr.io": ["https://user:12/secret@m.lab"]},
            "registries: ghcr.io: 'https://xxxxx:xxxxx@m.lab' is not the URL of a mirror. Write https://host, https://host:port or https://host/path.",
        ),
        ({"ghcr.io": [{"url": "https://m", "password": "x"}]}, "registries: ghcr.io: m has only a username or only a password. Set both, or neither."),
        (
            {"ghcr.io": [{"url": "https://m", "username": "a:b", "password": "x"}]},
            "registries: ghcr.io: the username of m contains ':', which is not allowed. Correct it.",
        ),
        (
            {"ghcr.io": [{"url": "https://m", "ca": "m.pem"}]},
            "registries: ghcr.io: ca must be an absolute path on the host, or a certificate in PEM, which begins with -----BEGIN CERTIFICATE-----.",
        ),
        ({"ghcr.io": [{"url": "https://m", "skip_verify": "yes"}]}, "registries: ghcr.io: skip_verify must be true or false."),
        ({"ghcr.io": [{"url": "https://m", "capabilities": ["fly"]}]}, "registries: ghcr.io: capabilities must be a list of pull, resolve, push."),
        (
            {"ghcr.io": [{"url": "https://m", "capabilities": ["pull"]}]},
            "registries: ghcr.io: a mirror without the capabilities pull and resolve is never used for an image by its tag. Add the other one.",
        ),
        (
            {"ghcr.io": {"url": "https://m.lab", "username": "b", "password": "x\ud800"}},
            "registries: ghcr.io: password contains half of a surrogate pair, which is not a character. Correct it.",
        ),
        (
            {"ghcr.io": "https://m.lab/\ud800"},
            "registries: ghcr.io: 'https://m.lab/\\ud800' is not the URL of a mirror. Write https://host, https://host:port or https://host/path.",
        ),
    ],
)
def test_a_bad_option_is_refused_with_what_to_write(option, message):
    with pytest.raises(RegistryHostsError) as refused:
        wanted(option)
    assert str(refused.value) == message


MIRRORS = [Mirror("https://m.lab/hub", "u", "p@", skip_verify=True), Mirror("http://n.lab:5000", ca=PEM, override_path=True)]


def test_mirrors_are_asked_in_their_order_and_the_registry_last():
    tomllib = pytest.importorskip("tomllib")
    value = tomllib.loads(block("ghcr.io", MIRRORS, True))
    assert value == {
        "host": {
            "https://m.lab/hub": {"capabilities": ["pull", "resolve"], "skip_verify": True, "header": {"Authorization": "Basic dTpwQA=="}},
            "http://n.lab:5000": {"capabilities": ["pull", "resolve"], "ca": "/etc/docker/certs.d/ghcr.io/buildfleet-2.pem", "override_path": True},
        }
    }
    assert list(value["host"]) == [mirror.url for mirror in MIRRORS]


def test_without_fallback_the_last_mirror_is_the_registry():
    tomllib = pytest.importorskip("tomllib")
    value = tomllib.loads(block("ghcr.io", MIRRORS, False))
    assert list(value["host"]) == ["https://m.lab/hub"]
    del value["host"]
    assert value == {
        "server": "http://n.lab:5000",
        "capabilities": ["pull", "resolve"],
        "ca": "/etc/docker/certs.d/ghcr.io/buildfleet-2.pem",
        "override_path": True,
    }


OTHERS = [
    pytest.param(b"", id="no file"),
    pytest.param(b'# ours\nserver = "https://ghcr.io"\n', id="keys alone"),
    pytest.param(b'server = "https://ghcr.io"\n\n# the old mirror\n[host."https://old.lab"]\n  capabilities = ["pull"]\n', id="a table of others"),
    pytest.param(b'server = "https://ghcr.io"\r\n[host."https://old.lab"]\r\n', id="CRLF"),
]


def test_characters_beyond_ascii_are_read_as_they_were_set():
    tomllib = pytest.importorskip("tomllib")
    mirrors = [Mirror("https://m.lab/\U0001f433/\u4e2d", ca="/etc/\U0001f433\x7f.pem")]
    text = block("ghcr.io", mirrors, True)
    assert tomllib.loads(text)["host"] == {mirrors[0].url: {"capabilities": ["pull", "resolve"], "ca": mirrors[0].ca}}
    assert with_block(b"", PATH, text).decode() == text


@pytest.mark.parametrize("contents", OTHERS)
@pytest.mark.parametrize("again", [1, 2])
def test_the_lines_of_others_are_kept_and_come_behind_ours(contents, again):
    tomllib = pytest.importorskip("tomllib")
    after = contents
    for _round in range(again):
        after = with_block(after, PATH, block("ghcr.io", MIRRORS, True))
    value, before = tomllib.loads(after.decode()), tomllib.loads(contents.decode())
    assert list(value.pop("host")) == ["https://m.lab/hub", "http://n.lab:5000", *before.pop("host", {})]
    assert value == before
    assert without_block(after) == contents


def test_a_mark_whose_end_somebody_removed_is_kept():
    contents = f'{hosts_toml.BEGIN}[host."https://others.lab"]\n'.encode()
    ours = block("ghcr.io", MIRRORS, True)
    after = with_block(contents, PATH, ours)
    assert after == f'{hosts_toml.BEGIN}{ours}[host."https://others.lab"]\n'.encode()
    assert with_block(after, PATH, ours) == after
    assert hosts_toml.without_block(after) == contents


def test_a_last_line_without_an_end_is_ended():
    after = with_block(b'server = "https://ghcr.io"', PATH, block("ghcr.io", MIRRORS[:1], True))
    assert after.startswith(b'server = "https://ghcr.io"\n# begin')


NO_TABLE = f'{PATH} sets host in a way that no table can be put before. Write each mirror there as a table, such as [host."https://mirror.example.com"].'


@pytest.mark.parametrize(
    ("contents", "fallback", "message"),
    [
        pytest.param(
            b'[host."https://m.lab/hub/"]\n',
            True,
            f"{PATH}, line 1 sets https://m.lab/hub/ too. Remove that table, or remove the mirror from registries.",
            id="our mirror",
        ),
        pytest.param(
            b'# x\nserver = "https://ghcr.io"\n',
            False,
            f"{PATH}, line 2 sets 'server', which fallback: false sets too. Remove that line, or set fallback: true.",
            id="the last server",
        ),
        pytest.param(
            b'host."https://m.lab/hub".skip_verify = false\n',
            True,
            NO_TABLE,
            id="a mirror in a dotted key, which would come first",
        ),
        pytest.param(
            b'[host]\n"https://m.lab/hub".skip_verify = false\n',
            True,
            f"{PATH}, line 2 sets https://m.lab/hub too. Remove that table, or remove the mirror from registries.",
            id="our mirror in a dotted key",
        ),
        pytest.param(
            b'# x\nheader.X = "1"\n',
            False,
            f"{PATH}, line 2 sets 'header', which fallback: false sets too. Remove that line, or set fallback: true.",
            id="a dotted key of the last server",
        ),
        pytest.param(b"host = {}\n", True, NO_TABLE, id="host in one line"),
        pytest.param(b"host = 1\n", True, NO_TABLE, id="host is a number"),
        pytest.param(b"[[host]]\n", True, NO_TABLE, id="host is a list"),
        pytest.param(
            b"server = https://ghcr.io\n",
            True,
            f"{PATH}, line 1, column 10: this is not a TOML value. Strings need quotes; the only words are true and false. "
            "The engine does not read this file, and uses the registry itself. Correct the file, then run this again.",
            id="no TOML",
        ),
        pytest.param(
            b"# x\nserver = '\xff'\n",
            True,
            f"{PATH}, line 2: a byte that is not UTF-8 text. The engine does not read this file. Save it as UTF-8.",
            id="no text",
        ),
    ],
)
def test_what_stands_in_the_way_is_named(contents, fallback, message):
    with pytest.raises(RegistryHostsError) as refused:
        with_block(contents, PATH, block("ghcr.io", MIRRORS if fallback else MIRRORS[::-1], fallback))
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (b'[host."https://m".header]\nAuthorization = "Basic x"\nx-a = ["b", "c"]\n', ["Basic x", "b", "c"]),
        (b'header = { Authorization = "Basic y" }\nserver = "https://m"\nclient = [["/a", "/b"]]\n', ["Basic y"]),
        (b"no TOML", []),
        (b"no TOML\nheader = { Authorization = 'Basic z' }\n", ["Basic z"]),
    ],
)
def test_headers_may_be_logins(contents, expected):
    assert hosts_toml.secrets(contents, PATH) == expected


@pytest.mark.parametrize(
    ("containerd", "hub_mirrors", "hub", "other"),
    [(True, False, True, True), (True, True, True, True), (False, True, True, False), (False, False, False, False)],
)
def test_who_reads_it(containerd, hub_mirrors, hub, other):
    assert covers(["docker.io", "ghcr.io"], containerd, hub_mirrors) == {
        "docker.io": {"pull": hub, "buildkit": True, "legacy": hub},
        "ghcr.io": {"pull": other, "buildkit": True, "legacy": other},
    }
