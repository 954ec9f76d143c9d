# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run one registry as a cache: with its upstream while that answers, else with what is stored, and below a size.

The registry (2.8) ends when its upstream does not answer at the start, and waits for it for each tag while it runs. So a second process of
it with nothing stored (probe.yml) finds out whether the upstream answers, and the cache is served with online.yml or offline.yml.

The registry downloads a layer for each client that asks before it is stored. With a front (front.conf) nginx has the port, and the registry a
socket: the first client fetches, and the others wait for the same layer.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
import typing as t
from pathlib import Path

import storage

LISTENING = b"listening on"
TICK = 0.5
PROBE_SECONDS = 10.0
STOP_SECONDS = 10.0
FAILURES = 2  # probes in a row before a running cache stops asking its upstream


def log(message: str) -> None:
    print(f"buildfleet: {message}", flush=True)


class Probe:
    """A registry that is started to see whether its upstream answers. It runs beside everything else."""

    def __init__(self, command: t.List[str], timeout: float = PROBE_SECONDS, clock: t.Callable[[], float] = time.monotonic) -> None:
        self.output = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT)
        self.clock = clock
        self.timeout = timeout
        self.deadline = clock() + timeout
        self.reason = ""

    def result(self) -> t.Optional[bool]:
        """Whether the upstream answers; None as long as that is not known."""
        ended = self.process.poll() is not None
        self.output.seek(0)
        lines = self.output.read()
        if LISTENING in lines and not ended:
            return self._close(True)
        if ended:
            self.reason = masked(message_of(lines)) or f"the registry ended with {self.process.returncode}"
            return self._close(False)
        if self.clock() >= self.deadline:
            self.reason = f"no answer within {self.timeout:g} seconds"
            return self._close(False)
        return None

    def _close(self, answers: bool) -> bool:
        self.process.kill()
        self.process.wait()
        self.output.close()
        return answers


def message_of(output: bytes) -> str:
    """The message of the last line that a registry wrote before it ended."""
    lines = output.decode(errors="replace").strip().splitlines()
    errors = [line for line in lines if "level=fatal" in line or line.startswith("panic:")] or lines
    return re.sub(r'^.*?(?:msg="(.*)"|panic: (.*))$', lambda found: found.group(1) or found.group(2), errors[-1]).replace('\\"', '"') if errors else ""


def masked(text: str) -> str:
    return re.sub(r"://[^/\s]*@", "://xxxxx:xxxxx@", text)


class Front:
    """nginx in front of the registry, which it finds through a symbolic link to the socket of online.yml or offline.yml (KIND.sock)."""

    def __init__(self, program: str, configuration: Path, sockets: Path, kept: Path) -> None:
        self.command = [program, "-c", str(configuration)]
        self.sockets = sockets
        self.kept = kept
        self.process: t.Optional[subprocess.Popen[bytes]] = None
        kept.mkdir(parents=True)

    def step(self, kind: str) -> bool:
        """Whether requests go to the registry of this kind, which is so as soon as it listens."""
        if self.process and self.process.poll() is not None:
            log(f"nginx ended with {self.process.returncode} and is started again")
            self.process = None
        if not listens(self.sockets / f"{kind}.sock"):
            return False
        link, new = self.sockets / "registry.sock", self.sockets / "new.sock"
        if not link.is_symlink() or os.readlink(link) != f"{kind}.sock":
            new.symlink_to(f"{kind}.sock")
            new.rename(link)
        if self.process is None:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, env={})  # ours has passwords
            threading.Thread(target=_copy, args=(self.process.stdout,), daemon=True).start()
        return True

    def size(self) -> int:
        """Bytes of the layers that it keeps for the clients that wait."""
        return sum(storage.size_of(Path(folder, file)) or 0 for folder, _folders, files in os.walk(self.kept) for file in files)

    def keep_below(self, limit: int) -> None:
        """At the limit nginx passes new layers on without keeping them (front.conf), until it has removed old ones."""
        full = self.kept / "full"
        if self.size() >= limit:
            full.touch()
        elif full.exists():
            full.unlink()


def listens(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TICK)
        try:
            connection.connect(str(address))
        except OSError:
            return False
    return True


def _copy(lines: t.IO[bytes]) -> None:
    """nginx cannot open the stdout that systemd gives a service, so it gets a pipe."""
    for line in lines:
        sys.stdout.buffer.write(line)
        sys.stdout.buffer.flush()


