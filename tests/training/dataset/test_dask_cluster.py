"""A build on a Dask cluster: a real scheduler, two real workers, one of which is killed half-way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.raw_data import make_raw_data
from training.dataset import dask_cluster, recipe
from training.dataset.build import BuildPlan, build, plan_as_dict, plan_from_dict
from training.dataset.raw_data import load
from training.utils.errors import TrainingError

pytestmark = pytest.mark.slow

pytest.importorskip("distributed", reason="the extra [cluster] is not installed")


def start(log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """A `dask` command, its output in a file."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "0"}
    with log.open("wb") as file:
        command = [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]]
        return subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)


def wait_for(log: Path, pattern: str, process: subprocess.Popen[bytes]) -> str:
    """What the first group of the pattern matches in a log."""
    for _ in range(1200):
        if found := re.search(pattern, log.read_text()):
            return found.group(1)
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture
def scheduler_process(tmp_path) -> Iterator[subprocess.Popen[bytes]]:
    log = tmp_path / "scheduler.log"
    process = start(log, "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def scheduler(tmp_path, scheduler_process) -> str:
    """Its address."""
    return wait_for(tmp_path / "scheduler.log", r"Scheduler at:\s+(tcp://\S+)", scheduler_process)


@pytest.fixture
def workers(tmp_path, scheduler) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two, without a nanny that would start them again."""
    options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path)]
    started = [start(tmp_path / f"worker{k}.log", "dask_worker", scheduler, *options) for k in range(2)]
    for number, process in enumerate(started):
        wait_for(tmp_path / f"worker{number}.log", r"(Registered to)", process)
    yield started
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def plan(tmp_path) -> BuildPlan:
    """Five shards."""
    chosen = recipe.load("assignment")
    material = load(make_raw_data(tmp_path / "raw_data"), tmp_path / "cache", "all", chosen).material
    return BuildPlan(chosen, material, examples=150, seed=2, split="all")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def when_there_is_a_shard(folder: Path, act: Callable[[], None]) -> threading.Thread:
    """A thread that does something once the first shard is complete."""

    def wait() -> None:
        while not list(folder.glob("*.sha256")):
            time.sleep(0.005)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_a_worker_that_is_killed_half_way_changes_nothing(plan, scheduler, workers, tmp_path) -> None:
    """The folder holds what a build on this machine makes, to the last byte and file."""
    folder = tmp_path / "shared"
    left: list[int] = []

    def kill() -> None:
        os.kill(workers[0].pid, signal.SIGKILL)
        left.append(5 - len(list(folder.glob("*.sha256"))))

    killer = when_there_is_a_shard(folder, kill)
    outcome = build(plan, str(folder), scheduler=scheduler)
    killer.join()
    assert outcome.made == 150
    assert left[0] >= 1, "the build was over before the worker was killed"
    assert workers[0].wait(10) == -signal.SIGKILL
    assert workers[1].poll() is None
    build(plan, str(tmp_path / "here"))
    assert contents(folder) == contents(tmp_path / "here")
    # a shard that is missing is made by the worker that is left
    (folder / "shard-00002.jsonl").unlink()
    assert build(plan, str(folder), scheduler=scheduler).made == 32
    assert contents(folder) == contents(tmp_path / "here")


def test_a_worker_that_outlives_a_build_does_not_build_it_again(plan, scheduler, workers, tmp_path) -> None:
    """Of the same recordings in the same folder: another seed, another recipe, another number of examples."""
    workers[1].kill()  # with two, the other one might do it
    workers[1].wait()
    full = recipe.load("full")
    for number, changed in enumerate([{"seed": 3}, {"seed": 4}, {"recipe": full}, {"recipe": full, "examples": 3}]):
        chosen = replace(plan, **{"examples": 2, **changed})
        shutil.rmtree(tmp_path / "shared", ignore_errors=True)
        build(chosen, str(tmp_path / "shared"), scheduler=scheduler)
        build(chosen, str(tmp_path / f"here{number}"))
        assert contents(tmp_path / "shared") == contents(tmp_path / f"here{number}"), changed


def test_an_error_on_a_worker_is_one_sentence_here(plan, scheduler, workers, tmp_path, monkeypatch) -> None:
    """The material that the worker finds is not that of the build."""
    assert len(workers) == 2
    monkeypatch.setattr(
        dask_cluster, "_bring_material", lambda _, place: place.write(dask_cluster.PLAN, [b'{"digest": "x"}'])
    )
    with pytest.raises(TrainingError, match="this worker sees another folder of that name"):
        build(plan, str(tmp_path / "shared"), scheduler=scheduler)
    assert not (tmp_path / "shared" / dask_cluster.PLAN).exists()


def test_a_scheduler_that_dies_is_one_sentence_and_the_build_goes_on_without_it(
    plan, scheduler, scheduler_process, workers, tmp_path
) -> None:
    assert len(workers) == 2
    folder = tmp_path / "shared"
    killer = when_there_is_a_shard(folder, scheduler_process.kill)
    with pytest.raises(TrainingError, match=f"{scheduler}: the connection to the scheduler broke; the same command"):
        build(plan, str(folder), scheduler=scheduler)
    killer.join()
    for worker in workers:  # they finish what they are at
        worker.terminate()
        worker.wait(60)
    build(plan, str(folder))
    build(plan, str(tmp_path / "here"))
    assert contents(folder) == contents(tmp_path / "here")


def test_a_cluster_that_is_not_there_is_one_sentence(plan, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dask_cluster, "WAIT_SECONDS", 0.5)
    with pytest.raises(TrainingError, match=r"tcp://127.0.0.1:9: no Dask scheduler answers there"):
        build(plan, str(tmp_path / "shared"), scheduler="tcp://127.0.0.1:9")
    with pytest.raises(TrainingError, match="no Dask scheduler answers there"):
        build(plan, str(tmp_path / "shared"), scheduler="nonsense://host:1")
    with pytest.raises(TrainingError, match="memory://set: the workers of a cluster cannot see this"):
        build(plan, "memory://set", scheduler="tcp://127.0.0.1:9")


def test_a_cluster_without_workers_is_one_sentence(plan, scheduler, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(dask_cluster, "WAIT_SECONDS", 3)
    with pytest.raises(TrainingError, match=f"{scheduler}: the cluster has no worker"):
        build(plan, str(tmp_path / "shared"), scheduler=scheduler)


def test_a_plan_survives_its_way_to_a_worker(plan) -> None:
    assert plan_from_dict(plan_as_dict(plan), plan.material.pools) == plan
