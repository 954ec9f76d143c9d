# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a builder is created with: from options, from buildx's file, from its container; files and commands as real buildx 0.13 and 0.29 had them."""

from __future__ import annotations

import base64
import json

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._builder import definition as d
from ansible_collections.buildfleet.docker.plugins.module_utils._proxy.values import ValueRefused

BODY = base64.b64encode(b"\x30\x82\x01\x00" + bytes(256)).decode()
PEM = "\n".join(["-----BEGIN CERTIFICATE-----", *(BODY[at : at + 64] for at in range(0, len(BODY), 64)), "-----END CERTIFICATE-----", ""])
OTHER = PEM.replace("MIIBAAAA", "MIIBAAAB")
PROXY = "http://proxy.example.com:3128"
EMPTY = d.Definition("", {}, (), {})


def read(path):
    return {"/etc/ca.pem": f"subject: company\n{PEM}", "/etc/none.pem": "nothing"}.get(path)


def wanted(**options):
    return d.wanted(options, read)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, EMPTY),
        ({"image": "mirror.lab/moby/buildkit:v1"}, EMPTY._replace(image="mirror.lab/moby/buildkit:v1")),
        (
            {"http_proxy": PROXY, "https_proxy": f"{PROXY}/", "no_proxy": ["a.lab", "b.lab,a.lab"]},
            EMPTY._replace(driver_opts={"env.HTTP_PROXY": PROXY, "env.HTTPS_PROXY": PROXY, "env.NO_PROXY": "a.lab,b.lab"}),
        ),
        (
            {"driver_opts": {"network": "host", "default-load": True, "cpu-period": 100}},
            EMPTY._replace(driver_opts={"network": "host", "default-load": "true", "cpu-period": "100"}),
        ),
        (
            {"driver_opts": {"env.TOKEN_URL": "http://joe:s3cret@p:1"}, "allow_readable_secret": True},
            EMPTY._replace(driver_opts={"env.TOKEN_URL": "http://joe:s3cret@p:1"}),
        ),
        ({"buildkitd_flags": ["--debug", "--allow-insecure-entitlement", "network.host"]}, EMPTY._replace(flags=("--debug",))),
        (
            {"mirrors": {"docker.io": "https://mirror.lab", "ghcr.io": ["http://m.lab:5000/hub", {"url": "https://n.lab/v2/ghcr", "override_path": True}]}},
            EMPTY._replace(
                config={
                    "registry": {
                        "docker.io": {"mirrors": ["mirror.lab"]},
                        "ghcr.io": {"mirrors": ["m.lab:5000/hub", "n.lab/ghcr"]},
                        "m.lab:5000": {"http": True},
                    }
                }
            ),
        ),
        (
            {"mirrors": {"docker.io": {"url": "https://mirror.lab", "skip_verify": True, "ca": "/etc/ca.pem"}}},
            EMPTY._replace(config={"registry": {"docker.io": {"mirrors": ["mirror.lab"]}, "mirror.lab": {"insecure": True, "ca": [PEM]}}}),
        ),
        (
            {"ca": PEM},
            EMPTY._replace(driver_opts={"env.SSL_CERT_DIR": "/etc/buildkit/certs/docker.io"}, config={"registry": {"docker.io": {"ca": [PEM]}}}),
        ),
        (
            {"ca": "/etc/ca.pem", "mirrors": {"ghcr.io": {"url": "https://m.lab", "ca": OTHER}}},
            EMPTY._replace(
                driver_opts={"env.SSL_CERT_DIR": "/etc/buildkit/certs/docker.io"},
                config={"registry": {"docker.io": {"ca": [PEM]}, "ghcr.io": {"mirrors": ["m.lab"], "ca": [PEM]}, "m.lab": {"ca": [OTHER, PEM]}}},
            ),
        ),
    ],
    ids=["nothing", "image", "proxies", "options", "consent", "flags", "mirrors", "a mirror's own", "ca", "both"],
)
def test_options_become_a_definition(options, found):
    assert wanted(**options) == found


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"driver_opts": {"a b": 1}}, "driver_opts: 'a b' is not the name of a driver option. Write for example network or env.NAME."),
        ({"driver_opts": {"env.https_proxy": PROXY}}, "driver_opts: env.https_proxy has an option of its own. Set https_proxy instead."),
        ({"driver_opts": {"image": "x"}}, "driver_opts: image has an option of its own. Set image instead."),
        ({"driver_opts": {"env.SSL_CERT_DIR": "/x"}, "ca": PEM}, "driver_opts: env.SSL_CERT_DIR is set by ca too. Remove one of the two."),
        ({"driver_opts": {"env.A": "a\nb"}}, "driver_opts: the value of env.A contains a control character. Write it on one line."),
        (
            {"https_proxy": "http://joe:s3cret@p:1"},
            "https_proxy contains credentials, and everyone who may use Docker reads them in the builder's container (docker inspect). "
            "Set the address of a proxy without a password, such as that of proxy_relay, or accept this with allow_readable_secret: true.",
        ),
        (
            {"driver_opts": {"env.A": "http://joe:s3cret@p:1"}},
            "driver_opts: env.A contains credentials, and everyone who may use Docker reads them in the builder's container (docker inspect). "
            "Set the address of a proxy without a password, such as that of proxy_relay, or accept this with allow_readable_secret: true.",
        ),
        (
            {"mirrors": {"docker.io": "m.lab"}},
            "mirrors: docker.io: 'm.lab' is not the URL of a mirror. Write https://host, https://host:port or https://host/path.",
        ),
        (
            {"driver_opts": {"env.GIT_AUTH_TOKEN": "s3cret"}},
            "driver_opts: env.GIT_AUTH_TOKEN is a secret by its name, and everyone who may use Docker reads it in the builder's container (docker inspect). "
            "Remove it, or accept this with allow_readable_secret: true.",
        ),
        ({"mirrors": {"_default": "https://m.lab"}}, "mirrors: BuildKit has no mirrors for every registry. Name each registry in place of _default."),
        (
            {"mirrors": {"ghcr.io": "https://joe:s3cret@m.lab"}},
            "mirrors: ghcr.io: BuildKit sends no login to a mirror in buildkitd.toml. Remove the credentials, or the mirror.",
        ),
        (
            {"mirrors": {"ghcr.io": {"url": "https://m.lab/api/x", "override_path": True}}},
            "mirrors: ghcr.io: no image name has the path of https://m.lab/api/x. Use a mirror without override_path.",
        ),
        ({"ca": "/etc/none.pem"}, "ca must be the authority's certificate in PEM, which begins with -----BEGIN CERTIFICATE-----."),
        (
            {"mirrors": {"ghcr.io": {"url": "https://m.lab", "ca": "/etc/none.pem"}}},
            "mirrors: ghcr.io: ca must be the authority's certificate in PEM, which begins with -----BEGIN CERTIFICATE-----.",
        ),
        ({"ca": "/etc/no.pem"}, "ca: the file /etc/no.pem is not on this host. Correct the path."),
        (
            {"mirrors": {"ghcr.io": {"url": "https://m.lab", "ca": "/etc/no.pem"}}},
            "mirrors: ghcr.io: ca: the file /etc/no.pem is not on this host. Correct the path.",
        ),
    ],
)
def test_what_cannot_work_is_refused(options, sentence):
    with pytest.raises(d.BuilderError) as refused:
        wanted(**options)
    assert str(refused.value) == sentence


