"""The command line: instant help, one sentence for each mistake, the right exit code, nothing of ours left in hooks."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import daemon
from daemon.audio.portaudio_library import PortAudioLibrary
from daemon.cli import main
from daemon.system.errors import AudioError
from model.frontend import SAMPLE_RATE
from tests.support.chimed import recording
from tests.support.paths import ROOT

pytestmark = pytest.mark.integration


@pytest.fixture
def beep(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "beep.wav", recording(2, [1.0]), SAMPLE_RATE)
    return tmp_path / "beep.wav"


def test_help_names_every_command(call):
    done = call("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("run", "detect", "devices"):
        assert f"    {command} " in done.stdout
        assert call(command, "--help").returncode == 0


def test_the_version(call):
    done = call("--version")
    assert (done.returncode, done.stdout) == (0, f"chimed {daemon.__version__}\n")


def test_help_is_instant(environment):
    """The CPU time of the best of several runs: a machine that is busy must not matter."""
    times = []
    for _ in range(5):
        before = os.times()
        command = [sys.executable, "-m", "daemon.cli", "--help"]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True, timeout=60)
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(times) < 0.2


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "required: COMMAND"),
        (["listen"], "invalid choice"),
        (["run", "--loud"], "unrecognized arguments: --loud"),
        (["run", "--threshold", "2"], "a threshold lies between 0 and 1, not 2"),
        (["run", "--threshold", "nan"], "a threshold lies between 0 and 1, not nan"),
        (["run", "--threshold", "high"], "invalid"),
        (["run", "--fast"], "--fast needs --input"),
        (["run", "--device", "1", "--input", "x"], "exclude each other"),
        (["run", "--input", "x", "--rate", "16000"], "--rate goes with"),
        (["run", "--log-level", "loud"], "invalid choice"),
        (["detect"], "required: FILE"),
        (["detect", "x", "--rate", "16000"], "--rate goes with"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(call, arguments, reason):
    done = call(*arguments)
    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["run", "--fast", "--input"], ["detect"]])
def test_a_wrong_configuration_is_exit_code_78(call, beep, model_file, tmp_path, command):
    config = tmp_path / "config.yaml"
    config.write_text(f"words:\n- model: {model_file}\n  treshold: 0.5\n")
    done = call(*command, beep, "--config", config)
    assert done.returncode == 78
    assert len(done.stderr.splitlines()) == 1
    assert f"{config}:3: words[0].treshold: unknown key; did you mean 'threshold'?" in done.stderr


@pytest.mark.parametrize("command", [["run", "--fast", "--input"], ["detect"]])
def test_a_model_that_is_none_is_exit_code_78(call, beep, tmp_path, command):
    (tmp_path / "m.npz").write_text("no model")
    for name in ("m.npz", "none.npz"):
        done = call(*command, beep, "--model", tmp_path / name)
        assert done.returncode == 78
        assert len(done.stderr.splitlines()) == 1
        assert f"{tmp_path / name}: " in done.stderr


def test_the_users_configuration_is_found(call, beep, model_file, environment):
    folder = Path(environment["HOME"]) / ".config" / "chimed"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(f"words: [{{model: {model_file}, threshold: 0.25}}]")
    done = call("run", "--fast", "--input", beep)
    assert done.returncode == 0
    assert '"beep" (threshold 0.25)' in done.stderr


def test_an_unreadable_recording_is_exit_code_1(call, model_file, tmp_path):
    done = call("run", "--input", tmp_path / "none.wav", "--model", model_file)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"{tmp_path}/none.wav: No such file or directory" in done.stderr


@pytest.mark.parametrize(("level", "lines"), [("error", 0), ("warning", 0), ("info", 3)])
def test_the_log_level_is_the_users(call, beep, model_file, tmp_path, level, lines):
    done = call("run", "--fast", "--input", beep, "--model", model_file, "--log-level", level)
    assert len(done.stderr.splitlines()) == lines
    (tmp_path / "c.yaml").write_text(f"words: [{{model: {model_file}}}]\nlog_level: {level}")
    assert len(call("run", "--fast", "--input", beep, "--config", tmp_path / "c.yaml").stderr.splitlines()) == lines


def test_numpy_gets_one_thread_and_hooks_get_nothing_of_it(call, beep, model_file, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"words: [{{model: {model_file}}}]\nhooks: ['env > {tmp_path}/env']")
    call("run", "--fast", "--input", beep, "--config", config, OMP_NUM_THREADS="3", OPENBLAS_NUM_THREADS="")
    seen = (tmp_path / "env").read_text().splitlines()
    assert "OMP_NUM_THREADS=3" in seen  # the user's own
    assert not any(line.startswith("MKL_NUM_THREADS=") for line in seen)
    assert "CHIMED_WORD=beep" in seen


def test_the_variables_are_set_while_numpy_is_imported(environment):
    program = (
        "import os, sys\n"
        "from daemon.cli import main as cli\n"
        "class Spy:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'numpy': print(*(os.environ[each] for each in cli.BLAS_THREADS))\n"
        "sys.meta_path.insert(0, Spy())\n"
        "cli._import_numpy()\n"
        "print([each for each in cli.BLAS_THREADS if each in os.environ])\n"
    )
    clean = {name: value for name, value in environment.items() if name not in main.BLAS_THREADS}
    done = subprocess.run(
        [sys.executable, "-c", program], env=clean, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "1 1 1\n[]\n"


def test_another_projects_package_of_the_same_name_is_named(environment, tmp_path):
    """As when python-daemon was installed into the same environment later: its files lie among ours."""
    shutil.copytree(ROOT / "daemon", tmp_path / "daemon")
    (tmp_path / "daemon" / "__init__.py").write_text("class DaemonContext: pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "daemon.cli", "--version"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "another project's" in done.stderr
    assert "python-daemon" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_portaudio_it_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if "sounddevice" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(ctypes.util, "find_library", lambda _name: None)
    with pytest.raises(AudioError) as error:
        PortAudioLibrary().devices()
    for command in ("apt install libportaudio2", "dnf install portaudio", "pacman -S portaudio"):
        assert command in str(error.value)


def test_without_portaudio_a_recording_is_heard_all_the_same(environment, beep, model_file, tmp_path):
    """What is missing is the chime alone, and that is one line."""
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    done = subprocess.run(
        [sys.executable, "-m", "daemon.cli", "run", "--input", str(beep), "--model", str(model_file)],
        env=environment | {"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert 'heard "beep"' in done.stderr
    assert (
        len([line for line in done.stderr.splitlines() if "cannot play the chime: PortAudio is not installed" in line])
        == 1
    )


def test_ctrl_c_while_a_recording_is_scored_leaves_no_traceback(environment, model_file, tmp_path):
    soundfile.write(tmp_path / "long.flac", recording(900, [1.0]), SAMPLE_RATE)
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon.cli", "detect", str(tmp_path / "long.flac"), "--model", str(model_file)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert "beep" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
