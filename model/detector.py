"""Detects words in samples: the whole path, for a file and for a stream alike.

`Scorer` turns samples into posteriors, a `Spotter` adds the gates, a `Detector` the rolling window. The audio is cut
into frames counted from the start of the stream, so any split into blocks gives bitwise equal results.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from model.frontend import (
    BINS,
    CLIP,
    CLIP_COLUMNS,
    CLIP_STEPS,
    FRAME,
    SAMPLE_RATE,
    STEP,
    STEP_SPAN,
    DoubleArray,
    FloatArray,
    FrontEnd,
    Samples,
    StreamingSpectrogram,
    column_count,
    step_count,
)
from model.gate import Gate
from model.modelfile import Model
from model.network import Network
from model.ring_buffer import RingBuffer

# A recording may end with the word, and a network is sure of a word only a moment after it; at a microphone that
# moment comes by itself. Whole frames, half a second.
QUIET_AFTER = 7 * FRAME


@dataclass(frozen=True, slots=True)
class Detection:
    """A word was heard: the one event of the product.

    word: what was said; score: posterior, 0 to 1; sample: how many samples of the stream had been heard
    when it was certain, counted from the last reset.
    """

    word: str
    score: float
    sample: int

    @property
    def seconds(self) -> float:
        """The position in the stream, in seconds of audio."""
        return self.sample / SAMPLE_RATE


class Scores(NamedTuple):
    """What one call computed. columns: (101, n) power; posteriors: (words, steps)."""

    columns: DoubleArray
    posteriors: FloatArray


def grouped(models: Sequence[Model]) -> list[list[int]]:
    """Which of the models read the same features: the places of each such group."""
    groups: dict[FrontEnd, list[int]] = {}
    for place, model in enumerate(models):
        groups.setdefault(model.front_end, []).append(place)
    return list(groups.values())


def side_by_side(models: Sequence[Model]) -> list[Network]:
    """A network for each group, which computes all of its words at once."""
    return [Network(*(models[place].weights for place in places)) for places in grouped(models)]


class Scorer:
    """Posteriors of several models over one stream; the spectrogram is computed once.

    networks: where other streams of this thread use them too, those of the models as `grouped` orders them, each for
    one word or for several of a group; otherwise the stream's own, `side_by_side`.
    """

    def __init__(self, models: Sequence[Model], networks: Sequence[Network] | None = None) -> None:
        groups = grouped(models)
        self._spectrogram = StreamingSpectrogram()
        self._scalings = [models[places[0]].front_end.new_scaling() for places in groups]
        words = [scaling for scaling, places in enumerate(groups) for _ in places]
        self._networks: list[tuple[Network, int]] = []  # and which scaling makes its features
        covered = 0
        for network in side_by_side(models) if networks is None else networks:
            self._networks.append((network, words[covered]))
            covered += network.words
        self._order = np.argsort([place for places in groups for place in places])
        self.reset()

    def reset(self) -> None:
        """Start of a new stream: zero states, no past."""
        self._spectrogram.reset()
        for scaling in self._scalings:
            scaling.reset()
        self._states = [network.initial_state() for network, _ in self._networks]
        self._pending: Samples = np.empty(0, np.int16)
        self._samples = 0  # heard
        self._columns = 0  # computed
        self._steps = 0

    @property
    def heard(self) -> int:
        """How many samples were pushed since the last reset."""
        return self._samples

    def push(self, samples: Samples) -> Scores:
        """(n,) int16 samples -> what the frames that they complete give; a remainder waits."""
        self._samples += len(samples)
        pending = np.concatenate((self._pending, samples)) if len(self._pending) else samples
        whole = len(pending) // FRAME * FRAME
        self._pending = pending[whole:].copy()
        return self._score(pending[:whole])

    def conclude(self) -> Scores:
        """End of a recording: the steps of its last frame and of half a second of silence; reset before the next."""
        silence = np.zeros(-self._samples % FRAME + QUIET_AFTER, np.int16)
        return self._score(np.concatenate((self._pending, silence)))

    def flush(self) -> Scores:
        """End of the stream: the steps of the last, incomplete frame; reset before the next stream.

        The frame is filled up with zeros and only what saw none of them is returned: the very columns and
        steps that more audio would have given.
        """
        known_columns, known_steps = self._columns, self._steps
        missing = -self._samples % FRAME
        scores = self._score(np.concatenate((self._pending, np.zeros(missing, np.int16))))
        return Scores(
            scores.columns[:, : column_count(self._samples) - known_columns],
            scores.posteriors[:, : step_count(self._samples) - known_steps],
        )

    def _score(self, samples: Samples) -> Scores:
        frames = [self._score_frame(samples[start : start + FRAME]) for start in range(0, len(samples), FRAME)]
        if len(frames) == 1:  # as live
            scores = frames[0]
        else:
            nothing = Scores(np.empty((BINS, 0)), np.empty((len(self._order), 0), np.float32))
            scores = Scores(
                np.concatenate([frame.columns for frame in [nothing, *frames]], axis=1),
                np.concatenate([frame.posteriors for frame in [nothing, *frames]], axis=1),
            )
        self._columns += scores.columns.shape[1]
        self._steps += scores.posteriors.shape[1]
        return scores

    def _score_frame(self, samples: Samples) -> Scores:
        columns = self._spectrogram.push(samples)
        features = [scaling.push(columns) for scaling in self._scalings]
        networks = zip(self._networks, self._states, strict=True)
        parts = [network.step(features[scaling], state) for (network, scaling), state in networks]
        return Scores(columns, np.concatenate(parts)[self._order] if len(parts) > 1 else parts[0])


def score(model: Model, samples: Samples) -> FloatArray:
    """The posteriors of a whole recording, (steps,), as the daemon would compute them; memory stays bounded."""
    scorer = Scorer([model])
    parts = [scorer.push(samples[start : start + CLIP]).posteriors[0] for start in range(0, len(samples), CLIP)]
    return np.concatenate([*parts, scorer.flush().posteriors[0]])


def blocks_of(samples: Samples) -> Iterator[Samples]:
    """(n,) int16 samples -> the same in blocks no longer than the rolling window.

    Raises ValueError for anything but one-dimensional int16.
    """
    if samples.ndim != 1 or samples.dtype != np.int16:
        raise ValueError(f"expected int16 samples of shape (n,), not {samples.dtype} {samples.shape}")
    for start in range(0, len(samples), CLIP):
        yield samples[start : start + CLIP]


class Spotter:
    """Push samples, get detections; holds no more of the past than they need, so that hundreds fit into memory.

    models: one per word, each with its own threshold, smoothing and suppression; networks: as for `Scorer`.
    Raises ValueError if there is none or if two stand for the same word.
    """

    def __init__(self, models: Sequence[Model], networks: Sequence[Network] | None = None) -> None:
        if not models:
            raise ValueError("a detector needs at least one model")
        self.words = tuple(model.word for model in models)
        if len(set(self.words)) < len(self.words):
            raise ValueError(f"two models for the same word: {', '.join(self.words)}")
        self.scorer = Scorer(models, networks)
        self._gates = [Gate(model.threshold, model.smoothing, model.suppression) for model in models]

    def reset(self) -> None:
        """Start of a new stream, as after a gap in the audio."""
        self.scorer.reset()
        for gate in self._gates:
            gate.reset()

    def push(self, samples: Samples) -> list[Detection]:
        """(n,) int16 samples -> the detections among the frames that they complete, in order of time.

        Raises ValueError for anything but one-dimensional int16.
        """
        return [detection for block in blocks_of(samples) for detection in self.decide(self.scorer.push(block))]

    def flush(self) -> list[Detection]:
        """End of the stream: the detections in the last, incomplete frame."""
        return self.decide(self.scorer.flush())

    def conclude(self) -> list[Detection]:
        """End of a recording: as `flush`, and what half a second of silence after it makes certain, at its end."""
        return self.decide(self.scorer.conclude())

    def decide(self, scores: Scores) -> list[Detection]:
        """What the scorer computed of the next steps -> the detections among them, in order of time.

        A gate's firing is a candidate until here, where it becomes a detection.
        """
        candidates = [
            (firing.step, word, firing.score)
            for word, gate, posteriors in zip(self.words, self._gates, scores.posteriors, strict=True)
            for firing in gate.push(posteriors)
        ]
        candidates.sort(key=lambda candidate: candidate[0])
        heard = self.scorer.heard
        return [Detection(word, score, min(step * STEP + STEP_SPAN, heard)) for step, word, score in candidates]


class Detector:
    """Push samples, get detections; the last 10 s can be read at any moment.

    models, and what is raised: as for `Spotter`. samples: (n,) int16; columns: (n, 101) power; posteriors: (n, words).
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self._spotter = Spotter(models)
        self.words = self._spotter.words
        self.samples = RingBuffer(CLIP, dtype=np.int16)
        self.columns = RingBuffer(CLIP_COLUMNS, (BINS,))
        self.posteriors = RingBuffer(CLIP_STEPS, (len(models),))

    def reset(self) -> None:
        """Start of a new stream, as after a gap in the audio."""
        self._spotter.reset()
        for ring in (self.samples, self.columns, self.posteriors):
            ring.reset()

    def push(self, samples: Samples) -> list[Detection]:
        """As `Spotter.push`."""
        detections = []
        for block in blocks_of(samples):
            self.samples.push(block)
            detections += self._decide(self._spotter.scorer.push(block))
        return detections

    def flush(self) -> list[Detection]:
        """As `Spotter.flush`."""
        return self._decide(self._spotter.scorer.flush())

    def conclude(self) -> list[Detection]:
        """As `Spotter.conclude`."""
        return self._decide(self._spotter.scorer.conclude())

    def _decide(self, scores: Scores) -> list[Detection]:
        """Decide once the window holds all that it is about; of samples that were heard, not of silence after them."""
        self.columns.push(scores.columns.T[: column_count(self.samples.total) - self.columns.total])
        self.posteriors.push(scores.posteriors.T[: step_count(self.samples.total) - self.posteriors.total])
        return self._spotter.decide(scores)
