"""Recordings of every kind come in as the same samples; pacing neither drifts nor hurries."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.audio.resample import Resampler, to_float, to_int16
from daemon.audio.sources import PIPE_SPEED, Block, FileSource, RawSource, open_input, paced, read_all
from daemon.system.errors import AudioError
from model.frontend import FRAME, SAMPLE_RATE, Samples


def tone(seconds: float, rate: int, hz: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def joined(source: FileSource | RawSource) -> Samples:
    return np.concatenate([block.samples for block in source.blocks()])


def strongest(samples: Samples) -> float:
    """The frequency with the most energy, Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * SAMPLE_RATE / len(samples))


class Pipe(io.RawIOBase):
    """A pipe whose writer hands over pieces of these sizes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._pieces = []
        while data:
            size = sizes.pop(0) if sizes else len(data)
            self._pieces.append(data[:size])
            data = data[size:]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        if not self._pieces:
            return 0
        piece = self._pieces.pop(0)
        if len(piece) > len(buffer):
            self._pieces.insert(0, piece[len(buffer) :])
            piece = piece[: len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)


# files


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "aiff"])
def test_any_format_and_rate_comes_in_at_44100_hz(tmp_path, rate, kind):
    if kind == "ogg" and rate == 96_000:
        rate = 32_000
    path = tmp_path / f"tone.{kind}"
    soundfile.write(path, tone(1, rate), rate)
    samples = joined(FileSource(path))
    assert samples.dtype == np.int16
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=2 if kind != "ogg" else 300)
    assert strongest(samples) == pytest.approx(440, abs=1)
    assert np.abs(samples[5_000:-5_000].astype(int)).max() == pytest.approx(16_384, rel=0.05)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "PCM_U8", "ULAW"])
def test_every_sample_format_has_the_same_level(tmp_path, subtype):
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(0.5, SAMPLE_RATE), SAMPLE_RATE, subtype=subtype)
    assert np.abs(joined(FileSource(path)).astype(int)).max() == pytest.approx(16_384, rel=0.03)


def test_16_bit_samples_at_44100_hz_come_in_exactly(tmp_path):
    original = np.random.default_rng(0).integers(-32_768, 32_768, 10_000).astype(np.int16)
    original[:2] = -32_768, 32_767
    soundfile.write(tmp_path / "noise.wav", original, SAMPLE_RATE)
    assert np.array_equal(joined(FileSource(tmp_path / "noise.wav")), original)


def test_the_first_channel_counts(tmp_path):
    channels = np.random.default_rng(0).integers(-3_000, 3_000, (5_000, 3)).astype(np.int16)
    soundfile.write(tmp_path / "three.wav", channels, SAMPLE_RATE)
    assert np.array_equal(joined(FileSource(tmp_path / "three.wav")), channels[:, 0])


def test_what_is_not_a_number_or_too_loud_does_no_harm(tmp_path):
    samples = tone(1, 48_000)
    samples[[1_000, 2_000, 3_000]] = np.nan, np.inf, -np.inf
    samples[40_000:] *= 1e6
    for rate in (44_100, 48_000):
        soundfile.write(tmp_path / "odd.wav", samples, rate, subtype="FLOAT")
        heard = joined(FileSource(tmp_path / "odd.wav"))
        assert np.abs(heard[10_000:30_000].astype(int)).max() == pytest.approx(16_384, rel=0.02)
        assert heard.max() == 32_767
        assert heard.min() == -32_768


def test_an_empty_recording_is_no_error(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 48_000)
    assert len(joined(FileSource(tmp_path / "empty.wav"))) == 0


def test_blocks_are_short_whatever_the_rate(tmp_path):
    for rate in (8_000, 192_000):
        soundfile.write(tmp_path / "long.wav", tone(20, rate), rate)
        assert max(len(block.samples) for block in FileSource(tmp_path / "long.wav").blocks()) < 2 * FRAME


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.wav", None, "No such file"),
        ("text.wav", b"this is no sound", "not a recording"),
        ("nothing.wav", b"", "not a recording"),
        ("headless.raw", b"\0" * 100, "not a recording"),
    ],
)
def test_an_unreadable_file_is_named_with_the_reason(tmp_path, name, content, reason):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AudioError) as error:
        FileSource(path)
    assert str(error.value).startswith(str(path))
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_a_directory_is_no_recording(tmp_path):
    with pytest.raises(AudioError, match="a directory"):
        FileSource(tmp_path)


def test_an_absurd_rate_is_refused(tmp_path):
    soundfile.write(tmp_path / "slow.wav", np.zeros(10), 1)
    with pytest.raises(AudioError, match=r"slow.wav: .*1 Hz"):
        FileSource(tmp_path / "slow.wav")


def test_a_recording_cut_short_gives_what_is_there(tmp_path):
    soundfile.write(tmp_path / "whole.wav", tone(2, SAMPLE_RATE), SAMPLE_RATE)
    (tmp_path / "half.wav").write_bytes((tmp_path / "whole.wav").read_bytes()[: SAMPLE_RATE * 2])
    assert len(joined(FileSource(tmp_path / "half.wav"))) == pytest.approx(SAMPLE_RATE, abs=50)


def test_a_damaged_recording_gives_its_beginning_and_then_the_place(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE)
    soundfile.write(tmp_path / "noise.flac", noise, SAMPLE_RATE)
    data = (tmp_path / "noise.flac").read_bytes()
    (tmp_path / "noise.flac").write_bytes(data[: len(data) // 2])
    blocks: list[Block] = []
    with pytest.raises(AudioError, match=r"noise\.flac: damaged at 2\.\d s"):
        blocks.extend(FileSource(tmp_path / "noise.flac").blocks())
    assert sum(len(block.samples) for block in blocks) >= 2 * SAMPLE_RATE


def test_a_short_recording_is_read_up_to_a_limit(tmp_path):
    soundfile.write(tmp_path / "tone.wav", tone(3, 48_000), 48_000)
    assert len(read_all(tmp_path / "tone.wav", 1.0)) == SAMPLE_RATE
    assert len(read_all(tmp_path / "tone.wav", 10.0)) == 3 * SAMPLE_RATE


# resampling


@given(rate=st.sampled_from([8_000, 16_000, 22_050, 32_000, 48_000, 96_000]), cuts=st.lists(st.integers(1, 20_000)))
@settings(deadline=None, max_examples=30)
def test_resampling_does_not_depend_on_the_blocks(rate, cuts):
    original = (np.random.default_rng(1).normal(0, 0.2, rate // 2)).astype(np.float32)

    def resampled(pieces: list[np.ndarray]) -> Samples:
        resampler = Resampler(rate)
        return np.concatenate([*map(resampler.push, pieces), resampler.flush()])

    split = resampled(np.split(original, sorted(min(cut, len(original)) for cut in cuts)))
    assert np.array_equal(split, resampled([original]))


@given(st.lists(st.integers(-32_768, 32_767), max_size=50))
def test_floats_and_back_is_exact(values):
    samples = np.array(values, np.int16)
    assert np.array_equal(to_int16(to_float(samples)), samples)


# raw PCM


@given(
    samples=st.lists(st.integers(-32_768, 32_767), max_size=9_000).map(lambda values: np.array(values, "<i2")),
    tail=st.sampled_from([b"", b"\x7f"]),
    sizes=st.lists(st.integers(1, 9_000), max_size=20),
)
@settings(deadline=None)
def test_raw_samples_come_in_exactly_however_the_pipe_cuts_them(samples, tail, sizes):
    pipe = io.BufferedReader(Pipe(samples.tobytes() + tail, sizes))
    assert np.array_equal(joined(RawSource(pipe)), samples)


def test_raw_samples_of_another_rate_are_resampled():
    data = (tone(1, 16_000) * 32_767).astype("<i2").tobytes()
    samples = joined(RawSource(io.BytesIO(data), 16_000))
    assert len(samples) == SAMPLE_RATE
    assert strongest(samples) == pytest.approx(440, abs=1)


def test_an_absurd_rate_of_raw_samples_is_refused(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(AudioError, match="10 Hz"):
        open_input("-", rate=10)


# pacing


class Clock:
    """Time passes only by sleeping, and by what each block costs."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_pipe_whose_recorder_began_earlier_and_has_a_faster_clock_is_caught_up_with():
    """Paced to the letter, what waits in the pipe would never grow less."""
    clock, size, faster = Clock(), 3528, 1.0001
    begin = clock.now - 0.7  # when the recorder began

    def recorded() -> Iterator[Block]:
        for number in range(1, 3_000):  # 4 min
            clock.now = max(clock.now, begin + number * size / (SAMPLE_RATE * faster))
            yield Block(np.zeros(size, np.int16))

    late = [
        clock.now - begin - (number + 1) * size / (SAMPLE_RATE * faster)
        for number, _ in enumerate(paced(recorded(), clock, clock.sleep, PIPE_SPEED))
    ]
    assert max(late) <= 0.7
    assert max(late[1_500:]) < 0.01


@given(sizes=st.lists(st.integers(0, 5_000), min_size=1, max_size=200), cost=st.floats(0, 0.01))
def test_each_block_comes_when_a_microphone_would_have_delivered_it(sizes, cost):
    clock = Clock()
    heard = 0
    for block in paced((Block(np.zeros(size, np.int16)) for size in sizes), clock, clock.sleep):
        heard += len(block.samples)
        assert clock.now >= 100 + heard / SAMPLE_RATE - 1e-6
        clock.now += cost
    # no error adds up: what came late was caught up with where there was time to
    if all(size / SAMPLE_RATE > cost for size in sizes):
        assert clock.now == pytest.approx(100 + heard / SAMPLE_RATE + cost, abs=1e-6)