def test_a_proxy_is_checked_like_every_proxy():
    with pytest.raises(ValueRefused, match=r"^https_proxy: the URL has no scheme\."):
        wanted(https_proxy="proxy:3128")


@pytest.mark.parametrize("name", ["default", "1st", "a/b", "", "a b"])
def test_a_name_that_buildx_refuses_is_refused(name):
    with pytest.raises(d.BuilderError) as refused:
        d.check_name(name)
    sentence = f"name: {name!r} is not the name of a builder. Use a letter first, then letters, digits, '.', '_' and '-'; not 'default'."
    assert str(refused.value) == sentence


def test_a_usual_name_is_accepted():
    d.check_name("ci-2.x_y")


LOOPBACK = "https_proxy is on this host's loopback, which the container of a builder cannot reach. Use an address that containers can reach."
THROUGH = (
    "The builder connects to the mirror {0} through its proxy, because no_proxy does not contain it. "
    "Add {1} to no_proxy, unless the mirror can only be reached through the proxy."
)


@pytest.mark.parametrize(
    ("options", "sentences"),
    [
        ({"https_proxy": PROXY, "http_proxy": PROXY}, []),
        ({"https_proxy": "http://127.0.0.1:3129"}, [LOOPBACK]),
        ({"https_proxy": "http://127.0.0.1:3129", "driver_opts": {"network": "host"}}, []),
        ({"http_proxy": PROXY}, ["http_proxy is not used for https URLs, such as those of Docker Hub. Set https_proxy too."]),
        ({"no_proxy": ["10.0.0.1-9"]}, ["no_proxy: Docker does not understand '10.0.0.1-9': it is an address range. Write a network, such as 192.168.0.0/16."]),
        ({"https_proxy": PROXY, "mirrors": {"docker.io": ["https://m.lab/hub", "http://plain.lab"]}}, [THROUGH.format("m.lab", "m.lab")]),
        ({"https_proxy": PROXY, "no_proxy": ["m.lab"], "mirrors": {"docker.io": "https://m.lab:5000"}}, []),
        (
            {"https_proxy": PROXY, "http_proxy": PROXY, "mirrors": {"docker.io": "http://plain.lab:5000"}},
            [THROUGH.format("plain.lab:5000", "plain.lab")],
        ),
    ],
)
def test_values_without_the_intended_effect_are_named(options, sentences):
    assert d.warnings(wanted(**options), options) == sentences


