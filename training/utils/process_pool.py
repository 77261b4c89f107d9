"""Numbered tasks in, their results out as they come, computed by processes of this machine."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
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
    context = multiprocessing.get_context("spawn")
    processes = []
    waiting = deque(tasks)
    busy: dict[Connection, int] = {}
    try:
        with _interrupts_ignored():  # by the new processes, from their first moment on
            for _ in range(min(workers, len(tasks))):
                here, there = context.Pipe()
                process = context.Process(target=_serve, args=(new_worker, arguments, there), daemon=True)
                process.start()
                there.close()
                processes.append(process)
                busy[here] = waiting.popleft()
                here.send(busy[here])
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                task = busy.pop(connection)
                result = _receive(connection)
                if waiting:
                    busy[connection] = waiting.popleft()
                    connection.send(busy[connection])
                yield task, result
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()


def _receive(connection: Connection) -> Any:
    try:
        result, error = connection.recv()
    except (EOFError, ConnectionError):
        raise TrainingError(
            "a worker process died, perhaps for want of memory; the same command goes on from here"
        ) from None
    if error is not None:
        raise error
    return result


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


def _serve(new_worker: Callable[..., Callable[[int], T]], arguments: tuple[Any, ...], connection: Connection) -> None:
    # an exception, so that whoever is writing a file removes it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    work: Callable[[int], T] | None = None
    while True:
        try:
            task = connection.recv()
        except EOFError:  # whoever wanted it is gone
            return
        try:
            work = work or new_worker(*arguments)
            answer: tuple[T | None, TrainingError | None] = (work(task), None)
        except TrainingError as error:
            answer = (None, error)
        except OSError as error:  # a full disk
            answer = (None, TrainingError(f"{error.filename or 'a worker process'}: {error.strerror or error}"))
        try:
            connection.send(answer)
        except OSError:
            return
