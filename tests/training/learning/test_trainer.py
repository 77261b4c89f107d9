"""Training learns, stops and goes on, and says what it did."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
import soundfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
pytest.importorskip("tensorflow", reason="the train extra is not installed")

from model.frontend import FrontEnd
from training.cli.main import main
from training.corpora.corpus import split_of
from training.learning.checkpoint import CHECKPOINT, read
from training.learning.early_stopping import EarlyStopping
from training.learning.scene_batches import Folders, TrainingPlan
from training.learning.schedule import Schedule
from training.learning.trainer import Trainer
from training.scenes.material import SceneMaterial
from training.scenes.recipe import SceneRecipe
from training.utils.errors import TrainingError

pytestmark = pytest.mark.slow

RATE = 16_000
SCHEDULE = Schedule(epochs=2, learning_rate=2e-3, measure_every=10)


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> TrainingPlan:
    """The "word" is a high tone, other speech a low one: soon learnt, and not by level alone."""
    root = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(0)
    t = np.arange(int(0.6 * RATE)) / RATE
    high, low = (np.sin(2 * np.pi * hertz * t) for hertz in (2000, 500))
    waves = {"positives": high, "spoken": low, "speech": low, "noise": None}
    for kind, wave in waves.items():
        (root / kind).mkdir()
        for number in range(20):
            shape = rng.standard_normal(2 * RATE) if wave is None else wave
            soundfile.write(root / kind / f"{number}.wav", 0.1 * shape, RATE)
    folders = Folders(**{kind: (root / kind,) for kind in waves}, cache=root / "cache")
    return TrainingPlan(folders, FrontEnd(bins=12), SceneRecipe(), seed=1, rows=2, epoch_steps=3)


class PhonesKnown(Folders):
    """The phones are given, since no aligner finds any in tones. At module level: another process unpickles it."""

    def load(self, split: str, word: str | None = None) -> SceneMaterial:
        material = super().load(split)
        tracks = {clip.path: np.array([[12, 0, clip.length]], np.int32) for clip in material.clips["positives"]}
        tracks |= {clip.path: np.array([[3, 0, clip.length]], np.int32) for clip in material.clips["speech"]}
        return replace(material, tracks=tracks if word else {}, clips={}, by_folder={})


@pytest.fixture(scope="module")
def trained(plan, tmp_path_factory):
    return Trainer("word", plan, SCHEDULE, tmp_path_factory.mktemp("run")).run()


def equal(first, second) -> bool:
    return all(np.array_equal(a, second.as_dict()[name]) for name, a in first.as_dict().items())


def test_a_model_says_how_it_was_trained(trained) -> None:
    assert trained.word == "word"
    assert trained.training["epochs_done"] == 2
    assert trained.training["plan"]["seed"] == 1
    assert trained.training["hours_heard"] == pytest.approx(2 * 3 * 2 * 352 * 320 / 44_100 / 3600, abs=0.05)
    assert trained.training["code"].startswith("0.")
    assert "material" in trained.training["plan"]["folders"]["positives"][0]


def test_a_training_that_was_stopped_ends_with_the_same_weights(plan, trained, tmp_path) -> None:
    class StopError(Exception):
        pass

    first = Trainer("word", plan, SCHEDULE, tmp_path)
    store = first._store

    def stop() -> None:
        store()
        raise StopError

    first._store = stop
    with pytest.raises(StopError):
        first.run()
    again = Trainer("word", plan, SCHEDULE, tmp_path).run()
    assert again.training["epochs_done"] == 2
    assert equal(again.weights, trained.weights)


def test_a_kind_of_which_nothing_is_trained_on_is_one_sentence(plan, tmp_path) -> None:
    name = next(name for name in map(str, range(100)) if split_of(f"fan/{name}") != "train")
    (tmp_path / "fan").mkdir()
    soundfile.write(tmp_path / "fan" / f"{name}.wav", np.full(RATE, 0.1), RATE)
    folders = replace(plan.folders, noise=(tmp_path / "fan",), cache=tmp_path / "cache")
    with pytest.raises(TrainingError, match="fan: nothing in it falls into the share that is trained on"):
        Trainer("word", replace(plan, folders=folders), SCHEDULE, tmp_path / "run").run()


def test_another_seed_gives_other_weights(plan, trained, tmp_path) -> None:
    other = Trainer("word", replace(plan, seed=2), SCHEDULE, tmp_path).run()
    assert not equal(other.weights, trained.weights)


def test_a_checkpoint_of_another_training_is_refused(plan, tmp_path) -> None:
    Trainer("word", plan, replace(SCHEDULE, epochs=1), tmp_path).run()
    with pytest.raises(TrainingError, match=CHECKPOINT):
        Trainer("word", replace(plan, seed=9), replace(SCHEDULE, epochs=1), tmp_path).run()


def test_fine_tuning_begins_where_the_model_file_ended(plan, trained, tmp_path) -> None:
    begun = Trainer("word", plan, replace(SCHEDULE, epochs=0), tmp_path / "a", start=trained).run()
    for name, array in trained.weights.as_dict().items():
        np.testing.assert_allclose(begun.weights.as_dict()[name], array, atol=1e-6)
    tuned = Trainer("word", plan, replace(SCHEDULE, epochs=1), tmp_path / "b", start=trained).run()
    assert not equal(tuned.weights, trained.weights)
    with pytest.raises(TrainingError, match="front end"):
        Trainer("word", replace(plan, front_end=FrontEnd(bins=13)), SCHEDULE, tmp_path / "c", start=trained)


def test_phones_are_learnt_beside_the_word_and_left_out_of_the_model(plan, tmp_path) -> None:
    """Every positive is called EY; the network soon knows when one sounds. The loss by events takes over half-way."""
    pytest.importorskip("pocketsphinx", reason="PocketSphinx, the extra [align], is not installed")
    folders = PhonesKnown(
        **{name: getattr(plan.folders, name) for name in ("positives", "spoken", "speech", "noise", "cache")}
    )
    longer = replace(plan, folders=folders, phones_of="word", rows=4, epoch_steps=15)
    schedule = Schedule(epochs=4, learning_rate=4e-3, measure_every=4, averaging=0.9, event_from=0.5)
    model = Trainer("word", longer, schedule, tmp_path).run()
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert entries[3]["phone_loss"] < 0.7 * entries[0]["phone_loss"]
    assert entries[3]["loss"] != entries[1]["loss"]
    assert set(model.weights.as_dict()) == set(
        Trainer("word", plan, SCHEDULE, tmp_path / "plain").model().weights.as_dict()
    )


def test_it_learns_and_keeps_a_log(plan, tmp_path) -> None:
    recipe = replace(plan.recipe, noise_only=0.0, clean=1.0, room=0.0, babble=0.0, low_pass=0.0, equaliser_db=1.0)
    recipe = replace(recipe, events=(0.4, 0.0, 0.2, 0.4, 0.0))
    longer = replace(plan, recipe=recipe, rows=4, epoch_steps=30)
    Trainer("word", longer, Schedule(epochs=3, learning_rate=4e-3, measure_every=3, averaging=0.9), tmp_path).run()
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in entries] == [1, 2, 3]
    assert entries[2]["loss"] < 0.8 * entries[0]["loss"]
    assert set(entries[2]["recall"]) == {"positives, quiet", "positives, 10 dB"}
    assert len(entries[2]["recall"]["positives, quiet"]) == len(entries[2]["thresholds"])
    assert entries[2]["speech_hours"] > 0
    scalars = read_events(tmp_path / "events")
    assert [value for _, value in scalars["loss"]] == pytest.approx([entry["loss"] for entry in entries], abs=1e-4)
    assert [epoch for epoch, _ in scalars["learning rate"]] == [1, 2, 3]
    assert scalars["false accepts an hour at 0.5/speech"][0][0] == 3
    assert 0 <= scalars["recall at 0.5/positives, quiet"][0][1] <= 1


def read_events(folder) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard would show: name -> (epoch, value)."""
    import tensorflow as tf

    shown: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(map(str, folder.glob("events.out.tfevents.*"))):
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                shown.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return shown


