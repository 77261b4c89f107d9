"""Draw the report's charts as SVG with matplotlib, the colours and the font left to the page's style sheet.

A length in a chart is a pixel of its view box: 72 to the inch, as in matplotlib's SVG.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from model.frontend import FloatArray
from training.measuring.confidence_intervals import Rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 380, 290
CLIP_WIDTH, CLIP_HEIGHT = 330, 200
SERIES_COLOURS = 6
RANGE_DB = 60.0  # of a spectrogram; below the loudest by more: black
Spot = tuple[float, float]

# matplotlib knows no CSS variables: it draws in colours that nothing else has, which `_svg` then replaces
_SERIES = [f"#0000c{number}" for number in range(SERIES_COLOURS)]
_INK, _SOFT, _RULE, _CARD, _BAD = _OTHERS = [f"#0000f{number}" for number in range(5)]
_VARIABLES = {colour: f"var(--c{number})" for number, colour in enumerate(_SERIES)} | dict(
    zip(_OTHERS, ("var(--ink)", "var(--soft)", "var(--rule)", "var(--card)", "var(--bad)"), strict=True)
)
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "chimed",  # any: so that the ids are the same each time
    "font.family": "DejaVu Sans",  # in whose place the style sheet puts the page's
    "font.size": 12.5,
    "text.parse_math": False,  # a name may hold dollars
    "figure.dpi": 72,
    "lines.linewidth": 2.2,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": _INK,
    "axes.unicode_minus": False,
    "grid.color": _RULE,
    "grid.linewidth": 1,
    **{f"axes.spines.{side}": False for side in ("left", "right", "top", "bottom")},
    **dict.fromkeys(("xtick.bottom", "ytick.left"), False),
    **dict.fromkeys(("xtick.labelcolor", "ytick.labelcolor"), _SOFT),
}


@dataclass(frozen=True)
class DetLine:
    """False accepts an hour and the share of words missed: at each threshold of a curve, and at the one in use."""

    label: str
    model: int
    points: Sequence[Spot]
    own: Spot


@contextmanager
def _style() -> Iterator[None]:
    """Draw with matplotlib's own defaults and our style, whatever the user's matplotlibrc says."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), layout="constrained")


def _axes(x_title: str, y_title: str) -> tuple[Figure, Axes]:
    """An empty chart."""
    figure = _figure(WIDTH, HEIGHT)
    axes = figure.add_subplot(xlabel=x_title, ylabel=y_title)
    return figure, axes


def _percent(axes: Axes) -> None:
    """0 to 100 % upwards, of shares between 0 and 1."""
    axes.set_ylim(0, 1)
    axes.set_yticks([n / 5 for n in range(6)], [f"{n * 20} %" for n in range(6)])


def _svg(figure: Figure, label: str) -> str:
    """The figure as an SVG element to stand in HTML. label: what it shows, for who cannot see it."""
    for artist in figure.findobj():
        artist.set_clip_on(False)  # what lies at the edge is shown whole
    file = io.StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=metadata)
    body = file.getvalue().partition("</defs>")[2]  # before it: a style for all that is on the page
    body = re.sub(r"#0000[cf]\d", lambda match: _VARIABLES[match[0]], body)
    body = re.sub(r' id="(?:[\w.]+_\d+|image\w+)"', "", body)  # those of groups, the same in each chart
    body = body.replace("xlink:href", "href")
    width, height = figure.get_size_inches() * 72
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}">{body.rstrip()}'


def rate_axis(hours: float, highest: float) -> tuple[float, float, dict[float, str]]:
    """Ends and ticks of a logarithmic axis of events an hour, whose left edge stands for none in so many hours."""
    low = 0.4 / hours
    high = max(highest, 10 * low) * 1.3
    decades = range(math.ceil(math.log10(low * 1.6)), math.floor(math.log10(high)) + 1)
    return low, high, {low: "0", **{10.0**n: f"{10.0**n:g}" for n in decades}}


