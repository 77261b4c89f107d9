"""Measures how far a stream is behind its client, and says in the log when streams fall behind.

Clients speak in real time. A stream that is heard more slowly, and never has to be waited for, falls behind: what waits
fills our buffers, then the client's, where nobody can count it. The clock can.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable

TOO_LATE = 0.6  # s behind: who asks in the stream what is offered gives up a second after it asked
CATCHING_UP = 0.2  # s in which a stream that fell behind at once, since the machine stood still, may catch up
WAITED = 0.001  # s; a read that takes longer found nothing there
KEEPS_UP_SECONDS = 30.0  # s without a skip, and a stream keeps up again

log = logging.getLogger(__name__)


class StreamLag:
    """How far one stream is behind its client, and whether what waits is to be skipped.

    now: s, of a clock that never goes back.
    """

    def __init__(self, now: float) -> None:
        self.behind = 0.0  # s
        self.skipping = False  # until it is up to date
        self._last = now
        self._late_since: float | None = None

    def waited(self, now: float) -> None:
        """There was nothing to hear: it is up to date."""
        self.behind, self._last = 0.0, now
        self.skipping, self._late_since = False, None

    def heard(self, seconds: float, now: float) -> None:
        """So much sound was heard, or skipped. Who sends faster than real time is never behind while that is heard."""
        self.behind = max(0.0, self.behind + now - self._last - seconds)
        self._last = now
        if not self.behind:
            self.skipping = False
        if self.behind <= TOO_LATE:
            self._late_since = None
        elif self._late_since is None:
            self._late_since = now
        elif now - self._late_since > CATCHING_UP:
            self.skipping = True


class Backlog:
    """Says once that streams fall behind, and once that they keep up again."""

    def __init__(self, quiet: float = KEEPS_UP_SECONDS) -> None:
        self._quiet = quiet
        self._late: dict[Hashable, asyncio.TimerHandle] = {}
        self._skipped = 0.0

    def late(self, stream: Hashable, name: str, behind: float, streams: int) -> None:
        """A stream begins to skip what waits. name: for the log, as is the number of streams."""
        if not self._late:
            self._skipped = 0.0
            log.warning(
                "cannot keep up with %d stream%s: %s is %.1f s behind, so what waits is skipped; use fewer streams "
                "(max_streams), fewer words or more servers",
                *(streams, "" if streams == 1 else "s", name, behind),
            )
        elif stream in self._late:
            self._late[stream].cancel()
        self._late[stream] = asyncio.get_running_loop().call_later(self._quiet, self.forget, stream)

    def skipped(self, seconds: float) -> None:
        """So much sound of some stream was not listened to."""
        self._skipped += seconds

    def forget(self, stream: Hashable) -> None:
        """The stream has kept up for a while, or is over."""
        timer = self._late.pop(stream, None)
        if timer is None:
            return
        timer.cancel()
        if not self._late:
            log.info("keeping up again; %.1f s of sound were skipped", self._skipped)
