"""Scenes in, a trained network out: long streams, the state carried, checkpoints, resume.

Each epoch is some minutes of many parallel streams. The optimiser's average of the weights, not their last
value, is what is measured and exported.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from tqdm import tqdm

from model.modelfile import Model
from model.network import UNITS
from training.alignment.phone_targets import NAMES
from training.corpora.corpus import Corpus
from training.learning import dataset_batches, scene_batches
from training.learning.checkpoint import CHECKPOINT, described
from training.learning.early_stopping import EarlyStopping, StoppingProgress, score
from training.learning.export import export
from training.learning.hard_negatives import HardNegative, find_hard_negatives
from training.learning.prefetch import Prefetch
from training.learning.scene_batches import Batch, TrainingPlan
from training.learning.tensorboard import TensorBoardWriter, epoch_line, scalars_of
from training.learning.tensorflow_backend import tensorflow
from training.measuring.evaluation import THRESHOLDS, FalseAccepts, Recall
from training.scenes.scenes import SceneMaterial
from training.utils.atomic_write import atomic_write
from training.utils.errors import TrainingError
from training.utils.progress import bar, duration

CONTINUED_LEARNING_RATE = (
    7e-4  # learning rate of a training that begins with another's weights: it does not undo what is known
)


@dataclass(frozen=True)
class Schedule:
    """How long and how fast. The learning rate warms up over 200 batches, then falls as a cosine to nothing.

    stopping: when to end before the last epoch, with the weights that measured best; None: never.
    """

    epochs: int = 40
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    averaging: float = 0.998  # of the weights, per batch
    phone_weight: float = 1.0  # of the phones' cross-entropy against the word's, where the plan has phones
    event_from: float = 1.0  # share of the epochs after which the loss is by events, not by steps
    event_weight: float = 0.1  # of the loss by events then; the loss by steps keeps 0.3
    negative_weight: float = 1.0  # of a stretch without the word against a word, in the loss by events
    measure_every: int = 5  # epochs
    threads: int = 1
    stopping: EarlyStopping | None = None


class Trainer:
    """One training run; `run` returns when all epochs are done, and goes on where an earlier one stopped.

    start: a model whose weights to begin with; its BatchNorms, folded into the weights, stay frozen.
    Raises TrainingError if that model has another front end.
    """

    def __init__(
        self, word: str, plan: TrainingPlan, schedule: Schedule, folder: Path, start: Model | None = None
    ) -> None:
        tensorflow(schedule.threads, plan.seed)
        import keras

        from training.learning.keras_network import build, freeze_norms, restore

        self._word, self._plan, self._schedule, self._folder = word, plan, schedule, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._twin = build(plan.front_end.bins, columns=None, phones=len(NAMES) if plan.phones_of else 0)
        self._start, self._start_model = start.training if start else None, start
        if start:
            if start.front_end != plan.front_end:
                raise TrainingError("the model to start from was trained on another front end")
            restore(self._twin.clip, start.weights)
            freeze_norms(self._twin.clip)
        self._optimizer = keras.optimizers.AdamW(
            self._learning_rate(0), weight_decay=schedule.weight_decay, clipnorm=1.0
        )
        self._optimizer.build(self._twin.stream.trainable_variables)
        self._variables = [*self._twin.stream.variables, *self._optimizer.variables]
        self._average = [np.array(variable) for variable in self._twin.clip.weights]
        self._epoch = 0
        self._progress, self._best = StoppingProgress(), self._average
        self._step = self._compile()

    def _learning_rate(self, batch: int) -> float:
        schedule = self._schedule
        total = schedule.epochs * self._plan.epoch_steps
        warm = min(1.0, (batch + 1) / 200)
        return schedule.learning_rate * warm * (0.5 + 0.5 * math.cos(math.pi * min(1.0, batch / max(1, total))))

    def _compile(self) -> Any:
        import tensorflow as tf

        from training.learning import losses

        stream, optimizer = self._twin.stream, self._optimizer
        averages = [tf.Variable(value, trainable=False) for value in self._average]
        self._average_variables = averages

        phone_weight = self._schedule.phone_weight

        @tf.function(jit_compile=False)  # XLA unrolls the loop over the steps and takes minutes and gigabytes
        def step(batch: Any, state1: Any, state2: Any, keep: Any, by_steps: Any, by_events: Any) -> Any:
            with tf.GradientTape() as tape:
                posterior, state1, state2, *phones = stream([batch.columns, state1, state2], training=True)
                posterior = tf.clip_by_value(posterior[:, :, 0], 1e-6, 1 - 1e-6)
                loss = by_steps * losses.steps(posterior, batch.target, batch.weight)
                if self._schedule.event_from < 1:
                    loss += by_events * losses.events(posterior, batch.event, self._schedule.negative_weight)
                word_loss = loss
                if phones:
                    loss += phone_weight * losses.phones(phones[0], batch.phone)
            variables = stream.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            for average, variable in zip(averages, self._twin.clip.weights, strict=True):
                average.assign(keep * average + (1 - keep) * variable.value)
            return word_loss, loss, state1, state2

        return step

    def _restore(self) -> None:
        path = self._folder / CHECKPOINT
        if not path.exists():
            return
        try:
            archive = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, BadZipFile) as error:
            raise TrainingError(f"{path}: damaged; remove it, and the training begins anew") from error
        with archive:
            stored = json.loads(archive["plan"].tobytes())
            if stored != self._describe():
                raise TrainingError(
                    f"{path} belongs to a training with other settings; remove it or use another folder"
                )
            self._epoch = int(archive["epoch"])
            for number, variable in enumerate(self._variables):
                variable.assign(archive[f"variable{number}"])
            for number, average in enumerate(self._average_variables):
                average.assign(archive[f"average{number}"])
            if "progress" in archive:
                best, since = archive["progress"].tolist()
                self._progress = StoppingProgress(best, int(since))
                self._best = [archive[f"best{number}"] for number in range(len(self._best))]
        tqdm.write(f"going on after epoch {self._epoch} of {self._schedule.epochs}")

    def _store(self) -> None:
        arrays: dict[str, Any] = {"epoch": np.array(self._epoch)}
        arrays["plan"] = np.frombuffer(json.dumps(self._describe()).encode(), np.uint8)
        arrays |= {f"variable{number}": np.array(variable) for number, variable in enumerate(self._variables)}
        arrays |= {f"average{number}": average.numpy() for number, average in enumerate(self._average_variables)}
        arrays["progress"] = np.array([self._progress.best, self._progress.since])
        arrays |= {f"best{number}": best for number, best in enumerate(self._best)}
        with atomic_write(self._folder / CHECKPOINT) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)

    def _describe(self) -> dict[str, Any]:
        """What decides the course of the training, as JSON keeps it."""
        plan = asdict(self._plan)
        plan["folders"] = {
            name: [str(path) for path in paths]
            for name, paths in plan["folders"].items()
            if name not in ("cache", "says", "word")
        }
        ignored = ("threads",) if self._schedule.stopping else ("threads", "measure_every", "stopping")
        schedule = {key: value for key, value in asdict(self._schedule).items() if key not in ignored}
        described: dict[str, Any] = json.loads(
            json.dumps({"word": self._word, "plan": plan, "schedule": schedule, "start": self._start})
        )
        return described

    def run(self) -> Model:
        """Train to the last epoch; returns the model. Ctrl-C loses at most one epoch."""
        self._restore()
        if not self._finished():
            # before anything is computed: a folder that is wrong, or changes later, must not cost hours; and with
            # the phones, though nothing here measures them, since the producer may not start processes to find them
            development = self._plan.folders.load("dev", self._plan.phones_of)
            if self._plan.built is None:
                scene_batches.require(development, self._plan.folders)
            producer = Prefetch(self._batches(self._near(development.speech)))
            scalars = TensorBoardWriter(self._folder / "events")
            try:
                while not self._finished():
                    self._run_epoch(producer, development, scalars)
            finally:
                producer.close()
        if self._progress.best >= 0:  # as `checkpoint` has it: what was never judged has no best weights
            for average, best in zip(self._average_variables, self._best, strict=True):
                average.assign(best)
        return self.model()

    def _near(self, speech: Corpus) -> list[HardNegative]:
        """Where the model to start from nearly hears the word in the real speech, if the recipe wants that."""
        if not (self._start_model and self._plan.recipe.near):
            return []
        clips = speech.split("train")
        found = find_hard_negatives(self._start_model, speech, clips, self._plan.folders.cache)
        tqdm.write(f"{len(found)} of {len(clips)} recordings of other speech sound like the word")
        return found

    def _batches(self, near: list[HardNegative]) -> Callable[[], Iterator[Batch]]:
        plan = self._plan
        if plan.built is None:
            return partial(scene_batches.stream, plan, self._epoch, near)
        return partial(dataset_batches.stream, plan.built, plan.front_end, plan.rows, plan.seed, self._epoch)

    def _finished(self) -> bool:
        stopping = self._schedule.stopping
        return self._epoch >= self._schedule.epochs or bool(stopping and self._progress.since >= stopping.patience)

    def _run_epoch(self, producer: Iterator[Batch], development: SceneMaterial, scalars: TensorBoardWriter) -> None:
        history = []
        state1 = state2 = np.zeros((self._plan.rows, UNITS), np.float32)
        first = self._epoch * self._plan.epoch_steps
        title = f"epoch {self._epoch + 1}/{self._schedule.epochs}"
        part = (self._epoch / self._schedule.epochs, (self._epoch + 1) / self._schedule.epochs)
        by_events = self._epoch >= self._schedule.event_from * self._schedule.epochs
        shares = (0.3, self._schedule.event_weight) if by_events else (1.0, 0.0)
        for number in bar(range(first, first + self._plan.epoch_steps), title, "batch", part=part):
            batch: Batch = next(producer)
            going_on = (1 - batch.fresh)[:, None]
            self._optimizer.learning_rate = self._learning_rate(number)
            keep = np.float32(min(self._schedule.averaging, (number + 1) / (number + 10)))
            *loss, state1, state2 = self._step(
                batch, state1 * going_on, state2 * going_on, keep, *(np.float32(share) for share in shares)
            )
            history.append([float(part) for part in loss])
        self._epoch += 1
        word, whole = np.mean(history, axis=0)
        entry: dict[str, Any] = {"epoch": self._epoch, "loss": round(float(word), 5)}
        if self._plan.phones_of:
            entry["phone_loss"] = round(float(whole - word) / self._schedule.phone_weight, 4)
        entry["learning_rate"] = float(f"{self._learning_rate(first):.4g}")
        if self._epoch % self._schedule.measure_every == 0 or self._epoch == self._schedule.epochs:
            model = self.export(self._folder / "latest.npz")
            entry |= measure(model, development)
            self._judge(entry)
        # after the measurement, on which it depends whether the training goes on
        self._store()
        scalars.write(self._epoch, scalars_of(entry))
        with (self._folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(entry) + "\n")
        tqdm.write(epoch_line(entry))

    def _judge(self, entry: dict[str, Any]) -> None:
        stopping = self._schedule.stopping
        if not stopping:
            return
        if not stopping.can_judge(entry):
            if self._epoch <= self._schedule.measure_every:
                tqdm.write(
                    f"{duration(3600 * entry['speech_hours'])} of development speech cannot tell "
                    f"{stopping.fa_per_hour:g} false accepts an hour: no early stop"
                )
            return
        entry["score"] = round(score(entry, stopping.fa_per_hour), 4)
        if self._progress.keeps(entry["score"]):
            self._best = [average.numpy() for average in self._average_variables]
        self._progress = self._progress.after(entry["score"])

    def model(self) -> Model:
        """The averaged weights as a model file holds them."""
        from training.learning.keras_network import weights

        return described(self._word, weights(self._averaged()), self._describe(), self._epoch)

    def export(self, path: Path) -> Model:
        """Write the model file. Raises TrainingError, and writes nothing, if our engine disagrees with Keras."""
        model = self.model()
        export(path, model, self._averaged())
        return model

    def _averaged(self) -> Any:
        """A Keras network with the averaged weights."""
        from training.learning.keras_network import build

        clip = build(self._plan.front_end.bins, columns=None).clip
        for variable, average in zip(clip.weights, self._average_variables, strict=True):
            variable.assign(average.numpy())
        return clip


def measure(model: Model, material: SceneMaterial, limit: int = 100) -> dict[str, Any]:
    """False accepts and recall on one split, by threshold; of each folder of words, `limit` at most."""
    recalls = {}
    for folder, clips in material.by_folder["positives"].items():
        words = list(_samples(material.positives, clips[:limit]))
        for title, snr in (("quiet", None), ("10 dB", 10.0)):
            recalls[f"{folder}, {title}"] = Recall(model, words, snr_db=snr)
    speech = FalseAccepts(model, _samples(material.speech, material.clips["speech"]))
    noise = FalseAccepts(model, _samples(material.noise, material.clips["noise"]))
    return {
        "thresholds": THRESHOLDS,
        "recall": {
            name: [round(recall.at(threshold).value, 3) for threshold in THRESHOLDS] for name, recall in recalls.items()
        },
        "speech_fa_per_hour": [round(speech.at(threshold).value, 2) for threshold in THRESHOLDS],
        "noise_fa_per_hour": [round(noise.at(threshold).value, 2) for threshold in THRESHOLDS],
        "speech_hours": round(speech.hours, 3),
        "noise_hours": round(noise.hours, 3),
    }


def _samples(corpus: Corpus, clips: list[Any]) -> Iterator[Any]:
    for clip in clips:
        yield corpus[clip]
