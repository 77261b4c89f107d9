"""Writes the log to stderr: for people with the time, for the systemd journal with its priority prefix.

Lines flow in through `logging`; what flows out holds no control characters (see `console.printable`).
"""

from __future__ import annotations

import logging
import os
import select
import sys

from daemon.system.log_flood_limit import LogFloodLimit
from daemon.system.terminal import printable

LOG_WRITE_TIMEOUT_SECONDS = 0.5  # s that a line waits for who reads the log

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


class StderrHandler(logging.Handler):
    """Lines to a descriptor, without a buffer that would fail once more when the interpreter ends.

    A disk that is full, or a reader that does not read, costs lines and not the listening: after `timeout` (s; None:
    waits for ever) a line is given up, and so are those that follow until there is room. The next says how many.
    """

    def __init__(self, descriptor: int, timeout: float | None) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._timeout = timeout
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self.lost = 0  # lines, since the last that was written

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, or count it."""
        text = self.format(record) + (f" [{self.lost} lines before it could not be written]" if self.lost else "")
        try:
            if self._writable():
                os.write(self._descriptor, text.encode(errors="backslashreplace") + b"\n")
                self.lost = 0
                return
        except OSError:
            pass
        self.lost += 1

    def _writable(self) -> bool:
        timeout = None if self._timeout is None else 0 if self.lost else self._timeout * 1000
        return bool(self._poll.poll(timeout))


def setup(level: str, limited: bool = True) -> None:
    """Send the log to stderr, from this level (one of `LEVELS`) on.

    limited: no flood of lines, see `LogFloodLimit`, and no waiting for who reads them, as an audio loop needs it.
    """
    handler = StderrHandler(sys.stderr.fileno(), LOG_WRITE_TIMEOUT_SECONDS if limited else None)
    handler.setFormatter(JournalFormatter() if under_journal(sys.stderr.fileno()) else TerminalFormatter())
    if limited:
        handler.addFilter(LogFloodLimit())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
