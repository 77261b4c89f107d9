"""Recordings and a model in, figures out: what was missed, and how often it fired for nothing.

The posteriors come from the daemon's own `Scorer` and the decisions from its own `Gate`, so what is measured
is what ships. Recordings of other speech are joined into one stream, as a microphone would hear them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.detector import Scorer, score
from model.frontend import FULL_SCALE, SAMPLE_RATE, STEP, STEP_SPAN, FloatArray
from model.gate import Gate
from model.modelfile import Model
from training.corpus import Int16Array, active_level, to_int16
from training.errors import TrainingError

BEFORE_SECONDS, AFTER_SECONDS = 2.0, 1.5  # of quiet background around a word that is tested
LATE_SECONDS = 1.0  # a firing from where the word's recording begins to so long after its end is a hit
QUIET_DBFS = -65.0
THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)


@dataclass(frozen=True)
class Rate:
    """count events among `total` trials, or in `total` hours."""

    count: int
    total: float

    @property
    def value(self) -> float:
        """The estimate."""
        return self.count / self.total if self.total else float("nan")

    def wilson(self, z: float = 1.96) -> tuple[float, float]:
        """95 % interval of a share (Wilson, 1927)."""
        n, p = self.total, self.value
        middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return (max(0.0, (middle - half) / (1 + z * z / n)), min(1.0, (middle + half) / (1 + z * z / n)))

    def poisson(self) -> tuple[float, float]:
        """Exact 95 % interval of a rate (Garwood, 1936)."""
        from scipy.stats import chi2

        low = chi2.ppf(0.025, 2 * self.count) / 2 if self.count else 0.0
        return (float(low / self.total), float(chi2.ppf(0.975, 2 * self.count + 2) / 2 / self.total))


def background(length: int, level_dbfs: float, rng: np.random.Generator) -> FloatArray:
    """Noise like that of a quiet room: pink above 50 Hz; samples in int16 units."""
    if length == 0:
        return np.empty(0, np.float32)
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 50.0)
    pink = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) / np.sqrt(frequency), length)
    pink *= FULL_SCALE * 10 ** (level_dbfs / 20) / np.sqrt(np.mean(pink**2))
    return pink.astype(np.float32)


def place(word: Int16Array, rng: np.random.Generator, snr_db: float | None = None) -> tuple[Int16Array, int, int]:
    """A word in a quiet room, or in pink noise at an SNR -> the recording, where the word begins and where it ends."""
    before, after = int(BEFORE_SECONDS * SAMPLE_RATE), int(AFTER_SECONDS * SAMPLE_RATE)
    level = QUIET_DBFS if snr_db is None else active_level(word) - snr_db
    mixed = background(before + len(word) + after, level, rng)
    mixed[before : before + len(word)] += word
    return to_int16(mixed), before, before + len(word)


def firings(posteriors: FloatArray, model: Model, threshold: float) -> list[int]:
    """The samples at which the gate fires for these posteriors."""
    gate = Gate(threshold, model.smoothing, model.suppression)
    return [firing.step * STEP + STEP_SPAN for firing in gate.push(posteriors)]


def heard(fired: Iterable[int], start: int, end: int) -> bool:
    """Whether one of the firings belongs to the word recorded from sample `start` to `end`."""
    return any(start <= sample <= end + LATE_SECONDS * SAMPLE_RATE for sample in fired)


class Recall:
    """Posteriors of many single words, scored once, judged at any threshold."""

    def __init__(self, model: Model, words: Sequence[Int16Array], seed: int = 0, snr_db: float | None = None) -> None:
        self._model = model
        self._scored = []
        for number, word in enumerate(words):
            samples, start, end = place(word, np.random.default_rng([seed, number]), snr_db)
            self._scored.append((score(model, samples), start, end))

    def at(self, threshold: float) -> Rate:
        """How many of the words were heard."""
        hits = sum(heard(firings(scored, self._model, threshold), start, end) for scored, start, end in self._scored)
        return Rate(hits, len(self._scored))


class FalseAccepts:
    """Posteriors of hours of audio without the word, scored once, judged at any threshold."""

    def __init__(self, model: Model, recordings: Iterable[Int16Array], pause_seconds: float = 0.5) -> None:
        self._model = model
        scorer = Scorer([model])
        rng = np.random.default_rng(0)
        parts, samples = [], 0
        for recording in recordings:
            pause = background(int(pause_seconds * SAMPLE_RATE), QUIET_DBFS, rng).astype(np.int16)
            for piece in (recording, pause):
                parts.append(scorer.push(piece).posteriors[0])
                samples += len(piece)
        self._posteriors = np.concatenate(parts) if parts else np.empty(0, np.float32)
        self.hours = samples / SAMPLE_RATE / 3600

    def at(self, threshold: float) -> Rate:
        """How often it fired, in how many hours."""
        return Rate(len(firings(self._posteriors, self._model, threshold)), self.hours)


@dataclass(frozen=True)
class Point:
    """What one threshold gives. Recall counts words; the others count firings in hours."""

    threshold: float
    recall: dict[str, Rate]
    false_accepts: dict[str, Rate]


def examine(
    model: Model,
    words: Mapping[str, Sequence[Int16Array]],
    others: Mapping[str, Iterable[Int16Array]],
    snrs_db: Sequence[float | None] = (None, 10.0),
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[Point]:
    """Measure a model over thresholds.

    words: name to recordings of the word alone, tested in quiet and at each SNR; others: name to recordings
    without it, each name's joined into one stream. Every recording is scored once.
    """
    recalls = {
        f"{name}, {'quiet' if snr is None else f'{snr:g} dB'}": Recall(model, clips, snr_db=snr)
        for name, clips in words.items()
        for snr in snrs_db
    }
    accepts = {name: FalseAccepts(model, recordings) for name, recordings in others.items()}
    return [
        Point(
            threshold,
            {name: recall.at(threshold) for name, recall in recalls.items()},
            {name: rate.at(threshold) for name, rate in accepts.items()},
        )
        for threshold in thresholds
    ]


def table(points: Sequence[Point]) -> str:
    """The figures as text, one line a threshold, each with its 95 % interval."""
    first = points[0]
    titles = [f"heard: {name} ({rate.total:g})" for name, rate in first.recall.items()]
    titles += [f"FA/h: {name} ({rate.total:.2f} h)" for name, rate in first.false_accepts.items()]
    lines = ["threshold  " + "  ".join(titles)]
    for point in points:
        cells = ["{:.1%} [{:.0%}-{:.0%}]".format(rate.value, *rate.wilson()) for rate in point.recall.values()]
        cells += ["{:.2f} [{:.1f}-{:.1f}]".format(rate.value, *rate.poisson()) for rate in point.false_accepts.values()]
        row = "  ".join(cell.rjust(len(title)) for cell, title in zip(cells, titles, strict=True))
        lines.append(f"{point.threshold:9.2f}  {row}")
    return "\n".join(lines)


def as_json(points: Sequence[Point]) -> list[dict[str, Any]]:
    """The same figures for a program or a model file."""
    return [
        {
            "threshold": point.threshold,
            "recall": {
                name: {"heard": rate.count, "of": rate.total, "interval": [round(x, 4) for x in rate.wilson()]}
                for name, rate in point.recall.items()
            },
            "false_accepts": {
                name: {
                    "count": rate.count,
                    "hours": round(rate.total, 4),
                    "interval_per_hour": [round(x, 3) for x in rate.poisson()],
                }
                for name, rate in point.false_accepts.items()
            },
        }
        for point in points
    ]


def choose(points: Sequence[Point], fa_per_hour: float) -> Point:
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
