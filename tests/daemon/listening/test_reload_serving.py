"""A changed configuration while others are connected: where the control socket lies, how Wyoming is served."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from daemon.audio.mute import Mute
from daemon.control.client import ControlError, ask, conversation
from model import modelfile
from model.frontend import SAMPLE_RATE
from tests.support.chimed import Chimed, recording, tone_model
from tests.support.wyoming_clients import chunks, connected, pcm

pytestmark = pytest.mark.integration

BEEP, BOOP = "words: [{model: beep.npz}]\n", "words: [{model: boop.npz}]\n"


class Running:
    """A `chimed run` that hears two minutes of soft noise, and its configuration file."""

    def __init__(self, start: Callable[..., Chimed], folder: Path, runtime: str) -> None:
        self.folder = folder
        self.usual = Path(runtime) / "chimed" / "control.sock"
        self._file = folder / "config.yaml"
        self._reloads = 0
        for word, hz in (("beep", 3_000.0), ("boop", 1_500.0)):
            modelfile.save(folder / f"{word}.npz", tone_model(word, hz))
        soundfile.write(folder / "noise.wav", np.resize(recording(5, []), 120 * SAMPLE_RATE), SAMPLE_RATE)
        self._file.write_text(BEEP)
        self.chimed = start("run", "--input", folder / "noise.wav", "--no-chime", "--config", self._file)
        self.chimed.wait_for("listening to")

    def accepted(self, text: str) -> None:
        """Reload, and wait until it is in force."""
        self._reloads += 1
        self._file.write_text(text)
        self.chimed.process.send_signal(signal.SIGHUP)
        self.chimed.wait_for("configuration read again", self._reloads)

    def refused(self, text: str) -> str:
        """Reload; why it is not in force."""
        before = len(self.chimed.lines("the settings in force stay"))
        self._file.write_text(text)
        self.chimed.process.send_signal(signal.SIGHUP)
        return self.chimed.wait_for("the settings in force stay", before + 1)


@pytest.fixture
def running(start, tmp_path, environment) -> Iterator[Running]:
    running = Running(start, tmp_path, environment["XDG_RUNTIME_DIR"])
    yield running
    assert running.chimed.stop() == 0
    assert not running.usual.exists()


def test_the_control_socket_moves_and_who_watches_stays(running):
    new = running.folder / "own.sock"
    with conversation(running.usual, "watch") as events:
        assert next(events) == {"watching": ["beep"]}
        running.accepted(f"{BEEP}control: {{socket: own.sock}}")
        assert ask(new, "trigger", word="beep") == {"triggered": "beep"}
        assert next(event for event in events if event["event"] == "detection")["word"] == "beep"
    assert not running.usual.exists()
    assert new.stat().st_mode & 0o777 == 0o600
    running.accepted(BEEP)
    assert ask(running.usual, "status")["listening"]
    assert not new.exists()


def test_the_control_socket_can_be_switched_off_and_on(running):
    with conversation(running.usual, "watch") as watching:
        next(watching)
        running.accepted(f"{BEEP}control: {{enabled: false}}")
        with pytest.raises(ControlError, match="chimed has stopped"):
            list(watching)
    with pytest.raises(ControlError, match="no chimed is running"):
        ask(running.usual, "status")
    running.accepted(BEEP)
    assert ask(running.usual, "status")["listening"]


def test_who_asks_for_the_reload_that_switches_it_off_has_an_answer(running):
    (running.folder / "config.yaml").write_text(f"{BEEP}control: {{enabled: false}}")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(running.usual))
        connection.sendall(b'{"command": "reload"}\n')
        with connection.makefile("rb") as lines:
            answer, *more = lines
    assert json.loads(answer)["state"].startswith("listening to ")
    assert more == []


def test_a_socket_that_cannot_be_is_refused_with_all_the_rest(running):
    line = running.refused(f"{BOOP}control: {{socket: config.yaml/x.sock}}")
    assert "config.yaml/x.sock: File exists" in line
    status = ask(running.usual, "status")
    assert [word["word"] for word in status["words"]] == ["beep"]
    assert "config.yaml/x.sock" in status["complaint"]


def test_a_mute_goes_with_the_socket(tmp_path):
    """And so outlives a crash after that."""
    mute = Mute(tmp_path / "old")
    mute.begin(3_600)
    mute.move(tmp_path / "new")
    assert not (tmp_path / "old").exists()
    assert Mute(tmp_path / "new").seconds == pytest.approx(mute.seconds, abs=60)
    mute.move(None)
    assert mute.on
    assert list(tmp_path.iterdir()) == []


# Wyoming

HIGH, LOW = recording(3, [1.0]), recording(3, [1.0], 1_500.0)


def free_port() -> int:
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def test_wyoming_is_served_moved_and_ended_by_reloads(running):
    first, second = free_port(), free_port()

    async def heard(port: int) -> list[str]:
        async with connected(f"tcp://127.0.0.1:{port}") as one:
            return [each.name for each in await one.hear(HIGH)]

    running.accepted(f"{BEEP}wyoming: {{uri: 'tcp://127.0.0.1:{first}'}}")
    assert asyncio.run(heard(first)) == ["beep"]
    running.accepted(f"{BEEP}wyoming: {{uri: 'tcp://127.0.0.1:{first}', max_streams: 3}}")  # at the same port
    assert asyncio.run(heard(first)) == ["beep"]
    running.accepted(f"{BEEP}wyoming: {{uri: 'tcp://127.0.0.1:{second}'}}")
    assert asyncio.run(heard(second)) == ["beep"]
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(heard(first))
    running.accepted(BEEP)
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(heard(second))
    assert running.chimed.lines("no Wyoming service any more")


def test_who_streams_is_heard_with_the_new_words_and_another_reload_disturbs_no_stream(running):
    port = free_port()
    served = f"wyoming: {{uri: 'tcp://127.0.0.1:{port}'}}\n"

    async def client() -> list[str]:
        async with connected(f"tcp://127.0.0.1:{port}") as one:
            await one.begin()
            sound = list(chunks(pcm(HIGH)))
            await one.send(*sound[:10])
            await one.info()
            # before the tone, and hooks alone: the stream goes on where it was
            await asyncio.to_thread(running.accepted, f"{BEEP}{served}hooks: ['true']")
            await one.send(*sound[10:])
            await one.until("detection")
            await asyncio.to_thread(running.accepted, f"{BOOP}{served}")
            (program,) = (await one.info()).wake
            assert [model.name for model in program.models] == ["boop"]
            await one.send(*chunks(pcm(HIGH)), *chunks(pcm(LOW)))
            await one.stop()
        return [event.data["name"] for event in one.read if event.type == "detection"]

    running.accepted(f"{BEEP}{served}")
    assert asyncio.run(client()) == ["beep", "boop"]


def test_a_port_that_is_taken_is_refused_with_all_the_rest_and_the_old_one_is_served(running):
    port = free_port()
    served = f"wyoming: {{uri: 'tcp://127.0.0.1:{port}'}}\n"

    async def words() -> list[str]:
        async with connected(f"tcp://127.0.0.1:{port}") as one:
            return [model.name for program in (await one.info()).wake for model in program.models]

    running.accepted(f"{BEEP}{served}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        other = f"wyoming: {{uri: 'tcp://127.0.0.1:{taken.getsockname()[1]}'}}\ncontrol: {{socket: own.sock}}"
        assert "Address already in use" in running.refused(f"{BOOP}{other}")
    assert asyncio.run(words()) == ["beep"]
    assert [word["word"] for word in ask(running.usual, "status")["words"]] == ["beep"]
    assert not (running.folder / "own.sock").exists()
