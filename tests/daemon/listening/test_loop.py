"""The loop: what it hears is what scoring the file gives, through gaps, through its own chime, in any blocks."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.audio.sources import Block
from daemon.config.hook import Hook
from daemon.listening.listener import Listener
from daemon.listening.listening_plan import ListeningPlan, Response
from daemon.listening.loop import CHIME_TAIL, ListeningLoop
from daemon.responses.hooks import HookRunner
from daemon.system import log_handlers
from daemon.system.sd_notify import Notifier
from model import modelfile
from model.detector import Detection, Detector
from model.frontend import FRAME, SAMPLE_RATE, Samples
from tests.support.chimed import recording, tone_model
from tests.support.paths import DATA

pytestmark = pytest.mark.integration

TIMES = [1.0, 2.0, 2.9, 5.0]
SOUND = recording(6.5, TIMES)
MODEL = tone_model()
DEAF = 2 * SAMPLE_RATE


class Recorded:
    """A source of blocks that are there already. live: as if it had been a microphone."""

    name = "a test"

    def __init__(self, blocks: list[Block], live: bool) -> None:
        self._blocks = blocks
        self.live = live

    def blocks(self) -> Iterator[Block]:
        return iter(self._blocks)

    def backlog(self) -> int:
        return 0

    def hurry(self) -> None:
        pass

    def close(self) -> None:
        pass


class Player:
    """Counts chimes; each sounds for as long as it is told to."""

    def __init__(self) -> None:
        self.played = 0
        self.sounding = False

    def play(self, _samples: Samples) -> None:
        self.played += 1


def heard_by(listener: Listener, blocks: list[Block]) -> list[Detection]:
    detections = [detection for block in blocks for detection in listener.push(block)]
    return detections + listener.finish()


def cut(samples: Samples, cuts: list[int]) -> list[Block]:
    return [Block(piece) for piece in np.split(samples, sorted(min(at, len(samples)) for at in cuts))]


def places(detections: list[Detection]) -> list[float]:
    return [round(detection.seconds, 1) for detection in detections]


cuts = st.lists(st.integers(0, len(SOUND)), max_size=30)


@given(cuts)
@settings(deadline=None, max_examples=10)
def test_it_hears_what_scoring_the_whole_gives(cuts):
    whole = Detector([MODEL])
    expected = whole.push(SOUND) + whole.conclude()
    assert len(expected) == len(TIMES)
    assert heard_by(Listener(Detector([MODEL]), {"beep": 0}), cut(SOUND, cuts)) == expected


@given(cuts)
@settings(deadline=None, max_examples=10)
def test_what_is_ignored_for_the_chime_does_not_depend_on_the_blocks(cuts):
    detections = heard_by(Listener(Detector([MODEL]), {"beep": DEAF}), cut(SOUND, cuts))
    # deaf for 2 s after the first: not the second and third, which would have made it deaf for the fourth
    assert [abs(detection.seconds - at) < 0.15 for detection, at in zip(detections, (1.0, 5.0), strict=True)] == [
        True
    ] * 2


def test_a_gap_starts_a_new_stream_and_positions_go_on():
    first, second = SOUND[: 3 * SAMPLE_RATE], SOUND[3 * SAMPLE_RATE :]
    listener = Listener(Detector([MODEL]), {"beep": 0})
    detections = heard_by(listener, [Block(first), Block(np.empty(0, np.int16), gap=True), Block(second)])
    alone = Detector([MODEL])
    last = alone.push(second) + alone.flush()
    assert detections[-1] == Detection("beep", last[0].score, 3 * SAMPLE_RATE + last[0].sample)
    assert len(detections) == len(TIMES)
    assert listener.heard == len(SOUND)


def test_a_word_right_before_a_gap_is_not_lost():
    """The last frame before a gap is incomplete, and counts."""
    whole = Detector([MODEL])
    place = whole.push(SOUND)[0].sample
    listener = Listener(Detector([MODEL]), {"beep": 0})
    assert not listener.push(Block(SOUND[:place]))
    assert [detection.sample for detection in listener.push(Block(SOUND[:0], gap=True))] == [place]


def test_a_gap_of_many_empty_blocks_changes_nothing():
    silence = [Block(np.empty(0, np.int16), gap=True)] * 100
    assert heard_by(Listener(Detector([MODEL]), {"beep": 0}), silence) == []


def reloaded(detector: Detector, sound: Samples, places: list[int], block: int, deaf: int = 0) -> list[Detection]:
    """What is heard if all models are exchanged for the same ones at these blocks."""
    listener = Listener(detector, {"beep": deaf})
    kept = []
    for number, start in enumerate(range(0, len(sound), block)):
        if number in places:
            listener.adopt(Detector([MODEL]), {"beep": deaf})
        kept += listener.push(Block(sound[start : start + block]))
    return kept + listener.finish()


@given(st.lists(st.integers(0, 200), max_size=8), st.sampled_from([441, 1_000, FRAME, 3 * FRAME + 1]))
@settings(deadline=None, max_examples=6)
def test_a_reload_at_any_place_loses_nothing_and_repeats_nothing(places, block):
    whole = Detector([MODEL])
    expected = whole.push(SOUND) + whole.conclude()
    assert reloaded(Detector([MODEL]), SOUND, places, block) == expected


def test_a_reload_after_more_than_the_window_loses_nothing():
    """The new detector hears the last 10 s alone, and cuts them into the frames that the old one would have."""
    sound = np.concatenate((recording(9.7, [1.0, 9.0]), SOUND, recording(1.0, [0.5])))
    whole = Detector([MODEL])
    expected = whole.push(sound) + whole.conclude()
    assert len(expected) == 7
    for block in (1_000, FRAME, 3_847):
        numbers = [round(seconds * SAMPLE_RATE / block) for seconds in (9.05, 10.72, 12.7, 16.6, 16.7, 16.75)]
        heard = reloaded(Detector([MODEL]), sound, numbers, block)
        assert [each.sample for each in heard] == [each.sample for each in expected]


def test_a_reload_keeps_what_is_ignored_for_the_chime():
    numbers = [round(1.5 * SAMPLE_RATE / FRAME)]
    assert places(reloaded(Detector([MODEL]), SOUND, numbers, FRAME, DEAF)) == pytest.approx([1.0, 5.0], abs=0.11)


def test_a_reload_exchanges_the_words():
    sound = SOUND + recording(6.5, [4.0, 6.0], 1_500.0)
    listener = Listener(Detector([MODEL]), {"beep": 0})
    first, second = np.split(sound, [round(3.3 * SAMPLE_RATE)])
    before = listener.push(Block(first))
    listener.adopt(Detector([tone_model("boop", 1_500.0)]), {"boop": 0})
    after = listener.push(Block(second)) + listener.finish()
    assert [(each.word, round(each.seconds)) for each in before] == [("beep", 1), ("beep", 2), ("beep", 3)]
    assert [(each.word, round(each.seconds)) for each in after] == [("boop", 4), ("boop", 6)]


def test_deafness_can_be_prolonged_while_a_slow_loudspeaker_still_plays():
    listener = Listener(Detector([MODEL]), {"beep": round(0.5 * SAMPLE_RATE)})
    kept = []
    for start in range(0, len(SOUND), FRAME):
        kept += listener.push(Block(SOUND[start : start + FRAME]))
        if kept and start < 2 * SAMPLE_RATE:
            listener.deafen(SAMPLE_RATE)
    assert places(kept) == pytest.approx([1.0, 5.0], abs=0.11)


@pytest.mark.parametrize(
    ("live", "expected"),
    [(False, len(TIMES)), (True, 2)],  # a recording does not hear the loudspeaker
)
def test_only_what_hears_the_chime_is_deaf_to_it(live, expected):
    player, hooks = Player(), HookRunner()
    source = Recorded(cut(SOUND, list(range(0, len(SOUND), FRAME))), live)
    chime = np.zeros(DEAF - CHIME_TAIL, np.int16)
    loop = ListeningLoop(source, ListeningPlan((MODEL,), {"beep": Response(chime, ())}), player, hooks, Notifier())
    loop.run(source.blocks())
    assert (loop.status().detections, player.played) == (expected, expected)
    assert loop.status().seconds == len(SOUND) / SAMPLE_RATE


def test_each_word_has_its_own_answer(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    other = tone_model("boop", 1_500.0)
    sound = SOUND + recording(6.5, [4.0], 1_500.0)
    hooks = HookRunner()
    responses = {
        "beep": Response(None, (Hook(f"echo $CHIMED_WORD >> {tmp_path}/beep"),)),
        "boop": Response(None, (Hook(f"echo $CHIMED_WORD >> {tmp_path}/boop"),)),
    }
    source = Recorded([Block(sound)], live=False)
    loop = ListeningLoop(source, ListeningPlan((MODEL, other), responses), Player(), hooks, Notifier())
    loop.run(source.blocks())
    hooks.wait()
    assert (tmp_path / "beep").read_text() == "beep\n" * 4
    assert (tmp_path / "boop").read_text() == "boop\n"
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == 'listening to a test for "beep" (threshold 0.5), "boop" (threshold 0.5)'
    assert len([line for line in lines if line.startswith('heard "b')]) == 5


# as a process


@pytest.fixture
def beeps(tmp_path) -> Path:
    """A recording with four tones."""
    soundfile.write(tmp_path / "beeps.flac", SOUND, SAMPLE_RATE)
    return tmp_path / "beeps.flac"


def test_a_recording_runs_to_its_end_and_hooks_may_finish(start, model_file, beeps, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"words: [{{model: {model_file}}}]\nhooks: ['sleep 0.5; echo done >> {tmp_path}/done']")
    chimed = start("run", "--input", beeps, "--fast", "--config", config)
    assert chimed.end() == 0
    assert len(chimed.lines('heard "beep" score')) == len(TIMES)
    assert (tmp_path / "done").read_text() == "done\n" * len(TIMES)
    assert "4 heard" in chimed.log[-1]


def test_run_hears_what_detect_hears(start, call, model_file, beeps):
    done = call("detect", "--json", beeps, "--model", model_file)
    detected = [json.loads(line)["seconds"] for line in done.stdout.splitlines()]
    chimed = start("run", "--input", beeps, "--fast", "--model", model_file)
    assert chimed.end() == 0
    assert [float(line.split()[-2]) for line in chimed.lines("heard ")] == [round(at, 2) for at in detected]


def test_a_recording_is_paced_like_a_microphone(start, model_file, beeps):
    """Without --fast a word is heard when it would have been said; and no loudspeaker is no reason to stop."""
    begin = time.monotonic()
    chimed = start("run", "--input", beeps, "--model", model_file)
    chimed.wait_for("heard", 4)
    assert time.monotonic() - begin > TIMES[-1]
    assert chimed.end() == 0
    assert len(chimed.lines("cannot play the chime")) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_though_a_hook_runs(start, model_file, beeps, tmp_path, number):
    config = tmp_path / "config.yaml"
    # a hook that ignores what asks it to stop
    hook = f"trap '' TERM INT; echo $$ > {tmp_path}/pid; while :; do sleep 1; done"
    config.write_text(f'words: [{{model: {model_file}}}]\nhooks: ["{hook}"]')
    chimed = start("run", "--input", beeps, "--no-chime", "--config", config)
    chimed.wait_for("heard")
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        time.sleep(0.05)
    assert chimed.stop(number) == 0
    assert chimed.lines("stopped")
    pid = int((tmp_path / "pid").read_text())
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"  # its reaper is another


@pytest.mark.parametrize("tail", [b"", b"\x01"])
def test_raw_samples_come_through_a_pipe(start, model_file, tail):
    chimed = start("run", "--input", "-", "--fast", "--model", model_file, stdin=subprocess.PIPE)
    pipe = chimed.process.stdin.buffer
    pipe.write(SOUND[:100_001].tobytes())
    pipe.flush()
    chimed.wait_for("heard", 2)  # while the pipe is still open
    pipe.write(SOUND[100_001:].tobytes() + tail)
    pipe.close()
    assert chimed.end() == 0
    assert len(chimed.lines("heard ")) == len(TIMES)
    assert "end of standard input: 6.5 s, 4 heard" in chimed.log[-1]


def test_raw_samples_of_another_rate(start, model_file, tmp_path):
    soundfile.write(tmp_path / "in.wav", SOUND[::2], SAMPLE_RATE // 2)
    data = soundfile.read(tmp_path / "in.wav", dtype="int16")[0].tobytes()
    chimed = start("run", "--input", "-", "--rate", "22050", "--fast", "--model", model_file, stdin=subprocess.PIPE)
    chimed.process.stdin.buffer.write(data)
    chimed.process.stdin.buffer.close()
    assert chimed.end() == 0
    assert "6.5 s, 4 heard" in chimed.log[-1]


def test_waiting_for_a_pipe_ends_on_a_signal(start, model_file):
    chimed = start("run", "--input", "-", "--model", model_file, stdin=subprocess.PIPE)
    chimed.process.stdin.buffer.write(SOUND[:20_000].tobytes())
    chimed.process.stdin.buffer.flush()
    chimed.wait_for("listening to standard input")
    assert chimed.stop() == 0


def test_under_systemd_lines_carry_priorities_and_the_state_is_told(environment, model_file, beeps, tmp_path):
    address = str(tmp_path / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(address)
    config = tmp_path / "config.yaml"
    config.write_text(f"words: [{{model: {model_file}}}]\nhooks: ['echo \"socket: $NOTIFY_SOCKET\"; exit 5']")
    with (tmp_path / "journal").open("w") as journal:
        status = os.fstat(journal.fileno())
        variables = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}", "NOTIFY_SOCKET": address}
        command = ["chimed", "run", "--input", str(beeps), "--fast", "--config", str(config)]
        subprocess.run(
            [sys.executable, "-m", "daemon.cli", *command[1:]],
            env=environment | variables,
            stderr=journal,
            check=True,
            timeout=60,
        )
    lines = (tmp_path / "journal").read_text().splitlines()
    assert all(line.startswith(("<4>", "<6>")) for line in lines)
    assert lines[0].startswith("<6>listening to ")
    assert any(line.startswith("<4>hook ") and "exit code 5" in line for line in lines)
    assert any(line.endswith("socket: ") for line in lines)  # hooks cannot speak for the daemon
    manager.setblocking(False)
    assert manager.recv(1_000).decode().startswith("READY=1\nSTATUS=listening to ")
    manager.close()


def fields(manager: socket.socket) -> dict[str, str]:
    """What is told next."""
    return dict(line.split("=", 1) for line in manager.recv(4_096).decode().splitlines())


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told_when_a_reload_begins_and_ends(start, model_file, tmp_path, abstract):
    """As Type=notify-reload wants it, in that order, with the time by the clock that systemd looks at."""
    address = f"\0{tmp_path}" if abstract else str(tmp_path / "notify")
    soundfile.write(tmp_path / "long.wav", np.resize(SOUND, 120 * SAMPLE_RATE), SAMPLE_RATE)
    config = tmp_path / "config.yaml"
    config.write_text(f"words: [{{model: {model_file}}}]")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(60)
        variables = {"NOTIFY_SOCKET": address.replace("\0", "@")}
        chimed = start("run", "--input", tmp_path / "long.wav", "--no-chime", "--config", config, **variables)
        told = fields(manager)
        assert (told["READY"], "RELOADING" in told) == ("1", False)
        for text, refused in (("", False), ("hook: []", True), ("hooks: []", False)):
            config.write_text(f"words: [{{model: {model_file}}}]\n{text}")
            before = time.monotonic_ns() // 1000
            chimed.process.send_signal(signal.SIGHUP)
            while "RELOADING" not in (told := fields(manager)):
                assert "READY" not in told
            assert before <= int(told["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
            while "READY" not in (told := fields(manager)):
                assert set(told) == {"WATCHDOG"}
            assert ("the changed configuration was refused" in told.get("STATUS", "")) is refused
        chimed.process.terminate()
        while "STOPPING" not in (told := fields(manager)):
            assert "READY" not in told
        assert chimed.end() == 0


def test_what_a_busy_manager_has_no_room_for_is_told_later(monkeypatch, tmp_path):
    """A READY that got lost would leave the service in its start, or in a reload, for ever."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        notifier = Notifier()
        for _ in range(2_000):  # more than any kernel's queue takes
            notifier.send(WATCHDOG=1)
        notifier.send(RELOADING=1)
        notifier.send(READY=1, STATUS="listening")
        for _ in range(2_000):
            notifier.send(WATCHDOG=1)
        told = []
        for _ in range(2):
            with contextlib.suppress(BlockingIOError):
                while True:
                    told.append(fields(manager))
            notifier.send(WATCHDOG=1)
        others = [each for each in told if set(each) != {"WATCHDOG"}]
        assert others == [{"RELOADING": "1"}, {"READY": "1", "STATUS": "listening"}]
        assert told[-1] == {"WATCHDOG": "1"}
        assert len(told) < 2_000
        notifier.close()


