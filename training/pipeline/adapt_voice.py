"""A model and one voice's recordings in, a model for that voice out; or none, if it would hear worse.

Every recording is held back once: of as many trainings as there are folds each leaves some out, and is measured on them
beside the model from which it began. The model that is written learned from all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.frontend import FULL_SCALE, SAMPLE_RATE
from model.modelfile import Model
from training.corpora import corpus
from training.corpora.corpus import Clip, Corpus, Problem
from training.dsp import endpointing
from training.dsp.decode import Int16Array, active_level, to_int16
from training.learning.checkpoint import code_version
from training.measuring.confidence_intervals import Rate
from training.measuring.evaluation import Evaluation, evaluate
from training.measuring.score_recordings import Recording
from training.scenes.augment import coloured_noises
from training.scenes.material import SceneMaterial
from training.utils.errors import TrainingError
from training.utils.result_cache import ResultCache

if TYPE_CHECKING:
    from training.learning.fine_tune import FineTuner

LEAST_RECORDINGS = 3  # recordings of the word; fewer say nothing about those that are held back
MAX_TEST_HOURS = 1.0  # of negatives; more take longer than the training
CHANCE = 0.1  # more false accepts than before are no accident if such a difference comes by chance so seldom
SNRS: tuple[float | None, ...] = (None, 10.0)
OWN_VOICE, OTHER_SOUND = "own voice", "other sound"


class Held(Corpus):
    """Clips whose samples are at hand, by path; every split holds all of them, for what trains was chosen before."""

    def __init__(self, clips: Iterable[tuple[Clip, Int16Array]], problems: Sequence[Problem] = ()) -> None:
        self._by_path = {clip.path: (clip, samples) for clip, samples in clips}
        self.clips = [clip for clip, _ in self._by_path.values()]
        self.problems = list(problems)

    def __getitem__(self, clip: Clip) -> Int16Array:
        """The clip's samples."""
        return self._by_path[clip.path][1]

    def split(self, *_names: str) -> list[Clip]:
        """All clips."""
        return self.clips


def selection(entries: Iterable[tuple[Corpus, Clip]]) -> Held:
    """Clips of several corpora as one."""
    return Held((clip, source[clip]) for source, clip in entries)


@dataclass(frozen=True)
class AdaptationSounds:
    """All that an adaptation learns from and is measured on.

    own: the word by the voice; said: the word by others; not_word: what is not the word; spoken: the same by synthetic
    voices; noise: without speech.
    """

    own: Corpus
    said: Corpus | None
    not_word: Corpus | None
    spoken: Corpus | None
    noise: Corpus

    def negatives(self) -> list[tuple[Corpus, Clip]]:
        """What is not the word, real and synthetic."""
        return [(source, clip) for source in (self.not_word, self.spoken) if source for clip in source.clips]


def words(folders: Sequence[Path], cache: Path) -> Corpus:
    """Recordings of the word, each cut to where the word is. Raises TrainingError if fewer than 3 can be used."""
    whole = corpus.load(folders, cache, "own voice")
    clips: list[tuple[Clip, Int16Array]] = []
    for clip in whole.clips:
        samples = endpointing.said(whole[clip]).of(whole[clip])
        clips.append((replace(clip, length=len(samples), level=active_level(samples)), samples))
    if len(clips) < LEAST_RECORDINGS:
        raise TrainingError(
            f"{folders[0]}: {len(clips)} usable recordings of the word; an adaptation takes {LEAST_RECORDINGS} at the "
            "very least, and 10 to 30 are better"
        )
    return Held(clips, whole.problems)


def coloured_noise(seed: int) -> Corpus:
    """Noises of no place, for those who recorded none: 30 s each at -30 dBFS."""
    noises = [to_int16(noise * FULL_SCALE * 10 ** (-30 / 20)) for noise in coloured_noises(np.random.default_rng(seed))]
    return Held(
        (Clip(f"coloured noise {number}", f"coloured/{number}", 0, len(noise), -30.0), noise)
        for number, noise in enumerate(noises)
    )


