"""The front end: constants, spectrogram, and the scalings that turn power into features."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib import mlab

from model.frontend import (
    BINS,
    FRAME,
    FRAME_COLUMNS,
    FloatArray,
    FrontEnd,
    LogScaling,
    PowerScaling,
    RelativeScaling,
    RollingLevel,
    Samples,
    Scaling,
    StreamingSpectrogram,
    column_count,
    spectrogram,
    step_count,
)
from tests.support.examples import bursts, concatenated, pieces

SCALINGS = ["power", "log", "relative"]
cuts = st.lists(st.integers(0, 20_000), max_size=40)


def reference(samples: Samples) -> np.ndarray:
    return mlab.specgram(samples, NFFT=200, Fs=8000, noverlap=120)[0]


def frames(samples: Samples) -> list[np.ndarray]:
    """The columns of each frame, as the engine passes them on."""
    stream = StreamingSpectrogram()
    return [stream.push(samples[start : start + FRAME]) for start in range(0, len(samples), FRAME)]


def features(scaling: Scaling, samples: Samples) -> FloatArray:
    return np.concatenate([scaling.push(frame) for frame in frames(samples)])


# spectrogram


def test_ten_seconds_give_101_bins_and_5511_columns():
    assert spectrogram(np.zeros(441_000, np.int16)).shape == (101, 5511)


def test_spectrogram_is_that_of_matplotlib():
    samples = bursts(10)
    np.testing.assert_allclose(spectrogram(samples), reference(samples), rtol=1e-5)


@given(hnp.arrays(np.int16, st.integers(201, 3000)))
def test_spectrogram_is_that_of_matplotlib_for_any_samples(samples):
    expected = reference(samples)
    # bins that cancel to nothing hold rounding noise in both
    np.testing.assert_allclose(spectrogram(samples), expected, rtol=1e-5, atol=1e-12 * expected.max())


def test_a_tone_of_full_scale_has_its_power_in_its_bin():
    """Parseval, with no library in between: the PSD over its nominal 40-Hz bins is the mean square."""
    tone = 32_767 * np.sin(2 * np.pi * 2205 * np.arange(44_100) / 44_100)  # bin 10 of 220.5 Hz each
    power = spectrogram(tone.astype(np.int16)).mean(axis=1)
    assert power.argmax() == 10
    assert power.sum() * 8000 / 200 == pytest.approx(32_767**2 / 2, rel=1e-3)


@pytest.mark.parametrize(("samples", "columns"), [(0, 0), (199, 0), (200, 1), (279, 1), (280, 2), (441_000, 5511)])
def test_columns_are_counted_as_they_are_computed(samples, columns):
    assert column_count(samples) == columns
    assert spectrogram(np.zeros(samples, np.int16)).shape == (BINS, columns)


@pytest.mark.parametrize(("samples", "steps"), [(0, 0), (1319, 0), (1320, 1), (1639, 1), (1640, 2), (441_000, 1375)])
def test_a_step_is_known_1320_samples_after_its_start(samples, steps):
    assert step_count(samples) == steps


@given(st.integers(0, 10**6))
def test_steps_are_whole_groups_of_columns(samples):
    assert step_count(samples) == max(0, (column_count(samples) - 15) // 4 + 1)


def test_stereo_is_refused():
    with pytest.raises(ValueError, match=r"mono samples of shape \(n,\), not \(2, 500\)"):
        spectrogram(np.zeros((2, 500)))


# streaming


@given(cuts)
def test_streamed_columns_are_bitwise_those_of_the_whole(cuts):
    samples = bursts(0.4)
    stream = StreamingSpectrogram()
    columns = concatenated([stream.push(piece) for piece in pieces(samples, cuts)])
    np.testing.assert_array_equal(columns, spectrogram(samples))


def test_streaming_sample_by_sample_gives_each_column_once_it_is_complete():
    samples = bursts(0.02)
    stream = StreamingSpectrogram()
    counts = [stream.push(samples[i : i + 1]).shape[1] for i in range(len(samples))]
    assert [i + 1 for i, count in enumerate(counts) if count] == list(range(200, len(samples) + 1, 80))


def test_the_stream_does_not_keep_the_callers_buffer():
    """Capture code reuses its block; what the stream carries over must be a copy."""
    samples = bursts(0.1)
    stream, parts, block = StreamingSpectrogram(), [], np.empty(1000, np.int16)
    for start in range(0, 4000, 1000):
        block[:] = samples[start : start + 1000]
        parts.append(stream.push(block))
    np.testing.assert_array_equal(concatenated(parts), spectrogram(samples[:4000]))


def test_reset_starts_a_new_stream():
    samples = bursts(0.1)
    stream = StreamingSpectrogram()
    stream.push(samples[:1234])
    stream.reset()
    np.testing.assert_array_equal(stream.push(samples), spectrogram(samples))


# scalings


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("bins", [1, 37, 101])
def test_a_scaling_gives_a_float32_row_per_column(name, bins):
    samples = bursts(0.5)
    result = features(FrontEnd(name, bins).new_scaling(), samples)
    assert result.dtype == np.float32
    assert result.shape == (column_count(len(samples)), bins)
    assert np.isfinite(result).all()


@pytest.mark.parametrize("name", SCALINGS)
def test_no_feature_depends_on_later_columns(name):
    samples, bins = bursts(2), 37
    whole = features(FrontEnd(name, bins).new_scaling(), samples)
    for frame in (1, 7, 20):
        changed = samples.copy()
        changed[frame * FRAME :] = 12_345
        other = features(FrontEnd(name, bins).new_scaling(), changed)
        known = column_count(frame * FRAME)
        np.testing.assert_array_equal(other[:known], whole[:known])
        assert (other[known:] != whole[known:]).any()


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("column", [0, 17, 42])
def test_within_a_frame_no_feature_depends_on_later_columns(name, column):
    first, second = frames(bursts(0.15))[:2]
    changed = second.copy()
    changed[:, column + 1 :] = 0
    results = []
    for block in (second, changed):
        scaling = FrontEnd(name, 37).new_scaling()
        scaling.push(first)
        results.append(scaling.push(block)[: column + 1])
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", SCALINGS)
def test_a_reset_scaling_is_as_new(name):
    samples = bursts(1)
    scaling = FrontEnd(name, 37).new_scaling()
    first = features(scaling, samples)
    again = features(scaling, samples)
    scaling.reset()
    np.testing.assert_array_equal(features(scaling, samples), first)
    assert (again != first).any()


@pytest.mark.parametrize("name", SCALINGS)
def test_silence_stays_silent(name):
    """However long nothing is heard, no gain makes something of it."""
    result = features(FrontEnd(name, 37).new_scaling(), np.zeros(12 * 44_100, np.int16))
    np.testing.assert_array_equal(result, np.broadcast_to(result[0], result.shape))


@pytest.mark.parametrize(("name", "share"), [("log", 0.7), ("relative", 0.2)])
def test_the_noise_of_a_quiet_converter_is_not_raised_to_speech(name, share):
    """One bit of noise must not reach a voice's features: in decibels for log, nearer to silence for relative."""
    rng = np.random.default_rng(0)
    hiss = features(FrontEnd(name, 37).new_scaling(), rng.integers(-1, 2, 12 * 44_100).astype(np.int16))
    silence = features(FrontEnd(name, 37).new_scaling(), np.zeros(44_100, np.int16))
    loud = features(FrontEnd(name, 37).new_scaling(), rng.normal(0, 3000, 12 * 44_100).astype(np.int16))
    half = hiss[len(hiss) // 2 :].mean()
    assert half - silence.mean() < share * (loud.mean() - silence.mean())


@pytest.mark.parametrize(("gain", "from_column", "tolerance"), [(0.5, 0, 0.01), (0.1, 0, 0.01), (0.01, 44, 0.05)])
def test_relative_features_do_not_depend_on_level_above_the_floor(gain, from_column, tolerance):
    """From -15 to -55 dBFS; all but the quietest from the first column on: there is no onset to tell them apart."""
    loud = np.random.default_rng(0).normal(0, 6000, 2 * 44_100)
    expected, result = (features(RelativeScaling(37), samples) for samples in (loud, loud * gain))
    np.testing.assert_allclose(result[from_column:], expected[from_column:], atol=tolerance)


def test_log_features_are_those_of_the_recursion():
    """The level is the mean of all bins but the lowest, each times its frequency, and forgets in half a second."""
    columns = concatenated(frames(bursts(0.5)))[:37]
    decay = np.exp(-80 / 44_100 / 0.5)
    emphasis = 0.2205 * np.array([0.5, *range(1, 37)])
    level, weight, expected = 0.0, 0.0, []
    for column in columns.T:
        level = decay * level + (1 - decay) * (column * emphasis)[1:].mean()
        weight = decay * weight + (1 - decay)
        expected.append(0.4 * np.log(column * emphasis / (level / weight + 0.01) + 10**-1.5) + 1.5)
    np.testing.assert_allclose(features(LogScaling(37), bursts(0.5)), expected, rtol=1e-5, atol=1e-5)


def test_rumble_as_loud_as_the_voice_does_not_change_the_level():
    voice = np.random.default_rng(0).normal(0, 3000, 44_100)
    rumble = 4_200 * np.sin(2 * np.pi * 20 * np.arange(44_100) / 44_100)
    clean, rumbling = (features(LogScaling(37), samples) for samples in (voice, voice + rumble))
    assert np.median(np.abs(clean - rumbling)[:, 5:]) < 0.05


def test_relative_features_of_steady_noise_do_not_depend_on_its_colour():
    white = np.random.default_rng(0).normal(0, 3000, 4 * 44_100)
    coloured = np.convolve(white, [0.7, 0.2, 0.1], mode="same")
    ratio = spectrogram(white).mean(axis=1) / spectrogram(coloured).mean(axis=1)
    assert ratio[:37].max() / ratio[:37].min() > 1.5  # the colour is there
    means = [features(RelativeScaling(37), noise).mean(axis=0) for noise in (white, coloured)]
    np.testing.assert_allclose(*means, atol=0.05)


def test_relative_features_are_those_of_the_recursion():
    """The matrix form against the sum it stands for, column by column."""
    columns = concatenated(frames(bursts(0.5)))[:37]
    decay = np.exp(-80 / 44_100 / 0.4)
    mean, weight, expected = np.zeros(37), 0.0, []
    for column in columns.T:
        mean = decay * mean + (1 - decay) * column
        weight = decay * weight + (1 - decay)
        expected.append(np.log(column / (mean / weight + 0.01) + 0.1))
    np.testing.assert_allclose(features(RelativeScaling(37), bursts(0.5)), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("scaling", "tolerance"), [(LogScaling, 1e-3), (PowerScaling, 1e-4)])
def test_levelled_features_do_not_depend_on_level_after_the_first_frame(scaling, tolerance):
    loud = np.random.default_rng(0).normal(0, 6000, 2 * 44_100)
    expected = features(scaling(37), loud)[FRAME_COLUMNS:]
    for gain in (0.5, 0.1, 0.02):
        np.testing.assert_allclose(
            features(scaling(37), loud * gain)[FRAME_COLUMNS:], expected, rtol=1e-4, atol=tolerance
        )


def test_power_scaling_brings_steady_noise_to_minus_20_dbfs():
    noise = np.random.default_rng(0).normal(0, 50, 12 * 44_100)
    levelled = features(PowerScaling(BINS), noise)[5555:]  # once the window is full
    level = 10 * np.log10(levelled.sum(axis=1).mean() * 8000 / 200 / 32_768**2)
    assert level == pytest.approx(-20, abs=0.1)


def test_the_rolling_level_is_the_mean_square_of_the_last_10_seconds_before_the_frame():
    level, noise = RollingLevel(), np.random.default_rng(0)
    loudness = [1000.0] * 130 + [10.0] * 130  # the loud part has left the window at the end
    blocks = [noise.normal(0, rms, FRAME) for rms in loudness]
    stream = StreamingSpectrogram()
    levels = [level.push(stream.push(block)) for block in blocks]
    assert levels[0] is None
    assert np.sqrt(levels[130]) == pytest.approx(1000, rel=0.02)
    assert np.sqrt(levels[130 + 62]) == pytest.approx(1000 / np.sqrt(2), rel=0.05)
    assert np.sqrt(levels[-1]) == pytest.approx(10, rel=0.02)
    assert all(later < earlier for earlier, later in pairwise(levels[130:256]))


def test_what_the_window_lacks_at_the_start_counts_as_7_db_quieter_than_what_was_heard():
    level, stream = RollingLevel(), StreamingSpectrogram()
    noise = np.random.default_rng(0).normal(0, 1000, (130, FRAME))
    levels = [level.push(stream.push(block)) for block in noise]
    for heard in (1, 60, 125, 129):
        window = min(heard, 125)
        expected = 1000**2 * (window + (125 - window) * 0.2) / 125
        assert levels[heard] == pytest.approx(expected, rel=0.05)


# FrontEnd


def test_a_front_end_survives_its_own_metadata():
    front_end = FrontEnd("log", 50)
    assert FrontEnd(**front_end.as_dict()) == front_end


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scaling": "mel"}, r"unknown scaling 'mel' \(known: power, log, relative\)"),
        ({"bins": 0}, "0 bins, but a column has 1 to 101"),
        ({"bins": 102}, "102 bins, but a column has 1 to 101"),
        ({"sample_rate": 16_000}, "made for 16000 Hz"),
        ({"window": 400}, "window 400"),
        ({"hop": 160}, "hop 160"),
        ({"floor_db": 40}, "a floor at -40 dB; this chimed has it at -15 dB"),
    ],
)
def test_another_front_end_is_refused(change, reason):
    with pytest.raises(ValueError, match=reason):
        FrontEnd(**change)
