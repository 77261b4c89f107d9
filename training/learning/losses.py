"""What training minimises: the word by steps, the word by events, and the phones beside it.

All of them take what the network said about a batch of streams and what it should have said (`scenes.Labels`).
"""

from __future__ import annotations

from typing import Any

import keras

from model.gate import SMOOTHING

NEGATIVE_STRETCH = 32  # steps (0.23 s): in each such stretch without the word, the highest posterior counts
MAX_EVENTS = 16  # words that a chunk of 2.5 s can hold


def steps(posterior: Any, target: Any, weight: Any) -> Any:
    """Binary cross-entropy of (rows, n) posteriors, the mean over the steps that count."""
    ops = keras.ops
    entropy = -target * ops.log(posterior) - (1 - target) * ops.log(1 - posterior)
    return ops.sum(weight * entropy) / ops.sum(weight)


def events(posterior: Any, event: Any, negative_weight: float) -> Any:
    """Binary cross-entropy of decisions: each word's best moment, and the worst of each stretch without one.

    What the gate looks at, the mean of the last steps, must rise high once in the steps of a word and nowhere else
    (max-pooling; Hou et al., "Mining effective negative training samples for keyword spotting", ICASSP 2020). A
    stretch that is far from firing contributes next to nothing, so hard negatives need no search. Returns the sum
    over words and stretches (the latter times `negative_weight`) divided by the number of words.
    """
    ops = keras.ops
    smooth = smoothed(posterior)
    numbers = ops.arange(1, MAX_EVENTS + 1, dtype="int32")
    inside = ops.equal(ops.cast(event, "int32")[:, :, None], numbers)
    best = ops.max(ops.where(inside, smooth[:, :, None], 0.0), axis=1)
    is_word = ops.cast(ops.any(inside, axis=1), posterior.dtype)
    missed = -ops.sum(is_word * ops.log(ops.maximum(best, 1e-6)))
    rows, length = ops.shape(posterior)
    elsewhere = ops.where(ops.equal(event, 0), smooth, 0.0)
    count = length // NEGATIVE_STRETCH
    worst = ops.max(ops.reshape(elsewhere[:, : count * NEGATIVE_STRETCH], (rows, count, NEGATIVE_STRETCH)), axis=2)
    false = -ops.sum(ops.log(ops.maximum(1 - worst, 1e-6)))
    return (missed + negative_weight * false) / ops.maximum(ops.sum(is_word), 1.0)


def smoothed(posterior: Any) -> Any:
    """(rows, n) -> (rows, n): the mean of the last 10 steps, as the gate's; before the first one counts the first."""
    ops = keras.ops
    before = ops.repeat(posterior[:, :1], SMOOTHING - 1, axis=1)
    padded = ops.concatenate((before, posterior), axis=1)
    return ops.average_pool(padded[:, :, None], SMOOTHING, strides=1, padding="valid")[:, :, 0]


def phones(logits: Any, phone: Any) -> Any:
    """Cross-entropy of (rows, n, phones) logits, the mean over the steps whose phone is known."""
    ops = keras.ops
    known = ops.cast(ops.greater_equal(phone, 0), logits.dtype)
    number = ops.maximum(ops.cast(phone, "int32"), 0)
    likelihood = ops.take_along_axis(ops.log_softmax(logits), number[:, :, None], axis=2)[:, :, 0]
    return -ops.sum(known * likelihood) / ops.maximum(ops.sum(known), 1.0)
