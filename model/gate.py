"""Turns posteriors into decisions; no clock, only steps.

The gate fires when the smoothed posterior exceeds the threshold. It then stays silent for 75 steps *and*
until the smoothed posterior has fallen to the threshold or below: one chime for one word.
"""

from __future__ import annotations

import math
from collections import deque
from typing import NamedTuple

from model.frontend import FloatArray

SUPPRESSION = 75  # steps, 0.54 s
SMOOTHING = 10  # steps, 73 ms
MAX_STEPS = 10_000  # 73 s, for either; a file that asks for a billion is damaged, and would fill the memory


class Firing(NamedTuple):
    """One decision of the gate."""

    step: int  # counted from the last reset
    score: float  # the highest posterior among the smoothed ones


class Gate:
    """Turns a stream of posteriors into firings, at most one in `suppression` steps.

    threshold: 0 to 1, exclusive of 1; smoothing: steps in the running mean (1: none); suppression: steps;
    neither more than MAX_STEPS. Raises ValueError for values outside these.
    """

    def __init__(self, threshold: float, smoothing: int = SMOOTHING, suppression: int = SUPPRESSION) -> None:
        if not 0.0 <= threshold < 1.0:
            raise ValueError(f"a threshold lies between 0 and 1, not {threshold}")
        if not 1 <= smoothing <= MAX_STEPS:
            raise ValueError(f"smoothing takes 1 to {MAX_STEPS} steps, not {smoothing}")
        if not 0 <= suppression <= MAX_STEPS:
            raise ValueError(f"suppression takes 0 to {MAX_STEPS} steps, not {suppression}")
        self.threshold = threshold
        self.smoothing = smoothing
        self.suppression = suppression
        self.reset()

    def reset(self) -> None:
        """Back to the start of a stream: nothing heard, ready to fire."""
        self._recent: deque[float] = deque([0.0] * self.smoothing, maxlen=self.smoothing)
        self._step = 0
        self._silent_until = 0
        self._fell = True

    def push(self, posteriors: FloatArray) -> list[Firing]:
        """(n,) posteriors -> the firings among these steps."""
        values: list[float] = posteriors.tolist()
        if max(values, default=0.0) < self.threshold and max(self._recent) < self.threshold:
            # no mean of these can exceed it: nearly always, so it is worth a shorter way
            self._recent.extend(values)
            self._step += len(values)
            self._fell = self._fell or bool(values)
            return []
        firings = []
        for posterior in values:
            self._recent.append(posterior)
            # fsum is exact, so that the decision does not depend on how the sum was carried along
            above = math.fsum(self._recent) / self.smoothing > self.threshold
            if not above:
                self._fell = True
            elif self._fell and self._step >= self._silent_until:
                firings.append(Firing(self._step, max(self._recent)))
                self._fell = False
                # firing at step t silences t + 1 ... t + 75
                self._silent_until = self._step + self.suppression + 1
            self._step += 1
        return firings
