"""A real microphone: PulseAudio with a pipe for a source, PortAudio, and `chimed run` as a user starts it."""

from __future__ import annotations

import ctypes.util
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from daemon.audio.microphone import Microphone, SilenceWarning
from daemon.audio.portaudio import PortAudio
from daemon.responses.chime import NOTES, synthesise
from daemon.system.errors import AudioError
from model import modelfile
from model.frontend import FRAME, SAMPLE_RATE, Samples
from tests.support.chimed import Chimed, recording
from tests.support.paths import DATA
from tests.support.soundserver import SoundServer
from tests.support.soundserver import server as server  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.integration


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


def test_the_word_is_heard_through_the_microphone(server, start):
    """The model and the recording that come with chimed, in real time."""
    told = DATA / "activate-demo.json"
    if "activate" not in modelfile.shipped() or not told.exists():
        pytest.skip("the shipped model or the recording is not here yet")
    ends = json.loads(told.read_text())["word_ends_at_seconds"]
    chimed = start("run", "--no-chime", **server.variables)
    chimed.wait_for("listening to")
    time.sleep(1)
    server.say(soundfile.read(DATA / "activate-demo.flac", dtype="int16")[0])
    chimed.wait_for('heard "activate"', len(ends), seconds=60)
    time.sleep(3)
    assert chimed.stop() == 0
    assert len(chimed.lines("heard ")) == len(ends)


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


def test_without_a_sound_server_it_says_so(call, model_file):
    """What was asked for by name ends; the daemon waits, see test_faults."""
    if not ctypes.util.find_library("portaudio"):
        pytest.skip("PortAudio is not installed")
    for command in (("run", "--device", "usb", "--model", model_file), ("devices",)):
        done = call(*command)
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert "no microphone found" in done.stderr
        assert "apt install" in done.stderr


class Picky:
    """Stands for sounddevice with one device, which opens at 48 kHz in stereo alone: no virtual device is so strict."""

    class PortAudioError(Exception):
        pass

    def __init__(self) -> None:
        self.names, self.rate = ["picky"], 48_000
        self.tried: list[tuple[int, int]] = []
        self.played = np.empty((0, 2), np.int16)
        self.default = SimpleNamespace(device={"input": 0, "output": 0})
        sd = self

        class Stream:
            def __init__(self, samplerate, channels, callback=None, **_options):
                sd.tried.append((samplerate, channels))
                if (samplerate, channels) != (48_000, 2):
                    raise sd.PortAudioError("Invalid sample rate", -9997)
                self.callback, self.channels = callback, channels

            def start(self):
                if self.callback is not None:  # the left channel holds a tone, the right one noise
                    stereo = np.random.default_rng(0).integers(-9_000, 9_000, (48_000, 2)).astype(np.int16)
                    stereo[:, 0] = 8_000 * np.sin(2 * np.pi * 1_000 * np.arange(48_000) / 48_000)
                    for start in range(0, 48_000, 3_831):
                        self.callback(stereo[start : start + 3_831], 0, None, SimpleNamespace(input_overflow=False))

            def write(self, samples):
                sd.played = np.concatenate((sd.played, samples))

            stop = abort = close = lambda _self: None

        self.InputStream = self.OutputStream = Stream
        self._terminate = self._initialize = lambda: None

    def query_devices(self, *which):
        common = {"default_samplerate": float(self.rate), "max_input_channels": 2, "max_output_channels": 2}
        devices = [{"name": name, "index": index} | common for index, name in enumerate(self.names)]
        return devices[0] if which else devices


@pytest.fixture
def picky() -> tuple[PortAudio, Picky]:
    portaudio, sd = PortAudio(), Picky()
    portaudio.library.__dict__["sd"] = sd
    return portaudio, sd


HELD_UP = """
import logging, os, sys, time
import numpy as np
from daemon.audio import microphone
from daemon.audio.portaudio import PortAudio

logging.basicConfig(format="%(message)s")
microphone.QUEUE_BLOCKS = 10
blocks, heard = microphone.Microphone(PortAudio()).blocks(), []
while not heard or heard[-1].samples.std() < 1_000:  # until it is said
    heard.append(next(blocks))
time.sleep(float(sys.argv[1]))
while not any(block.gap for block in heard[:-2]):
    heard.append(next(blocks))
np.savez(sys.argv[2], *(block.samples for block in heard), about=[(block.gap, block.dropped) for block in heard])
os._exit(0)
"""


