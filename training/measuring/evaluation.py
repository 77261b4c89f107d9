"""Scored recordings in, figures out: what was missed, how often it fired for nothing, how late it was.

The posteriors come from the daemon's own `Scorer` and the decisions are those of its own `Gate`, so what is measured
is what ships.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from model.frontend import SAMPLE_RATE, STEP
from model.modelfile import Model
from training.dsp.decode import Int16Array
from training.measuring.confidence_intervals import Rate
from training.measuring.operating_points import (
    CANDIDATES,
    CAUTIOUS_THRESHOLD,
    OperatingPoint,
    _accepts,
    as_json,
    can_tell,
    choose_threshold,
    threshold_sweep,
)
from training.measuring.score_recordings import Recording, Stream, Trial, condition, score_stream, score_words
from training.scenes.labels import LABEL_STEPS
from training.utils.errors import TrainingError

THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.98)
CURVE_POINTS = 240
STEP_THRESHOLD = 0.5  # at which the assignment counts steps


class Recall:
    """Posteriors of many single words, scored once, judged at any threshold."""

    def __init__(self, model: Model, words: Sequence[Int16Array], seed: int = 0, snr_db: float | None = None) -> None:
        recordings = [Recording(word) for word in words]
        self._trials = score_words([model], recordings, [snr_db], seed, condition(snr_db))[0]

    def at(self, threshold: float) -> Rate:
        """How many of the words were heard."""
        return heard(self._trials, threshold)


class FalseAccepts:
    """Posteriors of hours of audio without the word, scored once, judged at any threshold."""

    def __init__(self, model: Model, recordings: Iterable[Int16Array], pause_seconds: float = 0.5) -> None:
        joined = [Recording(samples) for samples in recordings]
        self._stream = score_stream([model], "other sound", joined, pause_seconds)[0]
        self.hours = self._stream.hours

    def at(self, threshold: float) -> Rate:
        """How often it fired, in how many hours."""
        return Rate(len(self._stream.fired(threshold)), self.hours)


def heard(trials: Iterable[Trial], threshold: float) -> Rate:
    """How many of the words were heard."""
    hits = [trial.hit(threshold) is not None for trial in trials]
    return Rate(sum(hits), len(hits))


@dataclass(frozen=True)
class Latency:
    """Seconds from a word's end to its detection; negative if it fired before the end. count: of detections."""

    median: float
    percentile90: float
    count: int


