"""The user's shell commands: started without blocking, their output into the log, none left behind.

A hook is over when its shell has ended and its output is closed. Past its time limit its whole process group
is killed. What shall outlive the limit, such as an application, gives up the output, as behind any pipe:
``firefox >/dev/null 2>&1 &``.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import select
import signal
import subprocess
import threading
import time
from dataclasses import dataclass

from model.detector import Detection

TIME_LIMIT = 10.0  # s
GRACE = 0.5  # s from SIGTERM to SIGKILL, and once more for the output to end; the daemon stops within 2 s
POLL = 0.05  # s
CHUNK = 65_536  # bytes, a pipe's worth
NAME_LIMIT = 40  # characters
LINE_LIMIT = 500  # characters
LINES_LIMIT = 100  # a hook and run

log = logging.getLogger(__name__)


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
        line = self.command if isinstance(self.command, str) else " ".join(self.command)
        return repr(line if len(line) <= NAME_LIMIT else line[: NAME_LIMIT - 3] + "...")


def environment(detection: Detection) -> dict[str, str]:
    """What a hook is told; nothing of it is ever part of a command line."""
    return {
        "CHIMED_WORD": detection.word,
        "CHIMED_SCORE": f"{detection.score:.4f}",
        "CHIMED_TIME": datetime.datetime.now().astimezone().isoformat(timespec="milliseconds"),
    }


class LineLog:
    """Bytes in, log lines out, bounded in length and in number, so that no flood fills memory or journal."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._line = b""
        self._cut = False
        self._left = LINES_LIMIT

    def push(self, data: bytes) -> None:
        """Log the lines that these bytes complete."""
        if self._left <= 0:
            return
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._append(part)
            self._end()
        self._append(rest)

    def flush(self) -> None:
        """End of the output: log what lacks a line break."""
        if self._line:
            self._end()

    def _append(self, part: bytes) -> None:
        room = 4 * LINE_LIMIT - len(self._line)  # UTF-8 takes up to 4 bytes a character
        self._cut |= len(part) > room
        self._line += part[:room]

    def _end(self) -> None:
        text = self._line.decode(errors="replace").rstrip("\r")
        cut = self._cut or len(text) > LINE_LIMIT
        self._line, self._cut = b"", False
        self._left -= 1
        if self._left > 0:
            log.info("hook %s: %s%s", self._name, text[:LINE_LIMIT], " ..." if cut else "")
        elif self._left == 0:
            log.warning("hook %s: more than %d lines; the rest is dropped", self._name, LINES_LIMIT - 1)


class HookRunner:
    """Starts hooks and follows each in a thread until nothing of it is left."""

    def __init__(self) -> None:
        self._threads: set[threading.Thread] = set()
        self._stopping = threading.Event()

    def start(self, hook: Hook, variables: dict[str, str]) -> None:
        """Start a hook and return at once; one that cannot start is a line in the log."""
        try:
            process = subprocess.Popen(
                hook.command,
                shell=isinstance(hook.command, str),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, **variables},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            log.error("hook %s cannot start: %s", hook.name, error)
            return
        self._threads = {thread for thread in self._threads if thread.is_alive()}
        thread = threading.Thread(target=self._follow, args=(hook, process), name="hook", daemon=True)
        self._threads.add(thread)
        thread.start()

    def wait(self) -> None:
        """Let all hooks end; their time limits bound it."""
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """Terminate what still runs, within 2 s."""
        self._stopping.set()
        deadline = time.monotonic() + 2 * GRACE + 2 * POLL
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _follow(self, hook: Hook, process: subprocess.Popen[bytes]) -> None:
        name = hook.name
        lines = LineLog(name)
        over = self._watch(process, lines, hook.time_limit, until_stop=True)
        if not over:
            why = "the daemon stops" if self._stopping.is_set() else f"not over after {hook.time_limit:g} s"
            log.warning("hook %s: killed, %s", name, why)
            # The group's number cannot belong to another by now: its leader has not been reaped. Some of the
            # group may ignore the first signal while its leader ends, hence always both.
            for number in (signal.SIGTERM, signal.SIGKILL):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, number)
                self._watch(process, lines, GRACE)
        lines.flush()
        assert process.stdout is not None
        process.stdout.close()
        code = process.wait()
        if over and code:
            how = f"exit code {code}" if code > 0 else f"killed by {signal.Signals(-code).name}"
            log.warning("hook %s: %s", name, how)

    def _watch(
        self, process: subprocess.Popen[bytes], lines: LineLog, seconds: float, until_stop: bool = False
    ) -> bool:
        """Log a hook's output until it is over (True) or for so long (False); reaps nothing."""
        assert process.stdout is not None
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        deadline = time.monotonic() + seconds
        closed = False
        while time.monotonic() < deadline and not (until_stop and self._stopping.is_set()):
            if closed:
                if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    return True
                time.sleep(POLL)
            elif poll.poll(POLL * 1000):
                data = os.read(process.stdout.fileno(), CHUNK)
                lines.push(data)
                closed = not data
        return False
