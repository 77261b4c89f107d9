"""Scenes in, batches out: many streams side by side, cut into chunks that follow each other.

Row r of batch k + 1 goes on where row r of batch k ended, so the network's state can be carried over as the
daemon carries it; now and then a row starts anew.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.frontend import (
    BINS,
    FRAME,
    FRAME_COLUMNS,
    FRAME_STEPS,
    STEP,
    STEP_SPAN,
    DoubleArray,
    FloatArray,
    FrontEnd,
    LogScaling,
    StreamingSpectrogram,
)
from model.network import CARRY
from training.alignment import phone_targets
from training.corpora import corpus
from training.corpora.exclude_word import exclude_word
from training.corpora.room_tone import room_tones
from training.learning.hard_negatives import HardNegative
from training.scenes.augment import coloured_noises
from training.scenes.labels import Int8Array, Labels
from training.scenes.material import SceneMaterial
from training.scenes.recipe import SceneRecipe
from training.scenes.scenes import Scenes
from training.utils.errors import TrainingError

CHUNK_STEPS = 32 * FRAME_STEPS  # 352 steps, 2.55 s
CHUNK_SAMPLES = CHUNK_STEPS * STEP
LOOK_AHEAD = STEP_SPAN - STEP  # 1000 samples more than its hop are needed to know a step
CHUNK_COLUMNS = CHUNK_STEPS * 4 + CARRY  # 1419


class Batch(NamedTuple):
    """Rows of streams, side by side.

    columns: (rows, 1419, bins) features; target, weight, phone, event: (rows, 352), see `scenes.Labels`; fresh:
    (rows,), 1 where a stream begins.
    """

    columns: FloatArray
    target: FloatArray
    weight: FloatArray
    phone: Int8Array
    event: Int8Array
    fresh: FloatArray


@dataclass(frozen=True)
class Folders:
    """Where the material lies; `cache` keeps it decoded. says: what all recordings of a folder say.

    word: real speech that by its text has the word in it is left out.
    """

    positives: tuple[Path, ...]
    spoken: tuple[Path, ...]
    speech: tuple[Path, ...]
    noise: tuple[Path, ...]
    cache: Path
    says: tuple[tuple[Path, str], ...] = ()
    word: str = ""

    def load(self, split: str, word: str | None = None) -> SceneMaterial:
        """Decode (the first time) and map the recordings; those of the word are cut to the word.

        word: what the positives say; with it, the phones of all recordings with a known text are found, too, and by
        them where the word ends.
        """
        whole = corpus.load(self.positives, self.cache, "positives")
        spoken = corpus.load(self.spoken, self.cache, "synthetic negatives")
        speech = corpus.load(self.speech, self.cache, "speech")
        noise = corpus.load(self.noise, self.cache, "noise")
        heard = phone_targets.known_texts([speech], self.says)
        everything = {clip.path for clip in speech.clips}
        speech = exclude_word(speech, heard, [self.word])
        # what is known to say the word counts against it nowhere, also where the same folder stands among the spoken
        if left_out := everything - {clip.path for clip in speech.clips}:
            kept = [clip for clip in spoken.clips if clip.path not in left_out]
            spoken = corpus.Corpus(spoken.pool, kept, spoken.problems)
        tracks: dict[str, phone_targets.Track] = {}
        if word:
            texts = phone_targets.known_texts([spoken]) | heard | {clip.path: word for clip in whole.clips}
            tracks = phone_targets.phone_tracks(texts, self.cache, os.cpu_count() or 1)
        aligned = {clip.path: tracks[clip.path] for clip in whole.clips if clip.path in tracks}
        spans = {path: span for path, track in aligned.items() if (span := phone_targets.spoken_span(track))}
        positives = corpus.cut_to_word(whole, spans)
        for before, clip in zip(whole.clips, positives.clips, strict=True):
            if clip.path in aligned:  # of the whole recording
                tracks[clip.path] = aligned[clip.path] - np.array([0, 1, 1], np.int32) * (clip.start - before.start)
        tones = room_tones(speech, speech.split(split))
        return SceneMaterial(positives, spoken, speech, noise, split, tracks, tones=tones)


def require(material: SceneMaterial, folders: Folders) -> None:
    """Raises TrainingError where nothing of a kind falls into the split that is trained on."""
    for kind in ("positives", "spoken", "speech", "noise"):
        if not getattr(material, kind).split("train"):
            named = ", ".join(map(str, getattr(folders, kind)))
            raise TrainingError(
                f"{named}: nothing in it falls into the share that is trained on (70 %, by the names of speakers or "
                "files); add recordings"
            )


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides what the batches hold.

    built: where a data set lies that `build` made; then its examples are the batches, and not scenes. An epoch is
    once through it.
    """

    folders: Folders
    front_end: FrontEnd
    recipe: SceneRecipe
    seed: int
    phones_of: str | None = None  # the word, if the phones of all recordings are to be taught beside it
    rows: int = 32
    epoch_steps: int = 250
    built: str | None = None
    restart: float = 0.06  # chance that a row begins a new stream at a chunk: a stream lasts 40 s on average


