"""A pronunciation and a speaker's half phones in, the cheapest ways to build the one from the other out.

Unit selection (Hunt and Black, 1996): a unit costs what makes it unlike what is wanted (its neighbours, its
duration, a doubtful alignment), a join costs what can be heard of it. Dynamic programming finds the cheapest
path. Where two units follow each other in one recording there is no join and no cost, so long runs win.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from model.frontend import DoubleArray
from training.align import SILENCE
from training.costs import REDUCED, cut_cost, unit_cost
from training.prosody import Prosody
from training.sound import Sound, colour
from training.units import PLOSIVES, STOPS, Habits, Half

MOST = 400  # candidates for one place: the cheapest
STRANGE = 4.0  # cost of a unit's sound being one standard deviation away from what is wanted
VOICES_DIFFER = 0.4  # standard deviations that are between good voices, too
REPEAT = 0.5  # cost of a unit for each time that an earlier variant used it
MOST_ALIKE = 0.7  # share of a variant's time that may come from the same units as an earlier one's


@dataclass(frozen=True)
class Join:
    """A cut between two recordings.

    cost: in all; shape, level (dB), pitch (semitones): how far apart the two sounds are.
    """

    cost: float
    shape: float
    level: float
    pitch: float


@dataclass(frozen=True)
class Place:
    """Half a phone of the word. phone: its number; side: 0 the first half, 1 the second."""

    phone: int
    side: int

    @property
    def number(self) -> int:
        """Counted in half phones from the start of the word."""
        return 2 * self.phone + self.side


def places(phones: Sequence[str]) -> list[Place]:
    """The half phones that a word is made of.

    Of two stops in a row ("act") the first is not released: its closure and the second's release are enough.
    """
    closed = [left in PLOSIVES and right in STOPS for left, right in pairwise(phones)]
    shut, opened = [*closed, False], [False, *closed]
    return [
        Place(number, side)
        for number in range(len(phones))
        for side in (0, 1)
        if not (shut[number] if side else opened[number])
    ]


@dataclass(frozen=True)
class Chain:
    """One way to build a word.

    units: its half phones; places: of each, which half of which phone of the word it is; unit_costs; joins: by the
    number of the unit after the cut.
    """

    units: tuple[Half, ...]
    places: tuple[Place, ...]
    unit_costs: tuple[float, ...]
    joins: dict[int, Join]

    @property
    def score(self) -> float:
        """Cost per phone; 0 is natural speech, which needs no comparison with anything."""
        if not self.joins:
            return 0.0
        return (sum(self.unit_costs) + sum(join.cost for join in self.joins.values())) / self.phones

    @property
    def phones(self) -> int:
        """Of the word."""
        return self.places[-1].phone + 1


class Chooser:
    """The candidates for every half phone of a word, and what it costs to join them."""

    def __init__(
        self, phones: Sequence[str], wish: Prosody, units: Sequence[Half], sounds: Sequence[Sound], habits: Habits
    ) -> None:
        """Phones of the word and what they should be like; the speaker's units and recordings."""
        self._sounds = sounds
        self._colour = colour(sounds)
        self._places = places(phones)
        self.lacking = ""  # a phone that this speaker never said
        self._columns: list[list[Half]] = []
        self._costs: list[DoubleArray] = []
        surrounded = [SILENCE, *phones, SILENCE]
        for place in self._places:
            name, wanted = phones[place.phone], surrounded[place.phone + 2 * place.side]
            names = {name} | (REDUCED if name in REDUCED else set())
            column = [half for half in units if half.side == place.side and half.phone.name in names]
            if not column:
                self.lacking = name
                return
            costs = np.array([unit_cost(half, name, wanted, wish.seconds[place.phone], habits) for half in column])
            if wish.shapes:
                costs += self._strangeness(column, np.array(wish.shapes[place.number]))
            best = np.argsort(costs, kind="stable")[:MOST]
            self._columns.append([column[index] for index in best])
            self._costs.append(costs[best])
        self._joins = [self._join_costs(number) for number in range(1, len(self._columns))]

    def _strangeness(self, column: Sequence[Half], wanted: DoubleArray) -> DoubleArray:
        """(n,) what it costs that units sound unlike what is wanted, the speaker's own colour left aside."""
        shapes = [
            self._colour.without(self._sounds[half.utterance].shape(half.start, half.end)) - wanted for half in column
        ]
        distance = np.sqrt(np.mean(np.square(shapes), axis=1))
        return np.asarray(STRANGE * np.maximum(distance - VOICES_DIFFER, 0))

    def _features(self, number: int, *, at_end: bool) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
        """Shape (n, 36: 10 ms before, at and after the cut), level (n,) and pitch (n,) at the units' cuts."""
        shapes, levels, pitches = [], [], []
        for half in self._columns[number]:
            sound = self._sounds[half.utterance]
            frame = sound.frame(half.end if at_end else half.start)
            around = np.clip([frame - 2, frame, frame + 2], 0, len(sound.level) - 1)
            shapes.append(sound.cepstra[around].ravel())
            levels.append(sound.level[frame])
            pitches.append(sound.pitch[frame])
        return np.array(shapes), np.array(levels), np.array(pitches)

    def _join_costs(self, number: int) -> DoubleArray:
        """(4, units before, units after): cost, shape, level, pitch of the cut before this place; 0 where none is."""
        shape_a, level_a, pitch_a = self._features(number - 1, at_end=True)
        shape_b, level_b, pitch_b = self._features(number, at_end=False)
        shape = np.sqrt(np.mean(np.square(shape_a[:, None] - shape_b), axis=2))  # dB
        level = np.abs(level_a[:, None] - level_b)
        pitch = np.abs(pitch_a[:, None] - pitch_b)
        both = np.isfinite(pitch)
        either = np.isfinite(pitch_a)[:, None] | np.isfinite(pitch_b)
        voicing = np.where(both, np.minimum(np.nan_to_num(pitch) / 4, 2.0), np.where(either, 0.7, 0.0))
        # what is quiet is heard less
        loud = np.clip((np.maximum(level_a[:, None], level_b) + 35) / 25, 0.15, 1.0)
        left, right = self._columns[number - 1][0].phone.name, self._columns[number][0].phone.name
        cost = cut_cost(left, right, inside=self._places[number].side == 1)
        cost = cost + loud * (np.maximum(shape - 4, 0) / 8 + np.maximum(level - 3, 0) / 12 + 0.7 * voicing)
        table = np.stack([cost, shape, level, np.nan_to_num(pitch)])
        steps = self._places[number].number - self._places[number - 1].number
        for i, half in enumerate(self._columns[number - 1]):
            for j, other in enumerate(self._columns[number]):
                if half.precedes(other, steps):
                    table[:, i, j] = 0
        return table

    def _cheapest(self, penalties: Sequence[DoubleArray]) -> list[int]:
        """Dynamic programming: one candidate for each place."""
        total = self._costs[0] + penalties[0]
        back = []
        for number in range(1, len(self._columns)):
            ways = total[:, None] + self._joins[number - 1][0]
            back.append(np.argmin(ways, axis=0))
            total = ways.min(axis=0) + self._costs[number] + penalties[number]
        chosen = [int(np.argmin(total))]
        for column in reversed(back):
            chosen.append(int(column[chosen[-1]]))
        return chosen[::-1]

    def chains(self, tries: int) -> Iterator[Chain]:
        """Up to so many different ways, roughly the cheapest first; none if a phone is lacking."""
        if self.lacking:
            return
        earlier = [self._chain(chosen) for chosen in self._spoken()][:tries]
        yield from earlier
        penalties = [np.zeros(len(column)) for column in self._columns]
        for _ in range(tries - len(earlier)):
            chosen = self._cheapest(penalties)
            for penalty, index in zip(penalties, chosen, strict=True):
                penalty[index] += REPEAT
            chain = self._chain(chosen)
            if all(alike(chain, other) <= MOST_ALIKE for other in earlier):
                earlier.append(chain)
                yield chain

    def _spoken(self) -> Iterator[list[int]]:
        """The candidates of every place where the speaker said the whole word."""
        for start, half in enumerate(self._columns[0]):
            chosen = [start]
            for place, column in zip(self._places[1:], self._columns[1:], strict=True):
                steps = place.number - self._places[0].number
                follows = [number for number, other in enumerate(column) if half.precedes(other, steps)]
                chosen += follows[:1]
            if len(chosen) == len(self._columns):
                yield chosen

    def _chain(self, chosen: Sequence[int]) -> Chain:
        units = tuple(column[index] for column, index in zip(self._columns, chosen, strict=True))
        costs = tuple(float(cost[index]) for cost, index in zip(self._costs, chosen, strict=True))
        joins = {}
        for number in range(1, len(units)):
            steps = self._places[number].number - self._places[number - 1].number
            if not units[number - 1].precedes(units[number], steps):
                table = self._joins[number - 1][:, chosen[number - 1], chosen[number]]
                joins[number] = Join(*(round(float(value), 3) for value in table))
        return Chain(units, tuple(self._places), costs, joins)


def alike(chain: Chain, other: Chain) -> float:
    """The share of a path's time whose units stand in the same place of another."""
    lengths = [half.end - half.start for half in chain.units]
    same = sum(
        length
        for length, a, b in zip(lengths, chain.units, other.units, strict=True)
        if (a.utterance, a.index) == (b.utterance, b.index)
    )
    return same / max(sum(lengths), 1)
