"""A raw_data folder and a recipe become labelled examples: the same whatever the number of workers, and resumable."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from model.frontend import CLIP, FLOOR_DB, SAMPLE_RATE, FrontEnd, spectrogram
from tests.support.paths import ROOT
from tests.support.raw_data import RATE, make_raw_data, vowel
from training.cli.main import main
from training.corpora.corpus import split_of
from training.dataset import recipe, xy_arrays
from training.dataset.assignment_functions import (
    first_channel,
    insert_ones,
    is_overlapping,
    load_raw_audio,
    mix_training_example,
)
from training.dataset.build import BuildPlan, build, summary, write_problems
from training.dataset.example import ExampleMaker
from training.dataset.raw_data import load
from training.dataset.shards import SHARD, Dataset
from training.dataset.xy_arrays import open_xy, write_xy
from training.learning import scene_batches
from training.learning.dataset_batches import epoch_batches, features, stream
from training.learning.prefetch import Prefetch
from training.scenes import scenes
from training.utils.errors import TrainingError
from training.utils.storage import LocalStorage, storage

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-c", "import sys; from training.cli.main import main; sys.exit(main())", "build"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    return make_raw_data(tmp_path_factory.mktemp("corpus") / "raw_data")


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return Path(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def plan(raw, cache) -> BuildPlan:
    """70 examples by the assignment's recipe: three shards, of which the last is short."""
    chosen = recipe.load("assignment")
    return BuildPlan(chosen, load(raw, cache, "all", chosen).material, examples=70, seed=3, split="all")


@pytest.fixture(scope="module")
def full(raw, cache) -> BuildPlan:
    """33 examples of the full recipe, whose shares are raised so that each of them meets everything."""
    chosen = recipe.load("full")
    parts = {
        name: replace(getattr(chosen, name), share=1.0) for name in ("voice", "room", "equaliser", "band", "codec")
    }
    chosen = replace(chosen, **parts)
    return BuildPlan(chosen, load(raw, cache, "all", chosen).material, examples=33, seed=3, split="all")