class Folds:
    """Which recordings each training leaves out. The word: each file by itself; the rest: by speaker."""

    def __init__(self, sounds: AdaptationSounds, count: int, seed: int) -> None:
        self._sounds, self.seed = sounds, seed
        self.count = min(count, len(sounds.own.clips))
        rng = np.random.default_rng(seed)
        self._own = self._deal([clip.path for clip in sounds.own.clips], rng)
        self._rest = self._deal([clip.group for _, clip in [*sounds.negatives(), *self._noises()]], rng)

    def _noises(self) -> list[tuple[Corpus, Clip]]:
        return [(self._sounds.noise, clip) for clip in self._sounds.noise.clips]

    def _deal(self, names: Sequence[str], rng: np.random.Generator) -> dict[str, int]:
        different = sorted(set(names))
        return {different[index]: number % self.count for number, index in enumerate(rng.permutation(len(different)))}

    def material(self, fold: int | None) -> SceneMaterial:
        """What the training of a fold learns from; of None: everything."""
        sounds = self._sounds

        def rest(source: Corpus | None) -> list[tuple[Corpus, Clip]]:
            clips = source.clips if source else []
            return [(source, clip) for clip in clips if source and self._rest[clip.group] != fold]

        own = [(sounds.own, clip) for clip in sounds.own.clips if self._own[clip.path] != fold]
        said = [(sounds.said, clip) for clip in (sounds.said.clips if sounds.said else []) if sounds.said]
        # a single noise cannot be left out, nor a single recording of other sound
        negatives = rest(sounds.not_word) + rest(sounds.spoken) or sounds.negatives()
        noise = rest(sounds.noise) or self._noises()
        return SceneMaterial(
            positives=selection(own + said),
            spoken=selection(negatives),
            speech=selection(rest(sounds.not_word) or negatives),
            noise=selection(noise),
        )

    def held_back(self, fold: int | None) -> tuple[list[Recording], list[Recording]]:
        """The words, and the other sounds, that a training left out; of None: all there are."""

        def mine(number: int) -> bool:
            return fold is None or number == fold

        own = [_recording(self._sounds.own, clip) for clip in self._sounds.own.clips if mine(self._own[clip.path])]
        entries = [entry for entry in [*self._sounds.negatives(), *self._noises()] if mine(self._rest[entry[1].group])]
        others, hours = [], 0.0
        limit = MAX_TEST_HOURS / (1 if fold is None else self.count)
        for index in np.random.default_rng(0).permutation(len(entries)):
            source, clip = entries[index]
            if hours < limit:
                others.append(_recording(source, clip))
                hours += clip.length / SAMPLE_RATE / 3600
        return own, others


def _recording(source: Corpus, clip: Clip) -> Recording:
    return Recording(source[clip], clip.folder, clip.path)


@dataclass(frozen=True)
class Figures:
    """What a model did at its threshold. heard: by condition; false_accepts: in how many hours."""

    heard: Mapping[str, Rate]
    false_accepts: Rate

    @property
    def misses(self) -> int:
        """Words not heard, in all conditions."""
        return sum(int(rate.total) - rate.count for rate in self.heard.values())

    def __add__(self, other: Figures) -> Figures:
        """Both taken together."""
        heard = {name: rate + other.heard[name] for name, rate in self.heard.items()}
        return Figures(heard, self.false_accepts + other.false_accepts)

    def exact(self) -> dict[str, Any]:
        """As JSON, from which `of` makes the same."""
        heard = {name: [rate.count, rate.total] for name, rate in self.heard.items()}
        return {"heard": heard, "false_accepts": [self.false_accepts.count, self.false_accepts.total]}

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Figures:
        """What `exact` gave."""
        return cls({name: Rate(*rate) for name, rate in stored["heard"].items()}, Rate(*stored["false_accepts"]))

    def as_json(self) -> dict[str, Any]:
        """For the model file."""
        heard = {name: [rate.count, int(rate.total)] for name, rate in self.heard.items()}
        return {
            "heard": heard,
            "false_accepts": self.false_accepts.count,
            "hours": round(self.false_accepts.total, 4),
        }


def figures(evaluation: Evaluation) -> Figures:
    """At the model's own threshold."""
    point = evaluation.at(evaluation.model.threshold)
    heard = {name.removeprefix(f"{OWN_VOICE}, "): rate for name, rate in point.recall.items()}
    return Figures(heard, sum(point.false_accepts.values(), Rate(0, 0)))


