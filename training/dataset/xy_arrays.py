"""A data set in, the assignment's X.npy and Y.npy out, never whole in memory.

X.npy is (examples, 5511, 101) float32, the power that `model.frontend.spectrogram` gives, time first as Keras wants
it; Y.npy is (examples, 1375, 1) float32, 0 or 1. Both are meant to be mapped: ``np.load("X.npy", mmap_mode="r")``.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from model.frontend import BINS, CLIP_COLUMNS, CLIP_STEPS, FloatArray, spectrogram
from training.dataset.shards import SHARD, Dataset
from training.utils.errors import TrainingError
from training.utils.process_pool import in_parallel
from training.utils.progress import bar
from training.utils.storage import LocalStorage, check_room, explained

STATE = "xy.json"  # of which data set, and which shards are done
_SHAPES = {"X.npy": (CLIP_COLUMNS, BINS), "Y.npy": (CLIP_STEPS, 1)}


def write_xy(location: str, folder: Path, workers: int = 1) -> None:
    """Write X.npy and Y.npy of the data set at a location into a folder; goes on where an earlier call stopped.

    Raises TrainingError: the data set is not finished or damaged, the disk is full.
    """
    data = Dataset(location)
    digest = hashlib.sha256(json.dumps(data.description, sort_keys=True).encode()).hexdigest()
    place = LocalStorage(folder)
    done = _done(place, digest)
    partial = {name: folder / f"{name}.part" for name in _SHAPES}
    begun = [path for path in partial.values() if path.exists()]
    if len(done) == data.shards and not begun and all((folder / name).exists() for name in _SHAPES):
        return
    if len(begun) < len(partial):
        done = set()
        for path in partial.values():
            path.unlink(missing_ok=True)
        check_room(str(folder), place.free(), 4 * len(data) * (CLIP_COLUMNS * BINS + CLIP_STEPS))
        _note(place, digest, done)  # first, or the new files would pass for those of the data set noted before
        for name, path in partial.items():
            _reserve(path, _header(name, len(data)))
    todo = [number for number in range(data.shards) if number not in done]
    with closing(in_parallel(_new_worker, (location, folder), todo, workers)) as crew:
        for number, _ in bar(crew, "X and Y", "shard", len(todo)):
            done.add(number)
            _note(place, digest, done)
    for name, path in partial.items():
        path.replace(folder / name)


def _done(place: LocalStorage, digest: str) -> set[int]:
    """The shards of this data set that are in the unfinished files; what is half done of another is removed."""
    try:
        state: dict[str, Any] = json.loads(place.read(STATE)) if STATE in place.names() else {"set": None}
        if state["set"] == digest:
            return set(map(int, state["shards"]))
    except (ValueError, KeyError, TypeError):
        pass  # damaged: made anew
    for name in _SHAPES:
        place.remove(f"{name}.part")
    return set()


def _note(place: LocalStorage, digest: str, done: set[int]) -> None:
    place.write(STATE, [json.dumps({"set": digest, "shards": sorted(done)}).encode()])


def _header(name: str, examples: int) -> bytes:
    header = io.BytesIO()
    shape = (examples, *_SHAPES[name])
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return header.getvalue()


def _reserve(path: Path, header: bytes) -> None:
    with explained(str(path)):
        path.write_bytes(header)


def _new_worker(location: str, folder: Path) -> Callable[[int], None]:
    data = Dataset(location)
    offset = {name: len(_header(name, len(data))) for name in _SHAPES}

    def write(name: str, number: int, values: FloatArray) -> None:
        size = 4 * int(np.prod(_SHAPES[name]))
        path = folder / f"{name}.part"
        # not through a map: where the disk is full that kills the process
        with explained(str(path)), path.open("r+b") as file:
            file.seek(offset[name] + number * SHARD * size)
            file.write(np.ascontiguousarray(values, "<f4").data)
            file.flush()
            os.fdatasync(file.fileno())  # before the shard counts as done

    def work(number: int) -> None:
        shard = data.shard(number)
        write("X.npy", number, np.stack([spectrogram(audio).T.astype(np.float32) for audio in shard.audio]))
        write("Y.npy", number, shard.labels[:, :, None].astype(np.float32))

    return work


def open_xy(folder: Path) -> tuple[FloatArray, FloatArray]:
    """X and Y, mapped. Raises TrainingError if they are not there."""
    found = []
    for name in _SHAPES:
        try:
            found.append(np.load(folder / name, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{folder / name}: {error}") from error
    return found[0], found[1]
