"""Lines and pictures for a terminal: what is said stays, what is shown is replaced; a spectrogram of characters."""

from __future__ import annotations

import sys
from typing import TextIO

import numpy as np

from model.frontend import SAMPLE_RATE, spectrogram
from training.dsp.decode import Int16Array

SHADES = " ░▒▓█"
ROWS = 12
TOP_HZ = 8000.0
LOWEST_HZ = 100.0
PICTURE_RANGE_DB = 45.0  # from the lightest shade to the darkest
BIN_HZ = SAMPLE_RATE / 200


class TerminalScreen:
    """Standard output. On a terminal the shown line is replaced; elsewhere only what is said appears."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty()
        self._shown = False

    def say(self, text: str) -> None:
        """A line, or some, that stay."""
        self._clear()
        self._stream.write(text + "\n")
        self._stream.flush()

    def show(self, text: str) -> None:
        """A line that the next one replaces."""
        if self._terminal:
            self._clear()
            self._stream.write(text)
            self._stream.flush()
            self._shown = bool(text)

    def _clear(self) -> None:
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._shown = False


def picture(samples: Int16Array, width: int = 72, marks: tuple[int, int] | None = None) -> str:
    """A spectrogram of `width` columns and 12 rows, 100 Hz to 8 kHz on a rising scale, and a time axis.

    marks: samples between which a line stands below the picture: what would be kept.
    """
    power = spectrogram(samples)
    if power.shape[1] == 0:
        return "(nothing to see)"
    edges = np.geomspace(LOWEST_HZ + 300, TOP_HZ + 300, ROWS + 1) - 300
    times = np.linspace(0, power.shape[1], width + 1).astype(int)
    cells = np.empty((ROWS, width))
    for row in range(ROWS):
        low = int(edges[row] / BIN_HZ)
        band = power[low : max(low + 1, int(edges[row + 1] / BIN_HZ))].mean(axis=0)
        for column in range(width):
            part = band[times[column] : max(times[column] + 1, times[column + 1])]
            cells[row, column] = 10 * np.log10(max(float(part.mean()) if len(part) else 0.0, 1e-6))
    # speech falls with frequency: each band is a little brighter than the one below
    cells += 1.2 * np.arange(ROWS)[:, None]
    shade = np.clip((cells - cells.max() + PICTURE_RANGE_DB) / PICTURE_RANGE_DB * (len(SHADES) - 1), 0, len(SHADES) - 1)
    lines = []
    for row in reversed(range(ROWS)):
        label = {ROWS - 1: "8 kHz", 0: "0.1 kHz"}.get(row, "")
        lines.append(f"{label:>7} │" + "".join(SHADES[round(value)] for value in shade[row]))
    seconds = len(samples) / SAMPLE_RATE
    axis = list(f"{'0 s':<{width}}")
    end = f"{seconds:.1f} s"
    axis[-len(end) :] = end
    under = [" "] * width
    if marks:
        first, last = (min(width - 1, max(0, round(mark / len(samples) * width))) for mark in marks)
        under[first : last + 1] = "━" * (last + 1 - first)
        under[first], under[last] = "┗", "┛"
    return "\n".join([*lines, " " * 8 + "└" + "─" * width, " " * 9 + "".join(under), " " * 9 + "".join(axis)])
