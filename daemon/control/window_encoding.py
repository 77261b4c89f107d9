"""Encodes the detector's rolling window for someone who watches it: all of it, or what is new.

Places are counted in samples since the daemon started; `origin` is where the detector's stream began. A column here is
the mean of the four that one step advances by, so that columns and steps are equally many. Arrays are base64, so that
they fit into a line of JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from model.detector import Detector
from model.frontend import FULL_SCALE, PSD_RATE, STRIDE, WINDOW
from model.modelfile import Model

SHOWN_BINS = 46  # up to 10 kHz: speech, and all that the models read
BYTE_RANGE_DB = 120.0  # dB; a byte of 0 is so far below full scale, 255 is full scale
FULL_POSTERIOR = 65_535  # how a posterior of 1 is sent
MAX_POINTS = 1_000  # of a curve; what `chimed-train` writes has 40


@dataclass(frozen=True)
class SeenSoFar:
    """How far someone has seen: so many columns and steps of the stream that began at `origin`."""

    origin: int
    columns: int
    steps: int


def new_in_window(detector: Detector, origin: int, seen: SeenSoFar | None) -> dict[str, Any]:
    """Columns and steps that are in the window and not `seen`: the place of the first of them, and their bytes.

    columns: (n, 46) of uint8, decibels; steps: (words, n) of little-endian uint16, posteriors.
    """
    known = seen if seen is not None and seen.origin == origin else SeenSoFar(origin, 0, 0)
    ring = detector.columns
    total = ring.total // STRIDE
    first = min(max(known.columns, -(-(ring.total - len(ring)) // STRIDE)), total)
    rows = ring.last(ring.total - STRIDE * first)[: STRIDE * (total - first)]
    power = rows[:, :SHOWN_BINS].reshape(-1, STRIDE, SHOWN_BINS).mean(axis=1)
    posteriors = detector.posteriors
    first_step = min(max(known.steps, posteriors.total - len(posteriors)), posteriors.total)
    steps = np.round(posteriors.last(posteriors.total - first_step).T * FULL_POSTERIOR).astype("<u2")
    return {
        "origin": origin,
        "columns": [first, encoded(decibel_bytes(power))],
        "steps": [first_step, encoded(steps)],
    }


def decibel_bytes(power: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Power of columns as bytes of 0.47 dB."""
    level = np.maximum(power * (PSD_RATE / WINDOW / FULL_SCALE**2), 1e-12)
    return np.clip(np.round((10 * np.log10(level) + BYTE_RANGE_DB) * (255 / BYTE_RANGE_DB)), 0, 255).astype(np.uint8)


def samples_between(detector: Detector, origin: int, begin: int, end: int) -> dict[str, Any]:
    """What the window holds of the samples from `begin` to `end`: where it begins, and little-endian int16."""
    stop = origin + detector.samples.total
    start = stop - len(detector.samples)
    begin, end = max(begin, start), min(end, stop)
    if begin >= end:
        return {"from": begin, "pcm": ""}
    samples = detector.samples.last(stop - begin)[: end - begin]
    return {"from": begin, "pcm": encoded(samples.astype("<i2"))}


def described_word(model: Model) -> dict[str, Any]:
    """A word: how its gate is set, and what its file says that thresholds give."""
    measured = model.measured
    return {
        "word": model.word,
        "threshold": model.threshold,
        "smoothing": model.smoothing,
        "suppression": model.suppression,
        "points": _with_own(points(measured.get("points")), measured),
        "hours": {name: _number(rate, "hours") for name, rate in _mapping(measured.get("false_accepts"))},
        "tried": sum(int(_number(rate, "of")) for _, rate in _mapping(measured.get("recall"))),
    }


def points(rows: Any) -> list[list[float | None]]:
    """The curve as `Model` describes it; empty where the file has none, or something else under that name."""
    if not isinstance(rows, list) or len(rows) > MAX_POINTS:
        return []
    good = [
        row
        for row in rows
        if isinstance(row, list)
        and len(row) == 3
        and _is_number(row[0])
        and all(value is None or _is_number(value) for value in row[1:])
    ]
    return sorted(good, key=lambda row: row[0] or 0.0) if len(good) == len(rows) else []


def _with_own(curve: list[list[float | None]], measured: Mapping[str, Any]) -> list[list[float | None]]:
    """The curve, and on it what was measured at the model's own threshold, which a thinned curve need not have."""
    threshold = measured.get("threshold")
    recall = [rate for _, rate in _mapping(measured.get("recall"))]
    tried, heard = (sum(_number(rate, name) for rate in recall) for name in ("of", "heard"))
    accepts = [rate for _, rate in _mapping(measured.get("false_accepts")) if _number(rate, "hours")]
    if not (curve and _is_number(threshold) and tried and heard <= tried and accepts):
        return curve
    own = [
        threshold,
        round(1 - heard / tried, 4),
        max(_number(rate, "count") / _number(rate, "hours") for rate in accepts),
    ]
    return sorted([*(row for row in curve if row[0] != threshold), own], key=lambda row: row[0] or 0.0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _mapping(value: Any) -> list[tuple[str, Any]]:
    return [(str(key), each) for key, each in value.items()] if isinstance(value, dict) else []


def _number(value: Any, name: str) -> float:
    found = value.get(name) if isinstance(value, dict) else None
    return float(found) if isinstance(found, int | float) and _is_number(found) else 0.0


def encoded(array: np.ndarray[Any, Any]) -> str:
    """Its bytes in base64."""
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
