"""A word that other engines know, too: who hears it, and who fires at other speech, on the same sound, in one run.

    python -m tests.bench.words alexa.npz --positives alexa --speech talk [--noise rooms] [--plot curves.png]

Each engine hears one stream of all recordings of the word, 2 s of a quiet room (or of noise at 10 dB) before each and
1.5 s after it, then one stream of the speech, in blocks of 80 ms; each block has a score, so that one run tells what
any threshold gives. Beside chimed's models: pymicro-wakeword and pyopen-wakeword, where they know the word, and
PocketSphinx's keyphrase search, which hears each recording whole. Only recordings count that chimed's training left
out (with --all-positives: all of the word), and no speech that by its text says the word; what the others' authors
trained on is not known, so they may know some.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from model.detector import Scorer
from model.frontend import SAMPLE_RATE, Samples
from model.modelfile import load
from tests.bench.engines import BLOCK
from training.alignment.forced_alignment import FRAME_SECONDS, SPHINX_RATE, decode
from training.alignment.phone_targets import known_texts
from training.corpora import corpus
from training.corpora.exclude_word import exclude_word
from training.measuring.confidence_intervals import Rate
from training.measuring.offline_gate import smooth
from training.measuring.score_recordings import LATE_SECONDS, PAUSE_SECONDS, QUIET_DBFS, background, place

LEFT_OUT = ("dev", "test")  # what a training hears nothing of
APART = 1.0  # s; what fires again sooner fires at the same thing
HOURLY = (0.5, 1.0, 2.0, 5.0)  # false accepts at which misses are listed
SPHINX_LOWEST = 1e-60  # far below any useful threshold of the search: what it finds has a probability of its own

# a block in, its highest score out
Push = Callable[[Samples], float]
# pieces of sound in; for each the seconds in it and the scores
Listen = Callable[[Iterable[Samples]], Iterator[tuple[np.ndarray, np.ndarray]]]


@dataclass(frozen=True)
class Engine:
    """name: for the table; threshold: its default; new: what makes a fresh ear for a stream."""

    name: str
    threshold: float
    new: Callable[[], Listen]


def blockwise(rate: int, push: Push) -> Listen:
    """An ear for a stream that goes on from piece to piece."""

    def listen(sound: Iterable[Samples]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        size = round(BLOCK * rate)
        pending = np.empty(0, np.int16)
        for piece in sound:
            resampled = piece if rate == SAMPLE_RATE else soxr.resample(piece, SAMPLE_RATE, rate)
            begin = -len(pending) / rate
            pending = np.concatenate((pending, resampled))
            starts = range(0, len(pending) - size + 1, size)
            scores = np.array([push(pending[start : start + size]) for start in starts])
            yield begin + BLOCK * np.arange(1, len(scores) + 1), scores
            pending = pending[len(starts) * size :]

    return listen


def chimed(path: Path) -> Engine:
    """The gate's running mean of the posterior."""
    model = load(path)

    def new() -> Listen:
        scorer = Scorer([model])
        last = np.zeros(model.smoothing - 1)

        def push(block: Samples) -> float:
            nonlocal last
            values = np.concatenate((last, scorer.push(block).posteriors[0]))
            last = values[len(values) - len(last) :]
            return float(smooth(values, model.smoothing)[len(last) :].max(initial=0.0))

        return blockwise(SAMPLE_RATE, push)

    return Engine(path.stem, model.threshold, new)


def model_of(word: str, known: Iterable[Any]) -> Any:
    """That of the models that an engine brings; None if it has none of the word."""
    return next((model for model in known if model.value == word.replace(" ", "_")), None)


def pymicro(word: str) -> Engine | None:
    """microWakeWord's, if it has a model of the word."""
    from pymicro_wakeword import MicroWakeWord, MicroWakeWordFeatures, Model

    if (builtin := model_of(word, Model)) is None:
        return None

    def new() -> Listen:
        front_end, model = MicroWakeWordFeatures(), MicroWakeWord.from_builtin(builtin)

        def push(block: Samples) -> float:
            columns = front_end.process_streaming(block.tobytes())
            return max((model.process_streaming_prob(column) or 0.0 for column in columns), default=0.0)

        return blockwise(16_000, push)

    return Engine("pymicro-wakeword", MicroWakeWord.from_builtin(builtin).probability_cutoff, new)


def pyopen(word: str) -> Engine | None:
    """openWakeWord's, if it has a model of the word."""
    from pyopen_wakeword import Model, OpenWakeWord, OpenWakeWordFeatures

    if (builtin := model_of(word, Model)) is None:
        return None

    def new() -> Listen:
        front_end, model = OpenWakeWordFeatures.from_builtin(), OpenWakeWord.from_builtin(builtin)

        def push(block: Samples) -> float:
            found = (
                each for part in front_end.process_streaming(block.tobytes()) for each in model.process_streaming(part)
            )
            return max(found, default=0.0)

        return blockwise(16_000, push)

    return Engine("pyopen-wakeword", 0.5, new)


