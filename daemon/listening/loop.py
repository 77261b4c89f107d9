"""The loop: listens to a source block by block, and logs, chimes and runs hooks for each word that it hears."""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from daemon.audio.mute import Mute
from daemon.audio.sources import Block, Source
from daemon.listening.listener import Listener
from daemon.listening.listening_plan import ListeningPlan, Response
from daemon.listening.status import Status
from daemon.responses.chime import ChimePlayer
from daemon.responses.hooks import HookEvent, HookRunner, no_clip, now
from daemon.system.sd_notify import Notifier
from model.detector import Detection, Detector
from model.frontend import SAMPLE_RATE

if TYPE_CHECKING:
    from daemon.responses.clip_recorder import ClipRecorder

# What follows the chime on its way from the loudspeaker back into a decision: the block in which the word
# ended (0.08 s), the latencies of playing and capturing (0.1-0.2 s), the room, the network's own delay.
CHIME_TAIL = round(0.6 * SAMPLE_RATE)

log = logging.getLogger(__name__)


# Follows the listening: gets the detections of each block, on the loop's own thread, so that it must not wait.
Observer = Callable[[list[Detection]], None]


class ListeningLoop:
    """Listens to a source and answers each word. player: None where no chime shall sound.

    alive: whether the process can still do its work; otherwise systemd's watchdog ends it. What other threads and
    signals want of the loop they `ask` for; all else is for its own thread.

    mute: begun and ended by anyone; complaint: about a configuration that was refused, for the status; clip_recorder:
    None where no clips are kept; observers: called after each block.
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
        self.mute = mute or Mute()
        self.complaint = ""
        self.clip_recorder: ClipRecorder | None = None
        self.observers: list[Observer] = []
        self._source = source
        self._plan = plan
        self._player = player
        self._hooks = hooks
        self._notifier = notifier
        self._alive = alive
        self._asked: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._listener = Listener(Detector(plan.models), self._deaf(plan))
        self._flowing = False  # whether sound comes
        self._ready = False
        self._told = ""  # what systemd was told last
        self._detections = 0
        self._gaps = 0
        self._dropped_blocks = 0

    def _deaf(self, plan: ListeningPlan) -> dict[str, int]:
        return {word: self._deafness(response) for word, response in plan.responses.items()}

    def _deafness(self, response: Response) -> int:
        if response.chime is None or self._player is None or not self._source.live:
            return 0  # a recording does not hear the loudspeaker
        return len(response.chime) + CHIME_TAIL

    @property
    def detector(self) -> Detector:
        """What listens now, with the last 10 s."""
        return self._listener.detector

    def status(self) -> Status:
        """How things stand now."""
        return Status(
            state=self._state(),
            listening=self._flowing,
            ready=self._ready,
            muted=self.mute.on,
            muted_seconds=self.mute.seconds,
            can_mute=self._source.live,
            complaint=self.complaint,
            plan=self._plan,
            heard=self._listener.heard,
            origin=self._listener.origin,
            detections=self._detections,
            gaps=self._gaps,
            dropped_blocks=self._dropped_blocks,
        )

    def _state(self) -> str:
        if self.mute.on:
            return self.mute.text
        return f"{'listening to' if self._flowing else 'waiting for'} {self._source.name}"

    def ask(self, action: Callable[[], None]) -> None:
        """Do this between two blocks. For any thread, and for a signal's handler."""
        self._asked.put(action)
        self.hurry()

    def hurry(self) -> None:
        """Let no sound wait in the next second. For any thread."""
        self._source.hurry()

    def run(self, blocks: Iterable[Block]) -> None:
        """Answer what is heard, to the end of the stream. Raises AudioError if the source fails."""
        for block in blocks:
            self._report(block)
            self._heard(self._listener.push(block))
            if self._source.live and self._player is not None and self._player.sounding:
                # slower loudspeakers exist (Bluetooth), and the chime follows what still waits in the queue
                self._listener.deafen(self._source.backlog() + CHIME_TAIL)
            while not self._asked.empty():
                self._asked.get()()
        self._heard(self._listener.finish())

    def close(self) -> None:
        """Let what is being written be finished."""
        if self.clip_recorder is not None:
            self.clip_recorder.close()

    def adopt(self, plan: ListeningPlan) -> None:
        """Listen for other words, or answer them in another way, from the next block on."""
        self._listener.adopt(Detector(plan.models), self._deaf(plan))
        self._plan = plan

    def trigger(self, word: str) -> None:
        """Do what follows this word, one of the plan's, as if it had been heard."""
        log.info('"%s" by hand', word)
        self._answer([self._listener.pretend(word)])

    def _heard(self, detections: list[Detection]) -> None:
        for detection in detections:
            log.info('heard "%s" score %.2f at %.2f s', detection.word, detection.score, detection.seconds)
        self._answer(detections)
        if self.clip_recorder is not None:
            listener = self._listener
            self.clip_recorder.look(listener.detector, listener.origin, listener.window, self._source.name, now)

    def _answer(self, detections: list[Detection]) -> None:
        for detection in detections:
            self._detections += 1
            response = self._plan.responses[detection.word]
            if self._player is not None and response.chime is not None:
                self._player.play(response.chime)
            self._run_hooks(response, detection)
        for observer in self.observers:
            observer(detections)

    def _run_hooks(self, response: Response, detection: Detection) -> None:
        device, time, clip = self._source.name, now(), no_clip
        if self.clip_recorder is not None:
            clip = self.clip_recorder.heard(detection, self._listener.window, device, time)
        event = HookEvent(detection.word, detection.score, detection.seconds, device, clip, time)
        for hook in response.hooks:
            self._hooks.start(hook, event)

    def _report(self, block: Block) -> None:
        """Tell people and systemd once audio flows, and systemd with each block that the loop is alive."""
        self._gaps += block.gap and len(block.samples) > 0
        self._dropped_blocks += block.dropped
        self._flowing = len(block.samples) > 0 or (self._flowing and not block.gap)
        if self._flowing and not self._ready:
            log.info("listening to %s for %s", self._source.name, self._plan)
        self.tell(**({"WATCHDOG": 1} if self._alive() else {}))

    def tell(self, **fields: object) -> None:
        """Tell systemd these fields, what the loop does if that changed, and that it is ready once it is."""
        status = self._state() + (f"; {self.complaint}" if self.complaint else "")
        if status != self._told:
            self._told = status
            fields = {"STATUS": status} | fields
        if not self._ready and (self._flowing or self.mute.on):
            self._ready = True
            fields = {"READY": 1} | fields
        if fields:
            self._notifier.send(**fields)
