"""The Wyoming service, a real process, spoken to by the client of the `wyoming` package."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from wyoming.audio import AudioStart, AudioStop
from wyoming.event import Event, read_event, write_event
from wyoming.info import Describe
from wyoming.ping import Ping
from wyoming.wake import Detect

from daemon.audio.pcm import PcmFormat, PcmStream
from model import modelfile
from model.detector import Detector
from model.frontend import SAMPLE_RATE, Samples
from tests.support.chimed import Chimed, recording, tone_model
from tests.support.paths import DATA
from tests.support.shared import seed
from tests.support.wyoming_clients import PATIENCE, chunks, connected, cpu, pcm, serve, uri_of

pytestmark = pytest.mark.integration

TIMES = [1.0, 2.0, 2.9, 5.0]
SOUND = recording(6.5, TIMES)
BOOP = 1_500.0  # Hz


@pytest.fixture
def two_words(tmp_path: Path, model_file: Path) -> list[str]:
    """The options for a model that hears "beep" in 3 kHz and one that hears "boop" in 1.5 kHz."""
    modelfile.save(tmp_path / "boop.npz", tone_model("boop", BOOP))
    return ["--model", str(model_file), "--model", str(tmp_path / "boop.npz")]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server for all tests that need no other: it listens for "beep" and "boop"."""
    folder = tmp_path_factory.mktemp("server")
    modelfile.save(folder / "beep.npz", tone_model())
    modelfile.save(folder / "boop.npz", tone_model("boop", BOOP))
    options = ["--model", folder / "beep.npz", "--model", folder / "boop.npz"]
    server = Chimed(["wyoming", "--uri", "tcp://127.0.0.1:0", *options], os.environ, subprocess.DEVNULL)
    yield uri_of(server)
    assert server.stop() == 0


def expected(samples: Samples, rate: int = 44_100, width: int = 2) -> list[tuple[str, int]]:
    """Word and place (ms) as the detector alone hears them."""
    stream = PcmStream(PcmFormat(rate, width, 1))
    heard = np.concatenate([stream.push(pcm(samples, rate, width)), stream.flush()])
    detector = Detector([tone_model()])
    return [(each.word, round(each.seconds * 1000)) for each in [*detector.push(heard), *detector.conclude()]]


# what is offered


def test_describe_names_the_words_exactly(uri):
    async def client():
        async with connected(uri) as one:
            (program,) = (await one.info()).wake
            assert (program.name, program.installed) == ("chimed", True)
            assert program.description
            assert [(model.name, model.phrase) for model in program.models] == [("beep", "beep"), ("boop", "boop")]
            assert all(model.installed for model in program.models)

    asyncio.run(client())


def test_describe_is_answered_in_mid_stream(uri):
    async def client():
        async with connected(uri) as one:
            await one.begin()
            sound = list(chunks(pcm(SOUND)))
            await one.send(*sound[:30])
            assert (await one.info()).wake
            await one.send(*sound[30:])
            assert len(await one.stop()) == len(TIMES) - len([e for e in one.read[:2] if e.type == "detection"])

    asyncio.run(client())


def test_a_ping_is_answered(uri):
    async def client():
        async with connected(uri) as one:
            await one.send(Ping("there?").event())
            assert (await one.until("pong")).data == {"text": "there?"}

    asyncio.run(client())


# what is heard


def test_home_assistant_hears_the_word_without_ever_ending_the_stream(uri):
    """It connects anew for each run, sends no audio-stop and leaves on the detection."""

    async def client():
        for _ in range(2):
            async with connected(uri) as one:
                await one.begin(["beep"])
                await one.send(*list(chunks(pcm(SOUND)))[:25])
                detection = await one.until("detection")
                assert detection.data["name"] == "beep"
                assert ("beep", detection.data["timestamp"]) == expected(SOUND, 16_000)[0]
                assert detection.data["score"] > 0.5

    asyncio.run(client())


def test_a_satellite_listens_again_and_again_over_one_connection(uri):
    """It begins anew each time, asks what is offered in between, and never ends a stream."""

    async def client():
        async with connected(uri) as one:
            for _ in range(3):
                await one.begin()
                await one.send(*list(chunks(pcm(SOUND)))[:25])
                await one.info()
                assert one.read[0].data["timestamp"] == expected(SOUND, 16_000)[0][1]
                one.read.clear()

    asyncio.run(client())