def stretched(factor: float) -> DoubleArray:
    """(101, 101), by which columns of power are multiplied to have at bin k what they had at bin `factor` k."""
    at = np.clip(np.arange(BINS) * factor, 0, BINS - 1)
    low = np.minimum(at.astype(int), BINS - 2)
    matrix = np.zeros((BINS, BINS))
    matrix[np.arange(BINS), low] = 1 - (at - low)
    matrix[np.arange(BINS), low + 1] = at - low
    return matrix


class _Row:
    """One stream: scenes, their spectrogram, its scaling."""

    def __init__(self, scenes: Scenes, front_end: FrontEnd, recipe: SceneRecipe, rng: np.random.Generator) -> None:
        self._scenes = scenes
        self._recipe, self._rng = recipe, rng
        self._spectrogram = StreamingSpectrogram()
        self._scaling = front_end.new_scaling()
        self.reset()

    def reset(self) -> None:
        self._scenes.reset()
        self._spectrogram.reset()
        self._scaling.reset()
        floor_db, stretch = (self._rng.uniform(*limits) for limits in (self._recipe.floor_db, self._recipe.vocal_tract))
        if isinstance(self._scaling, LogScaling):
            self._scaling.OFFSET = 10 ** (-floor_db / 10)
        self._stretched = None if stretch == 1 else stretched(stretch)
        self._carry: FloatArray | None = None
        self._step = 0

    def chunk(self) -> tuple[FloatArray, Labels]:
        count = CHUNK_SAMPLES + (LOOK_AHEAD if self._carry is None else 0)
        columns = self._spectrogram.push(self._scenes.take(count))
        if self._stretched is not None:
            columns = self._stretched @ columns
        frames = [
            self._scaling.push(columns[:, start : start + FRAME_COLUMNS])
            for start in range(0, columns.shape[1], FRAME_COLUMNS)
        ]
        features = np.concatenate(frames if self._carry is None else [self._carry, *frames])
        self._carry = features[-CARRY:]
        labels = self._scenes.labels(self._step, CHUNK_STEPS)
        self._step += CHUNK_STEPS
        return features, labels


def epoch(plan: TrainingPlan, material: SceneMaterial, number: int) -> Iterator[Batch]:
    """The batches of one epoch; it depends on the plan and the number alone, so training can resume at any epoch."""
    seeds = np.random.SeedSequence([plan.seed, number]).spawn(plan.rows + 1)
    rng = np.random.default_rng(seeds[-1])
    coloured = coloured_noises(rng)
    rows = [
        _Row(
            Scenes(material, plan.recipe, coloured, np.random.default_rng(seed)),
            plan.front_end,
            plan.recipe,
            np.random.default_rng(seed.spawn(1)[0]),
        )
        for seed in seeds[: plan.rows]
    ]
    for step in range(plan.epoch_steps):
        fresh = rng.random(plan.rows) < (1.0 if step == 0 else plan.restart)
        chunks = []
        for row, new in zip(rows, fresh, strict=True):
            if new:
                row.reset()
            features, labels = row.chunk()
            chunks.append((features, *labels))
        columns, target, weight, phone, event = (np.stack(part) for part in zip(*chunks, strict=True))
        yield Batch(columns, target, weight, phone, event, fresh.astype(np.float32))


def stream(plan: TrainingPlan, first_epoch: int, near: Sequence[HardNegative] = ()) -> Iterator[Batch]:
    """The batches of all epochs from this one on, without end. near: of the real speech, for `SceneRecipe.near`."""
    material = plan.folders.load("train", plan.phones_of)
    clips = {clip.path: clip for clip in material.clips["speech"]}
    material.near.extend((clips[moment.path], moment.sample) for moment in near)
    for number in itertools.count(first_epoch):
        yield from epoch(plan, material, number)


assert FRAME * 32 == CHUNK_SAMPLES
