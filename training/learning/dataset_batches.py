"""A built data set in, the batches that training reads out: each example a stream of its own.

An example is four chunks long. Its state begins anew with its first one (`fresh`), and is carried through the other
three; what of the last chunk lies after the example has no weight.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from model.frontend import CLIP_STEPS, FRAME_COLUMNS, STRIDE, FloatArray, FrontEnd, spectrogram
from model.network import CARRY
from training.alignment.phone_targets import UNKNOWN
from training.dataset.shards import Dataset, Labels
from training.dsp.decode import Int16Array
from training.learning.scene_batches import CHUNK_COLUMNS, CHUNK_STEPS, Batch
from training.utils.errors import TrainingError

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
    groups = epoch_batches(len(data), rows) // CHUNKS
    order = np.random.default_rng(np.random.SeedSequence([seed, number])).permutation(len(data))
    for group in order[: groups * rows].reshape(groups, rows):
        examples = [data[int(i)] for i in group]
        columns = np.stack([features(audio, front_end) for audio, _ in examples], axis=1)
        target, weight = (np.stack(part, axis=1) for part in zip(*(targets(y) for _, y in examples), strict=True))
        unknown = np.full(target[0].shape, UNKNOWN, np.int8)  # neither phones nor places of words are stored
        for chunk in range(CHUNKS):
            fresh = np.full(rows, chunk == 0, np.float32)
            yield Batch(columns[chunk], target[chunk], weight[chunk], unknown, unknown, fresh)


def epoch_batches(examples: int, rows: int) -> int:
    """How many batches an epoch has. Raises TrainingError: there are fewer examples than rows."""
    if examples < rows:
        raise TrainingError(f"{examples} examples do not fill {rows} rows; build more, or take fewer rows (--rows)")
    return CHUNKS * (examples // rows)


def stream(location: str, front_end: FrontEnd, rows: int, seed: int, first_epoch: int) -> Iterator[Batch]:
    """The batches of all epochs from this one on, without end; as `epoch`."""
    data = Dataset(location)
    for number in itertools.count(first_epoch):
        yield from epoch(data, front_end, rows, seed, number)


assert _COLUMNS >= CHUNK_COLUMNS + (CHUNKS - 1) * CHUNK_STEPS * STRIDE
