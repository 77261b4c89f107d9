"""Two trainings that share a folder of decoded or aligned recordings: one works, the other waits and says so."""

from __future__ import annotations

import fcntl
from typing import IO, Any

from tqdm import tqdm


def wait_for_turn(file: IO[Any], title: str) -> None:
    """Lock a file that is open, for as long as it is. title: of the work that another one may be at."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        tqdm.write(f"{title}: another training is at it in the same folder; waiting for that")
        fcntl.flock(file, fcntl.LOCK_EX)
