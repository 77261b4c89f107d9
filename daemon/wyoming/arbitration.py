"""Decides which of several streams that hear one word within a moment answers it: the loudest or the surest."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(frozen=True)
class _Claim:
    owner: Hashable
    strength: float
    verdict: asyncio.Future[bool]


class Arbiter:
    """Lets the strongest of those win that hear a word within `seconds` of the first. 0: everyone wins at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._claims: dict[str, list[_Claim]] = {}

    def claim(self, word: str, owner: Hashable, strength: float, rivals: bool = True) -> asyncio.Future[bool]:
        """A stream heard the word; whether it is to answer is known after a moment, at once without rivals.

        strength: loudness or score; of equals the first wins. A cancelled claim does not count.
        """
        loop = asyncio.get_running_loop()
        verdict: asyncio.Future[bool] = loop.create_future()
        contest = self._claims.get(word)
        if contest is None and (not self._seconds or not rivals):
            verdict.set_result(True)
        elif contest is None:
            self._claims[word] = [_Claim(owner, strength, verdict)]
            loop.call_later(self._seconds, self._decide, word)
        elif any(claim.owner == owner for claim in contest):
            verdict.set_result(False)  # one stream speaks once
        else:
            contest.append(_Claim(owner, strength, verdict))
        return verdict

    def _decide(self, word: str) -> None:
        claims = [claim for claim in self._claims.pop(word) if not claim.verdict.cancelled()]
        winner = max(claims, key=lambda claim: claim.strength, default=None)
        for claim in claims:
            claim.verdict.set_result(claim is winner)
