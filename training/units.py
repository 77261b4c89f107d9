"""A speaker's aligned recordings in, the half phones that a word can be built from out.

A unit is one half of one phone in one recording. The cut in the middle of a stop lies in its closure, where
it is quietest; that of any other phone at half its time. At every cut stands a description of the sound
there, so that two cuts can be compared: when they are alike, one recording can go on where the other stops.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from model.frontend import SAMPLE_RATE
from training.align import SILENCE, Phone, Speaker, Utterance
from training.sound import HOP, Sound

_ENOUGH = 20  # phones for a median
_LAST = 40  # descriptions, 0.2 s, in which a last stop lies
RELEASE_DB = 10.0  # by which its release rises above its closure


def _set(phones: str) -> frozenset[str]:
    return frozenset(phones.split())


VOWELS = _set("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW")
DIPHTHONGS = _set("AW AY EY OW OY")
PLOSIVES = _set("P B T D K G")
STOPS = PLOSIVES | _set("CH JH")  # affricates have a closure, too
FRICATIVES = _set("F V TH DH S Z SH ZH HH")


@dataclass(frozen=True)
class Usual:
    """How long a phone usually takes (s), and how badly it usually fits."""

    duration: float
    badness: float


class Habits:
    """Medians over all speakers.

    Those of a phone between the same neighbours where there are enough, else of the phone in the same place of
    a word, else of the phone.
    """

    def __init__(self, speakers: Iterable[Speaker]) -> None:
        seen: dict[tuple[object, ...], list[tuple[float, float]]] = defaultdict(list)
        for speaker in speakers:
            for utterance in speaker.utterances:
                for left, phone, right in _with_neighbours(utterance):
                    for key in _keys(left, phone.name, right, phone.first, phone.last):
                        seen[key].append((phone.duration, phone.badness))
        self._usual = {
            key: Usual(*(float(np.median(column)) for column in zip(*values, strict=True)))
            for key, values in seen.items()
            if len(values) >= _ENOUGH or len(key) == 1
        }

    def of(self, left: str, name: str, right: str, first: bool, last: bool) -> Usual | None:
        """The usual phone in this place; None if nobody ever said it."""
        return next((self._usual[key] for key in _keys(left, name, right, first, last) if key in self._usual), None)


def _with_neighbours(utterance: Utterance) -> Iterable[tuple[str, Phone, str]]:
    names = [SILENCE, *(phone.name for phone in utterance.phones), SILENCE]
    return zip(names, utterance.phones, names[2:], strict=False)


def _keys(left: str, name: str, right: str, first: bool, last: bool) -> list[tuple[object, ...]]:
    return [(left, name, right, first, last), (left, name, right), (name, first, last), (name,)]


@dataclass(frozen=True)
class Half:
    """Half a phone. utterance, index: where; side: 0 the first half, 1 the second; start, end: samples.

    neighbour: the phone on its outer side; release_db: of a stop, how much its burst stands out above its closure.
    """

    utterance: int
    index: int
    side: int
    start: int
    end: int
    phone: Phone
    neighbour: str
    release_db: float

    def precedes(self, other: Half, steps: int) -> bool:
        """Whether the other half follows this one in the same recording, so many half phones later."""
        here, there = (2 * half.index + half.side for half in (self, other))
        return self.utterance == other.utterance and there == here + steps


def halves(utterances: Sequence[Utterance], sounds: Sequence[Sound], wanted: Iterable[str]) -> list[Half]:
    """Both halves of every phone that has one of the wanted names."""
    names = set(wanted)
    found = []
    for number, (utterance, sound) in enumerate(zip(utterances, sounds, strict=True)):
        for index, (left, phone, right) in enumerate(_with_neighbours(utterance)):
            if phone.name not in names:
                continue
            start, end = (round(seconds * SAMPLE_RATE) for seconds in (phone.start, phone.end))
            middle, release = halve(sound, phone.name, start, end)
            found.append(Half(number, index, 0, start, middle, phone, left, release))
            found.append(Half(number, index, 1, middle, end, phone, right, release))
    return found


def halve(sound: Sound, name: str, start: int, end: int) -> tuple[int, float]:
    """The sample at which to cut a phone, and of a stop how far its release rises above its closure, in dB."""
    if name not in STOPS:
        return (start + end) // 2, 0.0
    first, last = sound.frame(start), sound.frame(end)
    until = max(first + 1, first + (last - first) * 2 // 3)
    quietest = first + int(np.argmin(sound.level[first:until]))
    # the alignment's end may come a little before the burst's
    release = sound.hiss[quietest : last + 4].max() - sound.hiss[quietest]
    return min(max(quietest * HOP, start), end), float(release)


def opens(sound: Sound) -> bool:
    """Whether a recording of a word that ends in a stop ends with its release, and not in the midst of it."""
    hiss, level = sound.hiss[-_LAST:], sound.level[-_LAST:]
    closed = int(np.argmin(level[:-4]))
    burst = closed + int(np.argmax(hiss[closed:]))
    return bool(hiss[burst] - hiss[closed] >= RELEASE_DB and len(hiss) - 1 - burst >= 2)