def test_a_training_that_no_longer_improves_ends_early_with_its_best_weights(plan, tmp_path) -> None:
    """At a threshold where everything fires, every measurement is as good as the first."""
    schedule = Schedule(epochs=9, measure_every=1, stopping=EarlyStopping(fa_per_hour=1e9, patience=1))
    model = Trainer("word", plan, schedule, tmp_path).run()
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    scores = [entry["score"] for entry in entries]
    assert len(scores) < 9
    assert scores[-1] <= scores[-2]
    again = Trainer("word", plan, schedule, tmp_path).run()  # nothing is left to do
    assert equal(again.weights, model.weights)
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == len(scores)


def test_seconds_of_development_speech_end_no_training(plan, tmp_path, capsys) -> None:
    schedule = Schedule(epochs=3, measure_every=1, stopping=EarlyStopping(fa_per_hour=2, patience=1))
    model = Trainer("word", plan, schedule, tmp_path).run()
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["epoch"] for entry in entries] == [1, 2, 3]
    assert not any("score" in entry for entry in entries)
    assert capsys.readouterr().out.count("of development speech cannot tell 2 false accepts an hour") == 1
    plain = Trainer("word", plan, Schedule(epochs=3, measure_every=1), tmp_path / "plain").run()
    assert equal(model.weights, plain.weights)  # those of the last epoch


