"""Which words sound like a given one: pronunciations from espeak-ng, likeness by a weighted edit distance.

A wake word's hard negatives are its phonetic neighbours ("active", "captivate" for "activate"). They are
found, not written down: any phrase in any language that espeak-ng speaks will do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

from training.utils.errors import TrainingError
from training.voices.engines import check_espeak_voice

Phones = tuple[str, ...]

# espeak-ng's mnemonics, stress marks aside, begin with an upper-case or one of these letters for a vowel
_VOWEL = re.compile(r"^[aeiouAEIOUV@03]")
_MANNER = {
    phone: manner
    for manner, phones in {
        "stop": "p b t d k g t# t2 ?",
        "fricative": "f v T D s z S Z h C x",
        "affricate": "tS dZ",
        "nasal": "m n N n-",
        "liquid": "l r r- L l# @L",
        "glide": "w j",
    }.items()
    for phone in phones.split()
}
_VOICING = [
    {"p", "b"},
    {"t", "d", "t#", "t2"},
    {"k", "g"},
    {"f", "v"},
    {"s", "z"},
    {"S", "Z"},
    {"T", "D"},
    {"tS", "dZ"},
]
_BATCH = 2000  # words in one call of espeak-ng
_AROUND = '.,:;!?…–—-"“”„«»()¿¡、。，！？'  # a word, no part of it  # noqa: RUF001 - of other scripts

# Where a word list may lie: the dictionary of festival's lexicon, then the usual one of Unix.
_FESTIVAL_WORDS = Path("/usr/share/festival/dicts/cmu/cmudict-0.4.out")
_UNIX_WORDS = Path("/usr/share/dict/words")


def word_list() -> list[str]:
    """English words (lower case, letters only) from the dictionaries on this machine, sorted.

    Neither knows them all: festival's has names and inflections, but not "captivate".

    Raises TrainingError if there is none.
    """
    found: list[str] = []
    if _FESTIVAL_WORDS.exists():
        found += re.findall(r'^\("([a-z]{2,})"', _FESTIVAL_WORDS.read_text(errors="replace"), re.MULTILINE)
    if _UNIX_WORDS.exists():
        found += re.findall(r"^[a-z]{2,}$", _UNIX_WORDS.read_text(errors="replace"), re.MULTILINE)
    if not found:
        raise TrainingError("no word list found: install festlex-cmu or wamerican, or name a file with --words")
    return sorted(set(found))


def pronounce(phrases: Sequence[str], voice: str = "en-us") -> list[Phones]:
    """The phones of each phrase as espeak-ng says it, without stress marks.

    Raises TrainingError if espeak-ng is missing or does not know the voice.
    """
    if not shutil.which("espeak-ng"):
        raise TrainingError("espeak-ng is not installed (Debian: apt install espeak-ng)")
    check_espeak_voice(voice)
    batches = [tuple(phrases[start : start + _BATCH]) for start in range(0, len(phrases), _BATCH)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [phones for batch in pool.map(lambda batch: _pronounce(batch, voice), batches) for phones in batch]


@cache  # each word of a phrase is compared with the same dictionary, which takes half a minute
def _pronounce(batch: tuple[str, ...], voice: str) -> list[Phones]:
    # a full stop after each keeps one line of output for one of input
    text = "".join(f"{phrase}.\n" for phrase in batch)
    command = ["espeak-ng", "-q", "-x", "--sep= ", "-v", voice, "--stdin"]
    answer = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    lines = answer.stdout.splitlines()
    if answer.returncode or not lines:
        raise TrainingError(f"espeak-ng could not pronounce the words with the voice {voice!r}")
    if len(lines) == len(batch):
        return [_phones(line) for line in lines]
    if len(batch) == 1:
        return [_phones(" ".join(lines))]
    # a phrase with a comma is two lines, which it is shows in ever smaller batches
    middle = len(batch) // 2
    return [*_pronounce(batch[:middle], voice), *_pronounce(batch[middle:], voice)]


def _phones(line: str) -> Phones:
    bare = (phone.strip("',;:|_!=") if phone not in {";"} else "" for phone in line.split())
    return tuple(phone for phone in bare if phone)


@cache
def _substitution(a: str, b: str) -> float:
    if a == b:
        return 0.0
    if _VOWEL.match(a) and _VOWEL.match(b):
        return 0.4
    if any(a in pair and b in pair for pair in _VOICING):
        return 0.4
    if a in _MANNER and _MANNER.get(a) == _MANNER.get(b):
        return 0.7
    return 1.0


def distance(a: Phones, b: Phones) -> float:
    """Edit distance in phones: insertion and deletion cost 1, a substitution less the more alike the phones are."""
    row = [float(j) for j in range(len(b) + 1)]
    for i, phone in enumerate(a, 1):
        previous, row = row, [float(i)]
        for j, other in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + _substitution(phone, other)))
    return row[-1]


def contains(whole: Phones, part: Phones) -> bool:
    """Whether `part` is spoken within `whole`, vowels of any colour."""
    classes = [
        tuple("V" if _VOWEL.match(phone) else phone.rstrip("#2") for phone in phones) for phones in (whole, part)
    ]
    text, key = classes
    return any(text[i : i + len(key)] == key for i in range(len(text) - len(key) + 1))


def _parts(phrase: str) -> list[str]:
    """The words of a phrase, without the punctuation around them."""
    return [part for word in phrase.split() if (part := word.strip(_AROUND))]


def near_words(phrase: str, words: Iterable[str], count: int, voice: str = "en-us") -> list[str]:
    """The `count` words that sound most like the phrase or one of its words, nearest first.

    Left out are those that contain the phrase itself as they are spoken ("activates", "reactivate"): nobody
    could tell them from it at the moment its last sound ends.
    """
    words = list(words)
    parts = _parts(phrase)
    targets = pronounce([phrase, *parts] if len(parts) > 1 else [phrase], voice)
    ranked = []
    for word, phones in zip(words, pronounce(words, voice), strict=True):
        if contains(phones, targets[0]):
            continue
        # only so many phones more or less can be near; this skips most of a dictionary quickly
        likeness = [
            distance(phones, target) / len(target)
            for target in targets
            if abs(len(phones) - len(target)) <= len(target) / 2
        ]
        if likeness:
            ranked.append((min(likeness), word))
    return [word for _, word in sorted(ranked)[:count]]


def near_texts(phrase: str, words: Iterable[str], count: int, voice: str = "en-us") -> list[str]:
    """About `count` texts that sound like the phrase and are not it; of a single word its near words.

    Of a phrase, each kind alike: words near each of its words, each of its words alone and in the wrong order, and
    the phrase with one word replaced by a near one. For "hey computer" these are "hay" and "commuter", "hey",
    "computer hey", "hey commuter" and "pay computer". What contains the phrase as it is spoken is left out.
    """
    parts = _parts(phrase)
    if len(parts) < 2:
        return near_words(phrase, words, count, voice)
    words = list(words)
    target = pronounce([phrase], voice)[0]
    each = max(1, count // (2 * len(parts) + 1))
    near = {part: near_words(part, words, each, voice) for part in dict.fromkeys(parts)}
    alone = [*parts, *(" ".join(parts[:end]) for end in range(2, len(parts))), " ".join(reversed(parts))]
    kinds = [alone, *near.values()]
    for place, part in enumerate(parts):
        kinds.append([" ".join([*parts[:place], other, *parts[place + 1 :]]) for other in near[part]])
    allowed = [
        [text for text, phones in zip(kind, pronounce(kind, voice), strict=True) if not contains(phones, target)]
        for kind in kinds
        if kind
    ]
    # a kind with few texts says each of them more often
    return [kind[number % len(kind)] for kind in allowed if kind for number in range(each)]
