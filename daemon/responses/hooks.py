"""Runs the user's commands: without blocking, told what was heard, limited, their output logged, none left behind.

A hook is over when its process has ended and its output is closed. Past its time limit its whole process group
is killed. What shall outlive the limit, such as an application, gives up the output, as behind any pipe:
``firefox >/dev/null 2>&1 &``; it then belongs to the init system.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import logging
import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from daemon.config.hook import Hook

AT_ONCE = 16  # hooks
KILL_AFTER_SECONDS = 0.5  # s from SIGTERM to SIGKILL, and once more for the output to end; the daemon stops within 2 s
OUTPUT_POLL_SECONDS = 0.05  # s
CHUNK = 65_536  # bytes, a pipe's worth
FLOOD_PIPE = 1 << 20  # bytes; a larger pipe is emptied with fewer calls
FLOOD_PAUSE = 0.002  # s between two of them
OUTPUT_LINE_LIMIT = 500  # characters
OUTPUT_LINES_LIMIT = 100  # a hook and run
OUTPUT_BYTES_LIMIT = 1 << 20  # a hook and run, should it print no line breaks

log = logging.getLogger(__name__)


def no_clip() -> str:
    """No recording was kept."""
    return ""


def now() -> str:
    """The time with its zone, to the millisecond, as ISO 8601 writes it."""
    return datetime.datetime.now().astimezone().isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class HookEvent:
    """What hooks are told; nothing of it is ever part of a command line.

    score: 0 to 1; seconds: position in the stream; clip: gives the recording's path, or "", and may wait for it.
    """

    word: str
    score: float
    seconds: float
    device: str
    clip: Callable[[], str] = no_clip
    time: str = field(default_factory=now)

    def environment(self, clip: str) -> dict[str, str]:
        """As variables."""
        return {
            "CHIMED_WORD": self.word,
            "CHIMED_SCORE": f"{self.score:.4f}",
            "CHIMED_TIME": self.time,
            "CHIMED_CLIP": clip,
            "CHIMED_DEVICE": self.device,
        }

    def json(self, clip: str) -> bytes:
        """As one line of JSON."""
        told = {
            "word": self.word,
            "score": round(self.score, 4),
            "time": self.time,
            "seconds": round(self.seconds, 3),
            "clip": clip or None,
            "device": self.device,
        }
        return json.dumps(told).encode() + b"\n"


@dataclass(frozen=True)
class HookResult:
    """How a hook ended. code: its exit code, negative for a signal; killed: why it did not end by itself, or ""."""

    code: int
    killed: str

    def __str__(self) -> str:
        if self.killed:
            return f"killed, {self.killed}"
        return f"exit code {self.code}" if self.code >= 0 else f"killed by {signal.Signals(-self.code).name}"


class OutputLines:
    """Cuts output into lines, bounded in length and in number, so that no flood fills memory or journal."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._line = b""
        self._cut = False
        self._left = OUTPUT_LINES_LIMIT
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether whatever follows is dropped."""
        return self._left <= 0

    def push(self, data: bytes) -> None:
        """Write the lines that these bytes complete."""
        *whole, rest = data.split(b"\n")
        for part in whole:
            if self.full:
                return
            self._append(part)
            self._end()
        self._append(rest)
        self._bytes += len(data)
        if self._bytes > OUTPUT_BYTES_LIMIT and not self.full:
            self.flush()
            self._left = 0
            self._write(f"more than {OUTPUT_BYTES_LIMIT} bytes; the rest is dropped")

    def flush(self) -> None:
        """End of the output: write what lacks a line break."""
        if self._line and not self.full:
            self._end()

    def _append(self, part: bytes) -> None:
        room = 4 * OUTPUT_LINE_LIMIT - len(self._line)  # UTF-8 takes up to 4 bytes a character
        self._cut |= len(part) > room
        self._line += part[:room]

    def _end(self) -> None:
        text = self._line.decode(errors="replace").rstrip("\r")
        cut = self._cut or len(text) > OUTPUT_LINE_LIMIT
        self._line, self._cut = b"", False
        self._left -= 1
        if self.full:
            self._write(f"more than {OUTPUT_LINES_LIMIT - 1} lines; the rest is dropped")
        else:
            self._write(text[:OUTPUT_LINE_LIMIT] + (" ..." if cut else ""))


def run(hook: Hook, event: HookEvent, write: Callable[[str], None], stopping: threading.Event) -> HookResult:
    """Run a hook to its end, its time limit, or until the daemon stops; `write` gets its output line by line.

    Raises OSError or ValueError if it cannot start.
    """
    clip = event.clip()
    process = subprocess.Popen(
        hook.command,
        shell=isinstance(hook.command, str),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **event.environment(clip)},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # a hook need not read what it is told; a pipe takes far more than that
        process.stdin.write(event.json(clip))
        process.stdin.close()
    output, killed = OutputLines(write), ""
    if not _follow(process, output, hook.time_limit, stopping):
        killed = "the daemon stops" if stopping.is_set() else f"not over after {hook.time_limit:g} s"
        # The group's number cannot belong to another by now: its leader has not been reaped. Some of the
        # group may ignore the first signal while its leader ends, hence always both.
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, number)
            _follow(process, output, KILL_AFTER_SECONDS)
    output.flush()
    process.stdout.close()
    return HookResult(process.wait(), killed)


def _follow(
    process: subprocess.Popen[bytes], output: OutputLines, seconds: float, stopping: threading.Event | None = None
) -> bool:
    """Pass on a hook's output until it is over (True) or for so long (False); reaps nothing."""
    assert process.stdout is not None
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    deadline = time.monotonic() + seconds
    closed = False
    while time.monotonic() < deadline and not (stopping and stopping.is_set()):
        if closed:
            if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                return True
            time.sleep(OUTPUT_POLL_SECONDS)
        elif poll.poll(OUTPUT_POLL_SECONDS * 1000):
            closed = not _pass_on(process.stdout.fileno(), output)
    return False


