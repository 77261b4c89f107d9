"""A voice in, another voice out: speed, pitch and formants, each changed alone.

Formants move by resampling, which moves pitch and speed too; what is then too much or too little of these is mended
by pitch-synchronous overlap and add (PSOLA): pieces of two periods, cut around the pulses of the voice, are laid
closer together or further apart, and some are repeated or left out.
"""

from __future__ import annotations

import numpy as np
import soxr
from scipy.signal import lfilter, medfilt

from model.frontend import SAMPLE_RATE, DoubleArray, FloatArray
from training.dsp.decode import to_int16
from training.dsp.pitch import HOP, pitch_track

_UNVOICED = HOP  # samples between the pieces where there is no pitch, 5 ms


def change_voice(samples: FloatArray, speed: float, pitch_semitones: float, formants: float) -> FloatArray:
    """Speak `speed` times as fast, so many semitones higher, with formants at `formants` times their frequencies.

    samples: (n,) int16-valued at 44.1 kHz, one voice alone. Returns (about n / speed,).
    """
    if formants != 1:
        samples = soxr.resample(samples, SAMPLE_RATE * formants, SAMPLE_RATE)
    pitch = 2 ** (pitch_semitones / 12) / formants
    return _psola(samples, speed / formants, pitch)


def _psola(samples: FloatArray, speed: float, pitch: float) -> FloatArray:
    """Speed and pitch times so much; the shape of the spectrum stays."""
    period = _periods(samples)
    marks = _pulses(samples, period)
    halfway = (marks[1:] + marks[:-1]) / 2
    length = round(len(samples) / speed)
    out = np.zeros(length + 2 * SAMPLE_RATE // 50, np.float32)
    weight = np.zeros_like(out)
    padded = np.pad(samples, SAMPLE_RATE // 50)
    windows: dict[int, FloatArray] = {}
    at = 0.0
    while at < length:
        source = at * speed
        mark = int(marks[np.searchsorted(halfway, source)])
        size = period[min(mark // HOP, len(period) - 1)]
        voiced = size > 0
        half = int(size) if voiced else _UNVOICED
        if half not in windows:
            windows[half] = np.hanning(2 * half + 1)[:-1].astype(np.float32)
        # of what has no pitch a piece may begin anywhere: a pulse would be repeated
        centre = (mark if voiced else int(source)) + SAMPLE_RATE // 50
        first = round(at) + SAMPLE_RATE // 50 - half
        out[first : first + 2 * half] += padded[centre - half : centre + half] * windows[half]
        weight[first : first + 2 * half] += windows[half]
        at += half / pitch if voiced else half
    # pieces that lie closer than their windows were made for would add up to more than there was
    out /= np.maximum(weight, 1)
    return out[SAMPLE_RATE // 50 :][:length]


def _periods(samples: FloatArray) -> DoubleArray:
    """Length of the voice's period every 5 ms, in samples; 0 where it has none."""
    pitch = pitch_track(to_int16(samples))
    hertz = np.where(np.isnan(pitch), 0.0, 2 ** (np.nan_to_num(pitch) / 12))
    if len(hertz) >= 5:
        hertz = medfilt(hertz, 5)  # single jumps by an octave
    return np.asarray(np.where(hertz > 0, SAMPLE_RATE / np.maximum(hertz, 1), 0.0))


def _pulses(samples: FloatArray, period: DoubleArray) -> DoubleArray:
    """(m,) rising places in the samples, one a period where there is a voice, one every 5 ms where there is none."""
    # without treble a period has one peak
    smooth = lfilter([0.05], [1, -0.95], samples)
    marks = [0]
    while marks[-1] < len(samples):
        at = marks[-1]
        size = period[min(at // HOP, len(period) - 1)]
        if size > 0:
            first, last = int(at + 0.75 * size), int(at + 1.25 * size) + 1
            part = smooth[first:last]
            marks.append(first + int(np.argmax(part)) if len(part) else last)
        else:
            marks.append(at + _UNVOICED)
    return np.array(marks[:-1] if len(marks) > 1 else marks, np.float64)
