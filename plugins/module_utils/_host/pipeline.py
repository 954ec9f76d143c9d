# Copyright (c) 2026, The buildfleet authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Share work among the processors of the host: this process creates the tasks and collects the results, worker processes do the work."""

from __future__ import annotations

import collections
import contextlib
import itertools
import multiprocessing
import os
import threading
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused

FEW = 500  # below this many tasks other processes cost more than they save
_PART = 64  # tasks that are sent together
_AHEAD = 3  # parts per process that are submitted before the oldest result is read

_Task = t.TypeVar("_Task")
_Result = t.TypeVar("_Result")


def each(work: t.Callable[[t.Sequence[_Task]], _Result], tasks: t.Iterator[_Task]) -> t.Iterator[_Result]:
    """Run ``work`` on parts of the tasks and yield its results in order. Its exceptions are raised here."""
    first = list(itertools.islice(tasks, FEW))
    rest = itertools.chain(first, tasks)
    parts: t.Iterator[t.Sequence[_Task]] = iter(lambda: list(itertools.islice(rest, _PART)), [])
    workers = min(len(os.sched_getaffinity(0)), 4)
    pool = None if len(first) < FEW or workers < 2 else _pool(workers, work)
    return _shared(pool, parts, workers * _AHEAD) if pool else map(work, parts)


def _pool(workers: int, work: t.Callable[..., t.Any]) -> t.Any:
    """None on a host without semaphores (for example without /dev/shm): then this process does the work."""
    from concurrent.futures import ProcessPoolExecutor  # imported here, because most runs need no pool

    with contextlib.suppress(OSError, ImportError):
        return ProcessPoolExecutor(workers, multiprocessing.get_context("fork"), _begin, (work,))
    return None


def _shared(pool: t.Any, parts: t.Iterable[t.Any], ahead: int) -> t.Iterator[t.Any]:
    from concurrent.futures.process import BrokenProcessPool

    waiting: t.Deque[t.Any] = collections.deque()
    try:
        for part in parts:
            waiting.append(_submitted(pool, part))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise Refused("A worker process died. Check the kernel log for the reason (out of memory?), and run this again.") from None
    finally:
        for future in waiting:
            future.cancel()
        pool.shutdown()


def _submitted(pool: t.Any, part: t.Any) -> t.Any:
    try:
        return pool.submit(_work_on, part)
    except OSError as error:
        for process in multiprocessing.active_children():  # processes that were started would wait for work forever
            process.terminate()
        raise Refused(f"No process can be started: {error.strerror}. Raise the limit of this user (ulimit -u), and run this again.") from error


_work: t.Callable[[t.Any], t.Any]  # in a worker process, which is a copy of this one: only tasks and results are sent


def _begin(work: t.Callable[[t.Any], t.Any]) -> None:
    global _work
    _work = work
    parent = multiprocessing.parent_process()
    if parent:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: t.Any) -> None:
    """End a worker if the process that started it was killed; a pool does not do this."""
    parent.join()
    os._exit(1)


def _work_on(part: t.Any) -> t.Any:
    return _work(part)
