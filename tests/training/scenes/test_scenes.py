"""Scenes: labels where words end, levels and shares as the recipe says, the same for the same seed."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from model.frontend import FLOOR_DB, FRAME_COLUMNS, FrontEnd, spectrogram
from training.alignment.phone_targets import UNKNOWN
from training.corpora import corpus
from training.learning.scene_batches import CHUNK_SAMPLES, CHUNK_STEPS, Folders, TrainingPlan, epoch, stretched
from training.scenes.augment import coloured_noises, microphone_response, room_response, stretch
from training.scenes.labels import PHONE_LAG
from training.scenes.material import SceneMaterial
from training.scenes.recipe import SceneRecipe
from training.scenes.scenes import Scenes

pytestmark = pytest.mark.slow

RATE = 44_100
QUIET = replace(
    SceneRecipe(
        noise_only=0.0, room=0.0, babble=0.0, clean=1.0, equaliser_db=0.0, low_pass=0.0, overdrive=0.0, own_noise=0.0
    ),
    events=(0.5, 0.0, 0.0, 0.5, 0.0),
    speech_dbfs=(-20.0, -20.0),
    event_db=(0.0, 0.0),
    tight=0.0,
    synthetic_speed=(1.0, 1.0),
    real_speed=(1.0, 1.0),
)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Folders:
    """Words are bursts of 3 kHz, other speech of 500 Hz: easily told apart again in a scene."""
    root = tmp_path_factory.mktemp("material")
    rng = np.random.default_rng(0)
    sizes = {"positives": (3000, 0.5), "spoken": (800, 0.4), "speech": (500, 2.0), "noise": (None, 4.0)}
    for kind, (hertz, seconds) in sizes.items():
        (root / kind).mkdir()
        t = np.arange(int(seconds * RATE)) / RATE
        for number in range(20):
            wave = rng.standard_normal(len(t)) if hertz is None else np.sin(2 * np.pi * hertz * t)
            soundfile.write(root / kind / f"{number}.wav", 0.1 * wave, RATE)
    kinds = {kind: (root / kind,) for kind in sizes}
    return Folders(**kinds, cache=root / "cache")


@pytest.fixture(scope="module")
def material(folders) -> SceneMaterial:
    return folders.load("train")


def scenes(material: SceneMaterial, recipe: SceneRecipe = QUIET, seed: int = 1) -> Scenes:
    return Scenes(material, recipe, coloured_noises(np.random.default_rng(0), seconds=2), np.random.default_rng(seed))


def test_ones_stand_in_the_50_steps_after_each_word_and_nowhere_else(material) -> None:
    row = scenes(material)
    seconds = 60
    samples = row.take(seconds * RATE).astype(float)
    steps = seconds * RATE // 320 - 100
    target, weight, _, event = row.labels(0, steps)
    # where 3 kHz is loud, in steps
    t = np.arange(len(samples))
    heard = np.abs(np.convolve(samples * np.exp(-2j * np.pi * 3000 / RATE * t), np.ones(320) / 320, "same"))
    loud = heard[: steps * 320].reshape(steps, 320).mean(axis=1) > 300
    ends = np.flatnonzero(loud[:-1] & ~loud[1:])
    starts = np.flatnonzero((target[1:] == 1) & (target[:-1] == 0)) + 1
    assert len(starts) >= 8
    for start in starts:
        assert np.min(np.abs(ends - start)) <= 4, "a label that no word precedes"
    for end in ends:
        assert np.min(np.abs(starts - end)) <= 4, "a word without a label"
    runs = [len(run) for run in "".join("1" if x else "0" for x in target).split("0") if run]
    assert max(runs) <= 50 or np.diff(starts).min() < 60
    assert runs.count(50) >= len(runs) - 2
    assert set(np.unique(weight)) == {0.0, 1.0}
    assert (weight[target == 1] == 1).all()
    assert (weight[starts - 5] == 0).mean() > 0.8  # when exactly a word ends is not held against the network
    # every word that lies wholly in the stretch has a number, and around it nothing is held against the network
    assert set(event[event > 0]) == set(range(1, event.max() + 1))
    assert event.max() >= len(starts) - 2
    assert (event[target == 1] != 0).all()
    assert (event[weight == 0] != 0).all()
    assert (event == 0).mean() > 0.3


def test_a_word_at_the_edge_of_a_stretch_counts_neither_as_heard_nor_as_missed(material) -> None:
    row = scenes(material)
    row.take(30 * RATE)
    starts = np.flatnonzero(np.diff(row.labels(0, 3000).target) == 1) + 1
    cut = scenes(material)
    cut.take(30 * RATE)
    labels = cut.labels(0, int(starts[0]) + 30)  # 30 of its 50 steps
    assert labels.target[-30:].all()
    assert (labels.event[-30:] == -1).all()


def test_speech_joined_at_random_is_no_word_and_comes_from_one_speaker(folders) -> None:
    """Speakers speak at different pitches: a joined event holds one of them, in pieces without gaps or clicks."""
    hertz = {f"speaker{number}": 400 * (number + 1) for number in range(20)}
    for name, pitch in hertz.items():
        folder = folders.cache.parent / "readers" / name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(2):
            tone = np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE + number)
            soundfile.write(folder / f"{number}.wav", 0.1 * tone, RATE)
    joined = replace(folders, speech=(folders.cache.parent / "readers",)).load("train")
    row = scenes(joined, replace(QUIET, events=(0.0, 0.0, 0.0, 0.0, 1.0), join_seconds=(0.005, 0.005)))
    samples = row.take(60 * RATE).astype(float)
    assert not row.labels(0, 5000).target.any()
    loud = np.convolve(np.abs(samples) > 300, np.ones(400), "same") > 0
    edges = np.flatnonzero(np.diff(loud.astype(int)))
    events = [samples[a + 600 : b - 600] for a, b in zip(edges[::2], edges[1::2], strict=False) if b - a > 4000]
    assert len(events) > 15
    for event in events:
        power = np.abs(np.fft.rfft(event * np.hanning(len(event)))) ** 2
        at = np.fft.rfftfreq(len(event), 1 / RATE)
        pitch = at[np.argmax(power)]
        assert power[np.abs(at - pitch) < 100].sum() > 0.95 * power.sum(), "more than one speaker, or clicks"


def test_phones_lie_where_they_sound(material) -> None:
    """Half of the word is called 5, the rest 7; other speech is not known, pauses are silence."""
    tracks = {
        clip.path: np.array([[5, 0, clip.length // 2], [7, clip.length // 2, clip.length]], np.int32)
        for clip in material.clips["positives"]
    }
    row = scenes(replace(material, tracks=tracks, clips={}, by_folder={}))
    row.take(60 * RATE)
    labels = row.labels(0, 60 * RATE // 320 - 100)
    starts = np.flatnonzero(np.diff(labels.target) == 1) + 1
    assert set(labels.phone) == {UNKNOWN, 0, 5, 7}
    lag = PHONE_LAG / 320 - 1000 / 320  # steps between a word's end and the first step that speaks of what follows
    for start in starts[1:]:
        end = start + round(lag)
        assert (labels.phone[end - 30 : end - 3] == 7).all()
        assert (labels.phone[end - 64 : end - 38] == 5).all()
        assert not np.isin(labels.phone[end + 2 : end + 6], (5, 7)).any()


def test_a_first_part_of_the_word_is_no_word(material) -> None:
    row = scenes(material, replace(QUIET, events=(0.0, 1.0, 0.0, 0.0, 0.0)))
    row.take(30 * RATE)
    target = row.labels(0, 3000).target
    assert not target.any()


def test_the_same_seed_gives_the_same_samples_in_pieces_of_any_size(material) -> None:
    whole = scenes(material, SceneRecipe(), seed=5).take(20 * RATE)
    row = scenes(material, SceneRecipe(), seed=5)
    pieces = np.concatenate([row.take(n) for n in (1, 0, 99_999, 20 * RATE - 100_000)])
    np.testing.assert_array_equal(pieces, whole)
    assert not np.array_equal(scenes(material, SceneRecipe(), seed=6).take(20 * RATE), whole)


def test_noise_only_scenes_hold_no_word_and_stay_within_their_levels(material) -> None:
    recipe = replace(QUIET, noise_only=1.0, noise_dbfs=(-30.0, -30.0))
    row = scenes(material, recipe)
    samples = row.take(60 * RATE).astype(float)
    assert not row.labels(0, 5000)[0].any()
    assert 20 * np.log10(np.sqrt(np.mean(samples**2)) / 32_768) == pytest.approx(-30, abs=1)


def test_speech_stands_above_the_noise_by_the_snr(material) -> None:
    recipe = replace(QUIET, clean=0.0, snr_db=(10.0, 10.0), events=(0.0, 0.0, 0.0, 1.0, 0.0))
    samples = scenes(material, recipe).take(60 * RATE).astype(float)
    power = np.mean(samples[: 60 * RATE // 882 * 882].reshape(-1, 882) ** 2, axis=1)
    noise, speech = np.percentile(power, 5), np.percentile(power, 80)
    assert 10 * np.log10(speech / noise) == pytest.approx(10.4, abs=3)


def test_an_event_may_bring_a_noise_of_its_own(material) -> None:
    recipe = replace(QUIET, events=(0.0, 0.0, 0.0, 1.0, 0.0), own_snr_db=(20.0, 20.0), own_noise_seconds=(0.2, 0.2))
    recipe = replace(recipe, pause_seconds=(0.2, 0.35))
    rows = [scenes(material, replace(recipe, own_noise=share)).take(60 * RATE).astype(float) for share in (0.0, 1.0)]
    power = [np.mean(row[: 60 * RATE // 882 * 882].reshape(-1, 882) ** 2, axis=1) for row in rows]
    quiet, noisy = (10 * np.log10(np.percentile(p, 8) / np.percentile(p, 80)) for p in power)
    assert quiet < -40
    assert noisy == pytest.approx(-20, abs=6)


def test_stretching_changes_pitch_and_length_together() -> None:
    wave = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    fast = stretch(wave, 1.25)
    assert len(fast) == pytest.approx(RATE / 1.25, abs=2)
    peak = np.argmax(np.abs(np.fft.rfft(fast))) * RATE / len(fast)
    assert peak == pytest.approx(1250, abs=3)


def test_a_room_keeps_the_direct_sound_and_decays_by_60_db() -> None:
    response = room_response(0.4, 6.0, np.random.default_rng(0))
    assert response[0] == 1.0
    energy = np.cumsum(response[::-1].astype(float) ** 2)[::-1]
    assert 10 * np.log10(np.sum(response[1:].astype(float) ** 2)) == pytest.approx(-6, abs=0.01)
    early, late = energy[int(0.05 * RATE)], energy[int(0.25 * RATE)]
    assert 10 * np.log10(early / late) == pytest.approx(60 * 0.2 / 0.4, abs=4)


def test_a_low_pass_takes_the_treble() -> None:
    response = microphone_response(0.0, 4000.0, np.random.default_rng(0))
    gain = 20 * np.log10(np.abs(np.fft.rfft(response, 4096)) + 1e-9)
    hertz = np.fft.rfftfreq(4096, 1 / RATE)
    assert gain[np.argmin(np.abs(hertz - 1000))] == pytest.approx(0, abs=0.5)
    assert gain[np.argmin(np.abs(hertz - 8000))] < -20


def test_batches_are_what_the_daemon_would_compute_and_follow_each_other(folders, material) -> None:
    """Two chunks of a row are one stream through the daemon's own front end."""
    as_heard = replace(SceneRecipe(), vocal_tract=(1.0, 1.0), floor_db=(FLOOR_DB, FLOOR_DB))
    plan = TrainingPlan(folders, FrontEnd(), as_heard, seed=4, rows=2, epoch_steps=2, restart=0.0)
    first, second = epoch(plan, material, 0)
    assert first.columns.shape == (2, 1419, 37)
    assert (first.fresh == 1).all()
    assert (second.fresh == 0).all()
    seeds = np.random.SeedSequence([4, 0]).spawn(3)
    row = Scenes(
        material, plan.recipe, coloured_noises(np.random.default_rng(seeds[-1])), np.random.default_rng(seeds[1])
    )
    samples = row.take(2 * CHUNK_SAMPLES + 1000)
    scaling = plan.front_end.new_scaling()
    power = spectrogram(samples)
    features = np.concatenate(
        [scaling.push(power[:, i : i + FRAME_COLUMNS]) for i in range(0, power.shape[1], FRAME_COLUMNS)]
    )
    np.testing.assert_allclose(first.columns[1], features[:1419], atol=2e-4)
    np.testing.assert_allclose(second.columns[1], features[1408:], atol=2e-4)
    target = row.labels(0, 2 * CHUNK_STEPS).target
    np.testing.assert_array_equal(np.concatenate([first.target[1], second.target[1]]), target)


