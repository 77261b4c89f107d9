"""No flood of log lines fills the journal, and what is dropped is counted."""

from __future__ import annotations

import logging

from daemon.system.log_flood_limit import LogFloodLimit


def record(text: str, created: float, *values: object) -> logging.LogRecord:
    made = logging.LogRecord("x", logging.INFO, "", 0, text, values, None)
    made.created = created
    return made


def passed(gate: LogFloodLimit, *records: logging.LogRecord) -> list[str]:
    return [each.getMessage() for each in records if gate.filter(each)]


def test_a_thousand_lines_a_minute_become_few_that_say_so():
    gate = LogFloodLimit(limit=3)
    flood = [record('heard "%s" at %.1f s', 100 + number * 0.06, "100%", number) for number in range(1_000)]
    assert passed(gate, *flood) == [
        'heard "100%" at 0.0 s',
        'heard "100%" at 1.0 s',
        'heard "100%" at 2.0 s [more like it in this minute are dropped]',
    ]
    assert passed(gate, record('heard "%s" at %.1f s', 161, "x", 5)) == ['heard "x" at 5.0 s [and 997 like it before]']
    assert passed(gate, record('heard "%s" at %.1f s', 162, "x", 6)) == ['heard "x" at 6.0 s']


def test_other_lines_still_pass():
    gate = LogFloodLimit(limit=2)
    passed(gate, *(record("flood %d", 100.0, number) for number in range(10)))
    assert passed(gate, record("the microphone is lost", 101.0)) == ["the microphone is lost"]


def test_a_clock_that_jumps_back_stops_nothing():
    gate = LogFloodLimit(limit=2)
    passed(gate, *(record("flood %d", 1_000.0, number) for number in range(10)))
    assert len(passed(gate, *(record("flood %d", 10.0 + number, number) for number in range(2)))) == 2
