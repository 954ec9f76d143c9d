# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs on a host of the lab: writes a real configuration, runs modules of the collection, and prints what it observed.

It judges nothing. One configuration a line comes in as JSON, one line of observations goes out.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import importlib
import json
import os
import socket
import stat
import subprocess
import sys
import time

TREE = sys.argv[1]
sys.path.insert(0, TREE)

from ansible.module_utils import basic  # noqa: E402

MODULES = {
    name: importlib.import_module(f"ansible_collections.buildfleet.docker.plugins.modules.{name}") for name in ("docker_daemon_proxy", "docker_build_info")
}
SOCKET = "/run/docker.sock"
# Files that a configuration may contain, and files that a run may change.
PLACES = (
    "/etc/docker", "/etc/default", "/etc/sysconfig", "/etc/systemd/system", "/etc/environment", "/etc/buildfleet", "/var/lib/buildfleet", "/opt",
    "/run/systemd/system", "/root/.config", "/usr/lib/systemd/system/docker.service", "/usr/lib/systemd/system/docker.service.d",
)  # fmt: skip
OF_THE_ENGINE = ("/etc/docker/key.json", "/opt/containerd")
# systemd begins to start a unit, or has started it: only the second for a unit of the kind "simple".
STARTS = ("MESSAGE_ID=7d4958e842da4a758f6c1cdc7b36dcc5", "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf")
PATIENCE = 45.0  # seconds for a start
OUTPUT = "/run/wild-output"


def run(*command: str, timeout: float = 60) -> str:
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=timeout).stdout
    except subprocess.TimeoutExpired:
        return ""


def found(path: str) -> list[object] | None:
    try:
        entry = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(entry.st_mode):
        return ["link", os.readlink(path)]
    shape = [stat.S_IMODE(entry.st_mode), entry.st_uid, entry.st_gid]
    if stat.S_ISDIR(entry.st_mode):
        return ["folder", *shape]
    with open(path, "rb") as file:
        return ["file", *shape, hashlib.sha256(file.read()).hexdigest()]


def paths() -> list[str]:
    names = []
    for place in PLACES:
        names.append(place)
        for folder, folders, files in os.walk(place):
            names += [os.path.join(folder, name) for name in [*folders, *files]]
    return names


def files() -> dict[str, object]:
    rows = {path: found(path) for path in paths() if not path.startswith(OF_THE_ENGINE)}
    return {path: row for path, row in rows.items() if row is not None}


class Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


