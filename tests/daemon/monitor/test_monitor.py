"""The monitor: what the daemon tells it, whom it lets in, and the page in a real browser while a recording plays."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.config import settings as config
from daemon.control import window_encoding
from daemon.control.client import ControlError, ask
from daemon.control.monitor_state import config_file_to_write
from daemon.control.window_encoding import FULL_POSTERIOR, SHOWN_BINS, SeenSoFar
from model import modelfile
from model.detector import Detector
from model.frontend import CLIP, SAMPLE_RATE, STEP, STRIDE
from tests.support.browser import PROGRAM, Browser, browser
from tests.support.chimed import Chimed, recording, tone_model, user_environment
from tests.support.examples import bursts, random_model
from tests.support.paths import ROOT
from tests.support.soundserver import SoundServer, private

pytest.importorskip("websockets", reason="the extra [monitor] is not installed")
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

pytestmark = pytest.mark.integration

POINTS = [[0.2, 0.01, 9.0], [0.4, 0.02, 4.0], [0.6, 0.05, 1.0], [0.8, 0.3, 0.0]]
CONFIG = """\
# what I listen for
words:
  - model: beep.npz      # a tone
    threshold: 0.5       # found by trying
  - model: boop.npz      # another tone
"""


# what the daemon tells


def bytes_of(news: dict, name: str) -> bytes:
    return base64.b64decode(news[name][1])


@settings(max_examples=12)
@given(st.lists(st.integers(0, 30_000), min_size=1, max_size=8))
def test_pieces_of_the_window_are_the_window(cuts):
    """However often someone asks, what they got is what one who asks once gets."""
    detector = Detector([random_model(), random_model("tak", seed=1)])
    samples = bursts(1)
    seen, columns, steps = SeenSoFar(0, 0, 0), b"", [b"", b""]
    for piece in np.split(samples, sorted(cuts)):
        detector.push(piece)
        news = window_encoding.new_in_window(detector, 0, seen)
        assert (news["columns"][0], news["steps"][0]) == (seen.columns, seen.steps)
        columns += bytes_of(news, "columns")
        half = len(bytes_of(news, "steps")) // 2
        steps = [steps[0] + bytes_of(news, "steps")[:half], steps[1] + bytes_of(news, "steps")[half:]]
        seen = SeenSoFar(0, len(columns) // SHOWN_BINS, len(steps[0]) // 2)
    whole = window_encoding.new_in_window(detector, 0, None)
    assert columns == bytes_of(whole, "columns")
    assert steps[0] + steps[1] == bytes_of(whole, "steps")
    posteriors = np.frombuffer(steps[1], "<u2") / FULL_POSTERIOR
    np.testing.assert_allclose(posteriors, detector.posteriors.last()[:, 1], atol=1e-5)


def test_who_comes_late_gets_what_the_window_still_has():
    detector = Detector([random_model()])
    detector.push(bursts(13))
    news = window_encoding.new_in_window(detector, 0, SeenSoFar(0, 5, 5))
    first, columns = news["columns"][0], len(bytes_of(news, "columns")) // SHOWN_BINS
    assert first + columns == detector.columns.total // STRIDE
    assert columns == pytest.approx(CLIP / STEP, abs=5)
    assert news["steps"][0] + len(bytes_of(news, "steps")) // 2 == detector.posteriors.total
    # a stream that began elsewhere is another one
    seen = SeenSoFar(0, detector.columns.total // STRIDE, detector.posteriors.total)
    other = window_encoding.new_in_window(detector, 44_100, seen)
    assert other["columns"][0] == first
    # and who has seen more than there is, after a restart, gets nothing wrong
    assert bytes_of(window_encoding.new_in_window(detector, 0, SeenSoFar(0, 10**9, 10**9)), "columns") == b""


def test_a_byte_is_the_level_of_a_tone():
    """A sine of -20 dBFS has its power in the bins around its own."""
    detector = Detector([random_model()])
    time_ = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    detector.push((3276.8 * np.sqrt(2) * np.sin(2 * np.pi * 2205 * time_)).astype(np.int16))
    news = window_encoding.new_in_window(detector, 0, None)
    levels = np.frombuffer(bytes_of(news, "columns"), np.uint8).reshape(-1, SHOWN_BINS)
    decibels = levels[50].astype(float) * window_encoding.BYTE_RANGE_DB / 255 - window_encoding.BYTE_RANGE_DB
    assert int(levels[50].argmax()) == 10
    assert 10 * np.log10(np.sum(10 ** (decibels / 10))) == pytest.approx(-20, abs=1)
    assert decibels[30] < -80


def test_a_clip_is_the_samples_themselves():
    detector = Detector([random_model()])
    samples = bursts(12)
    detector.push(samples)
    origin = 1_000
    answer = window_encoding.samples_between(detector, origin, origin + 300_000, origin + 400_000)
    assert answer["from"] == origin + 300_000
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(answer["pcm"]), "<i2"), samples[300_000:400_000])
    late = window_encoding.samples_between(detector, origin, 0, 10**12)
    assert len(base64.b64decode(late["pcm"])) == 2 * CLIP
    assert window_encoding.samples_between(detector, origin, 0, 1_000)["pcm"] == ""


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (POINTS, POINTS),
        (POINTS[::-1], POINTS),
        ([[0.5, None, 1]], [[0.5, None, 1]]),
        (None, []),
        ("points", []),
        ([[0.5, 1]], []),
        ([["<b>", 0, 0]], []),
        ([[0.5, float("nan"), 0]], []),
        ([[0.5, 0, 0]] * 5_000, []),
    ],
)
def test_a_model_file_can_say_anything_under_the_name_of_a_curve(found, told):
    model = replace(random_model(), measured={"points": found, "recall": 3, "false_accepts": {"x": "y"}})
    described = window_encoding.described_word(model)
    assert described["points"] == told
    assert (described["hours"], described["tried"]) == ({"x": 0.0}, 0)


def test_at_its_own_threshold_the_curve_says_what_the_models_card_says():
    """The curve in the file is thinned, and straight between its points; the card's figures lie between two of them."""
    measured = {
        "points": POINTS,
        "threshold": 0.7,
        "recall": {"quiet": {"heard": 9, "of": 10}, "noise": {"heard": 8, "of": 10}},
        "false_accepts": {"speech": {"count": 1, "hours": 2.0}, "noise": {"count": 0, "hours": 0.1}},
    }
    described = window_encoding.described_word(replace(random_model(), measured=measured))
    assert described["points"] == [*POINTS[:3], [0.7, pytest.approx(0.15), 0.5], POINTS[3]]
    at_a_point = window_encoding.described_word(replace(random_model(), measured=measured | {"threshold": 0.6}))
    assert at_a_point["points"] == [*POINTS[:2], [0.6, pytest.approx(0.15), 0.5], POINTS[3]]
    for gone in ({"threshold": None}, {"recall": {}}, {"recall": {"x": {"heard": 9, "of": 3}}}, {"false_accepts": {}}):
        assert window_encoding.described_word(replace(random_model(), measured=measured | gone))["points"] == POINTS


