"""A plan in, a data set out: by processes of this machine or on a cluster, the same to the last bit.

A build that was interrupted goes on where it stopped: shards that are there are checked and kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.frontend import SAMPLE_RATE
from training.corpora.corpus import Problem
from training.dataset.example import ExampleMaker
from training.dataset.raw_data import RawClips, RawData
from training.dataset.recipe import ExampleRecipe
from training.dataset.shards import (
    EXAMPLE_BYTES,
    SET,
    SHARD,
    SHARD_FORMAT,
    SKIPPED,
    check_shard,
    complete,
    numbers_in,
    shard_count,
    write_shard,
)
from training.utils.errors import TrainingError
from training.utils.process_pool import in_parallel
from training.utils.progress import bar
from training.utils.storage import Storage, check_room, storage


@dataclass(frozen=True)
class BuildPlan:
    """Everything that decides what a data set holds. split: the one of which the material is, or all."""

    recipe: ExampleRecipe
    material: RawClips
    examples: int
    seed: int
    split: str

    def description(self) -> dict[str, Any]:
        """What stands in the data set about it; the same plan has the same."""
        return {
            "format": SHARD_FORMAT,
            "examples": self.examples,
            "shard_examples": SHARD,
            "sample_rate": SAMPLE_RATE,
            "seed": self.seed,
            "split": self.split,
            "recipe": self.recipe.as_dict(),
            "material": self.material.digest,
        }


@dataclass(frozen=True)
class BuildResult:
    """examples: in the data set; made: of them, in this run; seconds: that it took."""

    examples: int
    made: int
    seconds: float

    @property
    def rate(self) -> float:
        """Examples per second."""
        return self.made / self.seconds if self.seconds else 0.0


def build(plan: BuildPlan, location: str, workers: int = 1, scheduler: str | None = None) -> BuildResult:
    """Build a data set in a folder, given by its path or an fsspec URL; shows a progress bar.

    workers: processes of this machine; scheduler: address of a Dask scheduler, whose workers do it instead and have
    to reach the location under the same name.
    Raises TrainingError: another data set lies there, a shard is damaged, the disk is full, a worker died.
    """
    place = storage(location)
    todo = prepare(plan, place)
    missing = sum(len(numbers_in(number, plan.examples)) for number in todo)
    start = time.monotonic()
    shards = _done(plan, place, todo, workers, scheduler)
    try:
        examples = (example for number in shards for example in numbers_in(number, plan.examples))
        for _ in bar(examples, "examples", "ex", missing):
            pass
    finally:
        shards.close()  # stops the workers, whatever happened
    place.remove_partial()  # of a worker that was killed and whose shard another one made
    return BuildResult(plan.examples, missing, time.monotonic() - start)


def prepare(plan: BuildPlan, place: Storage) -> list[int]:
    """Say in the folder what it will hold, and find which shards are missing.

    Raises TrainingError: another data set lies there, a shard is damaged, the rest will not fit.
    """
    place.remove_partial()
    names = place.names()
    if SET in names:
        _check_same(plan, place)
    else:
        if any(complete(names, number) for number in range(shard_count(plan.examples))):
            raise TrainingError(f"{place.location}: there are shards of which nobody knows what they hold; remove them")
        place.write(SET, [json.dumps(plan.description(), indent=1).encode() + b"\n"])
    there = [number for number in range(shard_count(plan.examples)) if complete(names, number)]
    for number in there:
        check_shard(place, number)
    todo = sorted(set(range(shard_count(plan.examples))) - set(there))
    check_room(place.location, place.free(), EXAMPLE_BYTES * sum(len(numbers_in(n, plan.examples)) for n in todo))
    return todo


def _check_same(plan: BuildPlan, place: Storage) -> None:
    try:
        found = json.loads(place.read(SET))
        other = [key for key, value in plan.description().items() if found[key] != value]
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{place.location}/{SET}: damaged ({error}); remove the folder") from error
    if other:
        raise TrainingError(
            f"{place.location}: holds a data set that differs in {', '.join(other)}; "
            "choose another folder, or remove it"
        )


def _done(
    plan: BuildPlan, place: Storage, todo: Sequence[int], workers: int, scheduler: str | None
) -> Generator[int, None, None]:
    """The shards, as they get done."""
    if not todo:
        return
    if scheduler is not None:
        from training.dataset.dask_cluster import on_cluster

        yield from on_cluster(plan, place, todo, scheduler)
        return
    crew = in_parallel(new_worker, (plan, place.location), todo, workers if place.shared else 1)
    with closing(crew):
        for number, _ in crew:
            yield number


def new_worker(plan: BuildPlan, location: str) -> Callable[[int], None]:
    """A function that builds a shard by its number."""
    maker = ExampleMaker(plan.recipe, plan.material, plan.seed)
    place = storage(location)

    def work(number: int) -> None:
        write_shard(place, number, [maker.make(example) for example in numbers_in(number, plan.examples)])

    return work


def write_problems(place: Storage, problems: Sequence[Problem]) -> None:
    """The list of recordings that were left out; empty if none was."""
    lines = [json.dumps({"file": problem.path, "reason": problem.reason}) + "\n" for problem in problems]
    place.write(SKIPPED, ["".join(lines).encode()])


def summary(raw: RawData) -> str:
    """What was left out, for the screen: how many, and the first of each reason. Empty if nothing was."""
    if not raw.problems:
        return ""
    shown = {problem.reason.partition(" (")[0]: problem for problem in reversed(raw.problems)}
    lines = [f"  {problem.path}: {problem.reason}" for problem in reversed(shown.values())]
    more = len(raw.problems) - len(lines)
    if more:
        lines.append(f"  and {more} more")
    return "\n".join([f"left out {len(raw.problems)} of {raw.files} recordings ({SKIPPED} lists them):", *lines])


def plan_as_dict(plan: BuildPlan) -> dict[str, Any]:
    """The plan as JSON, but for the files with the samples."""
    material = plan.material
    return {
        "recipe": plan.recipe.as_dict(),
        "clips": {kind: [asdict(clip) for clip in material.clips(kind)] for kind in material.pools},
        "digest": material.digest,
        "examples": plan.examples,
        "seed": plan.seed,
        "split": plan.split,
    }


def plan_from_dict(content: dict[str, Any], pools: dict[str, Path]) -> BuildPlan:
    """What `plan_as_dict` gave, with the files that hold the samples on this machine."""
    from training.corpora.corpus import Clip

    clips = {kind: tuple(Clip(**entry) for entry in entries) for kind, entries in content["clips"].items()}
    material = RawClips(**clips, pools=pools, digest=content["digest"])
    recipe = ExampleRecipe.from_dict(content["recipe"], "recipe")
    return BuildPlan(recipe, material, content["examples"], content["seed"], content["split"])
