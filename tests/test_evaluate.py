"""What is measured is what ships: hits, false accepts and their intervals."""

import numpy as np
import pytest
from examples import random_model
from hypothesis import given
from hypothesis import strategies as st

from model.detector import Detector, score
from training.corpus import active_level
from training.errors import TrainingError
from training.evaluate import (
    FalseAccepts,
    Point,
    Rate,
    Recall,
    as_json,
    background,
    choose,
    examine,
    firings,
    heard,
    place,
    table,
)

RATE = 44_100


def test_intervals_are_those_of_the_books() -> None:
    # Wilson: Brown, Cai and DasGupta's example of 10 in 20; Garwood: 0 events leave up to 3.69
    assert Rate(10, 20).wilson() == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert Rate(0, 10).wilson() == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert Rate(0, 1).poisson() == pytest.approx((0.0, 3.6889), abs=1e-3)
    assert Rate(8, 2).poisson() == pytest.approx((3.4538 / 2, 15.7632 / 2), abs=1e-3)


@given(st.integers(0, 50), st.integers(1, 50))
def test_an_interval_holds_its_estimate(count, more) -> None:
    low, high = Rate(min(count, more), more).wilson()
    assert 0 <= low <= min(count, more) / more + 1e-12
    assert min(count, more) / more - 1e-12 <= high <= 1
    low, high = Rate(count, 2.0).poisson()
    assert low <= count / 2 <= high


def test_a_hit_lies_between_the_words_beginning_and_a_second_after_its_end() -> None:
    start, end = 9 * RATE, 10 * RATE
    assert heard([end + RATE // 2], start, end)
    assert heard([0, end - RATE // 5], start, end)
    assert not heard([start - 1], start, end)
    assert not heard([end + 2 * RATE], start, end)
    assert not heard([], start, end)


def test_a_word_is_placed_whole_in_its_noise() -> None:
    word = (8000 * np.sin(np.arange(20_000) / 10)).astype(np.int16)
    samples, before, end = place(word, np.random.default_rng(0))
    assert end - before == len(word)
    np.testing.assert_allclose(samples[before:end], word, atol=200)
    assert 20 * np.log10(np.std(samples[:before]) / 32_768) == pytest.approx(-65, abs=1)
    noisy, _, _ = place(word, np.random.default_rng(0), snr_db=10)
    noise_level = 20 * np.log10(np.std(noisy[: 2 * RATE - 100].astype(float)) / 32_768)
    assert active_level(word) - noise_level == pytest.approx(10, abs=0.5)


def test_the_background_has_the_level_asked_for() -> None:
    noise = background(5 * RATE, -40.0, np.random.default_rng(0))
    assert 20 * np.log10(np.std(noise) / 32_768) == pytest.approx(-40, abs=0.1)


def test_the_figures_are_the_detectors_own_decisions() -> None:
    model = random_model(threshold=0.5)
    rng = np.random.default_rng(1)
    recordings = [(rng.standard_normal(3 * RATE) * 3000 * rng.random(3 * RATE) ** 4).astype(np.int16) for _ in range(3)]
    stream = FalseAccepts(model, recordings, pause_seconds=0.0)
    detector = Detector([model])
    samples = np.concatenate(recordings)
    detections = detector.push(samples)
    assert firings(score(model, samples), model, 0.5) == [d.sample for d in [*detections, *detector.flush()]]
    assert stream.at(0.5).count == len(detections)
    assert stream.hours == pytest.approx(9 / 3600)


def test_a_higher_threshold_never_hears_more_words() -> None:
    model = random_model()
    words = [np.random.default_rng(n).integers(-9000, 9000, RATE // 2).astype(np.int16) for n in range(4)]
    recall = Recall(model, words)
    counts = [recall.at(threshold).count for threshold in (0.0, 0.3, 0.5, 0.7, 0.99)]
    assert counts == sorted(counts, reverse=True) or counts[0] >= counts[-1]
    assert recall.at(0.999).count == 0
    assert recall.at(0.5).total == 4


def point(threshold: float, speech: int, noise: int) -> Point:
    return Point(threshold, {}, {"speech": Rate(speech, 2.0), "noise": Rate(noise, 1.0)})


def test_the_threshold_for_a_wished_rate_is_the_lowest_that_keeps_it() -> None:
    points = [point(0.2, 9, 3), point(0.4, 2, 1), point(0.6, 1, 0), point(0.5, 3, 0), point(0.9, 0, 0)]
    assert choose(points, 1.0).threshold == 0.6  # 0.4 keeps it by chance: 0.5 does not
    assert choose(points, 2.0).threshold == 0.4
    with pytest.raises(TrainingError, match=r"fires more than 0\.5"):
        choose([point(0.9, 2, 0)], 0.5)


def test_an_examination_reads_as_text_and_as_data() -> None:
    words = {"alexa": [np.random.default_rng(0).integers(-9000, 9000, RATE // 2).astype(np.int16)]}
    others = {"noise": [np.random.default_rng(1).integers(-900, 900, 2 * RATE).astype(np.int16)]}
    points = examine(random_model(), words, others, thresholds=(0.2, 0.8))
    text = table(points).splitlines()
    assert len(text) == 3
    assert "alexa, quiet (1)" in text[0]
    assert "alexa, 10 dB (1)" in text[0]
    assert "FA/h: noise" in text[0]
    data = as_json(points)
    assert [point["threshold"] for point in data] == [0.2, 0.8]
    assert data[0]["false_accepts"]["noise"]["hours"] == pytest.approx(2.5 / 3600, abs=1e-4)
