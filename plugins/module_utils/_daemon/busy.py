# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restart would interrupt: containers, builds, pulls, pushes and exports, no matter who requested them."""

from __future__ import annotations

import collections
import ipaddress
import os
import re
import sys
import typing as t
from urllib.parse import urlsplit

from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.daemon import Daemon
from ansible_collections.buildfleet.docker.plugins.module_utils._daemon.observe import started_at
from ansible_collections.buildfleet.docker.plugins.module_utils._host.host import Host

_PROGRAMS = ("docker", "docker-buildx", "docker-compose", "buildctl")
_WORDS = ("build", "bake", "pull", "push", "load", "import", "save", "export", "create", "run", "up", "cp")
_WORKERS = ("runc", "buildkit-runc", "docker-untar", "docker-applyLayer", "docker-tar", "unpigz")
_SWARM_PORTS = {2377, 7946}
# Options of log drivers that name a server to which the daemon stays connected, and the driver's port. awslogs and gcplogs name none.
_LOG_SERVERS = {"fluentd-address": 24224, "gelf-address": 0, "splunk-url": 443, "syslog-address": 514}
_LEFT_AFTER = 600.0  # seconds after which a file that no process has open counts as abandoned
_LONGEST_START = 60.0  # seconds between a request to the socket and the start of the daemon that systemd starts for it
_LISTENING, _CONNECTED_TCP, _CONNECTED_UNIX = "0A", "01", "03"


def busy(host: Host, daemon: Daemon) -> str:
    """What a restart would interrupt now; '' if nothing."""
    return _containers(daemon) or _processes(host, daemon) or _requests(host, daemon)


def _containers(daemon: Daemon) -> str:
    running = _running(daemon)
    if not running or daemon.info.get("LiveRestoreEnabled"):
        return ""
    return f"{running} running container{'s' if running > 1 else ''} would be stopped (live-restore is off)"


def _running(daemon: Daemon) -> int:
    return int(daemon.info.get("ContainersRunning") or 0) + int(daemon.info.get("ContainersPaused") or 0)


def _processes(host: Host, daemon: Daemon) -> str:
    """Clients that build, and workers of the daemon: the engine does not list a step of a BuildKit build as a container."""
    for pid in host.names("/proc"):
        if not pid.isdigit() or int(pid) == os.getpid():
            continue
        argv = host.process(int(pid))
        if not argv:
            continue
        program = argv[0].rpartition("/")[2]
        if program in _WORKERS and host.parent(int(pid)) == daemon.pid:
            return f"the daemon is working ({program}: a build step, a pull or an export)"
        if program.startswith("python") and len(argv) > 1:
            argv = argv[1:]
            program = argv[0].rpartition("/")[2]
        if program in _PROGRAMS and any(word in _WORDS for word in argv[1:]) and not _outlived(host, daemon, int(pid)):
            return f"'{' '.join([program, *[word for word in argv[1:] if word in _WORDS]][:3])}' is running (process {pid})"
    return ""


def _outlived(host: Host, daemon: Daemon, pid: int) -> bool:
    """Whether this client is older than the daemon: buildx may never exit. A client whose request starts the daemon through its socket is younger than that."""
    return 0 < started_at(host, pid) < daemon.started - _LONGEST_START


def _requests(host: Host, daemon: Daemon) -> str:
    """Work requested by a program that we do not know (an SDK, curl, a CI agent): an open request and a trace of its work.

    An open request alone is not enough: monitors listen for events all day.
    """
    if not daemon.pid:
        return ""
    before = _connections(host, daemon)
    if not before.requests:
        return ""
    host.sleep(0.3)  # our own requests, and those of a monitor that polls, have ended by then
    now = _connections(host, daemon)
    if not before.requests & now.requests:
        return ""
    trace = "talks to a registry or a proxy" if now.outgoing and now.outgoing - _log_connections(host) else _trace_on_disk(host, daemon)
    return f"a program uses the daemon's API, and the daemon {trace} (a pull, push, build, load or export)" if trace else ""


def _log_connections(host: Host) -> t.Counter[str]:
    """How many connections to each server carry logs: one for each container. One more is work, such as a pull through the same gateway."""
    servers: t.Counter[t.Tuple[str, int]] = collections.Counter()
    for container in host.engine_api("/containers/json") or []:
        inspected = host.engine_api(f"/containers/{container['Id']}/json") or {"HostConfig": {"LogConfig": {}}}
        log = inspected["HostConfig"]["LogConfig"]
        options = {"fluentd-address": "127.0.0.1", **(log.get("Config") or {})}
        servers.update((options[name], port) for name, port in _LOG_SERVERS.items() if name in options)
    found: t.Counter[str] = collections.Counter()
    for (server, port), number in servers.items():
        found.update(dict.fromkeys(_addresses(host, server, port), number))
    return found


def _addresses(host: Host, server: str, port: int) -> t.Set[str]:
    url = urlsplit(server if "://" in server else f"tcp://{server}")
    if url.scheme == "udp" or not url.hostname:
        return set()
    lines = host.run(["getent", "ahosts", url.hostname]).out.splitlines()
    return {f"{address} {url.port or port}" for address in (url.hostname, *(line.split()[0] for line in lines))}


