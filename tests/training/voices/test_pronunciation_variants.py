"""A word said as other people might: real engines say it, and time moves where it is told to."""

import shutil

import numpy as np
import pytest

from training.utils.errors import TrainingError
from training.voices.engines import SpokenText, Voice, find_voices
from training.voices.near_words import pronounce
from training.voices.pronunciation_variants import ENGINES, articulate, uneven
from training.voices.synthesize import draw, speak, vary

pytestmark = pytest.mark.slow

needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
needs_flite = pytest.mark.skipif(not shutil.which("flite"), reason="flite is not installed")


@needs_espeak
@pytest.mark.parametrize("text", ["activate", "computer", "hey jarvis", "turn on the lights"])
def test_what_espeak_is_told_to_say_is_the_word_or_near_it(text) -> None:
    rng = np.random.default_rng(1)
    said = [articulate(text, "espeak-ng", rng) for _ in range(60)]
    assert len(set(said)) > 20
    plain = pronounce([text])[0]
    heard = pronounce([one.rstrip("?!,") for one in said])
    # all phones are espeak-ng's own: it says as many as it was told, and never spells the mnemonics out
    assert all(len(plain) - 3 <= len(phones) <= len(plain) + 1 for phones in heard)
    assert sum(phones == plain for phones in heard) >= 10  # a third of them keep all phones
    assert {phones[0] for phones in heard} != {plain[0]} or len(set(heard)) > 10


@needs_flite
def test_flite_says_phones_of_its_own() -> None:
    rng = np.random.default_rng(2)
    said = {articulate("computer", "flite", rng) for _ in range(60)}
    assert "k ax m p y uw t er" in said
    assert len(said) > 15
    voice = Voice("flite", "slt")
    usual, _ = speak(SpokenText("computer", voice, 1.0, 0.0))
    other, rate = speak(SpokenText("computer", voice, 1.0, 0.0, phones="g ow m b uh t aa"))
    assert 0.3 < len(other) / rate < 1.0
    assert len(other) != len(usual) or not np.array_equal(other, usual)


@needs_espeak
def test_a_text_without_sound_is_refused_with_its_name() -> None:
    with pytest.raises(TrainingError, match=r"'\.'"):
        articulate(".", "espeak-ng", np.random.default_rng(0))


def test_each_stretch_has_a_pace_of_its_own_and_keeps_its_pitch() -> None:
    rate, hertz = 22_050, 200
    tone = np.sin(2 * np.pi * hertz * np.arange(rate) / rate).astype(np.float32)
    lengths = []
    for seed in range(20):
        clip, new_rate = uneven(tone, rate, np.random.default_rng(seed))
        assert new_rate == 44_100
        assert np.abs(clip).max() <= 1
        spectrum = np.abs(np.fft.rfft(clip * np.hanning(len(clip))))
        assert abs(np.argmax(spectrum) * new_rate / len(clip) - hertz) < 6
        lengths.append(len(clip) / new_rate)
    assert min(lengths) < 0.95
    assert max(lengths) > 1.05


def test_a_clip_shorter_than_a_stretch_stays_a_clip() -> None:
    clip, rate = uneven(np.ones(500, np.float32), 22_050, np.random.default_rng(0))
    assert 0.3 < len(clip) / rate / (500 / 22_050) < 3


@needs_espeak
def test_the_shares_asked_for_are_varied_and_the_same_each_time() -> None:
    plain = draw(["activate"], find_voices(), 400, np.random.default_rng(3))
    varied, again = (vary(plain, np.random.default_rng(4), 0.5, 0.4) for _ in range(2))
    assert varied == again
    can = sum(one.voice.engine in ENGINES for one in plain)
    assert 0.4 < sum(bool(one.phones) for one in varied) / can < 0.6
    assert 0.3 < sum(bool(one.uneven) for one in varied) / len(plain) < 0.5
    assert all(one.phones == "" for one in varied if one.voice.engine not in ENGINES)
    samples, rate = speak(next(one for one in varied if one.phones and one.uneven))
    assert rate == 44_100
    assert 0.2 < len(samples) / rate < 2.5
