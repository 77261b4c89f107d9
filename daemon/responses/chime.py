"""Makes the sound that answers a word, or loads the user's own, and plays it beside the listening."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

import numpy as np

from daemon.audio.resample import Samples, to_int16
from daemon.audio.sources import read_all
from daemon.system.errors import AudioError
from model.frontend import SAMPLE_RATE

if TYPE_CHECKING:
    from daemon.audio.portaudio import PortAudio

NOTES = (783.99, 1046.50)  # Hz: G5, then C6, a fourth up
OVERTONES = ((1, 1.0), (2, 0.28), (3, 0.09))  # multiple of the note's frequency, amplitude
NOTE_STARTS = (0.0, 0.11)  # s
DURATION = 0.36  # s
ATTACK = 0.006  # s; a shorter one clicks
DECAY = 0.09  # s, time constant
PEAK = 10 ** (-12 / 20)  # -12 dBFS: clear beside speech, not startling

CHIME_STUCK_SECONDS = 3.0  # s beyond its length until a chime counts as stuck
LONGEST = 5.0  # s; what a user's chime is cut to, since the daemon is deaf while it sounds

log = logging.getLogger(__name__)


@functools.cache
def synthesise() -> Samples:
    """The project's own chime: two soft bell notes, (n,) int16 at 44.1 kHz."""
    mix = np.zeros(round(DURATION * SAMPLE_RATE))
    for note, start in zip(NOTES, NOTE_STARTS, strict=True):
        first = round(start * SAMPLE_RATE)
        time = np.arange(len(mix) - first) / SAMPLE_RATE
        tone = sum(level * np.sin(2 * np.pi * note * multiple * time) for multiple, level in OVERTONES)
        mix[first:] += tone * np.minimum(time / ATTACK, 1.0) * np.exp(-time / DECAY)
    fade = round(0.05 * SAMPLE_RATE)
    mix[-fade:] *= np.cos(np.linspace(0, np.pi / 2, fade)) ** 2
    return to_int16((mix * (PEAK / np.abs(mix).max())).astype(np.float32))


def load(path: str | os.PathLike[str]) -> Samples:
    """A user's chime, any format and rate; cut to 5 s. Raises AudioError with the file and the reason."""
    samples = read_all(path, LONGEST)
    if not len(samples):
        raise AudioError(f"{os.fspath(path)}: it holds no sound")
    return samples


class ChimePlayer:
    """Plays chimes on the default output, one at a time, in a thread of its own."""

    def __init__(self, portaudio: PortAudio) -> None:
        self._portaudio = portaudio
        self._thread: threading.Thread | None = None
        self._given_up = 0.0  # monotonic time, s
        self._failed = False

    @property
    def busy(self) -> bool:
        """Whether a chime is on its way to the loudspeaker, the sound server's latency included."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def sounding(self) -> bool:
        """Busy for no longer than is plausible: a sound server that hangs must not make the daemon deaf."""
        return self.busy and time.monotonic() < self._given_up

    def play(self, samples: Samples) -> None:
        """Start a chime and return at once; while another sounds, nothing happens."""
        if self.busy:
            return
        self._given_up = time.monotonic() + len(samples) / SAMPLE_RATE + CHIME_STUCK_SECONDS
        self._thread = threading.Thread(target=self._play, args=(samples,), name="chime", daemon=True)
        self._thread.start()

    def _play(self, samples: Samples) -> None:
        try:
            self._portaudio.play(samples)
        except AudioError as error:
            # said once, not with each word, until a chime can be heard again
            log.log(logging.DEBUG if self._failed else logging.WARNING, "cannot play the chime: %s", error)
            self._failed = True
        else:
            self._failed = False

    def wait(self, seconds: float) -> None:
        """Let a chime end, at most for so long."""
        if self._thread is not None and self._thread.is_alive():  # a signal may have come before it was started
            self._thread.join(seconds)
