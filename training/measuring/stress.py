"""A model and recordings in, what a daemon meets out: the word in hard places, near words, and sounds that are neither.

Every line is measured on the model at its own threshold, with the daemon's own `Spotter`. The word must be
heard from where it begins to a second after its end; of what is not the word nothing may be heard at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import soxr

from model.detector import Spotter
from model.frontend import FULL_SCALE, SAMPLE_RATE
from model.modelfile import Model
from training.dsp import endpointing
from training.dsp.decode import Int16Array, active_level, to_int16
from training.dsp.psola import change_voice
from training.measuring.confidence_intervals import Rate
from training.measuring.score_recordings import LATE_SECONDS, QUIET_DBFS, Recording, background, word_end
from training.scenes.augment import coloured_noises
from training.utils.progress import bar

AROUND = 2.0  # s of room before and after
GAP = 0.06  # s between the word and the rest of a sentence
REPEAT = 0.6  # s from the word's end to the same word again
SENTENCE = 1.5  # s of other speech before the word and after it
NOISE_DB = 10.0  # of the word above what is under it
QUIET_LEVEL = -40.0  # dBFS, of someone far away
CLIPPED_SHARE = 95  # percentile of the samples that reaches full scale
PACE = 1.3  # times as fast, or as slow
SOUND_MINUTES = 10  # of which one is made, and repeated; of babble all
SOUND_DBFS = -30.0
TALKERS = 6  # of babble: no single one is understood any more

Span = tuple[int, int]  # first sample of a word, the one after its last
Make = Callable[[Int16Array, np.random.Generator], "Situation"]


@dataclass(frozen=True)
class Situation:
    """samples: (n,) at 44.1 kHz; words: where the word is said in it."""

    samples: Int16Array
    words: tuple[Span, ...] = ()


@dataclass(frozen=True)
class SituationResult:
    """One figure. kind: "heard" of so many words, "fired" at so many things, or "hours": times in so many hours."""

    title: str
    kind: str
    rate: Rate


@dataclass(frozen=True)
class StressSounds:
    """What there is to measure with. near: texts that are not the word, and recordings of each."""

    words: Sequence[Recording]
    speech: Sequence[Recording] = ()
    noise: Sequence[Recording] = ()
    near: Sequence[tuple[str, Sequence[Int16Array]]] = ()


def stress(model: Model, sounds: StressSounds, minutes: float = 60.0, seed: int = 0) -> Iterator[SituationResult]:
    """Each figure as soon as it is known. minutes: of sound without a pause before the last words."""
    spotter = Spotter([model])
    words = [word_in(recording.samples) for recording in sounds.words]

    made = made_up_sounds(seed)
    if sounds.speech:
        made[f"{TALKERS} people talk at once"] = babble(sounds.speech, SOUND_MINUTES * 60 * SAMPLE_RATE, seed)
    for title, make in situations(sounds, made):
        # the same generator for each word, whatever was measured before
        scenes = (make(word, np.random.default_rng([seed, number])) for number, word in enumerate(words))
        with_progress = bar(scenes, title, "word", len(words))
        heard = [found(scene.words, firings(spotter, [scene.samples])) for scene in with_progress]
        yield SituationResult(title, "heard", sum(heard, Rate(0, 0)))
    halves = [first_half(word) for word in words]
    for title, others in (("only the first half of the word", halves), *((f"“{text}”", n) for text, n in sounds.near)):
        rooms = [in_room([(0.0, other)], np.random.default_rng([seed, number])) for number, other in enumerate(others)]
        fired = [bool(firings(spotter, [room.samples])) for room in bar(rooms, title, "sound")]
        yield SituationResult(title, "fired", Rate(sum(fired), len(fired)))
    for title, sound in made.items():
        count = len(firings(spotter, np.split(lasting(sound), SOUND_MINUTES)))
        yield SituationResult(title, "hours", Rate(count, SOUND_MINUTES / 60))
    if minutes and (sounds.speech or sounds.noise):
        yield after_long(spotter, words, [*sounds.speech, *sounds.noise], minutes, seed)


def word_in(samples: Int16Array) -> Int16Array:
    """The word of a recording, without the quiet before and after it."""
    place, end = endpointing.said(samples), word_end(samples)
    # beside a thump before it, below what `said` hears, the word may be no louder than a room
    return samples[place.start : end] if end > place.start else place.of(samples)


def situations(sounds: StressSounds, made: Mapping[str, Int16Array]) -> Iterator[tuple[str, Make]]:
    """What is done to the word: a title, and the function that does it."""
    yield "in a quiet room", alone(lambda word: word)
    yield f"at {QUIET_LEVEL:g} dBFS", alone(lambda word: at_level(word, QUIET_LEVEL))
    yield "so loud that it clips", alone(overdriven)
    yield "through 16 kHz", lambda word, rng: narrow(in_room([(0.0, word)], rng))
    yield f"{PACE:g} times as fast", alone(lambda word: paced(word, PACE))
    yield f"{PACE:g} times as slow", alone(lambda word: paced(word, 1 / PACE))
    title = f"twice, {REPEAT:g} s apart (both must be heard)"
    yield title, lambda word, rng: in_room([(0.0, word), (REPEAT, word)], rng)
    if sounds.speech:
        yield "in the middle of a sentence", partial(in_sentence, sounds.speech)
        yield f"someone talks, {NOISE_DB:g} dB below", partial(over, sounds.speech)
    for source in dict.fromkeys(recording.source for recording in sounds.noise):
        noises = [recording for recording in sounds.noise if recording.source == source]
        yield f"{source}, {NOISE_DB:g} dB below", partial(over, noises)
    for title, sound in made.items():
        if sound.any():
            # so long for one situation only
            yield f"{title}, {NOISE_DB:g} dB below", partial(over, [Recording(lasting(sound))])


def alone(change: Callable[[Int16Array], Int16Array]) -> Make:
    """The word, changed, in a quiet room."""
    return lambda word, rng: in_room([(0.0, change(word))], rng)


def firings(spotter: Spotter, pieces: Iterable[Int16Array]) -> list[int]:
    """The samples at which it fires in one stream that comes in pieces."""
    spotter.reset()
    detections = [detection for piece in pieces for detection in spotter.push(piece)]
    return [detection.sample for detection in [*detections, *spotter.flush()]]


def found(words: Sequence[Span], fired: Sequence[int]) -> Rate:
    """How many of the words a firing stands for, each firing for one word only: the first that it can."""
    left = list(fired)
    count = 0
    for first, last in words:
        mine = next((at for at in left if first <= at <= last + LATE_SECONDS * SAMPLE_RATE), None)
        if mine is not None:
            left.remove(mine)
            count += 1
    return Rate(count, len(words))


def in_room(parts: Sequence[tuple[float, Int16Array]], rng: np.random.Generator) -> Situation:
    """Words (seconds of pause before each, samples) in a quiet room."""
    around = int(AROUND * SAMPLE_RATE)
    at, words = around, []
    for pause, samples in parts:
        at += int(pause * SAMPLE_RATE)
        words.append((at, at + len(samples)))
        at += len(samples)
    mix = background(at + around, QUIET_DBFS, rng)
    for (first, last), (_, samples) in zip(words, parts, strict=True):
        mix[first:last] += samples
    return Situation(to_int16(mix), tuple(words))


def at_level(samples: Int16Array, dbfs: float) -> Int16Array:
    """As loud as that."""
    return to_int16(samples * np.float32(10 ** ((dbfs - active_level(samples)) / 20)))


def overdriven(samples: Int16Array) -> Int16Array:
    """So loud that one sample in twenty is cut off."""
    top = max(float(np.percentile(np.abs(samples.astype(np.float32)), CLIPPED_SHARE)), 1.0)
    return to_int16(samples * np.float32(FULL_SCALE / top))


def paced(samples: Int16Array, pace: float) -> Int16Array:
    """So many times as fast, at the same pitch."""
    return to_int16(change_voice(samples.astype(np.float32), pace, 0.0, 1.0))


def narrow(scene: Situation) -> Situation:
    """Through 16 kHz and back, as a satellite's sound comes."""
    there = soxr.resample(scene.samples, SAMPLE_RATE, 16_000)
    back = soxr.resample(there, 16_000, SAMPLE_RATE)
    return Situation(np.resize(back, len(scene.samples)), scene.words)


