"""Synthetic voices say the word: real engines, real files."""

import json
import os
import re
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.extras import install
from tests.support.paths import DATA
from training.utils.errors import TrainingError
from training.voices import kokoro
from training.voices.engines import SpokenText, Voice, find_voices, shares
from training.voices.synthesize import ORDER, SPEECH_MANIFEST, draw, sentences, speak, speak_all, trim

pytestmark = pytest.mark.slow

needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
needs_festival = pytest.mark.skipif(not shutil.which("text2wave"), reason="festival is not installed")
ENGINES = ["espeak-ng", "flite", "text2wave"]


@pytest.mark.parametrize("program", ENGINES)
def test_every_engine_says_the_word_and_is_trimmed(program) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")
    engine = "festival" if program == "text2wave" else program
    voice = next(voice for voice in find_voices() if voice.engine == engine)
    samples, rate = speak(SpokenText("activate", voice, 1.0, 0.0))
    assert 0.3 < len(samples) / rate < 1.3
    edge = rate // 100
    loudest = np.abs(samples).max()
    assert np.abs(samples[:edge]).max() > 0.005 * loudest
    assert np.abs(samples[-edge:]).max() > 0.005 * loudest


@needs_espeak
def test_a_faster_rate_is_a_shorter_word() -> None:
    voice = Voice("espeak-ng", "en-us")
    lengths = [len(speak(SpokenText("activate", voice, rate, 0.0))[0]) for rate in (0.7, 1.0, 1.4)]
    assert lengths[0] > lengths[1] > lengths[2]


@needs_festival
def test_an_engine_that_fails_is_reported_with_its_voice() -> None:
    with pytest.raises(TrainingError, match="no_such_voice"):
        speak(SpokenText("activate", Voice("festival", "no_such_voice"), 1.0, 0.0))


def test_without_any_engine_the_user_is_told_what_to_install(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TrainingError, match="apt install espeak-ng"):
        find_voices()


def test_trim_keeps_the_word_and_nothing_else() -> None:
    silence = np.zeros(1000, np.float32)
    word = np.sin(np.arange(3200) / 5).astype(np.float32)
    trimmed = trim(np.concatenate([silence, word, silence]), 16_000)
    assert len(word) <= len(trimmed) <= len(word) + 2 * 160
    assert not len(trim(silence, 16_000))
    assert not len(trim(silence[:5], 16_000))


