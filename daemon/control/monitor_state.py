"""Says what the monitor shows of a listening loop, and what of it is new to a viewer.

Requests: ``window``, with the numbers of the answer before it (``instance``, ``origin``, ``columns``, ``steps``,
``plan``, ``detections``; what is missing was not seen), and ``samples`` (``from``, ``to``, in samples since the start).
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from daemon.config.settings import SYSTEM_FILE, usual_files
from daemon.control import window_encoding
from daemon.control.server import Answer, Request
from daemon.listening.loop import ListeningLoop
from daemon.listening.reload import Reloader


class MonitorState:
    """Answers on the loop's thread, between two blocks. It keeps nothing of what anyone has seen."""

    def __init__(self, loop: ListeningLoop, reloader: Reloader) -> None:
        self._loop = loop
        self._reloader = reloader
        self._plan = loop.status().plan
        self._plans = 1  # how many there were, so that a viewer notices another one
        self._instance = secrets.randbits(40)  # and that chimed was restarted, after which all counts begin anew

    def window(self, request: Request, recent: list[dict[str, Any]]) -> dict[str, Any]:
        """The state, and what is new: columns, posteriors, the words and the recent detections if they changed."""
        status, settings = self._loop.status(), self._reloader.settings
        if _count(request, "instance") != self._instance:
            request = {}  # what it saw was another chimed's
        if status.plan is not self._plan:
            self._plan, self._plans = status.plan, self._plans + 1
        answer: dict[str, Any] = {
            "state": status.state,
            "listening": status.listening,
            "muted": status.muted,
            "can_mute": status.can_mute,
            "complaint": status.complaint,
            "heard": status.heard,
            "instance": self._instance,
            "plan": self._plans,
            "detections": status.detections,
        }
        seen: window_encoding.SeenSoFar | None = window_encoding.SeenSoFar(
            *(_count(request, name) for name in ("origin", "columns", "steps"))
        )
        if _count(request, "plan") != self._plans:
            answer["words"] = self._words()
            answer["config"] = str(settings.file.resolve() if settings.file else config_file_to_write())
            seen = None  # other words have other posteriors, all through the window
        if _count(request, "detections") != status.detections:
            answer["last"] = recent
        return answer | window_encoding.new_in_window(self._loop.detector, status.origin, seen)

    def samples(self, request: Request) -> Answer:
        """What the window still holds of this piece."""
        begin, end = _count(request, "from"), _count(request, "to")
        return window_encoding.samples_between(self._loop.detector, self._loop.status().origin, begin, end)

    def _words(self) -> list[dict[str, Any]]:
        """Each word, its model's file, and the option that keeps the configuration from setting its threshold."""
        settings, models = self._reloader.settings, self._plan.models
        found = []
        for index, (word, model) in enumerate(zip(settings.words, models, strict=True)):
            places = [settings.places.get(f"words[{index}].{key}", "") for key in ("threshold", "model")]
            fixed = next((place for place in places if place.startswith("--")), "")
            found.append(
                window_encoding.described_word(model) | {"model": str(word.model.resolve()), "fixed_by": fixed}
            )
        return found


def config_file_to_write() -> Path:
    """Where this process would find a configuration that somebody wrote now: the user's own, or the system's."""
    # systemd names the state folder of the system's service, whose user is nobody and has no home but that
    return SYSTEM_FILE if "STATE_DIRECTORY" in os.environ else usual_files()[0]


def _count(request: Request, name: str) -> int:
    """A whole number of the request, -1 where it has none."""
    value = request.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else -1
