"""PortAudio, and how its devices really fail: devices and streams out, `AudioError` for what goes wrong.

The library knows only the devices that were there when it was initialised, its calls hang with a sound server
that hangs, and it crashes when it is re-initialised under a stream. All of that is dealt with here.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from daemon.audio.calls_with_deadline import LimitedCalls
from daemon.audio.resample import Resampler, Samples, to_float
from daemon.audio.sources import block_size
from daemon.system.errors import AudioError
from model.frontend import SAMPLE_RATE

OPEN_LIMIT = 5.0  # s
CLOSE_LIMIT = 0.5  # s; abort() takes 1 ms, or for ever when the sound server hangs
TAIL = 0.25  # s of silence after a sound: stopping an output stream cuts off what the server still holds

NO_PORTAUDIO = (
    "PortAudio is not installed: `sudo apt install libportaudio2` (Debian, Ubuntu), "
    "`sudo dnf install portaudio` (Fedora) or `sudo pacman -S portaudio` (Arch)"
)
NO_DEVICE = (
    "no {noun} found: is PulseAudio or PipeWire running for this user, with the ALSA plug-in that leads to it "
    "(`sudo apt install libasound2-plugins`, `sudo dnf install alsa-plugins-pulseaudio`, "
    "`sudo pacman -S alsa-plugins`)?"
)

Kind = Literal["input", "output"]
Wanted = str | int | tuple[str, ...] | None  # a number, a name or a part of one; the first of several; the default
Callback = Callable[[Any, int, Any, Any], None]  # samples (n, channels), n, times, status


@dataclass(frozen=True)
class Device:
    """A device as PortAudio lists it. channels: the most it offers; rate: its default, Hz."""

    number: int
    name: str
    channels: int
    rate: int
    default: bool


@dataclass(frozen=True)
class Capture:
    """A running input stream, and the rate (Hz) at which the device could be opened."""

    stream: Any
    device: Device
    rate: int


class PortAudio:
    """The library; loaded when first used, which raises AudioError where it is missing."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # around every call that opens, closes, lists or re-initialises
        self._streams = 0
        self._playing = False
        self._calls = LimitedCalls()

    @property
    def hung(self) -> bool:
        """Whether a call does not return; until it does no other can be made, and only a new process helps."""
        return self._calls.hung

    @functools.cached_property
    def _sd(self) -> Any:
        with self._lock:
            try:
                import sounddevice  # loads a C library, which may be missing
            except OSError as error:
                raise AudioError(NO_PORTAUDIO) from error
        return sounddevice

    def load(self) -> None:
        """Load the library now. Raises AudioError where it is missing, which no waiting mends."""
        _ = self._sd

    def devices(self, kind: Kind = "input") -> list[Device]:
        """The devices that were there when the library was last initialised."""
        channels = f"max_{kind}_channels"
        with self._lock:
            listed = self._sd.query_devices()
            default = self._sd.default.device[kind]
            with contextlib.suppress(self._sd.PortAudioError):
                default = self._sd.query_devices(default if default >= 0 else None, kind)["index"]
        return [
            Device(
                each["index"], each["name"], each[channels], round(each["default_samplerate"]), each["index"] == default
            )
            for each in listed
            if each[channels] > 0
        ]

    def find(self, wanted: Wanted, kind: Kind = "input") -> Device:
        """The device of this number or of this (part of a) name, the default for None, the first of several.

        Raises AudioError.
        """
        if isinstance(wanted, tuple):
            *earlier, wanted = wanted
            for name in earlier:
                with contextlib.suppress(AudioError):
                    return self.find(name, kind)
        noun = "microphone" if kind == "input" else "loudspeaker"
        devices = self.devices(kind)
        if not devices:
            raise AudioError(NO_DEVICE.format(noun=noun))
        if wanted is None:
            return next((device for device in devices if device.default), devices[0])
        text = str(wanted).lower()
        exact = [device for device in devices if text in (str(device.number), device.name.lower())]
        similar = [device for device in devices if text in device.name.lower()]
        if matches := exact or similar:
            return matches[0]
        known = ", ".join(f"{device.number} ({device.name})" for device in devices)
        raise AudioError(f"no {noun} {wanted!r}; there are {known}")

    def capture(self, wanted: Wanted, channel: int, callback: Callback, finished: Callable[[], None]) -> Capture:
        """Start an int16 stream of about 80 ms a block, in which this channel (counted from 1) is.

        Raises AudioError, also when the sound server does not answer within 5 s.
        """
        return self._start(
            wanted,
            channel,
            lambda **options: self._sd.InputStream(
                blocksize=block_size(options["samplerate"]),
                callback=callback,
                finished_callback=finished,
                **options,
            ),
        )

    def watch(self, wanted: Wanted, channel: int) -> Capture:
        """Start a stream without a callback, which `arrived` asks whether the device delivers. Raises AudioError.

        While a device delivers nothing, the thread that would call back takes a whole core: between PortAudio and
        PulseAudio, ALSA's plug-in says "ready" for a stream that was prepared twice, until its first samples come.
        """
        return self._start(wanted, channel, self._sd.RawInputStream)

    def arrived(self, capture: Capture) -> bool:
        """Whether samples wait in a stream that `watch` started. Raises AudioError when the device went away."""

        def ask() -> bool:
            try:
                return bool(capture.stream.read_available)
            except self._sd.PortAudioError as error:
                raise AudioError(f"{capture.device.name}: {_reason(error)}") from error

        return self._calls.make(ask, OPEN_LIMIT)

    def _start(self, wanted: Wanted, channel: int, new_stream: Callable[..., Any]) -> Capture:
        def start() -> Capture:
            device = self.find(wanted)
            if device.channels < channel:
                raise AudioError(f"{device.name}: channel {channel} is wanted, and it has {device.channels}")
            stream, rate = self._open(device, channel, new_stream)
            return Capture(stream, device, rate)

        return self._calls.make(start, OPEN_LIMIT, discard=lambda capture: self._close(capture.stream))

    def release(self, capture: Capture) -> None:
        """Stop capturing; one that will not close is left behind."""
        with contextlib.suppress(AudioError):
            self._calls.make(lambda: self._close(capture.stream), CLOSE_LIMIT)

    def refresh(self) -> None:
        """Look for devices anew, unless a stream exists. Raises AudioError where the library cannot."""
        self._calls.make(self._reinitialise, OPEN_LIMIT)

    def play(self, samples: Samples) -> None:
        """Play (n,) samples at 44.1 kHz on the default output; returns at their end. Raises AudioError."""
        self._playing = True
        try:
            self._play(samples)
        finally:
            self._playing = False

    def _play(self, samples: Samples) -> None:
        device = self.find(None, "output")
        stream, rate = self._open(device, 1, self._sd.OutputStream)
        try:
            padded = np.concatenate((samples, np.zeros(round(TAIL * SAMPLE_RATE), np.int16)))
            if rate != SAMPLE_RATE:
                resampler = Resampler(SAMPLE_RATE, rate)
                padded = np.concatenate((resampler.push(to_float(padded)), resampler.flush()))
            stream.write(np.repeat(padded[:, None], stream.channels, axis=1))
            stream.stop()
        except self._sd.PortAudioError as error:
            raise AudioError(f"{device.name}: {_reason(error)}") from error
        finally:
            self._close(stream)

    def _open(self, device: Device, channels: int, new_stream: Callable[..., Any]) -> tuple[Any, int]:
        """A started stream and its rate: 44.1 kHz and so many channels, or as near as the device comes."""
        settings = [(rate, count) for rate in (SAMPLE_RATE, device.rate) for count in (channels, device.channels)]
        failure: Exception | None = None
        for rate, count in dict.fromkeys(settings):
            with self._lock:
                try:
                    stream = new_stream(device=device.number, samplerate=rate, channels=count, dtype="int16")
                    self._streams += 1
                    try:
                        stream.start()
                    except self._sd.PortAudioError:
                        self._close(stream)
                        raise
                except self._sd.PortAudioError as error:
                    failure = failure or error
                else:
                    return stream, rate
        raise AudioError(f"{device.name}: {_reason(failure)}") from failure

    def _close(self, stream: Any) -> None:
        with contextlib.suppress(self._sd.PortAudioError):
            stream.abort()
        with contextlib.suppress(self._sd.PortAudioError):
            stream.close()
        with self._lock:
            self._streams -= 1

    def _reinitialise(self) -> None:
        with self._lock:
            if self._streams:
                return
            try:
                self._sd._terminate()
                self._sd._initialize()
            except self._sd.PortAudioError as error:
                raise AudioError(f"PortAudio: {_reason(error)}") from error

    def idle(self, seconds: float) -> bool:
        """Whether no call and no stream is left, after at most so long.

        Otherwise the interpreter's orderly exit, which terminates the library, would hang or crash.
        """
        return self._calls.wait(seconds) and self._streams == 0 and not self._playing


def _reason(error: Exception | None) -> str:
    """What PortAudio says, without its number and its prefix."""
    text = str(error.args[0]) if error and error.args else "unknown error"
    return text.removeprefix("Error opening InputStream: ").removeprefix("Error opening OutputStream: ")
