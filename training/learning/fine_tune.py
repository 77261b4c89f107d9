"""A trained model and material in, the same model a little changed out.

Gently: few batches, a small learning rate, every BatchNorm frozen, the weights drawn back to where they began (L2-SP;
Li et al., "Explicit inductive bias for transfer learning", ICML 2018), and the average of the weights on the way. The
network is built and traced once, however many trainings there are.
"""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from model.frontend import FLOOR_DB, FloatArray
from model.modelfile import Model
from model.network import UNITS
from training.learning.export import check_parity
from training.learning.scene_batches import Batch, Folders, TrainingPlan, epoch
from training.learning.tensorflow_backend import tensorflow
from training.scenes.material import SceneMaterial
from training.scenes.recipe import SceneRecipe
from training.utils.progress import bar

OWN_SPEED = (0.9, 1.12)  # one voice varies less than voices do
# the word, its first part, synthetic and other sounds; no pieces joined at random
OWN_EVENTS = (0.35, 0.04, 0.21, 0.4, 0.0)
PREFETCHED = 4  # batches computed in advance


@dataclass(frozen=True)
class FineTuneSettings:
    """How far a model may go from where it began.

    batches: of 2.55 s in `rows` streams; learning_rate: at its highest; pull: of the weights towards the start, for
    each batch at the full learning rate; averaging: of the weights, per batch.
    """

    batches: int = 150
    rows: int = 16
    learning_rate: float = 3e-4
    pull: float = 0.01
    averaging: float = 0.97
    seed: int = 0
    threads: int = 1


class FineTuner:
    """Fine-tunes one model, as often as wished."""

    def __init__(self, start: Model, gentle: FineTuneSettings, recipe: SceneRecipe | None = None) -> None:
        tf = tensorflow(gentle.threads, gentle.seed)
        import keras

        from training.learning.keras_network import build, freeze_norms, restore

        self._start, self._gentle = start, gentle
        self._recipe = recipe or replace(
            SceneRecipe(),
            synthetic_speed=OWN_SPEED,
            events=OWN_EVENTS,
            vocal_tract=(1.0, 1.0),  # its own
            floor_db=(FLOOR_DB, FLOOR_DB),
        )
        self._twin = build(start.weights.bins, columns=None)
        restore(self._twin.clip, start.weights)
        freeze_norms(self._twin.clip)
        self._trained = self._twin.stream.trainable_variables
        self._anchor = [np.array(variable) for variable in self._trained]
        self._optimizer = keras.optimizers.Adam(gentle.learning_rate, clipnorm=1.0)
        self._optimizer.build(self._trained)
        # dropout's random numbers are among the variables: every training begins with the same
        self._variables = [*self._twin.stream.variables, *self._optimizer.variables]
        self._fresh = [np.array(variable) for variable in self._variables]
        self._step = self._compile(tf)

    def describe(self) -> dict[str, Any]:
        """What decides the course of the training, for the model file."""
        return {"adaptation": asdict(self._gentle) | {"recipe": asdict(self._recipe)}}

    def _compile(self, tf: Any) -> Any:
        stream, optimizer, trained = self._twin.stream, self._optimizer, self._trained
        anchors = [tf.constant(value) for value in self._anchor]

        from training.learning import losses

        @tf.function(jit_compile=False, reduce_retracing=True)  # XLA takes minutes and gigabytes
        def step(columns: Any, target: Any, weight: Any, state1: Any, state2: Any, pull: Any) -> Any:
            with tf.GradientTape() as tape:
                posterior, state1, state2 = stream([columns, state1, state2], training=True)
                posterior = tf.clip_by_value(posterior[:, :, 0], 1e-6, 1 - 1e-6)
                loss = losses.steps(posterior, target, weight)
            optimizer.apply_gradients(zip(tape.gradient(loss, trained), trained, strict=True))
            for variable, anchor in zip(trained, anchors, strict=True):
                variable.assign(variable - pull * (variable - anchor))
            return loss, state1, state2

        return step

    def tune(self, material: SceneMaterial, title: str, number: int = 0) -> Model:
        """The model after a training on this material; `number` changes the seed."""
        gentle = self._gentle
        for variable, value in zip(self._variables, self._fresh, strict=True):
            variable.assign(value)
        plan = TrainingPlan(
            Folders((), (), (), (), Path()),
            self._start.front_end,
            self._recipe,
            gentle.seed + number,
            rows=gentle.rows,
            epoch_steps=gentle.batches,
        )
        average = [value.copy() for value in self._anchor]
        state1 = state2 = np.zeros((gentle.rows, UNITS), np.float32)
        for done, batch in enumerate(bar(_prefetched(plan, material), title, "batch", gentle.batches)):
            pace = _pace(done, gentle.batches)
            self._optimizer.learning_rate = gentle.learning_rate * pace
            going_on = (1 - batch.fresh)[:, None]
            pull = np.float32(gentle.pull * pace)
            _, state1, state2 = self._step(
                batch.columns, batch.target, batch.weight, state1 * going_on, state2 * going_on, pull
            )
            for mean, variable in zip(average, self._trained, strict=True):
                mean += (1 - gentle.averaging) * (variable.numpy() - mean)
        return self._model(average)

    def _model(self, average: list[FloatArray]) -> Model:
        """The averaged weights, which the Keras network then holds, too."""
        from training.learning.keras_network import weights

        for variable, value in zip(self._trained, average, strict=True):
            variable.assign(value)
        return replace(self._start, weights=weights(self._twin.clip))

    def check(self, model: Model) -> None:
        """Raises TrainingError if our engine disagrees with Keras on the model that `tune` gave last."""
        check_parity(self._twin.clip, model.weights)


def _pace(batch: int, batches: int) -> float:
    """The share of the learning rate: up over a tenth of the batches, then down as a cosine."""
    warm = max(1, batches // 10)
    return min(1.0, (batch + 1) / warm) * (0.5 + 0.5 * math.cos(math.pi * batch / batches))


def _prefetched(plan: TrainingPlan, material: SceneMaterial) -> Iterator[Batch]:
    """The batches, computed in a thread, a few in advance."""
    made: queue.Queue[Batch | BaseException | None] = queue.Queue(PREFETCHED)
    stopped = threading.Event()

    def put(item: Batch | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                made.put(item, timeout=0.5)
                return

    def work() -> None:
        try:
            for batch in epoch(plan, material, 0):
                put(batch)
                if stopped.is_set():
                    return
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        while (item := made.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
