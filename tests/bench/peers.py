"""chimed beside other engines on the same recording, in turns: what each costs relative to chimed with one word."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from model.frontend import SAMPLE_RATE, Samples
from tests.bench.engines import BLOCK
from tests.make.demo import SCRIPT, SEED, loudest, room, speak

WORKER = Path(__file__).with_name("engines.py")
CONTENDERS = [
    ("chimed", 1),
    ("chimed", 4),
    ("pymicro-wakeword", 1),
    ("pymicro-wakeword", 4),
    ("pyopen-wakeword", 1),
    ("pyopen-wakeword", 4),
    ("Keras on the window", 1),
]
SLOW = {"Keras on the window": 3.0, "pyopen-wakeword": 5.0}  # s of it heard in a round; all of it in the first
OTHERS_WORD, VOICES = "alexa", ("en-us", "en-gb+m3", "en-us+f2")
LIVE = 5.0  # s of it heard in a round at the pace of live audio
LATEST = 1.5  # s after a word's end at which a detection still is of that word


@dataclass
class Result:
    """One engine. cpu: ms per second of audio in each round; latencies: s from the word's end to the block's end."""

    name: str
    words: int
    start_cpu: float = 0.0  # s until the first block was heard
    start_wall: float = 0.0  # s
    memory: float = 0.0  # MB, peak RSS
    cpu: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)  # the same with a block every 80 ms, when caches have gone cold
    latencies: list[float] = field(default_factory=list)
    spoken: int = 0  # how often its word is said

    @property
    def label(self) -> str:
        """What it is called in tables."""
        return f"{self.name}, {self.words} word{'s'[: self.words > 1]}"


@dataclass(frozen=True)
class Recording:
    """samples: int16 at 44.1 kHz; ends: our word and then the others' -> where it ends each time, in s."""

    samples: Samples
    ends: dict[str, list[float]]


def compose(samples: Samples, ends: dict[str, list[float]]) -> Recording:
    """The recording and after it the word of the other engines, as several synthetic voices say it."""
    parts, position = [np.asarray(samples, np.int16)], len(samples)
    ends = {**ends, OTHERS_WORD: []}
    pause = np.zeros(SAMPLE_RATE)
    if not shutil.which("espeak-ng"):
        print(f"nobody says {OTHERS_WORD!r}: espeak-ng is not installed")
        return Recording(parts[0], ends)
    for number, voice in enumerate(VOICES):
        word = speak(voice, 140, OTHERS_WORD)
        level = 10 ** (SCRIPT[1][2] / 20) / loudest(word)
        said = room(np.concatenate((pause, word * level, pause)), np.random.default_rng(SEED + number))
        ends[OTHERS_WORD].append((position + len(pause) + len(word)) / SAMPLE_RATE)
        parts.append(np.round(said * 32_767).clip(-32_768, 32_767).astype(np.int16))
        position += len(said)
    return Recording(np.concatenate(parts), ends)


class _Worker:
    """An engine in a process of its own."""

    def __init__(self, result: Result, file: str, recording: Recording) -> None:
        self._result, self._recording = result, recording
        environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, str(WORKER), result.name, str(result.words), file]
        begin = time.monotonic()
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        ready = self._answer()
        result.start_wall, result.start_cpu = time.monotonic() - begin, ready["cpu"]

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise RuntimeError(self.process.stderr.read().strip().splitlines()[-1])
        answer: dict[str, Any] = json.loads(line)
        return answer

    def hear(self, whole: bool) -> None:
        """A round; `whole`: also note when it heard its word."""
        seconds = len(self._recording.samples) / SAMPLE_RATE
        if not whole:
            seconds = min(seconds, SLOW.get(self._result.name, seconds))
        answer = self._ask(seconds, 0)
        if whole:  # and warm up
            self._note(answer["heard"])
        else:
            self._result.cpu.append(answer["cpu"] * 1000)
        self._result.memory = answer["memory"]

    def hear_live(self) -> None:
        """A round at the pace of live audio."""
        self._result.live.append(self._ask(LIVE, BLOCK)["cpu"] * 1000)

    def _ask(self, seconds: float, pause: float) -> dict[str, Any]:
        assert self.process.stdin is not None
        print(seconds, pause, file=self.process.stdin, flush=True)
        return self._answer()

    def _note(self, heard: list[tuple[str, float]]) -> None:
        ours, theirs = self._recording.ends  # in this order
        word = theirs if self._result.name.startswith("py") else ours
        times = [at for name, at in heard if name == word]
        for end in self._recording.ends[word]:
            self._result.spoken += 1
            # where one fires before the word ends, that counts, and as negative
            first = next((at for at in times if end - 0.5 < at < end + LATEST), None)
            if first is not None:
                self._result.latencies.append(first - end)


@contextmanager
def _worker(result: Result, file: str, recording: Recording) -> Iterator[_Worker | None]:
    try:
        worker = _Worker(result, file, recording)
    except RuntimeError as error:
        print(f"left out: {result.label} ({error})")
        yield None
        return
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.communicate()


def compare(recording: Recording, rounds: int) -> list[Result]:
    """All engines that are installed, in turns, so that each round sees the machine in one mood."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        low = soxr.resample(recording.samples.astype(np.float32), SAMPLE_RATE, 16_000)
        file = f"{folder}/recording.npz"
        np.savez(file, **{"44100": recording.samples, "16000": low.clip(-32_768, 32_767).astype(np.int16)})
        running = []
        for name, words in CONTENDERS:
            result = Result(name, words)
            worker = stack.enter_context(_worker(result, file, recording))
            if worker is not None:
                running.append((result, worker))
        for number in range(rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr)
            for _, worker in running if number % 2 else running[::-1]:
                worker.hear(whole=number == 0)
        for number in range(max(3, rounds // 5)):
            print(f"at the pace of live audio: round {number + 1}", file=sys.stderr)
            for _, worker in running:
                worker.hear_live()
    return [result for result, _ in running]


def ratios(result: Result, to: Result) -> tuple[float, float, float]:
    """Quartiles of the ratio of CPU time, round by round: lower, median, upper."""
    lower, median, upper = np.percentile(np.array(result.cpu) / np.array(to.cpu), [25, 50, 75])
    return float(lower), float(median), float(upper)


def table(results: list[Result]) -> str:
    """The results in Markdown."""
    heads = ["engine", "CPU ms per s of audio", "times chimed (quartiles)", "a block every 80 ms", "peak RSS, MB"]
    heads += ["ready after, CPU ms (wall)", "its word: heard, median latency"]
    rows = [heads, ["---"] * len(heads)]
    for result in results:
        lower, median, upper = ratios(result, results[0])
        latency = f", {np.median(result.latencies) * 1000:+.0f} ms" if result.latencies else ""
        rows.append(
            [
                result.label,
                f"{np.median(result.cpu):.1f}",
                f"{median:.2f} ({lower:.2f} to {upper:.2f})",
                f"{np.median(result.live):.1f}",
                f"{result.memory:.0f}",
                f"{result.start_cpu * 1000:.0f} ({result.start_wall * 1000:.0f})",
                f"{len(result.latencies)} of {result.spoken}{latency}",
            ]
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
