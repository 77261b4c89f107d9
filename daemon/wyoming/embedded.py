"""Starts, changes and ends the Wyoming service of a `chimed run`, as the configuration says."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from daemon.config.wyoming_options import WyomingOptions
from daemon.system.errors import ChimedError
from model.modelfile import Model

if TYPE_CHECKING:
    from daemon.wyoming.service import WyomingThread

log = logging.getLogger(__name__)


class EmbeddedService:
    """The Wyoming service of a `chimed run`; none at first."""

    def __init__(self) -> None:
        self._thread: WyomingThread | None = None

    def follow(self, options: WyomingOptions | None, models: Sequence[Model]) -> None:
        """Serve in this way from now on, or, for None, not at all.

        Other models: who is connected stays, and is heard with them. Other options: who is connected must come again.
        Raises ChimedError where it cannot serve; then it goes on in the old way.
        """
        before = self._thread
        if options == (before.options if before is not None else None):
            if before is not None:
                before.adopt(models)
            return
        from daemon.wyoming.service import WyomingThread, require  # most listen to a microphone alone

        if options is not None:
            require(options)
        self.close()  # first, since both may want the same port
        if options is None:
            log.info("no Wyoming service any more")
            return
        try:
            self._thread = WyomingThread(models, options)
        except ChimedError:
            if before is not None:
                self._thread = WyomingThread(before.models, before.options)
            raise

    def close(self) -> None:
        """End the service, within seconds."""
        if self._thread is not None:
            self._thread.close()
            self._thread = None
