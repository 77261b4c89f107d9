"""CPU time and memory of the daemon over a recording: `make bench`, or `python tests/bench.py FILE`.

The daemon is measured as it ships, a `chimed run` process that hears the recording many times over, as the
kernel accounts for it; starting up is measured on its own, over a moment of silence, and taken off. Below
it the engine alone, in this process, for blocks of several sizes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr

from model.detector import Detector
from model.frontend import FRAME, SAMPLE_RATE, Samples
from model.modelfile import Model, load, shipped

SECONDS = 120  # of audio that the daemon hears
RUNS = 3
CPU_MARK, MEMORY_MARK = 12, 80  # ms per second of audio, MB: what the project set itself
BLOCKS = (441, 1764, FRAME, 4 * FRAME)


THREADS = "OPENBLAS_NUM_THREADS"

# The kernel counts the peak of the parent's memory as its child's, up to exec: so a small parent starts it.
LAUNCHER = """
import json, os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


class Cost(NamedTuple):
    """What a process used up to its end."""

    cpu: float  # s, user and system
    memory: float  # MB, peak RSS


def cost(command: list[str]) -> Cost:
    """Run it to its end. Raises SystemExit if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != THREADS}
    launcher = [sys.executable, "-S", "-c", LAUNCHER, *command]
    done = subprocess.run(launcher, env=environment, capture_output=True, text=True, check=True)
    code, cpu, kilobytes = json.loads(done.stdout.splitlines()[-1])
    if code:
        sys.exit(f"{' '.join(command)} ended with {code}:\n{done.stdout}{done.stderr}")
    return Cost(cpu, kilobytes * 1024 / 1e6)


def bench_daemon(samples: Samples) -> None:
    """Print what the daemon costs over these samples, again and again up to 120 s."""
    chimed = str(Path(sys.executable).with_name("chimed"))
    heard = np.resize(samples, SECONDS * SAMPLE_RATE)
    with tempfile.TemporaryDirectory() as folder:
        costs = {}
        for name, audio in {"start-up": np.zeros(FRAME, np.int16), "run": heard}.items():
            path = f"{folder}/{name}.wav"
            soundfile.write(path, audio, SAMPLE_RATE)
            costs[name] = min(cost([chimed, "run", "--input", path, "--fast", "--no-chime"]) for _ in range(RUNS))
    start_up, run = costs["start-up"], costs["run"]
    cpu = (run.cpu - start_up.cpu) / SECONDS * 1000
    print(f"daemon over {SECONDS} s of audio (best of {RUNS} runs)")
    print(f"  start-up          {start_up.cpu * 1000:6.0f} ms CPU, {start_up.memory:.0f} MB")
    print(f"  listening         {cpu:6.1f} ms CPU per second of audio  {verdict(cpu, CPU_MARK, 'ms')}")
    print(f"  peak memory       {run.memory:6.1f} MB RSS                    {verdict(run.memory, MEMORY_MARK, 'MB')}")


def verdict(value: float, mark: float, unit: str) -> str:
    """Whether the mark is met, in words."""
    return f"(mark: under {mark} {unit}; {'met' if value < mark else 'MISSED'})"


def bench_engine(models: list[Model], samples: Samples) -> None:
    """Print what the detector alone costs for blocks of several sizes."""
    print(f"engine alone, {' + '.join(model.word for model in models)}")
    for block in BLOCKS:
        detector = Detector(models)
        begin = time.process_time()
        for start in range(0, len(samples), block):
            detector.push(samples[start : start + block])
        spent = (time.process_time() - begin) / len(samples) * SAMPLE_RATE
        print(f"  blocks of {block / SAMPLE_RATE * 1000:4.0f} ms  {spent * 1000:6.1f} ms CPU per second of audio")


def main() -> None:
    """Measure on the recording that the command line names."""
    if os.environ.get(THREADS) != "1":  # one thread, as in the daemon; numpy reads it when it is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {THREADS: "1"})
    audio, rate = soundfile.read(sys.argv[1], always_2d=True)
    resampled = soxr.resample(audio[:, 0], rate, SAMPLE_RATE)
    samples = np.round(resampled * 32_767).clip(-32_768, 32_767).astype(np.int16)
    bench_daemon(samples)
    bench_engine([load(path) for path in shipped().values()], np.resize(samples, 30 * SAMPLE_RATE))


if __name__ == "__main__":
    main()
