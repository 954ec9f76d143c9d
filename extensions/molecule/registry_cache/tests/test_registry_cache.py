# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet without a proxy, and two hosts that fetch images for it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import table
from build import build, on, write
from shell import run

CACHE, SECOND = CACHES = ("cache", "cache2")
FLEET = "build_servers,cache_servers"
USE_CACHES = "buildfleet_cache_hosts=cache_servers"
UNIT = "buildfleet-registry-cache.service"
IMAGE = "pytorch/torchserve:0.11.0-gpu"
REGISTRY = "Go-http-client"  # as docker-registry calls itself; daemons and clients have other names
DAEMON_JSON = "/etc/docker/daemon.json"


def checked(engine, **options):
    done = engine.module("docker_build_check", required=False, **options)
    return json.loads(done.stdout.partition("=> ")[2])


SERVES = "for n in $(seq 30); do curl -sfk https://127.0.0.1:5000/v2/ && exit 0; sleep 1; done; exit 1"


def asked_of_the_hub(moment):
    """The requests of the cache's proxy to the Hub and to the server of its layers since then, without the question whether the Hub answers."""
    proxy = table.SERVICES["auth-proxy"].address
    logs = (run("sh", "-c", f"docker logs --since {moment} buildfleet-{service} 2>&1") for service in ("hub", "cdn"))
    return [line for log in logs for line in log.splitlines() if line.startswith(f"{proxy} ") and REGISTRY in line and '"GET /v2/ HTTP' not in line]


@pytest.mark.parametrize("cache", CACHES)
def test_clients_trust_each_cache(engine, cache):
    assert engine.host.check_output(f"curl -sf https://{cache}.lab:5000/v2/") == "{}"
    assert f"https://{cache}.lab:5000/" in engine.host.check_output("docker info --format '{{.RegistryConfig.Mirrors}}'")


@pytest.mark.parametrize("cache", CACHES)
def test_only_root_reads_the_keys(cache):
    assert on(cache, "stat -c '%a %U %n' /etc/buildfleet-registry-cache/tls /etc/buildfleet-registry-cache/tls/*.key").log.splitlines() == [
        "700 root /etc/buildfleet-registry-cache/tls",
        "600 root /etc/buildfleet-registry-cache/tls/ca.key",
        "600 root /etc/buildfleet-registry-cache/tls/cache.key",
    ]


def test_verify_sees_no_difference(playbook):
    done = playbook("verify", FLEET, "-e", USE_CACHES)
    assert done.returncode == 0, done.stdout
    for cache in CACHES:
        assert f"The cache {cache} of docker.io: online; " in done.stdout
        assert f"The cache {cache} of ghcr.io: online; " in done.stdout


def test_a_proxy_of_the_daemons_is_not_asked_for_the_caches(playbook):
    done = playbook("site", FLEET, "--check", "--diff", "-e", USE_CACHES, "-e", f"buildfleet_proxy_https={table.HTTP_PROXY}")
    assert "NO_PROXY=cache.lab,cache2.lab" in done.stdout, done.stdout
    assert '"no-proxy": "cache.lab,cache2.lab"' in done.stdout, done.stdout


def test_another_registry_has_a_service_of_its_own():
    assert json.loads(on(CACHE, "curl -sk https://127.0.0.1:5001/v2/lab/tool/tags/list").log) == {"name": "lab/tool", "tags": ["1"]}
    assert on(CACHE, "curl -sk https://127.0.0.1:5001/v2/library/busybox/manifests/1 | grep -q MANIFEST_UNKNOWN").ok
    assert on(CACHE, "systemctl is-active buildfleet-registry-cache@ghcr.io.service").log == "active\n"


@pytest.mark.parametrize("builder", ["pull", "buildkit", "legacy", "compose"])
def test_hosts_without_a_proxy_build(engine, builder):
    assert "proxy" not in engine.host.run("docker info; env; cat /etc/environment /etc/profile.d/* /etc/docker/daemon.json").stdout.lower()
    outcome = engine.build(builder, login="builder")
    assert outcome.ok, outcome.log


def test_a_client_in_a_container_needs_nothing(engine):
    """Like a CI job with the engine's socket: the client has the container's environment, not the host's."""
    engine.forget()
    engine.write("/var/tmp/job/Dockerfile", "FROM busybox:1\nRUN true\n")
    job = "docker run --rm --volume=/:/host --volume=/run/docker.sock:/host/run/docker.sock alpine:3.19 chroot /host docker build /var/tmp/job"
    for builder in (1, 0):
        outcome = on(engine.name, job.replace("alpine", f"--env=DOCKER_BUILDKIT={builder} alpine", 1))
        assert outcome.ok, outcome.log


