"""Real speech that has the word in it teaches the opposite of what it should: it is left out by its text."""

from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from training.corpora.exclude_word import says_word
from training.learning.scene_batches import Folders
from training.measuring.recordings_from_options import load_recordings

LINES = {"one": "It's a COMPUTER terminal...", "two": "Tch! COMPUTERS, eh?", "three": "I'm afraid NOT..."}


@pytest.fixture
def speech(tmp_path) -> Path:
    folder = tmp_path / "talk"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in LINES:
        sf.write(folder / f"{name}.wav", rng.normal(0, 0.1, 16_000), 16_000)
    (folder / "transcripts.txt").write_text("".join(f"{name}\t{text}\n" for name, text in LINES.items()))
    return folder


@pytest.mark.parametrize(
    ("text", "word", "held"),
    [
        ("Tell me about the COMPUTER...", "computer", True),
        ("the computer's gone down", "Computer", True),
        ("a microcomputer", "computer", False),
        ("Hey, computer!", "hey computer", True),
        ("hey, a computer", "hey computer", False),
        ("They activated it", "activate", True),
    ],
)
def test_a_text_holds_a_word_where_one_of_its_words_begins_with_it(text, word, held) -> None:
    assert says_word(text, word) is held


def test_training_leaves_out_the_speech_that_says_the_word(speech, tmp_path, capsys) -> None:
    folders = Folders((speech,), (speech,), (speech,), (speech,), tmp_path / "cache", word="computer")
    material = folders.load("train")
    for others in (material.speech, material.spoken):  # wherever the same folder stands
        assert [Path(clip.path).stem for clip in others.clips] == ["three"]
    assert 'left out: 2 recordings of other speech that by the text say "computer"' in capsys.readouterr().out


def test_what_all_recordings_of_a_folder_say_counts_too(speech, tmp_path) -> None:
    other = tmp_path / "hey"
    other.mkdir()
    (speech / "one.wav").rename(other / "alone.wav")
    says_so = ((other, "hey computer"),)
    folders = Folders((speech,), (speech,), (speech, other), (speech,), tmp_path / "cache", says_so, "computer")
    assert [Path(clip.path).stem for clip in folders.load("train").speech.clips] == ["three"]


def test_a_measurement_leaves_it_out_too_and_keeps_standard_output_free(speech, tmp_path, capsys) -> None:
    found = load_recordings([speech], "all", tmp_path / "work", ["computer"])
    assert [Path(recording.path).stem for recording in found] == ["three"]
    assert len(load_recordings([speech], "all", tmp_path / "work")) == len(LINES)
    answer = capsys.readouterr()
    assert not answer.out
    assert "left out: 2 recordings" in answer.err


def test_texts_are_not_looked_for_outside_the_named_folder(speech, tmp_path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (speech / "transcripts.txt").rename(tmp_path / "elsewhere" / "transcripts.txt")
    assert len(load_recordings([speech], "all", tmp_path / "work", ["computer"])) == len(LINES)


def test_texts_above_the_speakers_folders_count(speech, tmp_path) -> None:
    (speech / "ann").mkdir()
    for name in LINES:
        (speech / f"{name}.wav").rename(speech / "ann" / f"{name}.wav")
    assert len(load_recordings([speech], "all", tmp_path / "work", ["computer"])) == 1