def test_a_detection_does_not_end_the_stream(uri):
    async def client():
        async with connected(uri) as one:
            detections = await one.hear(SOUND, SAMPLE_RATE)
            assert [(each.name, each.timestamp) for each in detections] == expected(SOUND)
            assert [round(each.timestamp / 1000, 1) for each in detections] == [at + 0.1 for at in TIMES]
            assert "not-detected" not in [event.type for event in one.read]

    asyncio.run(client())


def test_not_detected_follows_the_end_of_a_stream_in_which_nothing_fired(uri):
    async def client():
        async with connected(uri) as one:
            assert not await one.hear(recording(1, []))
            assert [event.type for event in one.read] == ["not-detected", "info"]
            one.read.clear()
            await one.send(AudioStop().event())  # of no stream
            await one.info()
            assert [event.type for event in one.read] == ["info"]

    asyncio.run(client())


def test_the_last_block_counts(uri):
    """What the resampler and the last, incomplete frame hold back is heard at the end of the stream."""
    at = expected(SOUND, 16_000)[0][1]

    async def client():
        async with connected(uri) as one:
            until = SOUND[: round((at + 1) / 1000 * SAMPLE_RATE)]
            assert [each.timestamp for each in await one.hear(until)] == [at]

    asyncio.run(client())


@pytest.mark.parametrize(
    ("rate", "width", "channels"),
    [(8_000, 2, 1), (16_000, 1, 1), (16_000, 2, 2), (22_050, 3, 1), (44_100, 2, 1), (48_000, 4, 6), (96_000, 3, 2)],
)
def test_any_rate_width_and_channel_count(uri, rate, width, channels):
    async def client():
        async with connected(uri) as one:
            detections = await one.hear(SOUND, rate, width, channels)
            assert [(each.name, each.timestamp) for each in detections] == expected(SOUND, rate, width)
            assert len(detections) == len(TIMES)

    asyncio.run(client())


def test_a_stream_may_begin_without_a_beginning_and_change_its_format(uri):
    async def client():
        async with connected(uri) as one:
            half = round(2.5 * SAMPLE_RATE)
            await one.send(*chunks(pcm(SOUND[:half])))
            await one.send(*chunks(pcm(SOUND[half:], 48_000, 3, 2), 48_000, 3, 2))
            assert [round(each.timestamp / 1000, 1) for each in await one.stop()] == [at + 0.1 for at in TIMES]

    asyncio.run(client())


def test_names_choose_among_the_words(uri):
    both = SOUND + recording(6.5, [3.8], BOOP)

    async def client():
        async with connected(uri) as one:
            assert {each.name for each in await one.hear(both)} == {"beep", "boop"}
            assert {each.name for each in await one.hear(both, names=["boop"])} == {"boop"}
            assert {each.name for each in await one.hear(both, names=["boop", "beep"])} == {"beep", "boop"}
            assert {each.name for each in await one.hear(both, names=[])} == {"beep", "boop"}
            assert not await one.hear(both, names=["Beep"])

    asyncio.run(client())


def test_other_names_in_mid_stream_keep_its_time(uri):
    both = SOUND + recording(6.5, [3.8], BOOP)
    half = round(2.5 * SAMPLE_RATE)

    async def client():
        async with connected(uri) as one:
            await one.begin(["beep"], SAMPLE_RATE)
            await one.send(*chunks(pcm(both[:half], SAMPLE_RATE), SAMPLE_RATE))
            await one.send(Detect(names=["boop"]).event())
            await one.send(*chunks(pcm(both[half:], SAMPLE_RATE), SAMPLE_RATE))
            heard = [(each.name, round(each.timestamp / 1000, 1)) for each in await one.stop()]
            assert heard == [("beep", 1.1), ("beep", 2.1), ("boop", 3.9)]

    asyncio.run(client())


