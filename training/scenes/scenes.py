"""Clips in, endless labelled audio out: what a microphone in a home would hear, one scene after another.

A scene is some seconds of speech events (the word, near words, other speech) in one room, through one
microphone, over one noise. Everything random comes from one generator, so a seed fixes every sample.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.frontend import FULL_SCALE, SAMPLE_RATE, STEP, FloatArray
from training.alignment.phone_targets import SILENT_PHONE, UNKNOWN
from training.dsp.decode import Int16Array, to_int16
from training.scenes.augment import Augmenter, decibel
from training.scenes.draw import Draw
from training.scenes.events import Events
from training.scenes.labels import Labels, Span, labels_of
from training.scenes.material import SceneMaterial
from training.scenes.noise import Noises
from training.scenes.recipe import SceneRecipe

REMEMBERED_STEPS = 200  # before a stretch that is asked for: a word that ended there can still matter


class Scenes:
    """An endless row of scenes, read in pieces of any size.

    `take` gives int16 samples; `labels` what every step that begins in a stretch should say.
    """

    def __init__(
        self, material: SceneMaterial, recipe: SceneRecipe, coloured: Sequence[FloatArray], rng: np.random.Generator
    ) -> None:
        self._material = material
        self._recipe = recipe
        self._draw = Draw(rng)
        self._events = Events(material, recipe, self._draw)
        self._noises = Noises(material, recipe, coloured, self._draw)
        self.reset()

    def reset(self) -> None:
        """Begin a new stream; the next sample is number 0."""
        self._buffer: Int16Array = np.empty(0, np.int16)
        self._made = 0
        self._ends: list[int] = []
        self._phones: list[Span] = []

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
        """What `count` steps from step `first` should say; the samples they need must have been made."""
        labels = labels_of(self._ends, self._phones, first, count)
        oldest = (first - REMEMBERED_STEPS) * STEP
        self._ends = [end for end in self._ends if end > oldest]
        self._phones = [span for span in self._phones if span[2] > oldest]
        return labels

    def _scene(self) -> tuple[Int16Array, list[int], list[Span]]:
        """A scene, where words end in it, and its phones."""
        recipe, draw = self._recipe, self._draw
        length = int(draw.between(recipe.scene_seconds) * SAMPLE_RATE)
        augmenter = Augmenter(recipe, draw, length)
        noise = self._noises.background(length)
        ends: list[int] = []
        phones = [(SILENT_PHONE, 0, length)]
        if draw.chance(recipe.noise_only):
            level_db = draw.between(recipe.noise_dbfs)
            mixed = noise * decibel(level_db)
        else:
            level_db = draw.between(recipe.speech_dbfs)
            voice, ends, spoken = self._speech(length)
            if augmenter.wants_babble():
                phones = [(UNKNOWN, 0, length)]  # between the events somebody may be heard
                voice = augmenter.babble(voice, self._material.pick("speech", draw)[0])
            phones += spoken
            voice = augmenter.room(voice)
            mixed = augmenter.noise(voice, noise) * decibel(level_db)
        mixed = augmenter.microphone(mixed)
        mixed = augmenter.overdrive(mixed, level_db)
        return to_int16(mixed * FULL_SCALE), ends, phones

    def _speech(self, length: int) -> tuple[FloatArray, list[int], list[Span]]:
        """Events on a time line, where those that are the word end, and the phones."""
        recipe, draw = self._recipe, self._draw
        voice = np.zeros(length, np.float32)
        ends: list[int] = []
        phones: list[Span] = []
        position = int(draw.between((0.0, 1.0)) * SAMPLE_RATE)
        while True:
            event, positive, spans = self._events.draw()
            if position + len(event) > length:
                return voice, ends, phones
            gain = decibel(draw.between(recipe.event_db))
            if draw.chance(recipe.own_noise):
                self._noises.around(voice, position, position + len(event), gain)
            voice[position : position + len(event)] += event * gain
            phones += [(name, position + start, position + end) for name, start, end in spans]
            position += len(event)
            if positive:
                ends.append(position)
            pause = recipe.tight_seconds if draw.chance(recipe.tight) else recipe.pause_seconds
            position += int(draw.between(pause) * SAMPLE_RATE)
