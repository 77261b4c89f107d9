"""Real speech in, the same without the recordings in which somebody says the word out.

Speech that was not recorded for this word may hold it all the same ("It's a computer terminal..."): in a training it
would teach not to hear the word, in a measurement count as false accepts. It is known where there is a text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tqdm import tqdm

from training.corpora.corpus import Corpus
from training.corpora.transcripts import spell


def says_word(text: str, word: str) -> bool:
    """Whether the word or phrase is said in a text, or begins a word there ("computers", "computer's")."""
    return f" {' '.join(spell(word))}" in f" {' '.join(spell(text))}"


def exclude_word(speech: Corpus, texts: Mapping[str, str], words: Iterable[str]) -> Corpus:
    """The corpus, less the recordings in whose text one of the words is said. texts: by path, where they are known."""
    words = [word for word in words if spell(word)]
    held = {path for path, text in texts.items() if any(says_word(text, word) for word in words)}
    clips = [clip for clip in speech.clips if clip.path not in held]
    if dropped := len(speech.clips) - len(clips):
        named = " or ".join(f'"{word}"' for word in words)
        tqdm.write(f"left out: {dropped} recording{'s' * (dropped > 1)} of other speech that by the text say {named}")
    return Corpus(speech.pool, clips, speech.problems)
