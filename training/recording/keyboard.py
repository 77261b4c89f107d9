"""Standard input in, single keys out: from a terminal at once, from a pipe as they come."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator

END = ""  # what a key is once the input has ended


class Keys:
    """Reads keys from a file descriptor, as text of one character; Enter is a line break, the end of input ""."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def get(self, seconds: float | None = None) -> str | None:
        """The next key; None if none comes for so long (None: waits for ever)."""
        ready, _, _ = select.select([self._descriptor], [], [], seconds)
        if not ready:
            return None
        try:
            text = os.read(self._descriptor, 1)
        except OSError:  # the terminal was closed
            return END
        # what is not ASCII (the rest of an arrow key, a letter with an accent) is a key that nothing listens to
        return text.decode("ascii", "replace").replace("\r", "\n")

    def choose(self, keys: str) -> str:
        """Wait for one of these keys (in either case), or the end of the input."""
        while True:
            key = self.get()
            assert key is not None
            if key == END or key.lower() in keys:
                return key.lower()


@contextlib.contextmanager
def keyboard() -> Iterator[Keys]:
    """The keys of standard input; a terminal gives each at once and does not show it. Ctrl-C still interrupts."""
    descriptor = sys.stdin.fileno()
    if not os.isatty(descriptor):
        yield Keys(descriptor)
        return
    import termios
    import tty

    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield Keys(descriptor)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
