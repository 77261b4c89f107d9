"""Folders of recordings in, clips at 44.1 kHz out; decoded once, then mapped from disk.

Any format, any rate, any number of channels (the first counts). What cannot be used is listed with its reason.
Train, development and test are split by *group* (the speaker's folder where there is one, else the file), by a hash
of its name: adding recordings never moves one from one split to another.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from model.frontend import SAMPLE_RATE
from training.dsp import endpointing
from training.dsp.decode import Int16Array, UnusableError, active_level, decode, flaw
from training.utils.atomic_write import atomic_write
from training.utils.errors import TrainingError
from training.utils.file_lock import wait_for_turn
from training.utils.find_files import find_files
from training.utils.progress import bar
from training.utils.storage import explained

SUFFIXES = {
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64", ".caf"),
    *(".m4a", ".mp4", ".aac", ".wma", ".amr", ".webm", ".mka"),  # these through ffmpeg
}
SPLITS = (("train", 70), ("dev", 15), ("test", 15))  # percent
RAW_DATA = ("positives", "activates", "negatives")  # folders in which the same people speak
MAX_SECONDS = 600


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
    """The split that a group belongs to, whatever else there is.

    In a `raw_data` folder, who said the word and who said something else is one speaker: of `positives/ann` and
    `negatives/ann` only the name counts.
    """
    folder, _, name = group.partition("/")
    if folder in RAW_DATA and name:
        group = name
    percent = int.from_bytes(hashlib.sha256(group.encode()).digest()[:4], "big") % 100
    for name, share in SPLITS:
        if percent < share:
            return name
        percent -= share
    raise AssertionError("the shares add up to 100")


def by_folder(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """The clips of each folder, in their order."""
    folders: dict[str, list[Clip]] = {}
    for clip in clips:
        folders.setdefault(clip.folder, []).append(clip)
    return folders


@dataclass(frozen=True)
class Problem:
    """A recording that was left out, and why."""

    path: str
    reason: str


class Corpus:
    """The decoded recordings of some folders. pool: the file with the samples of all, one after the other."""

    def __init__(self, pool: Path, clips: Sequence[Clip], problems: Sequence[Problem]) -> None:
        self.pool = pool
        self._samples = np.memmap(pool, np.int16, mode="r")
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


def name_of(folder: Path) -> str:
    """A folder's own name, that of a link too; not that of ".", which is none."""
    return Path(os.path.abspath(folder)).name  # noqa: PTH100 - resolve() follows links


