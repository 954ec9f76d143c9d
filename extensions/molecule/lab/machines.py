# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containers of the lab: services of the outside world, and hosts that build."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Callable, Iterable

import images
import wall
from pki import PKI
from shell import HERE, STATE, run, text
from table import (
    BEHIND_THE_FIREWALL,
    BROUGHT_ENGINE,
    DROPPED,
    GATEWAY,
    GHCR_IMAGES,
    HARBOR_IMAGES,
    IMAGES,
    MIRROR,
    NAME_SERVER,
    NETWORK,
    PASSWORD,
    QUAY_IMAGES,
    SERVICES,
    SILENT_NAME,
    SUBNET,
    USERNAME,
)

LABEL = "buildfleet-lab"
BROUGHT = "brought"  # the suite of a host with the programs of BUILDFLEET_ENGINE
INSIDE = HERE / "inside"
LAB = STATE / "lab"  # mounted on hosts as /lab
WATCHES = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHES_BEFORE = STATE / "max_user_instances"
FOR_HOSTS = ("ca.crt", "intercept-ca.crt", "cache.crt", "cache.key")

# In the kernel's order, as far as every engine since 20.10 supports them.
CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST "
    "NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE "
    "SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM "
    "BLOCK_SUSPEND AUDIT_READ"
)

TINYPROXY = "Port 8888\nLogLevel Connect\nMaxClients 200\nTimeout 120\nConnectPort 443\nDisableViaHeader Yes\n"

# The only hash that docker-registry reads.
BCRYPT = f"import crypt; print('{USERNAME}:' + crypt.crypt('{PASSWORD}', crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=32)))"


def upstream(name: str, wanted: Iterable[str]) -> str:
    """A registry with these images, which asks for no token."""
    return f"python3 /inside/seed_hub.py /registry {' '.join(wanted)} && export {certificate(name)} && exec docker-registry serve /inside/registry.yml"


def pull_through(name: str, url: str) -> str:
    return f"export REGISTRY_PROXY_REMOTEURL={url} {certificate(name)}; until docker-registry serve /inside/mirror.yml; do sleep 0.2; done"


def certificate(name: str) -> str:
    return f"REGISTRY_HTTP_TLS_CERTIFICATE=/pki/{name}.crt REGISTRY_HTTP_TLS_KEY=/pki/{name}.key"


COMMANDS = {
    "names": f"exec python3 /inside/name_server.py /lab/names {SILENT_NAME}",
    "token": "exec python3 /inside/token_server.py /pki",
    "cdn": "exec nginx -c /inside/cdn.conf",
    "hub": f"python3 /inside/seed_hub.py /hub {' '.join(IMAGES)} && exec docker-registry serve /inside/hub.yml",
    "web": "mkdir /web && echo reached > /web/index.html && exec busybox httpd -f -vv -p 80 -h /web",
    "ghcr": upstream("ghcr", GHCR_IMAGES),
    "quay": upstream("quay", QUAY_IMAGES),
    "ghcr-mirror": pull_through("ghcr-mirror", "https://ghcr.io"),
    "quay-mirror": pull_through("quay-mirror", "https://quay.io"),
    "harbor": (
        f'python3 -W ignore -c "{BCRYPT}" > /run/passwords && '
        "export REGISTRY_AUTH_HTPASSWD_REALM=harbor REGISTRY_AUTH_HTPASSWD_PATH=/run/passwords && " + upstream("harbor", HARBOR_IMAGES)
    ),
    "mirror": "until docker-registry serve /inside/mirror.yml; do sleep 0.2; done",  # it needs an answer of the Hub when it starts
    "candidates": (f"ip address add {DROPPED[0]}/24 dev eth0 && iptables -A INPUT -d {DROPPED[0]} -j DROP && exec python3 /inside/candidates.py /pki {MIRROR}"),
    "relay": "exec nginx -c /inside/relay.conf",
    "proxy": f"printf '{TINYPROXY}' > /run/proxy.conf && exec tinyproxy -d -c /run/proxy.conf",
    "client-proxy": f"printf '{TINYPROXY}' > /run/proxy.conf && exec tinyproxy -d -c /run/proxy.conf",
    "auth-proxy": (
        f"echo '{USERNAME}':$(openssl passwd -apr1 '{PASSWORD}') > /run/passwords && "
        # A shell of squid's own user makes the pipe that squid opens as /dev/stdout.
        "exec setpriv --reuid=proxy --regid=proxy --clear-groups sh -c 'squid -N -f /inside/auth-proxy.conf 2>&1 | cat'"
    ),
    "intercept": (
        "cat /pki/intercept-ca.crt /pki/intercept-ca.key > /run/intercept.pem && "
        "/usr/lib/squid/security_file_certgen -c -s /run/certificates -M 4MB && chown -R proxy /run/certificates /run/intercept.pem && "
        "exec setpriv --reuid=proxy --regid=proxy --clear-groups sh -c 'squid -N -f /inside/intercept.conf 2>&1 | cat'"
    ),
    "socks": "exec microsocks -p 1080",
    "auth-socks": f"exec microsocks -p 1080 -u '{USERNAME}' -P '{PASSWORD}'",
}


