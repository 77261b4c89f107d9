"""Posteriors of hours in, the gate's firings at any threshold out: what `model.gate.Gate` decides, without its loop.

A test holds the two together. Here the smoothing is done once, so that a threshold costs a comparison.
"""

from __future__ import annotations

import math

import numpy as np

from model.frontend import DoubleArray, FloatArray

_BLOCK = 100_000  # steps at a time: as Python's floats, hours would fill the memory


def smooth(posteriors: FloatArray, smoothing: int) -> DoubleArray:
    """(steps,) posteriors -> (steps,) the gate's running means, to the last bit."""
    padded = np.concatenate((np.zeros(smoothing - 1, np.float32), posteriors))
    smoothed = np.empty(len(posteriors))
    for first in range(0, len(posteriors), _BLOCK):
        count = min(_BLOCK, len(posteriors) - first)
        values = padded[first : first + count + smoothing - 1].tolist()
        smoothed[first : first + count] = [math.fsum(values[i : i + smoothing]) / smoothing for i in range(count)]
    return smoothed


def gate_firings(smoothed: DoubleArray, threshold: float, suppression: int) -> list[int]:
    """The steps at which the gate fires, for smoothed posteriors from the start of a stream."""
    edges = np.flatnonzero(np.diff(smoothed > threshold, prepend=False, append=False))
    steps, silent_until = [], 0
    for start, end in edges.reshape(-1, 2).tolist():
        # once in each stretch above the threshold, when the silence after the last firing is over
        step = max(start, silent_until)
        if step < end:
            steps.append(step)
            silent_until = step + suppression + 1
    return steps
