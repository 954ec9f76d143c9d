# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that is shared: its results in order, and when a process dies, none waits for it."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import types
from concurrent.futures.process import BrokenProcessPool

import pytest

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused
from ansible_collections.buildfleet.docker.plugins.module_utils._host import pipeline

DIED = r"^A worker process died\. Check the kernel log for the reason \(out of memory\?\), and run this again\.$"


@pytest.fixture
def pools(monkeypatch):
    """Threads in the place of processes, because a fork does not survive the Go runtime that another test may have loaded here."""
    started = []

    class Pool(concurrent.futures.ThreadPoolExecutor):
        def __init__(self, workers, context, initializer, arguments):
            assert context.get_start_method() == "fork"
            super().__init__(workers, initializer=initializer, initargs=arguments)
            started.append((workers, self))

    monkeypatch.setattr(pipeline, "FEW", 3)
    monkeypatch.setattr(pipeline, "_PART", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1})
    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", Pool)
    yield started
    assert all(pool._shutdown for _workers, pool in started)


@pytest.mark.parametrize("processors", [1, 2, 9])
@pytest.mark.parametrize("number", [0, 2, 3, 7, 26])
def test_many_tasks_are_shared_among_processors_and_their_results_come_in_order(pools, monkeypatch, number, processors):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(processors)))
    letters = "abcdefghijklmnopqrstuvwxyz"[:number]
    assert list(pipeline.each("".join, iter(letters))) == [letters[at : at + 2] for at in range(0, number, 2)]
    assert [workers for workers, _pool in pools] == ([min(processors, 4)] if number >= 3 and processors > 1 else [])


def fails_at(letter, error):
    def work(part):
        if letter in part:
            raise error
        return "".join(part)

    return work


def test_what_the_work_raises_is_raised_here_in_its_turn(pools):
    results = pipeline.each(fails_at("e", ValueError("e")), iter("abcdefgh" * 50))
    assert [next(results), next(results)] == ["ab", "cd"]
    with pytest.raises(ValueError, match=r"^e$"):
        next(results)


def test_a_process_that_dies_is_reported(pools):
    with pytest.raises(Refused, match=DIED):
        list(pipeline.each(fails_at("e", BrokenProcessPool()), iter("abcdefgh" * 50)))


def test_a_process_that_cannot_be_started_is_reported_and_those_that_were_end(pools, monkeypatch):
    ended = []

    def limited(*_arguments):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(concurrent.futures.ThreadPoolExecutor, "submit", limited)
    monkeypatch.setattr(multiprocessing, "active_children", lambda: [types.SimpleNamespace(terminate=lambda: ended.append(True))])
    with pytest.raises(Refused, match=r"^No process can be started: Resource temporarily unavailable\."):
        list(pipeline.each("".join, iter("abcdefgh" * 50)))
    assert ended == [True]


@pytest.mark.parametrize("error", [FileNotFoundError(2, "No such file or directory"), ImportError("This platform lacks a functioning sem_open")])
def test_a_host_without_semaphores_does_the_work_in_one_process(pools, monkeypatch, error):
    def fails(*_arguments):
        raise error

    monkeypatch.setattr(concurrent.futures, "ProcessPoolExecutor", fails)
    assert list(pipeline.each("".join, iter("abcdefg"))) == ["ab", "cd", "ef", "g"]


def test_nobody_may_want_the_rest(pools):
    results = pipeline.each("".join, iter("abcdefgh" * 50))
    assert next(results) == "ab"
    results.close()


def test_a_worker_ends_when_the_process_that_started_it_does(monkeypatch):
    order = []
    monkeypatch.setattr(os, "_exit", order.append)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: types.SimpleNamespace(join=lambda: order.append("joined")))
    pipeline._begin("".join)
    limit = time.monotonic() + 20
    while len(order) < 2 and time.monotonic() < limit:
        time.sleep(0.01)
    assert order == ["joined", 1]


ALONE = """
import os, sys, time
from ansible_collections.buildfleet.docker.plugins.module_utils._host import pipeline

os.sched_getaffinity = lambda _process: {0, 1}
end = sys.argv[1]
forks, fork = [], os.fork

def limited():
    if forks:
        raise BlockingIOError(11, "Resource temporarily unavailable")
    forks.append(1)
    return fork()

if end == "limited":
    os.fork = limited

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


@pytest.mark.parametrize(
    ("end", "message"), [("killed", "Refused: A worker process died. "), ("limited", "Refused: No process can be started: Resource temporarily unavailable. ")]
)
def test_a_real_process_that_is_killed_or_cannot_be_started(alone, end, message):
    with alone(end) as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert message in err
    assert len(out.splitlines()) >= (90 if end == "killed" else 0)


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(child) for child in file.read().split()]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_when_one_process_is_killed_all_others_end(alone, victim):
    with alone("endless") as process:
        assert process.stdout.readline() and process.stdout.readline()
        family = [process.pid, *children(process.pid)]
        assert len(family) == 3 and all(map(is_alive, family))
        os.kill(family[victim], signal.SIGKILL)
        process.communicate(timeout=60)
        end = time.monotonic() + 20
        while any(map(is_alive, family)) and time.monotonic() < end:
            time.sleep(0.1)
        assert not any(map(is_alive, family))
