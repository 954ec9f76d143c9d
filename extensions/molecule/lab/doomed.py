# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of a module in a host of the lab that can be traced and killed at a chosen system call, and runs of a role that can be killed in a task.

The module runs as Ansible runs it, without the connection. It stops itself just before its work; strace of this machine,
which sees the processes of its containers, then takes hold of it. The role runs as a user runs it, by ansible-playbook.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any, Iterator, Mapping, NamedTuple

TOP = Path(__file__).resolve().parents[3]
TREE = "/opt/buildfleet-doomed"
# At how many points runs are killed. `make faults` takes all, `make test` a twentieth; BUILDFLEET_FAULT_PART=2/4 takes the second quarter of them.
ALL_POINTS = 200
POINTS = int(os.environ.get("BUILDFLEET_FAULT_POINTS", ALL_POINTS // 20))
PART, PARTS = map(int, os.environ.get("BUILDFLEET_FAULT_PART", "1/1").split("/"))
SEED = 7
MARK = "BUILDFLEET_DOOMED"
# System calls that change the disk, start a program or communicate with one.
CALLS = (
    "openat,write,fsync,fchmod,fchown,?chmod,?rename,renameat,renameat2,?unlink,unlinkat,?rmdir,?mkdir,mkdirat,"
    "?vfork,clone,clone3,wait4,?poll,ppoll,connect,sendto,recvfrom,flock"
)
START = f"""
import importlib, json, os, signal, sys
sys.path.insert(0, {TREE!r})
from ansible.module_utils import basic
basic._ANSIBLE_ARGS = sys.stdin.buffer.readline()
basic._ANSIBLE_PROFILE = "legacy"
module = importlib.import_module("ansible_collections.buildfleet.docker.plugins.modules." + sys.argv[1])
os.kill(os.getpid(), signal.SIGSTOP)
module.main()
"""


class Call(NamedTuple):
    name: str
    number: int  # the number of the call with this name
    line: str


class Ended(NamedTuple):
    code: int
    result: dict[str, Any]
    out: str


def inside(host: str, *command: str, check: bool = True) -> str:
    done = subprocess.run(["docker", "exec", host, *command], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shell(host: str, script: str, check: bool = True) -> str:
    return inside(host, "sh", "-c", script, check=check)


def of_this_part(rounds: int) -> range:
    return range((PART - 1) * rounds // PARTS, PART * rounds // PARTS)


def processes() -> set[str]:
    """Of this machine, those of its containers among them. Reading about hundreds of them takes long: start from those that are new."""
    return set(filter(str.isdigit, os.listdir("/proc")))


def install(host: str) -> None:
    """What Ansible would send: its own module_utils, and the collection."""
    spec = importlib.util.find_spec("ansible")
    assert spec and spec.origin
    ansible = Path(spec.origin).parent
    heap = io.BytesIO()
    with tarfile.open(fileobj=heap, mode="w") as tar:
        for source, name in (
            (ansible / "module_utils", "ansible/module_utils"),
            (TOP / "plugins/module_utils", "ansible_collections/buildfleet/docker/plugins/module_utils"),
            (TOP / "plugins/modules", "ansible_collections/buildfleet/docker/plugins/modules"),
        ):
            tar.add(source, name, filter=lambda entry: None if "__pycache__" in entry.name else entry)
        for name, text in (("start.py", START), ("ansible/__init__.py", "")):
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    shell(host, f"rm -rf {TREE} && mkdir -p {TREE}")
    subprocess.run(["docker", "exec", "-i", host, "tar", "-x", "--no-same-owner", "-C", TREE], input=heap.getvalue(), check=True)


class Run:
    """One run of a module, which waits for `go`."""

    def __init__(self, host: str, module: str, options: dict[str, Any]) -> None:
        mark = uuid.uuid4().hex
        older = processes()
        self._client = subprocess.Popen(
            ["docker", "exec", "-i", "-e", f"{MARK}={mark}", host, "/usr/bin/python3", "-B", f"{TREE}/start.py", module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._client.stdin
        self._client.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": options}).encode() + b"\n")
        self._client.stdin.flush()
        self.pid = self._found(mark, older)

    def _found(self, mark: str, older: set[str]) -> int:
        """The process as this machine sees it, after it has stopped itself."""
        wanted = f"{MARK}={mark}".encode()
        for _rest in range(1200):
            for entry in processes() - older:
                with contextlib.suppress(OSError):
                    # for a moment runc itself has the variable, under another name
                    is_it = wanted in Path(f"/proc/{entry}/environ").read_bytes() and b"start.py" in Path(f"/proc/{entry}/cmdline").read_bytes()
                    if is_it and self._state(int(entry)) == "T":
                        return int(entry)
            if self._client.poll() is not None:
                raise AssertionError(self._client.communicate())
            time.sleep(0.05)
        raise AssertionError("the module did not come to its start")

    @staticmethod
    def _state(pid: int) -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

    def stopped(self) -> bool:
        return self._state(self.pid) in "Tt"

    def go(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def send(self, number: int, everyone: bool = False) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number) if everyone else os.kill(self.pid, number)

    def leave(self) -> None:
        """Close the connection: nothing reads the module's output any more."""
        self._client.kill()
        self._client.wait()

    def alive(self) -> bool:
        return Path(f"/proc/{self.pid}").exists()

    def wait(self, timeout: float = 120) -> Ended:
        out, err = self._client.communicate(timeout=timeout)
        text = out.decode(errors="replace") + err.decode(errors="replace")
        with contextlib.suppress(ValueError):
            return Ended(self._client.returncode, json.loads(out), text)
        return Ended(self._client.returncode, {}, text)

    @contextlib.contextmanager
    def traced(self, log: str, *how: str) -> Iterator[None]:
        """strace stops the module while the block runs."""
        tracer = subprocess.Popen(
            ["strace", "-p", str(self.pid), "-s", "200", "-y", "-o", log, "-e", f"trace={CALLS}", *how],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        for _rest in range(400):
            if "TracerPid:\t0" not in Path(f"/proc/{self.pid}/status").read_text():
                break
            if tracer.poll() is not None:
                raise AssertionError(tracer.communicate())
            time.sleep(0.02)
        yield
        tracer.communicate(timeout=120)


def run(host: str, module: str, options: dict[str, Any], timeout: float = 120) -> Ended:
    started = Run(host, module, options)
    started.go()
    return started.wait(timeout)


def calls(lines: str) -> list[Call]:
    """The traced calls in their order, in the form that `killed` needs."""
    found, seen = [], Counter[str]()
    for line in lines.splitlines():
        matched = re.match(r"(?:\d+ +)?([a-z0-9_]+)\(", line)
        if matched:
            seen[matched[1]] += 1
            found.append(Call(matched[1], seen[matched[1]], line))
    return found


def trace(host: str, module: str, options: dict[str, Any]) -> tuple[Ended, list[Call], float]:
    """Run the module and record its system calls and its duration."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "trace"
        started = Run(host, module, options)
        with started.traced(str(log)):
            begun = time.monotonic()
            started.go()
            ended = started.wait()
            seconds = time.monotonic() - begun
        return ended, calls(log.read_text(errors="replace")), seconds


def killed(host: str, module: str, options: dict[str, Any], call: Call) -> Ended:
    """Kill the run at this call, before the kernel executes it."""
    started = Run(host, module, options)
    with started.traced("/dev/null", "-e", f"inject={call.name}:signal=SIGKILL:when={call.number}"):
        started.go()
        return started.wait()


class Point(NamedTuple):
    task: int
    name: str
    seconds: float  # after the start of the task
    changes: bool


class Play:
    """One run of a role on a host. Every process that it starts, here and there, has its mark in its environment; those of systemd have not."""

    def __init__(self, host: str, role: str, options: Mapping[str, Any], folder: Path, environment: Mapping[str, str]) -> None:
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        name, _equals, value = self._mark.partition("=")
        variables = {"ansible_connection": "community.docker.docker", "ansible_python_interpreter": "/usr/bin/python3"}
        (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": {host: variables}}}))
        tasks = [{"name": "Run the role", "ansible.builtin.include_role": {"name": f"buildfleet.docker.{role}"}, "vars": options}]
        (folder / "play.json").write_text(json.dumps([{"hosts": host, "gather_facts": False, "environment": {name: value}, "tasks": tasks}]))
        self.output = ""
        self.tasks: list[tuple[str, float]] = []  # and when each began
        self._changing: set[int] = set()
        self._older = processes()
        self._process = subprocess.Popen(
            ["ansible-playbook", f"--inventory={folder / 'inventory.json'}", str(folder / "play.json")],
            env={**environment, "ANSIBLE_PIPELINING": "true", name: value},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def _until(self, task: int) -> None:
        """Read the output until this task begins, or until the end."""
        assert self._process.stdout
        while len(self.tasks) <= task:
            line = self._process.stdout.readline()
            if not line:
                break
            self.output += line
            if line.startswith(("TASK [", "RUNNING HANDLER [")):
                self.tasks.append((line.partition("[")[2].partition("]")[0], time.monotonic()))
            elif line.startswith("changed: "):
                self._changing.add(len(self.tasks) - 1)

    def wait(self) -> int:
        self._until(sys.maxsize)
        return self._process.wait()

    def points(self) -> list[Point]:
        """For each task of this run, which has ended: where another run can be killed, with the length of the task."""
        ends = [begun for _name, begun in self.tasks[1:]] + [time.monotonic()]
        return [Point(number, name, end - begun, number in self._changing) for number, ((name, begun), end) in enumerate(zip(self.tasks, ends))]

    def kill(self, at: Point, everyone: bool) -> None:
        """SIGKILL for the controller, or for everything that runs for it on the host too; returns when nothing of it is left."""
        self._until(at.task)
        time.sleep(at.seconds)
        until = time.monotonic() + 120
        while True:
            here, there = self._processes()
            if not here and not there:
                break
            assert time.monotonic() < until, there
            for pid in here + (there if everyone else []):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.poll()
            time.sleep(0.01 if everyone else 0.2)
        self._process.wait()

    def _processes(self) -> tuple[list[int], list[int]]:
        """Of this machine, and of the host."""
        here: list[int] = []
        there: list[int] = []
        own = os.readlink("/proc/self/ns/pid")
        for entry in processes() - self._older:
            with contextlib.suppress(OSError):
                if self._mark.encode() in Path(f"/proc/{entry}/environ").read_bytes():
                    (here if os.readlink(f"/proc/{entry}/ns/pid") == own else there).append(int(entry))
        return here, there
