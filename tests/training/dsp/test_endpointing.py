"""Where somebody spoke in a recording: against the room's noise, with pauses, clicks and rumble around."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("scipy", reason="the train extra is not installed")

from model.frontend import SAMPLE_RATE, Samples
from training.dsp.endpointing import (
    AFTER_SECONDS,
    BEFORE_SECONDS,
    Stretch,
    find_word,
    last_word,
    said,
    speech_stretches,
    within,
)

SLACK = 0.03  # s; onsets are soft, and levels are known each 10 ms


def room(seconds: float, dbfs: float = -55, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 32_768 * 10 ** (dbfs / 20), round(seconds * SAMPLE_RATE))


def voice(seconds: float, dbfs: float = -20) -> np.ndarray:
    """A buzz with a few harmonics, as loud as speech."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    buzz = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 12))
    return buzz * 32_768 * 10 ** (dbfs / 20) / np.sqrt(np.mean(buzz**2))


def spoken(seconds: float, places: list[tuple[float, float]], dbfs: float = -55, level: float = -20) -> Samples:
    samples = room(seconds, dbfs)
    for start, length in places:
        piece = voice(length, level)
        first = round(start * SAMPLE_RATE)
        samples[first : first + len(piece)] += piece
    return np.clip(samples, -32_768, 32_767).astype(np.int16)


@pytest.mark.parametrize("dbfs", [-85, -55, -40])
@pytest.mark.parametrize("level", [-12, -25])
def test_a_word_is_found_between_quiet_rooms_and_loud_ones(dbfs: float, level: float) -> None:
    found = find_word(spoken(3, [(1.2, 0.6)], dbfs, level))
    assert found is not None
    assert found.start / SAMPLE_RATE == pytest.approx(1.2 - BEFORE_SECONDS, abs=SLACK)
    assert found.end / SAMPLE_RATE == pytest.approx(1.8 + AFTER_SECONDS, abs=SLACK)


def test_the_closure_before_a_last_consonant_belongs_to_the_word() -> None:
    found = find_word(spoken(3, [(1.0, 0.5), (1.65, 0.06)]))
    assert found is not None
    assert found.end / SAMPLE_RATE == pytest.approx(1.71 + AFTER_SECONDS, abs=SLACK)


def test_a_click_and_rumble_are_no_speech() -> None:
    samples = spoken(3, [(0.5, 0.02), (1.5, 0.5)]).astype(float)
    samples += 6_000 * np.sin(2 * np.pi * 25 * np.arange(len(samples)) / SAMPLE_RATE)
    [found] = speech_stretches(samples.astype(np.int16))
    assert found.start / SAMPLE_RATE == pytest.approx(1.5 - BEFORE_SECONDS, abs=SLACK)


def test_the_strongest_of_two_is_the_word_and_the_last_is_what_was_said_last() -> None:
    samples = spoken(5, [(0.8, 0.7), (3.0, 0.4)])
    first, last = find_word(samples), last_word(samples, 1.6, len(samples))
    assert first is not None
    assert first.start < 0.9 * SAMPLE_RATE
    assert last is not None
    assert last.start / SAMPLE_RATE == pytest.approx(3.0 - BEFORE_SECONDS, abs=SLACK)


def test_of_long_speech_the_end_is_taken() -> None:
    found = last_word(spoken(5, [(0.5, 4.0)]), 1.6, 5 * SAMPLE_RATE)
    assert found is not None
    assert found.seconds == pytest.approx(1.6, abs=0.01)


@pytest.mark.parametrize("samples", [np.zeros(0, np.int16), np.zeros(100_000, np.int16), room(2).astype(np.int16)])
def test_where_nobody_speaks_nothing_is_found(samples: Samples) -> None:
    assert speech_stretches(samples) == []
    assert find_word(samples) is None
    assert last_word(samples, 1.6, len(samples)) is None


@given(
    st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 32_767)), max_size=6),
    st.integers(0, 2**16),
)
def test_whatever_is_recorded_stretches_lie_within_it_in_order(parts: list[tuple[int, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = [rng.integers(-peak, peak + 1, length) for length, peak in parts]
    samples = np.concatenate([np.empty(0), *blocks]).astype(np.int16)
    found = speech_stretches(samples)
    assert all(0 <= one.start < one.end <= len(samples) for one in found)
    assert all(one.start < other.start for one, other in pairwise(found))


def test_a_recording_of_the_word_alone_is_cut_to_it() -> None:
    """From the first sound to the last: a phrase with a pause stays whole, the second of room after it goes."""
    samples = spoken(4, [(0.8, 0.4), (1.7, 0.6)])
    found = said(samples)
    assert found.start / SAMPLE_RATE == pytest.approx(0.8 - BEFORE_SECONDS, abs=SLACK)
    assert found.end / SAMPLE_RATE == pytest.approx(2.3 + AFTER_SECONDS, abs=SLACK)


def test_an_aligner_narrows_a_word_and_is_not_believed_where_it_hardly_meets_it() -> None:
    second = SAMPLE_RATE
    noisy = Stretch(0, 3 * second)
    narrowed = within(noisy, second, 2 * second)
    assert narrowed.start == second - round(BEFORE_SECONDS * SAMPLE_RATE)
    assert narrowed.end == 2 * second + round(AFTER_SECONDS * SAMPLE_RATE)
    quiet = Stretch(second, 2 * second)
    assert within(quiet, 0, 3 * second) == quiet  # the room's own evidence is kept
    assert within(quiet, 2 * second - 100, 3 * second) == quiet


def test_a_breath_after_the_word_is_not_a_part_of_it() -> None:
    samples = spoken(3, [(0.5, 0.6)]).astype(float)
    samples += spoken(3, [(2.0, 0.3)], dbfs=-90, level=-45)
    assert said(samples.astype(np.int16)).end / SAMPLE_RATE == pytest.approx(1.1 + AFTER_SECONDS, abs=SLACK)


@pytest.mark.parametrize("places", [[(0.02, 0.6)], []])
def test_what_was_cut_already_or_holds_nothing_stays_whole(places: list[tuple[float, float]]) -> None:
    samples = spoken(0.64, places)
    assert said(samples).of(samples).shape == samples.shape


def test_digital_silence_around_a_recording_is_not_its_room() -> None:
    """As some collections pad their recordings: the noise of the room is not a part of the word for that."""
    silence = np.zeros(SAMPLE_RATE // 2, np.int16)
    samples = np.concatenate([silence, spoken(2, [(0.8, 0.6)], dbfs=-50), silence])
    found = said(samples)
    assert found.start / SAMPLE_RATE == pytest.approx(1.3 - BEFORE_SECONDS, abs=SLACK)
    assert found.end / SAMPLE_RATE == pytest.approx(1.9 + AFTER_SECONDS, abs=SLACK)
    padded = np.concatenate([silence, voice(0.6).astype(np.int16), silence])
    assert said(padded).seconds == pytest.approx(0.6, abs=0.05)
    assert said(silence) == Stretch(0, len(silence))
