"""Decides what of the rolling window is kept on disk, for detections and near misses, and what is noted beside it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from daemon.audio.resample import Samples
from daemon.config.settings import ClipSettings
from daemon.responses.clip_folder import ClipFolder, ClipWriter, PendingClip
from daemon.responses.near_misses import NearMisses
from model.detector import Detection, Detector
from model.frontend import SAMPLE_RATE
from model.modelfile import Model

# (sample, count) -> up to so many samples that end at this position of the stream
ReadWindow = Callable[[int, int], Samples]


class GrowingClip(NamedTuple):
    """A clip that gets a tail. samples: what it has; sample: where in the stream they end."""

    pending: PendingClip
    samples: Samples
    sample: int


class ClipRecorder:
    """Keeps clips as these options want it, of words that these models hear. options.folder: not None."""

    def __init__(self, options: ClipSettings, models: Sequence[Model]) -> None:
        assert options.folder is not None
        self._writer = ClipWriter(ClipFolder(options.folder, options.max_files, options.max_bytes))
        self._count = round(options.seconds * SAMPLE_RATE)
        self._after = round(options.after * SAMPLE_RATE)
        self._growing: list[GrowingClip] = []
        self._near = NearMisses(models) if options.near_misses else None
        self._models = {model.word: model for model in models}
        self._fingerprints = {model.word: model.fingerprint for model in models}  # now: it takes a while

    def heard(self, detection: Detection, window: ReadWindow, device: str, time: str) -> PendingClip:
        """Keep the sound before a detection; call what comes back for its path."""
        return self._save("heard", detection, window, device, time)

    def look(self, detector: Detector, origin: int, window: ReadWindow, device: str, time: Callable[[], str]) -> None:
        """Keep what came close in the block that the detector has just heard, and what follows the clips before it.

        origin: where its stream began.
        """
        self._grow(origin, origin + detector.samples.total, window)
        if self._near is None:
            return
        for miss in self._near.push(detector):
            self._save("near miss", Detection(miss.word, miss.score, origin + miss.sample), window, device, time())

    def _save(self, kind: str, what: Detection, window: ReadWindow, device: str, time: str) -> PendingClip:
        model = self._models[what.word]
        about: dict[str, Any] = {
            "kind": kind,
            "word": what.word,
            "score": round(what.score, 4),
            "threshold": model.threshold,
            "smoothing": model.smoothing,
            "time": time,
            "seconds": round(what.seconds, 3),
            "sample": what.sample,
            "device": device,
            "model": self._fingerprints[what.word],
        }
        samples = window(what.sample, self._count)
        about["clip_sample"] = len(samples)  # where in the clip that is, however long it becomes
        pending = self._writer.save(samples, about, near=kind != "heard", later=self._after)
        if self._after:
            self._growing.append(GrowingClip(pending, samples, what.sample))
        return pending

    def _grow(self, origin: int, heard: int, window: ReadWindow) -> None:
        """Add what follows to the clips that wait for it, once all of it was heard; none of what follows a gap."""
        waiting = [clip for clip in self._growing if clip.sample > origin]
        self._growing = [clip for clip in waiting if heard < clip.sample + self._after]
        for clip in waiting:
            if heard >= clip.sample + self._after:
                after = window(clip.sample + self._after, self._after)
                self._writer.replace(clip.pending, np.concatenate((clip.samples, after)))

    def stop(self) -> None:
        """Take nothing more; returns at once."""
        self._writer.stop()

    def close(self) -> None:
        """Let the disk finish, within half a second of the stop."""
        self._writer.close()
