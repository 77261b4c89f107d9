"""The engines that `bench.py` sets side by side, each run in a process of its own: `python bench_engines.py NAME FILE`.

FILE is an .npz with the recording as 16-bit samples: "44100" and "16000". The worker loads its engine, then hears
the recording for each line on standard input, in blocks of 80 ms, and prints what that took as JSON. The line says how
many seconds of it, and for how many it sleeps before each block.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Samples = Any
Push = Callable[[Samples], list[str]]  # a block in, the words heard in it out

BLOCK = 0.08  # s
WINDOW_HOP = 0.5  # s between two looks at the whole window, the assignment's way


def chimed(words: int) -> tuple[int, Push]:
    """The shipped word; further ones are copies of it under other names, each with weights of its own in memory."""
    from model.detector import Detector
    from model.modelfile import load, shipped
    from model.network import Weights

    model = load(next(iter(shipped().values())))
    models = [model]
    for number in range(1, words):
        weights = Weights(**{name: array.copy() for name, array in model.weights.as_dict().items()})
        models.append(dataclasses.replace(model, word=f"{model.word} {number + 1}", weights=weights))
    detector = Detector(models)
    return 44_100, lambda block: [detection.word for detection in detector.push(block)]


def pymicro(words: int) -> tuple[int, Push]:
    """microWakeWord's C library, quantised networks of 60 kB."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    names = [Model.ALEXA, Model.HEY_JARVIS, Model.HEY_MYCROFT, Model.OKAY_NABU][:words]
    models = {name.value: MicroWakeWord.from_builtin(name) for name in names}
    front_end = MicroWakeWordFeatures()

    def push(block: Samples) -> list[str]:
        columns = front_end.process_streaming(block.tobytes())
        return [name for column in columns for name, model in models.items() if model.process_streaming(column)]

    return 16_000, push


def pyopen(words: int) -> tuple[int, Push]:
    """openWakeWord's networks in C; fires where the posterior exceeds its default of 0.5."""
    from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

    names = [Model.ALEXA, Model.HEY_JARVIS, Model.HEY_MYCROFT, Model.OKAY_NABU][:words]
    models = {name.value: OpenWakeWord.from_builtin(name) for name in names}
    front_end = OpenWakeWordFeatures.from_builtin()

    def push(block: Samples) -> list[str]:
        return [
            name
            for features in front_end.process_streaming(block.tobytes())
            for name, model in models.items()
            for probability in model.process_streaming(features)
            if probability > 0.5
        ]

    return 16_000, push


def keras(_words: int) -> tuple[int, Push]:
    """The assignment's way: Keras `predict` over the whole last 10 s, twice a second, all 101 bins.

    With the shipped weights, zero for the bins that the shipped model does not read.
    """
    from model.frontend import BINS, CLIP, FRAME_COLUMNS, STEP, spectrogram
    from model.gate import Gate
    from model.modelfile import load, shipped
    from model.network import Weights
    from training.learning.keras_network import build, restore

    model = load(next(iter(shipped().values())))
    arrays = model.weights.as_dict()
    arrays["conv_kernel"] = np.pad(arrays["conv_kernel"], ((0, 0), (0, BINS - model.weights.bins), (0, 0)))
    clip = build(BINS).clip
    restore(clip, Weights(**arrays))
    gate = Gate(model.threshold, model.smoothing, model.suppression)
    window = np.zeros(CLIP, np.int16)
    hop = int(WINDOW_HOP * 44_100)
    waiting = 0

    def push(block: Samples) -> list[str]:
        nonlocal window, waiting
        window = np.concatenate((window, block))[-CLIP:]
        waiting += len(block)
        if waiting < hop:
            return []
        columns, scaling = spectrogram(window), model.front_end.new_scaling()
        frames = range(0, columns.shape[1], FRAME_COLUMNS)
        features = np.concatenate([scaling.push(columns[:, at : at + FRAME_COLUMNS]) for at in frames])
        features = np.pad(features, ((0, 0), (0, BINS - features.shape[1])))
        posteriors = clip.predict(features[None], verbose=0)[0, :, 0]
        new, waiting = waiting // STEP, waiting % STEP
        return [model.word for _ in gate.push(posteriors[-new:])]

    return 44_100, push


ENGINES: dict[str, Callable[[int], tuple[int, Push]]] = {
    "chimed": chimed,
    "pymicro-wakeword": pymicro,
    "pyopen-wakeword": pyopen,
    "Keras on the window": keras,
}


def memory() -> float:
    """Peak RSS of this process in MB; of this program alone, since exec starts the count anew."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def main() -> None:
    """Answer each line with a pass over the recording."""
    name, words, file = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    rate, push = ENGINES[name](words)
    push(np.zeros(round(BLOCK * rate), np.int16))
    print(json.dumps({"cpu": time.process_time(), "memory": memory()}), flush=True)
    with np.load(file) as archive:
        recording = archive[str(rate)]
    for line in sys.stdin:
        seconds, pause = map(float, line.split())
        samples = recording[: int(seconds * rate)]
        heard: list[tuple[str, float]] = []
        cpu = 0.0
        for start in range(0, len(samples), round(BLOCK * rate)):
            if pause:  # sleeping for no time would still let others onto the core, and out goes the cache
                time.sleep(pause)
            block = samples[start : start + round(BLOCK * rate)]
            begin = time.process_time()
            words_heard = push(block)
            cpu += time.process_time() - begin
            heard += [(word, (start + len(block)) / rate) for word in words_heard]
        print(json.dumps({"cpu": cpu / len(samples) * rate, "heard": heard, "memory": memory()}), flush=True)


if __name__ == "__main__":
    main()
