"""A speaker's aligned recordings in, the half phones that a word can be built from out.

A unit is one half of one phone in one recording. The cut in the middle of a stop lies in its closure, where
it is quietest; that of any other phone at half its time. At every cut stands a description of the sound
there, so that two cuts can be compared: when they are alike, one recording can go on where the other stops.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soxr

from model.frontend import FULL_SCALE, SAMPLE_RATE, DoubleArray, FloatArray
from training.align import SILENCE, Phone, Speaker, Utterance
from training.corpus import Int16Array, active_level, read

HOP = SAMPLE_RATE // 200  # samples between two descriptions, 5 ms
LEVEL_DBFS = -26.0  # to which the speech in every recording is brought
CEPSTRA = 12
_WINDOW = 882  # samples, 20 ms
_PITCH_WINDOW = 512  # samples at a quarter of the rate, 46 ms
_PITCH_HZ = (70.0, 450.0)
_BANDS = 26  # between 100 Hz and 7.6 kHz, on the mel scale
_ENOUGH = 20  # phones for a median


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


class Sound:
    """One recording, its speech brought to one level, and what it sounds like every 5 ms.

    samples: (n,) at 44.1 kHz; path: where they come from.
    """

    def __init__(self, samples: Int16Array, path: str = "") -> None:
        self.path = path
        gain = 10 ** ((LEVEL_DBFS - active_level(samples)) / 20)
        self.samples: FloatArray = (samples * (gain / FULL_SCALE)).astype(np.float32)

    @cached_property
    def _power(self) -> DoubleArray:
        """(frames, bins) power spectrum."""
        return np.square(np.abs(np.fft.rfft(_frames(self.samples, _WINDOW) * np.hanning(_WINDOW))))

    @cached_property
    def level(self) -> DoubleArray:
        """(frames,) in dB relative to the speech's level."""
        frames = _frames(self.samples, _WINDOW) * np.hanning(_WINDOW)
        power = np.mean(np.square(frames), axis=1) / np.mean(np.square(np.hanning(_WINDOW)))
        return np.asarray(10 * np.log10(power + 1e-12) - LEVEL_DBFS)

    @cached_property
    def hiss(self) -> DoubleArray:
        """(frames,) the level of what lies between 2 and 8 kHz, in dB: where a stop's release is heard."""
        low, high = (round(hertz * _WINDOW / SAMPLE_RATE) for hertz in (2000, 8000))
        return np.asarray(10 * np.log10(np.sum(self._power[:, low:high], axis=1) + 1e-9))

    @cached_property
    def cepstra(self) -> DoubleArray:
        """(frames, 12) shape of the spectrum, without its level."""
        bands = 10 * np.log10(self._power @ _mel_filters().T + 1e-9)
        bands = np.maximum(bands, bands.max() - 70)
        order = np.arange(1, CEPSTRA + 1)[:, None]
        cosines = np.cos(np.pi * order * (np.arange(_BANDS) + 0.5) / _BANDS) / np.sqrt(_BANDS / 2)
        return np.asarray(bands @ cosines.T)

    @cached_property
    def pitch(self) -> DoubleArray:
        """(frames,) in semitones above 1 Hz; NaN where there is no voice."""
        # a quarter of the rate will do, and half a sample of it is half a semitone at the most
        quarter = soxr.resample(self.samples, SAMPLE_RATE, SAMPLE_RATE / 4)
        frames = _frames(quarter, _PITCH_WINDOW, HOP // 4)[: len(self.level)]
        frames = frames - frames.mean(axis=1, keepdims=True)
        window = np.hanning(_PITCH_WINDOW)
        likeness = np.fft.irfft(np.square(np.abs(np.fft.rfft(frames * window, 2 * _PITCH_WINDOW))))
        own = np.fft.irfft(np.square(np.abs(np.fft.rfft(window, 2 * _PITCH_WINDOW))))
        shortest, longest = (round(SAMPLE_RATE / 4 / hertz) for hertz in reversed(_PITCH_HZ))
        lags = np.arange(shortest, longest)
        scaled = likeness[:, lags] / (likeness[:, :1] + 1e-12) * (own[0] / own[lags])
        # the first lag nearly as good as the best: half the pitch fits equally well
        first = np.argmax(scaled > 0.9 * scaled.max(axis=1, keepdims=True), axis=1)
        peak = first + np.array([np.argmax(row[at : at + 10]) for row, at in zip(scaled, first, strict=True)])
        voiced = (scaled.max(axis=1) > 0.55) & (self.level[: len(scaled)] > -30)
        pitch = np.where(voiced, 12 * np.log2(SAMPLE_RATE / 4 / lags[np.minimum(peak, len(lags) - 1)]), np.nan)
        return np.pad(pitch, (0, len(self.level) - len(pitch)), constant_values=np.nan)

    def frame(self, sample: int) -> int:
        """The description nearest to a sample."""
        return min(max(round(sample / HOP), 0), len(self.level) - 1)

    def shape(self, start: int, end: int) -> DoubleArray:
        """(12,) the mean cepstra from one sample to another."""
        return np.asarray(self.cepstra[self.frame(start) : self.frame(end) + 1].mean(axis=0))


def load(path: str) -> Sound:
    """A recording from its file. Raises TrainingError if it is of no use."""
    return Sound(read(Path(path)), path)


@dataclass(frozen=True)
class Colour:
    """What one voice in one room has in all its sounds. mean, spread: (12,) of the cepstra of its speech."""

    mean: DoubleArray
    spread: DoubleArray

    def without(self, shape: DoubleArray) -> DoubleArray:
        """(12,) cepstra, comparable with those of other voices."""
        return np.asarray((shape - self.mean) / self.spread)


def colour(sounds: Sequence[Sound]) -> Colour:
    """That of all the speech in these recordings of one voice."""
    loud = np.concatenate([sound.cepstra[sound.level > -30] for sound in sounds])
    return Colour(loud.mean(axis=0), loud.std(axis=0) + 1e-3)


def _frames(samples: FloatArray, window: int, hop: int = HOP) -> FloatArray:
    padded = np.pad(samples, (window // 2, window))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[: len(samples) + 1 : hop]


def _mel_filters() -> DoubleArray:
    def mel(hertz: float) -> float:
        return float(2595 * np.log10(1 + hertz / 700))

    edges = 700 * (10 ** (np.linspace(mel(100), mel(7600), _BANDS + 2) / 2595) - 1)
    hertz = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    rising = (hertz - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - hertz) / np.diff(edges)[1:, None]
    return np.asarray(np.clip(np.minimum(rising, falling), 0, None))


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
