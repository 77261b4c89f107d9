"""What the tests of the daemon share: a model that hears one tone, recordings with it, and real processes.

The model is made by hand, so that what the loop does is tested apart from what training reached.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from model.frontend import KERNEL, SAMPLE_RATE, WINDOW, FrontEnd, Samples
from model.modelfile import Model
from model.network import FILTERS, UNITS, Weights, weight_shapes

TONE = 3_000.0  # Hz, far from the chime's notes


def tone_model(word: str = "beep", hz: float = TONE, threshold: float = 0.5) -> Model:
    """Fires once at the onset of a loud tone: that bin far above its recent average, most others not.

    One filter takes the mean of the bin over the kernel minus that of all bins; the recurrent layers pass it on
    (update gates shut, so that the state is the candidate); the last layer compares it with a limit.
    """
    bins = 37
    arrays = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(bins).items()}
    arrays["conv_kernel"][:, :, 0] = -1.0 / (KERNEL * bins)
    arrays["conv_kernel"][:, round(hz * WINDOW / SAMPLE_RATE), 0] += 1.0 / KERNEL
    candidate = 2 * UNITS
    for layer, inputs in (("gru1", FILTERS), ("gru2", UNITS)):
        assert arrays[f"{layer}_kernel"].shape[0] == inputs
        arrays[f"{layer}_kernel"][0, candidate] = 0.4 if layer == "gru1" else 1.0
        arrays[f"{layer}_bias"][0, :UNITS] = -30.0
    arrays["dense_kernel"][0] = 60.0
    arrays["dense_bias"][0] = -60.0 * 0.55
    return Model(word, Weights(**arrays), FrontEnd("relative", bins), threshold)


def recording(seconds: float, tones: list[float], hz: float = TONE, length: float = 0.3, seed: int = 0) -> Samples:
    """Soft noise of so many seconds, in which a loud tone starts at each of these times (s)."""
    samples = np.random.default_rng(seed).normal(0, 60, round(seconds * SAMPLE_RATE))
    time = np.arange(round(length * SAMPLE_RATE)) / SAMPLE_RATE
    tone = 9_000 * np.sin(2 * np.pi * hz * time)
    for start in tones:
        first = round(start * SAMPLE_RATE)
        piece = samples[first : first + len(tone)]
        piece += tone[: len(piece)]
    return samples.astype(np.int16)


class Chimed:
    """A `chimed` process whose log is read while it runs."""

    def __init__(self, arguments: Sequence[str | Path], environment: Mapping[str, str], stdin: int | IO[bytes]) -> None:
        command = [sys.executable, "-m", "daemon.cli", *map(str, arguments)]
        self.process = subprocess.Popen(command, env=environment, stdin=stdin, stderr=subprocess.PIPE, text=True)
        self.log: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.log.append(line.rstrip("\n"))
                self._news.notify_all()

    def lines(self, text: str) -> list[str]:
        """The log lines so far that contain it."""
        return [line for line in self.log if text in line]

    def wait_for(self, text: str, count: int = 1, seconds: float = 30) -> str:
        """The log line, the `count`-th of those that contain this text; fails if it does not come."""
        with self._news:
            arrived = self._news.wait_for(lambda: len(self.lines(text)) >= count, seconds)
        assert arrived, f"no {text!r} (x{count}) in:\n" + "\n".join(self.log)
        return self.lines(text)[count - 1]

    def end(self, seconds: float = 60) -> int:
        """The exit code, once it ended by itself; its log is complete then."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        return code

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal. The log never holds a traceback."""
        self.process.send_signal(number)
        code = self.end(20)
        assert not self.lines("Traceback"), "\n".join(self.log)
        return code


def user_environment(folder: Path) -> dict[str, str]:
    """The environment of a user who has configured nothing and has no sound server; home is made in the folder."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PULSE_", "XDG_", "CHIMED_"))}
    (folder / "home").mkdir()
    (folder / "runtime").mkdir(mode=0o700)
    return own | {"HOME": str(folder / "home"), "XDG_RUNTIME_DIR": str(folder / "runtime")}


def call_chimed(arguments: Sequence[str | Path], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run `chimed` with these arguments to its end."""
    command = [sys.executable, "-m", "daemon.cli", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
