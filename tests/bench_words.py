"""A word that other engines know, too: who hears it, and who fires at other speech, on the same sound.

    python tests/bench_words.py alexa.npz --positives alexa --speech talk [--noise rooms] [--thresholds 0.9 0.95]

Each engine hears one stream of all recordings of the word, 2 s of a quiet room (or of noise at 10 dB) before each and
1.5 s after it, then one stream of the speech, in blocks of 80 ms: the others at their own default threshold, chimed at
each that is given. Only recordings count that chimed's training left out; what the others' authors trained on is not
known, so they may know some of them.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import soxr
from bench_engines import BLOCK, ENGINES, Push

from model.detector import Detector
from model.frontend import SAMPLE_RATE, Samples
from model.modelfile import load
from training import corpus
from training.rates import Rate
from training.trials import LATE_SECONDS, PAUSE_SECONDS, QUIET_DBFS, background, place

OTHERS = ("pymicro-wakeword", "pyopen-wakeword")
APART = 1.0  # s; what fires again sooner fires at the same thing


def fires(push: Push, rate: int, sound: Iterator[Samples]) -> Iterator[tuple[int, float]]:
    """Number of the piece (44.1 kHz) and the second in it, counted from its beginning, at which the engine fires."""
    last, heard = -APART, 0.0
    size = round(BLOCK * rate)
    pending = np.empty(0, np.int16)
    for number, piece in enumerate(sound):
        begin = heard + len(pending) / rate
        resampled = piece if rate == SAMPLE_RATE else soxr.resample(piece, SAMPLE_RATE, rate)
        pending = np.concatenate((pending, resampled))
        for start in range(0, len(pending) - size + 1, size):
            heard += BLOCK
            if push(pending[start : start + size]) and heard - last >= APART:
                last = heard
                yield number, heard - begin
        pending = pending[len(pending) // size * size :]


def engines(arguments: argparse.Namespace) -> Iterator[tuple[str, int, Push]]:
    """Name, sample rate and ear of each; anew for each stream."""
    model = load(arguments.model)
    for threshold in arguments.thresholds or [model.threshold]:
        detector = Detector([dataclasses.replace(model, threshold=threshold)])
        yield f"chimed at {threshold:g}", SAMPLE_RATE, lambda block, to=detector: [each.word for each in to.push(block)]
    for name in OTHERS:
        yield (name, *ENGINES[name](1))


def share(rate: Rate) -> str:
    low, high = rate.wilson()
    return f"{rate.value:.1%} [{low:.0%}-{high:.0%}] ({rate.count} of {rate.total:g})"


def hourly(rate: Rate) -> str:
    low, high = rate.poisson()
    return f"{rate.value:.2f} [{low:.1f}-{high:.1f}] ({rate.count})"


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", type=Path, metavar="NPZ")
    parser.add_argument("--positives", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--speech", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--noise", type=Path, nargs="+", default=[], metavar="DIR")
    parser.add_argument("--thresholds", type=float, nargs="+", metavar="X")
    parser.add_argument("--work", type=Path, default=Path("work"), metavar="DIR")
    arguments = parser.parse_args()

    def left_out(folders: Sequence[Path], title: str) -> list[Samples]:
        if not folders:
            return []
        found = corpus.load(folders, arguments.work / "cache", title)
        return [found[clip] for clip in found.split("dev", "test")]

    words, speech = left_out(arguments.positives, "the word"), left_out(arguments.speech, "speech")
    sounds = {"speech": speech, "noise": left_out(arguments.noise, "noise")}
    pause = background(round(PAUSE_SECONDS * SAMPLE_RATE), QUIET_DBFS, np.random.default_rng(0)).astype(np.int16)
    rows: dict[str, list[str]] = {}
    for snr in (None, 10.0):
        placed = [place(word, np.random.default_rng([0, number]), snr) for number, word in enumerate(words)]
        for engine, rate, push in engines(arguments):
            heard = set()
            for number, second in fires(push, rate, (samples for samples, _, _ in placed)):
                _, start, end = placed[number]
                if start / SAMPLE_RATE <= second <= end / SAMPLE_RATE + LATE_SECONDS:
                    heard.add(number)
            rows.setdefault(engine, []).append(share(Rate(len(heard), len(words))))
    heads = []
    for name, sound in sounds.items():
        if not sound:
            continue
        hours = sum(len(each) + len(pause) for each in sound) / SAMPLE_RATE / 3600
        heads.append(f"FA/h, {name} ({hours:.2f} h)")
        for engine, rate, push in engines(arguments):
            count = sum(1 for _ in fires(push, rate, chain.from_iterable((each, pause) for each in sound)))
            rows[engine].append(hourly(Rate(count, hours)))
    print(f"| engine | heard, quiet | heard, 10 dB | {' | '.join(heads)} |")
    print("| --- " * (3 + len(heads)) + "|")
    for engine, cells in rows.items():
        print(f"| {engine} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
