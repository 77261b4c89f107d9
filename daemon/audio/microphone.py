"""Captures a microphone for days: a device that is lost is noticed, said once, and reopened.

PortAudio's callback copies the block into a bounded `CaptureQueue`. A device that vanishes raises nothing: its stream
finishes, or its blocks just stop coming, or they go on and hold zeros alone. So all three are watched here.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from daemon.audio.capture_queue import CaptureQueue
from daemon.audio.portaudio import Capture, PortAudio
from daemon.audio.portaudio_library import WantedDevice
from daemon.audio.resample import Resampler, Samples, to_float
from daemon.audio.sources import Block
from daemon.system.errors import AudioError
from model.frontend import FRAME, SAMPLE_RATE

QUEUE_BLOCKS = 125  # blocks, 10 s: a sound server that paused for seconds delivers them all at once
FIRST_BLOCK_LIMIT = 2.0  # s; a device that works took up to 1.7 s, and waiting in this way may cost a core
BLOCK_LIMIT = 3.0  # s without a block: the device is lost
WATCH_LIMIT = 10.0  # s; then the device is opened anew, since another may be the default by now
SILENCE_POLL_SECONDS = 0.25  # s
BLOCK_WAIT_SECONDS = 0.5  # s without a block, longer than any waits in the queue: then it is worth a look why
BACK_OFF = (0.25, 0.5, 1.0, 2.0)  # s before each attempt to reopen; the last one goes on for ever
OVERLOAD_PAUSE = 60.0  # s between two complaints about overload
SILENCE_LIMIT = 5.0  # s of zeros; the quietest room has noise
SILENCE_PAUSE = 3600.0  # s between two complaints about silence: a noise gate falls silent all the time

NO_SAMPLES: Samples = np.empty(0, np.int16)

log = logging.getLogger(__name__)


class DeviceLostError(AudioError):
    """The device is gone; the text says how that was seen. Never leaves this module."""


class NothingComesError(DeviceLostError):
    """The device seems to be there, but delivers nothing."""


class Microphone:
    """The device of this number or (part of a) name, the default one for None.

    channel: which one counts, from 1; gain: dB. Raises AudioError without PortAudio, and, unless it is patient,
    where no such device can be opened; a patient one says so and waits for it. heard: one was before, so that
    its return is said.
    """

    live = True

    def __init__(
        self,
        portaudio: PortAudio,
        device: str | int | None = None,
        channel: int = 1,
        gain: float = 0.0,
        patient: bool = False,
        heard: bool = False,
    ) -> None:
        self._portaudio = portaudio
        self._device: WantedDevice = device
        self._channel = channel
        self._factor = np.float32(10 ** (gain / 20))
        self._capture: Capture | None = None
        self._queue = CaptureQueue(QUEUE_BLOCKS, channel)
        self._heard = heard
        self._lost = False
        self._silence = SilenceWarning()
        self.name = "microphone" if device is None else f"microphone {device!r}"
        portaudio.load()
        try:
            self._open()
        except AudioError as error:
            if not patient:
                raise
            self._complain(error)

    def _open(self) -> None:
        # a new one each time, since a stream that was given up may still write to the old one
        self._queue = queue = CaptureQueue(QUEUE_BLOCKS, self._channel)
        self._capture = self._portaudio.capture(self._device, self._channel, queue.callback, queue.finish)
        self._resampler = Resampler(self._capture.rate)
        self.name = f"microphone {self._capture.device.name!r}"
        if self._device is not None:
            self._device = lasting(self._capture.device.name)

    def blocks(self) -> Iterator[Block]:
        """The stream, for ever; empty blocks while there is no sound, a gap where some was lost."""
        failures = 0
        reader = self._deliver
        while True:
            following, pause = self._deliver, 0.0  # without an error, what was watched delivers
            try:
                for block in reader():
                    if len(block.samples):
                        if self._lost and self._heard:
                            log.info("hearing the %s again", self.name)
                        self._heard, self._lost, failures = True, False, 0
                    yield block
            except AudioError as error:
                self._complain(error)
                pause = BACK_OFF[min(failures, len(BACK_OFF) - 1)]
                failures += 1
                if isinstance(error, NothingComesError):
                    following = self._watch
            self.close()
            yield Block(NO_SAMPLES, gap=True)
            time.sleep(pause)
            reader = following

    def _complain(self, error: AudioError) -> None:
        """Say it once, not with every attempt."""
        log.log(logging.DEBUG if self._lost else logging.WARNING, "%s: %s; trying again", self.name, error)
        self._lost = True

    def _deliver(self) -> Iterator[Block]:
        """Blocks until the device is lost. Raises AudioError then, or if it cannot be opened."""
        if self._capture is None:
            self._portaudio.refresh()
            self._open()
        limit, last, complained, unsaid = FIRST_BLOCK_LIMIT, time.monotonic(), -OVERLOAD_PAUSE, 0
        while True:
            captured = self._queue.get(BLOCK_WAIT_SECONDS)
            if captured is None:
                if self._queue.finished:
                    raise DeviceLostError("the device went away")
                if time.monotonic() - last > limit:
                    raise NothingComesError(f"no sound came for {limit:g} s")
                yield Block(NO_SAMPLES)
                continue
            samples, gap, dropped = captured
            gap &= limit != FIRST_BLOCK_LIMIT  # some devices report a loss when they start
            limit, last = BLOCK_LIMIT, time.monotonic()
            if gap:
                self._resampler.reset()
                unsaid += dropped
                if last - complained > OVERLOAD_PAUSE:
                    log.warning("lost %s: this machine is too slow or too busy", loss(unsaid))
                    complained, unsaid = last, 0
            self._silence.push(samples, len(samples) / self._rate, self.name)
            yield Block(self._converted(samples), gap, dropped)

    def _converted(self, samples: Samples) -> Samples:
        """What the device delivered, amplified and at 44.1 kHz."""
        if self._factor == 1:
            return self._resampler.push_int16(samples)
        return self._resampler.push(to_float(samples) * self._factor)

    def _watch(self) -> Iterator[Block]:
        """Empty blocks until the device delivers or 10 s are over; costs next to nothing, unlike a callback that waits.

        Raises AudioError as `_deliver` does.
        """
        self._portaudio.refresh()
        self._capture = self._portaudio.watch(self._device, self._channel)
        deadline = time.monotonic() + WATCH_LIMIT
        while not self._portaudio.arrived(self._capture):
            if time.monotonic() > deadline:
                raise NothingComesError(f"no sound came for {WATCH_LIMIT:g} s")
            yield Block(NO_SAMPLES)
            time.sleep(SILENCE_POLL_SECONDS)

    @property
    def _rate(self) -> int:
        assert self._capture is not None
        return self._capture.rate

    def backlog(self) -> int:
        """Samples that wait in the queue."""
        return len(self._queue) * FRAME

    def hurry(self) -> None:
        """For a second, hand on each block when it comes."""
        self._queue.hurry()

    def close(self) -> None:
        """Stop capturing, within a second whatever the sound server does."""
        if self._capture is not None:
            self._portaudio.release(self._capture)
            self._capture = None


class SilenceWarning:
    """Says once when a device delivers zeros alone, and once when it delivers sound again."""

    def __init__(self) -> None:
        self._heard = 0.0  # s, in all
        self._zeros = 0.0  # s, without a break
        self._said = False
        self._quiet_until = 0.0  # s

    def push(self, samples: Any, seconds: float, name: str) -> None:
        """Look at the next samples, which last so long."""
        self._heard += seconds
        if samples.any():
            self._zeros = 0.0
            if self._said:
                self._said = False
                log.info("sound from the %s again", name)
            return
        self._zeros += seconds
        if self._zeros >= SILENCE_LIMIT and not self._said and self._heard >= self._quiet_until:
            self._said = True
            self._quiet_until = self._heard + SILENCE_PAUSE
            log.warning("digital silence from the %s: it is muted, or the sound server has lost it", name)


def lasting(found: str) -> tuple[str, ...]:
    """What to look for, one after the other, when the device is gone that was found under this name.

    The same name, and then without the number of ALSA's card, which is another one when devices are plugged in again
    in another order.
    """
    return found, re.sub(r"\s*\(hw:\d+,\d+\)$", "", found)


def loss(blocks: int) -> str:
    """So many dropped blocks in words; for 0 what the sound server lost, which does not say how much."""
    return f"{blocks * FRAME / SAMPLE_RATE:.2f} s of audio (blocks: {blocks})" if blocks else "some audio"
