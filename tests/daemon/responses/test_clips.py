"""Clips are real files here: complete or absent, private, bounded, and a full disk costs nothing but them."""

from __future__ import annotations

import datetime
import json
import logging
import os
import stat
import subprocess
import threading
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.audio.sources import Block
from daemon.config.settings import ClipSettings
from daemon.listening.listener import Listener
from daemon.responses.clip_folder import CLIP_FILE_NAME, CLIPS_WAITING_LIMIT, ClipFolder, ClipWriter, file_stem
from daemon.responses.clip_recorder import ClipRecorder
from daemon.responses.near_misses import SHARE, NearMisses
from model.detector import Detector
from model.frontend import CLIP_STEPS, FRAME, SAMPLE_RATE, STEP, Samples
from model.ring_buffer import RingBuffer
from tests.support.chimed import recording, tone_model

NOISE: Samples = np.random.default_rng(0).integers(-9_000, 9_000, SAMPLE_RATE).astype(np.int16)
WHEN = datetime.datetime(2025, 6, 1, 10, 30, 0, 123_456, datetime.timezone(datetime.timedelta(hours=2)))
GENEROUS = {"max_files": 1_000, "max_bytes": 10**9}


def about(number: int = 0, word: str = "beep", score: float = 0.9) -> dict:
    return {"word": word, "score": score, "time": (WHEN + datetime.timedelta(seconds=number)).isoformat()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def messages(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def writer(tmp_path) -> Iterator[ClipWriter]:
    writer = ClipWriter(ClipFolder(tmp_path / "clips", **GENEROUS))
    yield writer
    writer.close()


def test_a_clip_is_a_recording_and_what_is_known_of_it(writer, tmp_path):
    path = Path(writer.save(NOISE, about() | {"seconds": 12.5})())
    assert path == tmp_path / "clips" / "20250601T083000.123Z_beep_0.90.wav"
    with wave.open(str(path)) as file:
        assert file.getparams()[:4] == (1, 2, SAMPLE_RATE, len(NOISE))
        assert file.readframes(len(NOISE)) == NOISE.tobytes()
    assert json.loads(path.with_suffix(".json").read_text()) == about() | {"seconds": 12.5}
    assert names(path.parent) == [path.with_suffix(".json").name, path.name]


def test_nobody_else_can_read_them(writer, tmp_path):
    before = os.umask(0)
    try:
        path = Path(writer.save(NOISE, about())())
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_suffix(".json").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "clips").stat().st_mode) == 0o700


@settings(max_examples=30)
@given(st.text(max_size=300), st.floats(0, 1), st.booleans())
def test_no_word_leads_out_of_the_folder(word, score, near):
    name = file_stem(WHEN, word, score, near) + ".wav"
    assert Path(name).name == name
    assert len(name.encode()) < 250
    assert CLIP_FILE_NAME.fullmatch(name) or not word


def test_two_at_the_same_moment_are_both_kept(writer, tmp_path):
    paths = {writer.save(NOISE, about())() for _ in range(3)}
    assert len(paths) == 3
    assert all(CLIP_FILE_NAME.fullmatch(Path(path).name) for path in paths)
    assert len(names(tmp_path / "clips")) == 6


def test_near_misses_can_be_told_apart(writer):
    assert writer.save(NOISE, about(), near=True)().endswith("_0.90_near.wav")


def test_the_oldest_go_first_and_other_files_stay(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "song.wav").write_bytes(bytes(10_000_000))
    clips = ClipFolder(folder, max_files=3, max_bytes=10**9)
    for number in range(5):
        clips.write(file_stem(WHEN + datetime.timedelta(seconds=number), "beep", 0.5, False), NOISE, about(number))
    assert [name for name in names(folder) if CLIP_FILE_NAME.fullmatch(name)] == [
        f"20250601T08300{number}.123Z_beep_0.50.{ending}" for number in (2, 3, 4) for ending in ("json", "wav")
    ]
    assert {"notes.txt", "song.wav"} <= set(names(folder))


