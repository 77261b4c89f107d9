"""Says whether chimed shall listen at all: it can be muted by hand, for some time or until it is unmuted.

A crash does not end it: while it lasts, a file in the runtime folder says so, and the next process reads it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from pathlib import Path

log = logging.getLogger(__name__)


class Mute:
    """Off at first, unless a process before this one left the file. file: None to keep nothing."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._end = _read(file)  # in seconds of the clock below; None: not muted

    @property
    def on(self) -> bool:
        """Whether it lasts."""
        return self._end is not None and _now() < self._end

    @property
    def seconds(self) -> float | None:
        """How long it will last, infinity for no limit; None when it does not."""
        return self._end - _now() if self._end is not None and self.on else None

    @property
    def text(self) -> str:
        """Until when, in words."""
        seconds = self.seconds
        if seconds is None or math.isinf(seconds):
            return "muted until `chimed unmute`"
        return time.strftime("muted until %H:%M:%S", time.localtime(time.time() + seconds))

    def move(self, file: Path | None) -> None:
        """Keep another file from now on."""
        if file == self._file:
            return
        seconds, old, self._file = self.seconds, self._file, file
        if seconds is not None:
            self.begin(seconds)
        if old is not None:
            with contextlib.suppress(OSError):
                old.unlink(missing_ok=True)

    def begin(self, seconds: float = math.inf) -> None:
        """For so long from now."""
        self._end = _now() + seconds
        if self._file is not None:
            try:
                self._file.write_text(repr(self._end))
            except OSError as error:
                log.warning("%s: %s; a restart will end the mute", self._file, error.strerror)

    def end(self) -> None:
        """Listen again; also when the daemon stops in order."""
        self._end = None
        if self._file is not None:
            try:
                self._file.unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s: %s; the next start will be mute", self._file, error.strerror)


def _now() -> float:
    """Seconds since the machine started, sleep included: the same for the next process, and no one sets it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _read(file: Path | None) -> float | None:
    try:
        return float(file.read_text()) if file is not None else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return math.inf  # damaged; who muted a microphone does not want it open by accident
