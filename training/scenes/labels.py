"""What each step of a scene should say: where words end, which phone sounds, and where nothing is asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from model.frontend import SAMPLE_RATE, STEP, STEP_SPAN, FloatArray
from model.gate import SMOOTHING
from training.alignment.phone_targets import UNKNOWN

LABEL_STEPS = 50  # ones after the word's end, as in the assignment
BEFORE_STEPS, AFTER_STEPS = 12, 25  # around the ones: when exactly a word ends is not known that well
# a step's phone is the one that sounded so many samples (60 ms) before the newest sample that it knows
PHONE_LAG = SAMPLE_RATE * 60 // 1000
Int8Array = npt.NDArray[np.int8]
Span = tuple[int, int, int]  # a phone, its first sample, the sample after its last


class Labels(NamedTuple):
    """What each step should say, (n,) each.

    target: 1 after a word, else 0; weight: 0 where the target says nothing; phone: number of the phone, -1 where
    it is not known; event: 0 where no word may be heard, -1 where it does not matter, else the number of a word
    (from 1, of those that lie wholly in this stretch) in the steps in which that word should be heard.
    """

    target: FloatArray
    weight: FloatArray
    phone: Int8Array
    event: Int8Array


def labels_of(word_ends: Iterable[int], phones: Iterable[Span], first: int, count: int) -> Labels:
    """What `count` steps from step `first` should say, of a stream with words that end at these samples.

    The 50 steps after the end of a word are ones. The 12 steps before and the 25 after those say nothing
    (weight 0): when exactly a word ends is not known that well.
    """
    ends = [end // STEP - first for end in word_ends]  # as steps of this stretch
    target, weight = np.zeros(count, np.float32), np.ones(count, np.float32)
    event = np.zeros(count, np.int8)

    def steps(start: int, end: int) -> slice:
        return slice(max(0, start), max(0, end))

    for end in ends:
        ones = end + 1, end + 1 + LABEL_STEPS
        weight[steps(end - BEFORE_STEPS, end + 1)] = 0.0
        target[steps(*ones)] = 1.0
        weight[steps(ones[1], ones[1] + AFTER_STEPS)] = 0.0
        event[steps(end - BEFORE_STEPS, ones[1] + AFTER_STEPS + SMOOTHING)] = -1
    whole = [end for end in ends if end - BEFORE_STEPS >= 0 and end + 1 + LABEL_STEPS <= count]
    for number, end in enumerate(whole, 1):
        event[end - BEFORE_STEPS : end + 1 + LABEL_STEPS] = number
    weight[target > 0] = 1.0
    phone = np.full(count, UNKNOWN, np.int8)
    for name, start, stop in phones:
        begin, beyond = (max(0, (at + PHONE_LAG - STEP_SPAN) // STEP + 1 - first) for at in (start, stop))
        phone[begin:beyond] = name
    return Labels(target, weight, phone, event)
