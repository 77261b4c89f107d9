"""Folders of recordings become clips; what is of no use is listed with its reason."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import soundfile

from training.alignment.phone_targets import known_texts
from training.corpora import corpus
from training.corpora.corpus import split_of
from training.corpora.exclude_word import exclude_word
from training.corpora.transcripts import transcripts
from training.dsp.decode import active_level, to_int16
from training.utils.errors import TrainingError
from training.utils.find_files import find_files

pytestmark = pytest.mark.slow


def tone(seconds: float, rate: int, channels: int = 1, amplitude: float = 0.3) -> np.ndarray:
    wave = amplitude * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    other = np.zeros_like(wave)
    return np.stack([wave] + [other] * (channels - 1), axis=1)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "A.WAV"])
@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (44_100, 2), (48_000, 1)])
def test_any_format_rate_and_channel_count_becomes_mono_at_44100(tmp_path, name, rate, channels) -> None:
    soundfile.write(tmp_path / name, tone(1.0, rate, channels), rate)
    samples = corpus.read(tmp_path / name)
    assert samples.dtype == np.int16
    assert len(samples) == pytest.approx(44_100, rel=0.06)  # mp3 pads
    assert np.abs(samples[10_000:30_000]).max() == pytest.approx(0.3 * 32_768, rel=0.03)


def test_what_cannot_be_used_is_listed_with_its_reason(tmp_path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    soundfile.write(folder / "good.wav", tone(1.0, 16_000), 16_000)
    soundfile.write(folder / "silent.wav", np.zeros(16_000), 16_000)
    soundfile.write(folder / "empty.wav", np.zeros(0), 16_000)
    soundfile.write(folder / "nan.wav", np.full(16_000, np.nan), 16_000, subtype="FLOAT")
    soundfile.write(folder / "long.flac", np.zeros(601 * 8000), 8000)
    (folder / "broken.wav").write_bytes(b"RIFF, or so it says")
    (folder / "notes.txt").write_text("not audio, so not a problem")
    loaded = corpus.load((folder,), tmp_path / "cache", "test")
    assert [clip.path for clip in loaded.clips] == [str(folder / "good.wav")]
    reasons = {problem.path.rsplit("/", 1)[1]: problem.reason for problem in loaded.problems}
    assert set(reasons) == {"silent.wav", "empty.wav", "nan.wav", "long.flac", "broken.wav"}
    assert reasons["silent.wav"] == "silent"
    assert "601 s" in reasons["long.flac"]
    assert "finite" in reasons["nan.wav"]


def test_the_second_load_maps_what_the_first_decoded_until_a_file_changes(tmp_path) -> None:
    folder, cache = tmp_path / "recordings", tmp_path / "cache"
    folder.mkdir()
    soundfile.write(folder / "a.wav", tone(0.5, 44_100), 44_100)
    first = corpus.load((folder,), cache, "test")
    files = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    again = corpus.load((folder,), cache, "test")
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == files
    np.testing.assert_array_equal(again[again.clips[0]], first[first.clips[0]])
    np.testing.assert_array_equal(again[again.clips[0]], corpus.read(folder / "a.wav"))
    soundfile.write(folder / "b.wav", tone(0.5, 44_100), 44_100)
    assert len(corpus.load((folder,), cache, "test").clips) == 2


def test_samples_that_were_deleted_are_decoded_again(tmp_path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(0.5, 44_100), 44_100)
    corpus.load((tmp_path,), tmp_path / "cache", "test")
    [pool] = (tmp_path / "cache").glob("*.pcm")
    pool.unlink()
    again = corpus.load((tmp_path,), tmp_path / "cache", "test")
    np.testing.assert_array_equal(again[again.clips[0]], corpus.read(tmp_path / "a.wav"))


def talk_in(home: Path) -> Path:
    """Two recordings that can be used, and between them one that cannot."""
    talk = home / "talk"
    (talk / "ann").mkdir(parents=True)
    soundfile.write(talk / "ann" / "1.wav", tone(0.5, 44_100), 44_100)
    soundfile.write(talk / "ann" / "2.wav", np.zeros(44_100), 44_100)
    soundfile.write(talk / "bob.wav", tone(0.7, 44_100), 44_100)
    (talk / "transcripts.txt").write_text("1\ta computer, I think\nbob\tgood morning\n")
    return talk


def test_what_was_decoded_serves_whatever_the_folder_is_called_next_time(tmp_path, monkeypatch) -> None:
    """Paths are those of now: by them a recording's transcript is found, in which somebody says the word."""
    talk, cache = talk_in(tmp_path / "home"), tmp_path / "cache"
    monkeypatch.chdir(talk.parent)
    before = corpus.load((Path("talk"),), cache, "test")
    assert [clip.path for clip in before.clips] == ["talk/ann/1.wav", "talk/bob.wav"]
    files = {path: path.stat().st_mtime_ns for path in cache.iterdir()}
    monkeypatch.chdir(tmp_path)
    loaded = corpus.load((talk,), cache, "test")
    assert {path: path.stat().st_mtime_ns for path in cache.iterdir()} == files, "it is not decoded again"
    assert [clip.path for clip in loaded.clips] == [str(talk / "ann" / "1.wav"), str(talk / "bob.wav")]
    assert [problem.path for problem in loaded.problems] == [str(talk / "ann" / "2.wav")]
    assert [clip.group for clip in loaded.clips] == ["talk/ann", "talk/bob"]
    for clip in loaded.clips:
        np.testing.assert_array_equal(loaded[clip], corpus.read(Path(clip.path)))
    kept = exclude_word(loaded, known_texts([loaded]), ["computer"])
    assert [clip.path for clip in kept.clips] == [str(talk / "bob.wav")]


