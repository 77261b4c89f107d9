"""How high a voice speaks: its pitch every 5 ms, by the autocorrelation of short windows."""

from __future__ import annotations

import numpy as np
import soxr

from model.frontend import FULL_SCALE, SAMPLE_RATE, DoubleArray, FloatArray
from training.dsp.decode import Int16Array, active_level

HOP = SAMPLE_RATE // 200  # samples between two values, 5 ms
_LEVEL_DBFS = -26.0  # to which the speech in every recording is brought
_WINDOW = 882  # samples, 20 ms
_PITCH_WINDOW = 512  # samples at a quarter of the rate, 46 ms
_PITCH_HZ = (70.0, 450.0)


def pitch_track(samples: Int16Array) -> DoubleArray:
    """(n,) one voice at 44.1 kHz -> (frames,) in semitones above 1 Hz; NaN where there is no voice."""
    gain = 10 ** ((_LEVEL_DBFS - active_level(samples)) / 20)
    scaled_samples: FloatArray = (samples * (gain / FULL_SCALE)).astype(np.float32)
    level = _level_db(scaled_samples)
    # a quarter of the rate will do, and half a sample of it is half a semitone at the most
    quarter = soxr.resample(scaled_samples, SAMPLE_RATE, SAMPLE_RATE / 4)
    frames = _frames(quarter, _PITCH_WINDOW, HOP // 4)[: len(level)]
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
    voiced = (scaled.max(axis=1) > 0.55) & (level[: len(scaled)] > -30)
    pitch = np.where(voiced, 12 * np.log2(SAMPLE_RATE / 4 / lags[np.minimum(peak, len(lags) - 1)]), np.nan)
    return np.pad(pitch, (0, len(level) - len(pitch)), constant_values=np.nan)


def _level_db(samples: FloatArray) -> DoubleArray:
    """(frames,) relative to the speech's level."""
    frames = _frames(samples, _WINDOW) * np.hanning(_WINDOW)
    power = np.mean(np.square(frames), axis=1) / np.mean(np.square(np.hanning(_WINDOW)))
    return np.asarray(10 * np.log10(power + 1e-12) - _LEVEL_DBFS)


def _frames(samples: FloatArray, window: int, hop: int = HOP) -> FloatArray:
    padded = np.pad(samples, (window // 2, window))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[: len(samples) + 1 : hop]
