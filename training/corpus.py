"""Folders of recordings in, clips at 44.1 kHz out; decoded once, then mapped from disk.

Any format that libsndfile reads, any rate, any number of channels (the first counts). What cannot be used is
listed with its reason. Train, development and test are split by *group* (the speaker's folder where there is
one, else the file), by a hash of its name: adding recordings never moves one from one split to another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr
from tqdm import tqdm

from model.frontend import FULL_SCALE, SAMPLE_RATE
from training.errors import TrainingError

Int16Array = npt.NDArray[np.int16]

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff", ".au"}
SPLITS = (("train", 70), ("dev", 15), ("test", 15))  # percent
MAX_SECONDS = 600
SILENT_DBFS = -70.0  # a recording whose loudest 10 ms are below this holds nothing


@dataclass(frozen=True)
class Clip:
    """One recording in the pool. start, length: samples; level: dBFS of its loud parts."""

    path: str
    group: str
    start: int
    length: int
    level: float

    @property
    def split(self) -> str:
        """Train, dev or test."""
        return split_of(self.group)

    @property
    def folder(self) -> str:
        """The name of the folder that it was found in."""
        return self.group.partition("/")[0]


def split_of(group: str) -> str:
    """The split that a group belongs to, whatever else there is."""
    percent = int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % 100
    for name, share in SPLITS:
        if percent < share:
            return name
        percent -= share
    raise AssertionError("the shares add up to 100")


@dataclass(frozen=True)
class Problem:
    """A recording that was left out, and why."""

    path: str
    reason: str


class Corpus:
    """The decoded recordings of some folders."""

    def __init__(self, samples: Int16Array, clips: Sequence[Clip], problems: Sequence[Problem]) -> None:
        self._samples = samples
        self.clips = list(clips)
        self.problems = list(problems)

    def __getitem__(self, clip: Clip) -> Int16Array:
        """The clip's samples, mapped from disk, not copied."""
        return self._samples[clip.start : clip.start + clip.length]

    def split(self, *names: str) -> list[Clip]:
        """The clips of these splits."""
        return [clip for clip in self.clips if clip.split in names]

    def hours(self, clips: Sequence[Clip] | None = None) -> float:
        """How much audio these clips, or all, hold."""
        return sum(clip.length for clip in (self.clips if clips is None else clips)) / SAMPLE_RATE / 3600


def find(folder: Path) -> list[tuple[Path, str]]:
    """Every audio file below the folder, sorted, with its group.

    A file in a sub-folder belongs to that sub-folder's speaker; a file that lies in the folder itself is its
    own group. Raises TrainingError if the folder is missing or holds no audio.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder}: no such folder")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise TrainingError(f"{folder}: no audio in it ({', '.join(sorted(SUFFIXES))})")
    found = []
    for path in paths:
        inner = path.relative_to(folder).parts
        found.append((path, "/".join((folder.name, inner[0]) if len(inner) > 1 else (folder.name, path.stem))))
    return found


def to_int16(samples: npt.NDArray[Any]) -> Int16Array:
    """Round samples in int16 units; what is out of range clips."""
    rounded: Int16Array = np.clip(np.round(samples), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    return rounded


def read(path: Path) -> Int16Array:
    """The first channel of a recording at 44.1 kHz. Raises TrainingError with the reason if it is of no use."""
    try:
        info = soundfile.info(path)
        if info.duration > MAX_SECONDS:
            raise TrainingError(f"{info.duration:.0f} s long; more than {MAX_SECONDS} s do not fit")
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise TrainingError(f"cannot be read ({error})") from error
    mono = samples[:, 0]
    if len(mono) < rate // 100:
        raise TrainingError("empty")
    if not np.isfinite(mono).all():
        raise TrainingError("holds values that are not finite")
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    return to_int16(mono * FULL_SCALE)


def active_level(samples: Int16Array) -> float:
    """Level in dBFS of the parts within 30 dB of the loudest 10 ms: the level of the speech, not of its pauses."""
    hop = SAMPLE_RATE // 100
    count = len(samples) // hop
    blocks = (
        samples[: count * hop].reshape(count, hop).astype(np.float32) if count else samples[None].astype(np.float32)
    )
    power = np.mean(np.square(blocks), axis=1)
    loud = power[power >= power.max() * 1e-3]
    return float(10 * np.log10(max(float(loud.mean()), 1e-9) / FULL_SCALE**2))


def load(folders: Sequence[Path], cache: Path, title: str) -> Corpus:
    """Decode all recordings of the folders, or map what an earlier call decoded into `cache`.

    The cache holds for as long as the files' names, sizes and dates stay the same.
    """
    found = [entry for folder in folders for entry in find(folder)]
    stamp = [f"{path.resolve()} {(stat := path.stat()).st_size} {stat.st_mtime_ns} {group}" for path, group in found]
    key = hashlib.sha256("\n".join(stamp).encode()).hexdigest()[:16]
    index, pool = cache / f"{key}.json", cache / f"{key}.pcm"
    if not index.exists():
        _decode(found, index, pool, title)
    content: dict[str, Any] = json.loads(index.read_text())
    clips = [Clip(**entry) for entry in content["clips"]]
    problems = [Problem(**entry) for entry in content["problems"]]
    if not clips:
        raise TrainingError(f"{title}: none of {len(found)} recordings can be used: {problems[0].reason}")
    return Corpus(np.memmap(pool, np.int16, mode="r"), clips, problems)


def _decode(found: Sequence[tuple[Path, str]], index: Path, pool: Path, title: str) -> None:
    def one(entry: tuple[Path, str]) -> Int16Array | str:
        try:
            samples = read(entry[0])
        except TrainingError as error:
            return str(error)
        return samples if active_level(samples) > SILENT_DBFS else "silent"

    pool.parent.mkdir(parents=True, exist_ok=True)
    clips, problems, start = [], [], 0
    with pool.open("wb") as file, ThreadPoolExecutor() as threads:
        results = zip(found, threads.map(one, found), strict=True)
        for (path, group), samples in tqdm(results, total=len(found), desc=title, unit="file"):
            if isinstance(samples, str):
                problems.append(Problem(str(path), samples))
                continue
            file.write(samples.tobytes())
            clips.append(Clip(str(path), group, start, len(samples), round(active_level(samples), 2)))
            start += len(samples)
    for problem in problems[:5]:
        tqdm.write(f"left out: {problem.path}: {problem.reason}")
    if len(problems) > 5:
        tqdm.write(f"left out: {len(problems)} in all; {index} lists them")
    content = {"clips": [asdict(clip) for clip in clips], "problems": [asdict(problem) for problem in problems]}
    partial = index.with_suffix(".part")
    partial.write_text(json.dumps(content))
    partial.replace(index)
