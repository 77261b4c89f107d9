"""A phrase in, words for its negatives out, also on a machine without a dictionary.

Beside common words: made-up neighbours of the phrase, a letter changed or left out, a part missing. Synthesisers
say anything, and what is nearly the word is what a model must tell from it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from training.utils.errors import TrainingError
from training.voices.near_words import contains, pronounce, word_list

_COMMON = Path(__file__).parent / "assets" / "common-words.txt"
_VOWELS = "aeiou"
_LIKE = {"b": "p", "c": "gs", "d": "t", "f": "v", "g": "k", "k": "g", "l": "r", "m": "n", "n": "m", "p": "b", "r": "l"}
_LIKE |= {"s": "z", "t": "d", "v": "fb", "w": "y", "y": "w", "z": "s"}
_NEIGHBOURS = _LIKE | {vowel: _VOWELS.replace(vowel, "") for vowel in _VOWELS}


def common_words() -> list[str]:
    """Some 600 English ones."""
    return _COMMON.read_text().split()


def variations(phrase: str) -> list[str]:
    """The phrase with one letter changed or left out, its first and last parts, and the phrase without a word."""
    words = phrase.lower().split()
    found: list[str] = []
    for place, word in enumerate(words):
        others = [word[:at] + new + word[at + 1 :] for at, old in enumerate(word) for new in _NEIGHBOURS.get(old, "")]
        others += [word[:at] + word[at + 1 :] for at in range(len(word))]
        others += [word[:at] for at in range(3, len(word))] + [word[at:] for at in range(1, len(word) - 2)]
        found += [" ".join([*words[:place], other, *words[place + 1 :]]) for other in others]
        found.append(" ".join([*words[:place], *words[place + 1 :]]))
    return sorted({text for text in found if len(text) > 1} - {phrase.lower()})


def vocabulary(phrase: str) -> list[str]:
    """Words for negatives: the variations, common words, and the dictionaries of this machine if there are any.

    Of the former two, what sounds like the phrase is left out. Raises TrainingError without espeak-ng.
    """
    try:
        known = word_list()
    except TrainingError:
        known = []
    made = [*variations(phrase), *common_words()]
    target, *sounds = pronounce([phrase, *made])
    different = [text for text, sound in zip(made, sounds, strict=True) if not contains(sound, target)]
    return sorted({*different, *known} - {phrase.lower()})


def handful(phrase: str, words: Sequence[str], count: int, seed: int) -> list[str]:
    """`count` of many words: half of them those that are spelled most like a word of the phrase, half at random.

    What is spelled alike mostly sounds alike, and to pronounce a whole dictionary takes minutes.
    """
    targets = [_pairs(word) for word in phrase.lower().split()]

    def likeness(word: str) -> float:
        own = _pairs(word)
        return max(2 * len(own & target) / (len(own) + len(target)) for target in targets)

    ordered = sorted(words, key=likeness, reverse=True)
    near, rest = ordered[: count // 2], ordered[count // 2 :]
    return sorted([*near, *random.Random(seed).sample(rest, min(len(rest), count - len(near)))])


def _pairs(word: str) -> set[str]:
    """Its letters two by two, with its beginning and its end."""
    return {first + second for first, second in pairwise(f"^{word}$")}