@pytest.fixture
def hung_up(environment, model_file, tmp_path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], Path]]]:
    """Starts `chimed run` in a terminal that is closed once it listens; the process, and its log."""
    if not shutil.which("setsid") or not shutil.which("nohup"):
        pytest.skip("setsid or nohup is not installed")
    soundfile.write(tmp_path / "long.wav", np.resize(SOUND, 120 * SAMPLE_RATE), SAMPLE_RATE)
    log, started = tmp_path / "log", []

    def hung_up(*before: str) -> tuple[subprocess.Popen[bytes], Path]:
        master, slave = pty.openpty()
        arguments = ["run", "--input", str(tmp_path / "long.wav"), "--no-chime", "--model", str(model_file)]
        command = ["setsid", "--ctty", *before, sys.executable, "-m", "daemon.cli", *arguments]
        with log.open("wb") as errors:
            process = subprocess.Popen(command, env=environment, stdin=slave, stdout=errors, stderr=errors)
        started.append(process)
        os.close(slave)
        wait_for_text(log, "listening to")
        process.send_signal(signal.SIGHUP)
        wait_for_text(log, "configuration read again")
        os.close(master)
        return process, log

    yield hung_up
    for process in started:
        process.kill()
        process.wait()


def wait_for_text(file: Path, text: str, count: int = 1) -> None:
    deadline = time.monotonic() + 60
    while file.read_text().count(text) < count:
        assert time.monotonic() < deadline, file.read_text()
        time.sleep(0.05)


