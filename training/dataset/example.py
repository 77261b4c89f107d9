"""Clips, a recipe and a number in, one labelled example of 10 s out, and a record of how it came to be.

The order is the assignment's: a background, clips laid over it where there is place, the level. What a recipe may
add stands between: the voice of each clip, the room around all of them, then microphone, band and codec. Each
example has a generator of its own, so it depends on the seed and its number alone.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.signal import butter, oaconvolve, sosfilt

from model.frontend import CLIP, CLIP_STEPS, FULL_SCALE, SAMPLE_RATE, FloatArray
from training.corpora.corpus import Clip
from training.dataset.assignment_functions import (
    NOWHERE,
    Segment,
    first_channel,
    insert_audio_clip,
    insert_ones,
    match_target_amplitude,
    segment_of,
)
from training.dataset.raw_data import RawClips
from training.dataset.recipe import ExampleRecipe, Range
from training.dsp.codecs import through
from training.dsp.decode import Int16Array, to_int16
from training.dsp.psola import change_voice
from training.scenes.augment import microphone_response, room_response

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydub looks for ffmpeg, which it may do without
    from pydub import AudioSegment

VOICE_DBFS = -26.0  # level of the voices where a recipe gives the background's distance from it


@dataclass(frozen=True)
class Example:
    """audio: (441000,) int16; labels: (1375,) uint8, 0 or 1; record: for the manifest."""

    audio: Int16Array
    labels: np.typing.NDArray[np.uint8]
    record: dict[str, Any]


class ExampleMaker:
    """Makes the examples of one recipe, material and seed, each by its number."""

    def __init__(self, recipe: ExampleRecipe, material: RawClips, seed: int) -> None:
        self._recipe = recipe
        self._material = material
        self._seed = seed
        self._samples = material.open()
        self._pieces = material.pieces

    def make(self, number: int) -> Example:
        """Example `number`, whatever was made before."""
        return _ExampleInTheMaking(self, np.random.default_rng(np.random.SeedSequence([self._seed, number]))).example(
            number
        )

    @property
    def recipe(self) -> ExampleRecipe:
        """What is drawn."""
        return self._recipe

    def draw_background(self, rng: np.random.Generator) -> tuple[AudioSegment, dict[str, Any]]:
        """10 s of background and where they come from."""
        clip, start = self._pieces[rng.integers(len(self._pieces))]
        first = clip.start + start
        sound = segment_of(self._samples["backgrounds"][first : first + CLIP])
        return sound, {"file": clip.path, "start_seconds": start / SAMPLE_RATE}

    def draw_clips(self, kind: str, rng: np.random.Generator) -> list[tuple[Clip, Int16Array]]:
        """As many clips of a kind as the recipe allows, with replacement."""
        low, high = getattr(self._recipe, kind)
        clips = self._material.clips(kind)
        pool = self._samples[kind]
        count = rng.integers(low, high + 1)
        chosen = [clips[i] for i in rng.integers(0, len(clips), size=count)]
        return [(clip, pool[clip.start : clip.start + clip.length]) for clip in chosen]


class _ExampleInTheMaking:
    """One example while it is made."""

    def __init__(self, maker: ExampleMaker, rng: np.random.Generator) -> None:
        self._maker = maker
        self._recipe = maker.recipe
        self._rng = rng

    def example(self, number: int) -> Example:
        record: dict[str, Any] = {"example": number}
        background, record["background"] = self._maker.draw_background(self._rng)
        mix = self._quieter(background, record["background"])
        room = self._room(record)
        # a room is around the voices alone: they are brought together before they meet the background
        track = mix if room is None else segment_of(np.zeros(CLIP, np.int16))
        labels = np.zeros((1, CLIP_STEPS))
        record["clips"] = []
        previous: list[Segment] = []
        for kind in ("positives", "negatives"):
            for clip, samples in self._maker.draw_clips(kind, self._rng):
                entry: dict[str, Any] = {"kind": kind, "file": clip.path}
                sound = self._clip(kind, clip, samples, entry)
                track, segment = insert_audio_clip(track, sound, previous, self._rng)
                entry["segment_ms"] = None if segment == NOWHERE else list(segment)
                record["clips"].append(entry)
                if kind == "positives":
                    insert_ones(labels, segment[1])
        if room is not None:
            voices = oaconvolve(first_channel(track).astype(np.float32), room)[:CLIP]
            mix = mix.overlay(_segment(voices))
            track = mix
        track = self._line(track, record)
        record["level_dbfs"] = self._draw(self._recipe.level_dbfs)
        track = match_target_amplitude(track, record["level_dbfs"])
        return Example(first_channel(track), labels[0].astype(np.uint8), record)

    def _draw(self, limits: Range) -> float:
        """From a range; a fixed number takes nothing from the generator."""
        return limits[0] if limits[0] == limits[1] else float(self._rng.uniform(*limits))

    def _chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _quieter(self, background: AudioSegment, entry: dict[str, Any]) -> AudioSegment:
        recipe = self._recipe.background
        if recipe.gain_db is not None:
            entry["gain_db"] = self._draw(recipe.gain_db)
            return background.apply_gain(entry["gain_db"])
        assert recipe.snr_db is not None
        entry["snr_db"] = self._draw(recipe.snr_db)
        return match_target_amplitude(background, VOICE_DBFS - entry["snr_db"])

    def _clip(self, kind: str, clip: Clip, samples: Int16Array, entry: dict[str, Any]) -> AudioSegment:
        recipe = self._recipe
        if kind == "negatives" and recipe.excerpt_seconds is not None:
            longest = int(self._draw(recipe.excerpt_seconds) * SAMPLE_RATE)
            if len(samples) > longest:
                start = int(self._rng.integers(len(samples) - longest + 1))
                entry |= {"start_seconds": start / SAMPLE_RATE, "seconds": longest / SAMPLE_RATE}
                samples = _faded(samples[start : start + longest])
        if recipe.voice is not None and self._chance(recipe.voice.share):
            change = {
                "speed": self._draw(recipe.voice.speed),
                "pitch_semitones": self._draw(recipe.voice.pitch_semitones),
                "formants": self._draw(recipe.voice.formants),
            }
            entry |= change
            samples = to_int16(change_voice(samples.astype(np.float32), **change))
        sound = segment_of(samples)
        if recipe.background.voice_db is None:
            return sound
        entry["voice_db"] = self._draw(recipe.background.voice_db)
        # by the level of the whole recording: a piece that is its quiet end stays quiet
        return sound.apply_gain(VOICE_DBFS + entry["voice_db"] - clip.level)

    def _room(self, record: dict[str, Any]) -> FloatArray | None:
        recipe = self._recipe.room
        if recipe is None or not self._chance(recipe.share):
            return None
        record["room"] = {
            "rt60_seconds": self._draw(recipe.rt60_seconds),
            "direct_db": self._draw(recipe.direct_db),
        }
        return room_response(record["room"]["rt60_seconds"], record["room"]["direct_db"], self._rng)

    def _line(self, sound: AudioSegment, record: dict[str, Any]) -> AudioSegment:
        """From the microphone to the file."""
        recipe = self._recipe
        if recipe.equaliser is not None and self._chance(recipe.equaliser.share):
            record["equaliser"] = {"spread_db": self._draw(recipe.equaliser.spread_db)}
            response = microphone_response(record["equaliser"]["spread_db"], None, self._rng)
            sound = _segment(oaconvolve(_floats(sound), response)[len(response) // 2 :][:CLIP])
        if recipe.band is not None and self._chance(recipe.band.share):
            corners = self._draw(recipe.band.high_pass_hz), self._draw(recipe.band.low_pass_hz)
            record["band"] = {"high_pass_hz": corners[0], "low_pass_hz": corners[1]}
            high_pass = butter(2, corners[0], "highpass", fs=SAMPLE_RATE, output="sos")
            low_pass = butter(6, corners[1], "lowpass", fs=SAMPLE_RATE, output="sos")
            sound = _segment(sosfilt(np.concatenate((high_pass, low_pass)), _floats(sound)))
        if recipe.codec is not None and self._chance(recipe.codec.share):
            kind = recipe.codec.kinds[self._rng.integers(len(recipe.codec.kinds))]
            record["codec"] = {"kind": kind}
            if kind in {"opus", "mp3"}:
                rates = {"opus": recipe.codec.opus_kbps, "mp3": recipe.codec.mp3_kbps}
                record["codec"]["kbps"] = self._draw(rates[kind])
            sound = segment_of(through(first_channel(sound), **record["codec"]))
        return sound


def _floats(sound: AudioSegment) -> FloatArray:
    return first_channel(sound).astype(np.float32)


def _segment(samples: FloatArray) -> AudioSegment:
    """Rounded to 16 bit; what a filter made too loud for that becomes quieter as a whole."""
    peak = float(np.abs(samples).max())
    return segment_of(to_int16(samples * min(1.0, (FULL_SCALE - 1) / max(peak, 1.0))))


def _faded(samples: Int16Array) -> Int16Array:
    """5 ms in and out: a piece cut out of a sentence does not begin with a click."""
    fade = min(len(samples) // 2, SAMPLE_RATE // 200)
    ramp = np.ones(len(samples), np.float32)
    ramp[:fade] = np.linspace(0, 1, fade)
    ramp[len(ramp) - fade :] = np.linspace(1, 0, fade)
    return to_int16(samples * ramp)
