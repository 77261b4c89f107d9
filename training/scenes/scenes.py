"""Clips in, endless labelled audio out: what a microphone in a home would hear, one scene after another.

A scene is some seconds of speech events (the word, near words, other speech) in one room, through one
microphone, over one noise. Everything random comes from one generator, so a seed fixes every sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.signal import oaconvolve

from model.frontend import FULL_SCALE, SAMPLE_RATE, STEP, STEP_SPAN, FloatArray
from model.gate import SMOOTHING
from training.alignment.phone_targets import SILENT, UNKNOWN, Track
from training.corpora.corpus import Clip, Corpus, Int16Array, by_folder, to_int16
from training.corpora.room_tone import looped

LABEL_STEPS = 50  # ones after the word's end, as in the assignment
BEFORE_STEPS, AFTER_STEPS = 12, 25  # around the ones: when exactly a word ends is not known that well
# a step's phone is the one that sounded so many samples (60 ms) before the newest sample that it knows
PHONE_LAG = SAMPLE_RATE * 60 // 1000
Range = tuple[float, float]
Int8Array = npt.NDArray[np.int8]


class Labels(NamedTuple):
    """What each step should say, (n,) each.

    target: 1 after a word, else 0; weight: 0 where the target says nothing; phone: number of the phone, -1 where
    it is not known; event: 0 where no word may be heard, -1 where it does not matter, else the number of a word
    (from 1, of those that lie wholly in this stretch) in the steps in which that word should be heard.
    """

    target: FloatArray
    weight: FloatArray
    phone: Int8Array
    event: Int8Array


@dataclass(frozen=True)
class SceneRecipe:
    """What is drawn, from which range; probabilities lie between 0 and 1."""

    scene_seconds: Range = (4.0, 12.0)
    noise_only: float = 0.15  # share of scenes without any speech
    # shares of the events in a scene with speech, in the order: the word, its first part alone, synthetic
    # negatives, real speech, pieces of one speaker's real speech joined at random. The latter, so that
    # a cut between two sounds is nothing that only a word has
    events: tuple[float, float, float, float, float] = (0.33, 0.04, 0.19, 0.34, 0.1)
    tight: float = 0.35  # share of events that follow the last one without a pause
    tight_seconds: Range = (0.0, 0.08)
    pause_seconds: Range = (0.15, 1.5)
    excerpt_seconds: Range = (0.6, 3.0)  # of a long recording
    near: float = 0.0  # share of the real speech that is drawn from the material's near moments
    near_seconds: Range = (0.0, 0.6)  # from such a moment to the end of the excerpt
    first_part: Range = (0.3, 0.75)  # of the word's duration
    pieces: tuple[int, int] = (2, 6)  # of real speech in a random join
    piece_seconds: Range = (0.06, 0.35)
    join_seconds: Range = (0.002, 0.012)  # of a cross-fade
    synthetic_speed: Range = (0.78, 1.28)  # resampling: pitch, formants and tempo together
    real_speed: Range = (0.9, 1.12)
    speech_dbfs: Range = (-45.0, -14.0)  # of a scene
    event_db: Range = (-4.0, 4.0)  # of an event against its scene
    # share of events recorded in a noise of their own, which begins and ends a little around them: as real
    # recordings have, so that a floor that jumps does not tell them from synthetic ones
    own_noise: float = 0.5
    own_noise_seconds: Range = (0.0, 0.25)
    own_snr_db: Range = (15.0, 50.0)
    # of the noises of no place, in their own noise and behind whole scenes, so many are the sound of a room in which
    # somebody was recorded
    room_tone: float = 0.67
    snr_db: Range = (-2.0, 40.0)
    clean: float = 0.2  # share of speech scenes with next to no noise
    noise_dbfs: Range = (-65.0, -18.0)  # of a scene without speech
    babble: float = 0.15  # share of speech scenes with someone else talking below
    babble_snr_db: Range = (4.0, 20.0)
    room: float = 0.6  # share of speech scenes in a reverberant room
    rt60_seconds: Range = (0.1, 0.6)
    direct_db: Range = (-2.0, 14.0)  # direct sound against reverberation
    equaliser_db: float = 7.0  # standard deviation of the microphone's response
    low_pass: float = 0.2  # share of scenes through a telephone or a cheap microphone
    low_pass_hz: Range = (3000.0, 7500.0)
    overdrive: float = 0.04  # share of scenes that clip
    # of a stream, whose frequency axis is stretched by so much: vocal tracts of other lengths at the same tempo (Jaitly
    # and Hinton, "Vocal tract length perturbation improves speech recognition", 2013)
    vocal_tract: Range = (0.87, 1.15)
    # of a stream, under the logarithm (`model.frontend.LogScaling`): on what lies near it nothing may depend
    floor_db: Range = (12.0, 27.0)


@dataclass(frozen=True)
class SceneMaterial:
    """Clips of one split and where their samples lie."""

    positives: Corpus
    spoken: Corpus  # synthetic negatives
    speech: Corpus  # real negatives
    noise: Corpus
    split: str = "train"
    tracks: Mapping[str, Track] = field(default_factory=dict)  # phones by path, where they are known
    clips: dict[str, list[Clip]] = field(default_factory=dict)
    # the same by folder, of those kinds whose folders all have the same share
    by_folder: dict[str, dict[str, list[Clip]]] = field(default_factory=dict)
    by_speaker: dict[str, list[Clip]] = field(default_factory=dict)  # the real speech
    # real speech, and the sample in it by which a network thought that it heard the word
    near: list[tuple[Clip, int]] = field(default_factory=list)
    tones: list[Int16Array] = field(default_factory=list)  # see `roomtone.room_tones`

    def __post_init__(self) -> None:
        for name in ("positives", "spoken", "speech", "noise"):
            self.clips[name] = getattr(self, name).split(self.split)
        for name in ("positives", "spoken"):
            self.by_folder[name] = by_folder(self.clips[name])
        for clip in self.clips["speech"]:
            self.by_speaker.setdefault(clip.group, []).append(clip)


Span = tuple[int, int, int]  # a phone, its first sample, the sample after its last


class _Event(NamedTuple):
    samples: FloatArray
    positive: bool
    phones: list[Span]


def _decibel(db: float) -> float:
    return float(10 ** (db / 20))


def _fade(samples: FloatArray, fade_in: int, fade_out: int) -> None:
    """Fade in over so many samples at the beginning and out at the end, or over half of them all, in place."""
    fade_in, fade_out = (min(fade, len(samples) // (2 if fade_in and fade_out else 1)) for fade in (fade_in, fade_out))
    samples[:fade_in] *= np.linspace(0, 1, fade_in, dtype=np.float32)
    samples[len(samples) - fade_out :] *= np.linspace(1, 0, fade_out, dtype=np.float32)


def stretch(samples: FloatArray, speed: float) -> FloatArray:
    """Play faster or slower, pitch and formants included. Linear interpolation: the voice is far below Nyquist."""
    positions = np.arange(0, len(samples) - 1, speed)
    played: FloatArray = np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)
    return played


def room_response(rt60: float, direct_db: float, rng: np.random.Generator) -> FloatArray:
    """A synthetic room: the direct sound, then noise that decays by 60 dB in `rt60` seconds, darker as it does."""
    length = int(rt60 * SAMPLE_RATE)
    decay = np.exp(-6.9 * np.arange(length) / length)
    tail = rng.standard_normal(length).astype(np.float32) * decay
    tail[: int(0.002 * SAMPLE_RATE)] = 0.0  # the first reflection comes later
    tail[1:] = 0.6 * tail[1:] + 0.4 * tail[:-1]
    tail *= _decibel(-direct_db) / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    tail[0] = 1.0
    return tail.astype(np.float32)


def microphone_response(spread_db: float, low_pass_hz: float | None, rng: np.random.Generator) -> FloatArray:
    """A short filter with a smooth random response: +-`spread_db` about every octave, perhaps without treble."""
    taps = 512
    frequency = np.fft.rfftfreq(taps, 1 / SAMPLE_RATE)
    knots = np.array([0.0, 60, 125, 250, 500, 1000, 2000, 4000, 8000, SAMPLE_RATE / 2])
    gain_db = np.interp(frequency, knots, rng.normal(0, spread_db, len(knots)))
    if low_pass_hz is not None:
        gain_db -= 30 * np.log2(np.maximum(frequency / low_pass_hz, 1))
    response = np.fft.irfft(10 ** (gain_db / 20))
    # made causal and short: the zero-phase response, centred and windowed
    return (np.roll(response, taps // 2) * np.hanning(taps)).astype(np.float32)


def colours(rng: np.random.Generator, seconds: int = 30) -> list[FloatArray]:
    """Noises of no place: white to brown, and mains hum; each with a root mean square of one."""
    length = seconds * SAMPLE_RATE
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 20.0)
    noises = []
    for slope in (0.0, 0.5, 1.0, 1.5, 2.0):
        spectrum = np.fft.rfft(rng.standard_normal(length)) * frequency ** (-slope / 2)
        noises.append(np.fft.irfft(spectrum, length))
    t = np.arange(length) / SAMPLE_RATE
    for mains in (50.0, 60.0):
        hum = sum(np.sin(2 * np.pi * mains * k * t + rng.uniform(0, 6)) * rng.uniform(0, 1) / k for k in range(1, 12))
        noises.append(hum + 0.01 * rng.standard_normal(length))
    return [(noise / np.sqrt(np.mean(noise**2))).astype(np.float32) for noise in noises]


class Scenes:
    """An endless row of scenes, read in pieces of any size.

    `take` gives int16 samples; `labels` what every step that begins in a stretch should say.
    """

    def __init__(
        self, material: SceneMaterial, recipe: SceneRecipe, coloured: Sequence[FloatArray], rng: np.random.Generator
    ) -> None:
        self._material = material
        self._recipe = recipe
        self._coloured = coloured
        self._rng = rng
        self.reset()

    def reset(self) -> None:
        """Begin a new stream; the next sample is number 0."""
        self._buffer: Int16Array = np.empty(0, np.int16)
        self._made = 0
        self._ends: list[int] = []
        self._phones: list[tuple[int, int, int]] = []

    def take(self, count: int) -> Int16Array:
        """The next `count` samples."""
        parts = [self._buffer]
        missing = count - len(self._buffer)
        while missing > 0:
            samples, ends, phones = self._scene()
            self._ends += [self._made + end for end in ends]
            self._phones += [(phone, self._made + start, self._made + end) for phone, start, end in phones]
            self._made += len(samples)
            parts.append(samples)
            missing -= len(samples)
        joined = np.concatenate(parts)
        self._buffer = joined[count:]
        return joined[:count]

    def labels(self, first: int, count: int) -> Labels:
        """What `count` steps from step `first` should say; the samples they need must have been made.

        The 50 steps after the end of a word are ones. The 12 steps before and the 25 after those say nothing
        (weight 0): when exactly a word ends is not known that well.
        """
        target, weight = np.zeros(count, np.float32), np.ones(count, np.float32)
        event = np.zeros(count, np.int8)

        def stretch_of(start: int, end: int) -> slice:
            return slice(max(0, start), max(0, end))

        number = 0
        for end in self._ends:
            step = end // STEP - first
            weight[stretch_of(step - BEFORE_STEPS, step + 1)] = 0.0
            target[stretch_of(step + 1, step + 1 + LABEL_STEPS)] = 1.0
            weight[stretch_of(step + 1 + LABEL_STEPS, step + 1 + LABEL_STEPS + AFTER_STEPS)] = 0.0
            event[stretch_of(step - BEFORE_STEPS, step + 1 + LABEL_STEPS + AFTER_STEPS + SMOOTHING)] = -1
        for end in self._ends:
            step = end // STEP - first
            if step - BEFORE_STEPS >= 0 and step + 1 + LABEL_STEPS <= count:
                number += 1
                event[step - BEFORE_STEPS : step + 1 + LABEL_STEPS] = number
        weight[target > 0] = 1.0
        phone = np.full(count, UNKNOWN, np.int8)
        for name, start, end in self._phones:
            steps = [max(0, (at + PHONE_LAG - STEP_SPAN) // STEP + 1 - first) for at in (start, end)]
            phone[steps[0] : steps[1]] = name
        oldest = (first - 200) * STEP
        self._ends = [end for end in self._ends if end > oldest]
        self._phones = [span for span in self._phones if span[2] > oldest]
        return Labels(target, weight, phone, event)

    def _between(self, limits: Range) -> float:
        return float(self._rng.uniform(*limits))

    def _chance(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def _pick(self, kind: str) -> tuple[Int16Array, Clip]:
        clips = self._material.clips[kind]
        if folders := list(self._material.by_folder.get(kind, {}).values()):
            # each folder has the same share: a few real voices count as much as thousands of synthetic clips
            clips = folders[self._rng.integers(len(folders))]
        clip = clips[self._rng.integers(len(clips))]
        corpus: Corpus = getattr(self._material, kind)
        return corpus[clip], clip

    def _voiced(self, kind: str, limits: Range) -> _Event:
        """A clip (or an excerpt of a long one), played at some speed, its loud parts at 0 dBFS = 1."""
        longest = self._between(self._recipe.excerpt_seconds) if kind != "positives" else math.inf
        event = self._excerpt(*self._pick(kind), longest, self._between(limits))
        _fade(event.samples, SAMPLE_RATE // 200, SAMPLE_RATE // 200)
        return event._replace(positive=kind == "positives")

    def _excerpt(self, samples: Int16Array, clip: Clip, seconds: float, speed: float) -> _Event:
        """Some part of a clip, so long at most, played faster by this factor."""
        start = 0
        if (spare := len(samples) - seconds * SAMPLE_RATE) > 1:
            start = int(self._rng.integers(int(spare)))
            samples = samples[start : start + int(seconds * SAMPLE_RATE)]
        return self._played(samples, clip, start, speed)

    def _played(self, samples: Int16Array, clip: Clip, start: int, speed: float) -> _Event:
        """The samples of a clip from `start` on, faster by this factor."""
        played = stretch(samples.astype(np.float32), speed) / np.float32(FULL_SCALE * _decibel(clip.level))
        phones = [(UNKNOWN, 0, len(played))]
        if (track := self._material.tracks.get(clip.path)) is not None:
            at = np.clip((track[:, 1:] - start) / speed, 0, len(played)).astype(int)
            phones = [(int(name), int(a), int(b)) for name, (a, b) in zip(track[:, 0], at, strict=True) if b > a]
        return _Event(played, False, phones)

    def _nearly(self) -> _Event:
        """Real speech up to a little after the moment at which it sounded like the word."""
        clip, moment = self._material.near[self._rng.integers(len(self._material.near))]
        samples = self._material.speech[clip]
        longest = self._recipe.excerpt_seconds[1]
        end = min(len(samples), moment + int(self._between(self._recipe.near_seconds) * SAMPLE_RATE))
        start = max(0, end - int(self._between((longest / 2, longest)) * SAMPLE_RATE))
        event = self._played(samples[start:end], clip, start, self._between(self._recipe.real_speed))
        _fade(event.samples, SAMPLE_RATE // 200, SAMPLE_RATE // 200)
        return event

    def _joined(self) -> _Event:
        """Pieces of one speaker's speech, one after the other: sounds of a voice in an order nobody chose."""
        recipe = self._recipe
        speech = self._material.clips["speech"]
        clips = self._material.by_speaker[speech[self._rng.integers(len(speech))].group]
        speed = self._between(recipe.real_speed)
        joined, phones = np.empty(0, np.float32), []
        for _ in range(int(self._rng.integers(recipe.pieces[0], recipe.pieces[1], endpoint=True))):
            clip = clips[self._rng.integers(len(clips))]
            piece = self._excerpt(self._material.speech[clip], clip, self._between(recipe.piece_seconds), speed)
            overlap = min(int(self._between(recipe.join_seconds) * SAMPLE_RATE), len(piece.samples), len(joined))
            _fade(piece.samples, overlap, 0)
            _fade(joined, 0, overlap)
            at = len(joined) - overlap
            joined = np.concatenate((joined, piece.samples[overlap:]))
            joined[at : at + overlap] += piece.samples[:overlap]
            phones += [(name, at + start, at + end) for name, start, end in piece.phones]
        _fade(joined, SAMPLE_RATE // 200, SAMPLE_RATE // 200)
        return _Event(joined, False, phones)

    def _event(self) -> _Event:
        recipe = self._recipe
        kind = self._rng.choice(5, p=recipe.events)
        if kind == 0:
            return self._voiced("positives", recipe.synthetic_speed)
        if kind == 1:
            word = self._voiced("positives", recipe.synthetic_speed)
            part = word.samples[: int(len(word.samples) * self._between(recipe.first_part))]
            _fade(part, 0, SAMPLE_RATE // 50)
            phones = [(name, start, min(end, len(part))) for name, start, end in word.phones if start < len(part)]
            return _Event(part, False, phones)
        if kind == 2:
            return self._voiced("spoken", recipe.synthetic_speed)
        if kind == 3:
            near = bool(self._material.near) and self._chance(recipe.near)
            return self._nearly() if near else self._voiced("speech", recipe.real_speed)
        return self._joined()

    def _noise(self, length: int) -> FloatArray:
        """Real or coloured noise with a root mean square of one, perhaps both."""
        noise = np.zeros(length, np.float32)
        for _ in range(1 + self._chance(0.25)):
            samples = self._pick("noise")[0].astype(np.float32) if self._chance(0.7) else self._even()
            start = self._rng.integers(len(samples))
            # loops of real places may be shorter than the scene
            part = np.take(samples, np.arange(start, start + length), mode="wrap")
            noise += part / max(float(np.sqrt(np.mean(part**2))), 1e-3) * _decibel(self._between((-10, 0)))
        return noise / max(float(np.sqrt(np.mean(noise**2))), 1e-3)

    def _even(self) -> FloatArray:
        """A noise in which nothing happens, with a root mean square of one: a room's, or one of no place."""
        tones = self._material.tones
        if tones and self._chance(self._recipe.room_tone):
            return looped(tones[int(self._rng.integers(len(tones)))])
        return self._coloured[int(self._rng.integers(len(self._coloured)))]

    def _speech(self, length: int) -> tuple[FloatArray, list[int], list[Span]]:
        """Events on a time line, where those that are the word end, and the phones."""
        recipe = self._recipe
        voice = np.zeros(length, np.float32)
        ends: list[int] = []
        phones: list[Span] = []
        position = int(self._between((0.0, 1.0)) * SAMPLE_RATE)
        while True:
            event, positive, spans = self._event()
            if position + len(event) > length:
                return voice, ends, phones
            gain = _decibel(self._between(recipe.event_db))
            if self._chance(recipe.own_noise):
                self._add_own_noise(voice, position, position + len(event), gain)
            voice[position : position + len(event)] += event * gain
            phones += [(name, position + start, position + end) for name, start, end in spans]
            position += len(event)
            if positive:
                ends.append(position)
            pause = recipe.tight_seconds if self._chance(recipe.tight) else recipe.pause_seconds
            position += int(self._between(pause) * SAMPLE_RATE)

    def _add_own_noise(self, voice: FloatArray, start: int, end: int, gain: float) -> None:
        """Noise from a little before `start` to a little after `end`, below an event of this gain."""
        limits = self._recipe.own_noise_seconds
        start = max(0, start - int(self._between(limits) * SAMPLE_RATE))
        end = min(len(voice), end + int(self._between(limits) * SAMPLE_RATE))
        noise = self._even()
        first = int(self._rng.integers(len(noise)))
        part = np.take(noise, np.arange(first, first + end - start), mode="wrap")
        voice[start:end] += part * gain * _decibel(-self._between(self._recipe.own_snr_db))

    def _scene(self) -> tuple[Int16Array, list[int], list[Span]]:
        recipe = self._recipe
        length = int(self._between(recipe.scene_seconds) * SAMPLE_RATE)
        low_pass = self._between(recipe.low_pass_hz) if self._chance(recipe.low_pass) else None
        response = microphone_response(recipe.equaliser_db, low_pass, self._rng)
        noise = self._noise(length)
        ends: list[int] = []
        phones = [(SILENT, 0, length)]
        if self._chance(recipe.noise_only):
            level = self._between(recipe.noise_dbfs)
            mixed = noise * _decibel(level)
        else:
            level = self._between(recipe.speech_dbfs)
            voice, ends, spoken = self._speech(length)
            if self._chance(recipe.babble):
                phones = [(UNKNOWN, 0, length)]  # between the events somebody may be heard
                babble, _ = self._pick("speech")
                under = np.take(babble, np.arange(length), mode="wrap").astype(np.float32)
                under /= max(float(np.sqrt(np.mean(under**2))), 1.0)
                voice += under * _decibel(-self._between(recipe.babble_snr_db))
            if self._chance(recipe.room):
                room = room_response(self._between(recipe.rt60_seconds), self._between(recipe.direct_db), self._rng)
                voice = oaconvolve(voice, room)[:length]
            phones += spoken
            snr = 50.0 if self._chance(recipe.clean) else self._between(recipe.snr_db)
            mixed = (voice + noise * _decibel(-snr)) * _decibel(level)
        mixed = oaconvolve(mixed, response)[len(response) // 2 :][:length]
        if self._chance(recipe.overdrive):
            mixed *= _decibel(-level + self._between((0.0, 6.0)))
        return to_int16(mixed * FULL_SCALE), ends, phones
