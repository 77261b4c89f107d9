"""Mixes chimes into a recording where a word was heard, block by block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from daemon.audio.resample import Samples
from model.frontend import FRAME


class ChimeTrack:
    """Mixes a chime into the stream at each detection; what comes out is as long as what went in.

    write: gets the mixed pieces. A detection is known at most one frame after its place in the stream, so one
    frame is held back.
    """

    def __init__(self, write: Callable[[Samples], object]) -> None:
        self._write = write
        self._held: Samples = np.empty(0, np.int16)
        self._start = 0  # position of the first sample held
        self._chimes: list[tuple[int, Samples]] = []

    def push(self, samples: Samples) -> None:
        """The next piece of the recording; `chime` then names what was heard in it."""
        self._emit(len(self._held) - FRAME)
        self._held = np.concatenate((self._held, samples))

    def chime(self, sample: int, sound: Samples) -> None:
        """Let this sound begin at this position of the stream."""
        self._chimes.append((sample, sound))

    def finish(self) -> None:
        """End of the recording: write what is still held."""
        self._emit(len(self._held))

    def _emit(self, count: int) -> None:
        if count <= 0:
            return
        mix = self._held[:count].astype(np.int32)
        for sample, sound in self._chimes:
            first, last = max(sample, self._start), min(sample + len(sound), self._start + count)
            if first < last:
                mix[first - self._start : last - self._start] += sound[first - sample : last - sample]
        limits = np.iinfo(np.int16)
        self._write(np.clip(mix, limits.min, limits.max).astype(np.int16))
        self._held = self._held[count:]
        self._start += count
        self._chimes = [(sample, sound) for sample, sound in self._chimes if sample + len(sound) > self._start]
