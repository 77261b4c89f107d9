"""A microphone in, blocks out, for days: a device that is lost is noticed, said once, and reopened.

PortAudio's callback copies the block into a bounded queue and does nothing else. A device that vanishes
raises nothing: its stream finishes, or its blocks just stop coming, so both are watched here.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from daemon.audio import Block
from daemon.errors import AudioError
from daemon.portaudio import Callback, Capture, PortAudio
from daemon.resample import Resampler, Samples, to_float
from model.frontend import FRAME

QUEUE = 125  # blocks, 10 s: a sound server that paused for seconds delivers them all at once
FIRST_BLOCK_LIMIT = 5.0  # s; a device that works took up to 1.7 s
BLOCK_LIMIT = 3.0  # s without a block: the device is lost
POLL = 0.25  # s
BACK_OFF = (0.25, 0.5, 1.0, 2.0)  # s before each attempt to reopen; the last one goes on for ever
OVERLOAD_PAUSE = 60.0  # s between two complaints about overload

SILENCE: Samples = np.empty(0, np.int16)

log = logging.getLogger(__name__)


class DeviceLostError(AudioError):
    """The device stopped delivering; the text says how that was seen. Never leaves this module."""


class Microphone:
    """The device of this number or (part of a) name, the default one for None. Raises AudioError."""

    live = True

    def __init__(self, portaudio: PortAudio, device: str | int | None = None) -> None:
        self._portaudio = portaudio
        self._device = device
        self._lost = False
        self._capture: Capture | None = None
        self._open()

    def _open(self) -> None:
        # new ones each time, since a stream that was given up may still write to the old ones
        self._queue: queue.Queue[tuple[Any, bool]] = queue.Queue(QUEUE)
        self._finished = threading.Event()
        self._capture = self._portaudio.capture(self._device, queue_callback(self._queue), self._finished.set)
        self._resampler = Resampler(self._capture.rate)
        self.name = f"microphone {self._capture.device.name!r}"
        if self._device is not None:
            self._device = self._capture.device.name  # a number changes when another device is plugged in

    def blocks(self) -> Iterator[Block]:
        """The stream, for ever; empty blocks while there is no sound, a gap where some was lost."""
        back_off = 0
        while True:
            try:
                for block in self._deliver():
                    if len(block.samples) and self._lost:
                        log.info("hearing the %s again", self.name)
                        self._lost, back_off = False, 0
                    yield block
            except AudioError as error:
                # said once, not with every attempt
                log.log(logging.DEBUG if self._lost else logging.WARNING, "%s: %s; trying again", self.name, error)
                self._lost = True
            self.close()
            yield Block(SILENCE, gap=True)
            time.sleep(BACK_OFF[min(back_off, len(BACK_OFF) - 1)])
            back_off += 1

    def _deliver(self) -> Iterator[Block]:
        """Blocks until the device is lost. Raises AudioError then, or if it cannot be opened."""
        if self._capture is None:
            self._portaudio.refresh()
            self._open()
        limit, last, complained = FIRST_BLOCK_LIMIT, time.monotonic(), -OVERLOAD_PAUSE
        while True:
            try:
                samples, gap = self._queue.get(timeout=POLL)
            except queue.Empty:
                if self._finished.is_set():
                    raise DeviceLostError("the device went away") from None
                if time.monotonic() - last > limit:
                    raise DeviceLostError(f"no sound came for {limit:g} s") from None
                yield Block(SILENCE)
                continue
            first = limit == FIRST_BLOCK_LIMIT  # some devices report a loss when they start
            limit, last = BLOCK_LIMIT, time.monotonic()
            if gap:
                self._resampler.reset()
                if not first and last - complained > OVERLOAD_PAUSE:
                    log.warning("some audio was lost: this machine is too slow or too busy")
                    complained = last
            yield Block(self._resampler.push(to_float(samples)), gap)

    def backlog(self) -> int:
        """Samples that wait in the queue."""
        return self._queue.qsize() * FRAME

    def close(self) -> None:
        """Stop capturing, within a second whatever the sound server does."""
        if self._capture is not None:
            self._portaudio.release(self._capture)
            self._capture = None


def queue_callback(blocks: queue.Queue[tuple[Any, bool]]) -> Callback:
    """PortAudio's callback: the first channel into the queue; what finds no room leaves a mark on the next block."""
    lost = False

    def callback(samples: Any, _count: int, _times: Any, status: Any) -> None:
        nonlocal lost
        lost = lost or bool(status.input_overflow)
        try:
            blocks.put_nowait((samples[:, 0].copy(), lost))
            lost = False
        except queue.Full:
            lost = True

    return callback