def test_unknown_events_are_ignored_with_all_that_belongs_to_them(uri):
    stranger = Event("transcript", {"text": "x" * 3_000}, payload=b"{}\n" * 50_000)

    async def client():
        async with connected(uri) as one:
            await one.begin()
            for event in chunks(pcm(SOUND)):
                await one.send(event, stranger)
            assert len(await one.stop()) == len(TIMES)

    asyncio.run(client())


def test_each_word_has_its_own_threshold(start, tmp_path, two_words):
    both = recording(3, [1.0]) + recording(3, [2.0], BOOP)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"words: [{{model: {two_words[1]}, threshold: 0.9999}}, {{model: {two_words[3]}, threshold: 0.3}}]"
    )

    async def client():
        async with connected(serve(start, "--config", config)) as one:
            assert [each.name for each in await one.hear(both)] == ["boop"]

    asyncio.run(client())


def test_many_satellites_at_once_each_hear_their_own(uri):
    """Their chunks come in turns; what one hears leaves no trace in another."""
    sounds = [recording(4, [0.5 + i / 5], BOOP if i % 2 else 3_000.0, seed=i) for i in range(12)]

    async def client(uri: str, number: int) -> tuple[str, float]:
        async with connected(uri) as one:
            await one.begin()
            for event in chunks(pcm(sounds[number])):
                await one.send(event)
                await asyncio.sleep(0.001)
            (heard,) = await one.stop()
            return str(heard.name), heard.timestamp / 1000

    async def all_clients() -> None:
        heard = await asyncio.gather(*(client(uri, i) for i in range(len(sounds))))
        assert [name for name, _ in heard] == ["beep", "boop"] * 6
        assert [at for _, at in heard] == pytest.approx([0.6 + i / 5 for i in range(12)], abs=0.06)

    asyncio.run(all_clients())


def test_a_new_stream_costs_nothing(start, model_file):
    """No silence is computed at each beginning: five hundred together cost less than the start of one elsewhere."""
    server = start("wyoming", "--uri", "tcp://127.0.0.1:0", "--model", model_file)

    async def client():
        async with connected(uri_of(server)) as one:
            await one.hear(SOUND)
            before = cpu(server.process.pid)
            for _ in range(500):
                await one.begin(["beep"])
            await one.info()
            assert cpu(server.process.pid) - before < 2.0

    asyncio.run(client())


def test_the_recordings_that_come_with_chimed_are_heard_at_16_khz(start):
    told = json.loads((DATA / "activate-demo.json").read_text())["word_ends_at_seconds"]
    samples = soundfile.read(DATA / "activate-demo.flac", dtype="int16", always_2d=True)[0][:, 0]

    async def client():
        async with connected(serve(start)) as one:
            heard = [each.timestamp / 1000 for each in await one.hear(samples, names=["activate"])]
            assert len(heard) == len(told)
            assert all(-0.3 < at - end < 0.7 for at, end in zip(heard, told, strict=True))

    asyncio.run(client())


def test_a_real_voice_is_heard_at_16_khz(start):
    """And where the detector alone hears it."""
    samples = soundfile.read(seed() / "dev-2.wav", dtype="int16", always_2d=True)[0][:, 0]
    stream = PcmStream(PcmFormat(16_000, 2, 1))
    model = modelfile.load(modelfile.shipped()["activate"])
    places = [each.seconds for each in Detector([model]).push(stream.push(pcm(samples)))]

    async def client():
        async with connected(serve(start)) as one:
            heard = [each.timestamp / 1000 for each in await one.hear(samples)]
            assert heard == pytest.approx(places, abs=0.001)
            assert heard[0] == pytest.approx(2.45, abs=0.2)

    asyncio.run(client())


# its limits


def test_one_stream_too_many_is_told_so(start, model_file):
    async def client():
        uri = serve(start, "--model", model_file, "--max-streams", "2")
        async with connected(uri) as one, connected(uri) as two:
            await one.begin()
            await two.begin()
            await one.info()
            await two.info()
            async with connected(uri) as three:
                assert (await three.info()).wake  # to ask is always allowed
                await three.begin()
                assert "2 streams are served already" in (await three.until("error")).data["text"]
                assert await three.receive() is None
            await two.stop()
            async with connected(uri) as three:
                assert len(await three.hear(SOUND)) == len(TIMES)
            assert len(await one.hear(SOUND)) == len(TIMES)

    asyncio.run(client())


