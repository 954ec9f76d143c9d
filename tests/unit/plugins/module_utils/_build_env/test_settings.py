# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.buildfleet.docker.plugins.module_utils._build_env import settings as build_env
from ansible_collections.buildfleet.docker.plugins.module_utils._build_env.settings import BuildEnvError
from ansible_collections.buildfleet.docker.plugins.module_utils._host.accounts import Account
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import ValueRefused

JANE = Account("jane", "/home/jane", 1000, 1000)
CONFIG = "/home/jane/.docker/config.json"
TOML = "/home/jane/.docker/buildx/buildkitd.default.toml"
PROXY = "http://proxy.example.com:3128"
SECRET = "http://joe:s3cret@proxy.example.com:3128"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, {}, id="nothing"),
        pytest.param({"buildkit": True}, {"DOCKER_BUILDKIT": "1"}, id="buildkit"),
        pytest.param({"buildkit": False}, {"DOCKER_BUILDKIT": "0"}, id="legacy"),
        pytest.param({"daemon_token": True}, {"BUILDKIT_NO_CLIENT_TOKEN": "1"}, id="the daemon asks for the token"),
        pytest.param({"daemon_token": False}, {"BUILDKIT_NO_CLIENT_TOKEN": "0"}, id="the client asks for the token"),
        pytest.param({"https_proxy": PROXY}, {"HTTPS_PROXY": PROXY, "https_proxy": PROXY}, id="both cases"),
        pytest.param(
            {"no_proxy": [" localhost ", ".lab,10.0.0.0/8"]}, {"NO_PROXY": "localhost,.lab,10.0.0.0/8", "no_proxy": "localhost,.lab,10.0.0.0/8"}, id="no_proxy"
        ),
        pytest.param({"no_proxy": []}, {}, id="an empty no_proxy is none"),
        pytest.param({"source_policy": {"docker.io": "m"}}, {"EXPERIMENTAL_BUILDKIT_SOURCE_POLICY": build_env.POLICY}, id="source policy"),
    ],
)
def test_options_become_variables(options, expected):
    assert build_env.variables(options) == expected


@pytest.mark.parametrize("bad", ["\n", "\r", "\0", " ", "'", '"', "`", "$", "$(id)", ";", "#", "\\", "%", "\u00e9"])
@pytest.mark.parametrize("option", ["http_proxy", "https_proxy"])
def test_nothing_that_a_shell_could_read_gets_into_a_proxy(option, bad):
    with pytest.raises((BuildEnvError, ValueRefused)) as refused:
        build_env.variables({option: f"http://proxy{bad}x:3128"})
    assert option in str(refused.value)


