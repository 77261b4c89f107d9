"""From a phrase to a measured model file in one command, whatever happens on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.detector import score
from model.modelfile import ModelFileError, load, save, shipped
from tests.support.examples import random_model
from tests.support.paths import ROOT
from training.cli.main import parser
from training.corpora.corpus import SPLITS, split_of
from training.measuring.operating_points import CAUTIOUS_THRESHOLD
from training.pipeline.options import TrainWordOptions
from training.pipeline.train_word import train_word
from training.scenes.fallback_material import write_noise
from training.utils.errors import TrainingError
from training.utils.resumable_steps import ResumableSteps, stamp

pytestmark = pytest.mark.slow

COMMAND = [
    sys.executable,
    "-c",
    "import sys; from training.cli.main import main; sys.exit(main())",
    "word",
    "hey computer",
]
START = ["--start", str(shipped()["computer"])]
TINY = ["--clips", "24", "--epochs", "2", "--epoch-batches", "3", "--rows", "2", "--seed", "3", "-o", "hey.npz", *START]
WORDS = "captivate motivate table zebra garden computer commuter hay pay say hello window orange river market"
needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")


def start(folder: Path) -> subprocess.Popen[str]:
    with (folder / "log.txt").open("a") as log:
        return subprocess.Popen(
            [*COMMAND, *TINY, "--words", "words.txt"], cwd=folder, stdout=log, stderr=log, text=True
        )


def prepare(folder: Path) -> Path:
    folder.mkdir()
    (folder / "words.txt").write_text(WORDS)
    return folder


def finish(folder: Path) -> str:
    process = start(folder)
    code = process.wait(1500)
    log = (folder / "log.txt").read_text()
    assert code == 0, log
    return log


def kill_when(folder: Path, pattern: str, count: int = 1) -> None:
    """Starts the command, and kills it as soon as so many files are there."""
    process = start(folder)
    while len(list(folder.glob(pattern))) < count:
        assert process.poll() is None, (folder / "log.txt").read_text()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL


@needs_espeak
@pytest.mark.timeout(2400)  # three trainings, each of which loads TensorFlow
def test_one_command_gives_a_measured_model_and_a_killed_one_gives_the_same(tmp_path) -> None:
    pytest.importorskip("tensorflow", reason="the train extra is not installed")
    from training.learning.schedule import CONTINUED_LEARNING_RATE

    straight, killed = prepare(tmp_path / "straight"), prepare(tmp_path / "killed")
    log = finish(straight)
    assert "step 4 of 4, evaluate" in log

    model = load(straight / "hey.npz")
    assert model.word == "hey computer"
    assert model.training["start"]["word"] == "computer"
    assert model.training["schedule"]["learning_rate"] == CONTINUED_LEARNING_RATE
    assert model.measured["split"] == "test"
    assert model.measured["threshold"] == model.threshold
    assert model.measured["chosen_for"] == {"split": "dev", "false_accepts_an_hour": 0.5}
    thresholds = [row[0] for row in model.measured["points"]]
    assert thresholds == sorted(thresholds)
    recall = model.measured["recall"]
    assert {"synthetic-voices, quiet", "synthetic-voices, 10 dB"} <= set(recall)
    assert recall["synthetic-voices, quiet"]["of"] >= 1
    assert len(score(model, np.zeros(44_100, np.int16))) > 100
    assert model.threshold >= CAUTIOUS_THRESHOLD  # seconds of speech tell nothing
    card = (straight / "hey.md").read_text()
    assert "nobody can see whether it fires more than 0.5 times an hour" in " ".join(card.split())
    for text in ("# hey computer", "24 times 'hey computer'", "no real speech", "missed: synthetic-voices, quiet"):
        assert text in card
    assert "“hey computer”" in (straight / "hey.html").read_text()

    kill_when(killed, "work/hey_computer/speak/synthetic-voices/*.flac", 5)
    assert len(list((killed / "work/hey_computer/speak/synthetic-others").glob("*.flac"))) == 0
    kill_when(killed, "work/hey_computer/fit/checkpoint.npz")
    log = finish(killed)
    assert "step 1 of 4, speak" in log
    assert log.count("step 2 of 4, fill") == 1  # done once, and not again
    assert (killed / "hey.npz").read_bytes() == (straight / "hey.npz").read_bytes()


def test_a_step_is_done_once_and_anew_when_it_or_one_before_it_changes(tmp_path) -> None:
    done: list[str] = []

    def steps(first: int, second: int) -> list[dict]:
        both = ResumableSteps(tmp_path, ["a", "b"])

        def action(folder: Path) -> dict:
            done.append(folder.name)
            assert not (folder / "file").exists() or "crash" in done
            (folder / "file").write_text("")
            return {"number": len(done)}

        return [both.run("a", {"x": first}, action), both.run("b", {"x": second}, action)]

    assert steps(1, 1) == [{"number": 1}, {"number": 2}]
    assert steps(1, 1) == [{"number": 1}, {"number": 2}]
    assert done == ["a", "b"]
    steps(1, 2)
    assert done == ["a", "b", "b"]
    steps(2, 2)
    assert done == ["a", "b", "b", "a", "b"]
    mark = tmp_path / "steps" / "b.json"
    mark.write_text(json.dumps(json.loads(mark.read_text()) | {"done": False}))  # as a crash leaves it
    done.append("crash")
    steps(2, 2)
    assert done[-2:] == ["crash", "b"]
    mark.write_text("{")
    steps(2, 2)
    assert done[-1] == "b"


def test_a_folder_that_no_step_made_is_left_alone(tmp_path) -> None:
    (tmp_path / "speak").mkdir()
    (tmp_path / "speak" / "mine.wav").write_text("mine")
    with pytest.raises(TrainingError, match="speak: this was not made here"):
        ResumableSteps(tmp_path, ["speak"]).run("speak", {}, lambda _: {})
    assert (tmp_path / "speak" / "mine.wav").read_text() == "mine"


def test_a_stamp_changes_with_every_file(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.wav").write_text("one")
    first = stamp([tmp_path / "a"])
    assert first == stamp([tmp_path / "a"])
    (tmp_path / "a" / "y.wav").write_text("")
    assert first != stamp([tmp_path / "a"]) != stamp([tmp_path / "a" / "x.wav"])


def test_noise_that_is_made_up_is_in_every_split(tmp_path) -> None:
    count = write_noise(tmp_path / "coloured-noise", 1)
    files = sorted((tmp_path / "coloured-noise").glob("*.flac"))
    assert len(files) == count >= 21
    splits = {split_of(f"coloured-noise/{path.stem}") for path in files}
    assert splits == {name for name, _ in SPLITS}
    samples, rate = soundfile.read(files[0])
    assert (rate, len(samples)) == (44_100, 20 * 44_100)
    assert 20 * np.log10(samples.std()) == pytest.approx(-30.5, abs=0.5)


@needs_espeak
def test_what_cannot_work_is_said_before_anything_is_made(tmp_path) -> None:
    order = TrainWordOptions("hey computer", tmp_path / "hey.npz", tmp_path / "work")
    for folder in ("one", "two"):
        (tmp_path / folder / "own").mkdir(parents=True)
        soundfile.write(tmp_path / folder / "own" / "a.wav", np.ones(9000) * 0.1, 16_000)
    wrong = {
        "no such folder to write": {"output": tmp_path / "nowhere" / "x.npz"},
        "no such folder": {"negatives": (tmp_path / "nowhere",)},
        "both|two folders of the word are called 'own'": {"positives": (tmp_path / "one/own", tmp_path / "two/own")},
        "not a word list": {"words": tmp_path / "nowhere.txt"},
        "a phrase": {"phrase": " "},
        "relative.npz: a model with another front end": {"start": tmp_path / "relative.npz"},
    }
    save(tmp_path / "relative.npz", random_model())
    for message, change in wrong.items():
        with pytest.raises(TrainingError, match=message):
            train_word(replace(order, **change))
    with pytest.raises(ModelFileError, match="No such file"):
        train_word(replace(order, start=tmp_path / "gone.npz"))
    assert not (tmp_path / "work").exists()


@needs_espeak
def test_without_pocketsphinx_it_says_what_is_lost_and_how_to_get_it(tmp_path, monkeypatch, capsys) -> None:
    class EnoughError(Exception):
        pass

    def stop(*_: object) -> None:
        raise EnoughError

    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    monkeypatch.setattr("training.pipeline.train_word.speak_word", stop)  # the first of the long steps
    with pytest.raises(EnoughError):
        train_word(TrainWordOptions("hey computer", tmp_path / "hey.npz", tmp_path / "work"))
    assert "hears real voices less well: they need the package pocketsphinx" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["computer", "hey computer", "activate"])
def test_make_model_takes_recordings_of_the_word_for_it_and_other_words_against_it(word, tmp_path) -> None:
    """What it hands to `chimed-train word` is read by that command's own parser."""
    data = tmp_path / "data"
    names = ["computer", "mycroft-computer", "mycroft-heycomputer", "view-glass", "mycroft-not-wake-words"]
    for folder in (*(f"words/{name}" for name in names), "speech/read", "speech/talk", "noise/cafe"):
        (data / folder).mkdir(parents=True)
    (data / "speech" / "read" / "transcripts.txt").write_text("1\tone\n")
    program = tmp_path / "chimed-train"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    repository = tmp_path / "repository"
    (repository / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "model", repository / "scripts")
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [repository / "scripts" / "model", word, data]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    arguments = parser().parse_args(answer.stdout.splitlines())

    def found(paths: list[Path]) -> set[str]:
        return {path.name for path in paths}

    positive = {
        "computer": {"computer", "mycroft-computer"},
        "hey computer": {"mycroft-heycomputer"},
        "activate": set(),
    }
    unclear = {"computer": {"mycroft-heycomputer"}}.get(word, set())
    assert arguments.phrase == word
    assert found(arguments.positives) == positive[word]
    assert found(arguments.negatives) == {*names, "talk", "read"} - positive[word] - unclear
    assert found(arguments.backgrounds) == {"cafe"}
    said = {Path(folder).name: text for folder, text in arguments.says}
    assert set(said) == set(names) - {"mycroft-not-wake-words"} - unclear
    assert said["view-glass"] == "view glass"