FULL = d.Definition(
    "r.lab/buildkit:1",
    {"env.NO_PROXY": "a,b", "env.HTTPS_PROXY": "http://joe:s3cret@p:1", "env.A": 'say "x"'},
    ("--debug", "--oci-worker-gc"),
    {"registry": {"docker.io": {"mirrors": ["m.lab"], "ca": [PEM]}, "m.lab": {"http": True}}},
)
(FILE,) = d.files(FULL)


def test_the_files_for_buildx():
    assert FILE.startswith("buildfleet-") and FILE.endswith(".pem") and d.files(FULL) == {FILE: PEM}
    assert d.toml_text(FULL, "/tmp/x") == f'[registry."docker.io"]\nca = ["/tmp/x/{FILE}"]\nmirrors = ["m.lab"]\n[registry."m.lab"]\nhttp = true\n'
    assert f'ca = ["/etc/buildkit/certs/docker.io/{FILE}"]' in d.toml_text(FULL)
    assert d.toml_text(EMPTY) == ""


def test_the_command_for_buildx_has_no_password():
    assert d.creation("ci", "ci0", FULL, "/tmp/x/buildkitd.toml") == [
        *("docker", "buildx", "create", "--name", "ci", "--node", "ci0", "--driver", "docker-container"),
        *("--driver-opt", '"env.NO_PROXY=a,b"', "--driver-opt", '"env.HTTPS_PROXY=http://xxxxx:xxxxx@p:1"', "--driver-opt", '"env.A=xxxxx"'),
        *("--driver-opt", '"image=r.lab/buildkit:1"', "--buildkitd-flags", "--debug --oci-worker-gc", "--config", "/tmp/x/buildkitd.toml"),
    ]
    assert d.creation("ci", "ci0", EMPTY, "")[-2:] == ["--driver", "docker-container"]
    quoted = EMPTY._replace(driver_opts={"network": 'a "b"'})
    assert d.creation("ci", "ci0", quoted, "")[-2:] == ["--driver-opt", '"network=a ""b"""']


