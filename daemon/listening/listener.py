"""Finds detections in blocks, at positions that count all samples since the start, through gaps.

What the daemon's own chime set off is dropped. No clock decides anything here, only positions in the stream.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping

import numpy as np

from daemon.audio.resample import Samples
from daemon.audio.sources import Block
from model.detector import Detection, Detector
from model.frontend import FRAME, SAMPLE_RATE

log = logging.getLogger(__name__)


class Listener:
    """Push blocks, get detections, whose positions count all samples since the start.

    deaf: word -> samples after its detection in which nothing counts, since its chime sounds then.
    """

    def __init__(self, detector: Detector, deaf: Mapping[str, int]) -> None:
        self.detector = detector
        self._deaf = deaf
        self._origin = 0  # where the detector's stream began
        self._muted = range(0)
        self._torn: Samples = np.empty(0, np.int16)  # the window before the last gap, where a word was heard then
        self.heard = 0  # samples

    def push(self, block: Block) -> list[Detection]:
        """The detections that this block completes."""
        before = self._begin_anew(self.detector.flush()) if block.gap else []
        self.heard += len(block.samples)
        return before + self._kept(self.detector.push(block.samples))

    def finish(self) -> list[Detection]:
        """The recording ends here: the detections at its end; ready for a new one."""
        return self._begin_anew(self.detector.conclude())

    def _begin_anew(self, detections: list[Detection]) -> list[Detection]:
        """The last detections of a stream that ends here, or is torn, as they count."""
        detections = self._kept(detections)
        self._torn = self.detector.samples.last() if detections else np.empty(0, np.int16)
        self.detector.reset()
        self._origin = self.heard
        return detections

    @property
    def origin(self) -> int:
        """Where the detector's stream began."""
        return self._origin

    def window(self, sample: int, count: int) -> Samples:
        """Up to so many samples that end at this position, as far as the last 10 s hold them."""
        if sample <= self._origin:
            return self._torn[: len(self._torn) - (self._origin - sample)][-count:]
        after = self.heard - sample
        window: Samples = self.detector.samples.last(count + after)
        return window[: len(window) - after]

    def deafen(self, samples: int) -> None:
        """The chime can be heard in so many more samples from here."""
        self._muted = range(self._muted.start, max(self._muted.stop, self.heard + samples))

    def pretend(self, word: str) -> Detection:
        """A detection of this word, here and now."""
        detection = Detection(word, 1.0, self.heard)
        self._muted = range(self.heard + 1, self.heard + self._deaf[word])
        return detection

    def adopt(self, detector: Detector, deaf: Mapping[str, int]) -> None:
        """Go on with a new detector, in the middle of the stream.

        It hears the last 10 s again, so that a word which is being said now is heard to its end. They begin where
        a frame of the stream began: then its frames are the old one's, and no step is seen by none or by both.
        """
        heard = self.heard - self._origin
        window = self.detector.samples.last()
        again = window[-(heard - len(window)) % FRAME :]
        detector.push(again)  # what was heard in them has been answered
        self.detector, self._deaf = detector, deaf
        self._origin = self.heard - len(again)

    def _kept(self, detections: list[Detection]) -> list[Detection]:
        kept = []
        for detection in detections:
            sample = self._origin + detection.sample
            if sample in self._muted:
                log.debug("ignored %r at %.2f s: the chime sounds", detection.word, sample / SAMPLE_RATE)
                continue
            if deaf := self._deaf[detection.word]:
                self._muted = range(sample + 1, sample + deaf)
            kept.append(dataclasses.replace(detection, sample=sample))
        return kept
