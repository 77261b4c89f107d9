"""A phrase in, a measured model file out: speak, fill, fit, evaluate, each step done once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from tqdm import tqdm

from model.frontend import FrontEnd
from model.modelfile import Model, load
from training.alignment.phone_targets import WITHOUT_PHONES, can_align
from training.corpora import corpus
from training.pipeline.material import SPOKEN, WordMaterial, speak_word
from training.pipeline.measure_word import FILES, measure_word
from training.pipeline.options import TrainWordOptions
from training.utils.atomic_write import atomic_write
from training.utils.errors import TrainingError
from training.utils.resumable_steps import Result, ResumableSteps, stamp
from training.voices.engines import find_voices
from training.voices.synthesize import vocabulary_of

STEPS = ("speak", "fill", "fit", "evaluate")
FRONT_END = FrontEnd("log")


@dataclass(frozen=True)
class TrainWordResult:
    """model: as it was written; files: the model, its report and its card."""

    model: Model
    files: tuple[Path, ...]


def train_word(options: TrainWordOptions) -> TrainWordResult:
    """Do all steps that are not done yet. Raises TrainingError for whatever the user can mend, before it costs time."""
    _check(options)
    voices, vocabulary = find_voices(options.piper, options.kokoro), vocabulary_of(options.words)
    steps = ResumableSteps(options.work, STEPS)
    tqdm.write(f"{options.phrase!r}: {len(STEPS)} steps; Ctrl-C, and the same command goes on")
    if not can_align():
        tqdm.write(WITHOUT_PHONES)
    material = WordMaterial(options, speak_word(options, steps, voices, vocabulary), voices)
    material.fill(steps, voices, vocabulary)
    fitted = _fit(options, steps, material)
    measured = measure_word(options, steps, material, fitted)
    files = []
    for suffix, name in FILES.items():
        files.append(options.output.with_suffix(suffix))
        with atomic_write(files[-1]) as partial:
            partial.write_bytes((measured / name).read_bytes())
    return TrainWordResult(load(files[0]), tuple(files))


def _check(options: TrainWordOptions) -> None:
    if not options.phrase.strip() or not options.phrase.isprintable():
        raise TrainingError("a phrase of one or more words is needed")
    if not options.output.absolute().parent.is_dir():
        raise TrainingError(f"{options.output.absolute().parent}: no such folder to write the model into")
    names = [folder.resolve().name for folder in options.positives]
    for folder in (*options.positives, *options.negatives, *options.backgrounds):
        corpus.find(folder)
    for name in names:
        if names.count(name) > 1 or name in SPOKEN:
            raise TrainingError(f"two folders of the word are called {name!r}: rename one, to tell them apart")
    if options.start and load(options.start).front_end != FRONT_END:
        raise TrainingError(f"{options.start}: a model with another front end, so a training cannot begin with it")


def _fit(options: TrainWordOptions, steps: ResumableSteps, material: WordMaterial) -> Path:
    """Train the network; its model file."""
    own = stamp((*options.positives, *options.negatives, *options.backgrounds))
    settings = {"recordings": own, "size": asdict(options.size), "seed": options.seed}
    if options.start:
        settings["start"] = stamp([options.start])
    if not can_align():
        settings["phones"] = False  # once they can be had, it is trained anew
    if options.says:
        settings["says"] = [[str(folder), text] for folder, text in options.says]

    def fit(folder: Path) -> Result:
        from training.learning.early_stopping import EarlyStopping
        from training.learning.scene_batches import Folders, TrainingPlan
        from training.learning.schedule import CONTINUED_LEARNING_RATE, Schedule
        from training.learning.trainer import Trainer
        from training.scenes.recipe import SceneRecipe

        size = options.size
        plan = TrainingPlan(
            Folders(**material.folders(), cache=options.work / "cache", says=options.says, word=options.phrase),
            FRONT_END,
            SceneRecipe(),
            options.seed,
            phones_of=options.phrase if can_align() else None,
            rows=size.rows,
            epoch_steps=size.epoch_batches,
        )
        schedule = Schedule(
            epochs=size.epochs,
            learning_rate=CONTINUED_LEARNING_RATE if options.start else Schedule.learning_rate,
            measure_every=max(1, size.epochs // 5),
            stopping=EarlyStopping(patience=3),
        )
        training = Trainer(options.phrase, plan, schedule, folder, load(options.start) if options.start else None)
        training.run()
        training.export(folder / "model.npz")
        return {}

    steps.run("fit", settings, fit)
    return options.work / "fit" / "model.npz"
