"""A phrase in, a measured model file out: speak, fit, evaluate, export, each step done once.

What the user has takes part: own recordings of the word (each folder weighs as much as all the synthetic voices
together), recordings without it, backgrounds, transcribed speech. What is lacking is made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from model.frontend import FrontEnd
from model.modelfile import Model, load, save
from training.alignment.phone_targets import WITHOUT_PHONES, can_align, known_texts
from training.corpora import corpus
from training.corpora.exclude_word import exclude_word
from training.measuring.evaluation import Evaluation, evaluate
from training.measuring.operating_points import CANDIDATES, as_json, threshold_sweep
from training.measuring.score_recordings import recordings
from training.pipeline.time_estimate import expected
from training.scenes.fallback_material import speak_sentences, write_noise
from training.utils.atomic_write import atomic_write
from training.utils.errors import TrainingError
from training.utils.progress import duration, travel
from training.utils.resumable_steps import Result, ResumableSteps, stamp
from training.voices.engines import Voice, find_voices, people
from training.voices.synthesize import VARIED, VARIED_OTHERS, speak_corpus, vocabulary_of

SPOKEN = ("synthetic-voices", "synthetic-others")  # positives and negatives; names that no user's folder has
SNRS_DB = (None, 20.0, 10.0, 5.0, 0.0)
EVALUATED = 300  # recordings of the word in each folder, at most
FRONT_END = FrontEnd("log")
LITTLE = 1 / 6  # h of real speech; with less, sentences by synthetic voices are added


@dataclass(frozen=True)
class TrainingSize:
    """How much is made and how long it is trained. An epoch is `epoch_batches` times 2.55 s of `rows` streams."""

    positives: int = 5000
    negatives: int = 10_000
    epochs: int = 20
    epoch_batches: int = 250
    rows: int = 32


QUICK = TrainingSize(positives=600, negatives=1200, epochs=6, epoch_batches=200, rows=16)


@dataclass(frozen=True)
class TrainWordOptions:
    """What is wanted. output: the model file; work: where everything else lies; command: how it was typed.

    positives: folders of the word alone; negatives: of anything but the word; backgrounds: of noise; words: a word list
    instead of the machine's; fa_per_hour: wished at most; says: what all recordings of a folder say, for their phones;
    start: the model file, of this word or another, with whose weights the training begins.
    """

    phrase: str
    output: Path
    work: Path
    positives: tuple[Path, ...] = ()
    negatives: tuple[Path, ...] = ()
    backgrounds: tuple[Path, ...] = ()
    words: Path | None = None
    piper: Path | None = None
    kokoro: Path | None = None
    size: TrainingSize = field(default_factory=TrainingSize)
    seed: int = 0
    fa_per_hour: float = 0.5
    command: str = ""
    says: tuple[tuple[Path, str], ...] = ()
    start: Path | None = None


@dataclass(frozen=True)
class TrainWordResult:
    """model: as it was written; files: the model, its report and its card."""

    model: Model
    files: tuple[Path, ...]


def train_word(order: TrainWordOptions) -> TrainWordResult:
    """Do all steps that are not done yet. Raises TrainingError for whatever the user can mend, before it costs time."""
    _check(order)
    voices, vocabulary = find_voices(order.piper, order.kokoro), vocabulary_of(order.words)
    steps = ResumableSteps(order.work, expected(order, voices))
    tqdm.write(f"{order.phrase!r}: about {duration(steps.journey.left())} in all; Ctrl-C, and the same command goes on")
    if not can_align():
        tqdm.write(WITHOUT_PHONES)
    travel(steps.journey)
    try:
        folders, notes = _material(order, steps, voices, vocabulary)
        fitted = _fit(order, steps, folders)
        return _measure(order, steps, folders, fitted, notes)
    finally:
        travel(None)


def _check(order: TrainWordOptions) -> None:
    if not order.phrase.strip() or not order.phrase.isprintable():
        raise TrainingError("a phrase of one or more words is needed")
    if not order.output.absolute().parent.is_dir():
        raise TrainingError(f"{order.output.absolute().parent}: no such folder to write the model into")
    names = [folder.resolve().name for folder in order.positives]
    for folder in (*order.positives, *order.negatives, *order.backgrounds):
        corpus.find(folder)
    for name in names:
        if names.count(name) > 1 or name in SPOKEN:
            raise TrainingError(f"two folders of the word are called {name!r}: rename one, to tell them apart")
    if order.start and load(order.start).front_end != FRONT_END:
        raise TrainingError(f"{order.start}: a model with another front end, so a training cannot begin with it")


def _material(
    order: TrainWordOptions, steps: ResumableSteps, voices: Sequence[Voice], vocabulary: Sequence[str]
) -> tuple[dict[str, tuple[Path, ...]], list[str]]:
    """The folders by what they hold, and what a reader of the model's card should know of them."""
    size, notes = order.size, []
    listed = [order.words] if order.words else []
    spoken = {
        "phrase": order.phrase,
        "positives": size.positives,
        "negatives": size.negatives,
        "seed": order.seed,
        "varied": [*VARIED, VARIED_OTHERS],
        "words": stamp(listed),
        "voices": [f"{voice.engine} {voice.name}" for voice in voices],
    }

    def speak(folder: Path) -> Result:
        speak_corpus(
            order.phrase,
            folder,
            size.positives,
            size.negatives,
            order.seed,
            voices,
            vocabulary,
            names=SPOKEN,
        )
        return {name: len(list((folder / name).glob("*.flac"))) for name in SPOKEN}

    made = steps.run("speak", spoken, speak)
    engines = sorted({voice.engine for voice in voices})
    notes.append(
        f"{made[SPOKEN[0]]} times {order.phrase!r} by {people(voices)} synthetic voices ({', '.join(engines)})"
    )
    notes.append(f"{made[SPOKEN[1]]} other words, near misses and sentences by the same voices")
    folder = order.work / "speak"
    positives, real = [folder / SPOKEN[0], *order.positives], [*order.negatives]
    noise = list(order.backgrounds)

    lacks_speech = not real or _trained_on(order, real, "speech") < LITTLE
    lacks_noise = not noise or _trained_on(order, noise, "noise") == 0

    def fill(folder: Path) -> Result:
        if lacks_speech:
            count = max(size.negatives // 4, 40)
            speak_sentences(folder / "spoken-sentences", vocabulary, voices, count, order.seed)
        return {"noise": write_noise(folder / "coloured-noise", order.seed) if lacks_noise else 0}

    steps.run("fill", {"speech": lacks_speech, "noise": lacks_noise}, fill)
    spoken_folders = [folder / SPOKEN[1]]
    if lacks_speech:
        # beside thousands of sentences a handful of recordings would be lost, and so they count as much as all the
        # synthetic words together
        spoken_folders += real
        notes.append(
            f"{'little' if real else 'no'} real speech: sentences by the same synthetic voices "
            f"{'beside it' if real else 'instead'}, so false accepts are guesswork"
        )
        real.append(order.work / "fill" / "spoken-sentences")
    if lacks_noise:
        notes.append(
            f"{'few' if noise else 'no'} noises of real places: coloured noise {'too' if noise else 'instead'}"
        )
        noise.append(order.work / "fill" / "coloured-noise")
    notes += [f"real recordings of the word: {folder.name}" for folder in order.positives]
    notes += [f"real sound without the word: {folder.name}" for folder in (*order.negatives, *order.backgrounds)]
    folders = {
        "positives": tuple(positives),
        "spoken": tuple(spoken_folders),
        "speech": tuple(real),
        "noise": tuple(noise),
    }
    return folders, notes


def _trained_on(order: TrainWordOptions, folders: Sequence[Path], kind: str) -> float:
    """Hours of the share that is trained on."""
    found = corpus.load(folders, order.work / "cache", kind)
    if kind == "speech":
        found = exclude_word(found, known_texts([found], order.says), [order.phrase])
    return found.hours(found.split("train"))


def _fit(order: TrainWordOptions, steps: ResumableSteps, folders: dict[str, tuple[Path, ...]]) -> Path:
    own = stamp((*order.positives, *order.negatives, *order.backgrounds))
    settings = {"recordings": own, "size": asdict(order.size), "seed": order.seed}
    if order.start:
        settings["start"] = stamp([order.start])
    if not can_align():
        settings["phones"] = False  # once they can be had, it is trained anew
    if order.says:
        settings["says"] = [[str(folder), text] for folder, text in order.says]

    def fit(folder: Path) -> Result:
        from training.learning.early_stopping import EarlyStopping
        from training.learning.scene_batches import Folders, TrainingPlan
        from training.learning.schedule import CONTINUED_LEARNING_RATE, Schedule
        from training.learning.trainer import Trainer
        from training.scenes.recipe import SceneRecipe

        size = order.size
        plan = TrainingPlan(
            Folders(**folders, cache=order.work / "cache", says=order.says, word=order.phrase),
            FRONT_END,
            SceneRecipe(),
            order.seed,
            phones_of=order.phrase if can_align() else None,
            rows=size.rows,
            epoch_steps=size.epoch_batches,
        )
        schedule = Schedule(
            epochs=size.epochs,
            learning_rate=CONTINUED_LEARNING_RATE if order.start else Schedule.learning_rate,
            measure_every=max(1, size.epochs // 5),
            stopping=EarlyStopping(patience=3),
        )
        training = Trainer(order.phrase, plan, schedule, folder, load(order.start) if order.start else None)
        training.run()
        training.export(folder / "model.npz")
        return {}

    steps.run("fit", settings, fit)
    return order.work / "fit" / "model.npz"


def _measure(
    order: TrainWordOptions,
    steps: ResumableSteps,
    folders: dict[str, tuple[Path, ...]],
    fitted: Path,
    notes: Sequence[str],
) -> TrainWordResult:
    from training.report.html_report import write_report
    from training.report.model_card import write_card

    model = load(fitted)

    def measure(folder: Path) -> Result:
        development = _evaluate(order, folders, model, "dev")
        chosen = model.threshold
        if development.streams:
            try:
                chosen = development.choose_threshold(order.fa_per_hour).threshold
            except TrainingError:
                chosen = CANDIDATES[-1]
                wish = f"{order.fa_per_hour:g} times an hour"
                tqdm.write(f"it fires more than {wish} at any threshold: the highest is taken")
        chosen, why = development.cautious_threshold(chosen, order.fa_per_hour, "development speech")
        said = [*notes, why] if why else notes
        if why:
            tqdm.write(why)
        test = _evaluate(order, folders, replace(model, threshold=chosen), "test")
        measured = {
            "split": "test",
            "chosen_for": {"split": "dev", "false_accepts_an_hour": order.fa_per_hour},
            **as_json([test.at(chosen)])[0],
            "points": threshold_sweep(test.curve),
        }
        test = replace(test, model=replace(model, threshold=chosen, measured=measured))
        save(folder / "model.npz", test.model)
        write_report(folder / "report.html", [test], "test")
        write_card(folder / "card.md", test, order.command, said, order.fa_per_hour)
        return {"threshold": chosen}

    steps.run("evaluate", {"fa_per_hour": order.fa_per_hour, "command": order.command, "notes": list(notes)}, measure)
    files = tuple(order.output.with_suffix(suffix) for suffix in (".npz", ".html", ".md"))
    for name, target in zip(("model.npz", "report.html", "card.md"), files, strict=True):
        with atomic_write(target) as partial:
            partial.write_bytes((order.work / "evaluate" / name).read_bytes())
    return TrainWordResult(load(files[0]), files)


def _evaluate(order: TrainWordOptions, folders: dict[str, tuple[Path, ...]], model: Model, split: str) -> Evaluation:
    """On what one split holds of each folder; an empty one is left out."""
    cache = order.work / "cache"
    words: dict[str, Any] = {}
    for recording in recordings(corpus.load(folders["positives"], cache, "positives"), split):
        words.setdefault(recording.source, []).append(recording)
    words = {name: found[:EVALUATED] for name, found in words.items()}
    speech = corpus.load(folders["speech"], cache, "speech")
    speech = exclude_word(speech, known_texts([speech], order.says), [order.phrase])
    noise = corpus.load(folders["noise"], cache, "noise")
    streams = {name: recordings(each, split) for name, each in (("speech", speech), ("noise", noise))}
    others = {name: found for name, found in streams.items() if found}
    return evaluate({model.word: model}, words, others, SNRS_DB)[0]
