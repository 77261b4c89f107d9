"""Real sound servers for tests, private to each: a microphone that is a pipe, and a loudspeaker that is none."""

from __future__ import annotations

import ctypes.util
import os
import queue
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, ClassVar

import numpy as np
import pytest

from model.frontend import SAMPLE_RATE, Samples
from tests.support.chimed import recording

PIECE = 882  # samples, 20 ms: what a writer at real-time pace hands over at once


class NoAnswerError(AssertionError):
    """The sound server does not answer."""


class SoundServer:
    """A private PulseAudio: what is said into its microphone is heard in real time, between soft noise."""

    programs: ClassVar = ("pulseaudio", "pactl", "parec")
    dry: ClassVar = "no sound came for"  # what the daemon says of a microphone that delivers nothing
    wet: ClassVar = "hearing the microphone"  # and of one that delivers again

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fifo = folder / "mic.fifo"
        self.variables = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
        # while the server is down, no client may start another one
        self.variables["PULSE_CLIENTCONFIG"] = str(folder / "client.conf")
        (folder / "client.conf").write_text("autospawn = no\n")
        self.environment = {**os.environ, **self.variables}
        self.environment.pop("PULSE_SERVER", None)
        self.processes: list[subprocess.Popen[bytes]] = []
        self._to_say: queue.Queue[Samples] = queue.Queue()
        self.written = 0  # samples that the microphone has heard
        self.record: BinaryIO | None = None  # where they are kept too
        self.said: list[float] = []  # when each began, as time.time() has it
        self._feeding = threading.Event()
        self._writer: threading.Thread | None = None

    def start(self, deaf: bool = False) -> None:
        """Start it; returns once it answers and the microphone hears, or is there and delivers nothing."""
        for last in (False, False, True):
            try:
                self._launch()
                self._wait_for(lambda: self.control("info", check=False).returncode == 0)
                break
            except (NoAnswerError, subprocess.TimeoutExpired):
                # one start in some hundreds; the servers are not what is tested
                if last:
                    raise
                self.kill()
        sink = f"module-null-sink sink_name=spk rate={SAMPLE_RATE} channels=2"
        self.sink = self.control("load-module", *sink.split()).stdout.strip()
        self.plug_in(deaf)
        self._make_default("sink", "spk")

    def _launch(self) -> None:
        options = "-n --daemonize=no --exit-idle-time=-1 --disable-shm=yes -L module-native-protocol-unix"
        self.run("pulseaudio", *options.split())

    def run(self, *command: str) -> None:
        """Start one of the server's programs; what it says goes into a file."""
        with (self.folder / f"{command[0]}.log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, cwd=self.folder)
            )

    def _said(self) -> str:
        """What its programs said last, and those that ended."""
        ended = [f"{process.args[0]} ended with {process.poll()}" for process in self.processes if process.poll()]
        logs = [f"{path.name}: {path.read_text(errors='replace')[-1000:]}" for path in self.folder.glob("*.log")]
        return "\n".join([*ended, *logs])

    def control(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run pactl."""
        command = ["pactl", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=check, timeout=20)

    def plug_in(self, deaf: bool = False) -> None:
        """Plug the microphone in; returns once it is the default one and, unless it is deaf, hears."""
        source = f"source_name=mic file={self.fifo} format=s16le rate={SAMPLE_RATE} channels=1"
        self._module = self.control("load-module", "module-pipe-source", *source.split()).stdout.strip()
        self._make_default("source", "mic")
        if not deaf:
            self.speak()

    def unplug(self) -> None:
        """Pull the microphone out."""
        self.silence()
        self.control("unload-module", self._module)
        self.fifo.unlink(missing_ok=True)

    def _make_default(self, kind: str, name: str) -> None:
        # a server answers before its devices are there
        self._wait_for(lambda: self.control(f"set-default-{kind}", name, check=False).returncode == 0)

    def _wait_for(self, condition) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            if time.monotonic() > deadline:
                raise NoAnswerError(f"the sound server does not answer\n{self._said()}")
            time.sleep(0.05)

    def say(self, samples: Samples) -> float:
        """Let the microphone hear this; how many seconds it had heard by then, to 20 ms."""
        self._to_say.put(samples)
        return self.written / SAMPLE_RATE

    def silence(self) -> None:
        """Let the microphone deliver nothing any more, as a broken one does."""
        self._feeding.clear()
        if self._writer is not None:
            self._writer.join(10)

    def speak(self) -> None:
        """Let the microphone hear again."""
        self._feeding.set()
        self._writer = threading.Thread(target=self._feed, daemon=True)
        self._writer.start()

    def _feed(self) -> None:
        noise, places = recording(1, []), random.Random(0)
        said = np.empty(0, np.int16)
        with self.fifo.open("wb", buffering=0) as pipe:
            begin, written = time.monotonic(), 0
            while self._feeding.is_set():
                if not len(said) and not self._to_say.empty():
                    said = self._to_say.get()
                    self.said.append(time.time())
                place = places.randrange(len(noise) - PIECE)  # so that no stretch of it is like another
                piece = noise[place : place + PIECE].copy()
                piece[: len(said[:PIECE])] = said[:PIECE]
                said = said[PIECE:]
                try:
                    pipe.write(piece.tobytes())
                except BrokenPipeError:
                    return
                if self.record is not None:
                    self.record.write(piece.tobytes())
                written += PIECE
                self.written += PIECE
                time.sleep(max(0.0, begin + written / SAMPLE_RATE - time.monotonic()))

    def signal(self, number: int) -> None:
        """Send a signal to all of its programs."""
        for process in self.processes:
            process.send_signal(number)

    def kill(self) -> None:
        """End it without a farewell."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes.clear()
        self.silence()
        for left_behind in ("pulse/pid", "mic.fifo", "bus", "pipewire-0"):
            (self.folder / left_behind).unlink(missing_ok=True)


class PipeWire(SoundServer):
    """A private PipeWire with its session manager and its PulseAudio front, as on today's desktops."""

    programs: ClassVar = ("pipewire", "wireplumber", "pipewire-pulse", "dbus-daemon", "pactl")
    dry: ClassVar = "digital silence from"  # it fills up with zeros
    wet: ClassVar = "sound from the microphone"

    def _launch(self) -> None:
        address = f"unix:path={self.folder}/bus"
        self.environment["DBUS_SESSION_BUS_ADDRESS"] = address
        self.run("dbus-daemon", "--session", f"--address={address}", "--nofork", "--nopidfile")
        self._wait_for((self.folder / "bus").exists)
        self.run("pipewire")
        self._wait_for((self.folder / "pipewire-0").exists)
        self.run("wireplumber")
        self.run("pipewire-pulse")


def private(kind: type[SoundServer]) -> Iterator[SoundServer]:
    """A server of this kind in a folder of its own, not started yet; skips where its programs are missing."""
    for program in kind.programs:
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    if not ctypes.util.find_library("portaudio"):
        pytest.skip("PortAudio is not installed")
    folder = Path(tempfile.mkdtemp(prefix="chimed"))  # a short path: a socket's name has 107 characters at most
    server = kind(folder)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server() -> Iterator[SoundServer]:
    """A PulseAudio that runs, with a microphone that hears soft noise."""
    for each in private(SoundServer):
        each.start()
        yield each