@pytest.mark.parametrize("bad", ["a\nb", "a\0b", "a b", "a'b", 'a"b', "a`b", "a$b", "a;b", "a#b", "a\\b", "caf\u00e9"])
def test_nothing_that_a_shell_could_read_gets_into_no_proxy(bad):
    with pytest.raises((BuildEnvError, ValueRefused), match="no_proxy"):
        build_env.variables({"no_proxy": [bad]})


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Z_]{0,8}", fullmatch=True).map("BF_{}".format),
        st.text(st.characters(min_codepoint=33, max_codepoint=126, blacklist_characters="'\"#\\")),
        min_size=1,
        max_size=3,
    )
)
def test_a_real_shell_reads_every_value_as_data(values):
    script = "\n".join(build_env.assignments(values, "export ")) + "\n" + "".join(f'printf "%s\\n" "${name}"\n' for name in sorted(values))
    done = subprocess.run(["sh", "-eu"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == [values[name] for name in sorted(values)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            {"https_proxy": SECRET},
            "https_proxy contains credentials, but everyone on the host can read the files of the build environment. Omit it and set daemon_token: true: "
            "the daemon then fetches tokens through its own proxy, which may have a password.",
            id="credentials for everybody",
        ),
        pytest.param(
            {"step_proxy": {"http_proxy": SECRET}, "users": ["jane"]},
            "step_proxy.http_proxy contains credentials, and Docker passes them to every container that the user starts. "
            "Use a proxy without a password for the steps, or accept this with allow_readable_secret: true.",
            id="credentials for every container",
        ),
        pytest.param(
            {"step_proxy": {"http_proxy": PROXY}}, "step_proxy is stored in a home directory; set users to the users who build.", id="whose config.json"
        ),
        pytest.param(
            {"builder_mirrors": {"docker.io": "m"}}, "builder_mirrors is stored in a home directory; set users to the users who build.", id="whose toml"
        ),
        pytest.param(
            {"services": ["a"]}, "services needs a variable to set; also set buildkit, daemon_token, a proxy or source_policy.", id="nothing for a service"
        ),
        pytest.param(
            {"services": ["../x"], "buildkit": True},
            "services: '../x' is not the name of a systemd service. Write it as systemctl list-units shows it.",
            id="a path",
        ),
        pytest.param(
            {"services": ["a\n"], "buildkit": True},
            "services: 'a\\n' is not the name of a systemd service. Write it as systemctl list-units shows it.",
            id="a newline",
        ),
        pytest.param(
            {"services": ["docker"], "buildkit": True},
            "services: docker is the daemon itself, whose environment docker_daemon_proxy sets. Name the services that run docker build.",
            id="the daemon",
        ),
    ],
)
def test_what_does_harm_is_refused(options, message):
    with pytest.raises(BuildEnvError) as refused:
        build_env.check(options)
    assert str(refused.value) == message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("options", "buildx", "sentences"),
    [
        pytest.param({"https_proxy": PROXY, "http_proxy": PROXY, "no_proxy": ["localhost", ".lab"]}, "", [], id="nothing to say"),
        pytest.param({"https_proxy": PROXY}, "", [], id="https alone"),
        pytest.param(
            {"http_proxy": PROXY},
            "",
            ["http_proxy is not used for https URLs, such as Docker Hub's token server. Set https_proxy too."],
            id="http alone",
        ),
        pytest.param(
            {"no_proxy": ["10.0.*"]},
            "",
            ["no_proxy: Docker does not understand '10.0.*': it is an incomplete address. Write a network, such as 192.168.0.0/16."],
            id="a wildcard",
        ),
        pytest.param(
            {"step_proxy": {"https_proxy": "http://127.0.0.1:3128"}},
            "",
            ["step_proxy.https_proxy is on this host's loopback, which a RUN step cannot reach. Use an address that containers can reach."],
            id="loopback",
        ),
        pytest.param({"builder_mirrors": {"docker.io": "m"}}, "0.9.1", [], id="a buildx that reads the file"),
        pytest.param({"builder_mirrors": {"docker.io": "m"}}, "0.8.2", ["builder_mirrors needs buildx 0.9 or newer; this host has 0.8.2."], id="an old buildx"),
        pytest.param({"builder_mirrors": {"docker.io": "m"}}, "", ["builder_mirrors needs buildx 0.9 or newer; this host has none."], id="no buildx"),
        pytest.param(
            {"source_policy": {"docker.io": "m"}, "buildkit": False},
            "0.13.1",
            ["source_policy has no effect on the legacy builder, which buildkit: false selects."],
            id="the legacy builder",
        ),
        pytest.param({"source_policy": {"docker.io": "m"}}, "0.13.1", [], id="the builder is not chosen"),
    ],
)
def test_what_may_not_do_what_is_meant_is_said(options, buildx, sentences):
    assert build_env.cautions(options, buildx) == sentences


def test_an_empty_step_proxy_is_none():
    assert build_env.given({"step_proxy": {"http_proxy": "", "https_proxy": None, "no_proxy": []}, "users": ["jane"]}) == {
        "step_proxy": None,
        "users": ["jane"],
    }
    assert build_env.given({"step_proxy": {"http_proxy": PROXY, "no_proxy": None}}) == {"step_proxy": {"http_proxy": PROXY}}


@pytest.mark.parametrize(
    ("contents", "keys"),
    [
        (None, []),
        (b'{"proxies": {"default": {"noProxy": "a"}, "tcp://other:2375": {}}}', []),
        (b'{"proxies": {"unix:///var/run/docker.sock": {"httpProxy": "http://joe:s3cret@p:1"}}}', ["unix:///var/run/docker.sock"]),
    ],
)
def test_a_proxy_of_the_local_daemon_wins_and_is_named(contents, keys):
    expected = [f"{CONFIG}: proxies.{key} overrides proxies.default, which step_proxy sets. Remove it there." for key in keys]
    assert build_env.winning_keys(CONFIG, contents) == expected


def test_a_secret_for_the_steps_can_be_accepted():
    build_env.check({"step_proxy": {"http_proxy": SECRET}, "users": ["jane"], "allow_readable_secret": True})


