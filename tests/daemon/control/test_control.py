"""The control socket of a real `chimed run`: what it tells, what it does, and that nothing said to it does harm."""

from __future__ import annotations

import contextlib
import json
import math
import os
import pty
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.audio.mute import Mute
from daemon.cli import watch
from daemon.cli.status_mute_trigger import duration
from daemon.control import client
from daemon.control.client import ControlError, ask, conversation
from daemon.control.commands import SILENT, highest, level
from daemon.control.server import CLIENTS, REQUEST_BYTES_LIMIT, ControlServer, socket_path
from daemon.listening.listening_plan import ListeningPlan
from daemon.system.errors import ChimedError
from model import modelfile
from model.detector import Detector
from model.frontend import FRAME, SAMPLE_RATE
from tests.support.chimed import Chimed, call_chimed, recording, tone_model, user_environment

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ten minutes of soft noise and a configuration whose hook writes a file."""
    folder = tmp_path_factory.mktemp("control")
    soundfile.write(folder / "noise.wav", np.resize(recording(5, []), 600 * SAMPLE_RATE), SAMPLE_RATE)
    modelfile.save(folder / "beep.npz", tone_model())
    (folder / "config.yaml").write_text(
        f"words: [{{model: beep.npz}}]\nhooks: ['echo $CHIMED_WORD >> {folder}/triggered']"
    )
    return folder


@pytest.fixture(scope="module")
def variables(folder: Path) -> dict[str, str]:
    """The environment of `running` and of the commands that speak to it."""
    return user_environment(folder)


@pytest.fixture(scope="module")
def running(folder: Path, variables: dict[str, str]) -> Iterator[tuple[Chimed, Path]]:
    """A `chimed run` that all tests of this file speak to, and its socket."""
    command = ["run", "--input", folder / "noise.wav", "--no-chime", "--config", folder / "config.yaml"]
    chimed = Chimed(command, variables, subprocess.DEVNULL)
    chimed.wait_for("listening to")
    yield chimed, Path(variables["XDG_RUNTIME_DIR"]) / "chimed" / "control.sock"
    assert chimed.stop() == 0


@pytest.fixture
def say(running, variables) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command that speaks to it."""
    assert running

    def say(*arguments: str) -> subprocess.CompletedProcess[str]:
        return call_chimed(arguments, variables)

    return say


@contextmanager
def connected(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(str(path))
        yield connection


def exchange(path: Path, data: bytes) -> list[dict]:
    """What comes back for these bytes, after which nothing more is said."""
    with connected(path) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        except BrokenPipeError:
            pass  # it has heard enough
        with connection.makefile("rb") as lines:
            try:
                return [json.loads(line) for line in lines]
            except ConnectionResetError:
                return []


def test_only_its_user_can_open_it(running):
    _, path = running
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_status_for_programs_and_for_people(running, say):
    _, path = running
    before = ask(path, "status")["detections"]
    ask(path, "trigger", word="beep")
    status = json.loads(say("status", "--json").stdout)
    assert status["state"].startswith("listening to ")
    assert (status["listening"], status["muted"], status["detections"], status["gaps"]) == (True, False, before + 1, 0)
    assert (status["dropped_blocks"], status["dropped_seconds"]) == (0, 0)
    assert status["words"] == [{"word": "beep", "threshold": 0.5, "smoothing": 10, "suppression": 75}]
    assert (status["last"][-1]["word"], status["last"][-1]["score"]) == ("beep", 1.0)
    assert status["level"] == pytest.approx(20 * math.log10(60 / 32_768), abs=1)
    assert status["heard"] > 0
    assert status["uptime"] > 0
    shown = say("status").stdout
    assert "listening to " in shown
    assert "beep, threshold 0.5" in shown
    assert "-55 dBFS" in shown
    assert "  beep  1.00" in shown
    assert "dropped     no block\n" in shown


def test_trigger_does_what_follows_the_word(running, say, folder):
    chimed, _ = running
    (folder / "triggered").unlink(missing_ok=True)
    assert say("trigger", "beep").stdout == "triggered beep\n"
    chimed.wait_for('"beep" by hand')
    deadline = time.monotonic() + 30
    while not (folder / "triggered").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (folder / "triggered").read_text() == "beep\n"
    done = say("trigger", "boop")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "chimed: not a word that is listened for; there are: beep\n"


def test_watch_gives_levels_posteriors_and_detections(running):
    _, path = running
    with conversation(path, "watch") as events:
        assert next(events) == {"watching": ["beep"]}
        first = next(events)
        ask(path, "trigger", word="beep")
        detection = next(event for event in events if event["event"] == "detection")
    assert first["event"] == "block"
    assert first["state"].startswith("listening to")
    assert first["level"] == pytest.approx(-55, abs=1)
    assert first["words"][0]["threshold"] == 0.5
    assert 0 <= first["words"][0]["posterior"] < 0.5
    assert (detection["word"], detection["score"]) == ("beep", 1.0)


def test_watch_as_a_command_for_programs(running, variables):
    _, path = running
    command = [sys.executable, "-m", "daemon.cli", "watch", "--json"]
    with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stdout.readline())["event"] == "block"
        process.terminate()
    assert ask(path, "status")["listening"]


