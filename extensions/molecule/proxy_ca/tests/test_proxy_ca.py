# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After `site` with buildfleet_proxy_ca, through a proxy that intercepts TLS."""

from __future__ import annotations

import json

import pytest
import table
from build import on
from pki import PKI

CA = (PKI / "intercept-ca.crt").read_text()
# A system of its own for RUN steps: the host's shell and curl with their libraries, and the store that the distribution ships.
BASE = """
test -z "$(docker images -q steps)" || exit 0
files=$(for program in /bin/sh /usr/bin/curl; do echo $program; ldd $program | grep -o '/[^ ]*'; done | sort -u)
mkdir -p /var/tmp/steps/etc/ssl/certs
cat /usr/share/ca-certificates/*/*.crt > /var/tmp/steps/etc/ssl/certs/ca-certificates.crt
tar -c --dereference $files -C /var/tmp/steps etc | docker import - steps
"""
FETCH = f"curl --silent --show-error --proxy {table.INTERCEPT_PROXY} --output /answer https://registry-1.docker.io/v2/"
STORE = "/etc/ssl/certs/ca-certificates.crt"


def module(engine, **options):
    done = engine.module("proxy_ca", **options)
    return json.loads(done.stdout.partition("=> ")[2])


@pytest.mark.parametrize("builder", ["pull", "buildkit", "legacy", "compose"])
def test_everything_passes_the_intercepting_proxy(engine, builder):
    outcome = engine.build(builder, "pytorch/torchserve:0.11.0-gpu", login="builder")
    assert outcome.ok, outcome.log


def test_the_client_trusts_it_too(engine):
    outcome = engine.build("buildkit", env={"HTTPS_PROXY": table.INTERCEPT_PROXY, "BUILDKIT_NO_CLIENT_TOKEN": "0"})
    assert outcome.ok, outcome.log


def test_a_job_in_a_container_needs_no_certificate_but_an_environment_of_its_own(engine):
    """Like a CI job with the engine's socket: the daemon trusts the proxy, and fetches the token if told to."""
    engine.forget()
    engine.write("/var/tmp/job/Dockerfile", "FROM busybox:1\nRUN true\n")
    job = "docker run --rm --env=DOCKER_BUILDKIT=1 {} --volume=/:/host --volume=/run/docker.sock:/host/run/docker.sock alpine:3.19 "
    job += "chroot /host docker build --pull /var/tmp/job"
    assert on(engine.name, "docker pull alpine:3.19").ok
    without = on(engine.name, job.format(""))
    assert not without.ok
    assert "auth.docker.io" in without.log
    outcome = on(engine.name, job.format("--env=BUILDKIT_NO_CLIENT_TOKEN=1"))
    assert outcome.ok, outcome.log


def test_a_path_on_the_controller_says_the_same(engine, playbook):
    proxies = [f"-ebuildfleet_proxy_{scheme}={table.INTERCEPT_PROXY}" for scheme in ("http", "https")]
    done = playbook("site", engine.name, *proxies, f"-ebuildfleet_proxy_ca={PKI / 'intercept-ca.crt'}")
    assert done.returncode == 0, done.stdout
    assert "changed=0" in done.stdout
    assert "changed=1" not in done.stdout


def test_a_daemon_at_work_is_restarted_by_a_later_run(engine):
    assert engine.build("pull").ok
    engine.host.check_output("docker run --detach --name=at-work busybox:1 sleep 300")
    try:
        away = module(engine, state="absent")
        assert (away["changed"], away["restarted"], away["restart_pending"]) == (True, False, True)
        assert away["pending_reason"] == "1 running container would be stopped (live-restore is off)"
        back = module(engine, certificate=CA)
        assert (back["changed"], back["restart_pending"]) == (True, True)
    finally:
        engine.host.check_output("docker rm --force at-work")
    done = module(engine, certificate=CA)
    assert (done["changed"], done["restarted"]) == (True, True)
    assert not module(engine, certificate=CA)["changed"]


@pytest.mark.parametrize(
    ("builder", "dockerfile", "passes"),
    [
        ("buildkit", f"FROM steps\nRUN {FETCH}\n", False),
        ("legacy", f"FROM steps\nRUN {FETCH}\n", False),
        ("buildkit", f"FROM steps\nCOPY company-ca.crt {STORE}\nRUN {FETCH}\n", True),
        ("legacy", f"FROM steps\nCOPY company-ca.crt {STORE}\nRUN {FETCH}\n", True),
        ("buildkit", f"FROM steps\nRUN --mount=type=secret,id=company-ca,target={STORE},mode=0444 {FETCH}\n", True),
    ],
    ids=["buildkit alone", "legacy alone", "buildkit copied", "legacy copied", "buildkit mounted"],
)
def test_a_step_has_the_store_of_its_image(engine, builder, dockerfile, passes):
    assert on(engine.name, BASE).ok
    engine.write("/var/tmp/step/Dockerfile", dockerfile)
    engine.write("/var/tmp/step/company-ca.crt", CA)
    secret = "--secret id=company-ca,src=/var/tmp/step/company-ca.crt" if "--mount" in dockerfile else ""
    outcome = on(engine.name, f"DOCKER_BUILDKIT={int(builder == 'buildkit')} docker build --no-cache {secret} /var/tmp/step")
    assert outcome.ok == passes, outcome.log
    assert passes or "curl: (60)" in outcome.log or "non-zero code: 60" in outcome.log