def test_the_second_host_gets_the_image_from_the_cache():
    first, *others = table.HOSTS
    assert build(first, "pull", IMAGE).ok
    moment = int(time.time()) + 1
    for host in others:
        assert build(host, "buildkit", IMAGE).ok
        assert build(host, "legacy", IMAGE).ok
    asked = asked_of_the_hub(moment)
    assert asked, "the cache did not ask about the tag"
    assert [line for line in asked if f'"HEAD /v2/{IMAGE.partition(":")[0]}/manifests/' not in line] == []


ACCEPT = "-H 'Accept: application/vnd.docker.distribution.manifest.v2+json'"
HEALTH = f"python3 -B /usr/local/lib/buildfleet-registry-cache/health.py {UNIT} /var/lib/buildfleet-registry-cache"


def layer_of(image):
    """The largest layer of an image, and its size."""
    repository, _colon, tag = image.partition(":")
    manifest = json.loads(on(CACHE, f"curl -sfk {ACCEPT} https://127.0.0.1:5000/v2/{repository}/manifests/{tag}").log)
    layer = max(manifest["layers"], key=lambda one: one["size"])
    return f"https://127.0.0.1:5000/v2/{repository}/blobs/{layer['digest']}", layer["digest"].partition(":")[2], layer["size"]


def test_many_hosts_at_once_cost_what_one_costs():
    """docker-registry 2.8 downloads a layer for its storage and once more for the first client. The others get the layer from nginx."""
    url, digest, size = layer_of(IMAGE)
    assert on(CACHE, f"systemctl stop {UNIT} && rm -rf /var/lib/buildfleet-registry-cache/docker && systemctl start {UNIT} && {SERVES}").ok
    before, moment = json.loads(on(CACHE, HEALTH).log), int(time.time())
    pulls = f"seq 60 | xargs -P 60 -I @ curl -sk -o /dev/null -w '%{{http_code}} %{{size_download}}\\n' {url} | sort | uniq -c"
    assert on(CACHE, pulls).log.split() == ["60", "200", str(size)]
    time.sleep(3)  # the registry stores the layer, and the journal gets its lines
    downloads = [line for line in asked_of_the_hub(moment) if f'"GET /docker/registry/v2/blobs/sha256/{digest[:2]}/{digest}/data HTTP' in line]
    assert len(downloads) == 2, downloads
    after = json.loads(on(CACHE, HEALTH).log)
    assert after["layers"] - before["layers"] == 60
    assert after["from_storage"] - before["from_storage"] in (58, 59)  # one can come while the registry writes that it has the layer


def test_what_nginx_keeps_for_a_second_is_what_the_registry_answers():
    """BuildKit takes the size of a manifest from a HEAD. A layer of which the end is missing comes in the part that was asked for."""
    repository, tag = "library/busybox", "1"
    head = f"curl -skI {ACCEPT} https://127.0.0.1:5000/v2/{repository}/manifests/{tag} | grep -Ei '^(HTTP|content-length|content-type|docker-content-digest)'"
    first, second = (on(CACHE, head).log for _time in range(2))
    size = on(CACHE, f"curl -sk {ACCEPT} https://127.0.0.1:5000/v2/{repository}/manifests/{tag} | wc -c").log.strip()
    assert first == second
    assert f"content-length: {size}\n" in first.lower()
    url, _digest, size = layer_of("library/busybox:1")
    for _layer in ("not stored", "kept by nginx"):
        assert on(CACHE, f"curl -sk -H 'Range: bytes=1000-' -o /dev/null -w '%{{http_code}} %{{size_download}}' {url}").log == f"206 {size - 1000}"


@pytest.fixture()
def one_cache():
    """The second cache does not run."""
    assert on(SECOND, f"systemctl stop {UNIT}").ok
    yield
    assert on(SECOND, f"systemctl start {UNIT} && {SERVES}").ok


@pytest.fixture()
def proxy_lost(one_cache):
    """The proxy of the cache's host stops answering, after the cache got the image (a test before this empties its storage)."""
    first, *_others = table.HOSTS
    assert build(first, "pull", "busybox:1").ok
    time.sleep(3)  # the registry can store the end of a layer after a client has it
    rule = f"OUTPUT -d {table.SERVICES['auth-proxy'].address} -j REJECT"
    assert on(CACHE, f"iptables -A {rule}").ok
    yield
    assert on(CACHE, f"iptables -D {rule}").ok


def test_what_the_cache_has_it_hands_out_when_the_proxy_is_down(engine, proxy_lost):
    outcome = engine.build("buildkit")
    assert outcome.ok, outcome.log