def test_watch_draws_bars_in_a_terminal(running, variables):
    _, path = running
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "daemon.cli", "watch"]
    with subprocess.Popen(command, env=variables | {"COLUMNS": "60"}, stdout=slave, stderr=slave) as process:
        os.close(slave)
        shown = b""
        while shown.count("│".encode()) < 2:
            shown += os.read(master, 4_096)
        ask(path, "trigger", word="beep")
        while b"  beep  1.00" not in shown:
            shown += os.read(master, 4_096)
        process.terminate()
    os.close(master)
    text = shown.decode(errors="replace").replace("\r", "")
    assert "level   -5" in text
    assert "beep    0." in text
    assert "\x1b[2A\x1b[J" in text  # two lines, drawn anew


def test_a_recording_cannot_be_muted(say):
    done = say("mute", "5")
    assert (done.returncode, done.stderr) == (1, "chimed: a recording cannot be muted\n")


def test_without_a_daemon_it_says_so(call, tmp_path):
    for command in (["status"], ["watch"], ["mute"], ["unmute"], ["trigger", "x"]):
        done = call(*command)
        assert (done.returncode, done.stdout) == (1, "")
        assert "no chimed is running" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert f"{tmp_path}/own.sock" in call("status", "--socket", tmp_path / "own.sock").stderr


def test_the_commands_that_only_ask_load_no_numpy(say, variables):
    assert say("status").returncode == 0
    program = "import sys; from daemon.cli.main import main; main(['status']); print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], env=variables, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.endswith("False\n")


def test_the_socket_may_lie_elsewhere_or_not_be_there(start, call, model_file, tmp_path):
    soundfile.write(tmp_path / "noise.flac", recording(60, []), SAMPLE_RATE)
    config = tmp_path / "config.yaml"
    config.write_text(f"words: [{{model: {model_file}}}]\ncontrol: {{socket: own.sock}}")
    chimed = start("run", "--input", tmp_path / "noise.flac", "--config", config)
    chimed.wait_for("listening")
    assert "listening" in call("status", "--socket", tmp_path / "own.sock").stdout
    assert chimed.stop() == 0
    assert not (tmp_path / "own.sock").exists()
    config.write_text(f"words: [{{model: {model_file}}}]\ncontrol: {{enabled: false}}")
    chimed = start("run", "--input", tmp_path / "noise.flac", "--config", config)
    chimed.wait_for("listening")
    assert call("status").returncode == 1


def test_a_second_daemon_leaves_the_socket_to_the_first(running, start, folder, variables):
    first, path = running
    second = start("run", "--input", folder / "noise.wav", "--config", folder / "config.yaml", **variables)
    second.wait_for("no control socket: ")
    assert second.lines("another chimed listens there")
    second.wait_for("listening to")
    assert second.stop() == 0
    assert ask(path, "status")["pid"] == first.process.pid