@needs_espeak
def test_the_same_seed_draws_the_same_utterances() -> None:
    voices = find_voices()
    first, again, other = (draw(["a", "b"], voices, 50, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert {utterance.text for utterance in first} == {"a", "b"}
    assert all(0.75 <= utterance.rate <= 1.35 for utterance in first)


@needs_espeak
def test_an_interrupted_run_goes_on_and_the_manifest_tells_who_said_what(tmp_path) -> None:
    utterances = [SpokenText(text, Voice("espeak-ng", "en-us"), 1.0, 0.0) for text in ("one", "two", "three")]
    assert speak_all(utterances[:2], tmp_path, "test") == 0
    kept = (tmp_path / "00001.flac").stat().st_mtime_ns
    assert speak_all(utterances, tmp_path, "test") == 0
    assert (tmp_path / "00001.flac").stat().st_mtime_ns == kept
    manifest = [json.loads(line) for line in (tmp_path / SPEECH_MANIFEST).read_text().splitlines()]
    assert [entry["text"] for entry in manifest] == ["one", "two", "three"]
    for entry in manifest:
        assert soundfile.info(tmp_path / entry["file"]).duration > 0.1
    assert not list(tmp_path.glob("*.part"))


@needs_espeak
def test_what_was_said_before_in_a_folder_is_not_taken_for_something_else(tmp_path) -> None:
    one, two = ([SpokenText(text, Voice("espeak-ng", "en-us"), 1.0, 0.0)] for text in ("one", "two"))
    speak_all(one, tmp_path, "test")
    sound = (tmp_path / "00000.flac").read_bytes()
    with pytest.raises(TrainingError, match=r"00000\.flac: here something else was said before"):
        speak_all(two, tmp_path, "test")
    assert (tmp_path / "00000.flac").read_bytes() == sound
    (tmp_path / ORDER).unlink()  # as folders of an older version lack it
    assert speak_all(one, tmp_path, "test") == 0
    with pytest.raises(TrainingError, match="something else was said before"):
        speak_all(two, tmp_path, "test")
    (tmp_path / "00000.flac").unlink()
    assert speak_all(two, tmp_path, "test") == 0


@needs_festival
def test_an_utterance_that_fails_is_counted_not_hidden(tmp_path, capsys) -> None:
    bad = SpokenText("one", Voice("festival", "no_such_voice"), 1.0, 0.0)
    assert speak_all([bad], tmp_path, "test") == 1
    assert "no_such_voice" in capsys.readouterr().out


def test_sentences_are_made_of_the_words() -> None:
    made = sentences(["a", "b"], 20, np.random.default_rng(0))
    assert len(made) == 20
    assert all(3 <= len(sentence.split()) <= 9 and set(sentence.split()) <= {"a", "b"} for sentence in made)


@needs_espeak
@pytest.mark.parametrize("name", ["en-xx", "en-us+nobody"])
def test_a_voice_that_espeak_lacks_is_an_error_and_not_its_default_voice(name) -> None:
    with pytest.raises(TrainingError, match="has no voice"):
        speak(SpokenText("one", Voice("espeak-ng", name), 1.0, 0.0))


def test_engines_share_the_work_whichever_there_are() -> None:
    def of(*names: str) -> dict[str, float]:
        return shares([Voice(name, str(number)) for number, name in enumerate(names)])

    for engines in (["flite"], ["piper"], ["espeak-ng", "festival"], ["espeak-ng", "flite", "festival", "piper"]):
        found = of(*engines)
        assert set(found) == set(engines)
        assert sum(found.values()) == pytest.approx(1)
    assert of("espeak-ng", "flite", "festival")["festival"] < 0.03
    one, many = of("espeak-ng", "piper")["piper"], of("espeak-ng", *["piper"] * 900)["piper"]
    assert 0.1 < one < 0.2 < many == 0.8


@pytest.fixture
def piper(tmp_path, monkeypatch) -> Path:
    """The folder of two voices of Piper, one of them with three speakers; they hum (tests/make/voices.py)."""
    programs = Path(sys.executable).parent  # of the environment that runs the tests, active or not
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    if not shutil.which("piper"):
        pytest.skip("Piper is not installed (pip install piper-tts)")
    shutil.copytree(DATA / "piper", tmp_path / "voices")
    return tmp_path / "voices"


def hertz_of(samples: np.ndarray, rate: int) -> float:
    """The pitch that is heard most."""
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples))


def test_every_speaker_of_a_piper_voice_speaks_at_the_rate_asked_for(piper) -> None:
    voices = [voice for voice in find_voices(piper) if voice.engine == "piper"]
    assert len({voice.name for voice in voices}) == len(voices) == 4
    lengths, pitches = {}, []
    for rate in (0.8, 1.25):
        samples, hertz = speak(SpokenText("activate", voices[3], rate, 0.0))
        lengths[rate] = len(samples) / hertz
    assert lengths[0.8] / lengths[1.25] == pytest.approx(1.25 / 0.8, rel=0.02)
    for voice in voices[1:]:
        samples, hertz = speak(SpokenText("activate", voice, 1.0, 0.0))
        pitches.append(hertz_of(samples, hertz))
    assert np.diff(pitches) == pytest.approx([60, 60], abs=15)


def test_pipers_voices_may_be_named_by_the_environment(piper, monkeypatch) -> None:
    monkeypatch.setenv("PIPER_VOICES", str(piper))
    assert "piper" in {voice.engine for voice in find_voices()}


KOKORO = DATA / "kokoro"
needs_kokoro = pytest.mark.skipif(not find_spec("onnxruntime"), reason="onnxruntime is not installed")