def test_a_longer_vocal_tract_moves_the_formants_and_keeps_the_tempo() -> None:
    column = np.zeros(101)
    column[20] = 1.0
    assert np.argmax(stretched(0.8) @ column) == 25
    assert np.argmax(stretched(1.25) @ column) == 16
    np.testing.assert_array_equal(stretched(1.0), np.eye(101))
    flat = stretched(1.15) @ np.ones(101)
    np.testing.assert_allclose(flat, 1.0, atol=1e-12)


def test_each_stream_has_a_floor_of_its_own(folders, material) -> None:
    """What lies below it is flat: the features' lowest value is that of the floor."""
    recipe = replace(QUIET, vocal_tract=(1.0, 1.0), floor_db=(10.0, 30.0))
    plan = TrainingPlan(folders, FrontEnd(), recipe, seed=4, rows=4, epoch_steps=1)
    lowest = next(epoch(plan, material, 0)).columns.min(axis=(1, 2))
    floors = (lowest - 1.5) / 0.4 * 10 / np.log(10)  # as LogScaling scales, in dB
    assert len(set(floors.round(3))) == 4
    assert ((floors > -30.1) & (floors < -9)).all()


def test_an_epoch_depends_on_its_number_and_the_seed_alone(folders, material) -> None:
    plan = TrainingPlan(folders, FrontEnd(), SceneRecipe(), seed=4, rows=2, epoch_steps=1)
    first, again, other = (next(epoch(plan, material, number)) for number in (3, 3, 4))
    np.testing.assert_array_equal(first.columns, again.columns)
    assert not np.array_equal(first.columns, other.columns)


def test_training_never_sees_what_is_kept_for_testing(folders) -> None:
    train, test = (folders.load(split) for split in ("train", "test"))
    for kind in ("positives", "speech", "noise"):
        assert not {clip.path for clip in train.clips[kind]} & {clip.path for clip in test.clips[kind]}
        assert all(corpus.split_of(clip.group) == "train" for clip in train.clips[kind])
