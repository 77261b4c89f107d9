"""The room is found where nobody speaks, sounds as it did, and is what stands behind a word in a scene."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile
from scipy.signal import butter, sosfilt, welch

from tests.support.paths import DATA
from tests.training.scenes.test_scenes import QUIET
from training.corpora import corpus
from training.corpora.room_tone import LONGEST_SECONDS, PER_FOLDER, SHORTEST_SECONDS, looped, quietest, room_tones
from training.learning.scene_batches import Folders
from training.scenes.augment import coloured_noises
from training.scenes.recipe import SceneRecipe
from training.scenes.scenes import Scenes

pytestmark = pytest.mark.slow

RATE = 44_100


def hiss(seconds: float, band: tuple[float, float], rms: float = 60.0, seed: int = 0) -> np.ndarray:
    """A room that sounds only between two frequencies."""
    white = np.random.default_rng(seed).standard_normal(int(seconds * RATE))
    wave = sosfilt(butter(4, band, "bandpass", fs=RATE, output="sos"), white)
    return wave / np.sqrt(np.mean(wave**2)) * rms


def talk(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return 5000 * np.sin(2 * np.pi * 700 * t)


def recording(room: np.ndarray, *spoken: tuple[float, float]) -> np.ndarray:
    """int16 samples of a room in which somebody talks from one second to the other."""
    wave = room.copy()
    for start, end in spoken:
        said = wave[int(start * RATE) : int(end * RATE)]
        said += talk(10)[: len(said)]
    return np.round(wave).astype(np.int16)


def power_above(wave: np.ndarray, hertz: float) -> float:
    frequency, power = welch(wave, RATE, nperseg=1024)
    return float(power[frequency > hertz].sum() / power.sum())


def test_the_longest_pause_is_found_and_sounds_as_the_room_did() -> None:
    room = hiss(6, (5000, 6000))
    found = quietest(recording(room, (0.4, 1.5), (2.9, 5.0)))
    assert 1.3 < len(found) / RATE <= 1.4  # from 1.5 to 2.9 s, but for a frame at either end
    assert power_above(found, 4500) == pytest.approx(power_above(room, 4500), abs=0.01)
    assert power_above(looped(found), 4500) > 0.98


def test_a_long_pause_is_cut_and_shares_the_recordings_memory() -> None:
    samples = recording(hiss(8, (1000, 9000)), (0.5, 2.0))
    found = quietest(samples)
    assert len(found) == LONGEST_SECONDS * RATE
    assert np.shares_memory(found, samples)


CASES = ("digital silence", "no pause", "short pause", "click", "nobody speaks", "short", "empty")


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_room_gives_none(case: str) -> None:
    room = hiss(4, (2000, 3000))
    samples = {
        "digital silence": recording(np.zeros(4 * RATE), (0.5, 1.5)),
        "no pause": recording(room, (0.0, 4.0)),
        "short pause": recording(room, (0.0, 2.0), (2.0 + SHORTEST_SECONDS - 0.05, 4.0)),
        "click": recording(room, (0.0, 3.0)),
        "nobody speaks": recording(room),
        "short": recording(room)[: RATE // 2],
        "empty": np.empty(0, np.int16),
    }[case]
    if case == "click":
        samples[int(3.5 * RATE)] = 700  # too short to make its 10 ms loud
        assert quietest(recording(room, (0.0, 3.0))) is not None
    assert quietest(samples) is None


def test_it_comes_round_without_a_jump() -> None:
    found = np.round(hiss(0.5, (50, 100)) + 300).astype(np.int16)  # slow, and off zero
    wave = np.tile(looped(found), 3)
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(1, abs=1e-3)
    assert abs(wave.mean()) < 1e-3
    assert np.abs(np.diff(wave)).max() <= np.abs(np.diff(looped(found)[: len(found)])).max() + 1e-6


def test_a_real_recording_has_its_room() -> None:
    samples = corpus.read(DATA / "activate-demo.flac")
    found = quietest(samples).astype(float)
    loud = np.quantile(np.abs(samples.astype(float)), 0.99)
    assert len(found) > SHORTEST_SECONDS * RATE
    assert np.sqrt(np.mean((found - found.mean()) ** 2)) < loud / 10


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> Folders:
    """Other speech in rooms that sound above 5 kHz alone; words and noise without a sound up there."""
    root = tmp_path_factory.mktemp("rooms")
    room = recording(hiss(3, (6000, 7000)), (0.5, 1.5))
    waves = {"positives": talk(0.5), "spoken": talk(0.4), "speech": room, "noise": hiss(4, (200, 300))}
    for kind, wave in waves.items():
        (root / kind).mkdir()
        for number in range(120 if kind == "speech" else 12):
            soundfile.write(root / kind / f"{number}.wav", np.round(wave).astype(np.int16), RATE)
    return Folders(**{kind: (root / kind,) for kind in waves}, cache=root / "cache")


def test_a_training_has_some_rooms_of_each_folder_and_of_its_own_split(folders) -> None:
    material = folders.load("train")
    assert len(material.clips["speech"]) > PER_FOLDER
    assert len(material.tones) == PER_FOLDER
    development = folders.load("dev")
    assert len(development.tones) == len(development.clips["speech"])
    again = room_tones(material.speech, material.clips["speech"])
    assert all(np.array_equal(one, other) for one, other in zip(material.tones, again, strict=True))


@pytest.mark.parametrize(("share", "least", "most"), [(1.0, -25, -15), (0.0, -90, -40)])
def test_the_room_is_behind_the_word_and_nowhere_else(folders, share: float, least: float, most: float) -> None:
    """20 dB below it, where the recipe says so; brown noise and hum, which else stand there, hold little treble."""
    recipe = replace(QUIET, events=(1.0, 0.0, 0.0, 0.0, 0.0), own_noise=1.0, own_snr_db=(20.0, 20.0), room_tone=share)
    material = folders.load("train")
    dark = coloured_noises(np.random.default_rng(0), seconds=2)[4:]
    row = Scenes(material, recipe, dark, np.random.default_rng(1))
    samples = row.take(60 * RATE).astype(float)
    treble = sosfilt(butter(6, (5500, 7500), "bandpass", fs=RATE, output="sos"), samples)
    level = 10 * np.log10(np.maximum(np.mean(treble.reshape(-1, 441) ** 2, axis=1), 1e-3))
    voice = 10 * np.log10(np.mean(samples.reshape(-1, 441) ** 2, axis=1).max())
    assert least < np.quantile(level, 0.9) - voice < most
    assert np.quantile(level, 0.02) - voice < -40  # between the words there is none


def test_a_share_of_the_even_noises_are_rooms(folders) -> None:
    material = folders.load("train")
    own = coloured_noises(np.random.default_rng(0), seconds=2)
    row = Scenes(material, replace(SceneRecipe(), room_tone=0.67), own, np.random.default_rng(2))
    drawn = [row._noises.even() for _ in range(600)]
    rooms = sum(not any(noise is colour for colour in own) for noise in drawn)
    assert rooms / 600 == pytest.approx(0.67, abs=0.06)
