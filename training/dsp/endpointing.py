"""A recording from a real room in, where in it somebody spoke out.

By energy against the room's own noise: what is clearly louder than the quietest parts and not far below the loudest,
in stretches long enough to be speech. Rumble below 120 Hz does not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import butter, sosfilt

from model.frontend import FULL_SCALE, SAMPLE_RATE, DoubleArray, Samples

HOP = SAMPLE_RATE // 100  # 10 ms
OVER_FLOOR_DB = 9.0  # what is louder than the room by this is not the room
BELOW_PEAK_DB = 38.0  # what is softer than the loudest sound by this belongs to the room again
LEAST_SNR_DB = 12.0  # between the loudest sound and the room, or there is nothing but the room
GAP_SECONDS = 0.3  # a closure or a pause within a phrase
CLICK_SECONDS = 0.05  # shorter sounds, alone, are clicks
BEFORE_SECONDS, AFTER_SECONDS = 0.05, 0.02  # kept around speech: the end of a clip is the end of the word
LEAST_WORD_SECONDS = 0.3  # of a word, before anything can decide that it is one
DECIDED_LATE_SECONDS = 0.3  # at the most, between such a decision and the word's end
LEAST_ROOM = 0.3  # s around the word; a recording with less was cut to the word already
SOFT_DB = 20.0  # what nowhere comes nearer to the word's loudest sound is a breath or a chair, not a part of it
SOFTEST_DBFS = -85.0  # a room is never quieter; below it is digital silence


@dataclass(frozen=True)
class Stretch:
    """Some samples of a recording: from `start` to before `end`."""

    start: int
    end: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return (self.end - self.start) / SAMPLE_RATE

    def of(self, samples: Samples) -> Samples:
        """These samples."""
        return samples[self.start : self.end]


def loudness(samples: Samples) -> DoubleArray:
    """(n,) int16 samples -> (n // 441,) dBFS of each 10 ms, without rumble."""
    count = len(samples) // HOP
    if count == 0:
        return np.empty(0)
    high_pass = butter(2, 120, "highpass", fs=SAMPLE_RATE, output="sos")
    heard = sosfilt(high_pass, np.asarray(samples[: count * HOP], np.float64)).reshape(count, HOP)
    power = np.mean(np.square(heard), axis=1) / FULL_SCALE**2
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (SOFTEST_DBFS / 10))))


def room_dbfs(level: DoubleArray) -> float:
    """The level of the room: that of the quietest tenth of a recording's 10 ms (as `loudness` gives them)."""
    return float(np.quantile(level, 0.1)) if len(level) else SOFTEST_DBFS


def speech_stretches(samples: Samples, room: float | None = None) -> list[Stretch]:
    """Where somebody spoke, in order, with a little of the room around; nothing if there is only the room.

    samples: (n,) int16 at 44.1 kHz; room: its level in dBFS where it is known, as in a recording without a pause.
    """
    level = loudness(samples)
    if not len(level):
        return []
    floor = room_dbfs(level) if room is None else room
    peak = float(np.max(level))
    if peak - floor < LEAST_SNR_DB:
        return []
    loud = level > max(floor + OVER_FLOOR_DB, peak - BELOW_PEAK_DB)
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False)).reshape(-1, 2)
    joined: list[list[int]] = []
    for start, end in edges.tolist():
        if joined and start - joined[-1][1] <= GAP_SECONDS * 100:
            joined[-1][1] = end
        else:
            joined.append([start, end])
    found = []
    for start, end in joined:
        if end - start < CLICK_SECONDS * 100:
            continue
        first = max(0, start * HOP - round(BEFORE_SECONDS * SAMPLE_RATE))
        found.append(Stretch(first, min(len(samples), end * HOP + round(AFTER_SECONDS * SAMPLE_RATE))))
    return found


def find_word(samples: Samples, room: float | None = None) -> Stretch | None:
    """Where the word is in a recording of it: the stretch that holds the most energy; None if nobody spoke."""
    found = speech_stretches(samples, room)
    if not found:
        return None
    return max(found, key=lambda stretch: float(np.sum(np.square(stretch.of(samples).astype(np.float64)))))


def said(samples: Samples) -> Stretch:
    """What somebody said in a recording of the word alone, from its first sound to its last, pauses and all.

    The whole of it if nobody spoke out, or if it was cut to the word already: then it holds no room to compare with.
    Digital silence around it is no room, and never belongs to it.
    """
    sound = np.flatnonzero(loudness(samples) > SOFTEST_DBFS)
    if not len(sound):
        return Stretch(0, len(samples))
    begin, end = int(sound[0]) * HOP, (int(sound[-1]) + 1) * HOP
    whole = Stretch(begin, end if end + HOP <= len(samples) else len(samples))
    recorded = whole.of(samples)
    found = speech_stretches(recorded)
    if not found:
        return whole
    loudest = [float(loudness(stretch.of(recorded)).max(initial=SOFTEST_DBFS)) for stretch in found]
    loud = [stretch for stretch, level in zip(found, loudest, strict=True) if level > max(loudest) - SOFT_DB]
    spoken = Stretch(begin + loud[0].start, begin + loud[-1].end)
    return spoken if whole.seconds - spoken.seconds > LEAST_ROOM else whole


def within(word: Stretch, start: int, end: int) -> Stretch:
    """What is in both: a word's stretch, and where an aligner heard it (samples), with a little of the room around.

    The stretch as it is where the two hardly meet: then the aligner was wrong.
    """
    start = max(word.start, start - round(BEFORE_SECONDS * SAMPLE_RATE))
    end = min(word.end, end + round(AFTER_SECONDS * SAMPLE_RATE))
    return Stretch(start, end) if end - start >= LEAST_WORD_SECONDS * SAMPLE_RATE else word


def last_word(samples: Samples, longest: float, decided: int) -> Stretch | None:
    """What was said when it was decided that it is the word, at most `longest` seconds of it; None if nobody spoke.

    decided: the sample at which that was. What began right before it, or after it, came too late to be the reason.
    """
    found = speech_stretches(samples)
    if not found:
        return None
    before = [stretch for stretch in found if stretch.start <= decided - round(LEAST_WORD_SECONDS * SAMPLE_RATE)]
    last = (before or found)[-1]
    end = min(last.end, decided + round(DECIDED_LATE_SECONDS * SAMPLE_RATE)) if before else last.end
    return Stretch(max(last.start, end - round(longest * SAMPLE_RATE)), end)
