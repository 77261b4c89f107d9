"""The losses, against sums written out by hand."""

import os

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow", reason="the train extra is not installed")

from model.gate import SMOOTHING
from training.learning import losses

pytestmark = pytest.mark.slow


def test_by_steps_only_what_counts_is_counted() -> None:
    posterior = np.array([[0.9, 0.2, 0.5]], np.float32)
    target = np.array([[1, 0, 1]], np.float32)
    weight = np.array([[1, 1, 0]], np.float32)
    assert float(losses.steps(posterior, target, weight)) == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2, rel=1e-5)


def test_smoothing_is_that_of_the_gate() -> None:
    rng = np.random.default_rng(0)
    posterior = rng.random((3, 40)).astype(np.float32)
    smooth = np.array(losses.smoothed(posterior))
    assert smooth.shape == posterior.shape
    for step in range(SMOOTHING - 1, 40):
        np.testing.assert_allclose(
            smooth[:, step], posterior[:, step - SMOOTHING + 1 : step + 1].mean(axis=1), rtol=1e-5
        )
    np.testing.assert_allclose(smooth[:, 0], posterior[:, 0], rtol=1e-5)


def plateau(length: int = 352, **levels: float) -> np.ndarray:
    """Posteriors of .01, and of other heights from one step to another: plateau(s100_150=.8)."""
    row = np.full(length, 0.01, np.float32)
    for where, level in levels.items():
        first, last = map(int, where[1:].split("_"))
        row[first:last] = level
    return row


def test_a_word_counts_by_its_best_moment_and_other_stretches_by_their_worst() -> None:
    event = np.zeros((1, 352), np.int8)
    event[0, 100:163] = 1
    event[0, 163:198] = -1
    quiet = float(losses.events(plateau()[None], event, 1.0))
    heard = float(losses.events(plateau(s120_140=0.8)[None], event, 1.0))
    assert quiet - heard == pytest.approx(np.log(0.8) - np.log(0.01), rel=1e-3)
    # longer is not better, what does not matter does not matter, and a spike is not what the gate looks at
    assert float(losses.events(plateau(s110_160=0.8)[None], event, 1.0)) == pytest.approx(heard, abs=1e-3)
    assert float(losses.events(plateau(s120_140=0.8, s175_188=0.9)[None], event, 1.0)) <= heard + 0.01
    assert float(losses.events(plateau(s120_121=0.8)[None], event, 1.0)) == pytest.approx(
        quiet - np.log(0.089) + np.log(0.01), rel=1e-3
    )
    # a false accept costs what its height says, times its weight
    fired = plateau(s120_140=0.8, s226_242=0.7)[None]
    assert float(losses.events(fired, event, 1.0)) - heard == pytest.approx(-np.log(0.3) + np.log(0.99), rel=1e-3)
    twice = float(losses.events(fired, event, 2.0)) - float(losses.events(plateau(s120_140=0.8)[None], event, 2.0))
    assert twice == pytest.approx(2 * (-np.log(0.3) + np.log(0.99)), rel=1e-3)


def test_without_a_word_only_false_accepts_count() -> None:
    event = np.zeros((2, 352), np.int8)
    rows = np.stack((plateau(), plateau(s36_52=0.6)))
    expected = -(21 * np.log(0.99) + np.log(0.4))
    assert float(losses.events(rows, event, 1.0)) == pytest.approx(expected, rel=1e-3)


def test_phones_that_are_not_known_do_not_count() -> None:
    logits = np.array([[[2.0, 0.0], [0.0, 3.0], [9.0, -9.0]]], np.float32)
    phone = np.array([[0, 1, -1]], np.int8)
    expected = (np.log1p(np.exp(-2.0)) + np.log1p(np.exp(-3.0))) / 2
    assert float(losses.phones(logits, phone)) == pytest.approx(expected, rel=1e-4)
    assert float(losses.phones(logits, np.full((1, 3), -1, np.int8))) == 0.0
