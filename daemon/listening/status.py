"""What the listening loop does at one moment, for whoever wants to show it."""

from __future__ import annotations

from dataclasses import dataclass

from daemon.listening.listening_plan import ListeningPlan
from model.frontend import SAMPLE_RATE


@dataclass(frozen=True)
class Status:
    """A snapshot. It is not changed by what comes later.

    state: what the loop is doing, in a line; listening: sound comes; ready: sound came once, or it was muted;
    muted_seconds: how long the mute will last, infinity for no limit, None where it is not muted; can_mute: it listens
    to a microphone; complaint: about a configuration that was refused, or ""; heard: samples since the start; origin:
    where in them the detector's stream began; gaps: how often audio was lost, since the machine was too slow;
    dropped_blocks: those that are known to be missing in them.
    """

    state: str
    listening: bool
    ready: bool
    muted: bool
    muted_seconds: float | None
    can_mute: bool
    complaint: str
    plan: ListeningPlan
    heard: int
    origin: int
    detections: int
    gaps: int
    dropped_blocks: int

    @property
    def seconds(self) -> float:
        """How much audio was heard."""
        return self.heard / SAMPLE_RATE
