"""A ``raw_data`` folder in, the clips of one split out, decoded once and mapped from disk.

The folder is the assignment's: ``activates`` or ``positives``, ``negatives`` and ``backgrounds``, each as deep as it
goes. What cannot be used is listed with its reason.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from model.frontend import SAMPLE_RATE
from training.corpora import corpus
from training.corpora.corpus import MAX_SECONDS, Clip, Corpus, Problem
from training.dataset.assignment_functions import CLIP_MS, check_word, nothing_usable, piece_starts, raw_files
from training.dataset.recipe import ExampleRecipe
from training.dsp.decode import Int16Array
from training.utils.errors import TrainingError

FOLDERS = {"positives": ("activates", "positives"), "negatives": ("negatives",), "backgrounds": ("backgrounds",)}
BACKGROUND_SECONDS = 3600.0  # the longest background


@dataclass(frozen=True)
class RawClips:
    """The clips of which examples are made; their paths are relative to the raw_data folder.

    pools: the file with the decoded samples of each kind, to which the clips' starts refer. pieces: the backgrounds,
    cut into 10 s: clip and first sample in it. digest: of all that, so that other material has another one.
    """

    positives: tuple[Clip, ...]
    negatives: tuple[Clip, ...]
    backgrounds: tuple[Clip, ...]
    pools: dict[str, Path]
    digest: str

    @property
    def pieces(self) -> list[tuple[Clip, int]]:
        """Every 10 s of background: clip, first sample."""
        return [(clip, start) for clip in self.backgrounds for start in piece_starts(clip.path, clip.length)]

    def clips(self, kind: str) -> tuple[Clip, ...]:
        """Those of one of the three kinds."""
        found: tuple[Clip, ...] = getattr(self, kind)
        return found

    def open(self) -> dict[str, Int16Array]:
        """The samples of each kind, mapped."""
        return {kind: np.memmap(path, np.int16, mode="r") for kind, path in self.pools.items()}


@dataclass(frozen=True)
class RawData:
    """What was found. problems: what was left out, with paths relative to the folder; files: how many there were."""

    material: RawClips
    problems: tuple[Problem, ...]
    files: int


def load(folder: Path, cache: Path, split: str, recipe: ExampleRecipe) -> RawData:
    """Read the folder for a recipe; `cache` keeps it decoded. split: train, dev, test or all.

    Raises TrainingError for a folder that is missing or of which nothing is left, in all or in this split; for a
    word that does not fit into 10 s; and for a background shorter than 10 s.
    """
    chosen: dict[str, tuple[Clip, ...]] = {}
    pools: dict[str, Path] = {}
    problems: list[Problem] = []
    files = 0
    for kind, names in FOLDERS.items():
        found = _load_kind(folder, kind, names, cache)
        files += len(found.clips) + len(found.problems)
        problems += [Problem(_relative(folder, problem.path), problem.reason) for problem in found.problems]
        clips = found.clips if split == "all" else found.split(split)
        if not clips:
            raise TrainingError(
                f"none of the {len(found.clips)} {kind} in {folder} is in the split {split!r}; "
                "add more, by more speakers, or use all of them (--split all)"
            )
        _check(kind, clips, recipe)
        chosen[kind] = tuple(Clip(**asdict(clip) | {"path": _relative(folder, clip.path)}) for clip in clips)
        pools[kind] = found.pool
    return RawData(RawClips(**chosen, pools=pools, digest=_digest(chosen, pools)), tuple(problems), files)


def _load_kind(folder: Path, kind: str, names: Sequence[str], cache: Path) -> Corpus:
    files = raw_files(folder, names)
    if not files:
        raise nothing_usable(folder, names, [])
    found = []
    for path in files:
        top, *inner = path.relative_to(folder).parts
        # as corpus.find groups them, so that all commands agree on the split
        found.append((path, "/".join((top, inner[0] if len(inner) > 1 else path.stem))))
    is_background = kind == "backgrounds"
    loaded = corpus.load_files(
        found,
        cache,
        kind,
        silence=is_background,
        max_seconds=BACKGROUND_SECONDS if is_background else MAX_SECONDS,
        announce=False,  # the list of all three kinds is the caller's to show
    )
    return corpus.cut_to_word(loaded) if kind == "positives" else loaded


def _check(kind: str, clips: Sequence[Clip], recipe: ExampleRecipe) -> None:
    for clip in clips:
        if kind == "backgrounds":
            piece_starts(clip.path, clip.length)
        elif kind == "positives" or recipe.excerpt_seconds is None:
            check_word(clip.path, clip.length)
            if clip.length / SAMPLE_RATE / recipe.slowest >= CLIP_MS / 1000:
                raise TrainingError(
                    f"{clip.path} is {clip.length / SAMPLE_RATE:.1f} s long, and does not fit into 10 s at the "
                    f"lowest speed of the recipe, {recipe.slowest:g}"
                )


def _relative(folder: Path, path: str) -> str:
    return str(Path(path).relative_to(folder))


def _digest(chosen: dict[str, tuple[Clip, ...]], pools: dict[str, Path]) -> str:
    digest = hashlib.sha256(json.dumps({kind: [asdict(clip) for clip in chosen[kind]] for kind in chosen}).encode())
    for path in pools.values():
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