@pytest.mark.parametrize("word", modelfile.shipped())
def test_the_monitor_says_of_a_model_that_ships_what_its_card_says(word):
    model = modelfile.load(modelfile.shipped()[word])
    recall, accepts = (model.measured[name].values() for name in ("recall", "false_accepts"))
    missed = 1 - sum(rate["heard"] for rate in recall) / sum(rate["of"] for rate in recall)
    often = max(rate["count"] / rate["hours"] for rate in accepts)
    own = [row for row in window_encoding.described_word(model)["points"] if row[0] == model.threshold]
    assert own == [[model.threshold, pytest.approx(missed, abs=1e-4), pytest.approx(often, abs=1e-3)]]  # as rounded


# a daemon and its monitor


@dataclass
class Running:
    """A daemon that hears a recording, and its monitor."""

    folder: Path
    socket: Path
    chimed: Chimed
    variables: dict[str, str]
    address: str

    @property
    def port(self) -> int:
        port = urlsplit(self.address).port
        assert port
        return port

    @property
    def token(self) -> str:
        return self.address.split("/")[3]

    def status(self) -> dict:
        return ask(self.socket, "status")


@contextlib.contextmanager
def monitor(variables: dict[str, str], *options: str) -> Iterator[str]:
    """The address of a `chimed monitor`."""
    command = [sys.executable, "-m", "daemon.cli", "monitor", *options]
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes with a tone every three seconds, now one, now the other; their two models and a configuration."""
    folder = tmp_path_factory.mktemp("monitor")
    piece = np.concatenate((recording(3, [1.0]), recording(3, [1.0], hz=5_000)))
    soundfile.write(folder / "tones.wav", np.resize(piece, 600 * SAMPLE_RATE), SAMPLE_RATE)
    measured = {
        "points": POINTS,
        "false_accepts": {"speech": {"count": 4, "hours": 2.0}},
        "recall": {"quiet": {"heard": 9, "of": 10}, "noise": {"heard": 9, "of": 10}},
    }
    modelfile.save(folder / "beep.npz", replace(tone_model(), measured=measured))
    modelfile.save(folder / "boop.npz", tone_model("<b>boop</b>", hz=5_000))
    (folder / "config.yaml").write_text(CONFIG)
    return folder


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    variables = user_environment(folder)
    command = ["run", "--input", folder / "tones.wav", "--no-chime", "--config", folder / "config.yaml"]
    chimed = Chimed(command, variables, subprocess.DEVNULL)
    chimed.wait_for("listening to")
    path = Path(variables["XDG_RUNTIME_DIR"]) / "chimed" / "control.sock"
    with monitor(variables) as address:
        yield Running(folder, path, chimed, variables, address)
    assert chimed.stop() == 0


def request(
    running: Running, path: str, method: str = "GET", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def test_the_address_is_this_machine_alone_and_cannot_be_guessed(running):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", running.address)
    with monitor(running.variables) as another:
        assert another.split("/")[3] != running.token
    listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
    here = [line.split()[1] for line in listening.splitlines() if f":{running.port:04X} " in line.split(" 0A ")[0]]
    assert {place.split(":")[0] for place in here} == {"0100007F"}


@pytest.mark.parametrize("name", ["", "monitor.js", "drawing.js", "monitor.css", "icon.svg"])
def test_the_page_allows_nothing_from_outside(running, name):
    status, headers, body = request(running, f"/{running.token}/{name}")
    assert status == 200
    assert int(headers["Content-Length"]) == len(body) > 100
    policy = dict(each.strip().split(" ", 1) for each in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert (headers["Referrer-Policy"], headers["Cache-Control"]) == ("no-referrer", "no-store")
    assert headers.get_all("Content-Type") == [headers["Content-Type"]]
    outside = re.findall(rb"https?://[^\s\"']+", body)
    assert outside in ([], [b"http://www.w3.org/2000/svg"])


@pytest.mark.parametrize(
    "path", ["/", "/{token}", "/x/", "/{token}x/", "/{token}/../config.yaml", "/{token}/none", "//", "/%00/"]
)
def test_without_the_token_there_is_nothing(running, path):
    if path == "/{token}":  # the token without its slash is the page, whose parts would not be found
        path = "/{token}/monitor"
    status, _, body = request(running, path.format(token=running.token))
    assert status == 404
    assert b"<" not in body
    assert running.token.encode() not in body


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "localhost:1", "127.0.0.1:{port}.evil.example"]
)
def test_a_name_that_someone_else_pointed_here_is_refused(running, host):
    """DNS rebinding: the browser believes that it talks to that name."""
    assert request(running, f"/{running.token}/", Host=host.format(port=running.port))[0] == 403


def test_localhost_is_this_machine_too(running):
    assert request(running, f"/{running.token}/", Host=f"localhost:{running.port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_nothing_but_get_is_answered(running, method):
    with contextlib.suppress(http.client.HTTPException):  # or not at all
        assert request(running, f"/{running.token}/", method)[0] in {400, 405}


def socket_address(running: Running, token: str | None = None) -> str:
    return f"ws://127.0.0.1:{running.port}/{token or running.token}/live"


def test_another_page_cannot_speak_to_it(running):
    """Cross-site WebSocket hijacking: a browser says where a page comes from, and other programs know the token."""
    origin = f"http://127.0.0.1:{running.port}"
    with connect(socket_address(running), origin=origin) as live:
        live.send('{"id": 7, "command": "window"}')
        assert json.loads(live.recv(timeout=30))["id"] == 7
    for token, other in [(None, None), (None, "http://evil.example"), (None, origin + "0"), ("x" * 32, origin)]:
        with pytest.raises(InvalidStatus), connect(socket_address(running, token), origin=other):
            pass


def test_it_opens_only_so_many_times(running):
    origin = f"http://127.0.0.1:{running.port}"
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connect(socket_address(running), origin=origin))
        with pytest.raises(InvalidStatus, match="503"):
            stack.enter_context(connect(socket_address(running), origin=origin))


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "3",
        '{"id": 1}',
        '{"id": 1, "command": "trigger", "word": "beep"}',
        '{"id": "x", "command": "window"}',
        '{"id": 1, "command": ["window"]}',
        '{"id": 1, "command": "save"}',
        '{"id": 1, "command": "save", "word": "beep", "threshold": "much"}',
        '{"id": 1, "command": "save", "word": "beep", "threshold": NaN}',
        "[" * 2_000,
    ],
)
def test_what_its_page_does_not_ask_is_refused_in_a_sentence(running, message):
    before = (running.folder / "config.yaml").read_text()
    with connect(socket_address(running), origin=f"http://127.0.0.1:{running.port}") as live:
        live.send(message)
        assert "not what the monitor's page asks" in json.loads(live.recv(timeout=30))["answer"]["error"]
        live.send('{"id": 2, "command": "window"}')
        assert "columns" in json.loads(live.recv(timeout=30))["answer"]
    assert (running.folder / "config.yaml").read_text() == before


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n", b"GET /" + b"x" * 100_000, b"\n" * 500]
)
def test_garbage_harms_nobody(running, garbage):
    with socket.create_connection(("127.0.0.1", running.port), timeout=30) as connection:
        try:
            connection.sendall(garbage)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65_536)
        except OSError:
            pass
    assert request(running, f"/{running.token}/")[0] == 200


def threads(running: Running) -> int:
    return len(list(Path(f"/proc/{running.chimed.process.pid}/task").iterdir()))


def test_a_page_that_is_closed_costs_the_daemon_nothing(running):
    """There is no thread for it any more, and none asks anything."""
    before = threads(running)
    with connect(socket_address(running), origin=f"http://127.0.0.1:{running.port}") as live:
        live.send('{"id": 1, "command": "window"}')
        live.recv(timeout=30)
        assert threads(running) == before + 1
    deadline = time.monotonic() + 20
    while threads(running) > before:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_without_a_daemon_it_says_so(call):
    done = call("monitor")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no chimed is running" in done.stderr


def test_a_taken_port_is_named(running):
    with monitor(running.variables) as address:
        port = str(urlsplit(address).port)
        done = subprocess.run(
            [sys.executable, "-m", "daemon.cli", "monitor", "--port", port],
            env=running.variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert re.fullmatch(rf"chimed: port {port}: .*in use.*\n", done.stderr)


def saved(running: Running, word: str, threshold: float) -> dict:
    with connect(socket_address(running), origin=f"http://127.0.0.1:{running.port}") as live:
        live.send(json.dumps({"id": 1, "command": "save", "word": word, "threshold": threshold}))
        answer = json.loads(live.recv(timeout=60))["answer"]
        assert isinstance(answer, dict)
        return answer


def thresholds(status: dict) -> list[float]:
    return [word["threshold"] for word in status["words"]]


@contextlib.contextmanager
def daemon_of(variables: dict[str, str], folder: Path, *options: object) -> Iterator[tuple[Chimed, Path]]:
    """A daemon that hears the folder's recording, with these options and variables, and its socket."""
    chimed = Chimed(["run", "--input", folder / "tones.wav", "--no-chime", *options], variables, subprocess.DEVNULL)
    try:
        chimed.wait_for("listening to")
        yield chimed, Path(variables["XDG_RUNTIME_DIR"]) / "chimed" / "control.sock"
    finally:
        chimed.stop()