def test_a_client_that_falls_silent_is_dropped_and_its_stream_is_free_again(start, model_file):
    server = start(
        "wyoming", "--uri", "tcp://127.0.0.1:0", "--model", model_file, "--max-streams", "1", "--idle-timeout", "4"
    )

    async def client():
        uri = uri_of(server)
        async with connected(uri) as one:
            await one.begin()
            assert await one.receive() is None
        async with connected(uri) as two:
            assert len(await two.hear(SOUND)) == len(TIMES)

    asyncio.run(client())
    assert server.lines("no whole event came within 4 s")


# where it is reached


def test_a_unix_socket_left_over_is_taken_over_and_one_in_use_is_not(start, call, model_file, tmp_path):
    path = tmp_path / "wyoming.sock"
    uri = f"unix://{path}"
    server = start("wyoming", "--uri", uri, "--model", model_file)
    server.wait_for("serving at")
    server.process.kill()
    server.process.wait()
    assert path.exists()

    server = start("wyoming", "--uri", uri, "--model", model_file)
    server.wait_for("serving at")

    async def client():
        async with connected(uri) as one:
            assert len(await one.hear(SOUND)) == len(TIMES)

    asyncio.run(client())
    done = call("wyoming", "--uri", uri, "--model", model_file)
    assert (done.returncode, done.stderr.splitlines()) == (
        1,
        [f"chimed: cannot serve at {uri}: another service listens there already"],
    )
    assert server.stop() == 0
    assert not path.exists()
    path.write_text("mine")
    assert "something else" in call("wyoming", "--uri", uri, "--model", model_file).stderr
    assert path.read_text() == "mine"


