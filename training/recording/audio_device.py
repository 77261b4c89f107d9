"""The microphone and the loudspeaker of whoever records: int16 blocks at 44.1 kHz out, samples in.

A recording is made by a person who looks on, so what fails is said and tried again by hand; the daemon's own capture,
which must live for months, is another matter.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from model.frontend import SAMPLE_RATE
from training.dsp.decode import Int16Array, to_int16
from training.utils.errors import TrainingError

BLOCK_SECONDS = 0.05
TAIL_SECONDS = 0.25  # of silence after a sound: stopping an output cuts off what the sound server still holds
BLOCK_TIMEOUT = 5.0  # s without a block
NO_DEVICE = "Error querying device -1"  # of PortAudio, where no default one exists
KEPT_BLOCKS = 1200  # a minute, should nobody take them


def _library() -> Any:
    try:
        with _quiet():
            import sounddevice  # loads a C library, which may be missing
    except OSError as error:
        raise TrainingError("PortAudio is not installed (Debian: apt install libportaudio2)") from error
    return sounddevice


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what C libraries print off the screen: ALSA fills a page while it looks for devices."""
    sys.stderr.flush()
    own = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(own, 2)
        os.close(own)
        os.close(nowhere)


class RecordingMicrophone:
    """An open microphone, as a context; None is the default one. Raises TrainingError if there is none."""

    def __init__(self, device: str | None = None) -> None:
        self._sd = _library()
        self._blocks: queue.Queue[Int16Array] = queue.Queue(KEPT_BLOCKS)
        self._resampler: Any = None
        wanted = int(device) if device and device.isdecimal() else device
        try:
            with _quiet():
                about = self._sd.query_devices(wanted, "input")
                self._stream = self._open(wanted, round(about["default_samplerate"]))
        except (self._sd.PortAudioError, ValueError) as error:
            which = "no microphone" if device is None else f"no microphone {device!r}"
            raise TrainingError(f"{which} can be opened ({_reason(error)}); `chimed devices` lists them") from error
        self.name: str = about["name"]

    def _open(self, device: Any, default_rate: int) -> Any:
        for rate in dict.fromkeys((SAMPLE_RATE, default_rate)):
            try:
                stream = self._sd.InputStream(
                    device=device,
                    channels=1,
                    samplerate=rate,
                    dtype="int16",
                    blocksize=round(rate * BLOCK_SECONDS),
                    callback=self._arrived,
                )
                stream.start()
            except self._sd.PortAudioError:
                if rate == default_rate:
                    raise
                continue
            if rate != SAMPLE_RATE:
                import soxr

                self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="int16")
            return stream
        raise AssertionError("the last rate either opens or raises")

    def _arrived(self, samples: Any, _count: int, _times: Any, _status: Any) -> None:
        with contextlib.suppress(queue.Full):
            self._blocks.put_nowait(samples[:, 0].copy())

    def forget(self) -> None:
        """Drop what was heard so far."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._blocks.get_nowait()

    def block(self) -> Int16Array:
        """The next 50 ms, (n,). Raises TrainingError if the microphone delivers nothing for 5 s."""
        try:
            samples = self._blocks.get(timeout=BLOCK_TIMEOUT)
        except queue.Empty:
            raise TrainingError(f"{self.name}: no sound for {BLOCK_TIMEOUT:.0f} s; is it muted or unplugged?") from None
        if self._resampler is not None:
            samples = np.asarray(self._resampler.resample_chunk(samples), np.int16)
        return samples

    def close(self) -> None:
        """Let the microphone go."""
        with contextlib.suppress(self._sd.PortAudioError):
            self._stream.abort()
            self._stream.close()


def play(samples: Int16Array) -> None:
    """Play (n,) samples at 44.1 kHz; returns at their end. Raises TrainingError where nothing can be played."""
    library = _library()
    padded = np.concatenate((samples, np.zeros(round(TAIL_SECONDS * SAMPLE_RATE), np.int16)))
    try:
        with _quiet():
            about = library.query_devices(None, "output")
            rate = SAMPLE_RATE
            try:
                library.check_output_settings(channels=1, samplerate=rate, dtype="int16")
            except library.PortAudioError:
                rate = round(about["default_samplerate"])
            if rate != SAMPLE_RATE:
                import soxr

                padded = to_int16(soxr.resample(padded.astype(np.float32), SAMPLE_RATE, rate))
            with library.OutputStream(samplerate=rate, channels=1, dtype="int16") as stream:
                stream.write(padded)
    except (library.PortAudioError, ValueError) as error:
        raise TrainingError(f"nothing can be played ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """PortAudio's first line, where it is one for people."""
    reason = str(error.args[0] if error.args else error).splitlines()[0]
    return "there is no device" if reason == NO_DEVICE else reason
