"""A command in a real terminal: what it shows can be waited for, and keys can be pressed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

CHIMED_TRAIN = (sys.executable, "-c", "import sys; from training.cli.main import main; sys.exit(main())")


class Terminal:
    """`chimed-train` with these arguments behind a pseudo-terminal of 100 columns; as a context, it ends with it."""

    def __init__(self, *arguments: object, environment: Mapping[str, str] | None = None) -> None:
        self._own, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [*CHIMED_TRAIN, *map(str, arguments)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**(environment or os.environ), "COLUMNS": "100", "LINES": "40"},
        )
        os.close(theirs)
        self.screen = ""
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._own, 65_536)
            except OSError:  # the other side was closed
                data = b""
            with self._news:
                self.screen += data.decode("utf-8", "replace")
                self._news.notify_all()
            if not data:
                return

    def wait_for(self, text: str, count: int = 1, seconds: float = 240) -> None:
        """Return once this was shown so many times since the start; fails if it does not come."""
        deadline = time.monotonic() + seconds
        with self._news:
            while self.screen.count(text) < count:
                left = deadline - time.monotonic()
                alive = self._reader.is_alive()
                assert left > 0, f"no {text!r} (x{count}) on the screen:\n{self.screen}"
                assert alive, f"it ended without {text!r} (x{count}):\n{self.screen}"
                self._news.wait(min(left, 1))

    def press(self, keys: str) -> None:
        """Press some keys, one after the other."""
        os.write(self._own, keys.encode())

    def end(self, seconds: float = 240) -> int:
        """The exit status, once it ended by itself; the screen is complete then."""
        code = self.process.wait(seconds)
        self._reader.join(10)
        assert "Traceback" not in self.screen, self.screen
        return code

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill it if it still runs."""
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        os.close(self._own)
