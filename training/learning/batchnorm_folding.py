"""The trained network's arrays in, the engine's weights out: every BatchNorm disappears into its neighbour.

At inference BatchNorm is `scale * x + shift`, channel by channel. The first one follows the convolution and
scales its filters; the other two follow a GRU, whose state must stay as it is, and scale what the next
layer reads. Computed in float64, rounded to float32 once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.frontend import DoubleArray, FloatArray
from model.network import Weights

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BatchNorm:
    """One Keras BatchNormalization layer, as it stands at inference.

    gamma, beta, mean, variance: (channels,), the last two the moving averages; epsilon: added to the variance.
    """

    gamma: Array
    beta: Array
    mean: Array
    variance: Array
    epsilon: float

    @property
    def scale(self) -> DoubleArray:
        """(channels,): what the input is multiplied by."""
        variance = np.asarray(self.variance, np.float64)
        return np.asarray(self.gamma, np.float64) / np.sqrt(variance + self.epsilon)

    @property
    def shift(self) -> DoubleArray:
        """(channels,): what is added afterwards."""
        return np.asarray(self.beta, np.float64) - np.asarray(self.mean, np.float64) * self.scale


def fold_after(kernel: Array, bias: Array, norm: BatchNorm) -> tuple[DoubleArray, DoubleArray]:
    """A layer and the BatchNorm of its output -> the one layer that does both.

    kernel: (..., channels); bias: (channels,). Returns a kernel and a bias of the same shapes.
    """
    return kernel * norm.scale, bias * norm.scale + norm.shift


def fold_before(kernel: Array, bias: Array, norm: BatchNorm) -> tuple[DoubleArray, DoubleArray]:
    """The BatchNorm of a layer's input and the layer -> the one layer that does both.

    kernel: (channels, outputs); bias: (outputs,). Returns a kernel and a bias of the same shapes.
    """
    kernel = np.asarray(kernel, np.float64)
    return norm.scale[:, None] * kernel, bias + norm.shift @ kernel


def fold(
    *,
    conv_kernel: Array,
    conv_bias: Array,
    bn1: BatchNorm,
    gru1_kernel: Array,
    gru1_recurrent: Array,
    gru1_bias: Array,
    bn2: BatchNorm,
    gru2_kernel: Array,
    gru2_recurrent: Array,
    gru2_bias: Array,
    bn3: BatchNorm,
    dense_kernel: Array,
    dense_bias: Array,
) -> Weights:
    """The weights of the Keras network, in the order of its layers -> those of `model.network`.

    conv_kernel: (15, bins, 196); GRU kernels: (196 or 128, 384), gates in the order z, r, h; GRU biases:
    (2, 384), input and recurrent (``reset_after``); dense_kernel: (128, 1).
    Raises ValueError for other shapes and for values that are not finite.
    """
    conv_kernel, conv_bias = fold_after(conv_kernel, conv_bias, bn1)
    # Only the input of a GRU passes through the BatchNorm; its recurrent bias is added to the state's product.
    gru2_kernel, gru2_input_bias = fold_before(gru2_kernel, gru2_bias[0], bn2)
    dense_kernel, dense_bias = fold_before(dense_kernel, dense_bias, bn3)
    return Weights(
        conv_kernel=_float32(conv_kernel),
        conv_bias=_float32(conv_bias),
        gru1_kernel=_float32(gru1_kernel),
        gru1_recurrent=_float32(gru1_recurrent),
        gru1_bias=_float32(gru1_bias),
        gru2_kernel=_float32(gru2_kernel),
        gru2_recurrent=_float32(gru2_recurrent),
        gru2_bias=_float32(np.stack((gru2_input_bias, gru2_bias[1]))),
        dense_kernel=_float32(dense_kernel[:, 0]),
        dense_bias=_float32(dense_bias),
    )


def _float32(array: Array) -> FloatArray:
    return np.ascontiguousarray(array, np.float32)
