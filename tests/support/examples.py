"""Made-up models and signals for the tests of the engine: seeded, so that every run sees the same."""

from __future__ import annotations

import numpy as np

from model.frontend import FloatArray, FrontEnd, Samples
from model.modelfile import Model
from model.network import Weights, weight_shapes


def random_weights(seed: int = 0, bins: int = 37) -> Weights:
    """Weights large enough that the gates of the GRUs move and the posterior swings."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, shape in weight_shapes(bins).items():
        fan_in = int(np.prod(shape[:-1])) if len(shape) > 1 and "bias" not in name else 1
        spread = 0.3 if "bias" in name else 1.5 / np.sqrt(fan_in)
        arrays[name] = rng.normal(0, spread, shape).astype(np.float32)
    arrays["dense_kernel"] *= np.float32(0.5)
    return Weights(**arrays)


def random_model(
    word: str = "tok", seed: int = 0, threshold: float = 0.6, scaling: str = "relative", bins: int = 37
) -> Model:
    """A model of nothing: it fires on noise at random but repeatable places."""
    return Model(word, random_weights(seed, bins), FrontEnd(scaling, bins), threshold, smoothing=3)


def bursts(seconds: float, seed: int = 0) -> Samples:
    """Int16 noise that comes and goes a few times a second, as speech does."""
    rng = np.random.default_rng(seed)
    count = int(seconds * 44_100)
    places = np.arange(0, count + 9_000, 9_000)
    loudness = np.interp(np.arange(count), places, rng.uniform(3, 9, len(places)))
    return (rng.normal(0, 1, count) * np.exp(loudness)).clip(-32_768, 32_767).astype(np.int16)


def pieces(samples: Samples, cuts: list[int]) -> list[Samples]:
    """The signal cut at these places (any order, repeats and overshoots allowed)."""
    return np.split(samples, sorted(min(cut, len(samples)) for cut in cuts))


def concatenated(parts: list[FloatArray]) -> FloatArray:
    """Blocks of columns or posteriors, joined along time (the last axis)."""
    return np.concatenate(parts, axis=-1)
