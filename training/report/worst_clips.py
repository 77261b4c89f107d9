"""Choose the worst mistakes of a model, and cut each out of what was scored: to see and to hear."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from model.frontend import SAMPLE_RATE, STEP, DoubleArray
from training.dsp.decode import Int16Array
from training.measuring.evaluation import Evaluation
from training.measuring.score_recordings import Stream, Trial, condition, sample_of

WORST = 6  # of misses and of false accepts, for each model
BEFORE_SECONDS, AFTER_SECONDS = 2.5, 1.0  # around a false accept


@dataclass(frozen=True, eq=False)
class WorstClip:
    """A piece of what was scored.

    fired: whether the gate did in it; peak: the highest posterior; where: the condition or the stream; name: of the
    recording; first: the sample of the stream at which it begins; smoothed: (steps,) of the whole stream; word: from
    when to when it was said, in seconds of the clip, if it was.
    """

    fired: bool
    peak: float
    where: str
    name: str
    samples: Int16Array
    first: int
    smoothed: DoubleArray
    word: tuple[float, float] | None = None

    @property
    def seconds(self) -> float:
        """How long it is; never nothing, so that it can be drawn."""
        return max(len(self.samples) / SAMPLE_RATE, 0.1)

    @property
    def posterior(self) -> list[tuple[float, float]]:
        """Seconds and value at every second step, which is finer than a pixel."""
        first, last = (self.first - sample_of(0)) // STEP, (self.first + len(self.samples)) // STEP
        steps = range(max(0, first), min(len(self.smoothed), last), 2)
        points = [((sample_of(step) - self.first) / SAMPLE_RATE, float(self.smoothed[step])) for step in steps]
        return [(second, value) for second, value in points if 0 <= second <= self.seconds]


def hardest_words(evaluation: Evaluation) -> list[WorstClip]:
    """The words that were missed, then those with the lowest peaks; of each recording its worst condition."""
    threshold = evaluation.model.threshold
    by_recording: dict[int, Trial] = {}
    for trial in sorted(evaluation.trials, key=lambda trial: (trial.hit(threshold) is not None, trial.peak)):
        by_recording.setdefault(id(trial.recording), trial)
    return [_word(trial, threshold) for trial in list(by_recording.values())[:WORST]]


def likest_sounds(evaluation: Evaluation) -> list[WorstClip]:
    """Where the posterior was highest without the word being said."""
    found = [(peak, stream, sample) for stream in evaluation.streams for peak, sample in peaks(stream)]
    highest = sorted(found, key=lambda each: -each[0])[:WORST]
    return [_sound(stream, sample, peak, evaluation.model.threshold) for peak, stream, sample in highest]


def peaks(stream: Stream, count: int = WORST) -> list[tuple[float, int]]:
    """The highest smoothed posteriors at least a second apart: value and sample."""
    second = SAMPLE_RATE // STEP
    left = np.array(stream.smoothed)
    found: list[tuple[float, int]] = []
    while len(found) < count and len(left):
        step = int(np.argmax(left))
        if left[step] <= 0:
            break
        found.append((float(left[step]), sample_of(step)))
        left[max(0, step - second) : step + second + 1] = 0
    return found


def _word(trial: Trial, threshold: float) -> WorstClip:
    first = max(0, trial.start - SAMPLE_RATE)
    last = min(trial.end + SAMPLE_RATE, first + 5 * SAMPLE_RATE)
    word = ((trial.start - first) / SAMPLE_RATE, (trial.word_end - first) / SAMPLE_RATE)
    fired = trial.hit(threshold) is not None
    samples, name = trial.samples()[first:last], _name(trial.recording.path)
    return WorstClip(fired, trial.peak, condition(trial.snr_db), name, samples, first, trial.smoothed, word)


def _sound(stream: Stream, sample: int, peak: float, threshold: float) -> WorstClip:
    number = stream.index(sample)
    recording, start = stream.recordings[number], stream.starts[number]
    first = max(start, sample - int(BEFORE_SECONDS * SAMPLE_RATE))
    last = min(start + len(recording.samples), sample + int(AFTER_SECONDS * SAMPLE_RATE))
    samples = recording.samples[first - start : max(first, last) - start]
    name = f"{_name(recording.path)}, {(sample - start) / SAMPLE_RATE:.1f} s"
    return WorstClip(peak > threshold, peak, stream.name, name, samples, first, stream.smoothed)


def _name(path: str) -> str:
    return "/".join(Path(path).parts[-2:])
