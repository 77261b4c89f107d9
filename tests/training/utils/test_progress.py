"""What is left of a journey: expected at first, then by the pace so far."""

import pytest

from training.utils.progress import Journey, bar, duration, travel


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_durations_read_as_people_say_them() -> None:
    said = [duration(seconds) for seconds in (-1, 40, 89, 90, 720, 5400, 8100)]
    assert said == ["0 s", "40 s", "89 s", "2 min", "12 min", "1 h 30 min", "2 h 15 min"]


def test_what_is_left_is_corrected_by_the_pace() -> None:
    clock = Clock()
    journey = Journey({"speak": 100, "fit": 200}, clock)
    assert journey.left() == 300
    journey.begin("speak")
    clock.now += 100
    journey.advance(0.5)  # twice as slow as expected
    assert journey.left() == pytest.approx(100 + 200)
    clock.now += 100
    journey.begin("fit")
    assert journey.left() == pytest.approx(400)
    clock.now += 30
    journey.advance(0.25)
    assert journey.left() == pytest.approx(90)


def test_what_an_earlier_run_did_is_not_counted_again() -> None:
    clock = Clock()
    journey = Journey({"speak": 100, "fit": 200}, clock)
    journey.skip("speak")
    assert journey.left() == 200
    journey.begin("fit")
    journey.found(0.5)
    assert journey.left() == 100
    clock.now += 10
    journey.advance(0.75)
    assert journey.left() == pytest.approx(10)
    journey.found(0.8)  # it was this run that did the rest
    assert journey.left() == pytest.approx(10)


def test_a_bar_moves_the_journey_on_and_gives_every_item() -> None:
    journey = Journey({"fit": 100}, Clock())
    journey.begin("fit")
    travel(journey)
    try:
        assert list(bar([1, 2], "first half", "item", part=(0.0, 0.5))) == [1, 2]
        assert journey._done["fit"] == 0.5
        assert list(bar(iter("abc"), "no total", "item")) == ["a", "b", "c"]
        assert journey._done["fit"] == 0.5
    finally:
        travel(None)
