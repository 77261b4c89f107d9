"""More than a daemon should ever meet: hostile samples, floods, full disks; it listens through all of them."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from daemon.audio.resample import Resampler
from daemon.audio.sources import Block
from daemon.config.hook import Hook
from daemon.config.settings import ClipSettings
from daemon.listening.listener import Listener
from daemon.listening.listening_plan import ListeningPlan, Response
from daemon.listening.loop import ListeningLoop
from daemon.responses.clip_recorder import ClipRecorder
from daemon.responses.hooks import AT_ONCE, OUTPUT_LINES_LIMIT, HookRunner
from daemon.system import log_handlers
from daemon.system.log_flood_limit import PER_MINUTE, LogFloodLimit
from daemon.system.sd_notify import Notifier
from model.detector import Detector
from model.frontend import FRAME, SAMPLE_RATE
from model.gate import SUPPRESSION
from tests.support.chimed import recording, tone_model

pytestmark = pytest.mark.integration

MODEL = tone_model()
BEEP = recording(1.5, [0.5])


class Stream:
    """A source of these blocks."""

    name = "a test"
    live = True

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks

    def blocks(self) -> Iterator[Block]:
        return self._blocks

    def backlog(self) -> int:
        return 0

    def hurry(self) -> None:
        pass

    def close(self) -> None:
        pass


def loop_for(blocks: Iterator[Block], hooks: tuple[Hook, ...] = (), at_once: int = AT_ONCE) -> ListeningLoop:
    plan = ListeningPlan((MODEL,), {"beep": Response(None, hooks)})
    return ListeningLoop(Stream(blocks), plan, None, HookRunner(at_once), Notifier())


# what a device, a driver or a file may deliver: numbers of any size, and what is none
values = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e30, -1e-30]),
    st.floats(-2, 2, width=32),
)
sounds = st.one_of(
    st.tuples(arrays.arrays(np.float32, st.integers(0, 40), elements=values), st.integers(1, 30)),
    # all zeros, clipped without end, nothing that is a number
    st.tuples(values.map(lambda value: np.full(1, value, np.float32)), st.just(SAMPLE_RATE)),
    st.just((np.repeat(np.float32([1.5, -1.5]), 50), 441)),
)
pieces = st.tuples(
    st.sampled_from([1_000, 8_000, 16_000, 44_100, 48_000, 192_000]),  # Hz: the device came back with another rate
    sounds,  # and how often over, at most a quarter of a second
    st.booleans(),  # lost audio before it
)


@settings(max_examples=20)
@given(st.lists(pieces, max_size=5))
def test_no_samples_can_harm_the_loop(stream):
    """Afterwards a word is heard as if nothing had been."""
    blocks = []
    for rate, (samples, times), gap in stream:
        resampler = Resampler(rate)
        blocks.append(Block(resampler.push(np.tile(samples, times)[: rate // 4]), gap))
        blocks.append(Block(resampler.flush()))
    listener = Listener(Detector([MODEL]), {"beep": 0})
    for block in blocks:
        listener.push(block)
        assert np.isfinite(listener.detector.posteriors.last()).all()
    before = sum(len(block.samples) for block in blocks)
    assert listener.heard == before
    listener.push(Block(np.empty(0, np.int16), gap=True))
    heard = listener.push(Block(BEEP)) + listener.finish()
    alone = Detector([MODEL])
    assert heard == [replace(each, sample=before + each.sample) for each in [*alone.push(BEEP), *alone.flush()]]
    assert len(heard) == 1


def test_a_thousand_detections_a_minute(tmp_path, caplog):
    """The listening goes on, what runs at once stays few, and so do log lines, threads and clips."""
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(gate := LogFloodLimit())
    hook = Hook(f"echo >> {tmp_path}/ran; sleep 0.3")
    silence = np.zeros(FRAME, np.int16)
    count = 60 * SAMPLE_RATE // FRAME

    threads = []

    def blocks() -> Iterator[Block]:
        for number in range(count):
            for _ in range(1 + number % 2):
                loop.ask(lambda: loop.trigger("beep"))
            yield Block(silence)
            threads.append(threading.active_count())

    loop = loop_for(blocks(), (hook,), at_once=4)
    loop.clip_recorder = ClipRecorder(ClipSettings(tmp_path / "clips", seconds=0.5, max_files=20), [MODEL])
    before = time.thread_time()
    loop.run(loop._source.blocks())
    spent = time.thread_time() - before
    caplog.handler.removeFilter(gate)
    loop._hooks.wait()
    loop.close()
    assert loop.status().detections > 1_000
    assert loop.status().seconds == count * FRAME / SAMPLE_RATE
    assert max(threads) < 20
    assert spent < 60  # CPU time, of a minute of sound: it kept up
    assert len((tmp_path / "ran").read_text()) >= 4
    assert len(list((tmp_path / "clips").iterdir())) <= 2 * 20
    assert len(caplog.records) < 4 * PER_MINUTE


# as a process

TIMES = [1.0, 2.0, 3.0, 5.0]


@pytest.fixture
def command(model_file, tmp_path) -> Callable[[str], list[str]]:
    """The command that listens to a recording with four beeps, with this in its configuration."""
    soundfile.write(tmp_path / "beeps.flac", recording(6.5, TIMES), SAMPLE_RATE)

    def command(text: str) -> list[str]:
        (tmp_path / "config.yaml").write_text(f"words: [{{model: {model_file}}}]\n{text}")
        arguments = ["--input", str(tmp_path / "beeps.flac"), "--config", str(tmp_path / "config.yaml"), "--no-chime"]
        return [sys.executable, "-m", "daemon.cli", "run", *arguments]

    return command


@pytest.fixture(params=["full", "hung up", "not read", "read-only", "closed"])
def log(request) -> Iterator[int | None]:
    """A log that cannot be written; None for no descriptor at all."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while request.param == "not read":
            os.write(writing, bytes(4_096))
    os.set_blocking(writing, True)
    if request.param == "hung up":
        os.close(reading)
    elif request.param == "full":
        writing = os.open("/dev/full", os.O_WRONLY)
    elif request.param == "read-only":
        writing = os.open(os.devnull, os.O_RDONLY)
    yield writing if request.param != "closed" else None
    os.close(writing)


