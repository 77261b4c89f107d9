"""How long and how fast a network is trained: epochs, learning rate, losses, measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.learning.early_stopping import EarlyStopping

# learning rate of a training that begins with another's weights: it does not undo what is known
CONTINUED_LEARNING_RATE = 7e-4


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

    def rate(self, batch: int, batches: int) -> float:
        """The learning rate of one of so many batches."""
        warm = min(1.0, (batch + 1) / 200)
        return self.learning_rate * warm * (0.5 + 0.5 * math.cos(math.pi * min(1.0, batch / max(1, batches))))