def first_half(word: Int16Array) -> Int16Array:
    """Broken off in the middle, within 10 ms."""
    half = word[: len(word) // 2].copy()
    fade = min(len(half), SAMPLE_RATE // 100)
    half[len(half) - fade :] = half[len(half) - fade :] * np.linspace(1, 0, fade)
    return half


def piece(recordings: Sequence[Recording], samples: int, rng: np.random.Generator) -> Int16Array:
    """So much of one of the recordings, from anywhere in it; a short one is repeated."""
    whole = recordings[int(rng.integers(len(recordings)))].samples
    start = int(rng.integers(max(1, len(whole) - samples + 1)))
    return np.resize(whole[start : start + samples], samples)


def in_sentence(speech: Sequence[Recording], word: Int16Array, rng: np.random.Generator) -> Situation:
    """Other speech, as loud, up to just before the word and from just after it."""
    length, level = int(SENTENCE * SAMPLE_RATE), active_level(word)
    before, after = (at_level(piece(speech, length, rng), level) for _ in range(2))
    scene = in_room([(0.0, before), (GAP, word), (GAP, after)], rng)
    return Situation(scene.samples, scene.words[1:2])


def over(sounds: Sequence[Recording], word: Int16Array, rng: np.random.Generator) -> Situation:
    """The word with something else below it, from two seconds before to two seconds after."""
    scene = in_room([(0.0, word)], rng)
    under = at_level(piece(sounds, len(scene.samples), rng), active_level(word) - NOISE_DB)
    return Situation(to_int16(scene.samples.astype(np.float32) + under), scene.words)


def made_up_sounds(seed: int) -> dict[str, Int16Array]:
    """A minute each of silence, a quiet room, white noise, mains hum and clapping; the last three at `SOUND_DBFS`."""
    rng = np.random.default_rng(seed)
    white, *_, hum, _ = coloured_noises(rng, 60)
    claps = np.zeros(60 * SAMPLE_RATE, np.float32)
    ring = int(0.1 * SAMPLE_RATE)
    decay = np.exp(-np.arange(ring) / (0.012 * SAMPLE_RATE)).astype(np.float32)
    at = 0
    while (at := at + int(rng.uniform(0.2, 0.9) * SAMPLE_RATE)) < len(claps) - ring:
        claps[at : at + ring] += rng.standard_normal(ring).astype(np.float32) * decay * rng.uniform(0.3, 1.0)
    sounds = {
        "digital silence": np.zeros(len(claps), np.int16),
        "a quiet room": to_int16(background(len(claps), QUIET_DBFS, rng)),
    }
    for title, sound in {"white noise": white, "mains hum": hum, "clapping": claps}.items():
        sounds[title] = at_level(to_int16(0.3 * FULL_SCALE * sound / np.abs(sound).max()), SOUND_DBFS)
    return sounds


def lasting(sound: Int16Array) -> Int16Array:
    """`SOUND_MINUTES` of it, which is repeated where it is shorter."""
    return np.resize(sound, SOUND_MINUTES * 60 * SAMPLE_RATE)


def babble(speech: Sequence[Recording], samples: int, seed: int) -> Int16Array:
    """So much of `TALKERS` people who talk at once, each as loud as the others, at `SOUND_DBFS` together.

    Each says the recordings in an order of their own, without a pause, from somewhere in the first one on: of a single
    recording, too, no two say the same at once.
    """
    rng = np.random.default_rng(seed)
    mix = np.zeros(samples, np.float32)
    for _ in range(TALKERS):
        order = rng.permutation(len(speech))
        at, first = 0, int(rng.integers(len(speech[int(order[0])].samples)))
        for number in itertools.cycle(order):
            said = at_level(speech[int(number)].samples, SOUND_DBFS)[first : first + samples - at]
            mix[at : at + len(said)] += said
            at, first = at + len(said), 0
            if at == samples:
                break
    return at_level(to_int16(mix), SOUND_DBFS)


def after_long(
    spotter: Spotter, words: Sequence[Int16Array], recordings: Sequence[Recording], minutes: float, seed: int
) -> SituationResult:
    """The words, one after the other, at the end of so much speech and noise without a pause or a reset."""
    scenes = [in_room([(0.0, word)], np.random.default_rng([seed, number])) for number, word in enumerate(words)]
    order = np.random.default_rng(seed).permutation(len(recordings))
    spans: list[Span] = []

    def stream() -> Iterator[Int16Array]:
        heard, number, wanted = 0, 0, int(minutes * 60 * SAMPLE_RATE)
        with_progress = iter(bar(range(int(minutes)), f"{minutes:g} minutes", "min"))
        while heard < wanted:
            samples = recordings[int(order[number % len(order)])].samples[: wanted - heard]
            for _ in range((heard + len(samples)) // (60 * SAMPLE_RATE) - heard // (60 * SAMPLE_RATE)):
                next(with_progress, None)
            heard, number = heard + len(samples), number + 1
            yield samples
        for scene in scenes:
            spans.extend((first + heard, last + heard) for first, last in scene.words)
            heard += len(scene.samples)
            yield scene.samples

    fired = firings(spotter, stream())  # which fills the spans
    return SituationResult(f"after {minutes:g} minutes of speech and noise", "heard", found(spans, fired))
