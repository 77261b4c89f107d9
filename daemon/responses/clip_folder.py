"""Keeps recordings of what was heard on disk, a WAV and a JSON file each, written in a thread.

The folder is private (0700, its files 0600) and bounded in number and bytes: the oldest go first. A disk that is full
or slow costs clips, never the listening.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import queue
import re
import threading
import time
import wave
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from daemon.audio.resample import Samples
from model.frontend import SAMPLE_RATE

CLIPS_WAITING_LIMIT = 8  # clips that wait for the disk
CLIP_WAIT_SECONDS = 1.0  # s that a hook waits for its clip
LAST_CLIPS = 0.5  # s that the disk gets when the daemon stops

# 20250601T083000.123Z_activate_0.93.wav, the time in UTC, so that names sort by age
CLIP_FILE_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z_[\w-]+_\d\.\d\d(_near)?(-\d+)?\.(wav|json)")
PART_SUFFIX = ".part"

log = logging.getLogger(__name__)


def file_stem(moment: datetime.datetime, word: str, score: float, near: bool) -> str:
    """The name of a clip without its ending; no word can lead out of the folder."""
    time = moment.astimezone(datetime.UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
    plain = re.sub(r"[^\w-]+", "_", word)[:40]
    return f"{time}Z_{plain}_{score:.2f}{'_near' if near else ''}"


class KeptClip(NamedTuple):
    """A clip in the folder. size: bytes, with its JSON file."""

    stem: str
    size: int


class ClipFolder:
    """The files. Every method raises OSError if the disk will not have it."""

    def __init__(self, path: Path, max_files: int, max_bytes: int) -> None:
        self.path = path
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._kept: list[KeptClip] | None = None  # oldest first; None before the first look

    def write(self, stem: str, samples: Samples, about: Mapping[str, Any], later: int = 0) -> Path:
        """Write a clip, complete or not at all, and make room for it first; the path of its WAV.

        later: how many samples will be added to it.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        text = (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode()
        size = len(text) + 2 * (len(samples) + later) + 44
        self._make_room(size)
        stem = self._free(stem)
        sound = self.path / f"{stem}.wav"
        try:
            with self._create(f".{stem}.json{PART_SUFFIX}") as file:
                file.write(text)
            self._write_sound(f".{stem}.wav{PART_SUFFIX}", samples)
            for ending in ("json", "wav"):  # in this order: where the sound is, the rest is
                (self.path / f".{stem}.{ending}{PART_SUFFIX}").rename(self.path / f"{stem}.{ending}")
        except OSError:
            for left in (f".{stem}.json{PART_SUFFIX}", f".{stem}.wav{PART_SUFFIX}", f"{stem}.json"):
                with contextlib.suppress(OSError):
                    (self.path / left).unlink(missing_ok=True)
            raise
        assert self._kept is not None
        self._kept.append(KeptClip(stem, size))
        return sound

    def replace(self, sound: Path, samples: Samples) -> None:
        """Put these samples in the place of a clip's, at one moment, unless somebody has taken it away."""
        if not sound.exists():
            return
        part = f".{sound.name}{PART_SUFFIX}"
        try:
            self._write_sound(part, samples)
            (self.path / part).rename(sound)
        finally:
            with contextlib.suppress(OSError):
                (self.path / part).unlink(missing_ok=True)

    def _write_sound(self, name: str, samples: Samples) -> None:
        with self._create(name) as file, wave.open(file, "wb") as recording:
            recording.setparams((1, 2, SAMPLE_RATE, len(samples), "NONE", ""))
            recording.writeframes(samples.astype("<i2").tobytes())

    def _create(self, name: str) -> Any:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(self.path / name, flags, 0o600), "wb")

    def _free(self, stem: str) -> str:
        """The stem, numbered if there is such a file already."""
        names = [stem, *(f"{stem}-{number}" for number in range(2, 100))]
        return next((name for name in names if not (self.path / f"{name}.wav").exists()), stem)

    def _make_room(self, size: int) -> None:
        if self._kept is None:
            self._kept = self._look(first=True)
        if self._fits(size):
            return
        self._kept = self._look()  # who listens to clips may have moved some
        while self._kept and not self._fits(size):
            oldest = self._kept.pop(0)
            for ending in ("wav", "json"):
                (self.path / f"{oldest.stem}.{ending}").unlink(missing_ok=True)

    def _fits(self, size: int) -> bool:
        assert self._kept is not None
        return len(self._kept) < self._max_files and sum(kept.size for kept in self._kept) + size <= self._max_bytes

    def _look(self, first: bool = False) -> list[KeptClip]:
        """Our clips in the folder, oldest first; other files are none of our business."""
        sizes: dict[str, int] = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                whole = entry.name.removeprefix(".").removesuffix(PART_SUFFIX)
                if not CLIP_FILE_NAME.fullmatch(whole) or not entry.is_file(follow_symlinks=False):
                    continue
                if whole != entry.name:
                    if first:  # from a run that was killed
                        Path(entry.path).unlink(missing_ok=True)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    stem = entry.name.rpartition(".")[0]
                    sizes[stem] = sizes.get(stem, 0) + entry.stat(follow_symlinks=False).st_size
        return [KeptClip(stem, sizes[stem]) for stem in sorted(sizes)]


