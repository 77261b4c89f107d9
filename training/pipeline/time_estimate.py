"""How long a training will take on this machine: what the steps cost elsewhere, times how slow this one is."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from model.detector import Scorer
from model.frontend import SAMPLE_RATE, FrontEnd
from model.modelfile import Model
from model.network import Weights, weight_shapes
from training.corpora.corpus import MAX_SECONDS, find
from training.voices.engines import Voice, shares

if TYPE_CHECKING:
    from training.pipeline.train_word import TrainWordOptions

# seconds on a machine of two cores that scores one second of audio in SCORING
SCORING = 0.008
_CLIP = 0.025  # to speak one
_KOKORO = 0.73  # by Kokoro
_NEAR_WORDS = 45.0
_START = 25.0  # TensorFlow, and its first step
_ROW = 0.0105  # one stream of one batch
_WORD = 4.5  # s of audio in which one is tested, in each condition


def expected(order: TrainWordOptions, voices: Sequence[Voice]) -> dict[str, float]:
    """Seconds that each step may take; voices: who speaks."""
    size = order.size
    slow = _slowness()
    kokoro = shares(voices).get("kokoro", 0.0)
    clip = (1 - kokoro) * _CLIP + kokoro * _KOKORO
    real = order.negatives
    hours = _hours((*real, *order.backgrounds)) + (0.0 if real else size.negatives / 4 * 3 / 3600)
    words = min(300, 0.15 * size.positives) * 5 * 2 * _WORD
    steps = {
        "speak": (size.positives + size.negatives) * clip + (0.0 if order.words else _NEAR_WORDS),
        "fill": 5.0 if real else size.negatives / 4 * 2 * clip + 5.0,
        "fit": _START + size.epochs * size.epoch_batches * size.rows * _ROW + 5 * 0.15 * hours * 3600 * SCORING,
        "evaluate": (0.3 * hours * 3600 + words) * SCORING,
    }
    return {name: seconds * slow for name, seconds in steps.items()}


def _slowness() -> float:
    """Seconds of this machine, as busy as it is, for one of the reference's."""
    arrays = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(FrontEnd().bins).items()}
    scorer = Scorer([Model("word", Weights(**arrays), FrontEnd(), 0.5)])
    second = np.random.default_rng(0).integers(-3000, 3000, SAMPLE_RATE).astype(np.int16)
    scorer.push(second)  # the first is slower
    began = time.perf_counter()
    for _ in range(3):
        scorer.push(second)
    return float(np.clip((time.perf_counter() - began) / 3 / SCORING, 0.3, 20.0))


def _hours(folders: Sequence[Path], most: int = 100) -> float:
    """About how much sound the folders hold, by a hundred files of each."""
    hours = 0.0
    for folder in folders:
        files = [path for path, _ in find(folder)]
        some = files[:: max(1, len(files) // most)]
        seconds = []
        for path in some:
            try:
                length = soundfile.info(path).duration
                seconds.append(length if length <= MAX_SECONDS else 0.0)  # left out, or of a length that nobody wrote
            except (OSError, RuntimeError):  # it will be listed when it is decoded
                seconds.append(0.0)
        hours += sum(seconds) / len(some) * len(files) / 3600
    return hours
