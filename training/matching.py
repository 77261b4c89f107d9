"""Phones in, step by step; how far into the word they lead, and how much of its end they are, out.

What the second GRU learns beside the word. That a word ended shows once a second or two, and synthetic voices say
it; how its parts follow each other shows in all speech whose phones are known, in real voices, too: "act" begins
"activate", "late" ends it, and "can paint" does neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import numpy as np

from training.errors import TrainingError
from training.phones import NAMES, SILENT, UNKNOWN
from training.scenes import Int8Array

Ways = tuple[tuple[int, ...], ...]  # to say a phrase, as numbers of phones


def ways(phrase: str) -> Ways:
    """How PocketSphinx's dictionary says it; none if it has no such word. Raises TrainingError without PocketSphinx."""
    from training.align import new_decoder, pronunciations

    decoder = new_decoder()
    try:
        said = pronunciations(phrase, decoder)
    except TrainingError:
        return ()
    return tuple(tuple(NAMES.index(phone) for phone in way) for way in said)


class Matching:
    """One stream's. ways: of saying the phrase, as numbers of phones."""

    def __init__(self, ways: Ways) -> None:
        # steps do not tell the same phone twice from one that lasts
        self._ways = [[phone for phone, _ in groupby(way)] for way in ways]
        self._longest = max(map(len, self._ways))
        self.reset()

    def reset(self) -> None:
        """Begin a new stream; nothing was said before it."""
        self._said: list[int] = []
        self._last = SILENT
        self._unsure = 0  # so many phones must be known before it is clear what those before them were not
        self._now = (0, 0)

    def push(self, phone: Int8Array) -> Int8Array:
        """(n,) the phone of each step -> (n, 2), each from 0 to the number of the phrase's phones.

        [:, 0]: the last phones are the first so many of the phrase (Knuth, Morris and Pratt's automaton, 1977);
        [:, 1]: they are its last so many; UNKNOWN where a phone in question is not known.
        """
        matched = np.empty((len(phone), 2), np.int8)
        position = 0
        for name, same in groupby(phone.tolist()):
            count = sum(1 for _ in same)
            if name != self._last:
                self._now, self._last = self._after(name), name
            matched[position : position + count] = self._now
            position += count
        return matched

    def _after(self, name: int) -> tuple[int, int]:
        if name == UNKNOWN:
            self._unsure, self._said = self._longest, []
            return UNKNOWN, UNKNOWN
        if name == SILENT:
            self._unsure, self._said = 0, []
            return 0, 0
        self._said = [*self._said, name][-self._longest :]
        self._unsure = max(0, self._unsure - 1)
        if self._unsure:
            return UNKNOWN, UNKNOWN
        return (
            max(agreeing(self._said, way[:count]) for way in self._ways for count in range(len(way) + 1)),
            max(agreeing(self._said, way[len(way) - count :]) for way in self._ways for count in range(len(way) + 1)),
        )


def agreeing(said: Sequence[int], part: Sequence[int]) -> int:
    """The length of the part if it was said last, else 0."""
    return len(part) if part and list(said[-len(part) :]) == list(part) else 0
