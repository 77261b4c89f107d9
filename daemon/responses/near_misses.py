"""Finds near misses: where a word's smoothed posterior rose, and fell again below the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from model.detector import Detector
from model.frontend import SAMPLE_RATE, STEP, STEP_SPAN
from model.modelfile import Model

SHARE = 0.5  # of the threshold: what comes closer than this is a near miss
PAUSE = round(5 * SAMPLE_RATE / STEP)  # steps, 5 s, between two of a word, and after it was heard


@dataclass(frozen=True)
class NearMiss:
    """A word that was almost heard. score: the highest smoothed posterior; sample: as in `Detection`."""

    word: str
    score: float
    sample: int


class NearMisses:
    """Follows a detector from block to block; the same models in the same order."""

    def __init__(self, models: Sequence[Model]) -> None:
        self._models = models
        self._detector: Detector | None = None
        self._forget(0)

    def _forget(self, step: int) -> None:
        self._step = step  # the next one to look at
        self._peaks = [0.0] * len(self._models)  # of the rise that goes on, 0 without one
        self._quiet_until = [0] * len(self._models)

    def push(self, detector: Detector) -> list[NearMiss]:
        """The near misses that ended in what the detector heard since the last call; call it after each block."""
        total = detector.posteriors.total
        if detector is not self._detector:
            self._forget(total)  # what it heard before was looked at, or came with the configuration's reload
            self._detector = detector
        elif total < self._step:
            self._forget(0)
        new = min(total - self._step, len(detector.posteriors))
        found = []
        for index, model in enumerate(self._models):
            found += self._follow(index, model, self._smoothed(detector, index, new), total - new)
        self._step = total
        return found

    def _smoothed(self, detector: Detector, index: int, new: int) -> list[float]:
        """The last `new` values of the mean that the gate looks at."""
        width = self._models[index].smoothing
        known = detector.posteriors.last(new + width - 1)[:, index].astype(np.float64)
        padded = np.concatenate((np.zeros(new + width - len(known)), known))  # before the stream, nothing
        sums = np.cumsum(padded)
        smoothed: list[float] = ((sums[width:] - sums[:-width]) / width).tolist()
        return smoothed

    def _follow(self, index: int, model: Model, values: list[float], first: int) -> list[NearMiss]:
        found = []
        peak, quiet_until = self._peaks[index], self._quiet_until[index]
        for step, value in enumerate(values, first):
            if value > SHARE * model.threshold:
                peak = max(peak, value)
            elif peak:
                if peak <= model.threshold and step >= quiet_until:
                    found.append(NearMiss(model.word, peak, step * STEP + STEP_SPAN))
                if peak > model.threshold or step >= quiet_until:
                    quiet_until = step + PAUSE
                peak = 0.0
        self._peaks[index], self._quiet_until[index] = peak, quiet_until
        return found
