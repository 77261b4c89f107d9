"""The engine stays fast: what a frame costs next to the bare numpy calls that it cannot do without, in the same run."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

from model.detector import Detector
from model.frontend import FRAME, FRAME_COLUMNS, FRAME_STEPS, KERNEL, WINDOW
from model.network import FILTERS, UNITS
from tests.support.examples import bursts, random_model

pytestmark = pytest.mark.slow

# Words -> the ratio, on a machine ten times overloaded: 1.25 to 1.28 and 1.19 to 1.27, without AVX-512 1.36 to 1.42 and
# 1.13 to 1.37. The engine before its last tuning gave 1.44 to 1.50 and 1.50 to 1.67.
USUAL = {1: 1.30, 4: 1.25}
TURNS = 300
TRIES = 12


def bare_calls(bins: int, words: int) -> Callable[[], None]:
    """The transforms, products and element-wise calls of one frame, on arrays of their sizes, and nothing else."""
    rng = np.random.default_rng(0)

    def array(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.1, shape).astype(np.float32)

    columns = rng.normal(0, 1000, (FRAME_COLUMNS, WINDOW))
    patches, kernel = array(FRAME_STEPS, KERNEL * bins), array(words, KERNEL * bins, FILTERS)
    hidden = [array(words, FRAME_STEPS, FILTERS), array(words, FRAME_STEPS, UNITS)]
    kernels = [array(words, FILTERS, 3 * UNITS), array(words, UNITS, 3 * UNITS)]
    recurrent = [array(words, UNITS, 3 * UNITS), array(words, UNITS, 3 * UNITS)]
    state, product = array(words, 1, UNITS), array(words, 1, 3 * UNITS)
    gates, third = array(words * 2 * UNITS), array(words * UNITS)

    def frame() -> None:
        np.fft.rfft(columns)
        np.matmul(patches, kernel)
        for layer in (0, 1):
            np.matmul(hidden[layer], kernels[layer])
            for _ in range(FRAME_STEPS):
                np.matmul(state, recurrent[layer], out=product)
                for _ in range(2):
                    np.tanh(gates, out=gates)
                for _ in range(8):
                    np.multiply(third, third, out=third)

    return frame


def seconds(task: Callable[[], object]) -> float:
    begin = time.perf_counter()
    task()
    return time.perf_counter() - begin


def ratio(words: int, turns: int = TURNS) -> float:
    """The quickest frame of the engine over the quickest of the bare calls, taken in turns."""
    detector = Detector([random_model(f"word {number}", seed=number) for number in range(words)])
    bare = bare_calls(37, words)
    samples = bursts(FRAME * 50 / 44_100 + 0.01)
    engine_times, bare_times = [], []
    for turn in range(turns):
        block = samples[turn % 50 * FRAME :][:FRAME]
        engine_times.append(seconds(lambda block=block: detector.push(block)))
        bare_times.append(seconds(bare))
    return min(engine_times) / min(bare_times)


@pytest.mark.parametrize("words", USUAL)
def test_a_frame_costs_little_more_than_the_numpy_calls_that_it_needs(words):
    """Fails once the engine takes a seventh more than it did; a busy machine gets more tries, not more room.

    Each try has arrays of its own: on a machine that was up for long some lie where they push each other out of the
    cache (1.32 to 1.60 in one run), and only the best says what the engine can do.
    """
    limit = 1.15 * USUAL[words]
    measured: list[float] = []
    while len(measured) < TRIES:
        measured.append(ratio(words))
        if measured[-1] < limit:
            return
    pytest.fail(f"a frame takes {min(measured):.2f} times as long as its bare numpy calls; usual is {USUAL[words]}")
