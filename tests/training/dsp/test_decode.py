"""Every recording is decoded in one place, and is either usable or refused with a reason."""

import pickle
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from training.dsp.decode import CLIPPED, UnusableError, decode, flaw, to_int16

RATE = 16_000


def tone(seconds: float = 1.0, amplitude: float = 0.3) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * RATE)) / RATE)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
@pytest.mark.parametrize("name", ["a.m4a", "a.webm", "a.wma"])
def test_what_libsndfile_cannot_read_goes_through_ffmpeg(tmp_path, name) -> None:
    both = np.stack([tone(2), np.zeros(2 * RATE)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, RATE)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / name]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    with pytest.raises(soundfile.LibsndfileError):
        soundfile.info(tmp_path / name)
    samples, clipped = decode(tmp_path / name)
    assert len(samples) == pytest.approx(2 * 44_100, rel=0.06)  # codecs pad
    middle = samples[22_050:66_150].astype(float)
    assert np.argmax(np.abs(np.fft.rfft(middle))) == 440
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.3 * 32_768 / np.sqrt(2), rel=0.05)
    assert clipped == 0
    with pytest.raises(UnusableError, match="2 s long; more than 1 s do not fit"):
        decode(tmp_path / name, 1)


def test_without_ffmpeg_the_reason_says_so(tmp_path, monkeypatch) -> None:
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A \0\0\0\0" + bytes(100))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnusableError, match=r"a.m4a: not readable as audio \(.*, and ffmpeg is not installed\)"):
        decode(tmp_path / "a.m4a")


@pytest.mark.parametrize(("share", "refused"), [(0.0, False), (0.05, False), (0.3, True)])
def test_clipped_is_a_tenth_of_the_samples_at_full_scale(tmp_path, share, refused) -> None:
    samples = np.random.default_rng(1).uniform(-0.9, 0.9, 10_000)
    samples[: round(share * 10_000)] = 1.0
    soundfile.write(tmp_path / "a.wav", samples, RATE)
    recording = decode(tmp_path / "a.wav")
    assert recording.clipped == pytest.approx(share)
    assert (recording.clipped >= CLIPPED) is refused
    assert flaw(recording) == ("clipped (30 % of its samples are at full scale)" if refused else None)


def test_an_overdriven_recording_is_clipped_and_a_loud_one_is_not(tmp_path) -> None:
    soundfile.write(tmp_path / "loud.wav", tone(1, 0.999), RATE)
    soundfile.write(tmp_path / "overdriven.wav", np.clip(tone(1, 5), -1, 1), RATE)
    assert flaw(decode(tmp_path / "loud.wav")) is None
    assert str(flaw(decode(tmp_path / "overdriven.wav"))).startswith("clipped (8")


def test_silence_is_refused_where_it_is_of_no_use(tmp_path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    assert flaw(decode(tmp_path / "a.wav")) == "silent"
    assert flaw(decode(tmp_path / "a.wav"), silence=True) is None


def test_a_length_limit_is_checked_before_anything_is_decoded(tmp_path) -> None:
    soundfile.write(tmp_path / "a.flac", tone(3), RATE)
    assert len(decode(tmp_path / "a.flac", 3.0).samples) == 3 * 44_100
    with pytest.raises(UnusableError, match="3 s long; more than 2 s do not fit"):
        decode(tmp_path / "a.flac", 2)


def streamed(name: str, seconds: float) -> bytes:
    """A FLAC as an encoder writes it into a pipe: it cannot go back to write the length into the header."""
    soundfile.write(name, tone(seconds), RATE)
    content = bytearray(Path(name).read_bytes())
    content[21] &= 0xF0  # 36 bits, of the samples in all
    content[22:26] = bytes(4)
    return bytes(content)


def test_a_flac_without_a_length_in_its_header_is_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # without ffmpeg
    content = streamed(str(tmp_path / "a.flac"), 70)
    (tmp_path / "b.flac").write_bytes(content)
    for limit in (np.inf, 70):
        expected, found = decode(tmp_path / "a.flac", limit), decode(tmp_path / "b.flac", limit)
        assert np.array_equal(found.samples, expected.samples)
    with pytest.raises(UnusableError, match=r"b.flac: longer than 60 s; more do not fit"):
        decode(tmp_path / "b.flac", 60)
    (tmp_path / "b.flac").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnusableError, match=r"b.flac: damaged \("):
        decode(tmp_path / "b.flac")


def test_the_error_names_file_and_reason_and_crosses_processes(tmp_path) -> None:
    with pytest.raises(UnusableError) as caught:
        decode(tmp_path / "nowhere.wav")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value) == f"{tmp_path}/nowhere.wav: {again.reason}"


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 3_000), flips=st.lists(st.tuples(st.integers(0, 2_999), st.integers(0, 255)), max_size=20))
@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg"])
def test_whatever_is_in_a_file_it_is_decoded_or_refused(tmp_path, monkeypatch, name, cut, flips) -> None:
    """A file cut anywhere, with bytes changed anywhere, gives samples or a reason, never another error."""
    monkeypatch.setenv("PATH", str(tmp_path))  # ffmpeg has its own makers to test it
    soundfile.write(tmp_path / name, tone(0.1), RATE)
    content = bytearray((tmp_path / name).read_bytes())
    for place, value in flips:
        content[place % len(content)] = value
    (tmp_path / name).write_bytes(bytes(content[: len(content) - cut]))
    try:
        recording = decode(tmp_path / name, 60)
    except UnusableError:
        return
    assert recording.samples.dtype == np.int16
    assert 0 <= recording.clipped <= 1
    flaw(recording)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_what_is_out_of_range_clips(values) -> None:
    assert np.array_equal(to_int16(np.array(values)), np.clip(np.round(values), -32_768, 32_767).astype(np.int16))
