"""Words for negatives: near ones are made where no dictionary has them."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.utils.errors import TrainingError
from training.voices import negative_texts as module
from training.voices.negative_texts import common_words, variations, vocabulary

pytestmark = pytest.mark.slow


def test_a_word_is_varied_letter_by_letter_and_cut_short() -> None:
    near = variations("activate")
    assert {"agtivate", "activat", "tivate", "acti", "octivate"} <= set(near)
    assert "activate" not in near
    assert len(near) > 30


def test_a_phrase_is_varied_word_by_word() -> None:
    near = variations("Hey Computer")
    assert {"hey", "computer", "hay computer", "hey compute"} <= set(near)
    assert "hey computer" not in near


@given(st.text("abcdefghijklmnopqrstuvwxyz ", max_size=20))
def test_no_variation_is_the_phrase_itself_or_empty(phrase: str) -> None:
    assert all(text.strip() and text != phrase.lower() for text in variations(phrase))


@pytest.mark.skipif(not shutil.which("espeak-ng"), reason="espeak-ng is not installed")
def test_without_a_dictionary_there_are_common_words_and_no_homophones(monkeypatch) -> None:
    def none() -> list[str]:
        raise TrainingError("no word list found")

    monkeypatch.setattr(module, "word_list", none)
    words = set(vocabulary("knight"))
    assert "kight" in words
    assert "night" in variations("knight")
    assert "night" in common_words()
    assert "night" not in words
    assert len(words) > 500