@_style()
def det_chart(lines: Sequence[DetLine], stream: str, hours: float) -> tuple[str, list[list[Spot]]]:
    """Words missed against false accepts, over all thresholds; and for each line where its points lie in the picture.

    stream, hours: in which false accepts were counted. A line's dot is the element "mark-" and its number,
    for a script that moves it.
    """
    figure, axes = _axes(f"false accepts an hour, {stream}", "words missed")
    low, high, ticks = rate_axis(hours, max(rate for line in lines for rate, _ in line.points))
    axes.set(xscale="log", xlim=(low, high))
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
    _percent(axes)
    drawn = [np.maximum(line.points, (low, 0)) for line in lines]
    for number, (line, points) in enumerate(zip(lines, drawn, strict=True)):
        colour = _SERIES[number % SERIES_COLOURS]
        axes.plot(*points.T, color=colour)
        own = axes.plot(max(line.own[0], low), line.own[1], "o", color=colour, markersize=10, zorder=3)
        own[0].set(markeredgecolor=_CARD, markeredgewidth=1.5, gid=f"mark-{number}")
    svg = _svg(figure, "words missed against false accepts an hour, over all thresholds")
    spots = [np.round(axes.transData.transform(points) * (1, -1) + (0, HEIGHT), 1).tolist() for points in drawn]
    return svg, spots


@_style()
def noise_chart(conditions: Sequence[str], missed: Sequence[Sequence[Rate]]) -> str:
    """Words missed in each condition, with their intervals, for each model."""
    figure, axes = _axes("noise", "words missed")
    axes.set_xlim(-0.5, len(conditions) - 0.5)
    axes.set_xticks(range(len(conditions)), conditions)
    _percent(axes)
    apart = 14 / (WIDTH - 74) * len(conditions)
    for number, rates in enumerate(missed):
        values = np.array([rate.value for rate in rates])
        bars = np.abs(values - np.array([rate.wilson() for rate in rates]).T)
        places = np.arange(len(conditions)) + (number - (len(missed) - 1) / 2) * apart
        colour = _SERIES[number % SERIES_COLOURS]
        style: dict[str, Any] = {"fmt": "o", "markersize": 9, "capsize": 4, "elinewidth": 1.8, "capthick": 1.8}
        axes.errorbar(places, values, bars, color=colour, markeredgecolor=_CARD, markeredgewidth=1.5, **style)
    return _svg(figure, "words missed by noise")


@_style()
def latency_chart(late: Sequence[Sequence[float]]) -> str:
    """How many words each model heard how many seconds after their end."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _axes("seconds after the word's end", "words")
    edges = np.histogram_bin_edges(np.concatenate(late), 24)
    colours = [_SERIES[number % SERIES_COLOURS] for number in range(len(late))]
    axes.hist(late, bins=edges.tolist(), color=colours, rwidth=0.92, alpha=0.85)
    axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(7, integer=True))
    return _svg(figure, "how late words are heard")


@_style()
def clip_chart(
    decibels: FloatArray, seconds: float, posterior: Sequence[Spot], threshold: float, word: Spot | None
) -> str:
    """A spectrogram with the posterior below it, on one time axis.

    decibels: (bins below 8 kHz, columns); posterior: seconds and value; word: from when to when it was said, if it was.
    """
    figure = _figure(CLIP_WIDTH, CLIP_HEIGHT)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    if decibels.size:
        loudest, extent = decibels.max(), (0, seconds, 0, 8)
        # "none": the pixels as they are, for the browser to scale
        image = above.imshow(decibels, "magma", aspect="auto", interpolation="none", origin="lower", extent=extent)
        image.set_clim(loudest - RANGE_DB, loudest)
    above.set_yticks([0.5, 7.4], ["0", "8 k"])
    above.grid(visible=False)
    below.set(xlim=(0, seconds), ylim=(0, 1), yticks=(0, 1), yticklabels=("0", "1"))
    below.set_xticks(range(1, math.ceil(seconds)), [f"{second} s" for second in range(1, math.ceil(seconds))])
    below.grid(visible=False, axis="x")
    if word:
        below.axvspan(*word, ymax=1.1, color=_SERIES[1], alpha=0.2, linewidth=0)
    below.axhline(threshold, color=_BAD, linewidth=1.4, linestyle=(0, (3.6, 2.9)))
    below.plot(*np.reshape(posterior, (-1, 2)).T, color=_SERIES[0])
    return _svg(figure, "spectrogram, and the posterior below it")