def test_a_log_that_cannot_be_written_stops_nothing(command, environment, tmp_path, log):
    line = command(f"hooks: ['echo heard >> {tmp_path}/heard; echo said; exit 3']")
    line = line if log is not None else ["sh", "-c", 'exec "$@" 2>&-', "sh", *line]
    done = subprocess.run(line, env=environment, stderr=log, timeout=120, check=False)
    assert done.returncode == 0
    assert (tmp_path / "heard").read_text() == "heard\n" * len(TIMES)


def test_a_log_that_can_be_written_again_says_how_many_lines_are_missing():
    reading, writing = os.pipe()
    handler = log_handlers.StderrHandler(writing, timeout=0.01)
    handler.setFormatter(log_handlers.TerminalFormatter("%(message)s"))
    written = 0
    while not handler.lost:
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "x" * 1_000, (), None))
        written += 1
    for _ in range(9):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "lost", (), None))
    with os.fdopen(reading, "rb") as lines:
        assert [len(lines.readline()) for _ in range(written - 1)] == [1_010] * (written - 1)
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "here", (), None))
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "and here", (), None))
        os.close(writing)
        assert [line.decode()[9:] for line in lines] == [
            "here [10 lines before it could not be written]\n",
            "and here\n",
        ]


def test_hooks_that_flood_their_output_stop_nothing(command, environment, tmp_path):
    flood = f"{{command: 'echo $$ >> {tmp_path}/flooding; exec yes', time_limit: 1}}"
    line = command(f"hooks: [{flood}, 'echo heard >> {tmp_path}/heard']")
    done = subprocess.run(line, env=environment, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert done.returncode == 0
    assert done.stderr.count('heard "beep" score') == len(TIMES)
    assert (tmp_path / "heard").read_text() == "heard\n" * len(TIMES)
    assert len((tmp_path / "flooding").read_text().split()) == len(TIMES)
    assert done.stderr.count("killed, not over after 1 s") == len(TIMES)
    assert len(done.stderr.splitlines()) < len(TIMES) * (OUTPUT_LINES_LIMIT + 5)


def test_the_gate_alone_allows_few_detections():
    """Which is why it takes several words, or a hand, to have so many."""
    assert 60 * SAMPLE_RATE / (320 * (SUPPRESSION + 1)) < 110