@pytest.fixture(scope="module")
def built(plan, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "set"
    build(plan, str(folder))
    return folder


@pytest.fixture(scope="module")
def short(plan, tmp_path_factory) -> Path:
    """34 examples: two shards."""
    folder = tmp_path_factory.mktemp("short") / "set"
    build(replace(plan, examples=34), str(folder))
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def run(*arguments: object, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | (env or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


# --- what an example is ---


def test_the_default_recipe_gives_the_assignments_examples_to_the_last_bit(plan, raw) -> None:
    """With the same generator, `mix_training_example` gives the same samples and labels."""
    activates, negatives, backgrounds = load_raw_audio(raw)
    assert len(backgrounds) == 3  # of 10 and of 13 s
    maker = ExampleMaker(plan.recipe, plan.material, seed=3)
    for number in range(6):
        rng = np.random.default_rng(np.random.SeedSequence([3, number]))
        background = backgrounds[rng.integers(len(backgrounds))]
        mix, y = mix_training_example(background, activates, negatives, rng)
        example = maker.make(number)
        assert np.array_equal(example.audio, first_channel(mix))
        assert np.array_equal(example.labels, y[0])


def test_the_manifest_says_how_an_example_came_to_be(built, raw) -> None:
    """From its record alone labels follow, and clips lie where it says, without overlap."""
    data = Dataset(str(built))
    records = list(data.records())
    assert [record["example"] for record in records] == list(range(70))
    counts = {kind: set() for kind in ("positives", "negatives")}
    for record in records:
        assert record["level_dbfs"] == -20
        assert record["background"]["gain_db"] == -20
        assert (raw / record["background"]["file"]).is_file()
        labels = np.zeros((1, 1375))
        placed: list[tuple[int, int]] = []
        for kind, found in counts.items():
            found.add(sum(clip["kind"] == kind for clip in record["clips"]))
        for clip in record["clips"]:
            info = soundfile.info(raw / clip["file"])
            if clip["segment_ms"] is None:
                continue
            start, end = clip["segment_ms"]
            assert end - start + 1 == pytest.approx(info.duration * 1000, abs=1)
            assert not is_overlapping((start, end), placed)
            placed.append((start, end))
            if clip["kind"] == "positives":
                insert_ones(labels, end)
        assert np.array_equal(data[record["example"]][1], labels[0])
    assert counts == {"positives": {0, 1, 2, 3, 4}, "negatives": {0, 1, 2}}


def test_an_example_depends_on_seed_and_number_alone(full) -> None:
    maker = ExampleMaker(full.recipe, full.material, 3)
    later, first = maker.make(7), maker.make(0)
    again = ExampleMaker(full.recipe, full.material, 3).make(7)
    assert np.array_equal(later.audio, again.audio)
    assert later.record == again.record
    assert not np.array_equal(later.audio, first.audio)
    assert not np.array_equal(later.audio, ExampleMaker(full.recipe, full.material, 4).make(7).audio)


def test_the_full_recipe_draws_everything_within_its_ranges(full) -> None:
    maker = ExampleMaker(full.recipe, full.material, 1)
    wanted = full.recipe.as_dict()
    codecs = set()
    for number in range(10):
        example = maker.make(number)
        record = example.record
        assert example.audio.shape == (CLIP,)
        assert set(record) == {*wanted, "example", "clips"} - {"positives", "negatives", "voice", "excerpt_seconds"}
        level = 20 * np.log10(np.sqrt(np.mean(np.square(example.audio.astype(float)))) / 32_768)
        # a loud example of short words clips a little
        assert level == pytest.approx(record["level_dbfs"], abs=1.5)
        for part in ("background", "room", "equaliser", "band"):
            for name, value in record[part].items():
                if name in wanted[part]:
                    low, high = wanted[part][name]
                    assert low <= value <= high
        codecs.add(record["codec"]["kind"])
        for clip in record["clips"]:
            for name in ("speed", "pitch_semitones", "formants"):
                low, high = wanted["voice"][name]
                assert low <= clip[name] <= high
    assert len(codecs) >= 3


def test_the_background_keeps_its_distance_from_the_voices(raw, cache) -> None:
    """Where nothing speaks, the level is that of the voices less the ratio that was drawn."""
    chosen = replace(recipe.load("full"), voice=None, room=None, equaliser=None, band=None, codec=None)
    chosen = replace(chosen, background=recipe.Background(snr_db=(20.0, 20.0), voice_db=(0.0, 0.0)), positives=(1, 1))
    maker = ExampleMaker(replace(chosen, negatives=(0, 0)), load(raw, cache, "all", chosen).material, 0)
    for number in range(4):
        example = maker.make(number)
        start, end = (ms * SAMPLE_RATE // 1000 for ms in example.record["clips"][0]["segment_ms"])
        samples = example.audio.astype(float)
        word, rest = samples[start:end], np.concatenate((samples[: start - 50], samples[end + 100 :]))
        measured = 10 * np.log10(np.mean(word**2) / np.mean(rest**2))
        assert measured == pytest.approx(20, abs=2)  # pauses within the word count in one level and not in the other


def test_a_long_negative_gives_excerpts(tmp_path, cache) -> None:
    folder = make_raw_data(tmp_path / "raw_data", words=2)
    soundfile.write(folder / "negatives" / "speech.wav", vowel(100, 20, (500.0,)), RATE)
    chosen = recipe.load("full")
    maker = ExampleMaker(chosen, load(folder, cache, "all", chosen).material, 0)
    cut = [clip for i in range(12) for clip in maker.make(i).record["clips"] if clip["file"].endswith("speech.wav")]
    assert cut
    for clip in cut:
        assert 0.6 <= clip["seconds"] <= 3.0
        assert 0 <= clip["start_seconds"] <= 20 - clip["seconds"]
    with pytest.raises(TrainingError, match=r"negatives/speech.wav is 20.0 s long; a word must be shorter than 10 s"):
        load(folder, cache, "all", recipe.load("assignment"))


# --- building ---


@pytest.mark.parametrize("name", ["plan", "full"])
def test_the_result_is_the_same_whatever_the_number_of_workers(name, request, tmp_path) -> None:
    chosen = request.getfixturevalue(name)
    chosen = replace(chosen, examples=SHARD + 2)
    if (codec := chosen.recipe.codec) is not None:  # Opus takes its time
        quick = replace(codec, kinds=tuple(kind for kind in codec.kinds if kind != "opus"))
        chosen = replace(chosen, recipe=replace(chosen.recipe, codec=quick))
    outcome = build(chosen, str(tmp_path / "one"), workers=1)
    assert (outcome.examples, outcome.made) == (SHARD + 2, SHARD + 2)
    build(chosen, str(tmp_path / "two"), workers=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_a_folder_that_is_named_in_another_way_gives_the_same(raw, tmp_path, monkeypatch) -> None:
    """With what was decoded before, whose paths were relative to another folder."""
    monkeypatch.chdir(raw.parent)
    before = load(Path(raw.name), tmp_path / "cache", "all", recipe.load("assignment"))
    monkeypatch.chdir(tmp_path)
    again = load(raw, tmp_path / "cache", "all", recipe.load("assignment"))
    assert again == before
    assert len(list((tmp_path / "cache").glob("*.pcm"))) == 3


def test_a_data_set_is_what_its_description_says(built, plan) -> None:
    names = set(digests(built))
    parts = ("audio.npy", "labels.npy", "jsonl", "sha256")
    assert names == {"set.json", *(f"shard-0000{k}.{part}" for k in range(3) for part in parts)}
    checked = subprocess.run(
        "sha256sum -c shard-*.sha256", shell=True, cwd=built, capture_output=True, text=True, check=True
    )
    assert checked.stdout.count(": OK") == 9
    data = Dataset(str(built))
    assert (len(data), data.shards) == (70, 3)
    assert data.description["recipe"] == plan.recipe.as_dict()
    assert data[69][0].shape == (CLIP,)
    assert isinstance(data.shard(0).audio, np.memmap)
    maker = ExampleMaker(plan.recipe, plan.material, 3)
    assert np.array_equal(data[40][0], maker.make(40).audio)
    with pytest.raises(IndexError):
        data[70]


def test_a_second_run_keeps_what_is_there_and_makes_what_is_missing(plan, built, tmp_path) -> None:
    folder = tmp_path / "set"
    build(replace(plan, examples=70), str(folder))
    before = digests(folder)
    kept = (folder / "shard-00000.audio.npy").stat().st_mtime_ns
    (folder / "shard-00001.labels.npy").unlink()
    (folder / ".shard-00002.audio.npy.123.part").write_bytes(b"half")
    outcome = build(plan, str(folder))
    assert outcome.made == 32
    assert digests(folder) == before == digests(built)
    assert (folder / "shard-00000.audio.npy").stat().st_mtime_ns == kept
    assert build(plan, str(folder)).made == 0


def test_another_plan_in_the_same_folder_is_refused(plan, built) -> None:
    before = digests(built)
    with pytest.raises(TrainingError, match="holds a data set that differs in examples, seed; choose another folder"):
        build(replace(plan, seed=4, examples=71), str(built))
    with pytest.raises(TrainingError, match="differs in recipe"):
        build(replace(plan, recipe=replace(plan.recipe, negatives=(0, 3))), str(built))
    assert digests(built) == before


def test_an_fsspec_url_holds_the_same_files(plan, built) -> None:
    url = "memory://chimed-test/set"
    build(plan, url, workers=2)  # memory is that of one process, so this one does it all
    system = fsspec.filesystem("memory")
    files = {Path(name).name: system.cat_file(name) for name in system.ls("/chimed-test/set", detail=False)}
    assert {name: hashlib.sha256(content).hexdigest() for name, content in files.items()} == digests(built)
    data = Dataset(url)
    assert np.array_equal(data[69][0], Dataset(str(built))[69][0])
    assert build(plan, url).made == 0
    system.pipe_file("/chimed-test/set/shard-00001.labels.npy", b"no array")
    with pytest.raises(TrainingError, match=r"memory://chimed-test/set/shard-00001.labels.npy: damaged"):
        Dataset(url)[40]
    system.rm("/chimed-test", recursive=True)


def test_an_unknown_kind_of_url_is_one_sentence() -> None:
    with pytest.raises(TrainingError, match=r"nonsense://there: .*nonsense"):
        storage("nonsense://there")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_build_leaves_nothing_broken_and_goes_on(built, raw, tmp_path, workers) -> None:
    """Ctrl-C once the first shard is there: exit 130, no half files; the same command finishes."""
    arguments = [raw, "-o", "set", "--examples", 70, "--seed", 3, "--split", "all", "--workers", workers]
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not (tmp_path / "set" / "shard-00000.sha256").exists() and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all of them
    _, errors = process.communicate(timeout=60)
    if process.returncode != 0:  # else it was done already
        assert process.returncode == 130
        assert "the same command goes on from here" in errors
        assert "Traceback" not in errors
    assert not list((tmp_path / "set").glob(".*"))
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = digests(tmp_path / "set")
    assert found.pop("skipped.jsonl") == hashlib.sha256(b"").hexdigest()
    assert found == digests(built)


# --- what cannot be used ---


def test_what_was_left_out_is_listed_and_summarised(tmp_path) -> None:
    folder = make_raw_data(tmp_path / "raw_data", words=3)
    (folder / "activates" / "broken.wav").write_bytes(b"RIFF, or so it says")
    (folder / "activates" / "notes.txt").write_text("these are mine")
    soundfile.write(folder / "activates" / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "activates" / "clipped.wav", np.sign(vowel(100, 1, (500.0,))), RATE)
    soundfile.write(folder / "negatives" / "empty.wav", np.zeros(0), RATE)
    soundfile.write(folder / "negatives" / "long.flac", np.zeros(601 * 8000), 8000)
    done = run(folder, "-o", "set", "--examples", 2, "--split", "all", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    listed = [json.loads(line) for line in (tmp_path / "set" / "skipped.jsonl").read_text().splitlines()]
    reasons = {entry["file"]: entry["reason"] for entry in listed}
    assert set(reasons) == {
        *(f"activates/{name}" for name in ("broken.wav", "notes.txt", "silent.wav", "clipped.wav")),
        *("negatives/empty.wav", "negatives/long.flac"),
    }
    assert reasons["negatives/long.flac"] == "601 s long; more than 600 s do not fit"
    assert "left out 6 of 14 recordings (skipped.jsonl lists them)" in done.stderr
    assert "activates/clipped.wav: clipped (" in done.stderr


def test_the_splits_share_no_speaker(tmp_path, cache) -> None:
    folder = make_raw_data(tmp_path / "raw_data", words=2)
    sound = vowel(100, 0.5, (500.0,))
    for kind in ("activates", "negatives", "backgrounds"):
        for speaker in range(22):  # so that each split has some of each
            (folder / kind / f"s{speaker}").mkdir()
            for take in range(2):
                content = np.resize(sound, 80_000) if kind == "backgrounds" else sound
                rate = 8_000 if kind == "backgrounds" else RATE
                soundfile.write(folder / kind / f"s{speaker}" / f"{take}.wav", content, rate)
    chosen = recipe.load("assignment")
    found: dict[str, set[str]] = {}
    for split in ("train", "dev", "test"):
        material = load(folder, cache, split, chosen).material
        clips = [*material.positives, *material.negatives, *material.backgrounds]
        assert {split_of(clip.group) for clip in clips} == {split}
        found[split] = {clip.group for clip in clips}
    assert "activates/s1" in set.union(*found.values())
    assert sum(map(len, found.values())) == len(set.union(*found.values()))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("no positives", "raw_data has no folder activates or positives"),
        ("empty positives", "raw_data/activates holds no recording that can be used"),
        ("bad positives", "positives: none of 1 recordings can be used: not readable as audio"),
        ("long positive", "activates/long.wav is 10.5 s long; a word must be shorter than 10 s"),
        ("short background", "backgrounds/short.wav is 9000 ms long; a background takes 10 000 ms or more"),
        ("no folder", "raw_data has no folder activates or positives"),
    ],
)
def test_bad_material_is_one_sentence_and_no_data_set(tmp_path, capsys, change, sentence) -> None:
    folder = tmp_path / "raw_data"
    if change != "no folder":
        make_raw_data(folder, words=1, backgrounds=1)
    if change in {"no positives", "empty positives", "bad positives"}:
        (folder / "activates" / "0.wav").unlink()
    if change == "no positives":
        (folder / "activates").rmdir()
    if change == "bad positives":
        (folder / "activates" / "0.wav").write_bytes(b"no sound")
    if change == "long positive":
        soundfile.write(folder / "activates" / "long.wav", vowel(100, 10.5, (500.0,)), RATE)
    if change == "short background":
        soundfile.write(folder / "backgrounds" / "short.wav", np.zeros(9 * RATE), RATE)
    status = main(["build", str(folder), "-o", str(tmp_path / "set"), "--split", "all", "--work", str(tmp_path)])
    last = capsys.readouterr().err.splitlines()[-1]
    assert status == 1
    assert last.startswith("chimed-train: ")
    assert sentence in last
    assert not (tmp_path / "set").exists()


def test_a_word_too_long_for_the_slowest_speed_is_refused(tmp_path, cache) -> None:
    folder = make_raw_data(tmp_path / "raw_data", words=1)
    soundfile.write(folder / "activates" / "phrase.wav", vowel(100, 8.5, (500.0,)), RATE)
    load(folder, cache, "all", recipe.load("assignment"))
    with pytest.raises(TrainingError, match=r"phrase.wav is 8.5 s long, and does not fit into 10 s at .* 0.8"):
        load(folder, cache, "all", recipe.load("full"))


def test_a_corrupted_shard_is_refused_and_made_anew_once_it_is_removed(plan, built, tmp_path, raw) -> None:
    folder = tmp_path / "set"
    arguments = [raw, "-o", folder, "--examples", 70, "--seed", 3, "--split", "all", "--workers", 1]
    build(plan, str(folder))
    damaged = folder / "shard-00001.audio.npy"
    content = bytearray(damaged.read_bytes())
    content[1_000_000] ^= 1
    damaged.write_bytes(content)
    assert Dataset(str(folder))[0][0].shape == (CLIP,)
    with pytest.raises(TrainingError, match=f"{damaged}: damaged"):
        Dataset(str(folder))[33]
    failed = run(*arguments, cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1] == (
        f"chimed-train: {damaged}: damaged, for its checksum is another; remove it, and the command that built it "
        "makes it anew"
    )
    damaged.unlink()
    assert run(*arguments, cwd=tmp_path).returncode == 0
    assert np.array_equal(Dataset(str(folder))[33][0], Dataset(str(built))[33][0])


def test_another_line_end_in_the_checksums_is_noticed(small) -> None:
    path = small / "shard-00000.sha256"
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1] + b"\v")
        with pytest.raises(TrainingError, match="damaged"):
            Dataset(str(small))[0]
    finally:
        path.write_bytes(content)


@given(name=st.sampled_from(["audio.npy", "labels.npy", "jsonl", "sha256"]), data=st.data())
def test_a_changed_byte_anywhere_in_a_shard_is_noticed(small, name, data) -> None:
    path = small / f"shard-00000.{name}"
    content = path.read_bytes()
    at, by = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(1, 255))
    try:
        path.write_bytes(content[:at] + bytes([content[at] ^ by]) + content[at + 1 :])
        with pytest.raises(TrainingError, match="damaged"):
            Dataset(str(small))[0]
    finally:
        path.write_bytes(content)


@pytest.fixture(scope="module")
def small(plan, tmp_path_factory) -> Path:
    """A data set of one example."""
    folder = tmp_path_factory.mktemp("small") / "set"
    build(replace(plan, examples=1), str(folder))
    return folder


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"examples": 70, "format": 99}'])
def test_a_damaged_description_is_one_sentence(plan, tmp_path, content) -> None:
    (tmp_path / "set.json").write_bytes(content)
    with pytest.raises(TrainingError, match=r"damaged|differs|format 99"):
        Dataset(str(tmp_path))
    with pytest.raises(TrainingError, match=r"damaged|differs"):
        build(plan, str(tmp_path))