def test_bytes_are_limited_too_over_restarts(tmp_path):
    folder = tmp_path / "clips"
    limit = 3 * 2 * len(NOISE) + 2_000
    for number in range(6):
        clips = ClipFolder(folder, max_files=1_000, max_bytes=limit)  # as after a restart
        clips.write(file_stem(WHEN + datetime.timedelta(seconds=number), "beep", 0.5, False), NOISE, about(number))
        assert sum(path.stat().st_size for path in folder.iterdir()) <= limit
    assert len(names(folder)) == 6


def test_what_was_moved_away_makes_room(tmp_path):
    clips = ClipFolder(tmp_path / "clips", max_files=3, max_bytes=10**9)
    stems = [file_stem(WHEN + datetime.timedelta(seconds=number), "beep", 0.5, False) for number in range(5)]
    for stem in stems[:3]:
        clips.write(stem, NOISE, about())
    for path in (tmp_path / "clips").glob(f"{stems[2]}.*"):
        path.unlink()
    clips.write(stems[3], NOISE, about())
    assert (tmp_path / "clips" / f"{stems[0]}.wav").exists()


def test_what_a_killed_run_left_half_written_is_removed(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / ".20250601T083000.123Z_beep_0.90.wav.part").write_bytes(b"half")
    (folder / ".other.part").write_bytes(b"not ours")
    ClipFolder(folder, **GENEROUS).write("20250601T083001.123Z_beep_0.90", NOISE, about())
    assert names(folder)[0] == ".other.part"
    assert len(names(folder)) == 3


def test_a_link_in_the_way_is_not_followed(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    (tmp_path / "precious").write_text("mine")
    (folder / ".x.wav.part").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="exists"):
        ClipFolder(folder, **GENEROUS).write("x", NOISE, about())
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"cannot mount a small disk: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_said_once_and_clips_come_back(small_disk, caplog):
    caplog.set_level(logging.INFO)
    writer = ClipWriter(ClipFolder(small_disk / "clips", **GENEROUS))
    (small_disk / "other").write_bytes(bytes(460_000))
    for number in range(5):
        assert writer.save(NOISE, about(number))() == ""
    assert messages(caplog) == [f"cannot keep a clip in {small_disk}/clips: No space left on device"]
    assert names(small_disk / "clips") == []  # nothing half written
    (small_disk / "other").unlink()
    assert Path(writer.save(NOISE, about(9))()).exists()
    assert messages(caplog)[1:] == [f"clips are kept in {small_disk}/clips again"]
    writer.close()


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path, caplog):
    (tmp_path / "clips").write_text("a file")
    writer = ClipWriter(ClipFolder(tmp_path / "clips", **GENEROUS))
    assert [writer.save(NOISE, about())() for _ in range(3)] == [""] * 3
    assert len(messages(caplog)) == 1
    (tmp_path / "clips").unlink()
    assert writer.save(NOISE, about())()
    writer.close()