@pytest.mark.parametrize("flawed", [False, True])
@pytest.mark.parametrize("again", ["talk", "../home/talk"])
def test_an_index_of_an_older_version_still_serves_and_never_wrongly(tmp_path, monkeypatch, flawed, again) -> None:
    """It has the paths as they were named then; only by them it can say which recordings it left out."""
    talk, cache = talk_in(tmp_path / "home"), tmp_path / "cache"
    if not flawed:
        (talk / "ann" / "2.wav").unlink()
    monkeypatch.chdir(talk.parent)
    new = corpus.load((Path("talk"),), cache, "test")
    [index] = cache.glob("*.json")
    [pool] = cache.glob("*.pcm")
    problems = [{"path": problem.path, "reason": problem.reason} for problem in new.problems]
    index.write_text(json.dumps({"clips": [vars(clip) for clip in new.clips], "problems": problems}))
    before = pool.stat().st_ino, pool.stat().st_mtime_ns
    loaded = corpus.load((Path(again),), cache, "test")
    if not flawed or again == "talk":
        assert (pool.stat().st_ino, pool.stat().st_mtime_ns) == before
    assert [(clip.path, clip.group) for clip in loaded.clips] == [
        (f"{again}/ann/1.wav", "talk/ann"),
        (f"{again}/bob.wav", "talk/bob"),
    ]
    assert [problem.path for problem in loaded.problems] == [f"{again}/ann/2.wav"] * flawed
    for clip in loaded.clips:
        np.testing.assert_array_equal(loaded[clip], corpus.read(Path(clip.path)))
    for clip in new.clips:  # a training that had it mapped goes on
        np.testing.assert_array_equal(new[clip], corpus.read(Path(clip.path)))


def test_a_recording_that_is_found_twice_counts_once(tmp_path, capsys) -> None:
    """Where it was found first; a folder named twice or within another would count it twice, in two splits perhaps."""
    talk, cache = talk_in(tmp_path), tmp_path / "cache"
    once = corpus.load((talk,), cache, "test")
    assert "before" not in capsys.readouterr().out
    for folders in ((talk, talk), (talk, talk / "ann"), (talk, tmp_path / "talk" / ".." / "talk")):
        loaded = corpus.load(folders, cache, "test")
        assert loaded.clips == once.clips
        assert loaded.hours() == once.hours()
        again = 2 if talk / "ann" in folders else 3
        assert capsys.readouterr().out.count(f"left out: {again} recordings that were found before") == 1
    inner = corpus.load((talk / "ann", talk), cache, "test")
    assert [clip.group for clip in inner.clips] == ["ann/1", "talk/bob"]


def test_two_trainings_that_share_a_cache_decode_once(tmp_path, monkeypatch) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    for name in range(8):
        soundfile.write(folder / f"{name}.flac", tone(2.0, 16_000), 16_000)
    decoded, together, decode = [], Barrier(2), corpus.decode

    def counted(path, *limits):
        decoded.append(path)
        return decode(path, *limits)

    def load(_):
        together.wait()
        return corpus.load((folder,), tmp_path / "cache", "test")

    monkeypatch.setattr(corpus, "decode", counted)
    with ThreadPoolExecutor() as threads:
        first, second = threads.map(load, range(2))
    assert len(decoded) == 8
    assert first.clips == second.clips
    for clip in first.clips:
        np.testing.assert_array_equal(first[clip], corpus.read(folder / clip.path))


def test_a_speaker_is_in_one_split_only(tmp_path) -> None:
    folder = tmp_path / "speech"
    for speaker in range(12):
        (folder / f"{speaker}").mkdir(parents=True)
        for number in range(3):
            soundfile.write(folder / f"{speaker}" / f"{number}.wav", tone(0.1, 8000), 8000)
    loaded = corpus.load((folder,), tmp_path / "cache", "test")
    assert len({clip.group for clip in loaded.clips}) == 12
    assert sum(len(loaded.split(name)) for name in ("train", "dev", "test")) == 36
    for group in {clip.group for clip in loaded.clips}:
        assert len({clip.split for clip in loaded.clips if clip.group == group}) == 1


def test_a_file_beside_no_speaker_folder_is_its_own_group(tmp_path) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", tone(0.1, 8000), 8000)
    assert len({group for _, group in corpus.find(tmp_path)}) == 2


