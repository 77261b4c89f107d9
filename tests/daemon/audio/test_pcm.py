"""Raw PCM of any kind: the stream is the file, every width means the same sound, the first channel counts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.audio.pcm import MAX_CHANNELS, PcmFormat, PcmStream
from daemon.audio.resample import Samples, to_int16
from daemon.system.errors import AudioError

RNG = np.random.default_rng(0)
SOUND: Samples = RNG.normal(0, 4_000, 4_000).astype(np.int16)


def encoded(samples: Samples, width: int, channels: int = 1) -> bytes:
    """Int16 samples as PCM of this width, the other channels filled with noise."""
    shifted = samples.astype("<i4") << 16
    columns = [shifted, *(RNG.integers(-(2**31), 2**31, len(samples)).astype("<i4") for _ in range(channels - 1))]
    data = np.stack(columns, axis=1).view(np.uint8).reshape(len(samples), channels, 4)[:, :, 4 - width :].copy()
    if width == 1:
        data ^= 0x80
    return data.tobytes()


def converted(data: bytes, pcm: PcmFormat, cuts: list[int]) -> Samples:
    stream = PcmStream(pcm)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    parts = [stream.push(data[start:end]) for start, end in pairwise(places)]
    return np.concatenate([*parts, stream.flush()])


@pytest.mark.parametrize("width", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 2, 7])
def test_16_bits_at_44100_hz_arrive_unchanged_in_every_wider_dress(width, channels):
    data = encoded(SOUND, width, channels)
    np.testing.assert_array_equal(converted(data, PcmFormat(44_100, width, channels), []), SOUND)


def test_one_byte_is_unsigned_as_in_wav():
    samples = converted(bytes([0, 127, 128, 255]), PcmFormat(44_100, 1, 1), [])
    assert samples.tolist() == [-32_768, -256, 0, 32_512]


def test_four_bytes_are_rounded_to_16_bits():
    data = np.array([2**31 - 1, -(2**31), 0x8000, 0x7FFF], "<i4").tobytes()
    assert converted(data, PcmFormat(44_100, 4, 1), []).tolist() == [32_767, -32_768, 0, 0]


@given(
    st.sampled_from([1_000, 8_000, 11_025, 16_000, 44_100, 48_000, 96_000, 12_345]),
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.integers(0, 48_000), max_size=20),
)
@settings(max_examples=60)
def test_a_stream_cut_anywhere_is_the_whole_resampled(rate, width, channels, cuts):
    """Even in the middle of a sample; and the whole is what soxr makes of it in one call."""
    data = encoded(SOUND, width, channels)
    pcm = PcmFormat(rate, width, channels)
    whole = converted(data, pcm, [])
    np.testing.assert_array_equal(converted(data, pcm, cuts), whole)
    if width > 1:
        once = soxr.resample(SOUND.astype(np.float32) / 32_768, rate, 44_100)
        np.testing.assert_array_equal(whole, to_int16(once))


@pytest.mark.parametrize(
    ("pcm", "reason"),
    [
        ((16_000, 0, 1), "1 to 4 bytes"),
        ((16_000, 5, 1), "1 to 4 bytes"),
        ((16_000, 2, 0), "channels"),
        ((16_000, 2, MAX_CHANNELS + 1), "channels"),
        ((0, 2, 1), "sample rate of 0 Hz"),
        ((10**9, 2, 1), "sample rate"),
    ],
)
def test_what_no_sound_card_delivers_is_refused(pcm, reason):
    with pytest.raises(AudioError, match=reason):
        PcmFormat(*pcm)
