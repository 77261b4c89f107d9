"""Numbered tasks in, their results out as they come, computed by a pool of processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from training.utils.errors import TrainingError

T = TypeVar("T")


def in_parallel(
    new_worker: Callable[..., Callable[[int], T]], arguments: tuple[Any, ...], tasks: Sequence[int], workers: int
) -> Generator[tuple[int, T], None, None]:
    """Each task with its result, in the order in which they are done.

    new_worker(*arguments) is called once in each process, and what it gives once for each task; all of it has to be
    importable and to survive pickling. With one worker no process is started. When the iterator is closed, or
    interrupted, the processes are stopped; they clean up behind them.
    Raises TrainingError where a worker does, and if one of them is killed.
    """
    if workers == 1 or len(tasks) <= 1:
        work = new_worker(*arguments)
        for task in tasks:
            yield task, work(task)
        return
    # spawn: a fork of a process that holds threads may hang
    pool = ProcessPoolExecutor(
        min(workers, len(tasks)),
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(partial(new_worker, *arguments),),
    )
    try:
        with _interrupts_ignored():  # by the new processes, from their first moment on
            numbers = {pool.submit(_work, task): task for task in tasks}
        for done in as_completed(numbers):
            yield numbers[done], done.result()
    except BrokenProcessPool:
        raise TrainingError(
            "a worker process died, perhaps for want of memory; the same command goes on from here"
        ) from None
    finally:
        # in the middle of a task; `terminate_workers` does it from Python 3.14 on
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change this, and gets the interrupts
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# in a worker

_new_worker: Callable[[], Callable[[int], Any]]
_worker: Callable[[int], Any] | None = None


def _begin(new_worker: Callable[[], Callable[[int], Any]]) -> None:
    global _new_worker  # noqa: PLW0603 - of this process, as the pool wants it
    _new_worker = new_worker
    # an exception, so that whoever is writing a file removes it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def _work(task: int) -> Any:
    global _worker  # noqa: PLW0603
    try:
        _worker = _worker or _new_worker()
        return _worker(task)
    except SystemExit:  # terminated, and what was being written is removed; the pool would go on with the next task
        os._exit(1)
    except OSError as error:  # a full disk
        raise TrainingError(f"{error.filename or 'a worker process'}: {error.strerror or error}") from None
