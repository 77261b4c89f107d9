"""A real microphone: PulseAudio with a pipe for a source, PortAudio, and `chimed run` as a user starts it."""

from __future__ import annotations

import ctypes.util
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from conftest import Chimed, recording

from daemon.chime import NOTES
from daemon.microphone import queue_callback
from model.frontend import SAMPLE_RATE, Samples

PULSE = "pulseaudio -n --daemonize=no --exit-idle-time=-1 --disable-shm=yes -L module-native-protocol-unix"
PIECE = 882  # samples, 20 ms: what a writer at real-time pace hands over at once


class SoundServer:
    """A private PulseAudio: what is said into its microphone is heard in real time, between soft noise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.variables = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
        self.environment = {**os.environ, **self.variables}
        self.environment.pop("PULSE_SERVER", None)
        # while the server is down, no client may start another one
        self.variables["PULSE_CLIENTCONFIG"] = self.environment["PULSE_CLIENTCONFIG"] = str(folder / "client.conf")
        (folder / "client.conf").write_text("autospawn = no\n")
        self._to_say: queue.Queue[Samples] = queue.Queue()
        self._feeding = threading.Event()
        self.start()

    def start(self) -> None:
        """Start it; returns once it answers."""
        fifo = self.folder / "mic.fifo"
        source = f"module-pipe-source source_name=mic file={fifo} format=s16le rate={SAMPLE_RATE} channels=1"
        sink = f"module-null-sink sink_name=spk rate={SAMPLE_RATE} channels=2"
        self.process = subprocess.Popen(
            [*PULSE.split(), "-L", source, "-L", sink],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 20
        # it answers before it has loaded all its modules
        for default in (("set-default-source", "mic"), ("set-default-sink", "spk")):
            while self.control(*default, check=False).returncode:
                assert time.monotonic() < deadline, "PulseAudio does not answer"
                time.sleep(0.05)
        self._feeding.set()
        self._writer = threading.Thread(target=self._feed, args=(fifo,), daemon=True)
        self._writer.start()

    def control(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run pactl."""
        command = ["pactl", *arguments]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=check, timeout=20)

    def say(self, samples: Samples) -> None:
        """Let the microphone hear this."""
        self._to_say.put(samples)

    def silence(self) -> None:
        """Let the microphone deliver nothing any more, as a broken one does."""
        self._feeding.clear()
        self._writer.join(10)

    def _feed(self, fifo: Path) -> None:
        noise = recording(1, [])[:PIECE]
        said = np.empty(0, np.int16)
        with fifo.open("wb", buffering=0) as pipe:
            begin, written = time.monotonic(), 0
            while self._feeding.is_set():
                if not len(said) and not self._to_say.empty():
                    said = self._to_say.get()
                piece = noise.copy()
                piece[: len(said[:PIECE])] = said[:PIECE]
                said = said[PIECE:]
                try:
                    pipe.write(piece.tobytes())
                except BrokenPipeError:
                    return
                written += PIECE
                time.sleep(max(0.0, begin + written / SAMPLE_RATE - time.monotonic()))

    def kill(self) -> None:
        """End it without a farewell."""
        self.process.kill()
        self.process.wait()
        self._feeding.clear()
        self._writer.join(10)
        for left_behind in ("pulse/pid", "mic.fifo"):
            (self.folder / left_behind).unlink(missing_ok=True)


