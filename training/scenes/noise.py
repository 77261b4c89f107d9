"""The noise behind a scene: real places, the tone of real rooms, and noises of no place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.frontend import SAMPLE_RATE, FloatArray
from training.corpora.room_tone import looped
from training.scenes.augment import decibel
from training.scenes.draw import Draw
from training.scenes.material import SceneMaterial
from training.scenes.recipe import SceneRecipe


class Noises:
    """Noises as a recipe wants them. coloured: those of no place, each with a root mean square of one."""

    def __init__(
        self, material: SceneMaterial, recipe: SceneRecipe, coloured: Sequence[FloatArray], draw: Draw
    ) -> None:
        self._material = material
        self._recipe = recipe
        self._coloured = coloured
        self._draw = draw

    def background(self, length: int) -> FloatArray:
        """Real or coloured noise with a root mean square of one, perhaps both."""
        draw = self._draw
        noise = np.zeros(length, np.float32)
        for _ in range(1 + draw.chance(0.25)):
            samples = self._material.pick("noise", draw)[0].astype(np.float32) if draw.chance(0.7) else self.even()
            # loops of real places may be shorter than the scene
            part = self._piece(samples, length)
            noise += part / max(float(np.sqrt(np.mean(part**2))), 1e-3) * decibel(draw.between((-10, 0)))
        return noise / max(float(np.sqrt(np.mean(noise**2))), 1e-3)

    def even(self) -> FloatArray:
        """A noise in which nothing happens, with a root mean square of one: a room's, or one of no place."""
        tones = self._material.tones
        if tones and self._draw.chance(self._recipe.room_tone):
            return looped(self._draw.one_of(tones))
        return self._draw.one_of(self._coloured)

    def around(self, voice: FloatArray, start: int, end: int, gain: float) -> None:
        """Lay noise from a little before `start` to a little after `end`, below an event of this gain, into voice."""
        draw, recipe = self._draw, self._recipe
        limits = recipe.own_noise_seconds
        start = max(0, start - int(draw.between(limits) * SAMPLE_RATE))
        end = min(len(voice), end + int(draw.between(limits) * SAMPLE_RATE))
        part = self._piece(self.even(), end - start)
        voice[start:end] += part * gain * decibel(-draw.between(recipe.own_snr_db))

    def _piece(self, samples: FloatArray, length: int) -> FloatArray:
        """So many samples from a drawn place on, again from the beginning where they end."""
        first = int(self._draw.rng.integers(len(samples)))
        return np.take(samples, np.arange(first, first + length), mode="wrap")