def test_saving_without_a_configuration_makes_one(tmp_path, folder):
    variables = user_environment(tmp_path)
    with daemon_of(variables, folder) as (chimed, path), monitor(variables) as address:
        one = Running(tmp_path, path, chimed, variables, address)
        file = Path(variables["HOME"], ".config/chimed/config.yaml")
        assert saved(one, "activate", 0.91) == {"file": str(file)}
        assert file.read_text() == "words:\n  - word: activate\n    threshold: 0.91\n"
        assert thresholds(one.status()) == [0.91]
        assert "does not listen for" in saved(one, "beep", 0.5)["error"]


def test_it_is_the_daemons_file_that_is_made_wherever_the_monitor_would_look(tmp_path, folder):
    variables = user_environment(tmp_path)
    elsewhere = variables | {"XDG_CONFIG_HOME": str(tmp_path / "elsewhere")}
    with daemon_of(variables, folder) as (chimed, path), monitor(elsewhere) as address:
        one = Running(tmp_path, path, chimed, variables, address)
        assert saved(one, "activate", 0.91) == {"file": variables["HOME"] + "/.config/chimed/config.yaml"}
        assert thresholds(one.status()) == [0.91]
    assert not (tmp_path / "elsewhere").exists()


def test_the_systems_service_reads_the_systems_file(monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    assert config_file_to_write() == config.usual_files()[0]
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/chimed")  # as systemd sets it, since the unit has one
    assert config_file_to_write() == config.SYSTEM_FILE
    units = ROOT / "systemd"
    assert "StateDirectory=" in (units / "chimed-system.service").read_text()
    assert "StateDirectory=" not in (units / "chimed.service").read_text()


def test_who_saw_another_daemon_before_is_told_everything(tmp_path, folder):
    """A page that was hidden while chimed was restarted with other words."""
    variables = user_environment(tmp_path)
    file = tmp_path / "config.yaml"
    known: dict = {}
    for words in (["activate"], ["activate", "computer"]):
        file.write_text(f"words: [{', '.join('{word: ' + word + '}' for word in words)}]")
        with daemon_of(variables, folder, "--config", file) as (_, path):
            answer = ask(path, "window", **known)
            assert [entry["word"] for entry in answer["words"]] == words
            assert "last" in answer
            known = {name: answer[name] for name in ("instance", "origin", "plan", "detections")}
            known |= {"columns": answer["columns"][0], "steps": answer["steps"][0]}
            assert "words" not in ask(path, "window", **known)


@pytest.mark.parametrize("option", ["--threshold", "--model"])
def test_what_the_command_line_says_is_not_written_over(tmp_path, folder, option):
    variables = user_environment(tmp_path)
    options = {"--threshold": ["--threshold", "0.3"], "--model": ["--model", folder / "beep.npz"]}[option]
    word = {"--threshold": "activate", "--model": "beep"}[option]
    with daemon_of(variables, folder, *options) as (chimed, path):
        with monitor(variables) as address:
            one = Running(tmp_path, path, chimed, variables, address)
            assert f"started with {option}" in saved(one, word, 0.9)["error"]
        assert not Path(variables["HOME"], ".config").exists()


def test_a_configuration_that_is_broken_by_now_is_not_touched(running):
    file = running.folder / "config.yaml"
    file.write_text("words: [}\n")
    try:
        assert re.search(r"config\.yaml:1: not valid YAML", saved(running, "beep", 0.9)["error"])
        assert file.read_text() == "words: [}\n"
        with pytest.raises(ControlError, match="refused"):
            ask(running.socket, "reload")
    finally:
        file.write_text(CONFIG)
        ask(running.socket, "reload")
    assert not running.status()["complaint"]


# in a browser

needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


@pytest.fixture
def page(tab: Browser, running: Running) -> Iterator[Browser]:
    """The page, once it draws; afterwards nothing stands in its console, and it asked nobody else for anything."""
    (running.folder / "config.yaml").write_text(CONFIG)
    ask(running.socket, "reload")
    tab.look(1280, 900)
    tab.open(running.address)
    tab.wait("document.querySelectorAll('.lane').length == 2")
    yield tab
    assert tab.complaints == []
    for address in tab.requested:
        assert address.removeprefix("blob:").startswith(f"http://127.0.0.1:{running.port}/"), address


def painted(selector: str) -> str:
    """How many colours a canvas shows."""
    return f"""(canvas => {{
        const {{data}} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
    }})(document.querySelector('{selector}'))"""


@needs_browser
def test_the_page_shows_what_is_heard(page, running):
    page.wait(f"{painted('#spectrogram canvas')} > 100")
    page.wait(f"{painted('.lane canvas')} > 5")
    assert page.run("[...document.querySelectorAll('.word')].map(e => e.textContent)") == ["beep", "<b>boop</b>"]
    assert page.run("document.querySelector('#state').textContent") == f"Listening to {running.folder}/tones.wav"
    level = "Number(document.querySelector('#level').getAttribute('aria-valuenow'))"
    page.wait(f"-75 < {level} && {level} <= 0")  # there is none until a block has come
    assert page.run("document.querySelector('#mute').disabled")  # a recording cannot be muted


@needs_browser
def test_what_was_heard_can_be_played_and_kept(page, running, tmp_path):
    """A clip is the very samples that were heard, from before the word to after it."""
    page.wait("(window.one = document.querySelector('li:has(.download[href])')) !== null")
    page.run("one.querySelector('.play').click()")
    page.wait("one.querySelector('.play path').getAttribute('d').startsWith('M6.5')")
    page.wait("one.querySelector('.play path').getAttribute('d').startsWith('M7')")  # it has ended
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    name = page.run("one.querySelector('.download').click(), one.querySelector('.download').download")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d{6}_\w+_\d\.\d\d\.wav", name)
    moment = page.run("one.querySelector('time').dateTime")
    detection = next(each for each in running.status()["last"] if each["time"] == moment)
    page.wait("new Promise(done => setTimeout(done, 500, true))")
    while not (tmp_path / name).exists():
        page.wait("new Promise(done => setTimeout(done, 100, true))")
    samples, rate = soundfile.read(tmp_path / name, dtype="int16")
    assert rate == SAMPLE_RATE
    begin, end = (round(detection["sample"] + seconds * SAMPLE_RATE) for seconds in (-2.2, 0.6))
    heard, _ = soundfile.read(running.folder / "tones.wav", dtype="int16", start=begin, stop=end)
    np.testing.assert_array_equal(samples, heard)


FIGURES = "[...document.querySelectorAll('.lane:first-child dd')].map(e => e.textContent)"
VALUE = "document.querySelector('.lane:first-child .handle').getAttribute('aria-valuenow')"


@needs_browser
def test_the_threshold_moves_by_keyboard_with_the_models_own_figures(page, running):
    assert (page.run(VALUE), page.run(FIGURES)) == ("0.5", ["3.5 %", "2.5"])
    assert "20 trials of the word, 2.00 h of speech" in page.run("document.querySelector('.basis').textContent")
    assert "holds no curve" in page.run("document.querySelectorAll('.basis')[1].textContent")
    page.run("document.querySelector('.handle').focus()")
    page.press("ArrowUp")
    assert page.run(VALUE) == "0.51"
    page.press("ArrowDown", shift=True)
    assert page.run(VALUE) == "0.509"
    page.press("PageUp")
    assert (page.run(VALUE), page.run(FIGURES)) == ("0.609", ["6.1 %", "0.95"])
    for _ in range(3):
        page.press("PageUp")
    assert (page.run(VALUE), page.run(FIGURES)) == ("0.909", ["30 %", "0"])
    for _ in range(9):
        page.press("PageDown")
    assert (page.run(VALUE), page.run(FIGURES)) == ("0.009", ["not measured", "not measured"])
    assert page.run("getComputedStyle(document.querySelector('.handle:focus-visible b')).outlineStyle") == "solid"
    page.click(".lane:first-child .undo")
    assert page.run(VALUE) == "0.5"
    assert thresholds(running.status())[0] == 0.5


@needs_browser
def test_a_dragged_threshold_is_saved_with_the_comments_kept_and_used_at_once(page, running):
    height = page.run("document.querySelector('.plot').clientHeight") - 24
    page.drag(".lane:nth-child(2) .handle b", -0.3 * height)
    value = page.run("document.querySelectorAll('.value')[1].valueAsNumber")
    assert value == pytest.approx(0.8, abs=0.011)
    assert thresholds(running.status()) == [0.5, 0.5]
    page.click(".lane:nth-child(2) .save")
    page.wait("document.querySelector('#note').textContent.startsWith('Saved in ')")
    assert thresholds(running.status()) == [0.5, value]
    expected = CONFIG.replace("# another tone\n", f"# another tone\n    threshold: {value:g}\n")
    assert (running.folder / "config.yaml").read_text() == expected
    page.wait("document.querySelectorAll('.save')[1].disabled")
    # and the whole of it by keyboard, typed
    page.run("document.querySelector('.value').focus(), document.querySelector('.value').select()")
    page.call("Input.insertText", text="0.7")
    page.press("Tab")  # undo
    page.press("Tab")
    page.press("Enter")
    page.wait("document.querySelector('#note').textContent.includes('0.7 now')")
    assert thresholds(running.status()) == [0.7, value]
    assert config.load(running.folder / "config.yaml").words[0].threshold == 0.7


@needs_browser
def test_a_finger_drags_the_threshold_and_not_the_page(page):
    page.look(390, 500, touch=True)
    page.run("document.querySelector('.handle').scrollIntoView({block: 'center'})")
    x, y = page.run(
        "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('.handle b').getBoundingClientRect())"
    )
    place = page.run("scrollY")
    page.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    for down in (5, 15, 25, 30):
        page.call("Input.dispatchTouchEvent", type="touchMove", touchPoints=[{"x": x, "y": y + down}])
    page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    height = page.run("document.querySelector('.plot').clientHeight") - 24
    assert float(page.run(VALUE)) == pytest.approx(0.5 - 30 / height, abs=0.011)
    assert page.run("scrollY") == place > 0
    page.run("document.querySelector('.undo').click()")


@needs_browser
def test_a_threshold_that_changes_elsewhere_is_shown(page, running):
    file = running.folder / "config.yaml"
    file.write_text(CONFIG.replace("0.5", "0.25"))
    ask(running.socket, "reload")
    page.wait(f"{VALUE} == '0.25'")


@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_it_fits_and_can_be_read_on_every_screen(page, width, dark):
    page.look(width, 800, dark=dark, touch=width < 1000)
    page.wait("document.querySelectorAll('.play:not(:disabled)').length")
    assert page.run("document.documentElement.scrollWidth") <= width
    # WCAG contrast of all text with its background, taken from the page itself
    worst = page.run(
        """(() => {
        const light = colour => {
          const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
          const [r, g, b] = colour.match(/[\\d.]+/g).map(v => linear(v / 255));
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = e => {
          for (; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (!/, 0\\)$/.test(colour)) return colour;
          }
        };
        let worst = [99];
        for (const e of document.querySelectorAll('header *, main *')) {
          const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
          if (!own || e.disabled || !e.checkVisibility()) continue;
          const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
          const contrast = (a + 0.05) / (b + 0.05);
          if (contrast < worst[0]) worst = [contrast, e.outerHTML.slice(0, 80)];
        }
        return worst;
        })()"""
    )
    assert worst[0] >= 4.5, worst
    small = page.run(
        "[...document.querySelectorAll('button, a[href], input')].filter(e => e.checkVisibility())"
        ".filter(e => Math.min(e.offsetWidth, e.offsetHeight) < 34).map(e => e.className)"
    )
    assert small == []


@needs_browser
def test_everything_that_can_be_used_has_a_name(page):
    page.wait("document.querySelectorAll('.play:not(:disabled)').length")
    page.call("Accessibility.enable")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    page.call("Accessibility.disable")
    named = {(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]}
    roles = {"button", "slider", "spinbutton", "link", "meter", "image"}
    assert {role for role, _ in named} >= roles
    assert not [each for each in named if each[0] in roles and not each[1]]
    assert ("slider", "Threshold of beep") in named


@pytest.fixture
def sound_server() -> Iterator[SoundServer]:
    yield from private(SoundServer)


@needs_browser
def test_a_microphone_is_heard_and_muted_from_the_page(tab, sound_server, start, folder, environment):
    """A real PulseAudio: a tone said into it appears, and while it is muted none does."""
    sound_server.start()
    variables = environment | sound_server.variables
    chimed = start("run", "--config", folder / "config.yaml", "--no-chime", **sound_server.variables)
    chimed.wait_for("listening to")
    with monitor(variables) as address:
        tab.look(1000, 800)
        tab.open(address)
        tab.wait("document.querySelectorAll('.lane').length == 2")
        tab.wait("document.querySelector('#level').getAttribute('aria-valuenow') > -75")
        sound_server.say(recording(1, [0.3]))
        tab.wait("document.querySelectorAll('.play:not(:disabled)').length == 1")
        tab.click("#mute")
        chimed.wait_for("the microphone is closed")
        tab.wait("document.querySelector('#state').textContent.startsWith('Muted until')")
        assert tab.run("document.querySelector('#mute').getAttribute('aria-pressed')") == "true"
        tab.wait("document.querySelector('#level').getAttribute('aria-valuetext') == 'no sound comes'")
        tab.click("#mute")
        chimed.wait_for("no longer muted")
        tab.wait("document.querySelector('#state').textContent.startsWith('Listening to')")
        sound_server.say(recording(1, [0.3]))
        tab.wait("document.querySelectorAll('.play:not(:disabled)').length == 2")
        # the daemon ends, and comes back
        assert chimed.stop() == 0
        tab.wait("!document.querySelector('#trouble').hidden")
        assert "no chimed is running" in tab.run("document.querySelector('#trouble').textContent.toLowerCase()")
        again = start("run", "--config", folder / "config.yaml", "--no-chime", **sound_server.variables)
        again.wait_for("listening to")
        tab.wait("document.querySelector('#trouble').hidden")
        sound_server.say(recording(1, [0.3]))
        tab.wait("document.querySelectorAll('.play:not(:disabled)').length == 3")
        assert again.stop() == 0
    assert tab.complaints == []


def cpu_time(stat: Path) -> float:
    """Seconds of CPU that a process or thread has taken so far."""
    ticks = stat.read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def spent(running: Running) -> tuple[float, float]:
    """Seconds of CPU so far: of the whole daemon, and of `chimed monitor`."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    serving = [pid for pid in children if b"\0monitor" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert serving
    daemon = cpu_time(Path(f"/proc/{running.chimed.process.pid}/stat"))
    return daemon, sum(cpu_time(Path(f"/proc/{pid}/stat")) for pid in serving)


@needs_browser
def test_it_costs_under_two_percent_of_a_core_while_open_and_nothing_while_closed(tab, running):
    """Of the daemon's own time, which goes up and down, what the page adds; the loop answers between two blocks."""

    def share(seconds: float) -> tuple[float, float]:
        """Of a core, over so long."""
        before, begin = spent(running), time.monotonic()
        time.sleep(seconds)
        after, took = spent(running), time.monotonic() - begin
        return (after[0] - before[0]) / took, (after[1] - before[1]) / took

    def added() -> float:
        """What the open page adds, of a core."""
        tab.open("about:blank")
        tab.wait("document.URL == 'about:blank'")
        time.sleep(1)  # the connection ends
        alone, idle = share(5)
        assert idle <= 0.005  # two ticks of the kernel's clock
        tab.open(running.address)
        tab.wait("document.querySelectorAll('.lane').length == 2")
        time.sleep(1)  # it asked for the whole window first
        daemon, monitor = share(5)
        assert monitor > 0
        return monitor + daemon - alone

    # once in three, since what else the machine does makes every instruction dearer for a while
    assert any(added() < 0.02 for _ in range(3))
