# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After `site` with a relay: daemon, client and steps use a proxy with a password, which nobody but the relay has."""

from __future__ import annotations

import json
import re
import subprocess
import time

import pytest
import table
from build import CONTEXT, on, write
from shell import run, text

HOSTS = list(table.RELAY_HOSTS)
each = pytest.mark.parametrize("engine", HOSTS, indirect=True)
RELAY = "http://172.17.0.1:3129"
WISH = {
    "buildfleet_hosts": "relay_servers",
    "buildfleet_batch": "100%",
    "buildfleet_proxy_http": table.AUTH_PROXY,
    "buildfleet_proxy_https": table.AUTH_PROXY,
    "buildfleet_proxy_username": table.USERNAME,
    "buildfleet_proxy_password": table.PASSWORD,
    "buildfleet_no_proxy": ["mirror.lab", table.BEHIND_THE_FIREWALL, *(f"{host}.lab" for host in HOSTS), "localhost"],
    "buildfleet_proxy_relay": True,
    "buildfleet_step_proxy": True,
    "buildfleet_users": ["root", "%docker", "/etc/skel"],
    "buildfleet_check_url": table.WEB,
}
SECRETS = (table.PASSWORD, table.LOGIN.partition(":")[2], "p%40ss")


@each
@pytest.mark.parametrize("builder", ["buildkit", "legacy", "compose"])
def test_a_real_dockerfile_builds_and_its_image_knows_no_proxy(engine, build_as, builder):
    outcome = build_as(engine, builder)
    assert outcome.ok, outcome.log
    shown = on(engine.name, "docker history --no-trunc proof; docker inspect proof; docker save proof | tar -xO | tar -tv 2>/dev/null").log.lower()
    assert "proxy" not in shown
    assert "3129" not in shown


@each
@pytest.mark.parametrize("place", ["files", "processes", "engine"])
def test_nobody_but_the_relay_has_the_password(engine, build_as, place):
    assert build_as(engine, "buildkit").ok
    on(engine.name, "docker rm -f idle; docker run -d --name idle busybox:1 sleep 600")
    script = {
        "files": "grep -rlsF {} /etc /root /home /run /tmp /var/lib/buildfleet /var/lib/docker /var/log /usr/local",
        "processes": "grep -lsaF {} $(ls -d /proc/[0-9]*/environ /proc/[0-9]*/cmdline | grep -v /proc/$$/)",
        "engine": "(docker info; docker inspect $(docker ps -aq) $(docker images -aq); docker exec idle env; systemctl show docker) 2>/dev/null | grep -F {}",
    }[place]
    write(engine.name, "/run/secrets.txt", "\n".join(SECRETS))
    found = on(engine.name, script.format("-f /run/secrets.txt")).log.splitlines()
    on(engine.name, "rm /run/secrets.txt; docker rm -f idle")
    allowed = {"/etc/buildfleet-relay.conf", "/run/secrets.txt"} if place == "files" else set()
    assert set(found) <= allowed
    assert on(engine.name, "stat -c '%a %U' /etc/buildfleet-relay.conf").log == "600 root\n"


def status(host, proxy, url=table.WEB, also=""):
    """What curl on this host is answered through that proxy; 000: nobody listens."""
    return on(host, f"{also} curl -s -o /dev/null -m 10 -w '%{{http_code}}' -x {proxy} {url}").log


@each
def test_another_host_cannot_use_it(engine):
    other = next(host for host in HOSTS if host != engine.name)
    address = engine.host.check_output(f"getent hosts {engine.name}.lab").split()[0]
    assert status(other, f"http://{address}:3129") == "000"
    # Even with a route to the bridge of the first host it is refused, by the relay or, where Docker guards the bridge, without an answer.
    on(other, f"ip address del 172.17.0.1/16 dev docker0; ip route add 172.17.0.1/32 via {address}")
    answer = status(other, RELAY)
    on(other, "ip route del 172.17.0.1/32; ip address add 172.17.0.1/16 brd 172.17.255.255 dev docker0")
    assert answer in ("000", "403")


@each
def test_a_container_of_another_network_is_kept_out_and_the_loopback_of_the_host_too(engine):
    wget = f"env http_proxy={RELAY} wget -qO- http://"
    on(engine.name, "docker network create other; systemd-run --quiet --unit=own-web python3 -m http.server --bind 127.0.0.1 --directory=/etc 8001")
    try:
        assert on(engine.name, f"docker run --rm busybox:1 {wget}web.lab/").log == "reached\n"
        assert "403 Forbidden" in on(engine.name, f"docker run --rm --network other busybox:1 {wget}web.lab/").log
        assert "403 Forbidden" in on(engine.name, f"docker run --rm -e no_proxy=none busybox:1 {wget}localhost:8001/hostname").log
    finally:
        on(engine.name, "docker network rm other; systemctl stop own-web")


def listening(engine):
    return set(re.findall(r"(\S+):3129", engine.host.run("ss -Hltn").stdout))


def wait_until_listening(engine, addresses):
    for _moment in range(60):
        if listening(engine) == addresses:
            return True
        time.sleep(0.5)
    return False


BOTH = {"127.0.0.1", "172.17.0.1"}


@each
def test_it_survives_a_restart_of_docker_and_a_bridge_that_comes_and_goes(engine):
    assert listening(engine) == BOTH
    assert engine.restart()
    assert wait_until_listening(engine, BOTH)
    on(engine.name, "systemctl stop docker.socket docker; ip link del docker0; systemctl restart buildfleet-relay")
    assert wait_until_listening(engine, {"127.0.0.1"})
    assert engine.restart()
    assert wait_until_listening(engine, BOTH)


