"""What a user lacks, made: sentences by synthetic voices where there is no speech, coloured noise where there is none.

A model trained on these alone hears the word, but has met no real room; the model's card says so.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from model.frontend import SAMPLE_RATE
from training.corpora.corpus import SPLITS, split_of
from training.scenes.augment import coloured_noises
from training.voices.engines import Voice
from training.voices.synthesize import draw, sentences, speak_all

NOISE_SECONDS = 20
LEVEL = 0.03  # of full scale, root mean square: -30 dBFS
_NAMES = ("white", "between", "pink", "dark", "brown", "hum-50", "hum-60")  # in the order of `scenes.colours`


def speak_sentences(folder: Path, words: Sequence[str], voices: Sequence[Voice], count: int, seed: int) -> None:
    """Write so many spoken sentences into the folder."""
    rng = np.random.default_rng([seed, 1])
    tqdm.write("no speech was given: synthetic voices read sentences")
    speak_all(draw(sentences(words, count, rng), voices, count, rng), folder, "sentences")


def write_noise(folder: Path, seed: int) -> int:
    """Write noise of every colour for every split; returns how many files there are."""
    tqdm.write("no background was given: noise of several colours stands in")
    folder.mkdir(parents=True, exist_ok=True)
    for place, (split, _) in enumerate(SPLITS):
        noises = coloured_noises(np.random.default_rng([seed, 2, place]), NOISE_SECONDS)
        for name, noise in zip(_NAMES, noises, strict=True):
            # the split follows from the file's name, so the name is chosen for the split
            names = (f"{name}-{number}" for number in itertools.count())
            chosen = next(name for name in names if split_of(f"{folder.name}/{name}") == split)
            samples = np.clip(noise * LEVEL, -1, 1)
            soundfile.write(folder / f"{chosen}.flac", samples, SAMPLE_RATE, subtype="PCM_16")
    return len(SPLITS) * len(_NAMES)