def test_a_checkpoint_becomes_the_model_file_that_the_training_writes(plan, tmp_path, capsys) -> None:
    training = Trainer("word", plan, SCHEDULE, tmp_path)
    training.run()
    training.export(tmp_path / "own.npz")
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "exported.npz")]) == 0
    assert (tmp_path / "exported.npz").read_bytes() == (tmp_path / "own.npz").read_bytes()
    said = capsys.readouterr().out
    assert f"{tmp_path}/exported.npz: 'word' after epoch 2 of 2, at most " in said


def test_of_a_training_that_stops_by_itself_the_best_weights_are_exported(plan, tmp_path) -> None:
    schedule = Schedule(epochs=3, measure_every=1, stopping=EarlyStopping(fa_per_hour=1e9, patience=2))
    model = Trainer("word", plan, schedule, tmp_path).run()
    exported = read(tmp_path)[0]
    assert equal(exported.weights, model.weights)
    with np.load(tmp_path / CHECKPOINT) as archive:
        content = dict(archive)
    content["progress"] = np.array([-1.0, 0.0])  # as before the first measurement
    np.savez(tmp_path / CHECKPOINT, **content | {"average0": content["average0"] + 1})
    unmeasured = read(tmp_path)[0]
    assert not equal(unmeasured.weights, model.weights)


def test_what_is_no_checkpoint_is_one_sentence(plan, tmp_path, capsys) -> None:
    def refused() -> str:
        assert main(["export", str(tmp_path), "-o", str(tmp_path / "x.npz")]) == 1
        assert not (tmp_path / "x.npz").exists()
        said = capsys.readouterr().err
        assert said.startswith(f"chimed-train: {tmp_path}/{CHECKPOINT}: ")
        assert said.count("\n") == 1
        return said

    assert "no such file" in refused()
    (tmp_path / CHECKPOINT).write_bytes(b"junk")
    assert "not a checkpoint" in refused()
    training = Trainer("word", plan, replace(SCHEDULE, epochs=1), tmp_path)
    with pytest.raises(TrainingError, match="damaged; remove it"):
        training.run()
    (tmp_path / CHECKPOINT).unlink()
    training.run()
    capsys.readouterr()  # its bars
    with np.load(tmp_path / CHECKPOINT) as archive:
        content = dict(archive)
    course = json.loads(content["plan"].tobytes())
    del course["plan"]["front_end"]["floor_db"]  # as an earlier chimed wrote it
    np.savez(tmp_path / CHECKPOINT, **content | {"plan": np.frombuffer(json.dumps(course).encode(), np.uint8)})
    assert "its front end is another one" in refused()
    np.savez(tmp_path / CHECKPOINT, **content | {"average2": content["average2"][:-1]})
    assert "not a checkpoint" in refused()
