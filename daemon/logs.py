"""Log lines on stderr: for people with the time, for the systemd journal with its priority prefix.

Lines flow in through `logging`; what flows out holds no control characters (see `console.printable`).
"""

from __future__ import annotations

import logging
import os
import sys

from daemon.console import printable

LEVELS = ("debug", "info", "warning", "error")

_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))  # sd-daemon(3)


class JournalFormatter(logging.Formatter):
    """``<6>text``: journald reads the priority and adds the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or one a line of a traceback."""
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in _lines(self, record))


class TerminalFormatter(logging.Formatter):
    """``12:34:56 text``; what is worse than information is named."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or one a line of a traceback."""
        prefix = self.formatTime(record, "%H:%M:%S")
        if record.levelno >= logging.WARNING:
            prefix += f" {record.levelname.lower()}:"
        return "\n".join(f"{prefix} {line}" for line in _lines(self, record))


def _lines(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    lines = [printable(record.getMessage())]
    if record.exc_info:
        lines += map(printable, formatter.formatException(record.exc_info).splitlines())
    return lines


def under_journal(descriptor: int) -> bool:
    """Whether this descriptor goes to the journal.

    JOURNAL_STREAM alone proves nothing: every terminal that the user manager started inherits it.
    """
    try:
        device, inode = map(int, os.environ.get("JOURNAL_STREAM", "").split(":"))
        status = os.fstat(descriptor)
    except (ValueError, OSError):
        return False
    return (status.st_dev, status.st_ino) == (device, inode)


def setup(level: str) -> None:
    """Send the log to stderr, from this level (one of `LEVELS`) on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter() if under_journal(sys.stderr.fileno()) else TerminalFormatter())
    logging.raiseExceptions = False  # a full disk or a closed pipe behind stderr must not stop the listening
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
