"""What chimed costs, alone and beside other engines: `make bench`, or `python tests/bench.py FILE`.

The daemon is measured as it ships, a `chimed run` process that hears the recording many times over, as the
kernel accounts for it; starting up is measured on its own, over a moment of silence, and taken off. Then
`bench_peers` sets other engines beside it, and `bench_scale` says what more words, streams and longer blocks cost.
Whatever is compared runs in turns, and each turn's ratio counts: a busy machine slows both sides of it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import bench_peers
import bench_scale
import numpy as np
import soundfile
import soxr

from model.frontend import FRAME, SAMPLE_RATE, Samples
from model.modelfile import load, shipped

SECONDS = 120  # of audio that the daemon hears
RUNS = 3
CPU_MARK, MEMORY_MARK = 5, 48  # ms per second of audio, MB: what the project set itself

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


def machine() -> str:
    """What this ran on, and how busy that was."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    cpu = found[1] if found else platform.machine()
    load_average = os.getloadavg()[0]
    versions = f"Python {platform.python_version()}, numpy {np.__version__}"
    return f"{cpu}, {os.cpu_count()} cores, load average {load_average:.1f}; {versions}"


def plot(path: str, peers: list[bench_peers.Result], scale: bench_scale.Costs, hours: list[float]) -> None:
    """Draw all of it."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 5, figsize=(15, 3.2), layout="constrained", width_ratios=[2, 1, 1, 1, 1])
    bars = axes[0].barh([peer.label for peer in peers], [float(np.median(peer.cpu)) for peer in peers])
    axes[0].bar_label(bars, fmt="%.1f", padding=3)
    axes[0].set(xscale="log", xlabel="CPU ms per s of audio", title="one recording, in turns")
    axes[0].margins(x=0.3)
    axes[0].invert_yaxis()
    for place, kind in zip(axes[1:], ("words", "streams", "ms in a block"), strict=False):
        counts = [count for name, count in scale if name == kind]
        quartiles = np.array([np.percentile(scale[kind, count], [25, 50, 75]) for count in counts]).T
        place.plot(counts, quartiles[1], "o-")
        place.fill_between(counts, quartiles[0], quartiles[2], alpha=0.3)
        place.set(xlabel=kind, ylim=(0, None))
    axes[4].plot(np.linspace(0.1, 1, 10), hours, "o-")
    axes[4].set(xlabel="share of one long stream", ylim=(0, None))
    figure.savefig(path, dpi=80)


def main() -> None:
    """Measure on the recording that the command line names."""
    parser = argparse.ArgumentParser(description="What chimed costs, alone and beside other engines.")
    parser.add_argument("recording", help="of the shipped word; beside it a .json that says where the word ends")
    parser.add_argument("--long", action="store_true", help="more rounds, an hour of audio in one stream")
    parser.add_argument("--plot", metavar="PNG", help="draw it too")
    arguments = parser.parse_args()
    if os.environ.get(THREADS) != "1":  # one thread, as in the daemon; numpy reads it when it is imported
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {THREADS: "1"})
    audio, rate = soundfile.read(arguments.recording, always_2d=True)
    resampled = soxr.resample(audio[:, 0], rate, SAMPLE_RATE)
    samples = np.round(resampled * 32_767).clip(-32_768, 32_767).astype(np.int16)
    word, path = next(iter(shipped().items()))
    ends = json.loads(Path(arguments.recording).with_suffix(".json").read_text())["word_ends_at_seconds"]
    rounds = 30 if arguments.long else 6
    print(machine())
    bench_daemon(samples)
    print("\nbeside other engines\n")
    peers = bench_peers.compare(bench_peers.compose(samples, {word: ends}), rounds)
    print(bench_peers.table(peers))
    print("\nmore of it\n")
    model = load(path)
    scale = bench_scale.measure(model, samples, 3 * rounds)
    print(bench_scale.table(scale))
    minutes = 60 if arguments.long else 3
    hours = bench_scale.hours(model, samples, minutes)
    print(f"\none stream of {minutes} minutes, tenth by tenth: {' '.join(f'{cost:.1f}' for cost in hours)} ms")
    if arguments.plot:
        plot(arguments.plot, peers, scale, hours)


if __name__ == "__main__":
    main()
