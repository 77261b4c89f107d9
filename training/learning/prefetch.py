"""Something that makes batches in, the same batches out of another process, a few ahead of the training."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, Full
from typing import Any, Generic, TypeVar

from training.utils.errors import TrainingError

BATCHES_AHEAD = 8  # batches
Item = TypeVar("Item")


def _work(make: Callable[[], Iterator[Any]], queue: Any) -> None:
    parent = multiprocessing.parent_process()

    def end(*_: object) -> None:
        queue.cancel_join_thread()
        sys.exit()

    # an orderly end, or what libraries registered is said to have leaked; Ctrl-C is for the training to answer
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for item in make():
            waiting = True
            while waiting:
                # a training that was killed cannot stop this process: it must notice by itself
                if parent is not None and not parent.is_alive():
                    queue.cancel_join_thread()
                    return
                with suppress(Full):
                    queue.put(item, timeout=2)
                    waiting = False
    except TrainingError as error:
        queue.put(error)


class Prefetch(Generic[Item]):
    """What `make()` yields, without end, computed in another process. make: a function that can be pickled."""

    def __init__(self, make: Callable[[], Iterator[Item]]) -> None:
        # spawn: a fork of a process that holds TensorFlow's threads may hang
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.Queue(maxsize=BATCHES_AHEAD)
        self._process = context.Process(target=_work, args=(make, self._queue), daemon=True)
        self._process.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        """The next one. Raises the TrainingError that `make` raised, or one if the process died."""
        while True:
            try:
                item: Item | TrainingError = self._queue.get(timeout=5)
            except Empty:
                if not self._process.is_alive():
                    raise TrainingError(
                        "the process that makes the batches died; if no message stands above, memory may have run out"
                    ) from None
                continue
            if isinstance(item, TrainingError):
                raise item
            return item

    def close(self) -> None:
        """Stop the process."""
        self._process.terminate()
        self._process.join()
