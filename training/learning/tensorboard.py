"""Figures of a training in, event files that TensorBoard reads out.

TensorFlow alone writes them; TensorBoard need not be installed (`pip install tensorboard`, then
`tensorboard --logdir work`, where one wants to look).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class TensorBoardWriter:
    """Named numbers by epoch. A training that goes on later adds a file; an epoch done twice counts as its last."""

    def __init__(self, folder: Path) -> None:
        import tensorflow as tf

        self._writer = tf.summary.create_file_writer(str(folder))

    def write(self, epoch: int, values: Mapping[str, float]) -> None:
        """Append the values of one epoch; they are on disk when this returns."""
        import tensorflow as tf

        # what tf.summary.scalar does, which comes with TensorBoard
        metadata = tf.compat.v1.SummaryMetadata()
        metadata.plugin_data.plugin_name = "scalars"
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.write(name, tf.constant(value, tf.float32), step=epoch, metadata=metadata)
        self._writer.flush()


def epoch_line(entry: Mapping[str, Any]) -> str:
    """An entry of the training's log for a reader; the log holds all of it."""
    parts = [f"epoch {entry['epoch']}: loss {entry['loss']:.4f}"]
    for name, value in scalars_of(entry).items():
        kind, _, what = name.partition("/")
        if what:
            shown = f"{value:.0%}" if kind.startswith("recall") else f"{value:g} an hour"
            parts.append(f"{what} {shown}")
    if len(parts) > 1:
        parts[1] = f"at a threshold of 0.5: {parts[1]}"
    return ", ".join(parts)


def scalars_of(entry: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of an entry of the training's log, at the threshold in the middle of those measured."""
    values = {"loss": float(entry["loss"]), "learning rate": float(entry["learning_rate"])}
    if "thresholds" in entry:
        place = entry["thresholds"].index(0.5)
        for name, shares in entry["recall"].items():
            values[f"recall at 0.5/{name}"] = shares[place]
        for kind in ("speech", "noise"):
            values[f"false accepts an hour at 0.5/{kind}"] = entry[f"{kind}_fa_per_hour"][place]
    if "score" in entry:
        values["recall at the wished false accepts"] = entry["score"]
    return values
