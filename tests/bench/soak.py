"""Hours of audio through a real `chimed run`: `make soak`, or `python -m tests.bench.soak --hours 24 [--real-time]`.

Faster than real time, a made-up stream (a room's noise, and words in it) goes through a pipe. What the daemon hears
is compared with scoring the same samples in one piece: every detection, at the very sample. In real time the stream
goes through a private PulseAudio, what the microphone gets is kept, and after each time that words are said the
daemon is asked for the last half second: it must be what was said, at the very place in the stream that it has
counted, or samples were lost on the way. At the end its detections are compared with scoring what was kept. In both
the daemon's memory must stay flat. Exits with 1 if anything of that fails.
"""

from __future__ import annotations

import argparse
import base64
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from daemon.control.client import ask
from model.detector import Detection, Detector
from model.frontend import SAMPLE_RATE, Samples
from model.modelfile import load, shipped
from tests.support.paths import DATA

WORDS = DATA / "activate-demo.flac"
PIECE = 60  # s of stream that are made at once
SETTLED = 120  # s of audio after which memory must not grow
GROWTH = 2.0  # MB that it may
PROBE = SAMPLE_RATE // 2  # samples that the daemon is asked for
SEARCHED = 30 * SAMPLE_RATE  # samples, the last ones said, among which they must be


@dataclass
class Report:
    """What was found. memory: MB by seconds heard; wrong: what must not be."""

    memory: list[tuple[float, float]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)  # log lines
    wrong: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        """What the log says was heard."""
        return [line.partition("heard ")[2] for line in self.heard if 'heard "' in line]

    def difference(self, expected: list[Detection]) -> str:
        """The first that differs among those that both have by now."""
        pairs = zip(self.told(), map(as_logged, expected), strict=False)
        return next((f"{one}, not {other}" for one, other in pairs if one != other), "")

    def check_memory(self) -> str:
        """Note growth beyond the first minutes; a line about it."""
        settled = [size for second, size in self.memory if second >= SETTLED] or [self.memory[-1][1]]
        if max(settled) - settled[0] > GROWTH:
            self.wrong.append(f"memory grew from {settled[0]:.1f} to {max(settled):.1f} MB")
        return f"memory {settled[0]:.1f} MB after {SETTLED} s, {settled[-1]:.1f} at the end, {max(settled):.1f} at most"


def as_logged(detection: Detection) -> str:
    """As the daemon's log puts it."""
    return f'"{detection.word}" score {detection.score:.2f} at {detection.seconds:.2f} s'


