"""Of several that hear one word within a moment the strongest wins; a moment later it is another word."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from daemon.wyoming.arbitration import Arbiter

MOMENT = 0.05  # s


def verdicts(*claims: tuple[str, str, float], seconds: float = MOMENT) -> list[bool]:
    """What becomes of claims (word, owner, strength) that come at once."""

    async def run() -> list[bool]:
        arbiter = Arbiter(seconds)
        futures: list[Awaitable[bool]] = [arbiter.claim(*claim) for claim in claims]
        return await asyncio.gather(*futures)

    return asyncio.run(run())


def test_the_strongest_wins_wherever_it_stands():
    claims = [("word", str(i), strength) for i, strength in enumerate([-30.0, -12.0, -20.0])]
    assert verdicts(*claims) == [False, True, False]
    assert verdicts(*reversed(claims)) == [False, True, False]


def test_of_equals_the_first_wins():
    assert verdicts(("word", "a", 0.9), ("word", "b", 0.9)) == [True, False]


def test_each_word_is_a_contest_of_its_own():
    assert verdicts(("one", "a", 0.1), ("two", "b", 0.9), ("two", "a", 0.3)) == [True, True, False]


def test_one_stream_speaks_once():
    assert verdicts(("word", "a", 0.5), ("word", "a", 0.9), ("word", "b", 0.7)) == [False, False, True]


def test_without_a_moment_all_win():
    assert verdicts(("word", "a", 0.1), ("word", "b", 0.9), seconds=0) == [True, True]


def test_without_rivals_the_verdict_is_there_at_once():
    async def run() -> None:
        arbiter = Arbiter(3_600)
        assert await arbiter.claim("word", "a", 0.5, rivals=False)
        first = arbiter.claim("word", "a", 0.5)
        assert not first.done()
        assert not arbiter.claim("word", "b", 0.9, rivals=False).done()  # the contest has begun

    asyncio.run(run())


def test_after_the_verdict_the_next_hears_another_word():
    async def run() -> None:
        arbiter = Arbiter(MOMENT)
        for _ in range(3):
            assert await asyncio.gather(arbiter.claim("word", "a", 1.0), arbiter.claim("word", "b", 2.0)) == [
                False,
                True,
            ]

    asyncio.run(run())


def test_who_has_left_does_not_win():
    async def run() -> None:
        arbiter = Arbiter(MOMENT)
        gone, there = arbiter.claim("word", "a", 9.0), arbiter.claim("word", "b", 1.0)
        gone.cancel()
        assert await there
        alone = arbiter.claim("word", "a", 9.0)
        alone.cancel()
        await asyncio.sleep(2 * MOMENT)  # nobody is left to win, and nothing breaks
        assert await arbiter.claim("word", "b", 1.0)

    asyncio.run(run())