def _pass_on(pipe: int, output: OutputLines) -> int:
    """Read once from a pipe that has something; how many bytes, 0 at its end."""
    if not output.full:
        data = os.read(pipe, CHUNK)
        output.push(data)
        return len(data)
    # A flood, which nobody wants to read: the kernel drops it, gigabytes of it, while Python does next to nothing.
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, FLOOD_PIPE)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        count = os.splice(pipe, nowhere, FLOOD_PIPE)
    finally:
        os.close(nowhere)
    time.sleep(FLOOD_PAUSE)
    return count


class HookRunner:
    """Starts hooks, so many at once, and follows each in a thread until nothing of it is left."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self.at_once = at_once
        self._running: set[threading.Thread] = set()
        self._started: dict[Hook, float] = {}  # those with a cool-down -> monotonic time, s
        self._left_out = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._deadline = 0.0  # monotonic time, s

    def start(self, hook: Hook, event: HookEvent) -> None:
        """Start a hook and return at once; one that cannot start, or may not yet, is at most a line in the log."""
        with self._lock:
            if self._stopping.is_set() or self._cooling(hook) or self._crowded(hook):
                return
            if hook.cooldown:
                self._started[hook] = time.monotonic()
            thread = threading.Thread(target=self._run, args=(hook, event), name="hook", daemon=True)
            self._running.add(thread)  # before its start, which a signal may interrupt
            try:
                thread.start()
            except RuntimeError as error:  # the machine has no room for another thread
                self._running.discard(thread)
                log.error("hook %s cannot start: %s", hook.name, error)

    def _cooling(self, hook: Hook) -> bool:
        if time.monotonic() >= self._started.get(hook, -hook.cooldown) + hook.cooldown:
            return False
        log.debug("hook %s: left out, it was started less than %g s ago", hook.name, hook.cooldown)
        return True

    def _crowded(self, hook: Hook) -> bool:
        if len(self._running) >= self.at_once:
            if not self._left_out:  # said once, until one can start again
                log.warning("hook %s: left out, %d hooks run already", hook.name, len(self._running))
            self._left_out += 1
            return True
        if self._left_out > 1:
            log.warning("%d hooks were left out, since too many ran", self._left_out)
        self._left_out = 0
        return False

    def _run(self, hook: Hook, event: HookEvent) -> None:
        name = hook.name
        try:
            result = run(hook, event, lambda line: log.info("hook %s: %s", name, line), self._stopping)
            level = logging.WARNING if result.killed or result.code else logging.DEBUG
            log.log(level, "hook %s: %s", name, result)
        except (OSError, ValueError) as error:
            log.error("hook %s cannot start: %s", name, getattr(error, "strerror", None) or error)
        finally:
            with self._lock:
                self._running.discard(threading.current_thread())

    def wait(self) -> None:
        """Let all hooks end; their time limits bound it."""
        while thread := next(iter(self._running.copy()), None):
            thread.join()

    def stop(self) -> None:
        """Ask what still runs to end, and start nothing more; returns at once."""
        if not self._stopping.is_set():
            self._deadline = time.monotonic() + 2 * KILL_AFTER_SECONDS + 2 * OUTPUT_POLL_SECONDS
            self._stopping.set()

    def close(self) -> None:
        """Terminate what still runs, within 1.1 s of the stop."""
        self.stop()
        for thread in self._running.copy():
            if thread.is_alive():
                thread.join(max(0.0, self._deadline - time.monotonic()))
