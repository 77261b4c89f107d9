"""A training's checkpoint in, the model that it has reached out, whether the training is over or not."""

from __future__ import annotations

import json
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from model.frontend import SAMPLE_RATE, STEP, FrontEnd
from model.modelfile import Model
from training.learning.scene_batches import CHUNK_STEPS
from training.utils.errors import TrainingError

CHECKPOINT = "checkpoint.npz"


def described(word: str, weights: Any, course: Mapping[str, Any], epochs: int) -> Model:
    """A model file of these weights. course: what decided the training; epochs: how many of it are done."""
    plan = course["plan"]
    samples = CHUNK_STEPS * STEP * plan["rows"] * plan["epoch_steps"] * epochs
    training = {
        **course,
        "code": code_version(),
        "epochs_done": epochs,
        "hours_heard": round(samples / SAMPLE_RATE / 3600, 1),
    }
    return Model(word, weights, FrontEnd(**plan["front_end"]), threshold=0.5, training=training)


def read(folder: Path) -> tuple[Model, Any]:
    """The model that the training in this folder has reached, and the Keras network with the same weights.

    They are those that measured best where the training stops by itself, else the averaged ones of the last epoch.
    Raises TrainingError if there is no checkpoint, or none that can be used.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise TrainingError(f"{path}: no such file; a training writes it after each epoch")
    import keras  # noqa: F401 - should it be missing, the checkpoint is not to blame

    try:
        return _build(path)
    except Exception as error:  # whatever a damaged archive, or Keras at sight of its arrays, gives
        reason = textwrap.shorten(str(error), 160, placeholder=" ...")  # Keras' have pages, and the weights in them
        raise TrainingError(f"{path}: not a checkpoint that this chimed can use ({reason})") from error


def _build(path: Path) -> tuple[Model, Any]:
    from training.learning.keras_network import build, weights

    with np.load(path, allow_pickle=False) as archive:
        course = json.loads(archive["plan"].tobytes())
        front_end = course["plan"]["front_end"]
        if set(front_end) != {field.name for field in fields(FrontEnd)}:
            raise ValueError("its front end is another one")
        # before the first measurement none was best
        best = course["schedule"].get("stopping") and archive["progress"][0] >= 0
        clip = build(front_end["bins"], columns=None).clip
        for number, variable in enumerate(clip.weights):
            variable.assign(archive[f"{'best' if best else 'average'}{number}"])
        return described(course["word"], weights(clip), course, int(archive["epoch"])), clip


def code_version() -> str:
    """The version of this code: the package's, and the commit where it runs from a checkout."""
    from importlib.metadata import version

    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return f"{version('chimed')} {commit}".strip()
