"""Keeps the log from being flooded: of what repeats itself too often the rest of a minute is only counted."""

from __future__ import annotations

import logging

PER_MINUTE = 200  # lines of one kind


class LogFloodLimit(logging.Filter):
    """Lets so many lines of a kind (level, and text before its values are filled in) pass in a minute.

    The last of them says that more follow, the next minute's first how many there were. The records' own times decide.
    """

    def __init__(self, limit: int = PER_MINUTE) -> None:
        super().__init__()
        self._limit = limit
        self._kinds: dict[tuple[int, str], list[float]] = {}  # -> start of its minute (s), lines in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether this line passes; adds to it what others it stands for."""
        kind = (record.levelno, str(record.msg))
        begin, count = self._kinds.get(kind, (record.created, 0))
        dropped = 0
        if not 0 <= record.created - begin < 60:
            begin, count, dropped = record.created, 0, max(0, count - self._limit)
        self._kinds[kind] = [begin, count + 1]
        if dropped:
            record.msg = f"{record.msg} [and {dropped} like it before]"
        if count + 1 == self._limit:
            record.msg = f"{record.msg} [more like it in this minute are dropped]"
        return count < self._limit
