"""Random choices of a recipe, from one generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from training.scenes.recipe import Range

T = TypeVar("T")


class Draw:
    """Draws from one generator, in the order in which it is asked: the same seed, the same scene."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def between(self, limits: Range) -> float:
        """A number of this range."""
        return float(self.rng.uniform(*limits))

    def chance(self, probability: float) -> bool:
        """Whether something of this probability happens."""
        return bool(self.rng.random() < probability)

    def one_of(self, choices: Sequence[T]) -> T:
        """One of these."""
        return choices[int(self.rng.integers(len(choices)))]
