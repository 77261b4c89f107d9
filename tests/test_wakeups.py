"""A daemon that hears nothing of interest lets the machine sleep."""

from __future__ import annotations

from bench_latency import LOOP, quiet_room

from model.frontend import FRAME, SAMPLE_RATE


def test_in_a_quiet_room_the_loop_wakes_for_blocks_alone():
    """With a real sound server: once a block, and now and then to wait for the interpreter's lock, which the audio
    library's thread holds while it hands over a piece. A loop that polled would wake many times as often.
    """
    wakes = {name: rate for name, rate, _ in quiet_room(5)}
    assert 0 < wakes[LOOP] < 2 * SAMPLE_RATE / FRAME, wakes
