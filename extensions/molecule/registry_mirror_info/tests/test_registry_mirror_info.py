# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mirrors of every kind, tested from a host of each engine; the daemon can build with those that work."""

from __future__ import annotations

import json
import time

import pytest
import table

SAMPLE = 9  # each kind once, on one of the engines
CANDIDATES = [table.SLOW, table.MIRROR, table.RELAY, table.OWN_REALM, table.ALLOWLIST, *table.UNUSABLE]
SITE = {"buildfleet_mirror_candidates": [table.SLOW, table.DROPS, table.OWN_REALM, table.MIRROR], "buildfleet_restart": "if_needed"}


def answer(done):
    return json.loads(done.stdout[done.stdout.index("{") :])


def tried(engine, **options):
    done = engine.module("registry_mirror_info", **{"candidates": CANDIDATES, "timeout": 15, **options})
    assert done.returncode == 0, done.stdout + done.stderr
    result = answer(done)
    return result, {mirror["url"]: mirror for mirror in result["mirrors"]}


def mirrors_of(engine):
    return json.loads(engine.host.run("cat /etc/docker/daemon.json").stdout or "{}").get("registry-mirrors")


def test_each_kind_of_mirror_is_told_from_the_others(engine):
    before = engine.host.check_output("docker images -aq; docker system df")
    result, mirrors = tried(engine)
    assert not result["changed"]
    assert {url: mirrors[url]["problem"] for url in table.UNUSABLE} == table.UNUSABLE
    assert {url for url, mirror in mirrors.items() if mirror["usable"]} == set(result["usable"])
    assert result["usable"][-1] == table.SLOW and 50_000 < mirrors[table.SLOW]["bytes_per_second"] < 110_000
    assert set(result["usable"]) == {table.MIRROR, table.OWN_REALM, table.ALLOWLIST, table.SLOW}
    assert mirrors[table.OWN_REALM]["needs"] == "token_of_its_own" and mirrors[table.OWN_REALM]["realm"] == f"{table.OWN_REALM}/v2/auth"
    assert mirrors["https://login.lab"]["needs"] == "login"
    assert (mirrors[table.RELAY]["problem"], mirrors[table.RELAY]["needs"]) == ("mirror_sends_token_elsewhere", "hub_token")
    assert engine.host.check_output("docker images -aq; docker system df") == before


def test_an_image_that_an_allowlist_leaves_out_is_missing(engine):
    mirror = tried(engine, candidates=[table.ALLOWLIST], images=["busybox", "alpine:3.19"])[1][table.ALLOWLIST]
    assert (mirror["usable"], mirror["problem"], mirror["missing"]) == (False, "mirror_error", ["alpine:3.19"])
    assert mirror["message"].endswith("Its message: library/alpine is not in the allowlist")


def test_a_relay_works_where_the_token_server_is_reached(engine):
    through = {"https_proxy": table.HTTP_PROXY, "candidates": [table.RELAY]}
    assert tried(engine, **through)[0]["usable"] == [table.RELAY]
    auth = {"https_proxy": table.AUTH_PROXY, "proxy_username": table.USERNAME, "candidates": [table.RELAY]}
    assert tried(engine, **auth, proxy_password=table.PASSWORD)[0]["usable"] == [table.RELAY]
    assert tried(engine, **auth, proxy_password="wrong")[1][table.RELAY]["problem"] == "proxy_auth"
    assert tried(engine, https_proxy=table.SOCKS_PROXY, candidates=[table.RELAY])[0]["usable"] == [table.RELAY]
    socks = {"https_proxy": table.AUTH_SOCKS_PROXY, "proxy_username": table.USERNAME, "candidates": [table.RELAY]}
    assert tried(engine, **socks, proxy_password=table.PASSWORD)[0]["usable"] == [table.RELAY]
    assert tried(engine, **socks, proxy_password="wrong")[1][table.RELAY]["problem"] == "proxy_auth"


@pytest.mark.parametrize("url", [table.MIRROR, table.OWN_REALM, table.ALLOWLIST])
def test_what_is_usable_builds(engine, url):
    try:
        assert engine.module("docker_daemon_proxy", registry_mirrors=[url], restart="if_needed").returncode == 0
        for builder in ("buildkit", "legacy"):
            done = engine.build(builder)
            assert done.ok, done.log
    finally:
        engine.reset()


def test_site_uses_what_works_and_verify_and_report_say_what_has_died(engine, site, playbook, tmp_path):
    try:
        done, recap = site(engine.name, SITE)
        assert done.returncode == 0, done.stdout
        used = mirrors_of(engine)
        assert set(used) == {table.OWN_REALM, table.MIRROR, table.SLOW} and used[-1] == table.SLOW
        done, recap = site(engine.name, SITE)
        assert done.returncode == 0 and "changed=0" in recap[engine.name], done.stdout
        engine.host.check_output(f"echo {table.DROPPED[0]} own-realm.lab >> /etc/hosts")
        done = playbook("verify", engine.name, f"-e{json.dumps(SITE)}")
        assert done.returncode == 2
        assert f"The mirror {table.OWN_REALM}, which the daemon uses, does not work: own-realm.lab could not be reached (timeout)." in done.stdout
        assert f"The candidate {table.MIRROR} works." in done.stdout
        page = tmp_path / "fleet.html"
        done = playbook("report", engine.name, f"-e{json.dumps({**SITE, 'buildfleet_report_file': str(page)})}")
        assert done.returncode == 0, done.stdout
        assert all(words in page.read_text() for words in (f"The mirror {table.OWN_REALM}, which the daemon uses", f"The candidate {table.MIRROR} works."))
        done, recap = site(engine.name, SITE)
        assert done.returncode == 0 and mirrors_of(engine) == [table.MIRROR, table.SLOW], done.stdout
    finally:
        engine.reset()


def test_site_changes_nothing_where_no_candidate_works(engine, site, state):
    before = state(engine.name)
    done, _recap = site(engine.name, {**SITE, "buildfleet_mirror_candidates": list(table.UNUSABLE)})
    assert done.returncode == 2 and state(engine.name) == before
    for words in (
        "nothing was changed",
        "requires a login",
        "with a web page",
        "status 429",
        "wrong name",
        "nosuch.lab could not be reached (dns)",
        "(timeout)",
    ):
        assert words in done.stdout


def test_the_probed_order_saves_the_time_of_a_first_mirror_that_drops(engine):
    if engine.major < 23:
        pytest.skip("20.10 waits as long; one engine shows it")
    seconds = {}
    try:
        for name, mirrors in {"given": [table.DROPS, table.MIRROR], "probed": tried(engine, candidates=[table.DROPS, table.MIRROR])[0]["usable"]}.items():
            assert engine.module("docker_daemon_proxy", registry_mirrors=mirrors, restart="if_needed").returncode == 0
            engine.forget()
            started = time.monotonic()
            assert engine.build("buildkit", clean=False).ok
            seconds[name] = time.monotonic() - started
    finally:
        engine.reset()
    print(f"{engine.version}: {seconds}")
    assert seconds["given"] > seconds["probed"] + 5
