# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that is shared: in order, and when a process ends before its time, none waits for it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import types
from multiprocessing.connection import Connection

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._host import pipeline

SEND = Connection.send


class Copy(threading.Thread):
    """What a process is, as a thread: it has ends of pipes of its own, and they are closed when it ends.

    A fork would not survive the Go runtime that another test of this process may have loaded.
    """

    def __init__(self, target, args, daemon):
        super().__init__(daemon=daemon)
        self._ends = []
        self._call = target, [self._copied(value) for value in args]

    def _copied(self, value):
        if isinstance(value, list):
            return [self._copied(one) for one in value]
        if not isinstance(value, Connection):
            return value
        self._ends.append(Connection(os.dup(value.fileno()), readable=value.readable, writable=value.writable))
        return self._ends[-1]

    def run(self):
        target, arguments = self._call
        with contextlib.suppress(SystemExit):
            target(*arguments)
        self.close()

    def close(self):
        for end in self._ends:
            end.close()


@pytest.fixture
def processes(monkeypatch):
    started = []

    def process(**arguments):
        started.append(Copy(**arguments))
        return started[-1]

    monkeypatch.setattr(pipeline, "FEW", 3)
    monkeypatch.setattr(pipeline, "_PART", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1})
    monkeypatch.setattr(multiprocessing, "get_context", lambda _way: types.SimpleNamespace(Process=process, Pipe=multiprocessing.Pipe))
    return started


@pytest.mark.parametrize("processors", [1, 2, 9])
@pytest.mark.parametrize("number", [0, 2, 3, 7])
def test_many_tasks_are_shared_among_processors_and_their_results_come_in_order(processes, monkeypatch, number, processors):
    entered = []

    @contextlib.contextmanager
    def around():
        entered.append("in")
        yield
        entered.append("out")

    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(processors)))
    letters = "abcdefg"[:number]
    assert list(pipeline.each("".join, iter(letters), around)) == [letters[at : at + 2] for at in range(0, number, 2)]
    workers = min(processors, 4) if number >= 3 and processors > 1 else 0
    assert len(processes) == (workers + 1 if workers else 0)
    assert sorted(entered) == ["in"] * workers + ["out"] * workers
    assert not any(process.is_alive() for process in processes)


def fails_at(letter, error):
    def work(part):
        if letter in part:
            raise error
        return "".join(part)

    return work


def test_what_the_work_raises_is_raised_here_in_its_turn(processes):
    found = pipeline.each(fails_at("e", ValueError("e")), iter("abcdefgh" * 50))
    assert [next(found), next(found)] == ["ab", "cd"]
    with pytest.raises(ValueError, match=r"^e$"):
        next(found)
    assert not any(process.is_alive() for process in processes)


def test_a_process_that_ends_early_is_named_and_no_other_waits_for_it(processes):
    with pytest.raises(Refused, match=r"^A process of this run ended before its work was done\."):
        list(pipeline.each(fails_at("e", SystemExit()), iter("abcdefgh" * 50)))
    assert not any(process.is_alive() for process in processes)


def test_a_process_that_ends_within_a_message_is_one_that_ends_early(processes, monkeypatch):
    def cut(result):
        os.write(result.fileno(), b"\0\0\0\x09cut")
        raise SystemExit

    monkeypatch.setattr(Connection, "send", lambda end, value: cut(end) if value == "ef" else SEND(end, value))
    with pytest.raises(Refused, match=r"^A process of this run ended before its work was done\."):
        list(pipeline.each("".join, iter("abcdefgh" * 50)))
    assert not any(process.is_alive() for process in processes)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_process_that_cannot_be_started_is_named_and_those_that_were_end(processes, monkeypatch, number):
    start = Copy.start

    def limited(process):
        if len(processes) > number:
            process.close()
            raise BlockingIOError(11, "Resource temporarily unavailable")
        start(process)

    monkeypatch.setattr(Copy, "start", limited)
    with pytest.raises(Refused, match=r"^No process can be started: Resource temporarily unavailable\."):
        list(pipeline.each("".join, iter("abcdefgh" * 50)))
    assert not any(process.is_alive() for process in processes)


def test_nobody_may_want_the_rest(processes):
    found = pipeline.each("".join, iter("abcdefgh" * 50))
    assert next(found) == "ab"
    found.close()
    assert not any(process.is_alive() for process in processes)


ALONE = """
import os, sys, time
from ansible_collections.buildfleet.docker.plugins.module_utils._host import pipeline

os.sched_getaffinity = lambda _process: {0, 1}
end = sys.argv[1]

def work(part):
    time.sleep(0.01)
    if part[-1] == 6399 and end == "killed":
        os.kill(os.getpid(), 9)
    return part

for done in pipeline.each(work, iter(range(6400 if end != "endless" else 10**9))):
    print(os.getpid(), *done, flush=True)
"""


@pytest.fixture
def alone(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return lambda end: subprocess.Popen([sys.executable, "-c", ALONE, end], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_real_processes(alone):
    with alone("whole") as process:
        lines = [line.split()[1:] for line in process.stdout]
    assert [int(number) for line in lines for number in line] == list(range(6400))
    assert process.returncode == 0


def test_a_process_that_is_killed(alone):
    with alone("killed") as process:
        out, err = process.communicate(timeout=60)
    assert len(out.splitlines()) == 99 and "A process of this run ended before its work was done." in err


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(child) for child in file.read().split()]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("victim", [0, 1, 2, 3])
def test_when_one_process_is_killed_all_others_end(alone, victim):
    with alone("endless") as process:
        assert process.stdout.readline() and process.stdout.readline()
        family = [process.pid, *children(process.pid)]
        assert len(family) == 4 and all(map(is_alive, family))
        os.kill(family[victim], signal.SIGKILL)
        process.communicate(timeout=60)
        end = time.monotonic() + 20
        while any(map(is_alive, family)) and time.monotonic() < end:
            time.sleep(0.1)
        assert not any(map(is_alive, family))
