"""Keeps the most recent part of a stream in a ring, copied only when it is read."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class RingBuffer:
    """The last `length` entries of a stream; an entry is a row of the given shape.

    A push writes only what is new; `last` puts the two halves of the ring in order.
    """

    def __init__(self, length: int, row: tuple[int, ...] = (), dtype: npt.DTypeLike = np.float32) -> None:
        self._buffer = np.zeros((length, *row), dtype)
        self._total = 0

    def reset(self) -> None:
        """Forget everything."""
        self._total = 0

    def __len__(self) -> int:
        """How many entries can be read: at most `length`."""
        return min(self._total, len(self._buffer))

    @property
    def total(self) -> int:
        """How many entries were ever pushed since the last reset."""
        return self._total

    def push(self, rows: npt.NDArray[Any]) -> None:
        """Append (n, ...) rows."""
        length = len(self._buffer)
        self._total += max(0, len(rows) - length)
        rows = rows[-length:]
        start = self._total % length
        head = min(len(rows), length - start)
        self._buffer[start : start + head] = rows[:head]
        if head < len(rows):
            self._buffer[: len(rows) - head] = rows[head:]
        self._total += len(rows)

    def last(self, count: int | None = None) -> npt.NDArray[Any]:
        """A copy of the latest rows, oldest first; all that are there unless `count` asks for fewer."""
        count = len(self) if count is None else min(count, len(self))
        order = np.arange(self._total - count, self._total) % len(self._buffer)
        return self._buffer[order]