def test_each_option_has_its_files():
    options = {"daemon_token": True, "services": ["agent"], "step_proxy": {"http_proxy": PROXY}, "builder_mirrors": {"docker.io": "m.lab"}}
    found = build_env.pieces(options, [JANE])
    assert set(found) == {
        build_env.PROFILE,
        build_env.ENVIRONMENT,
        build_env.SERVICE_ENVIRONMENT,
        "/etc/systemd/system/agent.service.d/zz-buildfleet.conf",
        CONFIG,
        TOML,
    }
    assert {build_env.unit_of(path) for path in found} == {None, "agent.service"}
    assert build_env.pieces({"buildkit": None, "no_proxy": []}, [JANE]) == {}


BLOCKS = [b"", b"PATH=/bin\n", b"PATH=/bin", b"\n\n", b"A=1\r\nB=2\r\n", b"\xff\xfe", b"# buildfleet\n"]
JSONS = [
    b"{}",
    b'{"auths": {"https://index.docker.io/v1/": {"auth": "am9lOnMzY3JldA=="}}}',
    b'{\n\t"auths": {\n\t\t"r": {\n\t\t\t"auth": "eA=="\n\t\t}\n\t},\n\t"n": 1.50\n}',
    b'{"proxies": {"default": {"httpProxy": "http://old:1", "ftpProxy": "http://ftp:1"}, "tcp://x": {"noProxy": "a"}}}\n',
    b'{"proxies": {}}',
    b'{\n  "proxies": {\n    "default": {"noProxy": "x"}\n  },\n  "z": true\n}\n',
]
FOREIGN = (
    [(build_env.ENVIRONMENT, found) for found in [None, *BLOCKS]] + [(TOML, found) for found in [None, *BLOCKS]] + [(CONFIG, found) for found in [None, *JSONS]]
)
FIRST = {"daemon_token": True, "step_proxy": {"http_proxy": PROXY, "no_proxy": ["a"]}, "builder_mirrors": {"docker.io": "m.lab"}}
SECOND = {"buildkit": True, "https_proxy": PROXY, "step_proxy": {"https_proxy": PROXY}, "builder_mirrors": {"docker.io": ["a", "b/c"], "ghcr.io": "g"}}


@pytest.mark.parametrize(("path", "first"), FOREIGN)
def test_present_twice_is_once_and_absent_gives_the_first_bytes_back(path, first):
    found = first
    for options in (FIRST, FIRST, SECOND, FIRST):
        found = build_env.after(path, build_env.pieces(options, [JANE])[path], found, first)
        assert build_env.after(path, build_env.pieces(options, [JANE])[path], found, first) == found
        assert found != first
    assert build_env.after(path, None, found, first) == first
    assert build_env.after(path, None, first, first) == first


@pytest.mark.parametrize("first", [None, b"PATH=/bin\n", b"PATH=/bin"])
def test_what_others_wrote_in_between_survives_undo(first):
    found = build_env.after(build_env.ENVIRONMENT, build_env.pieces(FIRST, [])[build_env.ENVIRONMENT], first, first)
    found = build_env.after(build_env.ENVIRONMENT, build_env.pieces(SECOND, [])[build_env.ENVIRONMENT], found + b"LATER=1\n", first)
    undone = build_env.after(build_env.ENVIRONMENT, None, found, first)
    assert undone == (first + b"\n" * (not first.endswith(b"\n")) if first else b"") + b"LATER=1\n"


def test_a_login_made_in_between_survives_undo():
    first = b'{"proxies": {"default": {"httpProxy": "http://old:1"}}}\n'
    found = json.loads(build_env.after(CONFIG, build_env.pieces(FIRST, [JANE])[CONFIG], first, first))
    found["auths"] = {"r": {"auth": "eA=="}}
    undone = build_env.after(CONFIG, None, json.dumps(found, indent="\t").encode(), first)
    assert json.loads(undone) == {"proxies": {"default": {"httpProxy": "http://old:1"}}, "auths": {"r": {"auth": "eA=="}}}
    none = build_env.after(CONFIG, None, json.dumps(found, indent="\t").encode(), None)
    assert json.loads(none) == {"auths": {"r": {"auth": "eA=="}}}


