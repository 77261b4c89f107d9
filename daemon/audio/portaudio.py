"""Captures and plays with PortAudio, each call with a deadline, since it hangs where the sound server does.

How the C library itself behaves is dealt with by `PortAudioLibrary`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from daemon.audio.calls_with_deadline import CallsWithDeadline
from daemon.audio.portaudio_library import Device, PortAudioLibrary, WantedDevice, reason
from daemon.audio.resample import Resampler, Samples, to_float
from daemon.audio.sources import block_size
from daemon.system.errors import AudioError
from model.frontend import SAMPLE_RATE

OPEN_LIMIT = 5.0  # s
CLOSE_LIMIT = 0.5  # s; abort() takes 1 ms, or for ever when the sound server hangs
SILENCE_AFTER_SECONDS = 0.25  # of a sound: stopping an output stream cuts off what the server still holds

Callback = Callable[[Any, int, Any, Any], None]  # samples (n, channels), n, times, status


@dataclass(frozen=True)
class Capture:
    """A running input stream, and the rate (Hz) at which the device could be opened."""

    stream: Any
    device: Device
    rate: int


class PortAudio:
    """Loaded when first used, which raises AudioError where it is missing."""

    def __init__(self) -> None:
        self.library = PortAudioLibrary()
        self._playing = False
        self._calls = CallsWithDeadline()

    @property
    def hung(self) -> bool:
        """Whether a call does not return; until it does no other can be made, and only a new process helps."""
        return self._calls.hung

    def load(self) -> None:
        """Load the library now. Raises AudioError where it is missing, which no waiting mends."""
        _ = self.library.sd

    def capture(self, wanted: WantedDevice, channel: int, callback: Callback, finished: Callable[[], None]) -> Capture:
        """Start an int16 stream of about 80 ms a block, in which this channel (counted from 1) is.

        Raises AudioError, also when the sound server does not answer within 5 s.
        """
        return self._start(
            wanted,
            channel,
            lambda **options: self.library.sd.InputStream(
                blocksize=block_size(options["samplerate"]),
                callback=callback,
                finished_callback=finished,
                **options,
            ),
        )

    def watch(self, wanted: WantedDevice, channel: int) -> Capture:
        """Start a stream without a callback, which `arrived` asks whether the device delivers. Raises AudioError.

        While a device delivers nothing, the thread that would call back takes a whole core: between PortAudio and
        PulseAudio, ALSA's plug-in says "ready" for a stream that was prepared twice, until its first samples come.
        """
        return self._start(wanted, channel, self.library.sd.RawInputStream)

    def arrived(self, capture: Capture) -> bool:
        """Whether samples wait in a stream that `watch` started. Raises AudioError when the device went away."""

        def ask() -> bool:
            try:
                return bool(capture.stream.read_available)
            except self.library.sd.PortAudioError as error:
                raise AudioError(f"{capture.device.name}: {reason(error)}") from error

        return self._calls.make(ask, OPEN_LIMIT)

    def _start(self, wanted: WantedDevice, channel: int, new_stream: Callable[..., Any]) -> Capture:
        def start() -> Capture:
            device = self.library.find(wanted)
            if device.channels < channel:
                raise AudioError(f"{device.name}: channel {channel} is wanted, and it has {device.channels}")
            stream, rate = self.library.open(device, channel, new_stream)
            return Capture(stream, device, rate)

        return self._calls.make(start, OPEN_LIMIT, discard=lambda capture: self.library.close(capture.stream))

    def release(self, capture: Capture) -> None:
        """Stop capturing; one that will not close is left behind."""
        with contextlib.suppress(AudioError):
            self._calls.make(lambda: self.library.close(capture.stream), CLOSE_LIMIT)

    def refresh(self) -> None:
        """Look for devices anew, unless a stream exists. Raises AudioError where the library cannot."""
        self._calls.make(self.library.reinitialise, OPEN_LIMIT)

    def play(self, samples: Samples) -> None:
        """Play (n,) samples at 44.1 kHz on the default output; returns at their end. Raises AudioError."""
        self._playing = True
        try:
            self._play(samples)
        finally:
            self._playing = False

    def _play(self, samples: Samples) -> None:
        device = self.library.find(None, "output")
        stream, rate = self.library.open(device, 1, self.library.sd.OutputStream)
        try:
            padded = np.concatenate((samples, np.zeros(round(SILENCE_AFTER_SECONDS * SAMPLE_RATE), np.int16)))
            if rate != SAMPLE_RATE:
                resampler = Resampler(SAMPLE_RATE, rate)
                padded = np.concatenate((resampler.push(to_float(padded)), resampler.flush()))
            stream.write(np.repeat(padded[:, None], stream.channels, axis=1))
            stream.stop()
        except self.library.sd.PortAudioError as error:
            raise AudioError(f"{device.name}: {reason(error)}") from error
        finally:
            self.library.close(stream)

    def idle(self, seconds: float) -> bool:
        """Whether no call and no stream is left, after at most so long.

        Otherwise the interpreter's orderly exit, which terminates the library, would hang or crash.
        """
        return self._calls.wait(seconds) and self.library.streams == 0 and not self._playing
