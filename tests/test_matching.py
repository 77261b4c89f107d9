"""How far into a word the phones of a stream lead, and how much of its end they are."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

from training.matching import Matching, ways
from training.phones import NAMES, SILENT, UNKNOWN

NUMBERS = {name: number for number, name in enumerate(NAMES)} | {"?": UNKNOWN}
ACTIVATE = ("AE K T AH V EY T",)


def matched(said: str, phrases: tuple[str, ...] = ACTIVATE, steps: int = 3) -> list[tuple[int, int]]:
    """What stands at each phone, of which each lasts some steps, in pieces that end anywhere."""
    matching = Matching(tuple(tuple(NUMBERS[name] for name in phrase.split()) for phrase in phrases))
    phone = np.repeat([NUMBERS[name] for name in said.split()], steps).astype(np.int8)
    pieces = [matching.push(part) for part in np.array_split(phone, 4)]
    whole = np.concatenate(pieces)
    assert whole.shape == (len(phone), 2)
    by_phone = whole.reshape(-1, steps, 2)
    assert (by_phone == by_phone[:, :1]).all(), "all steps of a phone say the same"
    return [(int(begun), int(ended)) for begun, ended in by_phone[:, 0]]


def test_the_word_is_followed_from_its_first_phone_to_its_last() -> None:
    found = matched("SIL D AE K T AH V EY T SIL")
    assert [begun for begun, _ in found] == [0, 0, 1, 2, 3, 4, 5, 6, 7, 0]
    assert [ended for _, ended in found] == [0, 0, 0, 0, 1, 0, 0, 0, 7, 0]


def test_what_begins_or_ends_like_it_is_told_from_it() -> None:
    assert matched("AE K T IH V SIL")[2:4] == [(3, 1), (0, 0)]
    assert matched("P AE K AE K T AH V")[1:] == [(1, 0), (2, 0), (1, 0), (2, 0), (3, 1), (4, 0), (5, 0)]
    captivate = matched("K AE P T AH V EY T")
    assert captivate[-1] == (0, 5)
    assert captivate[-2] == (0, 0)
    assert max(begun for begun, _ in captivate) == 1


def test_a_pause_within_the_word_ends_it() -> None:
    assert matched("AE K T SIL AH V EY T")[-1] == (0, 4)


def test_of_several_ways_to_say_it_the_one_that_fits_counts() -> None:
    both = ("AE K T AH V EY T", "AE K T IH V EY T")
    assert matched("AE K T IH V EY T", both)[-1] == (7, 7)
    assert matched("AE K T IH V EY T")[-1] == (0, 3)


def test_nothing_is_said_about_what_an_unknown_phone_may_have_begun() -> None:
    word = "AE K T AH V EY T"
    unknown = (UNKNOWN, UNKNOWN)
    assert matched(f"? {word}")[:7] == [unknown] * 7
    assert matched(f"? {word} {word}")[-1] == (7, 7)
    assert matched(f"? SIL {word}")[1:3] == [(0, 0), (1, 0)], "a pause makes it sure"


def test_the_same_phone_twice_cannot_be_told_from_one_that_lasts() -> None:
    assert matched("HH AA T T IY", ("HH AA T T IY",))[-1] == (4, 4)


def test_a_new_stream_knows_nothing_of_the_last() -> None:
    matching = Matching(((1, 2),))
    assert matching.push(np.array([1], np.int8)).tolist() == [[1, 0]]
    matching.reset()
    assert matching.push(np.array([2], np.int8)).tolist() == [[0, 1]]
    matching.reset()
    assert matching.push(np.array([UNKNOWN, SILENT], np.int8)).tolist() == [[UNKNOWN, UNKNOWN], [0, 0]]


@pytest.mark.skipif(not find_spec("pocketsphinx"), reason="PocketSphinx is not installed")
def test_the_dictionary_says_how_it_is_said() -> None:
    assert ways("activate") == (tuple(NUMBERS[name] for name in ACTIVATE[0].split()),)
    assert len({way[-1] for way in ways("hey computer")}) == 1
    assert ways("xyzzyq") == ()
