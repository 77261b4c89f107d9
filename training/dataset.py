"""A built data set in, the batches that training reads out: each example a stream of its own.

An example is four chunks long. Its state begins anew with its first one (`fresh`), and is carried through the other
three; what of the last chunk lies after the example has no weight. `Batches` gives them in this process,
`Producer` computes them ahead in another one, with the same verbs as `training.batches.Producer`.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from model.frontend import CLIP_STEPS, FRAME_COLUMNS, STRIDE, FloatArray, FrontEnd, spectrogram
from model.network import CARRY
from training.batches import CHUNK_COLUMNS, CHUNK_STEPS, Batch
from training.decode import Int16Array
from training.errors import TrainingError
from training.phones import UNKNOWN
from training.shards import Dataset, Labels

CHUNKS = -(-CLIP_STEPS // CHUNK_STEPS)  # of one example: 4
_COLUMNS = CHUNKS * CHUNK_STEPS * STRIDE + CARRY


def features(audio: Int16Array, front_end: FrontEnd) -> FloatArray:
    """(4, 1419, bins) what the network reads of an example, in chunks that overlap by its carry.

    The same as the chunks of a stream that begins with this audio; after its end there are zeros.
    """
    columns = spectrogram(audio)
    scaling = front_end.new_scaling()
    # in the portions in which `training.batches` scales: whole frames, and one short one after the first chunk
    edges = [*range(0, CHUNK_COLUMNS, FRAME_COLUMNS), *range(CHUNK_COLUMNS, columns.shape[1], FRAME_COLUMNS)]
    scaled = [
        scaling.push(columns[:, start:end]) for start, end in zip(edges, [*edges[1:], columns.shape[1]], strict=True)
    ]
    whole = np.zeros((_COLUMNS, front_end.bins), np.float32)
    whole[: columns.shape[1]] = np.concatenate(scaled)
    step = CHUNK_STEPS * STRIDE
    return np.stack([whole[start : start + CHUNK_COLUMNS] for start in range(0, CHUNKS * step, step)])


def targets(labels: Labels) -> tuple[FloatArray, FloatArray]:
    """(4, 352) targets and weights of an example's labels (1375,)."""
    target, weight = np.zeros((2, CHUNKS * CHUNK_STEPS), np.float32)
    target[:CLIP_STEPS] = labels
    weight[:CLIP_STEPS] = 1.0
    return target.reshape(CHUNKS, CHUNK_STEPS), weight.reshape(CHUNKS, CHUNK_STEPS)


def epoch(data: Dataset, front_end: FrontEnd, rows: int, seed: int, number: int) -> Iterator[Batch]:
    """Each example once, `rows` at a time, in an order that depends on the seed and the epoch's number alone.

    Four batches for each `rows` examples; those that do not fill the last rows are left out of this epoch.
    Raises TrainingError: there are fewer examples than rows, or a shard is damaged.
    """
    if len(data) < rows:
        raise TrainingError(f"{len(data)} examples do not fill {rows} rows; build more, or take fewer rows")
    order = np.random.default_rng(np.random.SeedSequence([seed, number])).permutation(len(data))
    for first in range(0, len(data) - rows + 1, rows):
        examples = [data[int(i)] for i in order[first : first + rows]]
        columns = np.stack([features(audio, front_end) for audio, _ in examples], axis=1)
        target, weight = (np.stack(part, axis=1) for part in zip(*(targets(y) for _, y in examples), strict=True))
        unknown = np.full(target[0].shape, UNKNOWN, np.int8)  # neither phones nor places of words are stored
        for chunk in range(CHUNKS):
            fresh = np.full(rows, chunk == 0, np.float32)
            yield Batch(columns[chunk], target[chunk], weight[chunk], unknown, unknown, fresh)


class Batches:
    """Endless batches, epoch after epoch; computed when they are asked for."""

    def __init__(self, location: str, front_end: FrontEnd, rows: int, seed: int, first_epoch: int = 0) -> None:
        self._data = Dataset(location)
        self._arguments = (self._data, front_end, rows, seed)
        self._epoch = first_epoch
        self._batches = epoch(*self._arguments, first_epoch)
        self.epoch_batches = CHUNKS * (len(self._data) // rows)

    def __iter__(self) -> Batches:
        return self

    def __next__(self) -> Batch:
        for batch in self._batches:
            return batch
        self._epoch += 1
        self._batches = epoch(*self._arguments, self._epoch)
        return next(self._batches)

    def close(self) -> None:
        """Nothing to stop."""


def _produce(arguments: tuple[Any, ...], queue: Any) -> None:
    from queue import Full

    parent = multiprocessing.parent_process()
    try:
        for batch in Batches(*arguments):
            waiting = True
            while waiting:
                # a training that was killed cannot stop this process: it must notice by itself
                if parent is not None and not parent.is_alive():
                    queue.cancel_join_thread()
                    return
                with suppress(Full):
                    queue.put(batch, timeout=2)
                    waiting = False
    except TrainingError as error:
        queue.put(error)


class Producer:
    """As `Batches`, computed in another process, a few ahead of the training."""

    def __init__(self, location: str, front_end: FrontEnd, rows: int, seed: int, first_epoch: int = 0) -> None:
        # spawn: a fork of a process that holds TensorFlow's threads may hang
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.Queue(maxsize=8)
        arguments = (location, front_end, rows, seed, first_epoch)
        self._process = context.Process(target=_produce, args=(arguments, self._queue), daemon=True)
        self._process.start()

    def __iter__(self) -> Producer:
        return self

    def __next__(self) -> Batch:
        from queue import Empty

        while True:
            try:
                batch: Batch | TrainingError = self._queue.get(timeout=5)
            except Empty:
                if not self._process.is_alive():
                    raise TrainingError("the process that makes the batches died; the data set may be gone") from None
                continue
            if isinstance(batch, TrainingError):
                raise batch
            return batch

    def close(self) -> None:
        """Stop the process."""
        self._process.terminate()
        self._process.join()


assert _COLUMNS >= CHUNK_COLUMNS + (CHUNKS - 1) * CHUNK_STEPS * STRIDE