class PendingClip:
    """A clip that is about to be written; call it for its path. path: the same, once it lies there; else ""."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self.path = ""

    def done(self, path: str = "") -> None:
        """It lies there now, or, without a path, it never will."""
        self.path = path
        self._done.set()

    def __call__(self) -> str:
        """The path, after at most a second; "" if there is none."""
        return self.path if self._done.wait(CLIP_WAIT_SECONDS) else ""


@dataclass(frozen=True)
class WriteJob:
    """A clip to write; with nothing known `about` it, more samples for the one that was written for this clip.

    later: as for `ClipFolder.write`.
    """

    samples: Samples
    pending: PendingClip
    stem: str = ""
    about: Mapping[str, Any] | None = None
    later: int = 0


class ClipWriter:
    """Takes clips without waiting and writes them in a thread of its own, which starts with the first."""

    def __init__(self, folder: ClipFolder) -> None:
        self._folder = folder
        self._jobs: queue.Queue[WriteJob | None] = queue.Queue(CLIPS_WAITING_LIMIT)
        self._thread: threading.Thread | None = None
        self._crowded = False
        self._failed = False
        self._stopped = 0.0  # monotonic time, s

    def save(self, samples: Samples, about: Mapping[str, Any], near: bool = False, later: int = 0) -> PendingClip:
        """Have these samples written, and what is known `about` them: at least its word, score and time.

        later: how many samples a call of `replace` will add.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="clips", daemon=True)
            self._thread.start()
        pending = PendingClip()
        moment = datetime.datetime.fromisoformat(about["time"])
        self._take(WriteJob(samples, pending, file_stem(moment, about["word"], about["score"], near), about, later))
        return pending

    def replace(self, pending: PendingClip, samples: Samples) -> None:
        """Have these samples, which begin as those did, in the place of the ones that were saved for this clip."""
        self._take(WriteJob(samples, pending))

    def _take(self, job: WriteJob) -> None:
        try:
            self._jobs.put_nowait(job)
            self._crowded = False
        except queue.Full:
            job.pending.done(job.pending.path)
            if not self._crowded:
                log.warning("a clip is left out: %s is slower than they come", self._folder.path)
            self._crowded = True

    def stop(self) -> None:
        """Take nothing more, and write what waits; returns at once."""
        if not self._stopped:
            self._stopped = time.monotonic()
            with contextlib.suppress(queue.Full):
                self._jobs.put_nowait(None)

    def close(self) -> None:
        """Let the disk finish, within half a second of the stop."""
        self.stop()
        if self._thread is not None and self._thread.is_alive():
            self._thread.join(max(0.0, self._stopped + LAST_CLIPS - time.monotonic()))

    def _work(self) -> None:
        # a queue that was full at the stop had no room for the end either
        while not (self._stopped and self._jobs.empty()) and (job := self._jobs.get()):
            path = job.pending.path
            if job.about is None and not path:
                continue  # it could not be kept, and that was said
            try:
                if job.about is not None:
                    path = str(self._folder.write(job.stem, job.samples, job.about, job.later))
                else:
                    self._folder.replace(Path(path), job.samples)
            except OSError as error:
                # said once, not with each clip
                level = logging.DEBUG if self._failed else logging.WARNING
                log.log(level, "cannot keep a clip in %s: %s", self._folder.path, error.strerror or error)
                self._failed = True
            else:
                if self._failed:
                    log.info("clips are kept in %s again", self._folder.path)
                self._failed = False
            job.pending.done(path)