def test_the_socket_of_a_daemon_that_crashed_is_replaced(start, model_file, tmp_path, environment):
    soundfile.write(tmp_path / "noise.flac", recording(60, []), SAMPLE_RATE)
    path = Path(environment["XDG_RUNTIME_DIR"]) / "chimed" / "control.sock"
    first = start("run", "--input", tmp_path / "noise.flac", "--model", model_file)
    first.wait_for("listening")
    first.process.kill()
    first.end()
    assert path.exists()
    second = start("run", "--input", tmp_path / "noise.flac", "--model", model_file)
    second.wait_for("listening")
    assert ask(path, "status")["pid"] == second.process.pid
    assert second.stop() == 0
    assert not path.exists()


# what does no harm

anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)
# never a word that is listened for, nor `watch`, which would go on for ever
requests = st.fixed_dictionaries(
    {},
    optional={
        "command": st.one_of(
            st.sampled_from(["status", "mute", "unmute", "trigger", "reload", "window", "samples"]), anything
        ),
        **dict.fromkeys(
            ["minutes", "word", "from", "to", "origin", "columns", "steps", "plan", "detections"], anything
        ),
    },
).filter(lambda request: request.get("command") != "watch")
hostile = st.one_of(
    st.binary(max_size=200),
    requests.map(lambda request: json.dumps(request).encode()),
    st.sampled_from([b"[" * 4_000, b"{" * 4_000, b'{"a":' * 700, b"9" * 4_090, b"\xff\xfe", b"null", b"\0" * 10_000]),
)


@given(st.lists(hostile, min_size=1, max_size=4))
@settings(suppress_health_check=list(HealthCheck), max_examples=40)
def test_no_request_does_harm(running, lines):
    """Each line gets one answer, an error unless it was a request; and the daemon still answers others."""
    chimed, path = running
    data = b"\n".join(lines) + b"\n"
    answers = exchange(path, data)
    assert all(isinstance(answer, dict) for answer in answers)
    assert len(answers) <= data.count(b"\n")
    assert chimed.process.poll() is None
    assert ask(path, "status")["listening"]


def test_a_line_without_end_is_refused_and_the_connection_closed(running):
    _, path = running
    (answer,) = exchange(path, b'{"command": "status"' + b" " * REQUEST_BYTES_LIMIT)
    assert "one JSON object in a line" in answer["error"]


def test_requests_in_one_piece_are_answered_in_order(running):
    _, path = running
    answers = exchange(path, b'{"command": "unmute"}\n{"command": "xyzzy"}\n{"command": "status"}\n')
    assert [next(iter(answer)) for answer in answers] == ["muted_before", "error", "version"]


def test_too_many_clients_are_refused_and_there_is_room_again_when_some_leave(running):
    _, path = running
    crowd = [socket.socket(socket.AF_UNIX) for _ in range(CLIENTS)]
    for each in crowd:
        each.connect(str(path))
        each.sendall(b'{"command": "status"}\n')
        assert each.recv(10)
    with pytest.raises(ControlError, match=f"there are {CLIENTS} clients already"):
        ask(path, "status")
    for each in crowd:
        each.close()
    deadline = time.monotonic() + 30
    while True:
        try:
            assert ask(path, "status")["listening"]
            break
        except ControlError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_who_does_not_read_is_cut_off_and_holds_nothing_up(tmp_path):
    server = ControlServer(tmp_path / "s")
    server.start(lambda _request: {"fine": 1})
    with connected(tmp_path / "s") as slow, connected(tmp_path / "s") as quick:
        for each in (slow, quick):
            each.sendall(b'{"command": "watch"}\n')
            assert each.recv(100) == b'{"fine": 1}\n'
        events = quick.makefile("rb")
        while len(server._watchers) < 2:
            time.sleep(0.01)
        for number in range(200):
            server.publish({"number": number, "filling": "x" * 20_000})  # never waits
            assert json.loads(events.readline())["number"] == number
        assert len(server._watchers) == 1
        assert server.watched
    server.close()


