"""Measurements of a training in, whether to go on out: judged by words and false accepts, not by steps.

A training's score is the share of the words that it hears at a threshold at which it fires no more often than
wished. Once so many measurements in a row bring no better score, it stops, and the best weights are kept. Where the
development speech lasts some minutes only, the rate cannot be told: then nothing is judged, and all epochs are done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from training.measuring.operating_points import ENOUGH


@dataclass(frozen=True)
class EarlyStopping:
    """When to stop. fa_per_hour: on the development recordings; patience: measurements without a better score."""

    fa_per_hour: float = 2.0
    patience: int = 4

    def can_judge(self, entry: Mapping[str, Any]) -> bool:
        """Whether there is speech enough to tell one measurement, what `development.measure` gives, from another."""
        return bool(self.fa_per_hour * entry["speech_hours"] >= ENOUGH)


def score(entry: Mapping[str, Any], fa_per_hour: float) -> float:
    """The mean recall of all conditions at the lowest threshold that, like all above it, keeps to the wish.

    entry: what `development.measure` gives. 0 if no threshold keeps to it, or no word was measured.
    """
    place = None
    for number in reversed(range(len(entry["thresholds"]))):
        rates = (entry["speech_fa_per_hour"][number], entry["noise_fa_per_hour"][number])
        if any(rate > fa_per_hour for rate in rates):
            break
        place = number
    if place is None or not entry["recall"]:
        return 0.0
    return float(sum(shares[place] for shares in entry["recall"].values()) / len(entry["recall"]))


@dataclass(frozen=True)
class StoppingProgress:
    """The best score so far, and how many measurements ago it was; as the checkpoint keeps it."""

    best: float = -1.0
    since: int = 0

    def after(self, score: float) -> StoppingProgress:
        """With one more measurement; one that is only as good as the best is no progress."""
        return StoppingProgress(score, 0) if score > self.best else StoppingProgress(self.best, self.since + 1)

    def keeps(self, score: float) -> bool:
        """Whether the weights of this measurement are the ones to keep: of equals the later, which heard more."""
        return score >= self.best
