"""Takes PortAudio's blocks over into the loop's thread, which is woken no more often than needed.

Bounded: what finds no room is dropped and counted with the next block. In a quiet room `WakeupBatching` lets a few
blocks wait for each other.
"""

from __future__ import annotations

import contextlib
import queue
from collections import deque
from typing import Any, NamedTuple

from daemon.audio.resample import Samples
from daemon.audio.wakeup_batching import WakeupBatching


class CapturedBlock(NamedTuple):
    """A block at the device's rate. lost: some audio before it was; dropped: how many blocks of ours that were."""

    samples: Samples
    lost: bool
    dropped: int


class CaptureQueue:
    """Of one stream. limit: blocks; channel: which one counts, from 1."""

    def __init__(self, limit: int, channel: int = 1) -> None:
        self._limit = limit
        self._channel = channel
        self._blocks: deque[CapturedBlock] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._batching = WakeupBatching()
        self._lost, self._dropped = False, 0
        self.finished = False  # the stream; nothing more will come

    def __len__(self) -> int:
        """How many blocks wait."""
        return len(self._blocks)

    @property
    def ringing(self) -> bool:
        """Whether the loop is to come."""
        return not self._bell.empty()

    # in PortAudio's thread

    def callback(self, samples: Any, _count: int, _times: Any, status: Any) -> None:
        """As PortAudio calls it with a block, (n, channels) int16."""
        self._lost = self._lost or bool(status.input_overflow)
        if len(self._blocks) >= self._limit:
            self._lost, self._dropped = True, self._dropped + 1
            return
        block = samples[:, self._channel - 1].copy()
        self._blocks.append(CapturedBlock(block, self._lost, self._dropped))
        self._lost, self._dropped = False, 0
        if self._batching.push(block):
            self._ring()

    def finish(self) -> None:
        """As PortAudio calls it when the stream has ended."""
        self.finished = True
        self._ring()

    def _ring(self) -> None:
        if not self.ringing:
            self._bell.put(None)

    # in the loop's

    def get(self, seconds: float) -> CapturedBlock | None:
        """The next block; None if none comes within so long, or the stream is finished."""
        with contextlib.suppress(queue.Empty):
            while not self._blocks and not self.finished:
                self._bell.get(timeout=seconds)  # it may have rung for a block that was taken before
        return self._blocks.popleft() if self._blocks else None

    def hurry(self) -> None:
        """Let no block wait in the next second. For any thread."""
        self._batching.hurry()
