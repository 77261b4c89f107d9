"""Recordings and models in, posteriors out: each word in a room or in noise, everything else as one long stream.

Every recording is scored once, by the daemon's own `Scorer`, for all models together. What a threshold makes of it
is `evaluate`'s business.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from model.detector import Scorer
from model.frontend import CLIP, FULL_SCALE, SAMPLE_RATE, STEP, STEP_SPAN, DoubleArray, FloatArray
from model.modelfile import Model
from training.corpora.corpus import Corpus
from training.dsp import endpointing
from training.dsp.decode import Int16Array, active_level, to_int16
from training.measuring.offline_gate import gate_firings, smooth
from training.utils.progress import bar

BEFORE_SECONDS, AFTER_SECONDS = 2.0, 1.5  # of quiet background around a word that is tested
LATE_SECONDS = 1.0  # a firing from where the word's recording begins to so long after its end is a hit
PAUSE_SECONDS = 0.5  # between the recordings of a stream
QUIET_DBFS = -65.0
LOUD_DB = -40.0  # below a recording's loudest 10 ms: not the word any more


@dataclass(frozen=True, eq=False)
class Recording:
    """samples: (n,) at 44.1 kHz; source: the folder that it was found in; path: its file."""

    samples: Int16Array
    source: str = ""
    path: str = ""


def recordings(corpus: Corpus, split: str = "all") -> list[Recording]:
    """Those of a split ("all": of none; "dev+test": of two), mapped from disk."""
    clips = corpus.clips if split == "all" else corpus.split(*split.split("+"))
    return [Recording(corpus[clip], clip.folder, clip.path) for clip in clips]


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


def word_end(word: Int16Array) -> int:
    """The sample at which the word ends in a recording of it.

    That is, the last 10 ms that are louder than -40 dB of the loudest; or, in a louder room, than the room.
    """
    word = word[: endpointing.said(word).end]
    hop = SAMPLE_RATE // 100
    count = len(word) // hop
    if count == 0:
        return len(word)
    power = np.mean(np.square(word[: count * hop].reshape(count, hop).astype(np.float32)), axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (LOUD_DB / 10))
    return int(loud[-1] + 1) * hop if len(loud) else len(word)


def sample_of(step: int) -> int:
    """How many samples of the stream had been heard when a step was known."""
    return step * STEP + STEP_SPAN


def condition(snr_db: float | None) -> str:
    """Its name: quiet, or the SNR."""
    return "quiet" if snr_db is None else f"{snr_db:g} dB"


@dataclass(frozen=True, eq=False)
class Trial:
    """One word in one condition, as one model scores it.

    start, end: samples of the test recording between which the word's recording lies; word_end: where the word
    itself ends in it; number: of the recording, which with the seed gives the noise; posteriors: (steps,).
    """

    model: Model
    recording: Recording
    number: int
    snr_db: float | None
    start: int
    end: int
    word_end: int
    posteriors: FloatArray
    seed: int = 0

    @cached_property
    def smoothed(self) -> DoubleArray:
        """(steps,) what the gate compares with the threshold."""
        return smooth(self.posteriors, self.model.smoothing)

    @cached_property
    def window(self) -> DoubleArray:
        """The part of `smoothed` in which a firing is a hit."""
        first = max(0, -(-(self.start - STEP_SPAN) // STEP))
        return self.smoothed[first : int(self.end + LATE_SECONDS * SAMPLE_RATE - STEP_SPAN) // STEP + 1]

    @cached_property
    def peak(self) -> float:
        """The highest smoothed posterior that could be a hit."""
        return float(self.window.max(initial=0.0))

    def hit(self, threshold: float) -> int | None:
        """The sample at which the word was heard; None if it was missed."""
        if self.peak <= threshold:
            return None
        for step in gate_firings(self.smoothed, threshold, self.model.suppression):
            if self.start <= sample_of(step) <= self.end + LATE_SECONDS * SAMPLE_RATE:
                return sample_of(step)
        return None

    def samples(self) -> Int16Array:
        """What was scored, made again."""
        return place(self.recording.samples, np.random.default_rng([self.seed, self.number]), self.snr_db)[0]


@dataclass(frozen=True, eq=False)
class Stream:
    """Recordings without the word, joined, as one model scores them.

    starts: the sample at which each recording begins; a pause follows each; samples: in all.
    """

    model: Model
    name: str
    recordings: Sequence[Recording]
    starts: Sequence[int]
    samples: int
    posteriors: FloatArray

    @property
    def hours(self) -> float:
        """How long it is."""
        return self.samples / SAMPLE_RATE / 3600

    @cached_property
    def smoothed(self) -> DoubleArray:
        """(steps,) what the gate compares with the threshold."""
        return smooth(self.posteriors, self.model.smoothing)

    def fired(self, threshold: float) -> list[int]:
        """The samples at which it fired."""
        return [sample_of(step) for step in gate_firings(self.smoothed, threshold, self.model.suppression)]

    def index(self, sample: int) -> int:
        """The number of the recording that was last heard at a sample."""
        return int(np.searchsorted(self.starts, sample, side="right")) - 1

    def hours_by_source(self) -> dict[str, float]:
        """How much of the stream, pauses included, is of each folder."""
        hours: dict[str, float] = {}
        ends = [*self.starts[1:], self.samples]
        for recording, start, end in zip(self.recordings, self.starts, ends, strict=True):
            hours[recording.source] = hours.get(recording.source, 0.0) + (end - start) / SAMPLE_RATE / 3600
        return hours


def score_words(
    models: Sequence[Model],
    words: Sequence[Recording],
    snrs_db: Sequence[float | None],
    seed: int = 0,
    title: str = "words",
) -> list[list[Trial]]:
    """Each word in each condition -> for each model, its trials: condition by condition, in the order of the words."""
    trials: list[list[Trial]] = [[] for _ in models]
    scorer = Scorer(models)
    todo = [(snr, number, word) for snr in snrs_db for number, word in enumerate(words)]
    for snr, number, word in bar(todo, title, "word"):
        samples, start, end = place(word.samples, np.random.default_rng([seed, number]), snr)
        posteriors = score_alone(scorer, samples)
        last = start + word_end(word.samples)
        for model, mine, row in zip(models, trials, posteriors, strict=True):
            mine.append(Trial(model, word, number, snr, start, end, last, row, seed))
    return trials


def score_alone(scorer: Scorer, samples: Int16Array) -> FloatArray:
    """(models, steps) of a recording with nothing before it, and a moment of silence after it."""
    scorer.reset()
    parts = _push(scorer, samples)
    return np.concatenate([*parts, scorer.flush().posteriors], axis=1)


def _push(scorer: Scorer, samples: Int16Array) -> list[FloatArray]:
    """(models, steps) of each 10 s: the spectrogram of an hour would fill the memory."""
    return [scorer.push(samples[first : first + CLIP]).posteriors for first in range(0, len(samples), CLIP)]


def score_stream(
    models: Sequence[Model], name: str, recordings: Iterable[Recording], pause_seconds: float = PAUSE_SECONDS
) -> list[Stream]:
    """Recordings, joined as a microphone would hear them -> the stream for each model."""
    scorer = Scorer(models)
    rng = np.random.default_rng(0)
    recordings = list(recordings)
    parts, starts, heard = [np.empty((len(models), 0), np.float32)], [], 0
    for recording in bar(recordings, name, "file"):
        starts.append(heard)
        pause = background(int(pause_seconds * SAMPLE_RATE), QUIET_DBFS, rng).astype(np.int16)
        for piece in (recording.samples, pause):
            parts += _push(scorer, piece)
            heard += len(piece)
    posteriors = np.concatenate(parts, axis=1)
    return [Stream(model, name, recordings, starts, heard, row) for model, row in zip(models, posteriors, strict=True)]
