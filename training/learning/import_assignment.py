"""The assignment's own trained weights in, a model out: ``model.json`` and ``model.h5`` as Keras 2.4 wrote them.

Both files are read as data and never handed to Keras, so nothing in them can run. The network must be the
assignment's, layer by layer: whatever decides a posterior is compared, and a setting that is not known is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import h5py
import numpy as np

from model.frontend import BINS, CLIP_COLUMNS, KERNEL, STRIDE, FrontEnd
from model.modelfile import Model
from model.network import FILTERS, UNITS, Weights
from training.learning.batchnorm_folding import Array, BatchNorm, fold
from training.utils.errors import TrainingError

WORD = "activate"
THRESHOLD = 0.5
EPSILON = 1e-3  # of the BatchNorm layers: Keras' default
MAX_FILE_BYTES = 50_000_000  # the assignment's weights have 2.2 MB


class _Layer(NamedTuple):
    """What one layer of the assignment must be."""

    kind: str  # Keras' class name
    settings: dict[str, Any]  # the part of its configuration that decides the posteriors
    weights: dict[str, tuple[int, ...]]  # name to shape, in Keras' order


def _norm(channels: int) -> _Layer:
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    settings = {"axis": [2], "center": True, "scale": True, "epsilon": EPSILON}
    return _Layer("BatchNormalization", settings, dict.fromkeys(names, (channels,)))


def _gru(inputs: int) -> _Layer:
    settings = {
        "units": UNITS,
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "reset_after": True,
        "return_sequences": True,
        "return_state": False,
        "go_backwards": False,
        "stateful": False,
        "time_major": False,
    }
    gates = 3 * UNITS
    return _Layer("GRU", settings, {"kernel": (inputs, gates), "recurrent_kernel": (UNITS, gates), "bias": (2, gates)})


_CONV = _Layer(
    "Conv1D",
    {
        "filters": FILTERS,
        "kernel_size": [KERNEL],
        "strides": [STRIDE],
        "padding": "valid",
        "data_format": "channels_last",
        "dilation_rate": [1],
        "groups": 1,
        "activation": "linear",
        "use_bias": True,
    },
    {"kernel": (KERNEL, BINS, FILTERS), "bias": (FILTERS,)},
)
_DROPOUT = _Layer("Dropout", {}, {})
_DENSE = _Layer("Dense", {"units": 1, "activation": "sigmoid", "use_bias": True}, {"kernel": (UNITS, 1), "bias": (1,)})

_NETWORK = (
    _Layer("InputLayer", {"batch_input_shape": [None, CLIP_COLUMNS, BINS], "sparse": False, "ragged": False}, {}),
    _CONV,
    _norm(FILTERS),
    _Layer("Activation", {"activation": "relu"}, {}),
    _DROPOUT,
    _gru(FILTERS),
    _DROPOUT,
    _norm(UNITS),
    _gru(UNITS),
    _DROPOUT,
    _norm(UNITS),
    _DROPOUT,
    _Layer("TimeDistributed", {}, _DENSE.weights),
)

# Settings that decide no posterior: they matter while training, or choose between equal ways to compute.
_FREE = {"name", "trainable", "rate", "noise_shape", "seed", "momentum", "implementation", "unroll"}
_FREE |= {"dropout", "recurrent_dropout"}
_FREE_SUFFIXES = ("_initializer", "_regularizer", "_constraint")

_Read = TypeVar("_Read")


def import_assignment(json_path: str | os.PathLike[str], h5_path: str | os.PathLike[str]) -> Model:
    """Read the assignment's network and its weights.

    json_path: the architecture (``model.to_json()``); h5_path: the weights (``model.save_weights(...)``).
    Returns a model of "activate" with the assignment's front end (raw power at -20 dBFS, 101 bins) and threshold.
    Raises TrainingError, with the file and the reason in one sentence, for anything but that network.
    """
    json_path, h5_path = Path(json_path), Path(h5_path)
    names = _guarded(json_path, _read_names)
    weights = _guarded(h5_path, lambda path: _fold(_read_arrays(path, names)))
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (json_path, h5_path)}
    return Model(
        word=WORD,
        weights=weights,
        front_end=FrontEnd(scaling="power", bins=BINS),
        threshold=THRESHOLD,
        training={"imported": "the weights of the Trigger Word Detection assignment", "sha256": digests},
    )


def _guarded(path: Path, read: Callable[[Path], _Read]) -> _Read:
    """What `read` gives for the file; whatever goes wrong with the file becomes a TrainingError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("far too large for the assignment's network")
        with np.errstate(all="ignore"):  # absurd weights overflow in the fold, whose result is checked
            return read(path)
    except OSError as error:
        # h5py's own OSErrors carry the library's inner text, which helps no one
        reason = error.strerror or "not an HDF5 file, or damaged"
        raise TrainingError(f"{path}: {reason}") from error
    except ValueError as error:
        raise TrainingError(f"{path}: {error}") from error
    except (KeyError, TypeError, RuntimeError) as error:  # what h5py makes of damage inside a file
        raise TrainingError(f"{path}: damaged") from error