@pytest.fixture
def server() -> Iterator[SoundServer]:
    for program in ("pulseaudio", "pactl", "parec"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    if not ctypes.util.find_library("portaudio"):
        pytest.skip("PortAudio is not installed")
    folder = Path(tempfile.mkdtemp(prefix="chimed"))  # a short path: a socket's name has 107 characters at most
    try:
        server = SoundServer(folder)
        yield server
        server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def listener(server: SoundServer) -> Iterator[Recorder]:
    recorder = Recorder(server)
    yield recorder
    recorder.stop()


class Recorder:
    """What the loudspeaker plays, taken from its monitor."""

    def __init__(self, server: SoundServer) -> None:
        command = ["parec", "--device=spk.monitor", "--format=s16le", "--rate=44100", "--channels=1"]
        self._process = subprocess.Popen(
            [*command, "--latency-msec=20"], env=server.environment, stdout=subprocess.PIPE
        )
        self._data = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        while data := self._process.stdout.read1(65_536):
            self._data += data

    def wait_for_sound(self, seconds: float = 20) -> Samples:
        """What was played, once something was and it is quiet again."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            time.sleep(0.2)
            samples = np.frombuffer(bytes(self._data[: len(self._data) // 2 * 2]), "<i2")
            loud = np.flatnonzero(np.abs(samples.astype(int)) > 500)
            if len(loud) and len(samples) - loud[-1] > SAMPLE_RATE // 2:
                return samples[loud[0] : loud[-1] + 1]
        pytest.fail("nothing was played")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join(10)


def level(samples: Samples, hz: float) -> float:
    """Amplitude of one frequency."""
    time = np.arange(len(samples)) / SAMPLE_RATE
    window = np.hanning(len(samples))
    return float(np.abs(np.sum(samples * window * np.exp(-2j * np.pi * hz * time))) / np.sum(window))


Start = Callable[..., Chimed]


def test_a_word_is_heard_and_answered_by_chime_and_hook(server, listener, start, model_file, tmp_path):
    answer = tmp_path / "answer"
    config = tmp_path / "config.yaml"
    config.write_text(
        f"words:\n- model: {model_file}\nhooks:\n"
        f'- echo "$CHIMED_WORD $CHIMED_SCORE $CHIMED_TIME" > {answer}.part; mv {answer}.part {answer}\n'
    )
    chimed = start("run", "--config", config, **server.variables)
    assert '"beep" (threshold 0.5)' in chimed.wait_for("listening to microphone")
    time.sleep(1)
    assert not chimed.lines("heard")
    server.say(recording(1, [0.3]))
    assert "score 1.00" in chimed.wait_for('heard "beep"')
    played = listener.wait_for_sound()
    while not answer.exists():
        time.sleep(0.05)
    word, score, moment = answer.read_text().split()
    assert word == "beep"
    assert 0.5 < float(score) <= 1
    assert time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")
    assert chimed.stop() == 0
    assert len(chimed.lines("heard")) == 1
    # both notes sounded, and nothing between them or far from them was nearly as strong
    strongest_elsewhere = max(level(played, hz) for hz in (300, 600, 910, 1300, 3000))
    assert all(level(played, note) > 4 * strongest_elsewhere for note in NOTES)


def test_its_own_chime_sets_nothing_off(server, start, model_file, tmp_path):
    """The microphone hears the loudspeaker, and the user's chime is the very word."""
    server.control("load-module", "module-loopback", "source=mic", "sink=spk", "latency_msec=50")
    server.control("set-default-source", "spk.monitor")
    soundfile.write(tmp_path / "chime.flac", recording(1.2, [0.8]), SAMPLE_RATE)
    config = tmp_path / "config.yaml"
    config.write_text(f"words: [{{model: {model_file}}}]\nchime: chime.flac\n")

    chimed = start("run", "--config", config, "-v", **server.variables)
    chimed.wait_for("listening to")
    for count in (1, 2):
        time.sleep(1)
        server.say(recording(1, [0.3]))
        chimed.wait_for('heard "beep"', count)
        chimed.wait_for("ignored 'beep'", count)  # without the suppression, each chime would cause the next
    time.sleep(2)
    assert len(chimed.lines("heard")) == 2
    assert chimed.stop() == 0


def test_a_lost_microphone_is_said_once_and_heard_again_when_it_is_back(server, start, model_file):
    chimed = start("run", "--model", model_file, "--no-chime", **server.variables)
    chimed.wait_for("listening to")
    server.say(recording(1, [0.3]))
    chimed.wait_for("heard", 1)
    server.kill()
    chimed.wait_for("trying again")
    time.sleep(4)
    assert len(chimed.lines("trying again")) == 1
    server.start()
    chimed.wait_for("again", 2)
    server.say(recording(1, [0.3]))
    chimed.wait_for('heard "beep"', 2)
    assert chimed.stop() == 0
    assert len(chimed.log) <= 6, chimed.log


def test_a_microphone_that_delivers_nothing_is_noticed_and_comes_back(server, start, model_file):
    chimed = start("run", "--model", model_file, "--no-chime", **server.variables)
    chimed.wait_for("listening to")
    time.sleep(1)
    server.silence()
    chimed.wait_for("no sound came for")
    server._feeding.set()
    threading.Thread(target=server._feed, args=(server.folder / "mic.fifo",), daemon=True).start()
    chimed.wait_for("again", 2)
    server.say(recording(1, [0.3]))
    chimed.wait_for('heard "beep"')
    assert chimed.stop() == 0


def test_it_ends_on_a_signal_while_the_sound_server_hangs(server, start, model_file):
    chimed = start("run", "--model", model_file, **server.variables)
    chimed.wait_for("listening to")
    time.sleep(1)
    server.process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(0.5)
        assert chimed.stop() == 0
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_it_survives_a_sound_server_that_hangs_for_a_while(server, start, model_file):
    chimed = start("run", "--model", model_file, "--no-chime", **server.variables)
    chimed.wait_for("listening to")
    time.sleep(1)
    server.process.send_signal(signal.SIGSTOP)
    chimed.wait_for("trying again")
    time.sleep(3)
    server.process.send_signal(signal.SIGCONT)
    chimed.wait_for("again", 2)
    server.say(recording(1, [0.3]))
    chimed.wait_for('heard "beep"')
    assert chimed.stop() == 0


def test_ctrl_c_ends_it_without_a_traceback(server, start, model_file):
    chimed = start("run", "--model", model_file, **server.variables)
    chimed.wait_for("listening to")
    assert chimed.stop(signal.SIGINT) == 0


def test_devices_are_listed_with_the_default_marked(server, call):
    done = call("devices", **server.variables)
    assert done.returncode == 0
    assert done.stderr == ""
    default = next(line for line in done.stdout.splitlines() if line.startswith("*"))
    assert "default" in default
    assert "Hz" in default


@pytest.mark.parametrize("name", ["pulse", "PUL", "0"])
def test_a_device_is_chosen_by_name_or_number(server, start, model_file, name):
    chimed = start("run", "--model", model_file, "--device", name, "--no-chime", **server.variables)
    assert "'pulse'" in chimed.wait_for("listening to")
    server.say(recording(1, [0.3]))
    chimed.wait_for('heard "beep"')
    assert chimed.stop() == 0


def test_an_unknown_device_is_an_error_that_lists_the_known(server, call, model_file):
    done = call("run", "--model", model_file, "--device", "kazoo", **server.variables)
    assert done.returncode == 1
    assert "no microphone 'kazoo'; there are 0 (pulse), 1 (default)" in done.stderr


def test_without_a_sound_server_it_says_so_and_ends(call, model_file):
    if not ctypes.util.find_library("portaudio"):
        pytest.skip("PortAudio is not installed")
    for command in (("run", "--model", model_file), ("devices",)):
        done = call(*command)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "no microphone found" in done.stderr
        assert "apt install" in done.stderr


def test_a_full_queue_drops_the_block_and_marks_the_gap():
    blocks: queue.Queue = queue.Queue(2)
    callback = queue_callback(blocks)
    fine, late = SimpleNamespace(input_overflow=False), SimpleNamespace(input_overflow=True)
    stereo = np.array([[1, -1], [2, -2]], np.int16)
    for status in (fine, late, fine):
        callback(stereo, 2, None, status)
    assert [blocks.get()[1] for _ in range(2)] == [False, True]
    callback(stereo, 2, None, fine)
    callback(stereo, 2, None, fine)
    samples, gap = blocks.get()
    assert samples.tolist() == [1, 2]  # the first channel
    assert gap  # the third block found no room
    assert not blocks.get()[1]
