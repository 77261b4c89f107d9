"""What no client should send, over a real socket: the service lives, its memory is bounded, others are served."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.chimed import Chimed, recording
from tests.support.wyoming_clients import PATIENCE, chunks, connected, memory, pcm, plain, uri_of

pytestmark = pytest.mark.integration

SOUND = recording(3, [1.0])
GROWTH = 25.0  # MB that hostile clients may cost for good; each tries to make it hundreds
START = b'{"type": "audio-start", "data": {"rate": 16000, "width": 2, "channels": 1}}\n'


@pytest.fixture
def server(start, model_file) -> Iterator[Chimed]:
    # so many streams that none of these tests meets the limit on connections
    options = ["--model", model_file, "--idle-timeout", "20", "--max-streams", "500"]
    chimed = start("wyoming", "--uri", "tcp://127.0.0.1:0", *options)
    uri_of(chimed)
    yield chimed
    assert still_serves(chimed)
    assert not chimed.lines("Traceback")
    assert not chimed.lines("unexpected error")
    assert chimed.stop() == 0


def still_serves(chimed: Chimed) -> bool:
    """Whether a new client is told what is offered, and its word is heard."""

    async def client() -> bool:
        async with connected(uri_of(chimed)) as one:
            return bool((await one.info()).wake) and len(await one.hear(SOUND)) == 1

    return asyncio.run(client())


def exchange(chimed: Chimed, data: bytes) -> bytes:
    """Send it all, say that this was all, and read to the end of the connection."""
    with plain(uri_of(chimed)) as connection:
        answer = b""
        with suppress(ConnectionError):  # closed before it had read all
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            while piece := connection.recv(65_536):
                answer += piece
        return answer


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "is not JSON"),
        (b"\xff\xfe\n", "is not JSON"),
        (b"[1, 2]\n", "is not a JSON object"),
        (b"{}\n", "has no type"),
        (b'{"type": 7}\n', "has no type"),
        (b'{"type": "x", "data": 3}\n', "data are not a JSON object"),
        (b'{"type": "x", "data_length": -1}\n', "data_length is -1"),
        (b'{"type": "x", "data_length": 1e400}\n', "data_length is inf"),
        (b'{"type": "x", "data_length": 70000}\n', "data_length is 70000"),
        (b'{"type": "x", "data_length": 2}\n[]', "is not a JSON object"),
        (b'{"type": "x", "payload_length": true}\n', "payload_length is True"),
        (b'{"type": "x", "payload_length": 99999999999999999999}\n', "payload_length is 9999"),
        (b'{"type": "audio-start"}\n', "rate is None"),
        (b'{"type": "audio-start", "data": {"rate": "16000"}}\n', "rate is 16000, not a whole"),
        (b'{"type": "audio-start", "data": {"rate": 16000, "width": 9, "channels": 1}}\n', "1 to 4 bytes"),
        (b'{"type": "audio-chunk", "data": {"rate": -1, "width": 2, "channels": 1}}\n', "sample rate of -1 Hz"),
        (START + b'{"type": "audio-chunk", "data": {"channels": 0}}\n', "channels, not 0"),
        (b'{"type": "detect", "data": {"names": "activate"}}\n', "not a list of texts"),
        (b'{"type": "detect", "data": {"names": [1]}}\n', "not a list of texts"),
        (b"[" * 60_000 + b"\n", "is not JSON"),
        (b'{"type": ' + b"9" * 50_000 + b"}\n", "is not JSON"),
        (b"x" * 200_000, "line is longer than 65536 bytes"),
        (b'{"type": "' + b"x" * 200_000 + b'"}\n', "line is longer"),
    ],
)
def test_what_is_not_wyoming_is_told_so_and_closed(shared_server, data, reason):
    answer = json.loads(exchange(shared_server, data).splitlines()[0])
    assert answer["type"] == "error"
    shared_server.wait_for(reason)


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chimed]:
    from model import modelfile
    from tests.support.chimed import tone_model

    path = tmp_path_factory.mktemp("server") / "beep.npz"
    modelfile.save(path, tone_model())
    chimed = Chimed(["wyoming", "--uri", "tcp://127.0.0.1:0", "--model", path], os.environ, subprocess.DEVNULL)
    uri_of(chimed)
    yield chimed
    assert still_serves(chimed)
    assert not chimed.lines("unexpected error")
    assert chimed.stop() == 0


numbers = st.one_of(st.none(), st.integers(-3, 70_000), st.integers(), st.floats(), st.text(max_size=3))
events = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(
            ["describe", "detect", "audio-start", "audio-chunk", "audio-stop", "ping", "transcribe", "", "info"]
        ),
        "version": st.text(max_size=5),
        "data": st.one_of(
            st.none(),
            st.fixed_dictionaries(
                {}, optional=dict.fromkeys(("rate", "width", "channels", "timestamp", "names", "text"), numbers)
            ),
            st.dictionaries(st.text(max_size=4), numbers, max_size=3),
        ),
        "data_length": numbers,
        "payload_length": numbers,
    },
)
lines = st.one_of(events.map(lambda event: json.dumps(event).encode() + b"\n"), st.binary(max_size=300))
formats = st.tuples(
    st.sampled_from([1, 999, 1_000, 8_000, 16_000, 768_000, 768_001]), st.integers(0, 5), st.integers(0, 300)
)
sound = st.builds(
    lambda pcm, size, sent: (
        json.dumps(
            {
                "type": "audio-chunk",
                "data": {"rate": pcm[0], "width": pcm[1], "channels": pcm[2]},
                "payload_length": size,
            }
        ).encode()
        + b"\n"
        + bytes(sent)
    ),
    formats,
    st.integers(0, 5_000),
    st.integers(0, 5_000),
)


@given(st.lists(st.one_of(lines, sound), max_size=12).map(b"".join))
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_end_in_an_answer_or_a_closed_connection(shared_server, data):
    answer = exchange(shared_server, data)
    assert shared_server.process.poll() is None
    for line in answer.splitlines()[:1]:
        assert json.loads(line)["type"] in {"info", "error", "pong", "not-detected", "detection"}


def test_a_payload_is_never_held_as_a_whole(server):
    before = memory(server.process.pid)
    chunk = b'{"type": "%s", "data": {"rate": 16000, "width": 2, "channels": 1}, "payload_length": 16777216}\n'
    connections = [plain(uri_of(server)) for _ in range(30)]
    for i, connection in enumerate(connections):
        connection.settimeout(0.5)
        with suppress(TimeoutError):
            connection.sendall(chunk % (b"audio-chunk", b"transcript")[i % 2] + bytes(1 << 22))
    assert still_serves(server)
    assert memory(server.process.pid) - before < GROWTH
    for connection in connections:
        connection.close()


def test_a_client_that_does_not_read_is_not_written_to_without_end(server):
    before = memory(server.process.pid)
    with plain(uri_of(server)) as connection:
        connection.setblocking(False)
        question = b'{"type": "describe"}\n' * 1_000
        sent = 0
        with suppress(BlockingIOError):
            while sent < 200_000_000:
                sent += connection.send(question)
        assert still_serves(server)
        assert memory(server.process.pid) - before < GROWTH
        server.wait_for("does not read what it is sent")  # which some seconds later ends it
        connection.setblocking(True)
        with suppress(ConnectionError):
            while connection.recv(65_536):
                pass


def test_a_client_that_sends_faster_than_real_time_does_not_starve_the_others(server):
    """Back-pressure slows it down to what is left; a word said elsewhere is heard meanwhile, each time."""
    before = memory(server.process.pid)
    stop = threading.Event()

    def flood(connection: socket.socket) -> None:
        data = b"".join(
            b'{"type": "audio-chunk", "data": {"rate": 16000, "width": 2, "channels": 1}, "payload_length": 32000}\n'
            + bytes(32_000)
            for _ in range(10)
        )
        connection.settimeout(1)
        with suppress(OSError):
            while not stop.is_set():
                with suppress(TimeoutError):
                    connection.sendall(data)

    connections = [plain(uri_of(server)) for _ in range(8)]
    threads = [threading.Thread(target=flood, args=(connection,)) for connection in connections]
    for thread in threads:
        thread.start()

    async def client() -> None:
        async with connected(uri_of(server)) as one:
            await one.info()
            await one.begin()
            for event in chunks(pcm(SOUND)):
                await one.send(event)
            assert len(await one.stop()) == 1

    asyncio.run(client())
    assert memory(server.process.pid) - before < GROWTH
    stop.set()
    for connection in connections:
        connection.close()
    for thread in threads:
        thread.join(PATIENCE)


def test_half_open_connections_are_bounded_in_number(start, model_file):
    chimed = start(
        "wyoming", "--uri", "tcp://127.0.0.1:0", "--model", model_file, "--max-streams", "1", "--idle-timeout", "4"
    )
    connections = [plain(uri_of(chimed)) for _ in range(60)]
    chimed.wait_for("connections are open already")
    for connection in connections:
        with suppress(ConnectionError):
            while connection.recv(65_536):  # those that were let in fall silent, and are dropped
                pass
        connection.close()
    assert still_serves(chimed)
    assert chimed.stop() == 0


def test_connections_that_break_leave_nothing_behind(server):
    """The first 150 take what so many at once need; as many again and again need no more."""
    before = 0.0
    for turn in range(450):
        with plain(uri_of(server)) as connection:
            connection.sendall(START + b'{"type": "describe"}\n' + b"x" * (turn % 7))
            if turn % 3:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # reset
        if turn % 150 == 149:
            assert still_serves(server)
            before = before or memory(server.process.pid)
    assert memory(server.process.pid) - before < GROWTH
