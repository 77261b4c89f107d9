"""The detector: the same detections for every split, one word or several, and the last 10 s at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.detector import QUIET_AFTER, Detection, Detector, Spotter, grouped, score, side_by_side
from model.frontend import FRAME, Samples, spectrogram
from model.gate import Gate
from model.network import Network
from tests.support.examples import bursts, pieces, random_model

SECOND = 44_100
MODELS = [random_model("tok", seed=0), random_model("pling", seed=1, scaling="log"), random_model("zap", seed=2)]


def detections(detector: Detector, samples: Samples, cuts: list[int] | None = None) -> list[Detection]:
    found = [detection for piece in pieces(samples, cuts or []) for detection in detector.push(piece)]
    return found + detector.flush()


def test_detections_are_the_gates_decisions_on_the_posteriors():
    """Word, score and place, against the gate run over the posteriors of the whole recording."""
    model, samples = MODELS[0], bursts(6)
    firings = Gate(model.threshold, model.smoothing, model.suppression).push(score(model, samples))
    assert len(firings) > 3
    expected = [Detection("tok", firing.score, 320 * firing.step + 1320) for firing in firings]
    assert detections(Detector([model]), samples) == expected


def test_a_detection_knows_its_seconds():
    assert Detection("tok", 0.9, 66_150).seconds == 1.5


def test_a_detection_comes_at_most_a_frame_after_its_sample():
    detector, samples = Detector(MODELS), bursts(4)
    heard, found = 0, []
    for piece in pieces(samples, list(range(0, len(samples), 100))):
        new = detector.push(piece)
        heard += len(piece)
        found += new
        assert all(heard - FRAME <= detection.sample <= heard for detection in new)
    assert len(found) > 3


@given(st.lists(st.integers(0, 3 * SECOND), max_size=15))
@settings(max_examples=30)
def test_detections_are_equal_for_every_split(cuts):
    samples = bursts(3)
    assert detections(Detector(MODELS), samples, cuts) == detections(Detector(MODELS), samples)


def test_the_detector_does_not_keep_the_callers_buffer():
    """Capture code reuses its block; what waits for the rest of its frame must be a copy."""
    samples, block = bursts(3)[: 30 * 4000], np.empty(4000, np.int16)
    detector, found = Detector(MODELS), []
    for start in range(0, len(samples), len(block)):
        block[:] = samples[start : start + len(block)]
        found += detector.push(block)
    assert found == Detector(MODELS).push(samples)
    np.testing.assert_array_equal(detector.samples.last(), samples)


def test_detections_are_equal_for_blocks_longer_than_the_window():
    samples = bursts(24)
    whole = detections(Detector(MODELS), samples)
    assert whole == detections(Detector(MODELS), samples, list(range(0, len(samples), 4410)))
    assert len(whole) > 20


def test_several_words_at_once_are_each_heard_as_alone():
    """Some of them side by side in one network, some with features of their own, in whatever order they come."""
    samples = bursts(6)
    together = detections(Detector(MODELS), samples)
    for model in MODELS:
        alone = detections(Detector([model]), samples)
        assert alone
        found = [detection for detection in together if detection.word == model.word]
        assert [detection.sample for detection in found] == [detection.sample for detection in alone]
        # the last bit depends on how the machine's BLAS multiplies matrices of another width
        assert [detection.score for detection in found] == pytest.approx([each.score for each in alone], abs=1e-6)


def test_detections_come_in_order_of_time():
    samples = [detection.sample for detection in detections(Detector(MODELS), bursts(12))]
    assert len(samples) > 10
    assert samples == sorted(samples)


def test_appending_audio_never_changes_earlier_detections():
    samples = bursts(5)
    longer = np.concatenate((samples, bursts(3, seed=9)))
    earlier = detections(Detector(MODELS), samples)
    assert detections(Detector(MODELS), longer)[: len(earlier)] == earlier


@given(st.integers(0, 3 * SECOND))
@settings(max_examples=20)
def test_flush_gives_what_more_audio_would_have_given(length):
    """The last, incomplete frame is heard too, up to its last sample and no further."""
    samples = bursts(3)
    cut = detections(Detector(MODELS), samples[:length])
    whole = detections(Detector(MODELS), samples)
    assert cut == [detection for detection in whole if detection.sample <= length]


def test_flush_finds_a_detection_in_the_last_incomplete_frame():
    samples = bursts(3)
    last = detections(Detector(MODELS), samples)[-1]
    detector = Detector(MODELS)
    before = detector.push(samples[: last.sample])
    assert last not in before
    assert last in detector.flush()


def test_the_end_of_a_recording_is_heard_as_if_silence_followed():
    """With the place at its end, for every split, and with nothing of the silence in the window."""
    samples = bursts(3)
    quiet = np.concatenate((samples, np.zeros(QUIET_AFTER + FRAME, np.int16)))
    found_more = 0
    for end in range(SECOND, 3 * SECOND, 1999):
        detector, flushed = Detector(MODELS), Detector(MODELS)
        heard = detector.push(samples[:end]) + detector.conclude()
        padded = quiet.copy()
        padded[end:] = 0
        longest = end + -end % FRAME + QUIET_AFTER
        expected = [
            replace(each, sample=min(each.sample, end)) for each in detections(Detector(MODELS), padded[:longest])
        ]
        assert heard == expected
        flushed.push(samples[:end])
        found_more += len(heard) > len(detections(Detector(MODELS), samples[:end]))
        flushed.flush()
        np.testing.assert_array_equal(detector.columns.last(), flushed.columns.last())
        np.testing.assert_array_equal(detector.posteriors.last(), flushed.posteriors.last())
        np.testing.assert_array_equal(detector.samples.last(), flushed.samples.last())
    assert found_more


def test_nothing_pushed_gives_nothing():
    detector = Detector(MODELS)
    assert detector.push(np.empty(0, np.int16)) == []
    assert detector.flush() == []


def test_suppression_is_of_its_own_word_alone():
    """Two words that fire at the same step do not silence each other."""
    samples = bursts(6)
    twin = replace(MODELS[0], word="twin")
    both = detections(Detector([MODELS[0], twin]), samples)
    assert [d.sample for d in both if d.word == "tok"] == [d.sample for d in both if d.word == "twin"]


def test_after_reset_the_stream_starts_anew():
    """As after a gap: no state, no suppression, no place and no window of before."""
    samples = bursts(2)
    detector = Detector(MODELS)
    expected = detections(Detector(MODELS), samples)
    detector.push(bursts(1.2345, seed=5))
    detector.reset()
    assert len(detector.samples) == len(detector.columns) == len(detector.posteriors) == 0
    assert detections(detector, samples) == expected


# the rolling window


@pytest.mark.parametrize("seconds", [0.01, 3.21, 10.0, 14.7])
@pytest.mark.parametrize("block", [3528, 1_000_000])
def test_the_window_holds_the_last_10_seconds(seconds, block):
    samples = bursts(seconds)
    detector = Detector(MODELS[:2])
    for piece in pieces(samples, list(range(0, len(samples), block))):
        detector.push(piece)
    whole_frames = samples[: len(samples) // FRAME * FRAME]
    np.testing.assert_array_equal(detector.samples.last(), samples[-441_000:])
    columns = spectrogram(whole_frames)[:, -5511:].T.astype(np.float32)
    np.testing.assert_array_equal(detector.columns.last(), columns)
    scores = [score(model, whole_frames)[-1375:] for model in MODELS[:2]]  # of two front ends, so each by itself
    np.testing.assert_array_equal(detector.posteriors.last(), np.stack(scores, axis=1))


def test_after_10_seconds_and_a_flush_the_window_is_the_whole_clip():
    samples = bursts(10)
    detector = Detector(MODELS[:1])
    detections(detector, samples)
    assert detector.samples.last().shape == (441_000,)
    assert detector.columns.last().shape == (5511, 101)
    assert detector.posteriors.last().shape == (1375, 1)
    np.testing.assert_array_equal(detector.columns.last().T, spectrogram(samples).astype(np.float32))
    np.testing.assert_array_equal(detector.posteriors.last()[:, 0], score(MODELS[0], samples))


# refusals


def test_no_model_is_refused():
    with pytest.raises(ValueError, match="at least one model"):
        Detector([])


def test_two_models_for_one_word_are_refused():
    with pytest.raises(ValueError, match="two models for the same word: tok, tok"):
        Detector([MODELS[0], random_model("tok", seed=5)])


@pytest.mark.parametrize(
    "samples",
    [np.zeros(100, np.float32), np.zeros(100, np.int32), np.zeros((100, 2), np.int16), np.zeros(100, ">i2")],
    ids=["float32", "int32", "stereo", "big-endian"],
)
def test_anything_but_mono_int16_is_refused(samples):
    with pytest.raises(ValueError, match=r"expected int16 samples of shape \(n,\), not "):
        Detector(MODELS).push(samples)


ALONE = [Network(MODELS[place].weights) for places in grouped(MODELS) for place in places]


@pytest.mark.parametrize("networks", [side_by_side(MODELS), ALONE], ids=["side by side", "one by one"])
def test_streams_that_share_the_weights_are_each_heard_as_alone(networks):
    """Many streams, one copy of the weights: what one hears leaves no trace in another."""
    streams = [bursts(3, seed) for seed in range(3)]
    spotters = [Spotter(MODELS, networks) for _ in streams]
    found: list[list[Detection]] = [[] for _ in streams]
    for start in range(0, len(streams[0]), 5000):
        for spotter, samples, heard in zip(spotters, streams, found, strict=True):
            heard += spotter.push(samples[start : start + 5000])
    for spotter, samples, heard in zip(spotters, streams, found, strict=True):
        alone = Spotter(MODELS)
        expected = alone.push(samples) + alone.flush()
        heard += spotter.flush()
        assert [(each.word, each.sample) for each in heard] == [(each.word, each.sample) for each in expected]
        assert [each.score for each in heard] == pytest.approx([each.score for each in expected], abs=1e-5)
        assert heard
