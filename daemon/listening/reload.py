"""Reads a changed configuration again and puts it in force, without a pause in the listening."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from daemon.config.settings import Settings
from daemon.listening import listening_plan
from daemon.listening.listening_plan import ListeningPlan
from daemon.listening.loop import ListeningLoop
from daemon.system.errors import ChimedError
from daemon.system.sd_notify import Notifier

log = logging.getLogger(__name__)


class Reloader:
    """Puts what `read` gives in force in place of these settings. What cannot be used changes nothing.

    follow: called with the old and the new settings and the new plan; a ChimedError refuses them.
    """

    def __init__(
        self,
        settings: Settings,
        read: Callable[[], Settings],
        follow: Callable[[Settings, Settings, ListeningPlan], None],
        loop: ListeningLoop,
        notifier: Notifier,
    ) -> None:
        self.settings = settings  # those in force
        self._read = read
        self._follow = follow
        self._loop = loop
        self._notifier = notifier

    def reload(self) -> None:
        """On the loop's thread. An error is a line in the log and part of the loop's status."""
        if self._loop.status().ready:
            # systemd wants the time too, to tell this reload from one before it
            self._notifier.send(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        try:
            settings = self._read()
            plan = listening_plan.load_plan(settings)
            self._follow(self.settings, settings, plan)
        except ChimedError as error:
            log.error("%s; the settings in force stay", error)
            self._loop.complaint = f"the changed configuration was refused: {error}"
        except Exception:  # a defect of ours, but no reason to stop listening
            log.exception("the changed configuration was refused, by a defect of chimed; the settings in force stay")
            self._loop.complaint = "the changed configuration was refused, by a defect of chimed; the log has more"
        else:
            self._loop.complaint = ""
            self.settings = settings
            log.info("configuration read again; listening for %s", plan)
        self._loop.tell(**({"READY": 1} if self._loop.status().ready else {}))
