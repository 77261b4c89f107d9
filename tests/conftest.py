"""What the tests of the daemon share: a model that hears one tone, recordings with it, and real processes.

The model is made by hand, so that what the loop does is tested apart from what training reached.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from model import modelfile
from model.frontend import KERNEL, SAMPLE_RATE, WINDOW, FrontEnd, Samples
from model.modelfile import Model
from model.network import FILTERS, UNITS, Weights, weight_shapes

# what holds for every split holds at any speed: a busy machine must not fail it
settings.register_profile("chimed", deadline=None)
settings.load_profile("chimed")

TONE = 3_000.0  # Hz, far from the chime's notes
DATA = Path(__file__).parent / "data"


def tone_model(word: str = "beep", hz: float = TONE, threshold: float = 0.5) -> Model:
    """Fires once at the onset of a loud tone: that bin far above its recent average, most others not.

    One filter takes the mean of the bin over the kernel minus that of all bins; the recurrent layers pass it on
    (update gates shut, so that the state is the candidate); the last layer compares it with a limit.
    """
    bins = 37
    arrays = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(bins).items()}
    arrays["conv_kernel"][:, :, 0] = -1.0 / (KERNEL * bins)
    arrays["conv_kernel"][:, round(hz * WINDOW / SAMPLE_RATE), 0] += 1.0 / KERNEL
    candidate = 2 * UNITS
    for layer, inputs in (("gru1", FILTERS), ("gru2", UNITS)):
        assert arrays[f"{layer}_kernel"].shape[0] == inputs
        arrays[f"{layer}_kernel"][0, candidate] = 0.4 if layer == "gru1" else 1.0
        arrays[f"{layer}_bias"][0, :UNITS] = -30.0
    arrays["dense_kernel"][0] = 60.0
    arrays["dense_bias"][0] = -60.0 * 0.55
    return Model(word, Weights(**arrays), FrontEnd("relative", bins), threshold)


def recording(seconds: float, tones: list[float], hz: float = TONE, length: float = 0.3, seed: int = 0) -> Samples:
    """Soft noise of so many seconds, in which a loud tone starts at each of these times (s)."""
    samples = np.random.default_rng(seed).normal(0, 60, round(seconds * SAMPLE_RATE))
    time = np.arange(round(length * SAMPLE_RATE)) / SAMPLE_RATE
    tone = 9_000 * np.sin(2 * np.pi * hz * time)
    for start in tones:
        first = round(start * SAMPLE_RATE)
        piece = samples[first : first + len(tone)]
        piece += tone[: len(piece)]
    return samples.astype(np.int16)


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A model file that hears the word "beep" in a tone of 3 kHz."""
    path = tmp_path / "beep.npz"
    modelfile.save(path, tone_model())
    return path
