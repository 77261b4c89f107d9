"""The daemon at a microphone, a real PulseAudio's: `python -m tests.bench.latency [TIMES [SECONDS]]`.

How long it takes from the start of the command until it listens, and from the end of a word to the start of the hook,
so many times; and what so many seconds of a quiet room cost, and how often threads wake in them.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from model.frontend import SAMPLE_RATE
from tests.support import soundserver
from tests.support.chimed import Chimed, user_environment
from tests.support.paths import DATA
from tests.support.soundserver import SoundServer, private

RECORDING = DATA / "activate-demo.flac"
TIMES = 5
QUIET = 20  # s
LOOP = "the daemon's loop"
PIECE = 3528  # samples, 80 ms: a server that hands on less at once wakes its clients more often


def threads(process: int) -> dict[str, tuple[str, int, float]]:
    """Thread -> name, how often it has waited and was woken, CPU s."""
    found = {}
    for task in Path(f"/proc/{process}/task").iterdir():
        waits = re.search(r"^voluntary_ctxt_switches:\t(\d+)", (task / "status").read_text(), re.MULTILINE)
        name = (task / "comm").read_text().strip()
        nanoseconds = int((task / "schedstat").read_text().split()[0])
        found[task.name] = (name, int(waits[1]) if waits else 0, nanoseconds / 1e9)
    return found


def quiet_room(seconds: float) -> list[tuple[str, float, float]]:
    """Threads that woke while the microphone heard soft noise: name, wakes per second, CPU ms per second."""
    folder = Path(tempfile.mkdtemp(prefix="chimed"))
    rates, usual = [], soundserver.PIECE
    soundserver.PIECE = PIECE
    for server in private(SoundServer):
        server.start()
        chimed = Chimed(["run", "--no-chime"], user_environment(folder) | server.variables, stdin=-3)
        try:
            chimed.wait_for("listening to")
            time.sleep(3)
            before, begin = threads(chimed.process.pid), time.monotonic()
            time.sleep(seconds)
            after, passed = threads(chimed.process.pid), time.monotonic() - begin
        finally:
            chimed.process.kill()
            chimed.process.wait()
            soundserver.PIECE = usual
        for number, (name, waits, cpu) in after.items():
            _, waits_before, cpu_before = before.get(number, ("", 0, 0.0))
            if waits > waits_before:
                label = LOOP if number == str(chimed.process.pid) else f"audio library ({name})"
                rates.append((label, (waits - waits_before) / passed, (cpu - cpu_before) / passed * 1000))
    shutil.rmtree(folder, ignore_errors=True)
    return rates


def ready(times: int = TIMES) -> list[float]:
    """Start the daemon so often at a virtual microphone -> s until it says that it listens, by the clock."""
    folder = Path(tempfile.mkdtemp(prefix="chimed"))
    environment = user_environment(folder)
    found = []
    for server in private(SoundServer):
        server.start()
        for _ in range(times):
            begin = time.monotonic()
            chimed = Chimed(["run", "--no-chime"], environment | server.variables, stdin=-3)
            try:
                chimed.wait_for("listening to")
                found.append(time.monotonic() - begin)
            finally:
                chimed.process.kill()
                chimed.process.wait()
    shutil.rmtree(folder, ignore_errors=True)
    return found


def latencies(times: int = TIMES) -> list[float]:
    """Play the recording so often into a virtual microphone -> s from each word's end to its hook."""
    samples, rate = soundfile.read(RECORDING, dtype="int16", always_2d=True)
    assert rate == SAMPLE_RATE
    ends = json.loads(RECORDING.with_suffix(".json").read_text())["word_ends_at_seconds"]
    folder = Path(tempfile.mkdtemp(prefix="chimed"))
    environment = user_environment(folder)
    fired = folder / "fired"
    config = folder / "config.yaml"
    config.write_text(f"chime: false\nhooks:\n  - date +%s.%N >>{fired}\n")
    found = []
    for server in private(SoundServer):
        server.start()
        chimed = Chimed(["run", "--config", config], environment | server.variables, stdin=-3)
        try:
            chimed.wait_for("listening to")
            time.sleep(3)
            for _ in range(times):
                server.say(samples[:, 0])
                time.sleep(len(samples) / SAMPLE_RATE + 2)
                begin = server.said[-1]
                hooks = [float(line) for line in fired.read_text().split()] if fired.exists() else []
                found += [
                    next(at - begin - end for at in hooks if -0.5 < at - begin - end < 2)
                    for end in ends
                    if any(-0.5 < at - begin - end < 2 for at in hooks)
                ]
        finally:
            chimed.process.kill()
            chimed.process.wait()
    shutil.rmtree(folder, ignore_errors=True)
    return found


def main() -> None:
    """Print the median and the spread."""
    print("latency, and a quiet room", file=sys.stderr)
    times = int(sys.argv[1]) if len(sys.argv) > 1 else TIMES
    try:
        found = latencies(times)
    except pytest.skip.Exception as missing:
        print(f"latency through PulseAudio left out: {missing}")
        return
    starts = np.sort(ready(times)) * 1000
    print(
        f"from the command's start until it listens to PulseAudio, {times} starts: "
        f"{starts[0]:.0f} to {starts[-1]:.0f} ms, median {np.median(starts):.0f} ms (mark: 700 ms)"
    )
    low, median, high = np.percentile(found, [10, 50, 90]) * 1000
    print(f"from the word's end to the hook's start, {len(found)} of {3 * times} words heard through PulseAudio:")
    print(f"  median {median:.0f} ms, 10 % below {low:.0f} ms, 10 % above {high:.0f} ms (mark: 250 ms)")
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else QUIET
    print(f"\n| in a quiet room, {seconds:g} s; blocks come 12.5 times a second | wakes per s | CPU ms per s |")
    print("| --- | --- | --- |")
    for name, wakes, cpu in quiet_room(seconds):
        print(f"| {name} | {wakes:.1f} | {cpu:.1f} |")


if __name__ == "__main__":
    main()
