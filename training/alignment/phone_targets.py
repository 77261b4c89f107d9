"""Recordings whose text is known in, which phone sounds when out: what `fit` teaches the first GRU beside the word.

A network that must also tell the phones of many real voices apart learns what they have in common, not the voices
of a synthesiser. PocketSphinx finds the phones, offline; what it found is cached on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.extras import install
from model.frontend import SAMPLE_RATE
from training.alignment.forced_alignment import FRAME_SECONDS, align, cache_key, fill_cache, new_aligner
from training.corpora.corpus import Clip, Corpus, read
from training.corpora.transcripts import transcripts
from training.utils.errors import TrainingError
from training.voices.synthesize import SPEECH_MANIFEST

# fmt: off
NAMES = (
    "SIL", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY", "JH",
    "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # ARPAbet without stress
# fmt: on
SILENT_PHONE = 0
UNKNOWN = -1
# (n, 3): phone, first sample, sample after the last; ascending, without gaps between the first and the last
Track = npt.NDArray[np.int32]

_PADDING = SAMPLE_RATE // 5  # of silence around a clip that was trimmed: the aligner expects some
_AT_ONCE = 250  # recordings in one cached file
_FORMAT = 1

WITHOUT_PHONES = (
    "training without phones, which hears real voices less well: "
    f"they need the package pocketsphinx; {install('align')}"
)


def can_align() -> bool:
    """Whether PocketSphinx is there. A training goes on without, and says WITHOUT."""
    return find_spec("pocketsphinx") is not None


def spoken_texts(folder: Path) -> dict[str, str]:
    """What is said in a folder's recordings, by `speak`'s manifest or by transcripts; nothing if it has neither."""
    if (manifest := folder / SPEECH_MANIFEST).exists():
        entries = [json.loads(line) for line in manifest.read_text().splitlines()]
        return {str(folder / entry["file"]): entry["text"] for entry in entries if "text" in entry}
    try:
        return {str(path): text for path, _, text in transcripts(folder)}
    except TrainingError:
        return {}


def phone_tracks(texts: dict[str, str], cache: Path, jobs: int, title: str = "phones") -> dict[str, Track]:
    """The phones of each recording, by path; those that could not be aligned are missing.

    texts: what is said in each recording, by path. An interrupted call goes on where it stopped.
    Raises TrainingError if PocketSphinx is not installed.
    """
    new_aligner()  # fails here, once, rather than in every worker
    by_folder: dict[Path, list[tuple[str, str]]] = {}
    for path in sorted(texts):
        by_folder.setdefault(Path(path).parent, []).append((path, texts[path]))
    batches = [some[at : at + _AT_ONCE] for some in by_folder.values() for at in range(0, len(some), _AT_ONCE)]
    tasks = {cache / f"phones-{cache_key(batch, _FORMAT)}.json": batch for batch in batches}
    fill_cache(tasks, _align, jobs, title, f"{_AT_ONCE} recordings")
    found: dict[str, Track] = {}
    for file in tasks:
        for path, phones in json.loads(file.read_text()).items():
            found[path] = np.array(phones, np.int32)
    return found


def known_texts(corpora: Iterable[Corpus], says: Iterable[tuple[Path, str]] = ()) -> dict[str, str]:
    """What is said in the recordings of the corpora, as far as their folders or `says` (folder, text) know it."""
    found: dict[str, str] = {}
    for corpus in corpora:
        paths = [clip.path for clip in corpus.clips]
        known: dict[str, str] = {}
        for folder in sorted({folder for clip in corpus.clips for folder in _around(clip)}):
            known |= spoken_texts(folder)
        for folder, text in says:
            known |= {path: text for path in paths if folder in Path(path).parents}
        found |= {path: known[path] for path in paths if path in known}
    return found


def _around(clip: Clip) -> list[Path]:
    """The folder of a recording and the one around it, where that is still the folder that was named or lies in it.

    Further out may lie somebody's home, and all of it would be searched.
    """
    path = Path(clip.path)
    alone = clip.group == f"{path.parent.name}/{path.stem}"  # it lies in the named folder itself: see `corpus.find`
    return [path.parent] if alone else [path.parent, path.parent.parent]


def _align(batch: Sequence[tuple[str, str]]) -> dict[str, list[tuple[int, int, int]]]:
    decoder = new_aligner()
    found = {}
    for path, text in batch:
        try:
            samples = read(Path(path))
            quiet = np.zeros(_PADDING, np.int16)
            words = align(decoder, np.concatenate((quiet, samples, quiet)), text)
        except TrainingError:
            continue
        found[path] = phone_track(words, len(samples), _PADDING)
    return found


def spoken_span(track: Track) -> tuple[int, int] | None:
    """From which sample to before which one somebody speaks; None if nobody does."""
    spoken = track[track[:, 0] != SILENT_PHONE] if len(track) else track
    return (int(spoken[0, 1]), int(spoken[-1, 2])) if len(spoken) else None


def phone_track(words: Sequence[Sequence[Sequence[Any]]], length: int, padding: int) -> list[tuple[int, int, int]]:
    """The words and phones of `align` as a Track of a recording of so many samples, without its padding."""
    found = []
    for name, start, frames, _ in (phone for word in words for phone in word):
        first, last = (round(at * FRAME_SECONDS * SAMPLE_RATE) - padding for at in (start, start + frames))
        first, last = max(0, first), min(length, last)
        if last > first:
            found.append((NAMES.index(name) if name in NAMES else SILENT_PHONE, first, last))
    return found
