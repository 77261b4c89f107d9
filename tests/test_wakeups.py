"""A daemon that hears nothing of interest lets the machine sleep."""

from __future__ import annotations

from bench_latency import LOOP, quiet_room

from model.frontend import FRAME, SAMPLE_RATE


def test_in_a_quiet_room_the_loop_wakes_once_a_block():
    """With a real sound server; what takes longer to come, as on a busy machine, can only wake it less often."""
    wakes = {name: rate for name, rate, _ in quiet_room(5)}
    assert 0 < wakes[LOOP] < 1.2 * SAMPLE_RATE / FRAME, wakes