def _trace_on_disk(host: Host, daemon: Daemon) -> str:
    """Which part of the daemon's folders is in use. Files that a killed build or daemon left are not work, and stay forever."""
    root = str(daemon.info.get("DockerRootDir") or "/var/lib/docker")
    opened = host.links(f"/proc/{daemon.pid}/fd")
    if any(path.startswith(f"{root}/tmp/") for path in opened) or any(_fresh(host, f"{root}/tmp/{name}") for name in host.names(f"{root}/tmp")):
        return f"works in {root}/tmp"
    if any("/layerdb/tmp/" in path for path in opened) or any(_fresh(host, f"{folder}/data") for folder in _ingests(host, root)):
        return "writes a layer"
    return "reads or unpacks a layer" if _works_apart(host, daemon) else ""


def _fresh(host: Host, path: str) -> bool:
    return host.changed_at(path) > host.now() - _LEFT_AFTER


def _ingests(host: Host, root: str) -> t.Iterator[str]:
    """Where containerd's image store writes incomplete content."""
    for store in (f"{root}/containerd/daemon", "/var/lib/containerd"):
        folder = f"{store}/io.containerd.content.v1.content/ingest"
        yield from (f"{folder}/{name}" for name in host.names(folder))


def _works_apart(host: Host, daemon: Daemon) -> bool:
    """Whether a thread of the daemon has mounts of its own (moby pkg/chrootarchive): it copies, exports or unpacks.

    The mounts themselves prove nothing: 26.1 keeps the mount of an export forever, and a killed build leaves its own. 20.10 starts a process instead.
    """
    threads = [f"/proc/{daemon.pid}", *(f"/proc/{daemon.pid}/task/{thread}" for thread in host.names(f"/proc/{daemon.pid}/task"))]
    return len({link for thread in threads for link in host.links(f"{thread}/ns") if link.startswith("mnt:")}) > 1


class _Connections(t.NamedTuple):
    requests: t.FrozenSet[str]  # to the API
    outgoing: t.Counter[str]  # by the server's address


def _connections(host: Host, daemon: Daemon) -> _Connections:
    """The daemon's sockets, by inode."""
    own = {link[len("socket:[") : -1] for link in host.links(f"/proc/{daemon.pid}/fd") if link.startswith("socket:[")}
    # Num RefCount Protocol Flags Type St Inode Path: only accepted sockets have the path
    unix = [row for row in _rows(host, f"/proc/{daemon.pid}/net/unix") if len(row) == 8 and row[5] == _CONNECTED_UNIX and row[6] in own]
    # sl local remote st tx:rx tr:tm retrnsmt uid timeout inode
    tcp = [row for name in ("tcp", "tcp6") for row in _rows(host, f"/proc/{daemon.pid}/net/{name}") if len(row) > 9 and row[9] in own]
    listening = {_port(row[1]) for row in tcp if row[3] == _LISTENING}
    talking = [row for row in tcp if row[3] == _CONNECTED_TCP and not {_port(row[1]), _port(row[2])} & _SWARM_PORTS]
    return _Connections(
        frozenset([row[6] for row in unix] + [row[9] for row in talking if _port(row[1]) in listening]),
        collections.Counter(_address(row[2]) for row in talking if _port(row[1]) not in listening),
    )


def _rows(host: Host, path: str) -> t.List[t.List[str]]:
    file = host.read(path)
    return [line.split() for line in file.contents.decode(errors="replace").splitlines()[1:]] if file else []


def _address(remote: str) -> str:
    words = (int(word, 16).to_bytes(4, sys.byteorder) for word in re.findall("[0-9A-F]{8}", remote.partition(":")[0]))
    return f"{ipaddress.ip_address(b''.join(words))} {_port(remote)}"


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


# --- the play itself ------------------------------------------------------------------------------


def play_inside(host: Host, daemon: Daemon) -> str:
    """The container of this daemon in which this play runs, so that a restart would end the play; '' if there is none."""
    if not _running(daemon) or daemon.info.get("LiveRestoreEnabled"):
        return ""
    traces, client, server = _ancestry(host)
    for container in host.engine_api("/containers/json") or []:
        networks = ((container.get("NetworkSettings") or {}).get("Networks") or {}).values()
        addresses = {one.get(key) for one in networks for key in ("IPAddress", "GlobalIPv6Address")} - {"", None}
        of_the_host = (container.get("HostConfig") or {}).get("NetworkMode") == "host" and client and client == server
        if container["Id"] in traces or client in addresses or of_the_host:
            return str((container.get("Names") or [container["Id"][:12]])[0]).lstrip("/")
    return ""


def _ancestry(host: Host) -> t.Tuple[t.Set[str], str, str]:
    """The containers of this process and its ancestors, and both ends of the SSH connection that started it."""
    traces: t.Set[str] = set()
    client = server = ""
    pid = os.getpid()
    while pid > 0:
        traces.update(re.findall(r"[0-9a-f]{64}", _text(host, pid, "cgroup")))
        # A container's /etc/hostname is a file of the engine, however the control groups are named.
        traces.update(re.findall(r"/([0-9a-f]{64})/hostname /etc/hostname ", _text(host, pid, "mountinfo")))
        found = re.search(r"(?:^|\0)SSH_CONNECTION=(\S+) \d+ (\S+) \d+", _text(host, pid, "environ"))
        if found and not client:
            client, server = found[1], found[2]
        pid = host.parent(pid)
    return traces, client, server


def _text(host: Host, pid: int, name: str) -> str:
    file = host.read(f"/proc/{pid}/{name}")
    return file.contents.decode(errors="replace") if file else ""
