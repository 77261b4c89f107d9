"""Writes text for the eyes of people to stdout and stderr."""

from __future__ import annotations

import os
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


def reopen_closed() -> None:
    """Where a standard stream was closed, put nothing in its place: the next file would get what is meant for it."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w")


def silence_libraries() -> None:
    """Keep what C libraries print (ALSA a page, while it looks for devices) off stderr; Python still writes to it."""
    own = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(own, "w", buffering=1, encoding="utf-8", errors="backslashreplace")