@each
def test_it_survives_a_boot(engine):
    run("docker", "restart", engine.name)
    assert wait_until_listening(engine, BOTH)
    assert on(engine.name, "for try in $(seq 60); do docker version >/dev/null 2>&1 && exit; sleep 0.5; done; exit 1").ok


@each
def test_a_wrong_password_stops_the_run_and_the_relay_keeps_the_right_one(engine, playbook):
    done = playbook("site", engine.name, f"-e{json.dumps({**WISH, 'buildfleet_proxy_password': 'wrong'})}")
    assert done.returncode != 0
    assert "407 Proxy Authentication Required" in done.stdout
    assert "The relay uses its previous configuration again." in done.stdout
    assert status(engine.name, "http://127.0.0.1:3129") == "200"


@each
@pytest.mark.parametrize("tunnel", ["", "--proxytunnel"])
def test_new_settings_do_not_cut_a_download(engine, internal, tunnel):
    fetch = f"curl -sf {tunnel} --limit-rate 10M -x http://127.0.0.1:3129 -o /tmp/got http://{internal}.lab:8000/usr/sbin/dockerd"
    outcome = on(engine.name, f"{fetch} & sleep 2; systemctl reload buildfleet-relay; sleep 1; kill -0 $! && wait $!")
    size = on(internal, "stat -c %s /usr/sbin/dockerd").log
    assert (outcome.ok, on(engine.name, "stat -c %s /tmp/got; rm /tmp/got").log) == (True, size)


@each
def test_a_socks_proxy_is_refused_before_anything_changes(engine, playbook, state):
    before = state(engine.name)
    done = playbook("site", engine.name, f"-e{json.dumps({**WISH, 'buildfleet_proxy_https': table.SOCKS_PROXY})}")
    assert "the relay (squid) cannot forward to a proxy with the scheme socks5. Set an http:// proxy, or do not use the relay." in done.stdout
    assert state(engine.name) == before


def test_verify_knows_all_three_processes_and_warns_of_nothing(playbook):
    done = playbook("verify", ",".join(HOSTS), f"-e{json.dumps(WISH)}")
    assert done.returncode == 0, done.stdout
    assert all(re.search(rf"^{host} +works +works +works$", done.stdout, re.M) for host in HOSTS), done.stdout
    assert "WARNING" not in done.stdout + done.stderr


def test_verify_sees_another_password(playbook):
    done = playbook("verify", ",".join(HOSTS), f"-e{json.dumps({**WISH, 'buildfleet_proxy_password': 'other'})}")
    assert done.returncode == 2
    assert "The relay's settings differ from the variables: /etc/buildfleet-relay.conf." in done.stdout
    assert table.PASSWORD not in done.stdout


@each
def test_a_builder_builds_through_the_relay_and_has_no_password(engine, playbook):
    if not table.BROUGHT_BUILDKIT:
        pytest.skip("not run: BUILDFLEET_BUILDKIT_IMAGE names no saved image of moby/buildkit")
    if engine.host.run("docker buildx version").rc:
        pytest.skip("it has no buildx")
    with open(table.BROUGHT_BUILDKIT, "rb") as saved:
        loaded = subprocess.run(["docker", "exec", "--interactive", engine.name, "docker", "load"], stdin=saved, capture_output=True, text=True, check=True)
    image = re.search(r"Loaded image: (\S+)", loaded.stdout)[1]
    builder = {"name": "ci", "user": "builder", "image": image, "ca": "/usr/local/share/ca-certificates/lab-ca.crt"}
    wanted = f"-e{json.dumps({**WISH, 'buildfleet_builders': [builder]})}"
    try:
        done = playbook("site", engine.name, wanted)
        assert done.returncode == 0, done.stdout
        write(
            engine.name,
            f"{CONTEXT}/Dockerfile",
            "FROM ghcr.io/lab/tool:1 AS tool\nFROM busybox:1\nCOPY --from=tool /etc/image /tool\nRUN wget -qO- http://web.lab/\n",
        )
        built = on(engine.name, f"su - builder -c 'docker buildx build --builder ci --progress plain {CONTEXT}'")
        assert built.ok, built.log
        shown = on(engine.name, "docker inspect buildx_buildkit_ci0; docker exec buildx_buildkit_ci0 env; cat /home/builder/.docker/buildx/instances/ci").log
        assert f"HTTPS_PROXY={RELAY}" in shown
        assert not [secret for secret in SECRETS if secret in shown]
        verified = playbook("verify", engine.name, wanted)
        assert verified.returncode == 0, verified.stdout
    finally:
        removed = engine.module("docker_builder", state="absent")
        on(engine.name, f"docker rmi {image}; rm -rf /home/builder/.docker/buildx")
    assert removed.returncode == 0, removed.stdout


@each
def test_a_new_user_has_the_proxy_of_steps(engine):
    on(engine.name, "useradd --create-home --groups docker newcomer")
    config = json.loads(engine.host.check_output("cat /home/newcomer/.docker/config.json"))
    owner = engine.host.check_output("stat -c %U /home/newcomer/.docker/config.json")
    on(engine.name, "userdel --remove newcomer")
    assert config["proxies"]["default"]["httpsProxy"] == RELAY
    assert owner == "newcomer"


def test_the_proxy_saw_the_steps_and_not_the_internal_host():
    log = text("sh", "-c", "docker logs buildfleet-auth-proxy 2>&1")
    assert f"GET http://web.lab/ {table.USERNAME}" in log
    assert ":8000/etc/hostname" not in log
