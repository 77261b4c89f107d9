"""Folding: the folded network computes what the unfolded one does."""

from __future__ import annotations

import numpy as np
import pytest

from model.network import Network
from training.learning.batchnorm_folding import BatchNorm, fold

pytestmark = pytest.mark.slow

BINS = 20
CHANNELS = {"bn1": 196, "bn2": 128, "bn3": 128}


def _norm(rng: np.random.Generator, channels: int) -> BatchNorm:
    return BatchNorm(
        gamma=rng.normal(1, 0.3, channels).astype(np.float32),
        beta=rng.normal(0, 0.3, channels).astype(np.float32),
        mean=rng.normal(0, 0.5, channels).astype(np.float32),
        variance=rng.uniform(0.2, 3, channels).astype(np.float32),
        epsilon=1e-3,
    )


@pytest.fixture
def layers(rng: np.random.Generator) -> dict:
    """Random weights under the names that `fold` takes."""

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.1, shape).astype(np.float32)

    return {
        "conv_kernel": normal(15, BINS, 196),
        "conv_bias": normal(196),
        "bn1": _norm(rng, 196),
        "gru1_kernel": normal(196, 384),
        "gru1_recurrent": normal(128, 384),
        "gru1_bias": normal(2, 384),
        "bn2": _norm(rng, 128),
        "gru2_kernel": normal(128, 384),
        "gru2_recurrent": normal(128, 384),
        "gru2_bias": normal(2, 384),
        "bn3": _norm(rng, 128),
        "dense_kernel": normal(128, 1),
        "dense_bias": normal(1),
    }


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def _normalise(x: np.ndarray, norm: BatchNorm) -> np.ndarray:
    return (x - norm.mean) / np.sqrt(norm.variance + norm.epsilon) * norm.gamma + norm.beta


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _gru(inputs: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    state = np.zeros(128)
    states = []
    for x in inputs:
        xz, xr, xh = np.split(x @ kernel + bias[0], 3)
        hz, hr, hh = np.split(state @ recurrent + bias[1], 3)
        z = _sigmoid(xz + hz)
        state = z * state + (1 - z) * np.tanh(xh + _sigmoid(xr + hr) * hh)
        states.append(state)
    return np.array(states)


def _unfolded(x: np.ndarray, layers: dict) -> np.ndarray:
    """The assignment's network, layer by layer, in float64: (columns, bins) -> (steps,)."""
    w = {name: a if isinstance(a, BatchNorm) else a.astype(np.float64) for name, a in layers.items()}
    steps = (len(x) - 15) // 4 + 1
    x = np.array([np.tensordot(x[4 * t : 4 * t + 15], w["conv_kernel"], 2) for t in range(steps)]) + w["conv_bias"]
    x = np.maximum(_normalise(x, w["bn1"]), 0)
    x = _normalise(_gru(x, w["gru1_kernel"], w["gru1_recurrent"], w["gru1_bias"]), w["bn2"])
    x = _normalise(_gru(x, w["gru2_kernel"], w["gru2_recurrent"], w["gru2_bias"]), w["bn3"])
    return _sigmoid(x @ w["dense_kernel"] + w["dense_bias"])[:, 0]


def test_the_folded_network_gives_the_posteriors_of_the_unfolded_one(layers, rng) -> None:
    x = rng.normal(0, 1, (215, BINS))
    network = Network(fold(**layers))
    posteriors = network.step(x.astype(np.float32), network.initial_state())[0]
    expected = _unfolded(x, layers)
    assert len(expected) == 51
    assert np.ptp(expected) > 0.2  # a constant would prove nothing
    np.testing.assert_allclose(posteriors, expected, atol=2e-6)


def test_each_norm_counts(layers, rng) -> None:
    """Dropping any one of the three changes the posteriors, so the comparison above sees all of them."""
    x = rng.normal(0, 1, (215, BINS))
    whole = _unfolded(x, layers)
    for name, channels in CHANNELS.items():
        one, zero = np.ones(channels), np.zeros(channels)
        without = _unfolded(x, layers | {name: BatchNorm(one, zero, zero, one, 0.0)})
        assert np.abs(whole - without).max() > 1e-3


def test_a_norm_that_changes_nothing_leaves_the_weights_alone(layers) -> None:
    one = {n: BatchNorm(np.ones(c), np.zeros(c), np.zeros(c), np.ones(c), 0.0) for n, c in CHANNELS.items()}
    weights = fold(**(layers | one))
    for name, array in weights.as_dict().items():
        np.testing.assert_array_equal(array, layers[name].reshape(array.shape))


def test_wrong_shapes_are_refused(layers) -> None:
    layers["gru1_recurrent"] = layers["gru1_recurrent"][:100]
    with pytest.raises(ValueError, match="gru1_recurrent has the shape"):
        fold(**layers)


def test_values_that_are_not_finite_are_refused(layers) -> None:
    layers["dense_kernel"][3] = np.nan
    with pytest.raises(ValueError, match="dense_kernel holds values that are not finite"):
        fold(**layers)
