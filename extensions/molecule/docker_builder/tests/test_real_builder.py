# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds with the BuildKit of the image that BUILDFLEET_BUILDKIT_IMAGE names."""

from __future__ import annotations

import functools
import json
import re
import subprocess

import pytest
import table
from build import on, write
from pki import PKI

CONTAINER = "buildx_buildkit_ci0"
CONTEXT = "/var/tmp/real"
LAB_CA = "/usr/local/share/ca-certificates/lab-ca.crt"
INTERCEPT_CA = (PKI / "intercept-ca.crt").read_text()
HUB = "FROM busybox:1\nRUN cat /etc/image\n"
TOKEN = {"BUILDKIT_NO_CLIENT_TOKEN": "1"}
THROUGH_PROXY = {"https_proxy": table.HTTP_PROXY, "ca": LAB_CA}


@functools.cache
def image_on(name):
    """Load the image on this host, whose tests may remove others."""
    with open(table.BROUGHT_BUILDKIT, "rb") as saved:
        done = subprocess.run(["docker", "exec", "--interactive", name, "docker", "load"], stdin=saved, capture_output=True, text=True, check=True)
    return re.search(r"Loaded image: (\S+)", done.stdout)[1]


@pytest.fixture(autouse=True)
def image(engine):
    if not table.BROUGHT_BUILDKIT:
        pytest.skip("not run: BUILDFLEET_BUILDKIT_IMAGE names no saved image of moby/buildkit")
    if engine.host.run("docker buildx version").rc:
        pytest.skip("it has no buildx")
    yield image_on(engine.name)
    removed = f"/home/builder/.docker /root/.docker /var/lib/buildfleet {CONTEXT}"
    on(
        engine.name,
        f"docker ps -aq | xargs -r docker rm -f; docker volume ls -q | grep ^buildx_ | xargs -r docker volume rm; rm -rf {removed}",
    )


def result(engine, *flags, module="docker_builder", **options):
    done = engine.module(module, *flags, **options)
    return json.loads(done.stdout[done.stdout.index("{\n") :])


@pytest.fixture()
def create(engine, image):
    """`create(https_proxy=...)`: the result of the module."""

    def run(*flags, **options):
        done = result(engine, *flags, **{"name": "ci", "user": "builder", "image": image, **options})
        assert "msg" not in done, done
        return done

    return run


@pytest.fixture()
def build(engine):
    """`build(Dockerfile, env)` by the user of the builder."""

    def run(dockerfile=HUB, env=(), more=""):
        write(engine.name, f"{CONTEXT}/Dockerfile", dockerfile)
        variables = "".join(f"{name}={value} " for name, value in dict(env).items())
        return on(engine.name, f"su - builder -c '{variables}docker buildx build --builder ci --progress plain {more} {CONTEXT}'")

    return run


def test_nothing_on_the_host_reaches_it_and_its_proxy_needs_a_way_for_the_token(create, build):
    create(ca=LAB_CA)
    assert "registry-1.docker.io" in build(env={"HTTPS_PROXY": table.HTTP_PROXY}).log
    create(**THROUGH_PROXY)
    without = build()
    assert not without.ok
    assert "auth.docker.io" in without.log
    outcome = build(env=TOKEN)
    assert outcome.ok, outcome.log
    assert create(**THROUGH_PROXY)["changed"] is False


def test_the_client_fetches_the_token_through_its_own_proxy(create, build):
    create(**THROUGH_PROXY)
    outcome = build(env={"HTTPS_PROXY": table.CLIENT_PROXY})
    assert outcome.ok, outcome.log


def test_mirrors_of_the_one_map_serve_every_registry(create, build):
    create(ca=LAB_CA, mirrors={"docker.io": table.MIRROR, "ghcr.io": [f"https://{table.GHCR_MIRROR}"], "quay.io": {"url": f"https://{table.QUAY_MIRROR}"}})
    outcome = build("FROM busybox:1\nCOPY --from=ghcr.io/lab/tool:1 /etc/image /ghcr\nCOPY --from=quay.io/lab/tool:1 /etc/image /quay\nRUN cat /ghcr /quay\n")
    assert outcome.ok, outcome.log
    assert "ghcr.io/lab/tool:1" in outcome.log
    assert "quay.io/lab/tool:1" in outcome.log


def test_mirrors_beside_a_proxy_are_reached_directly(create, build):
    create(https_proxy="http://127.0.0.1:9", no_proxy=["mirror.lab"], ca=LAB_CA, mirrors={"docker.io": table.MIRROR})
    outcome = build()
    assert outcome.ok, outcome.log


def test_it_trusts_a_proxy_that_intercepts_tls_for_every_registry(create, build):
    create(https_proxy=table.INTERCEPT_PROXY)
    untrusted = build(env=TOKEN)
    assert "certificate signed by unknown authority" in untrusted.log
    create(https_proxy=table.INTERCEPT_PROXY, ca=INTERCEPT_CA)
    outcome = build("FROM busybox:1\nCOPY --from=ghcr.io/lab/tool:1 /etc/image /ghcr\nRUN cat /ghcr\n", env=TOKEN)
    assert outcome.ok, outcome.log


def test_flags_reach_its_daemon(engine, create):
    create(buildkitd_flags=["--debug", "--oci-worker-gc=false"])
    shown = engine.host.check_output("su - builder -c 'docker buildx inspect ci'")
    assert "--debug" in shown
    assert "--oci-worker-gc=false" in shown
    assert create(buildkitd_flags=["--debug", "--oci-worker-gc=false"])["changed"] is False


