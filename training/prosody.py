"""A phrase in, how long and how loud its phones should be out: as the voices of this machine say it.

Readers who sound out single sentences are slow and stress every syllable alike; a word joined from their phones
needs the rhythm of the word. Without a voice, phones last as long as they usually do in the speech itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from subprocess import SubprocessError

import numpy as np
import soxr

from model.frontend import FULL_SCALE, SAMPLE_RATE
from training.align import FRAME_SECONDS, SILENCE, align, new_aligner
from training.corpus import Int16Array, active_level, to_int16
from training.errors import TrainingError
from training.speak import Utterance, Voice, find_voices, speak
from training.units import Habits

_EACH = 8  # voices of one engine
_ENOUGH = 3  # voices whose phones were found
_PAUSE = 0.2  # s before and after the phrase


@dataclass(frozen=True)
class Prosody:
    """For each phone: seconds; levels: dB relative to the phrase's speech, empty if not known."""

    seconds: tuple[float, ...]
    levels: tuple[float, ...] = ()


def prosody(phrase: str, ways: Sequence[tuple[str, ...]], habits: Habits) -> list[Prosody]:
    """What each way to say a phrase should sound like."""
    spoken = _spoken(phrase)
    wishes = []
    for way in ways:
        fitting = [(seconds, levels) for phones, seconds, levels in spoken if phones == way]
        if len(fitting) >= _ENOUGH:
            seconds, levels = (np.median([entry[i] for entry in fitting], axis=0) for i in (0, 1))
            wishes.append(Prosody(tuple(map(float, seconds)), tuple(map(float, levels))))
        else:
            wishes.append(_usual(way, habits))
    return wishes


def _usual(way: Sequence[str], habits: Habits) -> Prosody:
    around = [SILENCE, *way, SILENCE]
    found = [
        habits.of(left, name, right, first=place == 0, last=place == len(way) - 1)
        for place, (left, name, right) in enumerate(zip(around, way, around[2:], strict=False))
    ]
    return Prosody(tuple(usual.duration if usual else 0.1 for usual in found))


def _spoken(phrase: str) -> list[tuple[tuple[str, ...], list[float], list[float]]]:
    """Phones, their seconds and their levels, from every voice in which they can be found."""
    decoder = new_aligner()
    found = []
    for voice in _some_voices():
        try:
            samples = _say(phrase, voice)
            words = align(decoder, samples, phrase)
        except (TrainingError, SubprocessError):
            continue
        phones = [phone for word in words for phone in word if str(phone[0]).isalpha() and phone[0] != SILENCE]
        frames = samples[: len(samples) // 441 * 441].reshape(-1, 441).astype(np.float64)
        power = np.mean(np.square(frames), axis=1) / FULL_SCALE**2
        level = active_level(samples)
        loud = [10 * np.log10(power[start : start + count].mean() + 1e-12) - level for _, start, count, _ in phones]
        seconds = [count * FRAME_SECONDS for _, _, count, _ in phones]
        found.append((tuple(str(phone[0]) for phone in phones), seconds, loud))
    return found


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
