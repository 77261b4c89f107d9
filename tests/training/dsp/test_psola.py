"""Speed, pitch and formants of a voice change independently of each other; codecs and voices move nothing in time."""

import numpy as np
import pytest

from model.frontend import SAMPLE_RATE, FloatArray
from tests.support.raw_data import vowel
from training.dsp.codecs import CODECS, through
from training.dsp.decode import to_int16
from training.dsp.pitch import pitch_track
from training.dsp.psola import change_voice

FORMANTS = (700.0, 1300.0, 2600.0)
VOICE = vowel(120, 1.0, FORMANTS, SAMPLE_RATE) * 32_768


def pitch(samples: FloatArray) -> float:
    """Hz."""
    return float(2 ** (np.nanmedian(pitch_track(to_int16(samples))) / 12))


def third_formant(samples: FloatArray) -> float:
    """Hz: the highest peak of the smoothed spectrum between 1.8 and 3.6 kHz."""
    pieces = [samples[i : i + 2048] * np.hanning(2048) for i in range(6_000, len(samples) - 6_000, 500)]
    cepstrum = np.fft.irfft(np.log(np.mean([np.abs(np.fft.rfft(piece)) for piece in pieces], axis=0)))
    cepstrum[60:-60] = 0
    envelope = np.fft.rfft(cepstrum).real
    hertz = np.fft.rfftfreq(2048, 1 / SAMPLE_RATE)
    inside = [
        k for k in np.flatnonzero((hertz > 1_800) & (hertz < 3_600)) if envelope[k] > max(envelope[[k - 1, k + 1]])
    ]
    return float(hertz[max(inside, key=lambda k: envelope[k])])


@pytest.mark.parametrize(
    ("speed", "semitones", "formants"),
    [(1.3, 0, 1), (0.75, 0, 1), (1, 4, 1), (1, -4, 1), (1, 0, 1.14), (1, 0, 0.88), (1.2, 3, 0.9), (0.8, -3, 1.1)],
)
def test_each_of_the_three_changes_alone(speed, semitones, formants) -> None:
    changed = change_voice(VOICE, speed, semitones, formants)
    assert len(changed) == pytest.approx(len(VOICE) / speed, abs=2)
    assert pitch(changed) / pitch(VOICE) == pytest.approx(2 ** (semitones / 12), rel=0.02)
    assert third_formant(changed) / third_formant(VOICE) == pytest.approx(formants, rel=0.05)
    assert np.sqrt(np.mean(changed**2) / np.mean(VOICE**2)) == pytest.approx(1, abs=0.35)


def test_a_change_of_nothing_keeps_the_voice() -> None:
    same = change_voice(VOICE, 1, 0, 1)
    assert len(same) == len(VOICE)
    assert pitch(same) == pytest.approx(pitch(VOICE), rel=0.005)
    assert third_formant(same) == pytest.approx(third_formant(VOICE), rel=0.02)


def test_what_sounds_at_some_place_still_does() -> None:
    """A burst in the middle stays in the middle, at any speed."""
    samples = np.random.default_rng(0).normal(0, 20, SAMPLE_RATE).astype(np.float32)
    samples[22_000:23_000] *= 300
    for speed in (0.8, 1.25):
        changed = change_voice(samples, speed, 0, 1)
        centre = np.average(np.arange(len(changed)), weights=changed**2)
        assert centre == pytest.approx(22_500 / speed, abs=0.008 * SAMPLE_RATE)


@pytest.mark.parametrize("count", [441, 1_000, 5_000])
def test_short_and_silent_clips_come_through(count) -> None:
    noise = np.random.default_rng(0).normal(0, 1_000, count).astype(np.float32)
    for samples in (noise, np.zeros(count, np.float32)):
        changed = change_voice(samples, 1.25, 2, 1.1)
        assert len(changed) == pytest.approx(count / 1.25, abs=2)
        assert np.isfinite(changed).all()


@pytest.mark.parametrize(
    ("kind", "kbps"),
    [
        *((kind, 0) for kind in CODECS[:3]),
        *(("opus", rate) for rate in (6, 16, 64)),
        *(("mp3", k) for k in (16, 24, 160)),
    ],
)
def test_a_codec_keeps_length_and_place_and_is_deterministic(kind, kbps) -> None:
    """The envelope of bursts correlates best with that of the original at no delay, within 4 ms."""
    rng = np.random.default_rng(2)
    gate = np.repeat(rng.random(40) < 0.5, 4_410)[: 4 * SAMPLE_RATE]
    samples = to_int16(np.resize(VOICE, len(gate)) * gate)
    heard = through(samples, kind, kbps)
    assert (heard.shape, heard.dtype) == (samples.shape, np.int16)
    assert np.array_equal(heard, through(samples, kind, kbps))
    assert not np.array_equal(heard, samples)

    def envelope(audio: np.ndarray) -> np.ndarray:
        return np.abs(audio.astype(float)).reshape(-1, 45 * 4).sum(axis=1)  # of 4 ms each

    sent, received = envelope(samples), envelope(heard)
    likeness = [float(np.corrcoef(np.roll(sent, lag), received)[0, 1]) for lag in range(-20, 21)]
    assert abs(int(np.argmax(likeness)) - 20) <= 1
    assert max(likeness) > 0.5