def test_standard_input_and_output(environment, model_file):
    process = subprocess.Popen(
        [sys.executable, "-m", "daemon.cli", "wyoming", "--uri", "stdio://", "--model", str(model_file)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdin
    assert process.stdout
    for event in (Describe().event(), AudioStart(16_000, 2, 1).event(), *chunks(pcm(SOUND)), AudioStop().event()):
        write_event(event, process.stdin)
    kinds = []
    for _ in range(1 + len(TIMES)):
        event = read_event(process.stdout)
        assert event
        kinds.append(event.type)
    assert kinds == ["info"] + ["detection"] * len(TIMES)
    process.stdin.close()
    assert process.wait(PATIENCE) == 0
    assert process.stdout.read() == b""
    process.stdout.close()
    assert process.stderr
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


@pytest.mark.parametrize("file", ["nothing", "closed", "regular"])
def test_standard_input_that_is_no_stream_is_said_in_one_sentence(environment, model_file, file):
    """As a service has it, for example."""
    options = {"nothing": "</dev/null", "closed": "<&-", "regular": f"<{model_file}"}[file]
    script = f'exec "$0" -m daemon.cli wyoming --uri stdio:// --model {model_file} {options}'
    done = subprocess.run(
        ["sh", "-c", script, sys.executable], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "chimed: cannot serve at stdio://: standard input and output must be pipes or sockets\n"


def test_a_port_in_use_is_said_in_one_sentence(call, model_file):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        uri = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        done = call("wyoming", "--uri", uri, "--model", model_file)
    assert (done.returncode, done.stderr) == (1, f"chimed: cannot serve at {uri}: Address already in use\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_though_clients_are_connected(start, model_file, number):
    server = start("wyoming", "--uri", "tcp://127.0.0.1:0", "--model", model_file)
    host, port = uri_of(server).removeprefix("tcp://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(b'{"type": "describe"}\n')
        assert client.recv(10)
        assert server.stop(number) == 0
        assert server.lines("stopped")
        client.settimeout(PATIENCE)
        while client.recv(65_536):
            pass


def test_systemd_is_told_when_clients_can_come(start, model_file, tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(PATIENCE)
        server = start("wyoming", "--uri", "tcp://127.0.0.1:0", "--model", model_file, NOTIFY_SOCKET=address)
        told = [manager.recv(1_000).decode() for _ in range(3)]  # a sign of life, the start, another sign
        assert f"READY=1\nSTATUS=serving at {uri_of(server)}" in told
        assert "WATCHDOG=1" in told
        assert server.stop() == 0
        while "STOPPING=1" not in manager.recv(1_000).decode():
            pass


# beside the microphone


def test_it_serves_beside_the_daemon(start, model_file, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"words: [{{model: {model_file}}}]\nwyoming: {{uri: 'tcp://127.0.0.1:0', max_streams: 3}}")
    chimed = start("run", "--input", "-", "--fast", "--config", config, stdin=subprocess.PIPE)

    async def client() -> None:
        async with connected(uri_of(chimed)) as one:
            assert len(await one.hear(SOUND)) == len(TIMES)

    asyncio.run(client())
    assert len(chimed.lines("127.0.0.1:")) >= len(TIMES)
    chimed.process.stdin.buffer.write(SOUND.tobytes())
    chimed.process.stdin.buffer.flush()
    chimed.wait_for("standard input for")
    asyncio.run(client())
    chimed.process.stdin.buffer.close()
    assert chimed.end() == 0
    assert len([line for line in chimed.lines('heard "beep"') if "127.0.0.1" not in line]) == len(TIMES)


def test_a_daemon_that_cannot_serve_says_so(start, model_file, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = tmp_path / "config.yaml"
        config.write_text(
            f"words: [{{model: {model_file}}}]\nwyoming: {{uri: 'tcp://127.0.0.1:{taken.getsockname()[1]}'}}"
        )
        chimed = start("run", "--input", "-", "--fast", "--config", config, stdin=subprocess.PIPE)
        assert chimed.end() == 1
    assert chimed.lines("cannot serve at tcp://127.0.0.1")
    assert not chimed.lines("Traceback")


# several listeners, one word


@pytest.mark.parametrize(("by", "winner"), [("loudest", 1), ("surest", 0)])
def test_of_several_that_hear_the_word_one_is_answered(start, tmp_path, by, winner):
    """The loudest, or the surest though it is softer."""
    modelfile.save(tmp_path / "beep.npz", tone_model(threshold=0.3))
    # the louder one hears the tone in noise, which makes the model less sure
    soft = recording(3, [1.0]) // 4
    loud = recording(3, [1.0]) + np.random.default_rng(1).normal(0, 1_800, 3 * SAMPLE_RATE).astype(np.int16)
    options = ["--model", tmp_path / "beep.npz", "--arbitrate-ms", "3000", "--arbitrate-by", by]

    async def listen(one, samples: Samples) -> list[str]:
        await one.send(*chunks(pcm(samples)))
        await one.stop()
        return [event.type for event in one.read if event.type != "info"]

    async def clients() -> None:
        uri = serve(start, *options)
        async with connected(uri) as one, connected(uri) as two:
            for each in (one, two):
                await each.begin()
                await each.info()
            heard = await asyncio.gather(listen(one, soft), listen(two, loud))
            assert heard[winner] == ["detection"]
            assert heard[1 - winner] == ["not-detected"]
            one.read.clear()
            two.read.clear()
            await one.begin()  # alone now, it need not wait for anyone
            assert await listen(one, soft) == ["detection"]

    asyncio.run(clients())


def test_without_arbitration_all_are_answered(start, model_file):
    async def clients() -> None:
        uri = serve(start, "--model", model_file)
        async with connected(uri) as one, connected(uri) as two:
            heard = await asyncio.gather(one.hear(SOUND), two.hear(SOUND))
            assert [len(each) for each in heard] == [len(TIMES)] * 2

    asyncio.run(clients())


def test_one_that_leaves_does_not_win(start, model_file):
    async def clients() -> None:
        server = start("wyoming", "--uri", "tcp://127.0.0.1:0", "--model", model_file, "--arbitrate-ms", "2000")
        async with connected(uri_of(server)) as one:
            async with connected(uri_of(server)) as two:
                await one.begin()
                await one.info()
                await two.begin()
                await two.send(*list(chunks(pcm(SOUND)))[:25])
                await asyncio.to_thread(server.wait_for, 'heard "beep"')
            await one.send(*chunks(pcm(SOUND[: 2 * SAMPLE_RATE] // 4)))
            assert [each.name for each in await one.stop()] == ["beep"]

    asyncio.run(clients())
