"""Makes calls into a C library that may never return, each in a thread that can be given up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from daemon.system.errors import AudioError

T = TypeVar("T")


class CallsWithDeadline:
    """Makes one call at a time; while one hangs, every further one fails at once."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    @property
    def hung(self) -> bool:
        """Whether a call has not returned yet."""
        return self._thread is not None and self._thread.is_alive()

    def make(self, call: Callable[[], T], seconds: float, discard: Callable[[T], None] | None = None) -> T:
        """The result of `call`, or what it raised.

        Raises AudioError if it takes longer than so many seconds; should it still return one day, `discard`
        gets what no one waits for any more.
        """
        if self.hung:
            raise AudioError("the sound server does not answer")
        results: list[T] = []
        failures: list[Exception] = []
        given_up = threading.Event()

        def work() -> None:
            try:
                result = call()
            except Exception as error:  # handed to the caller's thread, whatever it is
                failures.append(error)
                return
            results.append(result)
            if given_up.is_set() and discard is not None:
                discard(result)

        self._thread = threading.Thread(target=work, name="portaudio", daemon=True)
        self._thread.start()
        try:
            self._thread.join(seconds)
        finally:  # the wait may also end by Ctrl-C
            if not results:
                given_up.set()
        if failures:
            raise failures[0]
        if not results:
            raise AudioError(f"the sound server did not answer within {seconds:g} s")
        return results[0]

    def wait(self, seconds: float) -> bool:
        """Let a call end, at most for so long; whether it did."""
        if self._thread is not None and self._thread.is_alive():  # a signal may have come before it was started
            self._thread.join(seconds)
        return not self.hung