def find(folder: Path) -> list[tuple[Path, str]]:
    """Every audio file below the folder, sorted, with its group.

    A file in a sub-folder belongs to that sub-folder's speaker; a file that lies in the folder itself is its
    own group. Raises TrainingError if the folder is missing or holds no audio.
    """
    paths = [path for path in find_files(folder) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise TrainingError(f"{folder}: no audio in it ({', '.join(sorted(SUFFIXES))})")
    name = name_of(folder)
    found = []
    for path in paths:
        inner = path.relative_to(folder).parts
        found.append((path, "/".join((name, inner[0] if len(inner) > 1 else path.stem))))
    return found


def read(path: Path) -> Int16Array:
    """The first channel of a recording at 44.1 kHz. Raises TrainingError with the reason if it is of no use."""
    try:
        return decode(path, MAX_SECONDS).samples
    except UnusableError as error:
        raise TrainingError(error.reason) from error


def load(folders: Sequence[Path], cache: Path, title: str) -> Corpus:
    """Decode all recordings of the folders, or map what an earlier call decoded into `cache`.

    The cache holds for as long as the files' names, sizes and dates stay the same. A recording that is broken,
    empty, silent, clipped (a tenth of its samples at full scale) or longer than 10 minutes is left out; one that is
    found twice, in folders that lie in one another, counts once, where it was found first.
    """
    entries = [entry for folder in folders for entry in find(folder)]
    found: dict[Path, tuple[Path, str]] = {}
    for path, group in entries:
        found.setdefault(path.resolve(), (path, group))
    if again := len(entries) - len(found):
        what = "1 recording that was found" if again == 1 else f"{again} recordings that were found"
        tqdm.write(f"left out: {what} before (a folder was named twice, or lies in another, or links to it)")
    return load_files(list(found.values()), cache, title)


def load_files(
    found: Sequence[tuple[Path, str]],
    cache: Path,
    title: str,
    *,
    silence: bool = False,
    max_seconds: float = MAX_SECONDS,
    announce: bool = True,
) -> Corpus:
    """As `load`, of these files with their groups. silence: silent ones will do; announce: say what was left out."""
    stamp = [f"{path.resolve()} {(stat := path.stat()).st_size} {stat.st_mtime_ns} {group}" for path, group in found]
    if silence or max_seconds != MAX_SECONDS:
        stamp.append(f"{silence} {max_seconds}")
    key = hashlib.sha256("\n".join(stamp).encode()).hexdigest()[:16]
    index, pool = cache / f"{key}.json", cache / f"{key}.pcm"

    def one(entry: tuple[Path, str]) -> Int16Array | str:
        try:
            recording = decode(entry[0], max_seconds)
        except UnusableError as error:
            return error.reason
        return flaw(recording, silence) or recording.samples

    decoded = False
    known = _indexed(index, found) if pool.exists() else None
    if known is None:
        with explained(str(cache)):
            decoded = _decode(found, one, index, pool, title)
        known = _indexed(index, found)
    assert known is not None, "it was just written"
    clips, problems = known
    if decoded and announce:
        _announce(problems, index)
    if not clips:
        raise TrainingError(f"{title}: none of {len(found)} recordings can be used: {problems[0].reason}")
    return Corpus(pool, clips, problems)


def cut_to_word(found: Corpus, aligned: Mapping[str, tuple[int, int]] | None = None) -> Corpus:
    """The same recordings of the word, each only from where it begins to where it ends (`endpoint.said`).

    What comes after is labelled from a clip's end on, and many people's recordings go on for a second after the word.
    aligned: by path, the samples from which to which an aligner heard the word. In a noisy room it knows better where
    that is; in a quiet one a weak last sound ends earlier than it thinks.
    """
    clips = []
    for clip in found.clips:
        samples = found[clip]
        word = endpointing.said(samples)
        if (heard := (aligned or {}).get(clip.path)) is not None:
            word = endpointing.within(word, *heard)
        level = clip.level if word.seconds * SAMPLE_RATE == len(samples) else round(active_level(word.of(samples)), 2)
        clips.append(replace(clip, start=clip.start + word.start, length=word.end - word.start, level=level))
    return Corpus(found.pool, clips, found.problems)


def _announce(problems: Sequence[Problem], index: Path) -> None:
    for problem in problems[:5]:
        tqdm.write(f"left out: {problem.path}: {problem.reason}")
    if len(problems) > 5:
        tqdm.write(f"left out: {len(problems)} in all; {index} lists them")


def _indexed(index: Path, found: Sequence[tuple[Path, str]]) -> tuple[list[Clip], list[Problem]] | None:
    """What the index says of these files; None if there is none, or it does not say which of them it left out.

    Paths and groups are those of now: whoever decoded them may have named the same files from another folder.
    """
    if not index.exists():
        return None
    content = json.loads(index.read_text())
    paths = [str(path) for path, _ in found]
    try:
        # an older index has no number, only the path as it was named then
        reasons = {
            entry["number"] if "number" in entry else paths.index(entry["path"]): entry["reason"]
            for entry in content["problems"]
        }
    except ValueError:
        return None
    good = [entry for number, entry in enumerate(found) if number not in reasons]
    if len(good) != len(content["clips"]):
        return None
    clips = [
        Clip(str(path), group, entry["start"], entry["length"], entry["level"])
        for (path, group), entry in zip(good, content["clips"], strict=True)
    ]
    return clips, [Problem(paths[number], reason) for number, reason in reasons.items()]


def _decode(
    found: Sequence[tuple[Path, str]],
    one: Callable[[tuple[Path, str]], Int16Array | str],
    index: Path,
    pool: Path,
    title: str,
) -> bool:
    """Write the samples and their index. False if another training that shares the cache did so meanwhile."""
    pool.parent.mkdir(parents=True, exist_ok=True)
    if index.exists() and not (pool.exists() and _indexed(index, found)):
        # somebody wanted the space, or the index is of no use; not emptied, since another training may have it mapped
        pool.unlink(missing_ok=True)
        index.unlink(missing_ok=True)
    clips, problems, start = [], [], 0
    with pool.open("ab") as file, ThreadPoolExecutor() as threads:
        wait_for_turn(file, title)
        if index.exists():
            return False
        file.truncate(0)  # what an interrupted one left
        results = zip(found, threads.map(one, found), strict=True)
        for number, ((path, _), samples) in enumerate(bar(results, title, "file", len(found))):
            if isinstance(samples, str):
                problems.append({"number": number, "path": str(path), "reason": samples})  # the path for who reads it
                continue
            file.write(samples.tobytes())
            clips.append({"start": start, "length": len(samples), "level": round(active_level(samples), 2)})
            start += len(samples)
        content = {"clips": clips, "problems": problems}
        file.flush()
        with atomic_write(index) as partial:
            partial.write_text(json.dumps(content))
    return True
