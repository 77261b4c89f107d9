"""The import of the assignment's weights: what is read is checked, and what it gives is what Keras gave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from model import modelfile
from model.detector import score
from model.frontend import FULL_SCALE, FloatArray, Samples, spectrogram
from model.modelfile import Model
from model.network import Network
from tests.support import shared
from training.learning.batchnorm_folding import BatchNorm, fold
from training.learning.import_assignment import import_assignment
from training.utils.errors import TrainingError

pytestmark = pytest.mark.slow

# --- a stand-in with the assignment's architecture and random weights, so that these tests run everywhere ---

GRU_SETTINGS = {
    "units": 128,
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "use_bias": True,
    "reset_after": True,
    "return_sequences": True,
    "return_state": False,
    "go_backwards": False,
    "stateful": False,
    "time_major": False,
    "unroll": False,
    "implementation": 2,
    "dropout": 0.0,
    "recurrent_dropout": 0.0,
    "kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}},
}
CONV_SETTINGS = {
    "filters": 196,
    "kernel_size": [15],
    "strides": [4],
    "padding": "valid",
    "data_format": "channels_last",
    "dilation_rate": [1],
    "groups": 1,
    "activation": "linear",
    "use_bias": True,
    "bias_constraint": None,
}
NORM_SETTINGS = {"axis": [2], "momentum": 0.99, "epsilon": 0.001, "center": True, "scale": True}
DENSE = {
    "class_name": "Dense",
    "config": {"name": "dense", "dtype": "float32", "units": 1, "activation": "sigmoid", "use_bias": True},
}
LAYERS = (
    ("InputLayer", "input_1", {"batch_input_shape": [None, 5511, 101], "sparse": False, "ragged": False}),
    ("Conv1D", "conv1d", CONV_SETTINGS),
    ("BatchNormalization", "batch_normalization", NORM_SETTINGS),
    ("Activation", "activation", {"activation": "relu"}),
    ("Dropout", "dropout", {"rate": 0.8, "noise_shape": None, "seed": None}),
    ("GRU", "gru", GRU_SETTINGS),
    ("Dropout", "dropout_1", {"rate": 0.8}),
    ("BatchNormalization", "batch_normalization_1", NORM_SETTINGS),
    ("GRU", "gru_1", GRU_SETTINGS),
    ("Dropout", "dropout_2", {"rate": 0.8}),
    ("BatchNormalization", "batch_normalization_2", NORM_SETTINGS),
    ("Dropout", "dropout_3", {"rate": 0.8}),
    ("TimeDistributed", "time_distributed", {"layer": DENSE}),
)
NORM_NAMES = ("gamma", "beta", "moving_mean", "moving_variance")
SHAPES = {
    "conv1d": {"kernel": (15, 101, 196), "bias": (196,)},
    "batch_normalization": dict.fromkeys(NORM_NAMES, (196,)),
    "gru": {"kernel": (196, 384), "recurrent_kernel": (128, 384), "bias": (2, 384)},
    "batch_normalization_1": dict.fromkeys(NORM_NAMES, (128,)),
    "gru_1": {"kernel": (128, 384), "recurrent_kernel": (128, 384), "bias": (2, 384)},
    "batch_normalization_2": dict.fromkeys(NORM_NAMES, (128,)),
    "time_distributed": {"kernel": (128, 1), "bias": (1,)},
}


def architecture() -> dict:
    layers = []
    for i, (kind, name, settings) in enumerate(LAYERS):
        inbound = [[[LAYERS[i - 1][1], 0, 0, {}]]] if i else []
        config = json.loads(json.dumps({"name": name, "trainable": True, "dtype": "float32", **settings}))
        layers.append({"class_name": kind, "config": config, "name": name, "inbound_nodes": inbound})
    ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [["time_distributed", 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "model", "layers": layers, **ends}, "keras_version": "2.4.0"}


def arrays() -> dict[str, dict[str, np.ndarray]]:
    rng = np.random.default_rng(5)
    return {
        layer: {
            name: (rng.uniform(0.5, 2, shape) if name == "moving_variance" else rng.normal(0, 0.1, shape)).astype("f4")
            for name, shape in shapes.items()
        }
        for layer, shapes in SHAPES.items()
    }


def h5_path_of(layer: str, name: str) -> str:
    cell = "gru_cell_6/" if layer.startswith("gru") else ""
    return f"{layer}/{cell}{name}:0"


class Files:
    """The two files of a network in a folder of the test."""

    def __init__(self, folder: Path) -> None:
        self.json = folder / "model.json"
        self.h5 = folder / "model.h5"
        self.json.write_text(json.dumps(architecture()))
        with h5py.File(self.h5, "w") as file:
            file.attrs["layer_names"] = np.array([name for _, name, _ in LAYERS], "S")
            for _, layer, _ in LAYERS:
                group = file.create_group(layer)
                weights = arrays().get(layer, {})
                group.attrs["weight_names"] = np.array([h5_path_of(layer, name) for name in weights], "S")
                for name, array in weights.items():
                    group[h5_path_of(layer, name)] = array

    def load(self) -> Model:
        return import_assignment(self.json, self.h5)

    def change(self, edit: Callable[[dict], None]) -> None:
        document = json.loads(self.json.read_text())
        edit(document)
        self.json.write_text(json.dumps(document))

    def set(self, layer: int, key: str, value: object) -> None:
        self.change(lambda document: document["config"]["layers"][layer]["config"].update({key: value}))

    def replace(self, layer: str, name: str, array: object) -> None:
        with h5py.File(self.h5, "r+") as file:
            path = f"{layer}/{h5_path_of(layer, name)}"
            del file[path]
            file[path] = array


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_it_gives_the_folded_weights_under_the_assignments_front_end(files) -> None:
    model = files.load()
    a = arrays()
    norms = [
        BatchNorm(n["gamma"], n["beta"], n["moving_mean"], n["moving_variance"], 1e-3)
        for n in (a["batch_normalization"], a["batch_normalization_1"], a["batch_normalization_2"])
    ]
    expected = fold(
        conv_kernel=a["conv1d"]["kernel"],
        conv_bias=a["conv1d"]["bias"],
        bn1=norms[0],
        gru1_kernel=a["gru"]["kernel"],
        gru1_recurrent=a["gru"]["recurrent_kernel"],
        gru1_bias=a["gru"]["bias"],
        bn2=norms[1],
        gru2_kernel=a["gru_1"]["kernel"],
        gru2_recurrent=a["gru_1"]["recurrent_kernel"],
        gru2_bias=a["gru_1"]["bias"],
        bn3=norms[2],
        dense_kernel=a["time_distributed"]["kernel"],
        dense_bias=a["time_distributed"]["bias"],
    )
    for name, array in model.weights.as_dict().items():
        np.testing.assert_array_equal(array, getattr(expected, name), err_msg=name)
    assert (model.word, model.threshold) == ("activate", 0.5)
    assert (model.front_end.scaling, model.front_end.bins) == ("power", 101)


def test_the_import_is_a_model_file_like_any_other(files, tmp_path) -> None:
    modelfile.save(tmp_path / "seed.npz", files.load())
    read = modelfile.load(tmp_path / "seed.npz")
    assert set(read.training["sha256"]) == {"model.json", "model.h5"}
    np.testing.assert_array_equal(read.weights.conv_kernel, files.load().weights.conv_kernel)


def test_layers_may_bear_other_names(files) -> None:
    """A notebook that built the model twice counts on: conv1d_4, gru_5."""
    files.json.write_text(files.json.read_text().replace('"conv1d"', '"conv1d_4"'))
    with h5py.File(files.h5, "r+") as file:
        file.move("conv1d", "conv1d_4")
        file.move("conv1d_4/conv1d", "conv1d_4/conv1d_4")
        file["conv1d_4"].attrs["weight_names"] = np.array(["conv1d_4/kernel:0", "conv1d_4/bias:0"], "S")
        file.attrs["layer_names"] = np.char.replace(file.attrs["layer_names"], b"conv1d", b"conv1d_4")
    files.load()


@pytest.mark.parametrize(
    ("layer", "key", "value"),
    [
        (0, "batch_input_shape", [None, 5511, 40]),
        (1, "filters", 128),
        (1, "kernel_size", [5]),
        (1, "strides", [2]),
        (1, "padding", "causal"),
        (1, "dilation_rate", [2]),
        (1, "activation", "tanh"),
        (2, "axis", [1]),
        (2, "epsilon", 1e-5),
        (2, "scale", False),
        (3, "activation", "gelu"),
        (5, "units", 64),
        (5, "reset_after", False),
        (5, "recurrent_activation", "hard_sigmoid"),
        (8, "go_backwards", True),
        (8, "stateful", True),
        (10, "dtype", "float16"),
    ],
)
def test_a_setting_that_would_change_the_posteriors_is_refused(files, layer, key, value) -> None:
    files.set(layer, key, value)
    with pytest.raises(TrainingError, match=rf"model.json: layer {LAYERS[layer][1]}: {key} is "):
        files.load()


def test_a_setting_that_only_training_reads_may_differ(files) -> None:
    """Keep rate 0.8 means a drop rate of 0.2; whoever mends it may still import."""
    files.set(4, "rate", 0.2)
    files.set(7, "trainable", False)
    files.load()


def test_a_setting_that_is_not_known_is_refused(files) -> None:
    files.set(5, "call_after", "os.system")
    with pytest.raises(TrainingError, match="layer gru: unknown setting 'call_after'"):
        files.load()


def test_a_setting_that_is_missing_is_refused(files) -> None:
    files.change(lambda document: document["config"]["layers"][5]["config"].pop("reset_after"))
    with pytest.raises(TrainingError, match="layer gru: reset_after is missing"):
        files.load()


def test_a_lambda_layer_is_refused(files) -> None:
    """Keras would run the code that it carries."""
    files.change(lambda document: document["config"]["layers"][3].update(class_name="Lambda"))
    with pytest.raises(TrainingError, match="not those of the assignment"):
        files.load()


def test_another_layer_inside_the_last_one_is_refused(files) -> None:
    files.set(12, "layer", {"class_name": "Lambda", "config": {"function": "code"}})
    with pytest.raises(TrainingError, match="time_distributed applies 'Lambda', not 'Dense'"):
        files.load()


def test_another_activation_at_the_end_is_refused(files) -> None:
    files.set(12, "layer", {**DENSE, "config": {**DENSE["config"], "activation": "linear"}})
    with pytest.raises(TrainingError, match="layer dense: activation is 'linear', not 'sigmoid'"):
        files.load()


def test_layers_in_another_order_are_refused(files) -> None:
    files.change(lambda document: document["config"]["layers"].reverse())
    with pytest.raises(TrainingError, match="another order"):
        files.load()


def test_layers_that_are_connected_otherwise_are_refused(files) -> None:
    """A list in the right order says nothing if the second GRU reads the convolution."""
    files.change(lambda document: document["config"]["layers"][8].update(inbound_nodes=[[["conv1d", 0, 0, {}]]]))
    with pytest.raises(TrainingError, match="not connected one after the other"):
        files.load()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not the JSON of a Keras model"),
        ("{}", "it lacks 'class_name'"),
        ('{"class_name": "Sequential"}', "a model of the class 'Sequential'"),
        ('{"class_name": "Functional", "config": {"layers": 3}}', "not the JSON of a Keras model"),
    ],
)
def test_what_is_not_the_json_of_a_model_is_refused(files, text, reason) -> None:
    files.json.write_text(text)
    with pytest.raises(TrainingError, match=f"model.json: {reason}"):
        files.load()


def test_weights_of_other_shapes_are_refused(files) -> None:
    files.replace("gru_1", "kernel", np.zeros((196, 384), "f4"))
    with pytest.raises(TrainingError, match=r"model.h5: gru_1/kernel has the shape \(196, 384\), not \(128, 384\)"):
        files.load()


def test_weights_of_another_type_are_refused(files) -> None:
    files.replace("gru", "bias", np.zeros((2, 384), "f8"))
    with pytest.raises(TrainingError, match="gru/bias is float64, not float32"):
        files.load()


@pytest.mark.parametrize(
    ("layer", "name", "value", "reason"),
    [
        ("conv1d", "bias", np.nan, "conv1d/bias holds values that are not finite"),
        ("batch_normalization", "moving_variance", -1, "holds negative values"),
    ],
)
def test_weights_that_are_no_numbers_are_refused(files, layer, name, value, reason) -> None:
    files.replace(layer, name, np.full(SHAPES[layer][name], value, "f4"))
    with pytest.raises(TrainingError, match=f"model.h5: .*{reason}"):
        files.load()


def test_weights_that_are_no_numbers_once_folded_are_refused(files) -> None:
    files.replace("batch_normalization", "gamma", np.full(196, 3e38, "f4"))
    files.replace("batch_normalization", "moving_variance", np.zeros(196, "f4"))
    with pytest.raises(TrainingError, match=r"model.h5: conv_kernel holds values that are not finite"):
        files.load()


def test_weights_of_another_network_are_refused(files) -> None:
    with h5py.File(files.h5, "r+") as file:
        file.attrs["layer_names"] = [b"dense"]
    with pytest.raises(TrainingError, match="not those of the JSON file"):
        files.load()


def test_weights_in_another_order_are_refused(files) -> None:
    """Keras reads them by position: gamma and beta have the same shape, so only the names tell."""
    with h5py.File(files.h5, "r+") as file:
        names = file["batch_normalization"].attrs["weight_names"]
        file["batch_normalization"].attrs["weight_names"] = names[[1, 0, 2, 3]]
    with pytest.raises(TrainingError, match="its weights are not those of a BatchNormalization layer"):
        files.load()


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "/x"), h5py.SoftLink("/gru_1/gru_1/gru_cell_6/bias:0")])
def test_a_link_is_not_followed(files, link) -> None:
    files.replace("gru", "bias", link)
    with pytest.raises(TrainingError, match="it is not a plain entry"):
        files.load()


def test_data_outside_the_file_is_not_read(files, tmp_path) -> None:
    (tmp_path / "secret").write_bytes(b"\0" * 4)
    with h5py.File(files.h5, "r+") as file:
        path = "time_distributed/time_distributed/bias:0"
        del file[path]
        file.create_dataset(path, (1,), "f4", external=[(str(tmp_path / "secret"), 0, 4)])
    with pytest.raises(TrainingError, match="time_distributed/bias is not a plain array"):
        files.load()


def test_a_missing_array_is_named(files) -> None:
    with h5py.File(files.h5, "r+") as file:
        del file["conv1d/conv1d/bias:0"]
    with pytest.raises(TrainingError, match="it lacks conv1d/conv1d/bias:0"):
        files.load()


def test_a_file_cut_short_is_refused(files) -> None:
    content = files.h5.read_bytes()
    for length in (0, 100, 5_000, len(content) // 2, len(content) - 1_000):
        files.h5.write_bytes(content[:length])
        with pytest.raises(TrainingError, match=r"model.h5: .+"):
            files.load()


def test_a_missing_file_is_named(files) -> None:
    files.h5.unlink()
    with pytest.raises(TrainingError, match=r"model.h5: No such file or directory"):
        files.load()


def test_what_is_far_too_large_is_not_read(files) -> None:
    with files.json.open("ab") as file:
        file.truncate(60_000_000)
    with pytest.raises(TrainingError, match=r"model.json: far too large"):
        files.load()


# --- the real weights on the real recordings: the figures of the assignment ---


@pytest.fixture(scope="module")
def assignment() -> Model:
    return import_assignment(shared.seed() / "model.json", shared.seed() / "model.h5")


def recording(name: str) -> Samples:
    return soundfile.read(shared.seed() / name, dtype="int16", always_2d=True)[0][:, 0]


def scored_whole(model: Model, samples: Samples) -> FloatArray:
    """As the assignment does it: the clip as a whole at -20 dBFS, raw power, zero state."""
    level = np.sqrt(np.mean(samples.astype(float) ** 2))
    levelled = np.round(samples * (0.1 * FULL_SCALE / level))
    network = Network(model.weights)
    features = np.ascontiguousarray(spectrogram(levelled).T, np.float32)
    return network.step(features, network.initial_state())[0]


def above(posteriors: FloatArray, threshold: float = 0.5) -> list[tuple[int, int]]:
    """First and last step of each stretch above the threshold."""
    edges = np.flatnonzero(np.diff(np.r_[0, posteriors > threshold, 0]))
    return [(int(start), int(end) - 1) for start, end in edges.reshape(-1, 2)]


def test_the_assignments_weights_peak_in_the_first_recording_where_keras_did(assignment) -> None:
    assert above(scored_whole(assignment, recording("dev-1.wav"))) == [(372, 403)]


def test_the_assignments_weights_peak_in_the_second_recording_where_keras_did(assignment) -> None:
    peaks = above(scored_whole(assignment, recording("dev-2.wav")))
    assert [first for first, _ in peaks] == [344, 701, 895]


def test_in_silence_the_assignments_weights_start_at_their_floor(assignment) -> None:
    network = Network(assignment.weights)
    posteriors = network.step(np.zeros((5511, 101), np.float32), network.initial_state())[0]
    assert posteriors.max() == posteriors[0] == pytest.approx(0.286, abs=5e-4)


@pytest.mark.parametrize(("name", "first"), [("dev-1.wav", 372), ("dev-2.wav", 344), ("dev-2.wav", 701)])
def test_heard_as_a_stream_they_rise_above_the_threshold_at_the_same_words(assignment, name, first) -> None:
    """The rolling level is not that of the whole clip, so the stretches differ by a few steps."""
    stretches = above(score(assignment, recording(name)))
    assert any(abs(start - first) <= 5 for start, _ in stretches), stretches


def test_heard_as_a_stream_they_rise_nowhere_else(assignment) -> None:
    first = above(score(assignment, recording("dev-1.wav")))
    second = above(score(assignment, recording("dev-2.wav")))
    assert (len(first), len(second)) == (1, 3)
    assert second[2][0] == pytest.approx(895, abs=5)
