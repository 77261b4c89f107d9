"""What is cached is computed once, however many trainings share the folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from training.alignment.forced_alignment import fill_cache, in_processes

pytestmark = pytest.mark.slow


def work(log: Path, task: int) -> int:
    """At module level: other processes unpickle it."""
    with log.open("a") as file:
        file.write(f"{task}\n")
    time.sleep(0.05)  # the other one gets to where it would do the same
    return task * task


def train(folder: Path, log: Path, jobs: int) -> None:
    fill_cache(
        {folder / f"{number}.json": number for number in range(8)}, partial(work, log), jobs, "squares", "number"
    )


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


def test_in_a_log_a_bar_is_few_lines_and_none_where_there_is_nothing_to_do(tmp_path, capfd) -> None:
    train(tmp_path / "cache", tmp_path / "log", 1)  # 0.4 s of work, in eight pieces
    lines = capfd.readouterr().err.split("\r")
    assert len(lines) <= 3
    assert "8/8" in lines[-1]
    train(tmp_path / "cache", tmp_path / "log", 1)
    assert capfd.readouterr().err == ""


def late(task: int) -> int:
    """The first is done last."""
    time.sleep(0.3 if task == 0 else 0)
    return task * task


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_their_tasks(jobs) -> None:
    assert list(in_processes(late, iter(range(6)), jobs)) == [task * task for task in range(6)]


def endless(folder: Path, task: int) -> None:
    (folder / str(task)).touch()
    time.sleep(3600)


LONG = """
import sys
from functools import partial
from pathlib import Path
from tests.training.alignment.test_forced_alignment import endless
from training.alignment.forced_alignment import in_processes
if __name__ == "__main__":
    list(in_processes(partial(endless, Path(sys.argv[1])), range(4), 2))
"""


def test_ctrl_c_ends_it_in_the_middle_of_a_task(tmp_path) -> None:
    """Each task takes an hour; a second one is not begun either."""
    (tmp_path / "long.py").write_text(LONG)
    command = [sys.executable, str(tmp_path / "long.py"), str(tmp_path)]
    process = subprocess.Popen(
        command, env=os.environ | {"PYTHONPATH": str(ROOT)}, start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    while not {"0", "1"} <= {path.name for path in tmp_path.iterdir()}:
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert errors.count("Traceback") == 1  # the main process's own, which the command line turns into an exit code
    assert not (tmp_path / "2").exists()
