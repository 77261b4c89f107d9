"""Options in, recordings out: the folders that `chimed-train evaluate` and `stress` measure on."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.measuring.score_recordings import Recording


def add_others(parser: argparse.ArgumentParser) -> None:
    """What is not the word, and where all that is decoded is kept."""
    parser.add_argument("--speech", type=Path, nargs="*", default=[], metavar="DIR", help="speech without the word")
    parser.add_argument("--noise", type=Path, nargs="*", default=[], metavar="DIR", help="noise without speech")
    parser.add_argument("--work", type=Path, default=Path("work"), metavar="DIR", help="keeps decoded audio")


def load_recordings(folders: Sequence[Path], split: str, work: Path, words: Sequence[str] = ()) -> list[Recording]:
    """Those of a split in the folders, none if there is no folder; standard output stays free for the answer.

    words: recordings that by their text say one of them are left out.
    Raises TrainingError: a folder is missing, or nothing in them can be used.
    """
    from training.alignment.phone_targets import known_texts
    from training.corpora import corpus
    from training.corpora.exclude_word import exclude_word
    from training.measuring.score_recordings import recordings

    if not folders:
        return []
    # what is left out is told on standard output otherwise, amid the answer
    with contextlib.redirect_stdout(sys.stderr):
        loaded = corpus.load(folders, work / "cache", ", ".join(map(str, folders[:2])))
        if words:
            loaded = exclude_word(loaded, known_texts([loaded]), words)
    return recordings(loaded, split)
