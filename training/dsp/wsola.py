"""A recording and a map of its time in, the same at another pace out, its pitch unchanged (WSOLA).

Verhelst and Roelands, "An overlap-add technique based on waveform similarity", 1993: each window is taken from
near where the map says, at the sample where it best continues the one before.
"""

from __future__ import annotations

import numpy as np

from model.frontend import SAMPLE_RATE, DoubleArray

_HOP = round(0.010 * SAMPLE_RATE)
_REACH = round(0.006 * SAMPLE_RATE)  # how far from the map a window may be taken
_STRIDE = 2  # samples; what lies between is as good


def retime(samples: DoubleArray, before: DoubleArray, after: DoubleArray) -> DoubleArray:
    """Move the samples at `before` to `after`, and what lies between in proportion.

    samples: (n,); before, after: increasing positions in samples, the first 0, the last of `before` n. Returns
    as many samples as the last of `after` says.
    """
    length = round(after[-1])
    margin = _REACH + 2 * _HOP
    padded = np.pad(samples, (margin, margin + 2 * _HOP))
    window = np.hanning(2 * _HOP + 1)[:-1]
    result = np.zeros(length + 4 * _HOP)
    weight = np.zeros_like(result)
    at = margin - _HOP
    for start in range(0, length + _HOP, _HOP):  # in the result, which is padded by one hop
        past_end = max(start - length, 0)
        wanted = round(float(np.interp(start, after, before))) + past_end - _HOP + margin
        if start:
            at += _HOP
            goes_on = padded[at : at + 2 * _HOP]
            first = max(wanted - _REACH, 0)
            first += (at - first) % _STRIDE  # so that going on as it was is among the choices
            around = padded[first : wanted + _REACH + 2 * _HOP]
            windows = np.lib.stride_tricks.sliding_window_view(around, 2 * _HOP)[::_STRIDE]
            power = np.sqrt(np.sum(np.square(windows), axis=1)) + 1e-9
            at = first + _STRIDE * int(np.argmax(windows @ goes_on / power))
        result[start : start + 2 * _HOP] += window * padded[at : at + 2 * _HOP]
        weight[start : start + 2 * _HOP] += window
    return (result / np.maximum(weight, 1e-3))[_HOP : _HOP + length]