@pytest.mark.parametrize("engine", list(table.HOSTS)[:1], indirect=True)
def test_a_cache_that_starts_while_the_proxy_is_down_hands_out_what_it_has(engine, proxy_lost):
    moment = on(CACHE, "date +%s").log.strip()
    assert on(CACHE, f"systemctl restart {UNIT} && {SERVES}").ok
    for builder in ("pull", "buildkit", "legacy"):
        outcome = engine.build(builder)
        assert outcome.ok, outcome.log
    assert "OFFLINE: serving stored images only" in on(CACHE, f"journalctl --unit={UNIT} --since=@{moment} --no-pager").log


def test_and_uses_the_hub_again_by_itself():
    for _rest in range(60):
        if "online: the upstream answers" in on(CACHE, f"journalctl --unit={UNIT} --lines=200 --no-pager").log.rpartition("OFFLINE")[2]:
            break
        time.sleep(1)
    else:
        raise AssertionError("The cache is still offline after a minute.")
    assert on(CACHE, SERVES).ok


@pytest.fixture()
def first_cache_stopped():
    assert on(CACHE, f"systemctl stop {UNIT}").ok
    yield
    assert on(CACHE, f"systemctl start {UNIT} && {SERVES}").ok


@pytest.mark.parametrize("builder", ["pull", "buildkit", "legacy", "compose"])
def test_the_second_cache_serves_within_seconds_when_the_first_does_not_run(engine, first_cache_stopped, builder):
    engine.forget()
    started = time.monotonic()
    outcome = engine.build(builder, clean=False)
    assert outcome.ok, outcome.log
    assert time.monotonic() - started < 15


def test_verify_names_the_cache_that_does_not_run(first_cache_stopped, playbook):
    done = playbook("verify", FLEET, "-e", USE_CACHES)
    assert done.returncode != 0
    assert "The mirror https://cache.lab:5000, which the daemon uses, does not work: cache.lab could not be reached (refused)." in done.stdout
    assert "The mirror https://cache2.lab:5000 works." in done.stdout
    assert "differ from the variables" not in done.stdout


@pytest.mark.parametrize("builder", ["buildkit", "legacy"])
def test_a_cache_that_does_not_run_is_named_and_back_again_all_is_well(engine, one_cache, builder):
    engine.forget()
    assert on(CACHE, f"systemctl stop {UNIT}").ok
    try:
        result = checked(engine, builder=builder)
        assert (result["cause"], result["asked_by"], result["host"]) == ("refused", "daemon", "cache.lab"), result
        assert "cache.lab" in result["msg"]
    finally:
        assert on(CACHE, f"systemctl start {UNIT} && {SERVES}").ok
    assert checked(engine, builder=builder)["ok"]


@pytest.mark.parametrize("engine", list(table.HOSTS)[:1], indirect=True)
def test_a_cache_host_that_is_down_is_named_and_comes_back_by_itself(engine, one_cache, playbook):
    engine.forget()
    run("docker", "stop", "--time=5", CACHE)
    try:
        result = checked(engine, builder="legacy")
        assert on(SECOND, f"systemctl start {UNIT} && {SERVES}").ok
        started = time.monotonic()
        outcome = engine.build("buildkit", clean=False)
        seconds = time.monotonic() - started
        verified = playbook("verify", f"{engine.name},{SECOND},{CACHE}", "-e", USE_CACHES).stdout
    finally:
        run("docker", "start", CACHE)
    assert not result["ok"]
    assert "cache.lab" in result["msg"], result
    assert outcome.ok, outcome.log
    assert seconds < 30
    assert "The mirror https://cache.lab:5000, which the daemon uses, does not work" in verified
    assert "differ from the variables" not in verified
    for _rest in range(60):
        if on(CACHE, "curl -sfk https://127.0.0.1:5000/v2/").ok:
            break
        time.sleep(1)
    assert checked(engine, builder="legacy")["ok"]


def test_only_root_can_read_the_proxys_password():
    assert on(CACHE, "stat -c '%a %U' /etc/buildfleet-registry-cache.env").log == "600 root\n"
    readable = on(CACHE, "setpriv --reuid=nobody --clear-groups grep -rlF 'ss%3Aw' /etc /var/lib 2>/dev/null")
    assert readable.log == ""
    assert "ss%3Aw" not in on(CACHE, "ps -eo args").log
    assert "ss%3Aw" not in on(CACHE, f"journalctl --unit={UNIT} --no-pager").log


PLAIN = """
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/buildfleet-registry-cache}}
proxy: {remoteurl: "https://registry-1.docker.io"}
http: {addr: ":5002"}
"""


@pytest.fixture(scope="module")
def plain_cache():
    """The same cache without TLS."""
    write(CACHE, "/run/plain.yml", PLAIN)
    started = on(
        CACHE,
        "systemd-run --unit=plain --property=EnvironmentFile=/etc/buildfleet-registry-cache.env --property=User=docker-registry "
        "docker-registry serve /run/plain.yml && for n in 1 2 3 4 5; do curl -s http://127.0.0.1:5002/v2/ && exit 0; sleep 1; done",
    )
    assert started.ok, started.log
    yield "http://cache.lab:5002"
    on(CACHE, "systemctl stop plain; rm /run/plain.yml")


