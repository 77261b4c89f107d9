"""What a unit costs for being unlike what is wanted, and what a cut costs wherever it is made."""

from __future__ import annotations

import math

import numpy as np

from training.align import SILENCE
from training.units import DIPHTHONGS, FRICATIVES, STOPS, VOWELS, Habits, Half

REDUCED = {"AH", "IH"}
REDUCED_SECONDS = 0.09  # AH and IH as short as that are the same schwa

_PLACES = [
    "P B M F V W",
    "T D N S Z TH DH L",
    "SH ZH CH JH Y",
    "K G NG",
    "IY IH EY EH AE",
    "UW UH OW AO OY",
    "AA AY AW AH",
    "ER R",
]
_PLACE = {phone: number for number, phones in enumerate(_PLACES) for phone in phones.split()}


def unit_cost(half: Half, name: str, neighbour: str, duration: float, habits: Habits) -> float:
    """How unlike what is wanted a half phone is. neighbour: wanted on its outer side; duration: s, of the phone."""
    phone = half.phone
    cost = _neighbour_cost(half, name, neighbour)
    octaves = abs(math.log2(max(phone.duration, 0.01) / duration))
    cost += 0.4 * max(octaves - 0.3, 0) + 1.0 * max(octaves - 1, 0)
    usual = habits.of("", phone.name, "", first=phone.first, last=phone.last)
    if usual is not None:
        doubt = float(np.clip(np.log(max(phone.badness, 0.1) / max(usual.badness, 0.1)) + 0.3, 0, 3))
        cost += (0.4 if name in VOWELS else 0.8) * doubt
    if phone.name != name:
        cost += 0.3 + (2.0 if phone.duration > REDUCED_SECONDS else 0.0)
    if name in STOPS and half.side == 1 and (neighbour == SILENCE or neighbour in VOWELS):
        cost += float(np.clip((18 - half.release_db) / 8, 0, 2.0))  # such a stop must be heard to open
    return cost


def _neighbour_cost(half: Half, name: str, wanted: str) -> float:
    if half.neighbour == wanted:
        return 0.0
    phone = half.phone
    if wanted == SILENCE:
        at_edge = phone.last if half.side else phone.first
        return 0.5 if at_edge else 1.5
    weight = 0.8 if name in STOPS else 1.5 if name in VOWELS else 1.0
    same_place = half.neighbour in _PLACE and _PLACE[half.neighbour] == _PLACE.get(wanted)
    return weight * (0.25 if same_place else 0.8)


def cut_cost(left: str, right: str, *, inside: bool) -> float:
    """What any cut costs: least in a closure, most between a vowel and a sound that glides into it."""
    if inside:
        if left in STOPS:
            return 0.25
        return 0.5 if left in FRICATIVES else 1.0 if left in DIPHTHONGS else 0.7
    if left in STOPS | FRICATIVES and right in STOPS | FRICATIVES:
        return 0.4
    if right in STOPS:
        return 0.6
    return 0.9 if left in STOPS | FRICATIVES or right in FRICATIVES else 1.5
