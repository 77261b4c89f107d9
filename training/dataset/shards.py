"""Examples in, a data set in shards out; and back, each shard checked before it is used.

A data set is a folder::

    set.json                what it was made of: seed, recipe, number of examples, digest of the material
    shard-00000.audio.npy   (examples, 441000) int16, 10 s each at 44.1 kHz
    shard-00000.labels.npy  (examples, 1375) uint8
    shard-00000.jsonl       the manifest: one line an example, how it came to be
    shard-00000.sha256      checksums of the three, as ``sha256sum -c`` reads them; written last
    skipped.jsonl           recordings that were left out, with the reason

Every shard but the last holds 32 examples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from model.frontend import CLIP, CLIP_STEPS
from training.dataset.example import Example
from training.dsp.decode import Int16Array
from training.utils.errors import TrainingError
from training.utils.storage import Bytes, Storage, digest_of, npy_parts, storage

SHARD_FORMAT = 1
SHARD = 32  # examples, 28 MB
SET = "set.json"
SKIPPED = "skipped.jsonl"
EXAMPLE_BYTES = 2 * CLIP + CLIP_STEPS + 2000  # and about that much of the manifest
_PARTS = ("audio.npy", "labels.npy", "jsonl")

Labels = npt.NDArray[np.uint8]


def shard_count(examples: int) -> int:
    """How many shards so many examples need."""
    return -(-examples // SHARD)


def shard_name(number: int) -> str:
    """The beginning of its files' names."""
    return f"shard-{number:05d}"


def numbers_in(shard: int, examples: int) -> range:
    """The examples of a shard."""
    return range(shard * SHARD, min((shard + 1) * SHARD, examples))


def write_shard(place: Storage, number: int, examples: Sequence[Example]) -> None:
    """Write the files of a shard; it counts as complete with the last of them. Raises TrainingError."""
    audio = np.stack([example.audio for example in examples])
    labels = np.stack([example.labels for example in examples])
    lines = "".join(json.dumps(example.record) + "\n" for example in examples).encode()
    sums = []
    contents: list[list[Bytes]] = [npy_parts(audio), npy_parts(labels), [lines]]
    for part, content in zip(_PARTS, contents, strict=True):
        name = f"{shard_name(number)}.{part}"
        place.write(name, content)
        sums.append(f"{digest_of(content)}  {name}\n")
    place.write(f"{shard_name(number)}.sha256", ["".join(sums).encode()])


def complete(names: set[str], number: int) -> bool:
    """Whether all files of a shard are among these."""
    return all(f"{shard_name(number)}.{part}" in names for part in (*_PARTS, "sha256"))


def check_shard(place: Storage, number: int) -> None:
    """Raise TrainingError, naming the file, if one of a shard's is not what its checksum says."""
    sums = f"{shard_name(number)}.sha256"
    wanted = {}
    # not splitlines, to which many a damaged byte is a line's end, too
    *lines, rest = place.read(sums).decode("utf-8", "replace").split("\n")
    for line in lines:
        digest, _, name = line.partition("  ")
        wanted[name] = digest
    if rest or set(wanted) != {f"{shard_name(number)}.{part}" for part in _PARTS}:
        raise _damaged(place, sums)
    for name, digest in wanted.items():
        if place.sha256(name) != digest:
            raise _damaged(place, name)


def _damaged(place: Storage, name: str) -> TrainingError:
    return TrainingError(
        f"{place.location}/{name}: damaged, for its checksum is another; remove it, and the command that built it "
        "makes it anew"
    )


@dataclass(frozen=True)
class Shard:
    """audio: (n, 441000) int16; labels: (n, 1375) uint8; both mapped where they lie on this machine."""

    audio: Int16Array
    labels: Labels


class Dataset:
    """A finished data set. Raises TrainingError: there is none, it is not finished, or a shard is damaged."""

    def __init__(self, location: str) -> None:
        self._place = storage(location)
        names = self._place.names()
        if SET not in names:
            raise TrainingError(f"{location}: there is no data set ({SET} is missing)")
        try:
            self.description: dict[str, Any] = json.loads(self._place.read(SET))
            self._examples = int(self.description["examples"])
            version = self.description["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(f"{location}/{SET}: damaged ({error})") from error
        if version != SHARD_FORMAT:
            raise TrainingError(
                f"{location}: a data set of format {version}, and this chimed reads format {SHARD_FORMAT}"
            )
        lacking = [k for k in range(shard_count(self._examples)) if not complete(names, k)]
        if lacking:
            raise TrainingError(
                f"{location}: not finished, {len(lacking)} of {shard_count(self._examples)} shards are missing; "
                "the command that built it goes on from there"
            )
        self._opened: dict[int, Shard] = {}

    def __len__(self) -> int:
        """How many examples there are."""
        return self._examples

    def __getitem__(self, number: int) -> tuple[Int16Array, Labels]:
        """Audio (441000,) and labels (1375,) of an example."""
        if not 0 <= number < self._examples:
            raise IndexError(number)
        shard = self.shard(number // SHARD)
        return shard.audio[number % SHARD], shard.labels[number % SHARD]

    @property
    def shards(self) -> int:
        """How many shards there are."""
        return shard_count(self._examples)

    def shard(self, number: int) -> Shard:
        """A shard, checked the first time."""
        if number not in self._opened:
            self._opened[number] = self._open(number)
        return self._opened[number]

    def records(self) -> Iterator[dict[str, Any]]:
        """The manifest: how each example came to be."""
        for number in range(self.shards):
            check_shard(self._place, number)
            for line in self._place.read(f"{shard_name(number)}.jsonl").splitlines():
                yield json.loads(line)

    def _open(self, number: int) -> Shard:
        count = len(numbers_in(number, self._examples))
        files = [self._place.local(f"{shard_name(number)}.{part}") for part in _PARTS[:2]]
        check_shard(self._place, number)
        audio, labels = (np.load(file, mmap_mode="r", allow_pickle=False) for file in files)
        if (audio.shape, audio.dtype, labels.shape, labels.dtype) != (
            (count, CLIP),
            np.int16,
            (count, CLIP_STEPS),
            np.uint8,
        ):
            raise _damaged(self._place, f"{shard_name(number)}.audio.npy")
        return Shard(audio, labels)
