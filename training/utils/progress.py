"""Work in, bars out; and beside each bar how long the whole journey still takes.

A command of many steps makes a `Journey`; then every `bar` in these steps says what is left of all of it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextvars import ContextVar
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

_EARLY = 0.03  # of a step: too little to judge its pace by


def duration(seconds: float) -> str:
    """So many seconds as people say it: 40 s, 12 min, 1 h 20 min."""
    if seconds < 90:
        return f"{max(0.0, seconds):.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Journey:
    """Named steps with an expected duration each (s); what is left is corrected by the pace so far."""

    def __init__(self, expected: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._expected = dict(expected)
        self._clock = clock
        self._done = dict.fromkeys(expected, 0.0)  # share of each step
        self._spent = self._counted = 0.0  # seconds that the finished steps took and were expected to take
        self._step: str | None = None

    def begin(self, step: str) -> None:
        """The step before is finished, this one begins."""
        self._finish()
        self._step, self._began, self._first = step, self._clock(), 0.0
        self._done[step] = 0.0

    def skip(self, step: str) -> None:
        """An earlier run did this step."""
        self._finish()
        self._done[step] = 1.0

    def advance(self, done: float) -> None:
        """The share of the current step that is done."""
        if self._step:
            self._done[self._step] = done

    def found(self, done: float) -> None:
        """The share of the current step that an earlier run did, if nothing of it was done in this one."""
        if self._step and self._done[self._step] == self._first < done:
            self._done[self._step] = self._first = done

    def _finish(self) -> None:
        if self._step:
            self._spent += self._clock() - self._began
            self._counted += self._expected[self._step] * (1 - self._first)
            self._done[self._step] = 1.0
        self._step = None

    def left(self) -> float:
        """Seconds, about."""
        pace = self._spent / self._counted if self._counted and self._spent else 1.0
        seconds = 0.0
        for step, expected in self._expected.items():
            left = expected * (1 - self._done[step])
            done = self._done[step] - self._first if step == self._step else 0.0
            if done > _EARLY:
                elapsed = self._clock() - self._began
                seconds += elapsed / done * (1 - self._done[step])
            else:
                seconds += left * pace
        return seconds


_journey: ContextVar[Journey | None] = ContextVar("journey", default=None)


def travel(journey: Journey | None) -> None:
    """From now on, bars say what is left of this journey; None: of nothing but themselves."""
    _journey.set(journey)


def bar(
    items: Iterable[T],
    title: str,
    unit: str,
    total: int | None = None,
    part: tuple[float, float] | None = (0.0, 1.0),
) -> Iterator[T]:
    """The items, with a bar. part: from which share of the current step to which; None: of no known share."""
    journey = _journey.get() if part else None
    if total is None and isinstance(items, Sized):
        total = len(items)
    # a log wants fewer lines than a terminal
    interval = 1 if sys.stderr.isatty() else 20
    if journey and part:
        journey.found(part[0])
    with tqdm(total=total, desc=title, unit=unit, mininterval=interval) as shown:
        for number, item in enumerate(items, 1):
            yield item
            if journey and part and total:
                journey.advance(part[0] + number / total * (part[1] - part[0]))
            if shown.update() and journey:
                shown.set_postfix_str(f"{duration(journey.left())} left in all", refresh=False)
