"""The network: equal to the formulas it stands for, to Keras, and to itself for every split."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.detector import Scorer, score
from model.frontend import FloatArray, step_count
from model.network import Network, Weights, weight_shapes
from tests.support.examples import bursts, concatenated, pieces, random_model, random_weights
from tests.support.paths import DATA

GOLDEN = DATA / "golden.npz"
SECOND = 44_100


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def keras_gru(inputs: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """``GRU(128, return_sequences=True)`` with reset_after, as its documentation writes it; gates z, r, h."""
    w_z, w_r, w_h = np.split(kernel, 3, axis=1)
    u_z, u_r, u_h = np.split(recurrent, 3, axis=1)
    (b_z, b_r, b_h), (c_z, c_r, c_h) = np.split(bias[0], 3), np.split(bias[1], 3)
    h, outputs = np.zeros(128), []
    for x in inputs:
        z = sigmoid(x @ w_z + b_z + h @ u_z + c_z)
        r = sigmoid(x @ w_r + b_r + h @ u_r + c_r)
        candidate = np.tanh(x @ w_h + b_h + r * (h @ u_h + c_h))
        h = z * h + (1 - z) * candidate
        outputs.append(h)
    return np.array(outputs)


def keras_network(features: np.ndarray, weights: Weights) -> np.ndarray:
    """(n, bins) -> (steps,) in float64, one step and one layer at a time."""
    w = {name: array.astype(np.float64) for name, array in weights.as_dict().items()}
    hidden = []
    for start in range(0, len(features) - 14, 4):
        out = w["conv_bias"].copy()
        for offset in range(15):
            out += features[start + offset].astype(np.float64) @ w["conv_kernel"][offset]
        hidden.append(np.maximum(out, 0))
    hidden = keras_gru(np.array(hidden), w["gru1_kernel"], w["gru1_recurrent"], w["gru1_bias"])
    hidden = keras_gru(hidden, w["gru2_kernel"], w["gru2_recurrent"], w["gru2_bias"])
    return sigmoid(hidden @ w["dense_kernel"] + w["dense_bias"][0])


def noise_features(columns: int, bins: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(0, 1, (columns, bins)).astype(np.float32)


def whole(network: Network, features: FloatArray) -> FloatArray:
    return network.step(features, network.initial_state())[0]


# the formulas


@pytest.mark.parametrize("bins", [1, 37, 101])
def test_posteriors_are_those_of_the_formulas(bins):
    weights, features = random_weights(1, bins), noise_features(415, bins)
    expected = keras_network(features, weights)
    assert np.ptp(expected) > 0.3  # the comparison sees more than a constant
    np.testing.assert_allclose(whole(Network(weights), features), expected, atol=1e-5)


@pytest.mark.parametrize("words", [2, 3, 5])
def test_words_side_by_side_are_each_scored_by_their_own_formulas(words):
    weights, features = [random_weights(seed, 5) for seed in range(words)], noise_features(215, 5)
    network = Network(*weights)
    posteriors = network.step(features, network.initial_state())
    assert posteriors.shape == (words, 51)
    for own, found in zip(weights, posteriors, strict=True):
        np.testing.assert_allclose(found, keras_network(features, own), atol=1e-5)


@pytest.mark.parametrize("name", [field.name for field in fields(Weights)])
def test_every_weight_counts_as_in_the_formulas(name):
    """With one array drawn anew the posteriors change, and still follow the formulas."""
    before, features = random_weights(2, 5), noise_features(215, 5)
    after = replace(before, **{name: random_weights(3, 5).as_dict()[name]})
    expected = keras_network(features, after)
    assert np.abs(expected - keras_network(features, before)).max() > 1e-3
    np.testing.assert_allclose(whole(Network(after), features), expected, atol=1e-5)


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("gate", [0, 1, 2])
def test_input_and_recurrent_bias_of_each_gate_count_as_in_the_formulas(row, gate):
    """reset_after: the recurrent bias of the candidate stands inside r * (...), that of the gates does not."""
    weights, features = random_weights(4, 5), noise_features(215, 5)
    weights.gru1_bias[row, 128 * gate : 128 * (gate + 1)] += 2
    np.testing.assert_allclose(whole(Network(weights), features), keras_network(features, weights), atol=1e-5)


def test_saturated_gates_stay_finite():
    weights = random_weights(0, 5)
    weights.gru1_kernel[:] *= 1e6
    posteriors = whole(Network(weights), noise_features(215, 5) * 1e6)
    assert ((posteriors >= 0) & (posteriors <= 1)).all()


@pytest.mark.skipif(not GOLDEN.exists(), reason="no golden tensors: they are written when a model is exported")
def test_posteriors_are_those_of_keras():
    with np.load(GOLDEN) as golden:
        weights = Weights(**{field.name: golden[field.name] for field in fields(Weights)})
        features, expected = golden["features"], golden["posteriors"]
    np.testing.assert_allclose(whole(Network(weights), features), expected, atol=1e-4)


# streaming


@given(st.lists(st.integers(0, 300), max_size=30))
@settings(max_examples=25)
def test_steps_come_out_once_their_15_columns_are_in(cuts):
    network, features = Network(random_weights(1, 3)), noise_features(300, 3)
    state, seen, known = network.initial_state(), 0, []
    for block in np.split(features, sorted(cuts)):
        known.append(network.step(block, state)[0])
        seen += len(block)
        assert sum(map(len, known)) == max(0, (seen - 15) // 4 + 1)
    # blocks of other sizes: other orders of the same sums, in float32
    np.testing.assert_allclose(concatenated(known), whole(network, features), atol=4e-6)


def test_streams_that_share_a_network_do_not_disturb_each_other():
    network = Network(random_weights(1, 3))
    streams = [noise_features(200, 3, seed) for seed in (1, 2)]
    states = [network.initial_state() for _ in streams]
    parts: list[list[FloatArray]] = [[], []]
    for start in range(0, 200, 20):
        for features, state, out in zip(streams, states, parts, strict=True):
            out.append(network.step(features[start : start + 20], state)[0])
    for features, out in zip(streams, parts, strict=True):
        np.testing.assert_allclose(concatenated(out), whole(network, features), atol=1e-6)


# audio to posteriors


def test_a_10_second_clip_has_1375_posteriors():
    posteriors = score(random_model(), bursts(10))
    assert posteriors.shape == (1375,)
    assert posteriors.dtype == np.float32


@pytest.mark.parametrize("scaling", ["relative", "log", "power"])
@given(cuts=st.lists(st.integers(0, 2 * SECOND), max_size=12), seconds=st.floats(0, 2))
@settings(max_examples=20)
def test_posteriors_are_bitwise_equal_for_every_split(scaling, cuts, seconds):
    model, samples = random_model(scaling=scaling), bursts(2)[: int(seconds * SECOND)]
    scorer = Scorer([model])
    parts = [scorer.push(piece) for piece in pieces(samples, cuts)]
    parts.append(scorer.flush())
    posteriors = concatenated([part.posteriors for part in parts])
    np.testing.assert_array_equal(posteriors[0], score(model, samples))
    assert posteriors.shape == (1, step_count(len(samples)))


@pytest.mark.parametrize("block", [1, 7, 80, 3519, 3520, 3521])
def test_posteriors_are_bitwise_equal_for_blocks_of(block):
    model, samples = random_model(), bursts(0.3)
    scorer = Scorer([model])
    parts = [scorer.push(samples[i : i + block]).posteriors for i in range(0, len(samples), block)]
    np.testing.assert_array_equal(concatenated([*parts, scorer.flush().posteriors])[0], score(model, samples))


@pytest.mark.parametrize("scaling", ["relative", "log", "power"])
@given(cut=st.integers(0, 2 * SECOND))
@settings(max_examples=20)
def test_appending_audio_never_changes_earlier_posteriors(scaling, cut):
    """Causality, to the last bit, for any place at which the recording may end."""
    model, samples = random_model(scaling=scaling), bursts(2)
    posteriors = score(model, samples[:cut])
    np.testing.assert_array_equal(posteriors, score(model, samples)[: len(posteriors)])


def test_posteriors_are_those_of_the_formulas_from_the_audio_on():
    """The whole path against plain formulas: power, rolling average, convolution, GRUs."""
    model, samples = random_model(), bursts(1)
    front_end, scaling = Scorer([model]), model.front_end.new_scaling()
    columns = front_end.push(samples).columns
    frames = np.split(columns, [42, *range(86, columns.shape[1], 44)], axis=1)
    features = np.concatenate([scaling.push(frame) for frame in frames if frame.shape[1]])
    expected = keras_network(features, model.weights)
    np.testing.assert_allclose(score(model, samples)[: len(expected)], expected, atol=1e-4)


# Weights


@pytest.mark.parametrize("name", [field.name for field in fields(Weights)])
def test_a_wrong_shape_is_refused_by_name(name):
    weights = random_weights(0, 5)
    array = getattr(weights, name)
    with pytest.raises(ValueError, match=f"{name} has the shape"):
        replace(weights, **{name: array.reshape(*array.shape, 1)})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(value):
    weights = random_weights(0, 5)
    kernel = weights.gru2_kernel.copy()
    kernel[3, 5] = value
    with pytest.raises(ValueError, match="gru2_kernel holds values that are not finite"):
        replace(weights, gru2_kernel=kernel)


def test_float64_weights_are_refused():
    weights = random_weights(0, 5)
    with pytest.raises(ValueError, match="conv_bias is float64, not float32"):
        replace(weights, conv_bias=weights.conv_bias.astype(np.float64))


def test_a_network_of_the_assignment_has_its_number_of_weights():
    """523 329 parameters less those of the three BatchNorms, which are folded into their neighbours."""
    norms = 4 * (196 + 128 + 128)
    assert sum(int(np.prod(shape)) for shape in weight_shapes(101).values()) == 523_329 - norms
