"""The loop: blocks in; log lines, chimes and hooks out.

`Listener` is its pure core: it turns blocks into detections at positions counted from the start, through gaps,
and drops what the daemon's own chime set off. No clock decides anything here, only positions in the stream.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping, Sequence

from daemon.audio import Block, Source
from daemon.chime import ChimePlayer
from daemon.hooks import Event, HookRunner
from daemon.notify import Notifier
from daemon.words import Response
from model.detector import Detection, Detector
from model.frontend import SAMPLE_RATE
from model.modelfile import Model

# What follows the chime on its way from the loudspeaker back into a decision: the block in which the word
# ended (0.08 s), the latencies of playing and capturing (0.1-0.2 s), the room, the network's own delay.
CHIME_TAIL = round(0.6 * SAMPLE_RATE)

log = logging.getLogger(__name__)


class Listener:
    """Push blocks, get detections, whose positions count all samples since the start.

    deaf: word -> samples after its detection in which nothing counts, since its chime sounds then.
    """

    def __init__(self, detector: Detector, deaf: Mapping[str, int]) -> None:
        self._detector = detector
        self._deaf = deaf
        self._origin = 0  # where the detector was last reset
        self._muted = range(0)
        self.heard = 0  # samples

    def push(self, block: Block) -> list[Detection]:
        """The detections that this block completes."""
        before = self.finish() if block.gap else []
        self.heard += len(block.samples)
        return before + self._kept(self._detector.push(block.samples))

    def finish(self) -> list[Detection]:
        """The stream ends here, or is torn: the detections in its last, incomplete frame; ready for a new one."""
        detections = self._kept(self._detector.flush())
        self._detector.reset()
        self._origin = self.heard
        return detections

    def deafen(self, samples: int) -> None:
        """The chime can be heard in so many more samples from here."""
        self._muted = range(self._muted.start, max(self._muted.stop, self.heard + samples))

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


class Service:
    """Listens to a source and answers each word. player: None where no chime shall sound."""

    def __init__(
        self,
        source: Source,
        models: Sequence[Model],
        responses: Mapping[str, Response],
        player: ChimePlayer | None,
        hooks: HookRunner,
        notifier: Notifier,
    ) -> None:
        self._source = source
        self._responses = responses
        self._player = player
        self._hooks = hooks
        self._notifier = notifier
        self._ready = False
        deaf = {word: self._deaf(response) for word, response in responses.items()}
        self._listener = Listener(Detector(models), deaf)
        self._wanted = ", ".join(f'"{model.word}" (threshold {model.threshold:g})' for model in models)
        self.detections = 0

    def _deaf(self, response: Response) -> int:
        if response.chime is None or self._player is None or not self._source.live:
            return 0  # a recording does not hear the loudspeaker
        return len(response.chime) + CHIME_TAIL

    @property
    def seconds(self) -> float:
        """How much audio was heard."""
        return self._listener.heard / SAMPLE_RATE

    def run(self, blocks: Iterable[Block]) -> None:
        """Answer what is heard, to the end of the stream. Raises AudioError if the source fails."""
        for block in blocks:
            self._report(block)
            self._answer(self._listener.push(block))
            if self._source.live and self._player is not None and self._player.sounding:
                # slower loudspeakers exist (Bluetooth), and the chime follows what still waits in the queue
                self._listener.deafen(self._source.backlog() + CHIME_TAIL)
        self._answer(self._listener.finish())

    def _answer(self, detections: list[Detection]) -> None:
        for detection in detections:
            self.detections += 1
            log.info('heard "%s" score %.2f at %.2f s', detection.word, detection.score, detection.seconds)
            response = self._responses[detection.word]
            if self._player is not None and response.chime is not None:
                self._player.play(response.chime)
            event = Event.of(detection, self._source.name)
            for hook in response.hooks:
                self._hooks.start(hook, event)

    def _report(self, block: Block) -> None:
        """Tell people and systemd once audio flows, and systemd with each block that the loop is alive."""
        if len(block.samples) and not self._ready:
            self._ready = True
            log.info("listening to %s for %s", self._source.name, self._wanted)
            self._notifier.send(READY=1, STATUS=f"listening to {self._source.name}")
        self._notifier.send(WATCHDOG=1)
