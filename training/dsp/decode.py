"""An audio file in, its first channel at 44.1 kHz out, or the reason why it is of no use: the one place that decodes.

libsndfile reads WAV, FLAC, Ogg, Opus, MP3, AIFF and more; what it cannot (M4A, AAC, WMA, the sound of a video) goes
through ffmpeg where that is installed.
"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from model.frontend import FULL_SCALE, SAMPLE_RATE, FloatArray
from training.utils.errors import TrainingError

Int16Array = npt.NDArray[np.int16]

SILENT_DBFS = -70.0  # a recording whose loudest 10 ms are below this holds nothing
CLIPPED = 0.1  # with this share of its samples at full scale it is noise; loud but usable speech has up to 0.09
_BLOCK = 2**20  # frames decoded at once
_UNKNOWN = 2**63 - 1  # what libsndfile gives for frames of a FLAC that was streamed, whose header has no length


class UnusableError(TrainingError):
    """A recording that is of no use. path: its file; reason: half a sentence."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class DecodedFile(NamedTuple):
    """samples: (n,) first channel at 44.1 kHz; clipped: share of the file's samples at full scale, 0 to 1."""

    samples: Int16Array
    clipped: float


def decode(path: Path, max_seconds: float = np.inf) -> DecodedFile:
    """The first channel of an audio file of any format, rate and number of channels.

    Raises UnusableError for whatever is no audio, is damaged, is empty or is longer than `max_seconds`.
    """
    try:
        file = soundfile.SoundFile(path)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        # RuntimeError: libsndfile's own; TypeError: a .raw file, which says nothing of its rate
        mono, rate = _read_by_ffmpeg(path, max_seconds, _reason(error))
    else:
        with file:
            mono, rate = _read(path, file, max_seconds), file.samplerate
    if not np.isfinite(mono).all():
        raise UnusableError(path, "damaged (it holds values that are not finite)")
    if len(mono) < rate // 100:
        raise UnusableError(path, "empty")
    # the last value but one of 16 bit already: some recorders stop there, and -32768 has no positive twin
    clipped = float(np.mean(np.abs(mono) >= (FULL_SCALE - 2) / FULL_SCALE))
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    return DecodedFile(to_int16(mono * FULL_SCALE), clipped)


def flaw(recording: DecodedFile, silence: bool = False) -> str | None:
    """Why a recording that was decoded is of no use; None if it is. silence: silent ones will do."""
    if recording.clipped >= CLIPPED:
        return f"clipped ({100 * recording.clipped:.0f} % of its samples are at full scale)"
    if not silence and loudest_level(recording.samples) <= SILENT_DBFS:
        return "silent"
    return None


def to_int16(samples: npt.NDArray[Any]) -> Int16Array:
    """Round samples in int16 units; what is out of range clips."""
    rounded: Int16Array = np.clip(np.round(samples), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return rounded


def powers(samples: Int16Array) -> FloatArray:
    """Mean square of each 10 ms, in int16 units; of what there is if that is shorter."""
    hop = SAMPLE_RATE // 100
    count = len(samples) // hop
    blocks = (
        samples[: count * hop].reshape(count, hop).astype(np.float32) if count else samples[None].astype(np.float32)
    )
    return np.asarray(np.mean(np.square(blocks), axis=1))


def loudest_level(samples: Int16Array) -> float:
    """Level in dBFS of the loudest 10 ms."""
    return _dbfs(float(powers(samples).max()))


def active_level(samples: Int16Array) -> float:
    """Level in dBFS of the parts within 30 dB of the loudest 10 ms: the level of the speech, not of its pauses."""
    power = powers(samples)
    return _dbfs(float(power[power >= power.max() * 1e-3].mean()))


def _dbfs(power: float) -> float:
    return float(10 * np.log10(max(power, 1e-9) / FULL_SCALE**2))


def _read(path: Path, file: Any, max_seconds: float) -> FloatArray:
    streamed = file.frames == _UNKNOWN
    if streamed:
        file.seekable = lambda: False  # or soundfile seeks after each block, which libsndfile cannot without a length
    else:
        _check_length(path, file.frames / file.samplerate, max_seconds)
    # not file.blocks(), which makes up what a file that was cut short lacks
    blocks: list[FloatArray] = [np.empty(0, np.float32)]
    try:
        while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
            blocks.append(block[:, 0].copy())
            if sum(map(len, blocks)) / file.samplerate > max_seconds:
                raise UnusableError(path, f"longer than {max_seconds:.0f} s; more do not fit")
    except RuntimeError as error:
        raise UnusableError(path, f"damaged ({_reason(error)})") from error
    mono = np.concatenate(blocks)
    if not streamed and len(mono) < file.frames:
        raise UnusableError(path, f"damaged (it ends after {len(mono)} of {file.frames} samples)")
    return mono


def _reason(error: Exception) -> str:
    # libsndfile's sentence without the path, which soundfile puts in front
    return str(getattr(error, "error_string", error)).rstrip(".")


def _check_length(path: Path, seconds: float, max_seconds: float) -> None:
    if seconds > max_seconds:
        raise UnusableError(path, f"{seconds:.0f} s long; more than {max_seconds:.0f} s do not fit")


def _read_by_ffmpeg(path: Path, max_seconds: float, reason: str) -> tuple[FloatArray, int]:
    """What libsndfile refused for this reason, if ffmpeg knows better."""
    refused = UnusableError(path, f"not readable as audio ({reason})")
    if not path.is_file() or not path.stat().st_size:
        raise refused
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        raise UnusableError(path, f"not readable as audio ({reason}, and ffmpeg is not installed)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydub's own, of audioop's end
        from pydub import AudioSegment
        from pydub.exceptions import CouldntDecodeError
    try:
        limit = None if max_seconds == np.inf else max_seconds + 1
        sound = AudioSegment.from_file(str(path), duration=limit)
    except (CouldntDecodeError, OSError, LookupError, ValueError) as error:
        # LookupError, ValueError: pydub on what ffprobe says of a file that is no sound
        raise refused from error
    _check_length(path, sound.frame_count() / sound.frame_rate, max_seconds)
    integers = np.array(sound.get_array_of_samples())[:: sound.channels]
    return (integers / float(1 << (8 * sound.sample_width - 1))).astype(np.float32), sound.frame_rate