def stream(seconds: int) -> Iterator[Samples]:
    """The stream, a minute at a time: noise, now strong, now weak, and in each minute the words, now loud, now soft."""
    words, _ = soundfile.read(WORDS, dtype="int16")
    for minute in range(seconds // PIECE):
        random_numbers = np.random.default_rng(minute)
        samples = random_numbers.normal(0, 10 ** random_numbers.uniform(0.5, 2.5), PIECE * SAMPLE_RATE)
        piece = words[: random_numbers.integers(SAMPLE_RATE, len(words))] * 10 ** random_numbers.uniform(-1.5, 0)
        first = random_numbers.integers(0, len(samples) - len(piece))
        samples[first : first + len(piece)] += piece
        yield samples.clip(-32_768, 32_767).astype(np.int16)


def rss(pid: int) -> float:
    """What a process holds of the machine's memory, MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def start(arguments: list[str], environment: dict[str, str], stdin: int) -> subprocess.Popen[bytes]:
    """A daemon that hears the word that comes with chimed."""
    command = [sys.executable, "-m", "daemon.cli", "run", "--no-chime", *arguments]
    return subprocess.Popen(command, env=environment, stdin=stdin, stderr=subprocess.PIPE)


def follow(process: subprocess.Popen[bytes], report: Report) -> threading.Thread:
    """Collect its log."""

    def read() -> None:
        assert process.stderr is not None
        report.heard.extend(line.decode().rstrip() for line in process.stderr)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread


def fast(seconds: int, say=print) -> Report:
    """As fast as it can."""
    report = Report()
    detector = Detector([load(path) for path in shipped().values()])
    process = start(["--input", "-", "--fast"], dict(os.environ), subprocess.PIPE)
    log = follow(process, report)
    assert process.stdin is not None
    expected, begin, fed = [], time.monotonic(), 0
    for samples in stream(seconds):
        process.stdin.write(samples.tobytes())
        expected += detector.push(samples)
        fed += PIECE
        report.memory.append((fed, rss(process.pid)))
        if fed % 600 == 0:
            rate = fed / (time.monotonic() - begin)
            say(f"{fed / 3_600:.2f} h, {len(expected)} heard, {report.memory[-1][1]:.1f} MB, {rate:.0f} x real time")
            if report.difference(expected):  # no need to wait for the end of the day
                break
    expected += detector.flush()
    process.stdin.close()
    if process.wait(600):
        report.wrong.append(f"it ended with {process.returncode}")
    log.join(60)
    told, should = report.told(), list(map(as_logged, expected))
    say(f"{len(told)} detections, {len(should)} by scoring the samples in one piece")
    if told != should:
        report.wrong.append(f"detections differ: {report.difference(expected) or 'in their number'}")
    if not should:
        report.wrong.append("the stream holds no word that can be heard")
    if f"{fed:.1f} s, {len(should)} heard" not in report.heard[-1]:
        report.wrong.append(f"not all was heard: {report.heard[-1]}")
    say(report.check_memory())
    return report


def real_time(seconds: int, say=print) -> Report:
    """Through a PulseAudio of its own, at the pace of a microphone."""
    from tests.support.soundserver import SoundServer, private

    report = Report()
    words, _ = soundfile.read(WORDS, dtype="int16")
    places: list[int] = []  # where in what was kept the daemon's stream begins, by each probe
    for server in private(SoundServer):
        with (server.folder / "said").open("wb") as server.record:
            server.start()
            process = start([], {**os.environ, **server.variables}, subprocess.DEVNULL)
            log = follow(process, report)
            begin, control = time.monotonic(), server.folder / "chimed" / "control.sock"
            time.sleep(3)
            while time.monotonic() - begin < seconds:
                server.say(words)
                time.sleep(len(words) / SAMPLE_RATE + random.uniform(2, 20))
                report.memory.append((time.monotonic() - begin, rss(process.pid)))
                places.append(place(control, server.record))
                if len(places) % 40 == 0:
                    heard = len(report.told())
                    say(f"{report.memory[-1][0] / 3_600:.2f} h, {heard} heard, {report.memory[-1][1]:.1f} MB")
            status = ask(control, "status")
            busy = sum(os.times()[2:4])
            process.terminate()
            process.wait(20)
            log.join(20)
            server.record = None  # the server goes on for a moment, and the file is closed here
            say(f"{(sum(os.times()[2:4]) - busy) / (time.monotonic() - begin) * 100:.1f} % of a core")
        expected = scored(server.folder / "said", places[0], round(status["heard"] * SAMPLE_RATE))
    report.wrong += [line for line in report.heard if "warning" in line or "error" in line]
    say(f"dropped blocks: {status['dropped_blocks']}, gaps: {status['gaps']}")
    if status["gaps"] or status["dropped_blocks"]:
        report.wrong.append("audio was lost")
    say(f"asked {len(places)} times: the stream began at {sorted(set(places))} of what was said")
    if len(set(places)) > 1 or places[0] < 0:
        report.wrong.append("the sample position drifts from what was said")
    told, should = report.told(), list(map(as_logged, expected))
    say(f"{len(told)} detections, {len(should)} by scoring what was said in one piece")
    if told[: len(should)] != should or len(told) - len(should) not in (0, 1) or not should:
        report.wrong.append(f"detections differ: {report.difference(expected) or 'in their number'}")
    say(report.check_memory())
    return report


def place(control: Path, kept: BinaryIO) -> int:
    """Where in what was said the daemon's stream begins, if what it has heard last is where it must be; else -1."""
    heard = ask(control, "window")["heard"]
    answer = ask(control, "samples", **{"from": heard - PROBE, "to": heard})
    probe = base64.b64decode(answer["pcm"])
    kept.flush()
    with Path(kept.name).open("rb") as file:
        first = max(0, file.seek(0, os.SEEK_END) // 2 - SEARCHED)
        file.seek(2 * first)
        found = file.read().find(probe)
    return first + found // 2 - answer["from"] if found >= 0 and len(probe) else -1


def scored(file: Path, begin: int, count: int) -> list[Detection]:
    """What is heard in so many samples of this file, from there on."""
    detector = Detector([load(path) for path in shipped().values()])
    samples = np.memmap(file, "<i2", "r")[max(0, begin) :][:count]
    detections = []
    for start in range(0, len(samples), PIECE * SAMPLE_RATE):
        detections += detector.push(np.array(samples[start : start + PIECE * SAMPLE_RATE]))
    return detections


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--real-time", action="store_true")
    args = parser.parse_args()
    begin = time.monotonic()
    report = (real_time if args.real_time else fast)(int(args.hours * 60) * PIECE)
    print(f"{args.hours:g} h in {(time.monotonic() - begin) / 60:.1f} min")
    for line in report.wrong:
        print(f"WRONG: {line}")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
