"""A changed configuration and a mute, while a real microphone is listened to: what must stay open stays open."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from daemon.config import settings
from daemon.control.client import ask
from daemon.listening.reload import Reloader
from model import modelfile
from tests.support.chimed import Chimed, recording, tone_model
from tests.support.soundserver import SoundServer, private

pytestmark = pytest.mark.integration


@pytest.fixture
def server() -> Iterator[SoundServer]:
    for server in private(SoundServer):
        server.start()
        yield server


class Listening:
    """A `chimed run` that listens to the server's microphone, and its configuration file."""

    def __init__(self, start: Callable[..., Chimed], server: SoundServer, folder: Path) -> None:
        self.server = server
        self._file = folder / "config.yaml"
        for word, hz in (("beep", 3_000.0), ("boop", 1_500.0)):
            modelfile.save(folder / f"{word}.npz", tone_model(word, hz))
        self.configure("words: [{model: beep.npz}]")
        self.chimed = start("run", "--config", self._file, "--no-chime", **server.variables)
        self.chimed.wait_for("listening to")
        self._reloads = 0

    def configure(self, text: str) -> None:
        self._file.write_text(text)

    def reload(self, text: str) -> None:
        self.configure(text)
        self.chimed.process.send_signal(signal.SIGHUP)

    def accepted(self, text: str) -> None:
        """Reload, and wait until it is in force."""
        self._reloads += 1
        self.reload(text)
        self.chimed.wait_for("configuration read again", self._reloads)

    def microphones(self) -> list[str]:
        """The numbers of the streams that capture."""
        lines = self.server.control("list", "short", "source-outputs").stdout.splitlines()
        return [line.split()[0] for line in lines]

    def ask(self, command: str, **arguments: object) -> dict:
        return ask(self.server.folder / "chimed" / "control.sock", command, **arguments)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, self.chimed.log
            time.sleep(0.05)


@pytest.fixture
def listening(start, server, tmp_path) -> Iterator[Listening]:
    listening = Listening(start, server, tmp_path)
    yield listening
    assert listening.chimed.stop() == 0


def test_words_thresholds_hooks_and_log_level_change_without_touching_the_microphone(listening):
    before = listening.microphones()
    assert len(before) == 1
    listening.accepted("words: [{model: boop.npz, threshold: 0.4, hooks: [echo the new hook]}]\nlog_level: debug")
    listening.server.say(recording(1, [0.3]))
    listening.server.say(recording(1, [0.3], 1_500.0))
    listening.chimed.wait_for('heard "boop"')
    listening.chimed.wait_for("the new hook")
    assert not listening.chimed.lines('heard "beep"')
    assert listening.microphones() == before
    status = listening.ask("status")
    assert [(word["word"], word["threshold"]) for word in status["words"]] == [("boop", 0.4)]
    assert (status["gaps"], status["complaint"]) == (0, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("words: [{modell: boop.npz}]", "did you mean 'model'?"),
        ("words: [{model: none.npz}]", "there is no file"),
        ("words: [", "not valid YAML"),
        ("words: [{model: config.yaml}]", "not a model file"),
        ("words: [{model: beep.npz}]\nchime: beep.npz", "not a recording"),
        ("words: [{model: beep.npz}]\nchime: ~nosuchuser/x.wav", "no such home folder"),
    ],
)
def test_a_broken_file_is_refused_in_one_line_and_the_old_one_stays(listening, text, reason):
    listening.reload(text)
    line = listening.chimed.wait_for("the settings in force stay")
    assert reason in line
    assert "error: " in line
    assert reason in listening.ask("status")["complaint"]
    listening.server.say(recording(1, [0.3]))
    listening.chimed.wait_for('heard "beep"')
    assert len(listening.chimed.lines("error")) == 1
    listening.accepted("words: [{model: beep.npz}]")
    assert listening.ask("status")["complaint"] == ""


