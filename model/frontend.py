"""Turns audio into features, and holds the constants of the whole project.

Samples are 16-bit integers (or floats with such values) at 44.1 kHz, mono. A *column* is the power
spectral density of 200 samples, 101 bins; columns follow each other every 80 samples. A *step* is one
output of the network: it sees 15 columns and advances by 4. A *frame* is 11 steps, about 80 ms: the unit
in which the engine computes, so that the shapes of all its matrix products, and with them the last bit
of every result, do not depend on the blocks in which the audio happened to arrive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
Samples = npt.NDArray[Any]

SAMPLE_RATE = 44_100  # Hz
FULL_SCALE = 32_768  # the int16 value of 0 dBFS

WINDOW = 200  # samples in one column (symmetric Hann), 4.5 ms
HOP = 80  # samples from one column to the next, 1.8 ms
BINS = WINDOW // 2 + 1  # 101 frequencies, 220.5 Hz apart
PSD_RATE = 8000  # the "Fs" of the assignment's specgram call; only a scale factor, not the sample rate

KERNEL = 15  # columns that one step sees
STRIDE = 4  # columns from one step to the next
STEP = STRIDE * HOP  # 320 samples, 7.256 ms
STEP_SPAN = (KERNEL - 1) * HOP + WINDOW  # 1320 samples: step t is known once 320 t + 1320 samples were heard

FRAME_STEPS = 11
FRAME = FRAME_STEPS * STEP  # 3520 samples, 79.8 ms
FRAME_COLUMNS = FRAME_STEPS * STRIDE  # 44

CLIP = 10 * SAMPLE_RATE  # the rolling window: 10 s
CLIP_COLUMNS = (CLIP - WINDOW) // HOP + 1
CLIP_STEPS = (CLIP_COLUMNS - KERNEL) // STRIDE + 1

assert (BINS, CLIP_COLUMNS, CLIP_STEPS) == (101, 5511, 1375)

BINS_BELOW_8_KHZ = 37  # bins 0-36; a 16-kHz source has nothing above them

# matplotlib's mlab.specgram: symmetric Hann, scaled by its energy and by Fs; one-sided, so all bins but
# DC and Nyquist count twice.
_HANN = np.hanning(WINDOW)
_SCALED_HANN = _HANN * np.sqrt(2.0 / (PSD_RATE * np.sum(_HANN**2)))


def column_count(samples: int) -> int:
    """Number of whole columns in so many samples."""
    return max(0, (samples - WINDOW) // HOP + 1)


def step_count(samples: int) -> int:
    """Number of steps that are known once so many samples were heard."""
    return max(0, (samples - STEP_SPAN) // STEP + 1)


def spectrogram(samples: Samples) -> DoubleArray:
    """Power spectral density of each column, as ``mlab.specgram(x, NFFT=200, Fs=8000, noverlap=120)``.

    samples: (n,), int16-valued. Returns (101, (n - 200) // 80 + 1), in squared int16 units per "Hz" of
    the assignment's nominal 8000-Hz rate. Fewer than 200 samples give (101, 0).
    Raises ValueError unless the samples are one-dimensional.
    """
    if samples.ndim != 1:
        raise ValueError(f"expected mono samples of shape (n,), not {samples.shape}")
    if len(samples) < WINDOW:
        return np.empty((BINS, 0))
    samples = samples.astype(np.float64)  # once, not once for each column that sees it
    shape, strides = (column_count(len(samples)), WINDOW), (HOP * samples.itemsize, samples.itemsize)
    columns: DoubleArray = np.ndarray(shape, np.float64, samples, strides=strides)
    spectrum = np.fft.rfft(columns * _SCALED_HANN)
    power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    power[:, 0] *= 0.5
    power[:, -1] *= 0.5
    return power.T


class StreamingSpectrogram:
    """`spectrogram`, block by block: the concatenated columns are bitwise those of the whole signal."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget the samples that no column has used up yet."""
        self._carry: Samples = np.empty(0, np.int16)

    def push(self, samples: Samples) -> DoubleArray:
        """(n,) new samples -> (101, k) columns that they complete; k may be 0."""
        pending = np.concatenate((self._carry, samples)) if len(self._carry) else samples
        columns = spectrogram(pending)
        self._carry = pending[columns.shape[1] * HOP :].copy()
        return columns


class Scaling(Protocol):
    """Turns columns of power into what the network reads; holds what it must remember of the past."""

    def push(self, columns: DoubleArray) -> FloatArray:
        """(101, n) columns -> (n, bins) features; causal."""

    def reset(self) -> None:
        """Back to the state at the start of a stream."""


class RollingLevel:
    """The level of the last 10 s, in mean-square int16 units, known anew with each frame.

    The assignment brings each clip to -20 dBFS as a whole. A stream has no whole clip; what it has heard
    so far of the last 10 s is the nearest causal thing. The current frame is left out, so that a step
    never depends on samples after it. What the window still lacks at the start of a stream counts as somewhat
    quieter than what was heard: a first word would otherwise be the loudest part of its own clip, and what
    follows it too loud.
    """

    UNHEARD = 0.2  # power relative to what was heard, -7 dB; 0.05 to 0.33 do for the assignment's recordings

    def __init__(self) -> None:
        self._frames = CLIP // FRAME
        self.reset()

    def reset(self) -> None:
        """Nothing heard yet."""
        self._power = np.zeros(self._frames)
        self._count = 0

    def push(self, columns: DoubleArray) -> float | None:
        """(101, n) columns of one frame -> the level before it; None at the start of a stream."""
        level = None
        if self._count:
            heard = min(self._count, self._frames)
            lacking = self._frames - heard
            level = float(self._power.sum()) / heard * (heard + lacking * self.UNHEARD) / self._frames
        # Parseval: the PSD integrated over its nominal 40-Hz bins is the mean square of the samples.
        power = columns.sum() * PSD_RATE / WINDOW / columns.shape[1]
        self._power[self._count % self._frames] = power
        self._count += 1
        return level


class PowerScaling:
    """The assignment's features: raw power of a signal at -20 dBFS, here by the rolling level."""

    TARGET = FULL_SCALE**2 * 10 ** (-20 / 10)  # mean square at -20 dBFS
    MAX_GAIN = 1e6  # 60 dB; what lies below -80 dBFS counts as silence

    def __init__(self, bins: int) -> None:
        self._bins = bins
        self._level = RollingLevel()

    def reset(self) -> None:
        """Forget the level."""
        self._level.reset()

    def push(self, columns: DoubleArray) -> FloatArray:
        """(101, n) power -> (n, bins) power of the levelled signal."""
        level = self._level.push(columns)
        gain = 1.0 if level is None else min(self.TARGET / max(level, 1e-9), self.MAX_GAIN)
        return np.ascontiguousarray((columns[: self._bins] * gain).T, dtype=np.float32)


class RunningMean:
    """Exponential mean of the past, column by column; at the start of a stream the plain mean of what was heard."""

    def __init__(self, time_constant: float, width: int) -> None:
        decay = np.exp(-HOP / SAMPLE_RATE / time_constant)
        age = np.arange(FRAME_COLUMNS)[:, None] - np.arange(FRAME_COLUMNS)
        # column i of a frame averages columns j <= i of it and, decayed, all that came before
        self._recent = np.where(age >= 0, (1 - decay) * decay ** np.maximum(age, 0), 0.0)
        self._past = decay ** np.arange(1, FRAME_COLUMNS + 1)[:, None]
        self._values = np.ones((FRAME_COLUMNS, width + 1))  # the last one counts the weights
        self.reset()

    def reset(self) -> None:
        """Nothing heard yet."""
        self._mean = np.zeros(self._values.shape[1])

    def push(self, values: DoubleArray) -> DoubleArray:
        """(n, width) of at most one frame -> (n, width) means, each including its own column."""
        n = len(values)
        self._values[:n, :-1] = values
        mean = self._recent[:n, :n] @ self._values[:n]
        mean += self._past[:n] * self._mean
        self._mean = mean[-1].copy()
        means: DoubleArray = mean[:, :-1] / mean[:, -1:]
        return means


SILENCE = 1e-2  # PSD of white noise at about -74 dBFS: quieter than that is silence and stays so


FLOOR_DB = 15  # of LogScaling, below the level; stands in the model file, since a network knows no other


class LogScaling:
    """Logarithm of the power relative to the recent level of the whole band: one number subtracted per column.

    Independent of level; the spectrum keeps its shape, and with it the vowels theirs. Every octave counts alike
    in the level, or it would be that of rumble; the lowest bin, below 110 Hz, does not count at all.
    """

    TIME_CONSTANT = 0.5  # s
    # What is FLOOR_DB below the level is "nothing". With 25 or 40 dB a network learns the faint details of synthetic
    # speech, which real rooms do not have, and hears a word in some noise better than in none.
    OFFSET = 10 ** (-FLOOR_DB / 10)

    def __init__(self, bins: int) -> None:
        # 3 dB an octave: power proportional to frequency makes pink noise, and roughly speech, flat
        self._emphasis = np.maximum(np.arange(bins), 0.5) * (SAMPLE_RATE / WINDOW / 1000)
        counted = np.arange(bins) > 0 if bins > 1 else np.ones(1)
        self._weights = (counted / counted.sum())[:, None]  # of the bins in the level
        self._level = RunningMean(self.TIME_CONSTANT, 1)

    def reset(self) -> None:
        """Forget the level."""
        self._level.reset()

    def push(self, columns: DoubleArray) -> FloatArray:
        """(101, n) power of at most one frame -> (n, bins) natural logarithms, scaled to a spread of about one."""
        ratio = columns[: len(self._emphasis)].T * self._emphasis
        level = self._level.push(ratio @ self._weights)
        level += SILENCE
        ratio /= level
        ratio += self.OFFSET
        features = np.log(ratio, out=ratio)
        features *= 0.4
        features += 1.5
        return features.astype(np.float32)


class RelativeScaling:
    """Logarithm of the power relative to its own recent average, bin by bin.

    A per-channel automatic gain (Wang et al., "Trainable frontend for robust and far-field keyword
    spotting", 2017, without its trained exponents): independent of level, of the colour of microphone and
    room, and of steady noise.
    """

    TIME_CONSTANT = 0.4  # s
    OFFSET = 0.1  # keeps the logarithm of an empty bin finite: -10 dB below the average is "nothing"

    def __init__(self, bins: int) -> None:
        self._bins = bins
        self._average = RunningMean(self.TIME_CONSTANT, bins)

    def reset(self) -> None:
        """Forget the averages."""
        self._average.reset()

    def push(self, columns: DoubleArray) -> FloatArray:
        """(101, n) power of at most one frame -> (n, bins) natural logarithms."""
        power = columns[: self._bins].T
        ratio = power / (self._average.push(power) + SILENCE) + self.OFFSET
        return np.log(ratio).astype(np.float32)


_SCALINGS: dict[str, Callable[[int], Scaling]] = {
    "power": PowerScaling,
    "log": LogScaling,
    "relative": RelativeScaling,
}


@dataclass(frozen=True)
class FrontEnd:
    """What a model was trained on; stands in its file, and a mismatch is refused.

    scaling: "power" (the assignment's raw power at -20 dBFS), "log" (against the level) or "relative" (bin by bin).
    bins: how many of the 101 bins the network reads, from the lowest.
    """

    scaling: str = "log"
    bins: int = BINS_BELOW_8_KHZ
    sample_rate: int = SAMPLE_RATE
    window: int = WINDOW
    hop: int = HOP
    floor_db: int = FLOOR_DB

    def __post_init__(self) -> None:
        if self.scaling not in _SCALINGS:
            raise ValueError(f"unknown scaling {self.scaling!r} (known: {', '.join(_SCALINGS)})")
        if not 1 <= self.bins <= BINS:
            raise ValueError(f"{self.bins} bins, but a column has 1 to {BINS}")
        if (self.sample_rate, self.window, self.hop) != (SAMPLE_RATE, WINDOW, HOP):
            raise ValueError(
                f"made for {self.sample_rate} Hz, window {self.window} and hop {self.hop}; "
                f"this chimed computes {SAMPLE_RATE} Hz, {WINDOW} and {HOP}"
            )
        if self.floor_db != FLOOR_DB:
            raise ValueError(f"made for a floor at -{self.floor_db} dB; this chimed has it at -{FLOOR_DB} dB")

    def as_dict(self) -> dict[str, Any]:
        """The JSON object that goes into a model file."""
        return asdict(self)

    def new_scaling(self) -> Scaling:
        """A fresh scaling of this kind."""
        return _SCALINGS[self.scaling](self.bins)