def test_a_change_keeps_its_cache(create, build):
    create(ca=LAB_CA, mirrors={"docker.io": table.MIRROR})
    dockerfile = "FROM busybox:1\nRUN head -c 8 /dev/urandom | od -An -tx1 > /made && cat /made\n"
    first = build(dockerfile)
    assert first.ok, first.log
    again = create(ca=LAB_CA, mirrors={"docker.io": [table.MIRROR, table.RELAY]}, buildkitd_flags=["--debug"])
    assert again["recreated"] is True
    second = build(dockerfile)
    assert second.ok, second.log
    assert re.search(r"^#\d+ CACHED$", second.log, re.M), second.log


def test_a_builder_made_by_hand_is_adopted_and_restored_with_its_cache(engine, image, create, build):
    config = f'[registry."docker.io"]\n  mirrors = ["mirror.lab"]\n[registry."mirror.lab"]\n  ca = ["{LAB_CA}"]\n'
    write(engine.name, f"{CONTEXT}/buildkitd.toml", config)
    by_hand = f"docker buildx create --name ci --driver-opt image={image} --config {CONTEXT}/buildkitd.toml --bootstrap"
    engine.host.check_output(f"su - builder -c '{by_hand}'")
    dockerfile = "FROM busybox:1\nRUN head -c 8 /dev/urandom > /made\n"
    assert build(dockerfile).ok
    before = engine.host.check_output("md5sum < /home/builder/.docker/buildx/instances/ci")
    refused = result(engine, name="ci", user="builder", image=image, **THROUGH_PROXY)
    assert refused["msg"].startswith("The builder ci of builder was created by others, and differs in env.HTTPS_PROXY, env.SSL_CERT_DIR, buildkitd.toml. ")
    assert create(**THROUGH_PROXY, adopt=True)["recreated"] is True
    outcome = build(dockerfile, env=TOKEN)
    assert outcome.ok, outcome.log
    assert "CACHED" in outcome.log
    assert result(engine, state="absent")["removed"] == ["builder/ci"]
    assert engine.host.check_output("md5sum < /home/builder/.docker/buildx/instances/ci") == before
    restored = build(dockerfile)
    assert restored.ok, restored.log
    assert "CACHED" in restored.log
    assert 'mirrors = ["mirror.lab"]' in engine.host.check_output(f"docker exec {CONTAINER} cat /etc/buildkit/buildkitd.toml")


def test_undo_leaves_nothing(engine, create, build):
    state = "find /home/builder/.docker -type f ! -path '*/activity/*' | sort; docker ps -a --format '{{.Names}}'; docker volume ls -q; ls /var/lib/buildfleet"
    engine.host.run("su - builder -c 'docker buildx ls'")
    before = engine.host.run(state).stdout
    create(ca=LAB_CA, mirrors={"docker.io": table.MIRROR}, use=True)
    assert build().ok
    assert result(engine, state="absent")["removed"] == ["builder/ci"]
    left = set(engine.host.run(state).stdout.splitlines()) - set(before.splitlines())
    of_the_build = ("/buildx/refs/", "/buildx/.buildNodeID", "/buildx/.lock")
    assert {path for path in left if not any(name in path for name in of_the_build)} == set()


RECORDS = """su - builder -c 'docker buildx du --builder ci' | awk '{print $1}'; docker volume ls -q
find /home/builder/.docker -type f ! -path '*/activity/*' | sort"""


def test_the_check_proves_it_and_leaves_nothing(engine, create):
    create(ca=LAB_CA, mirrors={"docker.io": table.MIRROR})
    before = engine.host.run(RECORDS).stdout
    done = result(engine, module="docker_build_check", builder="ci", environment_of="user:builder")
    assert (done["ok"], done["cause"], done["builder_used"]) == (True, "ok", "buildkit"), done
    assert engine.host.run(RECORDS).stdout == before


@pytest.mark.parametrize(
    ("options", "env", "cause", "asked_by", "host"),
    [
        ({"ca": LAB_CA}, {}, "reset", "daemon", "registry-1.docker.io"),
        (THROUGH_PROXY, {}, "token_unreachable", "client", "auth.docker.io"),
        ({"https_proxy": table.AUTH_PROXY}, TOKEN, "proxy_auth", "daemon", "registry-1.docker.io"),
        ({"https_proxy": "http://proxy.lab:9"}, TOKEN, "proxy_unreachable", "daemon", table.SERVICES["proxy"].address),
        ({"https_proxy": table.INTERCEPT_PROXY}, TOKEN, "tls", "daemon", "registry-1.docker.io"),
        ({"mirrors": {"docker.io": table.MIRROR}}, {}, "tls", "daemon", "mirror.lab"),
    ],
    ids=["no proxy", "no way for the token", "password", "proxy down", "intercepted", "CA of the mirror"],
)
def test_the_check_blames_the_builder_and_names_it(engine, create, options, env, cause, asked_by, host):
    create(**options)
    done = result(engine, module="docker_build_check", builder="ci", environment_of="user:builder", env=env, required=False)
    assert (done["cause"], done["asked_by"], done["host"]) == (cause, asked_by, host), done
    assert "the builder ci" in done["msg"].replace("The", "the"), done
