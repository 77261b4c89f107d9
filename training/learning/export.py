"""A trained Keras network in, a model file out, once both give the same posteriors."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from model.frontend import FloatArray
from model.modelfile import Model, save
from model.network import Network, Weights
from training.utils.errors import TrainingError

TOLERANCE = 1e-4
CHECK_COLUMNS = 5511  # a whole clip, so that the state has gone a long way


def parity(clip: Any, weights: Weights, features: FloatArray) -> float:
    """Largest difference between the posteriors of the Keras network and of ours; features: (columns, bins)."""
    network = Network(weights)
    ours = network.step(features, network.initial_state())[0]
    theirs = np.asarray(clip(features[None], training=False))[0, :, 0]
    return float(np.max(np.abs(ours - theirs)))


def check_parity(clip: Any, weights: Weights, seed: int = 0) -> float:
    """Compare the two on ten seconds of random features. Raises TrainingError if they differ by 1e-4 or more."""
    features = np.random.default_rng(seed).standard_normal((CHECK_COLUMNS, weights.bins)).astype(np.float32)
    difference = parity(clip, weights, features)
    if not difference < TOLERANCE:
        raise TrainingError(f"the exported network differs from Keras' by {difference:.2g}; nothing was written")
    return difference


def export(path: str | os.PathLike[str], model: Model, clip: Any) -> float:
    """Write the model file of a Keras network; the largest difference of their posteriors.

    Raises TrainingError, and writes nothing, on a mismatch.
    """
    difference = check_parity(clip, model.weights)
    save(path, model)
    return difference
