# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builders that buildx really creates, with what was asked for in their container.

The lab has no image of BuildKit. A stand-in takes its place: busybox with a buildkitd that waits and a buildctl that always succeeds, which is all
that buildx needs to start a builder. So these tests show what arrives in the container; test_real_builder.py builds.
"""

from __future__ import annotations

import json

import pytest
from build import on, write

IMAGE = "standin/buildkit:1"
CONTAINER = "buildx_buildkit_ci0"
CA = "/usr/local/share/ca-certificates/lab-ca.crt"
WISH = {
    "name": "ci",
    "user": "builder",
    "image": IMAGE,
    "https_proxy": "http://172.17.0.1:3129",
    "no_proxy": ["mirror.lab", "localhost"],
    "mirrors": {"docker.io": "https://mirror.lab", "ghcr.io": ["http://ghcr-mirror.lab:5000/hub"]},
    "ca": CA,
    "buildkitd_flags": ["--debug"],
    "use": True,
}
STATE = "find /home/builder -type f ! -path '*/activity/*' -exec md5sum {} + | sort; docker ps -a --format '{{.Names}}'; docker volume ls -q"


@pytest.fixture(autouse=True)
def _standin(engine):
    """The image, and a user who has no builder."""
    if engine.host.run("docker buildx version").rc:
        pytest.skip("it has no buildx")
    write(engine.name, "/tmp/standin/buildkitd", "#!/bin/sh\ntrap 'exit 0' TERM\nwhile :; do sleep 1 & wait $!; done\n")
    write(engine.name, "/tmp/standin/buildctl", "#!/bin/sh\n")
    write(
        engine.name,
        "/tmp/standin/Dockerfile",
        'FROM mirror.lab/library/busybox:1\nCOPY --chmod=755 buildkitd buildctl /bin/\nENTRYPOINT ["buildkitd"]\n',
    )
    built = on(engine.name, f"docker build --quiet --tag {IMAGE} /tmp/standin && rm -r /tmp/standin")
    assert built.ok, built.log
    yield
    removed = "/home/builder/.docker /var/lib/buildfleet"
    on(
        engine.name,
        f"docker ps -aq | xargs -r docker rm -f; docker volume ls -q | grep ^buildx_ | xargs -r docker volume rm; rm -rf {removed}",
    )


def result(engine, *flags, **options):
    done = engine.module("docker_builder", *flags, **options)
    return json.loads(done.stdout[done.stdout.index("{\n") :])


def in_container(engine, command):
    return engine.host.check_output(f"docker exec {CONTAINER} {command}")


def test_environment_configuration_and_certificates_arrive(engine):
    first = result(engine, **WISH)
    assert (first["changed"], first["recreated"], first["differences"]) == (True, False, [])
    environment = set(in_container(engine, "env").splitlines())
    assert {"HTTPS_PROXY=http://172.17.0.1:3129", "NO_PROXY=mirror.lab,localhost", "SSL_CERT_DIR=/etc/buildkit/certs/docker.io"} <= environment
    config = in_container(engine, "cat /etc/buildkit/buildkitd.toml")
    assert 'mirrors = ["mirror.lab"]' in config
    assert 'mirrors = ["ghcr-mirror.lab:5000/hub"]' in config
    assert "http = true" in config
    (certificate,) = in_container(engine, "ls /etc/buildkit/certs/docker.io").split()
    assert in_container(engine, f"cat /etc/buildkit/certs/docker.io/{certificate}").split() == engine.host.check_output(f"cat {CA}").split()
    assert "--debug" in engine.host.check_output(f"docker inspect -f '{{{{.Args}}}}' {CONTAINER}")
    shown = engine.host.check_output("su - builder -c 'docker buildx ls'")
    assert "ci*" in shown
    assert result(engine, **WISH)["changed"] is False


def test_check_mode_changes_nothing(engine):
    before = engine.host.check_output(STATE)
    assert result(engine, "--check", **WISH)["changed"] is True
    assert engine.host.check_output(STATE) == before


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"https_proxy": "http://172.17.0.1:3130"}, ["env.HTTPS_PROXY"]),
        ({"mirrors": {"docker.io": "https://relay.lab"}}, ["buildkitd.toml"]),
        ({"ca": ""}, ["env.SSL_CERT_DIR", "buildkitd.toml"]),
        ({"buildkitd_flags": []}, ["buildkitd_flags"]),
    ],
    ids=["proxy", "mirrors", "ca", "flags"],
)
def test_a_difference_creates_it_again_and_keeps_its_cache(engine, other, named):
    result(engine, **WISH)
    in_container(engine, "touch /var/lib/buildkit/cached")
    again = result(engine, **{**WISH, **other})
    assert (again["changed"], again["recreated"], again["differences"]) == (True, True, named)
    assert in_container(engine, "ls /var/lib/buildkit") == "cached"
    assert result(engine, **{**WISH, **other})["changed"] is False


def test_what_the_container_really_has_counts(engine):
    result(engine, **WISH)
    assert on(engine.name, f"docker exec {CONTAINER} sh -c 'echo > /etc/buildkit/buildkitd.toml'").ok
    again = result(engine, **WISH)
    assert (again["recreated"], again["differences"]) == (True, ["buildkitd.toml"])
    on(engine.name, f"docker stop {CONTAINER}")
    started = result(engine, **WISH)
    assert (started["changed"], started["recreated"], started["node"]["status"]) == (True, False, "exited")
    assert engine.host.check_output(f"docker inspect -f '{{{{.State.Status}}}}' {CONTAINER}") == "running"


def test_undo_removes_it(engine):
    engine.host.check_output("su - builder -c 'docker buildx ls'")  # creates the folders of buildx
    before = engine.host.check_output(STATE)
    result(engine, **WISH)
    assert result(engine, state="absent")["removed"] == ["builder/ci"]
    assert engine.host.check_output(STATE) == before
    assert not engine.host.file("/var/lib/buildfleet/docker_builder.json").exists
    assert result(engine, state="absent")["changed"] is False


def test_a_builder_of_others_is_left_or_adopted_and_given_back(engine):
    created = f"docker buildx create --name ci --driver docker-container --driver-opt image={IMAGE},network=host --bootstrap --use"
    engine.host.check_output(f'su - builder -c "{created}"')
    in_container(engine, "touch /var/lib/buildkit/cached")
    before = engine.host.check_output(STATE)
    refused = result(engine, **WISH)
    assert refused["msg"] == (
        "The builder ci of builder was created by others, and differs in env.HTTPS_PROXY, env.NO_PROXY, env.SSL_CERT_DIR, network, buildkitd_flags, "
        "buildkitd.toml. Set adopt: true to create it again with these options (its cache is kept, and state: absent restores it), or use another name."
    )
    assert result(engine, name="ci", user="builder", state="absent")["changed"] is False
    assert engine.host.check_output(STATE) == before
    assert result(engine, **WISH, adopt=True)["recreated"] is True
    assert in_container(engine, "ls /var/lib/buildkit") == "cached"
    assert result(engine, state="absent")["removed"] == ["builder/ci"]
    engine.host.check_output("su - builder -c 'docker buildx inspect --bootstrap ci'")
    assert engine.host.check_output(STATE) == before
    assert in_container(engine, "ls /var/lib/buildkit") == "cached"


def test_a_password_needs_consent_and_is_in_no_command_line(engine):
    login = {**WISH, "https_proxy": "http://joe:s3cretword@172.17.0.1:3129"}
    before = engine.host.check_output(STATE)
    refused = engine.module("docker_builder", **login).stdout
    assert "https_proxy contains credentials, and everyone who may use Docker reads them in the builder's container (docker inspect)." in refused
    assert "s3cretword" not in refused
    assert engine.host.check_output(STATE) == before
    accepted = result(engine, **login, allow_readable_secret=True)
    assert "s3cretword" not in json.dumps(accepted)
    assert "HTTPS_PROXY=http://joe:s3cretword@172.17.0.1:3129" in in_container(engine, "env")
    assert result(engine, **login, allow_readable_secret=True)["changed"] is False
