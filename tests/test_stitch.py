"""Stitching, from transcribed speech to clips: the speech is spoken by flite's voices, the rest is the real thing."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from model.frontend import SAMPLE_RATE
from training import corpus, word
from training.align import SILENCE, align, align_all, new_aligner, new_decoder, pronunciations
from training.choose import Chooser, alike, places
from training.errors import TrainingError
from training.hearing import Listener, rivals
from training.prosody import Prosody, prosody
from training.retime import retime
from training.sound import Sound, colour, load
from training.splice import splice
from training.stitch import CLIPS, MANIFEST, stitch
from training.stitch_cli import add_stitch
from training.transcripts import spell, transcripts
from training.units import Habits, halves, opens
from training.word import Order, Size

pytest.importorskip("pocketsphinx", reason="PocketSphinx, the extra [stitch], is not installed")

VOICES = ("slt", "rms", "kal16")
SENTENCES = (
    "the actor looked at the practical fact",
    "wait for the eight late gates",
    "a part of the lot of it",
    "he walked out of a very vague favor",
    "act two came back to the state",
    "the acting captain is active today",
    "she ate the best of the great dates",
    "they moved a vase to the navy",
    "at last the best of it came back to us",
    "five eight five eight two",
)


@pytest.fixture(scope="session")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of transcribed speech: three speakers, ten sentences each."""
    if not shutil.which("flite"):
        pytest.skip("flite is not installed (Debian: apt install flite)")
    folder = tmp_path_factory.mktemp("speech") / "readers"
    lines = []
    for voice in VOICES:
        (folder / voice).mkdir(parents=True)
        for number, sentence in enumerate(SENTENCES):
            name = f"{voice}{number}"
            command = ["flite", "-voice", voice, "-t", sentence, "-o", str(folder / voice / f"{name}.wav")]
            subprocess.run(command, check=True)
            lines.append(f"{name}\t{sentence.upper()}")
    (folder / "transcripts.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alignments, shared by the tests."""
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="session")
def output(speech: Path, work: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stitching "activate" wrote."""
    folder = tmp_path_factory.mktemp("output")
    stitch("activate", [speech], folder, work, variants=4, jobs=1)
    return folder


def entries(output: Path) -> list[dict]:
    return [json.loads(line) for line in (output / MANIFEST).read_text().splitlines()]


def test_the_word_is_built_although_nobody_said_it(output: Path) -> None:
    found = entries(output)
    assert len({entry["speaker"] for entry in found}) >= 2
    for entry in found:
        samples, rate = soundfile.read(output / CLIPS / entry["file"], dtype="int16")
        assert rate == SAMPLE_RATE
        assert samples.ndim == 1
        assert 0.4 < len(samples) / rate < 1.2
        assert len(samples) / rate == pytest.approx(entry["seconds"], abs=1e-3)


def test_a_listener_that_knows_only_the_words_hears_it(output: Path) -> None:
    listener = Listener("activate", ["active", "captivate", "motivate", "elevate", "actor", "practice", "eight"])
    heard = [listener.hears(corpus.read(output / CLIPS / entry["file"])) for entry in entries(output)]
    assert heard.count("activate") >= 0.8 * len(heard)


def test_a_clip_is_made_of_one_speaker_and_the_manifest_says_how(output: Path) -> None:
    for entry in entries(output):
        assert {Path(piece["source"]).parent.name for piece in entry["pieces"]} == {entry["speaker"].split("/")[1]}
        assert len(entry["joins"]) == len(entry["pieces"]) - 1
        said = " ".join(piece["phones"] for piece in entry["pieces"])
        # two halves of a phone from two pieces are one phone; K may do without its second half, T without its first
        assert re.sub(r"(\w+)\. \.\1\b", r"\1", said).replace("K. .T", "K T") == "AE K T AH V EY T"
        assert all(0 < join["at"] < entry["seconds"] for join in entry["joins"])


def test_a_speakers_clips_fall_into_the_split_of_the_speech(speech: Path, output: Path) -> None:
    stitched = {group for _, group in corpus.find(output / CLIPS / speech.name)}
    assert stitched <= {group for _, group in corpus.find(speech)}
    assert stitched == {entry["speaker"] for entry in entries(output)}


def test_the_last_stop_is_heard_to_open(output: Path) -> None:
    assert all(opens(Sound(corpus.read(output / CLIPS / entry["file"]))) for entry in entries(output))


def test_a_stop_that_stays_shut_or_is_cut_does_not_open() -> None:
    rng = np.random.default_rng(0)
    vowel = 5000 * np.sin(2 * np.pi * 200 / SAMPLE_RATE * np.arange(SAMPLE_RATE // 5))
    closure, burst = rng.normal(0, 3, SAMPLE_RATE // 15), rng.normal(0, 1500, SAMPLE_RATE // 50)
    tail = rng.normal(0, 3, SAMPLE_RATE // 40)
    whole = corpus.to_int16(np.concatenate((vowel, closure, burst, tail)))
    assert opens(Sound(whole))
    assert not opens(Sound(whole[: len(vowel) + len(closure)]))
    assert not opens(Sound(whole[: len(vowel) + len(closure) + len(burst) // 4]))


def test_variants_are_different(output: Path) -> None:
    made_of = [json.dumps(entry["pieces"]) for entry in entries(output)]
    assert len(set(made_of)) == len(made_of)


def test_every_number_of_processes_gives_the_same_and_nothing_is_aligned_twice(
    speech: Path, work: Path, output: Path, tmp_path: Path
) -> None:
    def stamps() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (work / "alignments").iterdir()}

    before = stamps()
    stitch("activate", [speech], tmp_path, work, variants=4, jobs=2)
    assert stamps() == before
    assert entries(tmp_path) == entries(output)
    for entry in entries(output):
        assert (tmp_path / CLIPS / entry["file"]).read_bytes() == (output / CLIPS / entry["file"]).read_bytes()


def test_what_was_done_before_an_interruption_is_kept(speech: Path, tmp_path: Path) -> None:
    align_all([speech], tmp_path, 1)
    done = sorted(tmp_path.glob("*.json"))
    stamps = [path.stat().st_mtime_ns for path in done]
    text = done[0].read_text()
    done[0].unlink()
    align_all([speech], tmp_path, 1)
    assert [path.stat().st_mtime_ns for path in done[1:]] == stamps[1:]
    assert done[0].read_text() == text


def test_another_number_of_variants_leaves_no_stale_clips(speech: Path, work: Path, tmp_path: Path) -> None:
    stitch("activate", [speech], tmp_path, work, variants=3, jobs=1)
    stitch("activate", [speech], tmp_path, work, variants=1, jobs=1)
    files = {str(path.relative_to(tmp_path / CLIPS)) for path in (tmp_path / CLIPS).rglob("*.flac")}
    assert files == {entry["file"] for entry in entries(tmp_path)}


def test_what_was_said_in_one_piece_stays_in_one_piece(speech: Path, work: Path, tmp_path: Path) -> None:
    stitch("best of", [speech], tmp_path, work, variants=1, jobs=1)
    assert any(not entry["joins"] for entry in entries(tmp_path))


def test_the_command_prints_what_came_of_it(
    speech: Path, work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    add_stitch(parser.add_subparsers())
    options = ["--speech", str(speech), "-o", str(tmp_path), "--work", str(work), "--variants", "2", "--jobs", "1"]
    arguments = parser.parse_args(["stitch", "activate", *options])
    arguments.run(arguments)
    assert "clips of" in capsys.readouterr().out
    assert (tmp_path / "report" / "joins.png").stat().st_size > 10_000
    assert list((tmp_path / "report").glob("best-1-*.flac"))


def test_training_a_word_shows_what_was_stitched_too(speech: Path, work: Path, tmp_path: Path) -> None:
    order = Order("activate", tmp_path / "activate.npz", work, speech=(speech,), size=Size(variants=2))
    result = word._stitch(order, tmp_path)
    assert result["folders"] == [str(tmp_path / CLIPS / "readers")]
    assert "clips of the word joined from the phones of" in result["note"]
    assert (tmp_path / "report" / "joins.png").stat().st_size > 10_000
    assert {path.name[:6] for path in (tmp_path / "report").glob("*.flac")} >= {"best-1", "worst-"}


def test_phones_are_found_where_they_were_said(speech: Path, work: Path) -> None:
    speaker = next(one for one in align_all([speech], work / "alignments", 1) if one.group == "readers/slt")
    utterance = speaker.utterances[0]
    said = [phone.name for phone in utterance.phones if phone.name != SILENCE]
    expected = pronunciations(SENTENCES[0], new_decoder())
    assert tuple(said) in expected or len(said) == len(expected[0])
    assert all(a.end == pytest.approx(b.start) for a, b in zip(utterance.phones, utterance.phones[1:], strict=False))
    # voices are loud, silences are not
    sound = load(utterance.path)
    level = {
        phone.name: sound.level[sound.frame(round((phone.start + phone.end) / 2 * SAMPLE_RATE))]
        for phone in utterance.phones
    }
    assert level["AE"] > -10
    assert level.get(SILENCE, -99) < -20


def test_pitch_is_that_of_the_voice(tmp_path: Path) -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 150 * k * time) / k for k in range(1, 20))
    soundfile.write(tmp_path / "buzz.wav", 0.1 * voice, SAMPLE_RATE)
    pitch = load(str(tmp_path / "buzz.wav")).pitch
    assert np.nanmedian(pitch) == pytest.approx(12 * np.log2(150), abs=0.3)
    assert np.isfinite(pitch[20:-20]).all()


def test_a_chain_without_joins_costs_less_and_chains_differ(speech: Path, work: Path) -> None:
    speakers = align_all([speech], work / "alignments", 1)
    habits = Habits(speakers)
    sounds = [load(utterance.path) for utterance in speakers[0].utterances]
    way = ("AE", "K", "T", "ER")
    units = halves(speakers[0].utterances, sounds, set(way))
    (wish,) = prosody("actor", [way], habits)
    chooser = Chooser(way, wish, units, sounds, habits)
    chains = list(chooser.chains(6))
    assert len(chains) > 1
    assert chains[0].score == len(chains[0].joins) == 0  # "actor" was said
    assert all(alike(b, a) <= 0.7 for i, a in enumerate(chains) for b in chains[i + 1 :])
    clip = splice(chains[-1], sounds, wish)
    assert len(clip.cuts) == len(chains[-1].joins)
    assert Chooser(("ZH",), Prosody((0.1,)), units, sounds, habits).lacking == "ZH"


def test_the_first_of_two_stops_is_not_released() -> None:
    assert [(place.phone, place.side) for place in places(("AE", "K", "T"))] == [(0, 0), (0, 1), (1, 0), (2, 1)]
    assert len(places(("CH", "T"))) == 4  # an affricate always is


def test_phones_last_as_long_as_the_voices_of_this_machine_say(speech: Path, work: Path) -> None:
    habits = Habits(align_all([speech], work / "alignments", 1))
    (activate, never) = prosody("activate", [("AE", "K", "T", "AH", "V", "EY", "T"), ("AA", "K", "T")], habits)
    assert 0.4 < sum(activate.seconds) < 1.0
    assert activate.seconds[3] < activate.seconds[0]  # the schwa and the stressed vowel
    assert activate.levels[4] < activate.levels[5]  # the fricative and the vowel
    assert len(never.seconds) == 3  # said by no voice: as long as usual
    assert never.levels == never.shapes == ()
    assert np.shape(activate.shapes) == (14, 12)


def test_what_a_microphone_adds_is_no_part_of_a_shape(speech: Path) -> None:
    plain = load(str(speech / "slt" / "slt0.wav"))
    samples = plain.samples.astype(np.float64)
    tilted = samples - 0.7 * np.concatenate(([0.0], samples[:-1]))  # treble up
    other = Sound(corpus.to_int16(tilted * 20_000))
    half = len(samples) // 2
    own, others = (colour([sound]).without(sound.shape(half, half + 3000)) for sound in (plain, other))
    before, after = (sound.shape(half, half + 3000) for sound in (plain, other))
    assert np.linalg.norm(own - others) < 0.5 * np.linalg.norm((before - after) / colour([plain]).spread)


@settings(max_examples=25)
@given(st.lists(st.floats(0.5, 1.5), min_size=1, max_size=8), st.integers(80, 400))
def test_time_is_moved_and_pitch_is_not(factors: list[float], hertz: int) -> None:
    span = 6000
    samples = np.sin(2 * np.pi * hertz / SAMPLE_RATE * np.arange(span * len(factors)))
    before = np.arange(len(factors) + 1.0) * span
    after = np.concatenate(([0.0], np.cumsum(np.array(factors) * span)))
    moved = retime(samples, before, after)
    assert len(moved) == round(after[-1])
    inner = moved[1000:-1000]
    crossings = np.count_nonzero(np.diff(np.signbit(inner))) / 2 / (len(inner) / SAMPLE_RATE)
    assert crossings == pytest.approx(hertz, rel=0.06, abs=12)


def test_unmoved_time_leaves_the_samples_alone() -> None:
    samples = np.random.default_rng(0).normal(size=20_000)
    places = np.array([0.0, 5000.0, 20_000.0])
    assert np.allclose(retime(samples, places, places), samples)


def test_layouts_of_transcripts(tmp_path: Path) -> None:
    silence = np.zeros(SAMPLE_RATE // 2)
    for name in ("one/a", "one/b", "two/chapter/c"):
        path = tmp_path / "speech" / f"{name}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, silence, SAMPLE_RATE)
    (tmp_path / "speech/one/a.txt").write_text("It's, beside!\n")
    (tmp_path / "speech/transcripts.txt").write_text("b\ttabs and words\n\n")
    (tmp_path / "speech/two/chapter/two.trans.txt").write_text("c SPACES DO\n")
    found = {path.stem: (group, spell(text)) for path, group, text in transcripts(tmp_path / "speech")}
    assert found == {
        "a": ("speech/one", ["it's", "beside"]),
        "b": ("speech/one", ["tabs", "and", "words"]),
        "c": ("speech/two", ["spaces", "do"]),
    }


def test_one_sentence_for_what_cannot_be_stitched(tmp_path: Path, speech: Path, work: Path) -> None:
    with pytest.raises(TrainingError, match="'glorpify' is not in PocketSphinx's dictionary"):
        stitch("hey glorpify", [speech], tmp_path, work, variants=1, jobs=1)
    with pytest.raises(TrainingError, match="holds no word"):
        stitch("...", [speech], tmp_path, work, variants=1, jobs=1)
    with pytest.raises(TrainingError, match="no such folder"):
        stitch("activate", [tmp_path / "missing"], tmp_path, work, variants=1, jobs=1)
    with pytest.raises(TrainingError, match="two folders of speech are named"):
        stitch("activate", [speech, tmp_path / speech.name], tmp_path, work, variants=1, jobs=1)
    with pytest.raises(TrainingError, match="never said"):
        stitch("treasure", [speech], tmp_path, work, variants=1, jobs=1)  # ZH
    (tmp_path / "bare").mkdir()
    soundfile.write(tmp_path / "bare" / "a.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    with pytest.raises(TrainingError, match="no recording with a text"):
        stitch("activate", [tmp_path / "bare"], tmp_path, work, variants=1, jobs=1)
    (tmp_path / "bare" / "transcripts.txt").write_text("a\n")
    with pytest.raises(TrainingError, match=r"transcripts\.txt:1: expected"):
        stitch("activate", [tmp_path / "bare"], tmp_path, work, variants=1, jobs=1)


def test_a_folder_of_which_nothing_comes_leaves_no_empty_one(tmp_path: Path, speech: Path, work: Path) -> None:
    """Whoever takes all folders of clips for positives would be told that there is no audio in it."""
    few = tmp_path / "few"
    (few / "slt").mkdir(parents=True)
    subprocess.run(["flite", "-voice", "slt", "-t", "Oh no.", "-o", str(few / "slt" / "a.wav")], check=True)
    (few / "transcripts.txt").write_text("a\tOH NO\n")
    outcome = stitch("activate", [few, speech], tmp_path / "output", work, variants=1, jobs=2)
    assert outcome.clips
    assert [path.name for path in (tmp_path / "output" / CLIPS).iterdir()] == [speech.name]


def test_recordings_that_cannot_be_aligned_are_counted_with_their_reason(tmp_path: Path, speech: Path) -> None:
    folder = tmp_path / "odd"
    shutil.copytree(speech / "slt", folder / "slt")
    lines = [f"slt{number}\t{sentence}" for number, sentence in enumerate(SENTENCES)]
    lines[0] = "slt0\tthe glorpified actor"
    (folder / "transcripts.txt").write_text("\n".join(lines))
    (folder / "slt" / "slt1.wav").write_bytes(b"not audio")
    (speaker,) = align_all([folder], tmp_path / "cache", 1)
    assert speaker.left_out["unknown word 'glorpified'"] == 1
    assert any(reason.startswith("not readable as audio") for reason in speaker.left_out)
    assert len(speaker.utterances) + sum(speaker.left_out.values()) == len(SENTENCES)


def test_speech_that_is_not_what_the_text_says_is_refused() -> None:
    noise = np.random.default_rng(0).normal(0, 3000, SAMPLE_RATE // 5).astype(np.int16)
    with pytest.raises(TrainingError, match="does not fit"):
        align(new_aligner(), noise, "a text that takes many seconds to read aloud to anybody at all")


def test_rivals_are_near_but_do_not_contain_the_word() -> None:
    words = rivals("activate")
    assert {"active", "captivate", "motivate"} & set(words)
    assert "activate" not in words
    assert "deactivate" not in words
    assert words == rivals("activate")


def test_a_phrase_of_several_words_has_every_way_to_say_it() -> None:
    ways = pronunciations("Hey, the computer", new_decoder())
    assert len(ways) >= 2  # "the" before a vowel and before a consonant
    assert ways[0][:2] == ("HH", "EY")
