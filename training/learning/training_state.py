"""All that a training has reached: what the checkpoint keeps, so that an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from training.learning.checkpoint import CHECKPOINT
from training.learning.early_stopping import StoppingProgress
from training.utils.atomic_write import atomic_write
from training.utils.errors import TrainingError


class TrainingState:
    """variables: the network's and the optimiser's; averages: of the weights, variables of TensorFlow too.

    best: the averages that measured best, where the training stops by itself.
    """

    def __init__(self, variables: Sequence[Any], averages: Sequence[Any], weights: Sequence[Any]) -> None:
        self._variables = variables
        self.averages = averages
        self.epoch = 0  # that were done
        self.progress = StoppingProgress()
        self._best = list(weights)

    def keep_best(self) -> None:
        """The averages are the best so far."""
        self._best = [average.numpy() for average in self.averages]

    def take_best(self) -> None:
        """Go back to the averages that measured best; what was never judged has none."""
        if self.progress.best >= 0:
            for average, best in zip(self.averages, self._best, strict=True):
                average.assign(best)

    def store(self, folder: Path, course: Mapping[str, Any]) -> None:
        """Write the checkpoint. course: what decides the training, as JSON keeps it."""
        arrays: dict[str, Any] = {"epoch": np.array(self.epoch)}
        arrays["plan"] = np.frombuffer(json.dumps(course).encode(), np.uint8)
        arrays |= {f"variable{number}": np.array(variable) for number, variable in enumerate(self._variables)}
        arrays |= {f"average{number}": average.numpy() for number, average in enumerate(self.averages)}
        arrays["progress"] = np.array([self.progress.best, self.progress.since])
        arrays |= {f"best{number}": best for number, best in enumerate(self._best)}
        with atomic_write(folder / CHECKPOINT) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)

    def restore(self, folder: Path, course: Mapping[str, Any]) -> bool:
        """Go on from the checkpoint, if there is one. Raises TrainingError: damaged, or of another training."""
        path = folder / CHECKPOINT
        if not path.exists():
            return False
        try:
            archive = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, BadZipFile) as error:
            raise TrainingError(f"{path}: damaged; remove it, and the training begins anew") from error
        with archive:
            if json.loads(archive["plan"].tobytes()) != course:
                raise TrainingError(
                    f"{path} belongs to a training with other settings; remove it or use another folder"
                )
            self.epoch = int(archive["epoch"])
            for number, variable in enumerate(self._variables):
                variable.assign(archive[f"variable{number}"])
            for number, average in enumerate(self.averages):
                average.assign(archive[f"average{number}"])
            if "progress" in archive:
                best, since = archive["progress"].tolist()
                self.progress = StoppingProgress(best, int(since))
                self._best = [archive[f"best{number}"] for number in range(len(self._best))]
        return True