def test_a_server_that_closes_lets_all_clients_go(tmp_path):
    before = threading.active_count()
    server = ControlServer(tmp_path / "s")
    server.start(lambda _request: {"fine": 1})
    with connected(tmp_path / "s") as watching, connected(tmp_path / "s") as idle:
        watching.sendall(b'{"command": "watch"}\n')
        assert watching.recv(100)
        server.close()
        assert watching.recv(100) == b""
        with contextlib.suppress(ConnectionResetError):  # it was not even welcomed yet
            assert idle.recv(100) == b""
    assert not (tmp_path / "s").exists()
    deadline = time.monotonic() + 30
    while threading.active_count() > before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_socket_that_cannot_be_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "s", tmp_path / "file", tmp_path / ("x" * 200)):
        with pytest.raises(ChimedError) as error:
            ControlServer(path)
        assert str(error.value).startswith(f"{path}: ")
    assert (tmp_path / "file").read_text() == ""


def test_where_the_socket_lies(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1000")
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    assert socket_path() == Path("/run/user/1000/chimed/control.sock")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/elsewhere:/run/more")
    assert socket_path() == Path("/run/elsewhere/control.sock")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert socket_path() == Path("/run/chimed/control.sock")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert socket_path() is None


def test_whose_socket_is_asked(monkeypatch, tmp_path):
    own, system = tmp_path / "own" / "chimed" / "control.sock", tmp_path / "system" / "control.sock"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "own"))
    monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
    monkeypatch.setattr(client, "SYSTEM_SOCKET", system)
    assert client.usual_path() == own
    system.parent.mkdir()
    system.touch()
    assert client.usual_path() == system
    own.parent.mkdir(parents=True)
    own.touch()
    assert client.usual_path() == own


# the parts


def test_the_level_is_that_of_the_last_block():
    detector = Detector([tone_model()])
    assert level(detector) == SILENT
    detector.push(np.full(FRAME, 32_767, np.int16))
    assert level(detector) == 0.0
    detector.push(np.zeros(FRAME, np.int16))
    assert level(detector) == SILENT


def test_the_highest_posterior_is_what_the_gate_compared():
    """It exceeds the threshold in just those blocks in which the gate was above it."""
    model = tone_model()
    detector, plan = Detector([model]), ListeningPlan((model,), {})
    sound = recording(3, [1.0, 2.0])
    assert highest(plan, detector) == [0.0]
    fired, above = [], []
    for start in range(0, len(sound) - FRAME, FRAME):
        fired.append(bool(detector.push(sound[start : start + FRAME])))
        above.append(highest(plan, detector)[0] > model.threshold)
    assert sum(fired) == 2
    onsets = [now and not before for before, now in zip([False, *above], above, strict=False)]
    assert onsets == fired


@pytest.mark.parametrize(
    ("value", "mark", "expected"),
    [
        (0.0, None, "    "),
        (1.0, None, "████"),
        (0.5, None, "██  "),
        (0.53, None, "██▏ "),
        (2.0, 0.5, "██│█"),
        (-1.0, 1.0, "   │"),
        (0.25, 0.0, "│   "),
    ],
)
def test_bars(value, mark, expected):
    assert watch.bar(value, mark, 4) == expected


@given(
    st.floats(-100, 0),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(1, 300),
    st.text("aé 世\x1b\n\t\u202e", min_size=1, max_size=60),
)
def test_lines_fit_the_terminal(db, posterior, threshold, width, word):
    event = {"level": db, "words": [{"word": word, "posterior": posterior, "threshold": threshold}], "state": ""}
    lines = watch.bars(event, width)
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)
    if width >= 40:
        assert all(len(line) < width for line in lines)


def test_durations():
    assert [duration(seconds) for seconds in (0, 59.6, 61, 3_600, 90_061)] == [
        "0 s",
        "1 min",
        "1 min 1 s",
        "1 h",
        "1 d 1 h",
    ]


def test_a_mute_outlives_a_crash_and_ends_with_its_time(tmp_path):
    file = tmp_path / "muted"
    mute = Mute(file)
    assert (mute.on, mute.seconds) == (False, None)
    mute.begin(0.2)
    assert Mute(file).on
    assert mute.text.startswith("muted until ")
    while mute.on:
        time.sleep(0.02)
    assert not Mute(file).on
    mute.begin()
    assert Mute(file).seconds == math.inf
    assert Mute(file).text == "muted until `chimed unmute`"
    file.write_text("damaged")
    assert Mute(file).on  # rather deaf than open by accident
    mute.end()
    assert not Mute(file).on
    assert not file.exists()
