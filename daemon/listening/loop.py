"""The loop: blocks in; log lines, chimes and hooks out.

`Listener` is its pure core: it turns blocks into detections at positions counted from the start, through gaps,
and drops what the daemon's own chime set off. No clock decides anything here, only positions in the stream.
"""

from __future__ import annotations

import dataclasses
import logging
import queue
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from daemon.audio.mute import Mute
from daemon.audio.resample import Samples
from daemon.audio.sources import Block, Source
from daemon.listening.listening_plan import Plan, Response
from daemon.responses.chime import ChimePlayer
from daemon.responses.hooks import Event, HookRunner, no_clip, now
from daemon.system.sd_notify import Notifier
from model.detector import Detection, Detector
from model.frontend import FRAME, SAMPLE_RATE

if TYPE_CHECKING:
    from daemon.responses.clip_recorder import Keeper

# What follows the chime on its way from the loudspeaker back into a decision: the block in which the word
# ended (0.08 s), the latencies of playing and capturing (0.1-0.2 s), the room, the network's own delay.
CHIME_TAIL = round(0.6 * SAMPLE_RATE)

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


# Follows the listening: called after each block, on the loop's own thread, so that it must not wait.
Observer = Callable[[Detector, list[Detection]], None]


class Service:
    """Listens to a source and answers each word. player: None where no chime shall sound.

    alive: whether the process can still do its work; otherwise systemd's watchdog ends it. observers: called after
    each block. What other threads and signals want of the service they `ask` for.
    """

    def __init__(
        self,
        source: Source,
        plan: Plan,
        player: ChimePlayer | None,
        hooks: HookRunner,
        notifier: Notifier,
        mute: Mute | None = None,
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        self.source = source
        self.plan = plan
        self.mute = mute or Mute()
        self._alive = alive
        self.keeper: Keeper | None = None  # of clips
        self.observers: list[Observer] = []
        self._player = player
        self._hooks = hooks
        self._notifier = notifier
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._listener = Listener(Detector(plan.models), self._deaf(plan))
        self.flowing = False  # whether sound comes
        self._ready = False
        self._status = ""
        self.complaint = ""  # about a configuration that was refused
        self.detections = 0
        self.gaps = 0  # how often audio was lost, since the machine was too slow
        self.dropped = 0  # blocks that are known to be missing in them

    def _deaf(self, plan: Plan) -> dict[str, int]:
        return {word: self._deafness(response) for word, response in plan.responses.items()}

    def _deafness(self, response: Response) -> int:
        if response.chime is None or self._player is None or not self.source.live:
            return 0  # a recording does not hear the loudspeaker
        return len(response.chime) + CHIME_TAIL

    @property
    def seconds(self) -> float:
        """How much audio was heard."""
        return self._listener.heard / SAMPLE_RATE

    @property
    def detector(self) -> Detector:
        """What listens now, with the last 10 s."""
        return self._listener.detector

    @property
    def origin(self) -> int:
        """Where the detector's stream began, in samples since the start."""
        return self._listener.origin

    @property
    def ready(self) -> bool:
        """Whether audio flowed."""
        return self._ready

    @property
    def state(self) -> str:
        """What it is doing, in a line."""
        if self.mute.on:
            return self.mute.text
        return f"{'listening to' if self.flowing else 'waiting for'} {self.source.name}"

    def ask(self, action: Callable[[], None]) -> None:
        """Do this between two blocks. For any thread, and for a signal's handler."""
        self._asked.put(action)
        self.source.hurry()

    def run(self, blocks: Iterable[Block]) -> None:
        """Answer what is heard, to the end of the stream. Raises AudioError if the source fails."""
        for block in blocks:
            self._report(block)
            self._heard(self._listener.push(block))
            if self.source.live and self._player is not None and self._player.sounding:
                # slower loudspeakers exist (Bluetooth), and the chime follows what still waits in the queue
                self._listener.deafen(self.source.backlog() + CHIME_TAIL)
            while not self._asked.empty():
                self._asked.get()()
        self._heard(self._listener.finish())

    def close(self) -> None:
        """Let what is being written be finished."""
        if self.keeper is not None:
            self.keeper.close()

    def adopt(self, plan: Plan) -> None:
        """Listen for other words, or answer them in another way, from the next block on."""
        self._listener.adopt(Detector(plan.models), self._deaf(plan))
        self.plan = plan

    def trigger(self, word: str) -> None:
        """Do what follows this word, one of the plan's, as if it had been heard."""
        log.info('"%s" by hand', word)
        self._answer([self._listener.pretend(word)])

    def _heard(self, detections: list[Detection]) -> None:
        for detection in detections:
            log.info('heard "%s" score %.2f at %.2f s', detection.word, detection.score, detection.seconds)
        self._answer(detections)
        if self.keeper is not None:
            listener = self._listener
            self.keeper.look(listener.detector, listener.origin, listener.window, self.source.name, now)

    def _answer(self, detections: list[Detection]) -> None:
        for detection in detections:
            self.detections += 1
            response = self.plan.responses[detection.word]
            if self._player is not None and response.chime is not None:
                self._player.play(response.chime)
            self._run_hooks(response, detection)
        for observer in self.observers:
            observer(self._listener.detector, detections)

    def _run_hooks(self, response: Response, detection: Detection) -> None:
        device, time, clip = self.source.name, now(), no_clip
        if self.keeper is not None:
            clip = self.keeper.heard(detection, self._listener.window, device, time)
        event = Event(detection.word, detection.score, detection.seconds, device, clip, time)
        for hook in response.hooks:
            self._hooks.start(hook, event)

    def _report(self, block: Block) -> None:
        """Tell people and systemd once audio flows, and systemd with each block that the loop is alive."""
        self.gaps += block.gap and len(block.samples) > 0
        self.dropped += block.dropped
        self.flowing = len(block.samples) > 0 or (self.flowing and not block.gap)
        if self.flowing and not self._ready:
            log.info("listening to %s for %s", self.source.name, self.plan)
        self.tell(**({"WATCHDOG": 1} if self._alive() else {}))

    def tell(self, **fields: object) -> None:
        """Tell systemd these fields, what the service does if that changed, and that it is ready once it is."""
        status = self.state + (f"; {self.complaint}" if self.complaint else "")
        if status != self._status:
            self._status = status
            fields = {"STATUS": status} | fields
        if not self._ready and (self.flowing or self.mute.on):
            self._ready = True
            fields = {"READY": 1} | fields
        if fields:
            self._notifier.send(**fields)
