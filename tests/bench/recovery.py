"""How long after a microphone is back the daemon hears it, on real sound servers: `python -m tests.bench.recovery`.

Each fault is made and mended several times, after a wait of random length, and the time is taken from the moment at
which the microphone delivers until the daemon's level says so. Prints a table; exits with 1 if the longest is over 5 s.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.control.client import ControlError, ask
from model import modelfile
from tests.support.chimed import Chimed, tone_model
from tests.support.soundserver import PipeWire, SoundServer, private

LIMIT = 5.0  # s
AUDIBLE = -70.0  # dBFS; the microphone's noise has -55
PATIENCE = 60.0  # s
WAIT = (1.0, 14.0)  # s that a fault lasts


@dataclass(frozen=True)
class Fault:
    """What breaks and what mends a server."""

    name: str
    breaks: Callable[[SoundServer], object]
    mends: Callable[[SoundServer], object]


def unplug_all(server: SoundServer) -> None:
    """Pull out the microphone, and leave none."""
    server.control("unload-module", server.sink)
    server.unplug()


FAULTS = (
    Fault("the server is killed and started again", SoundServer.kill, SoundServer.start),
    Fault("the microphone is pulled out, others are there", SoundServer.unplug, SoundServer.plug_in),
    Fault("the only microphone is pulled out", unplug_all, SoundServer.plug_in),
    Fault("the microphone delivers nothing for a while", SoundServer.silence, SoundServer.speak),
    Fault(
        "the server hangs for a while",
        lambda server: server.signal(signal.SIGSTOP),
        lambda server: server.signal(signal.SIGCONT),
    ),
)


def hears(server: SoundServer) -> bool:
    """Whether the daemon has sound just now."""
    try:
        status = ask(server.folder / "chimed" / "control.sock", "status")
    except ControlError:
        return False
    return status["level"] is not None and status["level"] > AUDIBLE


def seconds_until_it_hears(server: SoundServer) -> float:
    """How long it takes."""
    begin = time.monotonic()
    while not hears(server):
        if time.monotonic() - begin > PATIENCE:
            raise TimeoutError(f"nothing is heard within {PATIENCE:g} s")
        time.sleep(0.02)
    return time.monotonic() - begin


@contextmanager
def listening(server: SoundServer, model: Path) -> Iterator[Chimed]:
    """A daemon at this server."""
    chimed = Chimed(["run", "--model", model, "--no-chime"], os.environ | server.variables, subprocess.DEVNULL)
    try:
        yield chimed
    finally:
        chimed.process.kill()
        chimed.process.wait()


def measure(kind: type[SoundServer], fault: Fault, model: Path) -> float:
    """Seconds from the device's return until it is heard."""
    for server in private(kind):
        server.start()
        with listening(server, model):
            seconds_until_it_hears(server)
            fault.breaks(server)
            time.sleep(random.uniform(*WAIT))
            fault.mends(server)
            return seconds_until_it_hears(server)
    raise AssertionError


def measure_start(kind: type[SoundServer], deaf: bool, model: Path) -> float:
    """The same where the daemon is there before the server, or before its microphone delivers."""
    for server in private(kind):
        if deaf:
            server.start(deaf=True)
        with listening(server, model) as chimed:
            chimed.wait_for(server.dry if deaf else "trying again")
            time.sleep(random.uniform(*WAIT))
            if deaf:
                server.speak()
            else:
                server.start()
            return seconds_until_it_hears(server)
    raise AssertionError


def main() -> int:
    """Measure all, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder, "beep.npz")
        modelfile.save(model, tone_model())
        measures: dict[str, Callable[[type[SoundServer]], float]] = {
            fault.name: lambda kind, fault=fault: measure(kind, fault, model) for fault in FAULTS
        }
        measures["started before the server"] = lambda kind: measure_start(kind, False, model)
        measures["the microphone delivers nothing at first"] = lambda kind: measure_start(kind, True, model)
        print("| fault | server | median, s | longest, s |\n| --- | --- | --- | --- |")
        for name, each in measures.items():
            for kind in (SoundServer, PipeWire):
                took = sorted(each(kind) for _ in range(rounds))
                worst = max(worst, took[-1])
                server = "PipeWire" if kind is PipeWire else "PulseAudio"
                print(f"| {name} | {server} | {took[len(took) // 2]:.1f} | {took[-1]:.1f} |", flush=True)
    return worst > LIMIT


if __name__ == "__main__":
    sys.exit(main())
