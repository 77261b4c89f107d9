"""What `chimed-train word` is asked for: the phrase, the recordings there are, and how much is made of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class TrainingSize:
    """How much is made and how long it is trained. An epoch is `epoch_batches` times 2.55 s of `rows` streams."""

    positives: int = 5000
    negatives: int = 10_000
    epochs: int = 20
    epoch_batches: int = 250
    rows: int = 32


QUICK = TrainingSize(positives=600, negatives=1200, epochs=6, epoch_batches=200, rows=16)


@dataclass(frozen=True)
class TrainWordOptions:
    """What is wanted. output: the model file; work: where everything else lies; command: how it was typed.

    positives: folders of the word alone; negatives: of anything but the word; backgrounds: of noise; words: a word list
    instead of the machine's; fa_per_hour: wished at most; says: what all recordings of a folder say, for their phones;
    start: the model file, of this word or another, with whose weights the training begins.
    """

    phrase: str
    output: Path
    work: Path
    positives: tuple[Path, ...] = ()
    negatives: tuple[Path, ...] = ()
    backgrounds: tuple[Path, ...] = ()
    words: Path | None = None
    piper: Path | None = None
    kokoro: Path | None = None
    size: TrainingSize = field(default_factory=TrainingSize)
    seed: int = 0
    fa_per_hour: float = 0.5
    command: str = ""
    says: tuple[tuple[Path, str], ...] = ()
    start: Path | None = None