def sphinx(word: str) -> Engine:
    """PocketSphinx's keyphrase search. It has no default that suits all words, so only its curve counts."""
    from pocketsphinx import Decoder

    def new() -> Listen:
        decoder = Decoder(lm=None, keyphrase=word, kws_threshold=SPHINX_LOWEST, loglevel="FATAL")

        def listen(sound: Iterable[Samples]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            for piece in sound:
                decode(decoder, soxr.resample(piece, SAMPLE_RATE, SPHINX_RATE).tobytes())
                found = list(decoder.seg()) if decoder.hyp() else []
                ends = np.array([each.end_frame * FRAME_SECONDS for each in found])
                yield ends, np.array([each.prob for each in found])

        return listen

    return Engine("PocketSphinx", float("nan"), new)


def peaks(engine: Engine, placed: Sequence[tuple[Samples, int, int]]) -> np.ndarray:
    """(words,) the highest score while each word could be heard."""
    heard = engine.new()(samples for samples, _, _ in placed)
    found = []
    for (_, start, end), (seconds, scores) in zip(placed, heard, strict=True):
        inside = (seconds >= start / SAMPLE_RATE) & (seconds <= end / SAMPLE_RATE + LATE_SECONDS)
        found.append(scores[inside].max(initial=0.0))
    return np.array(found)


def scored(engine: Engine, pieces: Sequence[Samples]) -> tuple[np.ndarray, np.ndarray]:
    """Where in a stream of the pieces, s, the engine gave which score."""
    begin, seconds, scores = 0.0, [], []
    for piece, (at, score) in zip(pieces, engine.new()(iter(pieces)), strict=True):
        seconds.append(begin + at)
        scores.append(score)
        begin += len(piece) / SAMPLE_RATE
    return np.concatenate(seconds), np.concatenate(scores)


def fires(stream: tuple[np.ndarray, np.ndarray], threshold: float) -> int:
    """How often it fires: at a score above the threshold, and not again for a second."""
    count, last = 0, -APART
    for second in stream[0][stream[1] > threshold].tolist():
        if second - last >= APART:
            count, last = count + 1, second
    return count


@dataclass(frozen=True, eq=False)
class Result:
    """words: peaks by condition; streams: by name; hours: likewise."""

    engine: Engine
    words: dict[str, np.ndarray]
    streams: dict[str, tuple[np.ndarray, np.ndarray]]
    hours: dict[str, float]

    def heard(self, condition: str, threshold: float) -> Rate:
        """How many words."""
        return Rate(int(np.sum(self.words[condition] > threshold)), len(self.words[condition]))

    def false_accepts(self, name: str, threshold: float) -> Rate:
        """How often in how many hours."""
        return Rate(fires(self.streams[name], threshold), self.hours[name])

    @cached_property
    def _highest(self) -> np.ndarray:
        """The highest scores of speech, ascending: blocks enough for hundreds of firings."""
        return np.sort(self.streams["speech"][1])[-4000:]

    def threshold_for(self, hourly: float) -> float:
        """The lowest from which on it fires no more often at speech."""
        candidates = np.unique(np.round(self._highest, 4))
        for below, above in zip(candidates[-2::-1], candidates[:0:-1], strict=True):
            if self.false_accepts("speech", below).value > hourly:
                return float(above)
        return float(candidates[0]) if len(candidates) else 0.0

    def curve(self, condition: str) -> list[tuple[float, float]]:
        """False accepts an hour of speech and the share of words heard at the lowest threshold with no more of them."""
        grid = np.unique(np.round(np.concatenate((self.words[condition], self._highest)), 3))
        # of the thresholds with one rate the lowest, which hears most, comes last
        return sorted(
            {self.false_accepts("speech", t).value: self.heard(condition, t).value for t in grid[::-1]}.items()
        )


def share(rate: Rate) -> str:
    low, high = rate.wilson()
    return f"{rate.value:.1%} [{low:.0%}-{high:.0%}] ({rate.count} of {rate.total:g})"


def hourly(rate: Rate) -> str:
    low, high = rate.poisson()
    return f"{rate.value:.2f} [{low:.1f}-{high:.1f}] ({rate.count})"


def tables(results: Sequence[Result]) -> Iterator[str]:
    """At each engine's default; then where all fire equally often."""
    conditions, streams = list(results[0].words), results[0].hours
    heads = [f"heard, {name}" for name in conditions] + [f"FA/h, {name} ({t:.2f} h)" for name, t in streams.items()]
    yield f"| engine, at its default | {' | '.join(heads)} |"
    yield "| --- " * (1 + len(heads)) + "|"
    for result in results:
        threshold = result.engine.threshold
        if np.isnan(threshold):
            continue
        cells = [share(result.heard(name, threshold)) for name in conditions]
        cells += [hourly(result.false_accepts(name, threshold)) for name in streams]
        yield f"| {result.engine.name} ({threshold:g}) | {' | '.join(cells)} |"
    yield ""
    heads = [f"{rate:g} FA/h of speech" for rate in HOURLY]
    yield f"| heard: {', '.join(conditions)}; at | {' | '.join(heads)} |"
    yield "| --- " * (1 + len(heads)) + "|"
    for result in results:
        cells = []
        for rate in HOURLY:
            threshold = result.threshold_for(rate)
            shares = " / ".join(f"{result.heard(name, threshold).value:.0%}" for name in conditions)
            cells.append(f"{shares} ({threshold:.3g})")
        yield f"| {result.engine.name} | {' | '.join(cells)} |"


def draw(results: Sequence[Result], path: Path) -> None:
    """A curve for each engine and condition, a mark at its default."""
    from matplotlib.figure import Figure

    lowest, most = 0.2, 100  # FA/h; at the first "none" is drawn
    fewest = 100.0  # %
    figure = Figure((7, 4.6), layout="constrained")
    axes: Any = figure.add_subplot()
    for number, result in enumerate(results):
        for condition, line in zip(result.words, ("-", "--", ":", "-."), strict=False):
            points = np.array(result.curve(condition))
            fewest = min([fewest, *(100 * points[points[:, 0] <= most, 1])])
            label = f"{result.engine.name}, {condition}"
            # what is heard at so many is heard at more, up to the next point
            axes.step(
                np.maximum(points[:, 0], lowest),
                100 * points[:, 1],
                line,
                color=f"C{number}",
                label=label,
                lw=1.3,
                zorder=3 - number / 10,
                where="post",
            )
            if not np.isnan(threshold := result.engine.threshold):
                x = max(result.false_accepts("speech", threshold).value, lowest)
                axes.plot(x, 100 * result.heard(condition, threshold).value, "o", color=f"C{number}", ms=5)
    axes.set_xscale("log")
    axes.set_xlim(lowest, most)
    axes.set_ylim(max(0, fewest // 10 * 10 - 5), 101)
    axes.set_xlabel(
        f"false accepts per hour of speech (none in {results[0].hours['speech']:.2f} h is drawn at {lowest:g})"
    )
    axes.set_ylabel("words heard, %")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the tables, and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", type=Path, nargs="+", metavar="NPZ", help="of one word")
    parser.add_argument("--positives", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--all-positives", action="store_true", help="no training saw any of them")
    parser.add_argument("--speech", type=Path, nargs="+", required=True, metavar="DIR")
    parser.add_argument("--noise", type=Path, nargs="+", default=[], metavar="DIR")
    parser.add_argument("--all-others", action="store_true", help="nor any of the speech and noise")
    parser.add_argument("--plot", type=Path, metavar="PNG")
    parser.add_argument("--work", type=Path, default=Path("work"), metavar="DIR")
    arguments = parser.parse_args()

    def recordings(folders: Sequence[Path], title: str, splits: Sequence[str] = LEFT_OUT) -> list[Samples]:
        if not folders:
            return []
        found = corpus.load(folders, arguments.work / "cache", title)
        if title == "speech":
            found = exclude_word(found, known_texts([found]), [word])
        return [found[clip] for clip in found.split(*splits)]

    word = load(arguments.models[0]).word
    every = ("train", *LEFT_OUT)
    words = recordings(arguments.positives, "the word", every if arguments.all_positives else LEFT_OUT)
    others = every if arguments.all_others else LEFT_OUT
    named = {"speech": arguments.speech, "noise": arguments.noise}
    sounds = {name: recordings(folders, name, others) for name, folders in named.items()}
    pause = background(round(PAUSE_SECONDS * SAMPLE_RATE), QUIET_DBFS, np.random.default_rng(0)).astype(np.int16)
    pieces = {
        name: list(chain.from_iterable((each, pause) for each in sound)) for name, sound in sounds.items() if sound
    }
    hours = {name: sum(map(len, each)) / SAMPLE_RATE / 3600 for name, each in pieces.items()}
    placed = {
        name: [place(each, np.random.default_rng([0, number]), snr) for number, each in enumerate(words)]
        for name, snr in (("quiet", None), ("10 dB", 10.0))
    }
    results = []
    for engine in filter(None, [*map(chimed, arguments.models), pymicro(word), pyopen(word), sphinx(word)]):
        heard = {name: peaks(engine, trials) for name, trials in placed.items()}
        results.append(Result(engine, heard, {name: scored(engine, each) for name, each in pieces.items()}, hours))
    print("\n".join(tables(results)))
    if arguments.plot:
        draw(results, arguments.plot)


if __name__ == "__main__":
    main()
