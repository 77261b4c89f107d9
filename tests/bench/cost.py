"""What chimed costs, alone and beside other engines: `make bench`, or `python -m tests.bench.cost FILE`.

The daemon is measured as it ships, a `chimed run` process that hears the recording many times over, as 16-bit samples
like those of a microphone, as the kernel accounts for it; starting up is measured on its own, over a moment of silence,
and taken off. So is `chimed detect` over a long recording. Then `bench_peers` sets other engines beside it, and
`bench_scale` says what more words, streams and longer blocks cost. Tables are Markdown, to paste into
docs/benchmarks.md; progress goes to stderr.
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

import numpy as np
import soundfile
import soxr

from model.frontend import FRAME, SAMPLE_RATE, Samples
from model.modelfile import load, shipped
from tests.bench import peers as bench_peers
from tests.bench import scale as bench_scale

SECONDS = 120  # of audio that the daemon hears
RUNS = 3
CPU_MARK, MEMORY_MARK = 5, 48  # ms per second of audio, MB: what the project set itself
WORDS_MARK, DETECT_MARK = 3, 100  # times one word for four; times faster than real time

THREADS = "OPENBLAS_NUM_THREADS"

# The kernel counts the peak of the parent's memory as its child's, up to exec: so a small parent starts it.
LAUNCHER = """
import json, os, sys
stdin = [(os.POSIX_SPAWN_OPEN, 0, sys.argv[1], os.O_RDONLY, 0)]
pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=stdin)
_, status, usage = os.wait4(pid, 0)
print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, usage.ru_maxrss]))
"""


class Cost(NamedTuple):
    """What a process used up to its end."""

    cpu: float  # s, user and system
    memory: float  # MB, peak RSS


def cost(command: list[str], stdin: str = os.devnull) -> Cost:
    """Run it to its end, with this file as its standard input. Raises SystemExit if it fails."""
    environment = {name: value for name, value in os.environ.items() if name != THREADS}
    launcher = [sys.executable, "-S", "-c", LAUNCHER, stdin, *command]
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
            path = Path(folder, name)
            path.write_bytes(audio.astype("<i2").tobytes())
            command = [chimed, "run", "--input", "-", "--fast", "--no-chime"]
            costs[name] = min(cost(command, str(path)) for _ in range(RUNS))
    start_up, run = costs["start-up"], costs["run"]
    cpu = (run.cpu - start_up.cpu) / SECONDS * 1000
    print(f"| `chimed run` over {SECONDS} s of audio, best of {RUNS} | measured | mark |\n| --- | --- | --- |")
    print(f"| CPU per second of audio | {cpu:.1f} ms | {verdict(cpu, CPU_MARK, 'ms')} |")
    print(f"| peak RSS | {run.memory:.1f} MB | {verdict(run.memory, MEMORY_MARK, 'MB')} |")
    print(f"| CPU until it listens | {start_up.cpu * 1000:.0f} ms, {start_up.memory:.0f} MB | |")


def bench_detect(samples: Samples, minutes: int) -> None:
    """Print what `chimed detect` costs over so many minutes of audio, and over a tenth of them."""
    chimed = str(Path(sys.executable).with_name("chimed"))
    costs = []
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (minutes * 6, minutes * 60):
            path = f"{folder}/{seconds}.wav"
            with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1, "PCM_16") as file:
                for _ in range(0, seconds * SAMPLE_RATE, len(samples)):
                    file.write(samples)
            costs.append(cost([chimed, "detect", path]))
    short, long = costs
    speed = minutes * 60 / long.cpu
    mark = f"{DETECT_MARK} times: {'met' if speed >= DETECT_MARK else 'MISSED'}"
    print(f"| `chimed detect` over {minutes} minutes | {long.cpu:.1f} s of CPU, {speed:.0f} times real time | {mark} |")
    print(f"| its peak RSS; that over a tenth of them | {long.memory:.1f} MB; {short.memory:.1f} MB | |")


def verdict(value: float, mark: float, unit: str) -> str:
    """Whether the mark is met, in words."""
    return f"{mark} {unit}: {'met' if value <= mark else 'MISSED'}"


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
        if kind != "ms in a block":
            place.plot(counts, quartiles[1][0] * np.array(counts) / counts[0], ":", color="gray", label="linear")
            place.legend(frameon=False)
        place.set(xlabel=kind, ylim=(0, None))
    axes[1].set_ylabel("CPU ms per s of audio")
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
    print(f"{machine()}\n")
    bench_daemon(samples)
    bench_detect(samples, 60 if arguments.long else 10)
    print("\nBeside other engines:\n")
    peers = bench_peers.compare(bench_peers.compose(samples, {word: ends}), rounds)
    print(bench_peers.table(peers))
    times = bench_peers.ratios(peers[1], peers[0])[1]
    print(f"\nfour words cost {times:.2f} times one (mark: {verdict(times, WORDS_MARK, 'times')})")
    print("\nMore of it:\n")
    model = load(path)
    scale = bench_scale.measure(model, samples, 3 * rounds)
    print(bench_scale.table(scale))
    carried = 2000 * 64 / float(np.median(scale["streams", 64]))
    print(f"\ntwo cores carry {carried:.0f} streams of one word, at what 64 cost on one")
    minutes = 60 if arguments.long else 3
    hours = bench_scale.hours(model, samples, minutes)
    print(f"\none stream of {minutes} minutes, tenth by tenth: {' '.join(f'{cost:.1f}' for cost in hours)} ms")
    if arguments.plot:
        plot(arguments.plot, peers, scale, hours)


if __name__ == "__main__":
    main()
