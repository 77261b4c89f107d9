"""The situations of `chimed-train stress` are what their names say, and a model that hears a tone is judged rightly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.frontend import SAMPLE_RATE
from model.modelfile import save
from tests.support.chimed import TONE, recording, tone_model
from training.cli.main import main
from training.dsp.decode import active_level
from training.measuring import stress
from training.measuring.score_recordings import LATE_SECONDS, Recording

pytestmark = pytest.mark.slow

WORD = (9_000 * np.sin(2 * np.pi * TONE * np.arange(SAMPLE_RATE // 2) / SAMPLE_RATE)).astype(np.int16)
OTHER = (7_000 * np.sin(2 * np.pi * 500 * np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE)).astype(np.int16)


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    monkeypatch.setattr(stress, "SOUND_MINUTES", 1)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.astype(float), other.astype(float))[0, 1])


def test_words_lie_where_the_scene_says(rng) -> None:
    scene = stress.in_room([(0.0, WORD), (stress.REPEAT, WORD)], rng)
    (first, end), (again, last) = scene.words
    assert again - end == int(stress.REPEAT * SAMPLE_RATE)
    assert len(scene.samples) - last == first == int(stress.AROUND * SAMPLE_RATE)
    for start, stop in scene.words:
        assert correlation(scene.samples[start:stop], WORD) > 0.99
    assert np.abs(scene.samples[: first - 1].astype(int)).max() < 500


def test_a_sentence_goes_on_around_the_word_as_loud(rng) -> None:
    scene = stress.in_sentence([Recording(OTHER)], WORD, rng)
    ((first, last),) = scene.words
    assert correlation(scene.samples[first:last], WORD) > 0.99
    gap = int(stress.GAP * SAMPLE_RATE)
    for around in (scene.samples[first - gap - 20_000 : first - gap], scene.samples[last + gap : last + gap + 20_000]):
        assert active_level(around) == pytest.approx(active_level(WORD), abs=1)


def test_what_lies_under_the_word_is_so_much_softer(rng) -> None:
    noise = rng.normal(0, 300, 6 * SAMPLE_RATE).astype(np.int16)
    scene = stress.over([Recording(noise)], WORD, rng)
    first = scene.words[0][0]
    assert active_level(scene.samples[:first]) == pytest.approx(active_level(WORD) - stress.NOISE_DB, abs=0.7)


def test_babble_is_so_many_people_at_once_each_as_loud(monkeypatch) -> None:
    monkeypatch.setattr(stress, "TALKERS", 3)
    count = 12 * SAMPLE_RATE
    t = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    pitches = (300, 500, 700)
    levels = (300, 3_000, 12_000)
    tones = [
        (level * np.sin(2 * np.pi * pitch * t)).astype(np.int16) for level, pitch in zip(levels, pitches, strict=True)
    ]
    babble = stress.babble([Recording(tone) for tone in tones], count, 4)
    assert len(babble) == count
    assert active_level(babble) == pytest.approx(stress.SOUND_DBFS, abs=0.5)
    # each talker says each recording once in nine seconds, so each pitch is there three times in them, as loud
    spectrum = np.abs(np.fft.rfft(babble[: 9 * SAMPLE_RATE]))
    near = [spectrum[9 * pitch - 20 : 9 * pitch + 21] for pitch in pitches]
    energy = np.array([np.sum(part**2) for part in near])
    assert energy.max() < 9 * energy.min()  # who are in step add up; as recorded they are 1600 apart
    # and never is it one of them alone
    for start in range(0, count, SAMPLE_RATE):
        assert active_level(babble[start : start + SAMPLE_RATE]) > stress.SOUND_DBFS - 6
    np.testing.assert_array_equal(babble, stress.babble([Recording(tone) for tone in tones], count, 4))
    # who says the same one recording does not say it in step
    click = np.zeros(4 * SAMPLE_RATE, np.int16)
    click[SAMPLE_RATE : SAMPLE_RATE + 4_000] = WORD[:4_000]
    loud = np.abs(stress.babble([Recording(click)], 4 * SAMPLE_RATE, 4).astype(float)) > 300
    assert np.count_nonzero(np.diff(np.flatnonzero(loud)) > 2_000) >= 2


def test_levels_clipping_bandwidth_and_halves() -> None:
    assert active_level(stress.at_level(WORD, -40)) == pytest.approx(-40, abs=0.3)
    clipped = stress.overdriven(np.random.default_rng(2).normal(0, 1000, 44_100).astype(np.int16))
    assert np.mean(np.abs(clipped.astype(int)) >= 32_767) == pytest.approx(0.05, abs=0.005)
    hiss = (6_000 * np.sin(2 * np.pi * 12_000 * np.arange(44_100) / SAMPLE_RATE)).astype(np.int16)
    assert np.abs(stress.narrow(stress.Situation(hiss)).samples[1000:-1000]).max() < 60
    assert correlation(stress.narrow(stress.Situation(WORD)).samples, WORD) > 0.999
    half = stress.first_half(WORD)
    assert len(half) == len(WORD) // 2
    assert half[-1] == 0


def test_the_word_is_cut_out_of_the_quiet_around_it(rng) -> None:
    quiet = rng.normal(0, 20, (2, round(1.2 * SAMPLE_RATE))).astype(np.int16)
    word = stress.word_in(np.concatenate([quiet[0], WORD, quiet[1]]))
    assert len(word) == pytest.approx(len(WORD), abs=0.07 * SAMPLE_RATE)
    assert correlation(word[len(word) - len(WORD) :], WORD) > 0.9
    # half of it is half of the word, not the quiet before it
    assert active_level(stress.first_half(word)) == pytest.approx(active_level(WORD), abs=1)
    # and what is said again comes as long after the word as the line says
    for scene in (
        stress.in_room([(0.0, word), (stress.REPEAT, word)], rng),
        stress.in_sentence([Recording(OTHER)], word, rng),
    ):
        for first, last in scene.words:
            assert active_level(scene.samples[first : first + SAMPLE_RATE // 10]) > -30
            assert active_level(scene.samples[last - SAMPLE_RATE // 10 : last]) > -30
    # one that was cut to the word already stays as it is
    np.testing.assert_array_equal(stress.word_in(WORD), WORD)


def test_a_thump_before_the_word_does_not_take_it_away(rng) -> None:
    count = SAMPLE_RATE // 2
    thump = 30_000 * np.sin(2 * np.pi * 2 * np.arange(count) / SAMPLE_RATE) * np.hanning(count)
    parts = [thump, np.zeros(SAMPLE_RATE), WORD // 40, np.zeros(SAMPLE_RATE)]
    samples = np.concatenate(parts) + rng.normal(0, 1, sum(map(len, parts)))
    word = stress.word_in(samples.astype(np.int16))
    assert len(word) == pytest.approx(len(WORD), abs=0.08 * SAMPLE_RATE)


def test_a_firing_stands_for_one_word_and_for_none_that_is_long_over() -> None:
    late = int(LATE_SECONDS * SAMPLE_RATE)
    words = [(1000, 2000), (3000, 4000)]
    assert stress.found(words, [1500, 3500]).count == 2
    assert stress.found(words, [1500]).count == 1
    assert stress.found(words, [3500, 3600]).count == 2  # the first one late, the second one early
    assert stress.found(words, [999, 4001 + late]).count == 0


def test_it_says_what_a_model_hears_and_what_it_takes_for_the_word() -> None:
    sounds = stress.StressSounds(
        words=[Recording(WORD)] * 3,
        speech=[Recording(OTHER, "speech")],
        near=[("the word itself", [WORD] * 2), ("another tone", [OTHER[:20_000]] * 2)],
    )
    lines = {line.title: line for line in stress.stress(tone_model(), sounds, minutes=1)}
    assert (lines["in a quiet room"].rate.count, lines["in a quiet room"].rate.total) == (3, 3)
    assert (lines["through 16 kHz"].rate.count, lines["through 16 kHz"].rate.total) == (3, 3)
    twice = lines["twice, 0.6 s apart (both must be heard)"]
    assert (twice.kind, twice.rate.count, twice.rate.total) == ("heard", 6, 6)
    assert lines["after 1 minutes of speech and noise"].rate.total == 3
    assert lines["after 1 minutes of speech and noise"].rate.count == 3
    assert (lines["“the word itself”"].kind, lines["“the word itself”"].rate.count) == ("fired", 2)
    assert lines["“another tone”"].rate.count == 0
    assert lines["digital silence"].rate.count == 0
    assert lines["digital silence"].rate.total == pytest.approx(1 / 60)
    assert lines["6 people talk at once, 10 dB below"].rate.count == 3
    assert (lines["6 people talk at once"].kind, lines["6 people talk at once"].rate.count) == ("hours", 0)
    # they say the word, too
    crowd = stress.StressSounds(words=[Recording(WORD)], speech=[Recording(np.concatenate([OTHER, WORD]))])
    (talk,) = (line for line in stress.stress(tone_model(), crowd, minutes=0) if line.title == "6 people talk at once")
    assert talk.rate.count > 0


def test_the_command_prints_tables_or_json(tmp_path: Path, capsys) -> None:
    save(tmp_path / "beep.npz", tone_model())
    for kind, samples in (("words", WORD), ("speech", OTHER), ("room", recording(4, []))):
        (tmp_path / kind).mkdir()
        soundfile.write(tmp_path / kind / "1.wav", samples, SAMPLE_RATE)
    (tmp_path / "words" / "2.wav").write_text("no sound")
    command = ["stress", str(tmp_path / "beep.npz"), "--positives", str(tmp_path / "words"), "--minutes", "0"]
    command += ["--speech", str(tmp_path / "speech"), "--noise", str(tmp_path / "room"), "--work", str(tmp_path / "w")]
    assert main(command) == 0
    printed, told = capsys.readouterr()
    assert "left out" in told
    assert "left out" not in printed  # where JSON may stand
    assert "| in a quiet room" in printed
    assert "1 of 1, 100% [21%-100%]" in printed
    assert "| room, 10 dB below" in printed
    assert "| mains hum " in printed.split("fired, per hour")[1]
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures[0] == {"what": "in a quiet room", "kind": "heard", "count": 1, "total": 1}
    assert main(["stress", str(tmp_path / "beep.npz"), "--positives", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err
