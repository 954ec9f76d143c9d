# Copyright (c) 2026, The buildfleet authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Work that is shared among the processors of the host: one process finds what there is to do, some do it, this one takes the results.

They are copies of this process, so nothing but tasks and results has to travel, and nothing but pipes connects them. Each end
of a pipe is open in one process alone: when one of them ends, in whatever way, the others read an end of file and end too.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import typing as t

from ansible_collections.buildfleet.docker.plugins.module_utils._core.errors import Refused

FEW = 500  # below this many tasks other processes cost more than they do
_PART = 64  # tasks that travel together

_Task = t.TypeVar("_Task")
_Result = t.TypeVar("_Result")
_Around = t.Callable[[], t.ContextManager[t.Any]]


def each(work: t.Callable[[t.Sequence[_Task]], _Result], tasks: t.Iterator[_Task], around: _Around = contextlib.nullcontext) -> t.Iterator[_Result]:
    """``work`` on some tasks after the other, its results in order. What it raises is raised here.

    Where other processes do it, each does so within ``around``.
    """
    first = list(itertools.islice(tasks, FEW))
    rest = itertools.chain(first, tasks)
    parts: t.Iterator[t.Sequence[_Task]] = iter(lambda: list(itertools.islice(rest, _PART)), [])
    workers = min(len(os.sched_getaffinity(0)), 4)
    return map(work, parts) if len(first) < FEW or workers < 2 else _shared(work, parts, around, workers)


def _shared(work: t.Callable[[t.Any], _Result], parts: t.Iterator[t.Any], around: _Around, workers: int) -> t.Iterator[_Result]:
    context = multiprocessing.get_context("fork")
    processes: t.List[t.Any] = []
    to: t.List[t.Any] = []
    results: t.List[t.Any] = []

    def start(target: t.Callable[..., None], *arguments: t.Any) -> None:
        process = context.Process(target=target, args=arguments, daemon=True)
        try:
            process.start()
        except OSError as error:
            raise Refused(f"No process can be started: {error.strerror}. Let this user have more (ulimit -u), and run this again.") from error
        processes.append(process)

    try:
        for _rest in range(workers):
            (task, out), (into, result) = context.Pipe(duplex=False), context.Pipe(duplex=False)
            to.append(out)
            results.append(into)
            with task, result:
                start(_work, [*to, *results], work, around, task, result)
        start(_find, results, parts, to)
        for out in to:
            out.close()
        turns = itertools.cycle(results)
        for done in iter(lambda: _received(next(turns)), None):
            if isinstance(done, Exception):
                raise done
            yield done
    except EOFError:
        raise Refused("A process of this run ended before its work was done. Look for the reason in the kernel's log (memory?), and run this again.") from None
    finally:
        for end in (*to, *results):
            end.close()
        for process in processes:
            process.join()


def _received(result: t.Any) -> t.Any:
    try:
        return result.recv()
    except OSError:  # the end of the file within a message
        raise EOFError from None


def _find(others: t.Sequence[t.Any], parts: t.Iterator[t.Any], to: t.Sequence[t.Any]) -> None:
    _close(others)
    with contextlib.suppress(BrokenPipeError):
        for out, part in zip(itertools.cycle(to), parts):
            out.send(part)
        for out in to:
            out.send(None)


def _work(others: t.Sequence[t.Any], work: t.Callable[[t.Any], t.Any], around: _Around, task: t.Any, result: t.Any) -> None:
    _close(others)
    with around(), contextlib.suppress(OSError, EOFError):
        for part in iter(task.recv, None):
            result.send(_done(work, part))
        result.send(None)


def _done(work: t.Callable[[t.Any], t.Any], part: t.Any) -> t.Any:
    try:
        return work(part)
    except Exception as error:
        return error


def _close(ends: t.Iterable[t.Any]) -> None:
    for end in ends:
        end.close()
