"""Numbers in, charts out: SVG for a web page, its colours left to the page's style sheet.

A series is drawn in the classes s0, s1 ...; text, axes and grid have classes of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 380, 290
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 46
EVENT_WIDTH, EVENT_HEIGHT = 330, 200
Spot = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """From low to high; what lies outside is drawn at the edge. ticks: value and label."""

    title: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def share(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        value = min(max(value, self.low), self.high)
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True)
class Series:
    """points: x and y in units of the axes."""

    points: Sequence[Spot]


class Chart:
    """Axes to draw on; `svg` gives the picture."""

    def __init__(self, x: Axis, y: Axis, label: str) -> None:
        self._x, self._y, self._label = x, y, label
        self._parts: list[str] = []
        self._draw_axes()

    def at(self, x: float, y: float) -> Spot:
        """The place of a value in the picture."""
        across, up = self._x.share(x), self._y.share(y)
        place = (LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM))
        return (round(place[0], 1), round(place[1], 1))

    def _draw_axes(self) -> None:
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        for value, name in self._x.ticks:
            x, _ = self.at(value, self._y.low)
            self._parts.append(f'<path class="grid" d="M{x} {TOP}V{bottom}"/>')
            self._text(x, bottom + 17, name, "middle")
        for value, name in self._y.ticks:
            _, y = self.at(self._x.low, value)
            self._parts.append(f'<path class="grid" d="M{LEFT} {y}H{right}"/>')
            self._text(LEFT - 7, y + 4, name, "end")
        self._text((LEFT + right) / 2, HEIGHT - 7, self._x.title, "middle", "title")
        middle = (TOP + bottom) / 2
        self._parts.append(
            f'<text class="title" text-anchor="middle" transform="translate(12 {middle}) rotate(-90)">'
            f"{escape(self._y.title)}</text>"
        )

    def _text(self, x: float, y: float, text: str, anchor: str, kind: str = "tick") -> None:
        self._parts.append(f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

    def line(self, points: Sequence[Spot], number: int) -> None:
        """A line through points, in the colour of series `number`."""
        places = " ".join(f"{x},{y}" for x, y in (self.at(*point) for point in points))
        self._parts.append(f'<polyline class="line s{number}" points="{places}"/>')

    def dot(self, x: float, y: float, number: int, *, marker: str = "") -> None:
        """A dot; marker: a name by which a script can move it."""
        across, up = self.at(x, y)
        named = f' data-marker="{marker}"' if marker else ""
        self._parts.append(f'<circle class="dot s{number}" cx="{across}" cy="{up}" r="5"{named}/>')

    def whisker(self, x: float, low: float, high: float, number: int, shift: float = 0.0) -> None:
        """An interval along y. shift: to the right, in pixels."""
        (across, bottom), (_, top) = self.at(x, low), self.at(x, high)
        across += shift
        caps = f"M{across - 4} {bottom}h8M{across - 4} {top}h8"
        self._parts.append(f'<path class="whisker s{number}" d="M{across} {bottom}V{top}{caps}"/>')

    def spot(self, x: float, y: float, number: int, shift: float = 0.0) -> None:
        """A dot that may stand beside others of the same x."""
        across, up = self.at(x, y)
        self._parts.append(f'<circle class="dot s{number}" cx="{across + shift}" cy="{up}" r="4.5"/>')

    def block(self, left: float, right: float, top: float, number: int) -> None:
        """A bar from the bottom of the axis."""
        (x0, y0), (x1, y1) = self.at(left, self._y.low), self.at(right, top)
        self._parts.append(
            f'<rect class="block s{number}" x="{x0 + 0.5:.1f}" y="{y1}" width="{max(0.5, x1 - x0 - 1):.1f}" '
            f'height="{y0 - y1:.1f}"/>'
        )

    def svg(self) -> str:
        """The picture."""
        return (
            f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(self._label)}">'
            f"{''.join(self._parts)}</svg>"
        )


def percent_axis(title: str) -> Axis:
    """0 to 100 %, of shares between 0 and 1."""
    return Axis(title, 0.0, 1.0, [(n / 5, f"{n * 20} %") for n in range(6)])


def rate_axis(title: str, hours: float, highest: float) -> Axis:
    """Events an hour, logarithmic; the left edge stands for none in so many hours."""
    low = 0.4 / hours
    high = max(highest, 10 * low) * 1.3
    decades = range(math.ceil(math.log10(low * 1.6)), math.floor(math.log10(high)) + 1)
    return Axis(title, low, high, [(low, "0"), *((10.0**n, f"{10.0**n:g}") for n in decades)], log=True)


def round_axis(title: str, low: float, high: float, unit: str = "") -> Axis:
    """A linear axis with three to eight round ticks."""
    step = 10 ** math.floor(math.log10(max(high - low, 1e-6)))
    step = next(size for size in (step / 5, step / 2, step, 2 * step) if (high - low) / size <= 8)
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = [(n * step, f"{round(n * step, 6):g}{unit}") for n in range(first, last + 1)]
    return Axis(title, first * step, last * step, ticks)


def event(
    picture: str, seconds: float, posterior: Sequence[Spot], threshold: float, word: tuple[float, float] | None
) -> str:
    """A spectrogram (data URI) with the posterior below it, on one time axis.

    posterior: seconds and value; word: from when to when it was said, if it was.
    """
    left, right, top, split, bottom = 34, EVENT_WIDTH - 4, 4, 104, EVENT_HEIGHT - 22

    def x(second: float) -> float:
        return round(left + min(max(second / seconds, 0.0), 1.0) * (right - left), 1)

    def y(value: float) -> float:
        return round(bottom - value * (bottom - split - 8), 1)

    parts = [
        f'<image href="{picture}" x="{left}" y="{top}" width="{right - left}" height="{split - top}" '
        'preserveAspectRatio="none"/>',
        f'<text class="tick" x="{left - 5}" y="{top + 11}" text-anchor="end">8 k</text>',
        f'<text class="tick" x="{left - 5}" y="{split}" text-anchor="end">0</text>',
        f'<path class="grid" d="M{left} {bottom}H{right}M{left} {y(1)}H{right}"/>',
        f'<text class="tick" x="{left - 5}" y="{y(1) + 6}" text-anchor="end">1</text>',
        f'<text class="tick" x="{left - 5}" y="{bottom + 3}" text-anchor="end">0</text>',
    ]
    if word:
        parts.append(
            f'<rect class="word" x="{x(word[0])}" y="{split + 1}" width="{max(1.0, x(word[1]) - x(word[0])):.1f}" '
            f'height="{bottom - split - 1}"/>'
        )
    parts += [
        f'<text class="tick" x="{x(second)}" y="{bottom + 16}" text-anchor="middle">{second} s</text>'
        for second in range(1, math.ceil(seconds))
    ]
    parts.append(f'<path class="threshold" d="M{left} {y(threshold)}H{right}"/>')
    places = " ".join(f"{x(second)},{y(value)}" for second, value in posterior)
    parts.append(f'<polyline class="line s0" points="{places}"/>')
    label = "spectrogram, and the posterior below it"
    box = f"0 0 {EVENT_WIDTH} {EVENT_HEIGHT}"
    return f'<svg class="event" viewBox="{box}" role="img" aria-label="{label}">{"".join(parts)}</svg>'
