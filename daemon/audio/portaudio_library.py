"""Lists devices and opens streams with PortAudio's C library; what goes wrong becomes an `AudioError`.

The library knows only the devices that were there when it was initialised, and it crashes when it is re-initialised
under a stream; both is dealt with here. That its calls hang with a sound server that hangs is dealt with by
`daemon.audio.portaudio`.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from daemon.system.errors import AudioError
from model.frontend import SAMPLE_RATE

PORTAUDIO_MISSING = (
    "PortAudio is not installed: `sudo apt install libportaudio2` (Debian, Ubuntu), "
    "`sudo dnf install portaudio` (Fedora) or `sudo pacman -S portaudio` (Arch)"
)
NO_DEVICE = (
    "no {noun} found: is PulseAudio or PipeWire running for this user, with the ALSA plug-in that leads to it "
    "(`sudo apt install libasound2-plugins`, `sudo dnf install alsa-plugins-pulseaudio`, "
    "`sudo pacman -S alsa-plugins`)?"
)

DeviceKind = Literal["input", "output"]
WantedDevice = (
    str | int | tuple[str, ...] | None
)  # a number, a name or a part of one; the first of several; the default


@dataclass(frozen=True)
class Device:
    """A device as PortAudio lists it. channels: the most it offers; rate: its default, Hz."""

    number: int
    name: str
    channels: int
    rate: int
    default: bool


class PortAudioLibrary:
    """Loaded when first used, which raises AudioError where it is missing. streams: how many are open."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # around every call that opens, closes, lists or re-initialises
        self.streams = 0

    @functools.cached_property
    def sd(self) -> Any:
        """The module sounddevice."""
        with self._lock:
            try:
                import sounddevice  # loads a C library, which may be missing
            except OSError as error:
                raise AudioError(PORTAUDIO_MISSING) from error
        return sounddevice

    def devices(self, kind: DeviceKind = "input") -> list[Device]:
        """The devices that were there when the library was last initialised."""
        channels = f"max_{kind}_channels"
        with self._lock:
            listed = self.sd.query_devices()
            default = self.sd.default.device[kind]
            with contextlib.suppress(self.sd.PortAudioError):
                default = self.sd.query_devices(default if default >= 0 else None, kind)["index"]
        return [
            Device(
                each["index"], each["name"], each[channels], round(each["default_samplerate"]), each["index"] == default
            )
            for each in listed
            if each[channels] > 0
        ]

    def find(self, wanted: WantedDevice, kind: DeviceKind = "input") -> Device:
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

    def open(self, device: Device, channels: int, new_stream: Callable[..., Any]) -> tuple[Any, int]:
        """A started stream and its rate: 44.1 kHz and so many channels, or as near as the device comes."""
        settings = [(rate, count) for rate in (SAMPLE_RATE, device.rate) for count in (channels, device.channels)]
        failure: Exception | None = None
        for rate, count in dict.fromkeys(settings):
            with self._lock:
                try:
                    stream = new_stream(device=device.number, samplerate=rate, channels=count, dtype="int16")
                    self.streams += 1
                    try:
                        stream.start()
                    except self.sd.PortAudioError:
                        self.close(stream)
                        raise
                except self.sd.PortAudioError as error:
                    failure = failure or error
                else:
                    return stream, rate
        raise AudioError(f"{device.name}: {reason(failure)}") from failure

    def close(self, stream: Any) -> None:
        """Stop a stream at once, whatever it still holds."""
        with contextlib.suppress(self.sd.PortAudioError):
            stream.abort()
        with contextlib.suppress(self.sd.PortAudioError):
            stream.close()
        with self._lock:
            self.streams -= 1

    def reinitialise(self) -> None:
        """Look for devices anew, unless a stream is open. Raises AudioError."""
        with self._lock:
            if self.streams:
                return
            try:
                self.sd._terminate()
                self.sd._initialize()
            except self.sd.PortAudioError as error:
                raise AudioError(f"PortAudio: {reason(error)}") from error


def reason(error: Exception | None) -> str:
    """What PortAudio says, without its number and its prefix."""
    text = str(error.args[0]) if error and error.args else "unknown error"
    return text.removeprefix("Error opening InputStream: ").removeprefix("Error opening OutputStream: ")
