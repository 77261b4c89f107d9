"""Asks a running chimed over its control socket: one request, then one answer or a stream of events."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from daemon.control.server import SYSTEM_SOCKET, socket_path
from daemon.system.errors import ChimedError

REPLY_TIMEOUT_SECONDS = 15.0  # s; the daemon itself gives up after 10


class ControlError(ChimedError):
    """No daemon answers, or it refuses; the text says which and why."""


def ask(path: Path | None, command: str, **arguments: Any) -> dict[str, Any]:
    """The answer to one request; path: None for the usual place. Raises ControlError."""
    with conversation(path, command, **arguments) as lines:
        return next(lines)


@contextmanager
def conversation(path: Path | None, command: str, **arguments: Any) -> Iterator[Iterator[dict[str, Any]]]:
    """The answer and whatever follows it, until the daemon ends. Raises ControlError."""
    path = path or usual_path()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(REPLY_TIMEOUT_SECONDS)
        try:
            connection.connect(str(path))
            # a daemon that takes no more clients says so and closes, perhaps before it was asked: that is still there
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
        except OSError as error:
            raise no_answer(path, error) from error
        with connection.makefile("rb") as lines:
            yield _read(path, lines)


def _read(path: Path, lines: Any) -> Iterator[dict[str, Any]]:
    try:
        for line in lines:
            answer = json.loads(line)
            if "error" in answer:
                raise ControlError(answer["error"])
            yield answer
    except (OSError, ValueError) as error:
        raise no_answer(path, error) from error
    raise ControlError(f"{path}: chimed has stopped")


def no_answer(path: Path, error: Exception) -> ControlError:
    """Why nothing came back, in words."""
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return ControlError(f"no chimed is running, or not as this user (nothing answers at {path})")
    if isinstance(error, TimeoutError):
        return ControlError(f"{path}: chimed does not answer")
    return ControlError(f"{path}: {getattr(error, 'strerror', None) or error}")


def usual_path() -> Path:
    """The user's own daemon if there is one, else the system's."""
    own = socket_path() or SYSTEM_SOCKET
    # os.path, since the system's folder is root's alone, and then there is nothing to see for others
    return SYSTEM_SOCKET if os.path.exists(SYSTEM_SOCKET) and not os.path.exists(own) else own  # noqa: PTH110
