"""Does what is asked over the control socket, on the loop's own thread, between two blocks.

Requests: ``{"command": "status"}``, ``watch``, ``mute`` (optional ``minutes``), ``unmute``, ``trigger`` (``word``),
``reload``, and those of `MonitorState`. An answer holds ``error``, one sentence, if it could not be done.
"""

from __future__ import annotations

import datetime
import math
import os
import queue
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

import daemon
from daemon.control.monitor_state import MonitorState
from daemon.control.server import Answer, ControlServer, Request
from daemon.listening.listening_plan import ListeningPlan
from daemon.listening.loop import ListeningLoop
from daemon.listening.reload import Reloader
from daemon.listening.status import Status
from daemon.system.errors import ChimedError
from model.detector import Detection, Detector
from model.frontend import FRAME, FRAME_STEPS, SAMPLE_RATE, FloatArray

ANSWER_TIMEOUT_SECONDS = 10.0  # s; opening a microphone may take 5
LONGEST_MUTE = 7 * 24 * 60  # minutes
RECENT_DETECTIONS = 10  # detections
SILENT = -100.0  # dBFS, what is shown for no sound at all


class RequestRefusedError(ChimedError):
    """The request cannot be done; the text says why."""


class ControlCommands:
    """Answers what is asked of a listening loop through a server, and publishes what it hears."""

    def __init__(self, loop: ListeningLoop, server: ControlServer, reloader: Reloader) -> None:
        self._loop = loop
        self._server = server
        self._reloader = reloader
        self._monitor_state = MonitorState(loop, reloader)
        self._started = time.monotonic()
        self._recent: deque[dict[str, Any]] = deque(maxlen=RECENT_DETECTIONS)
        loop.observers.append(self._publish)

    def handle(self, request: Request) -> Answer:
        """The answer, once the loop has come to it; called in any thread."""
        answers: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._loop.ask(lambda: answers.put(self._answer(request)))
        try:
            return answers.get(timeout=ANSWER_TIMEOUT_SECONDS)
        except queue.Empty:
            return {
                "error": f"chimed did not answer within {ANSWER_TIMEOUT_SECONDS:g} s; it may still do what was asked"
            }

    # on the loop's thread

    def _answer(self, request: Request) -> Answer:
        commands: dict[Any, Callable[[Request], Answer]] = {
            "status": self._status,
            "watch": self._watch,
            "mute": self._mute,
            "unmute": self._unmute,
            "trigger": self._trigger,
            "reload": self._reload,
            "window": self._window,
            "samples": self._monitor_state.samples,
        }
        command = request.get("command")
        if not isinstance(command, str) or command not in commands:
            return {"error": f"unknown command; known: {', '.join(commands)}"}
        try:
            return commands[command](request)
        except RequestRefusedError as error:
            return {"error": str(error)}

    def _status(self, _request: Request) -> Answer:
        status = self._loop.status()
        return {
            "version": daemon.__version__,
            "pid": os.getpid(),
            "state": status.state,
            "listening": status.listening,
            "muted": status.muted,
            "muted_for": _finite(status.muted_seconds),
            "level": self._level(status),
            "words": [
                {
                    "word": model.word,
                    "threshold": model.threshold,
                    "smoothing": model.smoothing,
                    "suppression": model.suppression,
                }
                for model in status.plan.models
            ],
            "detections": status.detections,
            "last": list(self._recent),
            "uptime": round(time.monotonic() - self._started, 1),
            "heard": round(status.seconds, 1),
            "gaps": status.gaps,
            "dropped_blocks": status.dropped_blocks,
            "dropped_seconds": round(status.dropped_blocks * FRAME / SAMPLE_RATE, 2),
            "complaint": status.complaint,
        }

    def _watch(self, _request: Request) -> Answer:
        return {"watching": [model.word for model in self._loop.status().plan.models]}

    def _mute(self, request: Request) -> Answer:
        if not self._loop.status().can_mute:
            raise RequestRefusedError("a recording cannot be muted")
        minutes = request.get("minutes")
        if minutes is None:
            self._loop.mute.begin()
        elif isinstance(minutes, int | float) and 0 < minutes <= LONGEST_MUTE:
            self._loop.mute.begin(60 * minutes)
        else:
            raise RequestRefusedError(f"minutes are a number, more than 0 and at most {LONGEST_MUTE}")
        return {"state": self._loop.status().state}

    def _unmute(self, _request: Request) -> Answer:
        was = self._loop.mute.on
        self._loop.mute.end()
        return {"muted_before": was}

    def _trigger(self, request: Request) -> Answer:
        word, known = request.get("word"), self._loop.status().plan.responses
        if not isinstance(word, str) or word not in known:
            raise RequestRefusedError(f"not a word that is listened for; there are: {', '.join(known)}")
        self._loop.trigger(word)
        return {"triggered": word}

    def _reload(self, _request: Request) -> Answer:
        self._reloader.reload()
        if complaint := self._loop.status().complaint:
            raise RequestRefusedError(complaint)
        return {"state": self._loop.status().state}

    def _window(self, request: Request) -> Answer:
        return self._monitor_state.window(request, list(self._recent)) | {"level": self._level(self._loop.status())}

    def _publish(self, detections: list[Detection]) -> None:
        for detection in detections:
            now = datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")
            heard = {"word": detection.word, "score": round(detection.score, 4), "time": now}
            self._recent.append(heard | {"sample": detection.sample})
            if self._server.watched:
                self._server.publish({"event": "detection"} | self._recent[-1])
        if self._server.watched:
            self._loop.hurry()
            status, detector = self._loop.status(), self._loop.detector
            self._server.publish(
                {
                    "event": "block",
                    "state": status.state,
                    "seconds": round(status.seconds, 3),
                    "level": self._level(status),
                    "words": [
                        {"word": model.word, "posterior": posterior, "threshold": model.threshold}
                        for model, posterior in zip(status.plan.models, highest(status.plan, detector), strict=True)
                    ],
                }
            )

    def _level(self, status: Status) -> float | None:
        return level(self._loop.detector) if status.listening else None


def level(detector: Detector) -> float:
    """How loud the last 80 ms were, RMS in dBFS."""
    samples = detector.samples.last(FRAME).astype(np.float64)
    power = float(np.mean(samples**2)) if len(samples) else 0.0
    return max(SILENT, round(10 * math.log10(power / 32_768**2), 1)) if power else SILENT


def highest(plan: ListeningPlan, detector: Detector) -> list[float]:
    """For each word the highest smoothed posterior of the last 80 ms: what its gate compared with the threshold."""
    found = []
    for index, model in enumerate(plan.models):
        recent: FloatArray = detector.posteriors.last(FRAME_STEPS + model.smoothing - 1)[:, index]
        padded = np.concatenate((np.zeros(model.smoothing - 1), recent))
        means = np.convolve(padded, np.full(model.smoothing, 1 / model.smoothing), "valid")
        found.append(round(float(means[-FRAME_STEPS:].max()), 4) if len(recent) else 0.0)
    return found


def _finite(seconds: float | None) -> float | None:
    """JSON knows no infinity."""
    return None if seconds is None or math.isinf(seconds) else round(seconds, 1)
