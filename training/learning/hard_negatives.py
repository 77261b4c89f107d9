"""A network and hours of other speech in, the moments at which it nearly hears its word out: what to repeat.

A random excerpt of a random recording tells a network that is nearly right nothing new; the few moments at which it
is wrong do. Found once, before a training that begins with that network's weights.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.detector import Scorer
from model.modelfile import Model
from training.alignment.forced_alignment import fill_cache
from training.corpora.corpus import Clip, Corpus
from training.measuring.offline_gate import smooth
from training.measuring.score_recordings import sample_of, score_alone

LEAST_POSTERIOR = 0.05  # posterior of a moment that is worth a repetition
_AT_ONCE = 200  # recordings in one cached file
_FORMAT = 1


class HardNegative(NamedTuple):
    """sample: of the recording, that had been heard when the posterior was highest; score: that posterior, 0 to 1."""

    path: str
    sample: int
    score: float


def find_hard_negatives(model: Model, speech: Corpus, clips: Sequence[Clip], cache: Path) -> list[HardNegative]:
    """The highest moment of each clip in which the network's smoothed posterior reaches 0.05.

    An interrupted call goes on where it stopped.
    """
    stamp = hashlib.sha256(repr((_FORMAT, model.front_end, model.smoothing, speech.pool.stem)).encode())
    for array in model.weights.as_dict().values():
        stamp.update(array.tobytes())
    tasks = {}
    for first in range(0, len(clips), _AT_ONCE):
        batch = clips[first : first + _AT_ONCE]
        own = stamp.copy()
        own.update(repr([(clip.path, clip.start) for clip in batch]).encode())
        tasks[cache / f"near-{own.hexdigest()[:16]}.json"] = (model, speech.pool, batch)
    fill_cache(tasks, _highest, os.cpu_count() or 1, "near the word", f"{_AT_ONCE} recordings")
    found = [HardNegative(*entry) for file in tasks for entry in json.loads(file.read_text())]
    return [moment for moment in found if moment.score >= LEAST_POSTERIOR]


def _highest(task: tuple[Model, Path, Sequence[Clip]]) -> list[HardNegative]:
    model, pool, clips = task
    corpus, scorer = Corpus(pool, clips, []), Scorer([model])
    found = []
    for clip in clips:
        smoothed = smooth(score_alone(scorer, corpus[clip])[0], model.smoothing)
        step = int(np.argmax(smoothed))
        found.append(HardNegative(clip.path, min(sample_of(step), clip.length), round(float(smoothed[step]), 4)))
    return found
