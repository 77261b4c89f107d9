"""Sorting clips: what is cut out of them, what is written, undone and gone on with, in a real terminal."""

from __future__ import annotations

import json
import wave
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.support.terminal import Terminal
from tests.training.dsp.test_endpointing import room, spoken

pytest.importorskip("scipy", reason="the train extra is not installed")

from model.frontend import SAMPLE_RATE, Samples
from training.dsp.endpointing import Stretch
from training.recording.review import NEGATIVE_SECONDS, REVIEW_MANIFEST, cuts, find, nudged
from training.recording.terminal_view import ROWS, SHADES, picture
from training.utils.errors import TrainingError

pytestmark = pytest.mark.integration


def keep(folder: Path, number: int, samples: Samples, word: str = "beep", kind: str = "heard") -> Path:
    """A clip as the daemon writes it."""
    folder.mkdir(exist_ok=True)
    path = folder / f"20250601T08300{number}.000Z_{word}_0.9{number}{'_near' if kind != 'heard' else ''}.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE, len(samples), "NONE", ""))
        file.writeframes(samples.tobytes())
    about = {"kind": kind, "word": word, "score": 0.9, "threshold": 0.5, "time": "2025-06-01T10:30:00+02:00"}
    path.with_suffix(".json").write_text(json.dumps(about))
    return path


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Four clips, in each of which somebody says something right before the end."""
    folder = tmp_path / "clips"
    for number in range(4):
        kind = "near miss" if number == 3 else "heard"
        keep(folder, number, spoken(4, [(0.5, 1.0), (3.2, 0.4 + 0.1 * number)]), kind=kind)
    return folder


@pytest.fixture
def review(environment: dict[str, str]) -> Iterator[object]:
    """Starts `chimed-train review` in a terminal, where nothing can be played."""
    with ExitStack() as terminals:
        yield lambda *arguments: terminals.enter_context(Terminal("review", *arguments, environment=environment))


def manifest(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / REVIEW_MANIFEST).read_text().splitlines()]


def test_answers_are_written_undone_and_gone_on_with(review, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "sorted"
    terminal = review(clips, "-o", out)
    terminal.wait_for("1 of 4: heard 'beep', score 0.90")
    terminal.wait_for("nothing can be played")
    terminal.press("y")
    terminal.wait_for("2 of 4")
    terminal.press("y")
    terminal.wait_for("3 of 4")
    assert sorted(path.name[:16] for path in (out / "positives").iterdir()) == ["20250601T083000.", "20250601T083001."]
    terminal.press("u")
    terminal.wait_for("2 of 4", 2)
    assert len(list((out / "positives").iterdir())) == 1
    terminal.press("n")
    terminal.wait_for("3 of 4", 2)
    terminal.press("s")
    terminal.wait_for("4 of 4: near miss")
    terminal.press("q")
    assert terminal.end() == 0
    assert "1 are the word, 1 are not, 2 have no answer" in terminal.screen
    assert [(entry["answer"], entry["word"]) for entry in manifest(out)] == [("y", "beep"), ("n", "beep")]
    again = review(clips, "-o", out)
    again.wait_for("2 of 4 clips have an answer already")
    again.wait_for("1 of 2")
    again.press("n")
    again.wait_for("2 of 2: near miss")
    again.press("y")
    assert again.end() == 0
    assert "2 are the word, 2 are not, 0 have no answer" in again.screen
    assert len(manifest(out)) == 4
    assert len(list(clips.glob("*.wav"))) == 4
    first = soundfile.read(next(iter(sorted((out / "positives").iterdir()))))[0]
    assert len(first) / SAMPLE_RATE == pytest.approx(0.47, abs=0.05)
    for path in (out / "negatives").iterdir():
        assert soundfile.info(path).duration == pytest.approx(NEGATIVE_SECONDS, abs=0.01)


def test_the_cut_can_be_moved(review, clips: Path, tmp_path: Path) -> None:
    terminal = review(clips, "-o", tmp_path / "sorted", "--no-play")
    terminal.wait_for("1 of 4")
    terminal.press("bbe")
    terminal.wait_for("0 s", 4)
    terminal.press("y")
    terminal.wait_for("2 of 4")
    terminal.press("q")
    assert terminal.end() == 0
    untouched = cuts(spoken(4, [(0.5, 1.0), (3.2, 0.4)]), 4 * SAMPLE_RATE)["y"]
    begin, end = manifest(tmp_path / "sorted")[0]["cut"]
    assert begin == pytest.approx(untouched.start / SAMPLE_RATE - 0.1, abs=0.002)
    assert end == pytest.approx(untouched.end / SAMPLE_RATE - 0.05, abs=0.002)


def test_a_clip_that_is_damaged_is_passed_over(review, clips: Path, tmp_path: Path) -> None:
    next(iter(sorted(clips.glob("*.wav")))).write_bytes(b"no sound")
    terminal = review(clips, "-o", tmp_path / "sorted", "--no-play")
    terminal.wait_for("not readable as audio")
    terminal.wait_for("2 of 4")
    terminal.press("q")
    assert terminal.end() == 0


def test_several_words_are_told_apart(review, clips: Path, tmp_path: Path) -> None:
    keep(clips, 7, spoken(2, [(1, 0.5)]), word="computer")
    assert len(find(clips)) == 5
    assert len(find(clips, "beep")) == 4
    terminal = review(clips, "-o", tmp_path / "sorted")
    assert terminal.end() == 1
    assert "'beep', 'computer': choose one with --word" in terminal.screen.replace("\r\n", " ")
    with pytest.raises(TrainingError, match="no clips in it of 'alexa'"):
        find(clips, "alexa")


def test_what_a_clip_says_of_itself_cannot_steer_the_terminal(tmp_path: Path) -> None:
    path = keep(tmp_path / "clips", 1, spoken(2, [(1, 0.5)]))
    path.with_suffix(".json").write_text(json.dumps({"kind": "\x1b[2J", "word": "a\nb", "score": "x"}))
    [clip] = find(tmp_path / "clips")
    assert clip.title().isprintable()
    path.with_suffix(".json").write_text("[1")
    [clip] = find(tmp_path / "clips")
    assert clip.about == {}


def test_the_word_is_what_was_said_last() -> None:
    samples = spoken(4, [(0.5, 1.5), (3.0, 0.6)])
    chosen = cuts(samples, len(samples))
    assert chosen["y"].seconds == pytest.approx(0.67, abs=0.05)
    assert chosen["n"] == Stretch(len(samples) - round(NEGATIVE_SECONDS * SAMPLE_RATE), len(samples))
    silent = cuts(room(1).astype(np.int16), SAMPLE_RATE)
    assert silent["y"] == silent["n"] == Stretch(0, SAMPLE_RATE)


@pytest.mark.parametrize("after", [0.0, 0.5])
def test_a_clip_may_go_on_after_the_word(after: float) -> None:
    """Somebody says the word, waits for the chime, and begins to say what the assistant is to do."""
    samples = spoken(4.0, [(0.5, 1.0), (2.6, 0.6), (3.8, 0.2)])
    word = cuts(samples, len(samples) - round(after * SAMPLE_RATE))["y"]
    assert word.start / SAMPLE_RATE == pytest.approx(2.55, abs=0.05)
    assert word.end / SAMPLE_RATE == pytest.approx(3.22, abs=0.05)


def test_who_talks_on_is_cut_off_after_the_decision() -> None:
    samples = spoken(4.0, [(2.4, 1.6)])
    chosen = cuts(samples, round(3.5 * SAMPLE_RATE))
    assert chosen["y"].end / SAMPLE_RATE == pytest.approx(3.8, abs=0.01)
    assert chosen["n"] == Stretch(round(1.5 * SAMPLE_RATE), round(3.5 * SAMPLE_RATE))


@pytest.mark.parametrize(
    ("stored", "decided"), [(60_000, 60_000), (None, 88_200), ("60000", 88_200), (-1, 88_200), (90_000, 88_200)]
)
def test_what_a_clip_says_of_its_end_is_believed_within_reason(tmp_path: Path, stored: object, decided: int) -> None:
    path = keep(tmp_path / "clips", 1, spoken(2, [(1, 0.5)]))
    path.with_suffix(".json").write_text(json.dumps({"word": "beep", "clip_sample": stored}))
    assert find(tmp_path / "clips")[0].decided(88_200) == decided


@given(st.integers(0, 50_000), st.integers(0, 50_000), st.text("bBeE", max_size=60))
def test_however_often_it_is_moved_a_cut_stays_within_the_clip(first: int, second: int, keys: str) -> None:
    length = 50_000
    cut = Stretch(min(first, second), max(first, second))
    for key in keys:
        cut = nudged(cut, key, length)
        assert 0 <= cut.start <= cut.end <= length


def test_a_tone_is_a_line_in_the_picture_and_the_cut_a_bracket_below() -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    tone = (8_000 * np.sin(2 * np.pi * 3_000 * time) * (time > 0.5)).astype(np.int16)
    lines = picture(tone, 40, (SAMPLE_RATE // 2, SAMPLE_RATE)).splitlines()
    assert len(lines) == ROWS + 3
    dark = [row for row in range(ROWS) if lines[row].count(SHADES[-1]) > 15]
    assert len(dark) in (1, 2)
    assert SHADES[-1] not in lines[dark[0]][9:28]
    assert lines[-2].strip().startswith("┗")
    assert lines[-2].index("┗") == pytest.approx(29, abs=1)
    assert lines[-1].split() == ["0", "s", "1.0", "s"]
