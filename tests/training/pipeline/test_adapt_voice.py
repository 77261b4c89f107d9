"""Adapting to one voice: what is held back, what is refused, and the whole loop from a mistake to its end."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from tests.support.terminal import CHIMED_TRAIN, Terminal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow", reason="the train extra is not installed")

from model import modelfile
from model.detector import Detector
from model.frontend import KERNEL, SAMPLE_RATE, WINDOW, FrontEnd, Samples
from model.modelfile import Model
from model.network import UNITS, Weights, weight_shapes
from training.cli.adapt import _folder, _sounds
from training.cli.main import parser
from training.corpora.corpus import Clip, Corpus
from training.learning.fine_tune import FineTuner, FineTuneSettings
from training.measuring.confidence_intervals import Rate
from training.pipeline.adapt_voice import (
    AdaptationSounds,
    AdaptResult,
    Figures,
    Folds,
    Held,
    adapt,
    by_chance,
    coloured_noise,
    notes_of,
    selection,
    verdict,
    words,
)
from training.scenes.material import SceneMaterial
from training.utils.errors import TrainingError
from training.utils.result_cache import ResultCache
from training.voices.negative_texts import handful

pytestmark = pytest.mark.slow

WORD_HZ, OTHER_HZ = 3_000.0, 1_200.0
TONE_SECONDS = 0.12
SEVERAL = 8  # copies of everything, so that dropout never takes all


def gullible() -> Model:
    """Hears a "word" in a short tone of 3 kHz, and, its weakness, in one of 1.2 kHz.

    Filters take the mean of three bins minus that of all; the first layer passes them on, the second remembers them
    for a third of a second.
    """
    bins = 37
    arrays = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(bins).items()}
    candidate = 2 * UNITS
    for place, hz in enumerate((WORD_HZ, OTHER_HZ)):
        filters = slice(place * SEVERAL, (place + 1) * SEVERAL)
        middle = round(hz * WINDOW / SAMPLE_RATE)
        arrays["conv_kernel"][:, :, filters] = -1.0 / (KERNEL * bins)
        arrays["conv_kernel"][:, middle - 1 : middle + 2, filters] += 1.0 / (3 * KERNEL)
    arrays["conv_bias"][: 2 * SEVERAL] = -0.3
    arrays["gru1_kernel"][: 2 * SEVERAL, candidate : candidate + SEVERAL] = 1.0 / SEVERAL
    arrays["gru1_bias"][0, :UNITS] = -30.0
    arrays["gru2_kernel"][:SEVERAL, candidate : candidate + SEVERAL] = 1.0 / SEVERAL
    arrays["gru2_bias"][0, :UNITS] = 3.5
    arrays["dense_kernel"][:SEVERAL] = 40.0 / SEVERAL
    arrays["dense_bias"][0] = -4.0
    return Model("beep", Weights(**arrays), FrontEnd("relative", bins), 0.5)


def tones(seconds: float, places: list[tuple[float, float]], seed: int = 0, dbfs: float = -20) -> Samples:
    """Soft noise with tones of so many hertz at these times."""
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 60, round(seconds * SAMPLE_RATE))
    time = np.arange(round(TONE_SECONDS * SAMPLE_RATE)) / SAMPLE_RATE
    for start, hz in places:
        first = round(start * SAMPLE_RATE)
        tone = 32_768 * 10 ** (dbfs / 20) * 2**0.5 * np.sin(2 * np.pi * hz * rng.uniform(0.98, 1.02) * time)
        samples[first : first + len(tone)] += tone
    return samples.astype(np.int16)


def heard(model: Model, samples: Samples) -> list[float]:
    """When a model fires, s."""
    detector = Detector([model])
    return [found.seconds for found in [*detector.push(samples), *detector.flush()]]


def corpus_of(name: str, count: int, group: Callable[[int], str] = str) -> Corpus:
    clips = (Clip(f"{name}/{n}.wav", f"{name}/{group(n)}", 0, 4_410, -20.0) for n in range(count))
    return Held((clip, np.zeros(4_410, np.int16)) for clip in clips)


@given(st.integers(3, 40), st.integers(2, 8), st.integers(0, 3))
def test_every_word_is_held_back_once_and_never_trained_on_then(count: int, folds: int, seed: int) -> None:
    sounds = AdaptationSounds(
        corpus_of("own", count), corpus_of("said", 4), None, corpus_of("spoken", 20), corpus_of("noise", 6)
    )
    dealt = Folds(sounds, folds, seed)
    assert dealt.count == min(folds, count)
    seen = []
    for fold in range(dealt.count):
        trained = {clip.path for clip in dealt.material(fold).clips["positives"]}
        words, _ = dealt.held_back(fold)
        assert words
        assert not trained & {word.path for word in words}
        assert len(trained) + len(words) == count + 4
        seen += [word.path for word in words]
    assert sorted(seen) == sorted(clip.path for clip in sounds.own.clips)
    assert len(dealt.material(None).clips["positives"]) == count + 4


def test_other_sound_is_held_back_by_speaker() -> None:
    sounds = AdaptationSounds(
        corpus_of("own", 6), None, corpus_of("talk", 30, lambda n: str(n % 5)), None, coloured_noise(0)
    )
    folds = Folds(sounds, 3, 0)
    groups: dict[str, set[int]] = {}
    for fold in range(3):
        material = folds.material(fold)
        trained = {clip.group for clip in material.clips["spoken"]}
        for recording in folds.held_back(fold)[1]:
            if recording.path.startswith("talk"):
                group = next(clip.group for clip in sounds.not_word.clips if clip.path == recording.path)
                assert group not in trained
                groups.setdefault(group, set()).add(fold)
        assert material.clips["noise"]
    assert len(groups) == 5
    assert all(len(held) == 1 for held in groups.values())


@pytest.mark.parametrize("count", [1, 2])
def test_each_training_has_other_sound_to_learn_from_if_there_is_any(count: int) -> None:
    folds = Folds(AdaptationSounds(corpus_of("own", 6), None, corpus_of("talk", count), None, coloured_noise(0)), 3, 0)
    for fold in range(3):
        material = folds.material(fold)
        assert all(material.clips[kind] for kind in ("spoken", "speech", "noise"))


def test_a_selection_gives_each_clip_from_its_own_corpus() -> None:
    one, loud = corpus_of("a", 3), corpus_of("b", 1).clips[0]
    both = selection([(one, one.clips[1]), (Held([(loud, np.ones(4_410, np.int16))]), loud)])
    assert [int(both[clip].sum()) for clip in both.split("train")] == [0, 4_410]


def figures(quiet: int, noisy: int, accepts: int) -> Figures:
    return Figures({"quiet": Rate(quiet, 10), "10 dB": Rate(noisy, 10)}, Rate(accepts, 0.5))


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (figures(5, 5, 0), figures(9, 8, 0), ""),
        (figures(5, 5, 2), figures(5, 5, 2), ""),
        (figures(5, 5, 0), figures(9, 9, 3), ""),  # three more may be chance
        (figures(5, 5, 0), figures(9, 9, 4), "fired 4 times"),
        (figures(5, 5, 10), figures(9, 9, 13), ""),
        (figures(5, 5, 10), figures(9, 9, 25), "fired 25 times"),
        (figures(5, 5, 5), figures(4, 5, 0), "missed 11"),
        (figures(5, 5, 5), figures(6, 4, 0), ""),
    ],
)
def test_what_hears_worse_is_refused(before: Figures, after: Figures, refused: str) -> None:
    reason = verdict(before, after)
    assert (refused in reason) if refused and reason else reason is None


def test_a_difference_is_chance_as_coins_say() -> None:
    assert by_chance(0, 4) == 1 / 16
    assert by_chance(0, 0) == 1
    assert by_chance(3, 3) > 0.5


def test_too_few_recordings_are_refused_and_silence_around_words_is_cut(tmp_path: Path) -> None:
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", tones(2, [(1, 800)], number), SAMPLE_RATE)
    with pytest.raises(TrainingError, match="2 usable recordings"):
        words([tmp_path], tmp_path / "cache")
    soundfile.write(tmp_path / "3.flac", tones(3, [(1, 800)], 3), SAMPLE_RATE)
    found = words([tmp_path], tmp_path / "cache")
    assert all(clip.length / SAMPLE_RATE == pytest.approx(TONE_SECONDS + 0.07, abs=0.03) for clip in found.clips)
    # one that was cut to the word already stays as it is, down to a soft end
    soundfile.write(tmp_path / "cut.wav", tones(0.4, [(0.05, 800)], 4), SAMPLE_RATE)
    again = words([tmp_path], tmp_path / "cache")
    assert max(clip.length for clip in again.clips) == round(0.4 * SAMPLE_RATE)


def test_every_training_begins_with_the_same_weights_and_ends_near_them(tmp_path: Path) -> None:
    """Else what one fold learned from the words that the next one holds back would stay."""
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", tones(1.5, [(0.7, WORD_HZ)], number), SAMPLE_RATE)
    own = words([tmp_path], tmp_path / "cache")
    folds = Folds(AdaptationSounds(own, None, None, corpus_of("talk", 6), coloured_noise(0)), 2, 0)
    tuner = FineTuner(gullible(), FineTuneSettings(batches=3, rows=2, learning_rate=1e-3))
    norms = [layer for layer in tuner._twin.clip.layers if type(layer).__name__ == "BatchNormalization"]
    before = [np.array(variable) for layer in norms for variable in layer.variables]
    first = tuner.tune(folds.material(0), "first", 0)
    tuner.check(first)
    other = tuner.tune(folds.material(1), "other", 1)
    again = tuner.tune(folds.material(0), "again", 0)
    begun = gullible().weights.as_dict()
    for name, array in first.weights.as_dict().items():
        np.testing.assert_array_equal(array, again.weights.as_dict()[name])
        assert np.max(np.abs(array - begun[name])) < 3 * 1e-3
    assert not np.array_equal(first.weights.conv_kernel, other.weights.conv_kernel)
    assert not np.array_equal(first.weights.conv_kernel, begun["conv_kernel"])
    # BatchNorm is frozen: its scale and shift as well as what it knows of the data's mean and variance
    assert len(before) >= 4 * 3
    for array, variable in zip(before, (each for layer in norms for each in layer.variables), strict=True):
        np.testing.assert_array_equal(array, np.array(variable))


def train(*arguments: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [*CHIMED_TRAIN, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


TINY = ("--synthetic", 0, "--rows", 4, "--folds", 2, "--threads", 1)


def test_from_a_mistake_to_its_end(tmp_path: Path, call, environment: dict[str, str]) -> None:
    """The daemon keeps clips, a person sorts them, the model learns: the false accept is gone, the word still heard."""
    first, config = tmp_path / "beep.npz", tmp_path / "config.yaml"
    modelfile.save(first, gullible())
    places = [(2.0 + 3 * n, WORD_HZ if n % 2 == 0 else OTHER_HZ) for n in range(12)]
    soundfile.write(tmp_path / "day.wav", tones(38, places), SAMPLE_RATE)
    clips, out, second = tmp_path / "clips", tmp_path / "sorted", tmp_path / "beep_adapted.npz"
    config.write_text(f"words:\n- model: {first}\nclips:\n  folder: {clips}\n  seconds: 2.5\n  after: 0.5\n")
    ran = call("run", "--config", config, "--input", tmp_path / "day.wav", "--fast")
    assert ran.returncode == 0, ran.stderr
    assert len(list(clips.glob("*.wav"))) == 12, ran.stderr

    with Terminal("review", clips, "-o", out, "--no-play", environment=environment) as terminal:
        for number in range(12):
            terminal.wait_for(f"{number + 1} of 12")
            terminal.press("y" if number % 2 == 0 else "n")
        assert terminal.end() == 0

    adapted = train(
        *("adapt", "beep.npz", "--positives", out / "positives", "--negatives", out / "negatives"),
        *("--batches", 80, "--learning-rate", 1.5e-3, *TINY),
        folder=tmp_path,
    )
    assert adapted.returncode == 0, adapted.stderr + adapted.stdout
    assert "| words heard, quiet | 6 of 6 " in adapted.stdout
    model = modelfile.load(second)
    assert model.training["own_recordings"] == 6
    measured = model.measured["adapted"]
    # the model that is made by hand fires on some of the coloured noise, too
    assert measured["before"]["false_accepts"] >= 6
    assert measured["after"]["false_accepts"] < measured["before"]["false_accepts"]

    fresh = tones(20, [(2.0 + 3 * n, WORD_HZ if n % 2 == 0 else OTHER_HZ) for n in range(6)], seed=9)
    assert len(heard(gullible(), fresh)) == 6
    assert heard(model, fresh) == pytest.approx([2.1, 8.1, 14.1], abs=0.4)


def test_what_would_hear_worse_is_not_written(tmp_path: Path) -> None:
    """Recordings that are not the word at all, learned much too fast."""
    modelfile.save(tmp_path / "first.npz", gullible())
    for kind, hz in (("positives", WORD_HZ), ("negatives", WORD_HZ)):
        (tmp_path / kind).mkdir()
        for number in range(4):
            samples = tones(1.5, [(0.7, hz)], number)
            soundfile.write(tmp_path / kind / f"{number}.wav", samples, SAMPLE_RATE)
    result = train(
        *("adapt", tmp_path / "first.npz", "--positives", tmp_path / "positives"),
        *("--negatives", tmp_path / "negatives", "-o", tmp_path / "second.npz", "--work", tmp_path / "work"),
        *("--batches", 30, "--learning-rate", 0.02, *TINY),
    )
    assert result.returncode == 1
    assert "it missed" in result.stderr.splitlines()[-1]
    assert "| words heard, quiet | 4 of 4 " in result.stdout
    assert not (tmp_path / "second.npz").exists()


class InterruptedTuner(FineTuner):
    """Notes which trainings were done; interrupted after one of them, as by Ctrl-C."""

    last = ""

    def begin(self, last: str = "") -> None:
        self.titles: list[str] = []
        self.last = last

    def tune(self, material: SceneMaterial, title: str, number: int = 0) -> Model:
        model = super().tune(material, title, number)
        self.titles.append(title)
        if title == self.last:
            raise KeyboardInterrupt
        return model


def test_an_interrupted_adaptation_goes_on_with_the_next_training(tmp_path: Path) -> None:
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", tones(1.5, [(0.7, WORD_HZ)], number), SAMPLE_RATE)
    own = words([tmp_path], tmp_path / "cache")
    sounds = AdaptationSounds(own, None, None, corpus_of("talk", 6), corpus_of("noise", 4))
    folds, start = Folds(sounds, 2, 0), gullible()
    tuner = InterruptedTuner(start, FineTuneSettings(batches=2, rows=2))

    def run(folder: str) -> AdaptResult:
        return adapt(start, sounds, tuner, folds, notes_of(start, sounds, tuner, folds, tmp_path / folder))

    tuner.begin(last="training 2 of 3")
    with pytest.raises(KeyboardInterrupt):
        run("work")
    tuner.begin()
    interrupted = run("work")
    assert tuner.titles == ["training 2 of 3", "training 3 of 3"]
    tuner.begin()
    whole = run("elsewhere")
    assert tuner.titles == ["training 1 of 3", "training 2 of 3", "training 3 of 3"]
    assert (interrupted.before, interrupted.after) == (whole.before, whole.after)
    assert interrupted.model.measured == whole.model.measured
    for name, array in whole.model.weights.as_dict().items():
        np.testing.assert_array_equal(array, interrupted.model.weights.as_dict()[name])
    # with other settings nothing is known
    others = Folds(sounds, 2, 1)
    assert notes_of(start, sounds, tuner, others, tmp_path / "work").get("0") is None
    assert notes_of(start, sounds, tuner, folds, tmp_path / "work").get("1") is not None


def test_notes_are_of_one_subject_and_survive_damage(tmp_path: Path) -> None:
    notes = ResultCache(tmp_path, "adapted", [b"a", b"bc"])
    assert notes.get("0") is None
    result = [figures(5, 6, 2).exact()]
    notes.keep("0", result)
    notes.keep("1", 7)
    assert ResultCache(tmp_path, "adapted", [b"ab", b"c"]).get("0") is None
    known = ResultCache(tmp_path, "adapted", [b"a", b"bc"])
    assert Figures.of(known.get("0")[0]) == figures(5, 6, 2)
    assert known.get("1") == 7
    for damaged in ("[1]", "{", ""):
        notes.path.write_text(damaged)
        assert ResultCache(tmp_path, "adapted", [b"a", b"bc"]).get("0") is None


def test_of_a_dictionary_those_spelled_like_the_word_are_kept() -> None:
    others = [f"{first}{second}zz" for first in "bdfghjklmnp" for second in "bdfghjklmnpqrs"]
    like = ["active", "activation", "captivate", "actuate", "inactivate"]
    chosen = handful("activate", [*others, *like], 20, 0)
    assert set(like) <= set(chosen)
    assert len(chosen) == len(set(chosen)) == 20
    assert handful("activate", [*others, *like], 20, 0) == chosen
    assert handful("activate", like, 20, 0) == sorted(like)


def test_other_sound_that_by_its_text_is_the_word_is_left_out(tmp_path: Path, capsys) -> None:
    for number in range(3):
        for kind, hz in (("positives", WORD_HZ), ("negatives", OTHER_HZ)):
            (tmp_path / kind).mkdir(exist_ok=True)
            soundfile.write(tmp_path / kind / f"{number}.wav", tones(1.5, [(0.7, hz)], number), SAMPLE_RATE)
    command = ["adapt", "x", "--positives", tmp_path / "positives", "--negatives", tmp_path / "negatives"]
    command += ["--synthetic", 0, "--work", tmp_path / "work"]
    arguments = parser().parse_args(list(map(str, command)))
    (tmp_path / "negatives" / "transcripts.txt").write_text("0\tTwo BEEPS, then\n1\tnothing at all\n")
    assert [Path(clip.path).stem for clip in _sounds(arguments, gullible()).not_word.clips] == ["1", "2"]
    assert 'by the text say "beep"' in capsys.readouterr().out
    (tmp_path / "negatives" / "transcripts.txt").write_text("".join(f"{number}\ta beep\n" for number in range(3)))
    with pytest.raises(TrainingError, match='by their texts all recordings say "beep"'):
        _sounds(arguments, gullible())


def test_each_phrase_is_spoken_into_a_folder_of_its_own() -> None:
    phrases = ["activate", "アクティベート", "コンピュータ", "hey computer", "hey-computer", "Hey Computer"]
    folders = [_folder(phrase, Path("work"), 400, 0) for phrase in phrases]
    assert len(set(folders)) == len(phrases)
    assert folders[3].parent == Path("work")
    assert folders[3].name.startswith("spoken-hey-computer-")
    assert folders[3] != _folder("hey computer", Path("work"), 400, 1)


def test_mistakes_of_the_command_line_are_one_sentence(tmp_path: Path) -> None:
    modelfile.save(tmp_path / "first.npz", replace(gullible(), word="beep"))
    for number in range(3):
        soundfile.write(tmp_path / f"{number}.wav", tones(1.5, [(0.7, WORD_HZ)], number), SAMPLE_RATE)
    arguments = ("adapt", tmp_path / "first.npz", "--positives", tmp_path, "-o", tmp_path / "x.npz")
    alone = train(*arguments, "--work", tmp_path / "work", "--synthetic", 0)
    assert alone.returncode == 1
    assert alone.stderr.splitlines()[-1].startswith("chimed-train: without synthetic voices")
    wrong = train(*arguments, "--batches", "none")
    assert wrong.returncode == 2
    assert "a whole number from 1 on" in wrong.stderr
    nowhere = train(*arguments[:-1], tmp_path / "nowhere" / "x.npz")
    assert (nowhere.returncode, nowhere.stderr.splitlines()) == (
        1,
        [f"chimed-train: {tmp_path / 'nowhere'}: no such folder; make it first, for the model file"],
    )
    folder = train(*arguments[:-1], tmp_path, "--synthetic", 0)
    assert folder.returncode == 1
    assert folder.stderr == f"chimed-train: {tmp_path}: a folder; name the model file, such as {tmp_path}/mine.npz\n"
    missing = train("adapt", tmp_path / "no.npz", *arguments[2:])
    assert missing.returncode == 1
    ships = ", ".join(modelfile.shipped())
    wanted = f"chimed-train: {tmp_path / 'no.npz'} is neither a model file nor a word that ships ({ships})\n"
    assert missing.stderr == wanted
