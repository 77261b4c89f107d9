"""Decides whether the loop must be woken for a block: what is no louder than the room may wait.

Whoever wakes for a block of 80 ms finds that weights and code have left the processor's caches, and to fetch them again
takes longer than to compute. So in a quiet room a few blocks are handed on at once, each as it is, in their order. The
first one that is louder brings all that waited, and none waits until a second after the last loud one: a word is heard
when it always was. Nothing but the level counts here; what is said is the network's business.
"""

from __future__ import annotations

import numpy as np

from daemon.audio.resample import Samples

HELD = 4  # blocks that are handed on at once, 0.32 s
AWAKE = 13  # blocks, 1 s: a decision comes at most a quarter of a second after the end of a word
STRETCH = 63  # blocks, 5 s: as quiet as the quietest block of this stretch and of the one before is the room
LOUD = 1.6  # times the power of the room, 2 dB: steady noise nearly always stays below; docs/benchmarks.md has more
POINTS = 440  # sums that a block is reduced to, of 8 samples at 44.1 kHz


class WakeupBatching:
    """Looks at block after block of one stream, at any rate. In its first second none may wait."""

    def __init__(self) -> None:
        self._awake = AWAKE  # so many more blocks must not wait
        self._held = 0
        self._seen = 0  # blocks of the present stretch
        self._lowest = self._lowest_before = float("inf")
        self._hurried = False

    def hurry(self) -> None:
        """In the next second no block may wait: someone wants to see what comes. For any thread."""
        self._hurried = True

    def push(self, samples: Samples) -> bool:
        """Whether this block, (n,) int16, and those that wait must be handed on now."""
        power = loudness(samples)
        self._lowest = min(self._lowest, power)
        if self._hurried or power > LOUD * min(self._lowest, self._lowest_before):
            self._hurried, self._awake = False, AWAKE
        self._seen += 1
        if self._seen == STRETCH:
            self._lowest_before, self._lowest, self._seen = self._lowest, float("inf"), 0
        self._held += 1
        if self._awake:
            self._awake -= 1
        elif self._held < HELD:
            return False
        self._held = 0
        return True


def loudness(samples: Samples) -> float:
    """The power of a block where speech has most of its own: below 3 kHz, and not in a rumble or an offset."""
    width = max(1, len(samples) // POINTS)
    rows = samples[: len(samples) // width * width].astype(np.float32).reshape(-1, width)
    sums = np.einsum("ij->i", rows)
    changes = sums[1:] - sums[:-1]
    return float(np.dot(changes, changes))