class Server:
    """Starts, exchanges and stops the registry. `step` does what is due and never blocks for long."""

    def __init__(self, program: str, folder: Path, interval: float, front: t.Optional[Front] = None, clock: t.Callable[[], float] = time.monotonic) -> None:
        self.program = program
        self.folder = folder
        self.interval = interval
        self.front = front
        self.clock = clock
        self.online: t.Optional[bool] = None  # None: not known yet
        self.registry: t.Optional[subprocess.Popen[bytes]] = None
        self.retiring: t.List[subprocess.Popen[bytes]] = []
        self.draining: t.List[subprocess.Popen[bytes]] = []
        self.probe: t.Optional[Probe] = self._probe()
        self.next_probe = 0.0
        self.failures = 0

    def command(self, kind: str) -> t.List[str]:
        return [self.program, "serve", str(self.folder / f"{kind}.yml")]

    def _probe(self) -> Probe:
        return Probe(self.command("probe"), clock=self.clock)

    def step(self) -> None:
        self.draining = [process for process in self.draining if process.poll() is None]
        if self.probe is None and self.clock() >= self.next_probe:
            self.probe = self._probe()
        answers = self.probe.result() if self.probe else None
        if self.probe and answers is not None:
            self._decide(answers, self.probe.reason)
            self.probe, self.next_probe = None, self.clock() + self.interval
        if self.registry and self.registry.poll() is not None:
            self._restart()
        if self.front and self.registry and self.front.step(self.kind):
            self._retire()

    def _decide(self, answers: bool, reason: str) -> None:
        self.failures = 0 if answers else self.failures + 1
        if self.online is None or (answers and not self.online) or (self.online and self.failures >= FAILURES):
            log("online: the upstream answers" if answers else f"OFFLINE: serving stored images only, the upstream does not answer ({reason})")
            self._serve(answers)

    def _serve(self, online: bool) -> None:
        """The old process stops listening at once and finishes its downloads (draintimeout); the new one may have to wait for the port.

        Behind a front both have a socket, and the old one goes on until the new one listens. If the upstream changes before that, the old one is
        the right one again: a second process would lose its socket when the old one ends, which then removes the file of that name.
        """
        former = [process for process in self.retiring if process.poll() is None]
        self.retiring = [self.registry] if self.registry else []
        if not self.front:
            self._retire()
        self.online = online
        self.registry = former[0] if former else subprocess.Popen(self.command(self.kind), stdin=subprocess.DEVNULL)

    def _retire(self) -> None:
        for process in self.retiring:
            process.terminate()
        self.draining += self.retiring
        self.retiring = []

    @property
    def kind(self) -> str:
        return "online" if self.online else "offline"

    def _restart(self) -> None:
        assert self.registry
        if not self.draining:
            log(f"the registry ended with {self.registry.returncode} and is started again")
        self.registry = subprocess.Popen(self.command(self.kind), stdin=subprocess.DEVNULL)
        self.next_probe = self.clock()

    def stop(self) -> None:
        deadline = time.monotonic() + STOP_SECONDS
        if self.front and self.front.process:
            self.front.process.send_signal(signal.SIGQUIT)  # no new request, and an end after the running ones, which need the registry
            _end([self.front.process], deadline)
        running = [*self.retiring, *self.draining, *([self.registry] if self.registry else []), *([self.probe.process] if self.probe else [])]
        for process in running:
            process.terminate()
        _end(running, deadline)


def _end(running: t.List[subprocess.Popen[bytes]], deadline: float) -> None:
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()


def size(text: str) -> int:
    found = re.fullmatch(r"(\d+)([KMGT]?)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is not a size such as 50G; write a number, followed by K, M, G or T")
    return int(found.group(1)) << {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}[found.group(2)]


def main(arguments: t.Optional[t.List[str]] = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="folder with online.yml, offline.yml and probe.yml")
    parser.add_argument("storage", help="rootdirectory of the registry")
    parser.add_argument("--program", default="docker-registry")
    parser.add_argument("--max-size", type=size, default=0, help="remove what was not used longest before the images exceed this (0: no limit)")
    parser.add_argument("--front", default="", help="nginx, to have it in front of the registry with front.conf")
    parser.add_argument("--sockets", type=Path, help="folder with the sockets of the registry behind the front")
    parser.add_argument("--interval", type=float, default=30.0, help="seconds between questions whether the upstream answers")
    options = parser.parse_args(arguments)
    os.environ.setdefault("OTEL_TRACES_EXPORTER", "none")  # version 3 of the registry else sends traces to port 4318 of this host, and logs that nobody listens
    stored = storage.Storage(options.storage, log)
    stored.repair()
    kept_by_front = Path(options.storage, "front")
    shutil.rmtree(kept_by_front, ignore_errors=True)
    front = Front(options.front, options.folder / "front.conf", options.sockets, kept_by_front) if options.front else None
    server = Server(options.program, options.folder, options.interval, front)
    ended = []

    def end(number: int, frame: t.Optional[types.FrameType]) -> None:
        ended.append(number)

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    while not ended:
        server.step()
        if options.max_size:
            if front:
                front.keep_below(options.max_size // 10)
            stored.keep_below(options.max_size * 85 // 100 if front else options.max_size)
        time.sleep(TICK / 5 if stored.removes else TICK)
    server.stop()
    shutil.rmtree(kept_by_front, ignore_errors=True)


if __name__ == "__main__":
    main()
