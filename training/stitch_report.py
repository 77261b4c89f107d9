"""The manifest of stitched clips in, a picture and samples of the best, the middle and the worst out."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import soundfile
from tqdm import tqdm

from model.extras import install
from model.frontend import FULL_SCALE, SAMPLE_RATE, spectrogram

EACH = 4  # clips of each kind
_PICTURE = "joins.png"


def report(clips: Sequence[dict[str, Any]], folder: Path, output: Path) -> None:
    """Copy the clips with the lowest, middle and highest score from `folder` to `output`, and draw them.

    clips: entries of the manifest, at least one. Without matplotlib there are the samples alone.
    """
    ordered = sorted(clips, key=lambda entry: (entry["score"], entry["file"]))
    middle = max(0, (len(ordered) - EACH) // 2)
    kinds = {"best": ordered[:EACH], "middle": ordered[middle : middle + EACH], "worst": ordered[-EACH:]}
    output.mkdir(parents=True, exist_ok=True)
    for stale in output.glob("*.flac"):
        stale.unlink()
    for kind, entries in kinds.items():
        for number, entry in enumerate(entries, 1):
            name = f"{kind}-{number}-{entry['file'].replace('/', '-')}"
            shutil.copyfile(folder / entry["file"], output / name)
    try:
        _draw(kinds, folder, output / _PICTURE)
    except ImportError:
        tqdm.write(f"{output}: no picture of the joins, which needs the package matplotlib: {install('plot')}")


def _draw(kinds: dict[str, list[dict[str, Any]]], folder: Path, picture: Path) -> None:
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * EACH, 4 * len(kinds)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(kinds), EACH, squeeze=False)
    for row, (kind, entries) in zip(axes, kinds.items(), strict=True):
        for axis in row[len(entries) :]:
            axis.set_axis_off()
        for axis, entry in zip(row, entries, strict=False):
            samples, _ = soundfile.read(folder / entry["file"], dtype="float32")
            columns = 10 * np.log10(spectrogram(samples * FULL_SCALE) + 1e-3)
            extent = (0, len(samples) / SAMPLE_RATE, 0, SAMPLE_RATE / 2000)
            top = columns.max()
            axis.imshow(columns, origin="lower", aspect="auto", extent=extent, vmin=top - 70, vmax=top, cmap="magma")
            axis.set_ylim(0, 8)
            for join in entry["joins"]:
                axis.axvline(join["at"], color="cyan", linewidth=1)
                axis.text(join["at"], 7.6, f"{join['cost']:.1f}", color="cyan", fontsize=8)
            phones = " | ".join(piece["phones"] for piece in entry["pieces"])
            axis.set_title(f"{kind}: {entry['file']}, score {entry['score']}\n{phones}", fontsize=9)
    for axis in axes[:, 0]:
        axis.set_ylabel("kHz")
    for axis in axes[-1]:
        axis.set_xlabel("s; lines: joins and their costs")
    figure.savefig(picture, dpi=80)
