"""The Keras twin: the assignment's network, the same numbers as ours, a faster GRU with the same gradients."""

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
keras = pytest.importorskip("keras", reason="the train extra is not installed")
tf = pytest.importorskip("tensorflow", reason="the train extra is not installed")

from model.frontend import FrontEnd  # noqa: E402
from model.modelfile import Model, load  # noqa: E402 - after the skip
from model.network import Network  # noqa: E402
from training.learning.export import check_parity, export, parity  # noqa: E402
from training.learning.keras_gru import Gru  # noqa: E402
from training.learning.keras_network import build, restore, weights  # noqa: E402
from training.utils.errors import TrainingError  # noqa: E402

pytestmark = pytest.mark.slow


def scrambled(bins: int):
    """A network whose every weight, moving averages included, is far from its initial value."""
    clip = build(bins, columns=None).clip
    rng = np.random.default_rng(3)
    for layer in clip.layers:
        if "norm" in layer.name and "drop" not in layer.name:
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        elif layer.get_weights():
            layer.set_weights([w + rng.normal(0, 0.05, w.shape) for w in layer.get_weights()])
    return clip


def test_the_network_is_the_assignments_layer_by_layer() -> None:
    clip = build().clip
    trainable = sum(int(np.prod(w.shape)) for w in clip.trainable_weights)
    assert clip.count_params() == 523_329
    assert trainable == 522_425
    shapes = [
        (
            layer.name,
            layer.count_params(),
            (layer.output[0] if isinstance(layer.output, list) else layer.output).shape[1:],
        )
        for layer in clip.layers
    ]
    assert shapes == [
        ("columns", 0, (5511, 101)),
        ("conv", 297_136, (1375, 196)),
        ("conv_norm", 784, (1375, 196)),
        ("relu", 0, (1375, 196)),
        ("conv_drop", 0, (1375, 196)),
        ("gru1", 125_184, (1375, 128)),
        ("gru1_drop", 0, (1375, 128)),
        ("gru1_norm", 512, (1375, 128)),
        ("gru2", 99_072, (1375, 128)),
        ("gru2_drop", 0, (1375, 128)),
        ("gru2_norm", 512, (1375, 128)),
        ("norm_drop", 0, (1375, 128)),
        ("posterior", 129, (1375, 1)),
    ]


def test_a_fifth_is_dropped_not_four_fifths() -> None:
    rates = {layer.name: layer.rate for layer in build().clip.layers if layer.name.endswith("drop")}
    assert rates == dict.fromkeys(("conv_drop", "gru1_drop", "gru2_drop", "norm_drop"), 0.2)


@pytest.mark.parametrize("bins", [101, 37])
def test_keras_and_our_engine_give_the_same_posteriors(bins) -> None:
    clip = scrambled(bins)
    features = np.random.default_rng(4).standard_normal((2000, bins)).astype(np.float32)
    assert parity(clip, weights(clip), features) < 1e-4


def test_weights_of_a_model_file_can_be_trained_on() -> None:
    first = weights(scrambled(8))
    clip = build(8, columns=None).clip
    restore(clip, first)
    features = np.random.default_rng(5).standard_normal((400, 8)).astype(np.float32)
    assert parity(clip, first, features) < 1e-4


def test_a_stream_in_two_halves_is_the_clip_in_one() -> None:
    twin = build(6, columns=None)
    features = np.random.default_rng(6).standard_normal((1, 15 + 4 * 99, 6)).astype(np.float32)
    whole = np.asarray(twin.clip(features))
    first, state1, state2 = twin.stream(
        [tf.constant(features[:, : 15 + 4 * 39]), tf.zeros((1, 128)), tf.zeros((1, 128))]
    )
    second, _, _ = twin.stream([tf.constant(features[:, 4 * 40 :]), state1, state2])
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-6)


def test_our_gru_has_the_outputs_and_gradients_of_keras_gru() -> None:
    theirs = keras.layers.GRU(16, return_sequences=True, return_state=True, reset_after=True)
    ours = Gru(16, return_sequences=True, return_state=True, reset_after=True)
    rng = np.random.default_rng(7)
    inputs = tf.constant(rng.standard_normal((3, 25, 10)), tf.float32)
    state = tf.constant(rng.standard_normal((3, 16)), tf.float32)
    mask = tf.constant(rng.standard_normal((3, 25, 16)), tf.float32)
    results = []
    for layer in (theirs, ours):
        layer.build(inputs.shape)
        rng = np.random.default_rng(8)
        layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])
        with tf.GradientTape() as tape:
            tape.watch([inputs, state])
            outputs, last = layer(inputs, initial_state=state)
            # the state has a gradient of its own: a stream hands it on
            loss = tf.reduce_sum(outputs * mask) + 3 * tf.reduce_sum(last**2)
        variables = [inputs, state, *(w.value for w in layer.trainable_variables)]
        results.append([outputs, last, *tape.gradient(loss, variables)])
    for expected, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, atol=2e-5)


def test_export_writes_what_the_daemon_loads(tmp_path) -> None:
    clip = scrambled(37)
    model = Model("word", weights(clip), FrontEnd(), 0.5)
    export(tmp_path / "word.npz", model, clip)
    loaded = load(tmp_path / "word.npz")
    features = np.random.default_rng(9).standard_normal((300, 37)).astype(np.float32)
    network = Network(loaded.weights)
    expected = np.asarray(clip(features[None]))[0, :, 0]
    np.testing.assert_allclose(network.step(features, network.initial_state())[0], expected, atol=1e-4)


def test_export_refuses_weights_that_do_not_match(tmp_path) -> None:
    clip, other = scrambled(37), build(37, columns=None).clip
    with pytest.raises(TrainingError, match="differs"):
        export(tmp_path / "word.npz", Model("word", weights(other), FrontEnd(), 0.5), clip)
    assert not list(tmp_path.iterdir())
    with pytest.raises(TrainingError):
        check_parity(clip, weights(other))
