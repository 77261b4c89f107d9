"""Text for the eyes of people: stdout and stderr of the commands."""

from __future__ import annotations

import sys
from typing import TextIO


def printable(text: str) -> str:
    """The text with every control character, line breaks included, replaced by a visible mark.

    So neither a hook's output nor a file name can forge a line or steer a terminal.
    """
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text.expandtabs())


def say(line: str, stream: TextIO | None = None) -> None:
    """Write one line to stdout (or the stream) at once, since a program may be waiting for it."""
    print(printable(line), file=stream or sys.stdout, flush=True)