def command(name: str) -> str:
    return f"{wall.first(name)} && {{ {COMMANDS[name]}; }}" if SERVICES[name].wall else COMMANDS[name]


def exists(kind: str, name: str) -> bool:
    return bool(text("docker", kind, "inspect", "--format", "{{.ID}}" if kind == "container" else "{{.Id}}", name).strip())


def container(service: str) -> str:
    return f"buildfleet-{service}"


def network() -> None:
    """An internal network: the engine gives it no route out, so the lab is closed before anything in it starts."""
    if not exists("network", NETWORK):
        run(
            "docker", "network", "create", "--internal", f"--subnet={SUBNET}", f"--gateway={GATEWAY}", f"--ip-range={BEHIND_THE_FIREWALL}",
            f"--label={LABEL}", NETWORK,
        )  # fmt: skip


def start_service(name: str) -> None:
    service = SERVICES[name]
    if running(container(name)):
        return
    remove(container(name))
    run(
        "docker",
        "run",
        "--detach",
        f"--name={container(name)}",
        f"--hostname={name}",
        f"--label={LABEL}",
        f"--network={NETWORK}",
        f"--ip={service.address}",
        "--cap-add=NET_ADMIN",
        "--env=SSL_CERT_FILE=/pki/ca.crt",
        f"--volume={INSIDE}:/inside:ro",
        f"--volume={PKI}:/pki:ro",
        f"--volume={LAB}:/lab:ro",
        f"--volume={STATE / 'hub'}:/hub",
        f"--volume={LAB / 'resolv.conf'}:/etc/resolv.conf:ro",
        images.tag("services"),
        "sh",
        "-c",
        command(name),
    )  # Every capability of this machine: --privileged fails if its own bounding set is not full.


def start_services() -> None:
    LAB.mkdir(parents=True, exist_ok=True)
    (STATE / "hub").mkdir(exist_ok=True)
    put(LAB / "resolv.conf", f"nameserver {NAME_SERVER}\noptions timeout:2 attempts:1\n".encode())
    for name in FOR_HOSTS:
        put(LAB / name, (PKI / name).read_bytes())
    write_names()
    with ThreadPoolExecutor() as pool:
        list(pool.map(start_service, SERVICES))


def running(name: str) -> bool:
    return text("docker", "container", "inspect", "--format", "{{.State.Running}}", name).strip() == "true"


def capabilities() -> list[str]:
    """Every capability of this machine: --privileged fails if its own bounding set is not full."""
    status = Path("/proc/self/status").read_text().split()
    bounding_set = int(status[status.index("CapBnd:") + 1], 16)
    return [f"--cap-add={name}" for bit, name in enumerate(CAPABILITIES.split()) if bounding_set >> bit & 1]


def image(suite: str) -> str:
    """Of `forky+containerd` the image forky, and of a brought engine the image with the newest systemd and CLI plugins."""
    return {BROUGHT: "forky"}.get(suite.partition("+")[0], suite.partition("+")[0])


def variant(suite: str) -> tuple[list[str], list[str]]:
    """The volumes and the first process of a host."""
    name, _plus, store = suite.partition("+")
    if name == BROUGHT and not (Path(BROUGHT_ENGINE) / "dockerd").is_file():
        raise SystemExit(f"lab: BUILDFLEET_ENGINE={BROUGHT_ENGINE or '(not set)'} is no folder with dockerd and the other programs of an engine.")
    if suite == image(suite):
        return [], ["/sbin/host-init"]
    programs = [f"--volume={Path(BROUGHT_ENGINE).resolve()}:/brought:ro"] if name == BROUGHT else []
    return [f"--volume={INSIDE / 'host-variant'}:/sbin/host-variant:ro", *programs], ["/sbin/host-variant", store]