def test_only_our_keys_of_config_json_are_written_and_shown():
    first = JSONS[3]
    found = build_env.after(CONFIG, build_env.pieces(FIRST, [JANE])[CONFIG], first, first)
    assert json.loads(found)["proxies"] == {"default": {"httpProxy": PROXY, "ftpProxy": "http://ftp:1", "noProxy": "a"}, "tcp://x": {"noProxy": "a"}}
    assert "am9l" not in build_env.kind(CONFIG).shown(CONFIG, JSONS[1])
    assert "ftp" not in build_env.kind(CONFIG).shown(CONFIG, found)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b'{"auths": {"r": {"auth": s3cret}}}', f"{CONFIG}, line 1, column 26: Docker cannot read it as JSON. Correct it first."),
        (b"[]", f"{CONFIG}, line 1, column 1: Docker cannot read it as JSON. Correct it first."),
        (b'{"proxies": []}', f"{CONFIG}: proxies is not an object. Correct it first."),
        (b'{"proxies": {"default": "x"}}', f"{CONFIG}: proxies.default is not an object. Correct it first."),
    ],
)
def test_a_config_json_that_cannot_be_edited_is_named_without_its_contents(contents, message):
    with pytest.raises(BuildEnvError) as refused:
        build_env.after(CONFIG, build_env.pieces(FIRST, [JANE])[CONFIG], contents, contents)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "line", ['[registry."docker.io"]', "[registry.'docker.io']", " [ registry . docker.io ]", 'registry."docker.io".mirrors = ["x"]', "registry = {}"]
)
def test_a_registry_is_not_defined_twice(line):
    contents = f"debug = true\n{line}\n".encode()
    with pytest.raises(BuildEnvError) as refused:
        build_env.after(TOML, build_env.pieces(FIRST, [JANE])[TOML], contents, contents)
    assert str(refused.value) == f"{TOML}, line 2, already configures a registry of builder_mirrors. Remove it there, or omit builder_mirrors."


def test_another_registry_does_not_hinder():
    contents = b'[registry."ghcr.io"]\nmirrors = ["x"]\n'
    assert build_env.after(TOML, build_env.pieces(FIRST, [JANE])[TOML], contents, contents).startswith(contents)


@pytest.mark.parametrize("mirror", ["https://m.lab", "u:p@m.lab", "m.lab?x", 'm"]\n', ""])
def test_a_builder_mirror_is_a_host_name(mirror):
    with pytest.raises(BuildEnvError, match="is not a host name"):
        build_env.pieces({"builder_mirrors": {"docker.io": mirror}}, [JANE])


@pytest.mark.parametrize(
    ("engine", "buildx", "needs"),
    [
        ("20.10.24", "", "Docker Engine 25.0; this host has 20.10.24"),
        ("26.1.5", "0.10.0", "buildx 0.11; this host has 0.10.0"),
        ("", "", "Docker Engine 25.0; this host has none"),
    ],
)
def test_a_source_policy_that_would_be_ignored_is_refused(engine, buildx, needs):
    with pytest.raises(BuildEnvError, match=re.escape(f"source_policy needs {needs}")):
        build_env.pieces({"source_policy": {"docker.io": "m.lab"}}, [], engine, buildx)


def test_a_source_policy_is_written_where_it_works():
    found = build_env.pieces({"source_policy": {"docker.io": "m.lab"}}, [], "26.1.5+dfsg1", "0.13.1+ds1")
    policy = json.loads(found[build_env.POLICY].into(build_env.POLICY, None))
    assert policy["rules"][0]["updates"]["identifier"] == "docker-image://m.lab/${1}"
    with pytest.raises(BuildEnvError, match=r"^source_policy:"):
        build_env.pieces({"source_policy": {"docker.io": "https://m.lab"}}, [], "26.1.5", "0.13.1")


BLOCK = build_env.Block(["DOCKER_BUILDKIT=1"]).into(build_env.ENVIRONMENT, b"DOCKER_BUILDKIT=0\n")


@pytest.mark.parametrize(
    ("path", "contents", "line"),
    [
        pytest.param(build_env.ENVIRONMENT, BLOCK, 0, id="a line before ours loses"),
        pytest.param(build_env.ENVIRONMENT, BLOCK + b"X=1\nDOCKER_BUILDKIT=0\n", 6, id="a line after ours wins"),
        pytest.param(build_env.ENVIRONMENT, BLOCK + b'DOCKER_BUILDKIT="1"\n', 0, id="the same value"),
        pytest.param("/etc/profile.d/z.sh", b"\nexport DOCKER_BUILDKIT=0\n", 2, id="a later profile"),
        pytest.param("/etc/profile.d/z.sh", b"# export DOCKER_BUILDKIT=0\nOTHER=1\n", 0, id="a comment"),
    ],
)
def test_others_that_win_are_named(path, contents, line):
    expected = [f"{path}, line {line}, sets DOCKER_BUILDKIT too, and overrides ours. Remove it there."] if line else []
    assert build_env.foreign_winners({"DOCKER_BUILDKIT": "1"}, path, contents) == expected


