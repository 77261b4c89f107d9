"""Log lines on stderr: for people with the time, for the systemd journal with its priority prefix.

Lines flow in through `logging`; what flows out holds no control characters (see `console.printable`).
"""

from __future__ import annotations

import logging
import os
import sys

from daemon.console import printable

PER_MINUTE = 200  # lines of one kind

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


class FloodGate(logging.Filter):
    """Lets so many lines of a kind (the same text before its values are filled in) pass in a minute.

    The last of them says that more follow, the next minute's first how many there were. The records' own times decide.
    """

    def __init__(self, limit: int = PER_MINUTE) -> None:
        super().__init__()
        self._limit = limit
        self._kinds: dict[str, list[float]] = {}  # -> start of its minute (s), lines in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line passes; adds to it what others it stands for."""
        kind = str(record.msg)
        begin, count = self._kinds.get(kind, (record.created, 0))
        dropped = 0
        if not 0 <= record.created - begin < 60:
            begin, count, dropped = record.created, 0, max(0, count - self._limit)
        self._kinds[kind] = [begin, count + 1]
        if dropped:
            record.msg = f"{kind} [and {dropped} like it before]"
        if count + 1 == self._limit:
            record.msg = f"{record.msg} [more like it in this minute are dropped]"
        return count < self._limit


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


def setup(level: str, limited: bool = True) -> None:
    """Send the log to stderr, from this level (one of `LEVELS`) on; limited: no flood of lines, see `FloodGate`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JournalFormatter() if under_journal(sys.stderr.fileno()) else TerminalFormatter())
    if limited:
        handler.addFilter(FloodGate())
    logging.raiseExceptions = False  # a full disk or a closed pipe behind stderr must not stop the listening
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
