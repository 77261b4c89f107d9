"""A chosen path through a speaker's recordings in, the word as audio out.

Cuts are moved by a few milliseconds to where the two waves agree, or in a closure to where it is quietest;
levels are brought together; a short cross-fade hides the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from model.frontend import FULL_SCALE, SAMPLE_RATE, DoubleArray, FloatArray
from training.align import SILENCE
from training.choose import Chain
from training.corpus import Int16Array, to_int16
from training.prosody import Prosody
from training.retime import retime
from training.sound import Sound
from training.units import STOPS, VOWELS

LOUD_DBFS = -20.0  # the level of a finished clip's loud parts
PEAK = 0.9  # of full scale, at most
_VOICED_FADE, _OTHER_FADE = 0.012, 0.006  # s
_SEARCH = 0.005  # s to either side, for the waves to agree
_EDGE_FADE = 0.008  # s
_LEAD, _TAIL = 0.02, 0.06  # s of silence beside the word that may still be part of it
_TRIM_DB = -34.0  # below the loudest 10 ms
_MOST_GAIN_DB = 10.0
_STRETCH = (0.35, 1.7)  # of a phone
_BURST_STRETCH = (0.45, 1.2)  # of a stop's release


@dataclass(frozen=True)
class Piece:
    """A stretch of one recording. start, end: samples; first, last: numbers of its half phones in the word."""

    utterance: int
    start: int
    end: int
    first: int
    last: int


@dataclass(frozen=True)
class Clip:
    """A finished word. samples: int16 at 44.1 kHz; cuts: samples at which the joins lie; pieces: what they join."""

    samples: Int16Array
    cuts: tuple[int, ...]
    pieces: tuple[Piece, ...]


def pieces(chain: Chain, sounds: Sequence[Sound]) -> list[Piece]:
    """The stretches between a path's joins; at the ends of the word with some of the silence beside it."""
    bounds = [0, *sorted(chain.joins), len(chain.units)]
    found = []
    for first, after in pairwise(bounds):
        units = chain.units[first:after]
        start, end = units[0].start, units[-1].end
        if first == 0 and units[0].neighbour == SILENCE:
            start -= round(_LEAD * SAMPLE_RATE)
        if after == len(chain.units) and units[-1].neighbour == SILENCE:
            end += round(_TAIL * SAMPLE_RATE)
        length = len(sounds[units[0].utterance].samples)
        found.append(Piece(units[0].utterance, max(start, 0), min(end, length), first, after - 1))
    return found


def splice(chain: Chain, sounds: Sequence[Sound], wish: Prosody) -> Clip:
    """Join a chain's pieces into one clip, its phones as long and as loud as they should be."""
    parts = pieces(chain, sounds)
    gains = 10 ** (_gains_db(chain, parts, sounds, wish) / 20)
    voiced = [_voiced(before, after, sounds) for before, after in pairwise(parts)]
    # half of each cross-fade, in samples; none after the last piece
    reach = [round((_VOICED_FADE if both else _OTHER_FADE) * SAMPLE_RATE / 2) for both in voiced] + [0]
    first = parts[0]
    joined = gains[0] * _cut(sounds[first.utterance].samples, first.start, first.end + reach[0])
    begins = [chain.units[0].start - first.start]  # where each piece's first phone begins in what is joined
    for part, gain, both, half, after in zip(parts[1:], gains[1:], voiced, reach, reach[1:], strict=False):
        sound = sounds[part.utterance].samples
        shift = _best_shift(joined[-2 * half :], sound, part.start - half) if both else 0
        begins.append(len(joined) - half)
        piece = gain * _cut(sound, part.start + shift - half, part.end + after)
        joined = _cross_fade(joined, piece, 2 * half, alike=both)
    if len(parts) == 1:
        return _finish(joined, [], parts)  # it was said so
    before, wanted = _times(chain, parts, begins, len(joined), wish)
    cuts = [round(float(np.interp(begin, before, wanted))) for begin in begins[1:]]
    return _finish(retime(joined, before, wanted), cuts, parts)


def _cross_fade(before: DoubleArray, after: DoubleArray, length: int, *, alike: bool) -> DoubleArray:
    """Go over from one to the other in so many samples, fewer if one of them is shorter."""
    length = min(length, len(before), len(after))
    if length == 0:
        return np.concatenate((before, after))
    fade = np.linspace(0, 1, length)
    if not alike:  # unlike waves add in power
        fade = np.sin(fade * np.pi / 2)
    overlap = before[-length:] * fade[::-1] + after[:length] * fade
    return np.concatenate((before[:-length], overlap, after[length:]))


