"""Draws what a detector computed: spectrogram, posterior, threshold and hits on one time axis.

Memory stays bounded: a long recording is drawn whole, with several columns or steps in one pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from daemon.system.errors import ChimedError
from daemon.system.terminal import printable
from model.detector import Detection, Detector
from model.extras import install
from model.frontend import BINS, FULL_SCALE, HOP, PSD_RATE, SAMPLE_RATE, STEP, STEP_SPAN, WINDOW

Rows = npt.NDArray[Any]

RESOLUTION = 2400  # columns of a long recording's picture: between half of it and all of it
TOP = 10_000  # Hz; speech, and the bins that the models read, lie below
COLOR_RANGE_DB = 65.0  # dB from the brightest to the darkest colour
COLORS = ("#c2410c", "#0f766e", "#6d28d9", "#b45309", "#1d4ed8")
LABELS = 30  # more hits than this are marked by triangles alone
LABEL_WIDTH = 0.07  # of the picture
COARSE = 0.02  # s; from here on the picture says how much a column stands for


class Overview:
    """A series of any length in at most `limit` rows, each of them `reduce` over equally many of the series."""

    def __init__(self, width: int, reduce: Callable[..., Rows], limit: int = RESOLUTION) -> None:
        self._reduce = reduce
        self._rows = np.empty((limit + limit % 2, width), np.float32)
        self._count = 0
        self._pending = np.empty((0, width), np.float32)
        self.factor = 1  # rows of the series in one of these

    def push(self, rows: Rows) -> None:
        """Append (n, width) rows of the series."""
        self._pending = np.concatenate((self._pending, rows.astype(np.float32)))
        while len(self._pending) >= self.factor:
            if self._count == len(self._rows):
                self._rows[: self._count // 2] = self._reduced(self._rows, 2)
                self._count //= 2
                self.factor *= 2
                continue
            whole = min(len(self._pending) // self.factor, len(self._rows) - self._count)
            used = whole * self.factor
            self._rows[self._count : self._count + whole] = self._reduced(self._pending[:used], self.factor)
            self._count += whole
            self._pending = self._pending[used:]

    def rows(self) -> Rows:
        """(k, width), the last of them perhaps over fewer rows of the series."""
        parts = [self._rows[: self._count]]
        if len(self._pending):
            parts.append(self._reduce(self._pending, axis=0, keepdims=True))
        return np.concatenate(parts)

    def _reduced(self, rows: Rows, factor: int) -> Rows:
        return self._reduce(rows.reshape(-1, factor, rows.shape[1]), axis=1)


class Picture:
    """Collects one recording's scores while they are computed; `draw` writes the PNG.

    thresholds: word -> threshold, in the detector's order of words.
    """

    def __init__(self, title: str, thresholds: Mapping[str, float]) -> None:
        self._title = title
        self._thresholds = thresholds
        self._power = Overview(BINS, np.mean)
        self._posteriors = Overview(len(thresholds), np.max)  # the maximum: no peak may vanish
        self._detections: list[Detection] = []
        self._columns = self._steps = 0

    @staticmethod
    def require() -> None:
        """Raise ChimedError where matplotlib is missing, before hours are scored for nothing."""
        _figure()

    def push(self, detector: Detector, detections: list[Detection]) -> None:
        """Take what the detector computed since the last call, at most its rolling window of 10 s."""
        self._power.push(detector.columns.last(detector.columns.total - self._columns))
        self._posteriors.push(detector.posteriors.last(detector.posteriors.total - self._steps))
        self._columns, self._steps = detector.columns.total, detector.posteriors.total
        self._detections += detections

    def draw(self, path: str) -> None:
        """Write the picture. Raises ChimedError if it cannot be written."""
        figure = _figure()(figsize=(14, 6.4), dpi=120, layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        seconds = max(self._columns * HOP, STEP) / SAMPLE_RATE
        self._draw_spectrogram(upper, seconds)
        self._draw_posteriors(lower)
        self._draw_hits(upper, lower, seconds)
        lower.set_xlim(0, seconds)
        figure.suptitle(self._subtitle(), x=0.005, ha="left", fontsize=12, parse_math=False)
        try:
            figure.savefig(path, format="png")
        except OSError as error:
            raise ChimedError(f"{path}: {error.strerror or error}") from error

    def _subtitle(self) -> str:
        heard = f"{len(self._detections)} heard" if self._detections else "nothing heard"
        column = self._power.factor * HOP / SAMPLE_RATE
        note = f"; a column of the picture is {column * 1000:.0f} ms" if column > COARSE else ""
        return f"{printable(self._title)}: {heard}{note}"

    def _draw_spectrogram(self, axes: Any, seconds: float) -> None:
        level = self._power.rows().T * (PSD_RATE / WINDOW / FULL_SCALE**2)  # mean square of each bin, 1 = full scale
        decibels = 10 * np.log10(np.maximum(level, 1e-12))
        bright = float(np.percentile(decibels, 99.8)) if decibels.size else 0.0
        half_bin = SAMPLE_RATE / WINDOW / 2
        image = axes.imshow(
            decibels,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=bright - COLOR_RANGE_DB,
            vmax=bright,
            extent=(0, seconds, -half_bin / 1000, (SAMPLE_RATE / 2 + half_bin) / 1000),
            interpolation="antialiased",
        )
        axes.set(ylim=(0, TOP / 1000), ylabel="frequency (kHz)")
        bar = axes.inset_axes((1.008, 0.0, 0.012, 1.0))  # outside, so that both time axes keep the same width
        axes.figure.colorbar(image, cax=bar, label="level (dBFS)")

    def _draw_posteriors(self, axes: Any) -> None:
        rows = self._posteriors.rows()
        factor = self._posteriors.factor
        # a step is drawn where it became known, so that peaks and hits stand at the same place
        seconds = ((np.arange(len(rows)) * factor + (factor - 1) / 2) * STEP + STEP_SPAN) / SAMPLE_RATE
        for index, (word, threshold) in enumerate(self._thresholds.items()):
            color = COLORS[index % len(COLORS)]
            axes.fill_between(seconds, rows[:, index], color=color, alpha=0.18, linewidth=0)
            axes.plot(seconds, rows[:, index], color=color, linewidth=1.3, label=f"posterior of {word}")
            axes.axhline(threshold, color=color, linestyle="--", linewidth=1.1, label=f"threshold {threshold:g}")
        axes.set(ylim=(0, 1.03), xlabel="time (s)", ylabel="posterior")
        axes.grid(axis="y", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        legend = axes.legend(loc="upper right", bbox_to_anchor=(1.0, -0.1), ncols=4, fontsize=9, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)

    def _draw_hits(self, upper: Any, lower: Any, seconds: float) -> None:
        words = list(self._thresholds)
        height, last = 0, -np.inf
        for hit in self._detections:
            color = COLORS[words.index(hit.word) % len(COLORS)]
            if len(self._detections) > LABELS:
                lower.plot(hit.seconds, 1.03, "v", color=color, markersize=6, clip_on=False)
                continue
            upper.axvline(hit.seconds, color="white", linewidth=1.2, alpha=0.9)
            lower.axvline(hit.seconds, color=color, linewidth=1.2, alpha=0.9)
            # a label too near the one before goes higher
            height = (height + 1) % 3 if hit.seconds - last < LABEL_WIDTH * seconds else 0
            last = hit.seconds
            upper.annotate(
                f"{hit.word} {hit.score:.2f}\n{hit.seconds:.2f} s",
                (hit.seconds, 1.0),
                xytext=(0, 3 + 26 * height),
                xycoords=upper.get_xaxis_transform(),
                textcoords="offset points",
                ha="center",
                va="bottom",
                fontsize=9,
                color=color,
                fontweight="bold",
                parse_math=False,
            )


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure  # slow, large, and an extra
    except ImportError as error:
        raise ChimedError(f"--plot needs the package matplotlib: {install('plot')}") from error
    return Figure
