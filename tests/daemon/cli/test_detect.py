"""`chimed detect`: lines, JSON, the picture and the track, for recordings of all kinds and for broken ones."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.cli.detect_chimes import ChimeTrack
from daemon.cli.detect_plot import Overview, Picture
from daemon.responses.chime import synthesise
from model import modelfile
from model.detector import Detector
from model.frontend import FRAME, SAMPLE_RATE, Samples
from tests.support.chimed import recording, tone_model
from tests.support.paths import DATA, ROOT

pytestmark = pytest.mark.integration

TIMES = [1.0, 2.5]
SOUND = recording(4, TIMES)

needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="matplotlib, an extra, is not installed"
)


@pytest.fixture
def beeps(tmp_path: Path) -> Path:
    """A recording with two tones, at 1.0 and 2.5 s."""
    soundfile.write(tmp_path / "beeps.wav", SOUND, SAMPLE_RATE)
    return tmp_path / "beeps.wav"


@pytest.fixture
def silence(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "silence.wav", np.zeros(SAMPLE_RATE, np.int16), SAMPLE_RATE)
    return tmp_path / "silence.wav"


def test_a_line_a_detection(call, beeps, silence, model_file):
    done = call("detect", beeps, silence, "--model", model_file)
    assert done.returncode == 0
    expected = Detector([tone_model()]).push(SOUND)
    assert len(expected) == 2
    assert done.stdout.splitlines() == [f"{beeps}: {each.seconds:.2f} s  beep  1.00" for each in expected]
    assert done.stderr == f"{silence}: nothing heard\n"


def test_a_json_object_a_line_and_detection(call, beeps, silence, model_file):
    done = call("detect", "--json", silence, beeps, "--model", model_file)
    assert (done.returncode, done.stderr) == (0, "")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [sorted(each) for each in found] == [["file", "score", "seconds", "word"]] * 2
    assert [each["file"] for each in found] == [str(beeps)] * 2
    assert [each["word"] for each in found] == ["beep"] * 2
    for each, at in zip(found, TIMES, strict=True):
        assert each["seconds"] == pytest.approx(at, abs=0.1)
        assert 0.5 < each["score"] <= 1


def test_each_recording_starts_from_nothing(call, beeps, model_file):
    """The same file gives the same, whatever came before it."""
    lines = call("detect", beeps, beeps, "--model", model_file).stdout.splitlines()
    assert lines[:2] == lines[2:]


def test_the_threshold_is_the_users(call, beeps, tmp_path):
    modelfile.save(tmp_path / "m.npz", tone_model(threshold=0.9999))
    assert not call("detect", beeps, "--model", tmp_path / "m.npz").stdout
    assert call("detect", beeps, "--model", tmp_path / "m.npz", "--threshold", "0.2").stdout


def test_several_models(call, tmp_path, model_file):
    modelfile.save(tmp_path / "boop.npz", tone_model("boop", 1_500.0))
    soundfile.write(tmp_path / "both.wav", SOUND + recording(4, [1.8], 1_500.0), SAMPLE_RATE)
    done = call("detect", tmp_path / "both.wav", "--model", model_file, "--model", tmp_path / "boop.npz")
    assert [line.split()[-2] for line in done.stdout.splitlines()] == ["beep", "boop", "beep"]


def test_an_unreadable_file_is_named_and_the_others_are_scored(call, beeps, tmp_path, model_file):
    (tmp_path / "text.wav").write_text("no sound")
    done = call("detect", tmp_path / "none.wav", tmp_path / "text.wav", beeps, "--model", model_file)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert [line.split(":")[1].strip() for line in done.stderr.splitlines()] == [
        str(tmp_path / "none.wav"),
        str(tmp_path / "text.wav"),
    ]


def test_raw_samples_on_standard_input(environment, model_file):
    done = subprocess.run(
        [sys.executable, "-m", "daemon.cli", "detect", "-", "--json", "--model", str(model_file)],
        env=environment,
        input=SOUND.tobytes() + b"\x7f",
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == ["-", "-"]


def test_a_reader_that_leaves_early_is_no_error(environment, model_file, beeps):
    command = f"{sys.executable} -m daemon.cli detect {beeps} {beeps} {beeps} --model {model_file} | head -n 1; "
    done = subprocess.run(
        ["bash", "-c", command + "echo ${PIPESTATUS[0]}"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "0"
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["a $x_1$ b.wav", "né\u202e.wav", "new\nline.wav", "-dash.wav"])
def test_odd_file_names(call, beeps, tmp_path, model_file, name):
    beeps.rename(tmp_path / name)
    plot = ["--plot", tmp_path / "p.png"] if importlib.util.find_spec("matplotlib") else []
    done = call("detect", "--model", model_file, *plot, "--", tmp_path / name)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_the_assignments_word_in_the_recording_that_comes_with_chimed(call):
    told = DATA / "activate-demo.json"
    if "activate" not in modelfile.shipped() or not told.exists():
        pytest.skip("the shipped model or the recording is not here yet")
    done = call("detect", "--json", DATA / "activate-demo.flac")
    found = [json.loads(line)["seconds"] for line in done.stdout.splitlines()]
    ends = json.loads(told.read_text())["word_ends_at_seconds"]
    assert len(found) == len(ends)
    assert all(-0.3 < at - end < 0.7 for at, end in zip(found, ends, strict=True))


# --chime


def test_the_track_is_the_recording_with_chimes_where_it_fired(call, beeps, tmp_path, model_file):
    assert call("detect", beeps, "--model", model_file, "--chime", tmp_path / "out.wav").returncode == 0
    mixed, rate = soundfile.read(tmp_path / "out.wav", dtype="int16")
    expected = SOUND.astype(int)
    for detection in Detector([tone_model()]).push(SOUND):
        expected[detection.sample : detection.sample + len(synthesise())] += synthesise()
    assert rate == SAMPLE_RATE
    assert np.array_equal(mixed, expected.clip(-32_768, 32_767))


@given(
    cuts=st.lists(st.integers(0, len(SOUND)), max_size=20),
    late=st.integers(0, FRAME),
    at=st.lists(st.integers(FRAME, len(SOUND)), max_size=4, unique=True).map(sorted),
)
@settings(deadline=None, max_examples=50)
def test_a_track_does_not_depend_on_the_blocks(cuts, late, at):
    """A detection is known up to one frame after its place."""
    sound = np.arange(1, 3_000, dtype=np.int16)
    written: list[Samples] = []
    track = ChimeTrack(written.append)
    waiting = list(at)
    heard = 0
    for piece in np.split(SOUND, sorted(cuts)):
        track.push(piece)
        heard += len(piece)
        while waiting and waiting[0] + late <= heard:
            track.chime(waiting.pop(0), sound)
    for place in waiting:
        track.chime(place, sound)
    track.finish()
    expected = SOUND.astype(int)
    for place in at:
        expected[place : place + len(sound)] += sound[: len(SOUND) - place]
    assert np.array_equal(np.concatenate(written), expected.clip(-32_768, 32_767))


# --plot


@needs_matplotlib
def test_the_picture_is_a_png_of_a_useful_size(call, beeps, tmp_path, model_file):
    done = call("detect", beeps, "--model", model_file, "--plot", tmp_path / "out.picture")
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "out.picture").read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    assert width > 1_000
    assert height > 500


@needs_matplotlib
@pytest.mark.parametrize("seconds", [0, 0.01, 0.1])
def test_a_recording_too_short_for_anything_still_has_a_picture(call, tmp_path, model_file, seconds):
    soundfile.write(tmp_path / "short.wav", SOUND[: round(seconds * SAMPLE_RATE)], SAMPLE_RATE)
    done = call("detect", tmp_path / "short.wav", "--model", model_file, "--plot", tmp_path / "p.png")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{tmp_path}/short.wav: nothing heard\n"
    assert (tmp_path / "p.png").stat().st_size > 1_000


def test_the_picture_collects_all_that_was_computed():
    detector = Detector([tone_model()])
    picture = Picture("x", {"beep": 0.5})
    for start in range(0, len(SOUND), FRAME):
        picture.push(detector, detector.push(SOUND[start : start + FRAME]))
    picture.push(detector, detector.flush())
    assert picture._columns == detector.columns.total
    assert picture._steps == detector.posteriors.total
    assert np.array_equal(picture._posteriors.rows(), detector.posteriors.last())


@given(
    length=st.integers(0, 300),
    cuts=st.lists(st.integers(0, 300), max_size=10),
    limit=st.sampled_from([4, 10, 16]),
)
def test_an_overview_is_bounded_and_does_not_depend_on_the_blocks(length, cuts, limit):
    series = np.random.default_rng(length).uniform(0, 1, (length, 2)).astype(np.float32)
    overview = Overview(2, np.max, limit)
    for piece in np.split(series, sorted(min(cut, length) for cut in cuts)):
        overview.push(piece)
    rows, factor = overview.rows(), overview.factor
    assert len(rows) <= limit + 1
    assert len(rows) == -(-length // factor)
    assert factor == 1 or len(rows) > limit // 2
    expected = [series[start : start + factor].max(axis=0) for start in range(0, length, factor)]
    assert np.array_equal(rows, np.array(expected).reshape(-1, 2))


@pytest.mark.parametrize("option", ["--plot", "--chime"])
def test_a_picture_or_a_track_is_for_one_recording(call, beeps, silence, model_file, tmp_path, option):
    done = call("detect", beeps, silence, "--model", model_file, option, tmp_path / "out")
    assert done.returncode == 2
    assert f"{option} takes one recording, not 2" in done.stderr


@pytest.mark.parametrize("option", ["--plot", "--chime"])
def test_the_recording_itself_is_never_overwritten(call, beeps, model_file, option):
    before = beeps.read_bytes()
    done = call("detect", beeps, "--model", model_file, option, beeps)
    assert done.returncode == 2
    assert "would overwrite the recording" in done.stderr
    assert beeps.read_bytes() == before


@pytest.mark.parametrize("option", ["--plot", "--chime"])
def test_what_cannot_be_written_is_one_sentence(call, beeps, model_file, tmp_path, option):
    if option == "--plot" and importlib.util.find_spec("matplotlib") is None:
        pytest.skip("matplotlib, an extra, is not installed")
    done = call("detect", beeps, "--model", model_file, option, tmp_path / "none" / "out")
    assert done.returncode == 1
    assert done.stderr == f"chimed: {tmp_path}/none/out: No such file or directory\n"


def test_without_matplotlib_a_plot_says_what_to_install(environment, beeps, model_file, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    command = ["-m", "daemon.cli", "detect", str(beeps), "--model", str(model_file), "--plot", str(tmp_path / "p.png")]
    root = str(ROOT)
    done = subprocess.run(
        [sys.executable, *command],
        env=environment | {"PYTHONPATH": f"{tmp_path}:{root}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    how = "`pip install '.[plot]'` (with pipx: `pipx install --force '.[plot]'`)"
    assert done.stderr == f"chimed: --plot needs the package matplotlib: in a clone of chimed, {how}\n"
