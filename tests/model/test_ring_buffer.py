"""The ring: the last entries of a stream, whatever blocks they arrived in."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model.ring_buffer import RingBuffer


@given(st.integers(1, 30), st.lists(st.integers(0, 80), max_size=20), st.integers(0, 40))
def test_a_ring_holds_the_last_entries_for_every_split(length, sizes, count):
    ring = RingBuffer(length, dtype=np.int64)
    stream = np.arange(sum(sizes))
    for block in np.split(stream, np.cumsum(sizes)):
        ring.push(block)
    assert ring.total == len(stream)
    assert len(ring) == min(length, len(stream))
    np.testing.assert_array_equal(ring.last(), stream[-length:])
    np.testing.assert_array_equal(ring.last(count), stream[max(0, len(stream) - min(count, length)) :])


def test_rows_stay_together():
    ring = RingBuffer(4, (3,))
    rows = np.arange(21, dtype=np.float32).reshape(7, 3)
    for start in range(0, 7, 2):
        ring.push(rows[start : start + 2])
    np.testing.assert_array_equal(ring.last(), rows[3:])
    assert ring.last().dtype == np.float32


def test_what_was_read_is_a_copy():
    ring = RingBuffer(4)
    ring.push(np.ones(4))
    before = ring.last()
    ring.push(np.zeros(4))
    np.testing.assert_array_equal(before, np.ones(4))


def test_an_empty_ring_reads_empty():
    assert RingBuffer(5, (2,)).last().shape == (0, 2)


def test_after_reset_nothing_of_the_past_is_left():
    ring = RingBuffer(5)
    ring.push(np.arange(7))
    ring.reset()
    assert (len(ring), ring.total) == (0, 0)
    ring.push(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(ring.last(), [1.0, 2.0])