def test_a_data_set_that_is_not_finished_is_refused(plan, tmp_path) -> None:
    with pytest.raises(TrainingError, match="there is no data set"):
        Dataset(str(tmp_path))
    build(replace(plan, examples=33), str(tmp_path))
    (tmp_path / "shard-00001.sha256").unlink()
    with pytest.raises(TrainingError, match="not finished, 1 of 2 shards are missing"):
        Dataset(str(tmp_path))


@pytest.fixture
def small_disk(tmp_path) -> Path:
    """A file system of 3 MB: room for three examples."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_too_small_is_noticed_before_anything_is_built(raw, small_disk, tmp_path) -> None:
    failed = run(raw, "-o", small_disk / "set", "--examples", 10, "--split", "all", cwd=tmp_path)
    assert failed.returncode == 1
    last = failed.stderr.splitlines()[-1]
    assert last.startswith(f"chimed-train: {small_disk}/set: the disk is full: 9 MB are needed, ")
    assert not list((small_disk / "set").glob("shard*"))


def test_a_disk_that_fills_up_meanwhile_leaves_no_half_file(plan, small_disk) -> None:
    """Something else takes the room after the build has looked."""

    class Filling(LocalStorage):
        def free(self) -> float:
            found = super().free()
            (self.folder / "other").write_bytes(bytes(2_500_000))
            return found

    chosen = replace(plan, examples=2)
    from training.dataset.build import new_worker, prepare

    place = Filling(small_disk / "set")
    assert prepare(chosen, place) == [0]
    with pytest.raises(TrainingError, match=r"shard-00000.audio.npy: the disk is full; make room, and the same"):
        new_worker(chosen, place.location)(0)
    assert {path.name for path in place.folder.iterdir()} == {"set.json", "other"}
    (place.folder / "other").unlink()
    assert build(chosen, place.location).made == 2


def test_spectrograms_that_do_not_fit_are_refused(small, small_disk) -> None:
    (small_disk / "filler").write_bytes(bytes(1_500_000))
    with pytest.raises(TrainingError, match="the disk is full"):
        write_xy(str(small), small_disk)


def test_a_list_of_problems_can_be_empty(tmp_path, raw, cache) -> None:
    found = load(raw, cache, "all", recipe.load("assignment"))
    write_problems(storage(str(tmp_path)), found.problems)
    assert (tmp_path / "skipped.jsonl").read_bytes() == b""
    assert summary(found) == ""


# --- X and Y ---


def test_x_and_y_are_the_spectrograms_and_labels_of_the_examples(short, tmp_path) -> None:
    write_xy(str(short), tmp_path)
    x, y = open_xy(tmp_path)
    assert (x.shape, x.dtype) == ((34, 5511, 101), np.float32)
    assert (y.shape, y.dtype) == ((34, 1375, 1), np.float32)
    assert isinstance(x, np.memmap)
    data = Dataset(str(short))
    for number in (0, 31, 32, 33):
        audio, labels = data[number]
        assert np.array_equal(x[number], spectrogram(audio).T.astype(np.float32))
        assert np.array_equal(y[number, :, 0], labels)
    assert set(digests(tmp_path)) == {"X.npy", "Y.npy", "xy.json"}


def test_x_and_y_are_the_same_whatever_the_workers_and_interruptions(short, plan, tmp_path) -> None:
    write_xy(str(short), tmp_path / "two", workers=2)
    write_xy(str(short), tmp_path / "one")
    wanted = digests(tmp_path / "one")
    assert digests(tmp_path / "two")["X.npy"] == wanted["X.npy"]
    # as an interrupted call leaves it: the second shard is missing
    folder = tmp_path / "one"
    for name in ("X.npy", "Y.npy"):
        (folder / name).rename(folder / f"{name}.part")
    state = json.loads((folder / "xy.json").read_text())
    (folder / "xy.json").write_text(json.dumps(state | {"shards": [0]}))
    with (folder / "X.npy.part").open("r+b") as file:
        file.seek(33 * 5511 * 101 * 4)
        file.write(bytes(1000))
    write_xy(str(short), folder)
    assert digests(folder)["X.npy"] == wanted["X.npy"]
    # of another data set nothing is kept
    other = tmp_path / "other"
    build(replace(plan, examples=2, seed=9), str(other))
    write_xy(str(other), folder)
    assert open_xy(folder)[0].shape == (2, 5511, 101)


def test_x_and_y_are_not_lost_to_another_data_set_of_which_nothing_was_done(short, plan, tmp_path, monkeypatch) -> None:
    other, folder = tmp_path / "other", tmp_path / "xy"
    build(replace(plan, seed=9, examples=34), str(other))
    write_xy(str(short), folder)
    wanted = digests(folder)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(xy_arrays, "in_parallel", interrupted)  # once the files are laid out
        with pytest.raises(KeyboardInterrupt):
            write_xy(str(other), folder)
    assert (folder / "X.npy.part").exists()
    write_xy(str(short), folder)
    assert digests(folder) == wanted


def test_the_command_writes_x_and_y(raw, tmp_path) -> None:
    done = run(raw, "-o", "set", "--examples", 3, "--split", "all", "--xy", "xy", "--recipe", "full", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "set: 3 examples (3 of them now, " in done.stdout
    assert " a second)" in done.stdout
    assert open_xy(tmp_path / "xy")[0].shape == (3, 5511, 101)


# --- for training ---


def test_batches_are_those_of_a_stream_that_begins_with_the_example(short) -> None:
    """The same features as `learning.scene_batches` makes of the same samples, up to the end of the example."""

    class OneExample:
        def __init__(self, audio: np.ndarray) -> None:
            self.audio = np.pad(audio, (0, scene_batches.CHUNK_SAMPLES))
            self.at = 0

        def take(self, count: int) -> np.ndarray:
            self.at += count
            return self.audio[self.at - count : self.at]

        def labels(self, _first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
            return np.zeros(count), np.zeros(count)

        def reset(self) -> None:
            self.at = 0

    audio = Dataset(str(short))[5][0]
    as_heard = scenes.SceneRecipe(vocal_tract=(1.0, 1.0), floor_db=(FLOOR_DB, FLOOR_DB))
    for scaling in ("log", "relative", "power"):
        row = scene_batches._Row(OneExample(audio), FrontEnd(scaling), as_heard, np.random.default_rng())  # type: ignore[arg-type]
        wanted = np.stack([row.chunk()[0] for _ in range(4)])
        found = features(audio, FrontEnd(scaling))
        assert found.shape == wanted.shape
        assert np.array_equal(found[:3], wanted[:3])
        heard = 5511 - 3 * 1408
        assert np.array_equal(found[3, :heard], wanted[3, :heard])


def test_an_epoch_holds_each_example_once_with_its_labels(short) -> None:
    data = Dataset(str(short))
    front_end = FrontEnd()
    source = stream(str(short), front_end, rows=8, seed=1, first_epoch=0)
    assert epoch_batches(34, rows=8) == 4 * 4  # 32 of the 34 fill rows of 8
    keys = [features(data[number][0], front_end).tobytes() for number in range(34)]
    seen = Counter[bytes]()
    for _ in range(4):
        chunks = [next(source) for _ in range(4)]
        assert [set(chunk.fresh) for chunk in chunks] == [{1.0}, {0.0}, {0.0}, {0.0}]
        target = np.concatenate([chunk.target for chunk in chunks], axis=1)
        weight = np.concatenate([chunk.weight for chunk in chunks], axis=1)
        assert (target.shape, chunks[0].columns.shape) == ((8, 1408), (8, 1419, 37))
        assert (weight == (np.arange(1408) < 1375)).all()
        assert not target[:, 1375:].any()
        for row, labels in enumerate(target):
            key = np.stack([chunk.columns[row] for chunk in chunks]).tobytes()
            assert np.array_equal(labels[:1375], data[keys.index(key)][1])
            seen[key] += 1
    assert seen.total() == 32
    assert seen <= Counter(keys)  # two examples without any word may be the same
    first_again = next(stream(str(short), front_end, rows=8, seed=1, first_epoch=1))
    assert np.array_equal(next(source).columns, first_again.columns)


def test_another_process_gives_the_same_batches(short, tmp_path) -> None:
    make = partial(stream, str(short), FrontEnd(), 4, 7, 0)
    here, there = make(), Prefetch(make)
    try:
        for _ in range(5):
            ours, theirs = next(here), next(there)
            assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))
    finally:
        there.close()
    assert not multiprocessing.active_children()
    failing = Prefetch(partial(stream, str(tmp_path / "none"), FrontEnd(), 4, 7, 0))
    with pytest.raises(TrainingError, match="there is no data set"):
        next(failing)
    failing.close()
    with pytest.raises(TrainingError, match="34 examples do not fill 71 rows"):
        next(stream(str(short), FrontEnd(), 71, 0, 0))
