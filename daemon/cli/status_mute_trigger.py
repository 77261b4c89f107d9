"""`chimed status`, `mute`, `unmute` and `trigger`: ask a running chimed, and print its answer as text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from daemon.control.client import ask
from daemon.system.terminal import say


def command(args: argparse.Namespace) -> int:
    """Ask, and print the answer. Raises ControlError."""
    if args.ask == "status":
        answer = ask(args.socket, "status")
        for line in [json.dumps(answer)] if args.json else describe(answer):
            say(line)
    elif args.ask == "mute":
        say(ask(args.socket, "mute", **({} if args.minutes is None else {"minutes": args.minutes}))["state"])
    elif args.ask == "unmute":
        say("listening again" if ask(args.socket, "unmute")["muted_before"] else "it was not muted")
    else:
        say(f"triggered {ask(args.socket, 'trigger', word=args.word)['triggered']}")
    return 0


def describe(status: dict[str, Any]) -> Iterator[str]:
    """A status in lines for people."""
    yield status["state"]
    if status["complaint"]:
        yield status["complaint"]
    level = status["level"]
    yield f"level       {'no sound comes' if level is None else f'{level:.0f} dBFS'}"
    for word in status["words"]:
        yield f"word        {word['word']}, threshold {word['threshold']:g}"
    heard = status["last"]
    yield f"detections  {status['detections']}{', the last ones:' if heard else ''}"
    for detection in heard:
        day, _, clock = detection["time"].partition("T")
        yield f"            {day} {clock[:8]}  {detection['word']}  {detection['score']:.2f}"
    yield f"dropped     {dropped(status)}"
    yield f"up for      {duration(status['uptime'])}, heard {duration(status['heard'])}"


def dropped(status: dict[str, Any]) -> str:
    """What was lost of the sound."""
    gaps, blocks = status["gaps"], status["dropped_blocks"]
    if not gaps:
        return "no block"
    how_much = f"blocks: {blocks} ({status['dropped_seconds']:.2f} s)" if blocks else "the sound server lost some"
    return f"{how_much}, in {gaps} gap{'s' if gaps > 1 else ''}"


def duration(seconds: float) -> str:
    """Its two largest units: ``3 d 4 h``."""
    left = round(seconds)
    parts: list[str] = []
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, left = divmod(left, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
