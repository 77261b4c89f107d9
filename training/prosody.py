"""A phrase in, what its phones should be like out: as the voices of this machine say them.

Readers who sound out single sentences are slow and stress every syllable alike; a word joined from their phones
needs the rhythm of the word. Without a voice, phones last as long as they usually do in the speech itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from subprocess import SubprocessError

import numpy as np
import soxr

from model.frontend import FULL_SCALE, SAMPLE_RATE
from training.align import FRAME_SECONDS, SILENCE, align, new_aligner
from training.corpus import Int16Array, to_int16
from training.engines import Utterance, Voice, find_voices
from training.errors import TrainingError
from training.sound import Sound, colour
from training.speak import speak
from training.units import Habits, halve

_EACH = 8  # voices of one engine
_ENOUGH = 3  # voices whose phones were found
_SENTENCE = (
    "While the quick brown fox jumps over the lazy dog, five boys ate big pies and she had your dark suit washed."
)
_PAUSE = 0.2  # s before and after the phrase


@dataclass(frozen=True)
class Prosody:
    """What the phones of a word should be like, the empty ones unknown.

    seconds: of each phone; levels: of each, in dB relative to the whole; shapes: of each half phone, its cepstra
    without the voice's colour.
    """

    seconds: tuple[float, ...]
    levels: tuple[float, ...] = ()
    shapes: tuple[tuple[float, ...], ...] = ()

    def slower(self, factor: float) -> Prosody:
        """The same, taking so many times as long."""
        return replace(self, seconds=tuple(factor * seconds for seconds in self.seconds))


def prosody(phrase: str, ways: Sequence[tuple[str, ...]], habits: Habits) -> list[Prosody]:
    """What each way to say a phrase should sound like: the median of the voices."""
    spoken = list(_spoken(phrase))
    wishes = []
    for way in ways:
        fitting = [model for phones, model in spoken if phones == way]
        if len(fitting) < _ENOUGH:
            wishes.append(_usual(way, habits))
            continue
        seconds = np.median([model.seconds for model in fitting], axis=0)
        levels = np.median([model.levels for model in fitting], axis=0)
        shapes = np.median([model.shapes for model in fitting], axis=0)
        wishes.append(Prosody(tuple(seconds.tolist()), tuple(levels.tolist()), tuple(map(tuple, shapes.tolist()))))
    return wishes


def _usual(way: Sequence[str], habits: Habits) -> Prosody:
    around = [SILENCE, *way, SILENCE]
    found = [
        habits.of(left, name, right, first=place == 0, last=place == len(way) - 1)
        for place, (left, name, right) in enumerate(zip(around, way, around[2:], strict=False))
    ]
    return Prosody(tuple(usual.duration if usual else 0.1 for usual in found))


def _spoken(phrase: str) -> Iterator[tuple[tuple[str, ...], Prosody]]:
    """The phones and what they are like, from every voice in which they can be found."""
    decoder = new_aligner()
    for voice in _some_voices():
        try:
            word, sentence = (Sound(_say(text, voice)) for text in (phrase, _SENTENCE))
            aligned = align(decoder, to_int16(word.samples * FULL_SCALE), phrase)
        except (TrainingError, SubprocessError):
            continue
        own = colour([word, sentence])
        names, seconds, levels, shapes = [], [], [], []
        for name, first, frames, _ in (phone for entry in aligned for phone in entry):
            if name == SILENCE or not name.isalpha():
                continue
            start, end = (round(frame * FRAME_SECONDS * SAMPLE_RATE) for frame in (first, first + frames))
            middle, _ = halve(word, name, start, end)
            names.append(name)
            seconds.append(frames * FRAME_SECONDS)
            levels.append(float(word.level[word.frame(start) : word.frame(end) + 1].mean()))
            shapes += [tuple(own.without(word.shape(*part)).tolist()) for part in ((start, middle), (middle, end))]
        yield tuple(names), Prosody(tuple(seconds), tuple(levels), tuple(shapes))


def _some_voices() -> list[Voice]:
    try:
        voices = find_voices()
    except TrainingError:
        return []
    chosen: list[Voice] = []
    for engine in dict.fromkeys(voice.engine for voice in voices):
        own = [voice for voice in voices if voice.engine == engine]
        chosen += own[:: max(1, len(own) // _EACH)][:_EACH]
    return chosen


def _say(phrase: str, voice: Voice) -> Int16Array:
    spoken, rate = speak(Utterance(phrase, voice, 1.0, 0.0))
    pause = np.random.default_rng(0).normal(0, 1e-4, (2, round(_PAUSE * SAMPLE_RATE)))
    whole = np.concatenate((pause[0], soxr.resample(spoken, rate, SAMPLE_RATE), pause[1]))
    return to_int16(whole * FULL_SCALE)
