"""The Keras twin of `model.network`: the assignment's network, layer by layer, for training.

Two views share the layers: `clip` is the assignment's model (a spectrogram in, a posterior a step out), `stream`
also takes and returns the GRUs' states, so that training can carry them over as the daemon does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from model.frontend import BINS, CLIP_COLUMNS, KERNEL, STRIDE
from model.network import FILTERS, UNITS, Weights
from training.learning.batchnorm_folding import BatchNorm, fold
from training.learning.keras_gru import Gru

RARELY = keras.initializers.Constant(-3.0)  # one step in twenty follows a word; zero would claim every second one
DROPOUT = 0.2  # the assignment's "keep rate 0.8"; Keras wants the rate that is dropped


@dataclass(frozen=True)
class KerasNetwork:
    """clip: (batch, columns, bins) -> (batch, steps, 1). stream: the same with two (batch, 128) states in and out.

    phones: the logits of a second task that only training knows are the last output of `stream`, if asked for.
    """

    clip: Any
    stream: Any


def build(bins: int = BINS, columns: int | None = CLIP_COLUMNS, phones: int = 0) -> KerasNetwork:
    """Build the network; 523 329 parameters for 101 bins, 522 425 of them trainable.

    With fewer bins it is the same network with the weights of the other bins left out; columns=None takes
    spectrograms of any length. With phones, `stream` also says which of so many the first GRU hears.
    """
    gru1 = Gru(UNITS, return_sequences=True, return_state=True, reset_after=True, name="gru1")
    gru2 = Gru(UNITS, return_sequences=True, return_state=True, reset_after=True, name="gru2")
    first = [
        layers.Conv1D(FILTERS, KERNEL, strides=STRIDE, name="conv"),
        layers.BatchNormalization(name="conv_norm"),
        layers.Activation("relu", name="relu"),
        layers.Dropout(DROPOUT, name="conv_drop"),
    ]
    second = [layers.Dropout(DROPOUT, name="gru1_drop"), layers.BatchNormalization(name="gru1_norm")]
    third = [
        layers.Dropout(DROPOUT, name="gru2_drop"),
        layers.BatchNormalization(name="gru2_norm"),
        layers.Dropout(DROPOUT, name="norm_drop"),
        # Dense acts on the last axis, so it is the assignment's TimeDistributed(Dense(1)), without that wrapper's
        # slice a step, whose gradients took half of the training time
        layers.Dense(1, activation="sigmoid", bias_initializer=RARELY, name="posterior"),
    ]

    def chain(x: Any, part: list[Any]) -> Any:
        for layer in part:
            x = layer(x)
        return x

    phone = layers.Dense(phones, name="phone") if phones else None

    def connect(x: Any, state1: Any = None, state2: Any = None) -> tuple[Any, ...]:
        x, state1 = gru1(chain(x, first), initial_state=state1)
        heard = chain(x, second)
        x, state2 = gru2(heard, initial_state=state2)
        return chain(x, third), state1, state2, *([phone(heard)] if phone else [])

    spectrogram = keras.Input((columns, bins), name="columns")
    clip = keras.Model(spectrogram, connect(spectrogram)[0], name="clip")
    spectrogram = keras.Input((columns, bins), name="columns")
    states = [keras.Input((UNITS,), name="state1"), keras.Input((UNITS,), name="state2")]
    stream = keras.Model([spectrogram, *states], list(connect(spectrogram, *states)), name="stream")
    return KerasNetwork(clip, stream)


def _arrays(clip: Any, name: str) -> list[Any]:
    return [keras.ops.convert_to_numpy(variable) for variable in clip.get_layer(name).weights]


def weights(clip: Any) -> Weights:
    """What the daemon runs: the weights with every BatchNorm folded into its neighbour."""

    def norm(name: str) -> BatchNorm:
        gamma, beta, mean, variance = _arrays(clip, name)
        return BatchNorm(gamma, beta, mean, variance, clip.get_layer(name).epsilon)

    arrays: dict[str, Any] = {}
    for name, prefix in (("conv", "conv"), ("gru1", "gru1"), ("gru2", "gru2"), ("posterior", "dense")):
        parts = ("kernel", "recurrent", "bias") if prefix.startswith("gru") else ("kernel", "bias")
        arrays |= {f"{prefix}_{part}": array for part, array in zip(parts, _arrays(clip, name), strict=True)}
    return fold(**arrays, bn1=norm("conv_norm"), bn2=norm("gru1_norm"), bn3=norm("gru2_norm"))


def restore(clip: Any, source: Weights) -> None:
    """Put the weights of a model file into the Keras network; its BatchNorms become the identity."""
    gru = ("kernel", "recurrent", "bias")
    arrays = source.as_dict()
    clip.get_layer("conv").set_weights([arrays["conv_kernel"], arrays["conv_bias"]])
    for name in ("gru1", "gru2"):
        clip.get_layer(name).set_weights([arrays[f"{name}_{part}"] for part in gru])
    clip.get_layer("posterior").set_weights([arrays["dense_kernel"][:, None], arrays["dense_bias"]])
    for name in ("conv_norm", "gru1_norm", "gru2_norm"):
        layer = clip.get_layer(name)
        gamma, beta, mean, variance = layer.get_weights()
        layer.set_weights([gamma * 0 + 1, beta * 0, mean * 0, variance * 0 + 1 - layer.epsilon])


def freeze_norms(clip: Any) -> None:
    """Keep every BatchNorm as it is, as the assignment does for fine-tuning: frozen, Keras runs it as at inference."""
    for layer in clip.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
