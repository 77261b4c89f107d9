"""What it costs to build a data set and to train on one: `python -m tests.bench.training_cost`.

Examples are mixed from made-up recordings by one process. Batches are those of a training, 32 streams of 2.55 s, of
random features: what they hold does not change what they cost. CPU time as the kernel accounts for it, so that a busy
machine counts for little.
"""

from __future__ import annotations

import itertools
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
try:
    pytest.importorskip("tensorflow", reason="the train extra is not installed")
except pytest.skip.Exception as missing:
    sys.exit(f"training left out: {missing}")

from model.frontend import CLIP, SAMPLE_RATE, FrontEnd
from tests.support.raw_data import make_raw_data
from training.dataset import recipe
from training.dataset.build import BuildPlan, build
from training.dataset.raw_data import load
from training.learning.scene_batches import CHUNK_COLUMNS, CHUNK_SAMPLES, CHUNK_STEPS, Batch, Folders
from training.learning.scene_batches import TrainingPlan as FitPlan
from training.learning.schedule import Schedule
from training.learning.tensorboard import TensorBoardWriter
from training.learning.trainer import Trainer
from training.scenes.material import SceneMaterial
from training.scenes.recipe import SceneRecipe

EXAMPLES = 64
BATCHES = 6


def cpu() -> float:
    """Seconds that this process and those it has waited for used, user and system."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def bench_build(name: str, folder: Path) -> float:
    """CPU s for an example of this recipe."""
    raw, chosen = folder / "raw_data", recipe.load(name)
    plan = BuildPlan(chosen, load(raw, folder / "cache", "all", chosen).material, EXAMPLES, seed=1, split="all")
    begin = cpu()
    build(plan, str(folder / name))
    return (cpu() - begin) / EXAMPLES


def batches(rows: int, bins: int) -> Iterator[Batch]:
    """The same random batch, again and again."""
    rng = np.random.default_rng(0)
    shape = (rows, CHUNK_STEPS)
    batch = Batch(
        columns=rng.standard_normal((rows, CHUNK_COLUMNS, bins)).astype(np.float32),
        target=(rng.random(shape) > 0.9).astype(np.float32),
        weight=np.ones(shape, np.float32),
        phone=np.zeros(shape, np.int8),
        event=np.zeros(shape, np.int8),
        fresh=np.zeros(rows, np.float32),
    )
    return itertools.repeat(batch)


def bench_fit(folder: Path) -> tuple[float, float, int]:
    """CPU s and s for a batch; rows in it."""
    nothing = Folders((), (), (), (), folder / "cache")
    plan = FitPlan(nothing, FrontEnd(), SceneRecipe(), seed=1, epoch_steps=BATCHES)
    fit = Trainer("word", plan, Schedule(epochs=3, measure_every=3, threads=os.cpu_count() or 1), folder / "run")
    scalars, stream = TensorBoardWriter(folder / "events"), batches(plan.rows, plan.front_end.bins)
    material = SceneMaterial.__new__(
        SceneMaterial
    )  # for what is measured in the last epoch, to which this does not come
    fit._run_epoch(stream, material, scalars)  # builds the graph
    begin, wall = cpu(), time.monotonic()
    fit._run_epoch(stream, material, scalars)
    return (cpu() - begin) / BATCHES, (time.monotonic() - wall) / BATCHES, plan.rows


def main() -> None:
    """Print a table."""
    print("training", file=sys.stderr)
    with (
        tempfile.TemporaryDirectory() as name,
        Path(os.devnull).open("w") as quiet,
        redirect_stderr(quiet),
        redirect_stdout(quiet),
    ):
        folder = Path(name)
        make_raw_data(folder / "raw_data")
        built = {each: bench_build(each, folder) for each in ("assignment", "full")}
        used, passed, rows = bench_fit(folder)
    print("\n| | CPU s | times real time, of CPU |\n| --- | --- | --- |")
    for each, seconds in built.items():
        print(f"| `build`, recipe {each}: an example of 10 s | {seconds:.3f} | {CLIP / SAMPLE_RATE / seconds:.0f} |")
    heard = rows * CHUNK_SAMPLES / SAMPLE_RATE
    print(f"| `fit`: a batch of {rows} x {heard / rows:.2f} s | {used:.2f} | {heard / used:.0f} |")
    print(f"\nthat training took {passed:.2f} s a batch by the clock, on {os.cpu_count()} cores, busy or not")


if __name__ == "__main__":
    main()