def start_host(name: str, suite: str) -> None:
    if running(name):
        return
    volumes, first_process = variant(suite)
    remove(name)
    run(
        "docker", "run", "--detach", f"--name={name}", f"--hostname={name}", f"--label={LABEL}", f"--label={LABEL}.suite={suite}",
        f"--network={NETWORK}", *capabilities(), "--security-opt=seccomp=unconfined", "--security-opt=apparmor=unconfined",
        "--cgroupns=private", "--tmpfs=/run", "--tmpfs=/tmp:exec", "--volume=/var/lib/docker", "--volume=/var/lib/containerd",
        f"--volume={LAB}:/lab:ro", *volumes, "--stop-signal=SIGRTMIN+3", images.tag(image(suite)), *first_process,
    )  # fmt: skip


def room_for(count: int) -> None:
    """systemd and dockerd of one host take eight inotify instances; a host that gets none ends with status 255."""
    wanted = 40 + 10 * count
    if int(WATCHES.read_text()) < wanted:
        if not WATCHES_BEFORE.exists():
            WATCHES_BEFORE.write_text(WATCHES.read_text())
        WATCHES.write_text(str(wanted))


def give_back_the_room() -> None:
    if WATCHES_BEFORE.exists():
        WATCHES.write_text(WATCHES_BEFORE.read_text())
        WATCHES_BEFORE.unlink()


def start_hosts(wanted: dict[str, str]) -> None:
    room_for(len({*hosts(), *wanted}))
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(start_host, wanted, wanted.values()))
    write_names()


def hosts() -> dict[str, str]:
    """The hosts that exist, and the suite of each."""
    rows = text("docker", "ps", "--all", f"--filter=label={LABEL}.suite", "--format", f'{{{{.Names}}}} {{{{.Label "{LABEL}.suite"}}}}')
    return dict(sorted(row.split() for row in rows.splitlines()))


def write_names() -> None:
    rows = [f"{service.address} {' '.join(service.names)}" for service in SERVICES.values() if service.names]
    rows.append(" ".join(DROPPED))
    attached = json.loads(text("docker", "network", "inspect", NETWORK) or "[{}]")[0].get("Containers", {}).values()
    for end in attached:
        if not end["Name"].startswith(container("")):
            rows.append(f"{end['IPv4Address'].split('/')[0]} {end['Name']}.lab {end['Name']}")
    put(LAB / "names", ("\n".join(sorted(rows)) + "\n").encode())


def put(path: Path, contents: bytes) -> None:
    """The whole file at once, and only if it differs: other hosts and the name server read it meanwhile."""
    if not path.exists() or path.read_bytes() != contents:
        new = path.with_name(f"{path.name}.new")
        new.write_bytes(contents)
        new.replace(path)


def remove(*names: str) -> None:
    if names:
        text("docker", "rm", "--force", "--volumes", *names)


def remove_all() -> bool:
    """Whether nothing of the lab remains."""
    remove(*text("docker", "ps", "--all", "--quiet", f"--filter=label={LABEL}").split())
    text("docker", "network", "rm", NETWORK)
    return not exists("network", NETWORK)


def address(host: str) -> str:
    return text("docker", "container", "inspect", "--format", f'{{{{(index .NetworkSettings.Networks "{NETWORK}").IPAddress}}}}', host).strip()


def at_the_firewall(script: Callable[[str], str]) -> None:
    walled = [name for name, service in SERVICES.items() if service.wall]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: run("docker", "exec", container(name), "sh", "-c", script(name)), walled))


def raise_wall(mode: str, hosts: Iterable[str] = ()) -> None:
    if not hosts:
        at_the_firewall(partial(wall.for_everyone, mode))
    for source in map(address, hosts):
        at_the_firewall(partial(wall.for_one, mode, source))


def remove_host(name: str) -> None:
    source = address(name)
    if source:
        at_the_firewall(lambda _machine: wall.forget(source))
    remove(name)
