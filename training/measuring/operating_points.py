"""A model at one threshold: an operating point. A sweep over thresholds, and the choice of one by false accepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.measuring.confidence_intervals import Rate
from training.utils.errors import TrainingError

# Among which a threshold is chosen. Closer near 1, to which good weights put words, and what is most like them
CANDIDATES = (*(n / 100 for n in range(1, 95)), *(n / 1000 for n in range(950, 1000, 5)), 0.998, 0.999)
STORED_POINTS = 40
ENOUGH = 0.5  # false accepts that the wish allows in the development speech; with less, one of them decides everything
# a threshold for where there is not speech enough to choose one; "activate" as it ships fires 1.6 times an hour at it
CAUTIOUS_THRESHOLD = 0.9


@dataclass(frozen=True)
class OperatingPoint:
    """What one threshold gives. Recall counts words that were heard; the others count firings in hours."""

    threshold: float
    recall: dict[str, Rate]
    false_accepts: dict[str, Rate]

    @property
    def misses(self) -> Rate:
        """Words not heard, all conditions together."""
        heard = sum(self.recall.values(), Rate(0, 0))
        return Rate(int(heard.total) - heard.count, heard.total)

    @property
    def worst_false_accepts(self) -> Rate:
        """That of the stream in which it fires most often; nothing in no time if there is no stream."""
        return max(self.false_accepts.values(), key=lambda rate: rate.value, default=Rate(0, 0))


def choose_threshold(points: Sequence[OperatingPoint], fa_per_hour: float) -> OperatingPoint:
    """The lowest threshold from which on no stream fires more often than wished.

    Raises TrainingError if even the highest one does.
    """
    chosen = None
    for point in sorted(points, key=lambda point: point.threshold, reverse=True):
        if any(rate.value > fa_per_hour for rate in point.false_accepts.values()):
            break
        chosen = point
    if chosen is None:
        raise TrainingError(f"even the highest threshold fires more than {fa_per_hour:g} times an hour")
    return chosen


def can_tell(fa_per_hour: float, hours: float) -> bool:
    """Whether in so much speech it can be seen if a wish for false accepts is kept to; 0, never in it, always can."""
    return not fa_per_hour or fa_per_hour * hours >= ENOUGH


def _heard(rate: Rate) -> dict[str, Any]:
    return {"heard": rate.count, "of": rate.total, "interval": [round(x, 4) for x in rate.wilson()]}


def _accepts(rate: Rate) -> dict[str, Any]:
    interval = [round(x, 3) for x in rate.poisson()]
    return {"count": rate.count, "hours": round(rate.total, 4), "interval_per_hour": interval}


def as_json(points: Sequence[OperatingPoint]) -> list[dict[str, Any]]:
    """The same figures for a program or a model file."""
    return [
        {
            "threshold": point.threshold,
            "recall": {name: _heard(rate) for name, rate in point.recall.items()},
            "false_accepts": {name: _accepts(rate) for name, rate in point.false_accepts.items()},
        }
        for point in points
    ]


def threshold_sweep(points: Sequence[OperatingPoint], count: int = STORED_POINTS) -> list[list[float | None]]:
    """[threshold, share of words missed, false accepts an hour], thinned to about `count`; null is not measured.

    Misses are those of all conditions together, false accepts those of the stream that fires most often. Points at
    which nothing changes are left out.
    """
    rows: list[list[float | None]] = []
    for point in sorted(points, key=lambda point: point.threshold):
        misses, accepts = point.misses, point.worst_false_accepts
        row = [
            point.threshold,
            round(misses.value, 4) if misses.total else None,
            round(accepts.value, 3) if accepts.total else None,
        ]
        if not rows or row[1:] != rows[-1][1:]:
            rows.append(row)
    if not rows:
        return []
    return [rows[number] for number in np.unique(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int))]
