"""`chimed watch`: shows what a running chimed hears as bars that move, or every event as a line of JSON."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from typing import Any

from daemon.control.client import conversation
from daemon.system.terminal import printable, say

QUIETEST_SHOWN = -80.0  # dBFS, where the bar of the level begins
BLOCKS = " ▏▎▍▌▋▊▉█"  # eighths of a character
THRESHOLD_MARK = "│"


def command(args: argparse.Namespace) -> int:
    """Watch until Ctrl-C, or until the daemon stops. Raises ControlError."""
    screen = Screen()
    with conversation(args.socket, "watch") as events:
        next(events)  # its answer
        for event in events:
            if args.json:
                say(json.dumps(event))
            elif event["event"] == "detection":
                screen.note(f"{event['time'][11:19]}  {event['word']}  {event['score']:.2f}")
            elif sys.stdout.isatty():
                screen.draw(bars(event, shutil.get_terminal_size().columns))
    return 0


def bars(event: dict[str, Any], width: int) -> list[str]:
    """A block's level and posteriors in lines of this width; the mark is the word's threshold."""
    names = ["level", *(word["word"] for word in event["words"])]
    name_width = min(max(map(len, names)), width // 3)
    room = max(8, width - name_width - 12)
    level = event["level"]
    if level is None:
        return [printable(event["state"])[: width - 1]]
    lines = [
        f"{'level':{name_width}}  {level:6.1f} dB {bar((level - QUIETEST_SHOWN) / -QUIETEST_SHOWN, None, room - 3)}"
    ]
    for word in event["words"]:
        name = printable(word["word"])[:name_width]
        drawn = bar(word["posterior"], word["threshold"], room)
        lines.append(f"{name:{name_width}}  {word['posterior']:6.3f} {drawn}")
    return lines


def bar(value: float, mark: float | None, width: int) -> str:
    """A bar of this many characters, full at 1; mark: where the threshold stands."""
    eighths = round(min(max(value, 0.0), 1.0) * width * 8)
    cells = [BLOCKS[min(max(eighths - 8 * i, 0), 8)] for i in range(width)]
    if mark is not None:
        cells[min(int(mark * width), width - 1)] = THRESHOLD_MARK
    return "".join(cells)


class Screen:
    """Lines that are drawn over the ones before; notes stay above them."""

    def __init__(self) -> None:
        self._height = 0

    def draw(self, lines: list[str]) -> None:
        """Replace what stands there."""
        self._clear()
        self._height = len(lines)
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()

    def note(self, line: str) -> None:
        """A line that stays."""
        self._clear()
        self._height = 0
        say(line)

    def _clear(self) -> None:
        if self._height:
            sys.stdout.write(f"\x1b[{self._height}A\x1b[J")
