"""What is cached is computed once, however many trainings share the folder."""

from __future__ import annotations

import json
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from training.align import fill


def work(log: Path, task: int) -> int:
    """At module level: other processes unpickle it."""
    with log.open("a") as file:
        file.write(f"{task}\n")
    time.sleep(0.05)  # the other one gets to where it would do the same
    return task * task


def train(folder: Path, log: Path, jobs: int) -> None:
    fill({folder / f"{number}.json": number for number in range(8)}, partial(work, log), jobs, "squares", "number")


def test_two_trainings_that_share_a_cache_share_the_work(tmp_path, capfd) -> None:
    folder, log = tmp_path / "cache", tmp_path / "log"
    with ProcessPoolExecutor(2) as pool:
        for done in [pool.submit(train, folder, log, 1) for _ in range(2)]:
            done.result()
    assert sorted(log.read_text().split()) == [str(number) for number in range(8)]
    assert [json.loads((folder / f"{number}.json").read_text()) for number in range(8)] == [n * n for n in range(8)]
    assert capfd.readouterr().out.count("squares: another training is at it") == 1


def test_one_that_was_interrupted_goes_on_where_it_was(tmp_path) -> None:
    folder, log = tmp_path / "cache", tmp_path / "log"
    folder.mkdir()
    (folder / "3.json").write_text("9")
    train(folder, log, 2)
    assert sorted(log.read_text().split()) == [str(number) for number in range(8) if number != 3]
