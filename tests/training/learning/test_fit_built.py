"""From a raw_data folder over a built data set to a model file, by the commands."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tests.support.raw_data import make_raw_data

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow", reason="the train extra is not installed")

from model.modelfile import load
from training.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """32 examples of the training speakers: a vowel to hear, and another one."""
    root = tmp_path_factory.mktemp("built")
    make_raw_data(root / "raw_data", words=24, backgrounds=12)
    where = ["-o", str(root / "set"), "--work", str(root / "work")]
    assert main(["build", str(root / "raw_data"), *where, "--examples", "32", "--seed", "2"]) == 0
    return root


def fit(work: Path, output: Path, *more: str) -> int:
    raw = work / "raw_data"
    folders = ["--positives", raw / "activates", "--speech", raw / "negatives", "--noise", raw / "backgrounds"]
    built = ["--built", work / "set", "--rows", "8", "--work", work / "work", "--run-name", output.stem]
    return main(["fit", "ah", *map(str, [*folders, *built, "-o", output]), *more])


def test_it_learns_from_a_built_set_and_goes_on_where_it_stopped(work: Path, tmp_path: Path) -> None:
    rate = ("--learning-rate", "0.004", "--seed", "3")
    assert fit(work, tmp_path / "whole.npz", "--epochs", "3", *rate) == 0
    log = [json.loads(line) for line in (work / "work" / "whole" / "log.jsonl").read_text().splitlines()]
    assert log[2]["loss"] < 0.8 * log[0]["loss"]
    model = load(tmp_path / "whole.npz")
    assert model.training["plan"]["built"] == str(work / "set")
    # 4 chunks for each of the 4 times 8 rows that the 32 examples fill
    assert model.training["plan"]["epoch_steps"] == 16

    # once more, but begun anew after the second epoch, from its checkpoint
    (tmp_path / "first").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        from training.learning.trainer import Trainer

        store = Trainer._store

        def stop(self: Trainer) -> None:
            store(self)
            if self._state.epoch == 2:
                raise KeyboardInterrupt

        patch.setattr(Trainer, "_store", stop)
        assert fit(work, tmp_path / "again.npz", "--epochs", "3", *rate) == 130
    assert fit(work, tmp_path / "again.npz", "--epochs", "3", *rate) == 0
    for name, array in model.weights.as_dict().items():
        assert np.array_equal(load(tmp_path / "again.npz").weights.as_dict()[name], array)


def test_what_does_not_go_together_is_one_sentence(work: Path, tmp_path: Path, capsys) -> None:
    for more, said in (
        (("--spoken", str(work / "raw_data" / "negatives")), "--spoken does not go with --built"),
        (("--event-from", "0.5"), "--event-from does not go with --built"),
        (("--rows", "64"), "32 examples do not fill 64 rows"),
        (("--built", str(work / "raw_data")), "there is no data set"),
    ):
        assert fit(work, tmp_path / "none.npz", *more) == 1
        assert said in capsys.readouterr().err
    raw = str(work / "raw_data" / "negatives")
    folders = ("--positives", raw, "--speech", raw, "--noise", raw)
    assert main(["fit", "ah", *folders, "-o", str(tmp_path / "none.npz")]) == 1
    assert "--spoken DIR is needed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