@needs_espeak
@needs_kokoro
def test_kokoros_voices_and_those_made_of_two_speak_with_their_timbre_and_manner() -> None:
    """The voices of tests/make/voices.py hum: the timbre is their pitch, the manner how loud they are."""
    names = [voice.name for voice in find_voices(kokoro_folder=KOKORO) if voice.engine == "kokoro"]
    heard = {}
    for name in names:
        samples, rate = speak(SpokenText("activate", Voice("kokoro", name), 1.0, 0.0))
        heard[name.partition("#")[2].partition("@")[0]] = hertz_of(samples, rate), float(np.abs(samples).max())
    expected = {"af_low": (200, 0.25), "bm_high": (400, 0.75), "af_low+bm_high": (300, 0.5)}
    expected |= {"af_low/bm_high": (200, 0.75), "bm_high/af_low": (400, 0.25)}
    assert set(heard) == set(expected)
    for name, (hertz, loudness) in expected.items():
        assert heard[name] == pytest.approx((hertz, loudness), rel=0.02), name
    assert [kokoro.is_own(name) for name in names] == [True, True, False, False, False]


@needs_espeak
@needs_kokoro
def test_kokoro_speaks_at_the_rate_asked_for_and_with_the_accent_of_the_voice() -> None:
    lengths = [len(kokoro.say(f"{KOKORO}#af_low@en-us", "activate", rate, 0.0)[0]) for rate in (0.8, 1.25)]
    assert lengths[0] / lengths[1] == pytest.approx(1.25 / 0.8, rel=0.01)
    assert kokoro.phonemes("computer", "en-us") != kokoro.phonemes("computer", "en-gb")
    # an ending more is a token more
    ends = {len(kokoro.say(f"{KOKORO}#af_low@en-us", "activate", 1.0, melody)[0]) for melody in (-1.0, -0.5, 1.0)}
    assert len(ends) == 2
    with pytest.raises(TrainingError, match="does not say"):
        kokoro.phonemes(".", "en-us")


@needs_kokoro
def test_kokoros_folder_may_be_named_by_the_environment_and_has_its_share(monkeypatch) -> None:
    monkeypatch.setenv("KOKORO", str(KOKORO))
    assert "kokoro" in {voice.engine for voice in find_voices()}
    many = [Voice("kokoro", f"x#{number}@en-us") for number in range(54)]
    made = [Voice("kokoro", f"x#{number}+0@en-us") for number in range(4000)]
    found = shares([Voice("espeak-ng", "en-us"), *many[:2], *made])
    assert found == shares([Voice("espeak-ng", "en-us"), *many[:2]])
    assert found["kokoro"] == pytest.approx(0.2)
    assert shares([Voice("espeak-ng", "en-us"), *many])["kokoro"] == 0.5
    assert shares(many) == {"kokoro": 1.0}


def test_what_kokoro_lacks_is_one_sentence(tmp_path, monkeypatch) -> None:
    with pytest.raises(TrainingError, match=r"holds no kokoro\*\.onnx"):
        find_voices(kokoro_folder=tmp_path)
    (tmp_path / "kokoro-v1.0.onnx").write_text("?")
    with pytest.raises(TrainingError, match=r"holds no voices\*\.bin"):
        find_voices(kokoro_folder=tmp_path)
    (tmp_path / "voices-v1.0.bin").write_text("?")
    with pytest.raises(TrainingError, match=r"not the voices of Kokoro|need the package onnxruntime"):
        find_voices(kokoro_folder=tmp_path)
    monkeypatch.setattr(kokoro, "find_spec", lambda _: None)
    with pytest.raises(TrainingError, match=re.escape(install("kokoro"))):
        find_voices(kokoro_folder=KOKORO)


@needs_espeak
@needs_kokoro
def test_a_model_of_something_else_is_one_sentence(tmp_path) -> None:
    shutil.copy(KOKORO / "voices-hum.bin", tmp_path)
    (tmp_path / "kokoro-v1.0.onnx").write_text("?")
    with pytest.raises(TrainingError, match="not the model of Kokoro"):
        kokoro.say(f"{tmp_path}#af_low@en-us", "activate", 1.0, 0.0)


def test_a_folder_without_piper_voices_or_without_piper_is_one_sentence(piper, tmp_path, monkeypatch) -> None:
    with pytest.raises(TrainingError, match="holds no voice of Piper"):
        find_voices(tmp_path / "none")
    (piper / "one.onnx.json").write_text("{")
    with pytest.raises(TrainingError, match=r"one\.onnx\.json: not the description"):
        find_voices(piper)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TrainingError, match="no program piper"):
        find_voices(piper)
