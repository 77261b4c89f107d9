"""Reads recordings and raw PCM as blocks of int16 mono samples at 44.1 kHz, whatever their rate and channels.

Files and raw PCM are read here, the microphone in `microphone`; all of them are a `Source`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

import numpy as np

from daemon.audio.resample import Resampler, Samples
from daemon.system.errors import AudioError
from model.frontend import FRAME, SAMPLE_RATE

STDIN = "-"
# A recorder at the other end of a pipe has a clock of its own, which may be faster than ours, and may have begun before
# us: paced to the letter, what waits in the pipe would never grow less, and at last the recorder would lose sound.
PIPE_SPEED = 1.01


class Block(NamedTuple):
    """A piece of the stream. An empty block says "alive, nothing heard".

    gap: audio was lost right before it; dropped: how many blocks of 80 ms that were, as far as that is known.
    """

    samples: Samples
    gap: bool = False
    dropped: int = 0


class Source(Protocol):
    """Where audio comes from. live: it captures the room, so that it also hears the daemon's own chime."""

    live: bool

    @property
    def name(self) -> str:
        """What it is, for people."""

    def blocks(self) -> Iterator[Block]:
        """The stream; ends with the recording, never for a microphone. Raises AudioError."""

    def backlog(self) -> int:
        """Samples that were captured but not yet handed on."""

    def hurry(self) -> None:
        """Someone wants to see what comes: for a second no sound waits to be handed on. For any thread."""

    def close(self) -> None:
        """Release the device or file, within a second or two."""


def block_size(rate: int) -> int:
    """How many samples at this rate make up about one frame of the engine, 79.8 ms."""
    return max(1, round(FRAME * rate / SAMPLE_RATE))


class FileSource:
    """A recording in any format that libsndfile reads; its first channel counts.

    Raises AudioError, naming the file and the reason, if it cannot be opened.
    """

    live = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        soundfile = import_soundfile()
        self.name = os.fspath(path)
        self._error = soundfile.LibsndfileError
        try:
            if Path(path).is_dir() or not os.access(path, os.R_OK):
                Path(path).open("rb").close()  # fails, and says why, where libsndfile says "System error"
            self._file = soundfile.SoundFile(self.name)
            self._resampler = Resampler(self.rate)
        except OSError as error:
            raise AudioError(f"{self.name}: {error.strerror or error}") from error
        except AudioError as error:
            raise AudioError(f"{self.name}: {error}") from error
        except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: a ".raw" file lacks a format
            raise AudioError(f"{self.name}: not a recording that can be read ({_reason(error)})") from error

    @property
    def rate(self) -> int:
        """The recording's own sample rate, Hz."""
        return int(self._file.samplerate)

    def blocks(self) -> Iterator[Block]:
        """The recording, about 80 ms at a time. Raises AudioError where it is damaged."""
        size = block_size(self.rate)
        while True:
            try:
                # as floats: libsndfile would cut a float recording to -1, 0 and 1 when asked for integers
                samples = self._file.read(size, dtype="float32", always_2d=True)[:, 0]
            except self._error as error:
                position = self._file.tell() / self.rate
                raise AudioError(f"{self.name}: damaged at {position:.1f} s ({_reason(error)})") from error
            if not len(samples):
                break
            yield Block(self._resampler.push(samples))
        yield Block(self._resampler.flush())

    def backlog(self) -> int:
        """Nothing is captured ahead of time."""
        return 0

    def hurry(self) -> None:
        """Nothing ever waits."""

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _reason(error: Exception) -> str:
    """What libsndfile says, without its ornaments."""
    return str(getattr(error, "error_string", error)).removeprefix("Error : ").rstrip(".")


class RawSource:
    """Raw 16-bit little-endian mono PCM, such as ``arecord -t raw -f S16_LE -r 44100`` writes into a pipe."""

    name = "standard input"

    def __init__(self, stream: BinaryIO, rate: int = SAMPLE_RATE, live: bool = False) -> None:
        self._stream = stream
        self._resampler = Resampler(rate)
        self._bytes = 2 * block_size(rate)
        self.live = live

    def blocks(self) -> Iterator[Block]:
        """The stream until its end; half a sample at the very end is dropped."""
        while data := self._stream.read(self._bytes):
            samples = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.int16, copy=False)
            yield Block(self._resampler.push_int16(samples))
        yield Block(self._resampler.flush())

    def backlog(self) -> int:
        """What waits in a pipe is not known; it is a second at most."""
        return 0

    def hurry(self) -> None:
        """Nothing waits longer than it takes to be heard."""

    def close(self) -> None:
        """The stream belongs to the caller."""


def open_input(path: str, rate: int | None = None, live: bool = False) -> FileSource | RawSource:
    """The recording at this path, or standard input for ``-`` (then `rate` says its sample rate in Hz).

    Raises AudioError.
    """
    if path != STDIN:
        return FileSource(path)
    if sys.stdin is None or sys.stdin.isatty():
        raise AudioError("standard input is a terminal; pipe raw 16-bit mono PCM into it")
    return RawSource(sys.stdin.buffer, rate or SAMPLE_RATE, live)


def paced(
    blocks: Iterable[Block],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    speed: float = 1.0,
) -> Iterator[Block]:
    """The same blocks, each no earlier than a microphone would have delivered it, were it that much faster.

    Due times are counted in samples from the first block, so that no error adds up.
    """
    start = clock()
    heard = 0
    for block in blocks:
        heard += len(block.samples)
        wait = start + heard / (SAMPLE_RATE * speed) - clock()
        if wait > 0:
            sleep(wait)
        yield block


def read_all(path: str | os.PathLike[str], seconds: float) -> Samples:
    """A short recording as a whole, at most so many seconds of it. Raises AudioError."""
    source = FileSource(path)
    parts: list[Samples] = []
    try:
        for block in source.blocks():
            parts.append(block.samples)
            if sum(map(len, parts)) >= seconds * SAMPLE_RATE:
                break
    finally:
        source.close()
    return np.concatenate(parts)[: int(seconds * SAMPLE_RATE)]


def import_soundfile() -> Any:
    """The soundfile module. Raises AudioError where its library is missing."""
    try:
        import soundfile  # slow, and the microphone needs none
    except OSError as error:
        raise AudioError(
            "libsndfile is not installed: `sudo apt install libsndfile1` (Debian, Ubuntu), "
            "`sudo dnf install libsndfile` (Fedora) or `sudo pacman -S libsndfile` (Arch)"
        ) from error
    return soundfile
