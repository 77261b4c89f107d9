"""More sound than the machine can hear: it is said once, nothing piles up, and those that ask are answered."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from daemon.audio.pcm import PcmFormat
from daemon.wyoming.backlog import CATCHING_UP, TOO_LATE, Backlog, StreamLag
from daemon.wyoming.stream import AudioStreamSession, WordSet
from model import modelfile
from model.frontend import SAMPLE_RATE
from tests.support.chimed import recording, tone_model
from tests.support.wyoming_clients import PATIENCE, connected, cpu, memory, pcm, plain, uri_of

pytestmark = pytest.mark.integration

WORDS, STREAMS = 40, 30  # some seven times what a core of 2020 carries
SOUND = recording(3, [0.5, 2.0])
RESET = struct.pack("ii", 1, 0)  # linger for no time


def test_who_is_never_waited_for_falls_behind_by_what_the_clock_says():
    pace = StreamLag(100.0)
    for second in range(1, 5):
        pace.heard(0.75, 100.0 + second)
    assert pace.behind == 1.0
    pace.heard(3.0, 105.0)  # faster than real time: it catches up, and is never ahead
    assert pace.behind == 0.0
    pace.heard(0.5, 106.0)
    assert pace.behind == 0.5
    pace.waited(200.0)  # nobody spoke for a while
    assert pace.behind == 0.0
    pace.heard(0.1, 200.1)
    assert pace.behind == pytest.approx(0.0, abs=1e-9)


@given(st.floats(0.05, 0.95), st.floats(0.01, 0.2))
def test_a_stream_that_is_heard_too_slowly_is_behind_by_no_more_than_it_may_and_two_pieces(speed, piece):
    """Heard at this share of real time in pieces of so many seconds; what is skipped takes no time."""
    pace, now, sent, skipped = StreamLag(0.0), 0.0, 0.0, 0.0
    while now < 60:
        if sent + piece > now:  # the client says the next piece in a moment, and is waited for
            now = sent + piece
            pace.waited(now)
        if pace.skipping:
            skipped += piece
        else:
            now += piece / speed
        sent += piece
        pace.heard(piece, now)
        assert pace.behind <= TOO_LATE + CATCHING_UP + 2 * piece / speed
        assert pace.behind - 1e-6 < now - sent < pace.behind + piece + 1e-6  # what it just waited for came at once
    assert skipped == pytest.approx(60 * (1 - speed), abs=2 + 4 * piece / speed)


def test_after_a_moment_in_which_the_machine_stood_still_nothing_is_skipped():
    """Three seconds wait, and are heard twenty times as fast as they were said."""
    pace = StreamLag(100.0)
    for number in range(40):
        pace.heard(0.08, 103.0 + (number + 1) * 0.004)
        assert not pace.skipping
    assert pace.behind == pytest.approx(0.0, abs=0.01)
    # one that does not catch up so fast skips, until it is up to date
    pace = StreamLag(100.0)
    pace.heard(0.08, 103.0)
    pace.heard(0.08, 103.1)
    assert not pace.skipping
    pace.heard(0.08, 103.3)
    assert pace.skipping
    pace.waited(103.4)
    assert not pace.skipping


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10), st.booleans()), max_size=30))
def test_none_is_further_behind_than_since_it_was_waited_for(events):
    now, since = 0.0, 0.0
    pace = StreamLag(now)
    for passed, heard, waited in events:
        now += passed
        if waited:
            pace.waited(since := now)
        else:
            pace.heard(heard, now)
        assert 0 <= pace.behind <= now - since + 1e-9


def test_it_is_said_once_that_streams_are_late_and_once_that_none_is(caplog):
    caplog.set_level("INFO")

    async def run() -> None:
        backlog = Backlog(quiet=0.2)
        for _ in range(3):
            backlog.late("a", "kitchen", 2.3, 7)
            backlog.late("b", "attic", 2.1, 7)
            backlog.skipped(1.5)
            await asyncio.sleep(0.1)
        backlog.forget("c")  # one that was never late
        assert len(caplog.messages) == 1
        assert "with 7 streams: kitchen is 2.3 s behind" in caplog.messages[0]
        backlog.forget("a")  # it left
        assert len(caplog.messages) == 1
        await asyncio.sleep(0.4)
        assert caplog.messages[1:] == ["keeping up again; 4.5 s of sound were skipped"]
        backlog.late("b", "attic", 2.0, 1)
        backlog.forget("b")
        assert "with 1 stream: attic" in caplog.messages[2]
        assert caplog.messages[3:] == ["keeping up again; 0.0 s of sound were skipped"]

    asyncio.run(run())


@given(st.integers(1, 3), st.integers(0, 15_000), st.integers(500, 5_000))
@settings(max_examples=15)
@example(1, 8250, 500)
def test_what_is_skipped_passes_in_the_stream_s_own_time(channels, first, piece):
    """Cut anywhere, even in the middle of a sample: the tone after it is heard where it is, and as a tone."""
    stream = PcmFormat(16_000, 2, channels)
    data = pcm(SOUND, 16_000, 2, channels)
    skipped = data[first : 16_000 * stream.frame]
    satellite = AudioStreamSession(WordSet([tone_model()]))
    satellite.start(stream)
    assert not satellite.push(data[:first], stream)
    for start in range(0, len(skipped), piece):
        satellite.skip(skipped[start : start + piece], stream)
    heard = [*satellite.push(data[first + len(skipped) :], stream), *satellite.stop()]
    assert [each.sample / SAMPLE_RATE for each in heard] == pytest.approx([2.053], abs=0.01)


def test_an_overloaded_server_says_so_once_answers_who_asks_and_recovers(start, tmp_path: Path):
    """Clients that send all they can to a server with so many words that it hears each more slowly than it speaks."""
    options: list[str | Path] = []
    for number in range(WORDS):
        modelfile.save(tmp_path / f"{number}.npz", tone_model(f"word {number}"))
        options += ["--model", tmp_path / f"{number}.npz"]
    server = start("wyoming", "--uri", "tcp://127.0.0.1:0", *options)
    connections = [plain(uri_of(server)) for _ in range(STREAMS)]
    before = memory(server.process.pid)
    stop = threading.Event()
    silence = b"".join(_event(pcm(recording(1, []))) for _ in range(4))

    def flood() -> None:
        for connection in connections:
            connection.setblocking(False)
        rest = [b""] * STREAMS
        while not stop.is_set():
            for number, connection in enumerate(connections):
                with suppress(BlockingIOError):
                    rest[number] = rest[number] or silence
                    rest[number] = rest[number][connection.send(rest[number]) :]
            stop.wait(0.05)

    thread = threading.Thread(target=flood)
    thread.start()

    async def ask() -> None:
        async with connected(uri_of(server)) as one:
            assert (await one.info()).wake

    try:
        server.wait_for("cannot keep up with", seconds=2 * PATIENCE)
        for _ in range(5):
            used = cpu(server.process.pid)
            asyncio.run(ask())
            assert cpu(server.process.pid) - used < 1.0  # which on a machine with nothing else to do is the time
        assert memory(server.process.pid) - before < 60  # 30 streams with 40 words each, and no backlog
    finally:
        stop.set()
        thread.join(PATIENCE)
        for connection in connections:  # as satellites that lose their power, once they are back
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.close()
    server.wait_for("keeping up again", seconds=2 * PATIENCE)

    async def listen() -> None:
        async with connected(uri_of(server)) as one:
            assert len(await one.hear(SOUND, names=["word 7"])) == 2

    asyncio.run(listen())
    assert len(server.lines("cannot keep up")) == 1
    assert server.stop() == 0


def _event(data: bytes) -> bytes:
    header = b'{"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}, "payload_length": %d}\n'
    return header % len(data) + data
