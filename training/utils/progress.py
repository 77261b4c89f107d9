"""Bars for long work, and durations as people say them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def duration(seconds: float) -> str:
    """So many seconds as people say it: 40 s, 12 min, 1 h 20 min."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def bar(items: Iterable[T], title: str, unit: str, total: int | None = None) -> Iterable[T]:
    """The items, with a bar that says how long they still take; a log gets fewer lines than a terminal."""
    interval = 1 if sys.stderr.isatty() else 20
    shown: Iterable[T] = tqdm(items, total=total, desc=title, unit=unit, mininterval=interval)
    return shown
