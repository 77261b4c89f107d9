"""The gate: fires when the smoothed posterior exceeds the threshold, then is silent for 75 steps and until it fell."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.gate import SUPPRESSION, Firing, Gate

# multiples of 1/256, so that sums are exact and the tests need no tolerance
values = st.integers(0, 256).map(lambda value: value / 256)
# plateaus, as words give them
posteriors = st.lists(st.tuples(values, st.integers(1, 120)), max_size=15).map(
    lambda runs: np.concatenate([np.full(count, value, np.float32) for value, count in runs] or [[]])
)


def curve(*runs: tuple[int, float]) -> np.ndarray:
    """(steps, posterior) runs, joined."""
    return np.concatenate([np.full(count, value, np.float32) for count, value in runs])


def steps(gate: Gate, values: np.ndarray) -> list[int]:
    return [firing.step for firing in gate.push(values)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (curve((100, 0.2)), []),
        (curve((10, 0.2), (1, 0.9), (100, 0.2)), [10]),
        # at the threshold is not above it
        (curve((10, 0.2), (50, 0.5)), []),
        # a plateau, however long, is one word
        (curve((10, 0.2), (1000, 0.9), (10, 0.2)), [10]),
        (curve((1000, 0.9)), [0]),
        # a second peak within the 75 steps after the first is silenced, one right after them fires
        (curve((1, 0.9), (74, 0.2), (1, 0.9), (100, 0.2)), [0]),
        (curve((1, 0.9), (75, 0.2), (1, 0.9), (100, 0.2)), [0, 76]),
        # above throughout the end of the suppression: still the same word ...
        (curve((1, 0.9), (60, 0.2), (40, 0.9)), [0, 76]),
        (curve((120, 0.9), (40, 0.9)), [0]),
        # ... and it re-arms by falling, to the threshold or below, within the suppression or after it
        (curve((120, 0.9), (1, 0.5), (40, 0.9)), [0, 121]),
        (curve((40, 0.9), (1, 0.1), (100, 0.9)), [0, 76]),
        (curve((76, 0.9), (1, 0.1), (5, 0.9)), [0, 77]),
    ],
)
def test_it_fires_once_per_word(values, expected):
    assert steps(Gate(0.5, smoothing=1), values) == expected


@pytest.mark.parametrize("suppression", [0, 1, 10])
def test_suppression_silences_exactly_so_many_steps(suppression):
    values = curve(*[(1, 0.9), (1, 0.1)] * 30)
    fired = steps(Gate(0.5, smoothing=1, suppression=suppression), values)
    first_allowed = suppression + 1
    assert fired == list(range(0, 60, first_allowed + first_allowed % 2))


def test_smoothing_decides_how_many_steps_must_agree():
    """The mean of 10 exceeds 0.5 with the sixth step at 0.9, and no short spike does it."""
    assert steps(Gate(0.5, smoothing=10), curve((20, 0.0), (5, 0.9), (100, 0.0))) == []
    assert steps(Gate(0.5, smoothing=10), curve((20, 0.0), (6, 0.9), (100, 0.0))) == [25]


def test_a_stream_starts_as_after_silence():
    """Steps before the first count as 0: half of the running mean must be heard before anything fires."""
    assert steps(Gate(0.5, smoothing=10), curve((20, 1.0))) == [5]


def test_the_score_is_the_highest_posterior_among_the_smoothed():
    values = np.array([0.0, 0.0, 0.75, 0.5, 0.5, 0.0], np.float32)
    assert Gate(0.5, smoothing=3).push(values) == [Firing(4, 0.75)]


def smoothed(values: np.ndarray, smoothing: int) -> list[float]:
    padded = np.concatenate((np.zeros(smoothing - 1), values))
    return [float(padded[end - smoothing : end].sum()) / smoothing for end in range(smoothing, len(padded) + 1)]


@given(posteriors, values.filter(lambda value: value < 1), st.integers(1, 30), st.integers(0, 100))
def test_never_twice_within_the_suppression_and_never_while_still_above(values, threshold, smoothing, suppression):
    mean = smoothed(values, smoothing)
    fired = steps(Gate(threshold, smoothing, suppression), values)
    assert all(mean[step] > threshold for step in fired)
    for earlier, later in pairwise(fired):
        assert later - earlier > suppression
        assert min(mean[earlier:later]) <= threshold


@given(posteriors, values.filter(lambda value: value < 1), st.integers(1, 30))
def test_a_rise_above_the_threshold_that_nothing_silences_fires(values, threshold, smoothing):
    """The other half: what the rules allow is not lost."""
    mean = smoothed(values, smoothing)
    fired = steps(Gate(threshold, smoothing), values)
    for step, value in enumerate(mean):
        rise = value > threshold and (step == 0 or mean[step - 1] <= threshold)
        if rise and not any(step - SUPPRESSION <= earlier < step for earlier in fired):
            assert step in fired


def test_suppression_is_75_steps():
    assert SUPPRESSION == Gate(0.5).suppression == 75


@given(posteriors, st.lists(st.integers(0, 1000), max_size=10))
def test_decisions_are_equal_for_every_split(values, cuts):
    whole = Gate(0.5, smoothing=4).push(values)
    gate = Gate(0.5, smoothing=4)
    parts = np.split(values, sorted(min(cut, len(values)) for cut in cuts))
    assert [firing for part in parts for firing in gate.push(part)] == whole


@given(posteriors)
def test_a_reset_gate_is_as_new(values):
    gate = Gate(0.5, smoothing=4)
    first = gate.push(values)
    gate.reset()
    assert gate.push(values) == first


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((-0.1, 1, 75), "a threshold lies between 0 and 1, not -0.1"),
        ((1.0, 1, 75), "a threshold lies between 0 and 1, not 1.0"),
        ((float("nan"), 1, 75), "a threshold lies between 0 and 1, not nan"),
        ((0.5, 0, 75), "smoothing takes 1 to 10000 steps, not 0"),
        ((0.5, 10**9, 75), "smoothing takes 1 to 10000 steps, not 1000000000"),
        ((0.5, 1, -1), "suppression takes 0 to 10000 steps, not -1"),
        ((0.5, 1, 10**9), "suppression takes 0 to 10000 steps, not 1000000000"),
    ],
)
def test_values_out_of_range_are_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        Gate(*arguments)