@dataclass(frozen=True)
class StepFigures:
    """Posteriors step by step against 50 ones after each word, as the assignment counts; shares of all steps.

    constant: the accuracy of a network that never says one. precision, recall, f1: of the ones; 0 if there are none.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    constant: float


@dataclass(frozen=True, eq=False)
class Evaluation:
    """One model on many recordings. name: of the model, for tables."""

    model: Model
    name: str
    trials: Sequence[Trial]
    streams: Sequence[Stream]

    @cached_property
    def conditions(self) -> dict[tuple[str, float | None], list[Trial]]:
        """The trials by folder and SNR."""
        groups: dict[tuple[str, float | None], list[Trial]] = {}
        for trial in self.trials:
            groups.setdefault((trial.recording.source, trial.snr_db), []).append(trial)
        return groups

    def at(self, threshold: float) -> OperatingPoint:
        """The figures at one threshold."""
        groups = {f"{source}, {condition(snr)}": trials for (source, snr), trials in self.conditions.items()}
        return OperatingPoint(
            threshold,
            {name: heard(trials, threshold) for name, trials in groups.items()},
            {stream.name: Rate(len(stream.fired(threshold)), stream.hours) for stream in self.streams},
        )

    def by_source(self, threshold: float) -> dict[str, dict[str, Rate]]:
        """False accepts of each stream by the folder in which they happened, the worst first."""
        result = {}
        for stream in self.streams:
            counts = dict.fromkeys(stream.hours_by_source(), 0)
            for sample in stream.fired(threshold):
                counts[stream.recordings[stream.index(sample)].source] += 1
            rates = {source: Rate(counts[source], hours) for source, hours in stream.hours_by_source().items()}
            result[stream.name] = dict(sorted(rates.items(), key=lambda item: -item[1].value))
        return result

    def latency(self, threshold: float) -> Latency | None:
        """How late detections are; None if there are none."""
        hits = ((trial.hit(threshold), trial.word_end) for trial in self.trials)
        seconds = [(hit - end) / SAMPLE_RATE for hit, end in hits if hit is not None]
        if not seconds:
            return None
        return Latency(float(np.median(seconds)), float(np.percentile(seconds, 90)), len(seconds))

    @cached_property
    def steps(self) -> StepFigures | None:
        """Step figures over all trials; None without trials."""
        if not self.trials:
            return None
        hits = claims = ones = agreed = total = 0
        for trial in self.trials:
            labels = np.zeros(len(trial.posteriors), bool)
            first = trial.word_end // STEP + 1
            labels[first : first + LABEL_STEPS] = True
            said = trial.posteriors > STEP_THRESHOLD
            hits += int(np.sum(labels & said))
            claims += int(np.sum(said))
            ones += int(np.sum(labels))
            agreed += int(np.sum(labels == said))
            total += len(labels)
        precision, recall = hits / max(1, claims), hits / max(1, ones)
        f1 = 2 * precision * recall / max(1e-12, precision + recall)
        return StepFigures(agreed / total, precision, recall, f1, 1 - ones / total)

    @cached_property
    def curve(self) -> list[OperatingPoint]:
        """The figures wherever they change: at the peaks of the posteriors, thinned to some hundred thresholds."""
        return [self.at(threshold) for threshold in self._thresholds(CURVE_POINTS)]

    def _thresholds(self, count: int) -> list[float]:
        peaks = [np.array([trial.peak for trial in self.trials])]
        for stream in self.streams:
            # what a second holds at most fires at most once: no finer peaks are needed
            hop = SAMPLE_RATE // STEP
            whole = len(stream.smoothed) // hop * hop
            peaks.append(stream.smoothed[:whole].reshape(-1, hop).max(axis=1))
        grids = [np.array(CANDIDATES)]
        for values in peaks:
            # as many of each kind, by rank from the top: there are hours of silence, and few words
            top = np.sort(values)[::-1][: 4 * count]
            if len(top):
                grids.append(top[np.unique(np.geomspace(1, len(top), count // 2).astype(int)) - 1])
        rounded = np.unique(np.clip(np.round(np.concatenate(grids), 4), 0.001, 0.9999))
        return [float(value) for value in rounded[:: max(1, len(rounded) // count)]]

    def choose_threshold(self, fa_per_hour: float) -> OperatingPoint:
        """The lowest threshold from which on no stream fires more often than wished.

        Raises TrainingError if even the highest one does.
        """
        return choose_threshold([self.at(threshold) for threshold in CANDIDATES], fa_per_hour)

    def cautious_threshold(self, threshold: float, fa_per_hour: float, speech: str = "speech") -> tuple[float, str]:
        """What to take in the place of a chosen threshold, and why, where there is too little speech to choose by.

        speech: what to call it. The reason is empty where there is enough.
        """
        hours = sum(stream.hours for stream in self.streams if stream.name == "speech")
        if can_tell(fa_per_hour, hours):
            return threshold, ""
        return max(threshold, CAUTIOUS_THRESHOLD), (
            f"in {60 * hours:.0f} min of {speech} nobody can see whether it fires more than {fa_per_hour:g} times an "
            f"hour, so the threshold is {CAUTIOUS_THRESHOLD:g} at least; `chimed-train download` gets hours of speech"
        )

    def misses_at(self, fa_per_hour: float) -> OperatingPoint | None:
        """The figures where it fires as seldom as that; None if it always fires more often."""
        try:
            return choose_threshold(self.curve, fa_per_hour)
        except TrainingError:
            return None

    def as_json(self, thresholds: Sequence[float] = THRESHOLDS) -> dict[str, Any]:
        """All figures for a program."""
        threshold = self.model.threshold
        latency = self.latency(threshold)
        return {
            "model": self.name,
            "word": self.model.word,
            **as_json([self.at(threshold)])[0],
            "by_source": {
                stream: {source: _accepts(rate) for source, rate in rates.items()}
                for stream, rates in self.by_source(threshold).items()
            },
            "latency_seconds": latency and {name: round(value, 4) for name, value in vars(latency).items()},
            "steps": self.steps and {name: round(value, 5) for name, value in vars(self.steps).items()},
            "thresholds": as_json([self.at(threshold) for threshold in thresholds]),
            "curve": threshold_sweep(self.curve, len(self.curve)),
        }


def evaluate(
    models: Mapping[str, Model],
    words: Mapping[str, Sequence[Recording]],
    others: Mapping[str, Sequence[Recording]],
    snrs_db: Sequence[float | None] = (None, 10.0),
) -> list[Evaluation]:
    """Measure models, all on the same recordings, each of which is scored once.

    models: name to model; words: folder to recordings of the word alone, tested in quiet (None) and at each SNR;
    others: name to recordings without it, each name's joined into one stream.
    Raises TrainingError if the models are not for one word.
    """
    if len({model.word for model in models.values()}) > 1:
        listed = ", ".join(f"{name}: {model.word!r}" for name, model in models.items())
        raise TrainingError(f"models of different words cannot be compared on the same recordings ({listed})")
    each = list(models.values())
    trials = [
        [trial for part in parts for trial in part]
        for parts in zip(*(score_words(each, clips, snrs_db, title=name) for name, clips in words.items()), strict=True)
    ] or [[] for _ in each]
    streams = [
        list(mine)
        for mine in zip(*(score_stream(each, name, recordings) for name, recordings in others.items()), strict=True)
    ] or [[] for _ in each]
    return [Evaluation(*entry) for entry in zip(each, models, trials, streams, strict=True)]
