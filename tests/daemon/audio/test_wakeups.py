"""A daemon that hears nothing of interest lets the machine sleep, unless someone looks on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from daemon.control.client import conversation
from model.frontend import FRAME, SAMPLE_RATE
from tests.bench.latency import LOOP, quiet_room, threads
from tests.support.soundserver import server as server  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.integration


def test_in_a_quiet_room_the_loop_wakes_less_often_than_blocks_come():
    """With a real sound server: once for four blocks, and now and then to wait for the interpreter's lock, which the
    audio library's thread holds while it hands over a piece. Once a block would already be too much.
    """
    wakes = {name: rate for name, rate, _ in quiet_room(5)}
    assert 0 < wakes[LOOP] < 0.8 * SAMPLE_RATE / FRAME, wakes


def test_who_watches_a_quiet_room_sees_each_block_when_it_comes(server, start, model_file):
    chimed = start("run", "--no-chime", "--model", model_file, **server.variables)
    chimed.wait_for("listening to")
    process = chimed.process.pid
    with conversation(Path(server.variables["XDG_RUNTIME_DIR"]) / "chimed" / "control.sock", "watch") as events:
        blocks = (event["seconds"] for event in events if event.get("event") == "block")
        seen = list(islice(blocks, 30))  # the second in which nothing waits anyhow, and some more
        before = threads(process)[str(process)][1]
        seen += islice(blocks, 30)
        woken = threads(process)[str(process)][1] - before
    assert seen[-1] - seen[0] == pytest.approx(59 * FRAME / SAMPLE_RATE, abs=0.01)  # none twice
    assert woken > 15  # a fourth of them if they came in fours