@pytest.mark.parametrize(
    ("option", "value", "readable", "secrets"),
    [
        pytest.param("env.GIT_AUTH_TOKEN", "s3cret", "xxxxx", ["s3cret"], id="a secret by its name"),
        pytest.param("env.FOO", "s3cret", "xxxxx", [], id="a variable that may be one"),
        pytest.param("env.HTTPS_PROXY", "http://joe:s3cret@p:1", "http://xxxxx:xxxxx@p:1", [], id="a proxy with a login"),
        pytest.param("env.https_proxy", "http://p:1", "http://p:1", [], id="a proxy without one, as others write it"),
        pytest.param("env.NO_PROXY", "a,b", "a,b", [], id="exceptions"),
        pytest.param("env.SSL_CERT_DIR", "/etc/certs", "/etc/certs", [], id="the folder of certificates"),
        pytest.param("network", "host", "host", [], id="not a variable"),
    ],
)
def test_what_everyone_may_read_of_an_option(option, value, readable, secrets):
    made = EMPTY._replace(driver_opts={option: value})
    assert (d.readable(made), d.secrets(made)) == ({option: readable}, secrets)
    assert d.text(made) == f"image: (of buildx)\ndriver option {option}={readable}\n"


def encoded(text):
    return base64.b64encode(text.encode()).decode()


# As buildx 0.13 and 0.29 render the file that they are given.
RENDERED = f"""
[registry]

  [registry."docker.io"]
    ca = ["/etc/buildkit/certs/docker.io/{FILE}"]
    mirrors = ["m.lab"]

  [registry."m.lab"]
    http = true
"""
NODE = {
    "Name": "ci0",
    "Endpoint": "unix:///var/run/docker.sock",
    "Platforms": None,
    "DriverOpts": {**FULL.driver_opts, "image": FULL.image},
    "Flags": [*FULL.flags, "--allow-insecure-entitlement=network.host", "--allow-insecure-entitlement=network.host"],
    "Files": {"buildkitd.toml": encoded(RENDERED), f"certs/docker.io/{FILE}": encoded(PEM)},
}
DOCUMENT = {"Name": "ci", "Driver": "docker-container", "Nodes": [NODE], "Dynamic": False}


def stored(**node):
    return json.dumps({**DOCUMENT, "Nodes": [{**NODE, **node}]}).encode()


def test_what_buildx_stores_is_what_was_asked_for():
    assert d.instance(stored(), "x") == d.Instance("docker-container", 1, "ci0", "unix:///var/run/docker.sock", FULL)
    bare = d.instance(stored(DriverOpts=None, Flags=["--allow-insecure-entitlement=network.host"], Files=None), "x")
    assert bare.definition == EMPTY
    assert d.instance(stored(Files={"buildkitd.toml": encoded("[registry]\n")}), "x").definition.config == {}


def test_a_configuration_of_others_is_kept_as_a_value():
    text = "debug = true\nregistry = 1\n"
    assert d.instance(stored(Files={"buildkitd.toml": encoded(text)}), "x").definition.config == {"debug": True, "registry": 1}
    text = '[registry]\nx = 1\n[registry."a.lab"]\nca = ["/etc/ssl/a.pem"]\n[registry."b.lab"]\nca = "no list"\n'
    config = {"registry": {"x": 1, "a.lab": {"ca": ["/etc/ssl/a.pem"]}, "b.lab": {"ca": "no list"}}}
    assert d.instance(stored(Files={"buildkitd.toml": encoded(text)}), "x").definition.config == config