def test_hanging_up_ends_it_if_its_terminal_is_gone(hung_up):
    """Otherwise SIGHUP says that the configuration changed."""
    process, log = hung_up()
    assert process.wait(60) == 0
    assert log.read_text().splitlines()[-1].endswith("stopped")


def test_under_nohup_it_goes_on(hung_up):
    process, log = hung_up("nohup")
    wait_for_text(log, "configuration read again", 2)
    assert process.poll() is None


def test_the_word_is_heard_in_the_recording_that_comes_with_chimed(start):
    told = DATA / "activate-demo.json"
    if "activate" not in modelfile.shipped() or not told.exists():
        pytest.skip("the shipped model or the recording is not here yet")
    ends = json.loads(told.read_text())["word_ends_at_seconds"]
    chimed = start("run", "--input", DATA / "activate-demo.flac", "--fast")
    assert chimed.end() == 0
    heard = [float(line.split()[-2]) for line in chimed.lines('heard "activate"')]
    assert len(heard) == len(ends)
    assert all(-0.3 < at - end < 0.7 for at, end in zip(heard, ends, strict=True))


# the log


@pytest.mark.parametrize("formatter", [log_handlers.JournalFormatter(), log_handlers.TerminalFormatter()])
def test_no_text_can_forge_a_line(formatter):
    record = logging.LogRecord("x", logging.INFO, "", 0, "one\n<0>two\x1b[31m\ttab", (), None)
    line = formatter.format(record)
    assert "\n" not in line
    assert "\x1b" not in line


def test_worse_than_information_is_named():
    for level, name in ((logging.WARNING, "warning"), (logging.ERROR, "error")):
        record = logging.LogRecord("x", level, "", 0, "text", (), None)
        assert log_handlers.TerminalFormatter().format(record).endswith(f" {name}: text")


def test_a_terminal_that_inherited_the_journals_variable_is_no_journal(monkeypatch, tmp_path):
    with (tmp_path / "out").open("w") as file:
        monkeypatch.setenv("JOURNAL_STREAM", "1:2")
        assert not log_handlers.under_journal(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", "nonsense")
        assert not log_handlers.under_journal(file.fileno())