def compare(before: Model, after: Model, own: Sequence[Recording], others: Sequence[Recording]) -> list[Figures]:
    """Both models on the same recordings."""
    named = [replace(recording, source=OWN_VOICE) for recording in own]
    streams = {OTHER_SOUND: others} if others else {}
    return [figures(each) for each in evaluate({"before": before, "after": after}, {OWN_VOICE: named}, streams, SNRS)]


def verdict(before: Figures, after: Figures) -> str | None:
    """Why the adapted model is worse, as half a sentence; None if it is not."""
    if after.misses > before.misses:
        return f"it missed {after.misses} of the words that were held back, and {before.misses} before"
    old, new = before.false_accepts.count, after.false_accepts.count
    if new > old and by_chance(old, new) < CHANCE:
        return f"it fired {new} times for nothing on sound that was held back, and {old} times before"
    return None


def by_chance(old: int, new: int) -> float:
    """How likely at least `new` of all the firings fall to the second of two models that fire equally often."""
    from scipy.stats import binomtest

    return float(binomtest(new, old + new, alternative="greater").pvalue) if old + new else 1.0


@dataclass(frozen=True)
class AdaptResult:
    """What came of an adaptation: figures on held-back recordings; the model; the reason if it is refused."""

    before: Figures
    after: Figures
    model: Model
    refused: str | None

    def table(self) -> str:
        """Before and after, with 95 % intervals."""
        lines = ["| on recordings that were held back | before | after |", "| --- | --- | --- |"]
        for name, rate in self.before.heard.items():
            new = self.after.heard[name]
            lines.append(f"| words heard, {name} | {_share(rate)} | {_share(new)} |")
        if self.before.false_accepts.total:
            old, new = self.before.false_accepts, self.after.false_accepts
            lines.append(f"| false accepts an hour, {old.total:.2f} h | {_rate(old)} | {_rate(new)} |")
        return "\n".join(lines)


def _share(rate: Rate) -> str:
    low, high = rate.wilson()
    return f"{rate.count} of {rate.total:g} ({100 * low:.0f} to {100 * high:.0f} %)"


def _rate(rate: Rate) -> str:
    low, high = rate.poisson()
    return f"{rate.value:.1f} ({rate.count}; {low:.1f} to {high:.1f})"


def notes_of(start: Model, sounds: AdaptationSounds, tuner: FineTuner, folds: Folds, folder: Path) -> ResultCache:
    """What was measured with the same model, the same sounds and the same settings."""
    corpora = [sounds.own, sounds.said, sounds.not_word, sounds.spoken, sounds.noise]
    clips = [[(clip.path, clip.length, clip.level) for clip in each.clips] if each else [] for each in corpora]
    settings = [start.word, start.threshold, folds.count, folds.seed, tuner.describe(), clips, code_version()]
    weights = (array.tobytes() for _, array in sorted(start.weights.as_dict().items()))
    return ResultCache(folder, "adapted", [json.dumps(settings).encode(), *weights])


def adapt(start: Model, sounds: AdaptationSounds, tuner: FineTuner, folds: Folds, notes: ResultCache) -> AdaptResult:
    """Train once for each fold and once on all; decide. notes: of an interrupted run."""
    before = after = None
    for fold in range(folds.count):
        if (known := notes.get(str(fold))) is not None:
            old, new = map(Figures.of, known)
        else:
            model = tuner.tune(folds.material(fold), f"training {fold + 1} of {folds.count + 1}", fold)
            old, new = compare(start, model, *folds.held_back(fold))
            notes.keep(str(fold), [old.exact(), new.exact()])
        before, after = (before + old, after + new) if before and after else (old, new)
    assert before is not None
    assert after is not None
    refused = verdict(before, after)
    model = start
    if refused is None:
        model = tuner.tune(folds.material(None), f"training {folds.count + 1} of {folds.count + 1}", folds.count)
        tuner.check(model)
        # a training can go wrong by itself: what is written is looked at, too
        old, new = compare(start, model, *folds.held_back(None))
        if (reason := verdict(old, new)) is not None:
            refused = f"the last training went wrong: {reason}"
    training = {
        "word": start.word,
        "adapted_from": start.training,
        "own_recordings": len(sounds.own.clips),
        **tuner.describe(),
    }
    measured = {"adapted": {"before": before.as_json(), "after": after.as_json(), "folds": folds.count}}
    return AdaptResult(before, after, replace(model, training=training, measured=measured), refused)
