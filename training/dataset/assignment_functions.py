"""Words and backgrounds in, training examples out: the assignment's functions under their own names.

Time is counted in milliseconds, ten thousand to a clip, and segments are inclusive pairs of them. Whatever is
random takes a generator, so that a seed gives the same example to the last bit.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model.frontend import CLIP, CLIP_STEPS, SAMPLE_RATE, DoubleArray, Samples, spectrogram
from training.dsp.decode import UnusableError, decode, flaw
from training.scenes.labels import LABEL_STEPS
from training.utils.errors import TrainingError
from training.utils.find_files import find_files

with warnings.catch_warnings():
    # pydub looks for ffmpeg, which it may do without, and for audioop, on its way out
    warnings.simplefilter("ignore")
    from pydub import AudioSegment

CLIP_MS = 10_000
RETRIES = 5
TARGET_DBFS = -20.0  # level of a finished example
BACKGROUND_DB = -20.0  # change of the background's level before words are laid over it
MAX_POSITIVES = 4
MAX_NEGATIVES = 2
NOWHERE = (CLIP_MS, CLIP_MS)  # the segment of a clip that found no place: past the end, so it labels nothing

Segment = tuple[int, int]  # first and last millisecond

_log = logging.getLogger(__name__)


def get_random_time_segment(segment_ms: int, rng: np.random.Generator) -> Segment:
    """A random place for a clip of so many milliseconds: first and last millisecond, within 0 to 9999.

    Raises TrainingError unless the clip is longer than nothing and shorter than 10 s.
    """
    if not 0 < segment_ms < CLIP_MS:
        raise TrainingError(f"a clip of {segment_ms} ms cannot be placed in one of {CLIP_MS} ms")
    start = int(rng.integers(0, CLIP_MS - segment_ms))
    return start, start + segment_ms - 1


def is_overlapping(segment_time: Segment, previous_segments: Sequence[Segment]) -> bool:
    """Whether the segment shares a millisecond with any of the others."""
    start, end = segment_time
    return any(start <= previous_end and end >= previous_start for previous_start, previous_end in previous_segments)


def insert_audio_clip(
    background: AudioSegment, audio_clip: AudioSegment, previous_segments: list[Segment], rng: np.random.Generator
) -> tuple[AudioSegment, Segment]:
    """Lay the clip over the background at a random free place.

    A place that overlaps an earlier segment is drawn again, up to 5 times (the assignment's loop draws a sixth
    time, against its own text). Returns the new background and the clip's segment, which is also appended to
    `previous_segments`; without a free place, the same background and (10000, 10000), which labels nothing.
    Raises TrainingError, naming the clip's file where it came from one, for a clip of 10 s or more.
    """
    if not 0 < len(audio_clip) < CLIP_MS:
        raise TrainingError(
            f"{_name(audio_clip)} is {len(audio_clip) / 1000:.1f} s long; what is inserted into a clip of 10 s "
            "must be shorter than that, and not empty"
        )
    for _ in range(1 + RETRIES):
        segment_time = get_random_time_segment(len(audio_clip), rng)
        if not is_overlapping(segment_time, previous_segments):
            previous_segments.append(segment_time)
            return background.overlay(audio_clip, position=segment_time[0]), segment_time
    return background, NOWHERE


def insert_ones(y: DoubleArray, segment_end_ms: int) -> DoubleArray:
    """Label the 50 steps strictly after the one in which the word ends, as far as there are any.

    y: (1, steps), changed in place and returned; segment_end_ms: last millisecond of the word.
    """
    steps = y.shape[1]
    end_step = int(segment_end_ms * steps / CLIP_MS)
    y[0, end_step + 1 : end_step + 1 + LABEL_STEPS] = 1
    return y


def match_target_amplitude(sound: AudioSegment, target_dbfs: float) -> AudioSegment:
    """The sound at that RMS level, in dB of full scale; digital silence, which has no level, as it is."""
    return sound.apply_gain(target_dbfs - sound.dBFS) if sound.rms else sound


def mix_training_example(
    background: AudioSegment,
    activates: Sequence[AudioSegment],
    negatives: Sequence[AudioSegment],
    rng: np.random.Generator,
    steps: int = CLIP_STEPS,
) -> tuple[AudioSegment, DoubleArray]:
    """`create_training_example` before its spectrogram: the 10 s of sound, and the labels (1, steps)."""
    if not activates or not negatives:
        raise TrainingError("an example is mixed from positive and negative clips, and one of the two kinds is missing")
    if (background.frame_rate, int(background.frame_count())) != (SAMPLE_RATE, CLIP):
        raise TrainingError(f"{_name(background)} is not a background of 10 s at {SAMPLE_RATE} Hz")
    mix = background.apply_gain(BACKGROUND_DB)
    y = np.zeros((1, steps))
    previous_segments: list[Segment] = []
    for clip in _draw(activates, MAX_POSITIVES, rng):
        mix, (_, segment_end) = insert_audio_clip(mix, clip, previous_segments, rng)
        y = insert_ones(y, segment_end)
    for clip in _draw(negatives, MAX_NEGATIVES, rng):
        mix, _ = insert_audio_clip(mix, clip, previous_segments, rng)
    return match_target_amplitude(mix, TARGET_DBFS), y


def create_training_example(
    background: AudioSegment,
    activates: Sequence[AudioSegment],
    negatives: Sequence[AudioSegment],
    rng: np.random.Generator,
    steps: int = CLIP_STEPS,
) -> tuple[DoubleArray, DoubleArray]:
    """One example: the background 20 dB down, 0 to 4 positives, 0 to 2 negatives, all brought to -20 dBFS.

    background: 10 s at 44.1 kHz; steps: outputs of the network in 10 s. Clips may be drawn more than once.
    Each stage rounds to 16 bit, as the assignment's does, so of a background below -50 dBFS little more than
    the rounding remains.
    Returns x, (101, 5511) power of the first channel as `model.frontend.spectrogram` gives it, and y, (1, steps)
    labels. Raises TrainingError for a background of another length, a clip of 10 s or more, or no clips at all.
    """
    mix, y = mix_training_example(background, activates, negatives, rng, steps)
    return spectrogram(first_channel(mix)), y


def first_channel(sound: AudioSegment) -> Samples:
    """(n,) int16 samples."""
    return np.frombuffer(sound.raw_data, np.int16)[:: sound.channels]


def _draw(clips: Sequence[AudioSegment], most: int, rng: np.random.Generator) -> list[AudioSegment]:
    """0 to `most` of the clips, with replacement."""
    count = rng.integers(0, most + 1)
    return [clips[i] for i in rng.integers(0, len(clips), size=count)]


def _name(sound: AudioSegment) -> str:
    return str(getattr(sound, "path", "a clip"))


class Skipped(NamedTuple):
    """A file that was left out, and why: half a sentence."""

    path: Path
    reason: str


@dataclass(frozen=True)
class RawAudio:
    """What `load_raw_audio` found: mono segments of 16 bit at 44.1 kHz, each with its file as ``.path``.

    Unpacks like the assignment's: ``activates, negatives, backgrounds = load_raw_audio(path)``.
    """

    activates: list[AudioSegment]
    negatives: list[AudioSegment]
    backgrounds: list[AudioSegment]  # of exactly 10 s
    skipped: list[Skipped]

    def __iter__(self) -> Iterator[list[AudioSegment]]:
        return iter((self.activates, self.negatives, self.backgrounds))


def load_raw_audio(path: str | os.PathLike[str]) -> RawAudio:
    """Read a folder with ``activates`` (or ``positives``), ``negatives`` and ``backgrounds``, each as deep as it goes.

    Any format at any rate; of several channels the first counts. A file that is no audio, is empty, clipped (a
    tenth of its samples at full scale) or, among the words, silent is left out, logged and listed. A background
    longer than 10 s is cut into pieces of 10 s, the last of which ends where the file does, so that nothing of
    it is lost. Hidden files are not looked at.
    Raises TrainingError, naming the file or folder, for a word of 10 s or more, a background shorter than
    10 s, and a folder that is missing or of which nothing is left.
    """
    folder = Path(path)
    skipped: list[Skipped] = []
    activates = _words(folder, ("activates", "positives"), skipped)
    negatives = _words(folder, ("negatives",), skipped)
    backgrounds = [
        piece for file, samples in _recordings(folder, ("backgrounds",), skipped) for piece in _pieces(file, samples)
    ]
    return RawAudio(activates, negatives, backgrounds, skipped)


def _words(folder: Path, names: tuple[str, ...], skipped: list[Skipped]) -> list[AudioSegment]:
    segments = []
    for path, samples in _recordings(folder, names, skipped, silence=False):
        check_word(path, len(samples))
        segments.append(_segment(path, samples))
    return segments


def check_word(path: str | os.PathLike[str], length: int) -> None:
    """Raise TrainingError if a word of so many samples does not fit into a clip."""
    seconds = round(length * 1000 / SAMPLE_RATE) / 1000
    if seconds * 1000 >= CLIP_MS:
        raise TrainingError(f"{path} is {seconds:.1f} s long; a word must be shorter than 10 s")


def piece_starts(path: str | os.PathLike[str], length: int) -> list[int]:
    """Where the pieces of 10 s begin into which a background of so many samples is cut; the last ends where it does.

    Raises TrainingError for one that is shorter.
    """
    if length < CLIP:
        raise TrainingError(f"{path} is {length * 1000 // SAMPLE_RATE} ms long; a background takes 10 000 ms or more")
    return [*range(0, length - CLIP, CLIP), length - CLIP]


def _pieces(path: Path, samples: Samples) -> list[AudioSegment]:
    return [_segment(path, samples[start : start + CLIP]) for start in piece_starts(path, len(samples))]


def segment_of(samples: Samples) -> AudioSegment:
    """(n,) int16 samples at 44.1 kHz as pydub has them."""
    return AudioSegment(samples.tobytes(), sample_width=2, frame_rate=SAMPLE_RATE, channels=1)


def _segment(path: Path, samples: Samples) -> AudioSegment:
    segment = segment_of(samples)
    segment.path = path
    return segment


def raw_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """All files of those of the named folders that are there, as deep as they go, sorted; hidden ones are not seen.

    Raises TrainingError if none of the folders is there.
    """
    folders = [folder / name for name in names if (folder / name).is_dir()]
    if not folders:
        raise TrainingError(f"{folder} has no folder {' or '.join(names)}")
    files = sorted(path for each in folders for path in find_files(each))
    return [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _recordings(
    folder: Path, names: tuple[str, ...], skipped: list[Skipped], *, silence: bool = True
) -> Iterator[tuple[Path, Samples]]:
    """Each usable file of the folders, in the order of their names; the others join `skipped`."""
    found = 0
    bad: list[Skipped] = []
    for path in raw_files(folder, names):
        try:
            recording = decode(path)
            if reason := flaw(recording, silence):
                raise UnusableError(path, reason)
        except UnusableError as error:
            bad.append(Skipped(path, error.reason))
            _log.warning("left out: %s", error)
            continue
        found += 1
        yield path, recording.samples
    skipped += bad
    if not found:
        raise nothing_usable(folder, names, bad)


def nothing_usable(folder: Path, names: Sequence[str], bad: Sequence[Skipped]) -> TrainingError:
    """The error that says so, with the first reason."""
    first = f" (the first is {bad[0].path.name}: {bad[0].reason})" if bad else ""
    there = next(folder / name for name in names if (folder / name).is_dir())
    return TrainingError(f"{there} holds no recording that can be used{first}")
