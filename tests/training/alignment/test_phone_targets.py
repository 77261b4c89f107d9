"""Phones of recordings whose text is known: spoken by flite, found by the real aligner."""

import json
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

pytest.importorskip("pocketsphinx", reason="PocketSphinx, the extra [align], is not installed")

from training.alignment.phone_targets import NAMES, SILENT_PHONE, phone_track, phone_tracks, spoken_texts
from training.learning.scene_batches import Folders

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A folder as `speak` leaves it: "computer", "activate" and a word that nobody knows, with their manifest."""
    if not shutil.which("flite"):
        pytest.skip("flite is not installed (Debian: apt install flite)")
    folder = tmp_path_factory.mktemp("spoken")
    entries = []
    for number, text in enumerate(("computer", "activate", "qwzzlfrp")):
        file = f"{number}.wav"
        subprocess.run(["flite", "-voice", "slt", "-t", text, "-o", str(folder / file)], check=True)
        entries.append({"file": file, "text": text})
    (folder / "manifest.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return folder


def test_the_phones_of_a_word_are_found_in_their_order_and_remembered(spoken, tmp_path) -> None:
    texts = spoken_texts(spoken)
    assert sorted(texts.values()) == ["activate", "computer", "qwzzlfrp"]
    found = phone_tracks(texts, tmp_path, 1)
    assert len(found) == 2, "the word that nobody knows has no phones"
    phones = found[str(spoken / "1.wav")]
    names = [NAMES[phone] for phone in phones[:, 0] if phone != SILENT_PHONE]
    assert names == ["AE", "K", "T", "AH", "V", "EY", "T"]
    assert (phones[:, 2] > phones[:, 1]).all()
    assert (phones[1:, 1] >= phones[:-1, 2]).all()
    (cached,) = tmp_path.glob("phones-*.json")
    before = cached.stat().st_mtime_ns
    np.testing.assert_array_equal(phone_tracks(texts, tmp_path, 1)[str(spoken / "1.wav")], phones)
    assert cached.stat().st_mtime_ns == before


def test_padding_is_taken_off_and_nothing_lies_outside_the_recording() -> None:
    words = [[["SIL", 0, 25, 0]], [["AE", 25, 5, 0], ["+NSN+", 30, 10, 0]], [["T", 40, 90, 0]]]
    assert phone_track(words, length=44_100, padding=8820) == [
        (SILENT_PHONE, 0, 2205),
        (NAMES.index("AE"), 2205, 4410),
        (SILENT_PHONE, 4410, 8820),
        (NAMES.index("T"), 8820, 44_100),
    ]


def test_a_folder_without_texts_has_none(tmp_path) -> None:
    (tmp_path / "a.wav").write_bytes(b"")
    assert spoken_texts(tmp_path) == {}


def test_phones_stay_where_they_are_when_a_recording_is_cut_to_the_word(spoken, tmp_path) -> None:
    """A second of a room before the word and after it: its phones still fill the clip."""
    samples, rate = soundfile.read(spoken / "1.wav")
    quiet = 0.0005 * np.random.default_rng(0).standard_normal(rate)
    folder = tmp_path / "positives"
    folder.mkdir()
    soundfile.write(folder / "a.wav", np.concatenate([quiet, samples, quiet]), rate)
    folders = Folders((folder,), (spoken,), (spoken,), (spoken,), tmp_path / "cache")
    material = folders.load("train", "activate")
    [clip] = material.positives.clips
    phones = material.tracks[clip.path]
    said = phones[phones[:, 0] != SILENT_PHONE]
    assert [NAMES[phone] for phone in said[:, 0]] == ["AE", "K", "T", "AH", "V", "EY", "T"]
    assert clip.length / 44_100 < len(samples) / rate + 0.1
    assert -0.1 * 44_100 < said[0, 1] < 0.15 * 44_100
    # the aligner lets a last T run into the room
    assert clip.length - 0.15 * 44_100 < said[-1, 2] < clip.length + 0.3 * 44_100


def test_a_noise_after_the_word_is_cut_off_with_the_help_of_its_phones(spoken, tmp_path) -> None:
    """A rustle half a second after the word is as loud as speech, so by energy alone it would belong to it."""
    samples, rate = soundfile.read(spoken / "1.wav")
    rng = np.random.default_rng(0)
    folder = tmp_path / "positives"
    folder.mkdir()
    recording = np.concatenate([samples, np.zeros(rate // 2), 0.03 * rng.standard_normal(rate // 2), np.zeros(rate)])
    recording += 0.0005 * rng.standard_normal(len(recording))
    soundfile.write(folder / "a.wav", recording, rate)
    folders = Folders((folder,), (spoken,), (spoken,), (spoken,), tmp_path / "cache")
    [by_energy] = folders.load("train").positives.clips
    [clip] = folders.load("train", "activate").positives.clips
    assert by_energy.length / 44_100 > len(samples) / rate + 0.8
    assert clip.length / 44_100 < len(samples) / rate + 0.2
