"""The listening loop: blocks in; log lines, chimes and hooks out."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.audio.mute import Mute
from daemon.audio.sources import Block, Source
from daemon.listening.listener import CHIME_TAIL, Listener
from daemon.listening.listening_plan import ListeningPlan, Response
from daemon.responses.chime import ChimePlayer
from daemon.responses.hooks import Event, HookRunner, no_clip, now
from daemon.system.sd_notify import Notifier
from model.detector import Detection, Detector
from model.frontend import SAMPLE_RATE

if TYPE_CHECKING:
    from daemon.responses.clip_recorder import ClipRecorder

log = logging.getLogger(__name__)


# Follows the listening: called after each block, on the loop's own thread, so that it must not wait.
Observer = Callable[[Detector, list[Detection]], None]


@dataclass(frozen=True)
class Status:
    """What a loop is doing, at one moment between two blocks.

    state: in a line; flowing: whether sound comes; muted_for: s, infinite until it is ended by hand, None if it is not
    muted; can_mute: a recording cannot; complaint: about a configuration that was refused, or ""; heard: samples since
    the start; gaps: how often audio was lost, the machine being too slow; dropped: blocks known to be missing in them.
    """

    state: str
    flowing: bool
    muted: bool
    muted_for: float | None
    can_mute: bool
    complaint: str
    heard: int
    detections: int
    gaps: int
    dropped: int

    @property
    def seconds(self) -> float:
        """How much audio was heard."""
        return self.heard / SAMPLE_RATE


class ListeningLoop:
    """Listens to a source and answers each word. player: None where no chime shall sound.

    alive: whether the process can still do its work; otherwise systemd's watchdog ends it. observers: called after
    each block. What other threads and signals want of the loop they `ask` for.
    """

    def __init__(
        self,
        source: Source,
        plan: ListeningPlan,
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
        self.keeper: ClipRecorder | None = None  # of clips
        self.observers: list[Observer] = []
        self._player = player
        self._hooks = hooks
        self._notifier = notifier
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._listener = Listener(Detector(plan.models), self._deaf(plan))
        self._flowing = False  # whether sound comes
        self._ready = False
        self._told = ""  # the state that systemd knows
        self._complaint = ""
        self._detections = 0
        self._gaps = 0
        self._dropped = 0

    def _deaf(self, plan: ListeningPlan) -> dict[str, int]:
        return {word: self._deafness(response) for word, response in plan.responses.items()}

    def _deafness(self, response: Response) -> int:
        if response.chime is None or self._player is None or not self.source.live:
            return 0  # a recording does not hear the loudspeaker
        return len(response.chime) + CHIME_TAIL

    def status(self) -> Status:
        """What it is doing now; on the loop's own thread, or before and after its run."""
        return Status(
            self._state(),
            self._flowing,
            self.mute.on,
            self.mute.seconds,
            self.source.live,
            self._complaint,
            self._listener.heard,
            self._detections,
            self._gaps,
            self._dropped,
        )

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

    def _state(self) -> str:
        if self.mute.on:
            return self.mute.text
        return f"{'listening to' if self._flowing else 'waiting for'} {self.source.name}"

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

    def adopt(self, plan: ListeningPlan) -> None:
        """Listen for other words, or answer them in another way, from the next block on."""
        self._listener.adopt(Detector(plan.models), self._deaf(plan))
        self.plan = plan

    def complain(self, complaint: str) -> None:
        """Let the state say that a changed configuration was refused, and why; "" once one was taken."""
        self._complaint = complaint

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
            self._detections += 1
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
        self._gaps += block.gap and len(block.samples) > 0
        self._dropped += block.dropped
        self._flowing = len(block.samples) > 0 or (self._flowing and not block.gap)
        if self._flowing and not self._ready:
            log.info("listening to %s for %s", self.source.name, self.plan)
        self.tell(**({"WATCHDOG": 1} if self._alive() else {}))

    def tell(self, **fields: object) -> None:
        """Tell systemd these fields, what the loop does if that changed, and that it is ready once it is."""
        state = self._state() + (f"; {self._complaint}" if self._complaint else "")
        if state != self._told:
            self._told = state
            fields = {"STATUS": state} | fields
        if not self._ready and (self._flowing or self.mute.on):
            self._ready = True
            fields = {"READY": 1} | fields
        if fields:
            self._notifier.send(**fields)
