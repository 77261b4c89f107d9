"""Where a network nearly hears its word in other speech is found, kept, and then repeated in the scenes."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.detector import Detector
from model.modelfile import Model, load
from tests.support.paths import DATA, ROOT
from tests.training.scenes.test_scenes import QUIET
from training.corpora import corpus
from training.learning.hard_negatives import LEAST_POSTERIOR, find_hard_negatives
from training.learning.scene_batches import Folders
from training.scenes.augment import coloured_noises
from training.scenes.scenes import Scenes

pytestmark = pytest.mark.slow

RATE = 44_100
SHIPPED = ROOT / "model" / "words" / "activate.npz"
PLAIN = replace(QUIET, events=(0.0, 0.0, 0.0, 1.0, 0.0))


@pytest.fixture(scope="module")
def model() -> Model:
    return load(SHIPPED)


@pytest.fixture(scope="module")
def talk(tmp_path_factory) -> Path:
    """Eight recordings of noise, and eight with the word in it: the nearest to the word that there is."""
    folder = tmp_path_factory.mktemp("near") / "talk"
    folder.mkdir()
    rng = np.random.default_rng(0)
    word, rate = soundfile.read(DATA / "activate-demo.flac", dtype="float32")
    for number in range(8):
        soundfile.write(folder / f"noise{number}.wav", 0.05 * rng.standard_normal(3 * rate), rate)
        soundfile.write(folder / f"word{number}.wav", word[: 6 * rate], rate)
    return folder


def test_the_moment_found_is_where_the_daemon_hears_the_word(talk, tmp_path, model) -> None:
    speech = corpus.load([talk], tmp_path, "speech")
    found = find_hard_negatives(model, speech, speech.clips, tmp_path)
    assert [Path(moment.path).name for moment in found] == [f"word{number}.wav" for number in range(8)]
    [clip] = [clip for clip in speech.clips if clip.path == found[0].path]
    [heard] = Detector([model]).push(speech[clip])
    assert found[0].score > model.threshold
    assert abs(found[0].sample - heard.sample) < RATE / 2


def test_found_once_for_the_same_weights_and_anew_for_others(talk, tmp_path, model) -> None:
    speech = corpus.load([talk], tmp_path, "speech")
    found = find_hard_negatives(model, speech, speech.clips, tmp_path)
    [file] = tmp_path.glob("near-*.json")
    file.write_text(json.dumps([[*found[0][:2], 0.5], ["elsewhere.wav", 0, LEAST_POSTERIOR / 2]]))
    assert find_hard_negatives(model, speech, speech.clips, tmp_path) == [found[0]._replace(score=0.5)]
    deaf = replace(model, weights=replace(model.weights, dense_bias=np.full(1, -30, np.float32)))
    assert find_hard_negatives(deaf, speech, speech.clips, tmp_path) == []


@pytest.mark.parametrize(("near", "least", "most"), [(1.0, 0.99, 1.0), (0.0, 0.0, 0.35)])
def test_scenes_repeat_what_led_to_such_a_moment(tmp_path, near: float, least: float, most: float) -> None:
    """A minute of 500 Hz with a short 3 kHz before the moment: every excerpt holds it, or hardly one."""
    t = np.arange(60 * RATE) / RATE
    wave = np.where(abs(t - 30) < 0.1, np.sin(2 * np.pi * 3000 * t), np.sin(2 * np.pi * 500 * t))
    for kind in ("positives", "spoken", "speech", "noise"):
        (tmp_path / kind).mkdir()
        for number in range(8):  # of which some are for training
            soundfile.write(tmp_path / kind / f"{number}.wav", 0.1 * wave, RATE)
    folders = Folders(
        *((tmp_path / kind,) for kind in ("positives", "spoken", "speech", "noise")), cache=tmp_path / "cache"
    )
    material = folders.load("train")
    clip = material.clips["speech"][0]
    material.near.append((clip, int(30.1 * RATE)))
    scenes = Scenes(
        material,
        replace(PLAIN, near=near),
        coloured_noises(np.random.default_rng(0), seconds=2),
        np.random.default_rng(1),
    )
    samples = scenes.take(120 * RATE).astype(float)
    low, high = (envelope(samples, hertz) > 300 for hertz in (500, 3000))
    said = low | high
    starts = np.flatnonzero(said[1:] & ~said[:-1]) + 1
    ends = [start + int(np.argmin(said[start:])) for start in starts if not said[start:].all()]
    marked = [high[start:end].any() for start, end in zip(starts, ends, strict=False)]
    assert len(marked) > 20
    assert least <= np.mean(marked) <= most


def envelope(samples: np.ndarray, hertz: int) -> np.ndarray:
    """How loud a tone is, for every 20 ms."""
    mixed = samples * np.exp(-2j * np.pi * hertz / RATE * np.arange(len(samples)))
    return np.abs(mixed[: len(mixed) // 882 * 882].reshape(-1, 882).mean(axis=1))


def test_a_training_says_how_many_there_are(talk, tmp_path, capfd) -> None:
    pytest.importorskip("tensorflow", reason="the train extra is not installed")
    from training.cli.main import main

    folders = [option for name in ("positives", "spoken", "speech", "noise") for option in (f"--{name}", str(talk))]
    options = ["fit", "activate", *folders, "-o", str(tmp_path / "word.npz"), "--work", str(tmp_path / "work")]
    assert main([*options, "--near", "0.3"]) == 1
    assert '--near needs --start NPZ: a model of "activate"' in capfd.readouterr().err
    assert main([*options, "--near", "0.3", "--start", str(SHIPPED.with_name("computer.npz"))]) == 1
    assert '--near needs --start NPZ: a model of "activate"' in capfd.readouterr().err
    start = ["--start", str(SHIPPED), "--no-phones", "--epochs", "1", "--epoch-batches", "2", "--rows", "2"]
    assert main([*options, *start, "--near", "1.3"]) == 1
    assert "a share is wanted, from 0 to 1, not 1.3" in capfd.readouterr().err
    assert main([*options, *start, "--near", "0.3"]) == 0
    assert re.search(r"[1-8] of \d+ recordings of other speech sound like the word", capfd.readouterr().out)
    training = load(tmp_path / "word.npz").training
    assert training["plan"]["recipe"]["near"] == 0.3
    assert training["schedule"]["learning_rate"] == 7e-4  # as always with --start
