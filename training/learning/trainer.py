"""Scenes in, a trained network out: long streams, the state carried, checkpoints, resume.

Each epoch is some minutes of many parallel streams. The optimiser's average of the weights, not their last
value, is what is measured and exported.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from model.modelfile import Model
from model.network import UNITS
from training.alignment.phone_targets import NAMES
from training.corpora.corpus import Corpus
from training.learning import dataset_batches, scene_batches
from training.learning.checkpoint import described
from training.learning.development import measure
from training.learning.early_stopping import score
from training.learning.export import export
from training.learning.hard_negatives import HardNegative, find_hard_negatives
from training.learning.prefetch import Prefetch
from training.learning.scene_batches import Batch, TrainingPlan
from training.learning.schedule import Schedule
from training.learning.tensorboard import TensorBoardWriter, epoch_line, scalars_of
from training.learning.tensorflow_backend import tensorflow
from training.learning.training_state import TrainingState
from training.scenes.material import SceneMaterial
from training.utils.errors import TrainingError
from training.utils.progress import bar, duration


class Trainer:
    """One training run; `run` returns when all epochs are done, and goes on where an earlier one stopped.

    start: a model whose weights to begin with; its BatchNorms, folded into the weights, stay frozen.
    Raises TrainingError if that model has another front end.
    """

    def __init__(
        self, word: str, plan: TrainingPlan, schedule: Schedule, folder: Path, start: Model | None = None
    ) -> None:
        tf = tensorflow(schedule.threads, plan.seed)
        import keras

        from training.learning.keras_network import build, freeze_norms, restore
        from training.learning.training_step import compile_step

        self._word, self._plan, self._schedule, self._folder = word, plan, schedule, folder
        folder.mkdir(parents=True, exist_ok=True)
        self._start = start
        network = build(plan.front_end.bins, columns=None, phones=len(NAMES) if plan.phones_of else 0)
        if start:
            if start.front_end != plan.front_end:
                raise TrainingError("the model to start from was trained on another front end")
            restore(network.clip, start.weights)
            freeze_norms(network.clip)
        self._optimizer = keras.optimizers.AdamW(
            self._learning_rate(0), weight_decay=schedule.weight_decay, clipnorm=1.0
        )
        self._optimizer.build(network.stream.trainable_variables)
        weights = [np.array(variable) for variable in network.clip.weights]
        averages = [tf.Variable(value, trainable=False) for value in weights]
        variables = [*network.stream.variables, *self._optimizer.variables]
        self._state = TrainingState(variables, averages, weights)
        self._step = compile_step(network, self._optimizer, averages, schedule)

    def _learning_rate(self, batch: int) -> float:
        return self._schedule.rate(batch, self._schedule.epochs * self._plan.epoch_steps)

    def _store(self) -> None:
        self._state.store(self._folder, self._describe())

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
        start = self._start.training if self._start else None
        described: dict[str, Any] = json.loads(
            json.dumps({"word": self._word, "plan": plan, "schedule": schedule, "start": start})
        )
        return described

    def run(self) -> Model:
        """Train to the last epoch; returns the model. Ctrl-C loses at most one epoch."""
        if self._state.restore(self._folder, self._describe()):
            tqdm.write(f"going on after epoch {self._state.epoch} of {self._schedule.epochs}")
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
        self._state.take_best()
        return self.model()

    def _near(self, speech: Corpus) -> list[HardNegative]:
        """Where the model to start from nearly hears the word in the real speech, if the recipe wants that."""
        if not (self._start and self._plan.recipe.near):
            return []
        clips = speech.split("train")
        found = find_hard_negatives(self._start, speech, clips, self._plan.folders.cache)
        tqdm.write(f"{len(found)} of {len(clips)} recordings of other speech sound like the word")
        return found

    def _batches(self, near: list[HardNegative]) -> Callable[[], Iterator[Batch]]:
        plan = self._plan
        if plan.built is None:
            return partial(scene_batches.stream, plan, self._state.epoch, near)
        return partial(dataset_batches.stream, plan.built, plan.front_end, plan.rows, plan.seed, self._state.epoch)

    def _finished(self) -> bool:
        stopping = self._schedule.stopping
        return self._state.epoch >= self._schedule.epochs or bool(
            stopping and self._state.progress.since >= stopping.patience
        )

    def _run_epoch(self, producer: Iterator[Batch], development: SceneMaterial, scalars: TensorBoardWriter) -> None:
        history = []
        state1 = state2 = np.zeros((self._plan.rows, UNITS), np.float32)
        first = self._state.epoch * self._plan.epoch_steps
        title = f"epoch {self._state.epoch + 1}/{self._schedule.epochs}"
        by_events = self._state.epoch >= self._schedule.event_from * self._schedule.epochs
        shares = (0.3, self._schedule.event_weight) if by_events else (1.0, 0.0)
        for number in bar(range(first, first + self._plan.epoch_steps), title, "batch"):
            batch: Batch = next(producer)
            going_on = (1 - batch.fresh)[:, None]
            self._optimizer.learning_rate = self._learning_rate(number)
            keep = np.float32(min(self._schedule.averaging, (number + 1) / (number + 10)))
            *loss, state1, state2 = self._step(
                batch, state1 * going_on, state2 * going_on, keep, *(np.float32(share) for share in shares)
            )
            history.append([float(part) for part in loss])
        self._state.epoch += 1
        word, whole = np.mean(history, axis=0)
        entry: dict[str, Any] = {"epoch": self._state.epoch, "loss": round(float(word), 5)}
        if self._plan.phones_of:
            entry["phone_loss"] = round(float(whole - word) / self._schedule.phone_weight, 4)
        entry["learning_rate"] = float(f"{self._learning_rate(first):.4g}")
        if self._state.epoch % self._schedule.measure_every == 0 or self._state.epoch == self._schedule.epochs:
            model = self.export(self._folder / "latest.npz")
            entry |= measure(model, development)
            self._judge(entry)
        # after the measurement, on which it depends whether the training goes on
        self._store()
        scalars.write(self._state.epoch, scalars_of(entry))
        with (self._folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(entry) + "\n")
        tqdm.write(epoch_line(entry))

    def _judge(self, entry: dict[str, Any]) -> None:
        stopping = self._schedule.stopping
        if not stopping:
            return
        if not stopping.can_judge(entry):
            if self._state.epoch <= self._schedule.measure_every:
                tqdm.write(
                    f"{duration(3600 * entry['speech_hours'])} of development speech cannot tell "
                    f"{stopping.fa_per_hour:g} false accepts an hour: no early stop"
                )
            return
        entry["score"] = round(score(entry, stopping.fa_per_hour), 4)
        if self._state.progress.keeps(entry["score"]):
            self._state.keep_best()
        self._state.progress = self._state.progress.after(entry["score"])

    def model(self) -> Model:
        """The averaged weights as a model file holds them."""
        from training.learning.keras_network import weights

        return described(self._word, weights(self._averaged()), self._describe(), self._state.epoch)

    def export(self, path: Path) -> Model:
        """Write the model file. Raises TrainingError, and writes nothing, if our engine disagrees with Keras."""
        model = self.model()
        export(path, model, self._averaged())
        return model

    def _averaged(self) -> Any:
        """A Keras network with the averaged weights."""
        from training.learning.keras_network import build

        clip = build(self._plan.front_end.bins, columns=None).clip
        for variable, average in zip(clip.weights, self._state.averages, strict=True):
            variable.assign(average.numpy())
        return clip
