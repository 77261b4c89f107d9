"""Guided recording: what is judged of a take, and a whole session in a real terminal at a real microphone."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.paths import DATA
from tests.support.soundserver import SoundServer
from tests.support.soundserver import server as server  # noqa: PLC0414 - a fixture
from tests.support.terminal import Terminal
from tests.training.dsp.test_endpointing import room, spoken

pytest.importorskip("scipy", reason="the train extra is not installed")

from model.frontend import SAMPLE_RATE, Samples
from training.cli.main import main, parser
from training.cli.record import next_command
from training.corpora.corpus import read
from training.corpora.exclude_word import says_word
from training.corpora.transcripts import transcripts
from training.dataset.assignment_functions import load_raw_audio
from training.measuring.recordings_from_options import load_recordings
from training.recording.session import RECORDING_MANIFEST, RecordingFolder
from training.recording.takes import ROOM_SECONDS, TakeEnd, clipped, judge, meter, prompts, text_of

pytestmark = pytest.mark.integration


def test_prompts_ask_for_the_word_in_all_manners_then_speech_then_the_room() -> None:
    asked = prompts("computer", 9, 2, 1)
    assert [prompt.kind for prompt in asked] == ["positives"] * 9 + ["negatives"] * 2 + ["backgrounds"]
    assert all('"computer"' in prompt.ask for prompt in asked[:9])
    assert len({prompt.ask for prompt in asked[:8]}) == 8
    assert len({prompt.name for prompt in asked}) == 12


WORDS = ["activate", "kettle", "captain", "oven", "sister", "Turn", "call me", "seven", "dog", "computer"]


@pytest.mark.parametrize("word", WORDS)
def test_nobody_is_asked_to_read_the_word_as_other_speech(word: str) -> None:
    asked = [prompt.ask for prompt in prompts(word, 0, 8, 0)]
    assert len(set(asked)) == 8
    assert not any(says_word(text_of(ask), word) for ask in asked)
    assert sum(bool(text_of(ask)) for ask in asked) == 7
    # a sentence keeps its number, so that a folder of before goes on with those that it lacks
    others = [prompt.ask for prompt in prompts("wardrobe", 0, 8, 0)]
    assert all(other == ask for other, ask in zip(others[:-1], asked[:-1], strict=True) if not says_word(other, word))


@pytest.mark.parametrize("word", ["a", "t", "!", "the"])
def test_of_a_word_that_nearly_all_sentences_hold_one_is_to_talk(word: str) -> None:
    assert len(prompts(word, 1, 20, 0)) == 21
    assert not any(text_of(prompt.ask) and says_word(text_of(prompt.ask), word) for prompt in prompts(word, 0, 20, 0))


def test_what_was_read_stands_beside_the_recordings(tmp_path: Path) -> None:
    take = judge("negatives", spoken(5, [(0.5, 3.5)]))
    asked = prompts("kettle", 0, 8, 0)
    (tmp_path / "negatives").mkdir()
    theirs = tmp_path / "negatives" / "transcripts.txt"
    theirs.write_bytes(b"mine\tcaf\xe9\n")
    for prompt in (asked[1], asked[7], asked[0]):
        RecordingFolder(tmp_path, "kettle").keep(prompt, take, "a microphone")
    lines = dict(line.split(b"\t") for line in theirs.read_bytes().splitlines())
    known = {prompt.name.encode(): text_of(prompt.ask).encode() for prompt in asked[:2]}
    assert lines == {b"mine": b"caf\xe9", **known}  # nobody knows what was said of anything
    found = {path.stem: text for path, _, text in transcripts(tmp_path / "negatives")}
    assert found == {prompt.name: text_of(prompt.ask) for prompt in asked[:2]}


def test_what_says_the_word_is_asked_for_anew(tmp_path: Path) -> None:
    """A folder that was recorded when one was asked to read "activated" as other speech."""
    take = judge("negatives", spoken(5, [(0.5, 3.5)]))
    before = prompts("wardrobe", 0, 8, 0)
    for prompt in before:
        ask = prompt.ask if text_of(prompt.ask) else "Read aloud: Talk about anything for eight seconds."
        RecordingFolder(tmp_path, "wardrobe").keep(replace(prompt, ask=ask), take, "a microphone")
    asked = prompts("activate", 0, 8, 0)
    folder = RecordingFolder(tmp_path, "activate")
    [left] = [prompt for prompt in asked if not folder.has(prompt)]
    assert left == asked[2]
    folder.keep(left, take, "a microphone")
    again = RecordingFolder(tmp_path, "activate")
    assert all(again.has(prompt) for prompt in asked)
    found = {path.stem: text for path, _, text in transcripts(tmp_path / "negatives")}
    assert found == {prompt.name: text_of(prompt.ask) for prompt in asked[:7]}
    assert len(load_recordings([tmp_path / "negatives"], "all", tmp_path / "work", ["activate"])) == 8


def test_a_folder_is_of_one_word(tmp_path: Path, capsys) -> None:
    [prompt] = prompts("activate", 1, 0, 0)
    RecordingFolder(tmp_path, "activate").keep(prompt, judge("positives", spoken(3, [(1, 0.6)])), "a microphone")
    assert RecordingFolder(tmp_path, "Activate").has(prompt)
    for words in ("1", "2"):
        assert main(["record", str(tmp_path), "--word", "computer", "--words", words]) == 1
        assert capsys.readouterr().err == (
            f'chimed-train: {tmp_path}: it holds recordings of "activate"; name another folder for "computer"\n'
        )
    (tmp_path / "positives" / "01-normally.flac").unlink()
    assert not RecordingFolder(tmp_path, "computer").has(prompt)


def test_a_good_take_is_cut_to_the_word() -> None:
    take = judge("positives", spoken(3, [(1, 0.6)]))
    assert take.heard
    assert take.wrong == ()
    assert take.seconds == pytest.approx(0.67, abs=0.05)
    assert take.level == pytest.approx(-20, abs=2)


@pytest.mark.parametrize(
    ("samples", "sentence"),
    [
        (np.zeros(SAMPLE_RATE, np.int16), "muted"),
        (room(2).astype(np.int16), "Nothing was heard"),
        (spoken(3, [(1, 0.6)], dbfs=-80, level=-50), "very quiet"),
        (spoken(3, [(1, 0.6)], level=1), "clipped"),
        (spoken(5, [(0.5, 3.5)]), "long for a single word"),
        (spoken(2, [(1, 0.08)]), "too short"),
        (spoken(2, [(1, 1.0)]), "cut off"),
        (spoken(4, [(0.5, 0.6), (2.5, 0.5)]), "More than one"),
    ],
)
def test_what_is_wrong_with_a_take_is_said(samples: Samples, sentence: str) -> None:
    assert sentence in " ".join(judge("positives", samples).wrong)


def test_other_speech_and_the_room_are_judged_by_other_measures() -> None:
    assert judge("negatives", spoken(5, [(0.5, 3.5)])).wrong == ()
    assert not judge("negatives", room(5).astype(np.int16)).heard
    quiet = judge("backgrounds", room(5, -70).astype(np.int16))
    assert quiet.heard
    assert quiet.wrong == ()
    assert "speech?" in " ".join(judge("backgrounds", spoken(5, [(2, 0.6)])).wrong)


def test_a_take_ends_by_itself_after_the_word_and_not_before() -> None:
    samples = spoken(4, [(1, 0.6)])
    listening, ended = TakeEnd(), 0
    for first in range(0, len(samples), 2205):
        if listening.push(samples[first : first + 2205]):
            ended = first / SAMPLE_RATE
            break
    assert 2.3 < ended < 2.7
    silent = TakeEnd()
    assert not any(silent.push(room(0.05, seed=n).astype(np.int16)) for n in range(60))


def test_the_meter_rises_with_the_level() -> None:
    bars = [meter(np.full(100, peak, np.int16)).count("█") for peak in (0, 30, 1_000, 8_000, 32_767)]
    assert bars == sorted(bars)
    assert (bars[0], bars[-1]) == (0, 40)
    assert "too loud" in meter(np.full(100, -32_768, np.int16))


def test_a_single_sample_at_full_scale_is_not_clipping() -> None:
    samples = np.zeros(100, np.int16)
    samples[50] = 32_767
    assert not clipped(samples)
    samples[50:53] = -32_768
    assert clipped(samples)


@pytest.fixture
def said() -> Samples:
    """A voice that says "activate"."""
    samples = read(DATA / "activate-demo.flac")
    end = round(json.loads((DATA / "activate-demo.json").read_text())["word_ends_at_seconds"][0] * SAMPLE_RATE)
    return samples[end - round(0.8 * SAMPLE_RATE) : end + round(0.1 * SAMPLE_RATE)]


def sitting(server: SoundServer, folder: Path, *options: str) -> Terminal:
    """`chimed-train record` in a terminal, at the server's microphone."""
    return Terminal("record", folder, *options, environment=server.environment)


