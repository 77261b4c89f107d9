"""Recordings of people in, the sound of their rooms out: what each microphone heard while nobody spoke.

Film sound calls it room tone. A synthetic word over noise that a computer made is told from a real one by that noise
alone; over the hiss, hum and fans of real microphones it is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from model.frontend import SAMPLE_RATE, FloatArray
from training.corpora.corpus import Clip, Corpus, by_folder
from training.dsp.decode import Int16Array
from training.dsp.endpointing import HOP, SOFTEST_DBFS, loudness, room_dbfs

OVER_ROOM_DB = 4.0  # an even sound stays within so much above the quietest tenth of its recording
BELOW_SPEECH_DB = 18.0  # and is so much softer than the loud parts: what fades out there is not the room
SHORTEST_SECONDS, LONGEST_SECONDS = 0.25, 2.0
LOUDEST_RMS = 8.0  # of one sample; what has a click in it would click every time it comes round
LEAST_RECORDING_SECONDS = 0.6  # of a recording, to have loud parts and quiet ones
PER_FOLDER = 50  # rooms: the voices of a game were recorded in one studio, however many they are
_TRIES = 160  # recordings of a folder in which a room is looked for


def quietest(samples: Int16Array) -> Int16Array | None:
    """The longest stretch in which nobody speaks, at most 2 s of it; a view of the samples, not a copy.

    None if there is none of a quarter of a second. Digital silence is no room: an editor put it there, or a gate.
    """
    level = loudness(samples)
    heard = level[level > SOFTEST_DBFS]
    if len(level) * HOP < LEAST_RECORDING_SECONDS * SAMPLE_RATE or not len(heard):
        return None
    most = min(room_dbfs(heard) + OVER_ROOM_DB, float(np.quantile(level, 0.95)) - BELOW_SPEECH_DB)
    quiet = (level > SOFTEST_DBFS) & (level < most)
    edges = np.flatnonzero(np.diff(quiet, prepend=False, append=False)).reshape(-1, 2)
    if not len(edges):
        return None
    start, end = edges[np.argmax(edges[:, 1] - edges[:, 0])] * HOP
    found = samples[start : min(end, start + int(LONGEST_SECONDS * SAMPLE_RATE))]
    if len(found) < SHORTEST_SECONDS * SAMPLE_RATE or np.abs(around_zero(found)).max() > LOUDEST_RMS:
        return None
    return found


def around_zero(samples: Int16Array) -> FloatArray:
    """The samples without their mean, with a root mean square of one."""
    wave = samples.astype(np.float32)
    wave -= wave.mean()
    return wave / max(float(np.sqrt(np.mean(np.square(wave)))), 1e-3)


def looped(samples: Int16Array) -> FloatArray:
    """As `around_zero`, and then backwards: it may come round again without a jump."""
    wave = around_zero(samples)
    return np.concatenate((wave, wave[::-1]))


def room_tones(corpus: Corpus, clips: Sequence[Clip]) -> list[Int16Array]:
    """The rooms of these recordings as `quietest` finds them, of each folder up to 50; the same ones each time."""
    rng = np.random.default_rng(0)
    tones: list[Int16Array] = []
    for inside in by_folder(clips).values():
        found: list[Int16Array] = []
        for number in rng.permutation(len(inside))[:_TRIES]:
            if (tone := quietest(corpus[inside[number]])) is not None:
                found.append(tone)
            if len(found) == PER_FOLDER:
                break
        tones += found
    return tones
