"""Listens to one client's stream: a state of its own, and weights that all clients share."""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Sequence

import numpy as np

from daemon.audio.pcm import PcmFormat, PcmStream
from daemon.audio.resample import Samples
from model.detector import Detection, Spotter, grouped, side_by_side
from model.frontend import FULL_SCALE, SAMPLE_RATE
from model.modelfile import Model
from model.network import Network

LOUDNESS_SPAN = SAMPLE_RATE  # samples: the second before it was certain holds the word
SILENCE_DB = -120.0  # dBFS


class WordSet:
    """The words that can be heard, with their weights once for all streams of a thread."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.replace(models)

    def replace(self, models: Sequence[Model]) -> None:
        """Other words from now on, for the streams that run too."""
        self.models = tuple(models)
        self._all = side_by_side(models)
        self._alone: dict[str, Network] = {}  # by word, of those that were chosen among others

    def spotter(self, names: Sequence[str] | None) -> Spotter | None:
        """A new stream's own for these words, all for None; None if all the names are unknown.

        All words are computed side by side. Some of them are computed one by one: a network for each choice that
        clients can make would take memory without end.
        """
        chosen = [model for model in self.models if names is None or model.word in names]
        if len(chosen) in (0, len(self.models)):
            return Spotter(chosen, self._all) if chosen else None
        ordered = [chosen[place] for places in grouped(chosen) for place in places]
        return Spotter(chosen, [self._network(model) for model in ordered])

    def _network(self, model: Model) -> Network:
        if model.word not in self._alone:
            self._alone[model.word] = Network(model.weights)
        return self._alone[model.word]


class AudioStreamSession:
    """One client's stream, from one start to the next."""

    def __init__(self, word_set: WordSet) -> None:
        self._word_set = word_set
        self._names: tuple[str, ...] | None = None
        self._spotter = word_set.spotter(None)
        self._models = word_set.models  # which the spotter hears
        self._stream: PcmStream | None = None
        self._format: PcmFormat | None = None
        self._energy: deque[tuple[int, float]] = deque()  # of the last second: samples, sum of their squares
        self._span = 0  # samples in it
        self._heard = 0  # samples since the start
        self._origin = 0  # where the spotter began

    @property
    def words(self) -> tuple[str, ...]:
        """What it listens for."""
        return self._spotter.words if self._spotter is not None else ()

    @property
    def streaming(self) -> bool:
        """Whether a stream has begun and not ended."""
        return self._stream is not None

    @property
    def format(self) -> PcmFormat | None:
        """That of the stream, or of the last one."""
        return self._format

    @property
    def loudness(self) -> float:
        """The level of the last second, dBFS."""
        mean = sum(energy for _, energy in self._energy) / max(1, self._span)
        return 10 * math.log10(mean / FULL_SCALE**2) if mean > 0 else SILENCE_DB

    def choose(self, names: Sequence[str] | None) -> None:
        """Listen for these words from here on, for all if None; to choose the same again changes nothing."""
        wanted = tuple(names) if names else None
        if wanted != self._names:
            self._names = wanted
            self._listen()

    def _listen(self) -> None:
        self._spotter = self._word_set.spotter(self._names)
        self._models = self._word_set.models
        self._origin = self._heard

    def start(self, pcm: PcmFormat) -> None:
        """A new stream: nothing heard yet."""
        if self._spotter is not None:
            self._spotter.reset()
        self._format, self._stream = pcm, PcmStream(pcm)
        self._energy.clear()
        self._span = self._heard = self._origin = 0

    def push(self, data: bytes, pcm: PcmFormat) -> list[Detection]:
        """The detections that these bytes complete; begins a stream where none was begun.

        Clients that change the format in mid-stream exist: the stream goes on.
        """
        before: list[Detection] = []
        if self._stream is None:
            self.start(pcm)
        elif pcm != self._format:
            before = self._hear(self._stream.flush())
            self._format, self._stream = pcm, PcmStream(pcm)
        assert self._stream is not None
        return before + self._hear(self._stream.push(data))

    def skip(self, data: bytes, pcm: PcmFormat) -> None:
        """These bytes are not listened to: what follows is heard as after a gap, at its own time."""
        if self._stream is None or pcm != self._format:
            self._format, self._stream = pcm, PcmStream(pcm)
        self._heard += self._stream.skip(data)
        if self._spotter is not None:
            self._spotter.reset()
        self._energy.clear()
        self._span, self._origin = 0, self._heard

    def stop(self) -> list[Detection]:
        """End of the stream: the detections in what was held back."""
        if self._stream is None:
            return []
        detections = self._hear(self._stream.flush())
        if self._spotter is not None:
            detections += self._placed(self._spotter.conclude())
        self._stream = None
        return detections

    def drop(self) -> None:
        """The stream broke off: free what it held, 0.2 MB, at once."""
        self._stream = self._spotter = None

    def _hear(self, samples: Samples) -> list[Detection]:
        if not len(samples):
            return []
        if self._models is not self._word_set.models:
            self._listen()
        floats = samples.astype(np.float32)
        self._energy.append((len(samples), float(np.dot(floats, floats))))
        self._heard += len(samples)
        self._span += len(samples)
        while self._span - self._energy[0][0] >= LOUDNESS_SPAN:
            self._span -= self._energy.popleft()[0]
        return self._placed(self._spotter.push(samples)) if self._spotter is not None else []

    def _placed(self, detections: list[Detection]) -> list[Detection]:
        """The same, counted from the start of the stream."""
        return [dataclasses.replace(each, sample=self._origin + each.sample) for each in detections]