def test_a_session_records_retakes_skips_and_quits(server: SoundServer, said: Samples, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    options = ("--words", "3", "--speech", "0", "--rooms", "1")
    with sitting(server, folder, *options) as terminal:
        terminal.wait_for("1 of 4")
        terminal.press("\n")
        terminal.wait_for("●", 3)
        server.say(said)
        terminal.wait_for("Enter: keep")
        terminal.press("p")  # it is played, and asked again
        terminal.wait_for("Enter: keep", 2)
        terminal.press("r")
        terminal.wait_for("Enter: record", 2)
        terminal.press("\n")
        shown = terminal.screen.count("●")
        terminal.wait_for("●", shown + 3)
        server.say(said)
        terminal.wait_for("Enter: keep", 3)
        terminal.press("\n")
        terminal.wait_for("kept: ")
        terminal.wait_for("2 of 4")
        terminal.press("\n")  # nobody says anything
        terminal.wait_for("Nothing was heard")
        terminal.press("s")
        terminal.wait_for("3 of 4")
        terminal.press("q")
        assert terminal.end() == 0
        assert "3 are left" in terminal.screen
    [kept] = (folder / "positives").iterdir()
    samples, rate = soundfile.read(kept, dtype="int16")
    assert rate == SAMPLE_RATE
    assert 0.3 < len(samples) / rate < 1.1
    # what came out of the microphone is what was said into it
    match = np.correlate(said.astype(float), samples[len(samples) // 4 : len(samples) // 2].astype(float), "valid")
    piece = samples[len(samples) // 4 : len(samples) // 2].astype(float)
    assert np.max(match) > 0.8 * np.sum(piece**2)


def test_a_session_goes_on_where_one_ended(server: SoundServer, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    word, _, room_prompt = prompts("activate", 1, 1, 1)
    samples = spoken(1, [(0.3, 0.5)])
    RecordingFolder(mine, "activate").keep(word, judge("positives", samples), "a microphone")
    with sitting(server, mine, "--words", "1", "--speech", "1", "--rooms", "1") as terminal:
        terminal.wait_for("1 of 3 recordings are in")
        terminal.wait_for("2 of 3. Read aloud")
        terminal.press("s")
        terminal.wait_for("3 of 3. Record the room")
        terminal.press("\n")
        terminal.wait_for("Enter: keep")
        terminal.press("\n")
        assert terminal.end() == 0
        assert "1 are left" in terminal.screen
    entries = [json.loads(line) for line in (mine / RECORDING_MANIFEST).read_text().splitlines()]
    assert [entry["file"] for entry in entries] == ["positives/01-normally.flac", "backgrounds/room-01.flac"]
    assert entries[1]["ask"] == room_prompt.ask
    assert soundfile.info(mine / "backgrounds/room-01.flac").duration == pytest.approx(ROOM_SECONDS, abs=0.1)
    # the layout that the other commands read
    (mine / "negatives").mkdir()
    soundfile.write(mine / "negatives" / "other.flac", samples, SAMPLE_RATE)
    raw = load_raw_audio(mine)
    assert (len(raw.activates), len(raw.negatives), len(raw.backgrounds)) == (1, 1, 2)


def test_what_comes_next_is_said_as_a_command_that_the_parser_takes() -> None:
    folder = Path("my recordings")
    known = next_command(folder, "activate", prompts("activate", 1, 1, 1))
    assert known == (
        "chimed-train adapt activate --positives 'my recordings/positives' --negatives 'my recordings/negatives' "
        "--backgrounds 'my recordings/backgrounds' -o mine.npz"
    )
    other = next_command(folder, "hey you", prompts("hey you", 3, 0, 0))
    assert other == "chimed-train word 'hey you' --positives 'my recordings/positives'"
    for command in (known, other):
        arguments = parser().parse_args(shlex.split(command)[1:])
        assert arguments.positives == [folder / "positives"]


def test_keys_come_from_a_pipe_too_and_a_wrong_microphone_is_one_sentence(server: SoundServer, tmp_path: Path) -> None:
    with sitting(server, tmp_path / "a", "--device", "no such thing") as terminal:
        assert terminal.end() == 1
        last = terminal.screen.strip().splitlines()[-1]
    assert last.startswith("chimed-train: no microphone 'no such thing'")
