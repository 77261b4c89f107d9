"""Microphones that fail, on real sound servers: the daemon says it once, costs no core, and recovers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.audio.portaudio import CLOSE_LIMIT
from daemon.cli.run import LAST_CALL, LAST_CHIME
from daemon.responses.hooks import KILL_AFTER_SECONDS, OUTPUT_POLL_SECONDS
from tests.support.chimed import Chimed, recording
from tests.support.soundserver import PipeWire, SoundServer, private

pytestmark = pytest.mark.integration

Start = Callable[..., Chimed]

IDLE = 0.3  # of a core: what waiting may cost at most; it looks for devices every 2 s
TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture(params=[SoundServer, PipeWire], ids=["pulseaudio", "pipewire"])
def server(request) -> Iterator[SoundServer]:
    """Not started yet."""
    yield from private(request.param)


@pytest.fixture
def listen(server, start, model_file) -> Callable[[], Chimed]:
    return lambda: start("run", "--model", model_file, "--no-chime", **server.variables)


def cpu(chimed: Chimed) -> float:
    """The CPU time that it took so far, s."""
    fields = Path(f"/proc/{chimed.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def busy(chimed: Chimed, seconds: float) -> float:
    """The share of a core that it takes over so long."""
    before, begin = cpu(chimed), time.monotonic()
    time.sleep(seconds)
    return (cpu(chimed) - before) / (time.monotonic() - begin)


def hears(chimed: Chimed, server: SoundServer, count: int) -> None:
    """It hears a word again, whenever it is back."""
    for _ in range(20):
        server.say(recording(1, [0.3]))
        try:
            chimed.wait_for('heard "beep"', count, seconds=3)
        except AssertionError:
            continue
        return
    chimed.wait_for('heard "beep"', count)


def waits(chimed: Chimed, text: str) -> None:
    """It says this, and then waits without taking a core."""
    chimed.wait_for(text)
    assert busy(chimed, 4) < IDLE


def ends(chimed: Chimed, text: str, count: int) -> None:
    """It ends in order, and has said this so many times."""
    assert chimed.stop() == 0
    assert len(chimed.lines(text)) == count, chimed.log


@pytest.fixture
def chimed(server, listen) -> Chimed:
    """It has listened to the server's microphone for a while."""
    server.start()
    chimed = listen()
    chimed.wait_for("listening to")
    hears(chimed, server, 1)
    return chimed


def test_a_killed_server_is_said_once_and_heard_again_when_it_is_back(server, chimed):
    server.kill()
    waits(chimed, "trying again")
    assert len(chimed.lines("trying again")) == 1
    server.start()
    chimed.wait_for("hearing the microphone")
    hears(chimed, server, 2)
    ends(chimed, "again", 2)


def test_it_may_be_started_before_the_server(server, listen):
    chimed = listen()
    waits(chimed, "no microphone found")
    server.start()
    chimed.wait_for("listening to microphone")
    hears(chimed, server, 1)
    ends(chimed, "again", 1)


def test_a_microphone_that_was_pulled_out_is_heard_when_it_is_back(server, chimed):
    """The server gives something else meanwhile, without a word, and it is digital silence."""
    server.unplug()
    chimed.wait_for("digital silence from the microphone")
    server.plug_in()
    chimed.wait_for("sound from the microphone")
    hears(chimed, server, 2)
    ends(chimed, "silence", 1)


def test_the_only_microphone_is_pulled_out(server, chimed):
    server.control("unload-module", server.sink)
    server.unplug()
    assert busy(chimed, 4) < IDLE
    server.plug_in()
    hears(chimed, server, 2)
    assert chimed.stop() == 0
    assert len(chimed.lines("trying again")) <= 1, chimed.log


def test_a_microphone_that_never_delivers_costs_no_core(server, listen):
    server.start(deaf=True)
    chimed = listen()
    waits(chimed, server.dry)
    server.speak()
    hears(chimed, server, 1)
    ends(chimed, server.dry, 1)


def test_a_microphone_that_stops_delivering_is_heard_when_it_goes_on(server, chimed):
    server.silence()
    waits(chimed, server.dry)
    server.speak()
    chimed.wait_for(server.wet)
    hears(chimed, server, 2)
    ends(chimed, server.dry, 1)


def test_a_server_that_hangs_for_a_while(server, chimed):
    server.signal(signal.SIGSTOP)
    waits(chimed, "trying again")
    server.signal(signal.SIGCONT)
    chimed.wait_for("hearing the microphone")
    hears(chimed, server, 2)
    ends(chimed, "again", 2)


def test_it_ends_on_a_signal_while_the_server_hangs(server, chimed):
    server.signal(signal.SIGSTOP)
    try:
        time.sleep(0.5)
        assert chimed.stop() == 0
    finally:
        server.signal(signal.SIGCONT)


def test_it_ends_within_two_seconds_though_hook_chime_and_server_hang(server, start, model_file, tmp_path):
    """Each has its own limit, and they run side by side."""
    server.start()
    stubborn = f"trap '' TERM INT; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"
    config = tmp_path / "config.yaml"
    config.write_text(f'words: [{{model: {model_file}}}]\nhooks: ["{stubborn}"]')
    chimed = start("run", "--config", config, **server.variables)
    chimed.wait_for("listening to")
    time.sleep(1)
    server.say(recording(1, [0.3]))
    chimed.wait_for("heard")
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.01)
    server.signal(signal.SIGSTOP)  # while the chime sounds
    try:
        assert chimed.stop() == 0
    finally:
        server.signal(signal.SIGCONT)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()
    assert max(2 * KILL_AFTER_SECONDS + 2 * OUTPUT_POLL_SECONDS, LAST_CHIME + CLOSE_LIMIT) + LAST_CALL < 2
