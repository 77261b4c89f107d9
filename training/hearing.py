"""Clips of a word in, what PocketSphinx makes of them out: a second opinion on stitched speech.

It chooses among the word, the words of its dictionary that sound most like it, and as many others drawn at
random. Its acoustic model is the one that found the phones, so it is a check of the joins, not of everything.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr

from model.frontend import SAMPLE_RATE
from training.align import SPHINX_RATE, decode, new_decoder, pronunciations
from training.corpus import Int16Array
from training.phonetics import contains, distance
from training.transcripts import spell

NEAR, RANDOM = 30, 30  # words to choose among
NEAREST = 1.5  # phones; what differs by one ("activase") people confuse as well
_PAUSE_SECONDS = 0.25  # of faint noise before and after
_NOISE = 8.0  # int16 units, -72 dBFS


def rivals(phrase: str) -> list[str]:
    """Near and random words of PocketSphinx's dictionary, to be told from the phrase; those that contain it left out.

    Raises TrainingError if PocketSphinx is missing or does not know the phrase.
    """
    from pocketsphinx import get_model_path

    target = pronunciations(phrase, new_decoder())[0]
    dictionary: dict[str, tuple[str, ...]] = {}
    for line in Path(get_model_path("en-us/cmudict-en-us.dict")).read_text(encoding="utf-8").splitlines():
        word, *phones = line.split()
        if word.isalpha() and not contains(tuple(phones), target):
            dictionary[word] = tuple(phones)
    close = [
        (away, word)
        for word, phones in dictionary.items()
        if abs(len(phones) - len(target)) <= 2 and (away := distance(phones, target)) >= NEAREST
    ]
    others = np.random.default_rng(0).choice(sorted(dictionary), RANDOM, replace=False)
    return list(dict.fromkeys([*(word for _, word in sorted(close)[:NEAR]), *map(str, others)]))


class Listener:
    """Tells which of the words it hears in a clip. phrase: as `hears` spells it."""

    def __init__(self, phrase: str, others: list[str]) -> None:
        self.phrase = " ".join(spell(phrase))
        self._decoder = new_decoder()
        choices = " | ".join([self.phrase, *others])
        self._decoder.add_jsgf_string("words", f"#JSGF V1.0; grammar words; public <word> = {choices};")
        self._decoder.activate_search("words")
        noise = np.random.default_rng(0).normal(0, _NOISE, round(_PAUSE_SECONDS * SAMPLE_RATE))
        self._pause = noise.astype(np.int16)

    def hears(self, samples: Int16Array) -> str:
        """The word that (n,) samples at 44.1 kHz sound like most; empty if none fits."""
        padded = np.concatenate((self._pause, samples, self._pause[::-1]))
        decode(self._decoder, soxr.resample(padded, SAMPLE_RATE, SPHINX_RATE).tobytes())
        hypothesis = self._decoder.hyp()
        return hypothesis.hypstr if hypothesis else ""
