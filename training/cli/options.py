"""Types of options that several commands of `chimed-train` share."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def seed(text: str) -> int:
    """Of all commands that draw at random: what numpy's generators and TensorFlow's both take."""
    if not 0 <= (value := int(text)) < 2**32:
        raise argparse.ArgumentTypeError("a whole number from 0 to 4294967295 is wanted")
    return value


def whole_number(least: int, most: int = 10_000_000) -> Callable[[str], int]:
    """A type: a whole number in these bounds."""

    def check(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"a whole number from {least} on is wanted")
        return int(text)

    return check


def threshold(text: str) -> float:
    """0 to 1, exclusive of 1."""
    if not 0 <= (value := float(text)) < 1:
        raise argparse.ArgumentTypeError("a threshold lies between 0 and 1")
    return value


def open_share(text: str) -> float:
    """Between 0 and 1, exclusive of both."""
    try:
        if 0 < (value := float(text)) < 1:
            return value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("a number between 0 and 1 is wanted")
