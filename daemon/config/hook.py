"""A command that follows a word, as it is configured; `daemon.responses.hooks` runs it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

TIME_LIMIT = 10.0  # s
NAME_LIMIT = 40  # characters


@dataclass(frozen=True)
class Hook:
    """A command: a line for the shell, or a program and its arguments.

    time_limit: s that it may run; cooldown: s after a start within which it is not started again.
    """

    command: str | tuple[str, ...]
    time_limit: float = TIME_LIMIT
    cooldown: float = 0.0

    @property
    def name(self) -> str:
        """The command as log lines show it, cut if it is long."""
        line = self.command if isinstance(self.command, str) else shlex.join(self.command)
        return repr(line if len(line) <= NAME_LIMIT else line[: NAME_LIMIT - 3] + "...")