def test_a_changed_device_is_opened_in_place_of_the_old_one(listening):
    (before,) = listening.microphones()
    listening.accepted("words: [{model: beep.npz}]\naudio: {device: pulse, gain: 3}")
    listening.wait_until(lambda: len(listening.microphones()) == 1 and listening.microphones() != [before])
    listening.server.say(recording(1, [0.3]))
    listening.chimed.wait_for('heard "beep"')
    listening.accepted("words: [{model: beep.npz}]\naudio: {device: kazoo}")
    listening.chimed.wait_for("no microphone 'kazoo'")
    listening.wait_until(lambda: listening.ask("status")["state"].startswith("waiting for "))
    assert listening.microphones() == []
    listening.accepted("words: [{model: beep.npz}]")
    listening.wait_until(lambda: listening.ask("status")["listening"])
    listening.server.say(recording(1, [0.3]))
    listening.chimed.wait_for('heard "beep"', 2)


def test_mute_closes_the_microphone_and_unmute_opens_it(listening):
    assert listening.ask("mute")["state"] == "muted until `chimed unmute`"
    listening.wait_until(lambda: listening.microphones() == [])
    listening.chimed.wait_for("the microphone is closed")
    status = listening.ask("status")
    assert (status["muted"], status["muted_for"], status["listening"], status["level"]) == (True, None, False, None)
    listening.server.say(recording(1, [0.3]))
    # a reload changes what will be listened for, and opens nothing
    listening.accepted("words: [{model: boop.npz}]\naudio: {gain: 1}")
    assert listening.ask("status")["muted"]
    assert listening.microphones() == []
    assert listening.ask("trigger", word="boop") == {"triggered": "boop"}
    assert listening.ask("unmute") == {"muted_before": True}
    listening.wait_until(lambda: listening.ask("status")["listening"])
    assert len(listening.microphones()) == 1
    listening.server.say(recording(1, [0.3], 1_500.0))
    listening.chimed.wait_for('heard "boop"')
    assert not listening.chimed.lines('heard "beep"')


def test_a_mute_ends_with_its_time(listening):
    listening.ask("mute", minutes=0.02)
    listening.chimed.wait_for("no longer muted")
    listening.wait_until(lambda: listening.ask("status")["listening"])
    for minutes in (0, -1, float("nan"), float("inf"), "5", [], True and 10**9):
        with pytest.raises(Exception, match="minutes are a number"):
            listening.ask("mute", minutes=minutes)
    assert len(listening.microphones()) == 1


def test_a_stop_ends_a_mute_and_a_crash_does_not(start, server, tmp_path):
    first = Listening(start, server, tmp_path)
    first.ask("mute", minutes=60)
    first.chimed.wait_for("the microphone is closed")
    first.chimed.process.kill()
    first.chimed.end()
    second = start("run", "--config", tmp_path / "config.yaml", "--no-chime", **server.variables)
    second.wait_for("the microphone is closed")
    assert first.microphones() == []
    assert first.ask("status")["muted_for"] == pytest.approx(3_600, abs=300)
    assert second.stop() == 0
    third = start("run", "--config", tmp_path / "config.yaml", "--no-chime", **server.variables)
    third.wait_for("listening to")
    assert third.stop() == 0


def test_a_microphone_named_on_the_command_line_is_waited_for_once_it_was_heard(start, server, model_file):
    """Only at the start is somebody there to read that there is no such device; a mute that ends is no start."""
    chimed = start("run", "--device", "pulse", "--model", model_file, "--no-chime", **server.variables)
    chimed.wait_for("listening to")
    socket = server.folder / "chimed" / "control.sock"
    ask(socket, "mute")
    chimed.wait_for("the microphone is closed")
    server.kill()
    ask(socket, "unmute")
    chimed.wait_for("trying again")
    server.start()
    chimed.wait_for("hearing the microphone")
    server.say(recording(1, [0.3]))
    chimed.wait_for('heard "beep"')
    assert chimed.stop() == 0


def test_a_defect_in_a_reload_does_not_end_the_listening(caplog):
    told: list[dict[str, object]] = []
    loop = SimpleNamespace(
        status=lambda: SimpleNamespace(ready=True), complaint="", tell=lambda **state: told.append(state)
    )

    def read() -> settings.Settings:
        raise ZeroDivisionError

    before = settings.Settings()
    reloader = Reloader(before, read, lambda *_: None, loop, SimpleNamespace(send=lambda **_: None))
    reloader.reload()
    assert reloader.settings is before
    assert "by a defect of chimed" in loop.complaint
    assert "ZeroDivisionError" in caplog.text
    assert told == [{"READY": 1}]
