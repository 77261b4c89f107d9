"""What is said in a scene, one event after the other: the word, its first part, near words, other speech."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from model.frontend import FULL_SCALE, SAMPLE_RATE, FloatArray
from training.alignment.phone_targets import UNKNOWN
from training.corpora.corpus import Clip
from training.dsp.decode import Int16Array
from training.scenes.augment import decibel, fade, stretch
from training.scenes.draw import Draw
from training.scenes.labels import Span
from training.scenes.material import SceneMaterial
from training.scenes.recipe import Range, SceneRecipe


class Event(NamedTuple):
    """Something that is said. positive: whether it is the word; phones: where each lies in the samples."""

    samples: FloatArray
    positive: bool
    phones: list[Span]


class Events:
    """Draws events as a recipe wants them."""

    def __init__(self, material: SceneMaterial, recipe: SceneRecipe, draw: Draw) -> None:
        self._material = material
        self._recipe = recipe
        self._draw = draw

    def draw(self) -> Event:
        """One event, of a kind drawn by the recipe's shares."""
        recipe = self._recipe
        kind = self._draw.rng.choice(5, p=recipe.events)
        if kind == 0:
            return self._voiced("positives", recipe.synthetic_speed)
        if kind == 1:
            word = self._voiced("positives", recipe.synthetic_speed)
            part = word.samples[: int(len(word.samples) * self._draw.between(recipe.first_part))]
            fade(part, 0, SAMPLE_RATE // 50)
            phones = [(name, start, min(end, len(part))) for name, start, end in word.phones if start < len(part)]
            return Event(part, False, phones)
        if kind == 2:
            return self._voiced("spoken", recipe.synthetic_speed)
        if kind == 3:
            near = bool(self._material.near) and self._draw.chance(recipe.near)
            return self._nearly() if near else self._voiced("speech", recipe.real_speed)
        return self._joined()

    def _voiced(self, kind: str, limits: Range) -> Event:
        """A clip (or an excerpt of a long one), played at some speed, its loud parts at 0 dBFS = 1."""
        longest = self._draw.between(self._recipe.excerpt_seconds) if kind != "positives" else math.inf
        event = self._excerpt(*self._material.pick(kind, self._draw), longest, self._draw.between(limits))
        fade(event.samples, SAMPLE_RATE // 200, SAMPLE_RATE // 200)
        return event._replace(positive=kind == "positives")

    def _excerpt(self, samples: Int16Array, clip: Clip, seconds: float, speed: float) -> Event:
        """Some part of a clip, so long at most, played faster by this factor."""
        start = 0
        if (spare := len(samples) - seconds * SAMPLE_RATE) > 1:
            start = int(self._draw.rng.integers(int(spare)))
            samples = samples[start : start + int(seconds * SAMPLE_RATE)]
        return self._played(samples, clip, start, speed)

    def _played(self, samples: Int16Array, clip: Clip, start: int, speed: float) -> Event:
        """The samples of a clip from `start` on, faster by this factor."""
        played = stretch(samples.astype(np.float32), speed) / np.float32(FULL_SCALE * decibel(clip.level))
        phones = [(UNKNOWN, 0, len(played))]
        if (track := self._material.tracks.get(clip.path)) is not None:
            at = np.clip((track[:, 1:] - start) / speed, 0, len(played)).astype(int)
            phones = [(int(name), int(a), int(b)) for name, (a, b) in zip(track[:, 0], at, strict=True) if b > a]
        return Event(played, False, phones)

    def _nearly(self) -> Event:
        """Real speech up to a little after the moment at which it sounded like the word."""
        clip, moment = self._material.near[self._draw.rng.integers(len(self._material.near))]
        samples = self._material.speech[clip]
        longest = self._recipe.excerpt_seconds[1]
        end = min(len(samples), moment + int(self._draw.between(self._recipe.near_seconds) * SAMPLE_RATE))
        start = max(0, end - int(self._draw.between((longest / 2, longest)) * SAMPLE_RATE))
        event = self._played(samples[start:end], clip, start, self._draw.between(self._recipe.real_speed))
        fade(event.samples, SAMPLE_RATE // 200, SAMPLE_RATE // 200)
        return event

    def _joined(self) -> Event:
        """Pieces of one speaker's speech, one after the other: sounds of a voice in an order nobody chose."""
        recipe = self._recipe
        speech = self._material.clips["speech"]
        clips = self._material.by_speaker[speech[self._draw.rng.integers(len(speech))].group]
        speed = self._draw.between(recipe.real_speed)
        joined, phones = np.empty(0, np.float32), []
        for _ in range(int(self._draw.rng.integers(recipe.pieces[0], recipe.pieces[1], endpoint=True))):
            clip = clips[self._draw.rng.integers(len(clips))]
            piece = self._excerpt(self._material.speech[clip], clip, self._draw.between(recipe.piece_seconds), speed)
            overlap = min(int(self._draw.between(recipe.join_seconds) * SAMPLE_RATE), len(piece.samples), len(joined))
            fade(piece.samples, overlap, 0)
            fade(joined, 0, overlap)
            at = len(joined) - overlap
            joined = np.concatenate((joined, piece.samples[overlap:]))
            joined[at : at + overlap] += piece.samples[:overlap]
            phones += [(name, at + start, at + end) for name, start, end in piece.phones]
        fade(joined, SAMPLE_RATE // 200, SAMPLE_RATE // 200)
        return Event(joined, False, phones)