@pytest.mark.parametrize(
    "contents", [b"", b"[]", b'{"Driver": "docker-container", "Nodes": []}', b'{"Nodes": [{}]}', stored(Files={"buildkitd.toml": encoded("x =")})]
)
def test_another_file_is_not_a_builder(contents):
    with pytest.raises(d.BuilderError) as refused:
        d.instance(contents, "/root/.docker/buildx/instances/ci")
    sentence = "/root/.docker/buildx/instances/ci: this is not a builder as buildx stores it. Remove it with docker buildx rm first."
    assert str(refused.value) == sentence


def test_a_password_is_added_to_what_buildx_stored():
    masked = {**FULL.driver_opts, "env.HTTPS_PROXY": "http://xxxxx:xxxxx@p:1", "image": FULL.image}
    assert d.instance(d.with_secrets(stored(DriverOpts=masked), FULL), "x").definition == FULL


INSPECTED = {
    "Args": ["--config", "/etc/buildkit/buildkitd.toml", *FULL.flags, "--allow-insecure-entitlement=network.host"],
    "Config": {
        "Image": FULL.image,
        "Env": ["NO_PROXY=a,b", "HTTPS_PROXY=http://joe:s3cret@p:1", 'A=say "x"', "PATH=/bin"],
    },
}
KEPT = {"buildkitd.toml": RENDERED.encode(), f"certs/docker.io/{FILE}": PEM.encode()}


def test_what_a_container_has():
    assert d.container(INSPECTED, {"Config": {"Env": ["PATH=/bin"]}}, KEPT) == FULL
    assert d.container({"Config": {}}, {}, {}) == EMPTY
    assert d.container(INSPECTED, {}, {"buildkitd.toml": b"x = ["}).config == {"buildkitd.toml": "not valid"}


RUNNING = FULL._replace(driver_opts={**FULL.driver_opts, "env.PATH": "/bin"})  # buildx adds variables of its own


@pytest.mark.parametrize(
    ("asked", "made", "running", "named"),
    [
        (FULL, FULL, None, []),
        (FULL, FULL, RUNNING, []),
        (EMPTY, EMPTY, EMPTY._replace(image="moby/buildkit:buildx-stable-1"), []),
        (FULL, FULL._replace(image="x"), None, ["image"]),
        (FULL, FULL, RUNNING._replace(image="x"), ["image"]),
        (EMPTY, FULL, None, ["image", "env.A", "env.HTTPS_PROXY", "env.NO_PROXY", "buildkitd_flags", "buildkitd.toml"]),
        (EMPTY, EMPTY, EMPTY._replace(driver_opts={"env.http_proxy": PROXY, "env.SSL_CERT_DIR": "/x", "env.B": "1"}), ["env.SSL_CERT_DIR", "env.http_proxy"]),
        (EMPTY._replace(driver_opts={"network": "host"}), EMPTY, EMPTY, ["network"]),
        (EMPTY._replace(driver_opts={"network": "host"}), EMPTY._replace(driver_opts={"network": "host"}), EMPTY, []),
        (FULL, FULL, RUNNING._replace(flags=()), ["buildkitd_flags"]),
        (FULL, FULL, RUNNING._replace(config={}), ["buildkitd.toml"]),
    ],
)
def test_what_differs_is_named(asked, made, running, named):
    assert d.differences(asked, made, running) == named


def test_the_text_of_a_diff():
    assert d.text(None) == ""
    assert d.text(EMPTY) == "image: (of buildx)\n"
    config = {**FULL.config, "debug": True}
    assert d.text(FULL._replace(config=config)) == (
        "image: r.lab/buildkit:1\n"
        "driver option env.A=xxxxx\n"
        "driver option env.HTTPS_PROXY=http://xxxxx:xxxxx@p:1\n"
        "driver option env.NO_PROXY=a,b\n"
        "flag --debug\n"
        "flag --oci-worker-gc\n"
        f'buildkitd.toml: docker.io: ca = ["{FILE}"]\n'
        'buildkitd.toml: docker.io: mirrors = ["m.lab"]\n'
        "buildkitd.toml: m.lab: http = true\n"
        "buildkitd.toml: debug = true\n"
    )
