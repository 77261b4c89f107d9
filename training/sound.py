"""A recording in, what it sounds like every 5 ms out: level, shape of the spectrum, pitch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soxr

from model.frontend import FULL_SCALE, SAMPLE_RATE, DoubleArray, FloatArray
from training.corpus import Int16Array, active_level, read

HOP = SAMPLE_RATE // 200  # samples between two descriptions, 5 ms
LEVEL_DBFS = -26.0  # to which the speech in every recording is brought
CEPSTRA = 12
_WINDOW = 882  # samples, 20 ms
_PITCH_WINDOW = 512  # samples at a quarter of the rate, 46 ms
_PITCH_HZ = (70.0, 450.0)
_BANDS = 26  # between 100 Hz and 7.6 kHz, on the mel scale


class Sound:
    """One recording, its speech brought to one level, and what it sounds like every 5 ms.

    samples: (n,) at 44.1 kHz; path: where they come from.
    """

    def __init__(self, samples: Int16Array, path: str = "") -> None:
        self.path = path
        gain = 10 ** ((LEVEL_DBFS - active_level(samples)) / 20)
        self.samples: FloatArray = (samples * (gain / FULL_SCALE)).astype(np.float32)

    @cached_property
    def _power(self) -> DoubleArray:
        """(frames, bins) power spectrum."""
        return np.square(np.abs(np.fft.rfft(_frames(self.samples, _WINDOW) * np.hanning(_WINDOW))))

    @cached_property
    def level(self) -> DoubleArray:
        """(frames,) in dB relative to the speech's level."""
        frames = _frames(self.samples, _WINDOW) * np.hanning(_WINDOW)
        power = np.mean(np.square(frames), axis=1) / np.mean(np.square(np.hanning(_WINDOW)))
        return np.asarray(10 * np.log10(power + 1e-12) - LEVEL_DBFS)

    @cached_property
    def hiss(self) -> DoubleArray:
        """(frames,) the level of what lies between 2 and 8 kHz, in dB: where a stop's release is heard."""
        low, high = (round(hertz * _WINDOW / SAMPLE_RATE) for hertz in (2000, 8000))
        return np.asarray(10 * np.log10(np.sum(self._power[:, low:high], axis=1) + 1e-9))

    @cached_property
    def cepstra(self) -> DoubleArray:
        """(frames, 12) shape of the spectrum, without its level."""
        bands = 10 * np.log10(self._power @ _mel_filters().T + 1e-9)
        bands = np.maximum(bands, bands.max() - 70)
        order = np.arange(1, CEPSTRA + 1)[:, None]
        cosines = np.cos(np.pi * order * (np.arange(_BANDS) + 0.5) / _BANDS) / np.sqrt(_BANDS / 2)
        return np.asarray(bands @ cosines.T)

    @cached_property
    def pitch(self) -> DoubleArray:
        """(frames,) in semitones above 1 Hz; NaN where there is no voice."""
        # a quarter of the rate will do, and half a sample of it is half a semitone at the most
        quarter = soxr.resample(self.samples, SAMPLE_RATE, SAMPLE_RATE / 4)
        frames = _frames(quarter, _PITCH_WINDOW, HOP // 4)[: len(self.level)]
        frames = frames - frames.mean(axis=1, keepdims=True)
        window = np.hanning(_PITCH_WINDOW)
        likeness = np.fft.irfft(np.square(np.abs(np.fft.rfft(frames * window, 2 * _PITCH_WINDOW))))
        own = np.fft.irfft(np.square(np.abs(np.fft.rfft(window, 2 * _PITCH_WINDOW))))
        shortest, longest = (round(SAMPLE_RATE / 4 / hertz) for hertz in reversed(_PITCH_HZ))
        lags = np.arange(shortest, longest)
        scaled = likeness[:, lags] / (likeness[:, :1] + 1e-12) * (own[0] / own[lags])
        # the first lag nearly as good as the best: half the pitch fits equally well
        first = np.argmax(scaled > 0.9 * scaled.max(axis=1, keepdims=True), axis=1)
        peak = first + np.array([np.argmax(row[at : at + 10]) for row, at in zip(scaled, first, strict=True)])
        voiced = (scaled.max(axis=1) > 0.55) & (self.level[: len(scaled)] > -30)
        pitch = np.where(voiced, 12 * np.log2(SAMPLE_RATE / 4 / lags[np.minimum(peak, len(lags) - 1)]), np.nan)
        return np.pad(pitch, (0, len(self.level) - len(pitch)), constant_values=np.nan)

    def frame(self, sample: int) -> int:
        """The description nearest to a sample."""
        return min(max(round(sample / HOP), 0), len(self.level) - 1)

    def shape(self, start: int, end: int) -> DoubleArray:
        """(12,) the mean cepstra from one sample to another."""
        return np.asarray(self.cepstra[self.frame(start) : self.frame(end) + 1].mean(axis=0))


def load(path: str) -> Sound:
    """A recording from its file. Raises TrainingError if it is of no use."""
    return Sound(read(Path(path)), path)


@dataclass(frozen=True)
class Colour:
    """What one voice in one room has in all its sounds. mean, spread: (12,) of the cepstra of its speech."""

    mean: DoubleArray
    spread: DoubleArray

    def without(self, shape: DoubleArray) -> DoubleArray:
        """(12,) cepstra, comparable with those of other voices."""
        return np.asarray((shape - self.mean) / self.spread)


def colour(sounds: Sequence[Sound]) -> Colour:
    """That of all the speech in these recordings of one voice."""
    loud = np.concatenate([sound.cepstra[sound.level > -30] for sound in sounds])
    return Colour(loud.mean(axis=0), loud.std(axis=0) + 1e-3)


def _frames(samples: FloatArray, window: int, hop: int = HOP) -> FloatArray:
    padded = np.pad(samples, (window // 2, window))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[: len(samples) + 1 : hop]


def _mel_filters() -> DoubleArray:
    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(mel(100), mel(7600), _BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None))