@pytest.mark.parametrize(
    ("insecure", "since"),
    [
        pytest.param([], 28, id="not named"),
        pytest.param(["http://cache.lab:5002"], 20, id="URL"),
        pytest.param(["cache.lab:5002"], 26, id="name"),
        pytest.param(["https://cache.lab:5002"], 26, id="URL of another scheme"),
        pytest.param(["10.57.0.0/24"], 28, id="network"),
    ],
)
def test_a_cache_without_tls(engine, plain_cache, insecure, since):
    """docs/which-cure.md: from which engine on BuildKit uses a mirror on plain http; legacy builder and pull always do."""
    engine.host.check_output(f"cp --preserve {DAEMON_JSON} /var/tmp/daemon.json")
    engine.write(DAEMON_JSON, json.dumps({"registry-mirrors": [plain_cache], "insecure-registries": insecure}))
    try:
        assert engine.build("legacy").ok
        outcome = engine.build("buildkit")
        assert outcome.ok == (engine.major >= since), outcome.log
    finally:
        engine.host.check_output(f"mv /var/tmp/daemon.json {DAEMON_JSON}")
        engine.forget()


USER, PASSWORD, HUB_PASSWORD = "fleet", "fleet-pass", "hub-s3cret"
USERS = "/etc/cache.htpasswd"
SECOND_URL = f"https://{SECOND}.lab:5000"


@pytest.mark.parametrize("engine", [SECOND], indirect=True)
def test_an_account_needs_a_login_of_the_caches_users(engine):
    """From here on the second cache has an account at the Hub."""
    engine.write(USERS, "fleet:$2y$05$abcdefghijklmnopqrstuuMuu2DSD5cFCZ/w.sVHydhfYTsc.qiem\n")
    engine.host.check_output(f"chmod 600 {USERS}")
    done = engine.play(Path(__file__).parents[1] / "account.yml")
    assert done.returncode == 0, done.stdout
    assert HUB_PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("login", "status"),
    [("", "401"), (f"-u {USER}:{PASSWORD}", "200"), (f"-u {USER}:wrong", "401"), (f"-u builder:{HUB_PASSWORD}", "401"), ("", "401")],
    ids=["none", "right", "wrong", "the account's", "none, when nginx has answered"],
)
def test_a_cache_with_an_account_serves_nobody_without_its_login(login, status):
    blob = layer_of("library/busybox:1")[0]
    for url in (blob, blob.partition("/blobs/")[0] + "/manifests/1"):
        assert on(SECOND, f"curl -sk {login} {ACCEPT} -o /dev/null -w '%{{http_code}}' {url}").log == status


@pytest.mark.parametrize("login", [True, False], ids=["with the login", "without"])
def test_the_login_of_hosts_toml_is_what_such_a_cache_wants(engine, login):
    """There is no other way to the Hub: BuildKit uses the file, not the other cache in registry-mirrors."""
    if engine.major < 28:
        pytest.skip("only hosts.toml has a login")
    mirror = {"url": SECOND_URL, "username": USER, "password": PASSWORD} if login else {"url": SECOND_URL}
    try:
        done = engine.module("docker_registry_hosts", registries={"docker.io": [mirror]})
        assert done.returncode == 0, done.stdout
        assert PASSWORD not in done.stdout + done.stderr
        outcome = engine.build("buildkit")
        assert outcome.ok == login, outcome.log
        assert PASSWORD not in outcome.log
    finally:
        assert engine.module("docker_registry_hosts", state="absent").returncode == 0
        engine.forget()


@pytest.mark.parametrize("engine", [SECOND], indirect=True)
def test_a_given_certificate_is_used_and_the_images_outlive_their_cache(engine):
    """The last test: the second cache keeps the certificate."""
    stored = "find /var/lib/buildfleet-registry-cache -name data | sort"
    engine.host.check_output(f"rm {USERS}")
    before = engine.host.check_output(stored).splitlines()
    done = engine.play(Path(__file__).parents[1] / "given.yml")
    assert done.returncode == 0, done.stdout
    assert before
    assert set(before) <= set(engine.host.check_output(stored).splitlines())
    assert engine.host.check_output("find /var/lib/buildfleet-registry-cache -not -user docker-registry -not -name .buildfleet-registry-cache") == ""
    assert engine.host.check_output("curl -sf --cacert /lab/ca.crt --resolve cache.lab:5000:127.0.0.1 https://cache.lab:5000/v2/") == "{}"
