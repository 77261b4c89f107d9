"""Durations are said as people say them, and a bar gives every item."""

from training.utils.progress import bar, duration


def test_durations_read_as_people_say_them() -> None:
    said = [duration(seconds) for seconds in (-1, 40, 89, 90, 720, 5400, 8100)]
    assert said == ["0 s", "40 s", "89 s", "2 min", "12 min", "1 h 30 min", "2 h 15 min"]


def test_a_bar_gives_every_item_and_says_how_many_there_were(capfd) -> None:
    assert list(bar([1, 2], "numbers", "item")) == [1, 2]
    assert list(bar(iter("abc"), "no total", "item")) == ["a", "b", "c"]
    written = capfd.readouterr().err
    assert "numbers: 100%" in written
    assert "no total: 3item" in written
