"""Near words are found by how they sound."""

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.utils.errors import TrainingError
from training.voices.near_words import contains, distance, near_texts, near_words, pronounce

pytestmark = pytest.mark.slow

needs_espeak = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
phones = st.lists(st.sampled_from(["a", "k", "t", "t#", "I", "v", "eI", "d", "s"]), max_size=8).map(tuple)


@given(phones, phones)
def test_distance_is_symmetric_and_zero_only_for_the_same(a, b) -> None:
    assert distance(a, b) == pytest.approx(distance(b, a))
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, b) <= max(len(a), len(b))


def test_like_sounds_are_nearer_than_unlike_ones() -> None:
    word = ("b", "a", "t")
    assert distance(word, ("p", "a", "t")) < distance(word, ("s", "a", "t"))
    assert distance(word, ("b", "I", "t")) < distance(word, ("b", "s", "t"))


@needs_espeak
def test_every_phrase_gets_its_own_pronunciation() -> None:
    phrases = ["activate", "hey computer", "a", "baby", "activate"]
    spoken = pronounce(phrases)
    assert len(spoken) == len(phrases)
    assert spoken[0] == spoken[4] != spoken[3]
    assert spoken[0][:3] == ("a", "k", "t")
    assert not any(mark in phone for word in spoken for phone in word for mark in "',")


@needs_espeak
def test_punctuation_in_a_phrase_changes_nothing() -> None:
    """espeak-ng says "hey, computer" in two breaths, and writes a line for each."""
    phrases = ["activate", "hey, computer", "baby", "hey - computer!", "Wait: what? No...", "zebra"]
    plain = ["activate", "hey computer", "baby", "hey computer", "wait what no", "zebra"]
    assert pronounce(phrases) == pronounce(plain)
    words = ["commuter", "hay", "pay", "zebra", "giraffe", "compute"]
    assert near_words("hey, computer", words, 3) == near_words("hey computer", words, 3)
    assert near_texts("hey , computer!", words, 50) == near_texts("hey computer", words, 50)


@needs_espeak
def test_near_words_come_nearest_first_and_never_contain_the_word() -> None:
    words = ["table", "captivate", "active", "activates", "reactivate", "zebra", "motivate", "activate", "wonderful"]
    near = near_words("activate", words, 4)
    assert set(near[:3]) <= {"active", "captivate", "motivate"}
    assert not {"activates", "reactivate", "activate", "zebra"} & set(near)
    active, activates = pronounce(["activate", "activates"])
    assert contains(activates, active)


@needs_espeak
def test_a_phrase_has_the_neighbours_of_its_words() -> None:
    near = near_words("hey computer", ["commuter", "hay", "zebra", "giraffe", "compute"], 3)
    assert set(near) == {"commuter", "hay", "compute"}


@needs_espeak
def test_a_phrase_is_told_from_its_words_alone_and_from_phrases_with_one_word_changed() -> None:
    words = ["commuter", "hay", "pay", "zebra", "giraffe", "compute", "say"]
    texts = near_texts("hey computer", words, 50)
    assert {"hey", "computer", "computer hey", "commuter", "pay", "hey commuter"} <= set(texts)
    spoken = dict(zip(texts, pronounce(texts), strict=True))
    target = pronounce(["hey computer"])[0]
    assert not [text for text, phones in spoken.items() if contains(phones, target)]
    assert "hay computer" not in spoken  # it is the phrase, spoken
    counts = {
        "alone": sum(text in {"hey", "computer", "computer hey"} for text in texts),
        "near": sum(" " not in text and text not in {"hey", "computer"} for text in texts),
        "changed": sum(text.startswith("hey ") for text in texts),
    }
    assert counts == {"alone": 10, "near": 20, "changed": 10}


@needs_espeak
def test_a_voice_that_espeak_lacks_is_an_error_and_not_its_default_voice() -> None:
    with pytest.raises(TrainingError, match="no voice 'en-xx'"):
        pronounce(["activate"], "en-xx")


def test_without_espeak_the_user_is_told_what_to_install(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TrainingError, match="apt install espeak-ng"):
        pronounce(["activate"])