def test_a_folder_has_its_name_however_it_is_given(tmp_path, monkeypatch) -> None:
    """Or its speakers would be in other splits when somebody trains within the folder."""
    folder = tmp_path / "pos"
    (folder / "ann").mkdir(parents=True)
    for name in ("1.wav", "ann/2.wav"):
        soundfile.write(folder / name, tone(0.1, 8000), 8000)
    (tmp_path / "linked").symlink_to(folder)
    monkeypatch.chdir(folder)
    for given in (folder, Path(), Path("../pos"), Path("ann/..")):
        assert [group for _, group in corpus.find(given)] == ["pos/1", "pos/ann"], given
    monkeypatch.chdir(folder / "ann")
    assert [group for _, group in corpus.find(Path(".."))] == ["pos/1", "pos/ann"]
    # a link has a name of its own
    assert [group for _, group in corpus.find(tmp_path / "linked")] == ["linked/1", "linked/ann"]


def test_folders_that_are_links_are_searched_too_and_a_circle_is_not(tmp_path) -> None:
    speaker, talk = tmp_path / "collection" / "ann", tmp_path / "talk"
    speaker.mkdir(parents=True)
    soundfile.write(speaker / "1.wav", tone(0.1, 8000), 8000)
    (speaker / "transcripts.txt").write_text("1\thello there\n")
    (speaker / "around").symlink_to(tmp_path)
    talk.mkdir()
    (talk / "ann").symlink_to(speaker)
    (talk / "gone.wav").symlink_to(tmp_path / "nowhere")
    found = talk / "ann" / "1.wav"
    assert (found, "talk/ann") in corpus.find(talk)
    assert find_files(talk)[0] == found
    assert (found, "talk/ann", "hello there") in list(transcripts(talk))
    (talk / "ann").unlink()
    (talk / "talk").symlink_to(talk)
    with pytest.raises(TrainingError, match="no audio in it"):
        corpus.find(talk)


def test_the_splits_have_their_shares_and_never_change() -> None:
    names = [split_of(f"speaker/{number}") for number in range(4000)]
    assert names.count("train") / 4000 == pytest.approx(0.70, abs=0.03)
    assert names.count("dev") / 4000 == pytest.approx(0.15, abs=0.02)
    # a recording must not move between versions: these are facts, not choices
    assert [split_of(f"speaker {number}") for number in range(1, 9)] == [
        "test",
        "dev",
        "train",
        "train",
        "test",
        "test",
        "train",
        "train",
    ]


def test_the_word_and_other_speech_of_one_person_are_in_one_split() -> None:
    people = [f"person {number}" for number in range(50)]
    for folder in ("positives", "activates"):
        assert [split_of(f"{folder}/{name}") for name in people] == [split_of(f"negatives/{name}") for name in people]
    assert {split_of(f"positives/{name}") for name in people} == {"train", "dev", "test"}


def test_a_missing_or_empty_folder_is_named(tmp_path) -> None:
    with pytest.raises(TrainingError, match="nowhere: no such folder"):
        corpus.find(tmp_path / "nowhere")
    with pytest.raises(TrainingError, match="no audio in it"):
        corpus.find(tmp_path)


def test_the_level_is_that_of_the_speech_not_of_its_pauses() -> None:
    loud = to_int16(tone(1.0, 44_100)[:, 0] * 32_768)
    padded = np.concatenate([np.zeros(200_000, np.int16), loud, np.zeros(200_000, np.int16)])
    assert active_level(padded) == pytest.approx(active_level(loud), abs=0.1)
    assert active_level(loud) == pytest.approx(20 * np.log10(0.3 / np.sqrt(2)), abs=0.1)


def test_what_is_out_of_range_clips_instead_of_wrapping() -> None:
    np.testing.assert_array_equal(to_int16(np.array([1e6, -1e6, 1.5, -0.4])), [32_767, -32_768, 2, 0])


def test_recordings_of_the_word_are_cut_to_the_word(tmp_path) -> None:
    """Labels begin where a clip ends, and people's recordings go on for a second after the word."""
    room = 0.001 * np.random.default_rng(0).standard_normal((3 * 16_000, 1))
    room[12_800:24_000] += tone(0.7, 16_000)
    soundfile.write(tmp_path / "word.wav", room, 16_000)
    soundfile.write(tmp_path / "cut.wav", tone(0.7, 16_000), 16_000)
    whole = corpus.load((tmp_path,), tmp_path / "cache", "test")
    words = corpus.cut_to_word(whole)
    for before, clip in zip(whole.clips, words.clips, strict=True):
        assert (clip.path, clip.group) == (before.path, before.group)
        assert clip.length / 44_100 == pytest.approx(0.7, abs=0.1)
        begin = clip.start - before.start
        np.testing.assert_array_equal(words[clip], whole[before][begin : begin + clip.length])
        assert clip.level == pytest.approx(-13.5, abs=1)
        assert np.abs(words[clip][-2000:]).max() > 5000, "it ends loud"
