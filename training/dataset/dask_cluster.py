"""Shards in, the same shards built by the workers of a Dask cluster out.

The material goes to the data set's own folder, where every worker reaches it, for as long as the build takes. A task
is the number of a shard: one that was lost with its worker is done again by another, and gives the same files.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

from model.extras import install
from training.dataset.build import BuildPlan, new_worker, plan_as_dict, plan_from_dict
from training.utils.errors import TrainingError
from training.utils.storage import Storage, storage

PLAN = "material.json"
WAIT_SECONDS = 30  # for the scheduler to answer, and for the first worker
_PIECE = 2**24  # bytes read at once


def on_cluster(plan: BuildPlan, place: Storage, todo: Sequence[int], scheduler: str) -> Generator[int, None, None]:
    """The shards' numbers, as they get done.

    Raises TrainingError: `distributed` is not installed, nobody answers at the address, no worker is there, the
    workers cannot see the folder or lack chimed, or a shard killed worker after worker.
    """
    if not place.shared:
        raise TrainingError(f"{place.location}: the workers of a cluster cannot see this; choose a shared folder")
    try:
        distributed: Any = import_module("distributed")  # its types are not complete
    except ImportError as error:
        raise TrainingError(f"a cluster needs the package distributed: {install('cluster')}") from error
    try:
        client = distributed.Client(scheduler, timeout=WAIT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError; ValueError: no such kind of address
        raise TrainingError(f"{scheduler}: no Dask scheduler answers there ({error})") from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # tracebacks of what is said in a sentence here
    location = str(Path(place.location).resolve()) if "://" not in place.location else place.location
    try:
        _wait_for_worker(client, scheduler)
        _bring_material(plan, place)
        digest = hashlib.sha256(_content(plan)).hexdigest()
        futures = client.map(build_shard, todo, location=location, digest=digest, pure=False)
        for future in distributed.as_completed(futures, loop=client.loop):
            try:
                yield int(future.result())
            except distributed.KilledWorker as error:
                raise TrainingError(f"{scheduler}: several workers died, perhaps for want of memory") from error
            except ImportError as error:
                raise TrainingError(f"{scheduler}: a worker lacks chimed's extra `cluster` ({error})") from error
            except (OSError, CancelledError) as error:
                raise TrainingError(
                    f"{scheduler}: the connection to the scheduler broke; the same command goes on from here"
                ) from error
    finally:
        client.close()  # what is still running or waiting is dropped
        _remove_material(plan, place)


def _wait_for_worker(client: Any, scheduler: str) -> None:
    try:
        client.wait_for_workers(1, timeout=WAIT_SECONDS)
    except OSError as error:  # TimeoutError
        raise TrainingError(f"{scheduler}: the cluster has no worker") from error


def _bring_material(plan: BuildPlan, place: Storage) -> None:
    for kind, pool in plan.material.pools.items():
        with pool.open("rb") as file:
            place.write(f"{kind}.pcm", iter(partial(file.read, _PIECE), b""))
    place.write(PLAN, [_content(plan)])


def _content(plan: BuildPlan) -> bytes:
    """Of the file that tells the workers what to build."""
    return json.dumps(plan_as_dict(plan)).encode()


def _remove_material(plan: BuildPlan, place: Storage) -> None:
    for kind in plan.material.pools:
        place.remove(f"{kind}.pcm")
    place.remove(PLAN)


def build_shard(number: int, location: str, digest: str) -> int:
    """On a worker: build a shard of the plan that lies at the location; returns its number.

    digest: of the plan's file, so that a worker that outlives a build does not take the next one for it.
    """
    _worker(location, digest)(number)
    return number


@lru_cache(maxsize=1)
def _worker(location: str, digest: str) -> Callable[[int], None]:
    place = storage(location)
    file = place.read(PLAN)
    if hashlib.sha256(file).hexdigest() != digest:
        raise TrainingError(f"{location}: this worker sees another folder of that name than the one the build is for")
    content = json.loads(file)
    plan = plan_from_dict(content, {kind: place.local(f"{kind}.pcm") for kind in content["clips"]})
    return new_worker(plan, location)