@pytest.mark.parametrize(
    ("wanted", "written", "running", "expected"),
    [
        ({"A": "1"}, {}, {}, True),
        ({"A": "1"}, {"A": ["0", "1"]}, {"A": "1"}, False),
        ({"A": "1"}, {}, {"A": "2"}, True),
        ({}, {"A": ["1"]}, {"A": "1"}, True),
        ({}, {"A": ["1"]}, {"A": "theirs"}, False),
        ({}, {}, {}, False),
    ],
)
def test_a_service_is_restarted_for_a_reason(wanted, written, running, expected):
    assert build_env.needs_restart(wanted, written, running) is expected


def test_leftovers_are_recognised_without_a_record():
    found = build_env.pieces(FIRST, [])
    for path in (build_env.PROFILE, build_env.ENVIRONMENT):
        assert build_env.is_ours(path, found[path].into(path, b"A=1\n"))
        assert not build_env.is_ours(path, b"A=1\n")
        contents = found[path].into(path, b"A=1\n")
        assert build_env.after(path, None, contents, contents) == (b"A=1\n" if path == build_env.ENVIRONMENT else None)


@pytest.mark.parametrize(
    ("options", "here", "there"),
    [
        pytest.param({"buildkit": True}, {"DOCKER_BUILDKIT": "1"}, {"DOCKER_BUILDKIT": "1"}, id="no proxy"),
        pytest.param({"source_policy": {"docker.io": "m"}}, {}, {}, id="the source policy is a file of the host"),
        pytest.param(
            {"http_proxy": PROXY, "no_proxy": [".lab"]},
            {"HTTP_PROXY": PROXY, "http_proxy": PROXY, "NO_PROXY": ".lab", "no_proxy": ".lab"},
            {"HTTP_PROXY": PROXY, "http_proxy": PROXY, "NO_PROXY": ".lab,docker", "no_proxy": ".lab,docker"}, id="the client's, if the steps have none",
        ),
        pytest.param(
            {"https_proxy": "http://127.0.0.1:3129", "step_proxy": {"http_proxy": PROXY, "no_proxy": ["docker"]}},
            {"HTTPS_PROXY": "http://127.0.0.1:3129", "https_proxy": "http://127.0.0.1:3129"},
            {"HTTP_PROXY": PROXY, "http_proxy": PROXY, "NO_PROXY": "docker", "no_proxy": "docker"}, id="those of the steps in containers",
        ),
        pytest.param({"no_proxy": [".lab"]}, {"NO_PROXY": ".lab", "no_proxy": ".lab"}, {"NO_PROXY": ".lab", "no_proxy": ".lab"}, id="no proxy to leave out"),
    ],
)  # fmt: skip
def test_jobs_of_gitlab_runners_get_proxies_that_they_can_reach(options, here, there):
    assert build_env.job_variables(options) == (here, there)


@pytest.mark.parametrize(
    ("options", "sentences"),
    [
        ({"http_proxy": PROXY, "https_proxy": PROXY, "gitlab_runners": ["x"]}, []),
        ({"https_proxy": "http://127.0.0.1:1", "gitlab_runners": ["x"], "step_proxy": {"https_proxy": PROXY}}, []),
        ({"https_proxy": "http://127.0.0.1:1"}, []),
        ({"buildkit": True, "step_proxy": {"https_proxy": PROXY}}, []),
        (
            {"buildkit": False, "step_proxy": {"https_proxy": PROXY}},
            [
                "step_proxy reaches the steps of docker compose 2 and newer with the legacy builder, which buildkit: false selects, only as HTTP_PROXY. "
                "Omit buildkit: false, or pass the proxies as build args."
            ],
        ),
        (
            {"https_proxy": "http://127.0.0.1:1", "gitlab_runners": ["x"]},
            ["https_proxy is on this host's loopback, which jobs in containers cannot reach. Set step_proxy, which they get instead."],
        ),
    ],
)
def test_what_jobs_and_steps_would_not_get_is_named(options, sentences):
    assert build_env.cautions(options, "") == sentences
