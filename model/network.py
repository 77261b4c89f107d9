"""The network: features in, posteriors out, one state carried from frame to frame.

Conv1D (196 filters, 15 columns, stride 4) -> ReLU -> GRU 128 -> GRU 128 -> Dense(1) -> sigmoid, with every
BatchNorm folded into its neighbour. The same code scores a file and a stream.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from model.frontend import FRAME_STEPS, KERNEL, STRIDE, FloatArray

FILTERS = 196
UNITS = 128
CARRY = KERNEL - STRIDE  # 11 columns that the next step sees again
# OpenBLAS multiplies matrices without packing them first up to a million multiplications: a third faster
SMALL_PRODUCT = 1_000_000


@dataclass(frozen=True)
class Weights:
    """float32, BatchNorm folded; GRUs as Keras stores them (``reset_after``, gates in the order z, r, h)."""

    conv_kernel: FloatArray  # (15, bins, 196)
    conv_bias: FloatArray  # (196,)
    gru1_kernel: FloatArray  # (196, 384)
    gru1_recurrent: FloatArray  # (128, 384)
    gru1_bias: FloatArray  # (2, 384): input, recurrent
    gru2_kernel: FloatArray  # (128, 384)
    gru2_recurrent: FloatArray  # (128, 384)
    gru2_bias: FloatArray  # (2, 384)
    dense_kernel: FloatArray  # (128,)
    dense_bias: FloatArray  # (1,)

    def __post_init__(self) -> None:
        for name, shape in weight_shapes(self.bins).items():
            array = getattr(self, name)
            if array.shape != shape:
                raise ValueError(f"{name} has the shape {array.shape}, not {shape}")
            if array.dtype != np.float32:
                raise ValueError(f"{name} is {array.dtype}, not float32")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds values that are not finite")

    @property
    def bins(self) -> int:
        """How many bins of a column the network reads."""
        return self.conv_kernel.shape[1] if self.conv_kernel.ndim == 3 else 0

    def as_dict(self) -> dict[str, FloatArray]:
        """Name to array, in the order above."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def weight_shapes(bins: int) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of a network that reads so many bins."""
    gates = 3 * UNITS
    return {
        "conv_kernel": (KERNEL, bins, FILTERS),
        "conv_bias": (FILTERS,),
        "gru1_kernel": (FILTERS, gates),
        "gru1_recurrent": (UNITS, gates),
        "gru1_bias": (2, gates),
        "gru2_kernel": (UNITS, gates),
        "gru2_recurrent": (UNITS, gates),
        "gru2_bias": (2, gates),
        "dense_kernel": (UNITS,),
        "dense_bias": (1,),
    }


@dataclass
class State:
    """What a stream's past left behind; `Network.step` advances it in place."""

    columns: FloatArray  # (k, bins) features that later steps still need
    gru1: FloatArray  # (128,)
    gru2: FloatArray  # (128,)


class _Gru:
    """One GRU layer, unrolled over the steps of a frame.

    sigmoid(x) = (1 + tanh(x / 2)) / 2: with the weights of z and r halved once, one tanh serves both gates, and with
    those of the candidate halved too, its product with r needs no half. What does not depend on the state is computed
    for all steps in one product. A call of numpy costs more than its arithmetic on 128 numbers, so what counts is
    how many there are, and a constant in an array is cheaper than a Python number.
    """

    _ONE = np.ones(2 * UNITS, np.float32)
    _HALF = np.full(UNITS, 0.5, np.float32)

    def __init__(self, kernel: FloatArray, recurrent: FloatArray, bias: FloatArray) -> None:
        half = np.ones(3 * UNITS, np.float32)
        half[: 2 * UNITS] = 0.5
        self._kernel = kernel * half
        self._recurrent = recurrent * np.float32(0.5)
        # The recurrent bias of z and r just adds to the input's; that of the candidate stays inside r * (...).
        self._bias = bias[0] * half
        self._bias[: 2 * UNITS] += bias[1, : 2 * UNITS] * 0.5
        self._candidate_bias = bias[1, 2 * UNITS :] * np.float32(0.5)
        self._product = np.empty(3 * UNITS, np.float32)

    def run(self, inputs: FloatArray, state: FloatArray) -> FloatArray:
        """(n, k) inputs and the (128,) state before them -> (n, 128) outputs, the states after each."""
        projected = inputs @ self._kernel
        projected += self._bias
        candidates = projected[:, 2 * UNITS :].copy()
        projected[:, 2 * UNITS :] = self._candidate_bias
        outputs = np.empty((len(inputs), UNITS), np.float32)
        product = self._product
        gates, candidate = product[: 2 * UNITS], product[2 * UNITS :]
        update, reset = gates[:UNITS], gates[UNITS:]
        for added, added_to_candidate, output in zip(projected, candidates, outputs, strict=True):
            np.dot(state, self._recurrent, out=product)
            product += added
            np.tanh(gates, out=gates)
            gates += self._ONE
            candidate *= reset
            candidate += added_to_candidate
            np.tanh(candidate, out=candidate)
            # h = z * h + (1 - z) * c = c + z * (h - c)
            np.subtract(state, candidate, out=output)
            output *= update
            output *= self._HALF
            output += candidate
            state = output
        return outputs


class Network:
    """Scores features; holds only what no stream changes, so that one network can serve many."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.bins = weights.bins
        kernel = weights.conv_kernel.reshape(KERNEL * self.bins, FILTERS)
        parts = -(-FRAME_STEPS * kernel.size // SMALL_PRODUCT)
        self._conv_kernels = np.array_split(kernel, parts, axis=1)
        self._gru1 = _Gru(weights.gru1_kernel, weights.gru1_recurrent, weights.gru1_bias)
        self._gru2 = _Gru(weights.gru2_kernel, weights.gru2_recurrent, weights.gru2_bias)

    def initial_state(self) -> State:
        """The state at the start of a stream: zeros."""
        return State(
            columns=np.empty((0, self.bins), np.float32),
            gru1=np.zeros(UNITS, np.float32),
            gru2=np.zeros(UNITS, np.float32),
        )

    def step(self, columns: FloatArray, state: State) -> FloatArray:
        """(n, bins) new features -> posteriors (k,) of the steps that they complete; advances `state`."""
        columns = np.concatenate((state.columns, columns))
        steps = max(0, (len(columns) - KERNEL) // STRIDE + 1)
        state.columns = columns[steps * STRIDE :].copy()
        if steps == 0:
            return np.empty(0, np.float32)
        # Rows of 15 columns, each 4 columns after the last: one view, no copy of the overlap until the product.
        row, item = columns.strides
        patches = np.lib.stride_tricks.as_strided(
            columns, (steps, KERNEL * self.bins), (STRIDE * row, item), writeable=False
        )
        hidden = np.concatenate([patches @ kernel for kernel in self._conv_kernels], axis=1)
        hidden += self.weights.conv_bias
        np.maximum(hidden, 0.0, out=hidden)
        hidden = self._gru1.run(hidden, state.gru1)
        state.gru1 = hidden[-1].copy()
        hidden = self._gru2.run(hidden, state.gru2)
        state.gru2 = hidden[-1].copy()
        logits = hidden @ self.weights.dense_kernel + self.weights.dense_bias
        posteriors: FloatArray = 0.5 + 0.5 * np.tanh(0.5 * logits)
        return posteriors