def _read_names(path: Path) -> list[str]:
    """The name of each layer, in order, once all of them are those of the assignment."""
    try:
        document = json.loads(path.read_bytes())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON ({error})") from error
    try:
        if document["class_name"] != "Functional":
            raise ValueError(f"a model of the class {document['class_name']!r}, not 'Functional'")
        layers = document["config"]["layers"]
        if [layer["class_name"] for layer in layers] != [layer.kind for layer in _NETWORK]:
            raise ValueError("its layers are not those of the assignment, or stand in another order")
        for layer, expected in zip(layers, _NETWORK, strict=True):
            _check_layer(layer, expected)
        names = [layer["config"]["name"] for layer in layers]
        _check_chain(document["config"], layers, names)
    except KeyError as error:
        raise ValueError(f"it lacks {error}") from error
    except (TypeError, AttributeError) as error:
        raise ValueError("not the JSON of a Keras model") from error
    return names


def _check_layer(layer: dict[str, Any], expected: _Layer) -> None:
    config = dict(layer["config"])
    name = config["name"]
    if not isinstance(name, str) or not name or "/" in name or layer.get("name", name) != name:
        raise ValueError(f"a layer has the name {name!r}")
    if expected.kind == "TimeDistributed":
        inner = config.pop("layer")
        if inner["class_name"] != _DENSE.kind:
            raise ValueError(f"layer {name} applies {inner['class_name']!r}, not {_DENSE.kind!r}")
        _check_layer(inner, _DENSE)
    wanted = {**expected.settings, "dtype": "float32"}
    for key, value in wanted.items():
        if key not in config:
            raise ValueError(f"layer {name}: {key} is missing")
        if config[key] != value:
            raise ValueError(f"layer {name}: {key} is {config[key]!r}, not {value!r}")
    for key in config:
        if key not in wanted and key not in _FREE and not key.endswith(_FREE_SUFFIXES):
            raise ValueError(f"layer {name}: unknown setting {key!r}")


def _check_chain(network: dict[str, Any], layers: list[dict[str, Any]], names: list[str]) -> None:
    """Each layer reads the one before it, and nothing else."""
    sources = [[], *([[[[name, 0, 0, {}]]] for name in names[:-1]])]
    wired = [layer["inbound_nodes"] for layer in layers] == sources
    ends = (network["input_layers"], network["output_layers"]) == ([[names[0], 0, 0]], [[names[-1], 0, 0]])
    if not wired or not ends or len(set(names)) < len(names):
        raise ValueError("its layers are not connected one after the other")


def _read_arrays(path: Path, names: list[str]) -> list[list[Array]]:
    """The weights of each layer, in Keras' order, once names and shapes are those expected."""
    with h5py.File(path, "r") as file:
        if _strings(file.attrs.get("layer_names", ())) != names:
            raise ValueError("its layers are not those of the JSON file")
        arrays = []
        for name, layer in zip(names, _NETWORK, strict=True):
            paths = _strings(_item(file, [name]).attrs.get("weight_names", ()))
            # "gru/gru_cell_6/kernel:0": what stands before the last part is only a number Keras counted up
            if [path.rpartition("/")[2] for path in paths] != [f"{weight}:0" for weight in layer.weights]:
                raise ValueError(f"layer {name}: its weights are not those of a {layer.kind} layer")
            arrays.append(
                [
                    _array(f"{name}/{weight}", _item(file, [name, *path.split("/")]), shape)
                    for path, (weight, shape) in zip(paths, layer.weights.items(), strict=True)
                ]
            )
    return arrays


def _strings(names: Iterable[Any]) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _item(group: Any, parts: list[str]) -> Any:
    """What lies at the end of the path; a link could lead out of the file, and Keras writes none."""
    for part in parts:
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"it lacks {'/'.join(parts)}, or it is not a plain entry")
        group = group[part]
    return group


def _array(label: str, item: Any, shape: tuple[int, ...]) -> Array:
    if not isinstance(item, h5py.Dataset) or item.external or item.is_virtual:
        raise ValueError(f"{label} is not a plain array")
    if item.shape != shape:
        raise ValueError(f"{label} has the shape {item.shape}, not {shape}")
    if item.dtype != np.float32:
        raise ValueError(f"{label} is {item.dtype}, not float32")
    array: Array = item[()]
    if not np.isfinite(array).all():
        raise ValueError(f"{label} holds values that are not finite")
    if label.endswith("/moving_variance") and (array < 0).any():
        raise ValueError(f"{label} holds negative values")
    return array


def _batch_norm(arrays: list[Array]) -> BatchNorm:
    gamma, beta, mean, variance = arrays
    return BatchNorm(gamma, beta, mean, variance, EPSILON)


def _fold(arrays: list[list[Array]]) -> Weights:
    conv, bn1, gru1, bn2, gru2, bn3, dense = (layer for layer in arrays if layer)
    return fold(
        conv_kernel=conv[0],
        conv_bias=conv[1],
        bn1=_batch_norm(bn1),
        gru1_kernel=gru1[0],
        gru1_recurrent=gru1[1],
        gru1_bias=gru1[2],
        bn2=_batch_norm(bn2),
        gru2_kernel=gru2[0],
        gru2_recurrent=gru2[1],
        gru2_bias=gru2[2],
        bn3=_batch_norm(bn3),
        dense_kernel=dense[0],
        dense_bias=dense[1],
    )