class StuckFolder(ClipFolder):
    """A disk that hangs until it is told to go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, **GENEROUS)
        self.begun, self.go_on = threading.Event(), threading.Event()

    def write(self, stem, samples, about, later=0) -> Path:
        self.begun.set()
        assert self.go_on.wait(30)
        return super().write(stem, samples, about, later)


def test_a_disk_that_hangs_holds_nothing_up_and_fills_no_memory(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("daemon.responses.clip_folder.CLIP_WAIT_SECONDS", 0.01)
    folder = StuckFolder(tmp_path / "clips")
    writer = ClipWriter(folder)
    tickets = [writer.save(NOISE, about(0))]
    assert folder.begun.wait(30)  # or the queue might have room again while the others come
    tickets += [writer.save(NOISE, about(number)) for number in range(1, 50)]
    assert [ticket() for ticket in tickets] == [""] * 50
    assert len(messages(caplog)) == 1
    folder.go_on.set()
    while not tickets[CLIPS_WAITING_LIMIT - 1]():
        time.sleep(0.01)
    writer.close()
    assert CLIPS_WAITING_LIMIT <= len(names(tmp_path / "clips")) / 2 <= CLIPS_WAITING_LIMIT + 1


def test_a_writer_that_was_stopped_while_its_queue_was_full_ends_with_it(tmp_path):
    """As at a reload, after which another one writes."""
    folder = StuckFolder(tmp_path / "clips")
    writer = ClipWriter(folder)
    writer.save(NOISE, about(0))
    assert folder.begun.wait(30)
    for number in range(1, CLIPS_WAITING_LIMIT + 2):
        writer.save(NOISE, about(number))
    thread = writer._thread
    writer.stop()
    folder.go_on.set()
    thread.join(30)
    assert not thread.is_alive()
    assert len(names(tmp_path / "clips")) == 2 * (CLIPS_WAITING_LIMIT + 1)


# near misses

MODEL = tone_model()


def posterior_of(loudness: int) -> Samples:
    """A tone so soft that the network is less sure."""
    quiet = recording(3, [])
    place = slice(SAMPLE_RATE, round(1.3 * SAMPLE_RATE))
    quiet[place] += (loudness * np.sin(2 * np.pi * 3_000 * np.arange(round(0.3 * SAMPLE_RATE)) / SAMPLE_RATE)).astype(
        np.int16
    )
    return quiet


def highest(sound: Samples) -> float:
    """The highest smoothed posterior."""
    detector = Detector([MODEL])
    detector.push(sound)
    posteriors = detector.posteriors.last()[:, 0]
    return float(np.convolve(posteriors, np.ones(MODEL.smoothing) / MODEL.smoothing, "valid").max())


@pytest.fixture(scope="module")
def almost() -> Samples:
    """A sound that almost is the word."""
    low, high = 0, 9_000  # too soft, and loud enough
    while True:
        sound = posterior_of((low + high) // 2)
        score = highest(sound)
        if 1.1 * SHARE * MODEL.threshold < score < MODEL.threshold:
            return sound
        low, high = ((low + high) // 2, high) if score < MODEL.threshold else (low, (low + high) // 2)


@pytest.mark.parametrize("size", [FRAME, 1_000, 3 * SAMPLE_RATE])
def test_what_came_close_is_found_however_it_is_cut(almost, size):
    detector, near = Detector([MODEL]), NearMisses([MODEL])
    assert near.push(detector) == []
    found = []
    for start in range(0, len(almost), size):
        assert detector.push(almost[start : start + size]) == []
        found += near.push(detector)
    (miss,) = found
    assert miss.word == "beep"
    assert miss.score == pytest.approx(highest(almost), abs=1e-6)
    assert 1.0 < miss.sample / SAMPLE_RATE < 1.6


def test_neither_words_nor_silence_are_near_misses():
    detector, near = Detector([MODEL]), NearMisses([MODEL])
    near.push(detector)
    sound = recording(6, [1.0, 3.0])
    for start in range(0, len(sound), FRAME):
        detector.push(sound[start : start + FRAME])
        assert near.push(detector) == []


def test_there_is_one_in_five_seconds_at_most_and_none_after_a_word():
    humps = np.zeros((round(40 * SAMPLE_RATE / STEP), 1), np.float32)
    for second, height in ((3, 0.4), (5, 0.4), (9, 0.4), (12, 0.9), (14, 0.4), (15.5, 0.4), (20, 0.4), (30, 0.2)):
        first = round(second * SAMPLE_RATE / STEP)
        humps[first : first + 30] = height
    detector, near = SimpleNamespace(posteriors=RingBuffer(CLIP_STEPS, (1,))), NearMisses([MODEL])
    near.push(detector)
    found = []
    for start in range(0, len(humps), 11):
        detector.posteriors.push(humps[start : start + 11])
        found += near.push(detector)
    assert [(round(miss.sample / SAMPLE_RATE), round(miss.score, 3)) for miss in found] == [
        (3, 0.4),
        (9, 0.4),
        (20, 0.4),
    ]


def test_a_gap_and_another_detector_are_no_near_misses(almost):
    detector, near = Detector([MODEL]), NearMisses([MODEL])
    near.push(detector)
    detector.push(almost[: round(1.2 * SAMPLE_RATE)])
    near.push(detector)
    detector.reset()
    detector.push(almost[:SAMPLE_RATE])
    assert near.push(detector) == []
    other = Detector([MODEL])
    other.push(almost)
    assert near.push(other) == []


# in the daemon


def kept(folder: Path) -> list[dict]:
    """What is noted of the clips, and their samples."""
    found = []
    for path in sorted(folder.glob("*.wav")):
        with wave.open(str(path)) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        found.append(json.loads(path.with_suffix(".json").read_text()) | {"samples": samples, "path": str(path)})
    return sorted(found, key=lambda clip: clip["sample"])


def test_the_daemon_keeps_the_sound_before_each_word_and_tells_its_hooks(start, model_file, tmp_path):
    sound = recording(8, [1.0, 6.0])
    soundfile.write(tmp_path / "beeps.flac", sound, SAMPLE_RATE)
    (tmp_path / "config.yaml").write_text(
        f"words: [{{model: {model_file}}}]\nclips: {{folder: clips, seconds: 2, after: 0}}\n"
        f"hooks: ['cat >> {tmp_path}/told']"
    )
    chimed = start("run", "--config", tmp_path / "config.yaml", "--input", tmp_path / "beeps.flac", "--fast")
    assert chimed.end() == 0
    clips = kept(tmp_path / "clips")
    assert [clip["kind"] for clip in clips] == ["heard", "heard"]
    assert [len(clip["samples"]) for clip in clips] == [clips[0]["sample"], 2 * SAMPLE_RATE]
    for clip in clips:
        assert np.array_equal(clip["samples"], sound[: clip["sample"]][-2 * SAMPLE_RATE :])
        assert (clip["word"], clip["threshold"], clip["device"]) == ("beep", 0.5, str(tmp_path / "beeps.flac"))
        assert len(clip["model"]) == 16
    told = [json.loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    assert {each["clip"] for each in told} == {clip["path"] for clip in clips}
    assert {each["time"] for each in told} == {clip["time"] for clip in clips}


def test_a_clip_goes_on_after_the_word_and_hooks_need_not_wait_for_that(start, model_file, tmp_path):
    sound = recording(8, [1.0, 3.0, 7.6])
    soundfile.write(tmp_path / "beeps.flac", sound, SAMPLE_RATE)
    (tmp_path / "config.yaml").write_text(
        f"words: [{{model: {model_file}}}]\nclips: {{folder: clips, seconds: 2, max_bytes: 1000000}}\n"
        f"hooks: ['stat -c %s \"$CHIMED_CLIP\" >> {tmp_path}/sizes']"
    )
    arguments = ["--config", tmp_path / "config.yaml", "--input", tmp_path / "beeps.flac", "--no-chime"]
    assert start("run", *arguments).end() == 0
    clips = kept(tmp_path / "clips")
    # the recording ends before the last one could grow
    for clip, after in zip(clips, (SAMPLE_RATE // 2, SAMPLE_RATE // 2, 0), strict=True):
        begin = clip["sample"] - clip["clip_sample"]
        assert clip["clip_sample"] == min(clip["sample"], 2 * SAMPLE_RATE)
        assert np.array_equal(clip["samples"], sound[begin : clip["sample"] + after])
        assert Path(clip["path"]).stat().st_mode & 0o777 == 0o600
    sizes = [int(size) for size in (tmp_path / "sizes").read_text().split()]
    assert sizes == [44 + 2 * clip["clip_sample"] for clip in clips]
    assert len(names(tmp_path / "clips")) == 6


def test_no_clip_goes_on_over_a_gap(tmp_path):
    sound = recording(4, [1.0, 2.0])
    keeper = ClipRecorder(ClipSettings(tmp_path / "clips", seconds=1, after=0.5), [MODEL])
    listener = Listener(Detector([MODEL]), {"beep": 0})
    (first,) = listener.push(Block(sound[: round(1.5 * SAMPLE_RATE)]))
    ticket = keeper.heard(first, listener.window, "a test", WHEN.isoformat())
    for block in (Block(sound[:0], gap=True), Block(sound[: 2 * SAMPLE_RATE])):
        listener.push(block)
        keeper.look(listener.detector, listener.origin, listener.window, "a test", WHEN.isoformat)
    keeper.close()
    assert soundfile.info(ticket()).frames == SAMPLE_RATE


def test_what_was_taken_away_is_not_brought_back_by_what_follows(writer, tmp_path):
    ticket = writer.save(NOISE, about(), later=len(NOISE))
    for path in (tmp_path / "clips").glob(f"{Path(ticket()).stem}.*"):
        path.unlink()
    writer.replace(ticket, np.tile(NOISE, 2))
    assert writer.save(NOISE, about(1))()
    assert len(names(tmp_path / "clips")) == 2


def test_a_disk_that_is_too_full_for_what_follows_keeps_the_clip(small_disk, caplog):
    writer = ClipWriter(ClipFolder(small_disk / "clips", **GENEROUS))
    ticket = writer.save(NOISE, about(), later=10 * len(NOISE))
    path = Path(ticket())
    writer.replace(ticket, np.tile(NOISE, 11))
    writer.close()
    assert soundfile.info(path).frames == len(NOISE)
    assert names(small_disk / "clips") == [path.with_suffix(".json").name, path.name]
    assert messages(caplog) == [f"cannot keep a clip in {small_disk}/clips: No space left on device"]


def test_without_a_folder_nothing_is_kept(start, model_file, tmp_path):
    soundfile.write(tmp_path / "beeps.flac", recording(3, [1.0]), SAMPLE_RATE)
    before = set(tmp_path.rglob("*"))
    chimed = start("run", "--model", model_file, "--input", tmp_path / "beeps.flac", "--fast")
    assert chimed.end() == 0
    assert set(tmp_path.rglob("*")) == before


def test_near_misses_are_kept_on_demand(start, model_file, almost, tmp_path):
    sound = np.concatenate((almost, recording(2, [1.0])))
    soundfile.write(tmp_path / "almost.flac", sound, SAMPLE_RATE)
    for wanted, kinds in ((True, ["near miss", "heard"]), (False, ["heard"])):
        folder = tmp_path / f"clips-{wanted}"
        (tmp_path / "config.yaml").write_text(
            f"words: [{{model: {model_file}}}]\nclips: {{folder: {folder}, near_misses: {str(wanted).lower()}}}"
        )
        chimed = start("run", "--config", tmp_path / "config.yaml", "--input", tmp_path / "almost.flac", "--fast")
        assert chimed.end() == 0
        clips = kept(folder)
        assert [clip["kind"] for clip in clips] == kinds
        for clip in clips:
            begin = clip["sample"] - clip["clip_sample"]
            assert clip["clip_sample"] == min(clip["sample"], 3 * SAMPLE_RATE)
            assert np.array_equal(clip["samples"], sound[begin : clip["sample"] + SAMPLE_RATE // 2])


def test_a_word_right_before_a_gap_has_its_clip():
    sound = recording(4, [1.0])
    whole = Detector([MODEL])
    place = whole.push(sound)[0].sample
    listener = Listener(Detector([MODEL]), {"beep": 0})
    assert not listener.push(Block(sound[:place]))
    (word,) = listener.push(Block(sound[:5_000], gap=True))
    assert np.array_equal(listener.window(word.sample, 30_000), sound[:place][-30_000:])
    assert np.array_equal(listener.window(listener.heard - 1_000, 2_000), sound[2_000:4_000])
    assert len(listener.window(listener.heard, SAMPLE_RATE)) == 5_000


def test_a_full_disk_does_not_stop_the_listening(start, model_file, small_disk, tmp_path):
    (small_disk / "other").write_bytes(bytes(500_000))
    times = [1.0 + number for number in range(8)]
    soundfile.write(tmp_path / "beeps.flac", recording(10, times), SAMPLE_RATE)
    (tmp_path / "config.yaml").write_text(f"words: [{{model: {model_file}}}]\nclips: {{folder: {small_disk}/clips}}")
    chimed = start("run", "--config", tmp_path / "config.yaml", "--input", tmp_path / "beeps.flac", "--fast")
    assert chimed.end() == 0
    assert len(chimed.lines("heard ")) == len(times)
    assert len(chimed.lines("No space left on device")) == 1