@pytest.mark.parametrize("pause", [2.0, 3.0])
def test_what_is_dropped_is_counted_to_the_block(server, tmp_path, pause):
    """The loop is held up for longer than the queue lasts."""
    sound = np.random.default_rng(0).integers(-9_000, 9_000, round((pause + 6) * SAMPLE_RATE)).astype(np.int16)
    command = [sys.executable, "-c", HELD_UP, str(pause), str(tmp_path / "heard.npz")]
    with subprocess.Popen(command, env=server.environment, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(1)
        server.say(sound)
        _, said = process.communicate(timeout=60)
    with np.load(tmp_path / "heard.npz") as heard:
        about = heard["about"].tolist()
        (gap,) = (number for number, (lost, _) in enumerate(about) if lost)
        before, after = (heard[f"arr_{number}"] for number in (gap - 1, gap))
    (_, dropped) = about[gap]
    assert dropped == sum(count for _, count in about) > (pause - 1) / 0.08
    places = [sound.tobytes().find(block.tobytes()) // 2 for block in (before, after)]
    assert min(places) >= 0, "the sound server does not hand on what was said"
    assert places[1] - places[0] == (1 + dropped) * FRAME
    seconds = dropped * FRAME / SAMPLE_RATE
    assert said == f"lost {seconds:.2f} s of audio (blocks: {dropped}): this machine is too slow or too busy\n"


def test_a_device_that_cannot_do_44100_hz_mono_is_resampled_and_gives_its_first_channel(picky):
    portaudio, sd = picky
    microphone = Microphone(portaudio)
    assert sd.tried == [(44_100, 1), (44_100, 2), (48_000, 1), (48_000, 2)]
    blocks = [block.samples for _, block in zip(range(13), microphone.blocks(), strict=False)]
    samples = np.concatenate(blocks)
    assert len(samples) == pytest.approx(SAMPLE_RATE, abs=900)  # the filter holds some back
    assert level(samples, 1_000) == pytest.approx(4_000, rel=0.02)
    assert np.abs(samples[1_000:-1_000].astype(int)).max() < 8_200  # no noise
    microphone.close()
    assert portaudio.idle(10)


def test_a_loudspeaker_that_cannot_do_44100_hz_mono_gets_the_chime_resampled(picky):
    portaudio, sd = picky
    portaudio.play(synthesise())
    assert np.array_equal(sd.played[:, 0], sd.played[:, 1])
    length = round(len(synthesise()) * 480 / 441)
    assert np.abs(sd.played[length + 100 :]).max() <= 2  # silence, since stopping cuts off the end
    assert np.abs(sd.played[:length].astype(int)).max() == pytest.approx(
        np.abs(synthesise().astype(int)).max(), rel=0.03
    )
    assert portaudio.idle(10)


def test_a_device_that_opens_at_no_rate_is_one_sentence(picky):
    portaudio, sd = picky
    sd.rate = 8_000
    with pytest.raises(AudioError, match=r"^picky: Invalid sample rate$"):
        Microphone(portaudio)


def test_another_channel_can_count_and_be_amplified(picky):
    portaudio, sd = picky
    microphone = Microphone(portaudio, channel=2, gain=-20.0)
    assert sd.tried == [(44_100, 2), (48_000, 2)]
    samples = np.concatenate([block.samples for _, block in zip(range(13), microphone.blocks(), strict=False)])
    noise = samples[1_000:-1_000].astype(float)
    assert level(samples, 1_000) < 20  # the tone is on the left
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(9_000 / np.sqrt(3) / 10 * np.sqrt(44.1 / 48), rel=0.05)
    microphone.close()


def test_a_channel_that_the_device_lacks_is_one_sentence(picky):
    with pytest.raises(AudioError, match=r"^picky: channel 3 is wanted, and it has 2$"):
        Microphone(picky[0], channel=3)


def test_of_two_alike_the_lost_one_is_opened_again_and_not_the_other(picky):
    portaudio, sd = picky
    sd.names = ["USB Audio: - (hw:1,0)", "USB Audio: - (hw:2,0)"]
    microphone = Microphone(portaudio, 1)
    blocks = microphone.blocks()
    for _ in range(2):
        assert any(len(next(blocks).samples) for _ in range(100))
        assert microphone.name == "microphone 'USB Audio: - (hw:2,0)'"
        microphone._queue.finish()  # what PortAudio calls when the device is gone
        while not next(blocks).gap:
            pass
    microphone.close()


def test_a_device_that_comes_back_as_another_card_is_heard_again(picky):
    portaudio, sd = picky
    sd.names = ["USB Audio: - (hw:2,0)"]
    microphone = Microphone(portaudio, "usb")
    blocks = microphone.blocks()
    assert len(next(blocks).samples)
    sd.names = ["USB Audio: - (hw:1,0)"]
    microphone._queue.finish()  # what PortAudio calls when the device is gone
    while not next(blocks).gap:
        pass
    assert any(len(next(blocks).samples) for _ in range(100))
    assert microphone.name == "microphone 'USB Audio: - (hw:1,0)'"
    microphone.close()


def test_silence_is_said_once_and_its_end_too(caplog):
    caplog.set_level("INFO")
    silence = SilenceWarning()

    def hear(value: int, seconds: int) -> int:
        for _ in range(seconds):
            silence.push(np.full(100, value, np.int16), 1.0, "ear")
        return len(caplog.records)

    assert hear(1, 100) == 0
    assert hear(0, 4) == 0
    assert hear(1, 1) == 0
    assert hear(0, 1_000) == 1
    assert "digital silence from the ear" in caplog.messages[-1]
    assert hear(1, 10) == 2
    assert caplog.messages[-1] == "sound from the ear again"
    for _ in range(100):  # a noise gate opens and closes
        assert hear(0, 10) + hear(1, 10) == 4
    hear(1, 3_600)
    assert hear(0, 10) == 3
