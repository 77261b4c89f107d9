"""Makes one stream of blocks of a microphone that can be shut and exchanged while it is listened to."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from daemon.audio.microphone import NO_SAMPLES, SILENCE_POLL_SECONDS
from daemon.audio.mute import Mute
from daemon.audio.sources import Block, Source

# whether to be patient, and whether it was heard before
OpenSource = Callable[[bool, bool], Source]

log = logging.getLogger(__name__)


class SwitchableSource:
    """What `open_source` opens; while `mute` is on nothing is open, and empty blocks say that the loop lives.

    open_source: told whether to be patient, since only at the start somebody may be there to read that there is no such
    microphone, and whether the same one was heard before. Raises AudioError as `open_source` does.
    """

    live = True

    def __init__(self, open_source: OpenSource, mute: Mute) -> None:
        self._open = open_source
        self._mute = mute
        self._exchanged = False
        self._source = None if mute.on else open_source(False, False)
        self._heard = not mute.on  # this microphone

    @property
    def name(self) -> str:
        """The microphone's."""
        return self._source.name if self._source is not None else "the microphone"

    def exchange(self, open_source: OpenSource) -> None:
        """Listen to another microphone from the next block on, or once it is not muted any more."""
        self._open = open_source
        self._exchanged, self._heard = True, False

    def blocks(self) -> Iterator[Block]:
        """The stream, for ever. Raises AudioError where a microphone fails for good."""
        while True:
            if self._mute.on:
                log.info("%s: the microphone is closed", self._mute.text)
                yield from self._silence()
                self._mute.end()
                log.info("no longer muted")
            if self._source is None:
                self._source = self._open(True, self._heard)
                self._heard = True
            self._exchanged = False
            stream = self._source.blocks()
            for block in stream:
                yield block
                if self._mute.on or self._exchanged:
                    break
            self.close()
            yield Block(NO_SAMPLES, gap=True)

    def _silence(self) -> Iterator[Block]:
        while self._mute.on:
            yield Block(NO_SAMPLES)
            time.sleep(SILENCE_POLL_SECONDS)

    def backlog(self) -> int:
        """Samples that were captured but not yet handed on."""
        return self._source.backlog() if self._source is not None else 0

    def hurry(self) -> None:
        """Let no sound wait in the next second."""
        source = self._source  # this is another thread
        if source is not None:
            source.hurry()

    def close(self) -> None:
        """Close the microphone, within a second whatever the sound server does."""
        if self._source is not None:
            self._source.close()
            self._source = None
