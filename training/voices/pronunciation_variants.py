"""Phones in, the same word as other people might say it out; and a clip whose pace is not the engine's.

A synthesiser says a word the same way every time: the sounds its dictionary lists, each as long as its rules have it.
People reduce vowels, bring those of their first language, leave a stop unreleased and linger where they like. What a
network learns from voices that vary so carries over better to real ones (training/RESULTS.md has the figures).
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from functools import cache
from math import gcd

import numpy as np
from scipy.signal import resample_poly

from model.frontend import SAMPLE_RATE, DoubleArray, FloatArray
from training.dsp.wsola import retime
from training.utils.errors import TrainingError

_KEEP = (0.55, 0.8, 1.0)  # share of its phones that an utterance leaves as they are; one of these
_VARIANT_PIECE = (0.06, 0.2)  # s, a stretch with a pace of its own
_PACES = 0.3  # standard deviation of the logarithm of a stretch's pace
_SHIFT = 0.15  # how often the stress lies elsewhere
_ENDS = ("", "", "?", "!", ",")  # each has a melody of its own

# What each sound may become, "-" for nothing; by the mnemonics of espeak-ng's English and by those of flite's, which
# are CMU's. Neighbours in the mouth, and what speakers of other languages make of English sounds.
_ESPEAK = {
    **dict.fromkeys(("a", "a#"), "E aa V eI"),
    **dict.fromkeys(("@", "@2", "@5"), "V 0 O: aa E"),
    **dict.fromkeys(("3", "@r"), "@ A@ 3: E V"),
    **dict.fromkeys(("I", "I2", "I#", "i"), "@ i: E -"),
    **dict.fromkeys(("0", "O2"), "O: V oU"),
    "aa": "a A: O:",
    "A:": "aa O: V",
    "A@": "A: O@ V",
    "O@": "O: A@ oU",
    "E": "eI a I",
    "i:": "I eI",
    "u:": "U",
    "U": "u: 0",
    "V": "a 0 @",
    "O:": "0 oU",
    "3:": "E V O:",
    "eI": "E e i: I a",
    "aI": "a A: eI",
    "aU": "a oU A:",
    "oU": "O: 0 u:",
    "OI": "O: oU",
    "t": "d t# ?",
    "t#": "t d ?",
    "d": "t",
    "k": "g",
    "g": "k",
    "p": "b",
    "b": "p",
    "v": "w f b",
    "f": "v",
    "D": "d z",
    "T": "t s f",
    "z": "s",
    "s": "z",
    "Z": "S dZ",
    "S": "s",
    "tS": "S t",
    "dZ": "tS j",
    "N": "n",
    "h": "-",
    "j": "-",
    "w": "v",
    "r": "w l",
    "l": "r w",
}
_FLITE = {
    "ae": "eh aa ah ey",
    "ax": "ah aa ao ow",
    "er": "ah ax aa eh",
    "ih": "ax iy eh -",
    "aa": "ae ao ah",
    "ao": "aa ow",
    "eh": "ey ae ih",
    "iy": "ih ey",
    "uw": "uh",
    "uh": "uw aa",
    "ah": "ae aa ax",
    "ey": "eh iy ih ae",
    "ay": "aa ae ey",
    "aw": "aa ow",
    "ow": "ao aa uw",
    "oy": "ao ow",
    "t": "d ch",
    "d": "t",
    "k": "g",
    "g": "k",
    "p": "b",
    "b": "p",
    "v": "w f b",
    "f": "v",
    "dh": "d z",
    "th": "t s f",
    "z": "s",
    "s": "z",
    "zh": "sh jh",
    "sh": "s",
    "ch": "sh t",
    "jh": "ch y",
    "ng": "n",
    "hh": "-",
    "y": "-",
    "w": "v",
    "r": "w l",
    "l": "r w",
}
_STOPS = frozenset("tdkgpb")  # at the end of all they may be held, and not heard
_TABLES = {"espeak-ng": _ESPEAK, "flite": _FLITE}
_COMMANDS = {
    "espeak-ng": ["espeak-ng", "-q", "-x", "--sep= ", "-v", "en-us", "--"],
    "flite": ["flite", "-ps", "-o", "none", "-t"],
}
ENGINES = frozenset(_TABLES)  # those that say phones instead of a text


def articulate(text: str, engine: str, rng: np.random.Generator) -> str:
    """The text in the engine's phones, some of them replaced by neighbours, as the engine reads it.

    engine: one of `ENGINES`. Raises TrainingError if the engine does not say which phones the text has.
    """
    keep = rng.choice(_KEEP)
    phones = _phones(text, engine)
    table = _TABLES[engine]
    said = []
    for place, phone in enumerate(phones):
        bare = phone.lstrip("',")
        stress = phone[: len(phone) - len(bare)]
        others = table.get(bare, "").split()
        if bare in _STOPS and place == len(phones) - 1:
            others.append("-")
        if others and rng.random() >= keep:
            bare = others[rng.integers(len(others))]
        if bare != "-":
            said.append(stress + bare)
    if engine == "espeak-ng":
        return _stressed(said, rng) + str(rng.choice(_ENDS))
    return " ".join(phone for phone in said if phone)


def uneven(samples: FloatArray, rate: int, rng: np.random.Generator) -> tuple[FloatArray, int]:
    """The clip with each stretch of 60 to 200 ms at a pace of its own, its pitch unchanged; and its rate in Hz.

    samples: (n,), -1 to 1. The result has the project's sampling rate.
    """
    common = gcd(rate, SAMPLE_RATE)
    sound: DoubleArray = resample_poly(np.asarray(samples, np.float64), SAMPLE_RATE // common, rate // common)
    least, most = (seconds * SAMPLE_RATE for seconds in _VARIANT_PIECE)
    edges = [0.0]
    while edges[-1] + most < len(sound):
        edges.append(edges[-1] + float(rng.uniform(least, most)))
    before = np.append(edges, len(sound))
    paces = np.exp(rng.normal(0.0, _PACES, len(edges)))
    after = np.append(0.0, np.cumsum(np.diff(before) * paces))
    return np.clip(retime(sound, before, after), -1, 1).astype(np.float32), SAMPLE_RATE


@cache
def _phones(text: str, engine: str) -> tuple[str, ...]:
    answer = subprocess.run([*_COMMANDS[engine], text], capture_output=True, text=True, check=False)
    words = answer.stdout.replace("\n", "  ").strip().split("  ")
    # an empty one parts two words
    phones = " | ".join(word.strip() for word in words if word.strip()).split()
    phones = [phone for phone in phones if phone != "pau"]
    if answer.returncode or not phones:
        raise TrainingError(f"{engine} does not say how {text!r} is pronounced")
    return tuple("" if phone == "|" else phone for phone in phones)


def _stressed(phones: Sequence[str], rng: np.random.Generator) -> str:
    """One text of espeak-ng's phones, now and then with the stress on another vowel."""
    phones = list(phones)
    main = [place for place, phone in enumerate(phones) if phone.startswith("'")]
    vowels = [place for place, phone in enumerate(phones) if phone[:1] in tuple("aeiouAEIOUV@03,") and phone != ","]
    if main and vowels and rng.random() < _SHIFT:
        old, new = main[-1], vowels[rng.integers(len(vowels))]
        phones[old] = "," + phones[old][1:]
        phones[new] = "'" + phones[new].lstrip(",")
    # a bar parts mnemonics: "a" and "I" side by side would be "aI"
    return "[[" + "|".join(phone or " " for phone in phones) + "]]"
