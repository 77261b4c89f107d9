"""The assignment's functions: segments, labels, mixing and reading, with its own examples as tables."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from model.frontend import CLIP, SAMPLE_RATE, Samples
from tests.support import shared
from training.dataset.assignment_functions import (
    NOWHERE,
    AudioSegment,
    create_training_example,
    first_channel,
    get_random_time_segment,
    insert_audio_clip,
    insert_ones,
    is_overlapping,
    load_raw_audio,
    match_target_amplitude,
    mix_training_example,
)
from training.dsp.decode import decode
from training.utils.errors import TrainingError

SEEDS = st.integers(0, 2**32 - 1)


def tone(milliseconds: float, amplitude: float = 8_000, channels: int = 1) -> AudioSegment:
    count = round(milliseconds * SAMPLE_RATE / 1000)
    samples = (amplitude * np.sin(np.arange(count) * 0.05)).astype(np.int16)
    data = np.repeat(samples, channels).tobytes()
    return AudioSegment(data, sample_width=2, frame_rate=SAMPLE_RATE, channels=channels)


def room() -> AudioSegment:
    """10 s of quiet noise."""
    samples = np.random.default_rng(0).normal(0, 300, CLIP).astype(np.int16)
    return AudioSegment(samples.tobytes(), sample_width=2, frame_rate=SAMPLE_RATE, channels=1)


def silent(channels: int = 1) -> AudioSegment:
    return AudioSegment(bytes(2 * channels * CLIP), sample_width=2, frame_rate=SAMPLE_RATE, channels=channels)


# --- segments ---


@given(st.integers(1, 9_999), SEEDS)
def test_a_segment_has_the_length_of_the_clip_and_lies_within_ten_seconds(segment_ms, seed) -> None:
    start, end = get_random_time_segment(segment_ms, np.random.default_rng(seed))
    assert end - start + 1 == segment_ms  # both ends belong to it
    assert 0 <= start <= end <= 9_999


def test_every_place_is_drawn_alike() -> None:
    """Starts of a clip of 9000 ms are uniform over 0 to 999: mean and spread within four standard errors."""
    rng = np.random.default_rng(3)
    starts = np.array([get_random_time_segment(9_000, rng)[0] for _ in range(4_000)])
    assert (starts.min(), starts.max()) == (0, 999)
    assert starts.mean() == pytest.approx(499.5, abs=4 * 288.7 / np.sqrt(4_000))
    assert np.histogram(starts, 10, (0, 1_000))[0] == pytest.approx(400, abs=4 * np.sqrt(360))


@pytest.mark.parametrize("segment_ms", [-1, 0, 10_000, 12_345])
def test_a_clip_without_a_place_is_refused(segment_ms) -> None:
    with pytest.raises(TrainingError, match=f"a clip of {segment_ms} ms cannot be placed"):
        get_random_time_segment(segment_ms, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("segment", "previous", "overlaps"),
    [
        ((200, 250), [(100, 200)], True),  # they share millisecond 200
        ((200, 250), [(100, 199)], False),
        ((100, 199), [(200, 250)], False),
        ((3000, 3600), [(1000, 1800), (3400, 4500)], True),
        ((950, 1430), [(2000, 2550), (260, 949)], False),
        ((2305, 2950), [(824, 1532), (1900, 2305), (3424, 3656)], True),
        ((100, 900), [(300, 400)], True),  # around it
        ((300, 400), [(100, 900)], True),  # inside it
        ((0, 9999), [], False),
    ],
)
def test_segments_overlap_when_they_share_a_millisecond(segment, previous, overlaps) -> None:
    assert is_overlapping(segment, previous) is overlaps


segments = st.tuples(st.integers(0, 60), st.integers(0, 30)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(segments, st.lists(segments, max_size=5))
def test_overlap_is_that_of_the_sets_of_milliseconds(segment, previous) -> None:
    taken = {ms for start, end in previous for ms in range(start, end + 1)}
    assert is_overlapping(segment, previous) == bool(taken & set(range(segment[0], segment[1] + 1)))


# --- insertion ---


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 4_000), min_size=1, max_size=8), SEEDS)
def test_inserted_clips_never_overlap_and_the_rest_is_left_out(lengths, seed) -> None:
    rng = np.random.default_rng(seed)
    background, previous = silent(), []
    for length in lengths:
        known = list(previous)
        mixed, segment = insert_audio_clip(background, tone(length), previous, rng)
        if segment == NOWHERE:
            assert mixed is background
            assert previous == known
        else:
            assert segment[1] - segment[0] + 1 == length
            assert not is_overlapping(segment, known)
            assert previous == [*known, segment]
        assert len(mixed) == 10_000
        background = mixed


def test_the_clip_sounds_in_its_segment_and_nowhere_else() -> None:
    mixed, (start, end) = insert_audio_clip(silent(), tone(700), [], np.random.default_rng(8))
    loud = np.flatnonzero(first_channel(mixed)) / SAMPLE_RATE * 1000
    assert loud[0] == pytest.approx(start, abs=1)
    assert loud[-1] == pytest.approx(end + 1, abs=1)


def test_it_is_laid_over_the_background_not_into_it() -> None:
    background = room()
    mixed, (start, _) = insert_audio_clip(background, tone(500), [], np.random.default_rng(8))
    assert len(mixed) == 10_000
    first = start * SAMPLE_RATE // 1000
    clip = first_channel(tone(500))
    np.testing.assert_array_equal(
        first_channel(mixed)[first : first + len(clip)], first_channel(background)[first : first + len(clip)] + clip
    )


class CountingGenerator(np.random.Generator):
    """A real generator that counts what was asked of it."""

    draws = 0

    def integers(self, *arguments: object, **options: object) -> object:
        self.draws += 1
        return super().integers(*arguments, **options)


def test_a_place_that_is_taken_is_drawn_again_five_times_and_no_more() -> None:
    rng = CountingGenerator(np.random.PCG64(0))
    background = room()
    mixed, segment = insert_audio_clip(background, tone(100), [(0, 9_999)], rng)
    assert rng.draws == 1 + 5
    assert segment == (10_000, 10_000)
    assert mixed is background


def test_a_free_place_is_drawn_once() -> None:
    rng = CountingGenerator(np.random.PCG64(0))
    insert_audio_clip(room(), tone(100), [], rng)
    assert rng.draws == 1


def test_a_clip_of_ten_seconds_is_refused_by_the_name_of_its_file() -> None:
    clip = tone(10_000)
    clip.path = Path("positives/long.wav")
    with pytest.raises(TrainingError, match=r"positives/long.wav is 10.0 s long"):
        insert_audio_clip(room(), clip, [], np.random.default_rng(0))


def test_an_empty_clip_is_refused() -> None:
    with pytest.raises(TrainingError, match="not empty"):
        insert_audio_clip(room(), tone(0), [], np.random.default_rng(0))


# --- labels ---


def ones(segment_end_ms: int, steps: int = 1_375) -> list[int]:
    return np.flatnonzero(insert_ones(np.zeros((1, steps)), segment_end_ms)[0]).tolist()


@pytest.mark.parametrize(
    ("segment_end_ms", "labelled"),
    [
        (5_000, range(688, 738)),  # int(687.5) = 687 stays 0
        (0, range(1, 51)),
        (9_637, range(1_326, 1_375)),  # step 1325: 49 remain
        (9_964, range(1_371, 1_375)),  # "activate" ends at step 1370: four remain
        (9_990, range(1_374, 1_375)),
        (9_999, []),  # step 1374 is the last, nothing follows
        (10_000, []),  # a clip that found no place
    ],
)
def test_fifty_steps_strictly_after_the_end_are_labelled_and_cut_at_the_last(segment_end_ms, labelled) -> None:
    assert ones(segment_end_ms) == list(labelled)


@given(st.integers(0, 10_000), st.integers(1, 3_000))
def test_labels_are_those_of_the_definition(segment_end_ms, steps) -> None:
    end_step = int(segment_end_ms * steps / 10_000)
    assert ones(segment_end_ms, steps) == [t for t in range(steps) if end_step < t <= end_step + 50]


@given(st.lists(st.integers(0, 10_000), max_size=5))
def test_labels_of_several_words_add_up_and_stay_ones(ends) -> None:
    y = np.zeros((1, 1_375))
    for end in ends:
        assert insert_ones(y, end) is y
    assert np.flatnonzero(y).tolist() == sorted({t for end in ends for t in ones(end)})
    assert set(np.unique(y)) <= {0.0, 1.0}


# --- level ---


@given(st.floats(300, 30_000), st.floats(-40, -10))
def test_a_sound_is_brought_to_the_level(amplitude, target) -> None:
    """Within what 16 bit allow: pydub measures in whole steps."""
    levelled = match_target_amplitude(tone(200, amplitude), target)
    assert levelled.dBFS == pytest.approx(target, abs=0.1)


def test_digital_silence_stays_silence() -> None:
    """Its level is minus infinity, and no gain makes it louder."""
    assert match_target_amplitude(silent(), -20.0).rms == 0


def test_what_is_too_loud_for_its_peaks_is_clipped_not_wrapped() -> None:
    spike = np.zeros(CLIP, np.int16)
    spike[100] = 20_000
    sound = AudioSegment(spike.tobytes(), sample_width=2, frame_rate=SAMPLE_RATE, channels=1)
    assert first_channel(match_target_amplitude(sound, -20.0))[100] == 32_767


# --- examples ---


@pytest.fixture(scope="module")
def words() -> tuple[list[AudioSegment], list[AudioSegment]]:
    return [tone(600), tone(900)], [tone(400), tone(1_200)]


def test_an_example_has_the_assignments_shapes(words) -> None:
    x, y = create_training_example(room(), *words, np.random.default_rng(18))
    assert (x.shape, x.dtype) == ((101, 5_511), np.float64)
    assert (y.shape, y.dtype) == ((1, 1_375), np.float64)


def test_the_same_seed_gives_the_same_example_to_the_last_bit(words) -> None:
    first, again, other = (create_training_example(room(), *words, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1].tobytes() == again[1].tobytes()
    assert first[0].tobytes() != other[0].tobytes()


def test_an_example_leaves_its_ingredients_as_they_were(words) -> None:
    background = room()
    before = [sound.raw_data for sound in (background, *words[0], *words[1])]
    create_training_example(background, *words, np.random.default_rng(1))
    assert [sound.raw_data for sound in (background, *words[0], *words[1])] == before


def test_the_mix_is_brought_to_minus_20_dbfs(words) -> None:
    for seed in range(5):
        mix, _ = mix_training_example(room(), *words, np.random.default_rng(seed))
        assert mix.dBFS == pytest.approx(-20, abs=0.1)


def test_the_background_is_20_db_below_its_own_level() -> None:
    """Against a word whose level is known: both are then raised alike."""
    background, word = room(), tone(2_000)
    for seed in range(20):
        mix, y = mix_training_example(background, [word], [word], np.random.default_rng(seed))
        if y.any():
            break
    samples = first_channel(mix).astype(float)
    # a word stands still at 8000, the noise between words is what remains of its 300
    noise = np.sort(np.abs(samples.reshape(-1, 441)).max(axis=1))[: CLIP // 441 // 10]
    loud = np.abs(samples).max()
    expected = np.abs(first_channel(background).reshape(-1, 441)).max(axis=1).mean() / 8_000 / 10
    assert noise.mean() / loud == pytest.approx(expected, rel=0.3)


def test_words_are_counted_as_in_the_assignment() -> None:
    """0 to 4 positives, 0 to 2 negatives, each number as likely as the other: 100-ms words nearly always fit."""
    rng = np.random.default_rng(11)
    background, word, other = silent(), tone(10, 20_000), tone(10, 20_000)
    counts = []
    for _ in range(200):
        mix, y = mix_training_example(background, [word], [other], rng)
        loud = first_channel(mix).reshape(-1, 441).any(axis=1)
        starts = np.flatnonzero(np.diff(np.r_[0, y[0]]) == 1)
        counts.append((len(starts), int(np.count_nonzero(np.diff(np.r_[0, loud]) == 1))))
    positives = np.array([count for count, _ in counts])
    everything = np.array([count for _, count in counts])
    assert positives.max() == 4
    assert positives.min() == 0
    assert everything.max() <= 6 + 1
    # labels that run into each other count as one, so slightly fewer than two on average
    assert 1.6 < positives.mean() < 2.2
    assert 2.5 < everything.mean() < 3.4


def test_only_positives_are_labelled(words) -> None:
    """Of a hundred examples about a fifth has no positive, and so no label, though most of them hold a word."""
    unlabelled = 0
    for seed in range(100):
        mix, y = mix_training_example(silent(), *words, np.random.default_rng(seed))
        if not y.any() and mix.rms:
            unlabelled += 1
    assert 4 <= unlabelled <= 30


def test_of_a_stereo_mix_the_first_channel_counts(words) -> None:
    left = np.zeros((CLIP, 2), np.int16)
    left[:, 0] = first_channel(room())
    background = AudioSegment(left.tobytes(), sample_width=2, frame_rate=SAMPLE_RATE, channels=2)
    x, _ = create_training_example(background, *words, np.random.default_rng(2))
    assert x.shape == (101, 5_511)
    assert (x.sum(axis=0) > 0).all()  # the second channel holds nothing but words


def test_a_background_of_another_length_or_rate_is_refused(words) -> None:
    for background in (tone(9_000), tone(11_000), room().set_frame_rate(16_000)):
        with pytest.raises(TrainingError, match="not a background of 10 s at 44100 Hz"):
            create_training_example(background, *words, np.random.default_rng(0))


def test_no_clips_at_all_are_refused(words) -> None:
    for positives, negatives in (([], words[1]), (words[0], [])):
        with pytest.raises(TrainingError, match="one of the two kinds is missing"):
            create_training_example(room(), positives, negatives, np.random.default_rng(0))


# --- reading ---


def noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).normal(0, 0.1, (round(seconds * rate), channels)).astype(np.float32)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A folder like the assignment's raw_data."""
    for name, seconds in (("activates/1.wav", 0.8), ("negatives/1.wav", 0.5), ("backgrounds/1.wav", 10)):
        (tmp_path / name).parent.mkdir()
        soundfile.write(tmp_path / name, noise(seconds, SAMPLE_RATE), SAMPLE_RATE)
    return tmp_path


