"""Tasks are computed by processes; an error or a death among them ends it, and none is left behind."""

import errno
import multiprocessing
import os
import signal
from collections.abc import Callable

import pytest

from training.utils.errors import TrainingError
from training.utils.process_pool import in_parallel

pytestmark = pytest.mark.slow

FULL = 77


def worker(deadly: int, wrong: int) -> Callable[[int], int]:
    """Squares; one task kills the process, one is an error."""

    def work(task: int) -> int:
        if task == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        if task == wrong:
            raise TrainingError(f"no {task}")
        if task == FULL:
            raise OSError(errno.ENOSPC, "No space left on device", "a/file")
        return task * task

    return work


@pytest.mark.parametrize("workers", [1, 2])
def test_each_task_is_done_once(workers) -> None:
    assert sorted(in_parallel(worker, (9, 9), range(6), workers)) == [(task, task * task) for task in range(6)]
    assert not multiprocessing.active_children()


def test_a_worker_that_dies_is_one_sentence() -> None:
    with pytest.raises(TrainingError, match="a worker process died, perhaps for want of memory"):
        list(in_parallel(worker, (2, 9), range(3), 2))
    assert not multiprocessing.active_children()


def test_an_error_of_a_worker_arrives() -> None:
    with pytest.raises(TrainingError, match=r"^no 1$"):
        list(in_parallel(worker, (9, 1), range(4), 2))
    assert not multiprocessing.active_children()


def test_a_full_disk_is_said() -> None:
    with pytest.raises(TrainingError, match=r"^a/file: No space left on device$"):
        list(in_parallel(worker, (9, 9), [1, FULL, 2], 2))


def test_a_caller_that_wants_no_more_stops_them() -> None:
    results = in_parallel(worker, (9, 9), range(6), 2)
    next(results)
    results.close()
    assert not multiprocessing.active_children()
