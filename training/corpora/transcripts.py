"""A folder of transcribed speech in, each recording with its speaker and its text out.

What is said stands in a `transcripts.txt` (or LibriSpeech's `*.trans.txt`) anywhere in the folder, in lines of a
recording's name without its suffix, white space (a tab if there is one) and the text; or in a `.txt` beside each
recording. Speakers are the groups of `corpus.find`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from training.corpora.corpus import find
from training.utils.errors import TrainingError
from training.utils.find_files import find_files


def spell(text: str) -> list[str]:
    """The words of a text as the dictionary has them: lower case, no punctuation but the apostrophe."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower().replace("\u2019", "'"))


def transcripts(folder: Path) -> Iterator[tuple[Path, str, str]]:
    """Each recording of the folder that has a text: path, group, text.

    Raises TrainingError if there is no recording, or none with a text.
    """
    texts: dict[str, str] = {}
    for path in (
        path for path in find_files(folder) if path.name == "transcripts.txt" or path.name.endswith(".trans.txt")
    ):
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            name, _, text = line.strip().partition("\t" if "\t" in line else " ")
            if line.strip() and not text:
                raise TrainingError(f"{path}:{number}: expected a recording's name and its text")
            texts[name] = text
    count = 0
    for path, group in find(folder):
        beside = path.with_suffix(".txt")
        text = texts.get(path.stem) or (beside.read_text(encoding="utf-8", errors="replace") if beside.exists() else "")
        if text.strip():
            count += 1
            yield path, group, text
    if not count:
        raise TrainingError(f"{folder}: no recording with a text (a transcripts.txt, or a .txt beside each)")