def _times(
    chain: Chain, parts: Sequence[Piece], begins: Sequence[int], length: int, wish: Prosody
) -> tuple[DoubleArray, DoubleArray]:
    """Where the half phones begin in what was joined, and where they shall, so that phones last as long as wished."""
    starts = [0.0]
    for part, begin in zip(parts, begins, strict=True):
        units = chain.units[part.first : part.last + 1]
        starts += [begin + half.start - units[0].start for half in units]
    starts.append(max(float(length), starts[-1] + 1))
    before = np.maximum.accumulate(np.array(starts) + np.arange(len(starts)) * 1e-3)
    spans = np.diff(before)
    for group in _groups(chain):
        wished = sum(wish.seconds[phone] for phone in {chain.places[number].phone for number in group})
        factor = wished * SAMPLE_RATE / sum(spans[number + 1] for number in group)
        for number in group:
            released = chain.units[number].phone.name in STOPS and chain.places[number].side == 1
            spans[number + 1] *= float(np.clip(factor, *(_BURST_STRETCH if released else _STRETCH)))
    return before, np.concatenate(([0.0], np.cumsum(spans)))


def _groups(chain: Chain) -> list[list[int]]:
    """The units of each phone; two stops of which the first is not released are one."""
    groups: list[list[int]] = []
    for number, place in enumerate(chain.places):
        if place.side == 0:
            groups.append([])
        groups[-1].append(number)
    return groups


def _cut(sound: FloatArray, start: int, end: int) -> DoubleArray:
    """Samples from start to end; zeros where the recording has none."""
    inner = sound[max(start, 0) : max(end, 0)].astype(np.float64)
    return np.pad(inner, (max(-start, 0), max(end - max(start, 0) - len(inner), 0)))


def _voiced(before: Piece, after: Piece, sounds: Sequence[Sound]) -> bool:
    a, b = sounds[before.utterance], sounds[after.utterance]
    return bool(np.isfinite(a.pitch[a.frame(before.end)]) and np.isfinite(b.pitch[b.frame(after.start)]))


def _best_shift(tail: DoubleArray, sound: FloatArray, start: int) -> int:
    """By how many samples to move a piece's start so that its wave agrees best with the tail it is faded into."""
    reach = round(_SEARCH * SAMPLE_RATE)
    around = _cut(sound, start - reach, start + reach + len(tail))
    windows = np.lib.stride_tricks.sliding_window_view(around, len(tail))
    power = np.sqrt(np.sum(np.square(windows), axis=1)) + 1e-9
    return int(np.argmax(windows @ tail / power)) - reach


def _gains_db(chain: Chain, parts: Sequence[Piece], sounds: Sequence[Sound], wish: Prosody) -> DoubleArray:
    """A gain for each piece, so that levels meet at the joins and vowels are as loud as wished: least squares."""
    count = len(parts)
    rows, wanted = [], []  # the last unknown is the level of the whole, which is free

    def ask(weight: float, row: Mapping[int, float], value: float) -> None:
        rows.append(weight * np.array([row.get(index, 0.0) for index in range(count + 1)]))
        wanted.append(weight * value)

    for number, part in enumerate(parts):
        ask(0.3, {number: 1}, 0.0)  # without need, no gain
        for unit, place in list(zip(chain.units, chain.places, strict=True))[part.first : part.last + 1]:
            if wish.levels and unit.phone.name in VOWELS:
                sound = sounds[unit.utterance]
                level = sound.level[sound.frame(unit.start) : sound.frame(unit.end) + 1].mean()
                ask(0.5, {number: 1, count: -1}, wish.levels[place.phone] - level)
    for number, (before, after) in enumerate(pairwise(parts)):
        a, b = sounds[before.utterance], sounds[after.utterance]
        level_a, level_b = a.level[a.frame(before.end)], b.level[b.frame(after.start)]
        weight = float(np.clip((min(level_a, level_b) + 30) / 25, 0.05, 1.0))
        ask(weight, {number: 1, number + 1: -1}, level_b - level_a)
    ask(0.01, {count: 1}, 0.0)
    solution: DoubleArray = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0][:count]
    return np.asarray(np.clip(solution, -_MOST_GAIN_DB, _MOST_GAIN_DB))


def _finish(joined: DoubleArray, cuts: Sequence[int], parts: Sequence[Piece]) -> Clip:
    hop = SAMPLE_RATE // 100
    count = len(joined) // hop
    power = np.mean(np.square(joined[: count * hop].reshape(count, hop)), axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (_TRIM_DB / 10))
    start, end = int(loud[0]) * hop, min(int(loud[-1] + 2) * hop, len(joined))
    word = joined[start:end].copy()
    edge = round(_EDGE_FADE * SAMPLE_RATE)
    word[:edge] *= np.linspace(0, 1, edge)
    word[-edge:] *= np.linspace(1, 0, edge)
    level = np.sqrt(np.mean(power[power > power.max() * 1e-3]))
    gain = min(10 ** (LOUD_DBFS / 20) / max(level, 1e-9), PEAK / max(float(np.abs(word).max()), 1e-9))
    return Clip(to_int16(word * gain * FULL_SCALE), tuple(cut - start for cut in cuts), tuple(parts))
