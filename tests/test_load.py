"""More than a daemon should ever meet: hostile samples, and a thousand detections a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import numpy as np
from conftest import tone_model
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from daemon.audio import Block
from daemon.config import Clips
from daemon.hooks import AT_ONCE, Hook, HookRunner
from daemon.keeper import Keeper
from daemon.logs import PER_MINUTE, FloodGate
from daemon.notify import Notifier
from daemon.resample import Resampler
from daemon.service import Service
from daemon.words import Plan, Response
from model.frontend import FRAME, SAMPLE_RATE
from model.gate import SUPPRESSION

MODEL = tone_model()
QUIET = 1_500 * np.sin(np.arange(SAMPLE_RATE) / 7)


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

    def close(self) -> None:
        pass


def service_for(blocks: Iterator[Block], hooks: tuple[Hook, ...] = (), at_once: int = AT_ONCE) -> Service:
    plan = Plan((MODEL,), {"beep": Response(None, hooks)})
    return Service(Stream(blocks), plan, None, HookRunner(at_once), Notifier())


# what a device, a driver or a file may deliver: numbers of any size, and what is none
values = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e30, -1e-30]),
    st.floats(-2, 2, width=32),
)
pieces = st.tuples(
    st.sampled_from([1_000, 8_000, 16_000, 44_100, 48_000, 192_000]),  # Hz: the device came back with another rate
    arrays.arrays(np.float32, st.integers(0, 40), elements=values),
    st.integers(1, 30),  # so often over
    st.booleans(),  # lost audio before it
)


@settings(max_examples=20)
@given(st.lists(pieces, max_size=6))
def test_no_samples_can_harm_the_loop(stream):
    blocks = []
    for rate, samples, times, gap in stream:
        resampler = Resampler(rate)
        blocks.append(Block(resampler.push(np.tile(samples, times)), gap))
        blocks.append(Block(resampler.flush()))
    tone = [Block((QUIET * loud).astype(np.int16)) for loud in (0.01, 10.0)]
    service = service_for(iter([*blocks, Block(np.empty(0, np.int16), gap=True), *tone]))
    service.run(service.source.blocks())
    assert round(service.seconds * SAMPLE_RATE) == sum(len(block.samples) for block in [*blocks, *tone])
    heard = service._listener.detector.posteriors.last()
    assert np.isfinite(heard).all()


def test_a_thousand_detections_a_minute(tmp_path, caplog):
    """The listening goes on, what runs at once stays few, and so do log lines, threads and clips."""
    caplog.set_level(logging.INFO)
    caplog.handler.addFilter(gate := FloodGate())
    hook = Hook(f"echo >> {tmp_path}/ran; sleep 0.3")
    silence = np.zeros(FRAME, np.int16)
    count = 60 * SAMPLE_RATE // FRAME

    threads = []

    def blocks() -> Iterator[Block]:
        for number in range(count):
            for _ in range(1 + number % 2):
                service.ask(lambda: service.trigger("beep"))
            yield Block(silence)
            threads.append(threading.active_count())

    service = service_for(blocks(), (hook,), at_once=4)
    service.keeper = Keeper(Clips(tmp_path / "clips", seconds=0.5, max_files=20), [MODEL])
    before = time.thread_time()
    service.run(service.source.blocks())
    spent = time.thread_time() - before
    caplog.handler.removeFilter(gate)
    service._hooks.wait()
    service.close()
    assert service.detections > 1_000
    assert service.seconds == count * FRAME / SAMPLE_RATE
    assert max(threads) < 20
    assert spent < 60  # CPU time, of a minute of sound: it kept up
    assert len((tmp_path / "ran").read_text()) >= 4
    assert len(list((tmp_path / "clips").iterdir())) <= 2 * 20
    assert len(caplog.records) < 4 * PER_MINUTE


def test_the_gate_alone_allows_few_detections():
    """Which is why it takes several words, or a hand, to have so many."""
    assert 60 * SAMPLE_RATE / (320 * (SUPPRESSION + 1)) < 110