def information(timeout: float = 3) -> dict[str, object]:
    """What the daemon reports; nothing if it does not answer. Requested only while it runs: a request to the socket would start it."""
    if unit()["ActiveState"] != "active":
        return {}
    try:
        connection = Connection("docker", timeout=timeout)
        connection.request("GET", "/info")
        shown = json.loads(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    registries = shown.get("RegistryConfig") or {}
    return {
        "HTTP_PROXY": shown.get("HttpProxy"), "HTTPS_PROXY": shown.get("HttpsProxy"), "NO_PROXY": shown.get("NoProxy"),
        "mirrors": registries.get("Mirrors"), "networks": registries.get("InsecureRegistryCIDRs"), "indexes": registries.get("IndexConfigs"),
    }  # fmt: skip


def unit() -> dict[str, str]:
    names = "LoadState,ActiveState,SubState,Result,MainPID,InvocationID"
    return dict(line.split("=", 1) for line in run("systemctl", "show", "docker.service", "-p", names).splitlines())


class Journal:
    """How often systemd started the daemon since the last call."""

    def __init__(self) -> None:
        self.cursor = ""
        self.seen = {unit()["InvocationID"]}
        self.starts()

    def starts(self) -> int:
        since = [f"--after-cursor={self.cursor}"] if self.cursor else ["--lines=0"]
        run("journalctl", "--sync")
        fields = ("--output=json", "--output-fields=INVOCATION_ID")
        rows = run("journalctl", "--quiet", "--show-cursor", *fields, *since, *STARTS, "UNIT=docker.service", "UNIT=dockerd.service").splitlines()
        self.cursor = next((row.partition("-- cursor: ")[2] for row in rows if row.startswith("-- cursor: ")), self.cursor)
        found = {json.loads(row).get("INVOCATION_ID", "") for row in rows if row.startswith("{")} - self.seen
        self.seen |= found
        return len(found)


class Host:
    def __init__(self) -> None:
        self.first = {path: self.read(path) for path in files()}
        self.folders = [path for path in self.first if os.path.isdir(path) and not os.path.islink(path)]
        self.links = {path: os.readlink(path) for path in self.first if os.path.islink(path)}
        self.journal = Journal()

    @staticmethod
    def read(path: str) -> tuple[int, bytes] | None:
        """Mode and bytes of a file; None if it is not a file."""
        if os.path.islink(path) or not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            return stat.S_IMODE(os.stat(path).st_mode), file.read()

    @staticmethod
    def write(path: str, contents: bytes, mode: int = 0o644) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(contents)
        os.chmod(path, mode)

    def clean(self) -> None:
        """Files as on the first day, the daemon stopped."""
        run("umount", "--quiet", "/etc/docker/daemon.json", "/etc/docker", "/etc/systemd/system/docker.service.d", "/run/docker-config")
        self.stop()
        run("systemctl", "unset-environment", "HTTPS_PROXY", "HTTP_PROXY")
        for path in sorted(files(), key=len, reverse=True):
            if path not in self.first or (os.path.islink(path) and path not in self.links):
                with contextlib.suppress(FileNotFoundError):  # a link named it too
                    os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
        for path in self.folders:
            os.makedirs(path, exist_ok=True)
        for path, kept in self.first.items():
            if kept and self.read(path) != kept:
                self.write(path, kept[1], kept[0])
        for path, target in self.links.items():
            if not os.path.islink(path):
                os.symlink(target, path)
        run("ip", "link", "delete", "docker0")

    @staticmethod
    def stop() -> None:
        for _attempt in range(3):
            run("systemctl", "stop", "docker.socket", "docker.service", timeout=40)  # a socket that is gone from the disk serves nobody
            if unit()["ActiveState"] in ("inactive", "failed"):
                run("sh", "-c", "for pid in $(pidof dockerd); do kill $pid; while [ -e /proc/$pid ]; do sleep 0.1; done; done")  # started by hand
                return
            run("rm", "-rf", "/etc/systemd/system/docker.service.d")  # it may refuse to be stopped
            run("systemctl", "daemon-reload")
        raise RuntimeError(f"the daemon does not stop: {unit()}")

    def configure(self, case: dict) -> None:
        self.clean()
        written = dict(case["files"])
        if case["daemon_json"] is not None:
            written["/etc/docker/daemon.json"] = case["daemon_json"]
        for path, text in written.items():
            self.write(path, text.encode())
        run("sh", "-c", case.get("setup", ""))
        self.start()
        run("sh", "-c", case.get("after", ""), timeout=120)
        self.journal.starts()

    def start(self) -> None:
        run("systemctl", "daemon-reload")
        run("systemctl", "reset-failed", "docker.service", "docker.socket")
        run("systemctl", "start", "docker.socket")
        run("systemctl", "start", "--no-block", "docker.service")
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            # Files that are as old as the daemon's start count as changed since: another second makes them older.
            time.sleep(0.2)
            state = unit()
            if state["ActiveState"] in ("active", "failed") or state["LoadState"] != "loaded":
                break
        self.journal.starts()

    def module(self, name: str, options: dict, check: bool = False) -> dict:
        """A run of a module in a process of its own, with what it was given and what it answered."""
        begun = time.monotonic()
        child = os.fork()
        if not child:
            self.child(name, {**options, "_ansible_check_mode": check})
        until = begun + 150
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if time.monotonic() > until:
                os.kill(child, 9)
            time.sleep(0.01)
        with open(OUTPUT, encoding="utf-8", errors="replace") as file:
            text = file.read()
        try:
            result = json.loads(text)
        except ValueError:
            result = {"failed": True, "msg": f"no result: {text[-2000:]}"}
        for bulky in ("invocation", "diff"):
            result.pop(bulky, None)
        return {"result": result, "seconds": round(time.monotonic() - begun, 2), "after": self.seen()}

    @staticmethod
    def child(name: str, options: dict) -> None:
        os.setsid()
        output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        basic._ANSIBLE_ARGS = json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode()
        basic._ANSIBLE_PROFILE = "legacy"
        code = 0
        try:
            MODULES[name].main()
        except SystemExit:
            pass
        except BaseException as error:
            print(repr(error))
            code = 1
        sys.stdout.flush()
        os._exit(code)

    def seen(self) -> dict:
        state = unit()
        return {"files": files(), "info": information(), "unit": state, "starts": self.journal.starts()}


def findings(row: dict) -> dict:
    """Of docker_build_info only what it found."""
    result = row["result"]
    return {"findings": result.get("findings"), "failed": result.get("failed", False), "msg": result.get("msg", ""), "seconds": row["seconds"]}


def trial(host: Host, options: dict) -> dict:
    """Dry run, run, second run, what docker_build_info says then, undo."""
    steps = {"check": host.module("docker_daemon_proxy", options, check=True)}
    steps["run"] = host.module("docker_daemon_proxy", options)
    if not steps["run"]["result"].get("failed"):
        steps["again"] = host.module("docker_daemon_proxy", options)
        row = host.module("docker_build_info", {})
        steps["info"] = findings(row)
        steps["undo"] = host.module("docker_daemon_proxy", {"state": "absent"})
    return steps


def whole(host: Host, case: dict) -> dict:
    host.configure(case)
    answer = {"name": case["name"], "before": host.seen(), "trials": {}}
    answer["info"] = findings(host.module("docker_build_info", {}))
    for name, options in case["trials"].items():
        if options.get("adopt") and not any("adopt: true" in one["run"]["result"].get("msg", "") for one in answer["trials"].values()):
            continue  # nothing of others stood in the way
        before = host.seen()
        if before["files"] != answer["before"]["files"] or before["info"] != answer["before"]["info"]:
            host.configure(case)
            before = host.seen()
        answer["trials"][name] = {"before": before, **trial(host, options)}
    return answer


def main() -> None:
    if not os.path.exists("/usr/bin/dockerd"):
        os.symlink("/usr/sbin/dockerd", "/usr/bin/dockerd")  # where Docker's own packages have it, and so the units of the field
    if os.path.exists("/var/lib/buildfleet"):
        sys.exit("The record of another run is on this host. Reset the host first (lab.py reset NAME).")
    host = Host()
    for line in sys.stdin:
        try:
            answer = whole(host, json.loads(line))
        except Exception as error:  # said, and the next configuration is tried
            answer = {"name": json.loads(line)["name"], "error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    host.clean()
    host.start()


main()
