"""The network: scores features, and carries one state from frame to frame.

Conv1D (196 filters, 15 columns, stride 4) -> ReLU -> GRU 128 -> GRU 128 -> Dense(1) -> sigmoid, with every
BatchNorm folded into its neighbour. The same code scores a file and a stream, for one word and for several, whose
networks run side by side: numpy takes longer to be called than to compute on 128 numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
    gru1: FloatArray  # (words, 128)
    gru2: FloatArray  # (words, 128)


def _aligned(*shape: int) -> FloatArray:
    """Room for an array whose rows each begin on a cache line of 64 bytes: products read it a quarter faster."""
    line = 64 // 4
    width = -(-shape[-1] // line) * line
    room = np.empty(math.prod(shape[:-1]) * width + line, np.float32)
    first = -room.ctypes.data // 4 % line
    return room[first : len(room) - line + first].reshape(*shape[:-1], width)[..., : shape[-1]]


class _Gru:
    """One GRU layer of every word, unrolled over the steps of a frame.

    What does not depend on the state is computed for all steps in one product. What does takes eleven calls of numpy a
    step, so these work on all words at once, on numbers that lie side by side: in the order of step, gate, word, unit.
    The views that they need are made once.

    sigmoid(x) = (1 + tanh(x / 2)) / 2: with the weights of z and r halved once, one tanh serves both gates, and with
    the recurrent ones of the candidate halved too, its product with r needs no half.
    """

    _multiply: Callable[..., FloatArray]

    def __init__(self, kernels: list[FloatArray], recurrents: list[FloatArray], biases: list[FloatArray]) -> None:
        words = len(kernels)
        size = words * UNITS  # of a gate
        alone = words == 1
        # One product for one word; for several a product for each gate, or a gate's words would not lie side by side.
        self._blocks = (1, 3 * UNITS) if alone else (3, UNITS)
        halves = np.repeat(np.array([0.5, 0.5, 1], np.float32), UNITS)
        self._kernel = self._blocked(np.stack(kernels) * halves)  # z, r, h
        recurrent = self._blocked(np.roll(np.stack(recurrents), UNITS, axis=2) * np.float32(0.5))  # h, z, r
        bias = np.stack(biases)
        # The recurrent bias of z and r just adds to the input's; that of the candidate stays inside r * (...).
        bias[:, 0, : 2 * UNITS] += bias[:, 1, : 2 * UNITS]
        self._bias = (bias[:, 0] * halves).reshape(words, 3, UNITS).swapaxes(0, 1).ravel()

        rows = _aligned(FRAME_STEPS, 4 * size)  # what a step adds: recurrent bias of h; then the inputs' z, r, h
        rows[:, :size] = (bias[:, 1, 2 * UNITS :] * np.float32(0.5)).ravel()
        self._inputs = rows[:, size:]
        self._projected = self._inputs.reshape(FRAME_STEPS, self._blocks[0], words, -1).transpose(1, 2, 0, 3)
        product = _aligned(3 * size)
        self._gates = product, product[:size], product[size:], product[size : 2 * size], product[2 * size :]
        outputs = _aligned(FRAME_STEPS, words, UNITS)
        self._outputs = outputs.swapaxes(0, 1)
        self._one, self._half = np.ones(2 * size, np.float32), np.full(size, 0.5, np.float32)

        # np.dot takes less time to begin than np.matmul, but multiplies for one word alone
        self._multiply = np.dot if alone else np.matmul
        self._recurrent = recurrent[0, 0] if alone else recurrent
        self._product = product if alone else product.reshape(3, words, 1, UNITS)
        self._vector = (UNITS,) if alone else (words, 1, UNITS)  # shape of a state in that product
        self._steps = [
            (row[: 3 * size], row[3 * size :], output.ravel(), output.reshape(self._vector))
            for row, output in zip(rows, outputs, strict=True)
        ]

    def _blocked(self, matrices: FloatArray) -> FloatArray:
        """(words, k, 384) -> (blocks, words, k, 384 / blocks)."""
        words, inputs, _ = matrices.shape
        blocked = _aligned(self._blocks[0], words, inputs, self._blocks[1])
        blocked[:] = matrices.reshape(words, inputs, *self._blocks).transpose(2, 0, 1, 3)
        return blocked

    def run(self, inputs: FloatArray, state: FloatArray) -> FloatArray:
        """(words, n, k) inputs, n at most a frame -> (words, n, 128) outputs, valid until the next run.

        state: (words, 128), advanced in place.
        """
        steps = inputs.shape[1]
        np.matmul(inputs, self._kernel, out=self._projected[:, :, :steps])
        projected = self._inputs[:steps]
        projected += self._bias
        product, candidate, gates, update, reset = self._gates
        one, half = self._one, self._half
        before, vector = state.ravel(), state.reshape(self._vector)
        for added, added_to_candidate, output, output_vector in self._steps[:steps]:
            self._multiply(vector, self._recurrent, out=self._product)
            product += added
            np.tanh(gates, out=gates)
            gates += one
            candidate *= reset
            candidate += added_to_candidate
            np.tanh(candidate, out=candidate)
            # h = z * h + (1 - z) * c = c + z * (h - c)
            np.subtract(before, candidate, out=output)
            output *= update
            output *= half
            output += candidate
            before, vector = output, output_vector
        outputs = self._outputs[:, :steps]
        state[:] = outputs[:, -1]
        return outputs


class Network:
    """Scores features for one word, or for several that read the same ones.

    Holds only what no stream changes, and room for a frame's results, so that one network can serve many streams of a
    thread.
    """

    def __init__(self, *weights: Weights) -> None:
        self.words = len(weights)
        self.bins = weights[0].bins
        self._conv_kernel = _aligned(self.words, KERNEL * self.bins, FILTERS)
        self._conv_kernel[:] = [each.conv_kernel.reshape(-1, FILTERS) for each in weights]
        self._conv_bias = np.stack([each.conv_bias for each in weights])[:, None]
        self._hidden = _aligned(self.words, FRAME_STEPS, FILTERS)
        # parts of the filters, each to begin on a cache line
        width = SMALL_PRODUCT // (FRAME_STEPS * KERNEL * self.bins) // 64 * 64 or 32
        self._parts = [slice(first, min(first + width, FILTERS)) for first in range(0, FILTERS, width)]
        self._gru1 = _Gru(
            [each.gru1_kernel for each in weights],
            [each.gru1_recurrent for each in weights],
            [each.gru1_bias for each in weights],
        )
        self._gru2 = _Gru(
            [each.gru2_kernel for each in weights],
            [each.gru2_recurrent for each in weights],
            [each.gru2_bias for each in weights],
        )
        self._dense_kernel = np.stack([each.dense_kernel for each in weights])[:, :, None] * np.float32(0.5)
        self._dense_bias = np.stack([each.dense_bias for each in weights])[:, :, None] * np.float32(0.5)

    def initial_state(self) -> State:
        """The state at the start of a stream: zeros."""
        return State(
            columns=np.empty((0, self.bins), np.float32),
            gru1=np.zeros((self.words, UNITS), np.float32),
            gru2=np.zeros((self.words, UNITS), np.float32),
        )

    def step(self, columns: FloatArray, state: State) -> FloatArray:
        """(n, bins) new features -> posteriors (words, k) of the steps that they complete; advances `state`."""
        columns = np.concatenate((state.columns, columns))
        steps = max(0, (len(columns) - KERNEL) // STRIDE + 1)
        state.columns = columns[steps * STRIDE :].copy()
        posteriors = np.empty((self.words, steps), np.float32)
        for first in range(0, steps, FRAME_STEPS):
            part = posteriors[:, first : first + FRAME_STEPS]
            part[:] = self._score(columns[first * STRIDE :], part.shape[1], state)
        return posteriors

    def _score(self, columns: FloatArray, steps: int, state: State) -> FloatArray:
        """The posteriors (words, steps) of so many steps, at most a frame."""
        # Rows of 15 columns, each 4 columns after the last.
        row, item = columns.strides
        shape, strides = (steps, KERNEL * self.bins), (STRIDE * row, item)
        patches: FloatArray = np.ndarray(shape, np.float32, columns, strides=strides).copy()
        hidden = self._hidden[:, :steps]
        for part in self._parts:
            np.matmul(patches, self._conv_kernel[:, :, part], out=hidden[:, :, part])
        hidden += self._conv_bias
        np.maximum(hidden, 0.0, out=hidden)
        hidden = self._gru2.run(self._gru1.run(hidden, state.gru1), state.gru2)
        logits = hidden @ self._dense_kernel + self._dense_bias
        posteriors: FloatArray = 0.5 + 0.5 * np.tanh(logits[:, :, 0])
        return posteriors
