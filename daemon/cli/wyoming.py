"""The options of `chimed wyoming`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from daemon.config.wyoming_options import ARBITRATION_RANGE, CHOICES, IDLE_RANGE, SERVICE_NAME, STREAMS_RANGE
from daemon.system.log_handlers import LEVELS


def add(commands: Any, add_words: Callable[[argparse.ArgumentParser], None]) -> None:
    """Add the command. add_words: adds what every command that listens takes."""
    command = commands.add_parser(
        "wyoming",
        help="listen for Home Assistant and its satellites, over the network",
        epilog="example:\n  chimed wyoming --uri tcp://0.0.0.0:10400 --zeroconf",
    )
    command.set_defaults(module="daemon.wyoming.service")
    command.add_argument("--uri", help="tcp://HOST:PORT, unix://PATH or stdio:// (default: tcp://127.0.0.1:10400)")
    command.add_argument(
        "--max-streams", type=_number(int, *STREAMS_RANGE), metavar="N", help="serve so many at once (default: 32)"
    )
    command.add_argument(
        "--idle-timeout",
        type=_number(float, *IDLE_RANGE),
        metavar="SECONDS",
        help="drop a client that is silent for so long (default: 300)",
    )
    command.add_argument(
        "--zeroconf",
        nargs="?",
        const=SERVICE_NAME,
        metavar="NAME",
        help="announce the service on the network, so that Home Assistant finds it (default name: chimed)",
    )
    command.add_argument(
        "--arbitrate-ms",
        type=_number(int, *ARBITRATION_RANGE),
        metavar="MS",
        help="when several hear the word within so long, answer one of them (default: 0, answer all)",
    )
    command.add_argument("--arbitrate-by", choices=CHOICES, help=f"which one (default: {CHOICES[0]})")
    add_words(command)
    command.add_argument("--log-level", metavar="LEVEL", choices=LEVELS, help=f"one of {', '.join(LEVELS)}")
    command.add_argument("-v", "--verbose", action="store_const", dest="log_level", const="debug", help="log all")


def _number(kind: type[int] | type[float], low: int, high: int) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value

    return number
