"""One batch of a training: the losses, the gradients, the optimiser's step and the average of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.learning import losses
from training.learning.keras_network import KerasNetwork
from training.learning.schedule import Schedule


def compile_step(network: KerasNetwork, optimizer: Any, averages: Sequence[Any], schedule: Schedule) -> Any:
    """A function of TensorFlow: (batch, state1, state2, keep, by_steps, by_events) -> word loss, loss, both states.

    keep: share of the average that stays; by_steps, by_events: weights of the two losses of the word.
    """
    import tensorflow as tf

    stream, phone_weight = network.stream, schedule.phone_weight

    @tf.function(jit_compile=False)  # XLA unrolls the loop over the steps and takes minutes and gigabytes
    def step(batch: Any, state1: Any, state2: Any, keep: Any, by_steps: Any, by_events: Any) -> Any:
        with tf.GradientTape() as tape:
            posterior, state1, state2, *phones = stream([batch.columns, state1, state2], training=True)
            posterior = tf.clip_by_value(posterior[:, :, 0], 1e-6, 1 - 1e-6)
            loss = by_steps * losses.steps(posterior, batch.target, batch.weight)
            if schedule.event_from < 1:
                loss += by_events * losses.events(posterior, batch.event, schedule.negative_weight)
            word_loss = loss
            if phones:
                loss += phone_weight * losses.phones(phones[0], batch.phone)
        variables = stream.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        for average, variable in zip(averages, network.clip.weights, strict=True):
            average.assign(keep * average + (1 - keep) * variable.value)
        return word_loss, loss, state1, state2

    return step
