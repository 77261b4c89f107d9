"""What chimed costs as there is more of something: words, streams, longer blocks, longer recordings."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable

import numpy as np

from model.detector import Detector, Spotter
from model.frontend import SAMPLE_RATE, Samples
from model.modelfile import Model
from model.network import Network, Weights

WORDS = (1, 2, 4, 8)
STREAMS = (1, 4, 16, 64)
BLOCKS_MS = (20, 40, 80, 120, 160, 200)

Task = Callable[[Samples], None]  # hears a second of audio
Costs = dict[tuple[str, int], list[float]]  # (of what, how many) -> CPU ms per second of audio in each round


def copies(model: Model, count: int) -> list[Model]:
    """So many words of the same network, each with weights of its own in memory."""

    def copy(number: int) -> Model:
        weights = Weights(**{name: array.copy() for name, array in model.weights.as_dict().items()})
        return dataclasses.replace(model, word=f"{model.word} {number}", weights=weights)

    return [copy(number) for number in range(count)]


def detecting(push: Callable[[Samples], object], block: int) -> Task:
    """Hear a second in blocks of so many samples."""

    def hear(second: Samples) -> None:
        for start in range(0, len(second), block):
            push(second[start : start + block])

    return hear


def streaming(model: Model, count: int) -> Task:
    """Hear a second in each of so many streams, a block of each in turn."""
    networks = [Network(model.weights)]
    spotters = [Spotter([model], networks) for _ in range(count)]

    def hear(second: Samples) -> None:
        for start in range(0, len(second), 3528):
            for spotter in spotters:
                spotter.push(second[start : start + 3528])

    return hear


def tasks(model: Model) -> dict[tuple[str, int], Task]:
    """What is measured: (of what, how many) -> task."""
    found: dict[tuple[str, int], Task] = {}
    for count in WORDS:
        found["words", count] = detecting(Detector(copies(model, count)).push, 3528)
    for count in STREAMS:
        found["streams", count] = streaming(model, count)
    for length in BLOCKS_MS:
        found["ms in a block", length] = detecting(Detector([model]).push, length * SAMPLE_RATE // 1000)
    return found


def measure(model: Model, samples: Samples, rounds: int) -> Costs:
    """CPU ms per second of audio in each round; each round hears one second with every task in turn."""
    chosen = tasks(model)
    costs: Costs = {key: [] for key in chosen}
    seconds = samples[: len(samples) // SAMPLE_RATE * SAMPLE_RATE].reshape(-1, SAMPLE_RATE)
    for number in range(rounds + 1):
        if number % 6 == 0:
            print(f"scale: round {number} of {rounds}", file=sys.stderr)
        second = seconds[number % len(seconds)]
        for key, hear in chosen.items():
            begin = time.process_time()
            hear(second)
            costs[key].append((time.process_time() - begin) * 1000)
    return {key: values[1:] for key, values in costs.items()}  # the first round warmed up


def hours(model: Model, samples: Samples, minutes: int) -> list[float]:
    """CPU ms per second of audio in each tenth of so many minutes, one stream from the start to the end."""
    detector, costs = Detector([model]), []
    block = 3528
    for tenth in range(1, 11):
        print(f"one stream: tenth {tenth} of {minutes} minutes", file=sys.stderr)
        heard, begin = 0, time.process_time()
        while heard < minutes * 6 * SAMPLE_RATE:
            for start in range(0, len(samples), block):
                detector.push(samples[start : start + block])
            heard += len(samples)
        costs.append((time.process_time() - begin) / heard * SAMPLE_RATE * 1000)
    return costs


def table(costs: Costs) -> str:
    """The costs in Markdown, each relative to the first of its kind in the same round."""
    lines = ["| | CPU ms per s of audio | times the first (quartiles) |", "| --- | --- | --- |"]
    first: dict[str, list[float]] = {}
    for (kind, count), values in costs.items():
        reference = first.setdefault(kind, values)
        lower, median, upper = np.percentile(np.array(values) / np.array(reference), [25, 50, 75])
        lines.append(f"| {count} {kind} | {np.median(values):.1f} | {median:.2f} ({lower:.2f} to {upper:.2f}) |")
    return "\n".join(lines)