def test_it_unpacks_as_in_the_assignment(raw) -> None:
    activates, negatives, backgrounds = load_raw_audio(raw)
    assert [len(sounds[0]) for sounds in (activates, negatives, backgrounds)] == [800, 500, 10_000]
    assert activates[0].path == raw / "activates" / "1.wav"


def test_16_bit_samples_come_through_unchanged(raw) -> None:
    samples = np.array([-32_768, 32_767] + [-9_000, -1, 0, 1, 9_000] * 200, np.int16)
    soundfile.write(raw / "activates" / "1.wav", samples, SAMPLE_RATE)
    np.testing.assert_array_equal(first_channel(load_raw_audio(raw).activates[0]), samples)


@pytest.mark.parametrize(
    ("name", "options", "rate"),
    [
        ("a.wav", {}, 8_000),
        ("a.wav", {"subtype": "PCM_24"}, 96_000),
        ("a.wav", {"subtype": "FLOAT"}, 48_000),
        ("a.wav", {"subtype": "ULAW"}, 8_000),
        ("a.flac", {}, 16_000),
        ("a.ogg", {}, 22_050),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}, 48_000),
        ("a.mp3", {}, 44_100),
        ("a.aiff", {}, 11_025),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_any_format_rate_and_channel_count_becomes_the_first_channel_at_44100_hz(
    tmp_path, name, options, rate, channels
) -> None:
    time = np.arange(2 * rate) / rate
    sound = np.zeros((len(time), channels), np.float32)
    sound[:, 0] = 0.5 * np.sin(2 * np.pi * 1_000 * time)  # a second channel is silent
    soundfile.write(tmp_path / name, sound, rate, **options)
    samples = decode(tmp_path / name).samples
    assert samples.dtype == np.int16
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=0.06 * SAMPLE_RATE)  # codecs pad
    middle = samples[SAMPLE_RATE // 2 : SAMPLE_RATE * 3 // 2]
    spectrum = np.abs(np.fft.rfft(middle))
    assert np.argmax(spectrum) == 1_000
    assert np.sqrt(np.mean(middle.astype(float) ** 2)) == pytest.approx(0.5 * 32_768 / np.sqrt(2), rel=0.05)


def test_positives_may_stand_in_a_folder_of_that_name_and_in_folders_of_speakers(raw) -> None:
    (raw / "activates").rename(raw / "positives")
    (raw / "positives" / "ann").mkdir()
    soundfile.write(raw / "positives" / "ann" / "2.flac", noise(1, 16_000), 16_000)
    assert [len(sound) for sound in load_raw_audio(raw).activates] == [800, 1_000]


def test_bad_files_are_listed_and_logged_with_their_reason(raw, caplog) -> None:
    folder = raw / "negatives"
    (folder / "broken.wav").write_bytes(b"RIFF nothing of the kind")
    (folder / "notes.txt").write_text("not a recording")
    (folder / "raw.raw").write_bytes(bytes(1_000))
    soundfile.write(folder / "empty.wav", noise(0, SAMPLE_RATE), SAMPLE_RATE)
    soundfile.write(folder / "silent.wav", 0 * noise(1, SAMPLE_RATE), SAMPLE_RATE)
    soundfile.write(folder / "nan.wav", np.full(1_000, np.nan, np.float32), SAMPLE_RATE, subtype="FLOAT")
    (folder / ".hidden.wav").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        found = load_raw_audio(raw)
    assert len(found.negatives) == 1
    reasons = {path.name: reason for path, reason in found.skipped}
    assert set(reasons) == {"broken.wav", "notes.txt", "raw.raw", "empty.wav", "silent.wav", "nan.wav"}
    for name in ("broken.wav", "notes.txt", "raw.raw"):
        assert reasons[name].startswith("not readable as audio (")
    assert (reasons["empty.wav"], reasons["silent.wav"]) == ("empty", "silent")
    assert reasons["nan.wav"] == "damaged (it holds values that are not finite)"
    assert all(f"left out: {path}: {reason}" in caplog.text for path, reason in found.skipped)


@pytest.mark.parametrize("name", ["a.flac", "a.mp3"])
def test_a_file_that_was_cut_short_is_damaged(tmp_path, name) -> None:
    path = tmp_path / name
    soundfile.write(path, noise(3, SAMPLE_RATE), SAMPLE_RATE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(TrainingError, match=f"{name}: (damaged|not readable)"):
        decode(path)


def test_a_word_of_ten_seconds_is_refused_by_name(raw) -> None:
    soundfile.write(raw / "activates" / "long.wav", noise(10, 16_000), 16_000)
    with pytest.raises(TrainingError, match=r"long.wav is 10.0 s long; a word must be shorter"):
        load_raw_audio(raw)


def test_a_background_shorter_than_ten_seconds_is_refused_by_name(raw) -> None:
    soundfile.write(raw / "backgrounds" / "short.wav", noise(9.999, SAMPLE_RATE), SAMPLE_RATE)
    with pytest.raises(TrainingError, match=r"short.wav is 9999 ms long; a background takes 10 000 ms"):
        load_raw_audio(raw)


@pytest.mark.parametrize(("seconds", "pieces"), [(10, 1), (10.5, 2), (20, 2), (25, 3)])
def test_a_longer_background_is_cut_into_pieces_that_together_hold_all_of_it(raw, seconds, pieces) -> None:
    samples = (np.arange(round(seconds * SAMPLE_RATE)) % 30_011).astype(np.int16)
    soundfile.write(raw / "backgrounds" / "1.wav", samples, SAMPLE_RATE)
    backgrounds = load_raw_audio(raw).backgrounds
    assert [piece.frame_count() for piece in backgrounds] == [CLIP] * pieces
    for i, piece in enumerate(backgrounds[:-1]):
        np.testing.assert_array_equal(first_channel(piece), samples[i * CLIP : (i + 1) * CLIP])
    np.testing.assert_array_equal(first_channel(backgrounds[-1]), samples[-CLIP:])


def test_a_silent_background_is_one(raw) -> None:
    soundfile.write(raw / "backgrounds" / "1.wav", 0 * noise(10, SAMPLE_RATE), SAMPLE_RATE)
    assert len(load_raw_audio(raw).backgrounds) == 1


def test_a_folder_that_is_missing_is_named(raw, tmp_path) -> None:
    (raw / "activates" / "1.wav").unlink()
    (raw / "activates").rmdir()
    with pytest.raises(TrainingError, match="has no folder activates or positives"):
        load_raw_audio(raw)
    with pytest.raises(TrainingError, match="nowhere has no folder"):
        load_raw_audio(tmp_path / "nowhere")


def test_a_folder_of_which_nothing_is_left_is_named_with_a_reason(raw) -> None:
    (raw / "negatives" / "1.wav").write_bytes(b"")
    with pytest.raises(TrainingError, match=r"negatives holds no recording .*1.wav: not readable as audio"):
        load_raw_audio(raw)


# --- the assignment's own clips ---


def first_samples(path: Path) -> Samples:
    return soundfile.read(path, dtype="int16", always_2d=True)[0][:, 0]


def test_the_assignments_clips_are_read_as_they_are() -> None:
    found = load_raw_audio(shared.seed())
    assert [len(sounds) for sounds in found] == [10, 10, 2]
    assert not found.skipped
    for sound in (*found.activates, *found.negatives, *found.backgrounds):
        np.testing.assert_array_equal(first_channel(sound), first_samples(sound.path))
    assert all(len(background) == 10_000 for background in found.backgrounds)


def test_the_assignments_clips_make_examples() -> None:
    activates, negatives, backgrounds = load_raw_audio(shared.seed())
    fractions = []
    for seed in range(12):
        mix, y = mix_training_example(backgrounds[seed % 2], activates, negatives, np.random.default_rng(seed))
        assert (mix.frame_count(), y.shape) == (CLIP, (1, 1_375))
        if y.any():
            assert -23 < mix.dBFS < -19.9  # peaks of a mix that holds little else are clipped, which costs level
        fractions.append(y.mean())
    assert max(fractions) <= 4 * 50 / 1_375
    assert 0.02 < np.mean(fractions) < 0.12  # two words of fifty steps on average: 0.073
